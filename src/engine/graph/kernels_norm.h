// LayerNorm with optional SiLU, forward and backward, and column sums: reductions over rows in fixed slices.
//
// Two forms. Rows of 1, 2 or 4 vectors, and two rows to a vector (the convolutions' norms: many short rows), are taken
// in blocks held in registers and on the stack: variances of a whole block share one square root and one division.
// Any other width: plain loops over one row that the compiler vectorises.
#ifndef GRAPH_KERNELS_NORM_H
#define GRAPH_KERNELS_NORM_H

#include "base/fmath.h"
#include "engine/graph/kernels.h"
#include "engine/graph/kernels_gemm.h"
#include "engine/graph/kernels_vec.h"

enum { NORM_BLOCK = 16, NORM_VECS_MAX = 4 };   // groups (a row, or two rows in one vector) of a block

// ---- short rows: V vectors to a group, P rows in a group. P is 2 only where V is 1. Both are constants after inlining.

struct norm_block {
    vec centred[NORM_BLOCK][NORM_VECS_MAX];    // x - mean
    _Alignas(64) real scale[2 * NORM_BLOCK];   // 1 / sqrt(var + eps) per row
};

// Sum over each row, in all lanes of the row.
ALWAYS_INLINE vec norm_sum(const vec *v, int V, int P) {
    vec s = v[0];
    if (V == 2) s = v[0] + v[1];
    if (V == 4) s = (v[0] + v[1]) + (v[2] + v[3]);
    return vec_group_sum(s, LANES / P);
}

ALWAYS_INLINE vec norm_row_values(const real *value, int P) {
    if (P == 1) return vec_splat(value[0]);
    vec_int upper;
    UNROLL for (int i = 0; i < LANES; i++) upper[i] = i < LANES / 2 ? 0 : -1;
    return vec_select(upper, vec_splat(value[1]), vec_splat(value[0]));
}

ALWAYS_INLINE void norm_block_stats(struct norm_block *b, const real *x, int groups, real eps, int V, int P) {
    const real inverse = (real)1 / (real)(V * LANES / P);
    for (int g = 0; g < groups; g++, x += V * LANES) {
        vec v[NORM_VECS_MAX], squares[NORM_VECS_MAX];
        UNROLL for (int i = 0; i < V; i++) v[i] = vec_load(x + i * LANES);
        const vec mean = norm_sum(v, V, P) * inverse;
        UNROLL for (int i = 0; i < V; i++) {
            b->centred[g][i] = v[i] - mean;
            squares[i] = b->centred[g][i] * b->centred[g][i];
        }
        const vec variance = norm_sum(squares, V, P) * inverse + eps;
        b->scale[P * g] = variance[0];
        if (P == 2) b->scale[P * g + 1] = variance[LANES / 2];
    }
    for (int i = groups * P; i < (NORM_BLOCK * P); i++) b->scale[i] = 1;
    for (int i = 0; i < NORM_BLOCK * P; i += LANES) vec_store(b->scale + i, 1 / vec_sqrt(vec_load(b->scale + i)));
}

struct norm_parameters { vec gamma[NORM_VECS_MAX], beta[NORM_VECS_MAX]; };   // repeated for P rows

ALWAYS_INLINE void norm_load(struct norm_parameters *p, const struct norm_job *job, int V, int P) {
    for (int i = 0; i < V; i++)
        for (int l = 0; l < LANES; l++) {
            p->gamma[i][l] = job->gamma[i * LANES + l % (LANES / P)];
            p->beta[i][l] = job->beta[i * LANES + l % (LANES / P)];
        }
}

ALWAYS_INLINE void norm_forward_block(const struct norm_job *job, const struct norm_parameters *p, const real *x,
                                      real *y, int groups, int V, int P) {
    struct norm_block b;
    norm_block_stats(&b, x, groups, job->eps, V, P);
    for (int g = 0; g < groups; g++, y += V * LANES) {
        const vec scale = norm_row_values(b.scale + P * g, P);
        UNROLL for (int i = 0; i < V; i++) {
            const vec z = p->gamma[i] * (b.centred[g][i] * scale) + p->beta[i];
            vec_store(y + i * LANES, job->silu ? z * vec_sigmoid(z) : z);
        }
    }
}

