// Worker setup: options and files become a config, environments, a replay ring, a model and a
// session.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "emu/gb_action.h"
#include "engine/env/builtin.h"
#include "engine/env/gameboy.h"
#include "engine/env/toy.h"
#include "engine/run/worker/worker_internal.h"

enum { MAX_ROM_BYTES = 8 << 20, MAX_STATE_BYTES = 4 << 20, MAX_THREADS = 64 };

static bool check_options(const struct run_opts *o, struct error *e) {
    if (o->algo && strcmp(o->algo, "dreamer_v3") != 0)
        return error_set(e, STATUS_USAGE, "--algo %s: no such algorithm; known: dreamer_v3, ppo",
                         o->algo);
    if (o->resume && o->no_session)
        return error_set(e, STATUS_USAGE, "--resume and --no-session exclude each other");
    if (o->mode && !worker_algo_find(o->mode))
        return error_set(e, STATUS_USAGE, "--mode %s: no such mode; known: standing_still, full",
                         o->mode);
    if (o->task && o->rom_path)
        return error_set(e, STATUS_USAGE, "--task and --rom exclude each other; give one");
    if (o->goal_dir && o->task && control_task_find(o->task))
        return error_set(e, STATUS_USAGE, "--goal-dir %s: --task %s is no Game Boy; leave it out",
                         o->goal_dir, o->task);
    if (o->goal_dir && !(o->rom_path && o->state_path))
        return error_set(e, STATUS_USAGE,
                         "--goal-dir %s: a goal needs its game too: --rom FILE --state FILE",
                         o->goal_dir);
    if (o->accept_pipeline && !o->goal_dir)
        return error_set(e, STATUS_USAGE, "--accept-pipeline %d: there is no --goal-dir",
                         o->accept_pipeline);
    if (o->n_threads > MAX_THREADS)
        return error_set(e, STATUS_USAGE, "--threads %d: at most %d", o->n_threads, MAX_THREADS);
    return true;
}

static const char *default_preset(const struct run_opts *o) {
    const struct builtin_task *task = o->task ? builtin_task_find(o->task) : NULL;
    bool has_goal = o->goal_dir || (task && task->goals);
    return has_goal && !(o->mode && worker_algo_find(o->mode)->holds_action) ? "goal" : "tiny";
}

static bool load_config(struct worker *w, struct error *e) {
    const struct run_opts *o = &w->opts;
    char seed[64];
    if (o->resume) return worker_resume_options(w, e);
    if (!config_init(&w->config, o->preset ? o->preset : default_preset(o), e)) return false;
    snprintf(seed, sizeof seed, "seed=%s", o->seed ? o->seed : "");
    if (o->seed && !config_set(&w->config, seed, e)) return false;
    for (int i = 0; i < o->n_settings; i++)
        if (!config_set(&w->config, o->settings[i], e)) return false;
    return config_check(&w->config, e);
}

// The task's name in messages and in the session's name: a ROM file's name without folder and
// ending.
static void name_rom(struct worker *w, const char *path) {
    const char *base = path_base(path);
    snprintf(w->rom_name, sizeof w->rom_name, "%.48s", base);
    char *dot = strrchr(w->rom_name, '.');
    if (dot && dot != w->rom_name) *dot = 0;
}

static void codec_id(const struct worker *w, char out[64]) {
    snprintf(out, 64, "pokemonred_puffer_%s", w->config.action_codec);
}

static bool is_set(const struct run_opts *o, const char *key) {
    size_t n = strlen(key);
    for (int i = 0; i < o->n_settings; i++)
        if (strncmp(o->settings[i], key, n) == 0 && o->settings[i][n] == '=') return true;
    return false;
}

