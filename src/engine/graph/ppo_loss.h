// PPO's losses and their gradients over plain arrays: no graph, no state (spec/ppo.md 3.3).
//
//     struct ppo_batch b = {.n = 256, .n_actions = 7, .logits = ..., ...};
//     double terms[PPO_N_TERMS];
//     ppo_loss(&b, &opts, terms);                 // losses and statistics
//     ppo_loss_gradient(&b, &opts, 1, dlogits, dvalues);
//
// ratio = exp(log p - old log p);  policy = -mean min(ratio A, clip(ratio, 1-eps, 1+eps) A)
// value = c_v mean (G - V)^2, or with value_clip c: c_v/2 mean max((V-G)^2, (V_old + clip(V-V_old,
// +-c) - G)^2) entropy loss = -c_e mean H.   Sums run in order, in double: same bits on any number
// of threads.
#ifndef GRAPH_PPO_LOSS_H
#define GRAPH_PPO_LOSS_H

#include <stdint.h>

#include "base/real.h"

enum { PPO_MAX_ACTIONS = 64 };
enum ppo_term {
    PPO_TOTAL,
    PPO_POLICY,
    PPO_VALUE,
    PPO_ENTROPY_LOSS,
    PPO_ENTROPY,       // mean, nats
    PPO_KL,            // mean(old log p - log p): signed
    PPO_KL_K3,         // mean((ratio - 1) - log ratio): never negative
    PPO_CLIP_FRACTION, // of |ratio - 1| > clip
    PPO_N_TERMS
};

struct ppo_loss_opts {
    double clip, value_coef, entropy_coef;
    double value_clip; // 0: the plain squared error
};

struct ppo_batch {
    int64_t n, n_actions;
    const real *logits, *values;                      // [n, n_actions], [n]: of the network now
    const int32_t *actions;                           // [n]
    const real *old_log_probs, *advantages, *returns; // [n]; advantages as they are to be used
    const real *old_values;                           // [n], read where value_clip > 0
};

// log p of every action by log-softmax with the largest logit taken off. n <= PPO_MAX_ACTIONS.
// The one function that acting and learning share: on equal logits the ratio is exactly 1.
void ppo_log_softmax(const real *logits, int64_t n, real *log_probs);

void ppo_loss(const struct ppo_batch *b, const struct ppo_loss_opts *opts,
              double terms[PPO_N_TERMS]);
// scale times the gradient of PPO_TOTAL, written.
void ppo_loss_gradient(const struct ppo_batch *b, const struct ppo_loss_opts *opts, double scale,
                       real *dlogits, real *dvalues);

#endif
