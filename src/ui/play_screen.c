// The window of rom play, through SDL2.
#include "ui/play_screen.h"

#include <SDL2/SDL.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "emu/gb_types.h"
#include "ui/window_x11.h"

enum { PIXELS = GB_LCD_WIDTH * GB_LCD_HEIGHT, DEFAULT_ZOOM = 4, TITLE_SIZE = 256 };

struct play_screen {
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *texture;
    int zoom;
    uint8_t rgb[PIXELS * 3];
    char title[TITLE_SIZE];
};

// As for the pictures' window (window.c): a driver nobody sees is used only when asked for by name.
static bool start_video(struct error *e) {
    const char *asked = getenv("SDL_VIDEODRIVER"), *x = getenv("DISPLAY"),
               *wayland = getenv("WAYLAND_DISPLAY");
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
    SDL_ResetHint(SDL_HINT_VIDEODRIVER);
    if (!asked || !*asked) {
        if ((!x || !*x) && (!wayland || !*wayland))
            return error_set(e, STATUS_FAILED,
                             "rom play: no display (DISPLAY and WAYLAND_DISPLAY are not set); rom "
                             "run needs none");
        SDL_SetHintWithPriority(SDL_HINT_VIDEODRIVER, "x11,wayland", SDL_HINT_OVERRIDE);
    }
    if (SDL_Init(SDL_INIT_VIDEO) == 0) return true;
    return error_set(e, STATUS_FAILED, "rom play: no window: %s; rom run needs none",
                     SDL_GetError());
}

static bool open_window(struct play_screen *s, struct error *e) {
    s->window =
        SDL_CreateWindow("workbench", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED,
                         GB_LCD_WIDTH * s->zoom, GB_LCD_HEIGHT * s->zoom, SDL_WINDOW_RESIZABLE);
    s->renderer = s->window ? SDL_CreateRenderer(s->window, -1, SDL_RENDERER_SOFTWARE) : NULL;
    s->texture = s->renderer
                     ? SDL_CreateTexture(s->renderer, SDL_PIXELFORMAT_RGB24,
                                         SDL_TEXTUREACCESS_STREAMING, GB_LCD_WIDTH, GB_LCD_HEIGHT)
                     : NULL;
    if (!s->texture)
        return error_set(e, STATUS_FAILED, "rom play: no window: %s; rom run needs none",
                         SDL_GetError());
    SDL_RenderSetLogicalSize(s->renderer, GB_LCD_WIDTH, GB_LCD_HEIGHT);
    SDL_RenderSetIntegerScale(s->renderer, SDL_TRUE);
    SDL_SetWindowMinimumSize(s->window, GB_LCD_WIDTH, GB_LCD_HEIGHT);
    window_x11_guard(s->window);
    return true;
}

struct play_screen *play_screen_open(int zoom, struct error *e) {
    if (!start_video(e)) return NULL;
    struct play_screen *s = mem_alloc(sizeof *s);
    s->zoom = zoom > 0 ? (zoom < PLAY_MAX_ZOOM ? zoom : PLAY_MAX_ZOOM) : DEFAULT_ZOOM;
    if (open_window(s, e)) return s;
    play_screen_close(s);
    return NULL;
}

void play_screen_close(struct play_screen *s) {
    if (!s) return;
    if (!window_x11_lost()) { // else they belong to a dead connection
        if (s->texture) SDL_DestroyTexture(s->texture);
        if (s->renderer) SDL_DestroyRenderer(s->renderer);
        if (s->window) SDL_DestroyWindow(s->window);
        SDL_Quit();
    }
    free(s);
}

int play_screen_zoom(const struct play_screen *s) { return s->zoom; }

void play_screen_set_zoom(struct play_screen *s, int zoom) {
    s->zoom = zoom < 1 ? 1 : zoom > PLAY_MAX_ZOOM ? PLAY_MAX_ZOOM : zoom;
    SDL_SetWindowSize(s->window, GB_LCD_WIDTH * s->zoom, GB_LCD_HEIGHT * s->zoom);
}

bool play_screen_show(struct play_screen *s, const uint8_t *shades, const char *title) {
    if (window_x11_lost()) return false;
    if (strcmp(title, s->title) != 0) {
        SDL_snprintf(s->title, sizeof s->title, "%s", title);
        SDL_SetWindowTitle(s->window, s->title);
    }
    for (int i = 0; i < PIXELS; i++) memset(s->rgb + 3 * i, 255 - 85 * shades[i], 3);
    SDL_UpdateTexture(s->texture, NULL, s->rgb, GB_LCD_WIDTH * 3);
    SDL_SetRenderDrawColor(s->renderer, 22, 24, 28, 255);
    SDL_RenderClear(s->renderer);
    SDL_RenderCopy(s->renderer, s->texture, NULL, NULL);
    SDL_RenderPresent(s->renderer);
    return !window_x11_lost();
}
