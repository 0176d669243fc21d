// Reproduce: a failure bundle back into a model, and its update again.
#include "engine/run/reproduce.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/run/ppo/ppo_run.h"
#include "engine/run/worker/worker_internal.h"

static const size_t max_json_bytes = 4 << 20;

struct bundle {
    const char *path;
    cJSON *report;
    const char *kernel; // inside the report
    bool ppo;
    bool behaviour, policy; // the stage that failed; neither: the whole update again
    int64_t n_actions, step, tick;
    struct env shape;  // what the model asks of the environments: how many, and their actions
    struct ranks rank; // n 0: the run was one process
    struct worker *w;  // config, pool and model only
};

// ---- a rank of several, again by itself: the others are taken to be like it

static void sum_alike(struct ranks *r, real *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] *= (real)r->n;
}

static void gather_alike(struct ranks *r, const void *mine, void *all, int64_t bytes) {
    for (int k = 0; k < r->n; k++) memcpy((char *)all + k * bytes, mine, (size_t)bytes);
}

static void close_alike(struct ranks *r) { (void)r; }

static bool read_rank(struct bundle *b, const char *path, struct error *e) {
    int64_t n = 0, rank = 0;
    if (!cJSON_GetObjectItemCaseSensitive(b->report, "ranks")) return true;
    if (!json_get_i64(b->report, "ranks", path, &n, e) ||
        !json_get_i64(b->report, "rank", path, &rank, e))
        return false;
    if (n < 1 || n > 1 << 20 || rank < 0 || rank >= n)
        return error_set(e, STATUS_FAILED, "%s: rank %lld of %lld", path, (long long)rank,
                         (long long)n);
    b->rank = (struct ranks){.rank = (int)rank,
                             .n = (int)n,
                             .sum = sum_alike,
                             .gather = gather_alike,
                             .close = close_alike};
    b->w->opts.ranks = &b->rank;
    return true;
}

// A bundle that does not say them is of pictures and buttons.
static bool read_spaces(struct bundle *b, const char *path, struct error *e) {
    enum { MOST = 1024 };
    struct env *s = &b->shape;
    const cJSON *heads = cJSON_GetObjectItemCaseSensitive(b->report, "heads");
    const int n_heads = cJSON_GetArraySize(heads);
    int64_t n_continuous = 0, n_vector = 0;
    bool fine = b->n_actions >= 1 && b->n_actions <= MOST && n_heads <= SPACE_MAX_HEADS;
    *s = env_of_buttons(NULL, 1, fine ? (int)b->n_actions : 1, NULL);
    if (!heads) return fine || error_set(e, STATUS_FAILED, "%s: n_actions out of range", path);
    if (!json_get_i64(b->report, "n_continuous", path, &n_continuous, e) ||
        !json_get_i64(b->report, "n_vector", path, &n_vector, e) ||
        !json_get_bool(b->report, "pixels", path, &s->obs.pixels, e))
        return false;
    fine &= n_continuous >= 0 && n_continuous <= MOST && n_vector >= 0 && n_vector <= MOST &&
            (s->obs.pixels || n_vector) && !(n_continuous && n_heads);
    s->obs.n_vector = (int)n_vector;
    s->actions = (struct action_space){.n_heads = n_heads, .n_continuous = (int)n_continuous};
    for (int k = 0; fine && k < n_heads; k++) {
        const cJSON *item = cJSON_GetArrayItem(heads, k);
        fine = cJSON_IsNumber(item) && item->valuedouble >= 1 && item->valuedouble <= MOST;
        s->actions.classes[k] = fine ? (int)item->valuedouble : 0;
    }
    fine = fine && action_width(&s->actions) == s->n_actions;
    return fine || error_set(e, STATUS_FAILED, "%s: observations or actions that no run has", path);
}

