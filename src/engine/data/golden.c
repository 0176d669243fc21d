// Golden fixtures: numbers of the reference implementation, checked against their manifest.
#include "engine/data/golden.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

struct golden {
    char folder[PATH_SIZE], manifest_path[PATH_SIZE];
    cJSON *manifest;
    const cJSON *fixtures;
};

struct golden_fixture {
    char code[16];
    struct safetensors *file;
    struct golden_tensor *tensors;
    real **reals;
    int n_tensors;
};

struct golden *golden_open(const char *folder, struct error *e) {
    struct golden *g = mem_alloc(sizeof *g);
    int64_t format;
    if (!path_join(g->folder, folder, "", e) ||
        !path_join(g->manifest_path, folder, "manifest.json", e))
        goto fail;
    g->manifest = json_read_file(g->manifest_path, 16 << 20, e);
    if (!g->manifest || !json_get_i64(g->manifest, "format", g->manifest_path, &format, e) ||
        !json_get_array(g->manifest, "fixtures", g->manifest_path, &g->fixtures, e))
        goto fail;
    if (format != 1) {
        error_set(e, STATUS_FAILED, "%s: format %" PRId64 ", this program knows 1",
                  g->manifest_path, format);
        goto fail;
    }
    for (const cJSON *f = g->fixtures->child; f; f = f->next) {
        const char *text;
        if (!json_get_string(f, "code", g->manifest_path, &text, e) ||
            !json_get_string(f, "about", g->manifest_path, &text, e))
            goto fail;
    }
    return g;
fail:
    golden_free(g);
    return NULL;
}

void golden_free(struct golden *g) {
    if (!g) return;
    cJSON_Delete(g->manifest);
    free(g);
}

int golden_count(const struct golden *g) { return cJSON_GetArraySize(g->fixtures); }

static const char *fixture_text(const struct golden *g, int index, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(g->fixtures, index), key)
        ->valuestring;
}

const char *golden_code(const struct golden *g, int index) {
    return fixture_text(g, index, "code");
}
const char *golden_about(const struct golden *g, int index) {
    return fixture_text(g, index, "about");
}

// ---- loading one fixture

static bool read_rule(const struct golden *g, const cJSON *entry, struct golden_tensor *t,
                      struct error *e) {
    static const char *const roles[] = {"input", "output", "info"};
    const char *role;
    if (!json_get_string(entry, "role", g->manifest_path, &role, e)) return false;
    int r = 0;
    while (r < 3 && strcmp(role, roles[r]) != 0) r++;
    if (r == 3)
        return error_set(e, STATUS_FAILED, "%s: unknown role \"%s\"", g->manifest_path, role);
    t->role = (enum golden_role)r;
    if (t->role != GOLDEN_OUTPUT) return true;
    t->by_norm = cJSON_HasObjectItem(entry, "l2");
    if (t->by_norm) return json_get_double(entry, "l2", g->manifest_path, &t->l2, e);
    return json_get_double(entry, "abs", g->manifest_path, &t->abs, e) &&
           json_get_double(entry, "rel", g->manifest_path, &t->rel, e);
}

static bool read_tensor(const struct golden *g, struct golden_fixture *f, const cJSON *entry,
                        struct golden_tensor *t, struct error *e) {
    const char *name, *dtype;
    const cJSON *shape;
    int64_t sizes[ST_MAX_DIMS];
    if (!json_get_string(entry, "name", g->manifest_path, &name, e) ||
        !json_get_string(entry, "dtype", g->manifest_path, &dtype, e) ||
        !json_get_array(entry, "shape", g->manifest_path, &shape, e) || !read_rule(g, entry, t, e))
        return false;
    int n_dims = 0, d = 0;
    for (const cJSON *item = shape->child; item; item = item->next)
        if (n_dims == ST_MAX_DIMS || !json_is_i64(item, &sizes[n_dims++]))
            return error_set(e, STATUS_FAILED, "%s: bad shape of %s", g->manifest_path, name);
    while (d < ST_N_DTYPES && strcmp(dtype, st_dtype_names[d]) != 0) d++;
    if (d == ST_N_DTYPES)
        return error_set(e, STATUS_FAILED, "%s: unknown dtype %s", g->manifest_path, dtype);
    t->fixture = f->code;
    t->t = safetensors_expect(f->file, name, (enum st_dtype)d, n_dims, sizes, e);
    return t->t != NULL;
}

