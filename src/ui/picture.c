// Picture: scaling, half blocks, shared palettes.
#include "ui/picture.h"

#include <math.h>

const char *const picture_palette_names[PALETTE_COUNT] = {"grey", "green", "high contrast",
                                                          "colour-blind safe"};

// Position of a level on its ramp, 0..1.
static double ramp_position(enum picture_kind kind, enum picture_palette palette, int level) {
    double t = (level < 0 ? 0 : level > 255 ? 255 : level) / 255.0;
    if (kind == PICTURE_ERROR) return sqrt(t);
    if (palette == PALETTE_CONTRAST)
        return t * t * (3 - 2 * t); // steeper in the middle, ends unchanged
    return t;
}

static enum role ramp_start(enum picture_kind kind, enum picture_palette palette, int *n) {
    *n = kind == PICTURE_ERROR ? ROLE_HEATS : ROLE_GREYS;
    if (kind == PICTURE_ERROR) return palette == PALETTE_SAFE ? ROLE_SAFE : ROLE_HEAT;
    return palette == PALETTE_GREEN ? ROLE_GREEN : ROLE_GREY;
}

enum role picture_role(enum picture_kind kind, enum picture_palette palette, int level) {
    int n;
    enum role start = ramp_start(kind, palette, &n);
    return (enum role)((int)start + (int)lrint(ramp_position(kind, palette, level) * (n - 1)));
}

void picture_rgb(enum picture_kind kind, enum picture_palette palette, int level, uint8_t rgb[3]) {
    int n;
    enum role start = ramp_start(kind, palette, &n);
    double at = ramp_position(kind, palette, level) * (n - 1);
    int i = (int)at < n - 1 ? (int)at : n - 2;
    uint8_t a[3], b[3];
    role_rgb(role_colour((enum role)(start + i))->c256, a);
    role_rgb(role_colour((enum role)(start + i + 1))->c256, b);
    for (int k = 0; k < 3; k++) rgb[k] = (uint8_t)lrint(a[k] + (at - i) * (b[k] - a[k]));
}

// Sum of a row-major box [x0,x1)x[y0,y1) given in 1/w and 1/h of source pixels, as exact integer
// areas.
static uint8_t box(const uint8_t *picture, int w, int h, int x, int y) {
    int x0 = x * FEED_WIDTH, x1 = x0 + FEED_WIDTH, y0 = y * FEED_HEIGHT, y1 = y0 + FEED_HEIGHT;
    int64_t sum = 0;
    for (int sy = y0 / h; sy * h < y1; sy++) {
        int top = sy * h > y0 ? sy * h : y0, bottom = (sy + 1) * h < y1 ? (sy + 1) * h : y1;
        int64_t row = 0;
        for (int sx = x0 / w; sx * w < x1; sx++) {
            int left = sx * w > x0 ? sx * w : x0, right = (sx + 1) * w < x1 ? (sx + 1) * w : x1;
            row += (int64_t)(right - left) * picture[sy * FEED_WIDTH + sx];
        }
        sum += row * (bottom - top);
    }
    int64_t area = (int64_t)FEED_PIXELS;
    return (uint8_t)((sum + area / 2) / area);
}

void picture_scale(const uint8_t *picture, int w, int h, uint8_t *out) {
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) out[y * w + x] = box(picture, w, h, x, y);
}

// Without enough colours: the density of a glyph stands for lightness (shades) or size (errors), on
// a dark screen.
static uint32_t density_glyph(const struct canvas *c, enum picture_kind kind,
                              enum picture_palette palette, int level) {
    static const uint32_t blocks[5] = {' ', 0x2591, 0x2592, 0x2593, 0x2588};
    static const char ascii[] = " .:-=+*#%@";
    double t = ramp_position(kind, palette, level);
    if (kind == PICTURE_SHADES) t = 1 - t;
    if (c->ascii) return (uint32_t)(unsigned char)ascii[lrint(t * 9)];
    return blocks[lrint(t * 4)];
}

// One spelling for each look, so that an unchanged cell stays unchanged: blank where both colours
// are equal.
static void put_two(struct canvas *c, int x, int y, uint32_t glyph, int ink, int ground) {
    canvas_put(c, x, y, ink == ground ? ' ' : glyph,
               (struct style){(uint8_t)ink, (uint8_t)ground, 0});
}

