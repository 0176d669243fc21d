// Compare: success of saved runs against environment steps and wall clock, seeds as bands.
#include "engine/run/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/algo/config.h"
#include "engine/algo/ppo/ppo_config.h"
#include "engine/algo/ppo/ppo_stats.h"
#include "engine/env/control.h"

const double compare_levels[COMPARE_N_LEVELS] = {0.5, 0.9};

static const char *text_of(const cJSON *o, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static bool has(const struct record *r, enum metric m) { return r->present >> m & 1; }

// ---- one run

// Mean of m over records (first, last], those without it left out; NaN where there is none.
static double mean_of(enum metric m, const struct record *records, int64_t first, int64_t last) {
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = first + 1; i <= last; i++)
        if (has(&records[i], m)) sum += (double)records[i].value[m], n++;
    return n ? sum / (double)n : NAN;
}

// The window's first record moves on with its last.
static void find_means(const struct compare_run *run, enum metric m, double *out) {
    const struct record *r = run->data->records;
    int64_t first = -1; // the last record before the window
    for (int64_t i = 0; i < run->data->n_records; i++) {
        while (first + 1 < i && r[i].env_steps - r[first + 1].env_steps >= COMPARE_WINDOW_STEPS)
            first++;
        out[i] = mean_of(m, r, first, i);
    }
}

// Times in order, NaN before the first. timing.jsonl is written after metrics.jsonl, so a kill can
// leave it behind.
static void find_times(struct compare_run *run) {
    const struct record *r = run->data->records;
    for (int64_t i = 0; i < run->data->n_records; i++) {
        if (has(&r[i], METRIC_WALL_TIME)) {
            run->wall_s = (double)r[i].value[METRIC_WALL_TIME];
            if (run->wall_s > 0) run->sps = (double)r[i].env_steps / run->wall_s;
        }
        run->wall[i] = run->wall_s;
    }
}

// The first window that is as high; one that is not full yet says too little.
static void find_levels(struct compare_run *run) {
    for (int64_t i = 0; i < run->data->n_records; i++) {
        const struct record *r = &run->data->records[i];
        if (!has(r, METRIC_SUCCESS_RATE) || r->env_steps < COMPARE_WINDOW_STEPS) continue;
        for (int k = 0; k < COMPARE_N_LEVELS; k++)
            if (!run->levels[k].reached && run->success[i] >= compare_levels[k])
                run->levels[k] = (struct compare_reached){
                    true, r->env_steps,
                    has(r, METRIC_WALL_TIME) ? (double)r->value[METRIC_WALL_TIME] : NAN};
    }
}

bool compare_open(struct compare_run *run, const char *session, struct error *e) {
    *run = (struct compare_run){.last_success = NAN, .last_return = NAN, .wall_s = NAN, .sps = NAN};
    run->data = session_read(session, e);
    if (!run->data) return false;
    run->algo = text_of(run->data->meta, "algo");
    run->task = text_of(run->data->meta, "task");
    // Of a control task there are no buttons, and the key says nothing.
    run->codec = control_task_find(run->task) ? "" : text_of(run->data->config, "env.action_codec");
    if (!json_get_u64(run->data->meta, "seed", session, &run->seed, e)) return false;
    const int64_t n = run->data->n_records;
    for (int64_t i = 0; i < n; i++)
        run->has_success |= has(&run->data->records[i], METRIC_SUCCESS_RATE);
    snprintf(run->label, sizeof run->label, "%.20s %.30s%s%.8s seed %llu", run->algo, run->task,
             *run->codec ? " " : "", run->codec, (unsigned long long)run->seed);
    run->success = mem_alloc((size_t)(n + 1) * sizeof *run->success);
    run->wall = mem_alloc((size_t)(n + 1) * sizeof *run->wall);
    run->returns = mem_alloc((size_t)(n + 1) * sizeof *run->returns);
    find_means(run, METRIC_SUCCESS_RATE, run->success);
    find_means(run, METRIC_RETURN_MEAN, run->returns);
    find_times(run);
    find_levels(run);
    if (n == 0) return true;
    run->last_success = run->success[n - 1];
    run->last_return = run->returns[n - 1];
    run->env_steps = run->data->records[n - 1].env_steps;
    return true;
}

