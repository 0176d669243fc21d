// Plot: the metrics of a run as one PNG of titled panels.
#include "engine/data/plot.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/data/image.h"

enum {
    PANEL_WIDTH = 480,
    PANEL_HEIGHT = 230,
    COLUMNS = 2,
    HEADER = 34,
    MAX_CURVES = PLOT_MAX_BANDS,
    MAX_TICKS = 16
};
enum {
    LEFT = 62,
    RIGHT = 12,
    TOP = 36,
    BOTTOM = 30,
    PLOT_W = PANEL_WIDTH - LEFT - RIGHT,
    PLOT_H = PANEL_HEIGHT - TOP - BOTTOM
};

static const uint32_t paper = 0xffffff, ink = 0x202428, dim = 0x80868c, grid = 0xe6e8ea,
                      band_colour = 0xe4f2e4, alarm_colour = 0xd02020;
static const uint32_t curve_colours[MAX_CURVES] = {0x1f5fa8, 0xd2691e, 0x2e8b57, 0x8a2be2,
                                                   0xb8860b, 0x00868b, 0xc71585, 0x556b2f};

struct panel {
    const char *title, *unit;
    bool log;                   // y axis
    double band_low, band_high; // a good range, shaded; equal: none
    int n_curves;
    enum metric curves[MAX_CURVES];
    bool optional; // left out where the run measured none of it
};

// One curve of a panel.
struct curve {
    const struct record *records;
    int64_t n;
    enum metric metric;
    const char *label;
};

// clang-format off
static const struct panel panels[] = {
    {"world-model and observation loss", "", true, 0, 0, 2, {METRIC_LOSS_MODEL, METRIC_OBS_NLL}, false},
    {"reward and continue loss", "nats", true, 0, 0, 2, {METRIC_REWARD_NLL, METRIC_CONTINUE_NLL}, false},
    {"KL divergence", "nats", false, 0, 0, 2, {METRIC_KL_DYN, METRIC_KL_TOTAL}, false},
    {"entropy of prior and posterior", "nats", false, 0, 0, 2, {METRIC_PRIOR_ENTROPY, METRIC_POSTERIOR_ENTROPY}, false},
    {"posterior / prior entropy, good between 0.7 and 1.3", "", false, 0.7, 1.3, 1, {METRIC_ENTROPY_RATIO}, false},
    {"gradient norm before clipping", "", true, 0, 0, 3,
     {METRIC_GRAD_NORM_MODEL, METRIC_GRAD_NORM_ACTOR, METRIC_GRAD_NORM_CRITIC}, false},
    {"replay ratio so far", "gradient steps per policy step", false, 0, 0, 1, {METRIC_REPLAY_RATIO}, false},
    {"speed", "1/s", true, 0, 0, 2, {METRIC_SPS, METRIC_TRAIN_SPS}, false},
    {"success", "share of episodes", false, 0, 0, 1, {METRIC_SUCCESS_RATE}, true},
    {"policy entropy in the dream", "nats", false, 0, 0, 1, {METRIC_ACTION_ENTROPY}, true},
    {"actor and critic loss", "", false, 0, 0, 2, {METRIC_LOSS_ACTOR, METRIC_LOSS_CRITIC}, true},
    {"returns in the dream", "", false, 0, 0, 3, {METRIC_RET_P05, METRIC_RET_P95, METRIC_VALUE_MEAN}, true},
    {"size of a step over size of the weights", "", true, 0, 0, 3,
     {METRIC_UPDATE_RATIO_MODEL, METRIC_UPDATE_RATIO_ACTOR, METRIC_UPDATE_RATIO_CRITIC}, true},
    {"classes of the latent drawn", "share", false, 0, 0, 1, {METRIC_LATENT_CLASSES}, true},
    {"success of the greedy policy", "share of episodes", false, 0, 0, 1, {METRIC_EVAL_SUCCESS_RATE}, true},
    {"policy entropy", "nats", false, 0, 0, 1, {METRIC_ENTROPY}, true},
    {"policy and value loss", "", false, 0, 0, 2, {METRIC_LOSS_POLICY, METRIC_LOSS_VALUE}, true},
    {"divergence of an update", "nats", false, 0, 0, 2, {METRIC_APPROX_KL, METRIC_KL_K3}, true},
    {"clipped samples", "share", false, 0, 0, 1, {METRIC_CLIPFRAC}, true},
    {"variance of the returns that the values explain", "share", false, 0, 0, 1, {METRIC_EXPLAINED_VARIANCE}, true},
};
// clang-format on
enum { N_PANELS = sizeof panels / sizeof panels[0] };

