// LayerNorm and RMS norm of short rows: 1, 2 or 4 vectors, or several rows to a vector (the
// convolutions' norms: many short rows).
//
// A group is what a load takes: one row of V vectors, or P rows in one vector (then V = 1). A unit
// is LANES rows, LANES / P groups: the sums along its rows are one vector, as are their square
// roots and divisions. The next unit's sums are always ahead of this one's results, so that neither
// waits for the other. K groups are taken in step (kernels_vec.h). V and P are constants after
// inlining, and so is R: RMS norm, which has no mean and no beta.
#ifndef GRAPH_KERNELS_NORM_SHORT_H
#define GRAPH_KERNELS_NORM_SHORT_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_vec.h"

enum { NORM_VECS_MAX = VEC_MANY };

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

// Numbers of a unit's rows: row p of group g has the one at p * LANES / P + g.
struct norm_rows {
    _Alignas(64) real of[LANES];
};

struct norm_unit {
    vec centred[LANES * NORM_VECS_MAX]; // x - mean, [group][vector]
    struct norm_rows scale;             // 1 / sqrt(var + eps)
};

ALWAYS_INLINE int norm_in_step(int V, int P) { return (int)kmin(VEC_MANY / V, LANES / P); }

// Each row's number in all of its lanes.
ALWAYS_INLINE vec norm_spread(const struct norm_rows *rows, int g, int P) {
    const int W = LANES / P;
    if (P == 1) return vec_splat(rows->of[g]);
    if (P > 2) {
        vec v = vec_load(rows->of);
        vec_int bit;
#if LANES >= 8
        VEC_EACH(i, LANES) bit[i] = (i ^ g) & 4 ? -1 : 0;
        if (W > 4) v = vec_select(bit, VEC_XOR(v, 4), v);
#endif
#if LANES >= 4
        VEC_EACH(i, LANES) bit[i] = (i ^ g) & 2 ? -1 : 0;
        if (W > 2) v = vec_select(bit, VEC_XOR(v, 2), v);
#endif
        VEC_EACH(i, LANES) bit[i] = (i ^ g) & 1 ? -1 : 0;
        return W > 1 ? vec_select(bit, VEC_XOR(v, 1), v) : v;
    }
    vec_int upper;
#if defined(VEC_LOOKUP)
    VEC_EACH(i, LANES) upper[i] = i < LANES / 2 ? 0 : W;
    return VEC_LOOKUP(vec_load(rows->of), upper + g);
#endif
    VEC_EACH(i, LANES) upper[i] = i < LANES / 2 ? 0 : -1;
    return vec_select(upper, vec_splat(rows->of[W + g]), vec_splat(rows->of[g]));
}

// A group's vectors, added up lane by lane.
ALWAYS_INLINE vec norm_add(const vec *v, int V) {
    return V == 4 ? (v[0] + v[1]) + (v[2] + v[3]) : V == 2 ? v[0] + v[1] : v[0];
}

// Centred values, and variances + eps in place of the scales. RMS: values as they are, and mean
// squares + eps.
ALWAYS_INLINE void norm_stats(struct norm_unit *u, const real *x, real eps, int V, int P, bool R) {
    const int W = LANES / P;
    const real inverse = (real)1 / (real)(V * LANES / P);
    vec v[NORM_VECS_MAX], sum[LANES];
    struct norm_rows sums;
    if (!R) {
        VEC_EACH(g, W) {
            VEC_EACH(i, V) v[i] = vec_load(x + (g * V + i) * LANES);
            sum[g] = norm_add(v, V);
        }
        vec_store(sums.of, vec_sums_across(sum, W));
    }
    VEC_EACH(g, W) {
        VEC_EACH(i, V) v[i] = vec_load(x + (g * V + i) * LANES);
        if (!R) VEC_EACH(i, V) v[i] -= norm_spread(&sums, g, P) * inverse;
        VEC_EACH(i, V) u->centred[g * V + i] = v[i];
        VEC_EACH(i, V) v[i] *= v[i];
        sum[g] = norm_add(v, V);
    }
    vec_store(u->scale.of, vec_sums_across(sum, W) * inverse + eps);
}

