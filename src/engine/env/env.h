// Environment contract: N environments stepped together, observations written into the caller's
// slots.
//
//     struct env *env = env_gameboy_new(&opts, &e);
//     env_reset(env, all, obs);                        // mask of N: 1 = reset this one
//     env_step(env, active, actions, obs, out);        // mask of N: 1 = step this one
//
// The batch never resets itself: it reports `terminated` or `truncated` with the final observation,
// and the caller resets by mask on a tick of its own (spec/dreamer_v3.md 8.5). Stepping an
// environment that ended and was not reset is a CHECK failure. Observations and actions are what
// `obs` and `actions` say (engine/data/spaces.h); of a Game Boy: packed2 frames of ENV_OBS_BYTES
// (spec 1.1) and one button a step. Results depend neither on N nor on the pool. Thread: one thread
// drives an env.
#ifndef ENV_ENV_H
#define ENV_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/data/spaces.h"

enum { ENV_OBS_HEIGHT = 72, ENV_OBS_WIDTH = 80, ENV_OBS_BYTES = 72 * 80 / 4 };

struct env_step_result {
    float reward;
    bool terminated, truncated; // true end (goal tasks: success); time limit; both may be true
    bool locked;                // the machine stands still for good: an opcode that does not exist
    float distance;             // to the goal, 0..1; 0 in tasks without one
};

struct env;
struct env_vtable {
    void (*reset)(struct env *env, const uint8_t *mask, uint8_t *const *obs);
    // One of the two: choices, or continuous values.
    void (*step)(struct env *env, const uint8_t *mask, const int32_t *actions, uint8_t *const *obs,
                 struct env_step_result *out);
    void (*step_values)(struct env *env, const uint8_t *mask, const float *values,
                        uint8_t *const *obs, struct env_step_result *out);
    void (*free)(struct env *env);
    // Optional, all three or none: environment i with its episode, exactly, between two steps.
    size_t (*state_bytes)(const struct env *env); // of one environment
    void (*save)(const struct env *env, int i, uint8_t *out);
    // False and one line: bytes of another game, cut or altered; environment i is then what it was.
    bool (*load)(struct env *env, int i, const uint8_t *bytes, struct error *e);
    // Optional: env_delay_start, env_choose_start.
    void (*delay_start)(struct env *env, int i, int frames);
    void (*choose_start)(struct env *env, int i, uint64_t seed, uint64_t number);
    // Optional: a packed2 picture of an observed (or imagined) vector, for people to look at.
    void (*draw)(const float *vector, uint8_t packed[ENV_OBS_BYTES]);
};

struct env { // first member of every implementation
    const struct env_vtable *vtable;
    int n_envs;
    int n_actions;                   // action_width(&actions): all heads' choices, or values
    const char *const *action_names; // [n_actions]
    struct obs_space obs;
    struct action_space actions;
};
// Pictures, and one of n buttons a step.
static inline struct env env_of_buttons(const struct env_vtable *vtable, int n_envs, int n_actions,
                                        const char *const *names) {
    return (struct env){vtable, n_envs,           n_actions,
                        names,  {.pixels = true}, action_space_of_one(n_actions)};
}

// obs: [n_envs] pointers to obs_bytes(&env->obs) each; only masked ones are written.
static inline void env_reset(struct env *env, const uint8_t *mask, uint8_t *const *obs) {
    env->vtable->reset(env, mask, obs);
}
// actions [n_envs][n_heads], out [n_envs]; only masked ones are read and written.
static inline void env_step(struct env *env, const uint8_t *mask, const int32_t *actions,
                            uint8_t *const *obs, struct env_step_result *out) {
    env->vtable->step(env, mask, actions, obs, out);
}
// The same where actions are continuous: values [n_envs][n_continuous], each in [-1, 1].
static inline void env_step_values(struct env *env, const uint8_t *mask, const float *values,
                                   uint8_t *const *obs, struct env_step_result *out) {
    env->vtable->step_values(env, mask, values, obs, out);
}
// From its next reset on, environment i begins its episodes so many frames without buttons after
// the start, and that is its first observation. 0: at the start itself. For evaluations, whose
// episodes would otherwise all be the same. Where time does not pass by itself, nothing happens.
static inline void env_delay_start(struct env *env, int i, int frames) {
    if (env->vtable->delay_start) env->vtable->delay_start(env, i, frames);
}
// The next reset of environment i begins the episode that (seed, number) names, whichever i is;
// later ones go on with those of the environment itself. Where all episodes begin alike, nothing
// happens.
static inline void env_choose_start(struct env *env, int i, uint64_t seed, uint64_t number) {
    if (env->vtable->choose_start) env->vtable->choose_start(env, i, seed, number);
}
static inline void env_free(struct env *env) {
    if (env) env->vtable->free(env);
}

#endif
