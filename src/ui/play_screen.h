// The window of rom play: 160x144 shades at an integer zoom, through SDL2.
#ifndef UI_PLAY_SCREEN_H
#define UI_PLAY_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { PLAY_MAX_ZOOM = 10 };

struct play_screen;
struct play_screen *play_screen_open(int zoom, struct error *e); // 0: 4; NULL: no display, one line
void play_screen_close(struct play_screen *s);                   // NULL is fine
int play_screen_zoom(const struct play_screen *s);
void play_screen_set_zoom(struct play_screen *s, int zoom); // clamped to 1..PLAY_MAX_ZOOM
// Draws what has changed. False when the display went away.
bool play_screen_show(struct play_screen *s, const uint8_t *shades, const char *title);

#endif
