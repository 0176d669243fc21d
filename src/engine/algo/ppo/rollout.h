// Rollout buffer: T steps of N environments, stored as single packed2 frames (spec/ppo.md 3.1, 3.5).
//
//     struct rollout *r = rollout_new(&(struct rollout_opts){.n_steps = 128, .n_envs = 8, .stack = 4});
//     env_reset(env, all, slots);                        // slots[i] = rollout_frame(r, 0, i)
//     for (int e = 0; e < 8; e++) rollout_restart(r, 0, e);
//     for (int t = 0; t < 128; t++) {
//         rollout_stack(r, t, e, stacks + ...);          // what the network sees
//         ... choose; step into rollout_frame(r, t + 1, e); rollout_continue or rollout_restart(r, t + 1, e)
//         rollout_add(r, &row);
//     }
//     ... learn; rollout_carry(r);                       // the next one begins where this one ended
//
//       history (K-1)        t = 0 .. T
//     +---------------+-----------------------------+      stack_k(t) = frame[t - min(K-1-k, age_t)]
//     | f f f         | f0 f1 ...              f_T  |      age: steps since the episode's first frame, at most K-1
//     +---------------+-----------------------------+
//
// A factor K * 4 less than stacks of bytes, and exact. Thread: one.
#ifndef PPO_ROLLOUT_H
#define PPO_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"

enum { ROLLOUT_FRAME_BYTES = 72 * 80 / 4, ROLLOUT_MAX_STACK = 8 };

struct rollout_opts { int64_t n_steps, n_envs; int stack; };

// All [n_steps][n_envs]. Read freely; written by rollout_add and, final_values, by whoever evaluates them.
struct rollout {
    struct rollout_opts opts;
    int64_t n_added;
    uint8_t *frames, *ages;                  // [stack-1 + n_steps+1][n_envs][...]: rollout_frame, rollout_age
    int32_t *actions;
    real *log_probs, *values, *rewards, *final_values, *advantages, *returns;
    uint8_t *dones, *truncs;
    float *distances;
    real *last_values;                       // [n_envs]
};

struct rollout *rollout_new(const struct rollout_opts *opts);
void rollout_free(struct rollout *r);                                // NULL is fine
int64_t rollout_bytes(const struct rollout_opts *opts);              // what rollout_new will take

uint8_t *rollout_frame(const struct rollout *r, int64_t t, int64_t env);     // t in [-(stack-1), n_steps]
void rollout_restart(struct rollout *r, int64_t t, int64_t env);     // the frame at t is an episode's first
void rollout_continue(struct rollout *r, int64_t t, int64_t env);    // it follows the one at t - 1. t >= 1
// The frames the network sees at t, oldest first: [stack][ROLLOUT_FRAME_BYTES].
void rollout_stack(const struct rollout *r, int64_t t, int64_t env, uint8_t *out);
// The stack that ended at t + 1 with `last` before the environment was reset.
void rollout_final_stack(const struct rollout *r, int64_t t, int64_t env, const uint8_t *last, uint8_t *out);

struct rollout_row {                         // one step, arrays of n_envs
    const int32_t *actions;
    const real *log_probs, *values, *rewards;
    const uint8_t *dones, *truncs;
    const float *distances;
};
// CHECKs that there is room, and that the actions lie in [0, n_actions).
void rollout_add(struct rollout *r, const struct rollout_row *row, int n_actions);
bool rollout_is_full(const struct rollout *r);
// CHECKs that it is full. The last frames become the next rollout's history and first frame.
void rollout_carry(struct rollout *r);

// What a resumed run needs of the past: the newest stack's frames and ages, when nothing was added since the carry.
size_t rollout_memory_bytes(const struct rollout *r);
void rollout_memory_save(const struct rollout *r, uint8_t *out);
void rollout_memory_load(struct rollout *r, const uint8_t *in);

#endif
