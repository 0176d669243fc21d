// Window (SDL2): opens, follows events, shows the drawing at an integer zoom.
#include "ui/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/data/image.h"
#include "ui/window_draw.h"
#include "ui/window_x11.h"

enum { DEFAULT_ZOOM = 3, ROLLOUT_FRAME_NS = 250000000, CALM_NS = 190000000, TITLE_SIZE = 160 };
static const char font_path[] =
    "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf"; // Debian's fonts-dejavu-core

struct window {
    struct window_opts opts;
    SDL_Window *sdl;
    SDL_Renderer *renderer;
    SDL_Texture *texture;
    SDL_Surface *surface;
    struct window_view view;
    bool playing, open;
    bool dirty; // a person did something: draw at once
    bool stale; // the run went on: draw, but at most every CALM_NS
    int64_t frame_since_ns, drawn_ns, shown_opt_steps, shown_env_steps;
    enum feed_phase shown_phase;
    char title[TITLE_SIZE];
};

static int clamp_zoom(int zoom) {
    return zoom < 1 ? 1 : zoom > WINDOW_MAX_ZOOM ? WINDOW_MAX_ZOOM : zoom;
}

// Surface, texture and font for the zoom in w->view.
static bool resize_surface(struct window *w, struct error *e) {
    int width, height;
    window_draw_size(w->view.zoom, &width, &height);
    SDL_FreeSurface(w->surface);
    if (w->texture) SDL_DestroyTexture(w->texture);
    w->surface = SDL_CreateRGBSurfaceWithFormat(0, width, height, 24, SDL_PIXELFORMAT_RGB24);
    w->texture = SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_RGB24, SDL_TEXTUREACCESS_STREAMING,
                                   width, height);
    w->dirty = true;
    if (w->view.font) TTF_SetFontSize(w->view.font, window_draw_points(w->view.zoom));
    if (!w->surface || !w->texture)
        return error_set(e, STATUS_FAILED, "no window: %s; the terminal shows the pictures",
                         SDL_GetError());
    SDL_FillRect(w->surface, NULL, 0);
    return true;
}

static void set_zoom(struct window *w, int zoom, bool resize_window) {
    zoom = clamp_zoom(zoom);
    if (zoom == w->view.zoom) return;
    w->view.zoom = zoom;
    if (!resize_surface(w, NULL)) {
        w->open = false;
        return;
    }
    if (resize_window) SDL_SetWindowSize(w->sdl, w->surface->w, w->surface->h);
}

// The largest zoom whose drawing fits; the rest of the window stays empty.
static void fit_zoom(struct window *w, int width, int height) {
    int zoom = 1, need_w, need_h;
    while (zoom < WINDOW_MAX_ZOOM) {
        window_draw_size(zoom + 1, &need_w, &need_h);
        if (need_w > width || need_h > height) break;
        zoom++;
    }
    set_zoom(w, zoom, false);
    w->dirty = true;
}

// A driver is used if it was asked for by name, or if the environment names a display for it. Left
// alone, SDL would go on to one that nobody sees, or take over the text console under the
// dashboard; and Wayland's library, without a display, writes on the terminal.
static bool choose_driver(struct error *e) {
    const char *asked = getenv("SDL_VIDEODRIVER"), *x = getenv("DISPLAY");
    const char *wayland = getenv("WAYLAND_DISPLAY");
    bool has_x = x && *x, has_wayland = wayland && *wayland;
    SDL_ResetHint(SDL_HINT_VIDEODRIVER);
    if (asked && *asked) return true;
    if (!has_x && !has_wayland)
        return error_set(e, STATUS_FAILED,
                         "no window: no display (DISPLAY and WAYLAND_DISPLAY are not set); the "
                         "terminal shows the pictures");
    const char *drivers = !has_wayland ? "x11" : !has_x ? "wayland" : "x11,wayland";
    SDL_SetHintWithPriority(SDL_HINT_VIDEODRIVER, drivers, SDL_HINT_OVERRIDE);
    return true;
}

static bool start_video(struct error *e) {
    // Our own handlers restore the terminal and write a checkpoint.
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    // A run of days is neither a film nor a game, and a few still pictures need no OpenGL and its
    // threads.
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
    SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
    if (!choose_driver(e)) return false;
    if (SDL_Init(SDL_INIT_VIDEO) == 0) return true;
    const char *asked = getenv("SDL_VIDEODRIVER"), *x = getenv("DISPLAY");
    if ((!asked || !*asked || strcmp(asked, "x11") == 0) && x && *x)
        return error_set(
            e, STATUS_FAILED,
            "no window: no display answers at DISPLAY=%s (%s); the terminal shows the pictures", x,
            SDL_GetError());
    return error_set(e, STATUS_FAILED, "no window: %s; the terminal shows the pictures",
                     SDL_GetError());
}

static void open_font(struct window *w) {
    if (TTF_Init() == 0) w->view.font = TTF_OpenFont(font_path, window_draw_points(w->view.zoom));
    if (!w->view.font)
        log_write(LOG_WARN, "window: no labels: font %s is missing (package fonts-dejavu-core)",
                  font_path);
}

