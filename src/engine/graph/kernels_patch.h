// Convolutions without a border, any square kernel and stride, on NHWC images: forward, dx and dw.
//
// Shapes that can be cut into tiles are done by kernels_tiles.h, the others as follows.
//
// A patch is `kernel` runs of kernel * c_in contiguous reals, one per image row, so the product
// kernels of kernels_gemm.h read it in place (micro_a's slabs), as kernels_conv.h does for its one
// shape.
//
//   forward  a row of outputs is a product with row stride stride * c_in; then bias.
//   dx       all small pixels of an image times the weights give their patches, which are added
//            into the image run by run.
//   dw       the outer products of patches and small pixels, summed over an image in registers.
#ifndef GRAPH_KERNELS_PATCH_H
#define GRAPH_KERNELS_PATCH_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_conv.h"
#include "engine/graph/kernels_tiles.h"

// ---- packing: a share writes some columns

// B(ky, kx, c; o) = w[o][c][ky][kx]
static void patch_pack(const struct patch_job *job, int share) {
    const struct patch_shape *s = &job->shape;
    if (tile_sizes(s).side) {
        tile_pack_forward(job, share);
        return;
    }
    const int64_t taps = s->kernel * s->kernel, k = taps * s->c_in;
    struct range columns = share_range(s->c_out, patch_pack_shares(job), share);
    for (int64_t o = columns.first; o < columns.end; o++) {
        const struct conv_column c = {
            job->weights + o * k, {s->kernel, 1, taps}, {s->kernel, s->kernel, s->c_in}};
        conv_pack_column(job->packed, k, s->c_out, o, 0, &c);
    }
}

// B(o; ky, kx, c) = w[o][c][ky][kx]
static void patch_pack_dx(const struct patch_job *job, int share) {
    const struct patch_shape *s = &job->shape;
    if (tile_sizes(s).side) {
        tile_pack_dx(job, share);
        return;
    }
    const int64_t taps = s->kernel * s->kernel, n = taps * s->c_in;
    struct range columns = share_range(kround_up(n, GEMM_UNIT), patch_pack_shares(job), share);
    for (int64_t column = columns.first; column < columns.end; column++) {
        const struct conv_column c = {
            job->weights + column % s->c_in * taps + column / s->c_in, {0, 0, n}, {1, 1, s->c_out}};
        if (column < n)
            conv_pack_column(job->packed, s->c_out, n, column, 0, &c);
        else
            conv_pack_zero(job->packed, s->c_out, n, column);
    }
}

// ---- forward

static void patch_forward(const struct patch_job *job, int share) {
    const struct patch_shape *s = &job->shape;
    if (tile_sizes(s).side) {
        tile_forward(job, share);
        return;
    }
    const int64_t rows = patch_rows(s), columns = patch_columns(s), width = s->c_out;
    struct range images = share_range(s->n, patch_shares(s), share);
    for (int64_t n = images.first; n < images.end; n++)
        for (int64_t y = 0; y < rows; y++) {
            const real *line = job->big + (n * s->height + y * s->stride) * s->width * s->c_in;
            struct micro_a a = {line,
                                s->stride * s->c_in,
                                s->width * s->c_in,
                                1,
                                s->kernel,
                                s->kernel * s->c_in,
                                false,
                                0};
            real *out = job->out + (n * rows + y) * columns * width;
            conv_panels(&a, columns, job->packed, width, out, width);
            for (int64_t x = 0; x < columns; x++)
                for (int64_t c = 0; c < width; c++) out[x * width + c] += job->bias[c];
        }
}

// ---- dx

