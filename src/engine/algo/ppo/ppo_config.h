// PPO's configuration: its table of keys, with sheeprl's names where it has them
// (spec/ppo.md 3.4, 4.1).
//
//     struct ppo_config c;
//     ppo_config_init(&c);                                                 // defaults
//     if (!ppo_config_set(&c, "algo.gamma=0.9", &e)) return fail(&e);      // one per argument
//     if (!ppo_config_check(&c, &e)) return fail(&e);                      // rules between keys
//     ppo_config_opts(&c, n_actions, &opts);
//
// A plain value. Failures are STATUS_USAGE with one line (config_keys.h).
#ifndef PPO_CONFIG_H
#define PPO_CONFIG_H

#include "engine/algo/config_keys.h"
#include "engine/algo/ppo/ppo.h"

// clang-format off
#define PPO_CONFIG_TABLE(INTEGER, DECIMAL, SWITCH, CHOICE)                                                             \
    INTEGER(seed, "seed", 42, "[0, 9007199254740991]", "seed of every random stream")                                  \
    INTEGER(rollout_steps, "algo.rollout_steps", 128, "[1, 65536]", "steps of each environment in a rollout")          \
    INTEGER(update_epochs, "algo.update_epochs", 2, "[1, 1000]", "passes over a rollout in an update")                 \
    INTEGER(minibatches, "algo.minibatches", 4, "[1, 65536]", "optimiser steps of a pass; divides the rollout")        \
    DECIMAL(learning_rate, "algo.optimizer.lr", 2.5e-4, "(0, 1]", "Adam's learning rate")                              \
    DECIMAL(adam_eps, "algo.optimizer.eps", 1e-5, "(0, 1]", "Adam's epsilon")                                          \
    SWITCH(anneal_lr, "algo.anneal_lr", false, "true|false", "learning rate falls to 0 over the run's updates")        \
    DECIMAL(gamma, "algo.gamma", 0.99, "(0, 1]", "discount of rewards")                                                \
    DECIMAL(gae_lambda, "algo.gae_lambda", 0.95, "[0, 1]", "decay of the advantage estimate")                          \
    DECIMAL(clip_coef, "algo.clip_coef", 0.1, "(0, 1)", "how far the ratio may leave 1")                               \
    SWITCH(clip_vloss, "algo.clip_vloss", false, "true|false", "value loss clipped by value_clip")                     \
    DECIMAL(value_clip, "algo.value_clip", 0.1, "(0, inf)", "how far a value may move with clip_vloss")                \
    DECIMAL(vf_coef, "algo.vf_coef", 0.5, "[0, inf)", "weight of the value loss")                                      \
    DECIMAL(ent_coef, "algo.ent_coef", 0.01, "[0, inf)", "weight of the entropy")                                      \
    DECIMAL(max_grad_norm, "algo.max_grad_norm", 0.5, "[0, inf)", "largest global gradient norm; 0: no clipping")      \
    CHOICE(advantages, "algo.normalize_advantages", "batch", "batch|minibatch|none", "over what advantages are normalised") \
    CHOICE(truncation, "algo.truncation", "bootstrap", "bootstrap|terminal", "what a time limit means for the return") \
    CHOICE(init, "algo.init", "orthogonal", "orthogonal|uniform", "first weights")                                     \
    DECIMAL(target_kl, "algo.target_kl", 0, "[0, inf)", "ends an update after a pass whose k3 is above; 0: never")     \
    INTEGER(frame_stack, "env.frame_stack", 4, "[1, 8]", "frames the network sees")                                    \
    INTEGER(num_envs, "env.num_envs", 256, "[1, 65536]", "environments stepped together")                              \
    CHOICE(env_device, "env.device", "auto", "auto|host",                                                              \
           "with a GPU: machines and rollout there where the task allows it, or on the host")                          \
    INTEGER(max_episode_steps, "env.max_episode_steps", 256, "[1, 1000000000]", "steps until an episode is truncated") \
    DECIMAL(alpha, "env.alpha", 1, "[0, 1000]", "goal tasks: reward per distance that a step comes nearer")            \
    DECIMAL(goal_bonus, "env.goal_bonus", 10, "[0, 1e6]", "goal tasks: reward for arriving")                           \
    DECIMAL(step_cost, "env.step_cost", -0.01, "[-1000, 1000]", "goal tasks: reward of every step")                    \
    CHOICE(action_codec, "env.action_codec", "v0", "v0|v1", "buttons an agent has: v0 without, v1 with NOOP")          \
    INTEGER(eval_every, "eval.every", 0, "[0, 1000000000]", "updates between greedy evaluations; 0: none")             \
    INTEGER(eval_episodes, "eval.episodes", 4, "[1, 65536]", "episodes of an evaluation")                              \
    INTEGER(checkpoint_every, "checkpoint.every", 10, "[0, 1000000000]",                                               \
            "updates between checkpoints; 0: only at the end")                                                         \
    INTEGER(checkpoint_keep_last, "checkpoint.keep_last", 5, "[1, 1000000]", "newest checkpoints that are kept")       \
    INTEGER(log_every, "metric.log_every", 1, "[1, 1000000]", "updates between records")                               \
    CHOICE(model_dtype, "precision.model_dtype", "float32", "float32", "arithmetic of the network")
// clang-format on

struct ppo_config {
#define PPO_INTEGER(field, ...) int64_t field;
#define PPO_DECIMAL(field, ...) double field;
#define PPO_SWITCH(field, ...) bool field;
#define PPO_CHOICE(field, ...) char field[CONFIG_CHOICE_SIZE];
    PPO_CONFIG_TABLE(PPO_INTEGER, PPO_DECIMAL, PPO_SWITCH, PPO_CHOICE)
#undef PPO_INTEGER
#undef PPO_DECIMAL
#undef PPO_SWITCH
#undef PPO_CHOICE
    uint64_t given; // bit i: key i was set; not part of JSON or hash
};

extern const struct config_schema ppo_config_schema;

void ppo_config_init(struct ppo_config *c);
bool ppo_config_set(struct ppo_config *c, const char *assignment, struct error *e);
bool ppo_config_given(const struct ppo_config *c, const char *key);
bool ppo_config_check(const struct ppo_config *c, struct error *e);
bool ppo_config_from_json(struct ppo_config *c, const char *text, size_t bytes, const char *source,
                          struct error *e);
void ppo_config_opts(const struct ppo_config *c, int64_t n_actions, struct ppo_opts *out);
// Of update number `update` (0, 1, ...) out of n_updates.
double ppo_config_rate(const struct ppo_config *c, int64_t update, int64_t n_updates);

#endif
