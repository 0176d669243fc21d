// Checkpoint: parameters, Adam moments and counters in one safetensors file.
#include "engine/data/checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { N_PARTS = 3 };
static const char *const part_prefixes[N_PARTS] = {"weights/", "adam_m/", "adam_v/"};
static const char *const own_prefixes[] = {"weights/", "adam_m/", "adam_v/", "state/"};

static real *part(const struct params *p, int index) {
    real *const parts[N_PARTS] = {p->weights, p->moment1, p->moment2};
    return parts[index];
}

static void make_name(char out[ST_NAME_SIZE], const char *prefix, const char *name) {
    int n = snprintf(out, ST_NAME_SIZE, "%s%s", prefix, name);
    CHECK(n < ST_NAME_SIZE, "the name %s%s is too long", prefix, name);
}

// All sets, the first one first.
static int n_sets(const struct checkpoint *c) { return 1 + c->n_more_params; }
static struct params *set_at(const struct checkpoint *c, int i) {
    return i == 0 ? c->params : c->more_params[i - 1];
}
static int n_params(const struct checkpoint *c) {
    int n = 0;
    for (int i = 0; i < n_sets(c); i++) n += set_at(c, i)->n;
    return n;
}
static bool is_param(const struct checkpoint *c, const char *name) {
    for (int i = 0; i < n_sets(c); i++)
        if (params_find(set_at(c, i), name)) return true;
    return false;
}

static int n_parts(const struct checkpoint *c) { return c->weights_only ? 1 : N_PARTS; }

// ---- saving

// Returns how many sources were made.
static int add_params(const struct params *p, struct st_source *list, char (*names)[ST_NAME_SIZE]) {
    int n = 0;
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < N_PARTS; k++, n++) {
            const struct param *q = &p->list[i];
            make_name(names[n], part_prefixes[k], q->name);
            list[n] = (struct st_source){.name = names[n],
                                         .dtype = ST_REAL,
                                         .n_dims = q->n_dims,
                                         .data = part(p, k) + q->offset};
            memcpy(list[n].shape, q->shape, (size_t)q->n_dims * sizeof q->shape[0]);
        }
    return n;
}

bool checkpoint_save(const char *path, const struct checkpoint *c, struct error *e) {
    int n_own = n_params(c) * N_PARTS + c->n_scalars, n = 0;
    char(*names)[ST_NAME_SIZE] = mem_alloc((size_t)n_own * sizeof *names);
    struct st_source *list = mem_alloc((size_t)(n_own + c->n_extra) * sizeof *list);
    for (int i = 0; i < n_sets(c); i++) n += add_params(set_at(c, i), list + n, names + n);
    for (int i = 0; i < c->n_scalars; i++, n++) {
        make_name(names[n], "state/", c->scalars[i].name);
        list[n] =
            (struct st_source){.name = names[n], .dtype = ST_I64, .data = c->scalars[i].value};
    }
    if (c->n_extra) memcpy(list + n, c->extra, (size_t)c->n_extra * sizeof *list);
    char crc[9];
    safetensors_crc(list, n + c->n_extra, crc);
    const struct st_text texts[] = {{"format", "workbench checkpoint"},
                                    {"schema", CHECKPOINT_SCHEMA},
                                    {"config_sha256", c->config_sha256 ? c->config_sha256 : ""},
                                    {ST_CRC_KEY, crc}};
    bool ok = safetensors_write(path, list, n + c->n_extra, texts, 4, e);
    free(names);
    free(list);
    return ok;
}

// ---- loading: everything is verified before anything is changed

static bool check_texts(const struct safetensors *s, const struct checkpoint *c, struct error *e) {
    const char *format = safetensors_text(s, "format"), *schema = safetensors_text(s, "schema"),
               *config = safetensors_text(s, "config_sha256"), *where = safetensors_where(s);
    if (!format || strcmp(format, "workbench checkpoint") != 0)
        return error_set(e, STATUS_FAILED, "%s: not a checkpoint of this program", where);
    if (!schema || strcmp(schema, CHECKPOINT_SCHEMA) != 0)
        return error_set(e, STATUS_FAILED,
                         "%s: checkpoint version %.20s, this program reads version %s", where,
                         schema ? schema : "unknown", CHECKPOINT_SCHEMA);
    if (c->config_sha256 && (!config || strcmp(config, c->config_sha256) != 0))
        return error_set(e, STATUS_FAILED,
                         "%s: made with another configuration; use the config.json of its session",
                         where);
    return true;
}

