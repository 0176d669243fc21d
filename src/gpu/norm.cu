// Kernels: LayerNorm and RMS norm over the last axis, then SiLU if asked for. A warp per row.
//
// y = act(gamma * (x - mean) / sqrt(var + eps) + beta); RMS norm has no beta, and 0 in place of the
// mean. Backward: dx by rows; dgamma and dbeta are
// column sums of values that the first kernel leaves in the workspace.
#include "base/fmath.h"
#include "gpu/launchers.h"

struct norm_stats {
    real mean, scale;
};

DEVICE_FUNCTION struct norm_stats norm_of(buf<const real> x, int64_t first, int64_t n, real eps,
                                          bool rms) {
    struct norm_stats s;
    real sum = 0, squares = 0;
    for (int64_t c = lane_of(); !rms && c < n; c += WARP) sum += x[first + c];
    s.mean = warp_sum(sum) / (real)n;
    for (int64_t c = lane_of(); c < n; c += WARP) {
        const real d = x[first + c] - s.mean;
        squares += d * d;
    }
    s.scale = 1 / fast_sqrt(warp_sum(squares) / (real)n + eps);
    return s;
}

__global__ void norm_kernel(buf<const real> x, buf<const real> gamma, buf<const real> beta,
                            int64_t rows, int64_t n, real eps, bool silu, buf<real> y) {
    const int64_t row = warp_row(rows);
    if (row < 0) return;
    const bool rms = beta.n == 0;
    const struct norm_stats s = norm_of(x, row * n, n, eps, rms);
    for (int64_t c = lane_of(); c < n; c += WARP) {
        const real shift = rms ? 0 : beta[c];
        const real z = gamma[c] * ((x[row * n + c] - s.mean) * s.scale) + shift;
        y[row * n + c] = silu ? fast_silu(z) : z;
    }
}

static bool has_silu(const struct node *n) { return n->at.act == ACT_SILU; }

void gpu_layer_norm(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> x = src_real(a, 0);
    const int64_t n = last_of(a->n->src[0]), rows = x.n / n;
    LAUNCH(g, norm_kernel, blocks_for_rows(rows), THREADS, x, src_real(a, 1), src_real(a, 2), rows,
           n, a->n->at.eps, has_silu(a->n), out_real(a, 0));
}

// dz_xhat, dz [rows, n]: what dgamma and dbeta are the column sums of
__global__ void norm_dx_kernel(buf<const real> x, buf<const real> gamma, buf<const real> beta,
                               buf<const real> dy, int64_t rows, int64_t n, real eps, bool silu,
                               buf<real> dx, bool add, buf<real> dz_xhat, buf<real> dz) {
    const int64_t row = warp_row(rows);
    if (row < 0) return;
    const bool rms = beta.n == 0;
    const struct norm_stats s = norm_of(x, row * n, n, eps, rms);
    real sum = 0, sum_xhat = 0;
    for (int64_t c = lane_of(); c < n; c += WARP) {
        const int64_t i = row * n + c;
        const real xhat = (x[i] - s.mean) * s.scale, shift = rms ? 0 : beta[c];
        const real z = gamma[c] * xhat + shift;
        const real p = fast_sigmoid(z);
        const real d = silu ? dy[i] * (p * (1 + z * (1 - p))) : (real)dy[i];
        dz[i] = d;
        dz_xhat[i] = d * xhat;
        sum += rms ? 0 : d * gamma[c]; // the mean's share
        sum_xhat += d * gamma[c] * xhat;
    }
    sum = warp_sum(sum) / (real)n;
    sum_xhat = warp_sum(sum_xhat) / (real)n;
    for (int64_t c = lane_of(); dx.n && c < n; c += WARP) { // each lane reads its own dz
        const int64_t i = row * n + c;
        const real xhat = (x[i] - s.mean) * s.scale;
        const real d = (dz[i] * gamma[c] - sum - xhat * sum_xhat) * s.scale;
        dx[i] = add ? dx[i] + d : d;
    }
}

// [rows, n] twice, then what the column sums need
size_t gpu_layer_norm_dx_workspace(const struct node *n) {
    const int64_t columns = last_of(n->src[0]), rows = n->src[0]->n_elements / columns;
    return (size_t)(2 * n->src[0]->n_elements) * sizeof(real) + column_sum_bytes(rows, columns);
}

void gpu_layer_norm_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> x = src_real(a, 0);
    const int64_t n = last_of(a->n->src[0]), rows = x.n / n;
    const int64_t sums = (int64_t)(column_sum_bytes(rows, n) / sizeof(real));
    LAUNCH(g, norm_dx_kernel, blocks_for_rows(rows), THREADS, x, src_real(a, 1), src_real(a, 2),
           src_real(a, 3), rows, n, a->n->at.eps, has_silu(a->n), out_real(a, 0),
           a->n->accumulate[0], workspace_real(g, sums, x.n), workspace_real(g, sums + x.n, x.n));
    for (int i = 1; i <= 2; i++)
        if (a->n->out[i])
            gpu_sum_columns(g, buf_make((const real *)g->workspace + sums + (i - 1) * x.n, x.n),
                            rows, n, out_real(a, i), true);
}
