// Worker model: what learns and acts in a run, one table of functions each: the world model alone,
// the whole agent.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/graph/program.h"
#include "engine/run/worker/worker_internal.h"

// ---- the world model alone: every environment holds one action

// The config's batch and environments are a rank's.
static void share_noise(struct worker *w) {
    const struct ranks *r = w->opts.ranks;
    const uint64_t seed = (uint64_t)w->config.seed;
    const int64_t batch = w->config.batch_size, envs = w->config.num_envs;
    if (!r) return;
    noise_share_init(&w->share, seed, r->rank * batch, batch, r->n * batch);
    noise_share_init(&w->player_share, seed, r->rank * envs, envs, r->n * envs);
}

static void world_build(struct worker *w) {
    share_noise(w);
    w->wm = wm_new(&(struct wm_opts){.config = &w->config,
                                     .n_actions = w->rollout.env->n_actions,
                                     .obs = &w->rollout.env->obs,
                                     .pool = w->pool,
                                     .zero_latent = w->opts.zero_latent,
                                     .noise = w->opts.ranks ? &w->share.source : NULL,
                                     .ranks = w->opts.ranks});
    const struct program_sample sample = {.seed = (uint64_t)w->config.seed,
                                          .length = (int)w->config.sequence_length,
                                          .batch = (int)w->config.batch_size,
                                          .n_terminal = config_terminal_sequences(&w->config)};
    wm_stay_on_device(w->wm, w->config.log_every, worker_device_ring(w), &sample);
    worker_device_connect(w);
    worker_signs_init(w);
}

static void world_free(struct worker *w) {
    worker_signs_free(w);
    wm_free(w->wm);
}

static int64_t world_n_weights(const struct worker *w) { return wm_params(w->wm)->n_weights; }
static void world_publish(struct worker *w) { (void)w; }

static bool world_choose(struct worker *w, struct error *e) {
    for (int n = 0; n < w->rollout.env->n_envs; n++) w->rollout.actions[n] = w->constant_action;
    return !w->on_device || worker_device_hold(w, e);
}

static bool world_update(struct worker *w, struct wm_result *out) {
    worker_signs_before(w);
    return wm_update(w->wm, out);
}

static bool world_look(struct worker *w, struct wm_result *out) { return wm_look(w->wm, out); }

static uint64_t world_metrics(const struct worker *w, float out[METRIC_COUNT]) {
    return wm_metrics(w->wm, out) | worker_signs_metrics(w, out);
}

static void world_describe(struct worker *w, struct model_parts *out) {
    out->sets[0] = wm_params(w->wm);
    out->n_sets = 1;
}

// ---- DreamerV3: world model, actor and critic; the policy plays with a copy of the weights

static void dreamer_build(struct worker *w) {
    struct rollout *r = &w->rollout;
    share_noise(w);
    w->dreamer = dreamer_new(&(struct dreamer_opts){.config = &w->config,
                                                    .n_actions = r->env->n_actions,
                                                    .actions = &r->env->actions,
                                                    .obs = &r->env->obs,
                                                    .pool = w->pool,
                                                    .zero_latent = w->opts.zero_latent,
                                                    .read_every = w->config.log_every,
                                                    .ring = worker_device_ring(w),
                                                    .ranks = w->opts.ranks});
    w->wm = dreamer_world(w->dreamer);
    params_copy_init(&r->world_weights, dreamer_params(w->dreamer, DREAMER_WORLD));
    params_copy_init(&r->actor_weights, dreamer_params(w->dreamer, DREAMER_ACTOR));
    r->player = player_new(&(struct player_opts){
        .world = wm_dims(w->wm),
        .nets = behaviour_dims(dreamer_behaviour(w->dreamer)),
        .world_params = &r->world_weights,
        .actor_params = &r->actor_weights,
        .n_envs = r->env->n_envs,
        .seed = (uint64_t)w->config.seed,
        .pool = r->pool,
        .noise = w->opts.ranks ? &w->player_share.source : NULL,
    });
    worker_device_connect(w);
    params_copy_init(&w->kept.own, dreamer_params(w->dreamer, DREAMER_WORLD));
    params_copy_init(&w->kept.target, dreamer_params(w->dreamer, DREAMER_TARGET));
    worker_signs_init(w);
}