static bool read_report(struct bundle *b, struct reproduction *out, struct error *e) {
    char path[PATH_SIZE];
    const char *algo, *mode, *stage, *node, *kernel;
    if (!file_is_folder(b->path))
        return error_set(e, STATUS_USAGE,
                         "%s: no such bundle: give a folder in a session's failures/", b->path);
    if (!path_join(path, b->path, "failure.json", e)) return false;
    b->report = json_read_file(path, max_json_bytes, e);
    if (!b->report) return false;
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(b->report, "algo");
    b->ppo = cJSON_IsString(given) && strcmp(given->valuestring, "ppo") == 0;
    if (b->ppo) return true; // it reads the rest itself
    if (cJSON_IsString(given) && strcmp(given->valuestring, "dreamer_v3") != 0)
        return error_set(e, STATUS_USAGE,
                         "%s: a bundle of %.40s; this command knows dreamer_v3 and ppo", path,
                         given->valuestring);
    if (!json_get_string(b->report, "algo", path, &algo, e) ||
        !json_get_string(b->report, "mode", path, &mode, e) ||
        !json_get_string(b->report, "stage", path, &stage, e) ||
        !json_get_string(b->report, "bad_node", path, &node, e) ||
        !json_get_string(b->report, "kernel", path, &kernel, e) ||
        !json_get_i64(b->report, "n_actions", path, &b->n_actions, e) ||
        !json_get_i64(b->report, "opt_steps", path, &b->step, e) ||
        !json_get_bool(b->report, "zero_latent", path, &b->w->opts.zero_latent, e))
        return false;
    if (!read_spaces(b, path, e) || !read_rank(b, path, e)) return false;
    b->w->algo = worker_algo_find(mode);
    b->behaviour = strcmp(stage, worker_stage_names[STAGE_BEHAVIOUR]) == 0;
    b->policy = strcmp(stage, worker_stage_names[STAGE_POLICY]) == 0;
    if (b->policy && !json_get_i64(b->report, "env_ticks", path, &b->tick, e)) return false;
    if (!b->w->algo || b->n_actions < 1 || b->n_actions > 1024 || b->step < 0)
        return error_set(e, STATUS_FAILED,
                         "%s: mode \"%.30s\", %lld actions, step %lld: no run has these", path,
                         mode, (long long)b->n_actions, (long long)b->step);
    out->update = b->policy ? b->step : b->step + 1;
    out->policy = b->policy;
    b->kernel = kernel;
    snprintf(out->stage, sizeof out->stage, "%s", stage);
    snprintf(out->recorded, sizeof out->recorded, "%s", node);
    return true;
}

static bool build(struct bundle *b, int n_threads, struct error *e) {
    char path[PATH_SIZE];
    uint8_t *text;
    size_t n;
    struct worker *w = b->w;
    if (!path_join(path, b->path, "config.json", e) ||
        !file_read(path, max_json_bytes, &text, &n, e))
        return false;
    bool fine = config_init(&w->config, "tiny", e) &&
                config_from_json(&w->config, (const char *)text, n, path, e) &&
                config_check(&w->config, e);
    free(text);
    if (!fine) return false;
    b->shape.n_envs = (int)w->config.num_envs;
    w->pool = pool_new(n_threads > 0 ? n_threads : 1);
    w->rollout.pool = pool_new(1);
    w->rollout.env = &b->shape;
    w->algo->build(w);
    return true;
}

static bool load_weights(struct bundle *b, struct error *e) {
    char path[PATH_SIZE];
    int64_t counters[3];
    struct checkpoint_scalar scalars[] = {
        {"opt_steps", &counters[0]}, {"env_steps", &counters[1]}, {"env_ticks", &counters[2]}};
    struct checkpoint c = {.scalars = scalars, .n_scalars = 3, .of_failure = true};
    struct safetensors *file = NULL;
    bool fine = path_join(path, b->path, "before.safetensors", e) &&
                worker_load_model(b->w, path, &c, &file, e);
    safetensors_free(file);
    wm_set_opt_steps(b->w->wm, b->step);
    if (fine) worker_model_to_device(b->w);
    return fine;
}

