// Saved agent: a session's config, weights and game.
#include "engine/run/eval/saved_agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "emu/gb_action.h"
#include "engine/data/checkpoint.h"
#include "engine/data/session.h"
#include "engine/env/builtin.h"
#include "engine/env/toy.h"
#include "engine/run/worker/worker_internal.h"

enum { MAX_JSON_BYTES = 4 << 20, MAX_ROM_BYTES = 8 << 20, MAX_STATE_BYTES = 4 << 20 };

// ---- the session

// SESSION/checkpoints/FILE belongs to SESSION.
static bool session_of(const char *checkpoint, char out[PATH_SIZE], struct error *e) {
    char meta[PATH_SIZE], folder[PATH_SIZE];
    const char *base = path_base(checkpoint), *parent;
    snprintf(folder, sizeof folder, "%.*s", (int)(base - checkpoint), checkpoint);
    size_t n = strlen(folder);
    if (n > 1) folder[--n] = 0;
    parent = path_base(folder);
    if (parent > folder + 1 && strcmp(parent, "checkpoints") == 0)
        snprintf(out, PATH_SIZE, "%.*s", (int)(parent - folder) - 1, folder);
    else if (!path_join(out, n ? folder : ".", "..", e))
        return false;
    if (!path_join(meta, out, "meta.json", e)) return false;
    return file_exists(meta) ||
           error_set(e, STATUS_USAGE,
                     "%s: not in the checkpoints/ of a session, whose config.json and meta.json "
                     "it needs",
                     checkpoint);
}

static bool find_files(struct saved_agent *a, const char *path, struct error *e) {
    char meta[PATH_SIZE];
    if (!file_exists(path))
        return error_set(e, STATUS_USAGE,
                         "%s: no such session or checkpoint; see `workbench sessions list`", path);
    if (!file_is_folder(path)) {
        snprintf(a->checkpoint, sizeof a->checkpoint, "%s", path);
        return session_of(path, a->session, e);
    }
    snprintf(a->session, sizeof a->session, "%s", path);
    if (!path_join(meta, path, "meta.json", e)) return false;
    if (!file_exists(meta))
        return error_set(e, STATUS_USAGE, "%s is not a session: it has no meta.json", path);
    return true;
}

// A user's ROM file may have the name of a control task; it has a hash.
static bool find_control(struct saved_agent *a, const char *path, struct error *e) {
    const cJSON *rom = cJSON_GetObjectItemCaseSensitive(a->meta, "rom");
    const char *hash;
    if (!rom) return true;
    if (!json_get_string(rom, "sha256", path, &hash, e)) return false;
    if (!*hash) a->control = control_task_find(a->task);
    return true;
}

static bool read_meta(struct saved_agent *a, struct error *e) {
    char path[PATH_SIZE];
    const char *mode, *algo;
    int64_t schema;
    if (!path_join(path, a->session, "meta.json", e)) return false;
    a->meta = json_read_file(path, MAX_JSON_BYTES, e);
    if (!a->meta || !json_get_i64(a->meta, "schema", path, &schema, e) ||
        !json_get_string(a->meta, "algo", path, &algo, e) ||
        !json_get_string(a->meta, "mode", path, &mode, e) ||
        !json_get_string(a->meta, "task", path, &a->task, e))
        return false;
    if (schema != SESSION_SCHEMA)
        return error_set(e, STATUS_FAILED,
                         "%s: session version %lld, this program reads version %d", path,
                         (long long)schema, SESSION_SCHEMA);
    a->is_ppo = strcmp(algo, "ppo") == 0;
    if (!a->is_ppo && strcmp(algo, "dreamer_v3") != 0)
        return error_set(e, STATUS_USAGE,
                         "%s: algorithm %.40s; this program knows dreamer_v3 and ppo", path, algo);
    a->full = strcmp(mode, "full") == 0;
    a->has_goal = cJSON_GetObjectItemCaseSensitive(a->meta, "goal") != NULL;
    a->zero_latent = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(a->meta, "zero_latent"));
    return find_control(a, path, e);
}

// The keys that a game is made of, for those who read them from `config`.
static bool read_ppo_config(struct saved_agent *a, const char *text, size_t n, const char *path,
                            struct error *e) {
    struct ppo_config *c = &a->ppo;
    ppo_config_init(c);
    if (!config_init(&a->config, "tiny", e) || !ppo_config_from_json(c, text, n, path, e) ||
        !ppo_config_check(c, e))
        return false;
    memcpy(a->config.action_codec, c->action_codec, sizeof a->config.action_codec);
    a->config.max_episode_steps = c->max_episode_steps;
    a->config.alpha = c->alpha;
    a->config.goal_bonus = c->goal_bonus;
    a->config.step_cost = c->step_cost;
    a->config.seed = c->seed;
    return true;
}

