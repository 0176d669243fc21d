// A control task with two heads and an end of its own, for tests: a point on a 5 x 5 grid looks for
// the far corner; one head moves it left or right, the other up or down. Nothing draws it.
#ifndef TESTS_SUPPORT_TWO_HEADS_H
#define TESTS_SUPPORT_TWO_HEADS_H

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/env/control.h"

enum { TWO_HEADS_SIDE = 5 };

struct two_heads_point {
    int32_t x, y, step, ended;
};
struct two_heads {
    struct env env;
    int max_steps;
    struct two_heads_point *points;
};

static inline void two_heads_show(const struct two_heads_point *p, uint8_t *obs) {
    const float vector[2] = {(float)p->x, (float)p->y};
    memcpy(obs, vector, sizeof vector);
}

static inline void two_heads_reset(struct env *env, const uint8_t *mask, uint8_t *const *obs) {
    struct two_heads_point *points = ((struct two_heads *)env)->points;
    for (int i = 0; i < env->n_envs; i++) {
        if (!mask[i]) continue;
        points[i] = (struct two_heads_point){0};
        two_heads_show(&points[i], obs[i]);
    }
}

static inline int two_heads_clamp(int v) {
    return v < 0 ? 0 : v >= TWO_HEADS_SIDE ? TWO_HEADS_SIDE - 1 : v;
}

// Head 0: left, stay, right. Head 1: up, down.
static inline void two_heads_step(struct env *env, const uint8_t *mask, const int32_t *actions,
                                  uint8_t *const *obs, struct env_step_result *out) {
    struct two_heads *t = (struct two_heads *)env;
    for (int i = 0; i < env->n_envs; i++) {
        if (!mask[i]) continue;
        struct two_heads_point *p = &t->points[i];
        const int32_t *a = actions + 2 * i;
        CHECK(!p->ended && a[0] >= 0 && a[0] < 3 && a[1] >= 0 && a[1] < 2, "two heads: %d, %d",
              a[0], a[1]);
        p->x = two_heads_clamp(p->x + a[0] - 1);
        p->y = two_heads_clamp(p->y + 2 * a[1] - 1);
        const bool there = p->x == TWO_HEADS_SIDE - 1 && p->y == TWO_HEADS_SIDE - 1;
        const bool late = ++p->step >= t->max_steps;
        p->ended = there || late;
        out[i] = (struct env_step_result){
            .reward = there ? 1 : -0.01f, .terminated = there, .truncated = late};
        two_heads_show(p, obs[i]);
    }
}

static inline void two_heads_free(struct env *env) {
    free(((struct two_heads *)env)->points);
    free(env);
}

static inline size_t two_heads_state_bytes(const struct env *env) {
    (void)env;
    return sizeof(struct two_heads_point);
}

static inline void two_heads_save(const struct env *env, int i, uint8_t *out) {
    memcpy(out, &((const struct two_heads *)env)->points[i], sizeof(struct two_heads_point));
}

static inline bool two_heads_load(struct env *env, int i, const uint8_t *in, struct error *e) {
    (void)e;
    memcpy(&((struct two_heads *)env)->points[i], in, sizeof(struct two_heads_point));
    return true;
}

static const struct env_vtable two_heads_vtable = {.reset = two_heads_reset,
                                                   .step = two_heads_step,
                                                   .free = two_heads_free,
                                                   .state_bytes = two_heads_state_bytes,
                                                   .save = two_heads_save,
                                                   .load = two_heads_load};
static const char *const two_heads_names[] = {"LEFT", "STAY", "RIGHT", "UP", "DOWN"};
static struct env *two_heads_new(const struct control_opts *o);
static const struct control_task two_heads_task = {.name = "two_heads",
                                                   .what = "a test's",
                                                   .n_vector = 2,
                                                   .actions = {.n_heads = 2, .classes = {3, 2}},
                                                   .action_names = two_heads_names,
                                                   .max_steps = 20,
                                                   .make = two_heads_new};

static struct env *two_heads_new(const struct control_opts *o) {
    struct two_heads *t = mem_alloc(sizeof *t);
    t->env = (struct env){&two_heads_vtable, o->n_envs, action_width(&two_heads_task.actions),
                          two_heads_names,   o->obs,    two_heads_task.actions};
    t->max_steps = o->max_steps;
    t->points = mem_alloc((size_t)o->n_envs * sizeof *t->points);
    return &t->env;
}

#endif