static const cJSON *find_entry(const struct golden *g, const char *code, struct error *e) {
    for (const cJSON *f = g->fixtures->child; f; f = f->next)
        if (strcmp(cJSON_GetObjectItemCaseSensitive(f, "code")->valuestring, code) == 0) return f;
    error_set(e, STATUS_FAILED, "%s: fixture %s is missing", g->manifest_path, code);
    return NULL;
}

// The file's bytes, if they are the ones the manifest describes.
static bool read_verified(const struct golden *g, const cJSON *entry, char path[PATH_SIZE],
                          uint8_t **data, size_t *n, struct error *e) {
    const char *name, *sha256;
    int64_t bytes;
    char hex[SHA256_HEX_SIZE];
    if (!json_get_string(entry, "file", g->manifest_path, &name, e) ||
        !json_get_string(entry, "sha256", g->manifest_path, &sha256, e) ||
        !json_get_i64(entry, "bytes", g->manifest_path, &bytes, e))
        return false;
    if (strchr(name, '/'))
        return error_set(e, STATUS_FAILED, "%s: bad file name %s", g->manifest_path, name);
    if (!path_join(path, g->folder, name, e) || !file_read(path, 1u << 30, data, n, e))
        return false;
    sha256_hex(*data, *n, hex);
    if ((uint64_t)bytes == *n && strcmp(hex, sha256) == 0) return true;
    free(*data);
    return error_set(e, STATUS_FAILED,
                     "%s is not the file its manifest.json describes (sha256 differs); restore it",
                     path);
}

struct golden_fixture *golden_load(const struct golden *g, const char *code, struct error *e) {
    const cJSON *entry = find_entry(g, code, e), *list;
    char path[PATH_SIZE];
    uint8_t *data;
    size_t n;
    if (!entry || !json_get_array(entry, "tensors", g->manifest_path, &list, e) ||
        !read_verified(g, entry, path, &data, &n, e))
        return NULL;
    struct golden_fixture *f = mem_alloc(sizeof *f);
    snprintf(f->code, sizeof f->code, "%s", code);
    f->file = safetensors_parse(data, n, path, e);
    free(data);
    int count = cJSON_GetArraySize(list);
    f->tensors = mem_alloc((size_t)count * sizeof *f->tensors);
    f->reals = mem_alloc((size_t)count * sizeof *f->reals);
    bool ok = f->file != NULL;
    if (ok && safetensors_count(f->file) != count)
        ok = error_set(e, STATUS_FAILED, "%s has %d tensors, its manifest lists %d", path,
                       safetensors_count(f->file), count);
    for (const cJSON *item = list->child; ok && item; item = item->next) {
        ok = read_tensor(g, f, item, &f->tensors[f->n_tensors], e);
        f->n_tensors++;
    }
    if (ok) return f;
    golden_fixture_free(f);
    return NULL;
}

void golden_fixture_free(struct golden_fixture *f) {
    if (!f) return;
    for (int i = 0; i < f->n_tensors; i++) free(f->reals[i]);
    free(f->reals);
    free(f->tensors);
    safetensors_free(f->file);
    free(f);
}

int golden_tensor_count(const struct golden_fixture *f) { return f->n_tensors; }
const struct golden_tensor *golden_tensor_at(const struct golden_fixture *f, int index) {
    return &f->tensors[index];
}

const struct golden_tensor *golden_find(const struct golden_fixture *f, const char *name) {
    for (int i = 0; i < f->n_tensors; i++)
        if (strcmp(f->tensors[i].t->name, name) == 0) return &f->tensors[i];
    return NULL;
}

static double element(const struct st_tensor *t, int64_t i) {
    switch (t->dtype) {
    case ST_F64:
        return ((const double *)t->data)[i];
    case ST_I64:
        return (double)((const int64_t *)t->data)[i];
    case ST_F32:
        return (double)((const float *)t->data)[i];
    case ST_I32:
        return ((const int32_t *)t->data)[i];
    case ST_U32:
        return ((const uint32_t *)t->data)[i];
    default:
        return ((const uint8_t *)t->data)[i];
    }
}