// A task with a goal has its own time limit, which a setting overrides; the config says which one
// holds.
static bool load_goal_task(struct worker *w, const char *name, struct error *e) {
    const struct run_opts *o = &w->opts;
    char codec[64];
    codec_id(w, codec);
    if (!o->goal_dir && o->state_path)
        return error_set(e, STATUS_USAGE,
                         "--task %s has a start of its own; --state goes with --rom", name);
    struct task_files files = {.rom = o->rom_path,
                               .state = o->state_path,
                               .goal_dir = o->goal_dir,
                               .action_codec_id = codec,
                               .accept_pipeline = o->accept_pipeline};
    struct task *task = w->goal_task = mem_alloc(sizeof *task);
    if (!(o->goal_dir ? task_open_files(&files, task, e) : task_open_builtin(name, codec, task, e)))
        return false;
    w->rom_data = task->rom;
    w->rom_bytes = task->rom_bytes;
    memcpy(w->rom_sha256, task->rom_sha256, sizeof w->rom_sha256);
    memcpy(w->state_sha256, task->state_sha256, sizeof w->state_sha256);
    if (o->resume || is_set(o, "env.max_episode_steps"))
        task->rules.max_steps = (int)w->config.max_episode_steps;
    w->config.max_episode_steps = task->rules.max_steps;
    goal_rules_set_reward(&task->rules, w->config.alpha, w->config.goal_bonus, w->config.step_cost);
    return true;
}

// Who sets the reward of a goal where there is none would not see it.
static bool refuse_rewards(const struct run_opts *o, const char *name, struct error *e) {
    static const char *const keys[] = {"env.alpha", "env.goal_bonus", "env.step_cost"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_set(o, keys[i]))
            return error_set(e, STATUS_USAGE, "%s: %s has no goal; leave it out", keys[i], name);
    return true;
}

static void task_names(char *out, size_t size) {
    builtin_task_names(out, size);
    for (int i = 0; i < n_control_tasks; i++) {
        const size_t at = strlen(out);
        snprintf(out + at, size - at, ", %s", control_tasks[i].name);
    }
}

// What only a Game Boy has is refused, so that nobody takes it for what he sees.
static bool refuse_game_boy(const struct run_opts *o, const char *name, struct error *e) {
    static const char *const keys[] = {"env.action_codec", "env.constant_action"};
    if (o->state_path)
        return error_set(e, STATUS_USAGE, "--state %s: --task %s is no Game Boy; leave it out",
                         o->state_path, name);
    if (o->mode && worker_algo_find(o->mode)->holds_action)
        return error_set(e, STATUS_USAGE,
                         "--mode %s holds a Game Boy's button, --task %s has none; use --mode full",
                         o->mode, name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_set(o, keys[i]))
            return error_set(e, STATUS_USAGE,
                             "%s: --task %s is no Game Boy and has no buttons; leave it out",
                             keys[i], name);
    return true;
}

static bool load_control(struct worker *w, const struct control_task *task, struct error *e) {
    const struct run_opts *o = &w->opts;
    if (!refuse_game_boy(o, task->name, e) || !refuse_rewards(o, task->name, e)) return false;
    if (task->actions.n_continuous && w->config.action_clip > 1)
        return error_set(e, STATUS_USAGE,
                         "algo.actor.action_clip=%g: the actions of --task %s lie in [-1, 1]",
                         w->config.action_clip, task->name);
    w->control = task;
    snprintf(w->rom_name, sizeof w->rom_name, "%s", task->name);
    if (!o->resume && !is_set(o, "env.max_episode_steps"))
        w->config.max_episode_steps = task->max_steps;
    return true;
}

static bool load_rom(struct worker *w, struct error *e) {
    const struct control_task *control =
        w->opts.control ? w->opts.control : control_task_find(w->opts.task ? w->opts.task : "");
    if (control) return load_control(w, control, e);
    if (w->config.observation[0] == 'v' || w->config.observation[0] == 'b')
        return error_set(e, STATUS_USAGE,
                         "env.observation=%s: a Game Boy shows pictures alone; leave it out",
                         w->config.observation);
    if (w->opts.goal_dir) {
        name_rom(w, w->opts.rom_path);
        return load_goal_task(w, NULL, e);
    }
    if (w->opts.rom_path) {
        if (!file_read(w->opts.rom_path, MAX_ROM_BYTES, &w->rom, &w->rom_bytes, e)) return false;
        w->rom_data = w->rom;
        name_rom(w, w->opts.rom_path);
    } else {
        const char *name = w->opts.task ? w->opts.task : "sprites";
        const struct builtin_task *task = builtin_task_find(name);
        char known[200];
        task_names(known, sizeof known);
        if (strcmp(name, TOY_TASK_NAME) == 0)
            return error_set(e, STATUS_USAGE,
                             "--task %s: there is no emulator behind it; it goes with --algo ppo",
                             name);
        if (!task)
            return error_set(e, STATUS_USAGE, "--task %s: no such task; known: %s (or --rom FILE)",
                             name, known);
        snprintf(w->rom_name, sizeof w->rom_name, "%s", task->name);
        if (task->goals) return load_goal_task(w, name, e);
        w->rom_data = task->rom;
        w->rom_bytes = task->rom_bytes;
    }
    sha256_hex(w->rom_data, w->rom_bytes, w->rom_sha256);
    return refuse_rewards(&w->opts, w->rom_name, e);
}

