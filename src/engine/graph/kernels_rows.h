// Row kernels for one instruction set: elementwise functions, gates and categoricals; losses are in
// kernels_loss.h.
#ifndef GRAPH_KERNELS_ROWS_H
#define GRAPH_KERNELS_ROWS_H

#include <string.h>

#include "base/fmath.h"
#include "engine/graph/kernels_frames.h"
#include "engine/graph/rows.h"

// Runs `y[i] = value` or `y[i] += value`: one branch outside the loop, so that both vectorise.
#define PUT(n, y, add, value)                                                                      \
    do {                                                                                           \
        if (add)                                                                                   \
            for (int64_t i = 0; i < (n); i++) (y)[i] += (value);                                   \
        else                                                                                       \
            for (int64_t i = 0; i < (n); i++) (y)[i] = (value);                                    \
    } while (0)

// ---- elements

static void rows_add(int64_t n, const real *restrict a, const real *restrict b, real *restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void rows_mul(int64_t n, const real *restrict a, const real *restrict b, real *restrict y,
                     bool add) {
    PUT(n, y, add, a[i] * b[i]);
}

static void rows_affine(int64_t n, const real *restrict x, real scale, real shift, real *restrict y,
                        bool add) {
    PUT(n, y, add, scale * x[i] + shift);
}

static void rows_tanh(int64_t n, const real *restrict x, real *restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = fast_tanh(x[i]);
}

static void rows_tanh_dx(int64_t n, const real *restrict y, const real *restrict dy,
                         real *restrict dx, bool add) {
    PUT(n, dx, add, dy[i] * (1 - y[i] * y[i]));
}

static void rows_sigmoid(int64_t n, const real *restrict x, real *restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = fast_sigmoid(x[i]);
}

static void rows_sigmoid_dx(int64_t n, const real *restrict y, const real *restrict dy,
                            real *restrict dx, bool add) {
    PUT(n, dx, add, dy[i] * y[i] * (1 - y[i]));
}

static void rows_symlog(int64_t n, const real *restrict x, real *restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = fast_symlog(x[i]);
}

static void rows_symlog_dx(int64_t n, const real *restrict x, const real *restrict dy,
                           real *restrict dx, bool add) {
    PUT(n, dx, add, dy[i] / (1 + fast_abs(x[i])));
}

static void rows_less(int64_t n, const real *restrict x, real threshold, real *restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i] < threshold ? 1 : 0;
}

#define CLAMP_EPS                                                                                  \
    ((real)1.1920928955078125e-07) // the float32 epsilon of the reference's probability clamp
// Written so that a NaN stays one.
HD real at_least_eps(real m) { return m < CLAMP_EPS ? CLAMP_EPS : m; }

static void rows_log_clamped(int64_t n, const real *restrict m, real *restrict y) {
    for (int64_t i = 0; i < n; i++) {
        real v = at_least_eps(m[i]);
        y[i] = fast_log(v > 1 - CLAMP_EPS ? 1 - CLAMP_EPS : v);
    }
}

static real rows_sum(int64_t n, const real *x) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)x[i];
    return (real)sum;
}

// ---- recurrent state (spec 3.1, 3.4)

static void rows_gru_gates(int64_t rows, int64_t width, const real *restrict y,
                           const real *restrict h, real *restrict out) {
    for (int64_t row = 0; row < rows; row++, y += 3 * width, h += width, out += width)
        for (int64_t i = 0; i < width; i++) {
            const real r = fast_sigmoid(y[i]), c = fast_tanh(r * y[width + i]);
            const real u = fast_sigmoid(y[2 * width + i] - 1);
            out[i] = u * c + (1 - u) * h[i];
        }
}

// Two functions, because a branch on `add` inside the loop keeps it from vectorising.
#define GRU_ROW_DY(name, BEFORE)                                                                   \
    static void name(int64_t width, const real *restrict y, const real *restrict h,                \
                     const real *restrict dout, real *restrict dy) {                               \
        const real *restrict candidate = y + width, *restrict update = y + 2 * width;              \
        real *restrict dc = dy + width, *restrict du = dy + 2 * width;                             \
        for (int64_t i = 0; i < width; i++) {                                                      \
            const real r = fast_sigmoid(y[i]), u = fast_sigmoid(update[i] - 1);                    \
            const real c = fast_tanh(r * candidate[i]), dq = dout[i] * u * (1 - c * c);            \
            dy[i] = BEFORE(dy[i]) dq * candidate[i] * r * (1 - r);                                 \
            dc[i] = BEFORE(dc[i]) dq * r;                                                          \
            du[i] = BEFORE(du[i]) dout[i] * (c - h[i]) * u * (1 - u);                              \
        }                                                                                          \
    }
