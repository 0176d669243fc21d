// Kernels: GRU gates and the reset blend (spec/dreamer_v3.md 3.1, 3.4).
#include "gpu/launchers.h"
#include "gpu/row_ops.h"

// y [rows, 3 width] after LayerNorm: reset, candidate, update. A block of a row is a row of its
// own.
static int64_t gates_width(const struct node *n) { return last_of(n->src[1]) / n->at.count; }

__global__ void gru_gates_kernel(buf<const real> y, buf<const real> h, int64_t width,
                                 buf<real> out) {
    EACH(i, out.n) gates_at(y, h, i, width, out);
}

void gpu_gru_gates(struct gpu *g, const struct gpu_args *a) {
    const buf<real> out = out_real(a, 0);
    LAUNCH(g, gru_gates_kernel, blocks_for(out.n), THREADS, src_real(a, 0), src_real(a, 1),
           gates_width(a->n), out);
}

__global__ void gru_gates_dx_kernel(buf<const real> y, buf<const real> h, buf<const real> dout,
                                    int64_t width, buf<real> dy, bool add_dy, buf<real> dh,
                                    bool add_dh) {
    EACH(i, dout.n) gates_dx_at(y, h, dout, i, width, dy, add_dy, dh, add_dh);
}

void gpu_gru_gates_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> dout = src_real(a, 2);
    LAUNCH(g, gru_gates_dx_kernel, blocks_for(dout.n), THREADS, src_real(a, 0), src_real(a, 1),
           dout, gates_width(a->n), out_real(a, 0), a->n->accumulate[0], out_real(a, 1),
           a->n->accumulate[1]);
}

// ---- blend: (1 - f) a + f b per row; b is like a, one row for all, or absent

__global__ void blend_kernel(buf<const real> f, buf<const real> a, buf<const real> b, int64_t width,
                             buf<real> out) {
    EACH(i, out.n) blend_at(f, a, b, i, width, out);
}

void gpu_blend(struct gpu *g, const struct gpu_args *a) {
    const buf<real> out = out_real(a, 0);
    LAUNCH(g, blend_kernel, blocks_for(out.n), THREADS, src_real(a, 0), src_real(a, 1),
           src_real(a, 2), row_size_of(a->n->src[1]), out);
}

__global__ void blend_dx_kernel(buf<const real> f, bool one_minus, buf<const real> dy,
                                int64_t width, buf<real> dx, bool add) {
    EACH(i, dx.n) blend_dx_at(f, one_minus, dy, i, width, dx, add);
}

// b is one row for all: a thread adds up a column.
__global__ void blend_sum_kernel(buf<const real> f, buf<const real> dy, int64_t width, buf<real> dx,
                                 bool add) {
    EACH(i, width) {
        real sum = 0;
        for (int64_t row = 0; row < f.n; row++) sum += f[row] * dy[row * width + i];
        put(dx, i, sum, add);
    }
}

void gpu_blend_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    const int64_t width = row_size_of(a->n->src[1]);
    const bool add = a->n->accumulate[0];
    if (a->n->at.count)
        LAUNCH(g, blend_sum_kernel, blocks_for(width), THREADS, src_real(a, 0), src_real(a, 1),
               width, dx, add);
    else
        LAUNCH(g, blend_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), a->n->at.first == 0,
               src_real(a, 1), width, dx, add);
}
