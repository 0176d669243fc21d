// Matrix product: packing of B into panels, the register-blocked micro-kernel, shares of a product.
//
//            B packed: panel p holds units u0..u1 (16 columns each), row after row
//            +--------- panel 0 ---------+------- panel 1 -------+
//     k = 0  | b(0, 0..47)               | b(0, 48..79)          |
//     k = 1  | b(1, 0..47)               | ...
//      ...   at packed + K * 16 * u0, row length 16 * (u1 - u0)
//
// The micro-kernel keeps a tile of C in registers: with AVX-512, 8 rows of A by 3 vectors of B, or
// 12 by 2. Every sum runs over k in order, in one register (or goes on where it was stored), so no
// blocking changes its bits. Big products are cut into blocks that stay in the caches:
//
//     A block 192 x 128, B block 128 x 192 (4 panels), C block 192 x 192: 0.35 MB together
//
// Operands are counted in elems (kernels_elem.h): a row of B packed is an elem of k. In bf16 every
// product goes through the blocks, because A is rounded on the way into them.
//
// The micro-kernel's A is a set of rows with a fixed stride whose k axis may be cut into equal
// slabs: a convolution's patch is such a row (kernels_conv.h).
#ifndef GRAPH_KERNELS_GEMM_H
#define GRAPH_KERNELS_GEMM_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_elem.h"
#include "engine/graph/kernels_vec.h"

enum { UNIT_VECS = GEMM_UNIT / LANES, PANEL_COLUMNS = GEMM_UNIT * GEMM_PANEL_UNITS };
// A unit of one vector: the micro-kernel takes the whole panel. Smaller vectors: two at a time.
enum { MICRO_VECS = UNIT_VECS == 1 ? GEMM_PANEL_UNITS : 2 };

struct micro_a {   // in elems
    const elem *a; // A(i, s, k) = a[i * row + s * slab + k * step]
    int64_t row, slab, step;
    int64_t n_slabs, k; // k: length of a slab
    bool resume;        // go on with the sums that lie in c
    int64_t c_vec;      // reals from one vector of a row of C to the next; 0: LANES
};

typedef void micro_kernel(const struct micro_a *a, const elem *b, int64_t b_row, real *c,
                          int64_t c_row);

// Three rows to a pointer (row, 2 row are index and scaled index of an address): without hiding how
// the pointers hang together the compiler keeps a register for each row and runs out of them.
#define MICRO_HIDE(pointer) __asm__("" : "+r"(pointer))

// C(i, j) = sum over s, k of A(i, s, k) * B(s * K + k, j) for ROWS rows and VECS vectors of
// columns.
#define MICRO(ROWS, VECS)                                                                          \
    static void micro_##ROWS##x##VECS(const struct micro_a *a, const elem *b, int64_t b_row,       \
                                      real *c, int64_t c_row) {                                    \
        enum { POINTERS = (ROWS + 2) / 3 };                                                        \
        const int64_t row = a->row, step = a->step, n_k = a->k, next_slab = a->slab - n_k * step;  \
        const int64_t c_vec = a->c_vec ? a->c_vec : LANES;                                         \
        const elem *p[POINTERS];                                                                   \
        vec sum[ROWS][VECS];                                                                       \
        VEC_EACH(i, ROWS) VEC_EACH(v, VECS) sum[i][v] = (vec){0};                                  \
        if (a->resume) VEC_EACH(i, ROWS)                                                           \
        VEC_EACH(v, VECS) sum[i][v] = vec_load(c + i * c_row + v * c_vec);                         \
        VEC_EACH(i, POINTERS) {                                                                    \
            p[i] = a->a + 3 * i * row;                                                             \
            MICRO_HIDE(p[i]);                                                                      \
        }                                                                                          \
        for (int64_t s = 0; s < a->n_slabs; s++) {                                                 \
            for (int64_t k = 0; k < n_k; k++, b += b_row) {                                        \
                evec bv[VECS];                                                                     \
                VEC_EACH(v, VECS) bv[v] = evec_load(b + v * LANES);                                \
                VEC_EACH(i, ROWS)                                                                  \
                VEC_EACH(v, VECS) MAC(sum[i][v], p[i / 3][i % 3 * row], bv[v]);                    \
                VEC_EACH(i, POINTERS) p[i] += step;                                                \
            }                                                                                      \
            VEC_EACH(i, POINTERS) p[i] += next_slab;                                               \
        }                                                                                          \
        VEC_EACH(i, ROWS) VEC_EACH(v, VECS) vec_store(c + i * c_row + v * c_vec, sum[i][v]);       \
    }