static bool open_sdl(struct window *w, struct error *e) {
    int width, height, smallest_width, smallest_height;
    window_draw_size(w->view.zoom, &width, &height);
    window_draw_size(1, &smallest_width, &smallest_height);
    w->sdl = SDL_CreateWindow("workbench", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, width,
                              height, SDL_WINDOW_RESIZABLE);
    w->renderer = w->sdl ? SDL_CreateRenderer(w->sdl, -1, SDL_RENDERER_SOFTWARE) : NULL;
    if (!w->renderer)
        return error_set(e, STATUS_FAILED, "no window: %s; the terminal shows the pictures",
                         SDL_GetError());
    SDL_SetWindowMinimumSize(w->sdl, smallest_width, smallest_height);
    window_x11_guard(w->sdl);
    return resize_surface(w, e);
}

struct window *window_open(const struct window_opts *opts, struct error *e) {
    if (window_x11_lost()) {
        error_set(e, STATUS_FAILED,
                  "no window: the display went away; the terminal shows the pictures");
        return NULL;
    }
    if (!start_video(e)) return NULL;
    struct window *w = mem_alloc(sizeof *w);
    w->opts = *opts;
    w->view.zoom = clamp_zoom(opts->zoom > 0 ? opts->zoom : DEFAULT_ZOOM);
    w->playing = w->open = true;
    w->shown_opt_steps = w->shown_env_steps = -1;
    w->frame_since_ns = clock_now_ns();
    if (!open_sdl(w, e)) {
        window_close(w);
        return NULL;
    }
    open_font(w);
    return w;
}

void window_close(struct window *w) {
    if (!w) return;
    if (w->view.font) TTF_CloseFont(w->view.font);
    if (TTF_WasInit()) TTF_Quit();
    SDL_FreeSurface(w->surface);
    // What belongs to a dead connection stays: closing it would end the program.
    if (!window_x11_lost()) {
        if (w->texture) SDL_DestroyTexture(w->texture);
        if (w->renderer) SDL_DestroyRenderer(w->renderer);
        if (w->sdl) SDL_DestroyWindow(w->sdl);
        SDL_Quit();
    }
    free(w);
}

bool window_save_png(struct window *w, const char *path, struct error *e) {
    struct image im;
    image_init(&im, w->surface->w, w->surface->h, 0);
    size_t row = (size_t)im.width * 3;
    for (int y = 0; y < im.height; y++)
        memcpy(im.pixels + (size_t)y * row,
               (const uint8_t *)w->surface->pixels + (size_t)y * (size_t)w->surface->pitch, row);
    const struct image_note notes[] = {{"Software", "workbench"}, {"Title", w->title}};
    bool fine = image_write_png(&im, path, notes, 2, e);
    image_deinit(&im);
    return fine;
}

// ---- keys: one table, its help is made from it

static void go_to_frame(struct window *w, int frame) {
    w->view.frame = frame < 0 ? 0 : frame >= FEED_ROLLOUT ? FEED_ROLLOUT - 1 : frame;
    w->playing = false;
}

static void key_step(struct window *w, char key) {
    go_to_frame(w, w->view.frame + (key == ',' ? -1 : 1));
}

static void key_end(struct window *w, char key) {
    go_to_frame(w, key == '<' ? 0 : FEED_ROLLOUT - 1);
}

static void key_replay(struct window *w, char key) {
    (void)key;
    w->view.frame = 0;
    w->playing = true;
    w->frame_since_ns = clock_now_ns();
}

static void key_pause(struct window *w, char key) {
    (void)key;
    struct control *c = w->opts.control;
    if (c) control_pause(c, !control_is_paused(c));
}

static void key_update(struct window *w, char key) {
    (void)key;
    struct control *c = w->opts.control;
    if (c && control_is_paused(c)) control_single_update(c);
}

static void key_zoom(struct window *w, char key) {
    set_zoom(w, w->view.zoom + (key == '-' ? -1 : 1), true);
}

static void key_palette(struct window *w, char key) {
    (void)key;
    w->view.palette = (w->view.palette + 1) % PALETTE_COUNT;
}

// Into the working folder, under a name that says what is on it.
static void key_save(struct window *w, char key) {
    (void)key;
    char path[80];
    long long update = w->shown_opt_steps < 0 ? 0 : (long long)w->shown_opt_steps;
    snprintf(path, sizeof path, "workbench-%09lld-frame-%02d.png", update, w->view.frame + 1);
    struct error e = {0};
    if (window_save_png(w, path, &e))
        log_write(LOG_INFO, "window: saved %s", path);
    else
        log_write(LOG_WARN, "window: %s", e.message);
}

static void key_close(struct window *w, char key) {
    (void)key;
    w->open = false;
}

