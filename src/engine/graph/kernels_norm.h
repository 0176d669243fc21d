// LayerNorm and RMS norm with optional SiLU, forward and backward, and column sums.
//
// Sums over rows are taken per share, the shares' partial sums added in a fixed order.
// Two forms. Rows of 1, 2 or 4 vectors, and several rows to a vector (the convolutions' norms: many
// short rows), are taken in blocks held in registers and on the stack: variances of a whole block
// share one square root and one division. Any other width: one row after the other.
#ifndef GRAPH_KERNELS_NORM_H
#define GRAPH_KERNELS_NORM_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_gemm.h"
#include "engine/graph/kernels_vec.h"

// A group is what a load takes: one row of V vectors, or P rows in one vector (then V = 1). A
// block is up to NORM_BLOCK groups. U groups are taken in step (kernels_vec.h). V, P and U are
// constants after inlining, and so is R: RMS norm, which has no mean and no beta.
enum { NORM_BLOCK = 16, NORM_IN_STEP = 2, NORM_VECS_MAX = VEC_MANY };

struct norm_parameters { // repeated for P rows
    vec gamma[NORM_VECS_MAX], beta[NORM_VECS_MAX];
};

ALWAYS_INLINE void norm_load(struct norm_parameters *p, const struct norm_job *job, int V, int P,
                             bool R) {
    for (int i = 0; i < V; i++)
        for (int l = 0; l < LANES; l++) {
            p->gamma[i][l] = job->gamma[i * LANES + l % (LANES / P)];
            p->beta[i][l] = R ? 0 : job->beta[i * LANES + l % (LANES / P)];
        }
}

struct norm_block {
    vec centred[NORM_BLOCK * NORM_VECS_MAX]; // x - mean
    _Alignas(64) real scale[2 * NORM_BLOCK]; // 1 / sqrt(var + eps) per row, P <= 2
    vec lanes[NORM_BLOCK];                   // the same in all lanes of the row, P > 2
};

// sum[u] = sum over each row of group u of v, in all lanes of the row.
ALWAYS_INLINE void norm_sums(vec *sum, const vec *v, int V, int P, int U) {
    VEC_EACH(u, U)
    sum[u] = V == 4 ? (v[0] + v[1]) + (v[2] + v[3]) : V == 2 ? v[2 * u] + v[2 * u + 1] : v[u];
    vec_group_sums(sum, U, LANES / P);
}

// Groups [g, g + U): centred values, and variances + eps in place of the scales. RMS: values as
// they are, and mean squares + eps.
ALWAYS_INLINE void norm_stats(struct norm_block *b, const real *x, int g, real eps, int V, int P,
                              int U, bool R) {
    const real inverse = (real)1 / (real)(V * LANES / P);
    vec v[VEC_MANY], sum[VEC_MANY];
    x += g * V * LANES;
    VEC_EACH(i, U * V) v[i] = vec_load(x + i * LANES);
    norm_sums(sum, v, V, P, U);
    if (!R) VEC_EACH(i, U * V) v[i] -= sum[i / V] * inverse;
    VEC_EACH(i, U * V) b->centred[g * V + i] = v[i];
    VEC_EACH(i, U * V) v[i] *= v[i];
    norm_sums(sum, v, V, P, U);
    VEC_EACH(u, U) {
        const vec variance = sum[u] * inverse + eps;
        if (P > 2) {
            b->lanes[g + u] = variance;
            continue;
        }
        b->scale[P * (g + u)] = variance[0];
        if (P == 2) b->scale[P * (g + u) + 1] = variance[LANES / 2];
    }
}

ALWAYS_INLINE void norm_block_stats(struct norm_block *b, const real *x, int groups, real eps,
                                    int V, int P, int U, bool R) {
    int g = 0;
    for (; g + U <= groups; g += U) norm_stats(b, x, g, eps, V, P, U, R);
    for (; g < groups; g++) norm_stats(b, x, g, eps, V, P, 1, R);
    for (int i = g; P > 2 && i < NORM_BLOCK; i++) b->lanes[i] = vec_splat(1);
    for (int i = g * P; P <= 2 && i < NORM_BLOCK * P; i++) b->scale[i] = 1;
}

