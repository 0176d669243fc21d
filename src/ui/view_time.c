// Time page: where an update's time goes, part by part, beside what the machine can do.
#include <math.h>
#include <stdio.h>

#include "engine/run/bench/parts.h"
#include "ui/view.h"

enum { MEAN_OF = 8 }; // records that a value is the mean of, unless the crosshair names one

// Columns of the table; what a narrow terminal has no room for is left out from the right.
enum { X_MS = 23, X_SHARE = 32, X_RATE = 40, X_PEAK = 50, X_BAR = 64, MAX_BAR = 40 };

static double value_of(const struct view *v, enum metric m) {
    if (v->crosshair >= 0 && v->crosshair < v->n_records)
        return (double)curves_value(v->curves, m, v->crosshair);
    double sum = 0;
    int n = 0;
    for (int64_t i = v->n_records - 1; i >= 0 && i >= v->n_records - MEAN_OF; i--)
        if (curves_measured(v->curves, m, i)) sum += (double)curves_value(v->curves, m, i), n++;
    return n ? sum / n : NAN;
}

static void draw_cell(struct canvas *c, struct rect row, int x, int w, struct style s,
                      const char *format, double value) {
    char text[32];
    if (x + w > row.w || !isfinite(value)) return;
    snprintf(text, sizeof text, format, value);
    canvas_text_right(c, (struct rect){row.x + x, row.y, w, 1}, s, text);
}

static void draw_share(struct canvas *c, struct rect row, double share) {
    const int width = row.w - X_BAR - 1 < MAX_BAR ? row.w - X_BAR - 1 : MAX_BAR;
    if (!(share >= 0)) return;
    const int full = (int)lrint(fmin(share, 1) * width);
    for (int i = 0; i < width; i++)
        canvas_put(c, row.x + X_BAR + i, row.y, i < full ? 0x2588 : 0x2591,
                   style(i < full ? ROLE_GAUGE : ROLE_GAUGE_REST));
}

// One row: name, milliseconds, share of an update, rate of its products, share of the peak. NaN:
// an empty cell.
static void draw_row(struct canvas *c, struct rect row, const char *name, double ms, double all,
                     double rate, double peak) {
    const struct style value = style_on(ROLE_VALUE, ROLE_DEFAULT, ATTR_BOLD);
    canvas_text(c, (struct rect){row.x + 1, row.y, X_MS - 1, 1}, style(ROLE_LABEL), name);
    draw_cell(c, row, X_MS, 8, value, "%.2f", ms);
    draw_cell(c, row, X_SHARE, 7, style(ROLE_TEXT), "%.1f %%", 100 * ms / all);
    draw_cell(c, row, X_RATE, 9, style(ROLE_TEXT), "%.0f", rate);
    // Of products that were gathered instead, or of a peak that was measured beside other load.
    draw_cell(c, row, X_PEAK, 12, style(ROLE_TEXT), rate > peak ? "above" : "%.0f %%",
              100 * rate / peak);
    draw_share(c, row, ms / all);
}

static void draw_titles(struct canvas *c, struct rect row, bool with_rates) {
    static const struct {
        const char *text;
        int x, w;
    } titles[] = {{"part", 1, 20},
                  {"ms", X_MS, 8},
                  {"share", X_SHARE, 7},
                  {"GFLOP/s", X_RATE, 9},
                  {"of the peak", X_PEAK, 12}};
    for (int i = 0; i < (with_rates ? 5 : 3); i++)
        if (titles[i].x + titles[i].w <= row.w) {
            struct rect cell = {row.x + titles[i].x, row.y, titles[i].w, 1};
            if (i == 0)
                canvas_text(c, cell, style(ROLE_DIM), titles[i].text);
            else
                canvas_text_right(c, cell, style(ROLE_DIM), titles[i].text);
        }
}

static void draw_heading(const struct view *v, struct canvas *c, struct rect row) {
    char at[64];
    const int64_t record =
        v->crosshair >= 0 && v->crosshair < v->n_records ? v->crosshair : v->n_records - 1;
    view_format_count((int64_t)curves_x(v->curves, AXIS_STEP, record), at);
    const int used =
        canvas_text(c, (struct rect){row.x + 1, row.y, row.w - 1, 1},
                    style_on(ROLE_TITLE, ROLE_DEFAULT, ATTR_BOLD), "where the time goes");
    canvas_printf(c, (struct rect){row.x + used + 3, row.y, row.w - used - 3, 1}, style(ROLE_DIM),
                  v->crosshair >= 0 ? "step %s" : "mean of the newest records, step %s", at);
}

static void draw_peak(struct canvas *c, struct rect row, double peak, int n_threads) {
    if (isfinite(peak))
        canvas_printf(c, (struct rect){row.x + 1, row.y, row.w - 1, 1}, style(ROLE_DIM),
                      "peak: %.0f GFLOP/s, multiply-adds of %d thread%s, measured when the run "
                      "began",
                      peak, n_threads, n_threads == 1 ? "" : "s");
}

void view_draw_time(const struct view *v, struct canvas *c, struct rect r) {
    if (v->n_records == 0) {
        canvas_text(c, (struct rect){r.x + 1, r.y, r.w - 1, 1}, style(ROLE_DIM),
                    "no update measured yet");
        return;
    }
    const double update = value_of(v, METRIC_UPDATE_MS), peak = value_of(v, METRIC_PEAK_GFLOPS);
    struct rect row = {r.x, r.y, r.w, 1};
    const int end = r.y + r.h;
    const bool roomy = r.h >= N_PARTS + 10;
    draw_heading(v, c, row);
    row.y += roomy ? 2 : 1;
    draw_titles(c, row, isfinite(peak));
    row.y++;
    draw_row(c, row, "one update", update, update, value_of(v, METRIC_GFLOPS_UPDATE), peak);
    row.y += roomy ? 2 : 1;
    for (int i = 0; i < N_PARTS && row.y < end; i++) {
        const struct part_info *p = &part_info[i];
        if (!curves_known(v->curves, (int)p->ms)) continue;
        const double rate = p->gflops < METRIC_COUNT ? value_of(v, p->gflops) : NAN;
        draw_row(c, row, p->name, value_of(v, p->ms), update, rate, peak);
        row.y++;
    }
    static const struct {
        const char *name;
        enum metric ms;
    } beside[] = {{"environments, a step", METRIC_ENV_MS},
                  {"policy, a step", METRIC_POLICY_MS},
                  {"replay, a batch", METRIC_SAMPLE_MS},
                  {"device, a rollout", METRIC_ACTOR_MS},
                  {"device, its batch", METRIC_LEARNER_MS}};
    if (roomy) row.y++;
    for (size_t i = 0; i < sizeof beside / sizeof *beside && row.y < end; i++) {
        if (!curves_known(v->curves, (int)beside[i].ms)) continue;
        draw_row(c, row, beside[i].name, value_of(v, beside[i].ms), NAN, NAN, NAN);
        row.y++;
    }
    if (row.y < end && curves_known(v->curves, (int)METRIC_OVERLAP)) {
        const double shorter = fmin(value_of(v, METRIC_ACTOR_MS), value_of(v, METRIC_LEARNER_MS));
        draw_row(c, row, "device, side by side", value_of(v, METRIC_OVERLAP) * shorter, shorter,
                 NAN, NAN);
        row.y++;
    }
    if (roomy) row.y++;
    if (row.y < end) draw_peak(c, row, peak, v->status.n_threads);
}
