// JSON: reading through cJSON with limits and one-line errors, and typed members for writing.
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

static const double MAX_EXACT = 9007199254740992.0; // 2^53

// ---- reading

// cJSON recurses up to 1000 levels; a scan first keeps the stack shallow whatever the file says.
static bool depth_is_fine(const char *text, size_t n) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_MAX_DEPTH) return false;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return true;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The name of a member that stands twice in one object, or NULL. Sorting keeps big headers fast.
static const char *twice_in_object(const cJSON *object) {
    int n = cJSON_GetArraySize(object), i = 0;
    if (n < 2) return NULL;
    const char **names = malloc((size_t)n * sizeof *names), *found = NULL;
    if (!names) out_of_memory((size_t)n * sizeof *names);
    for (const cJSON *m = object->child; m; m = m->next) names[i++] = m->string;
    qsort(names, (size_t)n, sizeof *names, compare_names);
    for (i = 1; i < n && !found; i++)
        if (strcmp(names[i - 1], names[i]) == 0) found = names[i];
    free(names);
    return found;
}

static const char *twice(const cJSON *item) { // depth is bounded by JSON_MAX_DEPTH
    const char *found = cJSON_IsObject(item) ? twice_in_object(item) : NULL;
    for (const cJSON *m = item->child; m && !found; m = m->next) found = twice(m);
    return found;
}

cJSON *json_parse(const char *text, size_t n, const char *where, struct error *e) {
    if (memchr(text, 0, n)) {
        error_set(e, STATUS_FAILED, "%s: not JSON: it holds a NUL byte", where);
        return NULL;
    }
    if (!depth_is_fine(text, n)) {
        error_set(e, STATUS_FAILED, "%s: JSON nested deeper than %d levels", where, JSON_MAX_DEPTH);
        return NULL;
    }
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(text, n, &end, 0);
    size_t used = end ? (size_t)(end - text) : 0;
    if (!root) {
        error_set(e, STATUS_FAILED, "%s: not valid JSON near byte %zu", where, used);
        return NULL;
    }
    while (used < n && strchr(" \t\r\n", text[used])) used++;
    const char *name = used < n ? NULL : twice(root);
    if (used == n && !name) return root;
    if (name)
        error_set(e, STATUS_FAILED, "%s: key \"%s\" stands there twice", where, name);
    else
        error_set(e, STATUS_FAILED, "%s: something follows the JSON value at byte %zu", where,
                  used);
    cJSON_Delete(root);
    return NULL;
}

cJSON *json_read_file(const char *path, size_t max_bytes, struct error *e) {
    uint8_t *data;
    size_t n;
    if (!file_read(path, max_bytes, &data, &n, e)) return NULL;
    cJSON *root = json_parse((const char *)data, n, path, e);
    free(data);
    return root;
}

void json_print_and_free(FILE *out, cJSON *root) {
    char *text = cJSON_Print(root);
    if (!text) out_of_memory(0);
    fprintf(out, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(root);
}

bool json_write_file(const char *path, const cJSON *root, bool sync, struct error *e) {
    char *printed = cJSON_Print(root);
    if (!printed) out_of_memory(0);
    struct text t = {0};
    text_add(&t, "%s\n", printed);
    cJSON_free(printed);
    bool ok = sync ? file_write_atomic(path, t.data, t.n, e)
                   : file_write_atomic_fast(path, t.data, t.n, e);
    text_deinit(&t);
    return ok;
}

// ---- values

bool json_is_i64(const cJSON *item, int64_t *out) {
    if (cJSON_IsNumber(item)) {
        double v = item->valuedouble;
        if (!(fabs(v) <= MAX_EXACT) || v != floor(v)) return false;
        *out = (int64_t)v;
        return true;
    }
    if (!cJSON_IsString(item)) return false;
    const char *s = item->valuestring;
    if (s[0] == '-' ? !(s[1] >= '0' && s[1] <= '9') : !(s[0] >= '0' && s[0] <= '9')) return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno || *end) return false;
    *out = v;
    return true;
}

static bool is_u64(const cJSON *item, uint64_t *out) {
    int64_t v;
    if (json_is_i64(item, &v)) {
        *out = (uint64_t)v;
        return v >= 0;
    }
    if (!cJSON_IsString(item) || !(item->valuestring[0] >= '0' && item->valuestring[0] <= '9'))
        return false;
    char *end;
    errno = 0;
    unsigned long long u = strtoull(item->valuestring, &end, 10);
    if (errno || *end) return false;
    *out = u;
    return true;
}

