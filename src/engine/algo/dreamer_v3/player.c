// Player: the policy in the environments, with a recurrent state for each of them.
#include "engine/algo/dreamer_v3/player.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/algo/dreamer_v3/player_graph.h"
#include "engine/algo/dreamer_v3/world_model.h"
#include "engine/graph/program.h"

struct player {
    int n_envs, n_heads;
    bool continuous, begun;
    uint64_t seed;
    const struct noise_source *noise;
    struct graph *graph;
    struct player_graph nodes;
    struct executor *executor;
    struct program *program; // of player_stay_on_device, else NULL
    int64_t next_step;       // of its next launch; -1: not known yet
};

static void keep_all(struct player *p) {
    const struct player_graph *n = &p->nodes;
    for (int i = 0; i < n->embedding.n; i++) graph_keep(p->graph, n->embedding.part[i]);
    graph_keep(p->graph, n->step.h_bar);
    graph_keep(p->graph, n->step.z_bar);
    for (int k = 0; k < p->n_heads; k++) {
        graph_keep(p->graph, n->masked[k]);
        graph_keep(p->graph, n->policy.logits[k]);
    }
}

struct player *player_new(const struct player_opts *opts) {
    struct player *p = mem_alloc(sizeof *p);
    p->n_envs = opts->n_envs;
    p->n_heads = opts->nets->n_heads;
    p->continuous = opts->nets->continuous;
    p->seed = opts->seed;
    p->noise = opts->noise;
    p->graph = graph_new();
    p->nodes = player_build(p->graph, opts->world_params, opts->actor_params, opts->world,
                            opts->nets, opts->n_envs);
    if (opts->keep_all) keep_all(p);
    graph_plan(p->graph);
    p->executor = executor_new(p->graph, opts->pool);
    return p;
}

void player_free(struct player *p) {
    if (!p) return;
    program_free(p->program);
    executor_free(p->executor);
    graph_free(p->graph);
    free(p);
}

static int chosen(const real *one_hot, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (one_hot[i] == 1) return (int)i;
    CHECK(false, "no action is chosen");
    return 0;
}

static bool is_finite(const struct tensor *t) {
    for (int64_t i = 0; i < t->n_elements; i++)
        if (!isfinite(((const real *)t->data)[i])) return false;
    return true;
}

static bool all_finite(struct player *p, char *bad_node) {
    bool fine = is_finite(p->nodes.step.h) && is_finite(p->nodes.step.posterior.probs);
    for (int k = 0; k < p->n_heads; k++)
        fine &= is_finite(p->continuous ? p->nodes.sampled[k] : p->nodes.policy.probs[k]);
    if (fine) return true;
    const struct tensor *bad = executor_find_nonfinite(p->executor);
    snprintf(bad_node, TENSOR_NAME_SIZE, "%s", bad ? bad->name : "player");
    return false;
}

static void carry(struct tensor *to, const struct tensor *from) {
    memcpy(to->data, from->data, (size_t)to->n_elements * sizeof(real));
}

// The picture, then the vector's floats.
static void take_observation(const struct player_in *in, int n, const uint8_t *obs) {
    if (in->packed) {
        memcpy((uint8_t *)in->packed->data + n * WM_PACKED_BYTES, obs, WM_PACKED_BYTES);
        obs += WM_PACKED_BYTES;
    }
    const int64_t width = in->vectors[0] ? in->vectors[0]->shape[1] : 0;
    for (int64_t i = 0; i < width; i++) {
        float x;
        memcpy(&x, obs + (size_t)i * sizeof x, sizeof x);
        ((real *)in->vectors[0]->data)[n * width + i] = (real)x;
    }
}