// dgamma and dbeta of the block are added to sums[2][V * LANES].
ALWAYS_INLINE void norm_backward_block(const struct norm_job *job, const struct norm_parameters *p, const real *x,
                                       const real *dy, real *dx, int groups, real *sums, bool accumulate, int V,
                                       int P) {
    struct norm_block b;
    const real inverse = (real)1 / (real)(V * LANES / P);
    vec dgamma[NORM_VECS_MAX] = {{0}}, dbeta[NORM_VECS_MAX] = {{0}};
    norm_block_stats(&b, x, groups, job->eps, V, P);
    for (int g = 0; g < groups; g++, dy += V * LANES, dx += V * LANES) {
        const vec scale = norm_row_values(b.scale + P * g, P);
        vec xhat[NORM_VECS_MAX], d[NORM_VECS_MAX], dx_hat[NORM_VECS_MAX];
        UNROLL for (int i = 0; i < V; i++) {
            xhat[i] = b.centred[g][i] * scale;
            d[i] = vec_load(dy + i * LANES);
            if (job->silu) {
                const vec z = p->gamma[i] * xhat[i] + p->beta[i], s = vec_sigmoid(z);
                d[i] *= s * (1 + z * (1 - s));
            }
            dgamma[i] += d[i] * xhat[i];
            dbeta[i] += d[i];
            d[i] *= p->gamma[i];
            dx_hat[i] = d[i] * xhat[i];
        }
        const vec mean = norm_sum(d, V, P) * inverse, mean_x = norm_sum(dx_hat, V, P) * inverse;
        UNROLL for (int i = 0; i < V; i++) {
            vec out = (d[i] - mean - xhat[i] * mean_x) * scale;
            vec_store(dx + i * LANES, accumulate ? vec_load(dx + i * LANES) + out : out);
        }
    }
    UNROLL for (int i = 0; i < V; i++) {
        vec_store(sums + i * LANES, vec_load(sums + i * LANES) + dgamma[i]);
        vec_store(sums + (V + i) * LANES, vec_load(sums + (V + i) * LANES) + dbeta[i]);
    }
}

// Rows [first, end) in blocks; what does not fill a group of two rows goes through padded copies.
ALWAYS_INLINE void norm_forward_short(const struct norm_job *job, struct range rows, int V, int P) {
    const int64_t n = job->n, groups = (rows.end - rows.first) / P;
    const real *x = job->x + rows.first * n;
    real *y = job->y + rows.first * n;
    struct norm_parameters p;
    norm_load(&p, job, V, P);
    for (int64_t g = 0; g < groups; g += NORM_BLOCK)
        norm_forward_block(job, &p, x + g * P * n, y + g * P * n, (int)kmin(NORM_BLOCK, groups - g), V, P);
    if ((rows.end - rows.first) % P == 0) return;
    real last[LANES] = {0}, out[LANES];
    memcpy(last, job->x + (rows.end - 1) * n, (size_t)n * sizeof(real));
    norm_forward_block(job, &p, last, out, 1, V, P);
    memcpy(job->y + (rows.end - 1) * n, out, (size_t)n * sizeof(real));
}

ALWAYS_INLINE void norm_backward_short(const struct norm_job *job, struct range rows, real *dgamma, real *dbeta, int V,
                                       int P) {
    const int64_t n = job->n, groups = (rows.end - rows.first) / P;
    real sums[2 * NORM_VECS_MAX * LANES] = {0}, unwanted[NORM_BLOCK * NORM_VECS_MAX * LANES];
    const bool accumulate = job->dx && job->accumulate;
    struct norm_parameters p;
    norm_load(&p, job, V, P);
    for (int64_t g = 0; g < groups; g += NORM_BLOCK) {
        int64_t at = (rows.first + g * P) * n;
        norm_backward_block(job, &p, job->x + at, job->dy + at, job->dx ? job->dx + at : unwanted,
                            (int)kmin(NORM_BLOCK, groups - g), sums, accumulate, V, P);
    }
    if ((rows.end - rows.first) % P) {
        real x[LANES] = {0}, dy[LANES] = {0}, dx[LANES] = {0};
        const int64_t at = (rows.end - 1) * n;
        memcpy(x, job->x + at, (size_t)n * sizeof(real));
        memcpy(dy, job->dy + at, (size_t)n * sizeof(real));
        if (accumulate) memcpy(dx, job->dx + at, (size_t)n * sizeof(real));
        norm_backward_block(job, &p, x, dy, dx, 1, sums, accumulate, V, P);
        if (job->dx) memcpy(job->dx + at, dx, (size_t)n * sizeof(real));
    }
    for (int64_t c = 0; c < n; c++) {
        dgamma[c] = sums[c] + (P == 2 ? sums[n + c] : 0);
        dbeta[c] = sums[V * LANES + c] + (P == 2 ? sums[V * LANES + n + c] : 0);
    }
}

// ---- any row

static void norm_row_stats(const real *x, int64_t n, real eps, real *mean, real *scale) {
    real sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < n; c++) sum += x[c];
    const real m = sum / (real)n;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < n; c++) squares += (x[c] - m) * (x[c] - m);
    *mean = m;
    *scale = 1 / fast_sqrt(squares / (real)n + eps);
}

