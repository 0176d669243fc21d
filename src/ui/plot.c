// Plot: dots first (smallest and largest per column, averages, joins), then glyphs, then axes.
#include "ui/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { GUTTER = 8 }; // seven columns of label and the axis line

const char *const plot_glyph_names[PLOT_GLYPHS] = {"braille", "blocks", "ascii"};
static const struct { int across, down; } dots_per_cell[PLOT_GLYPHS] = {{2, 4}, {2, 2}, {1, 2}};

// Per cell: the dots of each curve, of the raw bands, and whose band it is.
struct dots {
    uint8_t line[PLOT_SERIES], band, band_owner;
};

struct plotter {
    struct dots *dots;
    float *low, *high, *mean; // per dot column of the series being drawn, NaN: nothing there
    bool *bad;                // per dot column, any series
    size_t cell_room, column_room;
};

// The part of the panel the curves are in, and how values map to it.
struct frame {
    struct rect area;
    int columns, rows; // in dots
    enum plot_glyphs glyphs;
    double y_low, y_high; // in mapped units: log10 of the value when log_y
    bool log_y;
};

struct plotter *plotter_new(void) {
    return mem_alloc(sizeof(struct plotter));
}

void plotter_free(struct plotter *p) {
    if (!p) return;
    free(p->dots);
    free(p->low);
    free(p->high);
    free(p->mean);
    free(p->bad);
    free(p);
}

static void reserve(struct plotter *p, size_t cells, size_t columns) {
    if (cells > p->cell_room) {
        p->cell_room = cells * 2;
        p->dots = mem_resize(p->dots, p->cell_room * sizeof *p->dots);
    }
    if (columns > p->column_room) {
        p->column_room = columns * 2;
        p->low = mem_resize(p->low, p->column_room * sizeof *p->low);
        p->high = mem_resize(p->high, p->column_room * sizeof *p->high);
        p->mean = mem_resize(p->mean, p->column_room * sizeof *p->mean);
        p->bad = mem_resize(p->bad, p->column_room * sizeof *p->bad);
    }
    memset(p->dots, 0, cells * sizeof *p->dots);
    memset(p->bad, 0, columns * sizeof *p->bad);
}

// ---- numbers

void plot_format(double v, char out[32]) {
    double a = fabs(v);
    if (isnan(v))
        snprintf(out, 32, "NaN");
    else if (isinf(v))
        snprintf(out, 32, v > 0 ? "Inf" : "-Inf");
    else if (a == 0)
        snprintf(out, 32, "0");
    else if (a < 0.001)
        snprintf(out, 32, "%.1e", v);
    else if (a < 0.1)
        snprintf(out, 32, "%.4f", v);
    else if (a < 9.995)
        snprintf(out, 32, "%.3f", v);
    else if (a < 99.95)
        snprintf(out, 32, "%.2f", v);
    else if (a < 9999.5)
        snprintf(out, 32, a < 999.95 ? "%.1f" : "%.0f", v);
    else if (a < 999950)
        snprintf(out, 32, "%.1fk", v / 1e3);
    else if (a < 999.95e6)
        snprintf(out, 32, "%.1fM", v / 1e6);
    else if (a < 999.95e9)
        snprintf(out, 32, "%.1fG", v / 1e9);
    else
        snprintf(out, 32, "%.0e", v);
}

// For ticks: as few digits as tell neighbours apart.
static void format_tick(double v, double step, char out[32]) {
    double a = fabs(v);
    if (a < step * 1e-6) {
        snprintf(out, 32, "0");
        return;
    }
    const char *suffix = "";
    if (a >= 9.9995e11 || step < 1e-4) {
        snprintf(out, 32, "%.2g", v);
        return;
    }
    if (a >= 1e9)
        v /= 1e9, step /= 1e9, suffix = "G";
    else if (a >= 1e6)
        v /= 1e6, step /= 1e6, suffix = "M";
    else if (a >= 1e4)
        v /= 1e3, step /= 1e3, suffix = "k";
    int digits = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    if (digits > 4) digits = 4;
    snprintf(out, 32, "%.*f%s", digits, v, suffix);
}

