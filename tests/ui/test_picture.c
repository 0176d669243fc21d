// Picture: every pixel shown at full size, averages at smaller ones, one palette for terminal and
// window.
#include "support/test.h"

#include "support/fake_run.h"
#include "ui/picture.h"

static int c256(enum role role) { return role_colour(role)->c256; }

static void the_four_shades_are_231_248_240_232(void **state) {
    (void)state;
    static const int expected[4] = {231, 248, 240, 232};
    for (int shade = 0; shade < 4; shade++)
        assert_int_equal(c256(picture_role(PICTURE_SHADES, PALETTE_GREY, shade * 85)),
                         expected[shade]);
}

static void full_size_shows_every_pixel(void **state) {
    (void)state;
    uint8_t picture[FEED_PIXELS];
    fake_scene(picture, 7);
    struct canvas c;
    canvas_init(&c, 80, 36);
    picture_draw(&c, (struct rect){0, 0, 80, 36}, picture, PICTURE_SHADES, PALETTE_GREY);
    for (int y = 0; y < FEED_HEIGHT; y++)
        for (int x = 0; x < FEED_WIDTH; x++) {
            const struct cell *cell = canvas_at(&c, x, y / 2);
            int expected = picture_role(PICTURE_SHADES, PALETTE_GREY, picture[y * FEED_WIDTH + x]);
            assert_int_equal(y & 1 ? cell->bg : cell->fg, expected);
            assert_true(cell->glyph == 0x2580 || (cell->glyph == ' ' && cell->fg == cell->bg));
        }
    canvas_deinit(&c);
}

static void half_size_averages_two_by_two(void **state) {
    (void)state;
    uint8_t picture[FEED_PIXELS], half[40 * 36];
    for (int i = 0; i < FEED_PIXELS; i++)
        picture[i] = (uint8_t)rng_u32(5, RNG_TEST, 0, (uint32_t)i);
    picture_scale(picture, 40, 36, half);
    for (int y = 0; y < 36; y++)
        for (int x = 0; x < 40; x++) {
            const uint8_t *p = &picture[2 * y * FEED_WIDTH + 2 * x];
            assert_int_equal(half[y * 40 + x],
                             (p[0] + p[1] + p[FEED_WIDTH] + p[FEED_WIDTH + 1] + 2) / 4);
        }
}

// The colour of the quarter (0 top left, 1 top right, 2 bottom left, 3 bottom right) of a cell
// drawn with a block glyph.
static int quarter_role(const struct cell *cell, int quarter) {
    static const struct {
        uint32_t glyph;
        int set;
    } blocks[] = {{' ', 0},     {0x2598, 1},  {0x259D, 2},  {0x2580, 3},  {0x2596, 4},
                  {0x258C, 5},  {0x259E, 6},  {0x259B, 7},  {0x2597, 8},  {0x259A, 9},
                  {0x2590, 10}, {0x259C, 11}, {0x2584, 12}, {0x2599, 13}, {0x259F, 14}};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (blocks[i].glyph == cell->glyph)
            return blocks[i].set >> quarter & 1 ? cell->fg : cell->bg;
    fail_msg("glyph U+%04X is no block", (unsigned)cell->glyph);
    return -1;
}

static void a_small_picture_of_two_shades_keeps_every_edge(void **state) {
    (void)state;
    for (int shapes = 0; shapes < 16; shapes++) { // each way to fill the quarters of a cell
        uint8_t picture[FEED_PIXELS];
        for (int y = 0; y < FEED_HEIGHT; y++)
            for (int x = 0; x < FEED_WIDTH; x++)
                picture[y * FEED_WIDTH + x] = shapes >> ((x & 1) + 2 * (y / 2 & 1)) & 1 ? 255 : 85;
        struct canvas c;
        canvas_init(&c, 40, 18);
        picture_draw(&c, (struct rect){0, 0, 40, 18}, picture, PICTURE_SHADES, PALETTE_GREY);
        for (int quarter = 0; quarter < 4; quarter++)
            assert_int_equal(
                quarter_role(canvas_at(&c, 17, 9), quarter),
                picture_role(PICTURE_SHADES, PALETTE_GREY, shapes >> quarter & 1 ? 255 : 85));
        canvas_deinit(&c);
    }
}

static void a_small_picture_is_off_by_less_than_half_a_block_would_be(void **state) {
    (void)state;
    uint8_t picture[FEED_PIXELS], quarters[80 * 36];
    fake_scene(picture, 3);
    picture_scale(picture, 80, 36, quarters);
    struct canvas c;
    canvas_init(&c, 40, 18);
    picture_draw(&c, (struct rect){0, 0, 40, 18}, picture, PICTURE_SHADES, PALETTE_GREY);
    double error = 0, flat = 0;
    for (int y = 0; y < 36; y++)
        for (int x = 0; x < 80; x++) {
            double level =
                (quarter_role(canvas_at(&c, x / 2, y / 2), (x & 1) + 2 * (y & 1)) - ROLE_GREY) *
                255.0 / (ROLE_GREYS - 1);
            double mean = (quarters[y * 80 + x] + quarters[y * 80 + (x ^ 1)]) / 2.0;
            error += (level - quarters[y * 80 + x]) * (level - quarters[y * 80 + x]);
            flat += (mean - quarters[y * 80 + x]) * (mean - quarters[y * 80 + x]);
        }
    assert_true(error < flat / 2);
    canvas_deinit(&c);
}

