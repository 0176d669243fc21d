// Game Boy environment: N machines with one ROM, 24 frames a step, packed2 observations
// (spec/gameboy.md 7, 8).
//
// Without a goal the reward is 0 and only the time limit ends an episode. With one, goal.h's rules
// hold; rules.max_steps is the time limit then.
#ifndef ENV_GAMEBOY_H
#define ENV_GAMEBOY_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "engine/env/device_play.h"
#include "engine/env/env.h"
#include "engine/env/goal.h"

struct env_gameboy_opts {
    const uint8_t *rom; // borrowed until env_free
    size_t rom_bytes;
    const char *rom_name; // for messages: file name or task name
    // Start of every episode, in a format of gb_import.h; NULL: the ROM after its warm-up.
    const uint8_t *state;
    size_t state_bytes;
    const char *state_name;         // for messages
    const char *action_codec;       // NULL: pokemonred_puffer_v1
    int n_envs;                     // 0: 1
    int max_episode_steps;          // truncation without a goal; 0: never
    int warm_up_frames;             // without a state: frames without buttons to the start; 0: 120
    const struct goal *goal;        // copied; NULL: none
    const struct goal_rules *rules; // copied; NULL: goal_default_rules
    struct pool *pool;              // NULL: the calling thread only
};

// NULL and *e on a bad ROM, state or codec.
// A state holds no picture: the first observation of an episode is what a copy of its machine shows
// two frames later without buttons; the machine itself starts from the state exactly.
struct env *env_gameboy_new(const struct env_gameboy_opts *opts, struct error *e);

// Distance of the start picture to the goal; 0 without a goal.
float env_gameboy_start_distance(const struct env *env);

// As many machines with the same ROM, start, buttons, goal and rules on a device, none of them
// reset yet. NULL: why, in one line. Free with play->machines_free.
struct device_play;
struct device_machines *env_gameboy_on_device(const struct env *env, const struct device_play *play,
                                              char *why, size_t size);

// The exact state (emu/gb_state.h) of one machine: env_gameboy_state_bytes bytes to out. For tools
// and tests.
size_t env_gameboy_state_bytes(const struct env *env);
void env_gameboy_save(const struct env *env, int i, uint8_t *out);

// ---- for the same machines on a device (device_env.h)
// Machine i with its episode between two steps; previous [GOAL_MAX_STACK - 1]: the frames before
// the last one, as far as a goal of several needs them. take: it was reset or loaded (CHECK).
void env_gameboy_take(const struct env *env, int i, struct gb_image *image,
                      struct goal_count *count, uint8_t (*previous)[ENV_OBS_BYTES]);
void env_gameboy_give(struct env *env, int i, const struct gb_image *image,
                      const struct goal_count *count, uint8_t (*previous)[ENV_OBS_BYTES]);
// A machine that was given waits for its reset, or goes on (as it does at first).
void env_gameboy_end(struct env *env, int i, bool ended);

#endif
