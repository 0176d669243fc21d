// Worker resume: a session's own options, what must not have changed, and its history.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "emu/gb_action.h"
#include "engine/run/worker/worker_internal.h"

static const size_t max_json_bytes = 4 << 20;

// Keys that the saved weights, rows or machines have the shape or the meaning of, and the
// precision. All others may change, with a warning.
static const char *const fixed_keys[] = {
    "algo.profile",
    "algo.dense_units",
    "algo.mlp_layers",
    "algo.world_model.discrete_size",
    "algo.world_model.stochastic_size",
    "algo.world_model.decoupled_rssm",
    "algo.world_model.learnable_initial_recurrent_state",
    "algo.world_model.encoder.cnn_channels_multiplier",
    "algo.world_model.recurrent_model.recurrent_state_size",
    "algo.world_model.recurrent_model.dense_units",
    "algo.world_model.recurrent_model.blocks",
    "algo.world_model.transition_model.hidden_size",
    "algo.world_model.representation_model.hidden_size",
    "algo.world_model.reward_model.bins",
    "algo.critic.bins",
    "env.action_codec",
    "env.observation",
    "env.num_envs",
    "precision.autocast", // meta.json names one kernel kind for the whole run
};

static bool is_fixed(const char *key) {
    for (size_t i = 0; i < sizeof fixed_keys / sizeof *fixed_keys; i++)
        if (strcmp(fixed_keys[i], key) == 0) return true;
    return false;
}

static bool read_session(struct resume *r, const char *path, struct error *e) {
    char where[PATH_SIZE];
    uint8_t *text;
    size_t n;
    int64_t schema;
    struct error why = {0};
    if (!session_locate(path, r->session, r->checkpoint, &why))
        return error_set(e, why.status, "--resume: %.500s", why.message);
    if (r->checkpoint[0])
        r->opt_steps = session_checkpoint_step(r->checkpoint);
    else if (!session_newest_checkpoint(r->session, r->checkpoint, &r->opt_steps, NULL))
        r->checkpoint[0] = 0; // killed before the first one: the run begins again
    if (r->opt_steps < 0)
        return error_set(e, STATUS_USAGE, "%s: not a checkpoint's name (step_NNN.safetensors)",
                         r->checkpoint);
    if (!path_join(where, r->session, "meta.json", e)) return false;
    r->meta = json_read_file(where, max_json_bytes, e);
    if (!r->meta || !json_get_i64(r->meta, "schema", where, &schema, e)) return false;
    if (schema != SESSION_SCHEMA)
        return error_set(e, STATUS_FAILED,
                         "%s: session version %lld, this program reads version %d", where,
                         (long long)schema, SESSION_SCHEMA);
    if (!path_join(where, r->session, "config.json", e) ||
        !file_read(where, max_json_bytes, &text, &n, e))
        return false;
    bool fine = config_init(&r->saved, "tiny", e) &&
                config_from_json(&r->saved, (const char *)text, n, where, e);
    free(text);
    return fine;
}

// A text of meta.json, or NULL.
static const char *meta_text(const struct resume *r, const char *object, const char *key) {
    const cJSON *from = object ? cJSON_GetObjectItemCaseSensitive(r->meta, object) : r->meta;
    const cJSON *item = from ? cJSON_GetObjectItemCaseSensitive(from, key) : NULL;
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

// An option that the session settles: not given, or given alike.
static bool settle(const char **option, const char *name, const struct resume *r, const char *saved,
                   struct error *e) {
    if (*option && saved && strcmp(*option, saved) != 0)
        return error_set(e, STATUS_USAGE, "--resume %s: it was made with %s %s, not %s", r->session,
                         name, saved, *option);
    *option = saved;
    return true;
}

// The game of a session comes from the program by its name, else from the user's files: those of
// before, or where they are now. Their content is compared later.
static bool settle_game(struct run_opts *o, const struct resume *r, struct error *e) {
    const char *rom_path = meta_text(r, "rom", "path");
    if (!rom_path) {
        if (o->rom_path)
            return error_set(e, STATUS_USAGE,
                             "--resume %s: it was made with --task %s, not --rom %s", r->session,
                             meta_text(r, NULL, "task"), o->rom_path);
        return settle(&o->task, "--task", r, meta_text(r, NULL, "task"), e);
    }
    if (o->task)
        return error_set(e, STATUS_USAGE, "--resume %s: it was made with --rom %s, not --task %s",
                         r->session, rom_path, o->task);
    if (!o->rom_path) o->rom_path = rom_path;
    if (!o->state_path) o->state_path = meta_text(r, NULL, "state_path");
    if (!o->goal_dir) o->goal_dir = meta_text(r, NULL, "goal_dir");
    const cJSON *goal = cJSON_GetObjectItemCaseSensitive(r->meta, "goal"),
                *pipeline =
                    goal ? cJSON_GetObjectItemCaseSensitive(goal, "pipeline_version") : NULL;
    if (cJSON_IsNumber(pipeline) && !o->accept_pipeline)
        o->accept_pipeline = (int)pipeline->valuedouble;
    return true;
}

// A model that learned without its latent goes on without it.
static bool settle_zero_latent(struct run_opts *o, const struct resume *r, struct error *e) {
    const bool saved = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(r->meta, "zero_latent"));
    if (o->zero_latent && !saved)
        return error_set(e, STATUS_USAGE, "--resume %s: it was made without --zero-latent",
                         r->session);
    o->zero_latent = saved;
    return true;
}