static void scaling_keeps_a_flat_picture_flat_at_any_size(void **state) {
    (void)state;
    uint8_t picture[FEED_PIXELS], out[200 * 100];
    memset(picture, 170, sizeof picture);
    for (int w = 1; w <= 200; w += 13)
        for (int h = 1; h <= 100; h += 7) {
            picture_scale(picture, w, h, out);
            for (int i = 0; i < w * h; i++) assert_int_equal(out[i], 170);
        }
}

static void drawing_stays_inside_its_rectangle(void **state) {
    (void)state;
    uint8_t picture[FEED_PIXELS] = {0};
    struct canvas c;
    canvas_init(&c, 50, 20);
    canvas_fill(&c, (struct rect){0, 0, 50, 20}, '@', style(ROLE_TEXT));
    picture_draw(&c, (struct rect){5, 4, 20, 9}, picture, PICTURE_SHADES, PALETTE_GREY);
    picture_draw(&c, (struct rect){-90, -40, 80, 36}, picture, PICTURE_SHADES, PALETTE_GREY);
    for (int y = 0; y < 20; y++)
        for (int x = 0; x < 50; x++)
            assert_int_equal(canvas_at(&c, x, y)->glyph == '@',
                             x < 5 || y < 4 || x >= 25 || y >= 13);
    canvas_deinit(&c);
}

static void more_error_is_never_a_lower_heat(void **state) {
    (void)state;
    for (int palette = 0; palette < PALETTE_COUNT; palette++) {
        int last = 0, distinct = 0;
        for (int level = 0; level < 256; level++) {
            int role = picture_role(PICTURE_ERROR, (enum picture_palette)palette, level);
            assert_true(role >= last);
            distinct += role > last;
            last = role;
        }
        assert_int_equal(distinct, ROLE_HEATS);
        assert_int_equal(picture_role(PICTURE_ERROR, (enum picture_palette)palette, 0) == ROLE_SAFE,
                         palette == PALETTE_SAFE);
    }
}

// Relative luminance by the usual weights of red, green and blue.
static double lightness(const uint8_t rgb[3]) {
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
}

static void the_safe_heat_map_is_read_by_lightness_alone(void **state) {
    (void)state;
    double last = -1;
    for (int level = 0; level < 256; level++) {
        uint8_t rgb[3];
        picture_rgb(PICTURE_ERROR, PALETTE_SAFE, level, rgb);
        assert_true(lightness(rgb) >= last - 1); // 1: rounding of three channels
        last = lightness(rgb);
    }
}

static void darker_levels_are_darker_in_every_palette(void **state) {
    (void)state;
    for (int palette = 0; palette < PALETTE_COUNT; palette++) {
        double last = 1000;
        for (int level = 0; level < 256; level++) {
            uint8_t rgb[3];
            picture_rgb(PICTURE_SHADES, (enum picture_palette)palette, level, rgb);
            assert_true(lightness(rgb) <= last + 1);
            last = lightness(rgb);
        }
    }
}

static void window_and_terminal_agree_on_the_shades(void **state) {
    (void)state;
    for (int palette = 0; palette < PALETTE_COUNT; palette++)
        for (int shade = 0; shade < 4; shade++) {
            uint8_t window[3], terminal[3];
            picture_rgb(PICTURE_SHADES, (enum picture_palette)palette, shade * 85, window);
            role_rgb(c256(picture_role(PICTURE_SHADES, (enum picture_palette)palette, shade * 85)),
                     terminal);
            // High contrast lies between two of the terminal's greys for the two middle shades.
            int tolerance = palette == PALETTE_CONTRAST ? 12 : 0;
            for (int i = 0; i < 3; i++) assert_true(abs(window[i] - terminal[i]) <= tolerance);
        }
}

static void without_colours_density_stands_for_lightness(void **state) {
    (void)state;
    uint8_t picture[FEED_PIXELS];
    struct canvas c;
    canvas_init(&c, 20, 9);
    c.ascii = true;
    c.colours = 0;
    memset(picture, 0, sizeof picture);
    picture_draw(&c, (struct rect){0, 0, 20, 9}, picture, PICTURE_SHADES, PALETTE_GREY);
    assert_int_equal(canvas_at(&c, 3, 3)->glyph, '@');
    memset(picture, 255, sizeof picture);
    picture_draw(&c, (struct rect){0, 0, 20, 9}, picture, PICTURE_SHADES, PALETTE_GREY);
    assert_int_equal(canvas_at(&c, 3, 3)->glyph, ' ');
    c.ascii = false;
    memset(picture, 0, sizeof picture);
    picture_draw(&c, (struct rect){0, 0, 20, 9}, picture, PICTURE_SHADES, PALETTE_GREY);
    assert_int_equal(canvas_at(&c, 3, 3)->glyph, 0x2588);
    canvas_deinit(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_four_shades_are_231_248_240_232),
        cmocka_unit_test(full_size_shows_every_pixel),
        cmocka_unit_test(half_size_averages_two_by_two),
        cmocka_unit_test(a_small_picture_of_two_shades_keeps_every_edge),
        cmocka_unit_test(a_small_picture_is_off_by_less_than_half_a_block_would_be),
        cmocka_unit_test(scaling_keeps_a_flat_picture_flat_at_any_size),
        cmocka_unit_test(drawing_stays_inside_its_rectangle),
        cmocka_unit_test(more_error_is_never_a_lower_heat),
        cmocka_unit_test(the_safe_heat_map_is_read_by_lightness_alone),
        cmocka_unit_test(darker_levels_are_darker_in_every_palette),
        cmocka_unit_test(window_and_terminal_agree_on_the_shades),
        cmocka_unit_test(without_colours_density_stands_for_lightness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