// Splits four levels (top left, top right, bottom left, bottom right) into a darker and a lighter
// set with the least squared error; bits of *dark are the darker ones. Levels in, the two means
// out.
static void two_levels(const uint8_t v[4], int *dark, int *dark_level, int *light_level) {
    long best = -1;
    for (int set = 0; set < 8; set++) { // bottom right stays light or, by symmetry, swaps roles
        long n = 0, sum = 0, rest = 0, square = 0;
        for (int i = 0; i < 4; i++) {
            if (set >> i & 1)
                n++, sum += v[i];
            else
                rest += v[i];
            square += v[i] * v[i];
        }
        // 12 times the squared error, to stay in integers for set sizes 1..3 (4 for the empty set).
        long error = 12 * square - (n ? 12 / n * sum * sum : 0) - 12 / (4 - n) * rest * rest;
        if (best >= 0 && error >= best) continue;
        best = error;
        int a = n ? (int)((sum + n / 2) / n) : (int)((rest + 2) / 4),
            b = (int)((rest + (4 - n) / 2) / (4 - n));
        bool darker = a >= b; // level 255 is the darkest
        *dark = darker ? set : 15 - set;
        *dark_level = darker ? a : b;
        *light_level = darker ? b : a;
    }
}

static void draw_quadrants(struct canvas *c, struct rect r, const uint8_t *picture,
                           const uint8_t roles[256]) {
    static const uint32_t glyphs[16] = {' ',    0x2598, 0x259D, 0x2580, 0x2596, 0x258C,
                                        0x259E, 0x259B, 0x2597, 0x259A, 0x2590, 0x259C,
                                        0x2584, 0x2599, 0x259F, 0x2588};
    for (int y = 0; y < r.h; y++)
        for (int x = 0; x < r.w; x++) {
            uint8_t v[4];
            for (int i = 0; i < 4; i++)
                v[i] = box(picture, 2 * r.w, 2 * r.h, 2 * x + (i & 1), 2 * y + i / 2);
            int dark = 0, ink = 0, ground = 0;
            two_levels(v, &dark, &ink, &ground);
            if (dark == 0 || dark == 15)
                put_two(c, r.x + x, r.y + y, ' ', roles[ink], roles[ink]);
            else
                put_two(c, r.x + x, r.y + y, glyphs[dark], roles[ink], roles[ground]);
        }
}

static void draw_halves(struct canvas *c, struct rect r, const uint8_t *picture,
                        const uint8_t roles[256]) {
    for (int y = 0; y < r.h; y++)
        for (int x = 0; x < r.w; x++)
            put_two(c, r.x + x, r.y + y, 0x2580, roles[box(picture, r.w, 2 * r.h, x, 2 * y)],
                    roles[box(picture, r.w, 2 * r.h, x, 2 * y + 1)]);
}

void picture_draw(struct canvas *c, struct rect r, const uint8_t *picture, enum picture_kind kind,
                  enum picture_palette palette) {
    if (c->colours >= 16 && !c->ascii) {
        uint8_t roles[256];
        for (int i = 0; i < 256; i++) roles[i] = (uint8_t)picture_role(kind, palette, i);
        if (r.w < FEED_WIDTH)
            draw_quadrants(c, r, picture, roles);
        else
            draw_halves(c, r, picture, roles);
        return;
    }
    for (int y = 0; y < r.h; y++)
        for (int x = 0; x < r.w; x++)
            canvas_put(c, r.x + x, r.y + y,
                       density_glyph(c, kind, palette, box(picture, r.w, r.h, x, y)),
                       style(ROLE_TEXT));
}

void picture_legend(struct canvas *c, int x, int y, int w, enum picture_palette palette) {
    canvas_put(c, x, y, '0', style(ROLE_LABEL));
    canvas_put(c, x + w - 1, y, '3', style(ROLE_LABEL));
    for (int i = 0, n = w - 2; i < n; i++) {
        double t = n > 1 ? (double)i / (n - 1) : 1;
        int level =
            (int)lrint(t * t * 255); // the inverse of the square root: equal steps of colour
        if (c->colours >= 16 && !c->ascii)
            canvas_put(c, x + 1 + i, y, ' ',
                       style_on(ROLE_DEFAULT, picture_role(PICTURE_ERROR, palette, level), 0));
        else
            canvas_put(c, x + 1 + i, y, density_glyph(c, PICTURE_ERROR, palette, level),
                       style(ROLE_TEXT));
    }
}
