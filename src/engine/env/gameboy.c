// Game Boy environment: N machines with one ROM, 24 frames a step, packed2 observations.
#include "engine/env/gameboy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "emu/gb.h"
#include "emu/gb_action.h"
#include "emu/gb_image.h"
#include "emu/gb_import.h"
#include "engine/env/device_play.h"

enum { DEFAULT_WARM_UP_FRAMES = 120, SETTLE_FRAMES = 2 };

struct machine {
    struct gb gb;
    int episode_step, start_delay;
    bool ended;
};

struct gameboy {
    struct env env;
    struct gb_rom rom;
    char rom_name[64];
    bool warned; // that a machine is locked
    const struct gb_action_codec *codec;
    struct gb start; // the cached start state that a reset copies
    uint8_t start_obs[ENV_OBS_BYTES];
    bool has_goal;
    struct goal goal;
    struct goal_rules rules;
    float start_distance;
    struct goal_progress *progress;     // [n_envs]; NULL without a goal
    uint8_t (*previous)[ENV_OBS_BYTES]; // their frames, for a goal of several; else NULL
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
        if (m->start_delay > 0) gb_step(&m->gb, 0, m->start_delay, 0, obs[i]);
        if (g->has_goal) goal_begin(&g->progress[i], &g->goal, obs[i]);
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
    if (g->has_goal) {
        goal_step(&g->progress[i], &g->goal, &g->rules, g->obs[i], &g->out[i]);
    } else {
        bool truncated = g->max_episode_steps > 0 && m->episode_step >= g->max_episode_steps;
        g->out[i] = (struct env_step_result){.truncated = truncated};
    }
    g->out[i].locked = gb_is_locked(&m->gb);
    m->ended = g->out[i].terminated || g->out[i].truncated;
}

// Once a run: the episode goes on with a picture that no longer changes, as on the hardware.
static void warn_of_locked(struct gameboy *g) {
    for (int i = 0; i < g->env.n_envs && !g->warned; i++) {
        if (!g->mask[i] || !g->out[i].locked) continue;
        g->warned = true;
        log_write(
            LOG_WARN,
            "ROM %s: environment %d stands still since step %d: an opcode that does not exist",
            g->rom_name, i, g->machines[i].episode_step);
    }
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
    if (!g->warned) warn_of_locked(g);
}

static void gameboy_free(struct env *env) {
    struct gameboy *g = (struct gameboy *)env;
    mem_slab_free(g->machines, (size_t)env->n_envs * sizeof *g->machines);
    free(g->progress);
    free(g->previous);
    free(g);
}

// ---- saving: [machine, gb_state.h][struct episode][previous frames of a goal of several][CRC-32]

struct episode {
    int32_t step, ended;
    int32_t goal_step, goal_consecutive;
    float goal_distance;
};

static size_t previous_bytes(const struct gameboy *g) {
    return g->previous ? (size_t)(g->goal.n_frames - 1) * ENV_OBS_BYTES : 0;
}

static size_t gameboy_state_bytes(const struct env *env) {
    const struct gameboy *g = (const struct gameboy *)env;
    return gb_state_size(&g->rom) + sizeof(struct episode) + previous_bytes(g) + sizeof(uint32_t);
}

static void gameboy_save(const struct env *env, int i, uint8_t *out) {
    const struct gameboy *g = (const struct gameboy *)env;
    const struct machine *m = &g->machines[i];
    struct episode episode = {.step = m->episode_step, .ended = m->ended};
    size_t n = gb_state_size(&g->rom), bytes = gameboy_state_bytes(env) - sizeof(uint32_t);
    memset(out, 0, bytes);
    if (m->gb.rom) gb_state_save(&m->gb, out); // else it was never reset: the next step is one
    if (g->has_goal) {
        const struct goal_progress *p = &g->progress[i];
        episode.goal_step = p->step;
        episode.goal_consecutive = p->consecutive;
        episode.goal_distance = p->distance;
        if (p->previous) memcpy(out + n + sizeof episode, p->previous, previous_bytes(g));
    }
    memcpy(out + n, &episode, sizeof episode);
    uint32_t crc = crc32_update(0, out, bytes);
    memcpy(out + bytes, &crc, sizeof crc);
}

