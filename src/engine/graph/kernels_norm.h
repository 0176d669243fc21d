// LayerNorm and RMS norm with optional SiLU, forward and backward, and column sums.
//
// Sums over rows are taken per share, the shares' partial sums added in a fixed order.
// Three forms: short rows (kernels_norm_short.h), rows of whole vectors (kernels_norm_wide.h), and
// here any other width: one row after the other.
#ifndef GRAPH_KERNELS_NORM_H
#define GRAPH_KERNELS_NORM_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_norm_short.h"
#include "engine/graph/kernels_norm_wide.h"
#include "engine/graph/kernels_vec.h"

// ---- any row: whole vectors, then one filled up with zeros

struct norm_row {
    int64_t n, whole;
    int rest;
    vec mask;
}; // whole: elements in whole vectors; mask: of the rest

static struct norm_row norm_row_of(int64_t n) {
    struct norm_row r = {.n = n, .whole = n / LANES * LANES, .rest = (int)(n % LANES)};
    for (int l = 0; l < LANES; l++) r.mask[l] = l < r.rest;
    return r;
}

ALWAYS_INLINE vec norm_load_part(const real *p, int count) {
    if (count == LANES) return vec_load(p);
#if defined(VEC_INTRINSIC) && VEC_BYTES == 64
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
#else
    real part[LANES] = {0};
    memcpy(part, p, (size_t)count * sizeof(real));
    return vec_load(part);
#endif
}

ALWAYS_INLINE void norm_store_part(real *p, vec v, int count) {
    if (count == LANES) {
        vec_store(p, v);
        return;
    }
#if defined(VEC_INTRINSIC) && VEC_BYTES == 64
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
#else
    real part[LANES];
    vec_store(part, v);
    memcpy(p, part, (size_t)count * sizeof(real));
#endif
}

ALWAYS_INLINE void norm_row_stats(const struct norm_row *r, const real *x, real eps, vec *mean,
                                  vec *scale, bool R) {
    vec sum[4] = {{0}}, rest = norm_load_part(x + r->whole, r->rest);
    int64_t c = 0;
    for (; c + 4 * LANES <= r->whole; c += 4 * LANES)
        VEC_EACH(i, 4) sum[i] += vec_load(x + c + i * LANES);
    for (; c < r->whole; c += LANES) sum[0] += vec_load(x + c);
    sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]) + rest;
    vec_group_sums(sum, 1, LANES);
    const vec m = R ? (vec){0} : sum[0] / (real)r->n;
    rest = (rest - m) * r->mask;
    VEC_EACH(i, 4) sum[i] = (vec){0};
    for (c = 0; c + 4 * LANES <= r->whole; c += 4 * LANES) VEC_EACH(i, 4) {
            const vec d = vec_load(x + c + i * LANES) - m;
            sum[i] += d * d;
        }
    for (; c < r->whole; c += LANES) sum[0] += (vec_load(x + c) - m) * (vec_load(x + c) - m);
    sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]) + rest * rest;
    vec_group_sums(sum, 1, LANES);
    *mean = m;
    *scale = 1 / vec_sqrt(sum[0] / (real)r->n + eps);
}

// U vectors of a row (or the rest of it: count < LANES) from element c on.
ALWAYS_INLINE void norm_forward_part(const struct norm_job *job, const real *x, real *y, int64_t c,
                                     vec mean, vec scale, int count, int U, bool R) {
    vec z[VEC_MANY], s[VEC_MANY];
    VEC_EACH(i, U) {
        const int64_t at = c + i * LANES;
        const vec xi = norm_load_part(x + at, count),
                  gamma = norm_load_part(job->gamma + at, count);
        z[i] = gamma * ((xi - mean) * scale);
        if (!R) z[i] += norm_load_part(job->beta + at, count);
    }
    if (job->silu) {
        vec_sigmoids(s, z, U);
        VEC_EACH(i, U) z[i] *= s[i];
    }
    VEC_EACH(i, U) norm_store_part(y + c + i * LANES, z[i], count);
}

ALWAYS_INLINE void norm_forward_row(const struct norm_job *job, const struct norm_row *r,
                                    int64_t row, bool R) {
    const real *x = job->x + row * r->n;
    real *y = job->y + row * r->n;
    vec mean, scale;
    int64_t c = 0;
    norm_row_stats(r, x, job->eps, &mean, &scale, R);
    for (; c + 2 * LANES <= r->whole; c += 2 * LANES)
        norm_forward_part(job, x, y, c, mean, scale, LANES, 2, R);
    for (; c < r->whole; c += LANES) norm_forward_part(job, x, y, c, mean, scale, LANES, 1, R);
    if (r->rest) norm_forward_part(job, x, y, c, mean, scale, r->rest, 1, R);
}

