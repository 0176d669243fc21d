// Kernels: squared error and two-hot, one number per row (spec/dreamer_v3.md 4.1). A warp per row.
#include "base/fmath.h"
#include "gpu/launchers.h"

// ---- squared error

__global__ void square_error_kernel(buf<const real> x, buf<const real> target, int64_t n,
                                    buf<real> y) {
    const int64_t row = warp_row(y.n), at = row * n;
    if (row < 0) return;
    real sum = 0;
    for (int64_t i = at + lane_of(); i < at + n; i += WARP) {
        const real d = x[i] - target[i];
        sum += d * d;
    }
    sum = warp_sum(sum);
    if (lane_of() == 0) y[row] = sum;
}

void gpu_square_error(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, square_error_kernel, blocks_for_rows(y.n), THREADS, src_real(a, 0), src_real(a, 1),
           row_size_of(a->n->src[0]), y);
}

__global__ void square_error_dx_kernel(buf<const real> x, buf<const real> target,
                                       buf<const real> dy, int64_t n, buf<real> dx, bool add) {
    EACH(i, dx.n) {
        const real d = 2 * dy[i / n] * (x[i] - target[i]);
        dx[i] = add ? dx[i] + d : d;
    }
}

void gpu_square_error_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    LAUNCH(g, square_error_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), src_real(a, 1),
           src_real(a, 2), row_size_of(a->n->src[0]), dx, a->n->accumulate[0]);
}

// ---- two-hot

struct twohot {
    int64_t low, high;
    real q_low, q_high; // their weights
};

// real_space: the bins lie there, else in symlog space.
DEVICE_FUNCTION struct twohot twohot_of(real target, buf<const real> bins, bool real_space) {
    const real y = real_space ? target : fast_symlog(target);
    const int64_t n = bins.n;
    int64_t below = 0; // bins <= y: binary search, bins ascend
    for (int64_t step = n; step > 0;) {
        const int64_t half = step / 2;
        if (bins[below + half] <= y) {
            below += half + 1;
            step -= half + 1;
        } else {
            step = half;
        }
    }
    struct twohot t;
    t.low = below > 0 ? below - 1 : 0;
    t.high = below < n ? below : n - 1;
    const bool same = t.low == t.high;
    const real one = y == y ? 1 : y; // a NaN target gives a NaN loss
    const real d_low = same ? one : fast_abs(bins[t.low] - y),
               d_high = same ? one : fast_abs(bins[t.high] - y);
    t.q_low = d_high / (d_low + d_high);
    t.q_high = d_low / (d_low + d_high);
    return t;
}

DEVICE_FUNCTION real row_max(buf<const real> x, int64_t at, int64_t n) {
    real max = x[at];
    for (int64_t i = at + lane_of(); i < at + n; i += WARP) {
        const real v = x[i];
        max = v > max ? v : max;
    }
    return warp_max(max);
}

DEVICE_FUNCTION real row_exp_sum(buf<const real> x, int64_t at, int64_t n, real max) {
    real sum = 0;
    for (int64_t i = at + lane_of(); i < at + n; i += WARP) sum += fast_exp(x[i] - max);
    return warp_sum(sum);
}

__global__ void twohot_nll_kernel(buf<const real> logits, buf<const real> target,
                                  buf<const real> bins, bool real_space, buf<real> y) {
    const int64_t n = bins.n, row = warp_row(y.n), at = row * n;
    if (row < 0) return;
    const real max = row_max(logits, at, n),
               log_sum = max + fast_log(row_exp_sum(logits, at, n, max));
    if (lane_of() > 0) return;
    const struct twohot t = twohot_of(target[row], bins, real_space);
    y[row] = t.q_low * (log_sum - logits[at + t.low]) + t.q_high * (log_sum - logits[at + t.high]);
}

void gpu_twohot_nll(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, twohot_nll_kernel, blocks_for_rows(y.n), THREADS, src_real(a, 0), src_real(a, 1),
           src_real(a, 2), a->n->at.first != 0, y);
}

