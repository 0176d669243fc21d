// The window's picture as a pure drawing: pictures and a view in, an RGB surface out.
#include "ui/window_draw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 16, LABEL = 22, N_PANELS = 3, BAR = 40 };

static const SDL_Color ink = {225, 228, 232, 255}, dim = {140, 146, 155, 255}, accent = {255, 196, 84, 255};
static const SDL_Color background = {22, 24, 28, 255}, well = {38, 41, 47, 255};

// Rows from top to bottom: heading, panels, heading, panels, heading, strip (truth over dream), error bars, foot.
struct geometry {
    int panel_w, panel_h, width, height, row1, row2, strip, bars, foot, thumb_w, thumb_h;
};

static struct geometry geometry(int zoom) {
    struct geometry g;
    g.panel_w = FEED_WIDTH * zoom;
    g.panel_h = FEED_HEIGHT * zoom;
    g.width = N_PANELS * g.panel_w + (N_PANELS + 1) * MARGIN;
    g.thumb_w = (g.width - 2 * MARGIN) / FEED_ROLLOUT;
    g.thumb_h = g.thumb_w * FEED_HEIGHT / FEED_WIDTH;
    g.row1 = LABEL + 4;
    g.row2 = g.row1 + g.panel_h + LABEL + 8;
    g.strip = g.row2 + g.panel_h + LABEL + 8;
    g.bars = g.strip + 2 * g.thumb_h + 4;
    g.foot = g.bars + BAR + 6;
    g.height = g.foot + LABEL;
    return g;
}

void window_draw_size(int zoom, int *width, int *height) {
    struct geometry g = geometry(zoom);
    *width = g.width;
    *height = g.height;
}

static void fill(SDL_Surface *s, int x, int y, int w, int h, SDL_Color c) {
    SDL_FillRect(s, &(SDL_Rect){x, y, w, h}, SDL_MapRGB(s->format, c.r, c.g, c.b));
}

static void text(SDL_Surface *s, TTF_Font *font, int x, int y, int max_w, SDL_Color c, const char *line) {
    if (!font || !*line || max_w <= 0) return;
    SDL_Surface *t = TTF_RenderUTF8_Blended(font, line, c);
    if (!t) return;
    SDL_Rect from = {0, 0, t->w < max_w ? t->w : max_w, t->h}, to = {x, y, 0, 0};
    SDL_BlitSurface(t, &from, s, &to);
    SDL_FreeSurface(t);
}

// A picture of levels scaled to w x h by nearest neighbour (exact at integer zooms).
static void picture(SDL_Surface *s, int x0, int y0, int w, int h, const uint8_t *levels, enum image_kind kind,
                    enum image_palette palette) {
    if (!levels) {
        fill(s, x0, y0, w, h, well);
        return;
    }
    uint8_t rgb[256][3];
    for (int level = 0; level < 256; level++) image_rgb(kind, palette, level, rgb[level]);
    for (int y = 0; y < h; y++) {
        uint8_t *row = (uint8_t *)s->pixels + (size_t)(y0 + y) * (size_t)s->pitch + (size_t)x0 * 3;
        const uint8_t *from = levels + y * FEED_HEIGHT / h * FEED_WIDTH;
        for (int x = 0; x < w; x++, row += 3) memcpy(row, rgb[from[x * FEED_WIDTH / w]], 3);
    }
}

static void difference(const uint8_t *a, const uint8_t *b, uint8_t *out) {
    for (int i = 0; i < FEED_PIXELS; i++) out[i] = (uint8_t)abs(a[i] - b[i]);
}

static void panel_row(SDL_Surface *s, const struct geometry *g, const struct window_view *v, int y,
                      const uint8_t *const levels[N_PANELS], const char *const labels[N_PANELS]) {
    for (int i = 0; i < N_PANELS; i++) {
        int x = MARGIN + i * (g->panel_w + MARGIN);
        text(s, v->font, x, y - LABEL, g->panel_w, i == N_PANELS - 1 ? accent : ink, labels[i]);
        picture(s, x, y, g->panel_w, g->panel_h, levels[i], i == N_PANELS - 1 ? IMAGE_ERROR : IMAGE_SHADES, v->palette);
    }
}