#define MICRO_6(VECS)                                                                              \
    MICRO(1, VECS) MICRO(2, VECS) MICRO(3, VECS) MICRO(4, VECS) MICRO(5, VECS) MICRO(6, VECS)
#define MICRO_NAMES_6(VECS)                                                                        \
    micro_1x##VECS, micro_2x##VECS, micro_3x##VECS, micro_4x##VECS, micro_5x##VECS, micro_6x##VECS
MICRO_6(1)
MICRO_6(2)
#if VEC_BYTES == 64
#define MICRO_12(VECS)                                                                             \
    MICRO(7, VECS) MICRO(8, VECS) MICRO(9, VECS) MICRO(10, VECS) MICRO(11, VECS) MICRO(12, VECS)
#define MICRO_NAMES_12(VECS)                                                                       \
    MICRO_NAMES_6(VECS), micro_7x##VECS, micro_8x##VECS, micro_9x##VECS, micro_10x##VECS,          \
        micro_11x##VECS, micro_12x##VECS
MICRO_12(1)
MICRO_12(2)
MICRO_6(3)
MICRO(7, 3)
MICRO(8, 3)
enum { MICRO_ROWS = 12 };
static const uint32_t micro_rows[] = {12, 12, 8};
static micro_kernel *const micro_kernels[][MICRO_ROWS] = { // [vectors - 1][rows - 1]
    {MICRO_NAMES_12(1)},
    {MICRO_NAMES_12(2)},
    {MICRO_NAMES_6(3), micro_7x3, micro_8x3}};
#else
enum { MICRO_ROWS = 6 };
static const uint32_t micro_rows[] = {6, 6};
static micro_kernel *const micro_kernels[][MICRO_ROWS] = {{MICRO_NAMES_6(1)}, {MICRO_NAMES_6(2)}};
#endif

// C[m, columns] = A . B, written in full vectors: columns is a multiple of GEMM_UNIT, c_row >=
// columns. Rows are cut into nearly equal tiles.
ALWAYS_INLINE void micro_panel(struct micro_a a, int64_t m, const elem *b, int64_t b_row,
                               int64_t columns, real *c, int64_t c_row) {
    const elem *first = a.a;
    for (int64_t j = 0; j < columns; j += MICRO_VECS * LANES) {
        const int vecs = (int)kmin(MICRO_VECS, (columns - j) / LANES);
        const uint32_t rows = (uint32_t)m, most = micro_rows[vecs - 1];
        const uint32_t n_tiles = (rows + most - 1) / most, height = rows / n_tiles,
                       taller = rows % n_tiles;
        real *out = c + j;
        a.a = first;
        for (uint32_t t = 0; t < n_tiles; t++) {
            const int64_t tile = height + (t < taller);
            micro_kernels[vecs - 1][tile - 1](&a, b + j, b_row, out, c_row);
            a.a += tile * a.row;
            out += tile * c_row;
        }
    }
}

// ---- packing

// LANES columns whose k axis is contiguous: full squares of elems are transposed in registers.
static int64_t pack_squares(const struct gemm_pack_job *j, const real *src, elem *out,
                            int64_t row) {
    int64_t k = 0;
    for (; k + LANES * PER_ELEM <= j->k; k += LANES * PER_ELEM) {
        vec square[LANES];
        VEC_EACH(i, LANES) square[i] = (vec)evec_along(src + i * j->n_stride + k);
        vec_transpose(square);
        VEC_EACH(i, LANES) evec_store(out + (k / PER_ELEM + i) * row, (evec)square[i]);
    }
    return k;
}

