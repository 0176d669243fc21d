// Configuration: table, presets, assignment with range checks, rules between keys.
#include "engine/algo/config.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
const struct config_key config_keys[] = {
#define INTEGER(field, key, value, range, help) {key, range, help, CONFIG_INTEGER, offsetof(struct config, field)},
#define DECIMAL(field, key, value, range, help) {key, range, help, CONFIG_DECIMAL, offsetof(struct config, field)},
#define SWITCH(field, key, value, allowed, help) {key, allowed, help, CONFIG_SWITCH, offsetof(struct config, field)},
#define CHOICE(field, key, value, allowed, help) {key, allowed, help, CONFIG_CHOICE, offsetof(struct config, field)},
    CONFIG_TABLE(INTEGER, DECIMAL, SWITCH, CHOICE)
#undef INTEGER
#undef DECIMAL
#undef SWITCH
#undef CHOICE
};
const int config_n_keys = sizeof config_keys / sizeof config_keys[0];
_Static_assert(sizeof config_keys / sizeof config_keys[0] <= 64, "config.given has one bit per key");

static const struct config defaults = {
#define INTEGER(field, key, value, range, help) .field = value,
#define DECIMAL(field, key, value, range, help) .field = value,
#define SWITCH(field, key, value, allowed, help) .field = value,
#define CHOICE(field, key, value, allowed, help) .field = value,
    CONFIG_TABLE(INTEGER, DECIMAL, SWITCH, CHOICE)
#undef INTEGER
#undef DECIMAL
#undef SWITCH
#undef CHOICE
};

// clang-format on

// ---- presets (spec/dreamer_v3.md 2.4)
struct preset {
    int64_t dense_units, mlp_layers, cnn_multiplier, recurrent_size, hidden, stochastic_size,
        discrete_size;
    int64_t batch_size, sequence_length;
};
const char *const config_presets[] = {"micro", "tiny", "xs", "s", "m", "l", "xl", NULL};
static const struct preset presets[] = {
    {8, 1, 2, 8, 8, 4, 4, 16, 64},
    {128, 2, 8, 128, 128, 16, 16, 8, 16},
    {256, 1, 24, 256, 256, 32, 32, 16, 64},
    {512, 2, 32, 512, 512, 32, 32, 16, 64},
    {640, 3, 48, 1024, 640, 32, 32, 16, 64},
    {768, 4, 64, 2048, 768, 32, 32, 16, 64},
    {1024, 5, 96, 4096, 1024, 32, 32, 16, 64},
};

// ---- suggestions: the edit distance between two keys, where swapping neighbours counts as one
// edit
static int minimum(int a, int b) { return a < b ? a : b; }

