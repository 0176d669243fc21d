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

// All before the first exponential: a row's would have to wait for its own.
static void maxima_of_rows(int64_t rows, int64_t n, const real *logits, real *max) {
    for (int64_t row = 0; row < rows; row++) max[row] = row_max(n, logits + row * n);
}

// Up to LANES rows: their largest elements, and the sums of e = exp(x - max): the lanes of whole
// vectors, the rest added to the first, then lane after lane, for all rows at once. e:
// [rows][e_row] with whole vectors to a row, or NULL.
static void exps_of_rows(int64_t rows, int64_t n, const real *logits, real *e, int64_t e_row,
                         real *max, real *sum) {
    const int64_t whole = n / LANES * LANES;
    vec lanes[LANES], rest[LANES], total;
    real one[LANES];
    VEC_EACH(i, LANES) lanes[i] = rest[i] = (vec){0};
    for (int64_t i = 0; i < LANES; i++) max[i] = 0;
    maxima_of_rows(rows, n, logits, max);
    for (int64_t row = 0; row < rows; row++, logits += n) {
        real *to = e ? e + row * e_row : one;
        const int64_t step = e ? LANES : 0;
        vec row_sum = {0};
        for (int64_t i = 0; i < whole; i += LANES, to += step) {
            exp_vector(logits + i, max[row], to);
            row_sum += vec_load(to);
        }
        lanes[row] = row_sum;
        if (whole == n) continue;
        exp_rest(n - whole, logits + whole, max[row], to);
        rest[row] = vec_load(to);
    }
    vec_transpose(lanes);
    vec_transpose(rest);
    for (int64_t j = 0; j < n - whole; j++) lanes[0] += rest[j];
    total = lanes[0];
    VEC_EACH(j, LANES - 1) total += lanes[j + 1];
    vec_store(sum, total);
}

static void rows_twohot_nll(int64_t rows, int64_t n, const real *logits, const real *target,
                            const real *bins, bool real_space, real *y) {
    for (int64_t row = 0; row < rows; row += LANES, logits += LANES * n) {
        const int64_t m = kmin(LANES, rows - row);
        real max[LANES], sum[LANES], at[LANES] = {0};
        exps_of_rows(m, n, logits, NULL, 0, max, sum);
        memcpy(at, target + row, (size_t)m * sizeof *at);
#pragma omp simd
        for (int i = 0; i < LANES; i++) sum[i] = max[i] + fast_log(sum[i]);
        if (!real_space)
#pragma omp simd
            for (int i = 0; i < LANES; i++) at[i] = fast_symlog(at[i]);
        for (int64_t i = 0; i < m; i++) {
            const struct twohot t = twohot_of(at[i], n, bins);
            const real *x = logits + i * n;
            y[row + i] = t.q_low * (sum[i] - x[t.low]) + t.q_high * (sum[i] - x[t.high]);
        }
    }
}

enum { EXP_ROW = 512 }; // longer rows are taken twice

// dx[n] (=|+=) scale exp(x - max); e: the exponentials, where they have been kept
static void exp_row_dx(int64_t n, const real *restrict x, const real *restrict e, real max,
                       real scale, real *restrict dx, bool add) {
    if (e)
        PUT(n, dx, add, scale * e[i]);
    else
        PUT(n, dx, add, scale * fast_exp(x[i] - max));
}

// (softmax - q) dy
static void rows_twohot_nll_dx(int64_t rows, int64_t n, const real *logits, const real *target,
                               const real *bins, bool real_space, const real *dy, real *dx,
                               bool add) {
    real e[LANES * (EXP_ROW + LANES)];
    const bool kept = n <= EXP_ROW;
    const int64_t e_row = kround_up(n, LANES);
    for (int64_t row = 0; row < rows; row += LANES) {
        const int64_t m = kmin(LANES, rows - row);
        real max[LANES], sum[LANES], at[LANES] = {0};
        exps_of_rows(m, n, logits, kept ? e : NULL, e_row, max, sum);
        memcpy(at, target + row, (size_t)m * sizeof *at);
        if (!real_space)
#pragma omp simd
            for (int i = 0; i < LANES; i++) at[i] = fast_symlog(at[i]);
        for (int64_t i = 0; i < m; i++, logits += n, dx += n) {
            const real d = dy[row + i];
            const struct twohot t = twohot_of(at[i], n, bins);
            exp_row_dx(n, logits, kept ? e + i * e_row : NULL, max[i], d / sum[i], dx, add);
            dx[t.low] -= t.q_low * d;
            dx[t.high] -= t.q_high * d;
        }
    }
}

struct expectation {
    double sum, weighted; // of e_i and of e_i bins_i, e_i = exp(logit_i - max)
};