// `count` columns from row `k` on, any strides; columns past `width` are zero.
static void pack_rest(const struct gemm_pack_job *j, const real *src, int64_t k, int64_t width,
                      int64_t count, elem *out, int64_t row) {
    for (; k < j->k; k += PER_ELEM)
        for (int64_t i = 0; i < count; i++) {
            const real *x = src + k * j->k_stride + i * j->n_stride;
            const bool pair = PER_ELEM == 2 && k + 1 < j->k;
            out[k / PER_ELEM * row + i] =
                i < width ? elem_make(*x, pair ? x[j->k_stride] : 0) : elem_make(0, 0);
        }
}

// One unit: columns [column, column + 16) of B at `out`, row length `row`; columns past n are zero.
static void pack_unit(const struct gemm_pack_job *j, int64_t column, elem *out, int64_t row) {
    int64_t width = kmin(GEMM_UNIT, j->n - column);
    const real *src = j->src + column * j->n_stride;
    if (width == GEMM_UNIT && j->n_stride == 1) {
        for (int64_t k = 0; k < j->k; k += PER_ELEM, src += PER_ELEM * j->k_stride, out += row)
            elems_zip(out, src, k + 1 < j->k ? src + j->k_stride : NULL, GEMM_UNIT);
        return;
    }
    for (int64_t i = 0; i < GEMM_UNIT; i += LANES) {
        const real *from = src + i * j->n_stride;
        int64_t done =
            width - i >= LANES && j->k_stride == 1 ? pack_squares(j, from, out + i, row) : 0;
        pack_rest(j, from, done, width - i, LANES, out + i, row);
    }
}

static void gemm_pack(const struct gemm_pack_job *job, int share) {
    int64_t units = (job->n + GEMM_UNIT - 1) / GEMM_UNIT;
    struct range mine = share_range(units, gemm_pack_shares(job), share);
    for (int64_t p = 0; p < gemm_panels(job->n); p++) {
        struct range panel = gemm_panel(job->n, p);
        int64_t row = (panel.end - panel.first) * GEMM_UNIT;
        for (int64_t u = kmax(panel.first, mine.first); u < kmin(panel.end, mine.end); u++)
            pack_unit(job, u * GEMM_UNIT,
                      (elem *)job->packed + elems(job->k) * panel.first * GEMM_UNIT +
                          (u - panel.first) * GEMM_UNIT,
                      row);
    }
}

// ---- product

ALWAYS_INLINE void gemm_finish_vec(const real *tile, const real *bias, const real *addend, real *c,
                                   bool accumulate) {
    vec sum = vec_load(tile);
    if (bias) sum += vec_load(bias);
    if (addend) sum += vec_load(addend);
    if (accumulate) sum += vec_load(c);
    vec_store(c, sum);
}

// c[m, columns] (=|+=) tile + bias + addend, from row `row` and column `column` on
static void gemm_finish(const struct gemm_job *job, const real *tile, int64_t tile_row, int64_t row,
                        int64_t m, int64_t column, int64_t columns) {
    const bool add = job->accumulate;
    for (int64_t i = row; i < row + m; i++, tile += tile_row) {
        const real *bias = job->bias ? job->bias + column : NULL;
        const real *addend = job->addend ? job->addend + i * job->addend_row + column : NULL;
        real *c = job->c + i * job->c_row + column;
        int64_t j = 0;
        for (; j < columns; j += LANES) {
            if (j + LANES > columns) { // the last vector overlaps the one before
                if (add || columns < LANES) break;
                j = columns - LANES;
            }
            gemm_finish_vec(tile + j, bias ? bias + j : NULL, addend ? addend + j : NULL, c + j,
                            add);
        }
        if (j >= columns) continue;
        // One loop each, so that each is made of vectors.
        real sum[LANES];
        const int64_t rest = columns - j;
        memcpy(sum, tile + j, sizeof sum);
        for (int64_t l = 0; bias && l < rest; l++) sum[l] += bias[j + l];
        for (int64_t l = 0; addend && l < rest; l++) sum[l] += addend[j + l];
        for (int64_t l = 0; add && l < rest; l++) sum[l] += c[j + l];
        for (int64_t l = 0; l < rest; l++) c[j + l] = sum[l];
    }
}