static void patch_dx(const struct patch_job *job, int share) {
    const struct patch_shape *s = &job->shape;
    if (tile_sizes(s).side) {
        tile_dx(job, share);
        return;
    }
    const int64_t rows = patch_rows(s), columns = patch_columns(s), run = s->kernel * s->c_in;
    const int64_t n_taps = kround_up(s->kernel * run, GEMM_UNIT), line = s->width * s->c_in;
    struct range images = share_range(s->n, patch_shares(s), share);
    real *patches = job->scratch + share * patch_dx_share_reals(s);
    for (int64_t n = images.first; n < images.end; n++) {
        real *image = job->out + n * s->height * line;
        struct micro_a a = {
            job->small + n * rows * columns * s->c_out, s->c_out, 0, 1, 1, s->c_out, false, 0};
        conv_panels(&a, rows * columns, job->packed, s->kernel * run, patches, n_taps);
        if (!job->accumulate) memset(image, 0, (size_t)(s->height * line) * sizeof(real));
        for (int64_t p = 0; p < rows * columns; p++) {
            real *to = image + p / columns * s->stride * line + p % columns * s->stride * s->c_in;
            const real *from = patches + p * n_taps;
            for (int64_t ky = 0; ky < s->kernel; ky++, to += line, from += run)
                for (int64_t i = 0; i < run; i++) to[i] += from[i];
        }
    }
}

// ---- dw: each share sums [ky][kx, c][o] over its images, then the shares are added in order

static void patch_dw(const struct patch_job *job, int share) {
    const struct patch_shape *s = &job->shape;
    if (tile_sizes(s).side) {
        tile_dw(job, share);
        return;
    }
    const int64_t rows = patch_rows(s), columns = patch_columns(s), run = s->kernel * s->c_in;
    struct range images = share_range(s->n, patch_shares(s), share);
    real *partial = job->scratch + share * patch_dw_share_reals(s);
    memset(partial, 0, (size_t)(s->kernel * run * s->c_out) * sizeof(real));
    for (int64_t n = images.first; n < images.end; n++)
        for (int64_t column = 0, vecs; column < s->c_out; column += vecs * LANES) {
            const int64_t left = (s->c_out - column) / LANES;
            vecs = left == 4 ? 2 : kmin(MICRO_VECS, left);
            struct outer o = {.a_pixel = s->stride * s->c_in,
                              .a_line = s->stride * s->width * s->c_in,
                              .b = job->small + n * rows * columns * s->c_out + column,
                              .b_pixel = s->c_out,
                              .rows = rows,
                              .columns = columns};
            for (int64_t ky = 0; ky < s->kernel; ky++)
                for (int64_t q = 0; q < run;) {
                    const struct outer_tile *tile = outer_tile(run, run - q, vecs);
                    o.a = job->big + (n * s->height + ky) * s->width * s->c_in + q;
                    tile->kernel[vecs - 1](&o, partial + (ky * run + q) * s->c_out + column,
                                           s->c_out, 0);
                    q += tile->rows;
                }
        }
}

// A share takes some output channels.
static void patch_dw_reduce(const struct patch_job *job, int share) {
    const struct patch_shape *s = &job->shape;
    if (tile_sizes(s).side) {
        tile_dw_reduce(job, share);
        return;
    }
    const int64_t taps = s->kernel * s->kernel, one = patch_dw_share_reals(s);
    const int n_partials = patch_shares(s);
    struct range channels = share_range(s->c_out, patch_dw_reduce_shares(job), share);
    for (int64_t tap = 0; tap < taps; tap++)
        for (int64_t c = 0; c < s->c_in; c++)
            for (int64_t o = channels.first; o < channels.end; o++) {
                const real *p = job->scratch + (tap * s->c_in + c) * s->c_out + o;
                real sum = p[0], *out = job->out + (o * s->c_in + c) * taps + tap;
                for (int i = 1; i < n_partials; i++) sum += p[i * one];
                *out = (job->accumulate ? *out : 0) + sum;
            }
}

// ---- ReLU

static void relu_forward(int64_t n, const real *restrict x, real *restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0 * x[i]; // NaN stays NaN
}

static void relu_backward(int64_t n, const real *restrict y, const real *restrict dy,
                          real *restrict dx, bool add) {
    if (add)
        for (int64_t i = 0; i < n; i++) dx[i] += y[i] > 0 ? dy[i] : 0;
    else
        for (int64_t i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

#endif
