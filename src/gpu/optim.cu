// Kernels: global gradient norm, clipping and Adam (spec/dreamer_v3.md 7.1; the formulas of
// src/engine/graph/kernels_optim.h). Clip factor and norm stay on the device between the kernels.
#include "gpu/optim.h"

#include <stdio.h>

#include "base/fmath.h"

enum { NORM, CLIP, N_SCALARS };      // doubles in front of the slices
static const double clip_eps = 1e-6; // of the reference's clip_grad_norm

// In double: a float sum of squares would overflow or lose digits long before the gradients do.
__global__ void squares_kernel(buf<const real> x, buf<double> slices) {
    SHARED(double, part, THREADS);
    double sum = 0;
    EACH(i, x.n) {
        const double v = (double)x[i];
        sum += v * v;
    }
    part[threadIdx.x] = sum;
    for (int half = THREADS / 2; half >= 1; half /= 2) {
        BARRIER();
        if ((int)threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    BARRIER();
    if (threadIdx.x == 0) slices[blockIdx.x] = part[0];
}

__global__ void clip_kernel(buf<const double> slices, double max_norm, buf<double> scalars) {
    double sum = 0;
    for (int64_t i = lane_of(); i < slices.n; i += WARP) sum += slices[i];
    sum = warp_sum(sum);
    if (lane_of() > 0) return;
    const double norm = sqrt(sum), factor = max_norm / (norm + clip_eps);
    scalars[NORM] = norm;
    scalars[CLIP] = max_norm > 0 && factor < 1 ? factor : 1;
}

struct adam_numbers {
    real beta1, beta2, one_minus_beta1, one_minus_beta2, step, root, eps;
};

// Does nothing where the norm is not finite.
__global__ void adam_kernel(buf<const double> scalars, struct adam_numbers c, buf<const real> g,
                            buf<real> m, buf<real> v, buf<real> w) {
    const double norm = scalars[NORM];
    if (!(norm - norm == 0)) return;
    const real clip = (real)scalars[CLIP];
    EACH(i, w.n) {
        const real d = g[i] * clip;
        const real mi = c.beta1 * m[i] + c.one_minus_beta1 * d;
        const real vi = c.beta2 * v[i] + c.one_minus_beta2 * d * d;
        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] - c.step * mi / (fast_sqrt(vi) / c.root + c.eps);
    }
}

// Device copies of the host's arrays.
enum { WEIGHTS, MOMENT1, MOMENT2, GRADS, SCALARS, N_ARRAYS };

static bool adam_on(struct gpu *g, struct backend_adam *a, void *const *at) {
    const int slices = sum_slices(a->n);
    const buf<const real> grads = buf_make((const real *)at[GRADS], a->n);
    double *scalars = (double *)at[SCALARS];
    const struct adam_numbers numbers = {(real)a->beta1,
                                         (real)a->beta2,
                                         (real)(1 - a->beta1),
                                         (real)(1 - a->beta2),
                                         (real)(a->learning_rate / a->correction1),
                                         (real)sqrt(a->correction2),
                                         (real)a->eps};
    LAUNCH(g, squares_kernel, slices, THREADS, grads, buf_make(scalars + N_SCALARS, slices));
    LAUNCH(g, clip_kernel, 1, WARP, buf_make((const double *)scalars + N_SCALARS, slices),
           a->max_norm, buf_make(scalars, N_SCALARS));
    LAUNCH(g, adam_kernel, blocks_for(a->n), THREADS, buf_make((const double *)scalars, N_SCALARS),
           numbers, grads, buf_make((real *)at[MOMENT1], a->n), buf_make((real *)at[MOMENT2], a->n),
           buf_make((real *)at[WEIGHTS], a->n));
    return gpu_finish(g);
}

static bool adam_arrays(struct gpu *g, struct backend_adam *a, void **at) {
    const size_t bytes = (size_t)a->n * sizeof(real);
    float *const host[] = {a->weights, a->moment1, a->moment2, (float *)a->grads};
    for (int i = 0; i < N_ARRAYS; i++) {
        const size_t size =
            i == SCALARS ? (size_t)(sum_slices_max + N_SCALARS) * sizeof(double) : bytes;
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