#define NOTHING(x)
#define PLUS(x) (x) +
GRU_ROW_DY(gru_row_dy, NOTHING)
GRU_ROW_DY(gru_row_dy_add, PLUS)

static void gru_row_dh(int64_t width, const real *restrict update, const real *restrict dout,
                       real *restrict dh, bool add) {
    PUT(width, dh, add, dout[i] * (1 - fast_sigmoid(update[i] - 1)));
}

static void rows_gru_gates_dx(int64_t rows, int64_t width, const struct gru_dx *d) {
    for (int64_t row = 0; row < rows; row++) {
        const real *y = d->y + row * 3 * width, *dout = d->dout + row * width;
        if (d->dy)
            (d->add_dy ? gru_row_dy_add : gru_row_dy)(width, y, d->h + row * width, dout,
                                                      d->dy + row * 3 * width);
        if (d->dh) gru_row_dh(width, y + 2 * width, dout, d->dh + row * width, d->add_dh);
    }
}

static void rows_blend(int64_t rows, int64_t width, const real *f, const real *restrict a,
                       const real *restrict b, int64_t b_row, real *restrict out) {
    for (int64_t row = 0; row < rows; row++, a += width, out += width) {
        const real g = f[row], keep = 1 - g;
        if (b)
            for (int64_t i = 0; i < width; i++) out[i] = keep * a[i] + g * b[row * b_row + i];
        else
            for (int64_t i = 0; i < width; i++) out[i] = keep * a[i];
    }
}

static void rows_blend_dx(int64_t rows, int64_t width, const real *f, bool one_minus,
                          const real *restrict dy, real *restrict dx, bool add) {
    for (int64_t row = 0; row < rows; row++, dy += width, dx += width) {
        const real g = one_minus ? 1 - f[row] : f[row];
        PUT(width, dx, add, g * dy[i]);
    }
}

static void rows_blend_sum(int64_t rows, int64_t width, const real *f, const real *restrict dy,
                           real *restrict dx, bool add) {
    if (!add) memset(dx, 0, (size_t)width * sizeof(real));
    for (int64_t row = 0; row < rows; row++, dy += width)
        for (int64_t i = 0; i < width; i++) dx[i] += f[row] * dy[i];
}

// ---- categoricals (spec 3.3)

// Rows in whole vectors: what does not fill one is taken from a copy that is filled up. A loop over
// the elements would leave up to LANES - 1 of them to scalar code, which takes as long as the rest.

static real row_max(int64_t n, const real *x) {
    vec max = vec_splat(x[0]);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) max = vec_max(vec_load(x + i), max);
    if (i < n) {
        real rest[LANES];
        vec_store(rest, max);
        memcpy(rest, x + i, (size_t)(n - i) * sizeof(real));
        max = vec_max(vec_load(rest), max);
    }
#if LANES >= 16
    max = vec_max(max, VEC_XOR(max, 8));
#endif
#if LANES >= 8
    max = vec_max(max, VEC_XOR(max, 4));
#endif
#if LANES >= 4
    max = vec_max(max, VEC_XOR(max, 2));
#endif
    return vec_max(max, VEC_XOR(max, 1))[0];
}

ALWAYS_INLINE void exp_vector(const real *restrict x, real max, real *restrict e) {
#pragma omp simd
    for (int j = 0; j < LANES; j++) e[j] = fast_exp(x[j] - max);
}

// The last n < LANES elements; e is filled up with ones.
ALWAYS_INLINE void exp_rest(int64_t n, const real *x, real max, real *e) {
    real rest[LANES];
    vec_store(rest, vec_splat(max));
    memcpy(rest, x, (size_t)n * sizeof(real));
    exp_vector(rest, max, e);
}