struct axis {
    double low, high; // log: of the logarithm to base 10
    bool log;
};

// What one pixel column of a curve holds.
struct bin {
    double low, high, last;
    int64_t n, n_bad; // finite values; values that cannot be drawn
};

static double to_axis(const struct axis *a, double v) { return a->log ? log10(v) : v; }
static bool drawable(const struct axis *a, double v) { return isfinite(v) && (!a->log || v > 0); }

static bool measured(const struct record *r, enum metric m) { return r->present >> m & 1; }

// ---- axes

// 1, 2 or 5 times a power of ten, so that about `n` steps cover `range`.
static double nice_step(double range, int n) {
    double raw = range / n, power = pow(10, floor(log10(raw))), part = raw / power;
    return (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10) * power;
}

// From the smallest and the largest value to what is drawn.
static struct axis finish_axis(struct axis a, const struct panel *p) {
    if (a.low > a.high) return (struct axis){.low = 0, .high = 1, .log = p->log};
    if (p->band_high > p->band_low) {
        a.low = fmin(a.low, p->band_low - 0.1);
        a.high = fmax(a.high, p->band_high + 0.1);
    } else if (!a.log && a.low > 0) {
        a.low = 0; // amounts are read against nothing
    }
    double margin = a.high > a.low ? 0.05 * (a.high - a.low) : fmax(fabs(a.high) * 0.1, 0.05);
    a.high += margin;
    if (a.low != 0) a.low -= margin;
    return a;
}

static struct axis value_axis(const struct panel *p, const struct curve *curves, int n) {
    struct axis a = {.low = INFINITY, .high = -INFINITY, .log = p->log};
    for (int c = 0; c < n; c++)
        for (int64_t i = 0; i < curves[c].n; i++) {
            const struct record *r = &curves[c].records[i];
            double v = (double)r->value[curves[c].metric];
            if (!measured(r, curves[c].metric) || !drawable(&a, v)) continue;
            a.low = fmin(a.low, to_axis(&a, v));
            a.high = fmax(a.high, to_axis(&a, v));
        }
    return finish_axis(a, p);
}

// Ticks in axis units. Logarithmic axes of less than a decade get linear ticks.
static int value_ticks(const struct axis *a, double ticks[MAX_TICKS]) {
    int n = 0;
    if (a->log && a->high - a->low >= 1) {
        static const double few[] = {1}, many[] = {1, 2, 5};
        const double *parts = a->high - a->low < 2.5 ? many : few;
        int n_parts = parts == many ? 3 : 1;
        double step = fmax(1, ceil((a->high - a->low) / 6));
        for (double t = floor(a->low / step) * step; t <= a->high; t += step)
            for (int k = 0; k < n_parts; k++)
                if (t + log10(parts[k]) >= a->low && t + log10(parts[k]) <= a->high &&
                    n < MAX_TICKS)
                    ticks[n++] = t + log10(parts[k]);
        return n;
    }
    double low = a->log ? pow(10, a->low) : a->low, high = a->log ? pow(10, a->high) : a->high,
           step = nice_step(high - low, 5);
    for (double t = ceil(low / step) * step; t <= high && n < MAX_TICKS; t += step)
        if (!a->log || t > 0) ticks[n++] = a->log ? log10(t) : fabs(t) < step * 1e-9 ? 0 : t;
    return n;
}

static void format_number(double v, char *out, size_t size) {
    static const struct {
        double size;
        const char *suffix;
    } scales[] = {{1e9, "G"}, {1e6, "M"}, {1e4, "k"}};
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++)
        if (fabs(v) >= scales[i].size) {
            snprintf(out, size, "%.4g%s", v / (scales[i].size == 1e4 ? 1e3 : scales[i].size),
                     scales[i].suffix);
            return;
        }
    snprintf(out, size, "%.4g", v);
}

// ---- one panel

