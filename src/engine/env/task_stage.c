// Stage files: gbxcule's list of stages, read with every field checked, written with the rules of
// reward and end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "emu/gb_action.h"
#include "engine/env/task.h"

enum { MAX_STAGES = 1000, MAX_STEPS = 1000000000 };

// ---- abi: what this program does whatever the file says

static bool abi_count(const cJSON *abi, const char *key, int wanted, const char *where,
                      struct error *e) {
    int64_t v;
    if (!json_get_i64(abi, key, where, &v, e)) return false;
    return v == wanted || error_set(e, STATUS_FAILED, "%s: %s is %lld, this program has %d", where,
                                    key, (long long)v, wanted);
}

static bool read_abi(const cJSON *abi, const char *where, const char **codec, struct error *e) {
    static const struct {
        const char *key;
        int value;
    } fixed[] = {{"frames_per_step", GB_FRAMES_PER_STEP},
                 {"release_after_frames", GB_RELEASE_AFTER},
                 {"downsample_h", ENV_OBS_HEIGHT},
                 {"downsample_w", ENV_OBS_WIDTH},
                 {"shade_levels", 4}};
    const char *metric;
    int64_t stack_k;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (!abi_count(abi, fixed[i].key, fixed[i].value, where, e)) return false;
    if (!json_get_string(abi, "action_codec_id", where, codec, e) ||
        !json_get_string(abi, "dist_metric", where, &metric, e) ||
        !json_get_i64(abi, "stack_k", where, &stack_k, e))
        return false;
    if (!gb_action_codec_find(*codec))
        return error_set(
            e, STATUS_FAILED, "%s: action_codec_id is %.60s, this program knows %s, %s and %s",
            where, *codec, gb_action_codec(0)->id, gb_action_codec(1)->id, gb_action_codec(2)->id);
    if (stack_k < 1 || stack_k > GOAL_MAX_STACK)
        return error_set(e, STATUS_FAILED, "%s: stack_k is %lld, must be within 1 and %d", where,
                         (long long)stack_k, GOAL_MAX_STACK);
    return strcmp(metric, "l1_mean_norm") == 0 ||
           error_set(e, STATUS_FAILED, "%s: dist_metric is %.60s, this program has l1_mean_norm",
                     where, metric);
}

// ---- a stage's members

struct text_member {
    const char *key;
    size_t offset, size;
    bool required;
};
#define TEXT_MEMBER(name, required)                                                                \
    { #name, offsetof(struct stage, name), sizeof((struct stage *)0)->name, required }
static const struct text_member texts[] = {
    TEXT_MEMBER(id, true),          TEXT_MEMBER(name, true),
    TEXT_MEMBER(start_state, true), TEXT_MEMBER(goal_source_state, false),
    TEXT_MEMBER(goal_dir, true),    TEXT_MEMBER(rom, false),
    TEXT_MEMBER(solution, false),
};
enum { N_TEXTS = sizeof texts / sizeof *texts };

struct rule_member {
    const char *key;
    size_t offset;
    double least, most;
};
static const struct rule_member rules[] = {
    {"alpha", offsetof(struct goal_rules, alpha), -1e6, 1e6},
    {"goal_bonus", offsetof(struct goal_rules, goal_bonus), -1e6, 1e6},
    {"step_cost", offsetof(struct goal_rules, step_cost), -1e6, 1e6},
    {"tau", offsetof(struct goal_rules, tau), 1e-9, 1},
};
enum { N_RULES = sizeof rules / sizeof *rules };

static bool read_text_member(const cJSON *o, const struct text_member *m, const char *where,
                             struct stage *s, struct error *e) {
    const char *text;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, m->key);
    if (!m->required && (!item || cJSON_IsNull(item))) return true;
    if (!json_get_string(o, m->key, where, &text, e)) return false;
    if (strlen(text) >= m->size)
        return error_set(e, STATUS_FAILED, "%s: key \"%s\" is longer than %zu bytes", where, m->key,
                         m->size - 1);
    strcpy((char *)s + m->offset, text);
    return true;
}

static bool read_rule(const cJSON *o, const struct rule_member *m, const char *where,
                      struct goal_rules *r, struct error *e) {
    double v;
    if (!cJSON_GetObjectItemCaseSensitive(o, m->key)) return true;
    if (!json_get_double(o, m->key, where, &v, e)) return false;
    if (!(v >= m->least && v <= m->most))
        return error_set(e, STATUS_FAILED, "%s: %s is %g, must be within %g and %g", where, m->key,
                         v, m->least, m->most);
    *(float *)(void *)((char *)r + m->offset) = (float)v;
    return true;
}

