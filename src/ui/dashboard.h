// Dashboard: the terminal screens of a run, from opening the terminal to giving it back. Blocks its
// thread.
//
//     enum dashboard_end end = dashboard_run(&(struct dashboard_opts){.feed = feed}, &e);
//
// Reads the feed and sends commands through its control; never touches the engine. Redraws when
// something changed, 12 times a second at most, twice a second when nothing did, less often where
// the terminal is slow. Call it from the main thread.
#ifndef UI_DASHBOARD_H
#define UI_DASHBOARD_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/run/feed.h"

struct dashboard_opts {
    struct feed *feed;                 // the dashboard is its one reader while it runs
    bool no_color, ascii;
    bool keep_running;                 // at a hang-up the run is not told to stop
    const char *script;                // file of ui/script.h, NULL: none
    // Called every turn (about 12 times a second) with what is shown; pictures NULL before the
    // first. NULL: not called.
    void (*tick)(void *ctx, const struct feed_pictures *pictures, const struct feed_status *status);
    void *tick_ctx;
    // Key `o`. Returns NULL when it opened or closed the window, else one line why it cannot. NULL:
    // there is no window.
    const char *(*toggle_window)(void *ctx);   // ctx: tick_ctx
};

enum dashboard_end {
    DASHBOARD_ERROR,                   // never came up: *e says why
    DASHBOARD_QUIT,                    // the user quit; the run was told to stop and has ended
    DASHBOARD_FORCED,                  // the user quit twice: the run may still be going
    DASHBOARD_FINISHED,                // the run had ended by itself when the user quit
    // The terminal is gone; the run was told to stop unless keep_running; may still be going.
    DASHBOARD_HANGUP,
    DASHBOARD_SIGNAL                   // SIGTERM; told to stop and has ended
};

enum dashboard_end dashboard_run(const struct dashboard_opts *opts, struct error *e);

// Writes the canvas to path: text, or with colours when the name ends in ".ansi".
struct canvas;
bool dashboard_save_screen(const struct canvas *c, const char *path, struct error *e);

#endif