struct frame { // where a panel's plot lies
    struct image *im;
    int x, y; // left top of the plot area
    struct axis values;
    double max_step;
    const char *x_name;
};

static int pixel_y(const struct frame *f, double axis_value) {
    double part = (axis_value - f->values.low) / (f->values.high - f->values.low);
    return f->y + PLOT_H - 1 - (int)lround(fmin(fmax(part, 0), 1) * (PLOT_H - 1));
}

static int column_of(const struct frame *f, double step) {
    double part = f->max_step > 0 ? step / f->max_step : 0;
    return (int)lround(fmin(fmax(part, 0), 1) * (PLOT_W - 1));
}

static void draw_axes(const struct frame *f) {
    double ticks[MAX_TICKS];
    char text[32];
    int n = value_ticks(&f->values, ticks);
    for (int i = 0; i < n; i++) {
        int y = pixel_y(f, ticks[i]);
        image_line(f->im, f->x, y, f->x + PLOT_W - 1, y, grid);
        format_number(f->values.log ? pow(10, ticks[i]) : ticks[i], text, sizeof text);
        image_text(f->im, f->x - 6 - image_text_width(text, 1), y - 3, text, 1, dim);
    }
    double step = f->max_step > 0 ? fmax(1, nice_step(f->max_step, 5)) : 1;
    for (double t = 0; t <= f->max_step; t += step) {
        int x = f->x + column_of(f, t);
        image_line(f->im, x, f->y + PLOT_H, x, f->y + PLOT_H + 3, dim);
        format_number(t, text, sizeof text);
        int width = image_text_width(text, 1), left = x - width / 2;
        image_text(f->im, left + width > f->x + PLOT_W ? f->x + PLOT_W - width : left,
                   f->y + PLOT_H + 6, text, 1, dim);
    }
    image_text(f->im, f->x + (PLOT_W - image_text_width(f->x_name, 1)) / 2, f->y + PLOT_H + 18,
               f->x_name, 1, dim);
    image_line(f->im, f->x - 1, f->y, f->x - 1, f->y + PLOT_H, dim);
    image_line(f->im, f->x - 1, f->y + PLOT_H, f->x + PLOT_W - 1, f->y + PLOT_H, dim);
}

static void fill_bins(const struct frame *f, const struct curve *curve, struct bin *bins) {
    memset(bins, 0, PLOT_W * sizeof *bins);
    for (int64_t i = 0; i < curve->n; i++) {
        const struct record *r = &curve->records[i];
        if (!measured(r, curve->metric)) continue;
        double v = (double)r->value[curve->metric];
        struct bin *b = &bins[column_of(f, (double)r->opt_steps)];
        if (!drawable(&f->values, v)) {
            b->n_bad += !isfinite(v); // 0 on a logarithmic axis is no alarm
            continue;
        }
        v = to_axis(&f->values, v);
        b->low = b->n ? fmin(b->low, v) : v;
        b->high = b->n ? fmax(b->high, v) : v;
        b->last = v;
        b->n++;
    }
}

// Two pixels thick, so that a curve stands out of the grid.
static void stroke(const struct frame *f, int x0, int y0, int x1, int y1, uint32_t colour) {
    image_line(f->im, x0, y0, x1, y1, colour);
    image_line(f->im, x0, y0 + 1, x1, y1 + 1, colour);
}

// Non-finite values: a red tick at the upper edge of their column.
static int64_t draw_curve(const struct frame *f, const struct bin *bins, uint32_t colour) {
    int before = -1;
    int64_t n_bad = 0;
    for (int c = 0; c < PLOT_W; c++) {
        const struct bin *b = &bins[c];
        n_bad += b->n_bad;
        if (b->n_bad) image_box(f->im, f->x + c - 1, f->y, 3, 7, alarm_colour);
        if (!b->n) continue;
        int x = f->x + c;
        if (before >= 0)
            stroke(f, f->x + before, pixel_y(f, bins[before].last), x, pixel_y(f, b->last), colour);
        stroke(f, x, pixel_y(f, b->low), x, pixel_y(f, b->high), colour);
        before = c;
    }
    return n_bad;
}