static void dreamer_end(struct worker *w) {
    params_deinit(&w->kept.own);
    params_deinit(&w->kept.target);
    worker_signs_free(w);
    player_free(w->rollout.player);
    params_deinit(&w->rollout.world_weights);
    params_deinit(&w->rollout.actor_weights);
    dreamer_free(w->dreamer);
}

static int64_t dreamer_count(const struct worker *w) { return dreamer_n_weights(w->dreamer); }

static void publish_set(struct worker *w, struct params *copy, enum dreamer_set set) {
    const struct params *from = dreamer_params(w->dreamer, set);
    if (!dreamer_on_device(w->dreamer))
        params_copy_weights(copy, from);
    else if (!backend_chosen()->copy_weights(copy, from))
        device_lost(backend_chosen()->name, "the player's weights cannot be copied");
}

static void dreamer_publish(struct worker *w) {
    struct rollout *r = &w->rollout;
    if (r->weights_step == wm_opt_steps(w->wm)) return;
    r->weights_step = wm_opt_steps(w->wm);
    publish_set(w, &r->world_weights, DREAMER_WORLD);
    publish_set(w, &r->actor_weights, DREAMER_ACTOR);
}

// Uniform over the choices of each head, or over [-1, 1). By an environment's place among those of
// all ranks.
static void choose_at_random(struct worker *w) {
    struct rollout *r = &w->rollout;
    const struct action_space *a = &r->env->actions;
    const uint64_t seed = (uint64_t)w->config.seed, tick = (uint64_t)r->env_ticks;
    const int n_envs = r->env->n_envs, n_heads = a->n_heads,
              first = ranks_rank(w->opts.ranks) * n_envs;
    for (int i = 0; i < n_envs * n_heads; i++)
        r->actions[i] = (int32_t)rng_below(seed, RNG_PREFILL, tick, (uint32_t)(first * n_heads + i),
                                           (uint32_t)a->classes[i % n_heads]);
    for (int i = 0; i < n_envs * a->n_continuous; i++)
        r->values[i] = 2 * rng_uniform(seed, RNG_PREFILL_VALUES, tick,
                                       (uint32_t)(first * a->n_continuous + i)) -
                       1;
}

bool worker_policy_failed(const struct worker *w, struct error *e) {
    const struct rollout *r = &w->rollout;
    return error_set(e, STATUS_FAILED, "policy step %lld: %s is not finite%s%s",
                     (long long)r->policy_steps, r->bad_node,
                     w->session ? "; see failures/ in " : "",
                     w->session ? session_path(w->session) : "");
}

static bool dreamer_choose(struct worker *w, struct error *e) {
    struct rollout *r = &w->rollout;
    int n_envs = r->env->n_envs;
    if (r->at_random) {
        choose_at_random(w);
        return !w->on_device || worker_device_act(w, e);
    }
    if (w->on_device) {
        player_launch(r->player, r->env_ticks);
        return true;
    }
    for (int n = 0; n < n_envs; n++) r->reset_now[n] = !r->mask[n];
    if (!player_step(r->player, r->reset_now, r->obs, r->env_ticks, false, r->actions, r->bad_node))
        return worker_policy_failed(w, e);
    for (int i = 0; i < n_envs * r->env->actions.n_continuous; i++)
        r->values[i] = (float)player_values(r->player)[i];
    return true;
}