// Each row's largest element in all of the row's lanes: rows of `width` lanes, a power of two.
ALWAYS_INLINE vec vec_group_max(vec v, int width) {
#if LANES >= 16
    if (width >= 16) v = vec_max(v, VEC_XOR(v, 8));
#endif
#if LANES >= 8
    if (width >= 8) v = vec_max(v, VEC_XOR(v, 4));
#endif
#if LANES >= 4
    if (width >= 4) v = vec_max(v, VEC_XOR(v, 2));
#endif
    return width >= 2 ? vec_max(v, VEC_XOR(v, 1)) : v;
}

// Rows of one vector, LANES of them: each sum runs along its row.
static void unimix_square(const real *logits, real mix, real *m) {
    const real floor = mix / (real)LANES;
    vec e[LANES], sum = {0};
    real part[LANES];
    for (int i = 0; i < LANES; i++) {
        const vec v = vec_load(logits + i * LANES);
        exp_vector(logits + i * LANES, vec_group_max(v, LANES)[0], m + i * LANES);
    }
    VEC_EACH(i, LANES) e[i] = vec_load(m + i * LANES);
    vec_transpose(e);
    VEC_EACH(k, LANES) sum += e[k];
    vec_store(part, (1 - mix) / sum);
    for (int i = 0; i < LANES; i++)
        vec_store(m + i * LANES, vec_load(m + i * LANES) * part[i] + floor);
}

// The same of two rows of half a vector.
static void unimix_halves(const real *logits, real mix, real *m) {
    enum { N = LANES / 2 };
    const real floor = mix / (real)N;
    const vec v = vec_load(logits);
    real x[LANES], e[LANES], part[LANES], sum[2] = {0};
    vec_store(x, v - vec_group_max(v, N));
    exp_vector(x, 0, e);
    for (int i = 0; i < N; i++)
        for (int p = 0; p < 2; p++) sum[p] += e[p * N + i];
    for (int i = 0; i < LANES; i++) part[i] = sum[i / N];
    vec_store(m, vec_load(e) * ((1 - mix) / vec_load(part)) + floor);
}

static void rows_unimix(int64_t rows, int64_t n, const real *restrict logits, real mix,
                        real *restrict m) {
    const real floor = mix / (real)n;
    int64_t row = 0;
    for (; n == LANES && row + LANES <= rows; row += LANES)
        unimix_square(logits + row * n, mix, m + row * n);
    for (; 2 * n == LANES && row + 2 <= rows; row += 2)
        unimix_halves(logits + row * n, mix, m + row * n);
    for (logits += row * n, m += row * n; row < rows; row++, logits += n, m += n) {
        const real max = row_max(n, logits);
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++) {
            m[i] = fast_exp(logits[i] - max);
            sum += m[i];
        }
        const real scale = (1 - mix) / sum;
        for (int64_t i = 0; i < n; i++) m[i] = m[i] * scale + floor;
    }
}

// q = (1 - mix) softmax; dx_j = q_j (dm_j - sum_k q_k dm_k / (1 - mix))
static void rows_unimix_dx(int64_t rows, int64_t n, const real *restrict m, real mix,
                           const real *restrict dm, real *restrict dx, bool add) {
    const real floor = mix / (real)n;
    for (int64_t row = 0; row < rows; row++, m += n, dm += n, dx += n) {
        real dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < n; i++) dot += (m[i] - floor) * dm[i];
        dot /= 1 - mix;
        PUT(n, dx, add, (m[i] - floor) * (dm[i] - dot));
    }
}

// Inverse of the cumulative sum in order: the index is the number of k with cdf_k <= u, at most n
// - 1. A row to a lane, because where a row's sum stops cannot be foretold.
static void sample_square(const real *m, const real *u, real *z) {
    vec column[LANES], cdf = {0};
    const vec limit = vec_load(u);
    vec_int index = {0}, on = index - 1;
    int32_t at[LANES];
    VEC_EACH(i, LANES) column[i] = vec_load(m + i * LANES);
    vec_transpose(column);
    VEC_EACH(k, LANES - 1) {
        cdf += column[k];
        on &= cdf <= limit;
        index -= on;
    }
    for (int i = 0; i < LANES; i++) at[i] = (int32_t)index[i];
    memset(z, 0, LANES * LANES * sizeof *z);
    for (int i = 0; i < LANES; i++) z[i * LANES + at[i]] = 1;
}

