// Plot: one panel of curves on the canvas: title with the newest or pointed-at values, y axis,
// curves, x axis.
//
//     struct plotter *p = plotter_new();
//     plot_draw(p, &canvas, rect, &panel, &look, curves);
//
// A dot column shows the smallest and largest raw value of its records: no spike is ever lost. With
// smoothing the raw band is dim and the average bright. Columns with a NaN or infinite value carry
// a red mark on the top row, their number stands in the title. Values that a logarithmic axis
// cannot show (zero, negative) sit on its bottom. The plotter holds scratch memory that grows with
// the panel and is reused. One thread.
#ifndef UI_PLOT_H
#define UI_PLOT_H

#include "ui/canvas.h"
#include "ui/curves.h"

enum { PLOT_SERIES = 4 };
enum plot_glyphs { PLOT_BRAILLE, PLOT_BLOCK, PLOT_ASCII, PLOT_GLYPHS };
extern const char *const plot_glyph_names[PLOT_GLYPHS];

struct plot_series { enum metric metric; const char *label; };
struct plot_panel {
    const char *title, *unit;                  // unit "" where there is none
    int n_series;
    struct plot_series series[PLOT_SERIES];
    bool log_y;                                // at the start; the user may switch
    float band_low, band_high;                 // a stretch of y to tint; both 0: none
    bool from_zero;                            // the axis includes 0
};

struct plot_look {
    bool log_y, focused;
    enum plot_glyphs glyphs;
    enum curves_axis axis;
    double x_low, x_high;                      // the visible stretch, in units of the axis
    int64_t n_records;                         // draw these first records only (a frozen screen)
    int64_t crosshair;                         // record to point at; -1: none
    int smoothing;                             // index into curves_smoothing
    // AXIS_WALL: local time of day when the run began, seconds since midnight
    double clock_at_0_s;
};

struct plotter;
struct plotter *plotter_new(void);
void plotter_free(struct plotter *p);
void plot_draw(struct plotter *p, struct canvas *c, struct rect r, const struct plot_panel *panel,
               const struct plot_look *look, const struct curves *curves);

// At most 7 columns: 0.0123, 12.3k, 1.2e-7, NaN, -Inf.
void plot_format(double value, char out[32]);
// A round tick distance (1, 2 or 5 times a power of ten) with at most n ticks over `range`.
double plot_tick(double range, int n);
void plot_format_time(double seconds, char out[32]);             // 0:07, 12:31, 3:04:05, 2d 03:04

#endif