void compare_close(struct compare_run *run) {
    session_data_free(run->data);
    free(run->success);
    free(run->returns);
    free(run->wall);
    *run = (struct compare_run){0};
}

// ---- groups

// All keys as this program writes them: a session that was made before a key existed has the value
// that --resume gives it. NULL: not a config of this program.
static char *whole_config(const struct compare_run *run, const char *text) {
    struct error ignored = {0};
    if (strcmp(run->algo, "ppo") == 0) {
        struct ppo_config c;
        ppo_config_init(&c);
        return ppo_config_from_json(&c, text, strlen(text), "", &ignored)
                   ? config_schema_to_json(&ppo_config_schema, &c)
                   : NULL;
    }
    struct config c;
    return config_init(&c, "tiny", &ignored) &&
                   config_from_json(&c, text, strlen(text), "", &ignored)
               ? config_to_json(&c)
               : NULL;
}

static cJSON *config_without_seed(const struct compare_run *run) {
    cJSON *config = cJSON_Duplicate(run->data->config, true);
    cJSON_DeleteItemFromObjectCaseSensitive(config, "seed");
    char *text = cJSON_PrintUnformatted(config), *whole = whole_config(run, text);
    if (whole) {
        cJSON_Delete(config);
        config = cJSON_Parse(whole); // its seed is that of the defaults
    }
    free(whole);
    cJSON_free(text);
    return config;
}

static bool same_setting(const struct compare_run *a, const struct compare_run *b) {
    if (strcmp(a->algo, b->algo) != 0 || strcmp(a->task, b->task) != 0) return false;
    cJSON *x = config_without_seed(a), *y = config_without_seed(b);
    const bool same = cJSON_Compare(x, y, true);
    cJSON_Delete(x);
    cJSON_Delete(y);
    return same;
}

static bool one_task(const struct comparison *c) {
    for (int i = 1; i < c->n_runs; i++)
        if (strcmp(c->runs[i].task, c->runs[0].task) != 0) return false;
    return true;
}

// The task only where there are several. Settings that differ in other keys only are told apart by
// a number.
static void name_group(struct comparison *c, int g) {
    struct compare_group *group = &c->groups[g];
    const struct compare_run *run = group->first;
    char number[16] = "";
    int before = 0;
    for (int i = 0; i < g; i++)
        before += strcmp(c->groups[i].first->algo, run->algo) == 0 &&
                  strcmp(c->groups[i].first->task, run->task) == 0 &&
                  strcmp(c->groups[i].first->codec, run->codec) == 0;
    if (before) snprintf(number, sizeof number, " (%d)", before + 1);
    const char *task = one_task(c) ? "" : run->task;
    snprintf(group->label, sizeof group->label, "%.20s%s%.30s%s%.8s%s, %d seed%s", run->algo,
             *task ? " " : "", task, *run->codec ? " " : "", run->codec, number, group->n_runs,
             group->n_runs == 1 ? "" : "s");
}

static bool assign_groups(struct comparison *c, struct error *e) {
    for (int i = 0; i < c->n_runs; i++) {
        int g = 0;
        while (g < c->n_groups && !same_setting(&c->runs[i], c->groups[g].first)) g++;
        if (g == COMPARE_MAX_GROUPS)
            return error_set(e, STATUS_USAGE,
                             "sessions compare: more than %d settings (algorithm, task and keys "
                             "but the seed); give fewer",
                             COMPARE_MAX_GROUPS);
        if (g == c->n_groups) c->groups[c->n_groups++].first = &c->runs[i];
        c->group_of[i] = g;
        c->groups[g].n_runs++;
    }
    return true;
}

static double where_on(enum compare_axis axis, const struct compare_run *run, int64_t record) {
    return axis == COMPARE_BY_STEPS ? (double)run->data->records[record].env_steps
                                    : run->wall[record];
}