// X(characters, their names, what they do, function)
#define WINDOW_KEYS(X)                                                                             \
    X(" ", "space", "pause or go on with training", key_pause)                                     \
    X(",.", ", .", "previous, next frame of the rollout", key_step)                                \
    X("<>", "< >", "first, last frame", key_end)                                                   \
    X("r", "r", "play the rollout from its start", key_replay)                                     \
    X("u", "u", "one update while paused", key_update)                                             \
    X("+=-", "+ -", "zoom", key_zoom)                                                              \
    X("p", "p", "palette", key_palette)                                                            \
    X("s", "s", "save the picture as PNG", key_save)                                               \
    X("q", "q", "close the window", key_close)

#define HELP_LINE(characters, names, what, function) names "\t" what "\n"
#define TABLE_ROW(characters, names, what, function) {characters, function},
const char window_keys_help[] = WINDOW_KEYS(HELP_LINE);
static const struct {
    const char *characters;
    void (*act)(struct window *w, char key);
} keys[] = {WINDOW_KEYS(TABLE_ROW)};

static void on_text(struct window *w, char key) {
    for (size_t i = 0; key && i < sizeof keys / sizeof *keys; i++)
        if (strchr(keys[i].characters, key)) {
            keys[i].act(w, key);
            w->dirty = true;
        }
}

// ---- events and turns

static void poll_events(struct window *w) {
    SDL_Event event;
    while (SDL_PollEvent(&event)) {
        switch (event.type) {
        case SDL_QUIT:
            w->open = false;
            break;
        case SDL_TEXTINPUT:
            on_text(w, event.text.text[0]);
            break;
        case SDL_KEYDOWN:
            if (event.key.keysym.sym == SDLK_ESCAPE) w->open = false;
            if (event.key.keysym.sym == SDLK_LEFT) on_text(w, ',');
            if (event.key.keysym.sym == SDLK_RIGHT) on_text(w, '.');
            break;
        case SDL_WINDOWEVENT:
            if (event.window.event == SDL_WINDOWEVENT_SIZE_CHANGED)
                fit_zoom(w, event.window.data1, event.window.data2);
            w->dirty = true;
            break;
        default:
            break;
        }
    }
}

static void advance_rollout(struct window *w, const struct feed_pictures *p) {
    int64_t now = clock_now_ns();
    if (!w->playing || !p || p->n_rollout <= 0 || now - w->frame_since_ns < ROLLOUT_FRAME_NS)
        return;
    w->frame_since_ns = now;
    w->view.frame = (w->view.frame + 1) % p->n_rollout;
    w->stale = true;
}

static void present(struct window *w) {
    int width, height;
    SDL_GetRendererOutputSize(w->renderer, &width, &height);
    SDL_UpdateTexture(w->texture, NULL, w->surface->pixels, w->surface->pitch);
    SDL_SetRenderDrawColor(w->renderer, 22, 24, 28, 255);
    SDL_RenderClear(w->renderer);
    SDL_Rect to = {(width - w->surface->w) / 2, (height - w->surface->h) / 2, w->surface->w,
                   w->surface->h};
    if (to.x < 0) to.x = 0;
    if (to.y < 0) to.y = 0;
    SDL_RenderCopy(w->renderer, w->texture, NULL, &to);
    SDL_RenderPresent(w->renderer);
}

// What changed since the last drawing.
static void follow(struct window *w, const struct feed_pictures *p,
                   const struct feed_status *status) {
    if (p && (p->opt_steps != w->shown_opt_steps || p->env_steps != w->shown_env_steps)) {
        w->shown_opt_steps = p->opt_steps;
        w->shown_env_steps = p->env_steps;
        w->stale = true;
    }
    bool paused = status->phase == PHASE_PAUSED;
    if (paused != w->view.paused)
        w->playing = !paused; // paused: the frames stand still until a key moves them
    if (status->phase != w->shown_phase) w->dirty = true;
    w->view.paused = paused;
    w->shown_phase = status->phase;
    advance_rollout(w, p);
}

static void set_title(struct window *w, const struct feed_status *status) {
    char title[TITLE_SIZE];
    snprintf(title, sizeof title, "workbench: %s, %s", status->task,
             feed_phase_names[status->phase]);
    if (strcmp(title, w->title) != 0) SDL_SetWindowTitle(w->sdl, strcpy(w->title, title));
}

static bool should_draw(const struct window *w) {
    // Nobody looks at a minimised window; when it comes back, an event asks for a drawing.
    if (SDL_GetWindowFlags(w->sdl) & (SDL_WINDOW_MINIMIZED | SDL_WINDOW_HIDDEN)) return false;
    return w->dirty || (w->stale && clock_now_ns() - w->drawn_ns >= CALM_NS);
}

static bool display_is_gone(void) {
    if (window_x11_lost())
        log_write(LOG_WARN, "window: the display went away; the terminal shows the pictures");
    return window_x11_lost();
}

bool window_turn(struct window *w, const struct feed_pictures *p,
                 const struct feed_status *status) {
    poll_events(w);
    if (!w->open || display_is_gone()) return false;
    follow(w, p, status);
    if (!should_draw(w)) return true;
    w->dirty = w->stale = false;
    w->drawn_ns = clock_now_ns();
    window_draw(w->surface, &w->view, p, status);
    set_title(w, status);
    present(w);
    return !display_is_gone();
}
