// Rollout buffer: T steps of N environments, stored as single packed2 frames
// (spec/ppo.md 3.1, 3.5).
//
//     struct ppo_rollout *r = ppo_rollout_new(&opts);       // 128 steps, 8 environments, stack 4
//     env_reset(env, all, slots);                           // slots[i]: ppo_rollout_frame(r, 0, i)
//     for (int i = 0; i < 8; i++) ppo_rollout_restart(r, 0, i);
//     for (int t = 0; t < 128; t++) {
//         ppo_rollout_stack(r, t, i, stack);                // what the network sees
//         ...                                 // choose, step into ppo_rollout_frame(r, t + 1, i)
//         ppo_rollout_continue(r, t + 1, i);                // or _restart, of an episode's first
//         ppo_rollout_add(r, &row);
//     }
//     ppo_rollout_carry(r);                                 // the next begins where this one ended
//
//       history (K-1)        t = 0 .. T
//     +---------------+-----------------------------+
//     | f  f  f       | f0 f1 ...              f_T  |
//     +---------------+-----------------------------+
//
//     stack_k(t) = frame[t - min(K-1-k, age_t)]
//     age: steps since the episode's first frame, at most K-1
//
// A factor K * 4 less than stacks of bytes, and exact. Thread: one.
#ifndef PPO_PPO_ROLLOUT_H
#define PPO_PPO_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"

enum { ROLLOUT_FRAME_BYTES = 72 * 80 / 4, ROLLOUT_MAX_STACK = 8 };

struct ppo_rollout_opts {
    int64_t n_steps, n_envs;
    int stack;
};

// All [n_steps][n_envs]. Read freely; written by ppo_rollout_add and, final_values, by whoever
// evaluates them.
struct ppo_rollout {
    struct ppo_rollout_opts opts;
    int64_t n_added;
    uint8_t *frames, *ages; // [stack-1 + n_steps+1][n_envs][...]: ppo_rollout_frame, rollout_age
    int32_t *actions;
    real *log_probs, *values, *rewards, *final_values, *advantages, *returns;
    uint8_t *dones, *truncs;
    float *distances;
    real *last_values; // [n_envs]
};

struct ppo_rollout *ppo_rollout_new(const struct ppo_rollout_opts *opts);
void ppo_rollout_free(struct ppo_rollout *r);                   // NULL is fine
int64_t ppo_rollout_bytes(const struct ppo_rollout_opts *opts); // what ppo_rollout_new will take

uint8_t *ppo_rollout_frame(const struct ppo_rollout *r, int64_t t,
                           int64_t env); // t in [-(stack-1), n_steps]
void ppo_rollout_restart(struct ppo_rollout *r, int64_t t,
                         int64_t env); // the frame at t is an episode's first
void ppo_rollout_continue(struct ppo_rollout *r, int64_t t,
                          int64_t env); // it follows the one at t - 1. t >= 1
// The frames the network sees at t, oldest first: [stack][ROLLOUT_FRAME_BYTES].
void ppo_rollout_stack(const struct ppo_rollout *r, int64_t t, int64_t env, uint8_t *out);
// The stack that ended at t + 1 with `last` before the environment was reset.
void ppo_rollout_final_stack(const struct ppo_rollout *r, int64_t t, int64_t env,
                             const uint8_t *last, uint8_t *out);

struct ppo_rollout_row { // one step, arrays of n_envs
    const int32_t *actions;
    const real *log_probs, *values, *rewards;
    const uint8_t *dones, *truncs;
    const float *distances;
};
// CHECKs that there is room, and that the actions lie in [0, n_actions).
void ppo_rollout_add(struct ppo_rollout *r, const struct ppo_rollout_row *row, int n_actions);
bool ppo_rollout_is_full(const struct ppo_rollout *r);
// CHECKs that it is full. The last frames become the next rollout's history and first frame.
void ppo_rollout_carry(struct ppo_rollout *r);

// What a resumed run needs of the past: the newest stack's frames and ages, when nothing was added
// since the carry.
size_t ppo_rollout_memory_bytes(const struct ppo_rollout *r);
void ppo_rollout_memory_save(const struct ppo_rollout *r, uint8_t *out);
void ppo_rollout_memory_load(struct ppo_rollout *r, const uint8_t *in);

#endif
