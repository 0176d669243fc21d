// Products with rows of one-hot groups: rows of B are gathered and added instead of multiplied, and
// the weight gradient scattered.
//
// Where x is 0 or 1, x . B is the sum of the rows of B where x is 1. The sums run over k in order
// as in kernels_gemm.h, and adding 0 * b changes no sum, so the bits are those of the whole
// product. A row of x that is not as expected (count > limit) is multiplied as it is.
#ifndef GRAPH_KERNELS_GATHER_H
#define GRAPH_KERNELS_GATHER_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_gemm.h"
#include "engine/graph/kernels_vec.h"

static uint32_t nonzero_part(const real *x, int64_t n) {
    real part[LANES] = {0};
    memcpy(part, x, (size_t)n * sizeof(real));
    return vec_nonzero(vec_load(part));
}

// index [rows][limit + 1]: the number of ones and where they are; limit + 1 where they are too many
// or not all are 1.
static void rows_ones(int64_t rows, int64_t n, int64_t limit, const real *x, int32_t *index) {
    const int64_t whole = n / LANES * LANES;
    for (int64_t row = 0; row < rows; row++, x += n, index += limit + 1) {
        int64_t count = 0;
        bool fine = true;
        for (int64_t i = 0; i < n && fine; i += LANES) {
            uint32_t bits = i < whole ? vec_nonzero(vec_load(x + i)) : nonzero_part(x + i, n - i);
            for (; bits && fine; bits &= bits - 1) {
                const int64_t at = i + __builtin_ctz(bits);
                fine = count < limit && x[at] == 1;
                if (fine) index[++count] = (int32_t)at;
            }
        }
        index[0] = (int32_t)(fine ? count : limit + 1);
    }
}

// ---- forward: a panel of C

// ROWS rows with `count` ones each, VECS vectors of columns from b on.
#define GATHER(ROWS, VECS)                                                                         \
    static void gather_##ROWS##x##VECS(const int32_t *index, int64_t index_row, int64_t count,     \
                                       const real *b, int64_t b_row, real *c, int64_t c_row) {     \
        vec sum[ROWS][VECS];                                                                       \
        VEC_EACH(i, ROWS) VEC_EACH(v, VECS) sum[i][v] = (vec){0};                                  \
        for (int64_t k = 1; k <= count; k++) VEC_EACH(i, ROWS) {                                   \
                const real *from = b + index[i * index_row + k] * b_row;                           \
                VEC_EACH(v, VECS) sum[i][v] += vec_load(from + v * LANES);                         \
            }                                                                                      \
        VEC_EACH(i, ROWS) VEC_EACH(v, VECS) vec_store(c + i * c_row + v * LANES, sum[i][v]);       \
    }
enum { GATHER_ROWS = 4 };
GATHER(1, 1)
GATHER(1, 2)
GATHER(4, 1)
GATHER(4, 2)
typedef void gather_kernel(const int32_t *index, int64_t index_row, int64_t count, const real *b,
                           int64_t b_row, real *c, int64_t c_row);
#if VEC_BYTES == 64
GATHER(1, 3)
GATHER(4, 3)
static gather_kernel *const gather_kernels[][3] = { // [four rows][vectors - 1]
    {gather_1x1, gather_1x2, gather_1x3},
    {gather_4x1, gather_4x2, gather_4x3}};
#else
static gather_kernel *const gather_kernels[][2] = {{gather_1x1, gather_1x2},
                                                   {gather_4x1, gather_4x2}};
#endif

// Whether the next rows have equally many ones, and no row has too many.
static bool gather_alike(const int32_t *index, int64_t index_row, int64_t limit) {
    for (int64_t i = 1; i < GATHER_ROWS; i++)
        if (index[i * index_row] != index[0]) return false;
    return index[0] <= limit;
}

// C(row.., panel) into tile [m][PANEL_COLUMNS]; B's panel has `width` columns.
static void gather_tile(const struct gemm_job *job, int64_t row, int64_t m, const real *panel,
                        int64_t width, real *tile) {
    const int64_t limit = job->limit, index_row = limit + 1;
    const int32_t *index = job->index + row * index_row;
    const struct micro_a a = {
        job->a + row * job->a_row, job->a_row, 0, job->a_k, 1, job->k, false, 0};
    const bool four = m == GATHER_ROWS && gather_alike(index, index_row, limit);
    for (int64_t i = 0; i < m; i += four ? GATHER_ROWS : 1, index += index_row) {
        real *c = tile + i * PANEL_COLUMNS;
        if (index[0] > limit) {
            struct micro_a one = a;
            one.a += i * a.row;
            micro_panel(one, 1, panel, width, width, c, PANEL_COLUMNS);
            continue;
        }
        for (int64_t j = 0; j < width; j += MICRO_VECS * LANES) {
            const int64_t vecs = kmin(MICRO_VECS, (width - j) / LANES);
            gather_kernels[four][vecs - 1](index, index_row, index[0], panel + j, width, c + j,
                                           PANEL_COLUMNS);
        }
    }
}

