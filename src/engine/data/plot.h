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

// A curve over any amount (environment steps, seconds), with the band around it that several runs
// span. x rises; where mean is NaN there is a gap. low and high NULL: no band.
enum { PLOT_MAX_BANDS = 8 };
struct plot_band {
    const char *label;
    int64_t n;
    const double *x, *mean, *low, *high; // [n]
};
struct plot_bands {
    const char *title, *x_name;
    const struct plot_band *bands;
    int n; // at most PLOT_MAX_BANDS (CHECK)
};
// The panels beside each other.
bool plot_bands_png(const char *path, const char *title, const struct plot_bands *panels,
                    int n_panels, struct error *e);

// One column per snapshot; rows: real, reconstruction, error (heat). Levels 0 (lightest) .. 255
// (darkest).
struct plot_column {
    int64_t opt_steps;
    const uint8_t *real, *reconstruction, *error; // [height][width]
};
bool plot_strip_png(const char *path, const char *title, const struct plot_column *columns,
                    int n_columns, int width, int height, int scale, struct error *e);

#endif
