// Micro-benchmark of the numeric kernels: ms and GFLOP/s of each layer of a preset.
//
//     make build/tests/bench/kernels_bench && build/tests/bench/kernels_bench [tiny|s] [images]
//
// Times are the best of at least 0.2 s per line: other load on the machine only adds. GFLOP/s
// counts multiply-adds of the defining sum twice; for the norms GB/s of the arrays read and written
// once stands in its place. WORKBENCH_KERNELS picks the table.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/philox.h"
#include "base/pool.h"
#include "engine/graph/graph.h"
#include "engine/graph/kernels.h"

enum { REPEATS_MAX = 400 };
static const int thread_counts[] = {1, 2};
enum { N_COUNTS = sizeof thread_counts / sizeof *thread_counts };
static struct pool *pools[N_COUNTS];
static double total_ms[N_COUNTS];

typedef void run_fn(void *ctx, struct pool *pool);

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double best_ms(run_fn *run, void *ctx, struct pool *pool) {
    static double ms[REPEATS_MAX];
    run(ctx, pool);
    int n = 0;
    for (int64_t start = clock_now_ns();
         n < REPEATS_MAX && (n < 5 || clock_now_ns() - start < 200000000); n++) {
        int64_t t = clock_now_ns();
        run(ctx, pool);
        ms[n] = (double)(clock_now_ns() - t) * 1e-6;
    }
    qsort(ms, (size_t)n, sizeof *ms, compare);
    return ms[0];
}

static void report(const char *what, run_fn *run, void *ctx, double work, const char *unit,
                   bool in_total) {
    printf("%-28s", what);
    for (int i = 0; i < N_COUNTS; i++) {
        double ms = best_ms(run, ctx, pools[i]);
        if (in_total) total_ms[i] += ms;
        printf("  %9.3f ms %7.1f %s", ms, work / ms * 1e-6, unit);
    }
    printf("\n");
    fflush(stdout);
}

static real *random_reals(int64_t n) {
    real *p = mem_slab_alloc((size_t)n * sizeof(real));
    for (int64_t i = 0; i < n; i++) p[i] = 2 * (real)rng_uniform(1, RNG_TEST, 0, (uint32_t)i) - 1;
    return p;
}

struct task {
    void (*kernel)(const void *job, int share);
    const void *job;
};

static void task_share(void *ctx, int share) {
    struct task *t = ctx;
    t->kernel(t->job, share);
}

#define RUN(pool, field, job, shares)                                                              \
    do {                                                                                           \
        struct task task_ = {(void (*)(const void *, int))(void *)kernels_get()->field, (job)};    \
        pool_run((pool), (shares), task_share, &task_);                                            \
    } while (0)

static void run_down(void *ctx, struct pool *pool) {
    struct conv_job *j = ctx;
    RUN(pool, conv_pack_down, j, conv_pack_shares(j));
    RUN(pool, conv_down, j, conv_shares(j));
}

static void run_up(void *ctx, struct pool *pool) {
    struct conv_job *j = ctx;
    RUN(pool, conv_pack_up, j, conv_pack_shares(j));
    RUN(pool, conv_up, j, conv_shares(j));
}

static void run_weight(void *ctx, struct pool *pool) {
    struct conv_job *j = ctx;
    RUN(pool, conv_weight, j, conv_shares(j));
    RUN(pool, conv_weight_reduce, j, conv_weight_reduce_shares(j));
}

static void run_norm(void *ctx, struct pool *pool) {
    RUN(pool, norm_forward, ctx, norm_shares(ctx));
}

static void run_norm_backward(void *ctx, struct pool *pool) {
    RUN(pool, norm_backward, ctx, norm_backward_shares(ctx));
    RUN(pool, norm_backward_reduce, ctx, norm_backward_reduce_shares(ctx));
}

