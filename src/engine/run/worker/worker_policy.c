// Worker policy: a policy step that is not finite, as a bundle, and that step again from it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/run/worker/worker_internal.h"

// What the step was given, one tensor each; list points into the rollout, so it serves both ways.
struct policy_input {
    uint8_t *obs, begun; // [n_envs][obs_bytes]
    size_t obs_bytes;
    int n;
    struct st_source *list;
    char (*names)[ST_NAME_SIZE];
};

static void add(struct policy_input *in, enum st_dtype dtype, int n_dims, const int64_t *shape,
                void *data) {
    struct st_source *s = &in->list[in->n];
    *s = (struct st_source){.name = in->names[in->n], .dtype = dtype, .n_dims = n_dims};
    memcpy(s->shape, shape, (size_t)n_dims * sizeof *shape);
    s->data = data;
    in->n++;
}

static void list_input(struct policy_input *in, struct rollout *r) {
    struct params *sets[] = {&r->world_weights, &r->actor_weights};
    struct player_state states[PLAYER_MAX_STATES];
    const int64_t n_envs = r->env->n_envs, one = 1;
    const int n_states = player_states(r->player, states),
              n_all = sets[0]->n + sets[1]->n + n_states + 3;
    *in = (struct policy_input){.obs_bytes = obs_bytes(&r->env->obs)};
    in->list = mem_alloc((size_t)n_all * sizeof *in->list);
    in->names = mem_alloc((size_t)n_all * sizeof *in->names);
    in->obs = mem_alloc((size_t)n_envs * in->obs_bytes);
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < sets[s]->n; i++) {
            const struct param *p = &sets[s]->list[i];
            snprintf(in->names[in->n], ST_NAME_SIZE, "weights/%s", p->name);
            add(in, ST_REAL, p->n_dims, p->shape, params_weights(sets[s], p));
        }
    for (int i = 0; i < n_states; i++) {
        snprintf(in->names[in->n], ST_NAME_SIZE, "player/%s", states[i].name);
        add(in, ST_REAL, 2, (int64_t[]){states[i].rows, states[i].width}, states[i].data);
    }
    snprintf(in->names[in->n], ST_NAME_SIZE, "observations");
    add(in, ST_U8, 2, (int64_t[]){n_envs, (int64_t)in->obs_bytes}, in->obs);
    snprintf(in->names[in->n], ST_NAME_SIZE, "resets");
    add(in, ST_U8, 1, &n_envs, r->reset_now);
    snprintf(in->names[in->n], ST_NAME_SIZE, "begun");
    add(in, ST_U8, 1, &one, &in->begun);
}

static void free_input(struct policy_input *in) {
    free(in->list);
    free(in->names);
    free(in->obs);
}

bool worker_save_policy_input(struct worker *w, const char *path, struct error *e) {
    struct rollout *r = &w->rollout;
    struct policy_input in;
    list_input(&in, r);
    for (int n = 0; n < r->env->n_envs; n++)
        memcpy(in.obs + (size_t)n * in.obs_bytes, r->obs[n], in.obs_bytes);
    in.begun = player_has_begun(r->player);
    const bool fine = safetensors_write(path, in.list, in.n, NULL, 0, e);
    free_input(&in);
    return fine;
}

static bool read_input(struct policy_input *in, const char *path, struct error *e) {
    struct safetensors *s = safetensors_open(path, e);
    bool fine = s != NULL;
    for (int i = 0; fine && i < in->n; i++) {
        const struct st_source *to = &in->list[i];
        const struct st_tensor *t =
            safetensors_expect(s, to->name, to->dtype, to->n_dims, to->shape, e);
        fine = t != NULL;
        if (fine) memcpy((void *)(uintptr_t)to->data, t->data, t->n_bytes); // the rollout's own
    }
    safetensors_free(s);
    return fine;
}

bool worker_policy_again(struct worker *w, const char *path, int64_t tick,
                         char bad_node[TENSOR_NAME_SIZE], struct error *e) {
    struct rollout *r = &w->rollout;
    const size_t n = (size_t)r->env->n_envs;
    struct policy_input in;
    r->reset_now = mem_alloc(n);
    list_input(&in, r);
    const bool fine = read_input(&in, path, e);
    if (fine) {
        uint8_t **obs = mem_alloc(n * sizeof *obs);
        int32_t *actions = mem_alloc(n * SPACE_MAX_HEADS * sizeof *actions);
        for (size_t i = 0; i < n; i++) obs[i] = in.obs + i * in.obs_bytes;
        if (in.begun) player_resume(r->player);
        bad_node[0] = 0;
        player_step(r->player, r->reset_now, obs, tick, false, actions, bad_node);
        free(obs);
        free(actions);
    }
    free_input(&in);
    free(r->reset_now);
    r->reset_now = NULL;
    return fine;
}
