// Canvas: text of any origin stays inside, wide glyphs stay whole, dumps are what is on the screen.
#include "support/test.h"

#include <locale.h>

#include "ui/canvas.h"

static struct canvas canvas(int w, int h) {
    struct canvas c;
    canvas_init(&c, w, h);
    return c;
}

static void expect_dump(const struct canvas *c, const char *expected) {
    char *text = canvas_dump(c);
    assert_string_equal(text, expected);
    free(text);
}

static void control_characters_and_escapes_are_dropped(void **state) {
    (void)state;
    struct canvas c = canvas(20, 1);
    canvas_text(&c, (struct rect){0, 0, 20, 1}, style(ROLE_TEXT),
                "a\033[31mb\tc\nd\x7f\xc2\x9b"
                "e");
    expect_dump(&c, "a[31mbcde\n");
    canvas_deinit(&c);
}

static void invisible_and_direction_marks_are_dropped(void **state) {
    (void)state;
    struct canvas c = canvas(20, 1);
    assert_int_equal(
        canvas_text(&c, (struct rect){0, 0, 20, 1}, style(ROLE_TEXT), "a\u202Eb\u200Bc\uFEFFd"), 4);
    expect_dump(&c, "abcd\n");
    canvas_deinit(&c);
}

static void combining_marks_take_no_cell(void **state) {
    (void)state;
    assert_int_equal(canvas_text_width("e\u0301a"), 2);
}

static void broken_bytes_become_replacement_characters(void **state) {
    (void)state;
    struct canvas c = canvas(8, 1);
    assert_int_equal(
        canvas_text(&c, (struct rect){0, 0, 8, 1}, style(ROLE_TEXT), "a\xff\xc3(\xe2\x82"), 6);
    expect_dump(&c, "a\uFFFD\uFFFD(\uFFFD\uFFFD\n");
    canvas_deinit(&c);
}

static void overlong_and_surrogate_sequences_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *p = bad[i];
        assert_int_equal(utf8_next(&p), 0xFFFD);
        assert_true(p > bad[i]);
    }
}

static void wide_glyphs_take_two_cells_and_are_never_cut(void **state) {
    (void)state;
    struct canvas c = canvas(6, 1);
    assert_int_equal(canvas_text(&c, (struct rect){0, 0, 6, 1}, style(ROLE_TEXT), "\u6F22\u5B57x"),
                     5);
    assert_int_equal(canvas_at(&c, 0, 0)->width, 2);
    assert_int_equal(canvas_at(&c, 1, 0)->width, 0);
    expect_dump(&c, "\u6F22\u5B57x\n");
    canvas_clear(&c);
    assert_int_equal(canvas_text(&c, (struct rect){0, 0, 4, 1}, style(ROLE_TEXT), "a\u6F22\u5B57"),
                     4);
    expect_dump(&c, "a\u6F22\u2026\n");
    canvas_clear(&c);
    assert_int_equal(canvas_text(&c, (struct rect){0, 0, 3, 1}, style(ROLE_TEXT), "a\u6F22\u5B57"),
                     2);
    expect_dump(&c, "a\u2026\n");
    canvas_deinit(&c);
}

static void writing_over_half_a_wide_glyph_blanks_the_other_half(void **state) {
    (void)state;
    struct canvas c = canvas(4, 1);
    canvas_text(&c, (struct rect){0, 0, 4, 1}, style(ROLE_TEXT), "\u6F22\u5B57");
    canvas_put(&c, 1, 0, 'x', style(ROLE_TEXT));
    canvas_put(&c, 2, 0, 'y', style(ROLE_TEXT));
    expect_dump(&c, " xy\n");
    for (int x = 0; x < 4; x++) assert_int_equal(canvas_at(&c, x, 0)->width, 1);
    canvas_deinit(&c);
}

