// PPO run failures: the folder of an update that was not finite, and that step again from it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/run/ppo/ppo_run_internal.h"

static const size_t max_json_bytes = 4 << 20;

// ---- the minibatch, in both directions

enum { N_INPUTS = 6, N_SAVED = N_INPUTS + 1 };

// What the failing step was given; data points into the agent.
static void list_inputs(const struct ppo *p, struct st_source out[N_INPUTS]) {
    const struct ppo_minibatch m = ppo_minibatch(p);
    const struct st_source list[N_INPUTS] = {
        {"stacks", ST_U8, 3, {m.n, ppo_options(p)->dims.stack, PPO_FRAME_BYTES}, m.stacks},
        {"actions", ST_I32, 1, {m.n}, m.actions},
        {"old_log_probs", ST_REAL, 1, {m.n}, m.old_log_probs},
        {"advantages", ST_REAL, 1, {m.n}, m.advantages},
        {"returns", ST_REAL, 1, {m.n}, m.returns},
        {"old_values", ST_REAL, 1, {m.n}, m.old_values}};
    memcpy(out, list, sizeof list);
}

static bool save_minibatch(struct ppo_run *r, const char *folder, struct error *e) {
    struct st_source tensors[N_SAVED];
    char path[PATH_SIZE];
    int64_t n;
    list_inputs(r->agent, tensors);
    tensors[N_INPUTS] = (struct st_source){
        .name = "samples", .dtype = ST_I64, .n_dims = 1, .data = ppo_last_minibatch(r->agent, &n)};
    tensors[N_INPUTS].shape[0] = n;
    return path_join(path, folder, "minibatch.safetensors", e) &&
           safetensors_write(path, tensors, N_SAVED, NULL, 0, e);
}

static bool load_minibatch(struct ppo *p, const char *folder, struct error *e) {
    struct st_source list[N_INPUTS];
    char path[PATH_SIZE];
    struct safetensors *s =
        path_join(path, folder, "minibatch.safetensors", e) ? safetensors_open(path, e) : NULL;
    bool fine = s != NULL;
    list_inputs(p, list);
    for (int i = 0; fine && i < N_INPUTS; i++) {
        const struct st_tensor *t =
            safetensors_expect(s, list[i].name, list[i].dtype, list[i].n_dims, list[i].shape, e);
        fine = t != NULL;
        if (fine) memcpy((void *)(uintptr_t)list[i].data, t->data, t->n_bytes); // the agent's own
    }
    safetensors_free(s);
    const struct ppo_minibatch m = ppo_minibatch(p);
    for (int64_t i = 0; fine && i < m.n; i++)
        if (m.actions[i] < 0 || m.actions[i] >= ppo_options(p)->dims.n_actions)
            fine = error_set(e, STATUS_FAILED, "%s: actions: %d, there are %lld", path,
                             m.actions[i], (long long)ppo_options(p)->dims.n_actions);
    return fine;
}

// ---- writing the folder

// The keys that are not their defaults, given now or in the session that a run goes on with. The
// length of an episode always: tasks have one of their own where it is not given.
static void add_keys(const struct ppo_config *config, struct text *t) {
    struct ppo_config plain;
    ppo_config_init(&plain);
    for (int i = 0; i < ppo_config_schema.n; i++) {
        const struct config_key *key = &ppo_config_schema.keys[i];
        char value[CONFIG_TEXT_SIZE], by_default[CONFIG_TEXT_SIZE];
        config_key_text(key, config, value);
        config_key_text(key, &plain, by_default);
        if (strcmp(value, by_default) != 0 || strcmp(key->name, "env.max_episode_steps") == 0)
            text_add(t, " %s=%s", key->name, value);
    }
}

static void format_command(const struct ppo_run *r, struct text *t) {
    const struct run_opts *o = &r->opts;
    text_add(t, "workbench train --headless --algo ppo");
    if (o->rom_path)
        text_add(t, " --rom '%s' --state '%s' --goal-dir '%s'", o->rom_path, o->state_path,
                 o->goal_dir);
    else
        text_add(t, " --task %s", r->name);
    add_keys(&r->config, t);
    text_add(t, " --updates %lld", (long long)ppo_counters(r->agent)->updates + 1);
}

static bool save_report(struct ppo_run *r, const char *folder, const struct ppo_learned *l,
                        struct error *e) {
    char path[PATH_SIZE], reproduce[PATH_SIZE + 32];
    struct text command = {0};
    format_command(r, &command);
    snprintf(reproduce, sizeof reproduce, "workbench reproduce '%s'", folder);
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "what",
                    "an optimiser step whose loss or gradient norm is not finite; the weights are "
                    "those before it");
    json_add_string(o, "algo", "ppo");
    json_add_string(o, "bad_node", l->bad_node);
    json_add_double(o, "loss", l->bad_loss);
    json_add_double(o, "grad_norm", l->bad_norm);
    json_add_count(o, "epoch", l->bad_epoch);
    json_add_count(o, "minibatch", l->bad_minibatch);
    json_add_double(o, "learning_rate",
                    ppo_config_rate(&r->config, ppo_counters(r->agent)->updates, r->n_updates));
    json_add_count(o, "opt_steps", ppo_counters(r->agent)->updates);
    json_add_count(o, "grad_steps", ppo_counters(r->agent)->grad_steps);
    json_add_count(o, "env_steps", collect_env_steps(r->collect));
    json_add_count(o, "n_actions", r->env->n_actions);
    json_add_u64(o, "seed", (uint64_t)r->config.seed);
    json_add_string(o, "kernel", cpu_kernels_name());
    json_add_string(o, "rom_sha256", r->task ? r->task->rom_sha256 : "");
    json_add_string(o, "reproduce", reproduce);
    json_add_string(o, "command", command.data);
    text_deinit(&command);
    bool fine = path_join(path, folder, "failure.json", e) && json_write_file(path, o, true, e);
    cJSON_Delete(o);
    return fine;
}