static void gemm_gather(const struct gemm_job *job, int share) {
    struct range rows, panels;
    gemm_share(job, share, &rows, &panels);
    for (int64_t p = panels.first; p < panels.end; p++) {
        struct range units = gemm_panel(job->n, p);
        const int64_t column = units.first * GEMM_UNIT,
                      width = (units.end - units.first) * GEMM_UNIT;
        for (int64_t row = rows.first; row < rows.end; row += GATHER_ROWS) {
            _Alignas(64) real tile[GATHER_ROWS * PANEL_COLUMNS];
            const int64_t m = kmin(GATHER_ROWS, rows.end - row);
            gather_tile(job, row, m, job->b + job->k * column, width, tile);
            gemm_finish(job, tile, PANEL_COLUMNS, row, m, column, kmin(width, job->n - column));
        }
    }
}

// ---- weight gradient: dw[n][k] (=|+=) sum over rows of dy[row][n] x[row][k]

// sums [k][SCATTER_COLUMNS] of columns [column, column + columns) of dy
static void scatter_rows(const struct scatter_job *job, int64_t column, int64_t columns,
                         real *sums) {
    enum { VECS = SCATTER_COLUMNS / LANES };
    const int32_t *index = job->index;
    for (int64_t row = 0; row < job->rows; row++, index += job->limit + 1) {
        const real *from = job->dy + row * job->n + column;
        real part[SCATTER_COLUMNS] = {0};
        vec d[VECS];
        if (columns < SCATTER_COLUMNS) from = memcpy(part, from, (size_t)columns * sizeof(real));
        VEC_EACH(v, VECS) d[v] = vec_load(from + v * LANES);
        const bool ones = index[0] <= job->limit;
        for (int64_t i = 0; i < (ones ? index[0] : job->k); i++) {
            real *sum = sums + (ones ? index[1 + i] : i) * SCATTER_COLUMNS;
            const real x = ones ? 1 : job->x[row * job->k + i];
            VEC_EACH(v, VECS) vec_store(sum + v * LANES, vec_load(sum + v * LANES) + x * d[v]);
        }
    }
}

// LANES x LANES of the sums, transposed into dw.
ALWAYS_INLINE void scatter_square(const real *sums, real *out, int64_t out_row, bool accumulate) {
    vec square[LANES];
    VEC_EACH(i, LANES) square[i] = vec_load(sums + i * SCATTER_COLUMNS);
    vec_transpose(square);
    if (accumulate) VEC_EACH(i, LANES) square[i] += vec_load(out + i * out_row);
    VEC_EACH(i, LANES) vec_store(out + i * out_row, square[i]);
}

static void scatter_finish(const struct scatter_job *job, const real *sums, int64_t column,
                           int64_t columns) {
    for (int64_t j = 0; j < columns; j += LANES) {
        real *out = job->out + (column + j) * job->out_row;
        const int64_t squares = columns - j >= LANES ? job->k / LANES * LANES : 0;
        for (int64_t k = 0; k < squares; k += LANES)
            scatter_square(sums + k * SCATTER_COLUMNS + j, out + k, job->out_row, job->accumulate);
        for (int64_t i = 0; i < kmin(LANES, columns - j); i++)
            for (int64_t k = squares; k < job->k; k++) {
                real *to = out + i * job->out_row + k;
                *to = (job->accumulate ? *to : 0) + sums[k * SCATTER_COLUMNS + j + i];
            }
    }
}

static void scatter(const struct scatter_job *job, int share) {
    struct range blocks =
        share_range((job->n + SCATTER_COLUMNS - 1) / SCATTER_COLUMNS, scatter_shares(job), share);
    real *sums = job->scratch + share * job->k * SCATTER_COLUMNS;
    for (int64_t b = blocks.first; b < blocks.end; b++) {
        const int64_t column = b * SCATTER_COLUMNS,
                      columns = kmin(SCATTER_COLUMNS, job->n - column);
        memset(sums, 0, (size_t)(job->k * SCATTER_COLUMNS) * sizeof(real));
        scatter_rows(job, column, columns, sums);
        scatter_finish(job, sums, column, columns);
    }
}

#endif
