// JSON: reading through cJSON with limits and one-line errors, and typed members for writing.
//
//     cJSON *root = json_read_file(path, 1 << 20, &e);             // caller: cJSON_Delete
//     if (!root || !json_get_i64(root, "seed", path, &seed, &e)) goto fail;
//
// cJSON prints NaN as null and keeps 15 digits, so: non-finite numbers are the strings "NaN",
// "Infinity",
// "-Infinity", 64-bit integers are decimal strings, and floats are printed by base/text.h (shortest
// that reads back equal). The getters take both forms. `where` is the file (and line) for messages.
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "base/error.h"

enum { JSON_MAX_DEPTH = 32 };

// Exactly one JSON value; at most JSON_MAX_DEPTH levels, no NUL bytes, no member twice in one
// object, valid UTF-8 is not checked. NULL and an error that names `where`.
cJSON *json_parse(const char *text, size_t n, const char *where, struct error *e);
cJSON *json_read_file(const char *path, size_t max_bytes, struct error *e);
// Indented and with a final newline, replaced atomically (base/file.h).
bool json_write_file(const char *path, const cJSON *root, bool sync, struct error *e);

// ---- getters: false and "FILE: key "x" is missing / must be ..." in e
bool json_get_string(const cJSON *object, const char *key, const char *where, const char **out,
                     struct error *e);
bool json_get_i64(const cJSON *object, const char *key, const char *where, int64_t *out,
                  struct error *e);
bool json_get_u64(const cJSON *object, const char *key, const char *where, uint64_t *out,
                  struct error *e);
bool json_get_double(const cJSON *object, const char *key, const char *where, double *out,
                     struct error *e);
bool json_get_bool(const cJSON *object, const char *key, const char *where, bool *out,
                   struct error *e);
bool json_get_object(const cJSON *object, const char *key, const char *where, const cJSON **out,
                     struct error *e);
bool json_get_array(const cJSON *object, const char *key, const char *where, const cJSON **out,
                    struct error *e);

// ---- values of items: false when the item is not of that kind
bool json_is_i64(const cJSON *item,
                 int64_t *out); // integral number within +-2^53, or a decimal string
bool json_is_double(const cJSON *item,
                    double *out); // number, or one of the three non-finite strings

// The text and a line feed; the root is gone afterwards.
void json_print_and_free(FILE *out, cJSON *root);

// ---- members for writing; key and text are copied
void json_add_count(cJSON *object, const char *key, int64_t v); // as a number; |v| <= 2^53
void json_add_i64(cJSON *object, const char *key, int64_t v);   // as a string
void json_add_u64(cJSON *object, const char *key, uint64_t v);  // as a string
void json_add_float(cJSON *object, const char *key, float v);
void json_add_double(cJSON *object, const char *key, double v);
void json_add_string(cJSON *object, const char *key, const char *v);
void json_add_bool(cJSON *object, const char *key, bool v);
cJSON *json_add_object(cJSON *object, const char *key); // the new member, owned by object
cJSON *json_add_item(cJSON *list);                      // an object at its end, owned by it

#endif
