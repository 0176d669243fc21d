// Configuration as one flat JSON object, and its hash.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "engine/algo/config.h"

char *config_schema_to_json(const struct config_schema *s, const void *fields) {
    cJSON *root = cJSON_CreateObject();
    if (!root) out_of_memory(0);
    for (int i = 0; i < s->n; i++) {
        const struct config_key *key = &s->keys[i];
        const void *field = (const char *)fields + key->offset;
        char text[CONFIG_TEXT_SIZE];
        config_key_text(key, fields, text);
        switch (key->type) {
        // ranges keep integers below 2^53, so text is exact
        case CONFIG_INTEGER:
        case CONFIG_DECIMAL:
            cJSON_AddRawToObject(root, key->name, text);
            break;
        case CONFIG_SWITCH:
            cJSON_AddBoolToObject(root, key->name, *(const bool *)field);
            break;
        case CONFIG_CHOICE:
            cJSON_AddStringToObject(root, key->name, field);
            break;
        }
    }
    char *text = cJSON_Print(root);
    if (!text) out_of_memory(0);
    cJSON_Delete(root);
    return text;
}

// The value as config_set takes it; false where the JSON type can be no config value.
static bool item_text(const cJSON *item, char *out, size_t size) {
    if (cJSON_IsBool(item))
        snprintf(out, size, "%s", cJSON_IsTrue(item) ? "true" : "false");
    else if (cJSON_IsString(item))
        snprintf(out, size, "%s", item->valuestring);
    else if (!cJSON_IsNumber(item))
        return false;
    else if (item->valuedouble == floor(item->valuedouble) && fabs(item->valuedouble) < 0x1p53)
        snprintf(out, size, "%.0f", item->valuedouble);
    else
        snprintf(out, size, "%.17g", item->valuedouble);
    return true;
}

static bool type_fits(const struct config_schema *s, const cJSON *item) {
    for (int i = 0; i < s->n; i++) {
        if (strcmp(s->keys[i].name, item->string) != 0) continue;
        enum config_type type = s->keys[i].type;
        return type == CONFIG_SWITCH   ? cJSON_IsBool(item)
               : type == CONFIG_CHOICE ? cJSON_IsString(item)
                                       : cJSON_IsNumber(item);
    }
    return true; // unknown: config_set says so
}

bool config_schema_from_json(const struct config_schema *s, void *fields, config_setter *set,
                             const char *text, size_t bytes, const char *source, struct error *e) {
    struct error inner = {0};
    cJSON *root = json_parse(text, bytes, source, e);
    if (!root) return false;
    bool ok = cJSON_IsObject(root);
    if (!ok) error_set(&inner, STATUS_USAGE, "a configuration is a JSON object");
    for (const cJSON *item = ok ? root->child : NULL; ok && item; item = item->next) {
        char value[128], assignment[320];
        ok = type_fits(s, item) && item_text(item, value, sizeof value);
        if (!ok)
            error_set(&inner, STATUS_USAGE, "config key %.100s: the value has the wrong JSON type",
                      item->string);
        if (!ok) break;
        snprintf(assignment, sizeof assignment, "%.150s=%s", item->string, value);
        ok = set(fields, assignment, &inner);
    }
    cJSON_Delete(root);
    return ok || error_set(e, STATUS_USAGE, "%.200s: %.350s", source, inner.message);
}

// ---- DreamerV3's

static struct config_schema schema(void) { return (struct config_schema){config_keys, config_n_keys}; }

char *config_to_json(const struct config *cfg) {
    const struct config_schema s = schema();
    return config_schema_to_json(&s, cfg);
}

static bool set(void *fields, const char *assignment, struct error *e) {
    return config_set(fields, assignment, e);
}

bool config_from_json(struct config *cfg, const char *text, size_t bytes, const char *source,
                      struct error *e) {
    const struct config_schema s = schema();
    struct config copy = *cfg;
    if (!config_schema_from_json(&s, &copy, set, text, bytes, source, e)) return false;
    *cfg = copy;
    return true;
}

void config_hash(const struct config *cfg, char out[CONFIG_HASH_SIZE]) {
    char *text = config_to_json(cfg);
    sha256_hex(text, strlen(text), out);
    free(text);
}
