// Configuration keys: assignments, ranges and suggestions over any table of keys.
#include "engine/algo/config_keys.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- suggestions: the edit distance between two keys, where swapping neighbours counts as one
// edit
static int minimum(int a, int b) { return a < b ? a : b; }

int config_edit_distance(const char *a, const char *b) {
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
static const char *nearest_key(const struct config_schema *s, const char *name) {
    int best = 1 << 20, found = 0;
    for (int i = 0; i < s->n; i++) {
        int whole = 2 * config_edit_distance(name, s->keys[i].name);
        int part = 4 * config_edit_distance(last_part(name), last_part(s->keys[i].name)) + 1;
        bool piece = strlen(name) >= 3 && strstr(last_part(s->keys[i].name), name);
        int distance = piece ? 2 : minimum(whole, part);
        if (distance < best) best = distance, found = i;
    }
    return s->keys[found].name;
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

static bool set_number(void *fields, const struct config_key *key, const char *value,
                       struct error *e) {
    char *field = (char *)fields + key->offset, *end, allowed[96];
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
    // The networks compute in float: there it would be the 0 that the range may leave out.
    if (!whole && number != 0 && fabs(number) < (double)FLT_MIN)
        return bad_value(key, value, "a number no nearer to 0 than 1.2e-38, the smallest float", e);
    if (whole)
        memcpy(field, &(int64_t){integer}, sizeof(int64_t));
    else
        memcpy(field, &number, sizeof number);
    return true;
}

static bool set_word(void *fields, const struct config_key *key, const char *value,
                     struct error *e) {
    char *field = (char *)fields + key->offset, allowed[96];
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

int config_schema_find(const struct config_schema *s, const char *name) {
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->keys[i].name, name) == 0) return i;
    return -1;
}

bool config_schema_set(const struct config_schema *s, void *fields, const char *assignment,
                       int *index, struct error *e) {
    const char *equals = strchr(assignment, '=');
    char name[128];
    if (!equals || equals == assignment)
        return error_set(e, STATUS_USAGE, "'%.80s' is no config setting: write key=value",
                         assignment);
    snprintf(name, sizeof name, "%.*s", (int)(equals - assignment), assignment);
    *index = config_schema_find(s, name);
    if (*index < 0)
        return error_set(e, STATUS_USAGE, "unknown config key '%.100s': did you mean %s?", name,
                         nearest_key(s, name));
    const struct config_key *key = &s->keys[*index];
    bool number = key->type == CONFIG_INTEGER || key->type == CONFIG_DECIMAL;
    return number ? set_number(fields, key, equals + 1, e) : set_word(fields, key, equals + 1, e);
}

void config_key_text(const struct config_key *key, const void *fields, char out[CONFIG_TEXT_SIZE]) {
    const void *field = (const char *)fields + key->offset;
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
