// Kernels: LayerNorm and RMS norm over the last axis, then SiLU if asked for. A warp per row.
//
// y = act(gamma * (x - mean) / sqrt(var + eps) + beta); RMS norm has no beta, and 0 in place of the
// mean. Backward: dx by rows; dgamma and dbeta are
// column sums of values that the first kernel leaves in the workspace.
#include "gpu/launchers.h"
#include "gpu/row_ops.h"

__global__ void norm_kernel(buf<const real> x, buf<const real> gamma, buf<const real> beta,
                            int64_t rows, int64_t n, real eps, bool silu, buf<real> y) {
    const int64_t row = warp_row(rows);
    if (row < 0) return;
    norm_row(x, gamma, beta, row, n, eps, silu, y);
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
    norm_dx_row(x, gamma, beta, dy, row, n, eps, silu, dx, add, dz_xhat, dz, false);
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
