// PPO log: checks what a PPO session recorded.
#include "engine/algo/ppo/ppo_log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/algo/ppo/ppo_config.h"

static const size_t max_json_bytes = 4 << 20, max_lines_bytes = (size_t)1 << 30;

// ---- one record

enum whole { ANY, WHOLE };
enum { UP_TO_LOG_ACTIONS = -1 }; // the most that an entropy can be
// When a key must be there: always; where an episode ended; where an evaluation ran, had a success,
// had a failure.
enum when { ALWAYS, ENDED, EVALUATED, SUCCEEDED, MISSED };
static const struct rule {
    double low, high;
    enum whole whole;
    enum when when;
    const char *keys[16]; // up to the first NULL
} rules[] = {
    {1, 1e15, WHOLE, ALWAYS, {"opt_steps", "env_steps", "grad_steps"}},
    {0, 1e15, WHOLE, ALWAYS, {"episodes"}},
    {0,
     1e12,
     ANY,
     ALWAYS,
     {"wall_time_s", "sps", "updates_per_s", "env_ms", "policy_ms", "update_ms"}},
    {0,
     1,
     ANY,
     ALWAYS,
     {"done_rate", "trunc_rate", "reset_rate", "dist_p10", "dist_p50", "dist_p90", "clipfrac",
      "lr"}},
    {-1e9, 1e9, ANY, ALWAYS, {"reward_mean"}},
    {0, UP_TO_LOG_ACTIONS, ANY, ALWAYS, {"entropy_mean", "entropy"}},
    {-1e30, 1e30, ANY, ALWAYS, {"value_mean", "loss_total", "loss_policy", "approx_kl"}},
    {0, 1e30, ANY, ALWAYS, {"value_std", "loss_value", "grad_norm"}},
    {-1e30, 0, ANY, ALWAYS, {"loss_entropy"}},
    {-1e-6, 1e30, ANY, ALWAYS, {"kl_k3"}},
    {-1e30, 1, ANY, ALWAYS, {"explained_variance"}},
    {-1e30, 1e30, ANY, ENDED, {"return_mean"}},
    {1, 1e9, ANY, ENDED, {"length_mean"}},
    {0, 1, ANY, ENDED, {"success_rate"}},
    {0, 1, ANY, EVALUATED, {"eval_success_rate", "eval_dist_at_end_p50"}},
    {-1e30, 1e30, ANY, EVALUATED, {"eval_mean_return"}},
    {1, 1e9, WHOLE, SUCCEEDED, {"eval_median_steps", "eval_steps_p50"}}, // the same number
    {-1e30, 1e30, ANY, SUCCEEDED, {"eval_return_mean_success"}},
    {-1e30, 1e30, ANY, MISSED, {"eval_return_mean_fail"}},
};
enum { N_RULES = sizeof rules / sizeof *rules };

