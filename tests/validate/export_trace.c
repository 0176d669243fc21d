// What a saved agent computes on a few steps, for tests/validate/sheeprl_export.py to compare with
// sheeprl's modules.
//
//     make export-trace && build/tests/validate/export_trace SESSION trace.safetensors
//
// Rows are [step][environment]. Inputs: frames, resets, previous actions (after the reset's mask),
// uniforms of the posterior. Outputs: embedding, h, z, the policy's probabilities, prior and
// posterior, and every head on (z, h).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/algo/dreamer_v3/player.h"
#include "engine/algo/dreamer_v3/player_graph.h"
#include "engine/algo/dreamer_v3/world_model.h"
#include "engine/data/safetensors.h"
#include "engine/run/eval/saved_agent.h"

enum { STEPS = 8, ENVS = 3, ROWS = STEPS * ENVS, MAX_PARTS = 16 };

struct trace {
    struct st_source list[MAX_PARTS];
    int n;
};

// Room for one tensor of the trace, [ROWS][width].
static void *add(struct trace *t, const char *name, enum st_dtype dtype, int64_t width) {
    void *data = mem_alloc((size_t)(ROWS * width) * st_dtype_bytes(dtype));
    t->list[t->n++] = (struct st_source){
        .name = name, .dtype = dtype, .n_dims = 3, .shape = {STEPS, ENVS, width}, .data = data};
    return data;
}

static void keep_rows(void *to, const struct tensor *from, int step) {
    size_t bytes = (size_t)from->n_elements * (from->dtype == DTYPE_U8 ? 1 : sizeof(real));
    memcpy((char *)to + (size_t)step * bytes, from->data, bytes);
}

// Environment 1 is reset once more halfway.
static bool play(struct saved_agent *a, struct env *env, struct player *player, struct trace *t,
                 struct error *e) {
    const struct player_graph *g = player_nodes(player);
    const struct {
        const char *name;
        const struct tensor *tensor;
    } parts[] = {{"packed", g->in.packed},
                 {"reset", g->in.reset},
                 {"prev_action", g->masked[0]},
                 {"u", g->in.u_posterior},
                 {"embedding", g->embedding.part[0]},
                 {"h", g->step.h},
                 {"z", g->step.z},
                 {"action_probs", g->policy.probs[0]}};
    enum { N_PARTS = sizeof parts / sizeof *parts };
    uint8_t frames[ENVS][ENV_OBS_BYTES], *obs[ENVS], reset[ENVS], active[ENVS];
    struct env_step_result results[ENVS];
    int32_t actions[ENVS];
    char bad[TENSOR_NAME_SIZE];
    void *to[N_PARTS];
    for (int i = 0; i < N_PARTS; i++)
        to[i] = add(t, parts[i].name, parts[i].tensor->dtype == DTYPE_U8 ? ST_U8 : ST_F32,
                    parts[i].tensor->n_elements / ENVS);
    for (int n = 0; n < ENVS; n++) obs[n] = frames[n];
    for (int step = 0; step < STEPS; step++) {
        for (int n = 0; n < ENVS; n++) reset[n] = step == 0 || (n == 1 && step == STEPS / 2);
        for (int n = 0; n < ENVS; n++) active[n] = !reset[n];
        env_reset(env, reset, obs);
        env_step(env, active, actions, obs, results);
        if (!player_step(player, reset, obs, step, false, actions, bad))
            return error_set(e, STATUS_FAILED, "%s: %s is not finite", a->checkpoint, bad);
        for (int i = 0; i < N_PARTS; i++) keep_rows(to[i], parts[i].tensor, step);
    }
    return true;
}

static const void *find(const struct trace *t, const char *name) {
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->list[i].name, name) == 0) return t->list[i].data;
    return NULL;
}

static void run_heads(struct saved_agent *a, struct pool *pool, struct trace *t) {
    const struct wm_dims *d = &a->world;
    struct graph *g = graph_new();
    struct tensor *z =
        g_input(g, "z", DTYPE_REAL, 2, (int64_t[]){ROWS, d->stochastic * d->discrete});
    struct tensor *h = g_input(g, "h", DTYPE_REAL, 2, (int64_t[]){ROWS, d->recurrent});
    struct tensor *embedding =
        g_input(g, "embedding", DTYPE_REAL, 2, (int64_t[]){ROWS, wm_embed_width(d)});
    const struct wm_embedding encoded = {{embedding}, 1};
    struct wm_net net = wm_net_make(g, &a->sets[DREAMER_WORLD], d);
    struct ac_net critics = ac_net_make(g, &a->nets);
    const struct {
        const char *name;
        struct tensor *tensor;
    } heads[] = {
        {"prior_probs", wm_prior(&net, h).probs},
        {"posterior_probs", wm_posterior(&net, h, wm_embed_half(&net, &encoded)).probs},
        {"picture", wm_decode(&net, z, h)},
        {"reward_logits", wm_reward(&net, z, h)},
        {"continue_logits", wm_continue(&net, z, h)},
        {"value_logits", ac_critic(&critics, &a->sets[DREAMER_CRITIC], CRITIC_NAME, z, h)},
        {"target_logits", ac_critic(&critics, &a->sets[DREAMER_TARGET], TARGET_CRITIC_NAME, z, h)}};
    enum { N_HEADS = sizeof heads / sizeof *heads };
    for (int i = 0; i < N_HEADS; i++) graph_keep(g, heads[i].tensor);
    graph_plan(g);
    struct executor *executor = cpu_executor_new(g, pool);
    memcpy(z->data, find(t, "z"), (size_t)z->n_elements * sizeof(real));
    memcpy(h->data, find(t, "h"), (size_t)h->n_elements * sizeof(real));
    memcpy(embedding->data, find(t, "embedding"), (size_t)embedding->n_elements * sizeof(real));
    executor_run(executor);
    for (int i = 0; i < N_HEADS; i++)
        keep_rows(add(t, heads[i].name, ST_F32, heads[i].tensor->n_elements / ROWS),
                  heads[i].tensor, 0);
    executor_free(executor);
    graph_free(g);
}

static bool write_trace(struct saved_agent *a, const char *out, struct error *e) {
    if (!saved_agent_load(a, e)) return false;
    if (!a->full)
        return error_set(e, STATUS_USAGE, "%s has no policy; give a session of a goal", a->session);
    struct pool *pool = pool_new(1);
    struct env *env = saved_agent_env(a, &(struct saved_files){0}, ENVS, pool, e);
    if (!env) return false;
    struct player *player = player_new(&(struct player_opts){
        .world = &a->world,
        .nets = &a->nets,
        .world_params = &a->sets[DREAMER_WORLD],
        .actor_params = &a->sets[DREAMER_ACTOR],
        .n_envs = ENVS,
        .seed = 1,
        .pool = pool,
        .keep_all = true,
    });
    struct trace t = {0};
    bool fine = play(a, env, player, &t, e);
    if (fine) run_heads(a, pool, &t);
    fine = fine && safetensors_write(out, t.list, t.n, NULL, 0, e);
    for (int i = 0; i < t.n; i++) free((void *)t.list[i].data);
    player_free(player);
    env_free(env);
    pool_free(pool);
    return fine;
}

int main(int argc, char **argv) {
    struct saved_agent a = {0};
    struct error e = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: export_trace SESSION trace.safetensors\n");
        return STATUS_USAGE;
    }
    bool fine = saved_agent_open(&a, argv[1], &e) && write_trace(&a, argv[2], &e);
    if (!fine) fprintf(stderr, "export_trace: %s\n", e.message);
    saved_agent_close(&a);
    return fine ? 0 : 1;
}
