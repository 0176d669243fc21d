// Pixel tests of the window's drawing, on plain surfaces: no display, no driver.
#include "support/test.h"

#include <math.h>

#include "ui/window_draw.h"
#include "ui/window_pictures.h"

static const char font_path[] = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";
static struct feed_pictures pictures;
static struct feed_status status;

static SDL_Surface *draw(const struct window_view *view, const struct feed_pictures *p) {
    int w, h;
    window_draw_size(view->zoom, &w, &h);
    SDL_Surface *s = SDL_CreateRGBSurfaceWithFormat(0, w, h, 24, SDL_PIXELFORMAT_RGB24);
    assert_non_null(s);
    SDL_FillRect(s, NULL, SDL_MapRGB(s->format, 255, 0, 255)); // whatever is not drawn shows
    window_draw(s, view, p, &status);
    return s;
}

static const uint8_t *pixel(const SDL_Surface *s, int x, int y) {
    assert_in_range(x, 0, s->w - 1);
    assert_in_range(y, 0, s->h - 1);
    return (const uint8_t *)s->pixels + (size_t)y * (size_t)s->pitch + (size_t)x * 3;
}

static void assert_colour(const SDL_Surface *s, int x, int y, const uint8_t rgb[3],
                          const char *what) {
    const uint8_t *p = pixel(s, x, y);
    if (memcmp(p, rgb, 3) != 0)
        fail_msg("%s: pixel %d,%d is %02x%02x%02x, not %02x%02x%02x", what, x, y, p[0], p[1], p[2],
                 rgb[0], rgb[1], rgb[2]);
}

static void assert_shows(const SDL_Surface *s, SDL_Rect r, int zoom, const uint8_t *levels,
                         enum picture_kind kind, enum picture_palette palette, const char *what) {
    assert_int_equal(r.w, FEED_WIDTH * zoom);
    assert_int_equal(r.h, FEED_HEIGHT * zoom);
    for (int y = 0; y < r.h; y++)
        for (int x = 0; x < r.w; x++) {
            uint8_t rgb[3];
            picture_rgb(kind, palette, levels[y / zoom * FEED_WIDTH + x / zoom], rgb);
            assert_colour(s, r.x + x, r.y + y, rgb, what);
        }
}

// All of r in one colour, which is returned.
static const uint8_t *assert_plain(const SDL_Surface *s, SDL_Rect r, const char *what) {
    const uint8_t *first = pixel(s, r.x, r.y);
    for (int y = 0; y < r.h; y++)
        for (int x = 0; x < r.w; x++) assert_colour(s, r.x + x, r.y + y, first, what);
    return first;
}

// ---- layout

enum { MAX_RECTS = 90 };

static int all_rects(const struct window_layout *l, SDL_Rect *out) {
    int n = 0;
    out[n++] = l->head;
    for (int i = 0; i < WINDOW_PANELS; i++) {
        out[n++] = l->now_labels[i];
        out[n++] = l->now[i];
        out[n++] = l->rollout_labels[i];
        out[n++] = l->rollout[i];
    }
    out[n++] = l->strip_label;
    for (int i = 0; i < FEED_ROLLOUT; i++) {
        out[n++] = l->truth[i];
        out[n++] = l->dream[i];
        out[n++] = l->bars[i];
    }
    out[n++] = l->captions[0];
    out[n++] = l->captions[1];
    out[n++] = l->keys;
    return n;
}

static void nothing_overlaps_and_nothing_sticks_out_at_any_zoom(void **state) {
    (void)state;
    int smaller_w = 0, smaller_h = 0;
    for (int zoom = 1; zoom <= WINDOW_MAX_ZOOM; zoom++) {
        struct window_layout l;
        SDL_Rect rects[MAX_RECTS], both;
        window_draw_layout(zoom, &l);
        int n = all_rects(&l, rects), w, h;
        for (int i = 0; i < n; i++) {
            assert_true(rects[i].w > 0 && rects[i].h > 0);
            assert_true(rects[i].x >= 4 && rects[i].x + rects[i].w <= l.width - 4);
            assert_true(rects[i].y >= 4 && rects[i].y + rects[i].h <= l.height - 4);
            for (int k = 0; k < i; k++)
                if (SDL_IntersectRect(&rects[i], &rects[k], &both))
                    fail_msg("zoom %d: parts %d and %d overlap", zoom, i, k);
        }
        window_draw_size(zoom, &w, &h);
        assert_int_equal(w, l.width);
        assert_int_equal(h, l.height);
        assert_true(w > smaller_w && h > smaller_h);
        smaller_w = w;
        smaller_h = h;
    }
}

