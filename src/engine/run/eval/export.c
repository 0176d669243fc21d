// Export: names and checks between our parameter sets and sheeprl's state dicts.
#include "engine/run/eval/export.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/data/checkpoint.h"
#include "engine/data/safetensors.h"
#include "engine/run/worker/worker_internal.h"

enum { N_RANGE = 2 };
static const char *const range_names[N_RANGE] = {"moments.low", "moments.high"};
// A buffer of zeros in sheeprl where the state after a reset is not learned; nothing of ours then.
static const char zero_state_name[] = "world_model.rssm.initial_recurrent_state";
static bool has_zero_state(const struct saved_agent *a) { return !a->config.learnable_initial; }

// The actor's and critics' own names begin with their state dict's.
static void sheeprl_name(int set, const struct param *p, char out[ST_NAME_SIZE]) {
    snprintf(out, ST_NAME_SIZE, "%s%s", set == DREAMER_WORLD ? "world_model." : "", p->name);
}

static int count_params(const struct saved_agent *a) {
    int n = 0;
    for (int i = 0; i < a->n_sets; i++) n += a->sets[i].n;
    return n;
}

// ---- out

// Files hold float32 whatever the engine's real is.
static float *to_float(const real *from, int64_t n) {
    float *out = mem_alloc((size_t)n * sizeof *out);
    for (int64_t i = 0; i < n; i++) out[i] = (float)from[i];
    return out;
}

// Other profiles have layers that no module of sheeprl's has.
static bool check_profile(const struct saved_agent *a, struct error *e) {
    if (strcmp(a->config.profile, "sheeprl") == 0) return true;
    return error_set(e, STATUS_USAGE,
                     "%s: algo.profile=%s; sheeprl's form is of sessions with algo.profile=sheeprl",
                     a->session, a->config.profile);
}

bool export_sheeprl(const struct saved_agent *a, const char *out, struct error *e) {
    if (!check_profile(a, e)) return false;
    int n = 0, n_all = count_params(a) + N_RANGE + 1;
    char(*names)[ST_NAME_SIZE] = mem_alloc((size_t)n_all * sizeof *names);
    struct st_source *list = mem_alloc((size_t)n_all * sizeof *list);
    for (int i = 0; i < a->n_sets; i++)
        for (int k = 0; k < a->sets[i].n; k++, n++) {
            const struct param *p = &a->sets[i].list[k];
            sheeprl_name(i, p, names[n]);
            list[n] =
                (struct st_source){.name = names[n],
                                   .dtype = ST_F32,
                                   .n_dims = p->n_dims,
                                   .data = to_float(params_weights(&a->sets[i], p), p->n_elements)};
            memcpy(list[n].shape, p->shape, (size_t)p->n_dims * sizeof p->shape[0]);
        }
    for (int k = 0; a->full && k < N_RANGE; k++, n++)
        list[n] = (struct st_source){
            .name = range_names[k], .dtype = ST_F32, .data = to_float(&a->range[k], 1)};
    if (has_zero_state(a))
        list[n++] =
            (struct st_source){.name = zero_state_name,
                               .dtype = ST_F32,
                               .n_dims = 1,
                               .shape = {a->world.recurrent},
                               .data = mem_alloc((size_t)a->world.recurrent * sizeof(float))};
    const struct st_text texts[] = {{"format", "pt"}, {"names", "sheeprl dreamer_v3"}};
    bool fine = safetensors_write(out, list, n, texts, 2, e);
    for (int i = 0; i < n; i++) free((void *)list[i].data);
    free(list);
    free(names);
    return fine;
}

// ---- back

static void strip(char *name, const char *word) {
    for (char *at; (at = strstr(name, word));)
        memmove(at, at + strlen(word), strlen(at + strlen(word)) + 1);
}

// The tensor whose name, without the words of wrappers, is `name`; NULL: none.
static const struct st_tensor *find(const struct safetensors *s, const char *name) {
    const struct st_tensor *t = safetensors_find(s, name);
    for (int i = 0; !t && i < safetensors_count(s); i++) {
        char plain[ST_NAME_SIZE];
        memcpy(plain, safetensors_at(s, i)->name, sizeof plain);
        strip(plain, "_forward_module.");
        if (strcmp(plain, name) == 0) return safetensors_at(s, i);
        strip(plain, "module.");
        if (strcmp(plain, name) == 0) return safetensors_at(s, i);
    }
    return t;
}

