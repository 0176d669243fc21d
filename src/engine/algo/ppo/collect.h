// Collector: plays the agent in N environments and fills a rollout, with autoreset
// (spec/ppo.md 1.4, 3.1, 3.2).
//
//     struct collect *c = collect_new(agent, env, rollout);
//     collect_begin(c);                                  // resets every environment
//     while (!ppo_rollout_is_full(rollout)) collect_step(c);
//     collect_finish(c);                           // values of truncated episodes' last pictures
//     ppo_learn(agent, rollout, ...);
//     ppo_rollout_carry(rollout);
//
// The observation is stored before the step. An environment that ended is reset in the same step:
// the next slot holds its next episode's first frame, and the last frame of an episode that a time
// limit cut off is kept for its value. Borrows all three. Thread: one.
#ifndef PPO_COLLECT_H
#define PPO_COLLECT_H

#include "engine/algo/ppo/ppo.h"
#include "engine/env/env.h"

enum { COLLECT_MAX_ACTIONS = PPO_MAX_ACTIONS };

struct collect_stats {                    // of one rollout
    int64_t n_steps, episodes, successes; // steps of all environments together; episodes that ended
    double reward_sum, entropy_sum, return_sum, length_sum;
    int64_t dones, truncs, resets;
    int64_t action_counts[COLLECT_MAX_ACTIONS];
    // Of a full rollout, after collect_finish: its values, and the distances at its last step.
    double value_mean, value_std, dist_p10, dist_p50, dist_p90;
};

struct collect_times {
    int64_t policy_ns, env_ns;
}; // of a rollout: choosing actions; stepping and resetting

struct collect_hooks { // all may be NULL
    void *ctx;
    // After every step: environment 0's picture, action, result; the picture is the one before any
    // reset.
    void (*stepped)(void *ctx, const uint8_t *frame, int32_t action,
                    const struct env_step_result *result);
    // An episode of environment i ended.
    void (*ended)(void *ctx, int i, double episode_return, int64_t length, bool success);
};

struct collect;
struct collect *collect_new(struct ppo *agent, struct env *env, struct ppo_rollout *rollout);
void collect_free(struct collect *c); // NULL is fine
void collect_set_hooks(struct collect *c, const struct collect_hooks *hooks);
void collect_begin(struct collect *c); // the rollout is empty
void collect_step(struct collect *c);  // one action in every environment
void collect_finish(struct collect *c);
const struct collect_stats *collect_stats(const struct collect *c); // since collect_clear
const struct collect_times *collect_times(const struct collect *c);
void collect_clear(struct collect *c);              // both
int64_t collect_env_steps(const struct collect *c); // since the run's start

// Between rollouts: running returns and lengths and the number of steps, for checkpoints.
size_t collect_state_bytes(const struct collect *c);
void collect_save(const struct collect *c, void *out);
void collect_load(struct collect *c, const void *in);

// ---- where a device plays (ppo_device.h): this collector keeps the run's numbers only
int64_t collect_ticks(const struct collect *c); // steps of each environment so far
void collect_advance(struct collect *c, int64_t n_steps);
void collect_take_stats(struct collect *c, const struct collect_stats *stats,
                        const struct collect_times *times);
// Of the episodes in progress, [n_envs].
void collect_episodes(const struct collect *c, double *returns, double *lengths);
void collect_set_episodes(struct collect *c, const double *returns, const double *lengths);
// Fills the quantiles.
void collect_set_distances(struct collect_stats *stats, const float *distances, int64_t n);

#endif