static bool load_batch(struct bundle *b, struct error *e) {
    struct st_source list[BATCH_MAX_TENSORS];
    const int n = worker_batch_tensors(wm_batch(b->w->wm), list);
    char path[PATH_SIZE];
    struct safetensors *s =
        path_join(path, b->path, "batch.safetensors", e) ? safetensors_open(path, e) : NULL;
    bool fine = s != NULL;
    for (int i = 0; fine && i < n; i++) {
        const struct st_tensor *t =
            safetensors_expect(s, list[i].name, list[i].dtype, list[i].n_dims, list[i].shape, e);
        fine = t != NULL;
        if (fine)
            memcpy((void *)(uintptr_t)list[i].data, t->data, t->n_bytes); // the model's own input
    }
    safetensors_free(s);
    return fine;
}

// The posterior states come from the weights before the update, the dream from the world model
// after its own step.
static bool run_behaviour(struct bundle *b, struct wm_result *out, struct error *e) {
    char path[PATH_SIZE];
    struct worker *w = b->w;
    struct checkpoint world = {.params = wm_params(w->wm), .of_failure = true};
    if (!wm_forward_backward(w->wm, out)) return true; // it failed earlier than it did then
    if (!path_join(path, b->path, "stepped.safetensors", e) ||
        !checkpoint_load(path, &world, NULL, e))
        return false;
    struct wm_states states = wm_states(w->wm);
    struct behaviour_start start = {states.z, states.h, wm_batch(w->wm)->continues};
    struct behaviour_result r;
    behaviour_update(dreamer_behaviour(w->dreamer), &start, b->step, &r);
    out->loss = r.loss_actor + r.loss_critic;
    out->grad_norm = hypot(r.norm_actor, r.norm_critic);
    snprintf(out->bad_node, sizeof out->bad_node, "%s", r.bad_node);
    return true;
}

static bool run_policy(struct bundle *b, struct wm_result *out, struct error *e) {
    char path[PATH_SIZE];
    if (!b->w->dreamer)
        return error_set(e, STATUS_FAILED, "%s: a policy's bundle of a run without one", b->path);
    return path_join(path, b->path, "policy.safetensors", e) &&
           worker_policy_again(b->w, path, b->tick, out->bad_node, e);
}

static bool run_update(struct bundle *b, struct wm_result *out, struct error *e) {
    struct worker *w = b->w;
    if (!load_weights(b, e) || !load_batch(b, e)) return false;
    if (b->behaviour && w->dreamer && !dreamer_is_joint(w->dreamer))
        return run_behaviour(b, out, e);
    w->algo->update(w, out);
    return true;
}

static bool run_dreamer(struct bundle *b, int n_threads, struct reproduction *out,
                        struct error *e) {
    struct wm_result result = {0};
    bool fine = build(b, n_threads, e);
    if (fine) fine = b->policy ? run_policy(b, &result, e) : run_update(b, &result, e);
    if (fine) out->same_kernel = strcmp(b->kernel, cpu_kernels_kind(b->w->config.autocast)) == 0;
    out->loss = result.loss;
    out->grad_norm = result.grad_norm;
    snprintf(out->found, sizeof out->found, "%.127s", result.bad_node);
    if (b->w->wm) b->w->algo->free(b->w);
    pool_free(b->w->pool);
    pool_free(b->w->rollout.pool);
    if (b->rank.n) ranks_close(&b->rank);
    return fine;
}

bool reproduce_run(const char *path, int n_threads, struct reproduction *out, struct error *e) {
    struct bundle b = {.path = path, .w = mem_alloc(sizeof *b.w)};
    *out = (struct reproduction){0};
    const bool fine =
        read_report(&b, out, e) && (b.ppo ? ppo_run_reproduce(path, b.report, n_threads, out, e)
                                          : run_dreamer(&b, n_threads, out, e));
    free(b.w);
    cJSON_Delete(b.report);
    return fine;
}