// What is compared, at the newest record up to x; NaN behind the run's end and before its first
// episode.
static double value_at(const struct comparison *c, const struct compare_run *run,
                       enum compare_axis axis, double x) {
    int64_t low = -1, high = run->data->n_records; // low: at or before x, high: behind it
    if (high == 0 || !(where_on(axis, run, high - 1) >= x)) return NAN;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (where_on(axis, run, middle) <= x)
            low = middle;
        else
            high = middle;
    }
    return low < 0 ? NAN : c->by_return ? run->returns[low] : run->success[low];
}

static void draw_point(struct comparison *c, int g, enum compare_axis axis, int point) {
    struct compare_curve *curve = &c->groups[g].curves[axis];
    double sum = 0, low = INFINITY, high = -INFINITY;
    for (int i = 0; i < c->n_runs; i++) {
        if (c->group_of[i] != g) continue;
        const double v = value_at(c, &c->runs[i], axis, curve->x[point]);
        sum += v; // one NaN is enough
        low = fmin(low, v);
        high = fmax(high, v);
    }
    const double mean = sum / c->groups[g].n_runs;
    curve->mean[point] = mean;
    curve->low[point] = isnan(mean) ? NAN : low;
    curve->high[point] = isnan(mean) ? NAN : high;
}

static void draw_curves(struct comparison *c) {
    for (int axis = 0; axis < COMPARE_N_AXES; axis++) {
        double longest = 0;
        for (int i = 0; i < c->n_runs; i++)
            longest = fmax(longest, axis == COMPARE_BY_STEPS ? (double)c->runs[i].env_steps
                                                             : c->runs[i].wall_s);
        for (int g = 0; g < c->n_groups; g++)
            for (int k = 0; k < COMPARE_POINTS; k++) {
                c->groups[g].curves[axis].x[k] = longest * (k + 1) / COMPARE_POINTS;
                draw_point(c, g, (enum compare_axis)axis, k);
            }
    }
}

static double median_or_nan(double *x, int n) {
    const double m = stats_lower_median(x, n);
    return isinf(m) ? NAN : m;
}

static void find_medians(struct comparison *c, int g) {
    struct compare_group *group = &c->groups[g];
    for (int k = 0; k < COMPARE_N_LEVELS; k++) {
        double steps[COMPARE_MAX_RUNS], wall[COMPARE_MAX_RUNS];
        int n = 0;
        for (int i = 0; i < c->n_runs; i++) {
            if (c->group_of[i] != g) continue;
            const struct compare_reached *l = &c->runs[i].levels[k];
            group->n_reached[k] += l->reached;
            steps[n] = l->reached ? (double)l->env_steps : INFINITY;
            wall[n++] = l->reached && !isnan(l->wall_s) ? l->wall_s : INFINITY;
        }
        group->median_steps[k] = median_or_nan(steps, n);
        group->median_wall_s[k] = median_or_nan(wall, n);
    }
}

struct comparison *compare_new(const struct compare_run *runs, int n, struct error *e) {
    CHECK(n >= 1 && n <= COMPARE_MAX_RUNS, "%d runs", n);
    struct comparison *c = mem_alloc(sizeof *c);
    c->runs = runs;
    c->n_runs = n;
    c->by_return = true;
    for (int i = 0; i < n; i++) c->by_return &= !runs[i].has_success;
    if (!assign_groups(c, e)) {
        compare_free(c);
        return NULL;
    }
    for (int g = 0; g < c->n_groups; g++) {
        name_group(c, g);
        find_medians(c, g);
    }
    draw_curves(c);
    return c;
}

void compare_free(struct comparison *c) { free(c); }

// ---- what it says

