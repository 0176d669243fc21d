// View: everything the dashboard shows, and its drawing as a pure function onto a canvas.
//
//     struct view v;
//     view_init(&v, feed);
// takes the newest status, records and pictures from the feed
//     view_refresh(&v, now_s);
//     view_draw(&v, &canvas);                  // no terminal, no feed, no clock
//     actions_key(&v, code);                   // ui/actions.h: what keys do to it
//
// The view copies the pictures it shows, so a frozen screen keeps them. One thread, the one that
// reads the feed.
#ifndef UI_VIEW_H
#define UI_VIEW_H

#include "base/log.h"
#include "engine/run/feed.h"
#include "ui/canvas.h"
#include "ui/curves.h"
#include "ui/picture.h"
#include "ui/keys.h"
#include "ui/layout.h"
#include "ui/plot.h"

// In the order of their keys (keys.h).
enum view_page { PAGE_RUN, PAGE_ROLLOUT, PAGE_CURVES, PAGE_LOG, PAGE_TIME, VIEW_PAGES };
enum view_focus { FOCUS_PICTURES, FOCUS_PLOTS, FOCUS_LOG };
enum view_prompt { PROMPT_NONE, PROMPT_COMMAND, PROMPT_FILTER };

// All plots there are, in the order in which they are shown. A run shows those whose metrics it
// has; nothing else decides.
enum { VIEW_PANELS = 24, VIEW_NEEDS = 2 };
struct view_panel {
    struct plot_panel plot;
    bool early;  // shown before the run has measured anything
    int n_needs; // shown only where one of these is measured too; 0: always
    enum metric needs[VIEW_NEEDS];
};
extern const struct view_panel view_panels[VIEW_PANELS];

struct view {
    // what is shown
    struct feed *feed;
    struct curves *curves;
    struct plotter *plotter;
    struct feed_status status;
    struct feed_pictures *pictures; // own copy; NULL before the first
    double pictures_s;              // when they were taken over
    int64_t n_records;              // shown; fewer than there are while frozen
    int64_t live_steps;             // gradient steps of the run, also while frozen
    int64_t n_log;                  // log lines there are
    double now_s;                   // monotonic
    double clock_at_0_s;            // local time of day when the run began

    // how it is shown
    enum view_page page;
    enum view_focus focus;
    int panel;                       // focused plot, index into view_panels
    int shown[VIEW_PANELS], n_shown; // plots of this run, indices into view_panels
    bool maximised;
    int picture; // where one fits: 0 real, 1 reconstruction, 2 error
    enum picture_palette palette;
    enum plot_glyphs glyphs;
    enum curves_axis axis;
    int smoothing;
    bool log_y[VIEW_PANELS];
    // x: whole run; else a stretch, glued to the newest step or not
    bool whole, follow;
    double x_low, x_high; // the stretch in use, in units of the axis
    int64_t crosshair;    // record, -1: none
    bool frozen, help;
    int help_scroll;
    int log_scroll;           // lines up from the newest
    enum log_level log_level; // show this and worse
    char log_filter[64];
    int frame; // of the rollout, 0 .. FEED_ROLLOUT - 1
    bool playing;
    double played_s; // when the frame last moved
    enum view_prompt prompt;
    char prompt_text[200];

    // notices
    char notice[200];
    bool notice_bad;
    double notice_until_s;

    // what the loop is asked to do; it clears them
    bool quit_asked, stopping, repaint, toggle_window, bell;
    char save_path[200]; // "" none
    // something visible changed since the loop last cleared it
    bool dirty;
};

void view_init(struct view *v, struct feed *feed);
void view_deinit(struct view *v);

// Takes over what is new in the feed (nothing but counters while frozen); sets dirty when something
// visible changed.
void view_refresh(struct view *v, double now_s);
// v: only the plotter's scratch and scroll limits change
void view_draw(struct view *v, struct canvas *c);
struct layout view_layout(const struct view *v, int width, int height);
void view_notice(struct view *v, bool bad, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool view_log_matches(const struct view *v, const struct log_line *line);
enum key_context view_context(const struct view *v);
int view_panel_position(const struct view *v); // of the focused plot among those shown

// parts in view_parts.c, view_rollout.c and view_time.c, each draws into its rectangle only
void view_draw_header(const struct view *v, struct canvas *c, struct rect r);
void view_draw_stats(const struct view *v, struct canvas *c, struct rect r);
void view_draw_footer(const struct view *v, struct canvas *c, struct rect r);
void view_draw_log(const struct view *v, struct canvas *c, struct rect r);
void view_draw_help(const struct view *v, struct canvas *c);
void view_draw_rollout(const struct view *v, struct canvas *c, const struct layout *l);
void view_draw_time(const struct view *v, struct canvas *c, struct rect r);
void view_format_count(int64_t n, char out[32]); // 1,234,567

#endif
