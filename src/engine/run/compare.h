// Compare: what several saved runs say about one task: success against environment steps and
// against wall clock.
//
//     struct compare_run runs[10];
//     if (!compare_open(&runs[0], "sessions/A", &e) || ...) ...
//     struct comparison *c = compare_new(runs, 10, &e);      // seeds of one setting become a group
//     cJSON *o = compare_json(c);                            // caller: cJSON_Delete
//     if (!compare_png(c, "success.png", &e)) ...
//     compare_free(c); compare_close(&runs[0]); ...
//
// Success is METRIC_SUCCESS_RATE, the share of the episodes that reached the goal while playing,
// whatever the algorithm: the mean over the records of the last COMPARE_WINDOW_STEPS environment
// steps. Where none of the runs has any (control tasks have no goal), the return is compared the
// same way, without levels. A level is reached at the first record where it is as high. Runs whose
// algorithm, task and config keys but the seed are equal (a key that a session of an older program
// lacks has its default) are a group; its curve is the mean of its
// runs, its band what they span. A point of the curve needs all of the group's runs, so it ends
// with the shortest. Comparisons across tasks, action codecs or algorithms are the caller's to
// judge: compare_differences names them. Any thread.
#ifndef RUN_COMPARE_H
#define RUN_COMPARE_H

#include "engine/data/plot.h"
#include "engine/data/session.h"

enum {
    COMPARE_WINDOW_STEPS = 4096,
    COMPARE_N_LEVELS = 2,
    COMPARE_MAX_RUNS = 64,
    COMPARE_MAX_GROUPS = PLOT_MAX_BANDS,
    COMPARE_POINTS = 120 // of a curve
};
extern const double compare_levels[COMPARE_N_LEVELS]; // 0.5, 0.9

struct compare_reached {
    bool reached;
    int64_t env_steps;
    double wall_s; // NaN: the session has no times
};

struct compare_run {
    struct session_data *data;
    bool has_success; // it has episodes that could reach a goal
    // [data->n_records] of the window that ends there; NaN: no episode. The last ones: below.
    double *success, *returns;
    double *wall;                    // [data->n_records] seconds; a record without keeps the last
    const char *algo, *task, *codec; // borrowed from data
    char label[96];
    uint64_t seed;
    int64_t env_steps;
    // Of the newest record that has a time (a killed run's last one may lack it); over the last
    // window.
    double wall_s, sps, last_success, last_return;
    struct compare_reached levels[COMPARE_N_LEVELS];
};

bool compare_open(struct compare_run *run, const char *session, struct error *e);
void compare_close(struct compare_run *run); // fine after a failed open

enum compare_axis { COMPARE_BY_STEPS, COMPARE_BY_WALL, COMPARE_N_AXES };

struct compare_curve { // [COMPARE_POINTS]; NaN where not all runs have a value
    double x[COMPARE_POINTS], mean[COMPARE_POINTS], low[COMPARE_POINTS], high[COMPARE_POINTS];
};

struct compare_group {
    const struct compare_run *first; // whose algorithm, task and codec it has
    char label[96];
    int n_runs, n_reached[COMPARE_N_LEVELS];
    // Lower medians over the runs, one that did not reach the level being later than all others;
    // NaN: the median run did not.
    double median_steps[COMPARE_N_LEVELS], median_wall_s[COMPARE_N_LEVELS];
    struct compare_curve curves[COMPARE_N_AXES];
};

struct comparison {
    const struct compare_run *runs; // borrowed
    bool by_return;                 // no run has success
    int n_runs, n_groups;
    int group_of[COMPARE_MAX_RUNS];
    struct compare_group groups[COMPARE_MAX_GROUPS];
};

// NULL and one line: more groups than COMPARE_MAX_GROUPS. 1 to COMPARE_MAX_RUNS runs (CHECK).
struct comparison *compare_new(const struct compare_run *runs, int n, struct error *e);
void compare_free(struct comparison *c); // NULL is fine
// One line about what the runs do not have in common ("" where there is nothing).
void compare_differences(const struct comparison *c, char *out, size_t size);
cJSON *compare_json(const struct comparison *c);
bool compare_png(const struct comparison *c, const char *path, struct error *e);

#endif
