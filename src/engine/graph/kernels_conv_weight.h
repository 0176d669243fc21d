// Weight gradient of the convolutions of kernels_conv.h: the outer product of a patch run and a
// small pixel, summed over the pixels of an image in registers.
//
// In bf16 (kernels_elem.h) pairs are two pixels beside each other:
//
//     image  pair(x) = (column x, column x + 2), so that a patch of pairs is contiguous as well
//     small  pair(p) = (pixel 2p, pixel 2p + 1)
//
// With n_small = 8, n_big = 1 two pixels are taken as one vector, 6 patch columns: the lower half
// of the vector gets its taps from columns 0..3, the upper from columns 2..5.
#ifndef GRAPH_KERNELS_CONV_WEIGHT_H
#define GRAPH_KERNELS_CONV_WEIGHT_H

#include "engine/graph/kernels_conv.h"

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
static void conv_weight_big(elem *out, const struct conv_job *job, int64_t n,
                            const struct conv_dims *d, int64_t stride) {
    const int64_t c = d->n_big, inside = 2 * d->ws - 2;
    const real *big = job->big + n * d->height * d->width * c;
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
static void conv_weight_big(elem *out, const struct conv_job *job, int64_t n,
                            const struct conv_dims *d, int64_t stride) {
    border_big(out, job, n, stride / d->n_big);
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
    if (!job->frames) {
        next.big = job->big + images.first * next.big_size;
        next.big_end = job->big + images.end * next.big_size;
    }
    next.small_end = job->small + images.end * next.small_size;
    for (int64_t n = images.first; n < images.end; n++) {
        const real *b = job->small + n * next.small_size;
        if (next.big) next.big += next.big_size;
        next.small = b + next.small_size;
        conv_weight_big(image, job, n, &d, stride);
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
