// Kernels: global gradient norm, clipping, Adam (spec/dreamer_v3.md 7.1; the formulas of
// src/engine/graph/kernels_optim.h), the target's step. All numbers stay on the device.
#include "gpu/optim.h"

#include <stdio.h>

#include "base/fmath.h"
#include "gpu/block_sum.h"

static const double clip_eps = 1e-6; // of the reference's clip_grad_norm

// In double: a float sum of squares would overflow or lose digits long before the gradients do.
__global__ void squares_kernel(buf<const real> x, buf<double> slices) {
    double sum = 0;
    EACH(i, x.n) {
        const double v = (double)x[i];
        sum += v * v;
    }
    block_sum_to(sum, slices);
}

__global__ void clip_kernel(buf<const double> slices, double max_norm, buf<double> scalars) {
    double sum = 0;
    for (int64_t i = lane_of(); i < slices.n; i += WARP) sum += slices[i];
    sum = warp_sum(sum);
    if (lane_of() > 0) return;
    const double norm = sqrt(sum), factor = max_norm / (norm + clip_eps);
    scalars[OPTIM_NORM] = norm;
    scalars[OPTIM_CLIP] = max_norm > 0 && factor < 1 ? factor : 1;
}

static buf<const double> slices_of(buf<double> scalars, int64_t n) {
    return buf_make((const double *)scalars.at + OPTIM_FIRST_SLICE, n);
}

void optim_norm(struct gpu *g, buf<const real> grads, double max_norm, buf<double> scalars) {
    const int slices = sum_slices(grads.n);
    LAUNCH(g, squares_kernel, slices, THREADS, grads,
           buf_make(scalars.at + OPTIM_FIRST_SLICE, slices));
    LAUNCH(g, clip_kernel, 1, WARP, slices_of(scalars, slices), max_norm,
           buf_make(scalars.at, OPTIM_FIRST_SLICE));
}

__global__ void set_kernel(buf<double> to, double value) { EACH(i, to.n) to[i] = value; }

void optim_set(struct gpu *g, buf<double> to, double value) {
    LAUNCH(g, set_kernel, blocks_for(to.n), THREADS, to, value);
}

// ---- Adam

__global__ void numbers_kernel(struct optim_adam o, buf<const int64_t> state, buf<double> scalars) {
    if (threadIdx.x > 0) return;
    double correction1 = o.correction1, correction2 = o.correction2;
    if (state.n) {
        const double step = (double)(state[STATE_STEP] + 1);
        correction1 = 1 - pow(o.beta1, step);
        correction2 = 1 - pow(o.beta2, step);
    }
    const double rate = o.learning_rate * (o.scale.n ? (double)o.scale[0] : 1);
    scalars[OPTIM_STEP] = rate / correction1;
    scalars[OPTIM_ROOT] = sqrt(correction2);
}

DEVICE_FUNCTION bool has_failed(buf<const int64_t> state) {
    return state.n && state[STATE_FAILED] != 0;
}

struct adam_numbers {
    real beta1, beta2, one_minus_beta1, one_minus_beta2, eps;
};

// Does nothing where the norm is not finite.
__global__ void adam_kernel(buf<const double> scalars, buf<const int64_t> state,
                            struct adam_numbers c, buf<const real> g, buf<real> m, buf<real> v,
                            buf<real> w) {
    const double norm = scalars[OPTIM_NORM];
    if (!(norm - norm == 0) || has_failed(state)) return;
    const real clip = (real)scalars[OPTIM_CLIP], step = (real)scalars[OPTIM_STEP];
    const real root = (real)scalars[OPTIM_ROOT];
    EACH(i, w.n) {
        const real d = g[i] * clip;
        const real mi = c.beta1 * m[i] + c.one_minus_beta1 * d;
        const real vi = c.beta2 * v[i] + c.one_minus_beta2 * d * d;
        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] - step * mi / (fast_sqrt(vi) / root + c.eps);
    }
}

