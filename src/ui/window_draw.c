// The window's picture as a pure drawing: pictures and a view in, an RGB surface out.
#include "ui/window_draw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EMULATOR, MODEL, ERROR, GAP = 4, MAX_VARIANTS = 4 };

static const SDL_Color ink = {225, 228, 232, 255}, dim = {140, 146, 155, 255},
                       accent = {255, 196, 84, 255};
static const SDL_Color background = {22, 24, 28, 255}, well = {38, 41, 47, 255},
                       rule = {62, 67, 76, 255};

// ---- layout

int window_draw_points(int zoom) {
    static const int points[WINDOW_MAX_ZOOM + 1] = {9, 9, 11, 13, 14, 16, 18, 20, 22};
    return points[zoom < 0 ? 0 : zoom > WINDOW_MAX_ZOOM ? WINDOW_MAX_ZOOM : zoom];
}

static void lay_panels(int x, int y, int label_h, int step, int w, int h, SDL_Rect *labels,
                       SDL_Rect *panels) {
    for (int i = 0; i < WINDOW_PANELS; i++) {
        labels[i] = (SDL_Rect){x + i * step, y, w, label_h};
        panels[i] = (SDL_Rect){x + i * step, y + label_h, w, h};
    }
}

// Thumbnails of one width; what is left over goes between the context and what was imagined.
static int lay_strip(struct window_layout *l, int x0, int y, int inner, int bar_h) {
    int step = (inner - GAP) / FEED_ROLLOUT, apart = inner - step * FEED_ROLLOUT;
    int w = step - 1, h = w * FEED_HEIGHT / FEED_WIDTH;
    for (int i = 0; i < FEED_ROLLOUT; i++) {
        int x = x0 + i * step + (i < FEED_CONTEXT ? 0 : apart + 1);
        l->truth[i] = (SDL_Rect){x, y, w, h};
        l->dream[i] = (SDL_Rect){x, y + h + 1, w, h};
        l->bars[i] = (SDL_Rect){x, y + 2 * h + 1 + GAP, w, bar_h};
    }
    return y + 2 * h + 1 + GAP + bar_h;
}

void window_draw_layout(int zoom, struct window_layout *l) {
    int w = FEED_WIDTH * zoom, h = FEED_HEIGHT * zoom, label = window_draw_points(zoom) + 9;
    int margin = zoom < 3 ? 4 + 4 * zoom : 16,
        inner = WINDOW_PANELS * w + (WINDOW_PANELS - 1) * margin;
    memset(l, 0, sizeof *l);
    l->width = inner + 2 * margin;
    int y = margin / 2;
    l->head = (SDL_Rect){margin, y, inner, label};
    y += label;
    lay_panels(margin, y, label, w + margin, w, h, l->now_labels, l->now);
    y += label + h + GAP;
    lay_panels(margin, y, label, w + margin, w, h, l->rollout_labels, l->rollout);
    y += label + h + GAP;
    l->strip_label = (SDL_Rect){margin, y, inner, label};
    // One more pixel on both sides: the chosen frame's outline.
    y = 1 + lay_strip(l, margin, y + label + 1, inner, 16 + 6 * zoom);
    for (int i = 0; i < 2; i++) {
        const SDL_Rect *from = &l->bars[i ? FEED_CONTEXT : 0],
                       *to = &l->bars[i ? FEED_ROLLOUT - 1 : FEED_CONTEXT - 1];
        l->captions[i] = (SDL_Rect){from->x, y, to->x + to->w - from->x, label};
    }
    y += label;
    l->keys = (SDL_Rect){margin, y, inner, label};
    l->height = y + label + margin / 2;
}

void window_draw_size(int zoom, int *width, int *height) {
    struct window_layout l;
    window_draw_layout(zoom, &l);
    *width = l.width;
    *height = l.height;
}

// ---- strokes

static void fill(SDL_Surface *s, SDL_Rect r, SDL_Color c) {
    SDL_FillRect(s, &r, SDL_MapRGB(s->format, c.r, c.g, c.b));
}

static void frame_around(SDL_Surface *s, SDL_Rect r, SDL_Color c) {
    fill(s, (SDL_Rect){r.x - 1, r.y - 1, r.w + 2, 1}, c);
    fill(s, (SDL_Rect){r.x - 1, r.y + r.h, r.w + 2, 1}, c);
    fill(s, (SDL_Rect){r.x - 1, r.y, 1, r.h}, c);
    fill(s, (SDL_Rect){r.x + r.w, r.y, 1, r.h}, c);
}

