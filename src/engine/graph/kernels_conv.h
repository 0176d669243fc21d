// Convolutions with kernel 4, stride 2, padding 1 on NHWC images: down, its adjoint up, and dw.
//
// No im2col: with a zero border around an image, what one output needs lies in a few contiguous
// runs.
//
//   down   small(Y, X) needs rows 2Y-1 .. 2Y+2 and columns 2X-1 .. 2X+2: 4 runs of 4 n_big reals.
//          The next X starts 2 n_big further. So a row of outputs is a product with row stride
//          2 n_big and 4 slabs of k = 4 n_big.
//   up     The big pixels 2j-1 and 2j of a row are contiguous, and both need exactly the small
//          columns j-1 and j; rows 2i-1 and 2i need the small rows i-1 and i. So a pair of pixels
//          is one row of a product with 2 slabs of k = 2 n_small and 2 n_big columns, with other
//          weights for odd and even rows; none is zero.
//
//              j-1   j            weights       x = 2j-1   x = 2j      y = 2i-1   y = 2i
//         i-1   o----o            from j-1:     kx = 2     kx = 3
//               |::::|            from j:       kx = 0     kx = 1
//          i    o----o            from i-1:                            ky = 2     ky = 3
//            :: four big pixels   from i:                              ky = 0     ky = 1
//
//   weight the outer product of a patch run and a small pixel, summed over the pixels of an image
//          in registers.
//
// In bf16 (kernels_elem.h) the bordered image is made of rounded numbers and all strides are
// counted in pairs; n_small and the small image's width are even. The weight gradient's pairs are
// two pixels beside each other:
//
//     image  pair(x) = (column x, column x + 2), so that a patch of pairs is contiguous as well
//     small  pair(p) = (pixel 2p, pixel 2p + 1)
//
// Few channels would leave most of a vector empty, so there
//
//   down   with n_small <= 8 makes two neighbouring pixels one row: 4 slabs of k = 6 n_big; a third
//          of B is zero;
//   up     with n_big <= 8 makes both big rows one product of 4 n_big columns; with n_big = 1 each
//          small pixel gives its 16 products, and those of four neighbours are then added;
//   weight with n_small = 8, n_big = 1 takes two pixels as one vector, 6 patch columns: the lower
//          half of the vector gets its taps from columns 0..3, the upper from columns 2..5.
#ifndef GRAPH_KERNELS_CONV_H
#define GRAPH_KERNELS_CONV_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_gemm.h"
#include "engine/graph/kernels_vec.h"

struct conv_dims {
    int64_t height, width, n_big; // big image
    int64_t hs, ws, n_small;      // small image
};

static struct conv_dims conv_dims(const struct conv_shape *s) {
    return (struct conv_dims){s->height,     s->width,     s->n_big,
                              s->height / 2, s->width / 2, s->n_small};
}

// ---- packing: a share writes some columns of B into the panels of kernels_gemm.h

// Part of a column of B: B(k0, k1, k2) = weights[k0 k_stride[0] + k1 k_stride[1] + k2 k_stride[2]]
struct conv_column {
    const real *weights;
    int64_t k_stride[3], k_count[3];
};

// Writes `c` from row k_first on into a column of B [k][n].
static void conv_pack_column(elem *packed, int64_t k, int64_t n, int64_t column, int64_t k_first,
                             const struct conv_column *c) {
    int64_t unit = column / GEMM_UNIT, panel = 0;
    while (gemm_panel(n, panel).end <= unit) panel++;
    struct range units = gemm_panel(n, panel);
    int64_t row = (units.end - units.first) * GEMM_UNIT, at = k_first;
    elem *out = packed + elems(k) * units.first * GEMM_UNIT + column - units.first * GEMM_UNIT;
    for (int64_t i = 0; i < c->k_count[0]; i++)
        for (int64_t j = 0; j < c->k_count[1]; j++)
            for (int64_t l = 0; l < c->k_count[2]; l++, at++)
                value_put(out + at / PER_ELEM * row, at % PER_ELEM,
                          c->weights[i * c->k_stride[0] + j * c->k_stride[1] + l * c->k_stride[2]]);
}

static void conv_pack_zero(elem *packed, int64_t k, int64_t n, int64_t column) {
    const real zero = 0;
    const struct conv_column c = {&zero, {0, 0, 0}, {1, 1, k}};
    conv_pack_column(packed, k, n, column, 0, &c);
}

