// PPO run files: checkpoints of the state after an update, reading them back.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/run/ppo/ppo_run_internal.h"

// ---- the state between rollouts

void ppo_run_take_boundary(struct ppo_run *r) {
    struct ppo_boundary *b = &r->boundary;
    const struct env_vtable *v = r->env->vtable;
    const int n = r->env->n_envs;
    if (!b->memory) {
        b->memory = mem_alloc(ppo_rollout_memory_bytes(r->rollout));
        b->collect = mem_alloc(collect_state_bytes(r->collect));
        b->env_bytes = v->save && n <= PPO_RUN_SAVED_ENVS ? (int64_t)v->state_bytes(r->env) : 0;
        if (b->env_bytes) b->envs = mem_alloc((size_t)(n * b->env_bytes));
    }
    ppo_rollout_memory_save(r->rollout, b->memory);
    collect_save(r->collect, b->collect);
    for (int i = 0; b->env_bytes && i < n; i++) v->save(r->env, i, b->envs + i * b->env_bytes);
    b->env_steps = collect_env_steps(r->collect);
}

void ppo_run_free_boundary(struct ppo_boundary *b) {
    free(b->envs);
    free(b->memory);
    free(b->collect);
}

// ---- checkpoints

enum { N_SCALARS = 4, N_EXTRA = 3 };

struct counters {
    int64_t opt_steps, env_steps, grad_steps, epochs;
    struct checkpoint_scalar list[N_SCALARS];
};

static struct checkpoint describe(struct params *p, struct counters *n, const char *hash) {
    n->list[0] = (struct checkpoint_scalar){"opt_steps", &n->opt_steps};
    n->list[1] = (struct checkpoint_scalar){"env_steps", &n->env_steps};
    n->list[2] = (struct checkpoint_scalar){"grad_steps", &n->grad_steps};
    n->list[3] = (struct checkpoint_scalar){"epochs", &n->epochs};
    return (struct checkpoint){
        .params = p, .config_sha256 = hash, .scalars = n->list, .n_scalars = N_SCALARS};
}

static void hash_config(const struct ppo_run *r, char out[SHA256_HEX_SIZE]) {
    char *json = config_schema_to_json(&ppo_config_schema, &r->config);
    sha256_hex(json, strlen(json), out);
    free(json);
}

bool ppo_run_save(struct ppo_run *r, const char *path, struct error *e) {
    const struct ppo_counters *now = ppo_counters(r->agent);
    const struct ppo_boundary *b = &r->boundary;
    char hash[SHA256_HEX_SIZE];
    struct counters n = {.opt_steps = now->updates,
                         .env_steps = b->env_steps,
                         .grad_steps = now->grad_steps,
                         .epochs = now->epochs};
    hash_config(r, hash);
    const struct st_source extra[N_EXTRA] = {
        {.name = "ppo/memory",
         .dtype = ST_U8,
         .n_dims = 1,
         .shape = {(int64_t)ppo_rollout_memory_bytes(r->rollout)},
         .data = b->memory},
        {.name = "ppo/collect",
         .dtype = ST_U8,
         .n_dims = 1,
         .shape = {(int64_t)collect_state_bytes(r->collect)},
         .data = b->collect},
        {.name = "ppo/envs",
         .dtype = ST_U8,
         .n_dims = 2,
         .shape = {r->env->n_envs, b->env_bytes},
         .data = b->envs}};
    struct checkpoint c = describe(ppo_params(r->agent), &n, hash);
    c.extra = extra;
    c.n_extra = b->env_bytes ? N_EXTRA : N_EXTRA - 1;
    return checkpoint_save(path, &c, e);
}

static bool save_newest(struct ppo_run *r, char path[PATH_SIZE], struct error *e) {
    return session_checkpoint_path(r->session, ppo_counters(r->agent)->updates, path, e) &&
           ppo_run_save(r, path, e) &&
           session_prune_checkpoints(r->session, (int)r->config.checkpoint_keep_last, e);
}