static int text_width(TTF_Font *font, const char *line) {
    int w = 0, h;
    return font && TTF_SizeUTF8(font, line, &w, &h) == 0 ? w : 0;
}

enum align { LEFT, CENTRE };

// One line inside r, never outside it.
static void text(SDL_Surface *s, TTF_Font *font, SDL_Rect r, enum align align, SDL_Color c,
                 const char *line) {
    if (!font || !*line || r.w <= 0) return;
    SDL_Surface *t = TTF_RenderUTF8_Blended(font, line, c);
    if (!t) return;
    int spare = r.w > t->w ? r.w - t->w : 0;
    SDL_Rect from = {0, 0, t->w < r.w ? t->w : r.w, t->h < r.h ? t->h : r.h};
    SDL_Rect to = {r.x + (align == CENTRE ? spare / 2 : 0), r.y + (r.h - from.h) / 2, 0, 0};
    SDL_BlitSurface(t, &from, s, &to);
    SDL_FreeSurface(t);
}

// The first variant that fits, so that no label is cut in the middle of a word. Ends with NULL.
static const char *fitting(TTF_Font *font, int w, const char *const *variants) {
    int i = 0;
    while (variants[i + 1] && text_width(font, variants[i]) >= w) i++;
    return variants[i];
}

// As many whole pieces as fit, three spaces apart; the first in its own colour.
static void text_pieces(SDL_Surface *s, TTF_Font *font, SDL_Rect r, SDL_Color first, SDL_Color rest,
                        const char *const *pieces) {
    int gap = text_width(font, "   "), end = r.x + r.w;
    for (int i = 0; pieces[i]; i++) {
        int w = text_width(font, pieces[i]);
        if (!*pieces[i]) continue;
        if (i > 0 && r.x + w >= end) return;
        text(s, font, (SDL_Rect){r.x, r.y, end - r.x, r.h}, LEFT, i ? rest : first, pieces[i]);
        r.x += w + gap;
    }
}

// What a drawing needs everywhere: the view, and its palette's colour of every level.
struct brush {
    const struct window_view *view;
    uint8_t shades[256][3], heat[256][3];
};

static void brush_init(struct brush *b, const struct window_view *v) {
    b->view = v;
    for (int level = 0; level < 256; level++) {
        picture_rgb(PICTURE_SHADES, v->palette, level, b->shades[level]);
        picture_rgb(PICTURE_ERROR, v->palette, level, b->heat[level]);
    }
}

// Levels as colours into r; w x h levels, repeated by nearest neighbour (exact at integer zooms).
static void picture(SDL_Surface *s, SDL_Rect r, const uint8_t *levels, int w, int h,
                    const uint8_t (*rgb)[3]) {
    uint8_t *row = (uint8_t *)s->pixels + (size_t)r.y * (size_t)s->pitch + (size_t)r.x * 3;
    for (int y = 0, drawn = -1; y < r.h; y++, row += s->pitch) {
        int from_y = y * h / r.h;
        if (from_y == drawn) {
            memcpy(row, row - s->pitch, (size_t)r.w * 3);
            continue;
        }
        drawn = from_y;
        for (int x = 0; x < r.w; x++) memcpy(row + 3 * x, rgb[levels[from_y * w + x * w / r.w]], 3);
    }
}

static void thumbnail(SDL_Surface *s, SDL_Rect r, const uint8_t *levels, const uint8_t (*rgb)[3]) {
    uint8_t small[FEED_PIXELS * 4];
    if (r.w * r.h > (int)sizeof small) { // larger than the picture itself: nothing to average
        picture(s, r, levels, FEED_WIDTH, FEED_HEIGHT, rgb);
        return;
    }
    picture_scale(levels, r.w, r.h, small);
    picture(s, r, small, r.w, r.h, rgb);
}

// ---- parts

// Colours of the error, from none to three shades, at the right end of the error's label if there
// is room.
static void legend(SDL_Surface *s, const struct brush *b, SDL_Rect label, const char *line) {
    TTF_Font *font = b->view->font;
    int digit = text_width(font, "0"), w = 5 * label.h / 2, need = w + 2 * digit + 2 * GAP;
    if (!font || text_width(font, line) + 2 * digit + need > label.w) return;
    uint8_t levels[256];
    for (int i = 0; i < 256; i++) {
        double t = i / 255.0; // equal steps of colour: the inverse of the ramp's square root
        levels[i] = (uint8_t)lrint(t * t * 255);
    }
    int right = label.x + label.w - 1, h = label.h / 3;
    SDL_Rect ramp = {right - digit - GAP - w, label.y + (label.h - h) / 2, w, h};
    text(s, font, (SDL_Rect){right - digit, label.y, digit, label.h}, LEFT, dim, "3");
    text(s, font, (SDL_Rect){ramp.x - GAP - digit, label.y, digit, label.h}, LEFT, dim, "0");
    picture(s, ramp, levels, 256, 1, b->heat);
}