// B(ky, kx, c; o) = w[o][c][ky][kx]
// pairs: B(ky, t, c; p, o) = w[o][c][ky][t - 2p], 0 where t - 2p is no kx
static void conv_pack_down(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    const bool pairs = conv_pairs(&job->shape);
    int64_t n = pairs ? 2 * d.n_small : d.n_small, k = (pairs ? 24 : 16) * d.n_big;
    struct range columns = share_range(kround_up(n, GEMM_UNIT), conv_pack_shares(job), share);
    elem *packed = (elem *)job->packed;
    for (int64_t column = columns.first; column < columns.end; column++) {
        const real *w = job->weights + column % d.n_small * d.n_big * 16;
        if (pairs || column >= n) conv_pack_zero(packed, k, n, column);
        for (int64_t ky = 0; ky < 4 && column < n; ky++) {
            const struct conv_column c = {w + ky * 4, {0, 1, 16}, {1, 4, d.n_big}};
            int64_t first = pairs ? ky * 6 + column / d.n_small * 2 : ky * 4;
            conv_pack_column(packed, k, n, column, first * d.n_big, &c);
        }
    }
}

// One big channel: the taps of a small pixel in the order of conv_taps.
static void conv_pack_up_one(const struct conv_job *job) {
    for (int64_t tap = 0; tap < 16; tap++) {
        int64_t ky = tap / 8 * 2 + tap / 2 % 2, kx = tap / 4 % 2 * 2 + tap % 2;
        const struct conv_column c = {
            job->weights + ky * 4 + kx, {0, 0, 16}, {1, 1, job->shape.n_small}};
        conv_pack_column((elem *)job->packed, job->shape.n_small, 16, tap, 0, &c);
    }
}

// B(row i-1 or i, column j-1 or j, o; p, c) = w[o][c][ky][kx]
// One B for row 2i-1 and one for row 2i, or both side by side.
static void conv_pack_up(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    const bool joined = d.n_big <= 8;
    int64_t half = 2 * d.n_big, n = joined ? 2 * half : half, width = kround_up(n, GEMM_UNIT),
            k = 4 * d.n_small;
    struct range columns = share_range(width, conv_pack_shares(job), share);
    if (d.n_big == 1) {
        if (share == 0) conv_pack_up_one(job);
        return;
    }
    for (int even = 0; even < (joined ? 1 : 2); even++)
        for (int64_t column = columns.first; column < columns.end; column++) {
            elem *packed = (elem *)job->packed + even * elems(k) * width;
            int64_t ky = 2 + (joined ? column / half : even),
                    kx = 2 + column / d.n_big % 2; // of row i-1, column j-1
            const struct conv_column c = {job->weights + column % d.n_big * 16 + ky * 4 + kx,
                                          {-8, -2, d.n_big * 16},
                                          {2, 2, d.n_small}};
            if (column < n)
                conv_pack_column(packed, k, n, column, 0, &c);
            else
                conv_pack_zero(packed, k, n, column);
        }
}

// ---- images with a zero border of one pixel

// The border is written once per share: images only ever overwrite the inside.
static void border_clear(elem *out, int64_t n_elems) {
    memset(out, 0, (size_t)n_elems * sizeof(elem));
}

static void border_copy(elem *out, const real *image, int64_t height, int64_t width,
                        int64_t columns, int64_t channels) {
    for (int64_t y = 0; y < height; y++)
        values_copy(out, ((y + 1) * columns + 1) * channels, image + y * width * channels,
                    width * channels);
}

// Fetches part `part` of `parts` of the next image while this one is computed.
ALWAYS_INLINE void prefetch_part(const real *next, const real *end, int64_t n, int64_t part,
                                 int64_t parts) {
    if (next >= end) return;
    for (int64_t i = n * part / parts; i < n * (part + 1) / parts; i += 64 / REAL_BYTES)
        __builtin_prefetch(next + i, 0, 2);
}

// out[n] (=|+=) x[n] (+ bias, repeated every `channels`)
ALWAYS_INLINE void conv_finish(real *out, const real *x, int64_t n, const real *bias,
                               int64_t channels, bool accumulate) {
    if (bias)
        for (int64_t i = 0; i < n; i += channels)
            for (int64_t c = 0; c < channels; c++)
                out[i + c] = (accumulate ? out[i + c] : 0) + x[i + c] + bias[c];
    else if (accumulate)
        for (int64_t i = 0; i < n; i++) out[i] += x[i];
    else
        memcpy(out, x, (size_t)n * sizeof(real));
}

