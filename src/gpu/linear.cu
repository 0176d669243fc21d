// Kernels: linear layers. Products go through gpu_product; rows that are one-hot are gathered.
#include "gpu/launchers.h"
#include "gpu/row_ops.h"

enum { X, W, BIAS, ADDEND, PACKED, ONES };

// ---- packed weights: B [k][n] as the product reads it, rows one after the other

__global__ void pack_kernel(buf<const real> w, int64_t w_row, int64_t column, int64_t n,
                            bool transposed, buf<real> packed, int64_t count) {
    EACH(i, count) {
        const int64_t k = i / n, j = i % n;
        packed[i] = transposed ? w[k * w_row + column + j] : w[j * w_row + column + k];
    }
}

// at.first: B = w's columns as they lie (data gradient); else B = w^T (forward).
void gpu_pack(struct gpu *g, const struct gpu_args *a) {
    const struct tensor *w = a->n->src[0];
    const bool transposed = a->n->at.first != 0;
    const int64_t rows = w->shape[0], k = a->n->at.count;
    LAUNCH(g, pack_kernel, blocks_for(rows * k), THREADS, src_real(a, 0), w->n_elements / rows,
           a->n->at.column, transposed ? k : rows, transposed, out_real(a, 0), rows * k);
}

// ---- where the ones of a row are: a warp per row (rows.h: ones)

__global__ void ones_kernel(buf<const real> x, int64_t rows, int64_t n, int64_t limit,
                            buf<int32_t> index) {
    const int64_t row = warp_row(rows);
    if (row >= 0) ones_row(x, row, n, limit, index);
}

void gpu_ones(struct gpu *g, const struct gpu_args *a) {
    const struct tensor *x = a->n->src[0], *index = a->n->out[0];
    const int64_t n = last_of(x), rows = x->n_elements / n;
    LAUNCH(g, ones_kernel, blocks_for_rows(rows), THREADS, src_real(a, 0), rows, n,
           last_of(index) - 1, buf_make((int32_t *)a->out[0], index->n_elements));
}

// ---- forward: y = x w^T + bias + addend

// Sources that are absent count as 0.
__global__ void bias_kernel(buf<const real> bias, buf<const real> addend, int64_t n, buf<real> y) {
    EACH(i, y.n) {
        const real b = bias.n ? (real)bias[i % n] : 0, s = addend.n ? (real)addend[i] : 0;
        y[i] = b + s;
    }
}

// A thread per element of y.
__global__ void gather_kernel(buf<const real> x, int64_t k, buf<const int32_t> index, int64_t limit,
                              buf<const real> packed, int64_t n, buf<const real> bias,
                              buf<const real> addend, buf<real> y) {
    EACH(i, y.n)
    y[i] = gathered(x, k, index, limit, packed, n, bias, addend, i / n, i % n);
}

void gpu_linear(struct gpu *g, const struct gpu_args *a) {
    const struct tensor *x = a->n->src[X], *ones = a->n->src[ONES];
    const int64_t m = x->shape[0], k = x->shape[1], n = a->n->out[0]->shape[1];
    const buf<const real> bias = src_real(a, BIAS), addend = src_real(a, ADDEND);
    const buf<real> y = out_real(a, 0);
    if (ones) {
        LAUNCH(g, gather_kernel, blocks_for(y.n), THREADS, src_real(a, X), k,
               buf_make((const int32_t *)a->src[ONES], ones->n_elements), last_of(ones) - 1,
               src_real(a, PACKED), n, bias, addend, y);
        return;
    }
    const bool add = bias.n || addend.n;
    if (add) LAUNCH(g, bias_kernel, blocks_for(y.n), THREADS, bias, addend, n, y);
    // The parameter itself, transposed: what the graph packs is for others.
    const struct tensor *w = a->n->src[W];
    const int64_t column = a->n->at.column;
    const buf<const real> b = buf_make((const real *)a->src[W] + column, w->n_elements - column);
    struct gpu_gemm p = {m,    n, k,  src_real(a, X), b, k, w->n_elements / w->shape[0], n, false,
                         true, y, add};
    gpu_product(g, &p);
}

// ---- gradients

// dx = dy w
void gpu_linear_dx(struct gpu *g, const struct gpu_args *a) {
    const struct tensor *w = gpu_weights_of(a->n);
    const int64_t m = a->n->src[0]->shape[0], k = a->n->src[0]->shape[1],
                  n = a->n->out[0]->shape[1];
    const int64_t column = a->n->at.column;
    struct gpu_gemm p = {m,
                         n,
                         k,
                         src_real(a, 0),
                         buf_make((const real *)a->src[1] + column, w->n_elements - column),
                         k,
                         w->n_elements / w->shape[0],
                         n,
                         false,
                         false,
                         out_real(a, 0),
                         a->n->accumulate[0]};
    gpu_product(g, &p);
}