// Each rank has environments and a ring of its own.
static bool same_ranks(const struct run_opts *o, const struct resume *r, struct error *e) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(r->meta, "ranks");
    const int saved = cJSON_IsNumber(item) ? (int)item->valuedouble : 1, now = ranks_n(o->ranks);
    if (saved == now) return true;
    if (saved == 1)
        return error_set(e, STATUS_USAGE,
                         "--resume %s: it was made by one process, not by %d ranks", r->session,
                         now);
    return error_set(e, STATUS_USAGE,
                     "--resume %s: it was made by %d ranks, not %d: mpirun -n %d workbench train "
                     "--ranks mpi --resume ...",
                     r->session, saved, now, saved);
}

static bool compare_configs(struct worker *w, struct error *e) {
    struct resume *r = w->resume;
    for (int i = 0; i < config_n_keys; i++) {
        const char *key = config_keys[i].name;
        char before[CONFIG_TEXT_SIZE], now[CONFIG_TEXT_SIZE];
        config_text(&r->saved, i, before);
        config_text(&w->config, i, now);
        if (strcmp(before, now) == 0) continue;
        if (is_fixed(key))
            return error_set(e, STATUS_USAGE,
                             "--resume %s: %s is %s there, not %s; it cannot change", r->session,
                             key, before, now);
        log_write(LOG_WARN, "%s: %s in the session, %s from here on", key, before, now);
        r->ring_changed |= strcmp(key, "buffer.size") == 0;
    }
    return true;
}

bool worker_resume_options(struct worker *w, struct error *e) {
    struct run_opts *o = &w->opts;
    struct resume *r = w->resume = mem_alloc(sizeof *r);
    char seed[64];
    if (!read_session(r, o->resume, e) || !same_ranks(o, r, e) ||
        !settle(&o->algo, "--algo", r, meta_text(r, NULL, "algo"), e) ||
        !settle(&o->mode, "--mode", r, meta_text(r, NULL, "mode"), e) ||
        !settle(&o->preset, "--preset", r, meta_text(r, NULL, "preset"), e) ||
        !settle_game(o, r, e) || !settle_zero_latent(o, r, e))
        return false;
    if (!config_init(&w->config, o->preset ? o->preset : "tiny", e)) return false;
    char preset[CONFIG_CHOICE_SIZE];
    memcpy(preset, w->config.preset, sizeof preset);
    w->config = r->saved;
    memcpy(w->config.preset, preset, sizeof preset);
    snprintf(seed, sizeof seed, "seed=%s", o->seed ? o->seed : "");
    if (o->seed && !config_set(&w->config, seed, e)) return false;
    for (int i = 0; i < o->n_settings; i++)
        if (!config_set(&w->config, o->settings[i], e)) return false;
    return compare_configs(w, e) && config_check(&w->config, e);
}

// ---- the same game

static bool same_text(const struct resume *r, const char *what, const char *saved, const char *now,
                      struct error *e) {
    if (!saved || !*saved) saved = "none";
    if (!now || !*now) now = "none";
    return strcmp(saved, now) == 0 ||
           error_set(e, STATUS_USAGE, "--resume %s: %s is %.64s there, not %.64s; it cannot change",
                     r->session, what, saved, now);
}

static bool same_count(const struct resume *r, const char *key, int now, struct error *e) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(r->meta, key);
    char a[32], b[32];
    snprintf(a, sizeof a, "%g", cJSON_IsNumber(item) ? item->valuedouble : 0);
    snprintf(b, sizeof b, "%d", now);
    return same_text(r, key, a, b, e);
}

bool worker_resume_same_game(const struct worker *w, struct error *e) {
    const struct resume *r = w->resume;
    if (!same_text(r, "the ROM's SHA-256", meta_text(r, "rom", "sha256"), w->rom_sha256, e) ||
        !same_text(r, "the start state's SHA-256", meta_text(r, "start_state", "sha256"),
                   w->state_sha256, e) ||
        !same_text(r, "the goal's SHA-256", meta_text(r, "goal", "sha256"),
                   w->goal_task ? w->goal_task->goal.sha256 : "", e) ||
        !same_count(r, "frames_per_step", w->control ? 0 : GB_FRAMES_PER_STEP, e) ||
        !same_count(r, "release_after", w->control ? 0 : GB_RELEASE_AFTER, e))
        return false;
    session_warn_of_program(r->meta, cpu_kernels_kind(w->config.autocast));
    return true;
}

// ---- history

bool worker_resume_history(struct worker *w, struct error *e) {
    struct session_data *d = session_read(session_path(w->session), e);
    if (!d) return false;
    for (int64_t i = 0; i < d->n_records; i++) {
        const struct record *r = &d->records[i];
        if (r->present >> METRIC_WALL_TIME & 1)
            w->resume->elapsed_s = (double)r->value[METRIC_WALL_TIME];
        feed_push_record(w->feed, r, w->resume->elapsed_s);
    }
    session_data_free(d);
    return true;
}

void worker_resume_free(struct resume *r) {
    if (!r) return;
    cJSON_Delete(r->meta);
    free(r);
}
