// Convolutions with kernel 4, stride 2, padding 1 on NHWC images: down, up (its adjoint) and the weight gradient.
//
// No im2col: with a zero border around an image, what one output needs lies in a few contiguous runs.
//
//   down   small(Y, X) needs rows 2Y-1 .. 2Y+2, columns 2X-1 .. 2X+2: 4 runs of 4 n_big reals. The next X starts
//          2 n_big further: a product with row stride 2 n_big and 4 slabs of k = 4 n_big.
//   up     the big pixels 2j-1 and 2j of a row are contiguous and both need exactly the small columns j-1 and j;
//          rows 2i-1 and 2i need the small rows i-1 and i. So a pair of pixels is one row of a product with
//          2 slabs of k = 2 n_small and 2 n_big columns, with other weights for even and odd rows; none is zero.
//
//              j-1   j               columns of B:  x = 2j-1 | x = 2j
//         i-1   o----o                  from j-1:    kx = 2  | kx = 3       row 2i-1: ky = 2 (from i-1), 0 (from i)
//               |::::|  :: two big      from j:      kx = 0  | kx = 1       row 2i:   ky = 3 (from i-1), 1 (from i)
//          i    o----o  rows, columns
//
//   up to one channel   2 columns would fill an eighth of a vector: each small pixel gives its 16 products
//          (one vector), and the sums of four neighbours are then put together (conv_up_one).
//   weight the outer product of a patch run and a small pixel, summed over the pixels of an image in registers.
#ifndef GRAPH_KERNELS_CONV_H
#define GRAPH_KERNELS_CONV_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_gemm.h"
#include "engine/graph/kernels_vec.h"

struct conv_dims {
    int64_t height, width, n_big;       // big image
    int64_t hs, ws, n_small;            // small image
};

static struct conv_dims conv_dims(const struct conv_shape *s) {
    return (struct conv_dims){s->height, s->width, s->n_big, s->height / 2, s->width / 2, s->n_small};
}

// ---- packing: columns [first, end) of B go into the panels of kernels_gemm.h, one row k after another

struct conv_column { const real *weights; int64_t k_stride[3], k_count[3]; };  // B(k0, k1, k2) of one column

// Writes one column of B whose k axis is a box of three strides over the weights.
static void conv_pack_column(real *packed, int64_t k, int64_t n, int64_t column, const struct conv_column *c) {
    int64_t unit = column / GEMM_UNIT, panel = 0;
    while (gemm_panel(n, panel).end <= unit) panel++;
    struct range units = gemm_panel(n, panel);
    int64_t row = (units.end - units.first) * GEMM_UNIT;
    real *out = packed + k * units.first * GEMM_UNIT + column - units.first * GEMM_UNIT;
    for (int64_t i = 0; i < c->k_count[0]; i++)
        for (int64_t j = 0; j < c->k_count[1]; j++)
            for (int64_t l = 0; l < c->k_count[2]; l++, out += row)
                *out = c->weights ? c->weights[i * c->k_stride[0] + j * c->k_stride[1] + l * c->k_stride[2]] : 0;
}

// B(ky, kx, c; o) = w[o][c][ky][kx]
static void conv_pack_down(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    struct range columns = share_range(kround_up(d.n_small, GEMM_UNIT), conv_pack_shares(job), share);
    for (int64_t o = columns.first; o < columns.end; o++) {
        struct conv_column c = {o < d.n_small ? job->weights + o * d.n_big * 16 : NULL, {4, 1, 16}, {4, 4, d.n_big}};
        conv_pack_column(job->packed, 16 * d.n_big, d.n_small, o, &c);
    }
}

// Taps of a small pixel, for one big channel: column ky' kx' of its 2 x 2 x 2 x 2 products (conv_up_one).
static void conv_pack_up_one(const struct conv_job *job) {
    for (int64_t tap = 0; tap < 16; tap++) {
        int64_t ky = tap / 8 * 2 + tap / 2 % 2, kx = tap / 4 % 2 * 2 + tap % 2;
        struct conv_column c = {job->weights + ky * 4 + kx, {0, 0, 16}, {1, 1, job->shape.n_small}};
        conv_pack_column(job->packed, job->shape.n_small, 16, tap, &c);
    }
}