static bool read_config(struct saved_agent *a, struct error *e) {
    char path[PATH_SIZE];
    uint8_t *text;
    size_t n;
    if (!path_join(path, a->session, "config.json", e) ||
        !file_read(path, MAX_JSON_BYTES, &text, &n, e))
        return false;
    sha256_hex(text, n, a->config_sha256);
    bool fine = a->is_ppo ? read_ppo_config(a, (const char *)text, n, path, e)
                          : config_init(&a->config, "tiny", e) &&
                                config_from_json(&a->config, (const char *)text, n, path, e) &&
                                config_check(&a->config, e);
    free(text);
    return fine;
}

static const char *codec_id(const struct saved_agent *a, char out[64]) {
    snprintf(out, 64, "pokemonred_puffer_%s", a->config.action_codec);
    return out;
}

static bool find_spaces(struct saved_agent *a, struct error *e) {
    char id[64];
    a->obs = (struct obs_space){.pixels = true};
    if (a->control)
        a->actions = a->control->actions;
    else
        a->actions = action_space_of_one(gb_action_codec_find(codec_id(a, id))->n_actions);
    a->n_actions = action_width(&a->actions);
    return !a->control || control_observation(a->control, a->config.observation, &a->obs, e);
}

static void make_sets(struct saved_agent *a) {
    if (a->is_ppo) {
        a->n_sets = 1;
        params_init(&a->sets[0]);
        ppo_net_register(&a->sets[0], &(struct ppo_dims){a->ppo.frame_stack, a->n_actions});
        params_allocate(&a->sets[0]);
        return;
    }
    a->world = wm_dims_from_config(&a->config, a->n_actions);
    wm_dims_observe(&a->world, a->obs.pixels, a->obs.n_vector);
    a->world.zero_latent = a->zero_latent;
    a->nets = ac_dims_from_config(&a->config, &a->world, &a->actions);
    a->n_sets = a->full ? DREAMER_N_SETS : 1;
    for (int i = 0; i < a->n_sets; i++) params_init(&a->sets[i]);
    wm_register(&a->sets[DREAMER_WORLD], &a->world);
    if (a->full) {
        ac_register_actor(&a->sets[DREAMER_ACTOR], &a->nets);
        ac_register_critic(&a->sets[DREAMER_CRITIC], &a->nets, CRITIC_NAME);
        ac_register_critic(&a->sets[DREAMER_TARGET], &a->nets, TARGET_CRITIC_NAME);
    }
    for (int i = 0; i < a->n_sets; i++) params_allocate(&a->sets[i]);
}

bool saved_agent_open(struct saved_agent *a, const char *path, struct error *e) {
    memset(a, 0, sizeof *a);
    if (!find_files(a, path, e) || !read_meta(a, e) || !read_config(a, e) || !find_spaces(a, e)) {
        saved_agent_close(a);
        return false;
    }
    make_sets(a);
    return true;
}

void saved_agent_close(struct saved_agent *a) {
    for (int i = 0; i < a->n_sets; i++) params_deinit(&a->sets[i]);
    task_close(a->goal_task);
    free(a->goal_task);
    free(a->rom);
    free(a->state);
    cJSON_Delete(a->meta);
    memset(a, 0, sizeof *a);
}

bool saved_agent_load(struct saved_agent *a, struct error *e) {
    if (!a->checkpoint[0] &&
        !session_newest_checkpoint(a->session, a->checkpoint, &a->opt_steps, e))
        return false;
    struct params *more[DREAMER_N_SETS];
    for (int i = 1; i < a->n_sets; i++) more[i - 1] = &a->sets[i];
    struct checkpoint_scalar scalars[] = {{"opt_steps", &a->opt_steps},
                                          {"env_steps", &a->env_steps}};
    struct checkpoint c = {.params = &a->sets[0],
                           .more_params = more,
                           .n_more_params = a->n_sets - 1,
                           .weights_only = true,
                           .config_sha256 = a->config_sha256,
                           .scalars = scalars,
                           .n_scalars = 2};
    struct safetensors *file;
    if (!checkpoint_load(a->checkpoint, &c, &file, e)) {
        const int64_t step = session_checkpoint_step(a->checkpoint);
        return step >= 0 && session_name_checkpoint_before(a->session, step, e);
    }
    const int64_t two = 2;
    const struct st_tensor *range = NULL;
    const bool has_range = a->full && !a->is_ppo;
    if (has_range) range = safetensors_expect(file, WORKER_RANGE_NAME, ST_REAL, 1, &two, e);
    if (range) memcpy(a->range, range->data, sizeof a->range);
    safetensors_free(file);
    return !has_range || range;
}

// ---- the game

// What is loaded is what the session was trained on.
static bool same_hash(const struct saved_agent *a, const char *object, const char *what,
                      const char *hash, struct error *e) {
    const cJSON *part = cJSON_GetObjectItemCaseSensitive(a->meta, object);
    const char *wanted = "none";
    if (part && !json_get_string(part, "sha256", a->session, &wanted, e)) return false;
    if (strcmp(wanted, hash) == 0) return true;
    return error_set(e, STATUS_USAGE, "%s: SHA-256 %.16s..., the session was trained with %.16s...",
                     what, hash, wanted);
}

