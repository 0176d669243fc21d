// Kernels: categoricals: unimix, sampling, mode, KL, entropy, log-probability (spec/dreamer_v3.md
// 3.3, 4.3, Appendix A).
#include "gpu/launchers.h"
#include "gpu/row_ops.h"

// ---- unimix: a warp per categorical of n classes

__global__ void unimix_kernel(buf<const real> logits, int64_t rows, int64_t n, real mix,
                              buf<real> m) {
    const int64_t row = warp_row(rows);
    if (row >= 0) unimix_row(logits, row, n, mix, m);
}

void gpu_unimix(struct gpu *g, const struct gpu_args *a) {
    const buf<real> m = out_real(a, 0);
    const int64_t n = a->n->at.n_classes, rows = m.n / n;
    LAUNCH(g, unimix_kernel, blocks_for_rows(rows), THREADS, src_real(a, 0), rows, n, a->n->at.mix,
           m);
}

__global__ void unimix_dx_kernel(buf<const real> m, buf<const real> dm, int64_t rows, int64_t n,
                                 real mix, buf<real> dx, bool add) {
    const int64_t row = warp_row(rows);
    if (row >= 0) unimix_dx_row(m, dm, row, n, mix, dx, add);
}

void gpu_unimix_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    const int64_t n = a->n->at.n_classes, rows = dx.n / n;
    LAUNCH(g, unimix_dx_kernel, blocks_for_rows(rows), THREADS, src_real(a, 0), src_real(a, 1),
           rows, n, a->n->at.mix, dx, a->n->accumulate[0]);
}

// ---- sample and mode: a thread per categorical, because the cumulative sum runs in order

__global__ void sample_kernel(buf<const real> m, buf<const real> u, int64_t n, buf<real> z) {
    EACH(row, u.n) sample_row(m, u, row, n, z);
}

void gpu_sample(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> u = src_real(a, 1);
    LAUNCH(g, sample_kernel, blocks_for(u.n), THREADS, src_real(a, 0), u, a->n->at.n_classes,
           out_real(a, 0));
}

__global__ void mode_kernel(buf<const real> m, int64_t rows, int64_t n, buf<real> z) {
    EACH(row, rows) {
        const int64_t at = row * n;
        int64_t index = 0;
        for (int64_t i = 1; i < n; i++)
            if (m[at + i] > m[at + index]) index = i;
        for (int64_t i = 0; i < n; i++) z[at + i] = i == index ? 1 : 0;
    }
}

void gpu_mode(struct gpu *g, const struct gpu_args *a) {
    const buf<real> z = out_real(a, 0);
    const int64_t n = a->n->at.n_classes, rows = z.n / n;
    LAUNCH(g, mode_kernel, blocks_for(rows), THREADS, src_real(a, 0), rows, n, z);
}

// ---- one number per row over all its categoricals: a warp per row

static struct kl_weights kl_weights_of(const struct attributes *at) {
    const struct kl_weights w = {at->w_dyn, at->w_rep, at->free_nats};
    return w;
}

__global__ void kl_kernel(buf<const real> post, buf<const real> prior, int64_t n, bool balanced,
                          struct kl_weights w, buf<real> y) {
    const int64_t row = warp_row(y.n);
    if (row >= 0) kl_row(post, prior, row, n, balanced, w, y);
}

void gpu_kl(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, kl_kernel, blocks_for_rows(y.n), THREADS, src_real(a, 0), src_real(a, 1),
           row_size_of(a->n->src[0]), a->n->kind == OP_KL_BALANCED, kl_weights_of(&a->n->at), y);
}

__global__ void kl_balanced_dx_kernel(buf<const real> post, buf<const real> prior,
                                      buf<const real> dy, int64_t n, struct kl_weights w,
                                      buf<real> d_post, bool add_post, buf<real> d_prior,
                                      bool add_prior) {
    const int64_t row = warp_row(dy.n);
    if (row >= 0)
        kl_balanced_dx_row(post, prior, dy, row, n, w, d_post, add_post, d_prior, add_prior);
}

void gpu_kl_balanced_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> dy = src_real(a, 2);
    LAUNCH(g, kl_balanced_dx_kernel, blocks_for_rows(dy.n), THREADS, src_real(a, 0), src_real(a, 1),
           dy, row_size_of(a->n->src[0]), kl_weights_of(&a->n->at), out_real(a, 0),
           a->n->accumulate[0], out_real(a, 1), a->n->accumulate[1]);
}

__global__ void entropy_kernel(buf<const real> m, int64_t n, buf<real> y) {
    const int64_t row = warp_row(y.n);
    if (row >= 0) entropy_row(m, row, n, y);
}

void gpu_entropy(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, entropy_kernel, blocks_for_rows(y.n), THREADS, src_real(a, 0),
           row_size_of(a->n->src[0]), y);
}

__global__ void entropy_dx_kernel(buf<const real> m, buf<const real> dy, int64_t n, buf<real> dx,
                                  bool add) {
    EACH(i, dx.n) entropy_dx_at(m, dy, i, n, dx, add);
}

void gpu_entropy_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    LAUNCH(g, entropy_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), src_real(a, 1),
           row_size_of(a->n->src[0]), dx, a->n->accumulate[0]);
}

__global__ void log_prob_kernel(buf<const real> m, buf<const real> z, int64_t n, buf<real> y) {
    const int64_t row = warp_row(y.n);
    if (row >= 0) log_prob_row(m, z, row, n, y);
}

void gpu_log_prob(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, log_prob_kernel, blocks_for_rows(y.n), THREADS, src_real(a, 0), src_real(a, 1),
           row_size_of(a->n->src[0]), y);
}

__global__ void log_prob_dx_kernel(buf<const real> m, buf<const real> z, buf<const real> dy,
                                   int64_t n, buf<real> dx, bool add) {
    EACH(i, dx.n) log_prob_dx_at(m, z, dy, i, n, dx, add);
}

void gpu_log_prob_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    LAUNCH(g, log_prob_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), src_real(a, 1),
           src_real(a, 2), row_size_of(a->n->src[0]), dx, a->n->accumulate[0]);
}