static void text_too_long_ends_in_an_ellipsis(void **state) {
    (void)state;
    struct canvas c = canvas(10, 1);
    assert_int_equal(canvas_text(&c, (struct rect){2, 0, 5, 1}, style(ROLE_TEXT), "reconstruction"),
                     5);
    expect_dump(&c, "  reco\u2026\n");
    canvas_clear(&c);
    c.ascii = true;
    canvas_text(&c, (struct rect){2, 0, 5, 1}, style(ROLE_TEXT), "reconstruction");
    expect_dump(&c, "  reco~\n");
    canvas_deinit(&c);
}

static void nothing_is_ever_written_outside(void **state) {
    (void)state;
    struct canvas c = canvas(5, 3);
    for (int y = -4; y < 8; y++)
        for (int x = -8; x < 12; x++) {
            canvas_put(&c, x, y, 'x', style(ROLE_TEXT));
            canvas_text(&c, (struct rect){x, y, 9, 1}, style(ROLE_TEXT), "\u6F22\u5B57 text");
            canvas_fill(&c, (struct rect){x, y, 4, 4}, '#', style(ROLE_TEXT));
            canvas_tint(&c, (struct rect){x, y, 4, 4}, ROLE_BAR);
            canvas_paragraph(&c, (struct rect){x, y, 3, 9}, style(ROLE_TEXT), "some words to wrap");
        }
    assert_null(canvas_at(&c, 5, 0));
    assert_null(canvas_at(&c, 0, -1));
    canvas_deinit(&c);
}

static void a_paragraph_wraps_at_blanks_and_survives_one_column(void **state) {
    (void)state;
    struct canvas c = canvas(10, 4);
    assert_int_equal(canvas_paragraph(&c, (struct rect){0, 0, 10, 4}, style(ROLE_TEXT),
                                      "terminal too small: needs"),
                     3);
    expect_dump(&c, "terminal\ntoo small:\nneeds\n\n");
    canvas_clear(&c);
    assert_int_equal(
        canvas_paragraph(&c, (struct rect){0, 0, 1, 4}, style(ROLE_TEXT), "\u6F22\u5B57ab"), 4);
    canvas_deinit(&c);
}

static void ascii_mode_writes_ascii_only(void **state) {
    (void)state;
    struct canvas c = canvas(40, 1);
    c.ascii = true;
    canvas_text(&c, (struct rect){0, 0, 40, 1}, style(ROLE_TEXT),
                "\u2500\u2502\u25CF\u2026\u00B7\u6F22 \u2588\u2591\u2717");
    for (int x = 0; x < 40; x++) assert_in_range(canvas_at(&c, x, 0)->glyph, 32, 126);
    canvas_deinit(&c);
}

static void the_coloured_dump_names_the_palette_colours(void **state) {
    (void)state;
    struct canvas c = canvas(3, 1);
    canvas_put(&c, 0, 0, 'x', style_on(ROLE_GREY, ROLE_GREY_LAST, ATTR_BOLD));
    char *text = canvas_dump_colour(&c);
    assert_string_equal(text, "\033[0;1;38;5;231;48;5;232mx\033[0m\n");
    free(text);
    canvas_deinit(&c);
}

int main(void) {
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_and_escapes_are_dropped),
        cmocka_unit_test(invisible_and_direction_marks_are_dropped),
        cmocka_unit_test(combining_marks_take_no_cell),
        cmocka_unit_test(broken_bytes_become_replacement_characters),
        cmocka_unit_test(overlong_and_surrogate_sequences_are_refused),
        cmocka_unit_test(wide_glyphs_take_two_cells_and_are_never_cut),
        cmocka_unit_test(writing_over_half_a_wide_glyph_blanks_the_other_half),
        cmocka_unit_test(text_too_long_ends_in_an_ellipsis),
        cmocka_unit_test(nothing_is_ever_written_outside),
        cmocka_unit_test(a_paragraph_wraps_at_blanks_and_survives_one_column),
        cmocka_unit_test(ascii_mode_writes_ascii_only),
        cmocka_unit_test(the_coloured_dump_names_the_palette_colours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
