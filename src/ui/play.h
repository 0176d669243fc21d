// Play: a cartridge in an SDL2 window, with pause, rewind, saved states, goals, pictures and
// recorded actions.
//
//     struct play *p = play_open(&(struct play_opts){.rom_path = "red.gb"}, &e);   // NULL: why
//     while (p && play_turn(p)) {}
//     play_close(p);
//
// Files go beside the ROM: red-001.state, red-001.png, red-001.actions, and the folder red-001.goal
// (a goal template of the picture, engine/env/goal_file.h, with the state of that moment). While
// actions are recorded the game is played in steps of 24 frames, the button down for the first 8,
// so that `rom run --actions` and an agent can do exactly the same; the state it starts from is
// saved under the same number. One thread, the UI's; one window at a time.
#ifndef UI_PLAY_H
#define UI_PLAY_H

#include <SDL2/SDL.h>

#include "base/error.h"
#include "emu/gb.h"

enum play_action {
    PLAY_BUTTON, // argument: enum gb_button
    PLAY_PAUSE,
    PLAY_FRAME,
    PLAY_FAST,   // while held
    PLAY_REWIND, // while held
    PLAY_SAVE,
    PLAY_GOAL,
    PLAY_RECORD,
    PLAY_PICTURE,
    PLAY_ZOOM, // argument: +1, -1
    PLAY_QUIT,
};

struct play_key { // the ONE table of keys: the handler and the help come from it
    SDL_Keycode key;
    enum play_action action;
    int argument;
    const char *written, *help; // NULL: a second key of the row above
};
extern const struct play_key play_keys[]; // ends with key 0
void play_print_keys(void);

struct play_opts {
    const char *rom_path, *state_path; // state NULL: as switched on
    int zoom;                          // 1..10; 0: 4
    bool unpaced;                      // a turn is exactly one frame, no waiting: tests
};

struct play;
struct play *play_open(const struct play_opts *opts, struct error *e);
bool play_turn(struct play *p);  // events, the frames that are due, drawing; false: closed
void play_close(struct play *p); // NULL is fine

// ---- what tests and the title look at
const struct gb *play_machine(const struct play *p);
const uint8_t *play_picture(const struct play *p); // 160x144 shades as shown
const char *play_message(const struct play *p);    // the last thing it said
bool play_is_paused(const struct play *p);
int play_zoom(const struct play *p);

#endif
