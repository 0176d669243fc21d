// Session reader: a session folder back into records, trusting nothing it holds.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "engine/data/session.h"

static const size_t max_json_bytes = 4 << 20, max_lines_bytes = (size_t)8 << 30;

static bool is_key(const char *name) {
    return strcmp(name, "opt_steps") == 0 || strcmp(name, "env_steps") == 0;
}

// "action_hist":[12,0,...]
static bool read_action_hist(const cJSON *list, const char *where, struct record *r,
                             struct error *e) {
    const int n = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list) || n < 1 || n > RECORD_MAX_ACTIONS)
        return error_set(e, STATUS_FAILED, "%s: action_hist is no list of 1 to %d counts", where,
                         RECORD_MAX_ACTIONS);
    r->n_actions = 0;
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 0x1p53))
            return error_set(e, STATUS_FAILED, "%s: action_hist holds no count", where);
        r->action_hist[r->n_actions++] = (int64_t)item->valuedouble;
    }
    return true;
}

// One line's metrics into `r`; only those of the right file are allowed.
static bool read_metrics(const cJSON *line, bool timed, const char *where, struct record *r,
                         struct error *e) {
    for (const cJSON *item = line->child; item; item = item->next) {
        if (is_key(item->string)) continue;
        if (!timed && strcmp(item->string, "action_hist") == 0) {
            if (!read_action_hist(item, where, r, e)) return false;
            continue;
        }
        int m = metric_find(item->string);
        double v;
        if (m < 0 || metric_info[m].timed != timed)
            return error_set(e, STATUS_FAILED, "%s: unknown metric \"%s\"", where, item->string);
        if (!json_is_double(item, &v))
            return error_set(e, STATUS_FAILED, "%s: metric \"%s\" is not a number", where,
                             item->string);
        r->value[m] = (float)v;
        r->present |= METRIC_BIT(m);
    }
    return true;
}

static bool read_line(const char *text, size_t n, bool timed, const char *where, struct record *r,
                      struct error *e) {
    cJSON *line = json_parse(text, n, where, e);
    if (!line) return false;
    *r = (struct record){0};
    for (int m = 0; m < METRIC_COUNT; m++) r->value[m] = NAN;
    bool ok = json_get_i64(line, "opt_steps", where, &r->opt_steps, e) &&
              (timed || json_get_i64(line, "env_steps", where, &r->env_steps, e)) &&
              read_metrics(line, timed, where, r, e);
    if (ok && (r->opt_steps < 0 || r->env_steps < 0))
        ok = error_set(e, STATUS_FAILED, "%s: a negative step", where);
    cJSON_Delete(line);
    return ok;
}

struct lines {
    struct record *records;
    int64_t n, capacity;
    bool cut; // the last line has no end
};

static bool parse_lines(const char *text, size_t size, bool timed, const char *path,
                        struct lines *out, struct error *e) {
    char where[PATH_SIZE + 32];
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        if (!end) { // killed while writing it, or being written now
            out->cut = true;
            return true;
        }
        size_t n = (size_t)(end - text) - at;
        snprintf(where, sizeof where, "%s:%" PRId64, path, out->n + 1);
        if (out->n == out->capacity) {
            out->capacity = out->capacity ? 2 * out->capacity : 256;
            out->records = mem_resize(out->records, (size_t)out->capacity * sizeof *out->records);
        }
        struct record *r = &out->records[out->n];
        if (!read_line(text + at, n, timed, where, r, e)) return false;
        if (out->n && r->opt_steps <= r[-1].opt_steps)
            return error_set(e, STATUS_FAILED, "%s: step %" PRId64 " does not follow step %" PRId64,
                             where, r->opt_steps, r[-1].opt_steps);
        out->n++;
        at += n + 1;
    }
    return true;
}

static bool read_lines(const char *folder, const char *name, bool timed, struct lines *out,
                       struct error *e) {
    char path[PATH_SIZE];
    uint8_t *data;
    size_t n;
    if (!path_join(path, folder, name, e) || !file_read(path, max_lines_bytes, &data, &n, e))
        return false;
    bool ok = parse_lines((const char *)data, n, timed, path, out, e);
    free(data);
    return ok;
}

// Adds the timed metrics of the same step; both lists rise. A timing line without partner is left
// out.
static void join(struct lines *metrics, const struct lines *timing) {
    int64_t k = 0;
    for (int64_t i = 0; i < metrics->n; i++) {
        struct record *r = &metrics->records[i];
        while (k < timing->n && timing->records[k].opt_steps < r->opt_steps) k++;
        if (k == timing->n || timing->records[k].opt_steps != r->opt_steps) continue;
        for (int m = 0; m < METRIC_COUNT; m++)
            if (timing->records[k].present >> m & 1) r->value[m] = timing->records[k].value[m];
        r->present |= timing->records[k].present;
    }
}

static bool read_json(const char *folder, const char *name, cJSON **out, struct error *e) {
    char path[PATH_SIZE];
    if (!path_join(path, folder, name, e)) return false;
    *out = json_read_file(path, max_json_bytes, e);
    if (!*out || cJSON_IsObject(*out)) return *out != NULL;
    return error_set(e, STATUS_FAILED, "%s: not a JSON object", path);
}

