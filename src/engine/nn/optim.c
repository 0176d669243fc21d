// Optimiser: gradient norms, clipping, Adam and LaProp over a flat parameter set, spread over the
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

double optim_agc(double gradient_norm, double norm, double agc) {
    if (agc <= 0) return 1;
    double share = gradient_norm / (agc * fmax(OPTIM_AGC_FLOOR, norm));
    return share > 1 ? 1 / share : 1;
}

// In float and from the full rate down, as optax does it: the first rates are rounded at the last
// digit of the full one.
double optim_rate(const struct optim_opts *opts, int64_t step) {
    if (step > opts->warmup) return opts->learning_rate;
    const float full = (float)opts->learning_rate;
    const float missing = full * (1 - (float)(step - 1) / (float)opts->warmup);
    return (double)(full - missing);
}

typedef void step_kernel(const struct adam_job *job, int64_t first, int64_t end);
static step_kernel *kernel_of(enum optim_kind kind) {
    const struct kernels *k = kernels_get();
    step_kernel *const table[] = {[OPTIM_ADAM] = k->adam, [OPTIM_LAPROP] = k->laprop};
    return table[kind];
}

struct step_ctx {
    struct adam_job job;
    step_kernel *kernel;
    int64_t n;
    int slices;
};

static void step_task(void *arg, int slice) {
    struct step_ctx *ctx = arg;
    struct range r = slice_range(ctx->n, ctx->slices, slice);
    ctx->kernel(&ctx->job, r.first, r.end);
}

// ---- clipping tensor by tensor: pieces of one tensor each

enum { PIECES_MAX = 1024 };
struct piece {
    int tensor;
    struct range range;      // in the flat buffers
    double gradient, weight; // sums of squares
};
struct pieces_ctx {
    const struct params *p;
    const struct adam_job *job;
    step_kernel *kernel;
    double agc;
    int n;
    struct piece list[PIECES_MAX];
};

static void cut_in_pieces(struct pieces_ctx *c) {
    const struct params *p = c->p;
    int64_t length = (p->n_flat / (PIECES_MAX / 2) + 15) / 16 * 16;
    if (length < SLICE_MIN) length = SLICE_MIN;
    CHECK(p->n <= PIECES_MAX / 2, "%d parameters", p->n);
    for (int i = 0; i < p->n; i++) {
        const struct param *q = &p->list[i];
        for (int64_t at = 0; at < q->n_elements; at += length) {
            int64_t end = at + length < q->n_elements ? at + length : q->n_elements;
            c->list[c->n++] = (struct piece){i, {q->offset + at, q->offset + end}, 0, 0};
        }
    }
}

static void squares_task(void *arg, int i) {
    struct pieces_ctx *c = arg;
    struct piece *q = &c->list[i];
    const int64_t n = q->range.end - q->range.first;
    q->gradient = kernels_get()->sum_squares(c->p->grads + q->range.first, n);
    q->weight = kernels_get()->sum_squares(c->p->weights + q->range.first, n);
}

static void piece_task(void *arg, int i) {
    struct pieces_ctx *c = arg;
    const struct piece *q = &c->list[i];
    struct adam_job job = *c->job;
    // squares_task has left the tensor's factor in each of its pieces.
    job.clip = q->gradient;
    c->kernel(&job, q->range.first, q->range.end);
}

// Sums of squares become the tensor's factor, added up in the pieces' order.
static void factors(struct pieces_ctx *c) {
    for (int first = 0, end; first < c->n; first = end) {
        double gradient = 0, weight = 0;
        for (end = first; end < c->n && c->list[end].tensor == c->list[first].tensor; end++)
            gradient += c->list[end].gradient, weight += c->list[end].weight;
        for (int i = first; i < end; i++)
            c->list[i].gradient = optim_agc(sqrt(gradient), sqrt(weight), c->agc);
    }
}

static void step_by_tensor(struct params *p, struct pool *pool, const struct step_ctx *step,
                           double agc) {
    struct pieces_ctx c = {.p = p, .job = &step->job, .kernel = step->kernel, .agc = agc};
    cut_in_pieces(&c);
    pool_run(pool, c.n, squares_task, &c);
    factors(&c);
    pool_run(pool, c.n, piece_task, &c);
}

double optim_step(struct params *p, struct pool *pool, const struct optim_opts *opts,
                  int64_t step) {
    CHECK(step >= 1, "the optimiser's steps count from 1, not %lld", (long long)step);
    double norm = optim_norm(p->grads, p->n_flat, pool);
    if (!isfinite(norm)) return norm;
    struct step_ctx ctx = {.job = {.weights = p->weights,
                                   .moment1 = p->moment1,
                                   .moment2 = p->moment2,
                                   .grads = p->grads,
                                   .learning_rate = optim_rate(opts, step),
                                   .beta1 = opts->beta1,
                                   .beta2 = opts->beta2,
                                   .eps = opts->eps,
                                   .clip = optim_clip(norm, opts->max_norm),
                                   .correction1 = 1 - pow(opts->beta1, (double)step),
                                   .correction2 = 1 - pow(opts->beta2, (double)step)},
                           .kernel = kernel_of(opts->kind),
                           .n = p->n_flat,
                           .slices = n_slices(p->n_flat)};
    if (opts->agc > 0)
        step_by_tensor(p, pool, &ctx, opts->agc);
    else
        pool_run(pool, ctx.slices, step_task, &ctx);
    return norm;
}

void optim_undo(const struct params *p, const struct optim_opts *opts, int64_t step, real *out) {
    CHECK(opts->kind == OPTIM_ADAM && step >= 1, "only Adam's steps are undone");
    const double rate = optim_rate(opts, step) / (1 - pow(opts->beta1, (double)step)),
                 root = sqrt(1 - pow(opts->beta2, (double)step));
    for (int64_t i = 0; i < p->n_flat; i++)
        out[i] =
            (real)((double)p->weights[i] +
                   rate * (double)p->moment1[i] / (sqrt((double)p->moment2[i]) / root + opts->eps));
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
