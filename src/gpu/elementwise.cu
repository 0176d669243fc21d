// Kernels: elementwise functions and their gradients (formulas: src/engine/graph/kernels_rows.h).
#include "gpu/launchers.h"
#include "gpu/row_ops.h"

// ---- one kernel per function: `value` of elements a and b at i becomes y, or is added to it

#define MAP(kind, name, value)                                                                     \
    __global__ void name##_kernel(buf<const real> sa, buf<const real> sb, real p, real q,          \
                                  buf<real> y, bool add) {                                         \
        EACH(i, y.n) {                                                                             \
            const real a = sa[i], b = sb.n ? (real)sb[i] : 0;                                      \
            (void)b, (void)p, (void)q;                                                             \
            const real v = (value);                                                                \
            y[i] = add ? y[i] + v : v;                                                             \
        }                                                                                          \
    }                                                                                              \
    void gpu_##name(struct gpu *g, const struct gpu_args *a) {                                     \
        const buf<real> y = out_real(a, 0);                                                        \
        LAUNCH(g, name##_kernel, blocks_for(y.n), THREADS, src_real(a, 0), src_real(a, 1),         \
               a->n->at.scale, a->n->at.shift, y, a->n->accumulate[0]);                            \
    }

GPU_MAPS(MAP)

// ---- those with another shape

__global__ void fill_kernel(real value, buf<real> y) { EACH(i, y.n) y[i] = value; }

void gpu_fill(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, fill_kernel, blocks_for(y.n), THREADS, a->n->at.scale, y);
}

__global__ void bce_dx_kernel(buf<const real> logits, buf<const real> target, buf<const real> dy,
                              buf<real> dx, bool add) {
    EACH(i, dx.n) {
        const real d = dy[i] * (fast_sigmoid(logits[i]) - target[i]);
        dx[i] = add ? dx[i] + d : d;
    }
}

void gpu_bce_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    LAUNCH(g, bce_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), src_real(a, 1),
           src_real(a, 2), dx, a->n->accumulate[0]);
}

__global__ void mean_dx_kernel(buf<const real> dy, buf<real> dx, bool add) {
    const real d = dy[0] / (real)dx.n;
    EACH(i, dx.n) dx[i] = add ? dx[i] + d : d;
}

void gpu_mean_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    LAUNCH(g, mean_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), dx, a->n->accumulate[0]);
}

DEVICE_FUNCTION real normalize_scale(buf<const real> range, real least) {
    const real span = range[1] - range[0];
    return span < least ? least : span; // NaN stays
}

__global__ void normalize_kernel(buf<const real> x, buf<const real> range, real least,
                                 buf<real> y) {
    const real low = range[0], scale = normalize_scale(range, least);
    EACH(i, y.n) y[i] = (x[i] - low) / scale;
}

void gpu_normalize(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, normalize_kernel, blocks_for(y.n), THREADS, src_real(a, 0), src_real(a, 1),
           a->n->at.scale, y);
}

__global__ void normalize_dx_kernel(buf<const real> range, buf<const real> dy, real least,
                                    buf<real> dx, bool add) {
    const real scale = normalize_scale(range, least);
    EACH(i, dx.n) {
        const real d = dy[i] / scale;
        dx[i] = add ? dx[i] + d : d;
    }
}

void gpu_normalize_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    LAUNCH(g, normalize_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), src_real(a, 1),
           a->n->at.scale, dx, a->n->accumulate[0]);
}

// ---- continuous actions: columns of a row, the clip, the entropy of a normal

__global__ void columns_kernel(buf<const real> x, int64_t width, int64_t first, int64_t count,
                               buf<real> y) {
    EACH(i, y.n) y[i] = x[i / count * width + first + i % count];
}

void gpu_columns(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, columns_kernel, blocks_for(y.n), THREADS, src_real(a, 0), last_of(a->n->src[0]),
           a->n->at.first, a->n->at.count, y);
}

__global__ void columns_dx_kernel(buf<const real> dy, int64_t width, int64_t first, int64_t count,
                                  buf<real> dx) {
    EACH(i, dy.n) dx[i / count * width + first + i % count] += dy[i];
}

void gpu_columns_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> dy = src_real(a, 0);
    LAUNCH(g, columns_dx_kernel, blocks_for(dy.n), THREADS, dy, last_of(a->n->out[0]),
           a->n->at.first, a->n->at.count, out_real(a, 0));
}

// A thread per row: actions are few.
__global__ void normal_entropy_kernel(buf<const real> std, int64_t width, buf<real> y) {
    const real half_log_2_pi_e = (real)1.4189385332046727; // 1/2 + 1/2 log 2 pi
    EACH(row, y.n) {
        real sum = 0;
        for (int64_t i = row * width; i < (row + 1) * width; i++)
            sum += half_log_2_pi_e + fast_log(std[i]);
        y[row] = sum;
    }
}

void gpu_normal_entropy(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, normal_entropy_kernel, blocks_for(y.n), THREADS, src_real(a, 0),
           last_of(a->n->src[0]), y);
}

__global__ void normal_entropy_dx_kernel(buf<const real> std, buf<const real> dy, int64_t width,
                                         buf<real> dx, bool add) {
    EACH(i, dx.n) {
        const real d = dy[i / width] / std[i];
        dx[i] = add ? dx[i] + d : d;
    }
}

void gpu_normal_entropy_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    LAUNCH(g, normal_entropy_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), src_real(a, 1),
           last_of(a->n->src[0]), dx, a->n->accumulate[0]);
}