static void panel_row(SDL_Surface *s, const struct brush *b, const SDL_Rect *labels,
                      const SDL_Rect *panels, const uint8_t *const *levels,
                      const char *const variants[WINDOW_PANELS][MAX_VARIANTS],
                      const char *nothing) {
    TTF_Font *font = b->view->font;
    for (int i = 0; i < WINDOW_PANELS; i++) {
        const char *line = fitting(font, labels[i].w, variants[i]);
        text(s, font, labels[i], LEFT, i == ERROR ? accent : ink, line);
        if (i == ERROR) legend(s, b, labels[i], line);
        if (levels[i]) {
            picture(s, panels[i], levels[i], FEED_WIDTH, FEED_HEIGHT,
                    i == ERROR ? b->heat : b->shades);
        } else {
            fill(s, panels[i], well);
            text(s, font, panels[i], CENTRE, dim, nothing);
        }
    }
}

static void now_row(SDL_Surface *s, const struct window_layout *l, const struct brush *b,
                    const struct feed_pictures *p) {
    char error[64] = "error", number[32] = "error";
    const bool goal = p && p->shows_goal;
    if (p) {
        snprintf(error, sizeof error, "error %.3f shades", (double)p->error_shades);
        snprintf(number, sizeof number, "error %.3f", (double)p->error_shades);
    }
    const uint8_t *levels[WINDOW_PANELS] = {p ? p->real : NULL, p ? p->reconstruction : NULL,
                                            p ? p->error : NULL};
    const char *const variants[WINDOW_PANELS][MAX_VARIANTS] = {
        {"real, now", "real"},
        {goal ? "goal" : "reconstruction (posterior)", goal ? "goal" : "reconstruction",
         goal ? "goal" : "model"},
        {error, number, "error"}};
    panel_row(s, b, l->now_labels, l->now, levels, variants, "no picture yet");
}

static void rollout_row(SDL_Surface *s, const struct window_layout *l, const struct brush *b,
                        const struct feed_pictures *p) {
    const struct window_view *v = b->view;
    uint8_t heat[FEED_PIXELS];
    char truth[80] = "open loop: real", frame[40] = "open loop", dream[80] = "model",
         step[40] = "model";
    char error[64] = "error", number[32] = "error";
    const uint8_t *levels[WINDOW_PANELS] = {NULL, NULL, NULL};
    if (p && p->n_rollout > v->frame) {
        levels[EMULATOR] = p->truth[v->frame];
        levels[MODEL] = p->dream[v->frame];
        for (int i = 0; i < FEED_PIXELS; i++)
            heat[i] = (uint8_t)abs(levels[EMULATOR][i] - levels[MODEL][i]);
        levels[ERROR] = heat;
        const char *action = p->action[v->frame], *comma = *action ? ", " : "";
        snprintf(truth, sizeof truth, "open loop: frame %d of %d%s%s", v->frame + 1, p->n_rollout,
                 comma, action);
        snprintf(frame, sizeof frame, "frame %d of %d%s%s", v->frame + 1, p->n_rollout, comma,
                 action);
        if (v->frame < FEED_CONTEXT) {
            snprintf(dream, sizeof dream, "model: context %d of %d", v->frame + 1, FEED_CONTEXT);
            snprintf(step, sizeof step, "context %d", v->frame + 1);
        } else {
            int ahead = v->frame - FEED_CONTEXT + 1;
            snprintf(dream, sizeof dream, "model: imagined, step %d", ahead);
            snprintf(step, sizeof step, "imagined %d", ahead);
        }
        snprintf(error, sizeof error, "error %.3f shades", (double)p->dream_error_shades[v->frame]);
        snprintf(number, sizeof number, "error %.3f", (double)p->dream_error_shades[v->frame]);
    }
    const char *const variants[WINDOW_PANELS][MAX_VARIANTS] = {
        {truth, frame}, {dream, step}, {error, number, "error"}};
    panel_row(s, b, l->rollout_labels, l->rollout, levels, variants, "comes with training");
}

