// Evaluation of a PPO agent: whole episodes in environments of its own (spec/ppo.md 4.4).
//
//     struct ppo_eval_episode episodes[20];
//     struct ppo_eval_opts opts = {.agent = p, .env = env, .n_episodes = 20, .greedy = true};
//     ppo_eval_play(&opts, episodes);
//     struct ppo_eval_report r = ppo_eval_report(episodes, 20);
//
// Each environment plays a fixed quota, so that short episodes don't crowd out long ones: episode i
// is the (i / n_envs)-th of environment i % n_envs. Greedy takes the largest logit, the lowest
// index on ties. An episode ends at done or truncated; success is done. Thread: one; the agent's
// acting graph is used, its weights are only read.
#ifndef PPO_EVAL_H
#define PPO_EVAL_H

#include "engine/algo/ppo/ppo.h"
#include "engine/env/env.h"

struct ppo_eval_episode {
    double total_reward;
    int64_t steps;
    float distance; // at its end
    bool success;
};

struct ppo_eval_opts {
    struct ppo *agent;
    struct env *env; // of at most as many environments as the agent acts in at once (CHECK)
    int64_t n_episodes;
    bool greedy; // else actions are drawn, from (seed, RNG_EVAL_ACTION)
    uint64_t seed;
};

void ppo_eval_play(const struct ppo_eval_opts *opts, struct ppo_eval_episode *episodes);

struct ppo_eval_report { // what has no episodes is NaN
    int64_t episodes, successes;
    double success_rate, median_steps, mean_return, return_mean_success, return_mean_fail,
        distance_p50;
};
struct ppo_eval_report ppo_eval_report(const struct ppo_eval_episode *episodes, int64_t n);

#endif
