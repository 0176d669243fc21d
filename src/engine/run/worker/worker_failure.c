// Worker failure: the bundle of an update or of a policy step that is not finite: its inputs,
// weights, config, last metrics, how to see it again.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/run/worker/worker_internal.h"

const char *const worker_stage_names[] = {"world_model", "behaviour", "joint", "policy"};

int worker_batch_tensors(const struct wm_batch *b, struct st_source out[BATCH_MAX_TENSORS]) {
    const int64_t T = b->length, B = b->batch;
    const struct st_source list[BATCH_MAX_TENSORS] = {
        {"packed", ST_U8, 3, {T, B, WM_PACKED_BYTES}, b->packed},
        {"vector", ST_REAL, 3, {T, B, b->n_vector}, b->vector},
        {"prev_actions", ST_REAL, 3, {T, B, b->n_actions}, b->prev_actions},
        {"is_first", ST_REAL, 2, {T, B}, b->is_first},
        {"rewards", ST_REAL, 2, {T, B}, b->rewards},
        {"continues", ST_REAL, 2, {T, B}, b->continues}};
    int n = 0;
    for (int i = 0; i < BATCH_MAX_TENSORS; i++)
        if (list[i].data) out[n++] = list[i]; // what is not observed has no input
    return n;
}

// The batch that failed, as it was fed to the model.
static bool save_batch(struct worker *w, const char *folder, struct error *e) {
    struct st_source tensors[BATCH_MAX_TENSORS];
    char path[PATH_SIZE];
    const int n = worker_batch_tensors(wm_batch(w->wm), tensors);
    return path_join(path, folder, "batch.safetensors", e) &&
           safetensors_write(path, tensors, n, NULL, 0, e);
}

static void add_word(struct text *t, const char *option, const char *word) {
    if (!word) return;
    text_add(t, " %s '", option);
    for (; *word; word++) text_add(t, *word == '\'' ? "'\\''" : "%c", *word);
    text_add(t, "'");
}

// A shell command that runs this run up to update `updates` again, with every key that was given.
// The keys that make the config out of its preset. Not those that were given: to a resumed run all
// are, also those that its task refuses. The length of an episode always: tasks have one of their
// own where it is not given.
static void add_keys(const struct config *config, struct text *t) {
    struct error e = {0};
    struct config made;
    CHECK(config_init(&made, config->preset, &e), "the run has a preset");
    for (int i = 0; i < config_n_keys; i++) { // a key may move those behind it
        char value[CONFIG_TEXT_SIZE], so_far[CONFIG_TEXT_SIZE], assignment[192];
        config_text(config, i, value);
        config_text(&made, i, so_far);
        if (strcmp(value, so_far) == 0 && strcmp(config_keys[i].name, "env.max_episode_steps") != 0)
            continue;
        snprintf(assignment, sizeof assignment, "%s=%s", config_keys[i].name, value);
        CHECK(config_set(&made, assignment, &e), "the run has %s", assignment);
        text_add(t, " %s", assignment);
    }
}

static void format_command(const struct worker *w, int64_t updates, struct text *t) {
    const struct run_opts *o = &w->opts;
    const struct ranks *r = o->ranks;
    if (r) text_add(t, "mpirun -n %d ", r->n);
    text_add(t, "workbench train --headless%s --mode %s --preset %s", r ? " --ranks mpi" : "",
             w->algo->mode, w->config.preset);
    add_word(t, o->rom_path ? "--rom" : "--task", o->rom_path ? o->rom_path : w->rom_name);
    add_word(t, "--state", o->state_path);
    add_word(t, "--goal-dir", o->goal_dir);
    if (o->accept_pipeline) text_add(t, " --accept-pipeline %d", o->accept_pipeline);
    if (o->zero_latent) text_add(t, " --zero-latent");
    add_keys(&w->config, t);
    text_add(t, " --updates %lld", (long long)updates);
}

// The shape of the model beside its config.
static void add_spaces(cJSON *o, const struct env *env) {
    const struct action_space *a = &env->actions;
    cJSON *heads = cJSON_AddArrayToObject(o, "heads");
    for (int k = 0; k < a->n_heads; k++)
        cJSON_AddItemToArray(heads, cJSON_CreateNumber(a->classes[k]));
    json_add_count(o, "n_continuous", a->n_continuous);
    json_add_bool(o, "pixels", env->obs.pixels);
    json_add_count(o, "n_vector", env->obs.n_vector);
}

static void describe_update(cJSON *o, const struct wm_result *result) {
    json_add_string(
        o, "what",
        "an update whose loss or gradient norm is not finite; the weights are those before it");
    json_add_string(o, "bad_node", result->bad_node);
    json_add_double(o, "loss", result->loss);
    json_add_double(o, "grad_norm", result->grad_norm);
}

static void describe_policy(cJSON *o, const struct rollout *r) {
    json_add_string(o, "what",
                    "a policy step whose state or probabilities are not finite; opt_steps: made "
                    "by the weights that it played with");
    json_add_string(o, "bad_node", r->bad_node);
    json_add_count(o, "env_ticks", r->env_ticks);
}