// B(row i-1 or i, column j-1 or j, o; p, c) = w[o][c][ky][kx], one B for even rows and one for odd
static void conv_pack_up(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    int64_t n = 2 * d.n_big, width = kround_up(n, GEMM_UNIT), k = 4 * d.n_small;
    struct range columns = share_range(width, conv_pack_shares(job), share);
    if (d.n_big == 1) {
        if (share == 0) conv_pack_up_one(job);
        return;
    }
    for (int odd = 0; odd < 2; odd++)
        for (int64_t column = columns.first; column < columns.end; column++) {
            int64_t ky = 3 - odd, kx = 2 + column / d.n_big, o = d.n_big * 16;   // of row i-1, column j-1
            const real *w = job->weights + column % d.n_big * 16 + ky * 4 + kx;
            struct conv_column c = {column < n ? w : NULL, {-8, -2, o}, {2, 2, d.n_small}};
            conv_pack_column(job->packed + odd * k * width, k, n, column, &c);
        }
}

// ---- images with a zero border of one pixel

// The border is written once per share: images only ever overwrite the inside.
static void border_clear(real *out, int64_t rows, int64_t columns, int64_t channels) {
    memset(out, 0, (size_t)(rows * columns * channels) * sizeof(real));
}

static void border_copy(real *out, const real *image, int64_t height, int64_t width, int64_t columns,
                        int64_t channels) {
    for (int64_t y = 0; y < height; y++)
        memcpy(out + ((y + 1) * columns + 1) * channels, image + y * width * channels,
               (size_t)(width * channels) * sizeof(real));
}

// out[n] (=|+=) x[n] (+ bias, repeated every `channels`)
static void conv_finish(real *out, const real *x, int64_t n, const real *bias, int64_t channels, bool accumulate) {
    if (bias)
        for (int64_t i = 0; i < n; i += channels)
            for (int64_t c = 0; c < channels; c++) out[i + c] = (accumulate ? out[i + c] : 0) + x[i + c] + bias[c];
    else if (accumulate)
        for (int64_t i = 0; i < n; i++) out[i] += x[i];
    else
        memcpy(out, x, (size_t)n * sizeof(real));
}

// All panels of a product with m rows; C is m rows of kround_up(n, GEMM_UNIT).
static void conv_panels(const struct micro_a *a, int64_t m, const real *b, int64_t n, real *c, int64_t c_row) {
    int64_t k = a->n_slabs * a->k;
    for (int64_t p = 0; p < gemm_panels(n); p++) {
        struct range units = gemm_panel(n, p);
        int64_t column = units.first * GEMM_UNIT;
        micro_panel(*a, m, b + k * column, (units.end - units.first) * GEMM_UNIT, c + column, c_row);
    }
}

// ---- down

static void conv_down(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    const struct conv_layout layout = conv_layout(&job->shape);
    struct range images = share_range(job->shape.n, conv_shares(job), share);
    real *image = job->scratch + share * layout.share, *line = image + layout.line;
    int64_t columns = 2 * d.ws + 2, stride = columns * d.n_big, width = kround_up(d.n_small, GEMM_UNIT);
    bool direct = width == d.n_small && !job->accumulate;
    border_clear(image, 2 * d.hs + 2, columns, d.n_big);
    for (int64_t n = images.first; n < images.end; n++) {
        border_copy(image, job->big + n * d.height * d.width * d.n_big, d.height, d.width, columns, d.n_big);
        for (int64_t y = 0; y < d.hs; y++) {
            struct micro_a a = {image + 2 * y * stride, 2 * d.n_big, stride, 1, 4, 4 * d.n_big};
            real *out = job->out + (n * d.hs + y) * d.ws * d.n_small;
            conv_panels(&a, d.ws, job->packed, d.n_small, direct ? out : line, width);
            for (int64_t x = 0; !direct && x < d.ws; x++)
                conv_finish(out + x * d.n_small, line + x * width, d.n_small, NULL, 0, job->accumulate);
        }
    }
}