static void run_pack(void *ctx, struct pool *pool) {
    RUN(pool, gemm_pack, ctx, gemm_pack_shares(ctx));
}
static void run_gemm(void *ctx, struct pool *pool) { RUN(pool, gemm, ctx, gemm_shares(ctx)); }

// The six uses of one (big, small) pair of image shapes: encoder layer and decoder layer of the
// same level.
static void bench_layer(struct conv_shape s, bool outermost) {
    int64_t hs = s.height / 2, ws = s.width / 2, n_big = s.n * s.height * s.width * s.n_big;
    int64_t n_small = s.n * hs * ws * s.n_small, n_weights = 16 * s.n_big * s.n_small;
    real *big = random_reals(n_big), *small = random_reals(n_small),
         *weights = random_reals(n_weights);
    real *big_out = random_reals(n_big), *small_out = random_reals(n_small),
         *dw = random_reals(n_weights);
    real *packed = random_reals(conv_pack_reals(&s)),
         *scratch = random_reals(conv_scratch_reals(&s));
    real *weight_scratch = random_reals(conv_weight_scratch_reals(&s));
    struct conv_job job = {.shape = s,
                           .weights = weights,
                           .packed = packed,
                           .scratch = scratch,
                           .big = big,
                           .small = small,
                           .out = small_out};
    double flop = 2.0 * (double)(s.n * hs * ws) * (double)n_weights;
    printf("[%lld x %lld x %lld x %lld] <-> [%lld x %lld x %lld]\n", (long long)s.n,
           (long long)s.height, (long long)s.width, (long long)s.n_big, (long long)hs,
           (long long)ws, (long long)s.n_small);
    report("  conv forward", run_down, &job, flop, "GF/s", true);
    report("  deconv data gradient", run_down, &job, flop, "GF/s", true);
    job.out = big_out;
    job.bias = outermost ? weights : NULL;
    report("  deconv forward", run_up, &job, flop, "GF/s", true);
    job.bias = NULL;
    if (!outermost) report("  conv data gradient", run_up, &job, flop, "GF/s", true);
    job.out = dw;
    job.scratch = weight_scratch;
    job.accumulate = true;
    report("  conv weight gradient", run_weight, &job, flop, "GF/s", true);
    report("  deconv weight gradient", run_weight, &job, flop, "GF/s", true);
    for (int side = outermost; side < 2; side++) { // decoder's norm on big, encoder's on small
        int64_t n = side ? n_small : n_big, width = side ? s.n_small : s.n_big;
        struct norm_job norm = {.rows = n / width,
                                .n = width,
                                .eps = (real)1e-3,
                                .silu = true,
                                .x = side ? small : big,
                                .gamma = weights,
                                .beta = weights,
                                .y = side ? small_out : big_out,
                                .dgamma = dw,
                                .dbeta = dw + width};
        real *gradient = random_reals(n);
        norm.partials = random_reals(norm_partial_reals(&norm));
        char name[64];
        snprintf(name, sizeof name, "  norm %lld x %lld", (long long)norm.rows, (long long)width);
        report(name, run_norm, &norm, 2.0 * (double)n * sizeof(real), "GB/s", true);
        norm.dy = norm.y;
        norm.dx = gradient;
        report("       backward", run_norm_backward, &norm, 3.0 * (double)n * sizeof(real), "GB/s",
               true);
        mem_slab_free(norm.partials, (size_t)norm_partial_reals(&norm) * sizeof(real));
        mem_slab_free(gradient, (size_t)n * sizeof(real));
    }
    mem_slab_free(big, (size_t)n_big * sizeof(real)),
        mem_slab_free(big_out, (size_t)n_big * sizeof(real));
    mem_slab_free(small, (size_t)n_small * sizeof(real)),
        mem_slab_free(small_out, (size_t)n_small * sizeof(real));
    mem_slab_free(weights, (size_t)n_weights * sizeof(real)),
        mem_slab_free(dw, (size_t)n_weights * sizeof(real));
    mem_slab_free(packed, (size_t)conv_pack_reals(&s) * sizeof(real));
    mem_slab_free(scratch, (size_t)conv_scratch_reals(&s) * sizeof(real));
    mem_slab_free(weight_scratch, (size_t)conv_weight_scratch_reals(&s) * sizeof(real));
}

