// Metrics: the ONE table of everything a run measures (spec/dreamer_v3.md 9). Screens, files and
// exports read it.
#ifndef DATA_METRICS_H
#define DATA_METRICS_H

#include <stdbool.h>

// X(id, short name, sheeprl's name or NULL, timed (timing.jsonl), unit, what it is)
#define METRICS_TABLE(X)                                                                           \
    X(LOSS_MODEL, "loss_model", "Loss/world_model_loss", 0, "nats", "world-model loss")            \
    X(OBS_NLL, "obs_nll", "Loss/observation_loss", 0, "",                                          \
      "observation loss: squared error summed over pixels")                                        \
    X(REWARD_NLL, "reward_nll", "Loss/reward_loss", 0, "nats", "reward loss, two-hot")             \
    X(CONTINUE_NLL, "continue_nll", "Loss/continue_loss", 0, "nats", "continue loss")              \
    X(KL_TOTAL, "kl_total", "Loss/state_loss", 0, "nats",                                          \
      "KL loss, weighted and clamped at the free nats")                                            \
    X(KL_DYN, "kl_dyn", "State/kl", 0, "nats", "raw KL(posterior || prior)")                       \
    X(KL_REP, "kl_rep", NULL, 0, "nats", "raw KL of the representation term (equal value)")        \
    X(FREE_BITS, "free_bits_applied", NULL, 0, "share",                                            \
      "share of time steps with KL below the free nats")                                           \
    X(PRIOR_ENTROPY, "prior_entropy", "State/prior_entropy", 0, "nats", "entropy of the prior")    \
    X(POSTERIOR_ENTROPY, "posterior_entropy", "State/post_entropy", 0, "nats",                     \
      "entropy of the posterior")                                                                  \
    X(ENTROPY_RATIO, "entropy_ratio", NULL, 0, "", "posterior / prior entropy")                    \
    X(GRAD_NORM_MODEL, "grad_norm_model", "Grads/world_model", 0, "",                              \
      "gradient norm before clipping")                                                             \
    X(REPLAY_SIZE, "replay_size", NULL, 0, "rows", "rows in the replay ring")                      \
    X(READY_STEPS, "ready_steps", NULL, 0, "rows", "rows that may be sampled")                     \
    X(REPLAY_RATIO, "replay_ratio", "Params/replay_ratio", 0, "",                                  \
      "gradient steps per policy step so far")                                                     \
    X(RETURN_MEAN, "return_mean", "Rewards/rew_avg", 0, "",                                        \
      "mean return of the episodes since the last record")                                         \
    X(LENGTH_MEAN, "length_mean", "Game/ep_len_avg", 0, "steps",                                   \
      "mean length of the episodes since the last record")                                         \
    X(TRUNC_RATE, "trunc_rate", NULL, 0, "share",                                                  \
      "time limits: share of those episodes (PPO: of the rollout's steps)")                        \
    X(SPS, "sps", "Time/sps_env_interaction", 1, "1/s", "policy steps per second")                 \
    X(TRAIN_SPS, "train_sps", "Time/sps_train", 1, "1/s", "gradient steps per second")             \
    X(UPDATE_MS, "update_ms", NULL, 1, "ms", "one gradient step, mean since the last record")      \
    X(ENV_MS, "env_ms", NULL, 1, "ms", "one step of all environments, their emulators")            \
    X(SAMPLE_MS, "sample_ms", NULL, 1, "ms", "sampling one batch")                                 \
    X(WALL_TIME, "wall_time_s", NULL, 1, "s", "since the run began")                               \
    X(LOSS_ACTOR, "loss_actor", "Loss/policy_loss", 0, "", "actor loss")                           \
    X(LOSS_CRITIC, "loss_critic", "Loss/value_loss", 0, "nats", "critic loss: both two-hot terms") \
    X(ACTION_ENTROPY, "action_entropy", NULL, 0, "nats",                                           \
      "entropy of the policy in the dream, all heads")                                             \
    X(VALUE_MEAN, "value_mean", NULL, 0, "", "mean value of the imagined states")                  \
    X(VALUE_STD, "value_std", NULL, 0, "", "standard deviation of these values")                   \
    X(ADV_MEAN, "adv_mean", NULL, 0, "", "mean normalised advantage")                              \
    X(ADV_STD, "adv_std", NULL, 0, "", "its standard deviation")                                   \
    X(RET_P05, "ret_p05", NULL, 0, "", "running low percentile of the lambda returns")             \
    X(RET_P95, "ret_p95", NULL, 0, "", "running high percentile")                                  \
    X(RET_SCALE, "ret_scale", NULL, 0, "",                                                         \
      "what returns are divided by: their difference, at least 1 / max")                           \
    X(GRAD_NORM_ACTOR, "grad_norm_actor", "Grads/actor", 0, "", "gradient norm before clipping")   \
    X(GRAD_NORM_CRITIC, "grad_norm_critic", "Grads/critic", 0, "",                                 \
      "gradient norm before clipping")                                                             \
    X(SHARE_ACTING, "share_acting", NULL, 1, "share",                                              \
      "of the time since the last record: rollouts in progress")                                   \
    X(SHARE_LEARNING, "share_learning", NULL, 1, "share", "of that time: gradient steps")          \
    X(SHARE_WAITING, "share_waiting", NULL, 1, "share",                                            \
      "of that time: the learner waits for a rollout")                                             \
    X(SUCCESS_RATE, "success_rate", NULL, 0, "share",                                              \
      "share of the episodes since the last record with success")                                  \
    X(UPDATE_RATIO_MODEL, "update_ratio_model", NULL, 0, "",                                       \
      "world model: size of the step over size of the weights")                                    \
    X(UPDATE_RATIO_ACTOR, "update_ratio_actor", NULL, 0, "", "actor: the same")                    \
    X(UPDATE_RATIO_CRITIC, "update_ratio_critic", NULL, 0, "", "critic: the same")                 \
    X(LATENT_CLASSES, "latent_classes", NULL, 0, "share",                                          \
      "classes of the latent that the batch's posteriors drew")                                    \
    X(LATENT_PERPLEXITY, "latent_perplexity", NULL, 0, "classes",                                  \
      "exp of the entropy of how often each was drawn")                                            \
    X(LOSS_TOTAL, "loss_total", NULL, 0, "", "PPO: policy, value and entropy loss together")       \
    X(LOSS_POLICY, "loss_policy", "Loss/policy_loss", 0, "", "PPO: clipped surrogate loss")        \
    X(LOSS_VALUE, "loss_value", "Loss/value_loss", 0, "",                                          \
      "PPO: weighted squared error of the values")                                                 \
    X(LOSS_ENTROPY, "loss_entropy", "Loss/entropy_loss", 0, "nats",                                \
      "PPO: minus the weighted entropy")                                                           \
    X(ENTROPY, "entropy", NULL, 0, "nats",                                                         \
      "PPO: entropy of the policy, mean over the update's minibatches")                            \
    X(APPROX_KL, "approx_kl", NULL, 0, "nats",                                                     \
      "PPO: mean of old minus new log-probability; may be negative")                               \
    X(KL_K3, "kl_k3", NULL, 0, "nats", "PPO: mean of ratio - 1 - log ratio; never negative")       \
    X(CLIPFRAC, "clipfrac", NULL, 0, "share", "PPO: samples whose ratio left the clip range")      \
    X(GRAD_NORM, "grad_norm", "Grads/agent", 0, "", "PPO: gradient norm before clipping")          \
    X(EXPLAINED_VARIANCE, "explained_variance", NULL, 0, "",                                       \
      "PPO: 1 - Var(return - value) / Var(return)")                                                \
    X(LR, "lr", "Info/learning_rate", 0, "", "PPO: learning rate of the update")                   \
    X(GRAD_STEPS, "grad_steps", NULL, 0, "",                                                       \
      "PPO: optimiser steps so far; opt_steps counts updates")                                     \
    X(REWARD_MEAN, "reward_mean", NULL, 0, "", "PPO: mean reward of a step of the rollout")        \
    X(DONE_RATE, "done_rate", NULL, 0, "share", "PPO: steps of the rollout that reached the goal") \
    X(RESET_RATE, "reset_rate", NULL, 0, "share", "PPO: steps that ended an episode")              \
    X(DIST_P10, "dist_p10", NULL, 0, "",                                                           \
      "distance to the goal now, 10 % of the environments are nearer")                             \
    X(DIST_P50, "dist_p50", NULL, 0, "", "the same, 50 %")                                         \
    X(DIST_P90, "dist_p90", NULL, 0, "", "the same, 90 %")                                         \
    X(ENTROPY_MEAN, "entropy_mean", NULL, 0, "nats",                                               \
      "PPO: entropy of the policy that played the rollout")                                        \
    X(EPISODES, "episodes", NULL, 0, "", "PPO: episodes that ended in the rollout")                \
    X(EVAL_SUCCESS_RATE, "eval_success_rate", NULL, 0, "share",                                    \
      "greedy evaluation: episodes that reached the goal")                                         \
    X(EVAL_MEDIAN_STEPS, "eval_median_steps", NULL, 0, "steps",                                    \
      "greedy evaluation: lower median length of those")                                           \
    X(EVAL_STEPS_P50, "eval_steps_p50", NULL, 0, "steps",                                          \
      "the same number under its other name in logs that are compared")                            \
    X(EVAL_MEAN_RETURN, "eval_mean_return", NULL, 0, "", "greedy evaluation: mean return")         \
    X(EVAL_RETURN_SUCCESS, "eval_return_mean_success", NULL, 0, "",                                \
      "greedy evaluation: mean return with success")                                               \
    X(EVAL_RETURN_FAIL, "eval_return_mean_fail", NULL, 0, "",                                      \
      "greedy evaluation: mean return without")                                                    \
    X(EVAL_DIST_AT_END, "eval_dist_at_end_p50", NULL, 0, "",                                       \
      "greedy evaluation: lower median distance at the end")                                       \
    X(POLICY_MS, "policy_ms", NULL, 1, "ms", "the policy's choice beside such a step")             \
    X(UPDATES_PER_S, "updates_per_s", NULL, 1, "1/s",                                              \
      "PPO: rollouts with their updates per second")                                               \
    X(MS_ENCODER, "ms_encoder", NULL, 1, "ms",                                                     \
      "of a gradient step: encoder, forward and backward")                                         \
    X(MS_SCAN, "ms_scan", NULL, 1, "ms", "of a gradient step: recurrent scan and prior")           \
    X(MS_DECODER, "ms_decoder", NULL, 1, "ms", "of a gradient step: decoder")                      \
    X(MS_HEADS, "ms_heads", NULL, 1, "ms",                                                         \
      "of a gradient step: reward, continue, KL, losses of the world model")                       \
    X(MS_IMAGINATION, "ms_imagination", NULL, 1, "ms", "of a gradient step: the dream")            \
    X(MS_DREAM_REWARDS, "ms_dream_rewards", NULL, 1, "ms",                                         \
      "of a gradient step: rewards and continues of the dream")                                    \
    X(MS_CRITIC, "ms_critic", NULL, 1, "ms", "of a gradient step: critic and target critic")       \
    X(MS_ACTOR, "ms_actor", NULL, 1, "ms", "of a gradient step: actor's loss")                     \
    X(MS_RETURNS, "ms_returns", NULL, 1, "ms", "of a gradient step: returns and their statistics") \
    X(MS_PACKING, "ms_packing", NULL, 1, "ms",                                                     \
      "of a gradient step: weights packed for the products")                                       \
    X(MS_OPTIMISER, "ms_optimiser", NULL, 1, "ms",                                                 \
      "of a gradient step: noise, clipping, Adam, copies")                                         \
    X(MS_OTHER, "ms_other", NULL, 1, "ms", "of a gradient step: the rest")                         \
    X(GFLOPS_ENCODER, "gflops_encoder", NULL, 1, "GFLOP/s", "products of that part over its time") \
    X(GFLOPS_SCAN, "gflops_scan", NULL, 1, "GFLOP/s", "products of that part over its time")       \
    X(GFLOPS_DECODER, "gflops_decoder", NULL, 1, "GFLOP/s", "products of that part over its time") \
    X(GFLOPS_HEADS, "gflops_heads", NULL, 1, "GFLOP/s", "products of that part over its time")     \
    X(GFLOPS_IMAGINATION, "gflops_imagination", NULL, 1, "GFLOP/s",                                \
      "products of that part over its time")                                                       \
    X(GFLOPS_DREAM_REWARDS, "gflops_dream_rewards", NULL, 1, "GFLOP/s",                            \
      "products of that part over its time")                                                       \
    X(GFLOPS_CRITIC, "gflops_critic", NULL, 1, "GFLOP/s", "products of that part over its time")   \
    X(GFLOPS_ACTOR, "gflops_actor", NULL, 1, "GFLOP/s", "products of that part over its time")     \
    X(GFLOPS_UPDATE, "gflops_update", NULL, 1, "GFLOP/s",                                          \
      "products of a gradient step over its time")                                                 \
    X(ACTOR_MS, "actor_ms", NULL, 1, "ms",                                                         \
      "device: the rollout beside a batch, machines and policy")                                   \
    X(LEARNER_MS, "learner_ms", NULL, 1, "ms", "device: the gradient steps of a batch")            \
    X(OVERLAP, "overlap", NULL, 1, "share",                                                        \
      "device: of the shorter of the two, how much ran beside the other")                          \
    X(PEAK_GFLOPS, "peak_gflops", NULL, 1, "GFLOP/s",                                              \
      "multiply-adds of this machine, measured when the run began")

enum metric {
#define X(id, ...) METRIC_##id,
    METRICS_TABLE(X)
#undef X
        METRIC_COUNT
};

struct metric_info {
    const char *name, *sheeprl_name; // sheeprl_name NULL where sheeprl has none
    bool timed;                      // not deterministic: goes to timing.jsonl
    const char *unit, *what;
};
extern const struct metric_info metric_info[METRIC_COUNT];
int metric_find(const char *name); // by short name; -1 if there is none

#endif
