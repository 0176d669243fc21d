// The player's graph: one policy step of N environments.
#include "engine/algo/dreamer_v3/player_graph.h"

#include "engine/algo/dreamer_v3/world_model.h"

static struct tensor *input(struct graph *g, const char *name, int64_t rows, int64_t width) {
    return g_input(g, name, DTYPE_REAL, width ? 2 : 1, (int64_t[]){rows, width});
}

static struct player_in inputs(struct graph *g, const struct wm_dims *world,
                               const struct ac_dims *nets, int64_t n) {
    struct player_in in = {
        .packed = world->pixels ? g_input(g, "packed", DTYPE_U8, 2, (int64_t[]){n, WM_PACKED_BYTES})
                                : NULL,
        .reset = input(g, "reset", n, 0),
        .h = input(g, "h", n, world->recurrent),
        .z = input(g, "z", n, world->stochastic * world->discrete),
        .u_posterior = input(g, "u_posterior", n, world->stochastic),
        .u_action = nets->continuous ? NULL : input(g, "u_action", nets->n_heads * n, 0),
        .eps = nets->continuous ? input(g, "eps", n, world->n_actions) : NULL,
    };
    for (int k = 0; k < nets->n_heads; k++) in.prev[k] = input(g, "prev", n, nets->classes[k]);
    for (int k = 0; k < world->n_vectors; k++)
        in.vectors[k] = input(g, "vector", n, world->vectors[k]);
    return in;
}

struct player_graph player_build(struct graph *g, struct params *world_params,
                                 struct params *actor_params, const struct wm_dims *world,
                                 const struct ac_dims *nets, int n_envs) {
    graph_scope_push(g, "player");
    struct player_graph p = {.in = inputs(g, world, nets, n_envs)};
    struct wm_net net = wm_net_make(g, world_params, world);
    struct ac_net policies = ac_net_make(g, nets);
    struct wm_initial start = wm_initial(&net);
    struct tensor *image = p.in.packed ? g_unpack2(g, p.in.packed, WM_HEIGHT, WM_WIDTH) : NULL;
    p.embedding = wm_encode(&net, image, p.in.vectors);
    struct tensor *u[AC_MAX_HEADS];
    for (int k = 0; k < nets->n_heads; k++) {
        p.masked[k] = g_blend(g, p.in.reset, p.in.prev[k], NULL);
        if (p.in.u_action) u[k] = g_slice(g, p.in.u_action, k * n_envs, n_envs);
    }
    p.step = wm_observe_step(&net, &start,
                             &(struct wm_step_in){
                                 .is_first = p.in.reset,
                                 .h = p.in.h,
                                 .z = p.in.z,
                                 .action_half = wm_heads_half(&net, p.masked, nets->n_heads),
                                 .embed_half = wm_embed_half(&net, &p.embedding),
                                 .u = p.in.u_posterior,
                             });
    p.policy = ac_policy(&policies, actor_params, p.step.z, p.step.h);
    if (nets->continuous)
        p.sampled[0] = ac_sample_normal(&policies, &p.policy, p.in.eps).clipped;
    else
        ac_sample(&policies, &p.policy, u, p.sampled);
    ac_mode(&policies, &p.policy, p.greedy);
    graph_keep(g, p.step.posterior.probs);
    graph_keep(g, p.step.h);
    graph_keep(g, p.step.z);
    for (int k = 0; k < nets->n_heads; k++) {
        if (!nets->continuous) graph_keep(g, p.policy.probs[k]);
        graph_keep(g, p.sampled[k]);
        graph_keep(g, p.greedy[k]);
    }
    if (nets->continuous) graph_keep(g, p.policy.std);
    graph_scope_pop(g);
    return p;
}
