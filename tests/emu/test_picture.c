// test_picture.c - background, window, sprites and their priorities on VRAM made by hand.
//
// No program runs: registers are written at chosen dots of a frame, then VBlank is let come.
#include "gb_fixture.h"

enum {
    LCDC = 0x40, SCY = 0x42, SCX = 0x43, BGP = 0x47, OBP0 = 0x48, OBP1 = 0x49, WY = 0x4a, WX = 0x4b,
    MAP0 = 0x1800, MAP1 = 0x1c00,
    BASE = GB_LCDC_ON | GB_LCDC_BG | GB_LCDC_UNSIGNED
};

static uint8_t shades[2 * GB_LCD_WIDTH * GB_LCD_HEIGHT];
static uint8_t packed[GB_OBS_BYTES];

// Tiles 0-3 are solid colours 0-3; tile 4 has columns of colour 0,1,2,3,0,1,2,3; the palettes pass
// colours through. LCD off.
static struct gb *screen(void)
{
    struct gb *m = fixture_start(fixture_rom(0x00, 0, 0));
    gb_io_write(m, LCDC, 0, 0);
    memset(m->vram, 0, sizeof m->vram);
    for (int tile = 0; tile < 4; tile++)
        for (int row = 0; row < 8; row++) {
            m->vram[tile * 16 + row * 2] = tile & 1 ? 0xff : 0;
            m->vram[tile * 16 + row * 2 + 1] = tile & 2 ? 0xff : 0;
        }
    for (int row = 0; row < 8; row++) {
        m->vram[4 * 16 + row * 2] = 0x55;
        m->vram[4 * 16 + row * 2 + 1] = 0x33;
    }
    gb_io_write(m, BGP, 0xe4, 0);
    gb_io_write(m, OBP0, 0xe4, 0);
    gb_io_write(m, OBP1, 0xe4, 0);
    m->draw_from = -GB_FRAME_CYCLES;
    gb_set_lcd(m, shades);
    return m;
}

// Switches the LCD on and lets the first frame, which stays blank, go by.
static void switch_on(struct gb *m, uint8_t lcdc)
{
    gb_io_write(m, LCDC, lcdc, 0);
    gb_catch_up(m, m->ppu.frame_event);
}

static void at(struct gb *m, int line, int dot, uint8_t reg, uint8_t value)
{
    gb_io_write(m, reg, value, m->ppu.frame_t + line * GB_LINE_CYCLES + dot);
}

static const uint8_t *finish(struct gb *m)
{
    gb_catch_up(m, m->ppu.vblank_event);
    gb_observe(m, packed);
    return gb_lcd(m);
}

static int pixel(int x, int y)
{
    return gb_lcd(&fixture.m)[y * GB_LCD_WIDTH + x];
}

static void sprite(struct gb *m, int index, int x, int y, uint8_t tile, uint8_t attributes)
{
    uint8_t *s = m->oam + index * 4;
    s[0] = (uint8_t)(y + 16);
    s[1] = (uint8_t)(x + 8);
    s[2] = tile;
    s[3] = attributes;
}

static void the_background_scrolls_and_wraps(void **state)
{
    (void)state;
    struct gb *m = screen();
    m->vram[MAP0 + 31 * 32 + 31] = 3; // the last tile of the map
    gb_io_write(m, SCX, 0xf8 + 3, 0);
    gb_io_write(m, SCY, 0xf8 + 2, 0);
    switch_on(m, BASE);
    finish(m);
    for (int y = 0; y < GB_LCD_HEIGHT; y++)
        for (int x = 0; x < GB_LCD_WIDTH; x++)
            assert_int_equal(pixel(x, y), x < 5 && y < 6 ? 3 : 0);
}