// The gradient of xhat; sum[0], sum[1] collect it and its product with xhat.
ALWAYS_INLINE void norm_backward_part(const struct norm_job *job, const real *x, const real *dy,
                                      real *dx_hat, real *dgamma, real *dbeta, int64_t c, vec mean,
                                      vec scale, vec *sum, int count, int U, bool R) {
    vec xhat[VEC_MANY], d[VEC_MANY], z[VEC_MANY], s[VEC_MANY], gamma[VEC_MANY];
    VEC_EACH(i, U) {
        const int64_t at = c + i * LANES;
        xhat[i] = (norm_load_part(x + at, count) - mean) * scale;
        d[i] = norm_load_part(dy + at, count); // zero past the end, and all that follows with it
        gamma[i] = norm_load_part(job->gamma + at, count);
        z[i] = gamma[i] * xhat[i];
        if (!R) z[i] += norm_load_part(job->beta + at, count);
    }
    if (job->silu) {
        vec_sigmoids(s, z, U);
        VEC_EACH(i, U) d[i] *= s[i] * (1 + z[i] * (1 - s[i]));
    }
    VEC_EACH(i, U) {
        const int64_t at = c + i * LANES;
        norm_store_part(dgamma + at, norm_load_part(dgamma + at, count) + d[i] * xhat[i], count);
        norm_store_part(dbeta + at, norm_load_part(dbeta + at, count) + d[i], count);
        d[i] *= gamma[i];
        sum[0] += d[i];
        sum[1] += d[i] * xhat[i];
        norm_store_part(dx_hat + at, d[i], count);
    }
}

ALWAYS_INLINE void norm_backward_finish(const real *x, const real *dx_hat, real *dx, int64_t c,
                                        vec mean, vec scale, const vec *sum, bool accumulate,
                                        int count) {
    const vec xhat = (norm_load_part(x + c, count) - mean) * scale;
    vec out = vec_rounded((norm_load_part(dx_hat + c, count) - sum[0] - xhat * sum[1]) * scale);
    if (accumulate) out += norm_load_part(dx + c, count);
    norm_store_part(dx + c, out, count);
}

// dx_hat: [n] of scratch
ALWAYS_INLINE void norm_backward_row(const struct norm_job *job, const struct norm_row *r,
                                     int64_t row, real *dgamma, real *dbeta, real *dx_hat, bool R) {
    const real *x = job->x + row * r->n, *dy = job->dy + row * r->n;
    vec mean, scale, sum[2] = {{0}};
    int64_t c = 0;
    norm_row_stats(r, x, job->eps, &mean, &scale, R);
    for (; c + 2 * LANES <= r->whole; c += 2 * LANES)
        norm_backward_part(job, x, dy, dx_hat, dgamma, dbeta, c, mean, scale, sum, LANES, 2, R);
    for (; c < r->whole; c += LANES)
        norm_backward_part(job, x, dy, dx_hat, dgamma, dbeta, c, mean, scale, sum, LANES, 1, R);
    if (r->rest)
        norm_backward_part(job, x, dy, dx_hat, dgamma, dbeta, c, mean, scale, sum, r->rest, 1, R);
    if (!job->dx) return;
    vec_group_sums(sum, 2, LANES);
    VEC_EACH(i, 2) sum[i] /= (real)r->n;
    if (R) sum[0] = (vec){0};
    real *dx = job->dx + row * r->n;
    for (c = 0; c < r->whole; c += LANES)
        norm_backward_finish(x, dx_hat, dx, c, mean, scale, sum, job->accumulate, LANES);
    if (r->rest) norm_backward_finish(x, dx_hat, dx, c, mean, scale, sum, job->accumulate, r->rest);
}

// ---- kernels