// Product with A as it lies (a_k 1) or transposed (weight gradients), B packed before.
static void bench_gemm(int64_t m, int64_t k, int64_t n, bool weight_gradient) {
    real *a = random_reals(m * k), *b = random_reals(k * n), *c = random_reals(m * n);
    real *packed = random_reals(gemm_pack_reals(k, n));
    struct gemm_pack_job pack = {.k = k,
                                 .n = n,
                                 .src = b,
                                 .packed = packed,
                                 .k_stride = weight_gradient ? n : 1,
                                 .n_stride = weight_gradient ? 1 : k};
    struct gemm_job job = {.m = m,
                           .k = k,
                           .n = n,
                           .a = a,
                           .a_row = weight_gradient ? 1 : k,
                           .a_k = weight_gradient ? m : 1,
                           .b = packed,
                           .c = c,
                           .c_row = n,
                           .accumulate = weight_gradient};
    char name[96];
    snprintf(name, sizeof name, "%s %lldx%lldx%lld", weight_gradient ? "dw  " : "gemm",
             (long long)m, (long long)k, (long long)n);
    report(name, run_gemm, &job, 2.0 * (double)m * (double)k * (double)n, "GF/s", false);
    report("     pack", run_pack, &pack, 2.0 * (double)k * (double)n * sizeof(real), "GB/s", false);
    mem_slab_free(a, (size_t)(m * k) * sizeof(real)),
        mem_slab_free(b, (size_t)(k * n) * sizeof(real));
    mem_slab_free(c, (size_t)(m * n) * sizeof(real));
    mem_slab_free(packed, (size_t)gemm_pack_reals(k, n) * sizeof(real));
}

int main(int argc, char **argv) {
    bool s = argc > 1 && strcmp(argv[1], "s") == 0;
    int64_t images = argc > 2 ? atoll(argv[2]) : 128, m = s ? 32 : 8;
    for (int i = 0; i < N_COUNTS; i++) pools[i] = pool_new(thread_counts[i]);
    printf("kernels %s, preset %s, %lld images; columns: 1 thread, 2 threads\n", cpu_kernels_name(),
           s ? "s" : "tiny", (long long)images);
    bench_layer((struct conv_shape){images, 72, 80, 1, m}, true);
    bench_layer((struct conv_shape){images, 36, 40, m, 2 * m}, false);
    bench_layer((struct conv_shape){images, 18, 20, 2 * m, 4 * m}, false);
    printf("encoder and decoder, forward and backward: %.2f ms, %.2f ms\n", total_ms[0],
           total_ms[1]);
    static const int64_t shapes[2][8][4] = {{{8, 256, 384, 0},
                                             {8, 128, 256, 0},
                                             {8, 384, 256, 0},
                                             {128, 2880, 128, 0},
                                             {128, 384, 2880, 0},
                                             {128, 2880, 384, 0},
                                             {2880, 128, 384, 1},
                                             {384, 128, 256, 1}},
                                            {{16, 1024, 1536, 0},
                                             {16, 512, 512, 0},
                                             {16, 1536, 1024, 0},
                                             {1024, 11520, 512, 0},
                                             {1024, 1536, 11520, 0},
                                             {1024, 512, 1536, 0},
                                             {512, 1024, 1536, 1},
                                             {1536, 1024, 1024, 1}}};
    for (int i = 0; i < 8; i++)
        bench_gemm(shapes[s][i][0], shapes[s][i][1], shapes[s][i][2], shapes[s][i][3]);
    for (int i = 0; i < N_COUNTS; i++) pool_free(pools[i]);
    return 0;
}