static void the_rollout_strip_is_even_and_sets_the_context_apart(void **state) {
    (void)state;
    for (int zoom = 1; zoom <= WINDOW_MAX_ZOOM; zoom++) {
        struct window_layout l;
        window_draw_layout(zoom, &l);
        for (int i = 0; i < FEED_ROLLOUT; i++) {
            assert_int_equal(l.truth[i].w, l.truth[0].w);
            assert_int_equal(l.truth[i].h, l.dream[i].h);
            assert_int_equal(l.truth[i].x, l.dream[i].x);
            assert_int_equal(l.truth[i].x, l.bars[i].x);
            if (i == 0) continue;
            int gap = l.truth[i].x - l.truth[i - 1].x - l.truth[0].w;
            if (i == FEED_CONTEXT)
                assert_true(gap > 3);
            else
                assert_int_equal(gap, 1);
        }
        assert_int_equal(l.truth[0].x, l.now[0].x); // flush with the panels on both sides
        int right = l.truth[FEED_ROLLOUT - 1].x + l.truth[0].w;
        assert_int_equal(right, l.now[WINDOW_PANELS - 1].x + l.now[0].w);
    }
}

// ---- panels

static void every_panel_shows_its_picture_at_its_place_at_every_zoom(void **state) {
    (void)state;
    for (int zoom = 1; zoom <= WINDOW_MAX_ZOOM; zoom++) {
        struct window_view view = {
            .zoom = zoom, .frame = 7, .palette = (enum picture_palette)(zoom % PALETTE_COUNT)};
        struct window_layout l;
        uint8_t heat[FEED_PIXELS];
        window_draw_layout(zoom, &l);
        SDL_Surface *s = draw(&view, &pictures);
        assert_shows(s, l.now[0], zoom, pictures.real, PICTURE_SHADES, view.palette, "real");
        assert_shows(s, l.now[1], zoom, pictures.reconstruction, PICTURE_SHADES, view.palette,
                     "reconstruction");
        assert_shows(s, l.now[2], zoom, pictures.error, PICTURE_ERROR, view.palette, "error");
        assert_shows(s, l.rollout[0], zoom, pictures.truth[7], PICTURE_SHADES, view.palette,
                     "truth");
        assert_shows(s, l.rollout[1], zoom, pictures.dream[7], PICTURE_SHADES, view.palette,
                     "dream");
        for (int i = 0; i < FEED_PIXELS; i++)
            heat[i] = (uint8_t)abs(pictures.truth[7][i] - pictures.dream[7][i]);
        assert_shows(s, l.rollout[2], zoom, heat, PICTURE_ERROR, view.palette, "rollout error");
        SDL_FreeSurface(s);
    }
}

static void every_frame_of_the_rollout_can_be_chosen_and_is_marked(void **state) {
    (void)state;
    struct window_layout l;
    window_draw_layout(1, &l);
    for (int frame = 0; frame < FEED_ROLLOUT; frame++) {
        SDL_Surface *s = draw(&(struct window_view){.zoom = 1, .frame = frame}, &pictures);
        assert_shows(s, l.rollout[0], 1, pictures.truth[frame], PICTURE_SHADES, PALETTE_GREY,
                     "truth");
        assert_shows(s, l.rollout[1], 1, pictures.dream[frame], PICTURE_SHADES, PALETTE_GREY,
                     "dream");
        for (int i = 0; i < FEED_ROLLOUT;
             i++) { // the line above a thumbnail is lit for the chosen one only
            const uint8_t *mark = pixel(s, l.truth[i].x + 3, l.truth[i].y - 1),
                          *plain = pixel(s, 0, 0);
            assert_int_equal(memcmp(mark, plain, 3) != 0, i == frame);
        }
        SDL_FreeSurface(s);
    }
}

