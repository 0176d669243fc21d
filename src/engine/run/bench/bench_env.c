// Benchmark of a task's environments: the batch that training steps, resets included.
#include "engine/run/bench/bench_env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/philox.h"
#include "base/pool.h"
#include "emu/gb_action.h"
#include "engine/algo/config.h"
#include "engine/algo/ppo/ppo_stats.h"
#include "engine/env/builtin.h"
#include "engine/env/control.h"
#include "engine/env/toy.h"

enum { REPETITIONS = 5, WARM_TICKS = 3, MAX_TICKS = 20000, DEFAULT_ENVS = 16 };
enum { MAX_ROM_BYTES = 8 << 20 };
static const double wanted_seconds = 2; // of all repetitions, where no number of steps is given

// ---- what a task is

static bool is_set(const struct bench_env_opts *o, const char *key) {
    const size_t n = strlen(key);
    for (int i = 0; i < o->n_settings; i++)
        if (strncmp(o->settings[i], key, n) == 0 && o->settings[i][n] == '=') return true;
    return false;
}

static bool read_settings(const struct bench_env_opts *o, struct config *c, struct error *e) {
    if (!config_init(c, "tiny", e)) return false;
    for (int i = 0; i < o->n_settings; i++) {
        if (strncmp(o->settings[i], "env.", 4) != 0)
            return error_set(e, STATUS_USAGE,
                             "bench env: %s: environments read keys that begin with env. alone",
                             o->settings[i]);
        if (!config_set(c, o->settings[i], e)) return false;
    }
    return config_check(c, e);
}

bool env_field_envs(const struct bench_env_opts *o, int64_t *n, struct error *e) {
    struct config c;
    if (!read_settings(o, &c, e)) return false;
    if (o->n_envs && is_set(o, "env.num_envs"))
        return error_set(e, STATUS_USAGE, "--envs and env.num_envs are the same: give one");
    *n = o->n_envs ? o->n_envs : is_set(o, "env.num_envs") ? c.num_envs : 0;
    return bench_check_limit("--envs", *n, BENCH_MAX_ENVS, e);
}

static bool make_goal(struct env_field *f, const struct bench_env_opts *o, const struct config *c,
                      struct env_gameboy_opts *to, struct error *e) {
    if (!task_open_builtin(f->name, to->action_codec, &f->task, e)) return false;
    f->has_task = true;
    if (is_set(o, "env.max_episode_steps")) f->task.rules.max_steps = (int)c->max_episode_steps;
    goal_rules_set_reward(&f->task.rules, c->alpha, c->goal_bonus, c->step_cost);
    task_env_opts(&f->task, to);
    return true;
}

static bool make_game_boy(struct env_field *f, const struct bench_env_opts *o,
                          const struct config *c, int n, struct pool *pool, struct error *e) {
    char codec[64];
    snprintf(codec, sizeof codec, "pokemonred_puffer_%s", c->action_codec);
    struct env_gameboy_opts to = {.rom_name = f->name,
                                  .action_codec = codec,
                                  .n_envs = n,
                                  .max_episode_steps = (int)c->max_episode_steps,
                                  .pool = pool};
    const struct builtin_task *task = o->rom_path ? NULL : builtin_task_find(f->name);
    if (o->rom_path) {
        if (!file_read(o->rom_path, MAX_ROM_BYTES, &f->rom, &to.rom_bytes, e)) return false;
        to.rom = f->rom;
    } else if (!task) {
        return error_set(e, STATUS_USAGE, "--task %s: no such task", f->name);
    } else if (task->goals) {
        if (!make_goal(f, o, c, &to, e)) return false;
    } else {
        to.rom = task->rom;
        to.rom_bytes = task->rom_bytes;
    }
    f->is_game_boy = true;
    return (f->env = env_gameboy_new(&to, e)) != NULL;
}

