// Optimiser: global gradient norm, clipping and Adam over a flat parameter set, spread over the
// pool.
#include "engine/nn/optim.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "engine/graph/kernels.h"

enum { SLICES_MAX = 64, SLICE_MIN = 32768 }; // elements: about 10 us of Adam from memory

static int n_slices(int64_t n) {
    int64_t wanted = n / SLICE_MIN;
    return wanted < 1 ? 1 : wanted > SLICES_MAX ? SLICES_MAX : (int)wanted;
}

// Slice borders are multiples of 16 elements, so that no two slices share a cache line.
static struct range slice_range(int64_t n, int slices, int slice) {
    struct range r = share_range((n + 15) / 16, slices, slice);
    return (struct range){r.first * 16, r.end * 16 < n ? r.end * 16 : n};
}

struct norm_ctx {
    const real *x;
    int64_t n;
    int slices;
    double sum[SLICES_MAX];
};

static void norm_task(void *arg, int slice) {
    struct norm_ctx *ctx = arg;
    struct range r = slice_range(ctx->n, ctx->slices, slice);
    ctx->sum[slice] = kernels_get()->sum_squares(ctx->x + r.first, r.end - r.first);
}

double optim_norm(const real *x, int64_t n, struct pool *pool) {
    struct norm_ctx ctx = {.x = x, .n = n, .slices = n_slices(n)};
    pool_run(pool, ctx.slices, norm_task, &ctx);
    double sum = 0;
    for (int i = 0; i < ctx.slices; i++) sum += ctx.sum[i];
    return sqrt(sum);
}

double optim_clip(double norm, double max_norm) {
    if (max_norm <= 0) return 1;
    double factor = max_norm / (norm + 1e-6);
    return factor < 1 ? factor : 1;
}

struct adam_ctx {
    struct adam_job job;
    int64_t n;
    int slices;
};

static void adam_task(void *arg, int slice) {
    struct adam_ctx *ctx = arg;
    struct range r = slice_range(ctx->n, ctx->slices, slice);
    kernels_get()->adam(&ctx->job, r.first, r.end);
}

double optim_step(struct params *p, struct pool *pool, const struct optim_opts *opts,
                  int64_t step) {
    CHECK(step >= 1, "Adam's steps count from 1, not %lld", (long long)step);
    double norm = optim_norm(p->grads, p->n_flat, pool);
    if (!isfinite(norm)) return norm;
    struct adam_ctx ctx = {.job = {.weights = p->weights,
                                   .moment1 = p->moment1,
                                   .moment2 = p->moment2,
                                   .grads = p->grads,
                                   .learning_rate = opts->learning_rate,
                                   .beta1 = opts->beta1,
                                   .beta2 = opts->beta2,
                                   .eps = opts->eps,
                                   .clip = optim_clip(norm, opts->max_norm),
                                   .correction1 = 1 - pow(opts->beta1, (double)step),
                                   .correction2 = 1 - pow(opts->beta2, (double)step)},
                           .n = p->n_flat,
                           .slices = n_slices(p->n_flat)};
    pool_run(pool, ctx.slices, adam_task, &ctx);
    return norm;
}

struct track_ctx {
    real *target;
    const real *source;
    real keep, take;
    int64_t n;
    int slices;
};

static void track_task(void *arg, int slice) {
    const struct track_ctx *ctx = arg;
    struct range r = slice_range(ctx->n, ctx->slices, slice);
    for (int64_t i = r.first; i < r.end; i++)
        ctx->target[i] = ctx->take * ctx->source[i] + ctx->keep * ctx->target[i];
}

void optim_track(struct params *target, const struct params *source, double tau,
                 struct pool *pool) {
    CHECK(target->n == source->n && target->n_flat == source->n_flat, "%d and %d parameters",
          target->n, source->n);
    if (tau == 1) {
        memcpy(target->weights, source->weights, (size_t)source->n_flat * sizeof *source->weights);
        return;
    }
    struct track_ctx ctx = {.target = target->weights,
                            .source = source->weights,
                            .keep = (real)(1 - tau),
                            .take = (real)tau,
                            .n = source->n_flat,
                            .slices = n_slices(source->n_flat)};
    pool_run(pool, ctx.slices, track_task, &ctx);
}