static double number_of(const cJSON *record, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(record, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static bool is_due(const cJSON *record, enum when when) {
    const double success = number_of(record, "eval_success_rate");
    switch (when) {
    case ALWAYS:
        return true;
    case ENDED:
        return number_of(record, "episodes") > 0;
    case EVALUATED:
        return cJSON_GetObjectItemCaseSensitive(record, "eval_mean_return") != NULL ||
               cJSON_GetObjectItemCaseSensitive(record, "eval_success_rate") != NULL;
    case SUCCEEDED:
        return success > 0;
    case MISSED:
        return success < 1;
    }
    return true;
}

static bool check_number(const cJSON *record, const struct rule *r, const char *key, double most,
                         const char *where, struct error *e) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(record, key);
    const double slack = 1e-5; // float32 sums may end a little above their limit
    if (!item && !is_due(record, r->when)) return true;
    if (!item) return error_set(e, STATUS_FAILED, "%s: key \"%s\" is missing", where, key);
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return error_set(e, STATUS_FAILED, "%s: key \"%s\" is no finite number", where, key);
    const double x = item->valuedouble;
    if (r->whole == WHOLE && x != floor(x))
        return error_set(e, STATUS_FAILED, "%s: key \"%s\" is %g, must be whole", where, key, x);
    if (x < r->low || x > most + slack * fabs(most))
        return error_set(e, STATUS_FAILED, "%s: key \"%s\" is %g, must be within %g and %g", where,
                         key, x, r->low, most);
    return true;
}

static bool check_histogram(const cJSON *record, const struct ppo_log_shape *s, const char *where,
                            struct error *e) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(record, "action_hist");
    double sum = 0;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != s->n_actions)
        return error_set(e, STATUS_FAILED,
                         "%s: key \"action_hist\" is no list of %" PRId64 " counts", where,
                         s->n_actions);
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsNumber(item) || item->valuedouble < 0 ||
            item->valuedouble != floor(item->valuedouble))
            return error_set(e, STATUS_FAILED, "%s: key \"action_hist\" holds no count", where);
        sum += item->valuedouble;
    }
    if (sum != (double)(s->n_envs * s->n_steps))
        return error_set(e, STATUS_FAILED,
                         "%s: key \"action_hist\" sums to %g, not to %" PRId64 " steps", where, sum,
                         s->n_envs * s->n_steps);
    return true;
}

bool ppo_log_check_record(const cJSON *record, const struct ppo_log_shape *s, const char *where,
                          struct error *e) {
    for (int i = 0; i < N_RULES; i++) {
        const struct rule *r = &rules[i];
        const double most = r->high == UP_TO_LOG_ACTIONS ? log((double)s->n_actions) : r->high;
        for (int k = 0; r->keys[k]; k++)
            if (!check_number(record, r, r->keys[k], most, where, e)) return false;
    }
    const double updates = number_of(record, "opt_steps"), steps = number_of(record, "env_steps");
    if (steps != updates * (double)(s->n_envs * s->n_steps))
        return error_set(e, STATUS_FAILED,
                         "%s: key \"env_steps\" is %g, not %g updates of %" PRId64 " steps", where,
                         steps, updates, s->n_envs * s->n_steps);
    return check_histogram(record, s, where, e);
}

// ---- meta

bool ppo_log_check_meta(const cJSON *meta, const char *where, struct error *e) {
    static const char *const texts[] = {"algo",    "task",     "kernel",       "created",
                                        "version", "revision", "config_sha256"};
    static const char *const counts[] = {"schema", "frames_per_step", "release_after", "n_weights"};
    const char *text;
    const cJSON *rom;
    int64_t count;
    uint64_t seed;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!json_get_string(meta, texts[i], where, &text, e)) return false;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!json_get_i64(meta, counts[i], where, &count, e)) return false;
    if (!json_get_u64(meta, "seed", where, &seed, e) ||
        !json_get_object(meta, "rom", where, &rom, e) ||
        !json_get_string(rom, "name", where, &text, e) ||
        !json_get_string(rom, "sha256", where, &text, e) ||
        !json_get_string(meta, "algo", where, &text, e))
        return false;
    return strcmp(text, "ppo") == 0 ||
           error_set(e, STATUS_FAILED, "%s: algo is %.40s, not ppo", where, text);
}

// ---- a session

struct lines {
    uint8_t *text;
    size_t n, at;
    int64_t number;
};

static bool open_lines(const char *folder, const char *name, struct lines *l, char path[PATH_SIZE],
                       struct error *e) {
    *l = (struct lines){0};
    return path_join(path, folder, name, e) && file_read(path, max_lines_bytes, &l->text, &l->n, e);
}

// The next whole line as JSON, NULL at the end (then *e is as it was) or where it is none.
static cJSON *next_line(struct lines *l, const char *path, struct error *e) {
    const uint8_t *end = l->at < l->n ? memchr(l->text + l->at, '\n', l->n - l->at) : NULL;
    char where[PATH_SIZE + 32];
    if (!end) return NULL;
    const char *line = (const char *)l->text + l->at;
    const size_t n = (size_t)(end - l->text) - l->at;
    l->at += n + 1;
    snprintf(where, sizeof where, "%s:%" PRId64, path, ++l->number);
    return json_parse(line, n, where, e);
}

