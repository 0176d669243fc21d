// Worker model: the world model alone or the whole agent; the policy's actions, one update, what a
// checkpoint holds.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/run/worker_internal.h"

const char *worker_mode(const struct worker *w) { return w->full ? "full" : "standing_still"; }

static struct dreamer *agent_new(const struct worker *w) {
    return dreamer_new(&(struct dreamer_opts){.config = &w->config,
                                              .n_actions = w->rollout.env->n_actions,
                                              .pool = w->pool,
                                              .zero_latent = w->opts.zero_latent});
}

static struct world_model *model_new(const struct worker *w) {
    return wm_new(&(struct wm_opts){.config = &w->config,
                                    .n_actions = w->rollout.env->n_actions,
                                    .pool = w->pool,
                                    .zero_latent = w->opts.zero_latent});
}

void worker_build_model(struct worker *w) {
    if (!w->full) {
        w->wm = model_new(w);
        return;
    }
    w->dreamer = agent_new(w);
    w->wm = dreamer_world(w->dreamer);
    params_copy_init(&w->rollout.world_weights, dreamer_params(w->dreamer, DREAMER_WORLD));
    params_copy_init(&w->rollout.actor_weights, dreamer_params(w->dreamer, DREAMER_ACTOR));
    w->rollout.player = player_new(&(struct player_opts){
        .world = wm_dims(w->wm),
        .nets = behaviour_dims(dreamer_behaviour(w->dreamer)),
        .world_params = &w->rollout.world_weights,
        .actor_params = &w->rollout.actor_weights,
        .n_envs = w->rollout.env->n_envs,
        .seed = (uint64_t)w->config.seed,
        .pool = w->rollout.pool,
    });
}

void worker_free_model(struct worker *w) {
    player_free(w->rollout.player);
    params_deinit(&w->rollout.world_weights);
    params_deinit(&w->rollout.actor_weights);
    if (w->dreamer)
        dreamer_free(w->dreamer);
    else
        wm_free(w->wm);
}

int64_t worker_n_weights(const struct worker *w) {
    return w->dreamer ? dreamer_n_weights(w->dreamer) : wm_params(w->wm)->n_weights;
}

// ---- acting

// Whole ticks of all environments, as sheeprl counts them (spec/dreamer_v3.md 8.2).
static bool in_prefill(const struct worker *w) {
    int64_t n = w->rollout.env->n_envs;
    return w->rollout.policy_steps < w->config.learning_starts / n * n;
}

void worker_publish_weights(struct worker *w) {
    if (!w->dreamer || w->rollout.weights_step == wm_opt_steps(w->wm)) return;
    w->rollout.weights_step = wm_opt_steps(w->wm);
    params_copy_weights(&w->rollout.world_weights, dreamer_params(w->dreamer, DREAMER_WORLD));
    params_copy_weights(&w->rollout.actor_weights, dreamer_params(w->dreamer, DREAMER_ACTOR));
}

bool worker_choose_actions(struct worker *w, struct error *e) {
    struct rollout *r = &w->rollout;
    int n_envs = r->env->n_envs;
    if (!w->full) {
        for (int n = 0; n < n_envs; n++) r->actions[n] = w->constant_action;
    } else if (in_prefill(w)) {
        for (int n = 0; n < n_envs; n++)
            r->actions[n] = (int32_t)rng_below((uint64_t)w->config.seed, RNG_PREFILL, (uint64_t)r->env_ticks,
                                               (uint32_t)n, (uint32_t)r->env->n_actions);
    } else {
        for (int n = 0; n < n_envs; n++) r->reset_now[n] = !r->mask[n];
        char bad[TENSOR_NAME_SIZE];
        if (!player_step(r->player, r->reset_now, r->obs, r->env_ticks, false, r->actions, bad))
            return error_set(e, STATUS_FAILED, "policy step %lld: %s is not finite", (long long)r->policy_steps, bad);
    }
    return true;
}

// ---- learning