double plot_tick(double range, int n) {
    if (!(range > 0) || n < 1) return 1;
    double raw = range / n, power = pow(10, floor(log10(raw)));
    static const double steps[] = {1, 2, 5, 10};
    for (int i = 0; i < 4; i++)
        if (steps[i] * power >= raw * (1 - 1e-9)) return steps[i] * power;
    return 10 * power;
}

void plot_format_time(double s, char out[32]) {
    if (!(s >= 0)) s = 0;
    if (s > 1e12) s = 1e12;
    unsigned long long t = (unsigned long long)s;
    if (t < 3600)
        snprintf(out, 32, "%llu:%02llu", t / 60, t % 60);
    else if (t < 86400)
        snprintf(out, 32, "%llu:%02llu:%02llu", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(out, 32, "%llud %02llu:%02llu", t / 86400, t / 3600 % 24, t / 60 % 60);
}

// ---- y axis

static double map_y(const struct frame *f, double value) {
    if (!f->log_y) return value;
    return value > 0 ? log10(value) : -INFINITY;
}

// Row of dots, 0 at the top; outside values stick to the edges.
static int dot_row(const struct frame *f, double value) {
    double t = (map_y(f, value) - f->y_low) / (f->y_high - f->y_low);
    if (!(t > 0)) t = 0;
    if (t > 1) t = 1;
    return (int)lrint((1 - t) * (f->rows - 1));
}

// Range of all series over the visible records; a logarithmic axis needs the smallest positive
// value.
static void fit_y(struct frame *f, const struct plot_panel *panel, const struct plot_look *look,
                  const struct curves *curves, int64_t begin, int64_t end) {
    double low = INFINITY, high = -INFINITY;
    for (int s = 0; s < panel->n_series; s++) {
        struct span all = curves_span(curves, panel->series[s].metric, begin, end);
        if (all.n_finite == 0) continue;
        if (!look->log_y || all.min > 0) low = fmin(low, all.min);
        high = fmax(high, all.max);
    }
    if (panel->from_zero && !look->log_y) low = fmin(low, 0);
    if (panel->band_high > panel->band_low) {
        low = fmin(low, panel->band_low);
        high = fmax(high, panel->band_high);
    }
    f->log_y = look->log_y && high > 0;
    if (f->log_y) {
        if (!(low > 0) || isinf(low)) low = high * 1e-3;
        if (low < high * 1e-9) low = high * 1e-9;
        low = log10(low);
        high = log10(high);
        double least = 0.1; // a flat curve still gets an axis with two labels
        if (high - low < least) {
            double middle = (low + high) / 2;
            low = middle - least / 2, high = middle + least / 2;
        }
    } else {
        if (isinf(low)) low = 0, high = 1;
        if (high - low < fabs(high) * 1e-6 || high == low) {
            double pad = high == 0 ? 1 : fabs(high) * 0.1;
            if (high != 0) low -= pad; // a share or a count of 0 has nothing below it
            high += pad;
        }
    }
    double pad = (high - low) * 0.04;
    f->y_low = low - pad;
    f->y_high = high + pad;
    if (!f->log_y && low >= 0 && f->y_low < 0) f->y_low = 0;
}

static void y_label(struct canvas *c, const struct frame *f, double mapped, const char *text) {
    double t = (mapped - f->y_low) / (f->y_high - f->y_low);
    if (t < 0 || t > 1) return;
    int row = (int)lrint((1 - t) * (f->area.h - 1));
    for (int y = row - 1; y <= row + 1;
         y++) { // never in neighbouring rows: earlier calls matter more
        const struct cell *cell =
            y >= 0 && y < f->area.h ? canvas_at(c, f->area.x - 1, f->area.y + y) : NULL;
        if (cell && (cell->glyph == 0x2524 || cell->glyph == '+')) return;
    }
    canvas_text_right(c, (struct rect){f->area.x - GUTTER, f->area.y + row, GUTTER - 1, 1},
                      style(ROLE_LABEL), text);
    canvas_put(c, f->area.x - 1, f->area.y + row, 0x2524, style(ROLE_FAINT));
}

static void draw_y_axis(struct canvas *c, const struct frame *f, const struct plot_panel *panel) {
    for (int y = 0; y < f->area.h; y++)
        canvas_put(c, f->area.x - 1, f->area.y + y, 0x2502, style(ROLE_FAINT));
    char text[32];
    int n = (f->area.h + 1) / 2; // a tick every other row at most
    double span = f->y_high - f->y_low;
    if (f->log_y && span > 0.9) { // powers of ten, then 5 and 2 between them where there is room
        int each = (int)ceil(span / n);
        static const double between[] = {1, 5, 2};
        for (int b = 0; b < (each == 1 ? 3 : 1); b++)
            for (int e = (int)floor(f->y_low); e <= (int)ceil(f->y_high); e++) {
                if (e % each) continue;
                double v = between[b] * pow(10, e);
                format_tick(v, v, text);
                y_label(c, f, log10(v), text);
            }
        return;
    }
    if (panel->band_high > panel->band_low) { // its edges matter more than round numbers
        const double marks[] = {panel->band_low, (panel->band_low + panel->band_high) / 2,
                                panel->band_high};
        for (int i = 0; i < 3; i++) {
            format_tick(marks[i], 0.1, text);
            if (i != 1 || f->area.h >= 5)
                y_label(c, f, f->log_y ? log10(marks[i]) : marks[i], text);
        }
        return;
    }
    double low = f->log_y ? pow(10, f->y_low) : f->y_low,
           high = f->log_y ? pow(10, f->y_high) : f->y_high;
    double step = plot_tick(high - low, n);
    for (double v = ceil(low / step) * step; v <= high + step * 1e-6; v += step) {
        format_tick(v, step, text);
        y_label(c, f, f->log_y ? (v > 0 ? log10(v) : -INFINITY) : v, text);
    }
}

// ---- x axis

static double time_tick(double range, int n) {
    static const double steps[] = {1,   2,   5,    10,   15,   30,    60,    120,  300,
                                   600, 900, 1800, 3600, 7200, 14400, 21600, 43200};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (range / steps[i] <= n) return steps[i];
    return plot_tick(range / 86400, n) * 86400;
}

static void format_x(const struct plot_look *look, double x, double step, char out[32]) {
    if (look->axis == AXIS_RELATIVE)
        plot_format_time(x, out);
    else if (look->axis == AXIS_WALL) {
        long long t = (long long)(x + look->clock_at_0_s) % 86400;
        if (step < 60)
            snprintf(out, 32, "%02lld:%02lld:%02lld", t / 3600, t / 60 % 60, t % 60);
        else
            snprintf(out, 32, "%02lld:%02lld", t / 3600, t / 60 % 60);
    } else
        format_tick(x, step, out);
}

static void draw_x_axis(struct canvas *c, const struct frame *f, const struct plot_panel *panel,
                        const struct plot_look *look) {
    int y = f->area.y + f->area.h, x0 = f->area.x, w = f->area.w;
    const char *name = curves_axis_names[look->axis];
    char unit[32]; // of y, under its labels
    snprintf(unit, sizeof unit, "%s%s%s", f->log_y ? "log" : "",
             f->log_y && *panel->unit ? " " : "", panel->unit);
    canvas_text_right(c, (struct rect){x0 - GUTTER, y, GUTTER, 1}, style(ROLE_FAINT), unit);
    double range = look->x_high - look->x_low,
           shift = look->axis == AXIS_WALL ? look->clock_at_0_s : 0;
    bool times = look->axis == AXIS_RELATIVE || look->axis == AXIS_WALL;
    int room = w - canvas_text_width(name) - 1; // the name sits at the right end
    canvas_text_right(c, (struct rect){x0, y, w, 1}, style(ROLE_FAINT), name);
    if (!(range > 0) || room < 6) return;
    double step = range;
    for (int n = w / 5; n >= 1; n--) { // the finest ticks whose labels keep two columns apart
        step = times ? time_tick(range, n) : fmax(1, plot_tick(range, n));
        char last[32];
        format_x(look, floor((look->x_high + shift) / step) * step - shift, step, last);
        if (w * step / range >= canvas_text_width(last) + 2) break;
    }
    int free_from = 0;
    for (double x = ceil((look->x_low + shift) / step) * step - shift; x <= look->x_high;
         x += step) {
        char text[32];
        format_x(look, x, step, text);
        int width = canvas_text_width(text), at = (int)lrint((x - look->x_low) / range * (w - 1));
        int start = at - width / 2 < 0 ? 0 : at - width / 2;
        if (start < free_from || start + width > room) continue;
        canvas_text(c, (struct rect){x0 + start, y, width, 1}, style(ROLE_LABEL), text);
        free_from = start + width + 1;
    }
}

// ---- curves

static void set_dot(struct plotter *p, const struct frame *f, int column, int row, int owner,
                    bool line) {
    static const uint8_t bits[PLOT_GLYPHS][4][2] = {
        {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}, // braille: U+2800 plus these
        {{1, 2}, {4, 8}, {0, 0}, {0, 0}},
        {{1, 0}, {2, 0}, {0, 0}, {0, 0}}};
    int across = dots_per_cell[f->glyphs].across, down = dots_per_cell[f->glyphs].down;
    struct dots *d = &p->dots[(row / down) * f->area.w + column / across];
    uint8_t bit = bits[f->glyphs][row % down][column % across];
    if (line) {
        d->line[owner] |= bit;
    } else {
        d->band |= bit;
        d->band_owner = (uint8_t)owner;
    }
}

static void set_column(struct plotter *p, const struct frame *f, int column, int top, int bottom,
                       int owner, bool line) {
    for (int row = top; row <= bottom; row++) set_dot(p, f, column, row, owner, line);
}

// A curve through the (top, bottom) ranges of its columns: neighbours touch, gaps without a bad
// value are bridged.
static void draw_line(struct plotter *p, const struct frame *f, const float *low, const float *high,
                      int owner, bool line) {
    int last = -1, last_top = 0, last_bottom = 0;
    for (int x = 0; x < f->columns; x++) {
        if (isnan(low[x])) {
            if (p->bad[x]) last = -1;
            continue;
        }
        int top = dot_row(f, high[x]), bottom = dot_row(f, low[x]);
        for (int gap = last + 1; last >= 0 && gap < x; gap++) {
            double t = (double)(gap - last) / (x - last);
            int y = (int)lrint((last_top + last_bottom) / 2.0 * (1 - t) + (top + bottom) / 2.0 * t);
            int slope = (int)lrint(fabs((top + bottom) / 2.0 - (last_top + last_bottom) / 2.0) /
                                   (x - last) / 2);
            int from = y - slope < 0 ? 0 : y - slope,
                to = y + slope >= f->rows ? f->rows - 1 : y + slope;
            set_column(p, f, gap, from, to, owner, line);
        }
        int join_top = top, join_bottom = bottom;
        if (last == x - 1 && last >= 0) {
            if (last_bottom < top - 1) join_top = last_bottom + 1;
            if (last_top > bottom + 1) join_bottom = last_top - 1;
        }
        set_column(p, f, x, join_top, join_bottom, owner, line);
        last = x, last_top = top, last_bottom = bottom;
    }
}

static void draw_series(struct plotter *p, const struct frame *f, const struct plot_panel *panel,
                        int s, const struct plot_look *look, const struct curves *curves) {
    int metric = panel->series[s].metric;
    double per_column = (look->x_high - look->x_low) / (f->columns > 1 ? f->columns - 1 : 1);
    int64_t begin = curves_find(curves, look->axis, look->x_low - per_column / 2, look->n_records);
    for (int x = 0; x < f->columns; x++) {
        int64_t end =
            curves_find(curves, look->axis, look->x_low + (x + 0.5) * per_column, look->n_records);
        struct span span = curves_span(curves, metric, begin, end);
        bool any = span.n_finite > 0;
        p->low[x] = any ? span.min : NAN;
        p->high[x] = any ? span.max : NAN;
        p->mean[x] = any && look->smoothing
                         ? curves_smoothed(curves, metric, look->smoothing, end - 1)
                         : NAN;
        if (span.n_bad) p->bad[x] = true;
        begin = end;
    }
    draw_line(p, f, p->low, p->high, s, !look->smoothing);
    if (look->smoothing) draw_line(p, f, p->mean, p->mean, s, true);
}

static uint32_t dots_glyph(enum plot_glyphs glyphs, uint8_t dots) {
    static const uint32_t quadrants[16] = {' ',    0x2598, 0x259D, 0x2580, 0x2596, 0x258C,
                                           0x259E, 0x259B, 0x2597, 0x259A, 0x2590, 0x259C,
                                           0x2584, 0x2599, 0x259F, 0x2588};
    static const uint32_t ascii[4] = {' ', '\'', '.', ':'};
    if (glyphs == PLOT_BRAILLE) return 0x2800u + dots;
    return glyphs == PLOT_BLOCK ? quadrants[dots & 15] : ascii[dots & 3];
}

// Whose curve a cell shows: where several run through one cell they take turns from column to
// column, because a cell has one colour. -1: none.
static int line_owner(const struct dots *d, int x) {
    int owners[PLOT_SERIES], n = 0;
    for (int s = 0; s < PLOT_SERIES; s++)
        if (d->line[s]) owners[n++] = s;
    return n ? owners[x % n] : -1;
}

// Curves over raw bands: a cell with curve dots shows only those, so the curve stays a line.
static void draw_dots(const struct plotter *p, struct canvas *c, const struct frame *f) {
    for (int y = 0; y < f->area.h; y++)
        for (int x = 0; x < f->area.w; x++) {
            const struct dots *d = &p->dots[y * f->area.w + x];
            int owner = line_owner(d, x);
            uint8_t dots = owner >= 0 ? d->line[owner] : d->band;
            const struct cell *under = canvas_at(c, f->area.x + x, f->area.y + y);
            if (!dots || !under) continue;
            int role = owner >= 0 ? ROLE_SERIES + owner : ROLE_RAW + d->band_owner;
            int attrs = c->colours ? 0 : owner == 0 ? ATTR_BOLD : owner > 0 ? 0 : ATTR_DIM;
            canvas_put(c, f->area.x + x, f->area.y + y, dots_glyph(f->glyphs, dots),
                       (struct style){(uint8_t)role, under->bg, (uint8_t)attrs});
        }
}

static void draw_bad_marks(const struct plotter *p, struct canvas *c, const struct frame *f) {
    int across = dots_per_cell[f->glyphs].across;
    for (int x = 0; x < f->columns; x++)
        if (p->bad[x])
            canvas_put(c, f->area.x + x / across, f->area.y, 0x2717,
                       style_on(ROLE_BAD, ROLE_DEFAULT, ATTR_BOLD));
}

// The wanted range: tinted with 256 colours, else its two edges dotted.
static void draw_band(struct canvas *c, const struct frame *f, const struct plot_panel *panel) {
    if (!(panel->band_high > panel->band_low)) return;
    double per_row = (double)f->area.h / f->rows;
    int top = (int)(dot_row(f, panel->band_high) * per_row),
        bottom = (int)(dot_row(f, panel->band_low) * per_row);
    for (int y = top; y <= bottom; y++) {
        bool edge = y == top || y == bottom;
        for (int x = 0; x < f->area.w; x++) {
            if (c->colours >= 256)
                canvas_put(c, f->area.x + x, f->area.y + y, edge ? 0x2504 : ' ',
                           style_on(ROLE_FAINT, ROLE_BAND, 0));
            else if (edge)
                canvas_put(c, f->area.x + x, f->area.y + y, 0x2504, style(ROLE_DIM));
        }
    }
}

static void draw_crosshair(struct canvas *c, const struct frame *f, const struct plot_look *look,
                           const struct curves *curves) {
    if (look->crosshair < 0 || look->crosshair >= look->n_records) return;
    double x = curves_x(curves, look->axis, look->crosshair);
    if (x < look->x_low || x > look->x_high) return;
    double range = look->x_high - look->x_low;
    int column = range > 0 ? (int)lrint((x - look->x_low) / range * (f->area.w - 1)) : 0;
    struct rect line = {f->area.x + column, f->area.y, 1, f->area.h};
    canvas_tint(c, line, ROLE_CROSSHAIR);
}

// ---- title

static float title_value(const struct plot_look *look, const struct curves *curves, int metric) {
    if (look->crosshair >= 0) return curves_value(curves, metric, look->crosshair);
    for (int64_t i = look->n_records - 1, k = 0; i >= 0 && k < 256;
         i--, k++) // the newest measured one
        if (curves_measured(curves, metric, i)) return curves_value(curves, metric, i);
    return NAN;
}

// How much the title tells, richest first; the first that fits is taken. Without labels a legend
// stands in the plot.
enum title_form { TITLE_LABELS, TITLE_VALUES, TITLE_BARE };

static void title_entry(const struct plot_panel *panel, const struct plot_look *look,
                        const struct curves *curves, int s, enum title_form form, char out[64]) {
    float v = title_value(look, curves, panel->series[s].metric);
    char value[32] = "-";
    if (!isnan(v) || curves_measured(curves, panel->series[s].metric, look->crosshair))
        plot_format(v, value);
    const char *label = panel->n_series > 1 && form == TITLE_LABELS ? panel->series[s].label : "";
    snprintf(out, 64, "%s%s%s ", label, *label ? " " : "", value);
}

// Returns whether the title names the series.
static bool draw_title(struct canvas *c, struct rect r, const struct plot_panel *panel,
                       const struct plot_look *look, const struct curves *curves, int64_t begin,
                       int64_t end) {
    struct style name = style_on(look->focused ? ROLE_FOCUS : ROLE_TITLE, ROLE_DEFAULT, ATTR_BOLD);
    canvas_fill(c, (struct rect){r.x, r.y, r.w, 1}, 0x2500,
                style(look->focused ? ROLE_FOCUS : ROLE_FAINT));
    if (look->focused) canvas_put(c, r.x, r.y, 0x25B8, name);
    char text[96];
    int64_t n_bad = 0;
    for (int s = 0; s < panel->n_series; s++)
        n_bad += curves_span(curves, panel->series[s].metric, begin, end).n_bad;
    int right = r.x + r.w;
    if (n_bad) {
        snprintf(text, sizeof text, " %lld NaN/Inf ", (long long)n_bad);
        right -= canvas_text_width(text);
        if (right > r.x)
            canvas_text(c, (struct rect){right, r.y, r.x + r.w - right, 1},
                        style_on(ROLE_ON_BADGE, ROLE_BAD_BG, 0), text);
    }
    snprintf(text, sizeof text, " %s ", panel->title);
    int x = r.x + 1 + canvas_text(c, (struct rect){r.x + 1, r.y, right - r.x - 1, 1}, name, text);
    enum title_form form = TITLE_LABELS;
    for (; form < TITLE_BARE; form++) {
        int width = 0;
        for (int s = 0; s < panel->n_series; s++) {
            title_entry(panel, look, curves, s, form, text);
            width += canvas_text_width(text) + 2;
        }
        if (x + width <= right) break;
    }
    for (int s = 0; s < panel->n_series && form < TITLE_BARE; s++) {
        title_entry(panel, look, curves, s, form, text);
        struct rect rest = {x + 2, r.y, right - x - 2, 1};
        enum role role = (enum role)(ROLE_SERIES + s);
        canvas_text(c, (struct rect){x, r.y, 2, 1}, style(role), "\u25CF ");
        float v = title_value(look, curves, panel->series[s].metric);
        if (panel->band_high > panel->band_low && !isnan(v))
            role = v >= panel->band_low && v <= panel->band_high ? ROLE_GOOD : ROLE_BAD;
        x += 2 + canvas_text(c, rest, style(role), text);
    }
    return form == TITLE_LABELS || panel->n_series == 1;
}

// The series' names in the emptiest corner of the plot.
static void draw_legend(struct canvas *c, const struct frame *f, const struct plot_panel *panel) {
    int w = 0, h = panel->n_series;
    for (int s = 0; s < h; s++) {
        int width = canvas_text_width(panel->series[s].label) + 3;
        if (width > w) w = width;
    }
    if (w > f->area.w * 2 / 3 || h * 2 > f->area.h + 1) return;
    int best = 0, best_ink = w * h + 1;
    for (int corner = 0; corner < 4; corner++) {
        int x = f->area.x + (corner & 1 ? 1 : f->area.w - w),
            y = f->area.y + (corner & 2 ? f->area.h - h : 0), ink = 0;
        for (int i = 0; i < w * h; i++) {
            const struct cell *cell = canvas_at(c, x + i % w, y + i / w);
            ink += cell && cell->glyph != ' ' && cell->glyph != 0x2504;
        }
        if (ink < best_ink) best = corner, best_ink = ink;
    }
    if (best_ink > w * h / 3) return;
    int x = f->area.x + (best & 1 ? 1 : f->area.w - w),
        y = f->area.y + (best & 2 ? f->area.h - h : 0);
    for (int s = 0; s < h; s++)
        canvas_printf(c, (struct rect){x, y + s, w, 1}, style((enum role)(ROLE_SERIES + s)),
                      "\u25CF %s ", panel->series[s].label);
}

void plot_draw(struct plotter *p, struct canvas *c, struct rect r, const struct plot_panel *panel,
               const struct plot_look *look, const struct curves *curves) {
    if (r.w < 1 || r.h < 1) return;
    double margin = 1e-9 * fabs(look->x_high);
    int64_t begin = curves_find(curves, look->axis, look->x_low, look->n_records);
    int64_t end = curves_find(curves, look->axis, look->x_high + margin + 1e-9, look->n_records);
    bool named = draw_title(c, r, panel, look, curves, begin, end);
    struct frame f = {.area = {r.x + GUTTER, r.y + 1, r.w - GUTTER - 1, r.h - 2},
                      .glyphs = look->glyphs};
    if (c->ascii) f.glyphs = PLOT_ASCII;
    if (f.area.w < 4 || f.area.h < 1) return;
    f.columns = f.area.w * dots_per_cell[f.glyphs].across;
    f.rows = f.area.h * dots_per_cell[f.glyphs].down;
    reserve(p, (size_t)f.area.w * (size_t)f.area.h, (size_t)f.columns);
    fit_y(&f, panel, look, curves, begin, end);
    draw_y_axis(c, &f, panel);
    draw_x_axis(c, &f, panel, look);
    if (begin == end) {
        canvas_text(c, (struct rect){f.area.x + 1, f.area.y + f.area.h / 2, f.area.w - 1, 1},
                    style(ROLE_DIM), "no data yet");
        return;
    }
    draw_band(c, &f, panel);
    for (int s = panel->n_series - 1; s >= 0; s--) draw_series(p, &f, panel, s, look, curves);
    draw_dots(p, c, &f);
    if (!named) draw_legend(c, &f, panel);
    draw_bad_marks(p, c, &f);
    draw_crosshair(c, &f, look, curves);
}
