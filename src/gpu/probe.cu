// Probes: copies, multiply-adds and products of nothing else, timed.
#include "gpu/probe.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/philox.h"

enum { CHAINS = 8, MAX_REPETITIONS = 64, ROUND_FLOP = 2 * CHAINS };

// Numbers of all sizes below 1: zeros would be faster than real data.
__global__ void probe_fill_kernel(buf<real> out) {
    EACH(i, (out.n + 3) / 4) {
        const struct philox block = rng_block(1, RNG_TEST, 0, (uint32_t)i);
        for (int64_t k = 0; k < 4 && 4 * i + k < out.n; k++)
            out[4 * i + k] = (real)rng_to_uniform(block.v[k]) - (real)0.5;
    }
}

// Independent chains, so that no multiply-add waits for the one before it.
__global__ void probe_fma_kernel(int64_t steps, real by, buf<real> out) {
    real x[CHAINS];
    for (int c = 0; c < CHAINS; c++) x[c] = (real)(threadIdx.x + (uint32_t)c);
    for (int64_t s = 0; s < steps; s++) {
#ifdef __CUDACC__
#pragma unroll
#endif
        for (int c = 0; c < CHAINS; c++) x[c] = x[c] * by + (real)0.25;
    }
    real sum = 0;
    for (int c = 0; c < CHAINS; c++) sum += x[c];
    out[(int64_t)blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

// ---- one repetition each

struct probe {
    struct gpu gpu;
    const struct backend_rates *wanted;
    struct gpu_timer *timer;
    buf<real> a, b, c;
    enum gpu_precision precision;
};
typedef bool probe_run(struct probe *p);

static bool run_nothing(struct probe *p) { return !p->gpu.failed; }

static bool run_copy(struct probe *p) {
    return gpu_copy(&p->gpu, p->b.at, p->a.at, (size_t)p->wanted->copy_bytes);
}

static bool run_fma(struct probe *p) {
    LAUNCH(&p->gpu, probe_fma_kernel, (int)p->wanted->fma_blocks, THREADS, p->wanted->fma_steps,
           (real)0.75, p->b);
    return !p->gpu.failed;
}

static buf<const real> reading(buf<real> b) { return buf_make((const real *)b.at, b.n); }

static bool run_product(struct probe *p) {
    const int64_t n = p->wanted->product;
    const struct gpu_gemm product = {n, n, n,     reading(p->a), reading(p->b), n,
                                     n, n, false, false,         p->c,          false};
    p->gpu.precision = p->precision;
    gpu_product(&p->gpu, &product);
    return !p->gpu.failed;
}

// ---- medians

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// ms of one, the first not counted; -1: failed. Held first: the host's launch is not timed.
static double median_ms(struct probe *p, probe_run *run) {
    double ms[MAX_REPETITIONS];
    int n = p->wanted->repetitions;
    if (n < 1) n = 1;
    if (n > MAX_REPETITIONS) n = MAX_REPETITIONS;
    for (int i = -1; i < n; i++) {
        gpu_hold(&p->gpu, 200);
        if (!gpu_timer_mark(&p->gpu, p->timer, 0) || !run(p) ||
            !gpu_timer_mark(&p->gpu, p->timer, 1) || !gpu_finish(&p->gpu))
            return -1;
        if (i >= 0) ms[i] = gpu_timer_ms(&p->gpu, p->timer);
    }
    qsort(ms, (size_t)n, sizeof *ms, compare_doubles);
    return ms[n / 2];
}

static bool rate_of(struct probe *p, probe_run *run, double work, double *rate) {
    const double ms = median_ms(p, run);
    *rate = ms > 0 ? work * 1e3 / ms : 0;
    return ms >= 0;
}

static buf<real> array(struct probe *p, int64_t n) {
    real *at = (real *)gpu_alloc(&p->gpu, (size_t)n * sizeof *at);
    const buf<real> b = buf_make(at, at ? n : 0);
    if (at) LAUNCH(&p->gpu, probe_fill_kernel, blocks_for((n + 3) / 4), THREADS, b);
    return b;
}

static bool open(struct probe *p) {
    const struct backend_rates *w = p->wanted;
    int64_t n = w->copy_bytes / (int64_t)sizeof(real);
    if (n < w->product * w->product) n = w->product * w->product;
    if (n < w->fma_blocks * THREADS) n = w->fma_blocks * THREADS;
    p->timer = gpu_timer_new(&p->gpu);
    p->a = array(p, n);
    p->b = array(p, n);
    p->c = array(p, w->product * w->product);
    return p->timer && !p->gpu.failed && gpu_finish(&p->gpu);
}

static bool measure(struct probe *p, struct backend_rates *r) {
    const double n = (double)r->product;
    bool fine = rate_of(p, run_copy, 2 * (double)r->copy_bytes, &r->copy_bytes_per_s);
    for (int i = IN_FLOAT32; i <= IN_BF16 && fine; i++) { // before b is overwritten by run_fma
        p->precision = (enum gpu_precision)i;
        fine = rate_of(p, run_product, 2 * n * n * n, &r->product_flops[i]);
    }
    fine =
        fine && rate_of(p, run_fma, (double)(r->fma_blocks * r->fma_steps * THREADS) * ROUND_FLOP,
                        &r->fma_flops);
    r->empty_ms = fine ? median_ms(p, run_nothing) : -1;
    return r->empty_ms >= 0;
}

bool gpu_rates(struct backend_rates *r, char *message, size_t size) {
    struct probe p = {};
    p.wanted = r;
    p.gpu.device = gpu_open(message, size);
    if (!p.gpu.device) return false;
    const bool fine = open(&p) && measure(&p, r);
    if (!fine) snprintf(message, size, "%s", p.gpu.message);
    gpu_timer_free(p.timer);
    gpu_free(p.gpu.device, p.a.at);
    gpu_free(p.gpu.device, p.b.at);
    gpu_free(p.gpu.device, p.c.at);
    gpu_close(p.gpu.device);
    return fine;
}
