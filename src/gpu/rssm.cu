// Kernels: GRU gates and the reset blend (spec/dreamer_v3.md 3.1, 3.4).
#include "base/fmath.h"
#include "gpu/launchers.h"

// y [rows, 3 width] after LayerNorm: reset, candidate, update. A block of a row is a row of its
// own.
static int64_t gates_width(const struct node *n) { return last_of(n->src[1]) / n->at.count; }

struct gates {
    real r, c, u, candidate;
};

DEVICE_FUNCTION struct gates gates_of(buf<const real> y, int64_t row, int64_t i, int64_t width) {
    const int64_t at = row * 3 * width + i;
    struct gates g;
    g.candidate = y[at + width];
    g.r = fast_sigmoid(y[at]);
    g.c = fast_tanh(g.r * g.candidate);
    g.u = fast_sigmoid(y[at + 2 * width] - 1);
    return g;
}

__global__ void gru_gates_kernel(buf<const real> y, buf<const real> h, int64_t width,
                                 buf<real> out) {
    EACH(i, out.n) {
        const struct gates g = gates_of(y, i / width, i % width, width);
        out[i] = g.u * g.c + (1 - g.u) * h[i];
    }
}

void gpu_gru_gates(struct gpu *g, const struct gpu_args *a) {
    const buf<real> out = out_real(a, 0);
    LAUNCH(g, gru_gates_kernel, blocks_for(out.n), THREADS, src_real(a, 0), src_real(a, 1),
           gates_width(a->n), out);
}

DEVICE_FUNCTION void put(buf<real> to, int64_t i, real v, bool add) { to[i] = add ? to[i] + v : v; }

__global__ void gru_gates_dx_kernel(buf<const real> y, buf<const real> h, buf<const real> dout,
                                    int64_t width, buf<real> dy, bool add_dy, buf<real> dh,
                                    bool add_dh) {
    EACH(i, dout.n) {
        const struct gates g = gates_of(y, i / width, i % width, width);
        const int64_t at = i / width * 3 * width + i % width;
        const real d = dout[i], dq = d * g.u * (1 - g.c * g.c);
        if (dy.n) {
            put(dy, at, dq * g.candidate * g.r * (1 - g.r), add_dy);
            put(dy, at + width, dq * g.r, add_dy);
            put(dy, at + 2 * width, d * (g.c - h[i]) * g.u * (1 - g.u), add_dy);
        }
        if (dh.n) put(dh, i, d * (1 - g.u), add_dh);
    }
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
    EACH(i, out.n) {
        const real share = f[i / width], kept = (1 - share) * a[i];
        out[i] = b.n ? kept + share * b[b.n == out.n ? i : i % width] : kept;
    }
}

void gpu_blend(struct gpu *g, const struct gpu_args *a) {
    const buf<real> out = out_real(a, 0);
    LAUNCH(g, blend_kernel, blocks_for(out.n), THREADS, src_real(a, 0), src_real(a, 1),
           src_real(a, 2), row_size_of(a->n->src[1]), out);
}

__global__ void blend_dx_kernel(buf<const real> f, bool one_minus, buf<const real> dy,
                                int64_t width, buf<real> dx, bool add) {
    EACH(i, dx.n) {
        const real share = one_minus ? 1 - f[i / width] : (real)f[i / width];
        put(dx, i, share * dy[i], add);
    }
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