// A bound that can never be reached would mean a run without end.
static bool check_bounds(const struct worker *w, struct error *e) {
    const struct run_opts *o = &w->opts;
    if (o->updates == 0 || o->env_steps > 0 || o->minutes > 0 || w->config.replay_ratio > 0)
        return true;
    return error_set(
        e, STATUS_USAGE,
        "algo.replay_ratio=0 makes no gradient step, so %lld updates are never reached; "
        "bound the run by --env-steps or --minutes",
        (long long)o->updates);
}

// Ranks of one machine share it, where their launcher has not bound them to parts of it.
static int threads_of_rank(const struct worker *w) {
    const struct ranks *r = w->opts.ranks;
    const int mine = pool_usable_cpus(), all = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (!r || r->n_local < 2 || mine < all) return mine;
    return mine / r->n_local > 1 ? mine / r->n_local : 1;
}

bool worker_configure(struct worker *w, struct error *e) {
    device_of_rank(w->opts.ranks);
    if (!check_options(&w->opts, e) || !device_choose(w->opts.device, &w->device, e) ||
        !load_config(w, e) || !worker_check_ranks(w, e) || !check_bounds(w, e) || !load_rom(w, e))
        return false;
    if (w->resume && !worker_resume_same_game(w, e)) return false;
    if (!device_precision(&w->device, w->config.allow_tf32, e)) return false;
    w->algo = worker_algo_find(w->opts.mode                 ? w->opts.mode
                               : w->goal_task || w->control ? "full"
                                                            : "standing_still");
    w->learn_from = w->config.learning_starts;
    w->n_threads = w->opts.n_threads > 0 ? w->opts.n_threads : threads_of_rank(w);
    if (ranks_rank(w->opts.ranks) > 0) w->opts.no_media = true;
    w->snapshot_every = 1;
    // As sheeprl counts: gradient steps per policy step of one rank, all ranks' steps given.
    w->ratio = (struct ratio){.ratio = w->config.replay_ratio / ranks_n(w->opts.ranks)};
    w->statistics.update_ms = mem_alloc(UPDATE_MS_CAPACITY * sizeof(float));
    w->snapshots = mem_alloc(MEDIA_MAX_SNAPSHOTS * sizeof *w->snapshots);
    w->snapshot_pictures = mem_alloc(sizeof *w->snapshot_pictures);
    w->reconstruction = mem_alloc(WM_ROLLOUT * sizeof *w->reconstruction);
    return true;
}

static bool make_control(struct worker *w, struct error *e) {
    struct control_opts opts = {.n_envs = (int)w->config.num_envs,
                                .first = ranks_rank(w->opts.ranks) * (int)w->config.num_envs,
                                .max_steps = (int)w->config.max_episode_steps,
                                .seed = (uint64_t)w->config.seed};
    if (!control_observation(w->control, w->config.observation, &opts.obs, e)) return false;
    w->rollout.env = w->control->make(&opts);
    return true;
}

static bool make_environments(struct worker *w, struct error *e) {
    if (w->control) return make_control(w, e);
    char codec[64];
    codec_id(w, codec);
    struct env_gameboy_opts opts = {.rom = w->rom_data,
                                    .rom_bytes = w->rom_bytes,
                                    .rom_name = w->opts.rom_path ? w->opts.rom_path : w->rom_name,
                                    .action_codec = codec,
                                    .n_envs = (int)w->config.num_envs,
                                    .max_episode_steps = (int)w->config.max_episode_steps,
                                    .pool = w->rollout.pool};
    uint8_t *state = NULL;
    if (w->goal_task) {
        task_env_opts(w->goal_task, &opts);
    } else if (w->opts.state_path) {
        if (!file_read(w->opts.state_path, MAX_STATE_BYTES, &state, &opts.state_bytes, e))
            return false;
        opts.state = state;
        opts.state_name = w->opts.state_path;
        sha256_hex(state, opts.state_bytes, w->state_sha256);
    }
    struct env *env = w->rollout.env = env_gameboy_new(&opts, e);
    free(state);
    if (!env) return false;
    for (int a = 0; a < env->n_actions; a++)
        if (strcmp(env->action_names[a], w->config.constant_action) == 0) {
            w->constant_action = a;
            return true;
        }
    if (!w->algo->holds_action) return true;
    return error_set(e, STATUS_USAGE,
                     "env.constant_action=%s does not exist in env.action_codec=%s: choose another "
                     "codec or action",
                     w->config.constant_action, w->config.action_codec);
}