// ---- up

// The line holds pixel pairs (-1, 0), (1, 2), ..., `width` reals each, of which 2 n_big count.
static void conv_up_line(const struct conv_job *job, const struct conv_dims *d, const real *line, int64_t width,
                         real *out) {
    if (width == 2 * d->n_big) {
        conv_finish(out, line + d->n_big, d->width * d->n_big, job->bias, d->n_big, job->accumulate);
        return;
    }
    for (int64_t x = 0; x < d->width; x++)
        conv_finish(out + x * d->n_big, line + (x + 1) / 2 * width + (x + 1) % 2 * d->n_big, d->n_big, job->bias,
                    d->n_big, job->accumulate);
}

typedef real vec4 __attribute__((vector_size(4 * sizeof(real))));
typedef real vec4_unaligned __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));
ALWAYS_INLINE vec4 vec4_load(const real *p) { return *(const vec4_unaligned *)p; }

// One small row's products with the 16 taps, [ws + 2][16] with a zero pixel on either side. Taps are ordered
// (dy, dx, a, b): small pixel (r, c) adds tap (dy, dx, a, b) to big pixel (2 (r + dy) - 1 + a, 2 (c + dx) - 1 + b).
static void conv_taps(const struct conv_job *job, const struct conv_dims *d, int64_t image, int64_t r, real *taps) {
    const real *row = job->small + (image * d->hs + r) * d->ws * d->n_small;
    struct micro_a a = {row, d->n_small, 0, 1, 1, d->n_small};
    if (r >= 0 && r < d->hs) conv_panels(&a, d->ws, job->packed, GEMM_UNIT, taps + GEMM_UNIT, GEMM_UNIT);
    else memset(taps + GEMM_UNIT, 0, (size_t)(d->ws * GEMM_UNIT) * sizeof(real));
}