// Variances become scales. Not at once: the vector load would wait for the single stores, the users
// for the root.
ALWAYS_INLINE void norm_block_roots(struct norm_block *b, int P) {
    for (int i = 0; P > 2 && i < NORM_BLOCK; i++) b->lanes[i] = 1 / vec_sqrt(b->lanes[i]);
    for (int i = 0; P <= 2 && i < NORM_BLOCK * P; i += LANES)
        vec_store(b->scale + i, 1 / vec_sqrt(vec_load(b->scale + i)));
}

ALWAYS_INLINE vec norm_scale(const struct norm_block *b, int g, int P) {
    if (P == 1) return vec_splat(b->scale[g]);
    if (P > 2) return b->lanes[g];
    vec_int upper;
    VEC_EACH(i, LANES) upper[i] = i < LANES / 2 ? 0 : -1;
    return vec_select(upper, vec_splat(b->scale[2 * g + 1]), vec_splat(b->scale[2 * g]));
}

ALWAYS_INLINE void norm_forward_groups(const struct norm_job *job, const struct norm_parameters *p,
                                       const struct norm_block *b, int g, real *y, int V, int P,
                                       int U, bool R) {
    vec z[VEC_MANY], s[VEC_MANY];
    y += g * V * LANES;
    VEC_EACH(i, U * V) z[i] = b->centred[g * V + i] * norm_scale(b, g + i / V, P);
    if (R)
        VEC_EACH(i, U * V) z[i] = p->gamma[i % V] * z[i];
    else
        VEC_EACH(i, U * V) z[i] = p->gamma[i % V] * z[i] + p->beta[i % V];
    if (job->silu) {
        vec_sigmoids(s, z, U * V);
        VEC_EACH(i, U * V) z[i] *= s[i];
    }
    VEC_EACH(i, U * V) vec_store(y + i * LANES, z[i]);
}

ALWAYS_INLINE void norm_forward_block(const struct norm_job *job, const struct norm_parameters *p,
                                      const struct norm_block *b, real *y, int groups, int V, int P,
                                      int U, bool R) {
    int g = 0;
    for (; g + U <= groups; g += U) norm_forward_groups(job, p, b, g, y, V, P, U, R);
    for (; g < groups; g++) norm_forward_groups(job, p, b, g, y, V, P, 1, R);
}

struct norm_totals { // over rows; lane by lane, for each of the U * V vectors
    vec dgamma[VEC_MANY], dbeta[VEC_MANY];
};

ALWAYS_INLINE void norm_backward_groups(const struct norm_job *job, const struct norm_parameters *p,
                                        const struct norm_block *b, int g, const real *dy, real *dx,
                                        bool accumulate, struct norm_totals *totals, int V, int P,
                                        int U, bool R) {
    const real inverse = (real)1 / (real)(V * LANES / P);
    vec xhat[VEC_MANY], d[VEC_MANY], z[VEC_MANY], s[VEC_MANY], mean[VEC_MANY], mean_x[VEC_MANY];
    dy += g * V * LANES, dx += g * V * LANES;
    VEC_EACH(i, U * V) xhat[i] = b->centred[g * V + i] * norm_scale(b, g + i / V, P);
    VEC_EACH(i, U * V) d[i] = vec_load(dy + i * LANES);
    if (job->silu) {
        if (R)
            VEC_EACH(i, U * V) z[i] = p->gamma[i % V] * xhat[i];
        else
            VEC_EACH(i, U * V) z[i] = p->gamma[i % V] * xhat[i] + p->beta[i % V];
        vec_sigmoids(s, z, U * V);
        VEC_EACH(i, U * V) z[i] = 1 + z[i] * (1 - s[i]);
        VEC_EACH(i, U * V) d[i] *= s[i] * z[i];
    }
    VEC_EACH(i, U * V) totals->dgamma[i] += d[i] * xhat[i];
    VEC_EACH(i, U * V) totals->dbeta[i] += d[i];
    VEC_EACH(i, U * V) d[i] *= p->gamma[i % V];
    VEC_EACH(i, U * V) z[i] = d[i] * xhat[i];
    if (!R) norm_sums(mean, d, V, P, U);
    norm_sums(mean_x, z, V, P, U);
    if (R)
        VEC_EACH(i, U * V) z[i] = d[i] - xhat[i] * (mean_x[i / V] * inverse);
    else
        VEC_EACH(i, U * V)
    z[i] = d[i] - mean[i / V] * inverse - xhat[i] * (mean_x[i / V] * inverse);
    VEC_EACH(i, U * V) z[i] *= norm_scale(b, g + i / V, P);
    if (accumulate) VEC_EACH(i, U * V) z[i] += vec_load(dx + i * LANES);
    VEC_EACH(i, U * V) vec_store(dx + i * LANES, z[i]);
}