// Variances become scales. Not at once: their users would wait for the root.
ALWAYS_INLINE void norm_roots(struct norm_unit *u) {
    vec_store(u->scale.of, 1 / vec_sqrt(vec_load(u->scale.of)));
}

// Groups [g, g + K).
ALWAYS_INLINE void norm_unit_forward(const struct norm_job *job, const struct norm_parameters *p,
                                     const struct norm_unit *u, int g, real *y, int V, int P, int K,
                                     bool R) {
    vec z[VEC_MANY], s[VEC_MANY];
    y += g * V * LANES;
    VEC_EACH(i, K * V) z[i] = u->centred[g * V + i] * norm_spread(&u->scale, g + i / V, P);
    if (R)
        VEC_EACH(i, K * V) z[i] = p->gamma[i % V] * z[i];
    else
        VEC_EACH(i, K * V) z[i] = p->gamma[i % V] * z[i] + p->beta[i % V];
    if (job->silu) {
        vec_sigmoids(s, z, K * V);
        VEC_EACH(i, K * V) z[i] *= s[i];
    }
    VEC_EACH(i, K * V) vec_store(y + i * LANES, z[i]);
}

ALWAYS_INLINE void norm_unit_all(const struct norm_job *job, const struct norm_parameters *p,
                                 const struct norm_unit *u, real *y, int V, int P, bool R) {
    const int K = norm_in_step(V, P);
    for (int g = 0; g < LANES / P; g += K) norm_unit_forward(job, p, u, g, y, V, P, K, R);
}

// Over rows, lane by lane. Of one vector's rows every second group is added apart.
struct norm_totals {
    vec dgamma[VEC_MANY], dbeta[VEC_MANY];
};
ALWAYS_INLINE int norm_apart(int V) { return V == 1 ? 2 : 1; }

struct norm_grads { // of a unit
    vec d[LANES * NORM_VECS_MAX], sum[LANES], sum_x[LANES];
    struct norm_rows mean, mean_x; // sums of the gradients of xhat, means of them times xhat
};

// The gradients of xhat of groups [g, g + K); xhat takes the place of the centred values.
ALWAYS_INLINE void norm_unit_grads(const struct norm_job *job, const struct norm_parameters *p,
                                   struct norm_unit *u, struct norm_grads *to, int g,
                                   const real *dy, struct norm_totals *totals, int V, int P, int K,
                                   bool R) {
    const int U = norm_apart(V);
    vec xhat[VEC_MANY], d[VEC_MANY], z[VEC_MANY], s[VEC_MANY];
    dy += g * V * LANES;
    VEC_EACH(i, K * V) xhat[i] = u->centred[g * V + i] * norm_spread(&u->scale, g + i / V, P);
    VEC_EACH(i, K * V) u->centred[g * V + i] = xhat[i];
    VEC_EACH(i, K * V) d[i] = vec_load(dy + i * LANES);
    if (job->silu) {
        if (R)
            VEC_EACH(i, K * V) z[i] = p->gamma[i % V] * xhat[i];
        else
            VEC_EACH(i, K * V) z[i] = p->gamma[i % V] * xhat[i] + p->beta[i % V];
        vec_sigmoids(s, z, K * V);
        VEC_EACH(i, K * V) z[i] = 1 + z[i] * (1 - s[i]);
        VEC_EACH(i, K * V) d[i] *= s[i] * z[i];
    }
    VEC_EACH(i, K * V) totals->dgamma[i % (U * V)] += d[i] * xhat[i];
    VEC_EACH(i, K * V) totals->dbeta[i % (U * V)] += d[i];
    VEC_EACH(i, K * V) d[i] *= p->gamma[i % V];
    VEC_EACH(i, K * V) to->d[g * V + i] = d[i];
    VEC_EACH(i, K * V) z[i] = d[i] * xhat[i];
    VEC_EACH(k, K) to->sum[g + k] = norm_add(d + k * V, V);
    VEC_EACH(k, K) to->sum_x[g + k] = norm_add(z + k * V, V);
}