// All panels of a product with m rows; C is m rows of kround_up(n, GEMM_UNIT).
static void conv_panels(const struct micro_a *a, int64_t m, const elem *b, int64_t n, real *c,
                        int64_t c_row) {
    int64_t k = a->n_slabs * a->k; // in elems
    if (n <= PANEL_COLUMNS) {      // one panel
        micro_panel(*a, m, b, kround_up(n, GEMM_UNIT), kround_up(n, GEMM_UNIT), c, c_row);
        return;
    }
    for (int64_t p = 0; p < gemm_panels(n); p++) {
        struct range units = gemm_panel(n, p);
        int64_t column = units.first * GEMM_UNIT;
        const int64_t width = (units.end - units.first) * GEMM_UNIT;
        micro_panel(*a, m, b + k * column, width, width, c + column, c_row);
    }
}

// ---- down

static void conv_down(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    const struct conv_layout layout = conv_layout(&job->shape);
    const int64_t pixels = conv_pairs(&job->shape) ? 2 : 1,
                  n_columns = pixels * d.n_small; // of one row of C
    struct range images = share_range(job->shape.n, conv_shares(job), share);
    elem *image = (elem *)(job->scratch + share * layout.share);
    real *line = job->scratch + share * layout.share + layout.line;
    int64_t columns = 2 * d.ws + 2, stride = elems(columns * d.n_big),
            width = kround_up(n_columns, GEMM_UNIT);
    const int64_t size = d.height * d.width * d.n_big;
    const real *end = job->big + images.end * size;
    bool direct = width == n_columns && !job->accumulate;
    border_clear(image, (2 * d.hs + 2) * stride);
    for (int64_t n = images.first; n < images.end; n++) {
        const real *big = job->big + n * size;
        border_copy(image, big, d.height, d.width, columns, d.n_big);
        for (int64_t y = 0; y < d.hs; y++) {
            struct micro_a a = {.a = image + 2 * y * stride,
                                .row = elems(2 * pixels * d.n_big),
                                .slab = stride,
                                .step = 1,
                                .n_slabs = 4,
                                .k = elems((2 + 2 * pixels) * d.n_big)};
            real *out = job->out + (n * d.hs + y) * d.ws * d.n_small;
            prefetch_part(big + size, end, size, y, d.hs);
            conv_panels(&a, d.ws / pixels, (const elem *)job->packed, n_columns,
                        direct ? out : line, width);
            for (int64_t x = 0; !direct && x < d.ws; x += pixels)
                conv_finish(out + x * d.n_small, line + x / pixels * width, n_columns, NULL, 0,
                            job->accumulate);
        }
    }
}

// ---- up

// A big row from pixel pairs (-1, 0), (1, 2), ... that lie `width` reals apart.
static void conv_up_line(const struct conv_job *job, const struct conv_dims *d, const real *line,
                         int64_t width, real *out) {
    const int64_t c = d->n_big;
    if (width == 2 * c) {
        conv_finish(out, line + c, d->width * c, job->bias, c, job->accumulate);
        return;
    }
    conv_finish(out, line + c, c, job->bias, c, job->accumulate);
    for (int64_t j = 1; j < d->ws; j++) {
        if (c == 8 && !job->bias) // the common case, with sizes the compiler knows
            conv_finish(out + (2 * j - 1) * 8, line + j * width, 16, NULL, 8, job->accumulate);
        else
            conv_finish(out + (2 * j - 1) * c, line + j * width, 2 * c, job->bias, c,
                        job->accumulate);
    }
    conv_finish(out + (2 * d->ws - 1) * c, line + d->ws * width, (d->width + 1 - 2 * d->ws) * c,
                job->bias, c, job->accumulate);
}

#ifndef KERNELS_BF16 // one big channel is never in bf16 (conv_in_bf16)

typedef real vec4 __attribute__((vector_size(4 * sizeof(real))));
typedef real vec4_unaligned
    __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));
ALWAYS_INLINE vec4 vec4_load(const real *p) { return *(const vec4_unaligned *)p; }

