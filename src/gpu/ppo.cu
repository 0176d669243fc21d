// Kernels: PPO's loss and its gradient over a batch (formulas: src/engine/graph/ppo_loss.h).
#include "base/fmath.h"
#include "gpu/launchers.h"

enum { LOGITS, VALUES, ACTIONS, OLD_LOG_PROBS, ADVANTAGES, RETURNS, OLD_VALUES, DTERMS };

struct ppo_device_batch {
    int64_t n, n_actions;
    buf<const real> logits, values, old_log_probs, advantages, returns, old_values;
    buf<const int32_t> actions;
};

// One sample: what losses and gradients are made of. log p_a = logit_a - shift.
struct ppo_sample {
    real shift;
    double entropy, log_ratio, ratio, surrogate, error, error_slope;
    bool clipped;
};

DEVICE_FUNCTION double ppo_clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

DEVICE_FUNCTION void ppo_value_error(const struct ppo_device_batch *b,
                                     const struct ppo_loss_opts *o, int64_t i,
                                     struct ppo_sample *s) {
    const double v = (double)b->values[i], g = (double)b->returns[i];
    s->error = (v - g) * (v - g);
    s->error_slope = 2 * (v - g);
    if (o->value_clip <= 0) return;
    const double old = (double)b->old_values[i],
                 step = ppo_clamp(v - old, -o->value_clip, o->value_clip);
    const double clipped = (old + step - g) * (old + step - g);
    if (clipped <= s->error) return;
    s->error = clipped;
    s->error_slope = fabs(v - old) <= o->value_clip ? 2 * (old + step - g) : 0;
}

DEVICE_FUNCTION struct ppo_sample ppo_evaluate(const struct ppo_device_batch *b,
                                               const struct ppo_loss_opts *o, int64_t i) {
    struct ppo_sample s;
    const int64_t at = i * b->n_actions;
    real largest = b->logits[at], sum = 0;
    for (int64_t a = 1; a < b->n_actions; a++) {
        const real v = b->logits[at + a];
        largest = v > largest ? v : largest;
    }
    for (int64_t a = 0; a < b->n_actions; a++) sum += fast_exp(b->logits[at + a] - largest);
    s.shift = largest + fast_log(sum);
    s.entropy = 0;
    for (int64_t a = 0; a < b->n_actions; a++) {
        const real log_p = b->logits[at + a] - s.shift;
        s.entropy -= (double)fast_exp(log_p) * (double)log_p;
    }
    const int32_t action = b->actions[i];
    const bool known = action >= 0 && action < b->n_actions; // else: NaN, which the run reports
    const real log_p = known ? b->logits[at + action] - s.shift : (real)NAN;
    s.log_ratio = (double)(log_p - b->old_log_probs[i]);
    s.ratio = exp(s.log_ratio);
    const double advantage = (double)b->advantages[i], plain = s.ratio * advantage;
    const double limited = ppo_clamp(s.ratio, 1 - o->clip, 1 + o->clip) * advantage;
    s.clipped = limited < plain;
    s.surrogate = s.clipped ? limited : plain;
    ppo_value_error(b, o, i, &s);
    return s;
}

DEVICE_FUNCTION double ppo_value_factor(const struct ppo_loss_opts *o) {
    return o->value_clip > 0 ? 0.5 * o->value_coef : o->value_coef;
}

// One warp for the whole batch: a minibatch is a few hundred samples.
__global__ void ppo_loss_kernel(struct ppo_device_batch b, struct ppo_loss_opts o,
                                buf<real> terms) {
    double policy = 0, value = 0, entropy = 0, kl = 0, k3 = 0, outside = 0;
    for (int64_t i = lane_of(); i < b.n; i += WARP) {
        const struct ppo_sample s = ppo_evaluate(&b, &o, i);
        policy -= s.surrogate;
        value += s.error;
        entropy += s.entropy;
        kl -= s.log_ratio;
        k3 += (s.ratio - 1) - s.log_ratio;
        outside += fabs(s.ratio - 1) > o.clip ? 1 : 0;
    }
    const double n = (double)b.n;
    policy = warp_sum(policy) / n;
    value = ppo_value_factor(&o) * warp_sum(value) / n;
    entropy = warp_sum(entropy) / n;
    kl = warp_sum(kl) / n;
    k3 = warp_sum(k3) / n;
    outside = warp_sum(outside) / n;
    if (lane_of() > 0) return;
    terms[PPO_POLICY] = (real)policy;
    terms[PPO_VALUE] = (real)value;
    terms[PPO_ENTROPY] = (real)entropy;
    terms[PPO_ENTROPY_LOSS] = (real)(-o.entropy_coef * entropy);
    terms[PPO_TOTAL] = (real)(policy + value - o.entropy_coef * entropy);
    terms[PPO_KL] = (real)kl;
    terms[PPO_KL_K3] = (real)k3;
    terms[PPO_CLIP_FRACTION] = (real)outside;
}

static struct ppo_device_batch ppo_batch_of(const struct gpu_args *a) {
    struct ppo_device_batch b;
    b.n = a->n->src[LOGITS]->shape[0];
    b.n_actions = a->n->src[LOGITS]->shape[1];
    b.logits = src_real(a, LOGITS);
    b.values = src_real(a, VALUES);
    b.old_log_probs = src_real(a, OLD_LOG_PROBS);
    b.advantages = src_real(a, ADVANTAGES);
    b.returns = src_real(a, RETURNS);
    b.old_values = src_real(a, OLD_VALUES);
    b.actions = buf_make((const int32_t *)a->src[ACTIONS], a->n->src[ACTIONS]->n_elements);
    return b;
}

void gpu_ppo_loss(struct gpu *g, const struct gpu_args *a) {
    LAUNCH(g, ppo_loss_kernel, 1, WARP, ppo_batch_of(a), a->n->at.ppo, out_real(a, 0));
}

__global__ void ppo_loss_dx_kernel(struct ppo_device_batch b, struct ppo_loss_opts o,
                                   buf<const real> dterms, buf<real> dlogits, buf<real> dvalues) {
    EACH(i, b.n) {
        const struct ppo_sample s = ppo_evaluate(&b, &o, i);
        const double each = (double)dterms[PPO_TOTAL] / (double)b.n;
        const double g = s.clipped ? 0 : -(double)b.advantages[i] * s.ratio;
        const int32_t action = b.actions[i];
        for (int64_t a = 0; a < b.n_actions; a++) {
            const real log_p = b.logits[i * b.n_actions + a] - s.shift;
            const double p = (double)fast_exp(log_p);
            const double d =
                g * ((a == action ? 1 : 0) - p) + o.entropy_coef * p * ((double)log_p + s.entropy);
            dlogits[i * b.n_actions + a] = (real)(each * d);
        }
        dvalues[i] = (real)(each * ppo_value_factor(&o) * s.error_slope);
    }
}

void gpu_ppo_loss_dx(struct gpu *g, const struct gpu_args *a) {
    const struct ppo_device_batch b = ppo_batch_of(a);
    LAUNCH(g, ppo_loss_dx_kernel, blocks_for(b.n), THREADS, b, a->n->at.ppo, src_real(a, DTERMS),
           out_real(a, 0), out_real(a, 1));
}