static void tile_numbers_are_signed_when_lcdc_says_so(void **state)
{
    (void)state;
    struct gb *m = screen();
    memset(m->vram + 0x1000, 0xff, 16); // tile 0, signed: 9000
    memset(m->vram + 0x0800, 0xff, 8);  // tile 80, either way: 8800
    m->vram[MAP0 + 1] = 0x80;
    switch_on(m, GB_LCDC_ON | GB_LCDC_BG);
    finish(m);
    assert_int_equal(pixel(0, 0), 3);
    assert_int_equal(pixel(8, 0), 3);
    assert_int_equal(pixel(8, 4), 0);
    at(m, 153, 0, LCDC, BASE);
    gb_catch_up(m, m->ppu.frame_event);
    finish(m);
    assert_int_equal(pixel(0, 0), 0);
    assert_int_equal(pixel(8, 0), 3);
}

static void shades_come_from_the_palette(void **state)
{
    (void)state;
    struct gb *m = screen();
    for (int i = 0; i < 20; i++) m->vram[MAP0 + i] = 4;
    gb_io_write(m, BGP, 0x1e, 0); // 0->2, 1->3, 2->1, 3->0
    switch_on(m, BASE);
    finish(m);
    const uint8_t wanted[8] = {2, 3, 1, 0, 2, 3, 1, 0};
    for (int x = 0; x < GB_LCD_WIDTH; x++) assert_int_equal(pixel(x, 3), wanted[x & 7]);
}

static void without_background_all_is_shade_0_but_sprites(void **state)
{
    (void)state;
    struct gb *m = screen();
    memset(m->vram + MAP0, 3, 32 * 32);
    sprite(m, 0, 10, 10, 2, 0x80);
    switch_on(m, GB_LCDC_ON | GB_LCDC_SPRITES | GB_LCDC_UNSIGNED);
    finish(m);
    assert_int_equal(pixel(0, 0), 0);
    assert_int_equal(pixel(10, 10), 2);
}

static void the_window_covers_from_wx_minus_7_and_wy(void **state)
{
    (void)state;
    struct gb *m = screen();
    memset(m->vram + MAP1, 2, 32 * 32);
    gb_io_write(m, WX, 7 + 50, 0);
    gb_io_write(m, WY, 40, 0);
    switch_on(m, BASE | GB_LCDC_WINDOW | GB_LCDC_WIN_MAP);
    finish(m);
    for (int y = 0; y < GB_LCD_HEIGHT; y++)
        for (int x = 0; x < GB_LCD_WIDTH; x++)
            assert_int_equal(pixel(x, y), x >= 50 && y >= 40 ? 2 : 0);
}

static void the_window_starts_left_of_the_screen_when_wx_is_below_7(void **state)
{
    (void)state;
    struct gb *m = screen();
    memset(m->vram + MAP1, 4, 32 * 32);
    gb_io_write(m, WX, 5, 0);
    switch_on(m, BASE | GB_LCDC_WINDOW | GB_LCDC_WIN_MAP);
    finish(m);
    assert_int_equal(pixel(0, 0), 2); // two columns are cut off
    assert_int_equal(pixel(1, 0), 3);
    assert_int_equal(pixel(159, 0), (159 + 2) & 3);
}

static void a_hidden_window_keeps_its_own_line_counter(void **state)
{
    (void)state;
    struct gb *m = screen();
    for (int row = 0; row < 32; row++) memset(m->vram + MAP1 + row * 32, row & 3, 32);
    gb_io_write(m, WX, 7, 0);
    switch_on(m, BASE | GB_LCDC_WINDOW | GB_LCDC_WIN_MAP);
    at(m, 20, 20, WX, 200); // lines 20-59 have no window
    at(m, 60, 20, WX, 7);
    finish(m);
    assert_int_equal(pixel(80, 19), 19 / 8);
    assert_int_equal(pixel(80, 30), 0);
    assert_int_equal(pixel(80, 60), 20 / 8); // goes on where it stopped
    assert_int_equal(pixel(80, 64), 24 / 8);
}

static void undrawn_frames_count_window_lines_as_well(void **state)
{
    (void)state;
    struct gb *m = screen();
    gb_io_write(m, WX, 7, 0);
    gb_io_write(m, WY, 3, 0);
    m->draw_from = GB_NEVER;
    switch_on(m, BASE | GB_LCDC_WINDOW | GB_LCDC_WIN_MAP);
    at(m, 50, 20, WX, 8);
    assert_int_equal(m->ppu.win_line, 46);
}

