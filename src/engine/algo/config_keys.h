// Configuration keys: any struct of settings behind a table of keys; every algorithm has one
// (config.h, ppo/ppo_config.h).
//
//     static const struct config_schema schema = {keys, n};
//     int index;
//     if (!config_schema_set(&schema, &cfg, "algo.gamma=0.9", &index, &e)) return fail(&e);
//
// Every failure is STATUS_USAGE with one line that names the key, the value and what is allowed;
// the fields are then unchanged. Pure: any thread.
#ifndef ALGO_CONFIG_KEYS_H
#define ALGO_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { CONFIG_CHOICE_SIZE = 24, CONFIG_TEXT_SIZE = 64 };
enum config_type { CONFIG_INTEGER, CONFIG_DECIMAL, CONFIG_SWITCH, CONFIG_CHOICE };
struct config_key {
    const char *name, *allowed, *help; // allowed: interval or choices
    enum config_type type;
    size_t offset; // of the field: int64_t, double, bool or char[CONFIG_CHOICE_SIZE]
};

struct config_schema {
    const struct config_key *keys;
    int n;
};

int config_schema_find(const struct config_schema *s, const char *name); // -1 if there is none
// "key=value" into `fields`; *index: of the key.
bool config_schema_set(const struct config_schema *s, void *fields, const char *assignment,
                       int *index, struct error *e);
// The value, as an assignment takes it.
void config_key_text(const struct config_key *key, const void *fields, char out[CONFIG_TEXT_SIZE]);
// Insertions, deletions, changes and swaps of neighbours between two words.
int config_edit_distance(const char *a, const char *b);

// ---- config_json.c: one flat object, keys in the table's order, the same bytes for the same
// values. free() it.
char *config_schema_to_json(const struct config_schema *s, const void *fields);
typedef bool config_setter(void *fields, const char *assignment, struct error *e);
// Every key must be known and of its type; keys that are missing keep their value. On failure some
// of `fields` may be set already: give a copy.
bool config_schema_from_json(const struct config_schema *s, void *fields, config_setter *set,
                             const char *text, size_t bytes, const char *source, struct error *e);

#endif