static bool same_shape(const struct st_tensor *t, int n_dims, const int64_t *shape) {
    return t->n_dims == n_dims &&
           (n_dims == 0 || memcmp(t->shape, shape, (size_t)n_dims * sizeof *shape) == 0);
}

static bool take(const struct safetensors *s, const char *name, int n_dims, const int64_t *shape,
                 real *to, struct error *e) {
    const char *where = safetensors_where(s);
    const struct st_tensor *t = find(s, name);
    if (!t) return error_set(e, STATUS_FAILED, "%s: tensor \"%s\" is missing", where, name);
    if (t->dtype != ST_F32 || !same_shape(t, n_dims, shape)) {
        int64_t n = 1;
        for (int i = 0; i < n_dims; i++) n *= shape[i];
        return error_set(e, STATUS_FAILED,
                         "%s: tensor \"%s\" has %lld elements of %s in %d dimensions, the session "
                         "%lld of F32 in %d",
                         where, name, (long long)t->n_elements, st_dtype_names[t->dtype], t->n_dims,
                         (long long)n, n_dims);
    }
    const float *from = t->data;
    for (int64_t i = 0; i < t->n_elements; i++) {
        if (!isfinite(from[i]))
            return error_set(e, STATUS_FAILED,
                             "%s: tensor \"%s\" holds numbers that are not finite", where, name);
        to[i] = (real)from[i];
    }
    return true;
}

static bool check_zero_state(const struct saved_agent *a, const struct safetensors *s,
                             struct error *e) {
    real *state = mem_alloc((size_t)a->world.recurrent * sizeof *state);
    bool fine = take(s, zero_state_name, 1, &a->world.recurrent, state, e);
    for (int64_t i = 0; fine && i < a->world.recurrent; i++)
        if (state[i] != 0)
            fine =
                error_set(e, STATUS_FAILED,
                          "%s: tensor \"%s\" is not 0, but the session does not learn that state",
                          safetensors_where(s), zero_state_name);
    free(state);
    return fine;
}

static bool take_all(struct saved_agent *a, const struct safetensors *s, struct error *e) {
    char name[ST_NAME_SIZE];
    for (int i = 0; i < a->n_sets; i++)
        for (int k = 0; k < a->sets[i].n; k++) {
            const struct param *p = &a->sets[i].list[k];
            sheeprl_name(i, p, name);
            if (!take(s, name, p->n_dims, p->shape, params_weights(&a->sets[i], p), e))
                return false;
        }
    int n_expected = count_params(a);
    for (int k = 0; a->full && k < N_RANGE; k++, n_expected++)
        if (!take(s, range_names[k], 0, NULL, &a->range[k], e)) return false;
    if (has_zero_state(a) && !check_zero_state(a, s, e)) return false;
    n_expected += has_zero_state(a);
    return safetensors_count(s) == n_expected ||
           error_set(e, STATUS_FAILED, "%s: %d tensors, the session's model has %d: another model",
                     safetensors_where(s), safetensors_count(s), n_expected);
}

bool import_sheeprl(struct saved_agent *a, const char *file, const char *out, struct error *e) {
    if (!check_profile(a, e)) return false;
    struct safetensors *s = safetensors_open(file, e);
    if (!s) return false;
    bool fine = take_all(a, s, e);
    safetensors_free(s);
    if (!fine) return false;
    int64_t zero = 0;
    struct checkpoint_scalar scalars[] = {
        {"opt_steps", &zero}, {"env_steps", &zero}, {"env_ticks", &zero}};
    struct params *more[DREAMER_N_SETS];
    for (int i = 1; i < a->n_sets; i++) more[i - 1] = &a->sets[i];
    const struct st_source range = {.name = WORKER_RANGE_NAME,
                                    .dtype = ST_REAL,
                                    .n_dims = 1,
                                    .shape = {N_RANGE},
                                    .data = a->range};
    struct checkpoint c = {.params = &a->sets[0],
                           .more_params = more,
                           .n_more_params = a->n_sets - 1,
                           .config_sha256 = a->config_sha256,
                           .scalars = scalars,
                           .n_scalars = 3,
                           .extra = &range,
                           .n_extra = a->full ? 1 : 0};
    return checkpoint_save(out, &c, e);
}
