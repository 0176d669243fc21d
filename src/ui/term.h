// Term: the terminal. Opens it whatever TERM and locale say, shows canvases, gives keys, and always
// gives it back.
//
//     struct terminal *t = term_open(&(struct term_opts){0}, &e);
//     while (term_wait(t, 80)) {                       // false: hang-up
//         while ((code = term_key(t))) ...;
//         term_show(t, &canvas);
//     }
//     term_close(t);
//
// While it is open: unknown TERM falls back to xterm-256color, then vt100; a locale that is not
// installed to C.UTF-8, a locale without UTF-8 to ASCII glyphs; what libraries print on stdout and
// stderr goes to the log; SIGINT, SIGTERM and SIGHUP are counted instead of killing; Ctrl-Z stops
// and fg comes back; a crash (SEGV BUS FPE ILL ABRT), a failed CHECK and exit() restore the screen
// first. One terminal per process, one thread (the signal handlers may run on any).
#ifndef UI_TERM_H
#define UI_TERM_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "ui/canvas.h"

struct term_opts {
    bool no_color;                  // as NO_COLOR in the environment
    bool ascii;
    FILE *in, *out;                 // for tests: instead of the terminal; nothing is captured then
};

struct term_signals { int interrupts, terminations, hangups; };   // counted since term_open

struct terminal;
struct terminal *term_open(const struct term_opts *opts, struct error *e);   // NULL: *e says why
void term_close(struct terminal *t);                       // restores everything; NULL is fine
void term_size(const struct terminal *t, int *width, int *height);
void term_force_size(struct terminal *t, int width, int height);
bool term_ascii(const struct terminal *t);
int term_colours(const struct terminal *t);                // 256, 16, 8 or 0

// writes what changed; blocks while the terminal is blocked
void term_show(struct terminal *t, const struct canvas *c);
void term_repaint(struct terminal *t);                     // the next show writes everything
// Waits for a key, a signal or captured output, at most ms. false: the terminal is gone.
bool term_wait(struct terminal *t, int ms);
// enum key_code or a character; KEYCODE_NONE: none waiting
int term_key(struct terminal *t);
struct term_signals term_signals(const struct terminal *t);

bool term_locale(void);                                // picks LC_CTYPE as above; true: UTF-8

#endif
