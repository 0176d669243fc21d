// Plot: the metrics of a run, and its reconstructions over time, as PNG files for headless runs.
//
//     plot_metrics_png(path, "static, tiny, seed 42", records, n, &e);
//     plot_strip_png(path, "static", columns, n_columns, 80, 72, 2, &e);
#ifndef DATA_PLOT_H
#define DATA_PLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/data/record.h"

// Panels of titled curves over gradient steps: losses (log scale), raw KL, prior and posterior
// entropy, their ratio with the 0.7-1.3 band, gradient norms, replay ratio; where a policy learns
// also success, its entropy, losses and returns. Non-finite values are marked on the panel's upper
// edge; many records per pixel column are drawn as min-max bars, never skipped. The world model's
// panels without a value say so, the others are left out. n may be 0.
bool plot_metrics_png(const char *path, const char *title, const struct record *records, int64_t n,
                      struct error *e);

// One metric of several runs over environment steps, a curve each.
enum { PLOT_MAX_RUNS = 8 };
struct plot_run {
    const char *label;
    const struct record *records;
    int64_t n;
};
bool plot_runs_png(const char *path, const char *title, enum metric metric,
                   const struct plot_run *runs, int n_runs, struct error *e);

// One column per snapshot; rows: real, reconstruction, error (heat). Levels 0 (lightest) .. 255
// (darkest).
struct plot_column {
    int64_t opt_steps;
    const uint8_t *real, *reconstruction, *error; // [height][width]
};
bool plot_strip_png(const char *path, const char *title, const struct plot_column *columns,
                    int n_columns, int width, int height, int scale, struct error *e);

#endif
