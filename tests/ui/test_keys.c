// Keys: one table, no key twice, everything in the help screen, every entry does something.
#include "support/test.h"

#include <locale.h>

#include "ui/actions.h"
#include "ui/keys.h"

static void no_key_and_no_command_is_there_twice(void **state) {
    (void)state;
    for (int a = ACTION_NONE + 1; a < ACTION_COUNT; a++) {
        const struct key_entry *k = &keys_table[a];
        assert_int_equal(keys_action(k->key), a);
        if (k->key2) assert_int_equal(keys_action(k->key2), a);
        assert_int_equal(keys_command(k->command), a);
    }
}

static void every_key_has_a_handler(void **state) {
    (void)state;
    for (int a = ACTION_NONE + 1; a < ACTION_COUNT; a++)
        assert_true(actions_have_handler((enum action)a));
}

static void every_key_with_a_context_has_help_that_fits_its_column(void **state) {
    (void)state;
    setlocale(LC_CTYPE, "C.UTF-8");
    for (int a = ACTION_NONE + 1; a < ACTION_COUNT; a++) {
        if (!keys_table[a].contexts) continue;
        assert_true(*keys_table[a].help);
        assert_true(canvas_text_width(keys_table[a].help) <= 48);
        assert_true(canvas_text_width(keys_table[a].shown) <= 7);
    }
}

static void keys_without_meaning_do_nothing(void **state) {
    (void)state;
    assert_int_equal(keys_action(0), ACTION_NONE);
    assert_int_equal(keys_action(0x1F600), ACTION_NONE);
    assert_int_equal(keys_action(KEYCODE_RESIZE), ACTION_NONE);
    assert_int_equal(keys_command("fly"), ACTION_NONE);
}

static void names_of_keys_are_understood(void **state) {
    (void)state;
    assert_int_equal(keys_code("space"), ' ');
    assert_int_equal(keys_code("Left"), KEYCODE_LEFT);
    assert_int_equal(keys_code("F1"), KEYCODE_F1);
    assert_int_equal(keys_code("ctrl-l"), KEYCODE_CTRL_L);
    assert_int_equal(keys_code("z"), 'z');
    assert_int_equal(keys_code("\u00E9"), 0xE9);
    assert_int_equal(keys_code("zz"), 0);
    assert_int_equal(keys_code(""), 0);
}

static void the_footer_starts_with_help_and_quit_and_shows_the_focused_pane(void **state) {
    (void)state;
    enum action out[ACTION_COUNT];
    static const struct {
        enum key_context context;
        enum action must, must_not;
    } cases[] = {{KEYS_PLOT, ACTION_SMOOTH, ACTION_FRAME_ON},
                 {KEYS_LOG, ACTION_FILTER, ACTION_SMOOTH},
                 {KEYS_ROLLOUT, ACTION_FRAME_BACK, ACTION_FILTER},
                 {KEYS_PICTURE, ACTION_PALETTE, ACTION_SMOOTH}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = keys_footer(cases[i].context, out);
        assert_int_equal(out[0], ACTION_HELP);
        assert_int_equal(out[1], ACTION_QUIT);
        bool found = false;
        for (size_t k = 0; k < n; k++) {
            found |= out[k] == cases[i].must;
            assert_true(out[k] != cases[i].must_not);
            for (size_t j = 0; j < k; j++) assert_true(out[j] != out[k]);
        }
        assert_true(found);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_key_and_no_command_is_there_twice),
        cmocka_unit_test(every_key_has_a_handler),
        cmocka_unit_test(every_key_with_a_context_has_help_that_fits_its_column),
        cmocka_unit_test(keys_without_meaning_do_nothing),
        cmocka_unit_test(names_of_keys_are_understood),
        cmocka_unit_test(the_footer_starts_with_help_and_quit_and_shows_the_focused_pane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