static int edit_distance(const char *a, const char *b) {
    enum { LONGEST = 96 };
    int rows[3][LONGEST + 1], n = (int)strlen(a), m = (int)strlen(b);
    if (n > LONGEST || m > LONGEST) return LONGEST;
    for (int j = 0; j <= m; j++) rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = rows[i % 3], *before = rows[(i + 2) % 3], *before2 = rows[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            now[j] =
                minimum(minimum(before[j], now[j - 1]) + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = minimum(now[j], before2[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

static const char *last_part(const char *key) {
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

// A key is close as a whole, by its last part alone ("lr" finds algo.world_model.optimizer.lr), or
// as a piece of that
// ("batch_size").
static const char *nearest_key(const char *name) {
    int best = 1 << 20, found = 0;
    for (int i = 0; i < config_n_keys; i++) {
        int whole = 2 * edit_distance(name, config_keys[i].name);
        int part = 4 * edit_distance(last_part(name), last_part(config_keys[i].name)) + 1;
        bool piece = strlen(name) >= 3 && strstr(last_part(config_keys[i].name), name);
        int distance = piece ? 2 : minimum(whole, part);
        if (distance < best) best = distance, found = i;
    }
    return config_keys[found].name;
}

// ---- ranges
struct interval {
    double low, high;
    bool open_low, open_high;
};

static struct interval interval_parse(const char *text) {
    struct interval r = {.open_low = text[0] == '('};
    char *end;
    r.low = strtod(text + 1, &end);
    r.high = strtod(end + 1, &end);
    r.open_high = *end == ')';
    return r;
}

static bool interval_contains(struct interval r, double x) {
    return (r.open_low ? x > r.low : x >= r.low) && (r.open_high ? x < r.high : x <= r.high);
}

// "at least 0", "above 0 and at most 1"
static void interval_text(struct interval r, char *out, size_t size) {
    int n = snprintf(out, size, "%s %.16g", r.open_low ? "above" : "at least", r.low);
    if (!isinf(r.high))
        snprintf(out + n, size - (size_t)n, " and %s %.16g", r.open_high ? "below" : "at most",
                 r.high);
}

static bool in_choices(const char *choices, const char *value, size_t *first, size_t *bytes) {
    for (const char *p = choices;; p++) {
        size_t n = strcspn(p, "|");
        if (n == strlen(value) && memcmp(p, value, n) == 0) {
            *first = (size_t)(p - choices), *bytes = n;
            return true;
        }
        p += n;
        if (!*p) return false;
    }
}

static bool bad_value(const struct config_key *key, const char *value, const char *allowed,
                      struct error *e) {
    return error_set(e, STATUS_USAGE, "config key %s: value '%.60s' is not allowed, it must be %s",
                     key->name, value, allowed);
}

static bool set_number(struct config *cfg, const struct config_key *key, const char *value,
                       struct error *e) {
    char *field = (char *)cfg + key->offset, *end, allowed[96];
    struct interval range = interval_parse(key->allowed);
    errno = 0;
    bool whole = key->type == CONFIG_INTEGER;
    long long integer = whole ? strtoll(value, &end, 10) : 0;
    double number = whole ? (double)integer : strtod(value, &end);
    bool parsed = end != value && !*end && errno != ERANGE && isfinite(number);
    if (!parsed || !interval_contains(range, number)) {
        int n = snprintf(allowed, sizeof allowed, "%s ", whole ? "a whole number" : "a number");
        interval_text(range, allowed + n, sizeof allowed - (size_t)n);
        return bad_value(key, value, allowed, e);
    }
    if (whole)
        memcpy(field, &(int64_t){integer}, sizeof(int64_t));
    else
        memcpy(field, &number, sizeof number);
    return true;
}

static bool set_word(struct config *cfg, const struct config_key *key, const char *value,
                     struct error *e) {
    char *field = (char *)cfg + key->offset, allowed[96];
    size_t first, bytes;
    if (!in_choices(key->allowed, value, &first, &bytes)) {
        snprintf(allowed, sizeof allowed, strchr(key->allowed, '|') ? "one of %s" : "%s",
                 key->allowed);
        return bad_value(key, value, allowed, e);
    }
    if (key->type == CONFIG_SWITCH)
        *(bool *)(void *)field = value[0] == 't';
    else
        snprintf(field, CONFIG_CHOICE_SIZE, "%.*s", (int)bytes, key->allowed + first);
    return true;
}

static int key_find(const char *name) {
    for (int i = 0; i < config_n_keys; i++)
        if (strcmp(config_keys[i].name, name) == 0) return i;
    return -1;
}

// As in sheeprl's files, where the recurrent model's width is written as "= algo.dense_units".
static void follow(struct config *cfg) {
    int recurrent = key_find("algo.world_model.recurrent_model.dense_units");
    if (!(cfg->given >> recurrent & 1)) cfg->recurrent_units = cfg->dense_units;
}

bool config_init(struct config *cfg, const char *preset, struct error *e) {
    int index = 0, nearest = 0;
    while (config_presets[index] && strcmp(config_presets[index], preset) != 0) index++;
    if (!config_presets[index]) {
        char names[128] = "";
        for (int i = 0; config_presets[i]; i++) {
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                     config_presets[i]);
            if (edit_distance(preset, config_presets[i]) <
                edit_distance(preset, config_presets[nearest]))
                nearest = i;
        }
        return error_set(e, STATUS_USAGE, "unknown preset '%.40s': did you mean %s? (known: %s)",
                         preset, config_presets[nearest], names);
    }
    const struct preset *p = &presets[index];
    *cfg = defaults;
    snprintf(cfg->preset, sizeof cfg->preset, "%s", preset);
    cfg->dense_units = p->dense_units;
    cfg->mlp_layers = p->mlp_layers;
    cfg->cnn_multiplier = p->cnn_multiplier;
    cfg->recurrent_size = p->recurrent_size;
    cfg->transition_hidden = cfg->representation_hidden = p->hidden;
    cfg->stochastic_size = p->stochastic_size;
    cfg->discrete_size = p->discrete_size;
    cfg->batch_size = p->batch_size;
    cfg->sequence_length = p->sequence_length;
    follow(cfg);
    return true;
}

bool config_set(struct config *cfg, const char *assignment, struct error *e) {
    const char *equals = strchr(assignment, '=');
    char name[128];
    if (!equals || equals == assignment)
        return error_set(e, STATUS_USAGE, "'%.80s' is no config setting: write key=value",
                         assignment);
    snprintf(name, sizeof name, "%.*s", (int)(equals - assignment), assignment);
    int index = key_find(name);
    if (index < 0)
        return error_set(e, STATUS_USAGE, "unknown config key '%.100s': did you mean %s?", name,
                         nearest_key(name));
    const struct config_key *key = &config_keys[index];
    bool number = key->type == CONFIG_INTEGER || key->type == CONFIG_DECIMAL;
    if (!(number ? set_number(cfg, key, equals + 1, e) : set_word(cfg, key, equals + 1, e)))
        return false;
    cfg->given |= (uint64_t)1 << index;
    follow(cfg);
    return true;
}

void config_text(const struct config *cfg, int index, char out[CONFIG_TEXT_SIZE]) {
    const struct config_key *key = &config_keys[index];
    const void *field = (const char *)cfg + key->offset;
    switch (key->type) {
    case CONFIG_INTEGER:
        snprintf(out, CONFIG_TEXT_SIZE, "%lld", (long long)*(const int64_t *)field);
        break;
    case CONFIG_DECIMAL: {
        double x = *(const double *)field;
        for (int digits = 15; digits <= 17;
             digits++) { // the shortest that reads back as the same number
            snprintf(out, CONFIG_TEXT_SIZE, "%.*g", digits, x);
            if (strtod(out, NULL) == x) break;
        }
        break;
    }
    case CONFIG_SWITCH:
        snprintf(out, CONFIG_TEXT_SIZE, "%s", *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_CHOICE:
        snprintf(out, CONFIG_TEXT_SIZE, "%s", (const char *)field);
        break;
    }
}

// ---- rules between keys
bool config_check(const struct config *cfg, struct error *e) {
    const int64_t rows = cfg->batch_size * cfg->sequence_length,
                  per_env = cfg->buffer_size / cfg->num_envs;
    const int64_t latent = cfg->stochastic_size * cfg->discrete_size;
    for (int i = 0; i < config_n_keys; i++) { // a struct filled by hand is checked as well
        char assignment[192], text[CONFIG_TEXT_SIZE];
        struct config copy = *cfg;
        config_text(cfg, i, text);
        snprintf(assignment, sizeof assignment, "%s=%s", config_keys[i].name, text);
        if (!config_set(&copy, assignment, e)) return false;
    }
    if (rows > 65536)
        return error_set(
            e, STATUS_USAGE,
            "algo.per_rank_batch_size=%lld x algo.per_rank_sequence_length=%lld are %lld "
            "rows a batch: at most 65536 are allowed",
            (long long)cfg->batch_size, (long long)cfg->sequence_length, (long long)rows);
    if (latent > 65536)
        return error_set(
            e, STATUS_USAGE,
            "algo.world_model.stochastic_size=%lld x discrete_size=%lld make a latent of "
            "%lld: at most 65536 is allowed",
            (long long)cfg->stochastic_size, (long long)cfg->discrete_size, (long long)latent);
    if (cfg->percentile_low >= cfg->percentile_high)
        return error_set(e, STATUS_USAGE,
                         "algo.actor.moments.percentile.low=%g must be below "
                         "algo.actor.moments.percentile.high=%g",
                         cfg->percentile_low, cfg->percentile_high);
    if (per_env < cfg->sequence_length + 1)
        return error_set(
            e, STATUS_USAGE,
            "buffer.size=%lld leaves %lld rows for each of %lld environments: a sequence "
            "needs algo.per_rank_sequence_length + 1 = %lld",
            (long long)cfg->buffer_size, (long long)per_env, (long long)cfg->num_envs,
            (long long)cfg->sequence_length + 1);
    if (cfg->learning_starts < cfg->sequence_length * cfg->num_envs)
        return error_set(e, STATUS_USAGE,
                         "algo.learning_starts=%lld is too early: the first batch needs "
                         "algo.per_rank_sequence_length x env.num_envs = %lld steps",
                         (long long)cfg->learning_starts,
                         (long long)(cfg->sequence_length * cfg->num_envs));
    if (cfg->learning_starts > cfg->buffer_size)
        return error_set(
            e, STATUS_USAGE,
            "algo.learning_starts=%lld is more than buffer.size=%lld: the prefill would "
            "overwrite itself",
            (long long)cfg->learning_starts, (long long)cfg->buffer_size);
    if (strcmp(cfg->action_codec, "v0") == 0 && strcmp(cfg->constant_action, "NOOP") == 0)
        return error_set(
            e, STATUS_USAGE,
            "env.constant_action=NOOP does not exist in env.action_codec=v0: choose v1 or "
            "a button");
    return true;
}