static bool gameboy_load(struct env *env, int i, const uint8_t *bytes, struct error *e) {
    struct gameboy *g = (struct gameboy *)env;
    struct machine *m = &g->machines[i];
    struct episode episode;
    uint32_t crc;
    char message[300] = "altered";
    size_t n = gb_state_size(&g->rom), all = gameboy_state_bytes(env) - sizeof crc;
    memcpy(&crc, bytes + all, sizeof crc);
    memcpy(&episode, bytes + n, sizeof episode);
    bool begun = bytes[0] != 0;
    if (crc != crc32_update(0, bytes, all) || (!begun && !episode.ended))
        return error_set(e, STATUS_FAILED, "state of environment %d: %s", i, message);
    struct machine *fresh = mem_alloc(sizeof *fresh);
    gb_copy(&fresh->gb, &g->start);
    bool fine = !begun || gb_state_load(&fresh->gb, &g->rom, bytes, n, message, sizeof message);
    if (fine) {
        if (begun)
            gb_copy(&m->gb, &fresh->gb);
        else
            memset(&m->gb, 0, sizeof m->gb);
        m->episode_step = episode.step;
        m->ended = episode.ended != 0;
    }
    free(fresh);
    if (!fine) return error_set(e, STATUS_FAILED, "state of environment %d: %s", i, message);
    if (g->has_goal) {
        struct goal_progress *p = &g->progress[i];
        p->step = episode.goal_step;
        p->consecutive = episode.goal_consecutive;
        p->distance = episode.goal_distance;
        if (p->previous) memcpy(p->previous, bytes + n + sizeof episode, previous_bytes(g));
    }
    return true;
}

static void gameboy_delay_start(struct env *env, int i, int frames) {
    CHECK(i >= 0 && i < env->n_envs && frames >= 0, "environment %d, %d frames", i, frames);
    ((struct gameboy *)env)->machines[i].start_delay = frames;
}

static const struct env_vtable gameboy_vtable = {.reset = gameboy_reset,
                                                 .step = gameboy_step,
                                                 .free = gameboy_free,
                                                 .state_bytes = gameboy_state_bytes,
                                                 .save = gameboy_save,
                                                 .load = gameboy_load,
                                                 .delay_start = gameboy_delay_start};

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

static bool parse_rom(struct gameboy *g, const struct env_gameboy_opts *o, struct error *e) {
    char message[300];
    const char *name = o->rom_name ? o->rom_name : "(no name)";
    if (!gb_rom_parse(&g->rom, o->rom, o->rom_bytes, message, sizeof message))
        return error_set(e, STATUS_FAILED, "ROM %s: %s", name, message);
    bool header = g->rom.header_checksum_ok, global = g->rom.global_checksum_ok;
    if (!header || !global)
        log_write(LOG_WARN, "ROM %s: wrong %s checksum; it runs all the same", name,
                  header   ? "global"
                  : global ? "header"
                           : "header and global");
    return true;
}

// The start machine and its picture: a state's, or the ROM's after some seconds of its own.
static bool make_start(struct gameboy *g, const struct env_gameboy_opts *o, struct error *e) {
    gb_reset(&g->start, &g->rom);
    if (!o->state) {
        int frames = o->warm_up_frames > 0 ? o->warm_up_frames : DEFAULT_WARM_UP_FRAMES;
        gb_step(&g->start, 0, frames, 0, g->start_obs);
        return true;
    }
    char message[300];
    if (!gb_import(&g->start, &g->rom, o->state, o->state_bytes, message, sizeof message))
        return error_set(e, STATUS_FAILED, "state %s: %s",
                         o->state_name ? o->state_name : "(no name)", message);
    struct gb *ahead = mem_alloc(sizeof *ahead);
    gb_copy(ahead, &g->start);
    for (int i = 0; i < SETTLE_FRAMES; i++) gb_run_frame(ahead, true);
    gb_observe(ahead, g->start_obs);
    free(ahead);
    return true;
}

static void set_goal(struct gameboy *g, const struct env_gameboy_opts *o) {
    if (!o->goal) return;
    g->has_goal = true;
    g->goal = *o->goal;
    g->rules = o->rules ? *o->rules : goal_default_rules;
    size_t n = (size_t)g->env.n_envs, n_previous = (size_t)g->goal.n_frames - 1;
    g->progress = mem_alloc(n * sizeof *g->progress);
    if (n_previous) g->previous = mem_alloc(n * n_previous * sizeof *g->previous);
    for (size_t i = 0; i < n && n_previous; i++)
        g->progress[i].previous = g->previous + i * n_previous;
    goal_begin(&g->progress[0], &g->goal, g->start_obs);
    g->start_distance = g->progress[0].distance;
}