static void thumbnails_show_the_mean_of_what_they_cover(void **state) {
    (void)state;
    static struct feed_pictures p;
    p = pictures;
    for (int f = 0; f < FEED_ROLLOUT; f++) {
        memset(p.truth[f], f * 10, FEED_PIXELS);
        for (int i = 0; i < FEED_PIXELS;
             i++) // a fine check: its mean is what a small picture must show
            p.dream[f][i] = (i % FEED_WIDTH + i / FEED_WIDTH) % 2 ? 200 : 100;
    }
    struct window_layout l;
    window_draw_layout(1, &l);
    SDL_Surface *s = draw(&(struct window_view){.zoom = 1}, &p);
    for (int f = 0; f < FEED_ROLLOUT; f++) {
        uint8_t rgb[3], low[3], high[3];
        picture_rgb(PICTURE_SHADES, PALETTE_GREY, f * 10, rgb);
        assert_memory_equal(assert_plain(s, l.truth[f], "thumbnail"), rgb, 3);
        picture_rgb(PICTURE_SHADES, PALETTE_GREY, 160,
                    low); // 100 and 200 themselves would be far outside
        picture_rgb(PICTURE_SHADES, PALETTE_GREY, 140, high);
        for (int y = 0; y < l.dream[f].h; y++)
            for (int x = 0; x < l.dream[f].w; x++)
                assert_in_range(pixel(s, l.dream[f].x + x, l.dream[f].y + y)[0], low[0], high[0]);
    }
    SDL_FreeSurface(s);
}

static void levels_map_to_the_palettes_colours(void **state) {
    (void)state;
    static struct feed_pictures p;
    p = pictures;
    for (int i = 0; i < FEED_PIXELS; i++) p.real[i] = p.error[i] = (uint8_t)(i % 256);
    struct window_layout l;
    window_draw_layout(2, &l);
    SDL_Surface *grey = NULL;
    for (int palette = 0; palette < PALETTE_COUNT; palette++) {
        SDL_Surface *s =
            draw(&(struct window_view){.zoom = 2, .palette = (enum picture_palette)palette}, &p);
        assert_shows(s, l.now[0], 2, p.real, PICTURE_SHADES, (enum picture_palette)palette,
                     "shades");
        assert_shows(s, l.now[2], 2, p.error, PICTURE_ERROR, (enum picture_palette)palette, "heat");
        const uint8_t *lightest = pixel(s, l.now[0].x, l.now[0].y),
                      *darkest = pixel(s, l.now[0].x + 2 * (255 % 80), l.now[0].y + 2 * 3);
        assert_true(lightest[1] > darkest[1] + 100);
        if (palette == PALETTE_GREY)
            grey = s;
        else
            assert_true(memcmp(s->pixels, grey->pixels, (size_t)s->pitch * (size_t)s->h) != 0);
        if (palette != PALETTE_GREY) SDL_FreeSurface(s);
    }
    SDL_FreeSurface(grey);
}

// ---- error bars

