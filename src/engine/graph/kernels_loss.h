// Loss kernels, one number per row: squared error, two-hot, cross entropy, KL, entropy,
// log-probability (spec 4, 5.5, Appendix A).
#ifndef GRAPH_KERNELS_LOSS_H
#define GRAPH_KERNELS_LOSS_H

static void rows_square_error(int64_t rows, int64_t n, const real *restrict x,
                              const real *restrict target, real *restrict y) {
    for (int64_t row = 0; row < rows; row++, x += n, target += n) {
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++) sum += (x[i] - target[i]) * (x[i] - target[i]);
        y[row] = sum;
    }
}

static void rows_square_error_dx(int64_t rows, int64_t n, const real *restrict x,
                                 const real *restrict target, const real *restrict dy,
                                 real *restrict dx, bool add) {
    for (int64_t row = 0; row < rows; row++, x += n, target += n, dx += n) {
        const real twice = 2 * dy[row];
        PUT(n, dx, add, twice * (x[i] - target[i]));
    }
}

// ---- binary cross entropy with logits

static void rows_bce(int64_t n, const real *restrict logits, const real *restrict target,
                     real *restrict y) {
    for (int64_t i = 0; i < n; i++) y[i] = fast_softplus(logits[i]) - logits[i] * target[i];
}

static void rows_bce_dx(int64_t n, const real *restrict logits, const real *restrict target,
                        const real *restrict dy, real *restrict dx, bool add) {
    PUT(n, dx, add, dy[i] * (fast_sigmoid(logits[i]) - target[i]));
}

// ---- two-hot (spec 4.1; in real space 4.2): weight q_low on bin low, q_high on bin high

struct twohot {
    int64_t low, high;
    real q_low, q_high;
};

static struct twohot twohot_of(real y, int64_t n, const real *bins) {
    int64_t below = 0; // bins <= y: binary search, bins ascend
    for (int64_t step = n; step > 0;) {
        const int64_t half = step / 2; // without a branch: none could be foretold
        const bool up = bins[below + half] <= y;
        below += up ? half + 1 : 0;
        step = up ? step - half - 1 : half;
    }
    struct twohot t = {.low = below > 0 ? below - 1 : 0, .high = below < n ? below : n - 1};
    const bool same = t.low == t.high;
    const real one = y == y ? 1 : y; // a NaN target gives a NaN loss
    const real d_low = same ? one : fast_abs(bins[t.low] - y),
               d_high = same ? one : fast_abs(bins[t.high] - y);
    t.q_low = d_high / (d_low + d_high);
    t.q_high = d_low / (d_low + d_high);
    return t;
}

static void rows_twohot_nll(int64_t rows, int64_t n, const real *logits, const real *target,
                            const real *bins, bool real_space, real *y) {
    for (int64_t row = 0; row < rows; row++, logits += n) {
        const real max = row_max(n, logits), log_sum = max + fast_log(row_exp_sum(n, logits, max));
        const struct twohot t =
            twohot_of(real_space ? target[row] : fast_symlog(target[row]), n, bins);
        y[row] = t.q_low * (log_sum - logits[t.low]) + t.q_high * (log_sum - logits[t.high]);
    }
}

enum { EXP_ROW = 512 }; // longer rows are taken twice

// (softmax - q) dy
static void rows_twohot_nll_dx(int64_t rows, int64_t n, const real *logits, const real *target,
                               const real *bins, bool real_space, const real *dy, real *dx,
                               bool add) {
    for (int64_t row = 0; row < rows; row++, logits += n, dx += n) {
        const real max = row_max(n, logits);
        real e[EXP_ROW + LANES];
        const bool kept = n <= EXP_ROW;
        const real scale = dy[row] / row_exps(n, logits, max, e, kept ? LANES : 0);
        const struct twohot t =
            twohot_of(real_space ? target[row] : fast_symlog(target[row]), n, bins);
        if (kept)
            PUT(n, dx, add, scale * e[i]);
        else
            PUT(n, dx, add, scale * fast_exp(logits[i] - max));
        dx[t.low] -= t.q_low * dy[row];
        dx[t.high] -= t.q_high * dy[row];
    }
}

// sum_i softmax_i bins_i; *max and *scale give softmax_i = scale exp(logit_i - max). In double:
// terms of up to 20 cancel where the mean is near 0, and a float sum would depend on its order in
// the sixth digit.
static real twohot_expectation(int64_t n, const real *restrict logits, const real *restrict bins,
                               real *max, real *scale) {
    *max = row_max(n, logits);
    const real top = *max;
    double sums[LANES] = {0}, weights[LANES] = {0}, sum = 0, weighted = 0;
    real e[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        exp_vector(logits + i, top, e);
#pragma omp simd
        for (int j = 0; j < LANES; j++) {
            sums[j] += (double)e[j];
            weights[j] += (double)e[j] * (double)bins[i + j];
        }
    }
    if (i < n) exp_rest(n - i, logits + i, top, e);
    for (int64_t j = 0; i + j < n; j++) {
        sums[0] += (double)e[j];
        weights[0] += (double)e[j] * (double)bins[i + j];
    }
    for (int j = 0; j < LANES; j++) {
        sum += sums[j];
        weighted += weights[j];
    }
    *scale = (real)(1 / sum);
    return (real)(weighted / sum);
}