static void now_row(SDL_Surface *s, const struct geometry *g, const struct window_view *v,
                    const struct feed_pictures *p) {
    char error[64] = "error";
    if (p) snprintf(error, sizeof error, "error %.3f shades", (double)p->error_shades);
    const uint8_t *levels[N_PANELS] = {p ? p->real : NULL, p ? p->reconstruction : NULL, p ? p->error : NULL};
    panel_row(s, g, v, g->row1, levels, (const char *const[]){"real (emulator)", "reconstruction (posterior)", error});
}

static void rollout_row(SDL_Surface *s, const struct geometry *g, const struct window_view *v,
                        const struct feed_pictures *p) {
    static uint8_t heat[FEED_PIXELS];  // the UI thread only
    char truth[80] = "open loop: emulator", dream[80] = "open loop: model", error[64] = "error";
    const uint8_t *levels[N_PANELS] = {NULL, NULL, NULL};
    if (p && p->n_rollout > v->frame) {
        levels[0] = p->truth[v->frame];
        levels[1] = p->dream[v->frame];
        difference(levels[0], levels[1], heat);
        levels[2] = heat;
        snprintf(truth, sizeof truth, "emulator, frame %d of %d", v->frame + 1, p->n_rollout);
        if (v->frame < FEED_CONTEXT)
            snprintf(dream, sizeof dream, "model: context %d of %d", v->frame + 1, FEED_CONTEXT);
        else
            snprintf(dream, sizeof dream, "model: imagined, %+d", v->frame - FEED_CONTEXT + 1);
        snprintf(error, sizeof error, "error %.3f shades", (double)p->dream_error_shades[v->frame]);
    }
    panel_row(s, g, v, g->row2, levels, (const char *const[]){truth, dream, error});
}

static void strip(SDL_Surface *s, const struct geometry *g, const struct window_view *v,
                  const struct feed_pictures *p) {
    text(s, v->font, MARGIN, g->strip - LABEL, g->width - 2 * MARGIN, ink,
         "rollout: emulator above, model below; 5 context frames, then imagined");
    int n = p ? p->n_rollout : 0;
    for (int i = 0; i < FEED_ROLLOUT; i++) {
        int x = MARGIN + i * g->thumb_w;
        picture(s, x, g->strip, g->thumb_w - 1, g->thumb_h - 1, i < n ? p->truth[i] : NULL, IMAGE_SHADES, v->palette);
        picture(s, x, g->strip + g->thumb_h, g->thumb_w - 1, g->thumb_h - 1, i < n ? p->dream[i] : NULL, IMAGE_SHADES,
                v->palette);
        float error = i < n ? p->dream_error_shades[i] : 0;
        int h = (int)(error * BAR + 0.5f);  // a full bar is one shade
        h = h < 0 ? 0 : h > BAR ? BAR : h;
        fill(s, x, g->bars, g->thumb_w - 1, BAR, well);
        fill(s, x, g->bars + BAR - h, g->thumb_w - 1, h, i < FEED_CONTEXT ? dim : accent);
    }
    int x = MARGIN + v->frame * g->thumb_w;
    fill(s, x, g->strip - 3, g->thumb_w - 1, 2, accent);
    fill(s, MARGIN + FEED_CONTEXT * g->thumb_w - 1, g->strip - 4, 1, g->bars + BAR - g->strip + 4, ink);
}

void window_draw(SDL_Surface *s, const struct window_view *v, const struct feed_pictures *p,
                 const struct feed_status *status) {
    struct geometry g = geometry(v->zoom);
    fill(s, 0, 0, s->w, s->h, background);
    now_row(s, &g, v, p);
    rollout_row(s, &g, v, p);
    strip(s, &g, v, p);
    char foot[240];
    snprintf(foot, sizeof foot, "%s  update %lld  env step %lld   %s", feed_phase_names[status->phase],
             (long long)(p ? p->opt_steps : status->opt_steps), (long long)(p ? p->env_steps : status->env_steps),
              v->paused ? ", . step frame   u one update   space go on" : "space pause   , . step frame   + - zoom   p palette   s save   q close");
    text(s, v->font, MARGIN, g.foot, g.width - 2 * MARGIN, dim, foot);
}