static bool read_heads(struct session_data *d, struct error *e) {
    char where[PATH_SIZE];
    int64_t schema;
    if (!file_is_folder(d->path))
        return error_set(e, STATUS_USAGE,
                         "%s: no such session folder; see `workbench sessions list`", d->path);
    if (!path_join(where, d->path, "meta.json", e)) return false;
    if (!file_exists(where))
        return error_set(e, STATUS_USAGE, "%s is not a session: it has no meta.json", d->path);
    if (!read_json(d->path, "meta.json", &d->meta, e) ||
        !json_get_i64(d->meta, "schema", where, &schema, e))
        return false;
    if (schema != SESSION_SCHEMA)
        return error_set(e, STATUS_FAILED,
                         "%s: session version %" PRId64 ", this program reads version %d", where,
                         schema, SESSION_SCHEMA);
    if (!read_json(d->path, "config.json", &d->config, e)) return false;
    return !path_join(where, d->path, "heartbeat.json", e) || !file_exists(where) ||
           read_json(d->path, "heartbeat.json", &d->heartbeat, e);
}

struct session_data *session_read(const char *path, struct error *e) {
    struct session_data *d = mem_alloc(sizeof *d);
    struct lines metrics = {0}, timing = {0};
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    if (n < PATH_SIZE) snprintf(d->path, PATH_SIZE, "%.*s", (int)n, path);
    bool ok = (n < PATH_SIZE || path_join(d->path, path, "", e)) && read_heads(d, e) &&
              read_lines(path, "metrics.jsonl", false, &metrics, e) &&
              read_lines(path, "timing.jsonl", true, &timing, e);
    if (ok) join(&metrics, &timing);
    d->records = metrics.records;
    d->n_records = metrics.n;
    d->last_line_cut = metrics.cut || timing.cut;
    free(timing.records);
    if (ok) return d;
    session_data_free(d);
    return NULL;
}

// ---- records that are not there

// A whole number of a JSON object, `absent` where there is none.
static int64_t count_of(const cJSON *object, const char *key, int64_t absent) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    int64_t v;
    return item && json_is_i64(item, &v) && v >= 0 ? v : absent;
}

// Lines whose steps follow `from` in steps of `every`, at least up to `until`.
static bool check_lines(const char *path, int64_t from, int64_t every, int64_t until,
                        struct error *e) {
    uint8_t *text;
    size_t n;
    if (!file_read(path, max_lines_bytes, &text, &n, e)) return false;
    int64_t due = (from / every + 1) * every, number = 1;
    int64_t step = 0;
    bool fine = true;
    const char *at = (const char *)text, *end;
    for (; fine && (end = memchr(at, '\n', n - (size_t)(at - (char *)text))); at = end + 1) {
        if (!session_line_step(at, &step)) break; // session_read says what it is
        if (step > until) break;
        if (step > from) {
            fine = step == due;
            due += every;
        }
        number += fine;
    }
    free(text);
    if (!fine)
        return error_set(e, STATUS_FAILED,
                         "%s:%" PRId64 ": step %" PRId64 " where step %" PRId64
                         " is due (metric.log_every %" PRId64 "): lines were lost",
                         path, number, step, due - every, every);
    return due > until || error_set(e, STATUS_FAILED,
                                    "%s: ends after line %" PRId64 ", step %" PRId64
                                    " is not there: lines were lost",
                                    path, number - 1, due);
}

bool session_lines_whole(const char *path, int64_t until, struct error *e) {
    char metrics[PATH_SIZE];
    cJSON *meta = NULL, *config = NULL;
    bool fine = path_join(metrics, path, "metrics.jsonl", e) &&
                read_json(path, "meta.json", &meta, e) &&
                read_json(path, "config.json", &config, e);
    const int64_t every = fine ? count_of(config, "metric.log_every", 0) : 0;
    if (every > 0)
        fine = check_lines(metrics, count_of(meta, "log_every_from", 0), every, until, e);
    cJSON_Delete(meta);
    cJSON_Delete(config);
    return fine;
}

void session_warn_of_program(const cJSON *meta, const char *kernel) {
    const char *made = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(meta, "kernel")),
               *revision = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(meta, "revision"));
    if (made && strcmp(made, kernel) != 0)
        log_write(LOG_WARN, "made with kernels %s, now %s: the last bits will differ", made,
                  kernel);
    if (revision && strcmp(revision, version_revision) != 0)
        log_write(LOG_WARN, "made by revision %s, now %s: results may differ", revision,
                  version_revision);
}

void session_data_free(struct session_data *d) {
    if (!d) return;
    cJSON_Delete(d->meta);
    cJSON_Delete(d->config);
    cJSON_Delete(d->heartbeat);
    free(d->records);
    free(d);
}

// "a/b" -> "a", "b" -> ".", "/b" -> "/"
static void cut_last_part(char path[PATH_SIZE]) {
    char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(path, PATH_SIZE, ".");
    else
        slash[slash == path] = 0;
}

bool session_locate(const char *path, char folder[PATH_SIZE], char checkpoint[PATH_SIZE],
                    struct error *e) {
    char meta[PATH_SIZE];
    checkpoint[0] = 0;
    if (!file_exists(path))
        return error_set(e, STATUS_USAGE,
                         "%s: no such session or checkpoint; see `workbench sessions list`", path);
    snprintf(folder, PATH_SIZE, "%s", path);
    if (!file_is_folder(path)) { // SESSION/checkpoints/FILE
        snprintf(checkpoint, PATH_SIZE, "%s", path);
        cut_last_part(folder);
        if (strcmp(path_base(folder), "checkpoints") == 0)
            cut_last_part(folder);
        else if (!path_join(folder, folder, "..", e))
            return false;
    }
    if (!path_join(meta, folder, "meta.json", e)) return false;
    return file_exists(meta) ||
           error_set(e, STATUS_USAGE, "%s is not a session: it has no meta.json", folder);
}
