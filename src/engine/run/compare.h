// Compare: what several saved runs say about one task: success against environment steps and
// against wall clock.
//
//     struct compare_run runs[2];
//     if (!compare_open(&runs[0], "sessions/A", &e) || ...) ...
//     cJSON *o = compare_json(runs, 2);                     // caller: cJSON_Delete
//     if (!compare_png(runs, 2, "success.png", &e)) ...
//     compare_close(&runs[0]);
//
// Success is METRIC_SUCCESS_RATE, the share of the episodes that reached the goal while playing,
// whatever the algorithm. A level is reached at the first record where the mean over the last
// COMPARE_WINDOW_STEPS environment steps is as high. Comparisons across tasks, action codecs or
// algorithms are the caller's to judge: compare_differences names them.
#ifndef RUN_COMPARE_H
#define RUN_COMPARE_H

#include "engine/data/session.h"

enum { COMPARE_WINDOW_STEPS = 4096, COMPARE_N_LEVELS = 2, COMPARE_MAX_RUNS = 8 };
extern const double compare_levels[COMPARE_N_LEVELS]; // 0.5, 0.9

struct compare_reached {
    bool reached;
    int64_t env_steps;
    double wall_s; // NaN: the session has no times
};

struct compare_run {
    struct session_data *data;
    const char *algo, *task, *codec; // borrowed from data
    char label[96];                  // for the plot
    uint64_t seed;
    int64_t env_steps;
    double wall_s, sps, last_success; // last_success: over the last window
    struct compare_reached levels[COMPARE_N_LEVELS];
};

bool compare_open(struct compare_run *run, const char *session, struct error *e);
void compare_close(struct compare_run *run); // fine after a failed open
// One line about what the runs do not have in common ("" where there is nothing).
void compare_differences(const struct compare_run *runs, int n, char *out, size_t size);
cJSON *compare_json(const struct compare_run *runs, int n);
bool compare_png(const struct compare_run *runs, int n, const char *path, struct error *e);

#endif