bool player_step(struct player *p, const uint8_t *reset, uint8_t *const *obs, int64_t step,
                 bool greedy, int32_t *actions, char *bad_node) {
    const struct player_in *in = &p->nodes.in;
    for (int n = 0; n < p->n_envs; n++) {
        take_observation(in, n, obs[n]);
        ((real *)in->reset->data)[n] = !p->begun || reset[n] ? 1 : 0;
    }
    noise_fill(p->noise, in->u_posterior, p->seed, RNG_PLAYER_POSTERIOR, step);
    if (p->continuous)
        noise_fill_normal(p->noise, in->eps, p->seed, RNG_PLAYER_NORMAL, step);
    else
        noise_fill(p->noise, in->u_action, p->seed, RNG_PLAYER_ACTION, step);
    executor_run(p->executor);
    if (!all_finite(p, bad_node)) return false;
    p->begun = true;
    for (int k = 0; k < p->n_heads; k++) {
        const struct tensor *taken = greedy ? p->nodes.greedy[k] : p->nodes.sampled[k];
        const int64_t classes = taken->shape[1];
        for (int n = 0; n < p->n_envs && !p->continuous; n++)
            actions[n * p->n_heads + k] = chosen((const real *)taken->data + n * classes, classes);
        carry(in->prev[k], taken);
    }
    carry(in->h, p->nodes.step.h);
    carry(in->z, p->nodes.step.z);
    return true;
}

// ---- on a device

void player_stay_on_device(struct player *p, struct device_ring *ring) {
    const struct player_graph *n = &p->nodes;
    struct executor *ex = p->executor;
    struct program *to = p->program = program_new();
    CHECK(to && p->n_heads == 1 && !p->continuous && !p->noise, "no program for this player");
    program_pictures(to, ex, n->in.packed, ring);
    program_begins(to, ex, n->in.reset, ring);
    program_noise(to, ex, n->in.u_posterior, p->seed, RNG_PLAYER_POSTERIOR, false);
    program_noise(to, ex, n->in.u_action, p->seed, RNG_PLAYER_ACTION, false);
    program_run(to, ex);
    program_finite(to, ex, n->step.h);
    program_finite(to, ex, n->step.posterior.probs);
    program_finite(to, ex, n->policy.probs[0]);
    program_copy(to, ex, n->in.prev[0], ex, n->sampled[0]);
    program_copy(to, ex, n->in.h, ex, n->step.h);
    program_copy(to, ex, n->in.z, ex, n->step.z);
    program_advance(to);
    program_act(to, ex, n->sampled[0], ring);
    program_seal(to, 0);
    p->next_step = -1;
}

void player_launch(struct player *p, int64_t step) {
    if (step != p->next_step) program_seek(p->program, step, !p->begun);
    program_launch(p->program);
    p->begun = true;
    p->next_step = step + 1;
}

void player_sync(struct player *p, bool to_host) {
    if (to_host)
        program_fetch(p->program);
    else
        program_store(p->program, 0);
    p->next_step = -1;
}

bool player_look(struct player *p, int64_t *step, char *bad_node) {
    struct backend_progress found;
    program_read(p->program, &found);
    if (found.failed < 0) return true;
    player_sync(p, true);
    const struct tensor *bad = executor_find_nonfinite(p->executor);
    snprintf(bad_node, TENSOR_NAME_SIZE, "%s", bad ? bad->name : "player");
    *step = found.step;
    return false;
}

const real *player_values(const struct player *p) { return p->nodes.in.prev[0]->data; }

int player_states(struct player *p, struct player_state out[PLAYER_MAX_STATES]) {
    static const char *const names[PLAYER_MAX_STATES] = {
        "h",       "z",       "action0", "action1", "action2",
        "action3", "action4", "action5", "action6", "action7",
    };
    const struct player_in *in = &p->nodes.in;
    int count = 2 + p->n_heads;
    for (int i = 0; i < count; i++) {
        struct tensor *t = i == 0 ? in->h : i == 1 ? in->z : in->prev[i - 2];
        out[i] = (struct player_state){names[i], t->data, t->shape[0], t->shape[1]};
    }
    return count;
}

void player_resume(struct player *p) { p->begun = true; }
bool player_has_begun(const struct player *p) { return p->begun; }
const struct player_graph *player_nodes(const struct player *p) { return &p->nodes; }
