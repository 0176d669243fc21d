// Keys: the ONE table of keys. The handler, the footer, the help screen, the `:` prompt and scripts
// all come from it.
#ifndef UI_KEYS_H
#define UI_KEYS_H

#include <stdbool.h>
#include <stddef.h>

// Characters are themselves (UTF-32); the other keys lie above them.
enum key_code {
    KEYCODE_NONE = 0, KEYCODE_CTRL_L = 12, KEYCODE_TAB = 9, KEYCODE_ENTER = 13, KEYCODE_ESCAPE = 27,
    KEYCODE_LEFT = 0x110000, KEYCODE_RIGHT, KEYCODE_UP, KEYCODE_DOWN, KEYCODE_HOME, KEYCODE_END,
    KEYCODE_PAGE_UP, KEYCODE_PAGE_DOWN, KEYCODE_BACKSPACE, KEYCODE_DELETE, KEYCODE_BACK_TAB,
    KEYCODE_SHIFT_LEFT, KEYCODE_SHIFT_RIGHT, KEYCODE_F1, KEYCODE_RESIZE
};

enum key_context { KEYS_PLOT = 1, KEYS_PICTURE = 2, KEYS_LOG = 4, KEYS_ROLLOUT = 8, KEYS_TIME = 16,
                   KEYS_ALL = 31 };

