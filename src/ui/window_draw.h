// The window's picture as a pure drawing: pictures and a view in, an RGB surface out.
//
//     window_draw_size(zoom, &width, &height);      // of an SDL_PIXELFORMAT_RGB24 surface
//     window_draw(surface, &view, pictures, status);
//
// From top to bottom, at every zoom:
//
//     what runs, its phase, update and env step
//     [ real     ] [ reconstruction ] [ error ]         now
//     [ emulator ] [ model          ] [ error ]         frame view.frame of the open-loop rollout
//     emulator  | | | | |   | | | | | | | | | | | | | | |
//     model     | | | | |   | | | | | | | | | | | | | | |   5 of context, then imagined
//     error     _ _ _ _ _   . . . : : : : i i i i i | | |
//     keys
//
// Panels are exact multiples of 80x72, thumbnails are box averages. One thread at a time.
#ifndef UI_WINDOW_DRAW_H
#define UI_WINDOW_DRAW_H

#include <SDL2/SDL.h>
#include <SDL2/SDL_ttf.h>

#include "engine/run/feed.h"
#include "ui/picture.h"

enum { WINDOW_MAX_ZOOM = 8, WINDOW_PANELS = 3 };

struct window_view {
    int zoom;  // 1..WINDOW_MAX_ZOOM
    int frame; // of the rollout, 0..FEED_ROLLOUT-1
    enum picture_palette palette;
    bool paused;    // the keys named at the bottom are those of a paused run
    TTF_Font *font; // of window_draw_points(zoom); NULL: no text
};

// Where everything is at a zoom.
struct window_layout {
    int width, height;
    SDL_Rect head; // one line of text
    SDL_Rect now_labels[WINDOW_PANELS], now[WINDOW_PANELS];
    SDL_Rect rollout_labels[WINDOW_PANELS], rollout[WINDOW_PANELS];
    SDL_Rect strip_label;
    SDL_Rect truth[FEED_ROLLOUT], dream[FEED_ROLLOUT], bars[FEED_ROLLOUT];
    SDL_Rect captions[2]; // under the bars: context, imagined
    SDL_Rect keys;
};
void window_draw_layout(int zoom, struct window_layout *out);

void window_draw_size(int zoom, int *width, int *height);
int window_draw_points(int zoom); // size of the font that fits the labels
// Scale of the error bars: the smallest of a few round numbers (shades) that holds the largest.
float window_draw_bar_scale(const float *error_shades, int n);
// surface: SDL_PIXELFORMAT_RGB24 of window_draw_size. pictures NULL, or without a rollout: empty
// panels that say so.
void window_draw(SDL_Surface *surface, const struct window_view *view,
                 const struct feed_pictures *pictures, const struct feed_status *status);

#endif
