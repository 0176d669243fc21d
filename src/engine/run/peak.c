// Peak rates of this machine, measured.
#include "engine/run/peak.h"

#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/real.h"
#include "engine/graph/kernels.h"

enum {
    TILE_M = 24,
    TILE_K = 128,
    TILE_N = 48,  // A, B and C fill half a first-level cache
    TILES = 3000, // about 3 ms on one core
    RUNS = 7,
    ENOUGH_MS = 60, // without optimisation a single run is long
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
};

// The product kernel on operands that stay in the first-level cache: all it does is multiply-adds.
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
    for (int i = 0; i < TILES; i++)
        for (int share = 0; share < gemm_shares(&job); share++) kernels_get()->gemm(&job, share);
}

double peak_fma_gflops(struct pool *pool) {
    const int tasks = pool_threads(pool);
    const size_t reals = TILE_M * TILE_K + TILE_K * TILE_N + (size_t)tasks * TILE_M * TILE_N;
    struct fma f = {.a = mem_slab_alloc(reals * sizeof(real))};
    f.b = f.a + TILE_M * TILE_K;
    f.c = f.b + TILE_K * TILE_N;
    const double rate =
        best_rate(pool, tasks, fma_task, &f, 2.0 * TILE_M * TILE_K * TILE_N * TILES * tasks);
    mem_slab_free(f.a, reals * sizeof(real));
    return rate;
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