// In the legend from x on; returns where the next one begins.
static int name_curve(const struct frame *f, int x, const char *text, int c) {
    image_box(f->im, x, f->y - 12, 8, 7, curve_colours[c]);
    image_text(f->im, x + 12, f->y - 12, text, 1, ink);
    return x + 12 + image_text_width(text, 1) + 14;
}

static void draw_legend(const struct frame *f, const struct curve *curves, int n,
                        const struct bin *const *bins, int64_t n_bad) {
    int x = f->x;
    for (int c = 0; c < n; c++) {
        char text[64], value[24] = "no value";
        for (int k = PLOT_W - 1; k >= 0; k--)
            if (bins[c][k].n) {
                format_number(f->values.log ? pow(10, bins[c][k].last) : bins[c][k].last, value,
                              sizeof value);
                break;
            }
        snprintf(text, sizeof text, "%.38s %s", curves[c].label, value);
        x = name_curve(f, x, text, c);
    }
    char text[48];
    snprintf(text, sizeof text, "%lld not finite", (long long)n_bad);
    if (n_bad)
        image_text(f->im, f->x + PLOT_W - image_text_width(text, 1), f->y - 12, text, 1,
                   alarm_colour);
}

// At f->x, f->y; its axes are worked out here.
static void draw_panel(struct frame f, const struct panel *p, const struct curve *curves, int n) {
    struct image *im = f.im;
    int y = f.y;
    f.x += LEFT, f.y += TOP;
    f.values = value_axis(p, curves, n);
    char title[128];
    snprintf(title, sizeof title, "%s%s%s%s%s", p->title, *p->unit ? " (" : "", p->unit,
             *p->unit ? ")" : "", p->log ? ", log scale" : "");
    image_text(im, f.x, y + 8, title, 1, ink);
    if (p->band_high > p->band_low)
        image_box(im, f.x, pixel_y(&f, p->band_high), PLOT_W,
                  pixel_y(&f, p->band_low) - pixel_y(&f, p->band_high), band_colour);
    draw_axes(&f);
    struct bin *bins[MAX_CURVES];
    int64_t n_bad = 0, n_values = 0;
    for (int c = 0; c < n; c++) {
        bins[c] = mem_alloc(PLOT_W * sizeof **bins);
        fill_bins(&f, &curves[c], bins[c]);
        n_bad += draw_curve(&f, bins[c], curve_colours[c]);
        for (int k = 0; k < PLOT_W; k++) n_values += bins[c][k].n;
    }
    if (!n_values && !n_bad)
        image_text(im, f.x + (PLOT_W - image_text_width("no values", 1)) / 2, f.y + PLOT_H / 2,
                   "no values", 1, dim);
    draw_legend(&f, curves, n, (const struct bin *const *)bins, n_bad);
    for (int c = 0; c < n; c++) free(bins[c]);
}

// ---- whole pictures

static bool ever_measured(const struct record *records, int64_t n, enum metric m) {
    for (int64_t i = 0; i < n; i++)
        if (measured(&records[i], m)) return true;
    return false;
}

// The panel's curves of one run; those without a value are left out unless all are. A run that has
// no world model at all has no panels for one.
static int curves_of(const struct panel *p, const struct record *records, int64_t n,
                     struct curve out[MAX_CURVES]) {
    int n_known = 0;
    const bool no_model = n > 0 && ever_measured(records, n, METRIC_LOSS_TOTAL);
    for (int c = 0; c < p->n_curves; c++) {
        if (!ever_measured(records, n, p->curves[c]) && (c || p->optional || no_model)) continue;
        out[n_known++] = (struct curve){records, n, p->curves[c], metric_info[p->curves[c]].name};
    }
    return n_known;
}

static bool write_and_free(struct image *im, const char *path, const char *title, struct error *e) {
    const struct image_note notes[] = {{"Title", title}, {"Software", "workbench"}};
    bool ok = image_write_png(im, path, notes, 2, e);
    image_deinit(im);
    return ok;
}

