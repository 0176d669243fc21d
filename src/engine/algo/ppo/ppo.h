// PPO: acting and learning of one agent, over arrays; knows no environment, no file and no clock
// (spec/ppo.md 3).
//
//     struct ppo *p = ppo_new(&opts, pool);
//     for (...) {                                        // every step (collect.h does all this)
//         ...                                            // fill ppo_stacks(p)
//         ppo_act(p, step, &acted);
//     }
//     struct ppo_learned l;
//     if (!ppo_learn(p, rollout, rate, &l)) stop(l.bad_node);      // a number that is not finite
//
// Actions are drawn from Philox (seed, RNG_PPO_ACTION, step, environment): the first whose
// cumulative probability exceeds u. Minibatches are slices of one fresh permutation an epoch, from
// (seed, RNG_PPO_SHUFFLE, epochs so far). Ownership: the agent owns weights, moments and graphs;
// the pool is borrowed. Thread: one.
#ifndef PPO_PPO_H
#define PPO_PPO_H

#include "base/pool.h"
#include "engine/algo/ppo/ppo_net.h"
#include "engine/algo/ppo/ppo_rollout.h"
#include "engine/graph/ppo_loss.h"

enum ppo_advantages {
    PPO_ADVANTAGES_BATCH,     // (A - mean) / (population std + 1e-8), over the whole rollout
    PPO_ADVANTAGES_MINIBATCH, // the same over a minibatch, with the sample std
    PPO_ADVANTAGES_RAW
};

struct ppo_opts {
    int64_t n_envs, n_steps;
    int64_t epochs, minibatches; // minibatches divides n_envs * n_steps (CHECK)
    struct ppo_dims dims;
    struct ppo_loss_opts loss;
    double gamma, lambda;
    bool bootstrap; // value of the last observation where a time limit cut an episode off
    enum ppo_advantages advantages;
    enum ppo_init init;
    double adam_eps, max_norm; // max_norm 0: no clipping
    double target_kl;          // stop an update after an epoch whose mean k3 is above; 0: never
    uint64_t seed;
};

struct ppo;
struct ppo *ppo_new(const struct ppo_opts *opts, struct pool *pool);
void ppo_free(struct ppo *p); // NULL is fine
const struct ppo_opts *ppo_options(const struct ppo *p);
// Weights, gradients and moments, for checkpoints and tests. Acting packs the weights once and goes
// on with that: ask again after it for what is to be changed.
struct params *ppo_params(struct ppo *p);
// Updates and optimiser steps so far: part of a checkpoint with the parameters.
struct ppo_counters {
    int64_t updates, grad_steps, epochs;
};
struct ppo_counters *ppo_counters(struct ppo *p);

// ---- acting: n_envs rows at once
uint8_t *ppo_stacks(struct ppo *p); // [n_envs][stack][1440]: fill, then ppo_act or ppo_evaluate
struct ppo_acted {
    int32_t *actions;
    real *log_probs, *values;
    double *entropy;
}; // [n_envs] each; entropy: their sum
void ppo_act(struct ppo *p, uint64_t step, const struct ppo_acted *out);
void ppo_evaluate(struct ppo *p);            // logits and values of what is in ppo_stacks
const real *ppo_logits(const struct ppo *p); // [n_envs][n_actions], of the last of both
const real *ppo_values(const struct ppo *p); // [n_envs]

// The first index whose cumulative probability exceeds u; the last where rounding leaves none.
int32_t ppo_sample(const real *log_probs, int64_t n, float u);
int32_t ppo_greedy(const real *logits, int64_t n); // largest, lowest index on ties

// ---- learning
struct ppo_learned {
    double terms[PPO_N_TERMS]; // means over the optimiser steps of this update
    double grad_norm, explained_variance;
    int64_t steps;             // optimiser steps; fewer than planned after target_kl
    double first[PPO_N_TERMS]; // of the first minibatch, weights unchanged: ratio 1, both KLs and
                               // clip fraction 0
    // Of a failed update: the first node that is not finite, loss and gradient norm of that step.
    char bad_node[96];
    double bad_loss, bad_norm;
    int64_t bad_epoch, bad_minibatch;
};
// Values, advantages and returns of a full rollout, then epochs x minibatches optimiser steps.
// final_values must be there (collect.h). False: loss or gradient is not finite; weights are those
// before the failing step.
bool ppo_learn(struct ppo *p, struct ppo_rollout *r, double learning_rate, struct ppo_learned *out);
// What an optimiser step is given: ppo_learn fills it, and after a failed update it still is that
// of the failing step. The agent's own memory.
struct ppo_minibatch {
    int64_t n;
    uint8_t *stacks;  // [n][stack][1440]
    int32_t *actions; // [n], like the rest; advantages are normalised already
    real *old_log_probs, *advantages, *returns, *old_values;
};
struct ppo_minibatch ppo_minibatch(const struct ppo *p);
// One optimiser step on it; its terms and norm are added to out's. False: bad_node says what is not
// finite, and the weights are as they were.
bool ppo_step(struct ppo *p, double learning_rate, struct ppo_learned *out);
// Sample indices (t * n_envs + env) of the last minibatch.
const int64_t *ppo_last_minibatch(const struct ppo *p, int64_t *n);
void ppo_normalize(real *x, int64_t n,
                   bool sample_std); // (x - mean) / (std + 1e-8); population std or sample std

// 0 .. n-1 shuffled: Fisher-Yates with numbers of (seed, RNG_PPO_SHUFFLE, epoch).
void ppo_shuffle(int64_t *order, int64_t n, uint64_t seed, uint64_t epoch);

int64_t ppo_bytes(const struct ppo *p); // that it takes once it has learned; without the rollout

#endif
