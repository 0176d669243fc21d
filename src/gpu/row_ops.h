// Device functions of ops that work row by row: shared by the ops' own kernels and by chains of ops
// (chain.h). A row is a warp's where a function says so, else elements come one at a time.
#ifndef GPU_ROW_OPS_H
#define GPU_ROW_OPS_H

#include "base/fmath.h"
#include "gpu/device.h"

DEVICE_FUNCTION void put(buf<real> to, int64_t i, real v, bool add) { to[i] = add ? to[i] + v : v; }

// ---- elementwise: of elements a and b (0 where there is none) and the attributes scale, shift

#define CLAMP_EPS                                                                                  \
    ((real)1.1920928955078125e-07) // the float32 epsilon of the reference's probability clamp
DEVICE_FUNCTION real at_least_eps(real m) { return m < CLAMP_EPS ? CLAMP_EPS : m; } // NaN stays
DEVICE_FUNCTION real log_clamped_of(real m) {
    const real v = at_least_eps(m);
    return fast_log(v > 1 - CLAMP_EPS ? 1 - CLAMP_EPS : v);
}

DEVICE_FUNCTION real limit_factor(real x, real bound) {
    const real size = fast_abs(x);
    return size > bound ? bound / size : 1;
}

// MAP(kind of node, name, value). NaN stays NaN in relu; the factor of a limit is a constant to the
// gradient.
#define GPU_MAPS(MAP)                                                                              \
    MAP(OP_COPY, copy, a)                                                                          \
    MAP(OP_ADD, add, a + b)                                                                        \
    MAP(OP_AFFINE, affine, p *a + q)                                                               \
    MAP(OP_AFFINE_DX, affine_dx, p *a)                                                             \
    MAP(OP_MUL, mul, a *b)                                                                         \
    MAP(OP_TANH, tanh, fast_tanh(a))                                                               \
    MAP(OP_TANH_DX, tanh_dx, b *(1 - a * a))                                                       \
    MAP(OP_SIGMOID, sigmoid, fast_sigmoid(a))                                                      \
    MAP(OP_SIGMOID_DX, sigmoid_dx, b *a *(1 - a))                                                  \
    MAP(OP_SYMLOG, symlog, fast_symlog(a))                                                         \
    MAP(OP_SYMLOG_DX, symlog_dx, b / (1 + fast_abs(a)))                                            \
    MAP(OP_RELU, relu, a > 0 ? a : 0 * a)                                                          \
    MAP(OP_RELU_DX, relu_dx, a > 0 ? b : 0)                                                        \
    MAP(OP_LESS, less, a < p ? 1 : 0)                                                              \
    MAP(OP_LOG_CLAMPED, log_clamped, log_clamped_of(a))                                            \
    MAP(OP_BCE, bce, fast_softplus(a) - a * b)                                                     \
    MAP(OP_LIMIT, limit, a *limit_factor(a, p))                                                    \
    MAP(OP_LIMIT_DX, limit_dx, b *limit_factor(a, p))

// ---- LayerNorm (RMS norm: no beta): a warp per row
//
// y may lie where x does, and dx where dy does (op.in_place): a lane reads an element for the last
// time before it writes there.

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

DEVICE_FUNCTION void norm_row(buf<const real> x, buf<const real> gamma, buf<const real> beta,
                              int64_t row, int64_t n, real eps, bool silu, buf<real> y) {
    const bool rms = beta.n == 0;
    const struct norm_stats s = norm_of(x, row * n, n, eps, rms);
    for (int64_t c = lane_of(); c < n; c += WARP) {
        const real shift = rms ? 0 : beta[c];
        const real z = gamma[c] * ((x[row * n + c] - s.mean) * s.scale) + shift;
        y[row * n + c] = silu ? fast_silu(z) : z;
    }
}

struct norm_gradient {
    real xhat, d; // d: of what stands before the activation
};

DEVICE_FUNCTION struct norm_gradient norm_gradient_of(const struct norm_stats s, buf<const real> x,
                                                      buf<const real> gamma, buf<const real> beta,
                                                      buf<const real> dy, int64_t i, int64_t c,
                                                      bool silu) {
    struct norm_gradient g;
    g.xhat = (x[i] - s.mean) * s.scale;
    const real shift = beta.n == 0 ? 0 : beta[c];
    const real z = gamma[c] * g.xhat + shift;
    const real p = fast_sigmoid(z);
    g.d = silu ? dy[i] * (p * (1 + z * (1 - p))) : (real)dy[i];
    return g;
}