// (softmax - q) dy
__global__ void twohot_nll_dx_kernel(buf<const real> logits, buf<const real> target,
                                     buf<const real> bins, bool real_space, buf<const real> dy,
                                     buf<real> dx, bool add) {
    const int64_t n = bins.n, row = warp_row(dy.n), at = row * n;
    if (row < 0) return;
    const real max = row_max(logits, at, n), d = dy[row],
               scale = d / row_exp_sum(logits, at, n, max);
    const struct twohot t = twohot_of(target[row], bins, real_space);
    for (int64_t i = lane_of(); i < n; i += WARP) {
        real v = scale * fast_exp(logits[at + i] - max);
        if (i == t.low) v -= t.q_low * d;
        if (i == t.high) v -= t.q_high * d;
        dx[at + i] = add ? dx[at + i] + v : v;
    }
}

void gpu_twohot_nll_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> dy = src_real(a, 3);
    LAUNCH(g, twohot_nll_dx_kernel, blocks_for_rows(dy.n), THREADS, src_real(a, 0), src_real(a, 1),
           src_real(a, 2), a->n->at.first != 0, dy, out_real(a, 0), a->n->accumulate[0]);
}

// sum_i softmax_i bins_i; *max and *scale give softmax_i = scale exp(logit_i - max). In double:
// terms of up to 20 cancel where the mean is near 0. Bins are taken in pairs from both ends, whose
// terms cancel exactly where bins and logits are antisymmetric (spec 4.2: a fresh head says 0).
DEVICE_FUNCTION real twohot_expectation(buf<const real> logits, buf<const real> bins, int64_t at,
                                        real *max, real *scale) {
    const int64_t n = bins.n;
    double sum = 0, weighted = 0;
    *max = row_max(logits, at, n);
    for (int64_t i = lane_of(); i < (n + 1) / 2; i += WARP) {
        const int64_t j = n - 1 - i;
        const double low = (double)fast_exp(logits[at + i] - *max),
                     high = i < j ? (double)fast_exp(logits[at + j] - *max) : 0;
        sum += low + high;
        weighted += low * (double)bins[i] + high * (double)bins[j];
    }
    sum = warp_sum(sum);
    weighted = warp_sum(weighted);
    *scale = (real)(1 / sum);
    return (real)(weighted / sum);
}

__global__ void twohot_mean_kernel(buf<const real> logits, buf<const real> bins, bool real_space,
                                   buf<real> y) {
    const int64_t row = warp_row(y.n);
    if (row < 0) return;
    real max, scale;
    const real mean = twohot_expectation(logits, bins, row * bins.n, &max, &scale);
    if (lane_of() == 0) y[row] = real_space ? mean : fast_symexp(mean);
}

void gpu_twohot_mean(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, twohot_mean_kernel, blocks_for_rows(y.n), THREADS, src_real(a, 0), src_real(a, 1),
           a->n->at.first != 0, y);
}

__global__ void twohot_mean_dx_kernel(buf<const real> logits, buf<const real> bins, bool real_space,
                                      buf<const real> dy, buf<real> dx, bool add) {
    const int64_t n = bins.n, row = warp_row(dy.n), at = row * n;
    if (row < 0) return;
    real max, scale;
    const real mean = twohot_expectation(logits, bins, at, &max, &scale);
    const real d = dy[row] * (real_space ? 1 : fast_exp(fast_abs(mean))) * scale;
    for (int64_t i = lane_of(); i < n; i += WARP) {
        const real v = d * fast_exp(logits[at + i] - max) * (bins[i] - mean);
        dx[at + i] = add ? dx[at + i] + v : v;
    }
}

void gpu_twohot_mean_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> dy = src_real(a, 2);
    LAUNCH(g, twohot_mean_dx_kernel, blocks_for_rows(dy.n), THREADS, src_real(a, 0), src_real(a, 1),
           a->n->at.first != 0, dy, out_real(a, 0), a->n->accumulate[0]);
}