static void norm_forward_row(const struct norm_job *job, int64_t row) {
    const real *x = job->x + row * job->n, *gamma = job->gamma, *beta = job->beta;
    real *y = job->y + row * job->n, mean, scale;
    norm_row_stats(x, job->n, job->eps, &mean, &scale);
#pragma omp simd
    for (int64_t c = 0; c < job->n; c++) y[c] = gamma[c] * ((x[c] - mean) * scale) + beta[c];
    if (!job->silu) return;
#pragma omp simd
    for (int64_t c = 0; c < job->n; c++) y[c] = fast_silu(y[c]);
}

// The gradient through the activation at element c.
ALWAYS_INLINE real norm_through(const struct norm_job *job, real dy, real z) {
    const real s = fast_sigmoid(z);
    return job->silu ? dy * (s * (1 + z * (1 - s))) : dy;
}

static void norm_backward_row(const struct norm_job *job, int64_t row, real *dgamma, real *dbeta) {
    const int64_t n = job->n;
    const real *x = job->x + row * n, *dy = job->dy + row * n, *gamma = job->gamma, *beta = job->beta;
    real mean, scale, mean_g = 0, mean_gx = 0;
    norm_row_stats(x, n, job->eps, &mean, &scale);
#pragma omp simd reduction(+ : mean_g, mean_gx)
    for (int64_t c = 0; c < n; c++) {
        const real xhat = (x[c] - mean) * scale, d = norm_through(job, dy[c], gamma[c] * xhat + beta[c]);
        dgamma[c] += d * xhat;
        dbeta[c] += d;
        mean_g += d * gamma[c];
        mean_gx += d * gamma[c] * xhat;
    }
    if (!job->dx) return;
    mean_g /= (real)n;
    mean_gx /= (real)n;
    real *dx = job->dx + row * n;
    const bool accumulate = job->accumulate;
#pragma omp simd
    for (int64_t c = 0; c < n; c++) {
        const real xhat = (x[c] - mean) * scale, d = norm_through(job, dy[c], gamma[c] * xhat + beta[c]);
        const real out = (d * gamma[c] - mean_g - xhat * mean_gx) * scale;
        dx[c] = accumulate ? dx[c] + out : out;
    }
}

// ---- kernels

static void norm_forward(const struct norm_job *job, int share) {
    struct range rows = share_range(job->rows, norm_shares(job), share);
    if (job->n == LANES) norm_forward_short(job, rows, 1, 1);
    else if (job->n == 2 * LANES) norm_forward_short(job, rows, 2, 1);
    else if (job->n == 4 * LANES) norm_forward_short(job, rows, 4, 1);
    else if (job->n == 8 && LANES == 16) norm_forward_short(job, rows, 1, 2);
    else
        for (int64_t r = rows.first; r < rows.end; r++) norm_forward_row(job, r);
}

static void norm_backward(const struct norm_job *job, int share) {
    struct range rows = share_range(job->rows, norm_backward_shares(job), share);
    int64_t n = job->n;
    real *dgamma = job->partials + share * 2 * kround_up(n, GEMM_UNIT), *dbeta = dgamma + n;
    if (job->n == LANES) norm_backward_short(job, rows, dgamma, dbeta, 1, 1);
    else if (job->n == 2 * LANES) norm_backward_short(job, rows, dgamma, dbeta, 2, 1);
    else if (job->n == 4 * LANES) norm_backward_short(job, rows, dgamma, dbeta, 4, 1);
    else if (job->n == 8 && LANES == 16) norm_backward_short(job, rows, dgamma, dbeta, 1, 2);
    else {
        memset(dgamma, 0, (size_t)(2 * n) * sizeof(real));
        for (int64_t r = rows.first; r < rows.end; r++) norm_backward_row(job, r, dgamma, dbeta);
    }
}

static void norm_backward_reduce(const struct norm_job *job, int share) {
    (void)share;
    const int64_t n = job->n;
    const int n_partials = norm_backward_shares(job);
    for (int64_t c = 0; c < n; c++) {
        real dgamma = 0, dbeta = 0;
        for (int i = 0; i < n_partials; i++) {
            const real *partial = job->partials + i * 2 * kround_up(n, GEMM_UNIT);
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
    if (job->n == 1 && job->row_stride == 1) {           // the last deconvolution's bias: one long sum
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
        for (int i = 0; i < n_partials; i++) sum += job->partials[i * kround_up(job->n, GEMM_UNIT) + c];
        job->out[c] = job->accumulate ? job->out[c] + sum : sum;
    }
}

#endif
