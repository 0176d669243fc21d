// Safetensors: own reader and writer of named tensors. The reader trusts nothing the file says.
#include "engine/data/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensors are read and written as little-endian");

enum { ALIGNMENT = 64 };

const char *const st_dtype_names[ST_N_DTYPES] = {"F64", "I64", "F32", "I32", "U32", "U8", "BOOL"};
static const uint8_t dtype_bytes[ST_N_DTYPES] = {8, 8, 4, 4, 4, 1, 1};

size_t st_dtype_bytes(enum st_dtype dtype) { return dtype_bytes[dtype]; }

struct safetensors {
    char where[PATH_SIZE];
    struct st_tensor *tensors;
    struct st_text *texts; // both strings owned
    int n_tensors, n_texts;
    uint8_t *data; // slab of n_data bytes, tensors at multiples of ALIGNMENT
    size_t n_data;
};

// ---- reading: the header, entry by entry

struct span { // where a tensor lies in the file's data section
    uint64_t begin, end;
    int tensor;
};

static bool bad(const struct safetensors *s, struct error *e, const char *name, const char *what) {
    return error_set(e, STATUS_FAILED, "%s: tensor \"%s\": %s; the file is broken", s->where, name,
                     what);
}

static bool read_dtype(const struct safetensors *s, const cJSON *entry, struct st_tensor *t,
                       struct error *e) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    if (!cJSON_IsString(item)) return bad(s, e, t->name, "no dtype");
    for (int d = 0; d < ST_N_DTYPES; d++)
        if (strcmp(item->valuestring, st_dtype_names[d]) == 0) {
            t->dtype = (enum st_dtype)d;
            return true;
        }
    return error_set(e, STATUS_FAILED, "%s: tensor \"%s\" has dtype %.16s, which is not supported",
                     s->where, t->name, item->valuestring);
}

static bool read_shape(const struct safetensors *s, const cJSON *entry, struct st_tensor *t,
                       struct error *e) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    if (!cJSON_IsArray(list)) return bad(s, e, t->name, "no shape");
    t->n_elements = 1;
    for (const cJSON *item = list->child; item; item = item->next) {
        int64_t size;
        if (t->n_dims == ST_MAX_DIMS) return bad(s, e, t->name, "too many dimensions");
        if (!cJSON_IsNumber(item) || !json_is_i64(item, &size) || size < 0)
            return bad(s, e, t->name, "a dimension is not a whole number");
        if (__builtin_mul_overflow(t->n_elements, size, &t->n_elements))
            return bad(s, e, t->name, "its size overflows");
        t->shape[t->n_dims++] = size;
    }
    if (__builtin_mul_overflow((uint64_t)t->n_elements, st_dtype_bytes(t->dtype), &t->n_bytes))
        return bad(s, e, t->name, "its size overflows");
    return true;
}

static bool read_span(const struct safetensors *s, const cJSON *entry, const struct st_tensor *t,
                      uint64_t n_data, struct span *span, struct error *e) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    int64_t offset[2];
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != 2)
        return bad(s, e, t->name, "no data_offsets");
    const cJSON *item = list->child;
    for (int i = 0; i < 2; i++, item = item->next)
        if (!cJSON_IsNumber(item) || !json_is_i64(item, &offset[i]) || offset[i] < 0)
            return bad(s, e, t->name, "an offset is not a whole number");
    span->begin = (uint64_t)offset[0];
    span->end = (uint64_t)offset[1];
    if (span->begin > span->end || span->end > n_data)
        return bad(s, e, t->name, "its data lies outside the file");
    if (span->end - span->begin != t->n_bytes)
        return bad(s, e, t->name, "its data does not fit its shape");
    return true;
}

static bool read_texts(struct safetensors *s, const cJSON *object, struct error *e) {
    if (!cJSON_IsObject(object))
        return error_set(e, STATUS_FAILED, "%s: __metadata__ is not an object", s->where);
    s->texts = mem_alloc((size_t)cJSON_GetArraySize(object) * sizeof *s->texts);
    for (const cJSON *item = object->child; item; item = item->next) {
        if (!cJSON_IsString(item))
            return error_set(e, STATUS_FAILED, "%s: __metadata__ \"%s\" is not a text", s->where,
                             item->string);
        s->texts[s->n_texts].key = mem_strdup(item->string);
        s->texts[s->n_texts++].value = mem_strdup(item->valuestring);
    }
    return true;
}

