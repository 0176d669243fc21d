// LayerNorm and RMS norm of rows of more than four whole vectors.
//
// LANES rows are a unit: the sums along them become one vector, as do their divisions and roots.
// Results are computed in a few rows at once, column by column: gamma, beta and their gradients are
// loaded once for all of them, and no row waits for its own last sum. R: RMS norm.
#ifndef GRAPH_KERNELS_NORM_WIDE_H
#define GRAPH_KERNELS_NORM_WIDE_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_vec.h"

struct norm_wide { // of a unit's rows
    _Alignas(64) real mean[LANES], scale[LANES];
};

// A row's vectors added up lane by lane: itself, or the squares of what it is from its mean.
ALWAYS_INLINE vec norm_wide_sum(const real *x, int64_t n) {
    vec sum[4] = {{0}};
    int64_t c = 0;
    for (; c + 4 * LANES <= n; c += 4 * LANES) VEC_EACH(i, 4) sum[i] += vec_load(x + c + i * LANES);
    for (; c < n; c += LANES) sum[0] += vec_load(x + c);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]) + (vec){0}; // no -0
}

ALWAYS_INLINE vec norm_wide_squares(const real *x, int64_t n, vec mean) {
    vec sum[4] = {{0}};
    int64_t c = 0;
    for (; c + 4 * LANES <= n; c += 4 * LANES) VEC_EACH(i, 4) {
            const vec d = vec_load(x + c + i * LANES) - mean;
            sum[i] += d * d;
        }
    for (; c < n; c += LANES) sum[0] += (vec_load(x + c) - mean) * (vec_load(x + c) - mean);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

ALWAYS_INLINE void norm_wide_stats(struct norm_wide *w, const real *x, int64_t rows, int64_t n,
                                   real eps, bool R) {
    vec sums[LANES], t[LANES];
    VEC_EACH(i, LANES) sums[i] = (vec){0};
    vec_store(w->mean, sums[0]);
    if (!R) {
        for (int64_t row = 0; row < rows; row++) sums[row] = norm_wide_sum(x + row * n, n);
        VEC_EACH(i, LANES) t[i] = sums[i];
        vec_store(w->mean, vec_sums_across(t, LANES) / (real)n);
    }
    for (int64_t row = 0; row < rows; row++)
        sums[row] = norm_wide_squares(x + row * n, n, R ? (vec){0} : vec_splat(w->mean[row]));
    VEC_EACH(i, LANES) t[i] = sums[i];
    vec_store(w->scale, 1 / vec_sqrt(vec_sums_across(t, LANES) / (real)n + eps));
}

enum { NORM_WIDE_ROWS = LANES / 2 < VEC_MANY ? LANES / 2 : VEC_MANY };

// The rows that come `ahead` rows behind those at p: fetched while these are computed.
ALWAYS_INLINE void norm_wide_fetch(const real *p, int64_t ahead, int64_t n, const real *end) {
    prefetch_part(p + ahead * n, end, NORM_WIDE_ROWS * n, 0, 1);
}

// K rows from row `row` of the unit on, which lies at x and y.
ALWAYS_INLINE void norm_wide_forward(const struct norm_job *job, const struct norm_wide *w,
                                     const real *x, real *y, int64_t row, int K, bool R) {
    const int64_t n = job->n;
    vec z[VEC_MANY], s[VEC_MANY];
    x += row * n, y += row * n;
    for (int64_t c = 0; c < n; c += LANES) {
        const vec gamma = vec_load(job->gamma + c);
        VEC_EACH(k, K) z[k] = vec_load(x + k * n + c);
        if (!R) VEC_EACH(k, K) z[k] -= vec_splat(w->mean[row + k]);
        VEC_EACH(k, K) z[k] = gamma * (z[k] * vec_splat(w->scale[row + k]));
        if (!R) VEC_EACH(k, K) z[k] += vec_load(job->beta + c);
        if (job->silu) {
            vec_sigmoids(s, z, K);
            VEC_EACH(k, K) z[k] *= s[k];
        }
        VEC_EACH(k, K) vec_store(y + k * n + c, z[k]);
    }
}

ALWAYS_INLINE void norm_forward_wide(const struct norm_job *job, struct range rows, bool R) {
    struct norm_wide w;
    for (int64_t first = rows.first; first < rows.end; first += LANES) {
        const int64_t m = kmin(LANES, rows.end - first);
        const real *x = job->x + first * job->n;
        real *y = job->y + first * job->n;
        int64_t row = 0;
        norm_wide_stats(&w, x, m, job->n, job->eps, R);
        for (; row + NORM_WIDE_ROWS <= m; row += NORM_WIDE_ROWS) {
            norm_wide_fetch(x + row * job->n, LANES, job->n, job->x + rows.end * job->n);
            norm_wide_forward(job, &w, x, y, row, NORM_WIDE_ROWS, R);
        }
        for (; row < m; row++) norm_wide_forward(job, &w, x, y, row, 1, R);
    }
}

// Where the rows [row, row + K) of a unit lie, and what their gradient needs.
struct norm_wide_rows {
    const real *x, *dy;
    real *dx, *d;                  // d: [K][n] of scratch, the gradients of xhat
    _Alignas(64) real mean[LANES]; // of d, then of d * xhat, K each
};

ALWAYS_INLINE void norm_wide_grads(const struct norm_job *job, const struct norm_wide *w,
                                   struct norm_wide_rows *to, int64_t row, real *dgamma,
                                   real *dbeta, int K, bool R) {
    const int64_t n = job->n;
    vec sum[LANES], xhat[VEC_MANY], d[VEC_MANY], z[VEC_MANY], s[VEC_MANY];
    VEC_EACH(i, LANES) sum[i] = (vec){0};
    for (int64_t c = 0; c < n; c += LANES) {
        const vec gamma = vec_load(job->gamma + c);
        vec total = vec_load(dgamma + c), total_beta = vec_load(dbeta + c);
        VEC_EACH(k, K) xhat[k] = vec_load(to->x + k * n + c);
        if (!R) VEC_EACH(k, K) xhat[k] -= vec_splat(w->mean[row + k]);
        VEC_EACH(k, K) xhat[k] *= vec_splat(w->scale[row + k]);
        VEC_EACH(k, K) d[k] = vec_load(to->dy + k * n + c);
        VEC_EACH(k, K) vec_fetch(to->dy, (K + k) * n + c);
        if (job->silu) {
            VEC_EACH(k, K) z[k] = gamma * xhat[k];
            if (!R) VEC_EACH(k, K) z[k] += vec_load(job->beta + c);
            vec_sigmoids(s, z, K);
            VEC_EACH(k, K) d[k] *= s[k] * (1 + z[k] * (1 - s[k]));
        }
        VEC_EACH(k, K) total += d[k] * xhat[k];
        VEC_EACH(k, K) total_beta += d[k];
        vec_store(dgamma + c, total);
        vec_store(dbeta + c, total_beta);
        VEC_EACH(k, K) d[k] *= gamma;
        VEC_EACH(k, K) vec_store(to->d + k * n + c, d[k]);
        VEC_EACH(k, K) sum[k] += d[k];
        VEC_EACH(k, K) sum[K + k] += d[k] * xhat[k];
    }
    vec_store(to->mean, vec_sums_across(sum, LANES) / (real)n);
}

ALWAYS_INLINE void norm_wide_finish(const struct norm_job *job, const struct norm_wide *w,
                                    const struct norm_wide_rows *from, int64_t row, bool accumulate,
                                    int K, bool R) {
    const int64_t n = job->n;
    vec xhat[VEC_MANY], out[VEC_MANY];
    for (int64_t c = 0; c < n; c += LANES) {
        VEC_EACH(k, K) xhat[k] = vec_load(from->x + k * n + c);
        if (!R) VEC_EACH(k, K) xhat[k] -= vec_splat(w->mean[row + k]);
        VEC_EACH(k, K) xhat[k] *= vec_splat(w->scale[row + k]);
        VEC_EACH(k, K) out[k] = vec_load(from->d + k * n + c);
        if (!R) VEC_EACH(k, K) out[k] -= vec_splat(from->mean[k]);
        VEC_EACH(k, K) out[k] -= xhat[k] * vec_splat(from->mean[K + k]);
        VEC_EACH(k, K) out[k] = vec_rounded(out[k] * vec_splat(w->scale[row + k]));
        if (accumulate) VEC_EACH(k, K) out[k] += vec_load(from->dx + k * n + c);
        VEC_EACH(k, K) vec_store(from->dx + k * n + c, out[k]);
    }
}

// K rows of the unit that begins at row `first`; d: [K][n] of scratch.
ALWAYS_INLINE void norm_wide_backward(const struct norm_job *job, const struct norm_wide *w,
                                      int64_t first, int64_t row, real *dgamma, real *dbeta,
                                      real *d, int K, bool R) {
    const int64_t at = (first + row) * job->n;
    struct norm_wide_rows rows = {
        .x = job->x + at, .dy = job->dy + at, .dx = job->dx ? job->dx + at : NULL, .d = d};
    norm_wide_grads(job, w, &rows, row, dgamma, dbeta, K, R);
    if (job->dx) norm_wide_finish(job, w, &rows, row, job->accumulate, K, R);
}

// d: [NORM_WIDE_ROWS][n] of scratch.
ALWAYS_INLINE void norm_backward_wide(const struct norm_job *job, struct range rows, real *dgamma,
                                      real *dbeta, real *d, bool R) {
    struct norm_wide w;
    memset(dgamma, 0, (size_t)job->n * sizeof(real));
    memset(dbeta, 0, (size_t)job->n * sizeof(real));
    for (int64_t first = rows.first; first < rows.end; first += LANES) {
        const int64_t m = kmin(LANES, rows.end - first);
        int64_t row = 0;
        norm_wide_stats(&w, job->x + first * job->n, m, job->n, job->eps, R);
        for (; row + NORM_WIDE_ROWS <= m; row += NORM_WIDE_ROWS) {
            const int64_t at = (first + row) * job->n, end = rows.end * job->n;
            norm_wide_fetch(job->x + at, LANES, job->n, job->x + end);
            norm_wide_fetch(job->dy + at, NORM_WIDE_ROWS, job->n, job->dy + end);
            norm_wide_backward(job, &w, first, row, dgamma, dbeta, d, NORM_WIDE_ROWS, R);
        }
        for (; row < m; row++) norm_wide_backward(job, &w, first, row, dgamma, dbeta, d, 1, R);
    }
}

#endif