bool worker_update_model(struct worker *w, struct wm_result *out) {
    if (!w->dreamer) return wm_update(w->wm, out);
    struct dreamer_result r;
    bool fine = dreamer_update(w->dreamer, &r);
    *out = r.model;
    if (fine || out->bad_node[0]) return fine;
    out->loss = r.behaviour.loss_actor + r.behaviour.loss_critic;
    out->grad_norm = hypot(r.behaviour.norm_actor, r.behaviour.norm_critic);
    snprintf(out->bad_node, sizeof out->bad_node, "%s", r.bad_node);
    return false;
}

uint64_t worker_model_metrics(const struct worker *w, float out[METRIC_COUNT]) {
    return w->dreamer ? dreamer_metrics(w->dreamer, out) : wm_metrics(w->wm, out);
}

// ---- checkpoints

// The model's part of *c. `sets` and `extra` are the caller's and must live as long as *c.
static void describe(struct world_model *wm, struct dreamer *d, struct params *sets[DREAMER_N_SETS],
                     struct st_source *range, struct checkpoint *c) {
    c->params = wm_params(wm);
    if (!d) return;
    for (int i = DREAMER_ACTOR; i < DREAMER_N_SETS; i++)
        sets[c->n_more_params++] = dreamer_params(d, (enum dreamer_set)i);
    c->more_params = sets;
    *range = (struct st_source){.name = WORKER_RANGE_NAME,
                                .dtype = ST_REAL,
                                .n_dims = 1,
                                .shape = {2},
                                .data = dreamer_range(d)};
    c->extra = range;
    c->n_extra = 1;
}

bool worker_save_model(struct worker *w, const char *path, struct checkpoint *c, struct error *e) {
    struct params *sets[DREAMER_N_SETS];
    struct st_source extra[1 + PLAYER_MAX_STATES];
    struct player_state states[PLAYER_MAX_STATES];
    char names[PLAYER_MAX_STATES][32];
    describe(w->wm, w->dreamer, sets, extra, c);
    int n = w->rollout.player ? player_states(w->rollout.player, states) : 0;
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "player/%s", states[i].name);
        extra[c->n_extra++] = (struct st_source){.name = names[i],
                                                 .dtype = ST_REAL,
                                                 .n_dims = 2,
                                                 .shape = {states[i].rows, states[i].width},
                                                 .data = states[i].data};
    }
    return checkpoint_save(path, c, e);
}

static bool same_weights(const struct checkpoint *a, const struct checkpoint *b) {
    for (int i = -1; i < a->n_more_params; i++) {
        const struct params *p = i < 0 ? a->params : a->more_params[i],
                            *q = i < 0 ? b->params : b->more_params[i];
        size_t bytes = (size_t)p->n_flat * sizeof(real);
        if (memcmp(p->weights, q->weights, bytes) || memcmp(p->moment1, q->moment1, bytes) ||
            memcmp(p->moment2, q->moment2, bytes))
            return false;
    }
    return true;
}

static bool same_range(struct worker *w, const struct safetensors *s) {
    const struct st_tensor *t = s ? safetensors_find(s, WORKER_RANGE_NAME) : NULL;
    return t && t->n_bytes == 2 * sizeof(real) &&
           memcmp(t->data, dreamer_range(w->dreamer), t->n_bytes) == 0;
}

bool worker_model_reads_back(struct worker *w, const char *path, struct checkpoint *c,
                             struct error *e) {
    struct dreamer *agent = w->full ? agent_new(w) : NULL;
    struct world_model *model = agent ? dreamer_world(agent) : model_new(w);
    struct params *sets[2][DREAMER_N_SETS];
    struct st_source range[2];
    struct checkpoint mine = {0};
    struct safetensors *file = NULL;
    describe(w->wm, w->dreamer, sets[0], &range[0], &mine);
    describe(model, agent, sets[1], &range[1], c);
    bool fine = checkpoint_load(path, c, &file, e);
    if (fine && (!same_weights(&mine, c) || (agent && !same_range(w, file))))
        fine = error_set(e, STATUS_FAILED, "%s: does not hold what was saved", path);
    safetensors_free(file);
    if (agent)
        dreamer_free(agent);
    else
        wm_free(model);
    return fine;
}