// dgamma and dbeta [rows, n] (n 0: not wanted): this row's share, written or (add_shares) added
DEVICE_FUNCTION void norm_dx_row(buf<const real> x, buf<const real> gamma, buf<const real> beta,
                                 buf<const real> dy, int64_t row, int64_t n, real eps, bool silu,
                                 buf<real> dx, bool add, buf<real> dgamma, buf<real> dbeta,
                                 bool add_shares) {
    const bool rms = beta.n == 0;
    const struct norm_stats s = norm_of(x, row * n, n, eps, rms);
    real sum = 0, sum_xhat = 0;
    for (int64_t c = lane_of(); c < n; c += WARP) {
        const int64_t i = row * n + c;
        const struct norm_gradient g = norm_gradient_of(s, x, gamma, beta, dy, i, c, silu);
        if (dgamma.n) put(dgamma, i, g.d * g.xhat, add_shares);
        if (dbeta.n) put(dbeta, i, g.d, add_shares);
        sum += rms ? 0 : g.d * gamma[c]; // the mean's share
        sum_xhat += g.d * gamma[c] * g.xhat;
    }
    sum = warp_sum(sum) / (real)n;
    sum_xhat = warp_sum(sum_xhat) / (real)n;
    for (int64_t c = lane_of(); dx.n && c < n; c += WARP) {
        const int64_t i = row * n + c;
        const struct norm_gradient g = norm_gradient_of(s, x, gamma, beta, dy, i, c, silu);
        put(dx, i, (g.d * gamma[c] - sum - g.xhat * sum_xhat) * s.scale, add);
    }
}

// ---- GRU gates: y [rows, 3 width] after LayerNorm: reset, candidate, update

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

DEVICE_FUNCTION void gates_at(buf<const real> y, buf<const real> h, int64_t i, int64_t width,
                              buf<real> out) {
    const struct gates g = gates_of(y, i / width, i % width, width);
    out[i] = g.u * g.c + (1 - g.u) * h[i];
}