void optim_adam(struct gpu *g, const struct optim_adam *o, buf<const real> grads, buf<real> moment1,
                buf<real> moment2, buf<real> weights, buf<double> scalars,
                buf<const int64_t> state) {
    const struct adam_numbers numbers = {(real)o->beta1, (real)o->beta2, (real)(1 - o->beta1),
                                         (real)(1 - o->beta2), (real)o->eps};
    LAUNCH(g, numbers_kernel, 1, WARP, *o, state, buf_make(scalars.at, OPTIM_FIRST_SLICE));
    LAUNCH(g, adam_kernel, blocks_for(weights.n), THREADS,
           buf_make((const double *)scalars.at, OPTIM_FIRST_SLICE), state, numbers, grads, moment1,
           moment2, weights);
}

// ---- LaProp

__global__ void laprop_squares_kernel(buf<const struct optim_piece> pieces, buf<const real> g,
                                      buf<const real> w, buf<double> of_g, buf<double> of_w) {
    const struct optim_piece p = pieces[blockIdx.x];
    double gradient = 0, weight = 0;
    for (int64_t i = p.first + threadIdx.x; i < p.first + p.n; i += THREADS) {
        gradient += (double)g[i] * (double)g[i];
        weight += (double)w[i] * (double)w[i];
    }
    block_sum_to(gradient, of_g);
    block_sum_to(weight, of_w);
}

// The rate grows in float and from the full one down, as the CPU has it.
__global__ void laprop_numbers_kernel(struct optim_laprop o, buf<const int64_t> state,
                                      buf<double> scalars) {
    if (threadIdx.x > 0) return;
    const int64_t step = state[STATE_STEP] + 1;
    double rate = o.learning_rate;
    if (step <= o.warmup) {
        const float full = (float)o.learning_rate;
        const float missing = full * (1 - (float)(step - 1) / (float)o.warmup);
        rate = (double)(full - missing);
    }
    scalars[OPTIM_STEP] = rate / (1 - pow(o.beta1, (double)step));
    scalars[OPTIM_ROOT] = 1 - pow(o.beta2, (double)step);
}

static const double agc_floor = 1e-3; // nn/optim.h: OPTIM_AGC_FLOOR

// A block a piece. Momentum of the normalised gradient, where Adam normalises the momentum.
__global__ void laprop_kernel(buf<const struct optim_piece> pieces, buf<const double> of_g,
                              buf<const double> of_w, buf<const double> scalars,
                              buf<const int64_t> state, double agc, double floor,
                              struct adam_numbers c, buf<const real> g, buf<real> m, buf<real> v,
                              buf<real> w) {
    const struct optim_piece p = pieces[blockIdx.x];
    const double norm = scalars[OPTIM_NORM];
    if (!(norm - norm == 0) || has_failed(state)) return;
    double gradient = 0, weight = 0;
    for (int32_t k = p.tensor_first; k < p.tensor_first + p.tensor_n; k++) {
        gradient += of_g[k];
        weight += of_w[k];
    }
    const double size = sqrt(weight),
                 share = sqrt(gradient) / (agc * (size > floor ? size : floor));
    const real clip = (real)(agc > 0 && share > 1 ? 1 / share : 1);
    const real step = (real)scalars[OPTIM_STEP], square = (real)scalars[OPTIM_ROOT];
    for (int64_t i = p.first + threadIdx.x; i < p.first + p.n; i += THREADS) {
        const real d = g[i] * clip;
        const real vi = c.beta2 * v[i] + c.one_minus_beta2 * d * d;
        const real mi = c.beta1 * m[i] + c.one_minus_beta1 * (d / (fast_sqrt(vi / square) + c.eps));
        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] - step * mi;
    }
}