// One small row's products with the 16 taps, [ws + 2][16] with a zero pixel on either side. Taps
// are ordered (dy, dx, a, b): small pixel (r, c) adds tap (dy, dx, a, b) to big pixel (2 (r + dy) -
// 1 + a, 2 (c + dx) - 1 + b).
static void conv_taps(const struct conv_job *job, const struct conv_dims *d, int64_t image,
                      int64_t r, real *taps) {
    if (r < 0 || r >= d->hs) {
        memset(taps + GEMM_UNIT, 0, (size_t)(d->ws * GEMM_UNIT) * sizeof(real));
        return;
    }
    const real *small = job->small + (image * d->hs + r) * d->ws * d->n_small;
    struct micro_a a = {small, d->n_small, 0, 1, 1, d->n_small, false};
    conv_panels(&a, d->ws, (const elem *)job->packed, GEMM_UNIT, taps + GEMM_UNIT, GEMM_UNIT);
}

// Big rows 2i-1 (`odd`) and 2i (`even`) from the taps of small rows i-1 and i.
static void conv_up_one_rows(const struct conv_dims *d, const real *above, const real *below,
                             real bias, real *odd, real *even) {
    for (int64_t j = 0; j <= d->ws;
         j++, above += GEMM_UNIT, below += GEMM_UNIT, odd += 2, even += 2) {
        vec4 sum = (vec4_load(below + 16) + vec4_load(below + 4)) +
                   (vec4_load(above + 24) + vec4_load(above + 12));
        sum += bias - (vec4){0};
        memcpy(odd, &sum, 2 * sizeof(real));
        memcpy(even, (const real *)&sum + 2, 2 * sizeof(real));
    }
}

static void conv_up_one(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    const struct conv_layout layout = conv_layout(&job->shape);
    struct range images = share_range(job->shape.n, conv_shares(job), share);
    real *above = job->scratch + share * layout.share, *below = above + (d.ws + 2) * GEMM_UNIT;
    real *line[2] = {above + layout.line, above + layout.line + 2 * d.ws + 2};
    memset(above, 0, (size_t)(2 * (d.ws + 2) * GEMM_UNIT) * sizeof(real));
    const int64_t size = d.hs * d.ws * d.n_small;
    for (int64_t n = images.first; n < images.end; n++) {
        conv_taps(job, &d, n, -1, above);
        for (int64_t i = 0; i <= d.hs; i++) {
            prefetch_part(job->small + (n + 1) * size, job->small + images.end * size, size, i,
                          d.hs + 1);
            conv_taps(job, &d, n, i, below);
            conv_up_one_rows(&d, above, below, job->bias ? job->bias[0] : 0, line[0], line[1]);
            for (int64_t y = 2 * i - 1; y <= 2 * i; y++)
                if (y >= 0 && y < d.height)
                    conv_finish(job->out + (n * d.height + y) * d.width, line[1 - (y & 1)] + 1,
                                d.width, NULL, 1, job->accumulate);
            real *t = above;
            above = below;
            below = t;
        }
    }
}

#endif

static void conv_up(const struct conv_job *job, int share) {
#ifndef KERNELS_BF16
    if (job->shape.n_big == 1) {
        conv_up_one(job, share);
        return;
    }
#endif
    const struct conv_dims d = conv_dims(&job->shape);
    const struct conv_layout layout = conv_layout(&job->shape);
    const bool joined = d.n_big <= 8;
    struct range images = share_range(job->shape.n, conv_shares(job), share);
    elem *image = (elem *)(job->scratch + share * layout.share);
    real *line = job->scratch + share * layout.share + layout.line;
    const elem *packed = (const elem *)job->packed;
    int64_t columns = d.ws + 2, stride = elems(columns * d.n_small), half = 2 * d.n_big,
            n_columns = joined ? 2 * half : half;
    int64_t width = kround_up(n_columns, GEMM_UNIT),
            next_b = joined ? 0 : elems(4 * d.n_small) * width;
    const int64_t size = d.hs * d.ws * d.n_small;
    const real *end = job->small + images.end * size;
    border_clear(image, (d.hs + 2) * stride);
    for (int64_t n = images.first; n < images.end; n++) {
        const real *small = job->small + n * size;
        border_copy(image, small, d.hs, d.ws, columns, d.n_small);
        for (int64_t i = 0; i <= d.hs; i++) {
            struct micro_a a = {.a = image + i * stride,
                                .row = elems(d.n_small),
                                .slab = stride,
                                .step = 1,
                                .n_slabs = 2,
                                .k = elems(2 * d.n_small)};
            prefetch_part(small + size, end, size, i, d.hs + 1);
            if (joined) conv_panels(&a, d.ws + 1, packed, n_columns, line, width);
            for (int even = 0; even < 2; even++) {
                int64_t y = 2 * i - 1 + even;
                if (y < 0 || y >= d.height) continue;
                if (!joined)
                    conv_panels(&a, d.ws + 1, packed + even * next_b, n_columns, line, width);
                conv_up_line(job, &d, line + (joined ? even * half : 0), width,
                             job->out + (n * d.height + y) * d.width * d.n_big);
            }
        }
    }
}

