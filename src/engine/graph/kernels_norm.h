// LayerNorm with optional SiLU, forward and backward, and column sums: reductions over rows in fixed slices.
#ifndef GRAPH_KERNELS_NORM_H
#define GRAPH_KERNELS_NORM_H

#include <math.h>

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_vec.h"

static void norm_row_stats(const real *x, int64_t n, real eps, real *mean, real *scale) {
    real sum = 0, squares = 0;
    for (int64_t c = 0; c < n; c++) sum += x[c];
    *mean = sum / (real)n;
    for (int64_t c = 0; c < n; c++) squares += (x[c] - *mean) * (x[c] - *mean);
    *scale = 1 / (real)sqrt(squares / (real)n + eps);
}

static void norm_forward(const struct norm_job *job, int share) {
    struct range rows = share_range(job->rows, norm_shares(job), share);
    for (int64_t r = rows.first; r < rows.end; r++) {
        const real *x = job->x + r * job->n;
        real mean, scale;
        norm_row_stats(x, job->n, job->eps, &mean, &scale);
        for (int64_t c = 0; c < job->n; c++) {
            real z = job->gamma[c] * ((x[c] - mean) * scale) + job->beta[c];
            job->y[r * job->n + c] = job->silu ? z / (1 + (real)exp(-z)) : z;
        }
    }
}

static void norm_backward(const struct norm_job *job, int share) {
    struct range rows = share_range(job->rows, norm_backward_shares(job), share);
    int64_t n = job->n;
    real *dgamma = job->partials + share * 2 * kround_up(n, GEMM_UNIT), *dbeta = dgamma + n;
    memset(dgamma, 0, (size_t)(2 * n) * sizeof(real));
    for (int64_t r = rows.first; r < rows.end; r++) {
        const real *x = job->x + r * n, *dy = job->dy + r * n;
        real mean, scale, mean_g = 0, mean_gx = 0;
        norm_row_stats(x, n, job->eps, &mean, &scale);
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t c = 0; c < n; c++) {
                real xhat = (x[c] - mean) * scale, z = job->gamma[c] * xhat + job->beta[c], d = dy[c];
                if (job->silu) {
                    real s = 1 / (1 + (real)exp(-z));
                    d *= s * (1 + z * (1 - s));
                }
                real g = d * job->gamma[c];
                if (pass == 0) {
                    dgamma[c] += d * xhat;
                    dbeta[c] += d;
                    mean_g += g / (real)n;
                    mean_gx += g * xhat / (real)n;
                } else if (job->dx) {
                    real dx = (g - mean_g - xhat * mean_gx) * scale, *out = job->dx + r * n + c;
                    *out = job->accumulate ? *out + dx : dx;
                }
            }
        }
    }
}

static void norm_backward_reduce(const struct norm_job *job, int share) {
    (void)share;
    int64_t n = job->n;
    for (int64_t c = 0; c < n; c++) {
        real dgamma = 0, dbeta = 0;
        for (int i = 0; i < norm_backward_shares(job); i++) {
            const real *partial = job->partials + i * 2 * kround_up(n, GEMM_UNIT);
            dgamma += partial[c];
            dbeta += partial[n + c];
        }
        job->dgamma[c] += dgamma;
        job->dbeta[c] += dbeta;
    }
}

static void column_sum(const struct column_sum_job *job, int share) {
    struct range rows = share_range(job->rows, column_sum_shares(job), share);
    real *sum = job->partials + share * kround_up(job->n, GEMM_UNIT);
    memset(sum, 0, (size_t)job->n * sizeof(real));
    for (int64_t r = rows.first; r < rows.end; r++)
        for (int64_t c = 0; c < job->n; c++) sum[c] += job->x[r * job->row_stride + c];
}

static void column_sum_reduce(const struct column_sum_job *job, int share) {
    (void)share;
    for (int64_t c = 0; c < job->n; c++) {
        real sum = 0;
        for (int i = 0; i < column_sum_shares(job); i++) sum += job->partials[i * kround_up(job->n, GEMM_UNIT) + c];
        job->out[c] = job->accumulate ? job->out[c] + sum : sum;
    }
}

#endif