static void rows_sample(int64_t rows, int64_t n, const real *m, const real *u, real *z) {
    int64_t row = 0;
    for (; n == LANES && row + LANES <= rows; row += LANES)
        sample_square(m + row * n, u + row, z + row * n);
    for (m += row * n, z += row * n; row < rows; row++, m += n, z += n) {
        real cdf = 0;
        int64_t index = 0;
        for (; index < n - 1; index++) {
            cdf += m[index];
            if (!(cdf <= u[row])) break;
        }
        for (int64_t i = 0; i < n; i++) z[i] = 0;
        z[index] = 1;
    }
}

static void rows_mode(int64_t rows, int64_t n, const real *m, real *z) {
    for (int64_t row = 0; row < rows; row++, m += n, z += n) {
        int64_t index = 0;
        for (int64_t i = 1; i < n; i++)
            if (m[i] > m[index]) index = i;
        for (int64_t i = 0; i < n; i++) z[i] = 0;
        z[index] = 1;
    }
}

// ---- layouts: y[columns][rows] = x[rows][columns]^T in tiles of 4 x 4

typedef real quad __attribute__((vector_size(4 * sizeof(real))));
typedef real quad_unaligned
    __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));

static inline quad quad_load(const real *x) { return *(const quad_unaligned *)x; }

static inline void transpose_tile(const real *x, int64_t x_row, real *y, int64_t y_row, bool add) {
    const quad a = quad_load(x), b = quad_load(x + x_row), c = quad_load(x + 2 * x_row),
               d = quad_load(x + 3 * x_row);
    const quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5),
               ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5),
               cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const quad out[4] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                         __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                         __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                         __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
    for (int i = 0; i < 4; i++)
        *(quad_unaligned *)(y + i * y_row) = add ? quad_load(y + i * y_row) + out[i] : out[i];
}

static void rows_transpose(int64_t rows, int64_t columns, const real *x, real *y, bool add) {
    const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
    for (int64_t j = 0; j < whole_columns; j += 4)
        for (int64_t i = 0; i < whole_rows; i += 4)
            transpose_tile(x + i * columns + j, columns, y + j * rows + i, rows, add);
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = j < whole_columns ? whole_rows : 0; i < rows; i++)
            y[j * rows + i] = add ? y[j * rows + i] + x[i * columns + j] : x[i * columns + j];
}

#include "engine/graph/kernels_loss.h"

static const struct kernels_rows kernels_rows_table = {
    .add = rows_add,
    .mul = rows_mul,
    .affine = rows_affine,
    .tanh = rows_tanh,
    .tanh_dx = rows_tanh_dx,
    .sigmoid = rows_sigmoid,
    .sigmoid_dx = rows_sigmoid_dx,
    .symlog = rows_symlog,
    .symlog_dx = rows_symlog_dx,
    .less = rows_less,
    .log_clamped = rows_log_clamped,
    .sum = rows_sum,
    .bce = rows_bce,
    .bce_dx = rows_bce_dx,
    .unpack2 = rows_unpack2,
    .unpack_stack = rows_unpack_stack,
    .gru_gates = rows_gru_gates,
    .gru_gates_dx = rows_gru_gates_dx,
    .blend = rows_blend,
    .blend_dx = rows_blend_dx,
    .blend_sum = rows_blend_sum,
    .unimix = rows_unimix,
    .unimix_dx = rows_unimix_dx,
    .sample = rows_sample,
    .mode = rows_mode,
    .ones = rows_ones,
    .transpose = rows_transpose,
    .square_error = rows_square_error,
    .square_error_dx = rows_square_error_dx,
    .twohot_nll = rows_twohot_nll,
    .twohot_nll_dx = rows_twohot_nll_dx,
    .twohot_mean = rows_twohot_mean,
    .twohot_mean_dx = rows_twohot_mean_dx,
    .kl = rows_kl,
    .kl_balanced_dx = rows_kl_balanced_dx,
    .entropy = rows_entropy,
    .entropy_dx = rows_entropy_dx,
    .log_prob = rows_log_prob,
    .log_prob_dx = rows_log_prob_dx,
};

#endif