DEVICE_FUNCTION void gates_dx_at(buf<const real> y, buf<const real> h, buf<const real> dout,
                                 int64_t i, int64_t width, buf<real> dy, bool add_dy, buf<real> dh,
                                 bool add_dh) {
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

// ---- blend: (1 - f) a + f b per row; b is like a, one row for all, or absent

DEVICE_FUNCTION void blend_at(buf<const real> f, buf<const real> a, buf<const real> b, int64_t i,
                              int64_t width, buf<real> out) {
    const real share = f[i / width], kept = (1 - share) * a[i];
    out[i] = b.n ? kept + share * b[b.n == out.n ? i : i % width] : kept;
}

DEVICE_FUNCTION void blend_dx_at(buf<const real> f, bool one_minus, buf<const real> dy, int64_t i,
                                 int64_t width, buf<real> dx, bool add) {
    const real share = one_minus ? 1 - f[i / width] : (real)f[i / width];
    put(dx, i, share * dy[i], add);
}

// ---- categoricals of n classes: a warp per categorical

DEVICE_FUNCTION void unimix_row(buf<const real> logits, int64_t row, int64_t n, real mix,
                                buf<real> m) {
    const int64_t at = row * n;
    real max = logits[at], sum = 0;
    for (int64_t i = lane_of(); i < n; i += WARP) {
        const real v = logits[at + i];
        max = v > max ? v : max;
    }
    max = warp_max(max);
    for (int64_t i = lane_of(); i < n; i += WARP) sum += fast_exp(logits[at + i] - max);
    const real scale = (1 - mix) / warp_sum(sum), floor = mix / (real)n;
    for (int64_t i = lane_of(); i < n; i += WARP)
        m[at + i] = fast_exp(logits[at + i] - max) * scale + floor;
}

// q = (1 - mix) softmax; dx_j = q_j (dm_j - sum_k q_k dm_k / (1 - mix))
DEVICE_FUNCTION void unimix_dx_row(buf<const real> m, buf<const real> dm, int64_t row, int64_t n,
                                   real mix, buf<real> dx, bool add) {
    const int64_t at = row * n;
    const real floor = mix / (real)n;
    real dot = 0;
    for (int64_t i = lane_of(); i < n; i += WARP) dot += (m[at + i] - floor) * dm[at + i];
    dot = warp_sum(dot) / (1 - mix);
    for (int64_t i = lane_of(); i < n; i += WARP)
        put(dx, at + i, (m[at + i] - floor) * (dm[at + i] - dot), add);
}

// A thread's: the cumulative sum runs in order. The index is the number of k with cdf_k <= u, at
// most n - 1.
DEVICE_FUNCTION void sample_row(buf<const real> m, buf<const real> u, int64_t row, int64_t n,
                                buf<real> z) {
    const int64_t at = row * n;
    real cdf = 0;
    int64_t index = 0;
    for (; index < n - 1; index++) {
        cdf += m[at + index];
        if (!(cdf <= u[row])) break;
    }
    for (int64_t i = 0; i < n; i++) z[at + i] = i == index ? 1 : 0;
}

// ---- one number per row over all its categoricals (n probabilities): a warp per row

struct kl_weights {
    real dyn, rep, free_nats;
};

DEVICE_FUNCTION real kl_of_row(buf<const real> post, buf<const real> prior, int64_t at, int64_t n) {
    real sum = 0;
    for (int64_t i = at + lane_of(); i < at + n; i += WARP)
        sum += post[i] * fast_log(at_least_eps(post[i]) / at_least_eps(prior[i]));
    return warp_sum(sum);
}

// balanced: (dyn + rep) max(K, free_nats); else K
DEVICE_FUNCTION void kl_row(buf<const real> post, buf<const real> prior, int64_t row, int64_t n,
                            bool balanced, struct kl_weights w, buf<real> y) {
    const real kl = kl_of_row(post, prior, row * n, n),
               k = kl < w.free_nats ? w.free_nats : kl; // NaN stays
    if (lane_of() == 0) y[row] = balanced ? w.dyn * k + w.rep * k : kl;
}

// Half the gradient at an exact tie with free_nats, none below; a NaN passes on.
DEVICE_FUNCTION void kl_balanced_dx_row(buf<const real> post, buf<const real> prior,
                                        buf<const real> dy, int64_t row, int64_t n,
                                        struct kl_weights w, buf<real> d_post, bool add_post,
                                        buf<real> d_prior, bool add_prior) {
    const int64_t at = row * n;
    const real kl = kl_of_row(post, prior, at, n);
    const real on = kl < w.free_nats ? 0 : kl == w.free_nats ? (real)0.5 : 1;
    const real of_post = on * w.rep * dy[row], of_prior = -(on * w.dyn * dy[row]);
    for (int64_t i = at + lane_of(); i < at + n; i += WARP) {
        const real p = post[i], q = at_least_eps(prior[i]);
        if (d_post.n) put(d_post, i, of_post * (fast_log(at_least_eps(p) / q) + 1), add_post);
        if (d_prior.n) put(d_prior, i, of_prior * p / q, add_prior);
    }
}

DEVICE_FUNCTION void entropy_row(buf<const real> m, int64_t row, int64_t n, buf<real> y) {
    real sum = 0;
    for (int64_t i = row * n + lane_of(); i < (row + 1) * n; i += WARP)
        sum += m[i] * fast_log(at_least_eps(m[i]));
    sum = warp_sum(sum);
    if (lane_of() == 0) y[row] = -sum;
}

DEVICE_FUNCTION void entropy_dx_at(buf<const real> m, buf<const real> dy, int64_t i, int64_t n,
                                   buf<real> dx, bool add) {
    put(dx, i, -dy[i / n] * (fast_log(at_least_eps(m[i])) + 1), add);
}

// z is one-hot in each categorical
DEVICE_FUNCTION void log_prob_row(buf<const real> m, buf<const real> z, int64_t row, int64_t n,
                                  buf<real> y) {
    real sum = 0;
    for (int64_t i = row * n + lane_of(); i < (row + 1) * n; i += WARP)
        sum += z[i] * fast_log(at_least_eps(m[i]));
    sum = warp_sum(sum);
    if (lane_of() == 0) y[row] = sum;
}

DEVICE_FUNCTION void log_prob_dx_at(buf<const real> m, buf<const real> z, buf<const real> dy,
                                    int64_t i, int64_t n, buf<real> dx, bool add) {
    put(dx, i, dy[i / n] * z[i] / at_least_eps(m[i]), add);
}

// ---- one-hot rows

// Where the ones of a row are (rows.h: ones); a warp's.
DEVICE_FUNCTION void ones_row(buf<const real> x, int64_t row, int64_t n, int64_t limit,
                              buf<int32_t> index) {
    const uint32_t below = (1u << lane_of()) - 1;
    int64_t count = 0;
    bool fine = true;
    for (int64_t first = 0; first < n; first += WARP) {
        const int64_t i = first + lane_of();
        const real v = i < n ? (real)x[row * n + i] : 0;
        const uint32_t ones = warp_ballot(v != 0);
        fine = warp_ballot(v != 0 && v != 1) == 0 && fine;
        const int64_t at = count + __popc(ones & below);
        if (v != 0 && at < limit) index[row * (limit + 1) + 1 + at] = (int32_t)i;
        count += __popc(ones);
    }
    if (lane_of() == 0)
        index[row * (limit + 1)] = (int32_t)(fine && count <= limit ? count : limit + 1);
}

// Element (row, j) of x w^T + bias + addend; a row that is not one-hot is multiplied.
DEVICE_FUNCTION real gathered(buf<const real> x, int64_t k, buf<const int32_t> index, int64_t limit,
                              buf<const real> packed, int64_t n, buf<const real> bias,
                              buf<const real> addend, int64_t row, int64_t j) {
    const int64_t at = row * (limit + 1);
    const int64_t count = index[at];
    real sum = 0;
    if (count <= limit)
        for (int64_t c = 1; c <= count; c++) sum += packed[index[at + c] * n + j];
    else
        for (int64_t c = 0; c < k; c++) sum += x[row * k + c] * packed[c * n + j];
    if (bias.n) sum += bias[j];
    if (addend.n) sum += addend[row * n + j];
    return sum;
}

#endif