bool ppo_run_checkpoint(struct ppo_run *r, bool last, struct error *e) {
    char path[PATH_SIZE];
    const int64_t now = ppo_counters(r->agent)->updates;
    struct error why = {0};
    if (!r->session || r->saved_updates == now) return true;
    const bool episodes = ppo_run_plays_on_device(r) && r->boundary.env_bytes > 0;
    if (r->on_device) ppo_device_fetch(r->on_device, episodes);
    if (episodes) ppo_run_take_boundary(r);
    if (save_newest(r, path, &why)) {
        r->saved_updates = now;
        r->warning[0] = 0;
        log_write(LOG_INFO, "checkpoint %s", path_base(path));
        return true;
    }
    if (last) {
        *e = why;
        return false;
    }
    log_write(LOG_WARN, "no checkpoint at update %lld, the older ones stay and the run goes on: %s",
              (long long)now, why.message);
    snprintf(r->warning, sizeof r->warning, "no checkpoint: %.200s", why.message);
    return true;
}

static const struct st_tensor *bytes_of(const struct safetensors *file, const char *name,
                                        int64_t rows, int64_t n, struct error *e) {
    return safetensors_expect(file, name, ST_U8, rows ? 2 : 1,
                              rows ? (int64_t[]){rows, n} : (int64_t[]){n}, e);
}

// Environments that were not saved (there are too many) begin their episodes anew; steps are
// counted on, so that no random number is drawn twice.
static bool restore_envs(struct ppo_run *r, const struct safetensors *file, int64_t env_steps,
                         struct error *e) {
    const struct env_vtable *v = r->env->vtable;
    const int n = r->env->n_envs;
    if (!safetensors_find(file, "ppo/envs")) {
        log_write(LOG_WARN, "the checkpoint holds no environments: their episodes begin anew");
        collect_advance(r->collect, env_steps / n);
        return true;
    }
    if (!v->load)
        return error_set(e, STATUS_FAILED, "%s: holds environments that cannot be loaded",
                         safetensors_where(file));
    const int64_t bytes = (int64_t)v->state_bytes(r->env);
    const struct st_tensor *t = bytes_of(file, "ppo/envs", n, bytes, e);
    const struct st_tensor *memory =
        t ? bytes_of(file, "ppo/memory", 0, (int64_t)ppo_rollout_memory_bytes(r->rollout), e)
          : NULL;
    const struct st_tensor *state =
        memory ? bytes_of(file, "ppo/collect", 0, (int64_t)collect_state_bytes(r->collect), e)
               : NULL;
    if (!state) return false;
    for (int i = 0; i < n; i++)
        if (!v->load(r->env, i, (const uint8_t *)t->data + i * bytes, e)) return false;
    ppo_rollout_memory_load(r->rollout, memory->data);
    collect_load(r->collect, state->data);
    return true;
}

bool ppo_run_load_checkpoint(struct ppo_run *r, const char *path, struct error *e) {
    struct counters n = {0};
    struct checkpoint c = describe(ppo_params(r->agent), &n, NULL);
    struct safetensors *file = NULL;
    bool fine = checkpoint_load(path, &c, &file, e) && restore_envs(r, file, n.env_steps, e);
    if (fine && n.opt_steps != session_checkpoint_step(path))
        fine = error_set(e, STATUS_FAILED, "%s: holds update %lld", path, (long long)n.opt_steps);
    safetensors_free(file);
    *ppo_counters(r->agent) = (struct ppo_counters){n.opt_steps, n.grad_steps, n.epochs};
    return fine ||
           session_name_checkpoint_before(r->resume_session, session_checkpoint_step(path), e);
}

bool ppo_run_verify_checkpoint(struct ppo_run *r, struct error *e) {
    char path[PATH_SIZE], hash[SHA256_HEX_SIZE];
    int64_t step;
    struct counters n = {0};
    struct ppo_opts o = *ppo_options(r->agent);
    if (!r->session) return error_set(e, STATUS_FAILED, "this run wrote no session");
    if (!session_newest_checkpoint(session_path(r->session), path, &step, e)) return false;
    hash_config(r, hash);
    struct params *mine = ppo_params(r->agent), read;
    params_init(&read);
    ppo_net_register(&read, &o.dims);
    params_allocate(&read);
    struct checkpoint c = describe(&read, &n, hash);
    struct safetensors *file = NULL;
    bool fine = checkpoint_load(path, &c, &file, e);
    const size_t bytes = (size_t)mine->n_flat * sizeof(real);
    if (fine && (n.opt_steps != ppo_counters(r->agent)->updates ||
                 memcmp(mine->weights, read.weights, bytes) != 0 ||
                 memcmp(mine->moment1, read.moment1, bytes) != 0 ||
                 memcmp(mine->moment2, read.moment2, bytes) != 0))
        fine = error_set(e, STATUS_FAILED, "%s: does not hold what was saved", path);
    safetensors_free(file);
    params_deinit(&read);
    return fine;
}