static bool make_toy(struct env_field *f, const struct bench_env_opts *o, const struct config *c,
                     int n, struct error *e) {
    struct goal_rules rules = toy_rules;
    char codec[64];
    snprintf(codec, sizeof codec, "pokemonred_puffer_%s", c->action_codec);
    if (is_set(o, "env.max_episode_steps")) rules.max_steps = (int)c->max_episode_steps;
    f->env =
        env_toy_new(&(struct env_toy_opts){.n_envs = n, .action_codec = codec, .rules = &rules}, e);
    return f->env != NULL;
}

static bool make_control(struct env_field *f, const struct bench_env_opts *o,
                         const struct config *c, const struct control_task *task, int n,
                         struct error *e) {
    struct control_opts to = {.n_envs = n,
                              .max_steps = is_set(o, "env.max_episode_steps")
                                               ? (int)c->max_episode_steps
                                               : task->max_steps};
    if (!control_observation(task, c->observation, &to.obs, e)) return false;
    f->env = task->make(&to);
    return true;
}

static bool make(struct env_field *f, const struct bench_env_opts *o, int n, struct pool *pool,
                 struct error *e) {
    struct config c;
    if (o->rom_path && o->task)
        return error_set(e, STATUS_USAGE, "--rom and --task exclude each other");
    if (!read_settings(o, &c, e)) return false;
    snprintf(f->name, sizeof f->name, "%.60s",
             o->rom_path ? path_base(o->rom_path)
             : o->task   ? o->task
                         : "exit_lab");
    const struct control_task *control = o->rom_path ? NULL : control_task_find(f->name);
    if (control) return make_control(f, o, &c, control, n, e);
    if (!o->rom_path && strcmp(f->name, TOY_TASK_NAME) == 0) return make_toy(f, o, &c, n, e);
    return make_game_boy(f, o, &c, n, pool, e);
}

// ---- the batch

// By tick, place and number of the value, whichever environments are there.
static void draw_actions(struct env_field *f, int n, const int *places) {
    const struct action_space *a = &f->env->actions;
    const int each = action_values(a);
    const size_t all = (size_t)ENV_FIELD_TICKS * (size_t)n * (size_t)each;
    if (a->n_continuous)
        f->values = mem_alloc(all * sizeof *f->values);
    else
        f->actions = mem_alloc(all * sizeof *f->actions);
    for (size_t i = 0; i < all; i++) {
        const uint64_t tick = i / ((size_t)n * (size_t)each);
        const int env = (int)(i / (size_t)each % (size_t)n), k = (int)(i % (size_t)each);
        const uint32_t at = (uint32_t)(places ? places[env] : env) * SPACE_MAX_HEADS + (uint32_t)k;
        if (f->values)
            f->values[i] = 2 * (float)rng_uniform(1, RNG_TEST, tick, at) - 1;
        else
            f->actions[i] = (int)rng_below(1, RNG_TEST, tick, at, (uint32_t)a->classes[k]);
    }
}

bool env_field_open(const struct bench_env_opts *o, int n, const int *places, struct pool *pool,
                    struct env_field *f, struct error *e) {
    *f = (struct env_field){0};
    if (!make(f, o, n, pool, e)) return false;
    const size_t each = (obs_bytes(&f->env->obs) + 7) / 8 * 8;
    f->block = mem_alloc((size_t)n * each);
    f->obs = mem_alloc((size_t)n * sizeof *f->obs);
    f->ended = mem_alloc((size_t)n);
    f->go = mem_alloc((size_t)n);
    f->out = mem_alloc((size_t)n * sizeof *f->out);
    for (int i = 0; i < n; i++) f->obs[i] = f->block + (size_t)i * each;
    memset(f->ended, 1, (size_t)n); // all begin with a reset
    draw_actions(f, n, places);
    return true;
}

void env_field_close(struct env_field *f) {
    env_free(f->env);
    if (f->has_task) task_close(&f->task);
    free(f->rom);
    free(f->actions);
    free(f->values);
    free(f->block);
    free(f->obs);
    free(f->ended);
    free(f->go);
    free(f->out);
}