ALWAYS_INLINE void norm_backward_block(const struct norm_job *job, const struct norm_parameters *p,
                                       const struct norm_block *b, const real *dy, real *dx,
                                       int groups, struct norm_totals *totals, bool accumulate,
                                       int V, int P, int U, bool R) {
    int g = 0;
    for (; g + U <= groups; g += U)
        norm_backward_groups(job, p, b, g, dy, dx, accumulate, totals, V, P, U, R);
    for (; g < groups; g++)
        norm_backward_groups(job, p, b, g, dy, dx, accumulate, totals, V, P, 1, R);
}

// Adds up what lies apart: U vectors for each of the row's, and the rows of a group.
ALWAYS_INLINE void norm_store_totals(const vec *totals, real *out, int V, int P, int U) {
    for (int i = 0; i < V; i++) {
        const vec sum = U == 2 ? totals[i] + totals[V + i] : totals[i];
        for (int l = 0; l < LANES / P; l++) {
            real total = sum[l];
            for (int row = 1; row < P; row++) total += sum[row * (LANES / P) + l];
            out[i * LANES + l] = total;
        }
    }
}

// Rows [first, end) in blocks, the next block's sums always ahead of this block's results, so that
// neither waits for the other; what does not fill a group of rows goes through padded copies.
ALWAYS_INLINE void norm_forward_short(const struct norm_job *job, struct range rows, int V, int P,
                                      int U, bool R) {
    const int64_t n = job->n, groups = (rows.end - rows.first) / P;
    const real *x = job->x + rows.first * n;
    real *y = job->y + rows.first * n;
    struct norm_parameters p;
    struct norm_block blocks[2];
    norm_load(&p, job, V, P, R);
    norm_block_stats(&blocks[0], x, (int)kmin(NORM_BLOCK, groups), job->eps, V, P, U, R);
    norm_block_roots(&blocks[0], P);
    for (int64_t g = 0, next; g < groups; g = next) {
        struct norm_block *now = &blocks[g / NORM_BLOCK % 2],
                          *then = &blocks[1 - g / NORM_BLOCK % 2];
        next = g + NORM_BLOCK;
        norm_block_stats(then, x + next * P * n, (int)kmin(NORM_BLOCK, groups - next), job->eps, V,
                         P, U, R);
        norm_forward_block(job, &p, now, y + g * P * n, (int)kmin(NORM_BLOCK, groups - g), V, P, U,
                           R);
        norm_block_roots(then, P);
    }
    const int64_t rest = (rows.end - rows.first) % P;
    if (rest == 0) return;
    real last[LANES] = {0}, out[LANES];
    memcpy(last, job->x + (rows.end - rest) * n, (size_t)(rest * n) * sizeof(real));
    norm_block_stats(&blocks[0], last, 1, job->eps, V, P, 1, R);
    norm_block_roots(&blocks[0], P);
    norm_forward_block(job, &p, &blocks[0], out, 1, V, P, 1, R);
    memcpy(job->y + (rows.end - rest) * n, out, (size_t)(rest * n) * sizeof(real));
}