bool json_is_double(const cJSON *item, double *out) {
    static const struct {
        const char *name;
        double value;
    } special[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
    if (cJSON_IsNumber(item)) {
        *out = item->valuedouble;
        return isfinite(*out); // 1e999 is no number of ours
    }
    for (size_t i = 0; cJSON_IsString(item) && i < sizeof special / sizeof special[0]; i++)
        if (strcmp(item->valuestring, special[i].name) == 0) {
            *out = special[i].value;
            return true;
        }
    return false;
}

// ---- getters

static const cJSON *member(const cJSON *object, const char *key, const char *where,
                           struct error *e) {
    const cJSON *item =
        cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
    if (!item) error_set(e, STATUS_FAILED, "%s: key \"%s\" is missing", where, key);
    return item;
}

static bool wrong(const char *key, const char *where, const char *must_be, struct error *e) {
    return error_set(e, STATUS_FAILED, "%s: key \"%s\" must be %s", where, key, must_be);
}

bool json_get_string(const cJSON *object, const char *key, const char *where, const char **out,
                     struct error *e) {
    const cJSON *item = member(object, key, where, e);
    if (!item) return false;
    if (!cJSON_IsString(item)) return wrong(key, where, "a text", e);
    *out = item->valuestring;
    return true;
}

bool json_get_i64(const cJSON *object, const char *key, const char *where, int64_t *out,
                  struct error *e) {
    const cJSON *item = member(object, key, where, e);
    if (!item) return false;
    return json_is_i64(item, out) || wrong(key, where, "a whole number", e);
}

bool json_get_u64(const cJSON *object, const char *key, const char *where, uint64_t *out,
                  struct error *e) {
    const cJSON *item = member(object, key, where, e);
    if (!item) return false;
    return is_u64(item, out) || wrong(key, where, "a whole number, not negative", e);
}

bool json_get_double(const cJSON *object, const char *key, const char *where, double *out,
                     struct error *e) {
    const cJSON *item = member(object, key, where, e);
    if (!item) return false;
    return json_is_double(item, out) || wrong(key, where, "a number", e);
}

bool json_get_bool(const cJSON *object, const char *key, const char *where, bool *out,
                   struct error *e) {
    const cJSON *item = member(object, key, where, e);
    if (!item) return false;
    if (!cJSON_IsBool(item)) return wrong(key, where, "true or false", e);
    *out = cJSON_IsTrue(item);
    return true;
}

bool json_get_object(const cJSON *object, const char *key, const char *where, const cJSON **out,
                     struct error *e) {
    *out = member(object, key, where, e);
    if (!*out) return false;
    return cJSON_IsObject(*out) || wrong(key, where, "an object", e);
}

bool json_get_array(const cJSON *object, const char *key, const char *where, const cJSON **out,
                    struct error *e) {
    *out = member(object, key, where, e);
    if (!*out) return false;
    return cJSON_IsArray(*out) || wrong(key, where, "a list", e);
}

// ---- members for writing

static void add(cJSON *object, const char *key, cJSON *item) {
    CHECK(item && cJSON_AddItemToObject(object, key, item), "cannot add \"%s\"", key);
}

static void add_raw(cJSON *object, const char *key, struct text *t) {
    add(object, key, cJSON_CreateRaw(t->data));
    text_deinit(t);
}

void json_add_count(cJSON *object, const char *key, int64_t v) {
    CHECK(llabs(v) <= (int64_t)MAX_EXACT, "%s = %" PRId64 " is not exact in JSON", key, v);
    struct text t = {0};
    text_add(&t, "%" PRId64, v);
    add_raw(object, key, &t);
}

void json_add_i64(cJSON *object, const char *key, int64_t v) {
    char s[32];
    snprintf(s, sizeof s, "%" PRId64, v);
    json_add_string(object, key, s);
}

void json_add_u64(cJSON *object, const char *key, uint64_t v) {
    char s[32];
    snprintf(s, sizeof s, "%" PRIu64, v);
    json_add_string(object, key, s);
}

void json_add_float(cJSON *object, const char *key, float v) {
    struct text t = {0};
    text_add_json_float(&t, v);
    add_raw(object, key, &t);
}

void json_add_double(cJSON *object, const char *key, double v) {
    struct text t = {0};
    text_add_json_double(&t, v);
    add_raw(object, key, &t);
}

void json_add_string(cJSON *object, const char *key, const char *v) {
    add(object, key, cJSON_CreateString(v));
}
void json_add_bool(cJSON *object, const char *key, bool v) {
    add(object, key, cJSON_CreateBool(v));
}

cJSON *json_add_object(cJSON *object, const char *key) {
    cJSON *item = cJSON_CreateObject();
    add(object, key, item);
    return item;
}

cJSON *json_add_item(cJSON *list) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(list, item);
    return item;
}