static bool check_actions(const struct worker *w, struct error *e) {
    return !w->rollout.env->actions.n_continuous || !profile_of(&w->config)->joint ||
           error_set(
               e, STATUS_USAGE,
               "algo.profile=%s has no continuous actions yet, and %s has nothing else: leave "
               "it at sheeprl",
               w->config.profile, w->rom_name);
}

bool worker_build(struct worker *w, struct error *e) {
    w->pool = pool_new(w->n_threads);
    w->rollout.pool = pool_new(worker_rollout_threads(w));
    if (!make_environments(w, e) || !check_actions(w, e) || !worker_build_rollout(w, e))
        return false;
    w->algo->build(w);
    w->vectors = mem_alloc(2 * WM_ROLLOUT * (size_t)w->rollout.env->obs.n_vector * sizeof(float));
    w->parts = parts_new(wm_executor(w->wm),
                         w->dreamer ? behaviour_executor(dreamer_behaviour(w->dreamer)) : NULL);
    return !w->resume || !w->resume->checkpoint[0] || worker_load_checkpoint(w, e);
}

static const char *goal_name(const struct worker *w) {
    return w->opts.goal_dir ? path_base(w->opts.goal_dir) : w->rom_name;
}

// A resumed run takes its pictures so far from the file, as if it had made them.
static bool open_frames(struct worker *w, struct error *e) {
    char path[PATH_SIZE];
    if (!worker_has_display(w)) return true;
    if (!session_frames_path(w->session, path, e)) return false;
    if (!w->resume) return (w->frames = frames_create(path, FEED_WIDTH, FEED_HEIGHT, e)) != NULL;
    w->frames = frames_resume(path, FEED_WIDTH, FEED_HEIGHT, wm_opt_steps(w->wm), e);
    return w->frames && worker_reload_snapshots(w, path, e);
}

bool worker_open_session(struct worker *w, struct error *e) {
    const struct run_opts *o = &w->opts;
    if (o->no_session || ranks_rank(o->ranks) > 0) return true;
    char *json = config_to_json(&w->config);
    struct session_opts opts = {.root = o->sessions_dir,
                                .tag = o->tag,
                                .algo = "dreamer_v3",
                                .task = w->rom_name,
                                .mode = w->algo->mode,
                                .preset = w->config.preset,
                                .device = w->device.name,
                                .kernel = cpu_kernels_kind(w->config.autocast),
                                .rom_name = w->rom_name,
                                .rom_sha256 = w->rom_sha256,
                                .state_name = o->state_path  ? path_base(o->state_path)
                                              : w->goal_task ? "start.state"
                                                             : NULL,
                                .state_sha256 = w->state_sha256,
                                .goal = w->goal_task ? goal_name(w) : NULL,
                                .goal_sha256 = w->goal_task ? w->goal_task->goal.sha256 : NULL,
                                .goal_pipeline =
                                    w->goal_task ? w->goal_task->goal.meta.pipeline_version : 0,
                                .seed = (uint64_t)w->config.seed,
                                .n_weights = w->algo->n_weights(w),
                                .zero_latent = o->zero_latent,
                                .n_ranks = ranks_n(o->ranks),
                                .rom_path = o->rom_path,
                                .state_path = o->state_path,
                                .goal_dir = o->goal_dir,
                                .frames_per_step = w->control ? 0 : GB_FRAMES_PER_STEP,
                                .release_after = w->control ? 0 : GB_RELEASE_AFTER,
                                .config_json = json};
    w->session = w->resume ? session_resume(w->resume->session, &opts, wm_opt_steps(w->wm), e)
                           : session_create(&opts, e);
    free(json);
    return w->session && (!w->resume || worker_resume_history(w, e)) && open_frames(w, e);
}