static int compare_spans(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

// Every byte of the data section belongs to exactly one tensor.
static bool spans_tile(const struct safetensors *s, struct span *spans, uint64_t n_data,
                       struct error *e) {
    qsort(spans, (size_t)s->n_tensors, sizeof *spans, compare_spans);
    uint64_t at = 0;
    for (int i = 0; i < s->n_tensors; i++) {
        if (spans[i].begin != at)
            return bad(s, e, s->tensors[spans[i].tensor].name,
                       spans[i].begin < at ? "its data overlaps another tensor's"
                                           : "there is a hole before its data");
        at = spans[i].end;
    }
    if (at == n_data) return true;
    return error_set(e, STATUS_FAILED,
                     "%s: %" PRIu64 " bytes follow the last tensor; the file is broken", s->where,
                     n_data - at);
}

static bool read_header(struct safetensors *s, const cJSON *root, struct span *spans,
                        uint64_t n_data, struct error *e) {
    if (!cJSON_IsObject(root))
        return error_set(e, STATUS_FAILED, "%s: the header is not an object", s->where);
    for (const cJSON *entry = root->child; entry; entry = entry->next) {
        if (strcmp(entry->string, "__metadata__") == 0) {
            if (!read_texts(s, entry, e)) return false;
            continue;
        }
        struct st_tensor *t = &s->tensors[s->n_tensors];
        size_t n = strlen(entry->string);
        if (n >= ST_NAME_SIZE)
            return error_set(e, STATUS_FAILED,
                             "%s: a tensor name has %zu bytes, at most %d are supported", s->where,
                             n, ST_NAME_SIZE - 1);
        memcpy(t->name, entry->string, n + 1);
        if (!cJSON_IsObject(entry)) return bad(s, e, t->name, "not an object");
        if (!read_dtype(s, entry, t, e) || !read_shape(s, entry, t, e) ||
            !read_span(s, entry, t, n_data, &spans[s->n_tensors], e))
            return false;
        spans[s->n_tensors].tensor = s->n_tensors;
        s->n_tensors++;
    }
    return spans_tile(s, spans, n_data, e);
}

static void copy_data(struct safetensors *s, const struct span *spans, const uint8_t *data) {
    for (int i = 0; i < s->n_tensors; i++)
        s->n_data += (s->tensors[i].n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    s->data = mem_slab_alloc(s->n_data);
    size_t at = 0;
    for (int i = 0; i < s->n_tensors; i++) {
        struct st_tensor *t = &s->tensors[spans[i].tensor];
        if (t->n_bytes) memcpy(s->data + at, data + spans[i].begin, t->n_bytes);
        t->data = s->data + at;
        at += (t->n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}

static int compare_tensors(const void *a, const void *b) {
    return strcmp(((const struct st_tensor *)a)->name, ((const struct st_tensor *)b)->name);
}

static bool parse(struct safetensors *s, const uint8_t *bytes, size_t n, struct error *e) {
    uint64_t n_header = 0;
    if (n < 8) return error_set(e, STATUS_FAILED, "%s: too short for a safetensors file", s->where);
    memcpy(&n_header, bytes, 8);
    if (n_header > ST_MAX_HEADER_BYTES || n_header > n - 8)
        return error_set(e, STATUS_FAILED,
                         "%s: not a safetensors file, or cut short (header of %" PRIu64 " bytes)",
                         s->where, n_header);
    const char *header = (const char *)bytes + 8;
    if (n_header < 2 || header[0] != '{')
        return error_set(e, STATUS_FAILED, "%s: not a safetensors file (the header is not JSON)",
                         s->where);
    cJSON *root = json_parse(header, n_header, s->where, e);
    if (!root) return false;
    int n_entries = cJSON_GetArraySize(root);
    struct span *spans = mem_alloc((size_t)n_entries * sizeof *spans);
    bool ok = n_entries <= ST_MAX_TENSORS ||
              error_set(e, STATUS_FAILED, "%s: %d tensors are too many", s->where, n_entries);
    if (ok) {
        s->tensors = mem_alloc((size_t)n_entries * sizeof *s->tensors);
        ok = read_header(s, root, spans, n - 8 - n_header, e);
    }
    if (ok) {
        copy_data(s, spans, bytes + 8 + n_header);
        qsort(s->tensors, (size_t)s->n_tensors, sizeof *s->tensors, compare_tensors);
    }
    free(spans);
    cJSON_Delete(root);
    return ok;
}

struct safetensors *safetensors_parse(const void *bytes, size_t n, const char *where,
                                      struct error *e) {
    struct safetensors *s = mem_alloc(sizeof *s);
    strncpy(s->where, where, sizeof s->where - 1);
    if (parse(s, bytes, n, e)) return s;
    safetensors_free(s);
    return NULL;
}

struct safetensors *safetensors_open(const char *path, struct error *e) {
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, SIZE_MAX / 4, &bytes, &n, e)) return NULL;
    struct safetensors *s = safetensors_parse(bytes, n, path, e);
    free(bytes);
    return s;
}

void safetensors_free(struct safetensors *s) {
    if (!s) return;
    for (int i = 0; i < s->n_texts; i++) {
        free((char *)s->texts[i].key);
        free((char *)s->texts[i].value);
    }
    free(s->texts);
    free(s->tensors);
    mem_slab_free(s->data, s->n_data);
    free(s);
}

int safetensors_count(const struct safetensors *s) { return s->n_tensors; }
const char *safetensors_where(const struct safetensors *s) { return s->where; }

const struct st_tensor *safetensors_at(const struct safetensors *s, int index) {
    CHECK(index >= 0 && index < s->n_tensors, "tensor %d of %d", index, s->n_tensors);
    return &s->tensors[index];
}

const struct st_tensor *safetensors_find(const struct safetensors *s, const char *name) {
    int low = 0, high = s->n_tensors;
    while (low < high) {
        int middle = (low + high) / 2, order = strcmp(s->tensors[middle].name, name);
        if (order == 0) return &s->tensors[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *safetensors_text(const struct safetensors *s, const char *key) {
    for (int i = 0; i < s->n_texts; i++)
        if (strcmp(s->texts[i].key, key) == 0) return s->texts[i].value;
    return NULL;
}

static void add_shape(struct text *t, int n_dims, const int64_t *shape) {
    text_add(t, "[");
    for (int i = 0; i < n_dims; i++) text_add(t, "%s%" PRId64, i ? "," : "", shape[i]);
    text_add(t, "]");
}

const struct st_tensor *safetensors_expect(const struct safetensors *s, const char *name,
                                           enum st_dtype dtype, int n_dims, const int64_t *shape,
                                           struct error *e) {
    const struct st_tensor *t = safetensors_find(s, name);
    if (!t) {
        error_set(e, STATUS_FAILED, "%s: tensor \"%s\" is missing", s->where, name);
        return NULL;
    }
    bool same = t->dtype == dtype && t->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++) same = t->shape[i] == shape[i];
    if (same) return t;
    struct text have = {0}, want = {0};
    add_shape(&have, t->n_dims, t->shape);
    add_shape(&want, n_dims, shape);
    error_set(e, STATUS_FAILED, "%s: tensor \"%s\" is %s%s, expected %s%s", s->where, name,
              st_dtype_names[t->dtype], have.data, st_dtype_names[dtype], want.data);
    text_deinit(&have);
    text_deinit(&want);
    return NULL;
}

// ---- writing

static int compare_sources(const void *a, const void *b) {
    const struct st_source *x = *(const struct st_source *const *)a,
                           *y = *(const struct st_source *const *)b;
    size_t m = st_dtype_bytes(x->dtype), n = st_dtype_bytes(y->dtype);
    return m != n ? (m > n ? -1 : 1) : strcmp(x->name, y->name);
}

static int compare_texts(const void *a, const void *b) {
    return strcmp((*(const struct st_text *const *)a)->key,
                  (*(const struct st_text *const *)b)->key);
}

static size_t source_bytes(const struct st_source *t) {
    size_t n = st_dtype_bytes(t->dtype);
    CHECK(t->n_dims >= 0 && t->n_dims <= ST_MAX_DIMS, "%s has %d dimensions", t->name, t->n_dims);
    for (int i = 0; i < t->n_dims; i++)
        CHECK(t->shape[i] >= 0 && !__builtin_mul_overflow(n, (size_t)t->shape[i], &n), "size of %s",
              t->name);
    return n;
}

static void make_header(struct text *t, const struct st_source **order, int n,
                        const struct st_text **texts, int n_texts) {
    text_add(t, "{");
    if (n_texts) text_add(t, "\"__metadata__\":{");
    for (int i = 0; i < n_texts; i++) {
        if (i) text_add(t, ",");
        text_add_json_string(t, texts[i]->key);
        text_add(t, ":");
        text_add_json_string(t, texts[i]->value);
    }
    if (n_texts) text_add(t, "}");
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        if (i || n_texts) text_add(t, ",");
        text_add_json_string(t, order[i]->name);
        text_add(t, ":{\"dtype\":\"%s\",\"shape\":", st_dtype_names[order[i]->dtype]);
        add_shape(t, order[i]->n_dims, order[i]->shape);
        text_add(t, ",\"data_offsets\":[%zu,", at);
        text_add(t, "%zu]}", at += source_bytes(order[i]));
    }
    text_add(t, "}");
    while (t->n % 8) text_add(t, " ");
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_names(const struct st_source *tensors, int n) {
    const char **names = mem_alloc((size_t)n * sizeof *names);
    for (int i = 0; i < n; i++) {
        names[i] = tensors[i].name;
        CHECK(strlen(names[i]) < ST_NAME_SIZE && strcmp(names[i], "__metadata__") != 0,
              "tensor name %s", names[i]);
    }
    qsort(names, (size_t)n, sizeof *names, compare_names);
    for (int i = 1; i < n; i++)
        CHECK(strcmp(names[i - 1], names[i]) != 0, "tensor %s given twice", names[i]);
    free(names);
}

static int compare_source_names(const void *a, const void *b) {
    return strcmp((*(const struct st_source *const *)a)->name,
                  (*(const struct st_source *const *)b)->name);
}

static uint32_t add_to_crc(uint32_t crc, const char *name, const void *data, size_t n) {
    return crc32_update(crc32_update(crc, name, strlen(name)), data, n);
}

void safetensors_crc(const struct st_source *tensors, int n_tensors, char out[9]) {
    const struct st_source **order = mem_alloc((size_t)n_tensors * sizeof *order);
    uint32_t crc = 0;
    for (int i = 0; i < n_tensors; i++) order[i] = &tensors[i];
    qsort(order, (size_t)n_tensors, sizeof *order, compare_source_names);
    for (int i = 0; i < n_tensors; i++)
        crc = add_to_crc(crc, order[i]->name, order[i]->data, source_bytes(order[i]));
    snprintf(out, 9, "%08" PRIx32, crc);
    free(order);
}

bool safetensors_intact(const struct safetensors *s, struct error *e) {
    const char *wanted = safetensors_text(s, ST_CRC_KEY);
    uint32_t crc = 0;
    char now[9];
    for (int i = 0; i < safetensors_count(s); i++) {
        const struct st_tensor *t = safetensors_at(s, i);
        crc = add_to_crc(crc, t->name, t->data, t->n_bytes);
    }
    snprintf(now, sizeof now, "%08" PRIx32, crc);
    if (!wanted || strcmp(wanted, now) == 0) return true;
    return error_set(e, STATUS_FAILED, "%s: its checksum is %s, not %.20s: the file was altered",
                     safetensors_where(s), now, wanted);
}

bool safetensors_write(const char *path, const struct st_source *tensors, int n_tensors,
                       const struct st_text *texts, int n_texts, struct error *e) {
    const struct st_source **order = mem_alloc((size_t)n_tensors * sizeof *order);
    const struct st_text **text_order = mem_alloc((size_t)n_texts * sizeof *text_order);
    for (int i = 0; i < n_tensors; i++) order[i] = &tensors[i];
    for (int i = 0; i < n_texts; i++) text_order[i] = &texts[i];
    qsort(order, (size_t)n_tensors, sizeof *order, compare_sources);
    qsort(text_order, (size_t)n_texts, sizeof *text_order, compare_texts);
    check_names(tensors, n_tensors);
    struct text header = {0};
    make_header(&header, order, n_tensors, text_order, n_texts);
    uint64_t n_header = header.n;
    struct file_atomic f;
    bool ok = file_atomic_begin(&f, path, e) && file_atomic_write(&f, &n_header, 8, e) &&
              file_atomic_write(&f, header.data, header.n, e);
    for (int i = 0; ok && i < n_tensors; i++)
        ok = file_atomic_write(&f, order[i]->data, source_bytes(order[i]), e);
    ok = ok && file_atomic_commit(&f, true, e);
    text_deinit(&header);
    free(order);
    free(text_order);
    return ok;
}