// Big rows 2i-1 (`odd`) and 2i (`even`) from the taps of small rows i-1 and i.
static void conv_up_one_rows(const struct conv_dims *d, const real *above, const real *below, real bias, real *odd,
                             real *even) {
    for (int64_t j = 0; j <= d->ws; j++, above += GEMM_UNIT, below += GEMM_UNIT, odd += 2, even += 2) {
        vec4 sum = (vec4_load(below + 16) + vec4_load(below + 4)) + (vec4_load(above + 24) + vec4_load(above + 12));
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
    for (int64_t n = images.first; n < images.end; n++) {
        conv_taps(job, &d, n, -1, above);
        for (int64_t i = 0; i <= d.hs; i++) {
            conv_taps(job, &d, n, i, below);
            conv_up_one_rows(&d, above, below, job->bias ? job->bias[0] : 0, line[0], line[1]);
            for (int64_t y = 2 * i - 1; y <= 2 * i; y++)
                if (y >= 0 && y < d.height)
                    conv_finish(job->out + (n * d.height + y) * d.width, line[1 - (y & 1)] + 1, d.width, NULL, 1,
                                job->accumulate);
            real *t = above;
            above = below;
            below = t;
        }
    }
}

static void conv_up(const struct conv_job *job, int share) {
    if (job->shape.n_big == 1) {
        conv_up_one(job, share);
        return;
    }
    const struct conv_dims d = conv_dims(&job->shape);
    const struct conv_layout layout = conv_layout(&job->shape);
    struct range images = share_range(job->shape.n, conv_shares(job), share);
    real *image = job->scratch + share * layout.share, *line = image + layout.line;
    int64_t columns = d.ws + 2, stride = columns * d.n_small, width = kround_up(2 * d.n_big, GEMM_UNIT);
    border_clear(image, d.hs + 2, columns, d.n_small);
    for (int64_t n = images.first; n < images.end; n++) {
        border_copy(image, job->small + n * d.hs * d.ws * d.n_small, d.hs, d.ws, columns, d.n_small);
        for (int64_t y = 0; y < d.height; y++) {
            struct micro_a a = {image + (y + 1) / 2 * stride, d.n_small, stride, 1, 2, 2 * d.n_small};
            const real *b = job->packed + (y & 1) * 4 * d.n_small * width;
            conv_panels(&a, d.ws + 1, b, 2 * d.n_big, line, width);
            conv_up_line(job, &d, line, width, job->out + (n * d.height + y) * d.width * d.n_big);
        }
    }
}

// ---- weight gradient

struct outer {                     // of one image
    const real *a;                 // first patch element; the patch of the next pixel is a_pixel further
    int64_t a_pixel, a_line, a_slab;
    const real *b;                 // small pixels, b_pixel reals each
    int64_t b_pixel, rows, columns;
};

typedef void outer_kernel(const struct outer *o, real *out, int64_t out_row, int64_t out_slab);

// out(s, i, v) += sum over pixels of a(pixel, s, i) * b(pixel, v)
#define OUTER(SLABS, ROWS, VECS)                                                                                  \
    static void outer_##SLABS##x##ROWS##x##VECS(const struct outer *o, real *out, int64_t out_row,                \
                                                int64_t out_slab) {                                               \
        vec sum[SLABS][ROWS][VECS];                                                                               \
        UNROLL for (int s = 0; s < SLABS; s++) UNROLL for (int i = 0; i < ROWS; i++)                              \
            UNROLL for (int v = 0; v < VECS; v++) sum[s][i][v] = (vec){0};                                        \
        const int64_t a_pixel = o->a_pixel, b_pixel = o->b_pixel, a_slab = o->a_slab;                             \
        const real *b = o->b;                                                                                     \
        for (int64_t y = 0; y < o->rows; y++) {                                                                   \
            const real *a = o->a + y * o->a_line, *end = b + o->columns * b_pixel;                                \
            for (; b != end; a += a_pixel, b += b_pixel) {                                                        \
                vec bv[VECS];                                                                                     \
                UNROLL for (int v = 0; v < VECS; v++) bv[v] = vec_load(b + v * LANES);                            \
                UNROLL for (int s = 0; s < SLABS; s++) UNROLL for (int i = 0; i < ROWS; i++)                      \
                    UNROLL for (int v = 0; v < VECS; v++) sum[s][i][v] += a[s * a_slab + i] * bv[v];              \
            }                                                                                                     \
        }                                                                                                         \
        UNROLL for (int s = 0; s < SLABS; s++) UNROLL for (int i = 0; i < ROWS; i++)                              \
            UNROLL for (int v = 0; v < VECS; v++) {                                                               \
                real *p = out + s * out_slab + i * out_row + v * LANES;                                           \
                vec_store(p, vec_load(p) + sum[s][i][v]);                                                         \
            }                                                                                                     \
    }

OUTER(1, 4, 1)
OUTER(1, 4, 2)
#if VEC_BYTES == 64
OUTER(4, 4, 1)
OUTER(1, 16, 1)
OUTER(1, 8, 2)
OUTER(1, 4, 3)
OUTER(1, 8, 3)
static outer_kernel *const outer_wide = outer_4x4x1;     // all 16 patch elements of one channel
static outer_kernel *const outer_small[] = {outer_1x4x1, outer_1x4x2, outer_1x4x3};     // 4 patch elements
static outer_kernel *const outer_large[] = {outer_1x16x1, outer_1x8x2, outer_1x8x3};
static const int64_t outer_rows[] = {16, 8, 8};
#else
static outer_kernel *const outer_wide = NULL;
static outer_kernel *const outer_small[] = {outer_1x4x1, outer_1x4x2};
static outer_kernel *const outer_large[] = {outer_1x4x1, outer_1x4x2};
static const int64_t outer_rows[] = {4, 4};
#endif