// B's panel p, rows [k, k + count), from B unpacked.
static void gemm_pack_block(const struct gemm_job *job, int64_t panel, int64_t k, int64_t count,
                            elem *out) {
    struct range units = gemm_panel(job->n, panel);
    const int64_t column = units.first * GEMM_UNIT, width = (units.end - units.first) * GEMM_UNIT;
    const int64_t columns = kmin(width, job->n - column), next = PER_ELEM * job->b_row;
    const real *from = job->b_rows + k * job->b_row + column;
    for (int64_t i = 0; i < count; i += PER_ELEM, from += next, out += width) {
        const real *second = i + 1 < count ? from + job->b_row : NULL;
        if (width == PANEL_COLUMNS && columns == width) { // sizes the compiler knows
            elems_zip(out, from, second, PANEL_COLUMNS);
            continue;
        }
        elems_zip(out, from, second, columns);
        memset(out + columns, 0, (size_t)(width - columns) * sizeof(elem));
    }
}

enum {
    BLOCK_K = GEMM_BLOCK_K * PER_ELEM,
    BLOCK_C = PER_ELEM == 1 ? GEMM_BLOCK_M * GEMM_BLOCK_PANELS : GEMM_WIDE_M * GEMM_WIDE_PANELS,
    BLOCK_A_ROW = GEMM_BLOCK_K + 16, // rows of a copy of A: not all in the same sets of a cache
    GEMM_FAR = 512 // reals from one k to the next that make a column of A fall into few sets
};

struct gemm_blocks {
    _Alignas(64) real c[BLOCK_C * PANEL_COLUMNS];
    _Alignas(64) elem a[GEMM_BLOCK_M * BLOCK_A_ROW]; // [k][row] or [row][k]
    _Alignas(64) elem b[GEMM_BLOCK_K * GEMM_BLOCK_PANELS * PANEL_COLUMNS];
};

// A's rows [row, row + m), columns [k, k + count): where they lie; copied where k is the row and
// rows are far apart, and where they are rounded.
static struct micro_a gemm_block_a(const struct gemm_job *job, int64_t row, int64_t m, int64_t k,
                                   int64_t count, elem *copy) {
    const real *a = job->a + row * job->a_row + k * job->a_k;
    const bool resume = k > 0;
#ifdef KERNELS_BF16
    if (job->a_k == 1) {
        for (int64_t i = 0; i < m; i++)
            elems_row(copy + i * BLOCK_A_ROW, a + i * job->a_row, count);
        return (struct micro_a){copy, BLOCK_A_ROW, 0, 1, 1, elems(count), resume, 0};
    }
#else
    if (job->a_k < GEMM_FAR)
        return (struct micro_a){a, job->a_row, 0, job->a_k, 1, count, resume, 0};
#endif
    for (int64_t i = 0; i < count; i += PER_ELEM, a += PER_ELEM * job->a_k)
        elems_zip(copy + i / PER_ELEM * GEMM_BLOCK_M, a, i + 1 < count ? a + job->a_k : NULL, m);
    return (struct micro_a){copy, 1, 0, GEMM_BLOCK_M, 1, elems(count), resume, 0};
}

// B's panel p, rows [k, k + count): packed beforehand, where it lies, or packed into `copy`.
static const elem *gemm_block_b(const struct gemm_job *job, int64_t panel, int64_t k, int64_t count,
                                elem *copy, int64_t *b_row) {
    struct range units = gemm_panel(job->n, panel);
    const int64_t column = units.first * GEMM_UNIT, width = (units.end - units.first) * GEMM_UNIT;
    *b_row = width;
    if (job->b) return (const elem *)job->b + elems(job->k) * column + elems(k) * width;
#ifndef KERNELS_BF16
    if (column + width <= job->n && job->b_row < GEMM_FAR) {
        *b_row = job->b_row;
        return job->b_rows + k * job->b_row + column;
    }
#endif
    gemm_pack_block(job, panel, k, count, copy);
    return copy;
}

