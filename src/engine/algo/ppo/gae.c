// Generalised advantage estimation over a rollout.
#include "engine/algo/ppo/gae.h"

static void one_env(const struct gae_in *in, int64_t env, real *advantages, real *returns) {
    const real gamma = (real)in->gamma, decay = (real)(in->gamma * in->lambda);
    real next_value = in->last_values[env], next_advantage = 0;
    for (int64_t t = in->n_steps - 1; t >= 0; t--) {
        const int64_t i = t * in->n_envs + env;
        const bool ended = in->dones[i] || in->truncs[i];
        real after = ended ? 0 : next_value;
        if (in->bootstrap && in->truncs[i] && !in->dones[i]) after = in->final_values[i];
        const real delta = in->rewards[i] + gamma * after - in->values[i];
        advantages[i] = delta + (ended ? 0 : decay * next_advantage);
        returns[i] = advantages[i] + in->values[i];
        next_value = in->values[i];
        next_advantage = advantages[i];
    }
}

void gae(const struct gae_in *in, real *advantages, real *returns) {
    for (int64_t env = 0; env < in->n_envs; env++) one_env(in, env, advantages, returns);
}