// ---- weight gradient

// What a band of rows may take: 28 KB of a first-level cache of 32 or 48. In bf16, with half the
// pixels to a sum, 160 KB of the second level, so that a sum is worth its load and store.
enum { CONV_BAND_ELEMS = PER_ELEM == 1 ? 7000 : 40000 };

struct outer {     // of one image, in elems; in bf16 a pixel is a pair of pixels
    const elem *a; // first patch element; the patch of the next pixel is a_pixel further
    int64_t a_pixel, a_line, a_slab;
    const elem *b; // small pixels, b_pixel elems each
    int64_t b_pixel, rows, columns;
};

typedef void outer_kernel(const struct outer *o, real *out, int64_t out_row, int64_t out_slab);

// out(s, i, v) += sum over pixels of a(pixel, s, i) * b(pixel, v)
#define OUTER(SLABS, ROWS, VECS)                                                                   \
    static void outer_##SLABS##x##ROWS##x##VECS(const struct outer *o, real *out, int64_t out_row, \
                                                int64_t out_slab) {                                \
        const int64_t a_pixel = o->a_pixel, b_pixel = o->b_pixel, a_slab = o->a_slab;              \
        const elem *b = o->b;                                                                      \
        vec sum[SLABS][ROWS][VECS];                                                                \
        VEC_EACH(s, SLABS) VEC_EACH(i, ROWS) VEC_EACH(v, VECS) sum[s][i][v] = (vec){0};            \
        for (int64_t y = 0; y < o->rows; y++) {                                                    \
            const elem *a = o->a + y * o->a_line, *end = b + o->columns * b_pixel;                 \
            for (; b != end; a += a_pixel, b += b_pixel) {                                         \
                evec bv[VECS];                                                                     \
                VEC_EACH(v, VECS) bv[v] = evec_load(b + v * LANES);                                \
                VEC_EACH(s, SLABS)                                                                 \
                VEC_EACH(i, ROWS) VEC_EACH(v, VECS) MAC(sum[s][i][v], a[s * a_slab + i], bv[v]);   \
            }                                                                                      \
        }                                                                                          \
        VEC_EACH(s, SLABS) VEC_EACH(i, ROWS) VEC_EACH(v, VECS) {                                   \
            real *p = out + s * out_slab + i * out_row + v * LANES;                                \
            vec_store(p, vec_load(p) + sum[s][i][v]);                                              \
        }                                                                                          \
    }

// Tiles of patch elements, widest first: rows of 16 (one vector of columns), 8, 6 and 4.
struct outer_tile {
    int slabs, rows;
    outer_kernel *kernel[3];
}; // by vectors - 1
OUTER(1, 4, 1)
OUTER(1, 4, 2)
OUTER(1, 6, 1)
OUTER(1, 6, 2)
#if VEC_BYTES == 64
OUTER(4, 4, 1)
OUTER(4, 6, 1)
OUTER(1, 16, 1)
OUTER(1, 8, 1)
OUTER(1, 8, 2)
OUTER(1, 4, 3)
OUTER(1, 6, 3)
OUTER(1, 8, 3)
OUTER(1, 12, 2)
static const struct outer_tile outer_tiles[] = {
    {4, 6, {outer_4x6x1, NULL, NULL}},
    {4, 4, {outer_4x4x1, NULL, NULL}}, // all slabs of one channel
    {1, 16, {outer_1x16x1, NULL, NULL}},
    {1, 12, {NULL, PER_ELEM == 1 ? NULL : outer_1x12x2, NULL}}, // slower in float32
    {1, 8, {outer_1x8x1, outer_1x8x2, outer_1x8x3}},
    {1, 6, {outer_1x6x1, outer_1x6x2, outer_1x6x3}},
    {1, 4, {outer_1x4x1, outer_1x4x2, outer_1x4x3}}};
