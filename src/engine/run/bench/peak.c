// Peak rates of this machine, measured.
#include "engine/run/bench/peak.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/real.h"
#include "engine/graph/kernels.h"

enum {
    TILE_M = 24,
    TILE_K = 128,
    TILE_N = 48, // A, B and C fill half a first-level cache
    TILES = 100, // a window: a third of a millisecond
    FMA_MS = 25,
    RUNS = 7,
    ENOUGH_MS = 60,        // of reading memory
    READ_REALS = 48 << 20, // 192 MB
    READ_SLICES = 64,
};

// The best rate of RUNS runs: `work` of a run over its seconds.
static double best_rate(struct pool *pool, int tasks, pool_task *task, void *ctx, double work) {
    double best = 0;
    const int64_t start = clock_now_ns();
    for (int i = 0; i < RUNS && clock_now_ns() - start < ENOUGH_MS * 1000000; i++) {
        const int64_t t = clock_now_ns();
        pool_run(pool, tasks, task, ctx);
        const double rate = work / (double)(clock_now_ns() - t);
        if (rate > best) best = rate;
    }
    return best;
}

struct fma {
    real *a, *b, *c;
    double *best; // of each task's windows
    int64_t end_ns;
};

// The product kernel on operands that stay in the first-level cache: all it does is multiply-adds.
// Every thread looks for its own best window: other load takes whole time slices, which are longer.
// All end together, or the last ones would have their neighbours' share of a core too.
static void fma_task(void *arg, int n) {
    const struct fma *f = arg;
    struct gemm_job job = {.m = TILE_M,
                           .k = TILE_K,
                           .n = TILE_N,
                           .a = f->a,
                           .a_row = TILE_K,
                           .a_k = 1,
                           .b = f->b,
                           .c = f->c + n * TILE_M * TILE_N,
                           .c_row = TILE_N};
    int64_t begin = clock_now_ns(), end;
    do {
        for (int i = 0; i < TILES; i++)
            for (int share = 0; share < gemm_shares(&job); share++)
                kernels_get()->gemm(&job, share);
        end = clock_now_ns();
        const double rate = 2.0 * TILE_M * TILE_K * TILE_N * TILES / (double)(end - begin);
        if (rate > f->best[n]) f->best[n] = rate;
        begin = end;
    } while (end < f->end_ns);
}

double peak_fma_gflops(struct pool *pool) {
    const int tasks = pool_threads(pool), cpus = pool_usable_cpus();
    const size_t reals = TILE_M * TILE_K + TILE_K * TILE_N + (size_t)tasks * TILE_M * TILE_N;
    struct fma f = {.a = mem_slab_alloc(reals * sizeof(real)),
                    .best = mem_alloc((size_t)tasks * sizeof *f.best),
                    .end_ns = clock_now_ns() + FMA_MS * 1000000};
    double rate = 0;
    f.b = f.a + TILE_M * TILE_K;
    f.c = f.b + TILE_K * TILE_N;
    pool_run(pool, tasks, fma_task, &f);
    for (int i = 0; i < tasks; i++) rate += f.best[i];
    mem_slab_free(f.a, reals * sizeof(real));
    free(f.best);
    return tasks > cpus ? rate * cpus / tasks : rate;
}

double peak_fma_at_least(struct pool *pool, double peak, double rate) {
    for (int i = 0; i < 3 && rate > peak; i++) {
        const double again = peak_fma_gflops(pool);
        if (again > peak) peak = again;
    }
    return peak;
}

struct read {
    const real *x;
    real sums[READ_SLICES];
};

static void read_task(void *arg, int slice) {
    struct read *r = arg;
    const int64_t n = READ_REALS / READ_SLICES;
    r->sums[slice] = (real)kernels_get()->sum_squares(r->x + slice * n, n);
}

double peak_memory_gbytes(struct pool *pool) {
    const size_t bytes = (size_t)READ_REALS * sizeof(real);
    real *x = mem_slab_alloc(bytes);
    for (int64_t i = 0; i < READ_REALS; i += 512) x[i] = 1; // every page is there
    struct read r = {.x = x};
    const double rate = best_rate(pool, READ_SLICES, read_task, &r, (double)bytes);
    mem_slab_free(x, bytes);
    return rate;
}
