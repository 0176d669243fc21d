// Compare: success of saved runs against environment steps and wall clock.
#include "engine/run/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/data/plot.h"

const double compare_levels[COMPARE_N_LEVELS] = {0.5, 0.9};

static const char *text_of(const cJSON *o, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static bool has(const struct record *r, enum metric m) { return r->present >> m & 1; }

// Mean success of records (first, last], those without an episode left out; NaN where there is
// none.
static double mean_success(const struct record *records, int64_t first, int64_t last) {
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = first + 1; i <= last; i++)
        if (has(&records[i], METRIC_SUCCESS_RATE))
            sum += (double)records[i].value[METRIC_SUCCESS_RATE], n++;
    return n ? sum / (double)n : NAN;
}

// The window's first record moves on with its last, so this is linear in the records.
static void find_levels(struct compare_run *run) {
    const struct record *r = run->data->records;
    int64_t first = -1; // the last record before the window
    for (int64_t i = 0; i < run->data->n_records; i++) {
        while (first + 1 < i && r[i].env_steps - r[first + 1].env_steps >= COMPARE_WINDOW_STEPS)
            first++;
        if (!has(&r[i], METRIC_SUCCESS_RATE) && i + 1 < run->data->n_records) continue;
        const double mean = mean_success(r, first, i);
        if (i + 1 == run->data->n_records) run->last_success = mean;
        if (r[i].env_steps < COMPARE_WINDOW_STEPS) continue;
        for (int k = 0; k < COMPARE_N_LEVELS; k++)
            if (!run->levels[k].reached && mean >= compare_levels[k])
                run->levels[k] = (struct compare_reached){
                    true, r[i].env_steps,
                    has(&r[i], METRIC_WALL_TIME) ? (double)r[i].value[METRIC_WALL_TIME] : NAN};
    }
}

bool compare_open(struct compare_run *run, const char *session, struct error *e) {
    *run = (struct compare_run){.last_success = NAN, .wall_s = NAN, .sps = NAN};
    run->data = session_read(session, e);
    if (!run->data) return false;
    run->algo = text_of(run->data->meta, "algo");
    run->task = text_of(run->data->meta, "task");
    run->codec = text_of(run->data->config, "env.action_codec");
    if (!json_get_u64(run->data->meta, "seed", session, &run->seed, e)) return false;
    snprintf(run->label, sizeof run->label, "%.20s %.30s %.8s seed %llu", run->algo, run->task,
             run->codec, (unsigned long long)run->seed);
    const int64_t n = run->data->n_records;
    const struct record *last = n ? &run->data->records[n - 1] : NULL;
    if (last) run->env_steps = last->env_steps;
    if (last && has(last, METRIC_WALL_TIME)) run->wall_s = (double)last->value[METRIC_WALL_TIME];
    if (run->wall_s > 0) run->sps = (double)run->env_steps / run->wall_s;
    find_levels(run);
    return true;
}

void compare_close(struct compare_run *run) {
    session_data_free(run->data);
    run->data = NULL;
}

void compare_differences(const struct compare_run *runs, int n, char *out, size_t size) {
    bool task = false, codec = false;
    for (int i = 1; i < n; i++) {
        task |= strcmp(runs[i].task, runs[0].task) != 0;
        codec |= strcmp(runs[i].codec, runs[0].codec) != 0;
    }
    snprintf(
        out, size, "%s%s%s", task ? "the runs have different tasks" : "", task && codec ? "; " : "",
        codec ? "the runs have different action codecs, so random play is not equally good" : "");
}

static void add_known(cJSON *o, const char *key, double v) {
    if (isnan(v))
        cJSON_AddNullToObject(o, key);
    else
        json_add_double(o, key, v);
}

cJSON *compare_json(const struct compare_run *runs, int n) {
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "runs");
    char note[200];
    for (int i = 0; i < n; i++) {
        const struct compare_run *r = &runs[i];
        cJSON *o = cJSON_CreateObject();
        json_add_string(o, "session", r->data->path);
        json_add_string(o, "algo", r->algo);
        json_add_string(o, "task", r->task);
        json_add_string(o, "action_codec", r->codec);
        json_add_u64(o, "seed", r->seed);
        json_add_count(o, "env_steps", r->env_steps);
        add_known(o, "wall_time_s", r->wall_s);
        add_known(o, "env_steps_per_s", r->sps);
        add_known(o, "last_success_rate", r->last_success);
        for (int k = 0; k < COMPARE_N_LEVELS; k++) {
            char key[40];
            snprintf(key, sizeof key, "env_steps_to_%.0f_percent", 100 * compare_levels[k]);
            add_known(o, key, r->levels[k].reached ? (double)r->levels[k].env_steps : NAN);
            snprintf(key, sizeof key, "wall_s_to_%.0f_percent", 100 * compare_levels[k]);
            add_known(o, key, r->levels[k].reached ? r->levels[k].wall_s : NAN);
        }
        cJSON_AddItemToArray(list, o);
    }
    compare_differences(runs, n, note, sizeof note);
    json_add_string(root, "note", note);
    return root;
}

bool compare_png(const struct compare_run *runs, int n, const char *path, struct error *e) {
    struct plot_run curves[COMPARE_MAX_RUNS];
    for (int i = 0; i < n; i++)
        curves[i] =
            (struct plot_run){runs[i].label, runs[i].data->records, runs[i].data->n_records};
    return plot_runs_png(path, "success while playing", METRIC_SUCCESS_RATE, curves, n, e);
}