bool plot_metrics_png(const char *path, const char *title, const struct record *records, int64_t n,
                      struct error *e) {
    struct image im;
    struct curve curves[N_PANELS][MAX_CURVES];
    int n_curves[N_PANELS], n_shown = 0;
    for (int i = 0; i < N_PANELS; i++) {
        n_curves[i] = curves_of(&panels[i], records, n, curves[i]);
        n_shown += n_curves[i] > 0;
    }
    int rows = (n_shown + COLUMNS - 1) / COLUMNS;
    image_init(&im, COLUMNS * PANEL_WIDTH, HEADER + rows * PANEL_HEIGHT + 8, paper);
    image_text(&im, 14, 12, title, 2, ink);
    for (int i = 0, at = 0; i < N_PANELS; i++) {
        if (!n_curves[i]) continue;
        struct frame f = {.im = &im,
                          .x = at % COLUMNS * PANEL_WIDTH,
                          .y = HEADER + at / COLUMNS * PANEL_HEIGHT,
                          .x_name = "gradient step",
                          .max_step = n ? (double)records[n - 1].opt_steps : 0};
        draw_panel(f, &panels[i], curves[i], n_curves[i]);
        at++;
    }
    return write_and_free(&im, path, title, e);
}

// ---- bands

static void stretch(struct axis *a, const double *v, int64_t n) {
    for (int64_t i = 0; v && i < n; i++)
        if (isfinite(v[i])) {
            a->low = fmin(a->low, v[i]);
            a->high = fmax(a->high, v[i]);
        }
}

// Between two neighbouring points, column by column.
static void shade(const struct frame *f, const struct plot_band *b, int64_t i, uint32_t colour) {
    enum { PERCENT = 22 };
    const int from = column_of(f, b->x[i]), to = column_of(f, b->x[i + 1]);
    for (int c = from; c < to; c++) {
        const double part = (double)(c - from) / (to - from);
        const int top = pixel_y(f, b->high[i] + part * (b->high[i + 1] - b->high[i])),
                  bottom = pixel_y(f, b->low[i] + part * (b->low[i + 1] - b->low[i]));
        image_tint(f->im, f->x + c, top, 1, bottom - top + 1, colour, PERCENT);
    }
}

static void draw_band(const struct frame *f, const struct plot_band *b, uint32_t colour) {
    for (int64_t i = 0; b->low && i + 1 < b->n; i++)
        if (isfinite(b->mean[i]) && isfinite(b->mean[i + 1])) shade(f, b, i, colour);
    for (int64_t i = 0; i < b->n; i++) {
        if (!isfinite(b->mean[i])) continue;
        const bool joined = i > 0 && isfinite(b->mean[i - 1]);
        const int64_t from = joined ? i - 1 : i;
        stroke(f, f->x + column_of(f, b->x[from]), pixel_y(f, b->mean[from]),
               f->x + column_of(f, b->x[i]), pixel_y(f, b->mean[i]), colour);
    }
}

static void draw_bands(struct frame f, const struct plot_bands *p) {
    const struct panel plain = {0};
    struct axis a = {.low = INFINITY, .high = -INFINITY};
    for (int i = 0; i < p->n; i++) {
        const struct plot_band *b = &p->bands[i];
        const double *const values[] = {b->mean, b->low, b->high};
        for (int k = 0; k < 3; k++) stretch(&a, values[k], b->n);
        if (b->n) f.max_step = fmax(f.max_step, b->x[b->n - 1]);
    }
    image_text(f.im, f.x + LEFT, f.y + 8, p->title, 1, ink);
    f.x += LEFT, f.y += TOP;
    f.values = finish_axis(a, &plain);
    f.x_name = p->x_name;
    draw_axes(&f);
    for (int i = 0, x = f.x; i < p->n; i++) {
        draw_band(&f, &p->bands[i], curve_colours[i]);
        x = name_curve(&f, x, p->bands[i].label, i);
    }
}

bool plot_bands_png(const char *path, const char *title, const struct plot_bands *sides,
                    int n_panels, struct error *e) {
    struct image im;
    image_init(&im, n_panels * PANEL_WIDTH, HEADER + PANEL_HEIGHT + 8, paper);
    image_text(&im, 14, 12, title, 2, ink);
    for (int i = 0; i < n_panels; i++) {
        CHECK(sides[i].n <= MAX_CURVES, "%d bands", sides[i].n);
        draw_bands((struct frame){.im = &im, .x = i * PANEL_WIDTH, .y = HEADER}, &sides[i]);
    }
    return write_and_free(&im, path, title, e);
}