void compare_differences(const struct comparison *c, char *out, size_t size) {
    bool codec = false;
    const bool task = !one_task(c);
    const char *first = ""; // of those that have buttons at all
    for (int i = 0; i < c->n_runs; i++) {
        const char *own = c->runs[i].codec;
        codec |= *own && *first && strcmp(own, first) != 0;
        if (*own) first = own;
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

static void add_level(cJSON *o, const char *what, int level, double v) {
    char key[48];
    snprintf(key, sizeof key, "%s_to_%.0f_percent", what, 100 * compare_levels[level]);
    add_known(o, key, v);
}

static cJSON *run_json(const struct comparison *c, int i) {
    const struct compare_run *r = &c->runs[i];
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "session", r->data->path);
    json_add_count(o, "group", c->group_of[i]);
    json_add_string(o, "algo", r->algo);
    json_add_string(o, "task", r->task);
    if (*r->codec) json_add_string(o, "action_codec", r->codec);
    json_add_u64(o, "seed", r->seed);
    json_add_count(o, "env_steps", r->env_steps);
    add_known(o, "wall_time_s", r->wall_s);
    add_known(o, "env_steps_per_s", r->sps);
    if (c->by_return) {
        add_known(o, "last_return", r->last_return);
        return o;
    }
    add_known(o, "last_success_rate", r->last_success);
    for (int k = 0; k < COMPARE_N_LEVELS; k++) {
        const struct compare_reached *l = &r->levels[k];
        add_level(o, "env_steps", k, l->reached ? (double)l->env_steps : NAN);
        add_level(o, "wall_s", k, l->reached ? l->wall_s : NAN);
    }
    return o;
}

// [[x, mean, low, high], ...], the points that have a value.
static cJSON *curve_json(const struct compare_curve *curve) {
    cJSON *list = cJSON_CreateArray();
    for (int k = 0; k < COMPARE_POINTS; k++)
        if (!isnan(curve->mean[k])) {
            const double point[] = {curve->x[k], curve->mean[k], curve->low[k], curve->high[k]};
            cJSON_AddItemToArray(list, cJSON_CreateDoubleArray(point, 4));
        }
    return list;
}

static cJSON *group_json(const struct compare_group *g, bool by_return) {
    const struct compare_curve *steps = &g->curves[COMPARE_BY_STEPS],
                               *wall = &g->curves[COMPARE_BY_WALL];
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "label", g->label);
    json_add_count(o, "runs", g->n_runs);
    for (int k = 0; k < COMPARE_N_LEVELS && !by_return; k++) {
        add_level(o, "runs", k, g->n_reached[k]);
        add_level(o, "median_env_steps", k, g->median_steps[k]);
        add_level(o, "median_wall_s", k, g->median_wall_s[k]);
    }
    cJSON_AddItemToObject(o, by_return ? "return_by_env_steps" : "success_by_env_steps",
                          curve_json(steps));
    cJSON_AddItemToObject(o, by_return ? "return_by_wall_s" : "success_by_wall_s",
                          curve_json(wall));
    return o;
}

cJSON *compare_json(const struct comparison *c) {
    cJSON *root = cJSON_CreateObject(), *runs = cJSON_AddArrayToObject(root, "runs"),
          *groups = cJSON_AddArrayToObject(root, "groups");
    char note[200];
    for (int i = 0; i < c->n_runs; i++) cJSON_AddItemToArray(runs, run_json(c, i));
    for (int g = 0; g < c->n_groups; g++)
        cJSON_AddItemToArray(groups, group_json(&c->groups[g], c->by_return));
    compare_differences(c, note, sizeof note);
    json_add_string(root, "note", note);
    return root;
}

bool compare_png(const struct comparison *c, const char *path, struct error *e) {
    static const char *const names[COMPARE_N_AXES] = {"environment step", "seconds of wall clock"};
    struct plot_band bands[COMPARE_N_AXES][COMPARE_MAX_GROUPS];
    struct plot_bands panels[COMPARE_N_AXES];
    for (int axis = 0; axis < COMPARE_N_AXES; axis++) {
        for (int g = 0; g < c->n_groups; g++) {
            const struct compare_curve *v = &c->groups[g].curves[axis];
            const bool band = c->groups[g].n_runs > 1;
            bands[axis][g] =
                (struct plot_band){c->groups[g].label,   COMPARE_POINTS,       v->x, v->mean,
                                   band ? v->low : NULL, band ? v->high : NULL};
        }
        panels[axis] = (struct plot_bands){
            c->by_return ? "return of an episode" : "share of the episodes that reached the goal",
            names[axis], bands[axis], c->n_groups};
    }
    char title[120];
    snprintf(title, sizeof title, "%.40s%s%s while playing, mean of the seeds",
             one_task(c) ? c->runs[0].task : "", one_task(c) ? ": " : "",
             c->by_return ? "return" : "success");
    return plot_bands_png(path, title, panels, COMPARE_N_AXES, e);
}
