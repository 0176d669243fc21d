// Toy environment: a block on an 8 x 8 grid that has to reach the far corner; no emulator, no ROM
// (spec/ppo.md 1.7).
//
//     struct env *env = env_toy_new(&(struct env_toy_opts){.n_envs = 32}, &e);
//
// The 80 x 72 frame is white with a black block of 10 x 9 pixels. It starts in the upper left cell;
// UP, DOWN, LEFT and RIGHT move it one cell, other buttons nothing. The goal is its picture in the
// lower right cell. Rules: goal.h's with tau .01 (one block off is a distance of .03) and k 2. A
// uniform policy succeeds in 8 % of its episodes of 128 steps (by exact dynamic programming over
// the 7 actions).
#ifndef ENV_TOY_H
#define ENV_TOY_H

#include "engine/env/env.h"
#include "engine/env/goal.h"

#define TOY_TASK_NAME "toy" // --task

struct env_toy_opts {
    int n_envs;                     // 0: 1
    const char *action_codec;       // NULL: pokemonred_puffer_v0
    const struct goal_rules *rules; // copied; NULL: toy_rules
};

extern const struct goal_rules
    toy_rules; // tau .01, k 2, alpha 1, bonus 10, cost -.01, max_steps 128

struct env *env_toy_new(const struct env_toy_opts *opts,
                        struct error *e); // NULL and *e on an unknown codec
void toy_goal(struct goal *goal);         // the picture wanted

#endif