static void error_bars_have_a_round_scale_that_holds_them(void **state) {
    (void)state;
    static const struct {
        float errors[3], scale;
    } rows[] = {{{0, 0, 0}, 0.05f},      {{0.01f, 0.05f, 0}, 0.05f},
                {{0.051f, 0, 0}, 0.1f},  {{0.2f, 0.1f, 0}, 0.25f},
                {{0.3f, 0, 0.4f}, 0.5f}, {{0.9f, 1, 0}, 1},
                {{1.01f, 0, 0}, 3},      {{99, 0, 0}, 3},
                {{NAN, 0.2f, 0}, 0.25f}, {{INFINITY, 0, 0}, 3},
                {{-1, 0, 0}, 0.05f}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(window_draw_bar_scale(rows[i].errors, 3) == rows[i].scale);
    assert_true(window_draw_bar_scale(NULL, 0) == 0.05f);
}

static int bar_height(const SDL_Surface *s, SDL_Rect r) {
    const uint8_t *empty = (const uint8_t[3]){38, 41, 47};
    int h = 0;
    while (h < r.h && memcmp(pixel(s, r.x, r.y + r.h - 1 - h), empty, 3) != 0) h++;
    return h;
}

static void error_bars_are_as_high_as_the_error(void **state) {
    (void)state;
    static struct feed_pictures p;
    p = pictures;
    for (int f = 0; f < FEED_ROLLOUT; f++)
        p.dream_error_shades[f] = (float)f * 0.05f; // 0 .. 0.95: scale 1
    p.dream_error_shades[18] = NAN;
    p.dream_error_shades[19] = 1;
    for (int zoom = 1; zoom <= 4; zoom++) {
        struct window_layout l;
        window_draw_layout(zoom, &l);
        SDL_Surface *s = draw(&(struct window_view){.zoom = zoom}, &p);
        for (int f = 0; f < 18; f++)
            assert_int_equal(bar_height(s, l.bars[f]),
                             lrintf((float)f * 0.05f * (float)l.bars[f].h));
        assert_int_equal(bar_height(s, l.bars[18]), l.bars[18].h); // not a number: full, to be seen
        assert_int_equal(bar_height(s, l.bars[19]), l.bars[19].h);
        const uint8_t *context = pixel(s, l.bars[4].x, l.bars[4].y + l.bars[4].h - 1);
        const uint8_t *imagined = pixel(s, l.bars[5].x, l.bars[5].y + l.bars[5].h - 1);
        assert_memory_not_equal(context, imagined, 3);
        SDL_FreeSurface(s);
    }
}

// ---- nothing to show

static void without_pictures_every_panel_is_an_empty_well(void **state) {
    (void)state;
    for (int zoom = 1; zoom <= WINDOW_MAX_ZOOM; zoom++) {
        struct window_layout l;
        window_draw_layout(zoom, &l);
        SDL_Surface *s = draw(&(struct window_view){.zoom = zoom, .frame = 3}, NULL);
        const uint8_t *well = pixel(s, l.now[0].x, l.now[0].y);
        for (int i = 0; i < WINDOW_PANELS; i++) {
            assert_memory_equal(assert_plain(s, l.now[i], "empty panel"), well, 3);
            assert_memory_equal(assert_plain(s, l.rollout[i], "empty panel"), well, 3);
        }
        for (int f = 0; f < FEED_ROLLOUT; f++) {
            assert_memory_equal(assert_plain(s, l.truth[f], "empty thumbnail"), well, 3);
            assert_memory_equal(assert_plain(s, l.bars[f], "empty bar"), well, 3);
        }
        SDL_FreeSurface(s);
    }
}

static void before_the_first_rollout_the_present_is_shown_alone(void **state) {
    (void)state;
    static struct feed_pictures p;
    p = pictures;
    p.n_rollout = 0;
    struct window_layout l;
    window_draw_layout(2, &l);
    SDL_Surface *s = draw(&(struct window_view){.zoom = 2}, &p);
    assert_shows(s, l.now[0], 2, p.real, PICTURE_SHADES, PALETTE_GREY, "real");
    for (int i = 0; i < WINDOW_PANELS; i++) assert_plain(s, l.rollout[i], "empty panel");
    assert_plain(s, l.dream[0], "empty thumbnail");
    SDL_FreeSurface(s);
}

// ---- text

static TTF_Font *open_font(int zoom) {
    assert_int_equal(TTF_Init(), 0);
    TTF_Font *font = TTF_OpenFont(font_path, window_draw_points(zoom));
    if (!font) {
        printf("skipped: %s is missing (package fonts-dejavu-core)\n", font_path);
        TTF_Quit();
        skip();
    }
    return font;
}

static bool may_hold_text(const struct window_layout *l, const struct feed_pictures *p, int x,
                          int y) {
    SDL_Rect places[MAX_RECTS];
    int n = 0;
    places[n++] = l->head;
    places[n++] = l->strip_label;
    places[n++] = l->captions[0];
    places[n++] = l->captions[1];
    places[n++] = l->keys;
    for (int i = 0; i < WINDOW_PANELS; i++) {
        places[n++] = l->now_labels[i];
        places[n++] = l->rollout_labels[i];
        if (!p) places[n++] = l->now[i];
        if (!p) places[n++] = l->rollout[i];
    }
    for (int i = 0; i < n; i++)
        if (SDL_PointInRect(&(SDL_Point){x, y}, &places[i])) return true;
    return false;
}

static void text_stays_in_its_labels_at_every_zoom(void **state) {
    (void)state;
    for (int zoom = 1; zoom <= WINDOW_MAX_ZOOM; zoom++)
        for (int with = 0; with < 2; with++) {
            struct window_view view = {.zoom = zoom, .frame = 12, .paused = zoom % 2};
            struct window_layout l;
            const struct feed_pictures *p = with ? &pictures : NULL;
            window_draw_layout(zoom, &l);
            SDL_Surface *bare = draw(&view, p);
            view.font = open_font(zoom);
            SDL_Surface *s = draw(&view, p);
            int n_text = 0;
            for (int y = 0; y < s->h; y++)
                for (int x = 0; x < s->w; x++) {
                    if (memcmp(pixel(s, x, y), pixel(bare, x, y), 3) == 0) continue;
                    n_text++;
                    if (!may_hold_text(&l, p, x, y))
                        fail_msg("zoom %d: text at %d,%d, outside every label", zoom, x, y);
                }
            assert_true(n_text > 500);
            TTF_CloseFont(view.font);
            TTF_Quit();
            SDL_FreeSurface(s);
            SDL_FreeSurface(bare);
        }
}

// A cut label would have ink in its last column; a fitting one ends before it.
static void no_label_is_cut_off(void **state) {
    (void)state;
    static const uint8_t background[3] = {22, 24, 28};
    for (int zoom = 1; zoom <= WINDOW_MAX_ZOOM; zoom++)
        for (int frame = 0; frame < FEED_ROLLOUT; frame++) {
            struct window_view view = {.zoom = zoom, .frame = frame, .font = open_font(zoom)};
            struct window_layout l;
            window_draw_layout(zoom, &l);
            SDL_Surface *s = draw(&view, &pictures);
            SDL_Rect labels[9] = {l.head, l.strip_label, l.keys};
            memcpy(labels + 3, l.now_labels, sizeof l.now_labels);
            memcpy(labels + 6, l.rollout_labels, sizeof l.rollout_labels);
            for (int i = 0; i < 9; i++)
                for (int y = 0; y < labels[i].h; y++)
                    assert_colour(s, labels[i].x + labels[i].w - 1, labels[i].y + y, background,
                                  "end of a label");
            TTF_CloseFont(view.font);
            TTF_Quit();
            SDL_FreeSurface(s);
        }
}

static void the_same_view_is_the_same_bytes_and_all_of_it_is_drawn(void **state) {
    (void)state;
    struct window_view view = {.zoom = 3, .frame = 5, .font = open_font(3)};
    SDL_Surface *a = draw(&view, &pictures), *b = draw(&view, &pictures);
    assert_memory_equal(a->pixels, b->pixels, (size_t)a->pitch * (size_t)a->h);
    for (int y = 0; y < a->h; y++)
        for (int x = 0; x < a->w; x++)
            assert_memory_not_equal(pixel(a, x, y), ((const uint8_t[3]){255, 0, 255}), 3);
    status.phase = PHASE_PREFILL;
    window_draw(b, &view, &pictures, &status);
    assert_true(memcmp(a->pixels, b->pixels, (size_t)a->pitch * (size_t)a->h) !=
                0); // the phase is on it
    status.phase = PHASE_TRAINING;
    TTF_CloseFont(view.font);
    TTF_Quit();
    SDL_FreeSurface(a);
    SDL_FreeSurface(b);
}

int main(void) {
    window_test_pictures(&pictures);
    status = window_test_status(PHASE_TRAINING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_overlaps_and_nothing_sticks_out_at_any_zoom),
        cmocka_unit_test(the_rollout_strip_is_even_and_sets_the_context_apart),
        cmocka_unit_test(every_panel_shows_its_picture_at_its_place_at_every_zoom),
        cmocka_unit_test(every_frame_of_the_rollout_can_be_chosen_and_is_marked),
        cmocka_unit_test(thumbnails_show_the_mean_of_what_they_cover),
        cmocka_unit_test(levels_map_to_the_palettes_colours),
        cmocka_unit_test(error_bars_have_a_round_scale_that_holds_them),
        cmocka_unit_test(error_bars_are_as_high_as_the_error),
        cmocka_unit_test(without_pictures_every_panel_is_an_empty_well),
        cmocka_unit_test(before_the_first_rollout_the_present_is_shown_alone),
        cmocka_unit_test(text_stays_in_its_labels_at_every_zoom),
        cmocka_unit_test(no_label_is_cut_off),
        cmocka_unit_test(the_same_view_is_the_same_bytes_and_all_of_it_is_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