// C's rows [row, row + m), panels [panels.first, panels.end): at most one block of each. Sums are
// kept where C lies when nothing is added to them.
static void gemm_block(const struct gemm_job *job, int64_t row, int64_t m, struct range panels) {
    struct gemm_blocks blocks;
    const int64_t first = gemm_panel(job->n, panels.first).first * GEMM_UNIT,
                  end = gemm_panel(job->n, panels.end - 1).end * GEMM_UNIT;
    const bool direct = !job->bias && !job->addend && !job->accumulate && end <= job->n;
    real *c = direct ? job->c + row * job->c_row + first : blocks.c;
    const int64_t c_row = direct ? job->c_row : (panels.end - panels.first) * PANEL_COLUMNS;
    for (int64_t k = 0; k < job->k; k += BLOCK_K) {
        const int64_t count = kmin(BLOCK_K, job->k - k);
        const struct micro_a a = gemm_block_a(job, row, m, k, count, blocks.a);
        for (int64_t p = panels.first; p < panels.end; p++) {
            struct range units = gemm_panel(job->n, p);
            int64_t b_row;
            const elem *b = gemm_block_b(job, p, k, count, blocks.b, &b_row);
            micro_panel(a, m, b, b_row, (units.end - units.first) * GEMM_UNIT,
                        c + units.first * GEMM_UNIT - first, c_row);
        }
    }
    if (!direct) gemm_finish(job, c, c_row, row, m, first, kmin(end, job->n) - first);
}

static void gemm_blocked(const struct gemm_job *job, struct range rows, struct range panels) {
    const struct gemm_block_size size = gemm_block_size(job);
    for (int64_t row = rows.first; row < rows.end; row += size.rows)
        for (int64_t p = panels.first; p < panels.end; p += size.panels)
            gemm_block(job, row, kmin(size.rows, rows.end - row),
                       (struct range){p, kmin(p + size.panels, panels.end)});
}

#ifndef KERNELS_BF16
static void gemm_panel_by_panel(const struct gemm_job *job, struct range rows,
                                struct range panels) {
    bool plain = !job->bias && !job->addend && !job->accumulate;
    for (int64_t p = panels.first; p < panels.end; p++) {
        struct range units = gemm_panel(job->n, p);
        int64_t column = units.first * GEMM_UNIT, width = (units.end - units.first) * GEMM_UNIT;
        int64_t columns = kmin(width, job->n - column);
        const real *b = job->b + job->k * column;
        struct micro_a a = {
            job->a + rows.first * job->a_row, job->a_row, 0, job->a_k, 1, job->k, false, 0};
        if (plain && columns == width) {
            micro_panel(a, rows.end - rows.first, b, width, width,
                        job->c + rows.first * job->c_row + column, job->c_row);
            continue;
        }
        const int64_t height = micro_rows[kmin(MICRO_VECS, width / LANES) - 1];
        for (int64_t row = rows.first; row < rows.end; row += height) {
            _Alignas(64) real tile[MICRO_ROWS * PANEL_COLUMNS];
            int64_t m = kmin(height, rows.end - row);
            a.a = job->a + row * job->a_row;
            micro_panel(a, m, b, width, width, tile, PANEL_COLUMNS);
            gemm_finish(job, tile, PANEL_COLUMNS, row, m, column, columns);
        }
    }
}
#endif

static void gemm(const struct gemm_job *job, int share) {
    struct range rows, panels;
    gemm_share(job, share, &rows, &panels);
#ifndef KERNELS_BF16
    if (!gemm_in_blocks(job)) {
        gemm_panel_by_panel(job, rows, panels);
        return;
    }
#endif
    gemm_blocked(job, rows, panels);
}

#endif
