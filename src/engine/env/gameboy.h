// Game Boy environment: N machines with one ROM, 24 frames a step, packed2 observations (spec/gameboy.md 7, 8).
#ifndef ENV_GAMEBOY_H
#define ENV_GAMEBOY_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "engine/env/env.h"

struct env_gameboy_opts {
    const uint8_t *rom;               // borrowed until env_free
    size_t rom_bytes;
    const char *rom_name;             // for messages: file name or task name
    const char *action_codec;         // NULL: pokemonred_puffer_v1
    int n_envs;                       // 0: 1
    int max_episode_steps;            // truncation; 0: never
    int warm_up_frames;               // run without buttons before the start state is taken; 0: default 120
    struct pool *pool;                // NULL: the calling thread only
};

// NULL and *e on a bad ROM or codec. Reward is 0: the built-in scenes have no goal.
struct env *env_gameboy_new(const struct env_gameboy_opts *opts, struct error *e);

#endif
