// The player's graph: one policy step of N environments.
//
//     struct player_graph p = player_build(g, &sets, &world, &nets, n_envs);
//     graph_plan(g);
//
// h, z <- observe([z; a_prev], h, frame), action <- policy(z, h): the training step with the reset
// mask as is_first (spec/dreamer_v3.md 3.4). No gradients.
#ifndef ALGO_DREAMER_V3_PLAYER_GRAPH_H
#define ALGO_DREAMER_V3_PLAYER_GRAPH_H

#include "engine/algo/dreamer_v3/actor_critic.h"
#include "engine/algo/dreamer_v3/wm_net.h"

struct player_in {
    struct tensor *packed;                  // u8 [N, 1440]; NULL without pictures
    struct tensor *vectors[WM_MAX_VECTORS]; // [N, width] of each key
    struct tensor *reset;                   // [N] 1: state and previous action start anew
    struct tensor *h, *z;                   // [N, H], [N, S*D] after the step before
    struct tensor *prev[AC_MAX_HEADS];      // [N, classes] one-hot
    struct tensor *u_posterior;             // [N, S]
    struct tensor *u_action;                // [heads*N]: head, n; NULL with continuous actions:
    struct tensor *eps;                     // their noise, [N, A]
};

struct player_graph {
    struct player_in in;
    struct wm_embedding embedding;
    struct tensor *masked[AC_MAX_HEADS]; // previous actions after the mask
    struct wm_step step;                 // h and z of the new state
    struct policy policy;
    // [N, classes] one-hot, or [N, A]
    struct tensor *sampled[AC_MAX_HEADS], *greedy[AC_MAX_HEADS];
};
struct player_graph player_build(struct graph *g, struct params *world_params,
                                 struct params *actor_params, const struct wm_dims *world,
                                 const struct ac_dims *nets, int n_envs);

#endif