static bool open_goal(struct saved_agent *a, const struct saved_files *f, struct error *e) {
    char codec[64];
    struct task_files files = {.rom = f->rom,
                               .state = f->state,
                               .goal_dir = f->goal_dir,
                               .action_codec_id = codec_id(a, codec),
                               .accept_pipeline = f->accept_pipeline};
    struct task *t = a->goal_task = mem_alloc(sizeof *t);
    if (f->rom && !(f->state && f->goal_dir))
        return error_set(e, STATUS_USAGE,
                         "%s was trained towards a goal: give --rom, --state and "
                         "--goal-dir",
                         a->session);
    if (!(f->rom ? task_open_files(&files, t, e) : task_open_builtin(a->task, codec, t, e)))
        return false;
    t->rules.max_steps = (int)a->config.max_episode_steps;
    goal_rules_set_reward(&t->rules, a->config.alpha, a->config.goal_bonus, a->config.step_cost);
    return same_hash(a, "rom", f->rom ? f->rom : a->task, t->rom_sha256, e) &&
           same_hash(a, "start_state", f->state ? f->state : a->task, t->state_sha256, e) &&
           same_hash(a, "goal", f->goal_dir ? f->goal_dir : a->task, t->goal.sha256, e);
}

static bool open_file(const char *path, size_t limit, uint8_t **data, size_t *n, char hash[],
                      struct error *e) {
    if (!file_read(path, limit, data, n, e)) return false;
    sha256_hex(*data, *n, hash);
    return true;
}

static bool open_scene(struct saved_agent *a, const struct saved_files *f,
                       struct env_gameboy_opts *o, struct error *e) {
    char hash[SHA256_HEX_SIZE], state_hash[SHA256_HEX_SIZE] = "none";
    const struct builtin_task *t = builtin_task_find(a->task);
    if (f->rom) {
        if (!open_file(f->rom, MAX_ROM_BYTES, &a->rom, &o->rom_bytes, hash, e)) return false;
        o->rom = a->rom;
    } else {
        o->rom = t->rom;
        o->rom_bytes = t->rom_bytes;
        sha256_hex(t->rom, t->rom_bytes, hash);
    }
    if (f->state &&
        !open_file(f->state, MAX_STATE_BYTES, &a->state, &o->state_bytes, state_hash, e))
        return false;
    o->state = a->state;
    o->state_name = f->state;
    o->rom_name = f->rom ? f->rom : a->task;
    return same_hash(a, "rom", o->rom_name, hash, e) &&
           same_hash(a, "start_state", f->state ? f->state : "no --state", state_hash, e);
}

static struct env *make_toy(const struct saved_agent *a, int n_envs, struct error *e) {
    char codec[64];
    struct goal_rules rules = toy_rules;
    rules.max_steps = (int)a->config.max_episode_steps;
    goal_rules_set_reward(&rules, a->config.alpha, a->config.goal_bonus, a->config.step_cost);
    return env_toy_new(&(struct env_toy_opts){.n_envs = n_envs,
                                              .action_codec = codec_id(a, codec),
                                              .rules = &rules},
                       e);
}

static struct env *make_control(const struct saved_agent *a, const struct saved_files *f,
                                int n_envs, struct error *e) {
    if (f->rom || f->state || f->goal_dir) {
        error_set(e, STATUS_USAGE,
                  "%s was trained on --task %s, which is no Game Boy: leave %s out", a->session,
                  a->task,
                  f->rom     ? "--rom"
                  : f->state ? "--state"
                             : "--goal-dir");
        return NULL;
    }
    return a->control->make(&(struct control_opts){.n_envs = n_envs,
                                                   .max_steps = (int)a->config.max_episode_steps,
                                                   .seed = (uint64_t)a->config.seed,
                                                   .obs = a->obs});
}

struct env *saved_agent_env(struct saved_agent *a, const struct saved_files *f, int n_envs,
                            struct pool *pool, struct error *e) {
    char codec[64];
    CHECK(!a->goal_task && !a->rom && !a->state, "one environment per agent");
    if (strcmp(a->task, TOY_TASK_NAME) == 0) return make_toy(a, n_envs, e);
    if (a->control) return make_control(a, f, n_envs, e);
    if (!f->rom && !builtin_task_find(a->task)) {
        error_set(e, STATUS_USAGE, "%s was trained on the file %s: give it with --rom%s",
                  a->session, a->task, a->has_goal ? ", --state and --goal-dir" : "");
        return NULL;
    }
    struct env_gameboy_opts o = {.action_codec = codec_id(a, codec),
                                 .n_envs = n_envs,
                                 .max_episode_steps = (int)a->config.max_episode_steps,
                                 .pool = pool};
    if (!(a->has_goal ? open_goal(a, f, e) : open_scene(a, f, &o, e))) return NULL;
    if (a->has_goal) task_env_opts(a->goal_task, &o);
    return env_gameboy_new(&o, e);
}