// dw[:, column ..] = dy^T x; of one-hot rows too
void gpu_linear_dw(struct gpu *g, const struct gpu_args *a) {
    const struct tensor *x = a->n->src[0], *dy = a->n->src[1], *dw = a->n->out[0];
    const int64_t k = x->shape[0], m = dy->shape[1], n = x->shape[1], column = a->n->at.column;
    struct gpu_gemm p = {m,
                         n,
                         k,
                         src_real(a, 1),
                         src_real(a, 0),
                         m,
                         n,
                         dw->n_elements / dw->shape[0],
                         true,
                         false,
                         buf_make((real *)a->out[0] + column, dw->n_elements - column),
                         a->n->accumulate[0]};
    gpu_product(g, &p);
}

// ---- block-diagonal: at.count blocks, each a layer of its own (src/engine/graph/ops_block.c)

// at.first: for the data gradient, as in gpu_pack; at.n_classes: inputs of a block.
__global__ void block_pack_kernel(buf<const real> w, int64_t w_row, int64_t column, int64_t in,
                                  int64_t out, bool transposed, buf<real> packed, int64_t each,
                                  int64_t count) {
    EACH(i, count) {
        const int64_t block = i / (in * out), at = i % (in * out), n = transposed ? in : out;
        const int64_t k = at / n, j = at % n, o = block * out + (transposed ? k : j);
        packed[block * each + at] = w[o * w_row + column + (transposed ? j : k)];
    }
}

void gpu_block_pack(struct gpu *g, const struct gpu_args *a) {
    const struct tensor *w = a->n->src[0];
    const int64_t blocks = a->n->at.count, in = a->n->at.n_classes, out = w->shape[0] / blocks;
    const buf<real> packed = out_real(a, 0);
    LAUNCH(g, block_pack_kernel, blocks_for(blocks * in * out), THREADS, src_real(a, 0),
           w->shape[1], a->n->at.column, in, out, a->n->at.first != 0, packed, packed.n / blocks,
           blocks * in * out);
}

template <class T> static buf<T> from(buf<T> b, int64_t first) {
    return buf_make(b.at + first, b.n - first);
}

void gpu_block_linear(struct gpu *g, const struct gpu_args *a) {
    const int64_t blocks = a->n->at.count, m = a->n->src[X]->shape[0];
    const int64_t inputs = a->n->src[X]->shape[1], outputs = a->n->out[0]->shape[1];
    const int64_t in = inputs / blocks, out = outputs / blocks;
    const buf<const real> x = src_real(a, X), bias = src_real(a, BIAS),
                          addend = src_real(a, ADDEND), packed = src_real(a, PACKED);
    const buf<real> y = out_real(a, 0);
    const bool add = bias.n || addend.n;
    if (add) LAUNCH(g, bias_kernel, blocks_for(y.n), THREADS, bias, addend, outputs, y);
    for (int64_t block = 0; block < blocks; block++) {
        struct gpu_gemm p = {m,
                             out,
                             in,
                             from(x, block * in),
                             from(packed, block * (packed.n / blocks)),
                             inputs,
                             out,
                             outputs,
                             false,
                             false,
                             from(y, block * out),
                             add};
        gpu_product(g, &p);
    }
}

void gpu_block_linear_dx(struct gpu *g, const struct gpu_args *a) {
    const int64_t blocks = a->n->at.count, m = a->n->src[0]->shape[0];
    const int64_t outputs = a->n->src[0]->shape[1], inputs = last_of(a->n->out[0]);
    const int64_t in = inputs / blocks, out = outputs / blocks;
    const buf<const real> packed = src_real(a, 1);
    for (int64_t block = 0; block < blocks; block++) {
        struct gpu_gemm p = {m,
                             in,
                             out,
                             from(src_real(a, 0), block * out),
                             from(packed, block * (packed.n / blocks)),
                             outputs,
                             in,
                             inputs,
                             false,
                             false,
                             from(out_real(a, 0), block * in),
                             a->n->accumulate[0]};
        gpu_product(g, &p);
    }
}

// Always added to: the columns of other layers lie between.
void gpu_block_linear_dw(struct gpu *g, const struct gpu_args *a) {
    const int64_t blocks = a->n->at.count, rows = a->n->src[0]->shape[0];
    const int64_t inputs = a->n->src[0]->shape[1], outputs = a->n->src[1]->shape[1];
    const int64_t in = inputs / blocks, out = outputs / blocks, ld = a->n->out[0]->shape[1];
    for (int64_t block = 0; block < blocks; block++) {
        struct gpu_gemm p = {out,
                             in,
                             rows,
                             from(src_real(a, 1), block * out),
                             from(src_real(a, 0), block * in),
                             outputs,
                             inputs,
                             ld,
                             true,
                             false,
                             from(out_real(a, 0), block * out * ld + a->n->at.column),
                             true};
        gpu_product(g, &p);
    }
}
