// DreamerV3, whole: one update of world model and behaviour.
#include "engine/algo/dreamer_v3/dreamer.h"

#include <stdlib.h>

#include "base/mem.h"

struct dreamer {
    struct world_model *world;
    struct behaviour *behaviour;
};

struct dreamer *dreamer_new(const struct dreamer_opts *opts) {
    struct dreamer *d = mem_alloc(sizeof *d);
    d->world = wm_new(&(struct wm_opts){.config = opts->config,
                                        .n_actions = opts->n_actions,
                                        .obs = opts->obs,
                                        .pool = opts->pool,
                                        .zero_latent = opts->zero_latent,
                                        .noise = opts->noise});
    d->behaviour = behaviour_new(&(struct behaviour_opts){
        .config = opts->config,
        .world = wm_dims(d->world),
        .world_params = wm_params(d->world),
        .actions = opts->actions,
        .n_starts = wm_states(d->world).rows,
        .pool = opts->pool,
        .noise = opts->noise,
    });
    return d;
}

void dreamer_free(struct dreamer *d) {
    if (!d) return;
    behaviour_free(d->behaviour);
    wm_free(d->world);
    free(d);
}

struct world_model *dreamer_world(struct dreamer *d) {
    return d->world;
}
struct behaviour *dreamer_behaviour(struct dreamer *d) {
    return d->behaviour;
}
size_t dreamer_slab_bytes(const struct dreamer *d) {
    return wm_slab_bytes(d->world) + behaviour_slab_bytes(d->behaviour);
}

bool dreamer_update(struct dreamer *d, struct dreamer_result *out) {
    int64_t step = wm_opt_steps(d->world);
    *out = (struct dreamer_result){0};
    bool fine = wm_update(d->world, &out->model);
    out->bad_node = out->model.bad_node;
    if (!fine) return false;
    struct wm_states states = wm_states(d->world);
    struct behaviour_start start = {states.z, states.h, wm_batch(d->world)->continues};
    fine = behaviour_update(d->behaviour, &start, step, &out->behaviour);
    out->bad_node = out->behaviour.bad_node;
    if (!fine) wm_set_opt_steps(d->world, step);
    return fine;
}

uint64_t dreamer_metrics(const struct dreamer *d, float out[METRIC_COUNT]) {
    return wm_metrics(d->world, out) | behaviour_metrics(d->behaviour, out);
}

struct params *dreamer_params(struct dreamer *d, enum dreamer_set set) {
    switch (set) {
    case DREAMER_ACTOR:
        return behaviour_actor(d->behaviour);
    case DREAMER_CRITIC:
        return behaviour_critic(d->behaviour);
    case DREAMER_TARGET:
        return behaviour_target(d->behaviour);
    default:
        return wm_params(d->world);
    }
}

real *dreamer_range(struct dreamer *d) { return behaviour_range(d->behaviour); }

int64_t dreamer_n_weights(struct dreamer *d) {
    return wm_params(d->world)->n_weights + behaviour_actor(d->behaviour)->n_weights +
           behaviour_critic(d->behaviour)->n_weights;
}