#else
static const struct outer_tile outer_tiles[] = {{1, 6, {outer_1x6x1, outer_1x6x2, NULL}},
                                                {1, 4, {outer_1x4x1, outer_1x4x2, NULL}}};
#endif

// The first tile that fits. A patch is 6 or a multiple of 4, and a tile must leave such a number.
static const struct outer_tile *outer_tile(int64_t patch, int64_t left, int64_t vecs) {
    const struct outer_tile *t = outer_tiles;
    while (!t->kernel[vecs - 1] || t->rows > left || (t->slabs == 4 && t->rows != patch) ||
           (t->rows == 6 && patch != 6))
        t++;
    return t;
}

// One band of an image: partial [ky][patch][width] += patches (x) small.
static void conv_weight_band(const struct outer *band, int64_t patch, int64_t width,
                             real *partial) {
    const int64_t slab = patch * width;
    for (int64_t column = 0, vecs; column < width; column += vecs * LANES) {
        const int64_t left = (width - column) / LANES;
        vecs = left == 4 ? 2 : kmin(MICRO_VECS, left);
        struct outer o = *band;
        o.b += column;
        for (int64_t ky = 0, slabs; ky < 4; ky += slabs) {
            slabs = 1;
            for (int64_t q = 0; q < patch;) {
                const struct outer_tile *tile = outer_tile(patch, patch - q, vecs);
                o.a = band->a + ky * band->a_slab + q;
                tile->kernel[vecs - 1](&o, partial + ky * slab + q * width + column, width, slab);
                q += tile->rows;
                slabs = tile->slabs;
            }
        }
    }
}

struct conv_next {
    const real *big, *big_end, *small, *small_end;
    int64_t big_size, small_size;
};

// Bands of rows that stay in the first-level cache while all tiles pass over them.
static void conv_weight_image(const struct outer *image, int64_t patch, int64_t width,
                              real *partial, const struct conv_next *next) {
    const int64_t line = image->a_line + image->columns * image->b_pixel;
    const int64_t band = kmax(1, (CONV_BAND_ELEMS - image->a_line) / line);
    for (int64_t y = 0; y < image->rows; y += band) {
        struct outer o = *image;
        o.a += y * o.a_line;
        o.b += y * o.columns * o.b_pixel;
        o.rows = kmin(band, image->rows - y);
        prefetch_part(next->big, next->big_end, next->big_size, y / band,
                      (image->rows + band - 1) / band);
        prefetch_part(next->small, next->small_end, next->small_size, y / band,
                      (image->rows + band - 1) / band);
        conv_weight_band(&o, patch, width, partial);
    }
}

#ifdef KERNELS_BF16
// Pairs (column x, column x + 2) of the bordered image for x = 0 .. 2 ws - 1; the border's rows
// stay as border_clear left them.
static void conv_weight_big(elem *out, const real *big, const struct conv_dims *d, int64_t stride) {
    const int64_t c = d->n_big, inside = 2 * d->ws - 2;
    for (int64_t y = 0; y < d->height; y++, big += d->width * c) {
        elem *line = out + (y + 1) * stride;
        for (int64_t i = 0; i < c; i++) line[i] = elem_make(0, big[c + i]);
        elems_zip(line + c, big, big + 2 * c, inside * c);
        const bool border = d->width == 2 * d->ws;
        elems_zip(line + (inside + 1) * c, big + inside * c, border ? NULL : big + (inside + 2) * c,
                  c);
    }
}

// Pairs of pixels, each `width` wide.
static void conv_weight_small(elem *out, const real *small, const struct conv_dims *d,
                              int64_t width) {
    const int64_t c = d->n_small;
    for (int64_t p = 0; p < d->hs * d->ws / 2; p++, small += 2 * c, out += width)
        elems_zip(out, small, small + c, c);
}
#else
static void conv_weight_big(elem *out, const real *big, const struct conv_dims *d, int64_t stride) {
    border_copy(out, big, d->height, d->width, stride / d->n_big, d->n_big);
}