// The rollout's copy serves for the first update of a batch: nobody writes it before the next
// fence.
static void keep_before(struct worker *w) {
    struct kept *k = &w->kept;
    if (dreamer_on_device(w->dreamer)) return; // undo_halves
    const struct params *world = dreamer_params(w->dreamer, DREAMER_WORLD);
    bool copied = w->rollout.weights_step == wm_opt_steps(w->wm);
    if (!copied) params_copy_weights(&k->own, world);
    k->world = copied ? &w->rollout.world_weights : &k->own;
    params_copy_weights(&k->target, dreamer_params(w->dreamer, DREAMER_TARGET));
}

// On a device nobody keeps copies: what came before the behaviour of the update that failed is
// taken back.
static void undo_halves(struct worker *w) {
    struct kept *k = &w->kept;
    const int64_t step = wm_opt_steps(w->wm);
    wm_undo(w->wm, step + 1, &k->own);
    behaviour_target_before(dreamer_behaviour(w->dreamer), step, &k->target);
    k->world = &k->own;
}

// fine: what the update came to.
static bool take_result(struct worker *w, bool fine, const struct dreamer_result *r,
                        struct wm_result *out) {
    *out = r->model;
    w->kept.stage = dreamer_is_joint(w->dreamer) ? STAGE_JOINT
                    : r->model.bad_node[0]       ? STAGE_WORLD
                                                 : STAGE_BEHAVIOUR;
    if (fine || out->bad_node[0]) return fine;
    if (dreamer_on_device(w->dreamer) && w->kept.stage == STAGE_BEHAVIOUR) undo_halves(w);
    out->loss = r->behaviour.loss_actor + r->behaviour.loss_critic;
    out->grad_norm = hypot(r->behaviour.norm_actor, r->behaviour.norm_critic);
    snprintf(out->bad_node, sizeof out->bad_node, "%s", r->bad_node);
    return false;
}

static bool dreamer_learn(struct worker *w, struct wm_result *out) {
    struct dreamer_result r;
    worker_signs_before(w);
    keep_before(w);
    const bool fine = dreamer_update(w->dreamer, &r);
    return take_result(w, fine, &r, out);
}

static bool dreamer_last(struct worker *w, struct wm_result *out) {
    struct dreamer_result r;
    const bool fine = dreamer_look(w->dreamer, &r);
    return take_result(w, fine, &r, out);
}

static uint64_t dreamer_values(const struct worker *w, float out[METRIC_COUNT]) {
    return dreamer_metrics(w->dreamer, out) | worker_signs_metrics(w, out);
}

static void dreamer_describe(struct worker *w, struct model_parts *out) {
    struct player_state states[PLAYER_MAX_STATES];
    for (int i = 0; i < DREAMER_N_SETS; i++)
        out->sets[i] = dreamer_params(w->dreamer, (enum dreamer_set)i);
    out->n_sets = DREAMER_N_SETS;
    out->extra[0] =
        (struct st_source){WORKER_RANGE_NAME, ST_REAL, 1, {2}, dreamer_range(w->dreamer)};
    int n = player_states(w->rollout.player, states);
    for (int i = 0; i < n; i++) {
        snprintf(out->names[i], sizeof out->names[i], "player/%s", states[i].name);
        out->extra[1 + i] = (struct st_source){
            out->names[i], ST_REAL, 2, {states[i].rows, states[i].width}, states[i].data};
    }
    out->n_extra = 1 + n;
}

static const struct worker_algo algos[] = {
    {"standing_still", true, world_build, world_free, world_n_weights, world_publish, world_choose,
     world_update, world_look, world_metrics, world_describe},
    {"full", false, dreamer_build, dreamer_end, dreamer_count, dreamer_publish, dreamer_choose,
     dreamer_learn, dreamer_last, dreamer_values, dreamer_describe},
};

const struct worker_algo *worker_algo_find(const char *mode) {
    for (size_t i = 0; i < sizeof algos / sizeof *algos; i++)
        if (strcmp(algos[i].mode, mode) == 0) return &algos[i];
    return NULL;
}

// ---- checkpoints

bool worker_stays_on_device(const struct worker *w) {
    return w->dreamer ? dreamer_on_device(w->dreamer) : wm_on_device(w->wm);
}