// Up to LANES rows. In double: terms of up to 20 cancel where the mean is near 0, and a float sum
// would depend on its order in the sixth digit. A row's lanes are added one after the other; the
// rows take turns, so that none waits for its own last sum.
static void twohot_expectations(int64_t rows, int64_t n, const real *restrict logits,
                                const real *restrict bins, real *restrict max,
                                struct expectation *restrict out) {
    double sums[LANES][LANES] = {{0}}, weights[LANES][LANES] = {{0}};
    real e[LANES], rest[LANES][LANES] = {{0}};
    const int64_t whole = n / LANES * LANES;
    maxima_of_rows(rows, n, logits, max);
    for (int64_t row = 0; row < rows; row++, logits += n) {
        for (int64_t i = 0; i < whole; i += LANES) {
            exp_vector(logits + i, max[row], e);
#pragma omp simd
            for (int j = 0; j < LANES; j++) {
                sums[row][j] += (double)e[j];
                weights[row][j] += (double)e[j] * (double)bins[i + j];
            }
        }
        if (whole < n) exp_rest(n - whole, logits + whole, max[row], rest[row]);
    }
    for (int64_t j = whole; j < n; j++)
        for (int64_t row = 0; row < rows; row++) {
            sums[row][0] += (double)rest[row][j - whole];
            weights[row][0] += (double)rest[row][j - whole] * (double)bins[j];
        }
    for (int64_t row = 0; row < rows; row++) out[row] = (struct expectation){0, 0};
    for (int j = 0; j < LANES; j++)
        for (int64_t row = 0; row < rows; row++) {
            out[row].sum += sums[row][j];
            out[row].weighted += weights[row][j];
        }
}

// The same over bins from both ends inwards, whose terms cancel exactly where bins and logits are
// antisymmetric: real-space bins reach 5e8, and a fresh head is to say 0.
static struct expectation twohot_paired_expectation(int64_t n, const real *restrict logits,
                                                    const real *restrict bins, real max) {
    struct expectation t = {0, 0};
    for (int64_t i = 0; i < n / 2; i++) {
        const int64_t j = n - 1 - i;
        const double low = (double)fast_exp(logits[i] - max),
                     high = (double)fast_exp(logits[j] - max);
        t.sum += low + high;
        t.weighted += low * (double)bins[i] + high * (double)bins[j];
    }
    if (n % 2) {
        const double middle = (double)fast_exp(logits[n / 2] - max);
        t.sum += middle;
        t.weighted += middle * (double)bins[n / 2];
    }
    return t;
}

struct means { // of up to LANES rows; softmax_i = scale exp(logit_i - max)
    real max[LANES], scale[LANES], mean[LANES];
};

static void twohot_means(int64_t rows, int64_t n, const real *logits, const real *bins,
                         bool real_space, struct means *out) {
    struct expectation t[LANES];
    if (!real_space) twohot_expectations(rows, n, logits, bins, out->max, t);
    for (int64_t i = 0; i < rows; i++) {
        if (real_space) {
            out->max[i] = row_max(n, logits + i * n);
            t[i] = twohot_paired_expectation(n, logits + i * n, bins, out->max[i]);
        }
        out->scale[i] = (real)(1 / t[i].sum);
        out->mean[i] = (real)(t[i].weighted / t[i].sum);
    }
}

static void rows_twohot_mean(int64_t rows, int64_t n, const real *logits, const real *bins,
                             bool real_space, real *y) {
    for (int64_t row = 0; row < rows; row += LANES) {
        const int64_t m = kmin(LANES, rows - row);
        struct means t;
        twohot_means(m, n, logits + row * n, bins, real_space, &t);
        for (int64_t i = 0; i < m; i++)
            y[row + i] = real_space ? t.mean[i] : fast_symexp(t.mean[i]);
    }
}

static void twohot_row_dx(int64_t n, const real *restrict x, const real *restrict bins, real d,
                          real max, real mean, real *restrict dx, bool add) {
    PUT(n, dx, add, d * fast_exp(x[i] - max) * (bins[i] - mean));
}

static void rows_twohot_mean_dx(int64_t rows, int64_t n, const real *logits, const real *bins,
                                bool real_space, const real *dy, real *dx, bool add) {
    for (int64_t row = 0; row < rows; row += LANES) {
        const int64_t m = kmin(LANES, rows - row);
        struct means t;
        twohot_means(m, n, logits, bins, real_space, &t);
        for (int64_t i = 0; i < m; i++, logits += n, dx += n) {
            const real slope = real_space ? 1 : fast_exp(fast_abs(t.mean[i]));
            const real d = dy[row + i] * slope * t.scale[i], max = t.max[i], mean = t.mean[i];
            twohot_row_dx(n, logits, bins, d, max, mean, dx, add);
        }
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

// y = scale times the sum of x log m along each of two rows that fill a vector.
ALWAYS_INLINE void log_sum_halves(const real *m, const real *x, real scale, real *y) {
    enum { N = LANES / 2 };
    real logs[LANES], sum[2] = {0};
#pragma omp simd
    for (int i = 0; i < LANES; i++) logs[i] = fast_log(at_least_eps(m[i]));
    for (int i = 0; i < N; i++)
        for (int p = 0; p < 2; p++) sum[p] += x[p * N + i] * logs[p * N + i];
    for (int p = 0; p < 2; p++) y[p] = scale * sum[p];
}

static void rows_entropy(int64_t rows, int64_t n, const real *restrict m, real *restrict y) {
    int64_t row = 0;
    for (; 2 * n == LANES && row + 2 <= rows; row += 2, m += 2 * n)
        log_sum_halves(m, m, -1, y + row);
    for (; row < rows; row++, m += n) {
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
    int64_t row = 0;
    for (; 2 * n == LANES && row + 2 <= rows; row += 2, m += 2 * n, z += 2 * n)
        log_sum_halves(m, z, 1, y + row);
    for (; row < rows; row++, m += n, z += n) {
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
