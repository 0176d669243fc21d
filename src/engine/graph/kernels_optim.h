// Optimiser kernels: sum of squares of a gradient slice, Adam and LaProp on a slice
// (spec/dreamer_v3.md 7.1, 7.2).
#ifndef GRAPH_KERNELS_OPTIM_H
#define GRAPH_KERNELS_OPTIM_H

#include <math.h>

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_vec.h"

// In double: a float sum of squares would overflow or lose digits long before the gradients do.
static double sum_squares(const real *x, int64_t n) {
    enum { CHAINS = 16 };
    double sum[CHAINS] = {0};
    int64_t i = 0;
    for (; i + CHAINS <= n; i += CHAINS)
        for (int j = 0; j < CHAINS; j++) sum[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; i < n; i++, j++) sum[j] += (double)x[i] * (double)x[i];
    for (int half = CHAINS / 2; half >= 1; half /= 2)
        for (int j = 0; j < half; j++) sum[j] += sum[j + half];
    return sum[0];
}

#define KERNEL_SQRT(x) _Generic((x), float : sqrtf, double : sqrt)(x)

static void adam(const struct adam_job *job, int64_t first, int64_t end) {
    real *restrict w = job->weights, *restrict m = job->moment1, *restrict v = job->moment2;
    const real *restrict g = job->grads;
    const real clip = (real)job->clip, beta1 = (real)job->beta1, beta2 = (real)job->beta2;
    const real one_minus_beta1 = (real)(1 - job->beta1), one_minus_beta2 = (real)(1 - job->beta2);
    const real step = (real)(job->learning_rate / job->correction1);
    const real root = (real)sqrt(job->correction2), eps = (real)job->eps;
    for (int64_t i = first; i < end; i++) {
        real d = g[i] * clip;
        real mi = beta1 * m[i] + one_minus_beta1 * d;
        real vi = beta2 * v[i] + one_minus_beta2 * d * d;
        m[i] = mi;
        v[i] = vi;
        w[i] -= step * mi / (KERNEL_SQRT(vi) / root + eps);
    }
}

// Momentum of the normalised gradient, where Adam normalises the momentum.
static void laprop(const struct adam_job *job, int64_t first, int64_t end) {
    real *restrict w = job->weights, *restrict m = job->moment1, *restrict v = job->moment2;
    const real *restrict g = job->grads;
    const real clip = (real)job->clip, beta1 = (real)job->beta1, beta2 = (real)job->beta2;
    const real one_minus_beta1 = (real)(1 - job->beta1), one_minus_beta2 = (real)(1 - job->beta2);
    const real step = (real)(job->learning_rate / job->correction1);
    const real square = (real)job->correction2, eps = (real)job->eps;
    for (int64_t i = first; i < end; i++) {
        real d = g[i] * clip;
        real vi = beta2 * v[i] + one_minus_beta2 * d * d;
        real mi = beta1 * m[i] + one_minus_beta1 * (d / (KERNEL_SQRT(vi / square) + eps));
        m[i] = mi;
        v[i] = vi;
        w[i] -= step * mi;
    }
}

#endif