// result NULL: the policy's step failed.
static bool save_report(struct worker *w, const char *folder, const struct wm_result *result,
                        struct error *e) {
    char path[PATH_SIZE];
    cJSON *o = cJSON_CreateObject();
    const int64_t step = result ? wm_opt_steps(w->wm) : w->rollout.weights_step;
    json_add_string(o, "algo", "dreamer_v3");
    json_add_string(o, "mode", w->algo->mode);
    json_add_string(o, "stage", worker_stage_names[result ? w->kept.stage : STAGE_POLICY]);
    if (result)
        describe_update(o, result);
    else
        describe_policy(o, &w->rollout);
    json_add_count(o, "opt_steps", step);
    json_add_count(o, "env_steps", w->fence.policy_steps);
    json_add_count(o, "n_actions", w->rollout.env->n_actions);
    add_spaces(o, w->rollout.env);
    json_add_bool(o, "zero_latent", w->opts.zero_latent);
    if (w->opts.ranks) {
        json_add_count(o, "rank", w->opts.ranks->rank);
        json_add_count(o, "ranks", w->opts.ranks->n);
    }
    json_add_u64(o, "seed", (uint64_t)w->config.seed);
    json_add_string(
        o, "random_numbers",
        result ? "Philox4x32-10, key seed, stream (purpose, opt_steps, index): the position is "
                 "opt_steps"
               : "Philox4x32-10, key seed, stream (purpose, env_ticks, index): the position is "
                 "env_ticks");
    json_add_string(o, "kernel", cpu_kernels_kind(w->config.autocast));
    json_add_string(o, "rom_sha256", w->rom_sha256);
    struct text again = {0}, command = {0};
    add_word(&again, "workbench reproduce", folder);
    json_add_string(o, "reproduce", again.data + 1);
    format_command(w, step + 1, &command);
    json_add_string(o, "command", command.data);
    text_deinit(&again);
    text_deinit(&command);
    bool fine = path_join(path, folder, "failure.json", e) && json_write_file(path, o, true, e);
    cJSON_Delete(o);
    return fine;
}

static bool save_last_metrics(struct worker *w, const char *folder, struct error *e) {
    struct text lines = {0};
    char path[PATH_SIZE];
    int64_t n = feed_n_records(w->feed);
    for (int64_t i = n > 20 ? n - 20 : 0; i < n; i++)
        session_format_metrics(feed_record(w->feed, i), &lines);
    bool fine = path_join(path, folder, "last_metrics.jsonl", e) &&
                file_write_atomic(path, lines.data ? lines.data : "", lines.n, e);
    text_deinit(&lines);
    return fine;
}

static bool save_config(struct worker *w, const char *folder, struct error *e) {
    char path[PATH_SIZE], *json = config_to_json(&w->config);
    bool fine =
        path_join(path, folder, "config.json", e) && file_write_atomic(path, json, strlen(json), e);
    free(json);
    return fine;
}

// The state before the update. When the behaviour fails, the world model has made its step: what it
// was before comes from the copies (its moments are those after it), and what it is now, which the
// dream was made with, is saved too.
static bool save_weights(struct worker *w, const char *folder, struct error *e) {
    char before[PATH_SIZE], stepped[PATH_SIZE];
    if (!path_join(before, folder, "before.safetensors", e) ||
        !path_join(stepped, folder, "stepped.safetensors", e))
        return false;
    const int64_t played = w->fence.policy_steps;
    if (w->kept.stage != STAGE_BEHAVIOUR) return worker_save_weights(w, before, played, e);
    struct checkpoint world = {.params = wm_params(w->wm)};
    if (!checkpoint_save(stepped, &world, e)) return false;
    struct params *sets[] = {wm_params(w->wm), dreamer_params(w->dreamer, DREAMER_TARGET)};
    real *now[] = {sets[0]->weights, sets[1]->weights};
    sets[0]->weights = w->kept.world->weights;
    sets[1]->weights = w->kept.target.weights;
    bool fine = worker_save_weights(w, before, played, e);
    for (int i = 0; i < 2; i++) sets[i]->weights = now[i];
    return fine;
}

// Each rank has a bundle of its own, in rank 0's session.
static bool make_folder(const struct worker *w, int64_t step, char out[PATH_SIZE],
                        struct error *e) {
    const char *session = w->session ? session_path(w->session) : w->shared_session;
    return session_failure_folder(session, step, ranks_rank(w->opts.ranks), out, e);
}

void worker_write_failure(struct worker *w, const struct wm_result *result) {
    struct error e = {0};
    char folder[PATH_SIZE];
    if (!w->session && !w->shared_session[0]) return;
    rollout_wait(w, &e); // one that failed too has a bundle of its own
    bool fine = make_folder(w, wm_opt_steps(w->wm) + 1, folder, &e) &&
                save_weights(w, folder, &e) && save_batch(w, folder, &e) &&
                save_config(w, folder, &e) && save_last_metrics(w, folder, &e) &&
                save_report(w, folder, result, &e);
    if (!fine) log_write(LOG_WARN, "the failure folder is not complete: %s", e.message);
}

void worker_write_policy_failure(struct worker *w) {
    const struct rollout *r = &w->rollout;
    struct error e = {0};
    char folder[PATH_SIZE], path[PATH_SIZE];
    if ((!w->session && !w->shared_session[0]) || !r->bad_node[0]) return;
    const bool fine = make_folder(w, r->weights_step, folder, &e) &&
                      path_join(path, folder, "policy.safetensors", &e) &&
                      worker_save_policy_input(w, path, &e) && save_config(w, folder, &e) &&
                      save_last_metrics(w, folder, &e) && save_report(w, folder, NULL, &e);
    if (!fine) log_write(LOG_WARN, "the failure folder is not complete: %s", e.message);
}
