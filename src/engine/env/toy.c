// Toy environment: a block on a grid that has to reach the far corner.
#include "engine/env/toy.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "emu/gb_action.h"

enum {
    CELLS = 8,
    BLOCK_WIDTH = ENV_OBS_WIDTH / CELLS,
    BLOCK_HEIGHT = ENV_OBS_HEIGHT / CELLS,
    BLACK = 3
};

const struct goal_rules toy_rules = {.tau = 0.01f,
                                     .k_consecutive = 2,
                                     .max_steps = 128,
                                     .alpha = 1,
                                     .goal_bonus = 10,
                                     .step_cost = -0.01f};

struct block { // all that a step depends on
    int32_t x, y, ended;
    int32_t step, consecutive;
    float distance;
};

struct toy {
    struct env env;
    struct goal goal;
    struct goal_rules rules;
    struct block *blocks; // [n_envs]
};

static void draw(int x, int y, uint8_t obs[ENV_OBS_BYTES]) {
    memset(obs, 0, ENV_OBS_BYTES);
    for (int row = y * BLOCK_HEIGHT; row < (y + 1) * BLOCK_HEIGHT; row++)
        for (int column = x * BLOCK_WIDTH; column < (x + 1) * BLOCK_WIDTH; column++) {
            const int pixel = row * ENV_OBS_WIDTH + column;
            obs[pixel / 4] |= (uint8_t)(BLACK << pixel % 4 * 2);
        }
}

void toy_goal(struct goal *goal) {
    *goal = (struct goal){.n_frames = 1};
    draw(CELLS - 1, CELLS - 1, goal->packed[0]);
}

// goal.h's counters are the environment's own: a block carries them between steps.
static struct goal_progress progress_of(const struct block *b) {
    return (struct goal_progress){
        .distance = b->distance, .consecutive = b->consecutive, .step = b->step};
}

static void keep_progress(struct block *b, const struct goal_progress *p) {
    b->distance = p->distance;
    b->consecutive = p->consecutive;
    b->step = p->step;
}

static void toy_reset(struct env *env, const uint8_t *mask, uint8_t *const *obs) {
    struct toy *t = (struct toy *)env;
    for (int i = 0; i < env->n_envs; i++) {
        if (!mask[i]) continue;
        struct block *b = &t->blocks[i];
        *b = (struct block){0};
        draw(b->x, b->y, obs[i]);
        struct goal_progress p = progress_of(b);
        goal_begin(&p, &t->goal, obs[i]);
        keep_progress(b, &p);
    }
}

static int32_t moved(int32_t at, int by) {
    const int32_t to = at + by;
    return to < 0 ? 0 : to >= CELLS ? CELLS - 1 : to;
}

static void toy_step(struct env *env, const uint8_t *mask, const int32_t *actions,
                     uint8_t *const *obs, struct env_step_result *out) {
    struct toy *t = (struct toy *)env;
    for (int i = 0; i < env->n_envs; i++) {
        if (!mask[i]) continue;
        struct block *b = &t->blocks[i];
        CHECK(!b->ended, "environment %d was stepped after its episode ended", i);
        CHECK(actions[i] >= 0 && actions[i] < env->n_actions, "action %d", actions[i]);
        const char *name = env->action_names[actions[i]];
        b->x = moved(b->x, (strcmp(name, "RIGHT") == 0) - (strcmp(name, "LEFT") == 0));
        b->y = moved(b->y, (strcmp(name, "DOWN") == 0) - (strcmp(name, "UP") == 0));
        draw(b->x, b->y, obs[i]);
        struct goal_progress p = progress_of(b);
        goal_step(&p, &t->goal, &t->rules, obs[i], &out[i]);
        keep_progress(b, &p);
        out[i].locked = false;
        b->ended = out[i].terminated || out[i].truncated;
    }
}

static void toy_free(struct env *env) {
    free(((struct toy *)env)->blocks);
    free(env);
}

// ---- saving

static size_t toy_state_bytes(const struct env *env) {
    (void)env;
    return sizeof(struct block);
}

static void toy_save(const struct env *env, int i, uint8_t *out) {
    CHECK(i >= 0 && i < env->n_envs, "environment %d", i);
    memcpy(out, &((const struct toy *)env)->blocks[i], sizeof(struct block));
}

static bool toy_load(struct env *env, int i, const uint8_t *in, struct error *e) {
    CHECK(i >= 0 && i < env->n_envs, "environment %d", i);
    struct block b;
    memcpy(&b, in, sizeof b);
    if (b.x < 0 || b.x >= CELLS || b.y < 0 || b.y >= CELLS || b.step < 0 || b.consecutive < 0)
        return error_set(e, STATUS_FAILED, "state of environment %d: no toy environment's", i);
    ((struct toy *)env)->blocks[i] = b;
    return true;
}

static const struct env_vtable toy_vtable = {.reset = toy_reset,
                                             .step = toy_step,
                                             .free = toy_free,
                                             .state_bytes = toy_state_bytes,
                                             .save = toy_save,
                                             .load = toy_load};

struct env *env_toy_new(const struct env_toy_opts *o, struct error *e) {
    const char *id = o->action_codec ? o->action_codec : "pokemonred_puffer_v0";
    const struct gb_action_codec *codec = gb_action_codec_find(id);
    if (!codec) {
        error_set(e, STATUS_USAGE, "env.action_codec=%s: no such codec", id);
        return NULL;
    }
    struct toy *t = mem_alloc(sizeof *t);
    const int n_envs = o->n_envs > 0 ? o->n_envs : 1;
    t->env = env_of_buttons(&toy_vtable, n_envs, codec->n_actions, codec->names);
    t->rules = o->rules ? *o->rules : toy_rules;
    toy_goal(&t->goal);
    t->blocks = mem_alloc((size_t)n_envs * sizeof *t->blocks);
    for (int i = 0; i < n_envs; i++) t->blocks[i].ended = true; // a reset comes first
    return &t->env;
}