ALWAYS_INLINE void norm_unit_finish(const struct norm_unit *u, const struct norm_grads *from, int g,
                                    real *dx, bool accumulate, int V, int P, int K, bool R) {
    const real inverse = (real)1 / (real)(V * LANES / P);
    vec z[VEC_MANY], xhat[VEC_MANY];
    dx += g * V * LANES;
    VEC_EACH(i, K * V) z[i] = from->d[g * V + i];
    VEC_EACH(i, K * V) xhat[i] = u->centred[g * V + i];
    if (!R) VEC_EACH(i, K * V) z[i] -= norm_spread(&from->mean, g + i / V, P) * inverse;
    VEC_EACH(i, K * V) z[i] -= xhat[i] * norm_spread(&from->mean_x, g + i / V, P);
    VEC_EACH(i, K * V) z[i] = vec_rounded(z[i] * norm_spread(&u->scale, g + i / V, P));
    if (accumulate) VEC_EACH(i, K * V) z[i] += vec_load(dx + i * LANES);
    VEC_EACH(i, K * V) vec_store(dx + i * LANES, z[i]);
}

ALWAYS_INLINE void norm_unit_backward(const struct norm_job *job, const struct norm_parameters *p,
                                      struct norm_unit *u, const real *dy, real *dx,
                                      struct norm_totals *totals, bool accumulate, int V, int P,
                                      bool R) {
    const int W = LANES / P, K = norm_in_step(V, P);
    const real inverse = (real)1 / (real)(V * LANES / P);
    struct norm_grads grads;
    vec sum[LANES];
    for (int g = 0; g < W; g += K) norm_unit_grads(job, p, u, &grads, g, dy, totals, V, P, K, R);
    if (!R) {
        VEC_EACH(g, W) sum[g] = grads.sum[g];
        vec_store(grads.mean.of, vec_sums_across(sum, W));
    }
    VEC_EACH(g, W) sum[g] = grads.sum_x[g];
    vec_store(grads.mean_x.of, vec_sums_across(sum, W) * inverse);
    for (int g = 0; g < W; g += K) norm_unit_finish(u, &grads, g, dx, accumulate, V, P, K, R);
}

// Adds up what lies apart: the vectors of every second group, and the rows of a group.
ALWAYS_INLINE void norm_store_totals(const vec *totals, real *out, int V, int P) {
    for (int i = 0; i < V; i++) {
        const vec sum = norm_apart(V) == 2 ? totals[i] + totals[V + i] : totals[i];
        for (int l = 0; l < LANES / P; l++) {
            real total = sum[l];
            for (int row = 1; row < P; row++) total += sum[row * (LANES / P) + l];
            out[i * LANES + l] = total;
        }
    }
}

// What does not fill a unit goes through padded copies. Units are fetched that many ahead: all of
// one is read at once, sooner than the CPU sees by itself what is read next.
enum { NORM_UNIT_REALS = LANES * LANES * NORM_VECS_MAX, NORM_AHEAD = 3 };

