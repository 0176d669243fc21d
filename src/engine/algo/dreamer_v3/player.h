// Player: the policy in the environments, with a recurrent state for each of them.
//
//     struct player *p = player_new(&opts);
//     // reset[n]: a new episode
//     if (!player_step(p, reset, obs, tick, false, actions, bad)) report(bad);
//     player_free(p);
//
// One batched step of all environments: h, z <- observe([z; a_prev], h, frame), action <- policy
// (spec/dreamer_v3.md 3.4, "Player"). A reset sets state and previous action anew before the step.
// An environment that waits for its reset may be stepped: what that gives is undone by the reset.
// Parameters are borrowed and read at each step. Thread: one thread at a time; while it steps, its
// parameters must not change and nobody else uses the pool. player_step allocates nothing and does
// not depend on the number of threads.
#ifndef ALGO_DREAMER_V3_PLAYER_H
#define ALGO_DREAMER_V3_PLAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "engine/algo/dreamer_v3/actor_critic.h"
#include "engine/algo/dreamer_v3/noise.h"

struct player;
struct player_graph;
struct device_ring; // engine/env/device_play.h

struct player_opts {
    const struct wm_dims *world; // read by player_new only, like `nets`
    const struct ac_dims *nets;
    struct params *world_params, *actor_params;
    int n_envs;
    uint64_t seed;
    struct pool *pool;
    const struct noise_source *noise; // NULL: Philox
    bool keep_all;                    // parity checks: every tensor of player_nodes can be read
};

struct player *player_new(const struct player_opts *opts);
void player_free(struct player *p); // NULL is fine

// reset [n_envs] 0 or 1; obs [n_envs]: observations as bytes (engine/data/spaces.h: the packed2
// frame, then the vector's floats); actions [n_envs][n_heads] out, NULL where they are continuous
// (player_values). Sampled, or greedy: the likeliest action, the mean. The posterior is always
// sampled. Noise of (seed, RNG_PLAYER_POSTERIOR, RNG_PLAYER_ACTION or RNG_PLAYER_NORMAL, step,
// index): give every step another number. The very
// first step of an environment is a reset whatever the mask says.
// False when the new state or a probability is not finite: bad_node (TENSOR_NAME_SIZE) names the
// first bad tensor, state and actions are what they were. The sampler alone would hide it.
bool player_step(struct player *p, const uint8_t *reset, uint8_t *const *obs, int64_t step,
                 bool greedy, int32_t *actions, char *bad_node);

// On a device (graph/backend.h), where the machines play into `ring`: from now on the policy looks
// at the pictures of the row that the ring is writing and puts its actions there, as one program;
// player_step is not called any more. One head. player_launch is enqueued: the step of tick
// `step`, which every launch counts up; sampled. Weights are what copy_weights has brought.
void player_stay_on_device(struct player *p, struct device_ring *ring);
void player_launch(struct player *p, int64_t step);
// Waits. False where a step was not finite: bad_node as player_step, *step its tick; everything is
// what it was before that step.
bool player_look(struct player *p, int64_t *step, char *bad_node);
// to_host: the state between two steps, and the inputs of the last one; else the host's, with the
// host's weights.
void player_sync(struct player *p, bool to_host);

// The continuous actions of the last step, [n_envs][A]; valid until the next one.
const real *player_values(const struct player *p);

// The state between two steps, for checkpoints: h [n_envs, H], z [n_envs, S*D], and the previous
// action of each head [n_envs, classes]. After filling them in, call player_resume.
enum { PLAYER_MAX_STATES = 2 + AC_MAX_HEADS };
struct player_state {
    const char *name; // "h", "z", "action0", ...
    real *data;
    int64_t rows, width;
};
int player_states(struct player *p, struct player_state out[PLAYER_MAX_STATES]);
void player_resume(struct player *p);
bool player_has_begun(const struct player *p);                   // stepped, or resumed
const struct player_graph *player_nodes(const struct player *p); // for parity checks

#endif