const real *golden_reals(struct golden_fixture *f, const struct golden_tensor *t) {
    ptrdiff_t index = t - f->tensors;
    CHECK(index >= 0 && index < f->n_tensors, "%s is not of fixture %s", t->t->name, f->code);
    if (!f->reals[index]) {
        real *out = f->reals[index] = mem_alloc((size_t)t->t->n_elements * sizeof *out);
        for (int64_t i = 0; i < t->t->n_elements; i++) out[i] = (real)element(t->t, i);
    }
    return f->reals[index];
}

// ---- comparing

// Both tolerances 0 asks for equal bits; as doubles that is equality with the sign of zero.
static bool same(double x, double ref) {
    return x == ref ? signbit(x) == signbit(ref) : isnan(x) && isnan(ref);
}

static bool match_elements(const struct golden_tensor *g, const double *x, int64_t n, double slack,
                           struct error *e) {
    bool exact = g->abs == 0 && g->rel == 0;
    int64_t worst = -1, n_bad = 0;
    double worst_excess = 0;
    for (int64_t i = 0; i < n; i++) {
        double ref = element(g->t, i);
        if (same(x[i], ref)) continue;
        double difference = fabs(x[i] - ref), limit = slack * (g->abs + g->rel * fabs(ref));
        if (!exact && difference <= limit) continue;
        double excess = isnan(difference) || exact ? INFINITY : difference - limit;
        if (!n_bad++ || excess > worst_excess) {
            worst = i;
            worst_excess = excess;
        }
    }
    if (!n_bad) return true;
    return error_set(
        e, STATUS_FAILED,
        "%s %s: %" PRId64 " of %" PRId64 " elements differ from the reference; element %" PRId64
        " is %.9g, reference %.9g (allowed: %g + %g relative)",
        g->fixture, g->t->name, n_bad, n, worst, x[worst], element(g->t, worst), g->abs, g->rel);
}

static bool match_norm(const struct golden_tensor *g, const double *x, int64_t n, double slack,
                       struct error *e) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        double ref = element(g->t, i);
        difference += (x[i] - ref) * (x[i] - ref);
        size += ref * ref;
    }
    double limit = slack * (g->l2 * sqrt(size) + 1e-7 * sqrt((double)n));
    if (sqrt(difference) <= limit) return true; // false for NaN
    return error_set(e, STATUS_FAILED,
                     "%s %s: distance %.4g from the reference of norm %.4g (allowed %.4g)",
                     g->fixture, g->t->name, sqrt(difference), sqrt(size), limit);
}

bool golden_match_f64(const struct golden_tensor *g, const double *x, int64_t n, double slack,
                      struct error *e) {
    if (!g) return error_set(e, STATUS_FAILED, "the fixture has no such tensor");
    if (g->role != GOLDEN_OUTPUT)
        return error_set(e, STATUS_FAILED, "%s %s is not an output to compare with", g->fixture,
                         g->t->name);
    if (n != g->t->n_elements)
        return error_set(e, STATUS_FAILED, "%s %s has %" PRId64 " elements, not %" PRId64,
                         g->fixture, g->t->name, g->t->n_elements, n);
    return g->by_norm ? match_norm(g, x, n, slack, e) : match_elements(g, x, n, slack, e);
}

#define DEFINE_MATCH(NAME, TYPE)                                                                   \
    bool NAME(const struct golden_tensor *g, const TYPE *x, int64_t n, struct error *e) {          \
        double *wide = mem_alloc((size_t)n * sizeof *wide);                                        \
        for (int64_t i = 0; i < n; i++) wide[i] = (double)x[i];                                    \
        bool ok = golden_match_f64(g, wide, n, 1, e);                                              \
        free(wide);                                                                                \
        return ok;                                                                                 \
    }
DEFINE_MATCH(golden_match_f32, float)
DEFINE_MATCH(golden_match_real, real)
DEFINE_MATCH(golden_match_i32, int32_t)
DEFINE_MATCH(golden_match_u8, uint8_t)
