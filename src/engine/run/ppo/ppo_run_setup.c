// PPO run setup: options and files become a config, environments, an agent and a session; or go on
// with a session.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "emu/gb_action.h"
#include "engine/env/builtin.h"
#include "engine/env/control.h"
#include "engine/env/toy.h"
#include "engine/run/ppo/ppo_run_internal.h"

enum { MAX_THREADS = 64 };
static const size_t max_json_bytes = 4 << 20;

// ---- which algorithm

static cJSON *session_meta(const char *path) {
    char folder[PATH_SIZE], checkpoint[PATH_SIZE], meta[PATH_SIZE];
    struct error e = {0};
    if (!session_locate(path, folder, checkpoint, &e) || !path_join(meta, folder, "meta.json", &e))
        return NULL;
    return json_read_file(meta, max_json_bytes, &e);
}

static const char *text_of(const cJSON *o, const char *object, const char *key) {
    const cJSON *from = o && object ? cJSON_GetObjectItemCaseSensitive(o, object) : o;
    const cJSON *item = from ? cJSON_GetObjectItemCaseSensitive(from, key) : NULL;
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

bool ppo_run_wanted(const struct run_opts *o) {
    if (o->algo) return strcmp(o->algo, "ppo") == 0;
    if (!o->resume) return false;
    cJSON *meta = session_meta(o->resume);
    const char *algo = text_of(meta, NULL, "algo");
    const bool wanted = algo && strcmp(algo, "ppo") == 0;
    cJSON_Delete(meta);
    return wanted;
}

// ---- options

static bool check_options(const struct run_opts *o, struct error *e) {
    if (o->mode && strcmp(o->mode, "full") != 0)
        return error_set(e, STATUS_USAGE, "--mode %s: PPO always acts and learns; leave it out",
                         o->mode);
    if (o->preset)
        return error_set(e, STATUS_USAGE, "--preset %s: PPO has one network; leave it out",
                         o->preset);
    if (o->zero_latent)
        return error_set(e, STATUS_USAGE, "--zero-latent: PPO has no latent; leave it out");
    if (o->resume && o->no_session)
        return error_set(e, STATUS_USAGE, "--resume and --no-session exclude each other");
    if (o->task && o->rom_path)
        return error_set(e, STATUS_USAGE, "--task and --rom exclude each other; give one");
    if (o->rom_path && !(o->state_path && o->goal_dir))
        return error_set(e, STATUS_USAGE, "--rom %s: PPO needs a goal: --state FILE --goal-dir DIR",
                         o->rom_path);
    if (!o->rom_path && (o->state_path || o->goal_dir))
        return error_set(e, STATUS_USAGE, "--state and --goal-dir go with --rom FILE");
    if (o->n_threads > MAX_THREADS)
        return error_set(e, STATUS_USAGE, "--threads %d: at most %d", o->n_threads, MAX_THREADS);
    return true;
}

static bool apply_settings(struct ppo_run *r, struct error *e) {
    char seed[64];
    snprintf(seed, sizeof seed, "seed=%s", r->opts.seed ? r->opts.seed : "");
    if (r->opts.seed && !ppo_config_set(&r->config, seed, e)) return false;
    for (int i = 0; i < r->opts.n_settings; i++)
        if (!ppo_config_set(&r->config, r->opts.settings[i], e)) return false;
    return ppo_config_check(&r->config, e);
}

// Until which update; --env-steps is rounded up to whole rollouts.
static void set_bound(struct ppo_run *r) {
    const int64_t a_rollout = r->config.num_envs * r->config.rollout_steps;
    const int64_t by_steps = (r->opts.env_steps + a_rollout - 1) / a_rollout;
    r->n_updates = r->opts.updates;
    if (by_steps > 0 && (r->n_updates == 0 || by_steps < r->n_updates)) r->n_updates = by_steps;
}

static void codec_id(const struct ppo_run *r, char out[64]) {
    snprintf(out, 64, "pokemonred_puffer_%s", r->config.action_codec);
}

// ---- the game

static bool open_task(struct ppo_run *r, struct error *e) {
    const struct run_opts *o = &r->opts;
    char codec[64];
    codec_id(r, codec);
    struct task_files files = {.rom = o->rom_path,
                               .state = o->state_path,
                               .goal_dir = o->goal_dir,
                               .action_codec_id = codec,
                               .accept_pipeline = o->accept_pipeline};
    r->task = mem_alloc(sizeof *r->task);
    if (!(o->rom_path ? task_open_files(&files, r->task, e)
                      : task_open_builtin(o->task, codec, r->task, e)))
        return false;
    if (ppo_config_given(&r->config, "env.max_episode_steps"))
        r->task->rules.max_steps = (int)r->config.max_episode_steps;
    r->config.max_episode_steps = r->task->rules.max_steps;
    goal_rules_set_reward(&r->task->rules, r->config.alpha, r->config.goal_bonus,
                          r->config.step_cost);
    r->goal = r->task->goal.goal;
    return true;
}

static bool load_game(struct ppo_run *r, struct error *e) {
    const struct run_opts *o = &r->opts;
    if (o->rom_path) {
        snprintf(r->name, sizeof r->name, "%.48s", path_base(o->rom_path));
        char *dot = strrchr(r->name, '.');
        if (dot && dot != r->name) *dot = 0;
        return open_task(r, e);
    }
    const char *name = o->task ? o->task : TOY_TASK_NAME;
    snprintf(r->name, sizeof r->name, "%.63s", name);
    if (strcmp(name, TOY_TASK_NAME) == 0) {
        if (!ppo_config_given(&r->config, "env.max_episode_steps"))
            r->config.max_episode_steps = toy_rules.max_steps;
        toy_goal(&r->goal);
        return true;
    }
    if (control_task_find(name))
        return error_set(e, STATUS_USAGE,
                         "--task %s: --algo ppo plays " TOY_TASK_NAME
                         " and Game Boy tasks, not control tasks; use --algo dreamer_v3",
                         name);
    const struct builtin_task *task = builtin_task_find(name);
    char known[200];
    builtin_task_names(known, sizeof known);
    if (!task)
        return error_set(e, STATUS_USAGE,
                         "--task %s: no such task; known: " TOY_TASK_NAME ", %s (or --rom FILE)",
                         name, known);
    if (!task->goals)
        return error_set(e, STATUS_USAGE,
                         "--task %s is a scene without a goal: PPO needs one, as " TOY_TASK_NAME
                         " or exit_lab",
                         name);
    return open_task(r, e);
}

// ---- resuming: keys that the saved weights or environments have the shape or the meaning of

static const char *const fixed_keys[] = {"algo.rollout_steps", "env.num_envs", "env.frame_stack",
                                         "env.action_codec", "env.max_episode_steps"};

static bool compare_configs(const struct ppo_run *r, const struct ppo_config *saved,
                            struct error *e) {
    for (int i = 0; i < ppo_config_schema.n; i++) {
        const struct config_key *key = &ppo_config_schema.keys[i];
        char before[CONFIG_TEXT_SIZE], now[CONFIG_TEXT_SIZE];
        config_key_text(key, saved, before);
        config_key_text(key, &r->config, now);
        if (strcmp(before, now) == 0) continue;
        for (size_t k = 0; k < sizeof fixed_keys / sizeof *fixed_keys; k++)
            if (strcmp(key->name, fixed_keys[k]) == 0)
                return error_set(e, STATUS_USAGE,
                                 "--resume %s: %s is %s there, not %s; it cannot change",
                                 r->resume_session, key->name, before, now);
        log_write(LOG_WARN, "%s: %s in the session, %s from here on", key->name, before, now);
    }
    return true;
}

static bool same(const struct ppo_run *r, const char *what, const char *saved, const char *now,
                 struct error *e) {
    saved = saved && *saved ? saved : "none";
    now = now && *now ? now : "none";
    return strcmp(saved, now) == 0 ||
           error_set(e, STATUS_USAGE, "--resume %s: %s is %.64s there, not %.64s; it cannot change",
                     r->resume_session, what, saved, now);
}

static bool same_game(const struct ppo_run *r, const cJSON *meta, struct error *e) {
    const struct task *t = r->task;
    return same(r, "the algorithm", text_of(meta, NULL, "algo"), "ppo", e) &&
           same(r, "the task", text_of(meta, NULL, "task"), r->name, e) &&
           same(r, "the ROM's SHA-256", text_of(meta, "rom", "sha256"), t ? t->rom_sha256 : "",
                e) &&
           same(r, "the start state's SHA-256", text_of(meta, "start_state", "sha256"),
                t ? t->state_sha256 : "", e) &&
           same(r, "the goal's SHA-256", text_of(meta, "goal", "sha256"), t ? t->goal.sha256 : "",
                e);
}

// The session's task and files, where none are given.
static bool take_session_game(struct ppo_run *r, const cJSON *meta) {
    struct run_opts *o = &r->opts;
    static char task[64], paths[3][PATH_SIZE]; // one run resumes in a process at a time
    if (o->task || o->rom_path) return true;
    const char *rom = text_of(meta, "rom", "path"), *state = text_of(meta, NULL, "state_path"),
               *goal = text_of(meta, NULL, "goal_dir"), *name = text_of(meta, NULL, "task");
    const char *const from[3] = {rom, state, goal};
    const char **to[3] = {&o->rom_path, &o->state_path, &o->goal_dir};
    for (int i = 0; rom && i < 3; i++) {
        snprintf(paths[i], sizeof paths[i], "%s", from[i] ? from[i] : "");
        *to[i] = from[i] ? paths[i] : NULL;
    }
    snprintf(task, sizeof task, "%.63s", name ? name : TOY_TASK_NAME);
    if (!rom) o->task = task;
    return true;
}

static bool resume_config(struct ppo_run *r, struct error *e) {
    char where[PATH_SIZE];
    uint8_t *text;
    size_t n;
    int64_t step;
    struct ppo_config saved;
    if (!session_locate(r->opts.resume, r->resume_session, r->resume_checkpoint, e)) return false;
    if (!r->resume_checkpoint[0] &&
        !session_newest_checkpoint(r->resume_session, r->resume_checkpoint, &step, NULL))
        r->resume_checkpoint[0] = 0; // killed before the first one: the run begins again
    ppo_config_init(&saved);
    if (!path_join(where, r->resume_session, "config.json", e) ||
        !file_read(where, max_json_bytes, &text, &n, e))
        return false;
    bool fine = ppo_config_from_json(&saved, (const char *)text, n, where, e);
    free(text);
    if (!fine) return false;
    r->config = saved;
    cJSON *meta = session_meta(r->opts.resume);
    fine = take_session_game(r, meta) && apply_settings(r, e);
    r->config.given |= (uint64_t)1
                       << config_schema_find(&ppo_config_schema, "env.max_episode_steps");
    fine = fine && load_game(r, e) && compare_configs(r, &saved, e) && same_game(r, meta, e);
    if (fine) session_warn_of_program(meta, cpu_kernels_name());
    cJSON_Delete(meta);
    return fine;
}

bool ppo_run_configure(struct ppo_run *r, struct error *e) {
    r->n_threads = r->opts.n_threads > 0 ? r->opts.n_threads : pool_usable_cpus();
    if (!check_options(&r->opts, e) || !device_choose(r->opts.device, &r->device, e)) return false;
    ppo_config_init(&r->config);
    if (r->opts.resume ? !resume_config(r, e) : !(apply_settings(r, e) && load_game(r, e)))
        return false;
    set_bound(r);
    return true;
}

// ---- building

static struct env *make_env(struct ppo_run *r, int n_envs, struct error *e) {
    char codec[64];
    codec_id(r, codec);
    if (!r->task) {
        struct goal_rules rules = toy_rules;
        rules.max_steps = (int)r->config.max_episode_steps;
        goal_rules_set_reward(&rules, r->config.alpha, r->config.goal_bonus, r->config.step_cost);
        return env_toy_new(
            &(struct env_toy_opts){.n_envs = n_envs, .action_codec = codec, .rules = &rules}, e);
    }
    struct env_gameboy_opts opts = {.rom_name = r->opts.rom_path ? r->opts.rom_path : r->name,
                                    .n_envs = n_envs,
                                    .pool = r->pool};
    task_env_opts(r->task, &opts);
    return env_gameboy_new(&opts, e);
}

// ---- on the device

// What keeps the environments on the host, NULL: nothing.
static const char *obstacle(const struct ppo_run *r) {
    if (strcmp(r->config.env_device, "host") == 0) return "env.device=host";
    return r->task ? NULL : "the task is no Game Boy";
}

bool ppo_run_plays_on_device(const struct ppo_run *r) {
    return r->on_device && ppo_device_plays(r->on_device);
}

static bool build_on_device(struct ppo_run *r, struct error *e) {
    char why[BACKEND_MESSAGE_SIZE];
    const char *no = obstacle(r);
    if (!backend_chosen()) return true;
    snprintf(r->device.play, sizeof r->device.play, "machines and rollout on the %s%s%s%s",
             no ? "host" : "device", no ? " (" : "", no ? no : "", no ? ")" : "");
    const struct ppo_device_opts opts = {.env = no ? NULL : r->env,
                                         .rollout = r->rollout,
                                         .collect = r->collect,
                                         .max_steps = (int)r->config.max_episode_steps};
    r->on_device = ppo_device_new(r->agent, &opts, why, sizeof why);
    if (!r->on_device)
        return error_set(e, STATUS_FAILED, "PPO on the device: %s%s", why,
                         no ? "" : "; env.device=host keeps its machines on the host");
    ppo_device_begin(r->on_device);
    return true;
}

bool ppo_run_build(struct ppo_run *r, struct error *e) {
    struct ppo_opts o;
    r->pool = pool_new(r->n_threads);
    r->env = make_env(r, (int)r->config.num_envs, e);
    if (!r->env) return false;
    if (r->config.eval_every > 0) {
        const int64_t n = r->config.eval_episodes < r->config.num_envs ? r->config.eval_episodes
                                                                       : r->config.num_envs;
        r->eval_env = make_env(r, (int)n, e);
        if (!r->eval_env) return false;
    }
    ppo_config_opts(&r->config, r->env->n_actions, &o);
    r->agent = ppo_new(&o, r->pool);
    r->rollout =
        ppo_rollout_new(&(struct ppo_rollout_opts){o.n_steps, o.n_envs, (int)o.dims.stack});
    r->collect = collect_new(r->agent, r->env, r->rollout);
    collect_begin(r->collect);
    if (r->resume_checkpoint[0] && !ppo_run_load_checkpoint(r, r->resume_checkpoint, e))
        return false;
    ppo_run_take_boundary(r);
    return build_on_device(r, e);
}

// ---- the session

static bool push_history(struct ppo_run *r, struct error *e) {
    struct session_data *d = session_read(session_path(r->session), e);
    if (!d) return false;
    for (int64_t i = 0; i < d->n_records; i++) {
        const struct record *rec = &d->records[i];
        if (rec->present >> METRIC_WALL_TIME & 1)
            r->elapsed_before_s = (double)rec->value[METRIC_WALL_TIME];
        feed_push_record(r->feed, rec, r->elapsed_before_s);
    }
    session_data_free(d);
    return true;
}

static bool open_frames(struct ppo_run *r, struct error *e) {
    char path[PATH_SIZE];
    if (!session_frames_path(r->session, path, e)) return false;
    r->frames = r->resume_session[0] ? frames_resume(path, FEED_WIDTH, FEED_HEIGHT,
                                                     ppo_counters(r->agent)->updates, e)
                                     : frames_create(path, FEED_WIDTH, FEED_HEIGHT, e);
    return r->frames != NULL;
}

bool ppo_run_open_session(struct ppo_run *r, struct error *e) {
    const struct run_opts *o = &r->opts;
    const struct task *t = r->task;
    if (o->no_session) return true;
    char *json = config_schema_to_json(&ppo_config_schema, &r->config);
    struct session_opts opts = {
        .root = o->sessions_dir,
        .tag = o->tag,
        .algo = "ppo",
        .task = r->name,
        .mode = "full",
        .preset = "",
        .device = r->device.name,
        .kernel = cpu_kernels_name(),
        .rom_name = r->name,
        .rom_sha256 = t ? t->rom_sha256 : "",
        .state_name = t ? (o->state_path ? path_base(o->state_path) : "start.state") : NULL,
        .state_sha256 = t ? t->state_sha256 : NULL,
        .goal = t ? (o->goal_dir ? path_base(o->goal_dir) : r->name) : NULL,
        .goal_sha256 = t ? t->goal.sha256 : NULL,
        .goal_pipeline = t ? t->goal.meta.pipeline_version : 0,
        .seed = (uint64_t)r->config.seed,
        .n_weights = ppo_params(r->agent)->n_weights,
        .rom_path = o->rom_path,
        .state_path = o->state_path,
        .goal_dir = o->goal_dir,
        .frames_per_step = GB_FRAMES_PER_STEP,
        .release_after = GB_RELEASE_AFTER,
        .config_json = json};
    const bool goes_on = r->resume_session[0] != 0;
    r->session = goes_on
                     ? session_resume(r->resume_session, &opts, ppo_counters(r->agent)->updates, e)
                     : session_create(&opts, e);
    free(json);
    return r->session && (!goes_on || push_history(r, e)) && open_frames(r, e);
}