ALWAYS_INLINE void norm_forward_of(const struct norm_job *job, int share, bool R) {
    struct range rows = share_range(job->rows, norm_shares(job), share);
    if (job->n == LANES)
        norm_forward_short(job, rows, 1, 1, R);
    else if (job->n == 2 * LANES)
        norm_forward_short(job, rows, 2, 1, R);
    else if (job->n == 4 * LANES)
        norm_forward_short(job, rows, 4, 1, R);
    else if (job->n == 8 && LANES == 16)
        norm_forward_short(job, rows, 1, 2, R);
    else if (job->n == 4 && LANES > 4)
        norm_forward_short(job, rows, 1, LANES / 4, R);
    else if (job->n == 2 && LANES > 2)
        norm_forward_short(job, rows, 1, LANES / 2, R);
    else if (job->n % LANES == 0)
        norm_forward_wide(job, rows, R);
    else {
        const struct norm_row row = norm_row_of(job->n);
        for (int64_t r = rows.first; r < rows.end; r++) norm_forward_row(job, &row, r, R);
    }
}

static void norm_forward(const struct norm_job *job, int share) {
    if (job->rms)
        norm_forward_of(job, share, true);
    else
        norm_forward_of(job, share, false);
}

ALWAYS_INLINE void norm_backward_of(const struct norm_job *job, int share, bool R) {
    struct range rows = share_range(job->rows, norm_backward_shares(job), share);
    int64_t n = job->n;
    real *dgamma = job->partials + share * norm_partial_stride(n), *dbeta = dgamma + n;
    if (job->n == LANES)
        norm_backward_short(job, rows, dgamma, dbeta, 1, 1, R);
    else if (job->n == 2 * LANES)
        norm_backward_short(job, rows, dgamma, dbeta, 2, 1, R);
    else if (job->n == 4 * LANES)
        norm_backward_short(job, rows, dgamma, dbeta, 4, 1, R);
    else if (job->n == 8 && LANES == 16)
        norm_backward_short(job, rows, dgamma, dbeta, 1, 2, R);
    else if (job->n == 4 && LANES > 4)
        norm_backward_short(job, rows, dgamma, dbeta, 1, LANES / 4, R);
    else if (job->n == 2 && LANES > 2)
        norm_backward_short(job, rows, dgamma, dbeta, 1, LANES / 2, R);
    else if (job->n % LANES == 0)
        norm_backward_wide(job, rows, dgamma, dbeta, dbeta + n, R);
    else {
        const struct norm_row row = norm_row_of(n);
        memset(dgamma, 0, (size_t)(2 * n) * sizeof(real));
        for (int64_t r = rows.first; r < rows.end; r++)
            norm_backward_row(job, &row, r, dgamma, dbeta, dbeta + n, R);
    }
}

static void norm_backward(const struct norm_job *job, int share) {
    if (job->rms)
        norm_backward_of(job, share, true);
    else
        norm_backward_of(job, share, false);
}

static void norm_backward_reduce(const struct norm_job *job, int share) {
    (void)share;
    const int64_t n = job->n;
    const int n_partials = norm_backward_shares(job);
    for (int64_t c = 0; c < n; c++) {
        real dgamma = 0, dbeta = 0;
        for (int i = 0; i < n_partials; i++) {
            const real *partial = job->partials + i * norm_partial_stride(n);
            dgamma += partial[c];
            dbeta += partial[n + c];
        }
        job->dgamma[c] += dgamma;
        job->dbeta[c] += dbeta;
    }
}

// ---- column sums

static void column_sum(const struct column_sum_job *job, int share) {
    struct range rows = share_range(job->rows, column_sum_shares(job), share);
    real *sum = job->partials + share * kround_up(job->n, GEMM_UNIT);
    if (job->n == 1 && job->row_stride == 1) { // the last deconvolution's bias: one long sum
        real total = 0;
        const real *x = job->x;
#pragma omp simd reduction(+ : total)
        for (int64_t r = rows.first; r < rows.end; r++) total += x[r];
        sum[0] = total;
        return;
    }
    memset(sum, 0, (size_t)job->n * sizeof(real));
    for (int64_t r = rows.first; r < rows.end; r++) {
        const real *x = job->x + r * job->row_stride;
#pragma omp simd
        for (int64_t c = 0; c < job->n; c++) sum[c] += x[c];
    }
}

static void column_sum_reduce(const struct column_sum_job *job, int share) {
    (void)share;
    const int n_partials = column_sum_shares(job);
    for (int64_t c = 0; c < job->n; c++) {
        real sum = 0;
        for (int i = 0; i < n_partials; i++)
            sum += job->partials[i * kround_up(job->n, GEMM_UNIT) + c];
        job->out[c] = job->accumulate ? job->out[c] + sum : sum;
    }
}

#endif