ALWAYS_INLINE void norm_forward_short(const struct norm_job *job, struct range rows, int V, int P,
                                      bool R) {
    const int64_t n = job->n, step = LANES * n, units = (rows.end - rows.first) / LANES;
    const real *x = job->x + rows.first * n, *end = job->x + rows.end * n;
    real *y = job->y + rows.first * n;
    struct norm_parameters p;
    struct norm_unit both[2];
    norm_load(&p, job, V, P, R);
    if (units > 0) {
        norm_stats(&both[0], x, job->eps, V, P, R);
        norm_roots(&both[0]);
    }
    for (int64_t i = 0; i < units; i++, x += step, y += step) {
        struct norm_unit *now = &both[i % 2], *then = &both[1 - i % 2];
        if (i + 1 < units) norm_stats(then, x + step, job->eps, V, P, R);
        prefetch_part(x + NORM_AHEAD * step, end, step, 0, 1);
        norm_unit_all(job, &p, now, y, V, P, R);
        if (i + 1 < units) norm_roots(then);
    }
    const size_t rest = (size_t)((rows.end - rows.first) % LANES * n) * sizeof(real);
    if (rest == 0) return;
    real last[NORM_UNIT_REALS] = {0}, out[NORM_UNIT_REALS];
    memcpy(last, x, rest);
    norm_stats(&both[0], last, job->eps, V, P, R);
    norm_roots(&both[0]);
    norm_unit_all(job, &p, &both[0], out, V, P, R);
    memcpy(y, out, rest);
}

// Fewer rows than a unit has.
ALWAYS_INLINE void norm_backward_rest(const struct norm_job *job, const struct norm_parameters *p,
                                      struct range rows, struct norm_totals *totals,
                                      bool accumulate, int V, int P, bool R) {
    real x[NORM_UNIT_REALS] = {0}, dy[NORM_UNIT_REALS] = {0}, dx[NORM_UNIT_REALS] = {0};
    const int64_t at = rows.first * job->n;
    const size_t bytes = (size_t)((rows.end - rows.first) * job->n) * sizeof(real);
    struct norm_unit u;
    if (bytes == 0) return;
    memcpy(x, job->x + at, bytes);
    memcpy(dy, job->dy + at, bytes);
    if (accumulate) memcpy(dx, job->dx + at, bytes);
    norm_stats(&u, x, job->eps, V, P, R);
    norm_roots(&u);
    norm_unit_backward(job, p, &u, dy, dx, totals, accumulate, V, P, R);
    if (job->dx) memcpy(job->dx + at, dx, bytes);
}

ALWAYS_INLINE void norm_backward_short(const struct norm_job *job, struct range rows, real *dgamma,
                                       real *dbeta, int V, int P, bool R) {
    const int64_t n = job->n, step = LANES * n, units = (rows.end - rows.first) / LANES;
    struct norm_totals totals = {{{0}}, {{0}}};
    real unwanted[NORM_UNIT_REALS];
    const bool accumulate = job->dx && job->accumulate;
    struct norm_parameters p;
    struct norm_unit both[2];
    int64_t at = rows.first * n;
    const real *end = job->x + rows.end * n, *dy_end = job->dy + rows.end * n;
    norm_load(&p, job, V, P, R);
    if (units > 0) {
        norm_stats(&both[0], job->x + at, job->eps, V, P, R);
        norm_roots(&both[0]);
    }
    for (int64_t i = 0; i < units; i++, at += step) {
        struct norm_unit *now = &both[i % 2], *then = &both[1 - i % 2];
        if (i + 1 < units) norm_stats(then, job->x + at + step, job->eps, V, P, R);
        prefetch_part(job->x + at + NORM_AHEAD * step, end, step, 0, 1);
        prefetch_part(job->dy + at + NORM_AHEAD * step, dy_end, step, 0, 1);
        norm_unit_backward(job, &p, now, job->dy + at, job->dx ? job->dx + at : unwanted, &totals,
                           accumulate, V, P, R);
        if (i + 1 < units) norm_roots(then);
    }
    // Rows that do not fill a group are added as the first group of a unit.
    const int64_t whole = rows.end - (rows.end - rows.first) % P;
    norm_backward_rest(job, &p, (struct range){rows.first + units * LANES, whole}, &totals,
                       accumulate, V, P, R);
    norm_backward_rest(job, &p, (struct range){whole, rows.end}, &totals, accumulate, V, P, R);
    norm_store_totals(totals.dgamma, dgamma, V, P);
    norm_store_totals(totals.dbeta, dbeta, V, P);
}

#endif