static bool all_finite(const real *v, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v[i])) return false;
    return true;
}

static bool check_params(const struct safetensors *s, const struct checkpoint *c,
                         const struct params *p, struct error *e) {
    const int parts = n_parts(c);
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < parts; k++) {
            char name[ST_NAME_SIZE];
            make_name(name, part_prefixes[k], p->list[i].name);
            const struct st_tensor *t =
                safetensors_expect(s, name, ST_REAL, p->list[i].n_dims, p->list[i].shape, e);
            if (!t) return false;
            if (!c->of_failure && !all_finite(t->data, t->n_elements))
                return error_set(e, STATUS_FAILED,
                                 "%s: tensor \"%s\" holds numbers that are not finite",
                                 safetensors_where(s), name);
        }
    return true;
}

static bool starts_with(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

// A checkpoint of a larger model must not load into a smaller one.
static bool check_nothing_unknown(const struct safetensors *s, const struct checkpoint *c,
                                  struct error *e) {
    int n_own = 0, n_expected = n_params(c) * n_parts(c) + (c->weights_only ? 0 : c->n_scalars);
    size_t n_prefixes = c->weights_only ? 1 : sizeof own_prefixes / sizeof own_prefixes[0];
    const char *unknown = NULL;
    for (int i = 0; i < safetensors_count(s); i++) {
        const char *name = safetensors_at(s, i)->name;
        for (size_t k = 0; k < n_prefixes; k++) {
            if (!starts_with(name, own_prefixes[k])) continue;
            n_own++;
            const char *rest = name + strlen(own_prefixes[k]);
            bool known = k < N_PARTS && is_param(c, rest);
            for (int j = 0; k == N_PARTS && j < c->n_scalars; j++)
                known |= strcmp(rest, c->scalars[j].name) == 0;
            if (!known && !unknown) unknown = name;
        }
    }
    if (n_own == n_expected && !unknown) return true;
    return error_set(e, STATUS_FAILED, "%s: tensor \"%s\" belongs to another model",
                     safetensors_where(s), unknown ? unknown : "?");
}

static bool verify(const struct safetensors *s, const struct checkpoint *c, struct error *e) {
    if (!check_texts(s, c, e) || !safetensors_intact(s, e)) return false;
    for (int i = 0; i < n_sets(c); i++)
        if (!check_params(s, c, set_at(c, i), e)) return false;
    for (int i = 0; i < c->n_scalars; i++) {
        char name[ST_NAME_SIZE];
        make_name(name, "state/", c->scalars[i].name);
        if (!safetensors_expect(s, name, ST_I64, 0, NULL, e)) return false;
    }
    return check_nothing_unknown(s, c, e);
}

static void apply_params(const struct safetensors *s, const struct params *p, int parts) {
    char name[ST_NAME_SIZE];
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < parts; k++) {
            make_name(name, part_prefixes[k], p->list[i].name);
            const struct st_tensor *t = safetensors_find(s, name);
            if (t->n_bytes) memcpy(part(p, k) + p->list[i].offset, t->data, t->n_bytes);
        }
}

static void apply(const struct safetensors *s, const struct checkpoint *c) {
    char name[ST_NAME_SIZE];
    for (int i = 0; i < n_sets(c); i++) apply_params(s, set_at(c, i), n_parts(c));
    for (int i = 0; i < c->n_scalars; i++) {
        make_name(name, "state/", c->scalars[i].name);
        *c->scalars[i].value = *(const int64_t *)safetensors_find(s, name)->data;
    }
}

bool checkpoint_load(const char *path, const struct checkpoint *c, struct safetensors **file,
                     struct error *e) {
    if (file) *file = NULL;
    struct safetensors *s = safetensors_open(path, e);
    if (!s) return false;
    bool ok = verify(s, c, e);
    if (ok) apply(s, c);
    if (ok && file)
        *file = s;
    else
        safetensors_free(s);
    return ok;
}
