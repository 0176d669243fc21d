// PPO's losses and their gradients over plain arrays.
#include "engine/graph/ppo_loss.h"

#include <math.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/fmath.h"

void ppo_log_softmax(const real *logits, int64_t n, real *log_probs) {
    real largest = logits[0], sum = 0;
    for (int64_t i = 1; i < n; i++) largest = logits[i] > largest ? logits[i] : largest;
    for (int64_t i = 0; i < n; i++) sum += fast_exp(logits[i] - largest);
    const real shift = largest + fast_log(sum);
    for (int64_t i = 0; i < n; i++) log_probs[i] = logits[i] - shift;
}

// One sample: what losses and gradients are made of.
struct sample {
    real log_probs[PPO_MAX_ACTIONS];
    double entropy, log_ratio, ratio;
    double surrogate;   // min(ratio A, clipped ratio A)
    bool clipped;       // the smaller one is the clipped one: no gradient
    double error;       // of the value, squared; the larger one with value_clip
    double error_slope; // d error / d value
};

static double clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

static void value_error(const struct ppo_batch *b, const struct ppo_loss_opts *o, int64_t i,
                        struct sample *s) {
    const double v = (double)b->values[i], g = (double)b->returns[i];
    s->error = (v - g) * (v - g);
    s->error_slope = 2 * (v - g);
    if (o->value_clip <= 0) return;
    const double old = (double)b->old_values[i],
                 step = clamp(v - old, -o->value_clip, o->value_clip);
    const double clipped = (old + step - g) * (old + step - g);
    if (clipped <= s->error) return;
    s->error = clipped;
    s->error_slope = fabs(v - old) <= o->value_clip ? 2 * (old + step - g) : 0;
}

static void evaluate(const struct ppo_batch *b, const struct ppo_loss_opts *o, int64_t i,
                     struct sample *s) {
    const int64_t n = b->n_actions;
    ppo_log_softmax(b->logits + i * n, n, s->log_probs);
    s->entropy = 0;
    for (int64_t a = 0; a < n; a++)
        s->entropy -= (double)fast_exp(s->log_probs[a]) * (double)s->log_probs[a];
    CHECK(b->actions[i] >= 0 && b->actions[i] < n, "action %d of %lld", b->actions[i],
          (long long)n);
    s->log_ratio = (double)(s->log_probs[b->actions[i]] - b->old_log_probs[i]);
    s->ratio = exp(s->log_ratio);
    const double advantage = (double)b->advantages[i], plain = s->ratio * advantage;
    const double limited = clamp(s->ratio, 1 - o->clip, 1 + o->clip) * advantage;
    s->clipped = limited < plain;
    s->surrogate = s->clipped ? limited : plain;
    value_error(b, o, i, s);
}

static double value_factor(const struct ppo_loss_opts *o) {
    return o->value_clip > 0 ? 0.5 * o->value_coef : o->value_coef;
}

void ppo_loss(const struct ppo_batch *b, const struct ppo_loss_opts *o, double terms[PPO_N_TERMS]) {
    CHECK(b->n >= 1 && b->n_actions >= 1 && b->n_actions <= PPO_MAX_ACTIONS,
          "%lld samples of %lld actions", (long long)b->n, (long long)b->n_actions);
    double policy = 0, value = 0, entropy = 0, kl = 0, k3 = 0, outside = 0;
    for (int64_t i = 0; i < b->n; i++) {
        struct sample s;
        evaluate(b, o, i, &s);
        policy -= s.surrogate;
        value += s.error;
        entropy += s.entropy;
        kl -= s.log_ratio;
        k3 += (s.ratio - 1) - s.log_ratio;
        outside += fabs(s.ratio - 1) > o->clip;
    }
    const double n = (double)b->n;
    terms[PPO_POLICY] = policy / n;
    terms[PPO_VALUE] = value_factor(o) * value / n;
    terms[PPO_ENTROPY] = entropy / n;
    terms[PPO_ENTROPY_LOSS] = -o->entropy_coef * terms[PPO_ENTROPY];
    terms[PPO_TOTAL] = terms[PPO_POLICY] + terms[PPO_VALUE] + terms[PPO_ENTROPY_LOSS];
    terms[PPO_KL] = kl / n;
    terms[PPO_KL_K3] = k3 / n;
    terms[PPO_CLIP_FRACTION] = outside / n;
}

void ppo_loss_gradient(const struct ppo_batch *b, const struct ppo_loss_opts *o, double scale,
                       real *dlogits, real *dvalues) {
    const double each = scale / (double)b->n;
    for (int64_t i = 0; i < b->n; i++) {
        struct sample s;
        evaluate(b, o, i, &s);
        const double g = s.clipped ? 0 : -(double)b->advantages[i] * s.ratio;
        for (int64_t a = 0; a < b->n_actions; a++) {
            const double log_p = (double)s.log_probs[a], p = (double)fast_exp(s.log_probs[a]);
            const double d =
                g * ((a == b->actions[i]) - p) + o->entropy_coef * p * (log_p + s.entropy);
            dlogits[i * b->n_actions + a] = (real)(each * d);
        }
        dvalues[i] = (real)(each * value_factor(o) * s.error_slope);
    }
}
