// Generalised advantage estimation over a rollout (Schulman et al. 2016; spec/ppo.md 3.2).
//
//     gae(&(struct gae_in){.n_steps = 128, .n_envs = 8, .rewards = r, ...}, advantages, returns);
//
//   delta_t = r_t + gamma V_{t+1} (1 - d_t) - V_t
//   A_t = delta_t + gamma lambda (1 - d_t) A_{t+1},   G_t = A_t + V_t
//
// d_t is 1 where the episode ended at t, done or truncated. With `bootstrap`, an episode that was
// cut off by its time limit and is not done gets gamma V(last observation before the reset) in
// place of nothing. Pure: any thread.
#ifndef PPO_GAE_H
#define PPO_GAE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/real.h"

struct gae_in {
    int64_t n_steps, n_envs;
    const real *rewards, *values;  // [n_steps][n_envs]
    const uint8_t *dones, *truncs; // [n_steps][n_envs]
    const real *last_values;       // [n_envs]: V of the observation after the last step
    const real *final_values; // [n_steps][n_envs], read where truncated, not done and `bootstrap`
    double gamma, lambda;
    bool bootstrap;
};

void gae(const struct gae_in *in, real *advantages, real *returns); // both [n_steps][n_envs]

#endif