static void sprites_flip_and_their_colour_0_is_transparent(void **state)
{
    (void)state;
    struct gb *m = screen();
    memset(m->vram + MAP0, 1, 32 * 32);
    m->vram[5 * 16] = 0xc0; // tile 5: two pixels of colour 1 at the top left
    gb_io_write(m, OBP1, 0xfc, 0);
    gb_io_write(m, OBP0, 0xe8, 0);
    sprite(m, 0, 20, 20, 5, 0x00);
    sprite(m, 1, 40, 20, 5, 0x20); // mirrored left to right
    sprite(m, 2, 60, 20, 5, 0x40); // top to bottom
    sprite(m, 3, 80, 20, 5, 0x10); // other palette
    switch_on(m, BASE | GB_LCDC_SPRITES);
    finish(m);
    assert_int_equal(pixel(20, 20), 2);
    assert_int_equal(pixel(21, 20), 2);
    assert_int_equal(pixel(22, 20), 1);
    assert_int_equal(pixel(20, 21), 1);
    assert_int_equal(pixel(45, 20), 1);
    assert_int_equal(pixel(46, 20), 2);
    assert_int_equal(pixel(60, 20), 1);
    assert_int_equal(pixel(60, 27), 2);
    assert_int_equal(pixel(80, 20), 3);
}

static void the_leftmost_sprite_wins_then_the_first_in_oam(void **state)
{
    (void)state;
    struct gb *m = screen();
    sprite(m, 0, 14, 20, 1, 0);
    sprite(m, 1, 10, 20, 2, 0); // further left: above sprite 0
    sprite(m, 2, 50, 20, 1, 0);
    sprite(m, 3, 50, 20, 2, 0); // same place: below sprite 2
    switch_on(m, BASE | GB_LCDC_SPRITES);
    finish(m);
    assert_int_equal(pixel(13, 20), 2);
    assert_int_equal(pixel(15, 20), 2);
    assert_int_equal(pixel(18, 20), 1);
    assert_int_equal(pixel(50, 20), 1);
}

static void a_sprite_behind_the_background_shows_through_colour_0_only(void **state)
{
    (void)state;
    struct gb *m = screen();
    for (int i = 0; i < 32; i++) m->vram[MAP0 + i] = 4;
    sprite(m, 0, 16, 0, 2, 0x80);
    sprite(m, 1, 18, 0, 3, 0x00); // hidden where sprite 0 is, although that is behind
    gb_io_write(m, BGP, 0xe5, 0); // colour 0 looks like colour 1
    switch_on(m, BASE | GB_LCDC_SPRITES);
    finish(m);
    assert_int_equal(pixel(16, 0), 2);
    assert_int_equal(pixel(17, 0), 1);
    assert_int_equal(pixel(18, 0), 2);
    assert_int_equal(pixel(19, 0), 3);
    assert_int_equal(pixel(21, 0), 1);
    assert_int_equal(pixel(25, 0), 3);
}

static void ten_sprites_a_line_in_oam_order_even_if_off_screen(void **state)
{
    (void)state;
    struct gb *m = screen();
    for (int i = 0; i < 12; i++) sprite(m, i, i * 12, 30, 3, 0);
    m->oam[1] = 0; // sprite 0 is left of the screen, and counts
    switch_on(m, BASE | GB_LCDC_SPRITES);
    finish(m);
    for (int i = 0; i < 12; i++) assert_int_equal(pixel(i * 12, 30), i >= 1 && i < 10 ? 3 : 0);
}

static void tall_sprites_use_two_tiles_and_ignore_bit_0(void **state)
{
    (void)state;
    struct gb *m = screen();
    sprite(m, 0, 10, 10, 3, 0); // tiles 2 and 3
    sprite(m, 1, 30, 10, 2, 0x40);
    switch_on(m, BASE | GB_LCDC_SPRITES | GB_LCDC_TALL);
    finish(m);
    assert_int_equal(pixel(10, 17), 2);
    assert_int_equal(pixel(10, 18), 3);
    assert_int_equal(pixel(10, 25), 3);
    assert_int_equal(pixel(10, 26), 0);
    assert_int_equal(pixel(30, 10), 3);
    assert_int_equal(pixel(30, 25), 2);
}