ALWAYS_INLINE void norm_backward_short(const struct norm_job *job, struct range rows, real *dgamma,
                                       real *dbeta, int V, int P, int U, bool R) {
    const int64_t n = job->n, groups = (rows.end - rows.first) / P;
    struct norm_totals totals = {{{0}}, {{0}}};
    real unwanted[NORM_BLOCK * NORM_VECS_MAX * LANES];
    const bool accumulate = job->dx && job->accumulate;
    const real *first = job->x + rows.first * n;
    struct norm_parameters p;
    struct norm_block blocks[2];
    norm_load(&p, job, V, P, R);
    norm_block_stats(&blocks[0], first, (int)kmin(NORM_BLOCK, groups), job->eps, V, P, U, R);
    norm_block_roots(&blocks[0], P);
    for (int64_t g = 0, next; g < groups; g = next) {
        struct norm_block *now = &blocks[g / NORM_BLOCK % 2],
                          *then = &blocks[1 - g / NORM_BLOCK % 2];
        const int64_t at = (rows.first + g * P) * n;
        next = g + NORM_BLOCK;
        norm_block_stats(then, first + next * P * n, (int)kmin(NORM_BLOCK, groups - next), job->eps,
                         V, P, U, R);
        norm_backward_block(job, &p, now, job->dy + at, job->dx ? job->dx + at : unwanted,
                            (int)kmin(NORM_BLOCK, groups - g), &totals, accumulate, V, P, U, R);
        norm_block_roots(then, P);
    }
    const int64_t rest = (rows.end - rows.first) % P;
    if (rest) {
        real x[LANES] = {0}, dy[LANES] = {0}, dx[LANES] = {0};
        const int64_t at = (rows.end - rest) * n;
        const size_t bytes = (size_t)(rest * n) * sizeof(real);
        memcpy(x, job->x + at, bytes);
        memcpy(dy, job->dy + at, bytes);
        if (accumulate) memcpy(dx, job->dx + at, bytes);
        norm_block_stats(&blocks[0], x, 1, job->eps, V, P, 1, R);
        norm_block_roots(&blocks[0], P);
        norm_backward_block(job, &p, &blocks[0], dy, dx, 1, &totals, accumulate, V, P, 1, R);
        if (job->dx) memcpy(job->dx + at, dx, bytes);
    }
    norm_store_totals(totals.dgamma, dgamma, V, P, U);
    norm_store_totals(totals.dbeta, dbeta, V, P, U);
}

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
    real part[LANES] = {0};
    memcpy(part, p, (size_t)count * sizeof(real));
    return vec_load(part);
}

ALWAYS_INLINE void norm_store_part(real *p, vec v, int count) {
    real part[LANES];
    vec_store(part, v);
    memcpy(p, part, (size_t)count * sizeof(real));
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
    vec out = (norm_load_part(dx_hat + c, count) - sum[0] - xhat * sum[1]) * scale;
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
        norm_forward_short(job, rows, 1, 1, NORM_IN_STEP, R);
    else if (job->n == 2 * LANES)
        norm_forward_short(job, rows, 2, 1, 1, R);
    else if (job->n == 4 * LANES)
        norm_forward_short(job, rows, 4, 1, 1, R);
    else if (job->n == 8 && LANES == 16)
        norm_forward_short(job, rows, 1, 2, NORM_IN_STEP, R);
    else if (job->n == 4 && LANES > 4)
        norm_forward_short(job, rows, 1, LANES / 4, NORM_IN_STEP, R);
    else if (job->n == 2 && LANES > 2)
        norm_forward_short(job, rows, 1, LANES / 2, NORM_IN_STEP, R);
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
        norm_backward_short(job, rows, dgamma, dbeta, 1, 1, NORM_IN_STEP, R);
    else if (job->n == 2 * LANES)
        norm_backward_short(job, rows, dgamma, dbeta, 2, 1, 1, R);
    else if (job->n == 4 * LANES)
        norm_backward_short(job, rows, dgamma, dbeta, 4, 1, 1, R);
    else if (job->n == 8 && LANES == 16)
        norm_backward_short(job, rows, dgamma, dbeta, 1, 2, NORM_IN_STEP, R);
    else if (job->n == 4 && LANES > 4)
        norm_backward_short(job, rows, dgamma, dbeta, 1, LANES / 4, NORM_IN_STEP, R);
    else if (job->n == 2 && LANES > 2)
        norm_backward_short(job, rows, dgamma, dbeta, 1, LANES / 2, NORM_IN_STEP, R);
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