void optim_laprop(struct gpu *g, const struct optim_laprop *o, buf<const struct optim_piece> pieces,
                  buf<double> sums, buf<const real> grads, buf<real> moment1, buf<real> moment2,
                  buf<real> weights, buf<double> scalars, buf<const int64_t> state) {
    const int n = (int)pieces.n;
    const struct adam_numbers numbers = {(real)o->beta1, (real)o->beta2, (real)(1 - o->beta1),
                                         (real)(1 - o->beta2), (real)o->eps};
    LAUNCH(g, laprop_squares_kernel, n, THREADS, pieces, grads,
           buf_make((const real *)weights.at, weights.n), buf_make(sums.at, n),
           buf_make(sums.at + n, n));
    LAUNCH(g, laprop_numbers_kernel, 1, WARP, *o, state, buf_make(scalars.at, OPTIM_FIRST_SLICE));
    LAUNCH(g, laprop_kernel, n, THREADS, pieces, buf_make((const double *)sums.at, n),
           buf_make((const double *)sums.at + n, n),
           buf_make((const double *)scalars.at, OPTIM_FIRST_SLICE), state, o->agc, agc_floor,
           numbers, grads, moment1, moment2, weights);
}

// ---- the target critic

__global__ void track_kernel(buf<const real> source, real keep, real take, int64_t every,
                             buf<real> target, buf<const int64_t> state) {
    const int64_t step = state[STATE_STEP];
    if (has_failed(state) || step % every != 0) return;
    EACH(i, target.n) {
        const real x = source[i];
        target[i] = step == 0 ? x : take * x + keep * target[i];
    }
}

void optim_track(struct gpu *g, buf<const real> source, double tau, int64_t every, buf<real> target,
                 buf<const int64_t> state) {
    LAUNCH(g, track_kernel, blocks_for(target.n), THREADS, source, (real)(1 - tau), (real)tau,
           every, target, state);
}

// ---- on arrays of the host

enum { WEIGHTS, MOMENT1, MOMENT2, GRADS, SCALARS, N_ARRAYS };

static bool adam_on(struct gpu *g, struct backend_adam *a, void *const *at) {
    const buf<const real> grads = buf_make((const real *)at[GRADS], a->n);
    const buf<double> scalars = buf_make((double *)at[SCALARS], optim_scalars);
    const struct optim_adam o = {a->learning_rate,
                                 a->beta1,
                                 a->beta2,
                                 a->eps,
                                 a->correction1,
                                 a->correction2,
                                 buf_make((const double *)0, 0)};
    optim_norm(g, grads, a->max_norm, scalars);
    optim_adam(g, &o, grads, buf_make((real *)at[MOMENT1], a->n),
               buf_make((real *)at[MOMENT2], a->n), buf_make((real *)at[WEIGHTS], a->n), scalars,
               buf_make((const int64_t *)0, 0));
    return gpu_finish(g);
}

static bool adam_arrays(struct gpu *g, struct backend_adam *a, void **at) {
    const size_t bytes = (size_t)a->n * sizeof(real);
    float *const host[] = {a->weights, a->moment1, a->moment2, (float *)a->grads};
    for (int i = 0; i < N_ARRAYS; i++) {
        const size_t size = i == SCALARS ? (size_t)optim_scalars * sizeof(double) : bytes;
        if (!(at[i] = gpu_alloc(g, size))) return false;
        if (i != SCALARS && !gpu_upload(g, at[i], host[i], bytes)) return false;
    }
    if (!adam_on(g, a, at) || !gpu_download(g, &a->norm, at[SCALARS], sizeof a->norm)) return false;
    for (int i = WEIGHTS; i <= MOMENT2; i++)
        if (!gpu_download(g, host[i], at[i], bytes)) return false;
    return true;
}

bool gpu_adam(struct backend_adam *a, char *message, size_t size) {
    struct gpu g = {};
    void *at[N_ARRAYS] = {};
    g.device = gpu_open(message, size);
    if (!g.device) return false;
    const bool fine = adam_arrays(&g, a, at);
    if (!fine) snprintf(message, size, "%s", g.message);
    for (int i = 0; i < N_ARRAYS; i++) gpu_free(g.device, at[i]);
    gpu_close(g.device);
    return fine;
}