static void conv_weight_small(elem *out, const real *small, const struct conv_dims *d,
                              int64_t width) {
    for (int64_t p = 0; p < d->hs * d->ws; p++)
        memcpy(out + p * width, small + p * d->n_small, (size_t)d->n_small * sizeof(real));
}
#endif

static void conv_weight(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    const struct conv_layout layout = conv_layout(&job->shape);
    const bool pairs = conv_weight_pairs(&job->shape), two = pairs || PER_ELEM == 2;
    struct range images = share_range(job->shape.n, conv_shares(job), share);
    real *scratch = job->scratch + share * layout.weight_share, *partial = scratch + layout.partial;
    elem *image = (elem *)scratch, *small = (elem *)(scratch + layout.small);
    int64_t stride = (2 * d.ws + 2) * d.n_big, width = kround_up(d.n_small, GEMM_UNIT);
    int64_t pixels = d.hs * d.ws, patch = pairs ? 6 : 4 * d.n_big;
    bool direct = PER_ELEM == 1 && (pairs || width == d.n_small);
    border_clear(image, (2 * d.hs + 2) * stride);
    if (!direct) memset(small, 0, (size_t)(elems(pixels) * width) * sizeof(elem));
    memset(partial, 0, (size_t)(4 * patch * width) * sizeof(real));
    struct conv_next next = {.big_size = d.height * d.width * d.n_big,
                             .small_size = pixels * d.n_small};
    next.big_end = job->big + images.end * next.big_size;
    next.small_end = job->small + images.end * next.small_size;
    for (int64_t n = images.first; n < images.end; n++) {
        const real *b = job->small + n * next.small_size, *big = job->big + n * next.big_size;
        next.big = big + next.big_size;
        next.small = b + next.small_size;
        conv_weight_big(image, big, &d, stride);
        if (!direct) conv_weight_small(small, b, &d, width);
        struct outer o = {.a = image,
                          .a_pixel = (two ? 4 : 2) * d.n_big,
                          .a_line = 2 * stride,
                          .a_slab = stride,
                          .b = direct ? (const elem *)b : small,
                          .b_pixel = width,
                          .rows = d.hs,
                          .columns = two ? d.ws / 2 : d.ws};
        conv_weight_image(&o, patch, width, partial, &next);
    }
}

// sum[tap][l] = sum of the shares' partials, in their order, for (tap, big channel c, small o + l)
static void conv_weight_sum(const struct conv_job *job, int64_t c, int64_t o, int64_t width,
                            real sum[24][GEMM_UNIT]) {
    const struct conv_layout layout = conv_layout(&job->shape);
    const bool pairs = conv_weight_pairs(&job->shape);
    const int n_partials = conv_shares(job);
    for (int tap = 0; tap < (pairs ? 24 : 16); tap++) {
        const real *p = job->scratch + layout.partial + (tap * job->shape.n_big + c) * width + o;
        memcpy(sum[tap], p, sizeof sum[tap]);
        for (int i = 1; i < n_partials; i++)
            for (int l = 0; l < GEMM_UNIT; l++) sum[tap][l] += p[i * layout.weight_share + l];
    }
    for (int tap = 0; pairs && tap < 16; tap++) { // 6 columns and two pixels to 4 columns
        const int at = tap / 4 * 6 + tap % 4;
        for (int l = 0; l < GEMM_UNIT / 2; l++)
            sum[tap][l] = sum[at][l] + sum[at + 2][l + GEMM_UNIT / 2];
    }
}

// A share takes some big channels.
static void conv_weight_reduce(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    struct range channels = share_range(d.n_big, conv_weight_reduce_shares(job), share);
    int64_t width = kround_up(d.n_small, GEMM_UNIT);
    for (int64_t c = channels.first; c < channels.end; c++)
        for (int64_t o = 0; o < width; o += GEMM_UNIT) {
            real sum[24][GEMM_UNIT];
            conv_weight_sum(job, c, o, width, sum);
            for (int64_t l = 0; l < kmin(GEMM_UNIT, d.n_small - o); l++) {
                real *out = job->out + ((o + l) * d.n_big + c) * 16;
                for (int tap = 0; tap < 16; tap++)
                    out[tap] = (job->accumulate ? out[tap] : 0) + sum[tap][l];
            }
        }
}

#endif
