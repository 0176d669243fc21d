// Rollout page: one frame of the open-loop rollout large, the error of every frame, and the strips
// of truth and dream.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ui/view.h"

static void difference(const uint8_t *a, const uint8_t *b, uint8_t *out) {
    for (int i = 0; i < FEED_PIXELS; i++) out[i] = (uint8_t)abs(a[i] - b[i]);
}

static void draw_large(const struct view *v, struct canvas *c, const struct layout *l) {
    const struct feed_pictures *p = v->pictures;
    bool seen = v->frame < FEED_CONTEXT;
    char caption[3][64];
    snprintf(caption[0], sizeof caption[0], "truth");
    snprintf(caption[1], sizeof caption[1], "dream");
    snprintf(caption[2], sizeof caption[2], "error");
    uint8_t error[FEED_PIXELS];
    difference(p->truth[v->frame], p->dream[v->frame], error);
    const uint8_t *pixels[3] = {p->truth[v->frame], p->dream[v->frame], error};
    for (int i = 0; i < l->n_pictures; i++) {
        int which = l->n_pictures == 1 ? v->picture : i;
        struct rect r = l->pictures[i];
        int x = r.x + canvas_printf(c, (struct rect){r.x, r.y, r.w, 1},
                                    style_on(ROLE_TITLE, ROLE_DEFAULT, ATTR_BOLD), " %s ",
                                    caption[which]);
        struct rect rest = {x, r.y, r.x + r.w - x, 1};
        if (which == 0)
            canvas_printf(c, rest, style(ROLE_DIM), "frame %d/%d %s", v->frame + 1, p->n_rollout,
                          p->action[v->frame]);
        if (which == 1)
            canvas_printf(c, rest, style(seen ? ROLE_GOOD : ROLE_WARN),
                          seen ? "posterior, context %d/%d" : "imagined %d/%d",
                          seen ? v->frame + 1 : v->frame + 1 - FEED_CONTEXT,
                          seen ? FEED_CONTEXT : FEED_IMAGINED);
        if (which == 2) {
            x += canvas_printf(c, rest, style(ROLE_VALUE), "%.3f shades ",
                               (double)p->dream_error_shades[v->frame]);
            if (r.x + r.w - x >= 15) picture_legend(c, r.x + r.w - 14, r.y, 14, v->palette);
        }
        picture_draw(c, (struct rect){r.x, r.y + 1, r.w, r.h - 1}, pixels[which],
                     which == 2 ? PICTURE_ERROR : PICTURE_SHADES, v->palette);
    }
}

// A bar in eighths of a row where UTF-8 is there, else in whole rows.
static void draw_bar(struct canvas *c, struct rect r, double share, enum role role) {
    int eighths = (int)lrint(share * r.h * 8);
    if (eighths == 0 && share > 0) eighths = 1;
    for (int row = 0; row < r.h; row++) {
        int level = eighths - 8 * (r.h - 1 - row);
        if (level <= 0) continue;
        uint32_t glyph = level >= 8 ? 0x2588 : 0x2580u + (uint32_t)level;
        for (int x = 0; x < r.w; x++) canvas_put(c, r.x + x, r.y + row, glyph, style(role));
    }
}