// The same over bins from both ends inwards, whose terms cancel exactly where bins and logits are
// antisymmetric: real-space bins reach 5e8, and a fresh head is to say 0.
static real twohot_paired_expectation(int64_t n, const real *restrict logits,
                                      const real *restrict bins, real *max, real *scale) {
    *max = row_max(n, logits);
    double sum = 0, weighted = 0;
    for (int64_t i = 0; i < n / 2; i++) {
        const int64_t j = n - 1 - i;
        const double low = (double)fast_exp(logits[i] - *max),
                     high = (double)fast_exp(logits[j] - *max);
        sum += low + high;
        weighted += low * (double)bins[i] + high * (double)bins[j];
    }
    if (n % 2) {
        const double middle = (double)fast_exp(logits[n / 2] - *max);
        sum += middle;
        weighted += middle * (double)bins[n / 2];
    }
    *scale = (real)(1 / sum);
    return (real)(weighted / sum);
}

static void rows_twohot_mean(int64_t rows, int64_t n, const real *logits, const real *bins,
                             bool real_space, real *y) {
    for (int64_t row = 0; row < rows; row++, logits += n) {
        real max, scale;
        y[row] = real_space ? twohot_paired_expectation(n, logits, bins, &max, &scale)
                            : fast_symexp(twohot_expectation(n, logits, bins, &max, &scale));
    }
}

static void rows_twohot_mean_dx(int64_t rows, int64_t n, const real *logits, const real *bins,
                                bool real_space, const real *dy, real *dx, bool add) {
    for (int64_t row = 0; row < rows; row++, logits += n, dx += n) {
        real max, scale;
        const real mean = (real_space ? twohot_paired_expectation
                                      : twohot_expectation)(n, logits, bins, &max, &scale);
        const real slope = real_space ? 1 : fast_exp(fast_abs(mean));
        const real d = dy[row] * slope * scale;
        PUT(n, dx, add, d * fast_exp(logits[i] - max) * (bins[i] - mean));
    }
}

// ---- KL and entropy over all categoricals of a row

static real row_kl(int64_t n, const real *restrict post, const real *restrict prior) {
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += post[i] * fast_log(at_least_eps(post[i]) / at_least_eps(prior[i]));
    return sum;
}

static void rows_kl(int64_t rows, int64_t n, const real *post, const real *prior, real *y) {
    for (int64_t row = 0; row < rows; row++) y[row] = row_kl(n, post + row * n, prior + row * n);
}

static void kl_row_d_post(int64_t n, const real *restrict post, const real *restrict prior,
                          real weight, real *restrict dx, bool add) {
    PUT(n, dx, add, weight * (fast_log(at_least_eps(post[i]) / at_least_eps(prior[i])) + 1));
}

static void kl_row_d_prior(int64_t n, const real *restrict post, const real *restrict prior,
                           real weight, real *restrict dx, bool add) {
    PUT(n, dx, add, -weight * post[i] / at_least_eps(prior[i]));
}

static void rows_kl_balanced_dx(int64_t rows, int64_t n, const struct kl_dx *d) {
    for (int64_t row = 0; row < rows; row++) {
        const real *post = d->post + row * n, *prior = d->prior + row * n;
        const real kl = row_kl(n, post, prior);
        // Half the gradient at an exact tie, none below; a NaN passes on.
        const real on = kl < d->free_nats ? 0 : kl == d->free_nats ? (real)0.5 : 1;
        if (d->d_post)
            kl_row_d_post(n, post, prior, on * d->w_rep * d->dy[row], d->d_post + row * n,
                          d->add_post);
        if (d->d_prior)
            kl_row_d_prior(n, post, prior, on * d->w_dyn * d->dy[row], d->d_prior + row * n,
                           d->add_prior);
    }
}

static void rows_entropy(int64_t rows, int64_t n, const real *restrict m, real *restrict y) {
    for (int64_t row = 0; row < rows; row++, m += n) {
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++) sum += m[i] * fast_log(at_least_eps(m[i]));
        y[row] = -sum;
    }
}

static void rows_entropy_dx(int64_t rows, int64_t n, const real *restrict m,
                            const real *restrict dy, real *restrict dx, bool add) {
    for (int64_t row = 0; row < rows; row++, m += n, dx += n) {
        const real minus = -dy[row];
        PUT(n, dx, add, minus * (fast_log(at_least_eps(m[i])) + 1));
    }
}

// ---- log-probability of a sample: z is one-hot in each categorical

static void rows_log_prob(int64_t rows, int64_t n, const real *restrict m, const real *restrict z,
                          real *restrict y) {
    for (int64_t row = 0; row < rows; row++, m += n, z += n) {
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++) sum += z[i] * fast_log(at_least_eps(m[i]));
        y[row] = sum;
    }
}

static void rows_log_prob_dx(int64_t rows, int64_t n, const real *restrict m,
                             const real *restrict z, const real *restrict dy, real *restrict dx,
                             bool add) {
    for (int64_t row = 0; row < rows; row++, m += n, z += n, dx += n) {
        const real d = dy[row];
        PUT(n, dx, add, d * z[i] / at_least_eps(m[i]));
    }
}

#endif