static bool sync(struct worker *w, bool to_host) {
    return w->dreamer ? dreamer_sync(w->dreamer, to_host) : wm_sync(w->wm, to_host);
}

static void fill(struct checkpoint *c, const struct model_parts *parts) {
    c->params = parts->sets[0];
    c->more_params = parts->sets + 1;
    c->n_more_params = parts->n_sets - 1;
}

bool worker_save_model(struct worker *w, const char *path, struct checkpoint *c,
                       const struct st_source *more, int n_more, struct error *e) {
    struct model_parts parts = {0};
    struct st_source extra[MODEL_MAX_EXTRA + WORKER_STATE_TENSORS];
    CHECK(n_more <= WORKER_STATE_TENSORS, "%d more tensors", n_more);
    w->algo->describe(w, &parts);
    fill(c, &parts);
    memcpy(extra, parts.extra, (size_t)parts.n_extra * sizeof *extra);
    memcpy(extra + parts.n_extra, more, (size_t)n_more * sizeof *extra);
    c->extra = extra;
    c->n_extra = parts.n_extra + n_more;
    return checkpoint_save(path, c, e);
}

bool worker_load_model(struct worker *w, const char *path, struct checkpoint *c,
                       struct safetensors **file, struct error *e) {
    struct model_parts parts = {0};
    w->algo->describe(w, &parts);
    fill(c, &parts);
    if (!checkpoint_load(path, c, file, e)) return false;
    for (int i = 0; i < parts.n_extra; i++) {
        const struct st_source *to = &parts.extra[i];
        const struct st_tensor *t =
            safetensors_expect(*file, to->name, to->dtype, to->n_dims, to->shape, e);
        if (!t) return false;
        memcpy((void *)(uintptr_t)to->data, t->data,
               t->n_bytes); // the model's own: not const in truth
    }
    return true;
}

static bool same_parts(const struct model_parts *a, const struct model_parts *b) {
    bool same = a->n_sets == b->n_sets && a->n_extra == b->n_extra;
    for (int i = 0; same && i < a->n_sets; i++) {
        const struct params *p = a->sets[i], *q = b->sets[i];
        size_t bytes = (size_t)p->n_flat * sizeof(real);
        same = memcmp(p->weights, q->weights, bytes) == 0 &&
               memcmp(p->moment1, q->moment1, bytes) == 0 &&
               memcmp(p->moment2, q->moment2, bytes) == 0;
    }
    for (int i = 0; same && i < a->n_extra; i++) {
        size_t bytes = st_dtype_bytes(a->extra[i].dtype);
        for (int k = 0; k < a->extra[i].n_dims; k++) bytes *= (size_t)a->extra[i].shape[k];
        same = memcmp(a->extra[i].data, b->extra[i].data, bytes) == 0;
    }
    return same;
}

void worker_model_to_device(struct worker *w) { sync(w, false); }
void worker_model_to_host(struct worker *w) {
    CHECK(sync(w, true), "an update that nobody has looked at");
}

bool worker_model_reads_back(struct worker *w, const char *path, struct checkpoint *c,
                             struct error *e) {
    struct worker *twin = mem_alloc(sizeof *twin);
    struct model_parts mine = {0}, theirs = {0};
    struct safetensors *file = NULL;
    twin->config = w->config;
    twin->pool = w->pool;
    twin->opts = w->opts;
    twin->algo = w->algo;
    twin->rollout.env = w->rollout.env;
    twin->rollout.pool = w->rollout.pool;
    twin->algo->build(twin);
    bool fine = worker_load_model(twin, path, c, &file, e);
    w->algo->describe(w, &mine);
    twin->algo->describe(twin, &theirs);
    if (fine && !same_parts(&mine, &theirs))
        fine = error_set(e, STATUS_FAILED, "%s: does not hold what was saved", path);
    safetensors_free(file);
    twin->algo->free(twin);
    free(twin);
    return fine;
}
