// Convolutions with kernel 4, stride 2, padding 1 on NHWC images: down and its adjoint up.
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
// In bf16 (kernels_elem.h) the bordered image is made of rounded numbers and all strides are
// counted in pairs; n_small and the small image's width are even.
//
// Few channels would leave most of a vector empty, so there
//
//   down   with n_small <= 8 makes two neighbouring pixels one row: 4 slabs of k = 6 n_big; a third
//          of B is zero;
//   up     with n_big <= 8 makes both big rows one product of 4 n_big columns, written in place
//          where a row takes a vector (the pairs of the edges go through a line); with n_big = 1
//          each small pixel gives its 16 products, and those of four neighbours are then added.
#ifndef GRAPH_KERNELS_CONV_H
#define GRAPH_KERNELS_CONV_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_gemm.h"
#include "engine/graph/kernels_vec.h"
#ifndef KERNELS_BF16
#include "engine/graph/kernels_frames.h"
#endif

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

// The inside of big image n, from frames where the job has them (never in bf16).
static void border_big(elem *out, const struct conv_job *job, int64_t n, int64_t columns) {
    const struct conv_shape *s = &job->shape;
#ifndef KERNELS_BF16
    if (job->frames) {
        const int64_t line = s->width / 4;
        const uint8_t *frame = job->frames + n * s->height * line;
        for (int64_t y = 0; y < s->height; y++)
            rows_unpack2(line, frame + y * line, out + (y + 1) * columns + 1);
        return;
    }
#endif
    border_copy(out, job->big + n * s->height * s->width * s->n_big, s->height, s->width, columns,
                s->n_big);
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
    const real *big = job->frames ? NULL : job->big + images.first * size,
               *end = job->frames ? NULL : job->big + images.end * size;
    bool direct = width == n_columns && !job->accumulate;
    border_clear(image, (2 * d.hs + 2) * stride);
    for (int64_t n = images.first; n < images.end; n++) {
        if (big) big += size; // the next one
        border_big(image, job, n, columns);
        for (int64_t y = 0; y < d.hs; y++) {
            struct micro_a a = {.a = image + 2 * y * stride,
                                .row = elems(2 * pixels * d.n_big),
                                .slab = stride,
                                .step = 1,
                                .n_slabs = 4,
                                .k = elems((2 + 2 * pixels) * d.n_big)};
            real *out = job->out + (n * d.hs + y) * d.ws * d.n_small;
            prefetch_part(big, end, size, y, d.hs);
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
    struct micro_a a = {small, d->n_small, 0, 1, 1, d->n_small, false, 0};
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

struct up { // of one share
    const struct conv_job *job;
    struct conv_dims d;
    const elem *image; // with its border
    real *line;
    int64_t stride, half, n_columns, width, next_b; // next_b: from B of odd rows to that of even
    bool joined, in_place;
};

// The product of `m` pairs of pixels from `pair` of row i on; a pair lies `row` elems after
// another.
static void conv_up_pairs(const struct up *u, int64_t i, int64_t pair, int64_t row, int64_t m,
                          int even, real *c, int64_t c_row, int64_t c_vec) {
    const int64_t pixel = elems(u->d.n_small);
    const struct micro_a a = {.a = u->image + i * u->stride + pair * pixel,
                              .row = row,
                              .slab = u->stride,
                              .step = 1,
                              .n_slabs = 2,
                              .k = elems(2 * u->d.n_small),
                              .c_vec = c_vec};
    conv_panels(&a, m, (const elem *)u->job->packed + even * u->next_b, u->n_columns, c, c_row);
}

// Big rows 2i-1 and 2i through a line.
static void conv_up_rows(const struct up *u, int64_t i, int64_t n) {
    const struct conv_dims *d = &u->d;
    const int64_t pixel = elems(d->n_small);
    if (u->joined) conv_up_pairs(u, i, 0, pixel, d->ws + 1, 0, u->line, u->width, 0);
    for (int even = 0; even < 2; even++) {
        const int64_t y = 2 * i - 1 + even;
        if (y < 0 || y >= d->height) continue;
        if (!u->joined) conv_up_pairs(u, i, 0, pixel, d->ws + 1, even, u->line, u->width, 0);
        conv_up_line(u->job, d, u->line + (u->joined ? even * u->half : 0), u->width,
                     u->job->out + (n * d->height + y) * d->width * d->n_big);
    }
}

// Joined B, a vector to each big row: rows 2i-1 and 2i of image n in place, but for the pairs at
// both edges.
static void conv_up_inside(const struct up *u, int64_t i, int64_t n) {
    const struct conv_dims *d = &u->d;
    const int64_t row = d->width * d->n_big;
    real *out = u->job->out + (n * d->height + 2 * i - 1) * row + d->n_big;
    conv_up_pairs(u, i, 1, elems(d->n_small), d->ws - 1, 0, out, u->half, row);
}

// The pairs of one edge in the rows of conv_up_inside, i = 1 .. hs - 1.
static void conv_up_edge(const struct up *u, int64_t pair, int64_t n) {
    const struct conv_dims *d = &u->d;
    const int64_t c = d->n_big, row = d->width * c;
    const int64_t count = pair ? (d->width + 1 - 2 * d->ws) * c : c;
    const real *from = u->line + (pair ? 0 : c);
    real *out = u->job->out + (n * d->height + 1) * row + (pair ? row - count : 0);
    conv_up_pairs(u, 1, pair, u->stride, d->hs - 1, 0, u->line, u->width, 0);
    for (int64_t i = 1; i < d->hs; i++, from += u->width, out += 2 * row) {
        memcpy(out, from, (size_t)count * sizeof(real));
        memcpy(out + row, from + u->half, (size_t)count * sizeof(real));
    }
}

static void conv_up(const struct conv_job *job, int share) {
#ifndef KERNELS_BF16
    if (job->shape.n_big == 1) {
        conv_up_one(job, share);
        return;
    }
#endif
    const struct conv_dims d = conv_dims(&job->shape);
    const struct conv_layout layout = conv_layout(&job->shape);
    struct range images = share_range(job->shape.n, conv_shares(job), share);
    elem *image = (elem *)(job->scratch + share * layout.share);
    struct up u = {.job = job, .d = d, .image = image, .half = 2 * d.n_big};
    u.joined = d.n_big <= 8;
    u.line = job->scratch + share * layout.share + layout.line;
    u.stride = elems((d.ws + 2) * d.n_small);
    u.n_columns = u.joined ? 2 * u.half : u.half;
    u.width = kround_up(u.n_columns, GEMM_UNIT);
    u.next_b = u.joined ? 0 : elems(4 * d.n_small) * u.width;
    u.in_place = u.joined && u.half == LANES && u.width == u.n_columns && d.hs > 1 && d.ws > 1 &&
                 !job->bias && !job->accumulate;
    const int64_t size = d.hs * d.ws * d.n_small;
    const real *end = job->small + images.end * size;
    border_clear(image, (d.hs + 2) * u.stride);
    for (int64_t n = images.first; n < images.end; n++) {
        const real *small = job->small + n * size;
        border_copy(image, small, d.hs, d.ws, d.ws + 2, d.n_small);
        for (int64_t i = 0; i <= d.hs; i++) {
            prefetch_part(small + size, end, size, i, d.hs + 1);
            if (u.in_place && i > 0 && i < d.hs)
                conv_up_inside(&u, i, n);
            else
                conv_up_rows(&u, i, n);
        }
        if (u.in_place) {
            conv_up_edge(&u, 0, n);
            conv_up_edge(&u, d.ws, n);
        }
    }
}

#endif