static bool read_steps(const cJSON *o, const char *key, int64_t most, const char *where, int *out,
                       struct error *e) {
    int64_t v;
    if (!json_get_i64(o, key, where, &v, e)) return false;
    if (v < 1 || v > most)
        return error_set(e, STATUS_FAILED, "%s: %s is %lld, must be within 1 and %lld", where, key,
                         (long long)v, (long long)most);
    *out = (int)v;
    return true;
}

static bool read_stage(const cJSON *o, const char *where, struct stage *s, struct error *e) {
    const char *status;
    *s = (struct stage){.rules = goal_default_rules};
    if (!cJSON_IsObject(o)) return error_set(e, STATUS_FAILED, "%s: a stage is no object", where);
    for (int i = 0; i < N_TEXTS; i++)
        if (!read_text_member(o, &texts[i], where, s, e)) return false;
    for (int i = 0; i < N_RULES; i++)
        if (!read_rule(o, &rules[i], where, &s->rules, e)) return false;
    s->has_tau = cJSON_GetObjectItemCaseSensitive(o, "tau") != NULL;
    s->has_k = cJSON_GetObjectItemCaseSensitive(o, "k_consecutive") != NULL;
    if (s->has_k && !read_steps(o, "k_consecutive", GOAL_MAX_K, where, &s->rules.k_consecutive, e))
        return false;
    if (!read_steps(o, "max_steps", MAX_STEPS, where, &s->rules.max_steps, e) ||
        !json_get_string(o, "status", where, &status, e))
        return false;
    s->ready = strcmp(status, "ready") == 0;
    return s->ready || strcmp(status, "skipped") == 0 ||
           error_set(e, STATUS_FAILED, "%s: status is \"%.40s\", must be ready or skipped", where,
                     status);
}

static bool pick(const cJSON *stages, const char *where, const char *id, struct stage *out,
                 struct error *e) {
    int n = cJSON_GetArraySize(stages), found = 0;
    if (n < 1 || n > MAX_STAGES)
        return error_set(e, STATUS_FAILED, "%s: %d stages, must be 1 to %d", where, n, MAX_STAGES);
    if (!id && n != 1)
        return error_set(e, STATUS_USAGE, "%s: holds %d stages; say which", where, n);
    struct stage *s = mem_alloc(sizeof *s);
    bool fine = true;
    for (const cJSON *o = stages->child; o && fine; o = o->next) {
        fine = read_stage(o, where, s, e);
        if (!fine || (id && strcmp(s->id, id) != 0)) continue;
        *out = *s;
        found++;
    }
    free(s);
    if (!fine) return false;
    return found == 1 || error_set(e, STATUS_USAGE, "%s: %s stage \"%s\"", where,
                                   found ? "more than one" : "no", id);
}

bool stage_parse(const char *text, size_t n, const char *where, const char *id, struct stage *out,
                 struct error *e) {
    cJSON *root = json_parse(text, n, where, e);
    const cJSON *abi, *stages;
    const char *codec;
    bool fine =
        root && json_get_object(root, "abi", where, &abi, e) && read_abi(abi, where, &codec, e) &&
        json_get_array(root, "stages", where, &stages, e) && pick(stages, where, id, out, e);
    if (fine) snprintf(out->action_codec_id, sizeof out->action_codec_id, "%s", codec);
    cJSON_Delete(root);
    return fine;
}

char *stage_to_text(const struct stage *s) {
    struct text t = {0};
    text_add(&t,
             "{\n  \"abi\": {\n    \"action_codec_id\": \"%s\",\n    \"frames_per_step\": %d,\n"
             "    \"release_after_frames\": %d,\n    \"stack_k\": 1,\n    \"downsample_h\": %d,\n"
             "    \"downsample_w\": %d,\n    \"shade_levels\": 4,\n    \"dist_metric\": "
             "\"l1_mean_norm\"\n  },\n"
             "  \"stages\": [\n    {\n",
             s->action_codec_id, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, ENV_OBS_HEIGHT,
             ENV_OBS_WIDTH);
    for (int i = 0; i < N_TEXTS; i++) {
        text_add(&t, "      \"%s\": ", texts[i].key);
        text_add_json_string(&t, (const char *)s + texts[i].offset);
        text_add(&t, ",\n");
    }
    text_add(&t, "      \"status\": \"%s\",\n", s->ready ? "ready" : "skipped");
    for (int i = 0; i < N_RULES; i++) {
        text_add(&t, "      \"%s\": ", rules[i].key);
        text_add_json_float(
            &t, *(const float *)(const void *)((const char *)&s->rules + rules[i].offset));
        text_add(&t, ",\n");
    }
    text_add(&t, "      \"k_consecutive\": %d,\n      \"max_steps\": %d\n    }\n  ]\n}\n",
             s->rules.k_consecutive, s->rules.max_steps);
    return t.data;
}
