// Kernels: packed2 frames, and the layouts of a flattened image.
#include "gpu/launchers.h"

// A byte holds four pixels, the first in the lowest bits; a shade becomes shade / 3 - 0.5.
__global__ void unpack2_kernel(buf<const uint8_t> packed, buf<real> y) {
    EACH(i, y.n) {
        const int shade = packed[i / 4] >> (2 * (i % 4)) & 3;
        y[i] = (real)shade / (real)3 - (real)0.5;
    }
}

static buf<const uint8_t> bytes_of(const struct gpu_args *a) {
    return buf_make((const uint8_t *)a->src[0], a->n->src[0]->n_elements);
}

void gpu_unpack2(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, unpack2_kernel, blocks_for(y.n), THREADS, bytes_of(a), y);
}

// packed [N, depth, bytes] -> y [N, pixels, depth], the shades themselves
__global__ void unpack_stack_kernel(buf<const uint8_t> packed, int64_t depth, int64_t n_bytes,
                                    buf<real> y) {
    EACH(i, y.n) {
        const int64_t k = i % depth, pixel = i / depth % (4 * n_bytes),
                      image = i / depth / 4 / n_bytes;
        const int byte = packed[(image * depth + k) * n_bytes + pixel / 4];
        y[i] = (real)(byte >> (2 * (pixel % 4)) & 3);
    }
}

void gpu_unpack_stack(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    const int64_t *shape = a->n->src[0]->shape;
    LAUNCH(g, unpack_stack_kernel, blocks_for(y.n), THREADS, bytes_of(a), shape[1], shape[2], y);
}

// y [N][columns][rows] (=|+=) x [N][rows][columns]
__global__ void transpose_kernel(buf<const real> x, int64_t rows, int64_t columns, buf<real> y,
                                 bool add) {
    EACH(i, y.n) {
        const int64_t image = i / (rows * columns), at = i % (rows * columns);
        const real v = x[image * rows * columns + at % rows * columns + at / rows];
        y[i] = add ? y[i] + v : v;
    }
}

static void transpose(struct gpu *g, const struct gpu_args *a, int64_t rows, int64_t columns) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, transpose_kernel, blocks_for(y.n), THREADS, src_real(a, 0), rows, columns, y,
           a->n->accumulate[0]);
}

void gpu_hwc_to_chw(struct gpu *g, const struct gpu_args *a) {
    transpose(g, a, a->n->at.count, a->n->at.n_classes);
}

void gpu_chw_to_hwc(struct gpu *g, const struct gpu_args *a) {
    transpose(g, a, a->n->at.n_classes, a->n->at.count);
}
