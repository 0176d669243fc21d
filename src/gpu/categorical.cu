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

DEVICE_FUNCTION real row_kl(buf<const real> post, buf<const real> prior, int64_t at, int64_t n) {
    real sum = 0;
    for (int64_t i = at + lane_of(); i < at + n; i += WARP)
        sum += post[i] * fast_log(at_least_eps(post[i]) / at_least_eps(prior[i]));
    return warp_sum(sum);
}

// balanced: (w_dyn + w_rep) max(K, free_nats); else K
__global__ void kl_kernel(buf<const real> post, buf<const real> prior, int64_t n, bool balanced,
                          real w_dyn, real w_rep, real free_nats, buf<real> y) {
    const int64_t row = warp_row(y.n);
    if (row < 0) return;
    const real kl = row_kl(post, prior, row * n, n),
               k = kl < free_nats ? free_nats : kl; // NaN stays
    if (lane_of() == 0) y[row] = balanced ? w_dyn * k + w_rep * k : kl;
}

void gpu_kl(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    const struct attributes *at = &a->n->at;
    LAUNCH(g, kl_kernel, blocks_for_rows(y.n), THREADS, src_real(a, 0), src_real(a, 1),
           row_size_of(a->n->src[0]), a->n->kind == OP_KL_BALANCED, at->w_dyn, at->w_rep,
           at->free_nats, y);
}

__global__ void kl_balanced_dx_kernel(buf<const real> post, buf<const real> prior,
                                      buf<const real> dy, int64_t n, real w_dyn, real w_rep,
                                      real free_nats, buf<real> d_post, bool add_post,
                                      buf<real> d_prior, bool add_prior) {
    const int64_t row = warp_row(dy.n), at = row * n;
    if (row < 0) return;
    const real kl = row_kl(post, prior, at, n);
    // Half the gradient at an exact tie, none below; a NaN passes on.
    const real on = kl < free_nats ? 0 : kl == free_nats ? (real)0.5 : 1;
    const real of_post = on * w_rep * dy[row], of_prior = -(on * w_dyn * dy[row]);
    for (int64_t i = at + lane_of(); i < at + n; i += WARP) {
        const real p = post[i], q = at_least_eps(prior[i]);
        if (d_post.n) {
            const real d = of_post * (fast_log(at_least_eps(p) / q) + 1);
            d_post[i] = add_post ? d_post[i] + d : d;
        }
        if (d_prior.n) {
            const real d = of_prior * p / q;
            d_prior[i] = add_prior ? d_prior[i] + d : d;
        }
    }
}

void gpu_kl_balanced_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<const real> dy = src_real(a, 2);
    const struct attributes *at = &a->n->at;
    LAUNCH(g, kl_balanced_dx_kernel, blocks_for_rows(dy.n), THREADS, src_real(a, 0), src_real(a, 1),
           dy, row_size_of(a->n->src[0]), at->w_dyn, at->w_rep, at->free_nats, out_real(a, 0),
           a->n->accumulate[0], out_real(a, 1), a->n->accumulate[1]);
}

__global__ void entropy_kernel(buf<const real> m, int64_t n, buf<real> y) {
    const int64_t row = warp_row(y.n), at = row * n;
    if (row < 0) return;
    real sum = 0;
    for (int64_t i = at + lane_of(); i < at + n; i += WARP)
        sum += m[i] * fast_log(at_least_eps(m[i]));
    sum = warp_sum(sum);
    if (lane_of() == 0) y[row] = -sum;
}

void gpu_entropy(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, entropy_kernel, blocks_for_rows(y.n), THREADS, src_real(a, 0),
           row_size_of(a->n->src[0]), y);
}

__global__ void entropy_dx_kernel(buf<const real> m, buf<const real> dy, int64_t n, buf<real> dx,
                                  bool add) {
    EACH(i, dx.n) {
        const real d = -dy[i / n] * (fast_log(at_least_eps(m[i])) + 1);
        dx[i] = add ? dx[i] + d : d;
    }
}

void gpu_entropy_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    LAUNCH(g, entropy_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), src_real(a, 1),
           row_size_of(a->n->src[0]), dx, a->n->accumulate[0]);
}

// z is one-hot in each categorical
__global__ void log_prob_kernel(buf<const real> m, buf<const real> z, int64_t n, buf<real> y) {
    const int64_t row = warp_row(y.n), at = row * n;
    if (row < 0) return;
    real sum = 0;
    for (int64_t i = at + lane_of(); i < at + n; i += WARP)
        sum += z[i] * fast_log(at_least_eps(m[i]));
    sum = warp_sum(sum);
    if (lane_of() == 0) y[row] = sum;
}

void gpu_log_prob(struct gpu *g, const struct gpu_args *a) {
    const buf<real> y = out_real(a, 0);
    LAUNCH(g, log_prob_kernel, blocks_for_rows(y.n), THREADS, src_real(a, 0), src_real(a, 1),
           row_size_of(a->n->src[0]), y);
}

__global__ void log_prob_dx_kernel(buf<const real> m, buf<const real> z, buf<const real> dy,
                                   int64_t n, buf<real> dx, bool add) {
    EACH(i, dx.n) {
        const real d = dy[i / n] * z[i] / at_least_eps(m[i]);
        dx[i] = add ? dx[i] + d : d;
    }
}

void gpu_log_prob_dx(struct gpu *g, const struct gpu_args *a) {
    const buf<real> dx = out_real(a, 0);
    LAUNCH(g, log_prob_dx_kernel, blocks_for(dx.n), THREADS, src_real(a, 0), src_real(a, 1),
           src_real(a, 2), row_size_of(a->n->src[0]), dx, a->n->accumulate[0]);
}
