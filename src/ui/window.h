// Window (SDL2): real frame, reconstruction and error; below them an open-loop rollout against what
// the emulator really did.
//
//     struct window *w = window_open(&opts, &e);         // no display: NULL and one line
//     while (w && window_turn(w, pictures, status)) ...;  // follows events, draws what changed
//     window_close(w);
//
// All calls from one thread, the UI's; one window at a time. A display that dies ends the window,
// not the program (window_x11.h); no other window opens then. The picture is drawn by window_draw.h
// into a plain RGB surface and only shown through SDL, so tests see the same pixels without a
// display.
#ifndef UI_WINDOW_H
#define UI_WINDOW_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/run/feed.h"

struct window_opts {
    struct control *control; // space and u act on it; NULL: view only
    int zoom;                // screen pixels per picture pixel, 1..8; 0: 3
};

struct window;
struct window *window_open(const struct window_opts *opts, struct error *e);
void window_close(struct window *w); // NULL is fine
// pictures may be NULL (nothing yet). False when the user closed the window or the display went
// away: close it then.
bool window_turn(struct window *w, const struct feed_pictures *pictures,
                 const struct feed_status *status);
// What it shows now, replaced atomically.
bool window_save_png(struct window *w, const char *path, struct error *e);

extern const char window_keys_help[]; // lines "key<TAB>what it does"

#endif