static void draw_errors(const struct view *v, struct canvas *c, struct rect r) {
    const struct feed_pictures *p = v->pictures;
    float worst = 0;
    for (int i = 0; i < p->n_rollout; i++) worst = fmaxf(worst, p->dream_error_shades[i]);
    if (r.h < 1) return;
    int each = (r.w - 8) / p->n_rollout, bars = r.h - 2;
    if (r.h < 3 || each < 1) {
        int at = r.x + canvas_printf(c, (struct rect){r.x, r.y, r.w, 1}, style(ROLE_LABEL),
                                     " frame %d/%d error %.3f shades ", v->frame + 1, p->n_rollout,
                                     (double)p->dream_error_shades[v->frame]);
        if (c->ascii || at + p->n_rollout > r.x + r.w) return;
        for (int i = 0; i < p->n_rollout; i++) { // a row of small bars instead
            int level = worst > 0 ? (int)lrint(p->dream_error_shades[i] / worst * 7) : 0;
            canvas_put(c, at + i, r.y, 0x2581u + (uint32_t)level,
                       style(i == v->frame      ? ROLE_FOCUS
                             : i < FEED_CONTEXT ? ROLE_GOOD
                                                : ROLE_WARN));
        }
        canvas_printf(c, (struct rect){at + p->n_rollout, r.y, r.x + r.w - at - p->n_rollout, 1},
                      style(ROLE_LABEL), " worst %.3f", (double)worst);
        return;
    }
    canvas_fill(c, (struct rect){r.x, r.y, r.w, 1}, 0x2500, style(ROLE_FAINT));
    int x = r.x + 1 +
            canvas_text(c, (struct rect){r.x + 1, r.y, r.w - 1, 1},
                        style_on(ROLE_TITLE, ROLE_DEFAULT, ATTR_BOLD), " error per frame, shades ");
    x += canvas_text(c, (struct rect){x, r.y, r.x + r.w - x, 1}, style(ROLE_GOOD),
                     "\u25CF context ");
    canvas_text(c, (struct rect){x, r.y, r.x + r.w - x, 1}, style(ROLE_WARN), "\u25CF imagined ");
    char top[32];
    plot_format(worst, top);
    canvas_text_right(c, (struct rect){r.x, r.y + 1, 7, 1}, style(ROLE_LABEL), top);
    if (bars > 1)
        canvas_text_right(c, (struct rect){r.x, r.y + bars, 7, 1}, style(ROLE_LABEL), "0");
    for (int y = 0; y < bars; y++) canvas_put(c, r.x + 7, r.y + 1 + y, 0x2502, style(ROLE_FAINT));
    for (int i = 0; i < p->n_rollout; i++) {
        int bx = r.x + 8 + (r.w - 8) * i / p->n_rollout,
            next = r.x + 8 + (r.w - 8) * (i + 1) / p->n_rollout;
        int bw = each > 2 ? next - bx - 1 : each;
        bool selected = i == v->frame;
        draw_bar(c, (struct rect){bx, r.y + 1, bw, bars},
                 worst > 0 ? p->dream_error_shades[i] / worst : 0,
                 selected           ? ROLE_FOCUS
                 : i < FEED_CONTEXT ? ROLE_GOOD
                                    : ROLE_WARN);
        if (each >= 3 || i % 5 == 0 || selected) {
            char n[16];
            snprintf(n, sizeof n, "%d", i + 1);
            canvas_text(
                c, (struct rect){bx, r.y + r.h - 1, each >= 3 ? each : 2, 1},
                selected ? style_on(ROLE_FOCUS, ROLE_DEFAULT, ATTR_BOLD) : style(ROLE_LABEL), n);
        }
    }
}

static void draw_strips(const struct view *v, struct canvas *c, const struct layout *l) {
    const struct feed_pictures *p = v->pictures;
    int n = l->n_thumbs;
    // All frames where they fit; else evenly spread ones, the selected frame taking the place of
    // its neighbour.
    int nearest = n > 1 ? (int)lrint((double)v->frame * (n - 1) / (p->n_rollout - 1)) : 0;
    for (int i = 0; i < n; i++) {
        int frame = n > 1 ? (int)lrint((double)i * (p->n_rollout - 1) / (n - 1)) : v->frame;
        if (i == nearest) frame = v->frame;
        picture_draw(c, l->truth[i], p->truth[frame], PICTURE_SHADES, v->palette);
        picture_draw(c, l->dream[i], p->dream[frame], PICTURE_SHADES, v->palette);
        struct style tag = style_on(ROLE_ON_BADGE,
                                    frame == v->frame      ? ROLE_GAUGE
                                    : frame < FEED_CONTEXT ? ROLE_GOOD_BG
                                                           : ROLE_WARN_BG,
                                    0);
        char text[32];
        snprintf(text, sizeof text, "%s%d%s%s", i == 0 ? "truth " : "", frame + 1,
                 p->action[frame][0] ? " " : "", p->action[frame]);
        canvas_text(c, (struct rect){l->truth[i].x, l->truth[i].y, l->truth[i].w, 1}, tag, text);
        snprintf(text, sizeof text, "%s%d", i == 0 ? "dream " : "", frame + 1);
        canvas_text(c, (struct rect){l->dream[i].x, l->dream[i].y, l->dream[i].w, 1}, tag, text);
    }
}

void view_draw_rollout(const struct view *v, struct canvas *c, const struct layout *l) {
    if (!v->pictures || v->pictures->n_rollout <= 0) {
        struct rect b = l->body;
        canvas_paragraph(
            c, (struct rect){b.x + 2, b.y + 1, b.w - 4, b.h - 1}, style(ROLE_DIM),
            v->pictures && v->pictures->shows_goal
                ? "nothing is imagined here: this algorithm has no world model; page 1 "
                  "has the screen beside the goal"
                : "no rollout yet: the world model imagines one from five context "
                  "frames once the training has begun");
        return;
    }
    draw_large(v, c, l);
    draw_errors(v, c, l->errors);
    draw_strips(v, c, l);
}