static void sprites_are_cut_at_all_edges(void **state)
{
    (void)state;
    struct gb *m = screen();
    sprite(m, 0, -4, -4, 3, 0);
    sprite(m, 1, 156, 140, 3, 0);
    switch_on(m, BASE | GB_LCDC_SPRITES);
    finish(m);
    assert_int_equal(pixel(3, 3), 3);
    assert_int_equal(pixel(4, 3), 0);
    assert_int_equal(pixel(3, 4), 0);
    assert_int_equal(pixel(155, 140), 0);
    assert_int_equal(pixel(156, 140), 3);
    assert_int_equal(pixel(159, 143), 3);
}

static void registers_count_line_by_line_and_within_a_line(void **state)
{
    (void)state;
    struct gb *m = screen();
    for (int i = 0; i < 32 * 32; i++) m->vram[MAP0 + i] = 1;
    switch_on(m, BASE);
    at(m, 72, 10, BGP, 0x0c);
    at(m, 100, 96 + 80, BGP, 0x08);
    finish(m);
    assert_int_equal(pixel(0, 71), 1);
    assert_int_equal(pixel(0, 72), 3);
    assert_int_equal(pixel(80, 100), 3);
    assert_int_equal(pixel(81, 100), 2);
    assert_int_equal(pixel(0, 143), 2);
}

static void the_observation_is_every_second_pixel_with_the_leftmost_in_the_low_bits(void **state)
{
    (void)state;
    struct gb *m = screen();
    for (int i = 0; i < 32; i++) m->vram[MAP0 + i] = 4; // columns 0,1,2,3,0,1,2,3
    m->vram[MAP0 + 32 + 2] = 3;
    for (int i = 0; i < 40; i++) sprite(m, i, i * 4, 20 + i * 3, (uint8_t)(i & 3), 0);
    switch_on(m, BASE | GB_LCDC_SPRITES);
    finish(m);
    assert_int_equal(packed[0], 0 | 2 << 2 | 0 << 4 | 2 << 6); // pixels 0, 2, 4, 6
    assert_int_equal(packed[4 * 20 + 2], 0xff);                // observation row 4, columns 8-11
    assert_int_equal(packed[4 * 20 + 1], 0x00);
    int n_not_zero = 0;
    for (int y = 0; y < GB_OBS_HEIGHT; y++)
        for (int x = 0; x < GB_OBS_WIDTH; x++) {
            assert_int_equal(gb_obs_pixel(packed, x, y), pixel(2 * x, 2 * y));
            n_not_zero += pixel(2 * x, 2 * y) != 0;
        }
    assert_true(n_not_zero > 200);
}

static void a_frame_without_a_lent_lcd_gives_the_same_observation(void **state)
{
    (void)state;
    uint8_t with_lcd[GB_OBS_BYTES];
    for (int lent = 1; lent >= 0; lent--) {
        struct gb *m = screen();
        if (!lent) gb_set_lcd(m, NULL);
        for (int i = 0; i < 32 * 32; i++) m->vram[MAP0 + i] = (uint8_t)(i % 5);
        gb_io_write(m, SCX, 3, 0);
        for (int i = 0; i < 40; i++) sprite(m, i, i * 4, 20 + i * 3, (uint8_t)(i & 3), 0x80);
        switch_on(m, BASE | GB_LCDC_SPRITES);
        at(m, 50, 150, SCX, 6);
        finish(m);
        if (lent) memcpy(with_lcd, packed, sizeof packed);
    }
    assert_memory_equal(packed, with_lcd, sizeof packed);
}