static bool save_config(struct ppo_run *r, const char *folder, struct error *e) {
    char path[PATH_SIZE], *json = config_schema_to_json(&ppo_config_schema, &r->config);
    bool fine =
        path_join(path, folder, "config.json", e) && file_write_atomic(path, json, strlen(json), e);
    free(json);
    return fine;
}

static bool save_last_metrics(struct ppo_run *r, const char *folder, struct error *e) {
    enum { LAST = 20 };
    char path[PATH_SIZE];
    struct text lines = {0};
    const int64_t n = feed_n_records(r->feed);
    for (int64_t i = n > LAST ? n - LAST : 0; i < n; i++)
        session_format_metrics(feed_record(r->feed, i), &lines);
    bool fine = path_join(path, folder, "last_metrics.jsonl", e) &&
                file_write_atomic(path, lines.data ? lines.data : "", lines.n, e);
    text_deinit(&lines);
    return fine;
}

void ppo_run_write_failure(struct ppo_run *r, const struct ppo_learned *l) {
    struct error e = {0};
    if (!r->session) return;
    char folder[PATH_SIZE], weights[PATH_SIZE];
    bool fine = session_failure_folder(session_path(r->session),
                                       ppo_counters(r->agent)->updates + 1, 0, folder, &e) &&
                path_join(weights, folder, "before.safetensors", &e) &&
                ppo_run_save(r, weights, &e) && save_minibatch(r, folder, &e) &&
                save_config(r, folder, &e) && save_last_metrics(r, folder, &e) &&
                save_report(r, folder, l, &e);
    if (!fine) log_write(LOG_WARN, "the failure folder is not complete: %s", e.message);
}

// ---- the failing step again

struct bundle {
    int64_t n_actions, update, epoch, minibatch;
    double learning_rate; // of that update: it may fall over the run
    const char *node, *kernel;
    struct ppo_config config;
};

static bool read_bundle(struct bundle *b, const char *folder, const cJSON *report,
                        struct error *e) {
    char path[PATH_SIZE];
    uint8_t *text;
    size_t n;
    if (!path_join(path, folder, "failure.json", e) ||
        !json_get_string(report, "bad_node", path, &b->node, e) ||
        !json_get_string(report, "kernel", path, &b->kernel, e) ||
        !json_get_i64(report, "n_actions", path, &b->n_actions, e) ||
        !json_get_i64(report, "opt_steps", path, &b->update, e) ||
        !json_get_i64(report, "epoch", path, &b->epoch, e) ||
        !json_get_i64(report, "minibatch", path, &b->minibatch, e) ||
        !json_get_double(report, "learning_rate", path, &b->learning_rate, e))
        return false;
    if (!(b->learning_rate >= 0 && b->learning_rate <= 1)) // NaN fails too
        return error_set(e, STATUS_FAILED, "%s: learning_rate is %g, no run has this", path,
                         b->learning_rate);
    if (b->n_actions < 1 || b->n_actions > PPO_MAX_ACTIONS)
        return error_set(e, STATUS_FAILED, "%s: n_actions is %lld, no run has these", path,
                         (long long)b->n_actions);
    ppo_config_init(&b->config);
    if (!path_join(path, folder, "config.json", e) ||
        !file_read(path, max_json_bytes, &text, &n, e))
        return false;
    const bool fine = ppo_config_from_json(&b->config, (const char *)text, n, path, e) &&
                      ppo_config_check(&b->config, e);
    free(text);
    return fine;
}

static bool load_weights(struct ppo *p, const char *folder, struct error *e) {
    char path[PATH_SIZE];
    struct checkpoint c = {.params = ppo_params(p), .weights_only = true, .of_failure = true};
    struct safetensors *file = NULL; // the run's own bytes in it are not needed
    const bool fine =
        path_join(path, folder, "before.safetensors", e) && checkpoint_load(path, &c, &file, e);
    safetensors_free(file);
    return fine;
}

bool ppo_run_reproduce(const char *folder, const cJSON *report, int n_threads,
                       struct reproduction *out, struct error *e) {
    struct bundle b = {0};
    struct ppo_opts opts;
    struct ppo_learned l = {0};
    if (!read_bundle(&b, folder, report, e)) return false;
    *out = (struct reproduction){.update = b.update + 1,
                                 .learning_rate = b.learning_rate,
                                 .same_kernel = strcmp(b.kernel, cpu_kernels_name()) == 0};
    snprintf(out->stage, sizeof out->stage, "pass %d, minibatch %d", (int)b.epoch,
             (int)b.minibatch);
    snprintf(out->recorded, sizeof out->recorded, "%.127s", b.node);
    ppo_config_opts(&b.config, b.n_actions, &opts);
    struct pool *pool = pool_new(n_threads > 0 ? n_threads : 1);
    struct ppo *p = ppo_new(&opts, pool);
    const bool fine = load_weights(p, folder, e) && load_minibatch(p, folder, e);
    if (fine) {
        const bool finite = ppo_step(p, b.learning_rate, &l);
        out->loss = finite ? l.terms[PPO_TOTAL] : l.bad_loss;
        out->grad_norm = finite ? l.grad_norm : l.bad_norm;
        snprintf(out->found, sizeof out->found, "%.127s", l.bad_node);
    }
    ppo_free(p);
    pool_free(pool);
    return fine;
}
