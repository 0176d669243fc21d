// Game Boy environment: N machines with one ROM, 24 frames a step, packed2 observations.
#include "engine/env/gameboy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "emu/gb.h"
#include "emu/gb_action.h"

enum { DEFAULT_WARM_UP_FRAMES = 120 };

struct machine {
    struct gb gb;
    int episode_step;
    bool ended;
};

struct gameboy {
    struct env env;
    struct gb_rom rom;
    const struct gb_action_codec *codec;
    struct gb start; // the cached start state that a reset copies
    uint8_t start_obs[ENV_OBS_BYTES];
    int max_episode_steps;
    struct pool *pool;
    struct machine *machines; // [n_envs]
    // The step in progress, for the pool's tasks.
    const uint8_t *mask;
    const int32_t *actions;
    uint8_t *const *obs;
    struct env_step_result *out;
};

static void gameboy_reset(struct env *env, const uint8_t *mask, uint8_t *const *obs) {
    struct gameboy *g = (struct gameboy *)env;
    for (int i = 0; i < env->n_envs; i++) {
        if (!mask[i]) continue;
        struct machine *m = &g->machines[i];
        gb_copy(&m->gb, &g->start);
        m->episode_step = 0;
        m->ended = false;
        memcpy(obs[i], g->start_obs, ENV_OBS_BYTES);
    }
}

static void step_one(void *ctx, int i) {
    struct gameboy *g = ctx;
    if (!g->mask[i]) return;
    struct machine *m = &g->machines[i];
    CHECK(!m->ended, "environment %d was stepped after its episode ended", i);
    CHECK(g->actions[i] >= 0 && g->actions[i] < g->env.n_actions, "action %d", g->actions[i]);
    gb_step(&m->gb, g->codec->buttons[g->actions[i]], GB_FRAMES_PER_STEP, GB_RELEASE_AFTER,
            g->obs[i]);
    m->episode_step++;
    bool truncated = g->max_episode_steps > 0 && m->episode_step >= g->max_episode_steps;
    g->out[i] = (struct env_step_result){.reward = 0, .terminated = false, .truncated = truncated};
    m->ended = truncated;
}

static void gameboy_step(struct env *env, const uint8_t *mask, const int32_t *actions,
                         uint8_t *const *obs, struct env_step_result *out) {
    struct gameboy *g = (struct gameboy *)env;
    g->mask = mask;
    g->actions = actions;
    g->obs = obs;
    g->out = out;
    if (g->pool) {
        pool_run(g->pool, env->n_envs, step_one, g);
    } else {
        for (int i = 0; i < env->n_envs; i++) step_one(g, i);
    }
}

static void gameboy_free(struct env *env) {
    struct gameboy *g = (struct gameboy *)env;
    mem_slab_free(g->machines, (size_t)env->n_envs * sizeof *g->machines);
    free(g);
}

static const struct env_vtable gameboy_vtable = {gameboy_reset, gameboy_step, gameboy_free};

static const struct gb_action_codec *find_codec(const char *id, struct error *e) {
    const struct gb_action_codec *codec = gb_action_codec_find(id);
    if (codec) return codec;
    char known[200] = "";
    for (int i = 0, at = 0; i < GB_N_CODECS; i++)
        at += snprintf(known + at, sizeof known - (size_t)at, "%s%s", i ? ", " : "",
                       gb_action_codec(i)->id);
    error_set(e, STATUS_USAGE, "env.action_codec=%s: no such codec; known: %s", id, known);
    return NULL;
}

struct env *env_gameboy_new(const struct env_gameboy_opts *o, struct error *e) {
    const struct gb_action_codec *codec =
        find_codec(o->action_codec ? o->action_codec : "pokemonred_puffer_v1", e);
    if (!codec) return NULL;
    struct gameboy *g = mem_alloc(sizeof *g);
    char message[300];
    if (!gb_rom_parse(&g->rom, o->rom, o->rom_bytes, message, sizeof message)) {
        error_set(e, STATUS_FAILED, "ROM %s: %s", o->rom_name ? o->rom_name : "(no name)", message);
        free(g);
        return NULL;
    }
    int n_envs = o->n_envs > 0 ? o->n_envs : 1;
    g->env = (struct env){&gameboy_vtable, n_envs, codec->n_actions, codec->names};
    g->codec = codec;
    g->max_episode_steps = o->max_episode_steps;
    g->pool = o->pool;
    g->machines = mem_slab_alloc((size_t)g->env.n_envs * sizeof *g->machines);
    gb_reset(&g->start, &g->rom);
    int warm_up_frames = o->warm_up_frames > 0 ? o->warm_up_frames : DEFAULT_WARM_UP_FRAMES;
    gb_step(&g->start, 0, warm_up_frames, 0, g->start_obs);
    for (int i = 0; i < g->env.n_envs; i++) g->machines[i].ended = true; // a reset comes first
    return &g->env;
}