struct env *env_gameboy_new(const struct env_gameboy_opts *o, struct error *e) {
    const struct gb_action_codec *codec =
        find_codec(o->action_codec ? o->action_codec : "pokemonred_puffer_v1", e);
    if (!codec) return NULL;
    struct gameboy *g = mem_alloc(sizeof *g);
    if (!parse_rom(g, o, e) || !make_start(g, o, e)) {
        free(g);
        return NULL;
    }
    int n_envs = o->n_envs > 0 ? o->n_envs : 1;
    g->env = env_of_buttons(&gameboy_vtable, n_envs, codec->n_actions, codec->names);
    g->codec = codec;
    snprintf(g->rom_name, sizeof g->rom_name, "%.60s", o->rom_name ? o->rom_name : "(no name)");
    g->max_episode_steps = o->max_episode_steps;
    g->pool = o->pool;
    set_goal(g, o);
    g->machines = mem_slab_alloc((size_t)n_envs * sizeof *g->machines);
    for (int i = 0; i < n_envs; i++) g->machines[i].ended = true; // a reset comes first
    return &g->env;
}

float env_gameboy_start_distance(const struct env *env) {
    return ((const struct gameboy *)env)->start_distance;
}

struct device_machines *env_gameboy_on_device(const struct env *env, const struct device_play *play,
                                              char *why, size_t size) {
    const struct gameboy *g = (const struct gameboy *)env;
    const struct goal_rules limit = {.max_steps = g->max_episode_steps};
    struct gb_image *start = mem_alloc(sizeof *start);
    gb_image_take(start, &g->start);
    const struct device_machines_opts o = {.rom = &g->rom,
                                           .start = start,
                                           .start_obs = g->start_obs,
                                           .n_machines = env->n_envs,
                                           .n_frames = GB_FRAMES_PER_STEP,
                                           .release_after = GB_RELEASE_AFTER,
                                           .n_actions = env->n_actions,
                                           .buttons = g->codec->buttons,
                                           .goal = g->has_goal ? g->goal.packed[0] : NULL,
                                           .n_goal_frames = g->has_goal ? g->goal.n_frames : 0,
                                           .rules = g->has_goal ? &g->rules : &limit};
    struct device_machines *m = play->machines_new(&o, why, size);
    free(start);
    return m;
}

size_t env_gameboy_state_bytes(const struct env *env) {
    return gb_state_size(&((const struct gameboy *)env)->rom);
}

void env_gameboy_save(const struct env *env, int i, uint8_t *out) {
    const struct gameboy *g = (const struct gameboy *)env;
    CHECK(i >= 0 && i < env->n_envs, "environment %d", i);
    gb_state_save(&g->machines[i].gb, out);
}

// ---- on a device

void env_gameboy_take(const struct env *env, int i, struct gb_image *image,
                      struct goal_count *count, uint8_t (*previous)[ENV_OBS_BYTES]) {
    const struct gameboy *g = (const struct gameboy *)env;
    const struct machine *m = &g->machines[i];
    CHECK(m->gb.rom, "environment %d was not reset", i);
    gb_image_take(image, &m->gb);
    *count = (struct goal_count){.step = m->episode_step};
    if (!g->has_goal) return;
    const struct goal_progress *p = &g->progress[i];
    *count = (struct goal_count){p->distance, p->consecutive, p->step};
    if (p->previous) memcpy(previous, p->previous, previous_bytes(g));
}

void env_gameboy_give(struct env *env, int i, const struct gb_image *image,
                      const struct goal_count *count, uint8_t (*previous)[ENV_OBS_BYTES]) {
    struct gameboy *g = (struct gameboy *)env;
    struct machine *m = &g->machines[i];
    gb_copy(&m->gb, &g->start); // all that an image leaves out
    gb_image_give(&m->gb, image, &g->rom);
    m->episode_step = count->step;
    m->ended = false;
    if (!g->has_goal) return;
    struct goal_progress *p = &g->progress[i];
    p->distance = count->distance;
    p->consecutive = count->consecutive;
    p->step = count->step;
    if (p->previous) memcpy(p->previous, previous, previous_bytes(g));
}

void env_gameboy_end(struct env *env, int i, bool ended) {
    ((struct gameboy *)env)->machines[i].ended = ended;
}