static void the_lcd_off_or_just_on_shows_shade_0(void **state)
{
    (void)state;
    static const uint8_t zeros[GB_OBS_BYTES];
    struct gb *m = screen();
    memset(m->vram + MAP0, 3, 32 * 32);
    switch_on(m, BASE);
    finish(m);
    assert_int_equal(packed[0], 0xff);
    at(m, 150, 0, LCDC, 0);
    gb_observe(m, packed);
    assert_memory_equal(packed, zeros, sizeof zeros);
    assert_null(gb_lcd(m));
    gb_io_write(m, LCDC, BASE, 100000);
    finish(m); // the first frame
    assert_memory_equal(packed, zeros, sizeof zeros);
    gb_catch_up(m, m->ppu.frame_event);
    finish(m);
    assert_int_equal(packed[0], 0xff);
}

static void ly_stat_and_the_line_interrupts_follow_the_dots(void **state)
{
    (void)state;
    struct gb *m = screen();
    gb_io_write(m, 0x45, 10, 0);
    switch_on(m, BASE);
    int32_t line10 = m->ppu.frame_t + 10 * GB_LINE_CYCLES;
    assert_int_equal(gb_io_read(m, 0x44, line10 - 4), 9);
    assert_int_equal(gb_io_read(m, 0x44, line10), 10);
    assert_int_equal(gb_io_read(m, 0x41, line10) & 7, 0);
    assert_int_equal(gb_io_read(m, 0x41, line10 + 4) & 7, 4 + 2);
    assert_int_equal(gb_io_read(m, 0x41, line10 + 84) & 7, 4 + 3);
    assert_int_equal(gb_io_read(m, 0x41, line10 + 252) & 7, 4 + 3);
    assert_int_equal(gb_io_read(m, 0x41, line10 + 256) & 7, 4 + 0);
    const struct {
        uint8_t source;
        int dot;
    } sources[] = {{0x40, 10 * 456 + 4}, {0x20, 456}, {0x08, 256}, {0x10, 144 * 456 + 4}};
    for (size_t i = 0; i < 4; i++) {
        m = screen();
        gb_io_write(m, 0x45, 10, 0);
        switch_on(m, BASE);
        at(m, 0, 200, 0x41, sources[i].source);
        gb_io_write(m, 0x0f, 0, m->ppu.frame_t + 200);
        int32_t due = m->ppu.frame_t + sources[i].dot;
        assert_int_equal(gb_io_read(m, 0x0f, due - 4) & GB_INT_STAT, 0);
        assert_int_equal(gb_io_read(m, 0x0f, due) & GB_INT_STAT, GB_INT_STAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_background_scrolls_and_wraps),
        cmocka_unit_test(tile_numbers_are_signed_when_lcdc_says_so),
        cmocka_unit_test(shades_come_from_the_palette),
        cmocka_unit_test(without_background_all_is_shade_0_but_sprites),
        cmocka_unit_test(the_window_covers_from_wx_minus_7_and_wy),
        cmocka_unit_test(the_window_starts_left_of_the_screen_when_wx_is_below_7),
        cmocka_unit_test(a_hidden_window_keeps_its_own_line_counter),
        cmocka_unit_test(undrawn_frames_count_window_lines_as_well),
        cmocka_unit_test(sprites_flip_and_their_colour_0_is_transparent),
        cmocka_unit_test(the_leftmost_sprite_wins_then_the_first_in_oam),
        cmocka_unit_test(a_sprite_behind_the_background_shows_through_colour_0_only),
        cmocka_unit_test(ten_sprites_a_line_in_oam_order_even_if_off_screen),
        cmocka_unit_test(tall_sprites_use_two_tiles_and_ignore_bit_0),
        cmocka_unit_test(sprites_are_cut_at_all_edges),
        cmocka_unit_test(registers_count_line_by_line_and_within_a_line),
        cmocka_unit_test(the_observation_is_every_second_pixel_with_the_leftmost_in_the_low_bits),
        cmocka_unit_test(a_frame_without_a_lent_lcd_gives_the_same_observation),
        cmocka_unit_test(the_lcd_off_or_just_on_shows_shade_0),
        cmocka_unit_test(ly_stat_and_the_line_interrupts_follow_the_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
