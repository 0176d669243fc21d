// Configuration as one flat JSON object, and its hash.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "engine/algo/config.h"

char *config_to_json(const struct config *cfg) {
    cJSON *root = cJSON_CreateObject();
    CHECK(root, "out of memory");
    for (int i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        const void *field = (const char *)cfg + key->offset;
        char text[CONFIG_TEXT_SIZE];
        config_text(cfg, i, text);
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
    CHECK(text, "out of memory");
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

static bool type_fits(const cJSON *item) {
    for (int i = 0; i < config_n_keys; i++) {
        if (strcmp(config_keys[i].name, item->string) != 0) continue;
        enum config_type type = config_keys[i].type;
        return type == CONFIG_SWITCH   ? cJSON_IsBool(item)
               : type == CONFIG_CHOICE ? cJSON_IsString(item)
                                       : cJSON_IsNumber(item);
    }
    return true; // unknown: config_set says so
}

bool config_from_json(struct config *cfg, const char *text, size_t bytes, const char *source,
                      struct error *e) {
    struct config copy = *cfg;
    struct error inner = {0};
    cJSON *root = json_parse(text, bytes, source, e);
    if (!root) return false;
    bool ok = cJSON_IsObject(root);
    if (!ok) error_set(&inner, STATUS_USAGE, "a configuration is a JSON object");
    for (const cJSON *item = ok ? root->child : NULL; ok && item; item = item->next) {
        char value[128], assignment[320];
        ok = type_fits(item) && item_text(item, value, sizeof value);
        if (!ok)
            error_set(&inner, STATUS_USAGE, "config key %.100s: the value has the wrong JSON type",
                      item->string);
        if (!ok) break;
        snprintf(assignment, sizeof assignment, "%.150s=%s", item->string, value);
        ok = config_set(&copy, assignment, &inner);
    }
    cJSON_Delete(root);
    if (!ok) return error_set(e, STATUS_USAGE, "%.200s: %.350s", source, inner.message);
    *cfg = copy;
    return true;
}

void config_hash(const struct config *cfg, char out[CONFIG_HASH_SIZE]) {
    char *text = config_to_json(cfg);
    sha256_hex(text, strlen(text), out);
    free(text);
}