float window_draw_bar_scale(const float *error_shades, int n) {
    static const float scales[] = {0.05f, 0.1f, 0.25f, 0.5f, 1, 3};
    float largest = 0;
    for (int i = 0; i < n; i++)
        if (error_shades[i] > largest) largest = error_shades[i];
    size_t k = 0;
    while (k + 1 < sizeof scales / sizeof *scales && scales[k] < largest) k++;
    return scales[k];
}

static void bar(SDL_Surface *s, SDL_Rect r, float error, float scale, SDL_Color c) {
    fill(s, r, well);
    // !(>= 0): a model that went wrong may say NaN; its bar is full, like one beyond the scale.
    float share = !(error >= 0) || error > scale ? 1 : error / scale;
    int h = (int)lrintf(share * (float)r.h);
    fill(s, (SDL_Rect){r.x, r.y + r.h - h, r.w, h}, c);
}

static void strip(SDL_Surface *s, const struct window_layout *l, const struct brush *b,
                  const struct feed_pictures *p) {
    const struct window_view *v = b->view;
    int n = p ? p->n_rollout : 0;
    n = n < 0 ? 0 : n > FEED_ROLLOUT ? FEED_ROLLOUT : n;
    float scale = p ? window_draw_bar_scale(p->dream_error_shades, n) : 1;
    char line[160] = "rollout: real above, model below", middle[96] = "real above, model below";
    if (n > 0) {
        const char *unit = scale == 1 ? "shade" : "shades";
        snprintf(line, sizeof line,
                 "rollout: real above, model below, error at the bottom (full bar: %g %s)",
                 (double)scale, unit);
        snprintf(middle, sizeof middle, "real, model, error (full bar: %g %s)", (double)scale,
                 unit);
    }
    text(s, v->font, l->strip_label, LEFT, ink,
         fitting(v->font, l->strip_label.w,
                 (const char *const[]){line, middle, "real, model, error", NULL}));
    for (int i = 0; i < FEED_ROLLOUT; i++) {
        if (i >= n) {
            fill(s, l->truth[i], well);
            fill(s, l->dream[i], well);
            fill(s, l->bars[i], well);
            continue;
        }
        thumbnail(s, l->truth[i], p->truth[i], b->shades);
        thumbnail(s, l->dream[i], p->dream[i], b->shades);
        bar(s, l->bars[i], p->dream_error_shades[i], scale, i < FEED_CONTEXT ? dim : accent);
    }
    static const char *const captions[2] = {"context", "imagined"};
    for (int i = 0; i < 2; i++) {
        fill(s, (SDL_Rect){l->captions[i].x, l->captions[i].y + 2, l->captions[i].w, 1}, rule);
        text(s, v->font, l->captions[i], CENTRE, dim, captions[i]);
    }
    if (v->frame >= n) return;
    const SDL_Rect *top = &l->truth[v->frame], *bottom = &l->bars[v->frame];
    frame_around(s, (SDL_Rect){top->x, top->y, top->w, bottom->y + bottom->h - top->y}, ink);
}

void window_draw(SDL_Surface *s, const struct window_view *v, const struct feed_pictures *p,
                 const struct feed_status *status) {
    static const char *const running[] = {"space pause", ", . frame", "+ - zoom", "q close",
                                          "r replay",    "p palette", "s save",   NULL};
    static const char *const paused[] = {"space go on", "u one update", ", . frame",
                                         "+ - zoom",    "q close",      "r replay",
                                         "p palette",   "s save",       NULL};
    struct window_layout l;
    struct brush brush;
    char update[40], env_step[40];
    window_draw_layout(v->zoom, &l);
    brush_init(&brush, v);
    fill(s, (SDL_Rect){0, 0, s->w, s->h}, background);
    snprintf(update, sizeof update, "update %lld",
             (long long)(p ? p->opt_steps : status->opt_steps));
    snprintf(env_step, sizeof env_step, "env step %lld",
             (long long)(p ? p->env_steps : status->env_steps));
    text_pieces(s, v->font, l.head, v->paused ? accent : ink, dim,
                (const char *const[]){feed_phase_names[status->phase], update, env_step,
                                      status->task, status->preset, NULL});
    now_row(s, &l, &brush, p);
    rollout_row(s, &l, &brush, p);
    strip(s, &l, &brush, p);
    text_pieces(s, v->font, l.keys, dim, dim, v->paused ? paused : running);
}
