// The window's picture as a pure drawing: pictures and a view in, an RGB surface out.
#ifndef UI_WINDOW_DRAW_H
#define UI_WINDOW_DRAW_H

#include <SDL2/SDL.h>
#include <SDL2/SDL_ttf.h>

#include "engine/run/feed.h"
#include "ui/image.h"

enum { WINDOW_MAX_ZOOM = 8 };

struct window_view {
    int zoom;                      // 1..WINDOW_MAX_ZOOM
    int frame;                     // of the rollout, 0..FEED_ROLLOUT-1
    enum image_palette palette;
    bool paused;
    TTF_Font *font;                // NULL: no text
};

void window_draw_size(int zoom, int *width, int *height);
// surface: SDL_PIXELFORMAT_RGB24 of window_draw_size. pictures NULL: empty panels.
void window_draw(SDL_Surface *surface, const struct window_view *view, const struct feed_pictures *pictures,
                 const struct feed_status *status);

#endif