// One image: partial [ky][kx, c][width] += patches (x) small. Patch rows are 4 n_big, a multiple of 4.
static void conv_weight_image(const struct outer *image, int64_t n_big, int64_t width, real *partial) {
    int64_t patch = 4 * n_big, slab = patch * width;
    for (int64_t column = 0; column < width;) {
        int64_t vecs = kmin(MICRO_VECS, (width - column) / LANES);
        if (vecs == 3 && (width - column) / LANES == 4) vecs = 2;
        struct outer o = *image;
        o.b += column;
        if (patch == 4 && vecs == 1 && outer_wide) {
            outer_wide(&o, partial + column, width, slab);
        } else {
            for (int64_t ky = 0; ky < 4; ky++)
                for (int64_t q = 0, step; q < patch; q += step) {
                    bool large = patch - q >= outer_rows[vecs - 1];
                    step = large ? outer_rows[vecs - 1] : 4;
                    o.a = image->a + ky * image->a_slab + q;
                    (large ? outer_large : outer_small)[vecs - 1](&o, partial + ky * slab + q * width + column, width,
                                                                  0);
                }
        }
        column += vecs * LANES;
    }
}

static void conv_weight(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    const struct conv_layout layout = conv_layout(&job->shape);
    struct range images = share_range(job->shape.n, conv_shares(job), share);
    real *image = job->scratch + share * layout.weight_share;
    real *small = image + layout.small, *partial = image + layout.partial;
    int64_t columns = 2 * d.ws + 2, stride = columns * d.n_big, width = kround_up(d.n_small, GEMM_UNIT);
    int64_t pixels = d.hs * d.ws;
    border_clear(image, 2 * d.hs + 2, columns, d.n_big);
    memset(small, 0, (size_t)(width == d.n_small ? 0 : pixels * width) * sizeof(real));
    memset(partial, 0, (size_t)(16 * d.n_big * width) * sizeof(real));
    for (int64_t n = images.first; n < images.end; n++) {
        const real *b = job->small + n * pixels * d.n_small;
        border_copy(image, job->big + n * d.height * d.width * d.n_big, d.height, d.width, columns, d.n_big);
        for (int64_t p = 0; width != d.n_small && p < pixels; p++)
            memcpy(small + p * width, b + p * d.n_small, (size_t)d.n_small * sizeof(real));
        struct outer o = {.a = image, .a_pixel = 2 * d.n_big, .a_line = 2 * stride, .a_slab = stride,
                          .b = width == d.n_small ? b : small, .b_pixel = width, .rows = d.hs, .columns = d.ws};
        conv_weight_image(&o, d.n_big, width, partial);
    }
}

// Sums the shares' partials in their order; a share takes some big channels.
static void conv_weight_reduce(const struct conv_job *job, int share) {
    const struct conv_dims d = conv_dims(&job->shape);
    const struct conv_layout layout = conv_layout(&job->shape);
    struct range channels = share_range(d.n_big, conv_weight_reduce_shares(job), share);
    int64_t width = kround_up(d.n_small, GEMM_UNIT);
    int n_partials = conv_shares(job);
    for (int64_t c = channels.first; c < channels.end; c++)
        for (int64_t o = 0; o < width; o += GEMM_UNIT) {
            real sum[16][GEMM_UNIT];
            for (int tap = 0; tap < 16; tap++) {
                const real *p = job->scratch + layout.partial + (tap * d.n_big + c) * width + o;
                memcpy(sum[tap], p, sizeof sum[tap]);
                for (int i = 1; i < n_partials; i++)
                    for (int l = 0; l < GEMM_UNIT; l++) sum[tap][l] += p[i * layout.weight_share + l];
            }
            for (int64_t l = 0; l < kmin(GEMM_UNIT, d.n_small - o); l++) {
                real *out = job->out + ((o + l) * d.n_big + c) * 16;
                for (int tap = 0; tap < 16; tap++) out[tap] = (job->accumulate ? out[tap] : 0) + sum[tap][l];
            }
        }
}

#endif
