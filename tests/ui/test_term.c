// Term: curses in process on /dev/null: what is shown where, colours by terminal type, the locale
// trap.
#include "support/test.h"

#include <curses.h>
#include <langinfo.h>
#include <locale.h>

#include "ui/term.h"

// ncurses itself loses a few bytes with each terminal type it doesn't know.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libtinfo\n"; }

static FILE *in, *out;
static struct canvas canvas;

static int setup(void **state) {
    (void)state;
    static const char *const unset[] = {"NO_COLOR", "LC_ALL",  "LC_CTYPE",
                                        "LANG",     "COLUMNS", "LINES"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) unsetenv(unset[i]);
    setenv("LC_ALL", "C.UTF-8", 1);
    setenv("TERM", "xterm-256color", 1);
    in = fopen("/dev/null", "r");
    out = fopen("/dev/null", "w");
    canvas_init(&canvas, 80, 24);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    canvas_deinit(&canvas);
    fclose(in);
    fclose(out);
    return 0;
}

static struct terminal *open_it(bool no_color) {
    struct error e = {0};
    struct terminal *t =
        term_open(&(struct term_opts){.no_color = no_color, .in = in, .out = out}, &e);
    if (!t) fail_msg("%s", e.message);
    term_force_size(t, 80, 24);
    return t;
}

static void what_is_on_the_canvas_is_on_the_screen(void **state) {
    (void)state;
    struct terminal *t = open_it(false);
    canvas_text(&canvas, (struct rect){3, 2, 20, 1}, style_on(ROLE_GREY, ROLE_GREY_LAST, ATTR_BOLD),
                "\u28FFx\u6F22!");
    term_show(t, &canvas);
    static const wchar_t expected[] = {0x28FF, 'x', 0x6F22, 0, '!'};
    for (int i = 0; i < 5; i++) {
        if (!expected[i]) continue;
        cchar_t cc;
        wchar_t text[CCHARW_MAX + 1];
        attr_t attrs;
        short pair, fg, bg;
        mvin_wch(2, 3 + i, &cc);
        getcchar(&cc, text, &attrs, &pair, NULL);
        assert_int_equal(text[0], expected[i]);
        assert_true(attrs & A_BOLD);
        pair_content(pair, &fg, &bg);
        assert_int_equal(fg, 231);
        assert_int_equal(bg, 232);
    }
    term_close(t);
}

static void more_than_255_colour_pairs_keep_their_colours(void **state) {
    (void)state;
    struct terminal *t = open_it(false);
    for (int i = 0; i < ROLE_HEATS * ROLE_HEATS + ROLE_GREYS * ROLE_GREYS; i++) {
        struct style s =
            i < 144 ? style_on((enum role)(ROLE_HEAT + i % 12), (enum role)(ROLE_HEAT + i / 12), 0)
                    : style_on((enum role)(ROLE_GREY + (i - 144) % 13),
                               (enum role)(ROLE_GREY + (i - 144) / 13), 0);
        canvas_put(&canvas, i % 80, i / 80, 0x2580, s);
    }
    term_show(t, &canvas);
    for (int i = 0; i < ROLE_HEATS * ROLE_HEATS + ROLE_GREYS * ROLE_GREYS; i++) {
        cchar_t cc;
        wchar_t text[CCHARW_MAX + 1];
        attr_t attrs;
        short pair, fg, bg;
        mvin_wch(i / 80, i % 80, &cc);
        getcchar(&cc, text, &attrs, &pair, NULL);
        pair_content(pair, &fg, &bg);
        const struct cell *cell = canvas_at(&canvas, i % 80, i / 80);
        assert_int_equal(fg, role_colour(cell->fg)->c256);
        assert_int_equal(bg, role_colour(cell->bg)->c256);
    }
    term_close(t);
}

static void colours_follow_the_terminal_type(void **state) {
    (void)state;
    static const struct {
        const char *term;
        int colours;
    } cases[] = {{"xterm-256color", 256}, {"screen-256color", 256}, {"linux", 8}, {"vt100", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("TERM", cases[i].term, 1);
        struct terminal *t = open_it(false);
        assert_int_equal(term_colours(t), cases[i].colours);
        for (int k = 0; k < 80 * 24; k++) // more pairs than a small terminal has: must not crash
            canvas_put(&canvas, k % 80, k / 80, 'x',
                       style_on((enum role)(k % ROLE_COUNT), (enum role)(k / ROLE_COUNT), 0));
        term_show(t, &canvas);
        term_close(t);
    }
}

static void no_color_is_obeyed(void **state) {
    (void)state;
    struct terminal *t = open_it(true);
    assert_int_equal(term_colours(t), 0);
    term_close(t);
    setenv("NO_COLOR", "1", 1);
    t = open_it(false);
    assert_int_equal(term_colours(t), 0);
    term_close(t);
    setenv("NO_COLOR", "", 1); // no-color.org: an empty value means nothing
    t = open_it(false);
    assert_int_equal(term_colours(t), 256);
    term_close(t);
    unsetenv("NO_COLOR");
}

static void unknown_terminals_fall_back(void **state) {
    (void)state;
    static const char *const names[] = {"no-such-terminal", "xterm-kitty", ""};
    for (size_t i = 0; i < 3; i++) {
        setenv("TERM", names[i], 1);
        struct terminal *t = open_it(false);
        assert_int_equal(term_colours(t), 256);
        term_close(t);
    }
}

static void a_locale_that_is_not_installed_still_gives_utf8(void **state) {
    (void)state;
    setenv("LC_ALL", "xx_YY.UTF-8", 1);
    assert_true(term_locale());
    assert_string_equal(nl_langinfo(CODESET), "UTF-8");
    setenv("LC_ALL", "xx_YY.utf8", 1);
    assert_true(term_locale());
}

static void a_locale_without_utf8_gives_ascii(void **state) {
    (void)state;
    static const char *const names[] = {"C", "POSIX", "en_US.ISO-8859-1"};
    for (size_t i = 0; i < 3; i++) {
        setenv("LC_ALL", names[i], 1);
        assert_false(term_locale());
        struct terminal *t = open_it(false);
        assert_true(term_ascii(t));
        term_close(t);
    }
}

static void the_locale_of_numbers_is_never_changed(void **state) {
    (void)state;
    setenv("LC_ALL", "C.UTF-8", 1);
    term_locale();
    assert_string_equal(setlocale(LC_NUMERIC, NULL), "C");
}

static void a_terminal_at_its_end_is_noticed(void **state) {
    (void)state;
    struct terminal *t = open_it(false); // /dev/null: always readable, never a key
    int turns = 0;
    while (term_wait(t, 10) && turns < 100) {
        while (term_key(t)) continue;
        turns++;
    }
    assert_in_range(turns, 1, 10);
    term_close(t);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_is_on_the_canvas_is_on_the_screen),
        T(more_than_255_colour_pairs_keep_their_colours),
        T(colours_follow_the_terminal_type),
        T(no_color_is_obeyed),
        T(unknown_terminals_fall_back),
        T(a_locale_that_is_not_installed_still_gives_utf8),
        T(a_locale_without_utf8_gives_ascii),
        T(the_locale_of_numbers_is_never_changed),
        T(a_terminal_at_its_end_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