struct session {
    struct lines metrics, timing;
    char metrics_path[PATH_SIZE], timing_path[PATH_SIZE];
};

// The next record: members of the timing line of the same step move into the metrics line.
static cJSON *next_record(struct session *s, struct error *e) {
    cJSON *record = next_line(&s->metrics, s->metrics_path, e), *timed = NULL;
    if (!record) return NULL;
    do {
        cJSON_Delete(timed);
        timed = next_line(&s->timing, s->timing_path, e);
    } while (timed && number_of(timed, "opt_steps") < number_of(record, "opt_steps"));
    if (timed && number_of(timed, "opt_steps") == number_of(record, "opt_steps"))
        while (timed->child) {
            cJSON *item = cJSON_DetachItemViaPointer(timed, timed->child);
            if (strcmp(item->string, "opt_steps") == 0)
                cJSON_Delete(item);
            else
                cJSON_AddItemToObject(record, item->string, item);
        }
    cJSON_Delete(timed);
    return record;
}

static bool read_shape(const char *folder, struct ppo_log_shape *out, struct error *e) {
    char path[PATH_SIZE];
    uint8_t *text;
    size_t n;
    struct ppo_config c;
    ppo_config_init(&c);
    if (!path_join(path, folder, "config.json", e) ||
        !file_read(path, max_json_bytes, &text, &n, e))
        return false;
    const bool fine = ppo_config_from_json(&c, (const char *)text, n, path, e);
    free(text);
    *out = (struct ppo_log_shape){c.num_envs, c.rollout_steps,
                                  strcmp(c.action_codec, "v0") == 0 ? 7 : 8};
    return fine;
}

static bool open_session(const char *folder, struct session *s, struct ppo_log_shape *shape,
                         struct error *e) {
    char path[PATH_SIZE];
    if (!path_join(path, folder, "meta.json", e)) return false;
    cJSON *meta = json_read_file(path, max_json_bytes, e);
    bool fine = meta && ppo_log_check_meta(meta, path, e);
    cJSON_Delete(meta);
    s->timing.text = NULL;
    return fine && read_shape(folder, shape, e) &&
           open_lines(folder, "metrics.jsonl", &s->metrics, s->metrics_path, e) &&
           open_lines(folder, "timing.jsonl", &s->timing, s->timing_path, e);
}

static void close_session(struct session *s) {
    free(s->metrics.text);
    free(s->timing.text);
}

bool ppo_log_check_session(const char *folder, int64_t *n_records, struct error *e) {
    struct session *s = mem_alloc(sizeof *s);
    struct ppo_log_shape shape;
    char where[PATH_SIZE + 32];
    *n_records = 0;
    bool fine = open_session(folder, s, &shape, e);
    while (fine) {
        struct error broken = {0};
        cJSON *record = next_record(s, &broken);
        if (!record) {
            if (broken.status != STATUS_OK) *e = broken;
            fine = broken.status == STATUS_OK;
            break;
        }
        snprintf(where, sizeof where, "%s:%" PRId64, s->metrics_path, s->metrics.number);
        fine = ppo_log_check_record(record, &shape, where, e);
        *n_records += fine;
        cJSON_Delete(record);
    }
    close_session(s);
    free(s);
    return fine;
}

cJSON *ppo_log_read_record(const char *folder, int64_t index, struct ppo_log_shape *shape,
                           struct error *e) {
    struct session *s = mem_alloc(sizeof *s);
    cJSON *record = NULL;
    if (open_session(folder, s, shape, e))
        for (int64_t i = 0; i <= index; i++) {
            cJSON_Delete(record);
            record = next_record(s, e);
            if (!record) break;
        }
    if (!record && e->status == STATUS_OK)
        error_set(e, STATUS_FAILED, "%s: no record %" PRId64, folder, index);
    close_session(s);
    free(s);
    return record;
}