// X(action, key, second key or 0, how the key is written, short label for the footer, command word,
// contexts, help) Order is that of the help screen; the footer shows help, quit, pause, focus and
// maximise, then those of the focused pane, then the other general ones.
#define KEYS_TABLE(X) \
    X(HELP, '?', KEYCODE_F1, "?", "help", "help", KEYS_ALL, "this screen; any key leaves it") \
    X(QUIT, 'q', 0, "q", "quit", "quit", KEYS_ALL, \
      "checkpoint, stop, leave; twice: leave at once") \
    X(TRAIN_PAUSE, ' ', 0, "space", "pause", "pause", KEYS_ALL, "pause or resume the training") \
    X(SINGLE, 'u', 0, "u", "update", "update", KEYS_ALL, \
      "one single update while the training is paused") \
    X(CHECKPOINT, 'c', 0, "c", "checkpoint", "checkpoint", KEYS_ALL, "write a checkpoint now") \
    X(FREEZE, 'p', 0, "p", "freeze", "freeze", KEYS_ALL, \
      "freeze the screen while the training goes on") \
    X(WINDOW, 'o', 0, "o", "window", "window", KEYS_ALL, "open or close the picture window") \
    X(PAGE_RUN, '1', 0, "1", "run", "run", KEYS_ALL, "page: pictures, curves and log") \
    X(PAGE_ROLLOUT, '2', 0, "2", "rollout", "rollout", KEYS_ALL, \
      "page: open-loop rollout, truth against dream") \
    X(PAGE_CURVES, '3', 0, "3", "curves", "curves", KEYS_ALL, "page: all curves") \
    X(PAGE_LOG, '4', 'L', "4 L", "log", "log", KEYS_ALL, "page: log") \
    X(PAGE_TIME, '5', 'T', "5 T", "time", "time", KEYS_ALL, \
      "page: where an update's time goes") \
    X(FOCUS_NEXT, KEYCODE_TAB, 0, "Tab", "focus", "focus", KEYS_ALL, \
      "focus the next pane; Shift-Tab the one before") \
    X(FOCUS_BACK, KEYCODE_BACK_TAB, 0, "S-Tab", "", "focus-back", 0, "") \
    X(MAXIMISE, 'm', KEYCODE_ENTER, "m", "maximise", "maximise", KEYS_ALL, \
      "maximise the focused pane, and back") \
    X(LOG_Y, 'y', 0, "y", "log", "log-y", KEYS_PLOT, \
      "logarithmic or linear y axis of the focused plot") \
    X(SMOOTH, 's', 0, "s", "smooth", "smooth", KEYS_PLOT, \
      "smoothing 0, 0.6, 0.9, 0.99 over the raw values") \
    X(AXIS, 'x', 0, "x", "axis", "x-axis", KEYS_PLOT, "x axis: step, env step, elapsed, clock") \
    X(ZOOM_IN, 'z', 0, "z", "zoom", "zoom-in", KEYS_PLOT, \
      "zoom in around the crosshair or the newest step") \
    X(ZOOM_OUT, 'Z', 0, "Z", "out", "zoom-out", KEYS_PLOT, "zoom out, up to the whole run") \
    X(LEFT, KEYCODE_LEFT, 0, "\u2190 \u2192", "crosshair", "left", KEYS_PLOT | KEYS_TIME, \
      "crosshair: exact values of one step in all plots") \
    X(RIGHT, KEYCODE_RIGHT, 0, "\u2192", "", "right", 0, "") \
    X(PAN_LEFT, KEYCODE_SHIFT_LEFT, 'H', "H K", "pan", "pan-left", KEYS_PLOT, \
      "pan by a quarter (also Shift-arrows)") \
    X(PAN_RIGHT, KEYCODE_SHIFT_RIGHT, 'K', "K", "", "pan-right", 0, "") \
    X(HOME, KEYCODE_HOME, 0, "Home", "start", "home", KEYS_PLOT | KEYS_LOG | KEYS_TIME, "go to the start") \
    X(END, KEYCODE_END, 0, "End", "follow", "end", KEYS_PLOT | KEYS_LOG | KEYS_TIME, \
      "follow the newest; drops the crosshair") \
    X(NEXT_BAD, 'n', 0, "n N", "NaN", "next-bad", KEYS_PLOT, \
      "next, previous step with a NaN or infinite value") \
    X(PREVIOUS_BAD, 'N', 0, "N", "", "previous-bad", 0, "") \
    X(GLYPHS, 'b', 0, "b", "glyphs", "glyphs", KEYS_PLOT, \
      "draw curves with braille, blocks or ASCII") \
    X(PICTURE, 'i', 0, "i", "picture", "picture", KEYS_PICTURE, \
      "picture shown: real, reconstruction, error") \
    X(PALETTE, 'C', 0, "C", "palette", "palette", KEYS_PICTURE | KEYS_ROLLOUT, \
      "grey, green, high contrast, colour-blind safe") \
    X(FRAME_BACK, ',', 0, ", .", "frame", "frame-back", KEYS_ROLLOUT, \
      "one frame back or on; < > five frames") \
    X(FRAME_ON, '.', 0, ".", "", "frame-on", 0, "") \
    X(FRAME_BACK_5, '<', 0, "<", "", "frame-back-5", 0, "") \
    X(FRAME_ON_5, '>', 0, ">", "", "frame-on-5", 0, "") \
    X(PLAY, 'a', 0, "a", "play", "play", KEYS_ROLLOUT, "play the frames in a loop, or stop") \
    X(UP, KEYCODE_UP, 0, "\u2191 \u2193", "scroll", "up", KEYS_LOG, \
      "scroll the log; elsewhere: focus another pane") \
    X(DOWN, KEYCODE_DOWN, 0, "\u2193", "", "down", 0, "") \
    X(PAGE_UP, KEYCODE_PAGE_UP, 0, "PgUp", "", "page-up", 0, "") \
    X(PAGE_DOWN, KEYCODE_PAGE_DOWN, 0, "PgDn", "", "page-down", 0, "") \
    X(LEVEL, 'l', 0, "l", "level", "level", KEYS_LOG, \
      "all lines, warnings and errors, errors only") \
    X(FILTER, '/', 0, "/", "filter", "filter", KEYS_LOG, \
      "only lines with a text; a|b: with either") \
    X(PROMPT, ':', 0, ":", "command", "prompt", KEYS_ALL, \
      "commands: key words, save-screen FILE, go STEP") \
    X(REPAINT, KEYCODE_CTRL_L, 0, "Ctrl-L", "", "repaint", KEYS_ALL, \
      "paint the whole screen again") \
    X(ESCAPE, KEYCODE_ESCAPE, 0, "Esc", "", "escape", 0, "")

enum action {
    ACTION_NONE,
#define X(id, ...) ACTION_##id,
    KEYS_TABLE(X)
#undef X
    ACTION_COUNT
};

struct key_entry {
    int key, key2;
    const char *shown, *label, *command;       // label "": not in the footer
    int contexts;                              // 0: not in the help screen
    const char *help;
};
extern const struct key_entry keys_table[ACTION_COUNT];

enum action keys_action(int code);             // ACTION_NONE for a key without meaning
enum action keys_command(const char *word);    // by command word
// A key by the name scripts use: a single character, or space, tab, enter, escape, left, ctrl-l, f1
// ...; 0: unknown.
int keys_code(const char *name);
// The footer for a context, as an array of actions in the order to show; returns how many.
size_t keys_footer(enum key_context context, enum action out[ACTION_COUNT]);

#endif