const int32_t *env_field_actions(const struct env_field *f, int64_t tick) {
    const int each = f->env->actions.n_heads * f->env->n_envs;
    return f->actions + (tick % ENV_FIELD_TICKS) * each;
}

void env_field_tick(struct env_field *f) {
    const int n = f->env->n_envs;
    const int64_t row = f->ticks++ % ENV_FIELD_TICKS;
    for (int i = 0; i < n; i++) f->go[i] = !f->ended[i];
    env_reset(f->env, f->ended, f->obs);
    if (f->values)
        env_step_values(f->env, f->go, f->values + row * n * f->env->actions.n_continuous, f->obs,
                        f->out);
    else
        env_step(f->env, f->go, env_field_actions(f, row), f->obs, f->out);
    for (int i = 0; i < n; i++) {
        f->ended[i] = f->go[i] && (f->out[i].terminated || f->out[i].truncated);
        f->episodes += f->ended[i];
    }
}

// ---- measuring

bool bench_env_measure(struct env_player *p, int64_t steps, struct bench_env_size *out,
                       struct error *e) {
    double rate[REPETITIONS], seconds[REPETITIONS];
    int64_t episodes = 0, t0;
    if (!p->play(p, 1, &episodes, e)) return false; // the first observation of all
    t0 = clock_now_ns();
    if (!p->play(p, WARM_TICKS, &episodes, e)) return false;
    const double warm = (double)(clock_now_ns() - t0) * 1e-9 / WARM_TICKS;
    int64_t each = steps ? steps / REPETITIONS : (int64_t)(wanted_seconds / REPETITIONS / warm);
    if (!steps && each > MAX_TICKS) each = MAX_TICKS;
    if (each < 1) each = 1;
    for (int i = 0; i < REPETITIONS; i++) {
        t0 = clock_now_ns();
        if (!p->play(p, each, &episodes, e)) return false;
        seconds[i] = (double)(clock_now_ns() - t0) * 1e-9;
        // An episode's end costs a tick, in which its environment is reset.
        rate[i] = (double)(each * out->n_envs - episodes) / seconds[i];
        out->steps += each * out->n_envs - episodes;
        out->episodes += episodes;
    }
    out->ticks = each * REPETITIONS;
    out->steps_per_second = stats_lower_median(rate, REPETITIONS);
    out->seconds = stats_lower_median(seconds, REPETITIONS);
    return true;
}

struct host_player {
    struct env_player player;
    struct env_field field;
};

static bool play_on_host(struct env_player *p, int64_t ticks, int64_t *episodes, struct error *e) {
    struct env_field *f = &((struct host_player *)p)->field;
    const int64_t before = f->episodes;
    (void)e;
    for (int64_t t = 0; t < ticks; t++) env_field_tick(f);
    *episodes = f->episodes - before;
    return true;
}

bool bench_env(const struct bench_env_opts *o, struct bench_env_result *r, struct error *e) {
    int64_t n = 0;
    *r = (struct bench_env_result){.n_sizes = 1};
    if (!bench_check_limit("--threads", o->n_threads, BENCH_MAX_THREADS, e) ||
        !env_field_envs(o, &n, e))
        return false;
    if (n == 0) n = DEFAULT_ENVS;
    r->n_threads = o->n_threads > 0 ? (int)o->n_threads : pool_usable_cpus();
    struct pool *pool = pool_new(r->n_threads);
    struct host_player p = {.player = {play_on_host}};
    const bool fine = env_field_open(o, (int)n, NULL, pool, &p.field, e);
    if (fine) {
        struct bench_env_size *s = &r->size[0];
        snprintf(r->task, sizeof r->task, "%s", p.field.name);
        r->frames_per_step = p.field.is_game_boy ? GB_FRAMES_PER_STEP : 0;
        r->obs_bytes = (int64_t)obs_bytes(&p.field.env->obs);
        s->n_envs = (int)n;
        bench_env_measure(&p.player, o->steps, s, e); // a host's play does not fail
    }
    env_field_close(&p.field);
    pool_free(pool);
    return fine;
}
