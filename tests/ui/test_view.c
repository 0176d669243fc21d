// View: screens at every size, golden screens, and what keys do to them.
#include "support/test.h"

#include <locale.h>
#include <math.h>

#include "support/fake_run.h"
#include "ui/actions.h"
#include "ui/script.h"
#include "ui/view.h"

#if !SANITIZED && defined(__GLIBC__)
#define COUNTS_ALLOCATIONS 1
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t n);
static long n_allocations;
void *malloc(size_t n) { return n_allocations++, __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return n_allocations++, __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return n_allocations++, __libc_realloc(p, n); }
#else
static long n_allocations;
#endif

static struct fake_run run;
static struct view view;
static double now;

static int setup(void **state) {
    (void)state;
    fake_run_init(&run, 2000);
    view_init(&view, run.feed);
    now = 100;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    view_deinit(&view);
    fake_run_deinit(&run);
    return 0;
}

static void refresh(void) { view_refresh(&view, now += 0.25); }

static void train(int64_t steps) {
    fake_run_advance(&run, steps);
    refresh();
}

static void press(const char *names) {
    char copy[200];
    snprintf(copy, sizeof copy, "%s", names);
    for (char *name = strtok(copy, " "); name; name = strtok(NULL, " ")) {
        assert_true(keys_code(name) != 0);
        actions_key(&view, keys_code(name));
    }
    refresh();
}

static char *screen_of(int w, int h, bool ascii, int colours) {
    struct canvas c;
    canvas_init(&c, w, h);
    c.ascii = ascii;
    c.colours = colours;
    view_draw(&view, &c);
    char *text = canvas_dump(&c);
    canvas_deinit(&c);
    return text;
}

static bool shows(const char *words) {
    char *text = screen_of(120, 40, false, 256);
    bool found = strstr(text, words) != NULL;
    free(text);
    return found;
}

// ---- sizes

static void every_size_is_drawn_on_every_page(void **state) {
    (void)state;
    train(400);
    static const char *const pages[] = {"1", "2", "3", "4", "5", "?"};
    for (size_t p = 0; p < 6; p++) {
        press(pages[p]);
        struct canvas c;
        canvas_init(&c, 1, 1);
        for (int w = 1; w <= 300; w += w < 60 ? 1 : 17)
            for (int h = 1; h <= 100; h += h < 45 ? 1 : 11) {
                canvas_resize(&c, w, h);
                view_draw(&view, &c);
            }
        canvas_deinit(&c);
        if (view.help) press("x");
    }
}

static void nothing_measured_yet_is_drawn_too(void **state) {
    (void)state;
    refresh();
    static const char *const pages[] = {"1", "2", "3", "4", "5"};
    for (size_t p = 0; p < 5; p++) {
        press(pages[p]);
        free(screen_of(120, 40, false, 256));
        free(screen_of(80, 24, true, 0));
    }
    press("1");
    assert_true(shows("waiting for the first picture"));
    assert_true(shows("no data yet"));
    press("2");
    assert_true(shows("no rollout yet"));
    press("5");
    assert_true(shows("no update measured yet"));
    press("left right z Z Home End n N y"); // keys on an empty run
    press("1 left right z Z H K Home End n N y x s b m Tab up down");
}

static void a_small_terminal_names_the_size_it_needs(void **state) {
    (void)state;
    train(10);
    char *text = screen_of(20, 5, false, 256);
    assert_string_equal(text, "terminal too small:\nneeds 40x12, is 20x5\n\n\n\n");
    free(text);
    free(screen_of(1, 1, false, 256));
}

// ---- golden screens: tests/ui/golden/README.md says how they are made

static void golden(const char *name, int w, int h, bool ascii, int colours) {
    char path[256], expected[65536];
    snprintf(path, sizeof path, "tests/ui/golden/%s.txt", name);
    char *text = screen_of(w, h, ascii, colours);
    if (getenv("WORKBENCH_GOLDEN_WRITE")) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(text, f);
        fclose(f);
    }
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("golden screen %s is missing", path);
    expected[fread(expected, 1, sizeof expected - 1, f)] = 0;
    fclose(f);
    if (strcmp(text, expected) != 0) fail_msg("screen differs from %s:\n%s", path, text);
    free(text);
}

static void screens_equal_their_golden_text(void **state) {
    (void)state;
    run.nan_step = 200;
    train(377);
    golden("run_120x40", 120, 40, false, 256);
    golden("run_80x24", 80, 24, false, 256);
    golden("run_80x24_ascii", 80, 24, true, 0);
    golden("run_80x24_8colours", 80, 24, false, 8);
    golden("run_60x20", 60, 20, false, 256);
    golden("run_40x12", 40, 12, false, 256);
    press("3");
    golden("curves_100x30", 100, 30, false, 256);
    press("2");
    golden("rollout_120x40", 120, 40, false, 256);
    golden("rollout_80x24", 80, 24, false, 256);
    press("5");
    golden("time_120x40", 120, 40, false, 256);
    golden("time_60x20", 60, 20, true, 0);
    press("?");
    golden("help_120x40", 120, 40, false, 256);
    golden("help_80x24", 80, 24, false, 256);
}

// ---- keys

static void freezing_keeps_the_screen_and_counts_the_steps_behind(void **state) {
    (void)state;
    train(100);
    press("p");
    train(812);
    assert_int_equal(view.n_records, 100);
    assert_int_equal(view.pictures->opt_steps, 100);
    assert_true(shows("PAUSED, 812 steps behind"));
    press("p");
    assert_int_equal(view.n_records, 912);
    assert_false(shows("behind"));
}

static void new_pictures_are_shown_five_times_a_second_at_most(void **state) {
    (void)state;
    train(10);
    fake_run_advance(&run, 1);
    view_refresh(&view, now += 0.1);
    assert_int_equal(view.pictures->opt_steps, 10);
    assert_int_equal(view.n_records, 11); // the curves don't wait
    view_refresh(&view, now += 0.11);
    assert_int_equal(view.pictures->opt_steps, 11);
}

static void a_failure_shows_even_while_frozen(void **state) {
    (void)state;
    train(100);
    press("p");
    fake_run_status(&run, PHASE_FAILED, "loss is NaN");
    refresh();
    assert_true(shows("failed"));
}

static void space_pauses_the_training_and_u_makes_one_update(void **state) {
    (void)state;
    train(10);
    struct control *c = feed_control(run.feed);
    press("u");
    assert_false(control_take_single_update(c)); // only while paused
    press("space");
    assert_true(control_is_paused(c));
    press("u");
    assert_true(control_take_single_update(c));
    press("space");
    assert_false(control_is_paused(c));
    press("c");
    assert_true(control_take_checkpoint(c));
}

static void zooming_and_panning_stay_inside_the_run(void **state) {
    (void)state;
    train(1000);
    assert_true(view.x_low == 1 && view.x_high == 1000);
    press("z");
    assert_true(view.follow && !view.whole);
    assert_true(fabs(view.x_low - 500.5) < 1e-6 && view.x_high == 1000);
    train(100);
    assert_true(view.x_high == 1100 && fabs(view.x_low - 600.5) < 1e-6); // follows the newest
    press("H");
    assert_false(view.follow);
    train(100);
    assert_true(view.x_high < 1100); // and stands still when told so
    for (int i = 0; i < 30; i++) press("H");
    assert_true(view.x_low == 1);
    for (int i = 0; i < 60; i++) press("K");
    assert_true(fabs(view.x_high - 1200) < 1e-6 && view.follow);
    for (int i = 0; i < 60; i++) press("z");
    assert_true(view.x_high - view.x_low >= 7); // never down to nothing
    for (int i = 0; i < 20; i++) press("Z");
    assert_true(view.whole);
}

static void the_crosshair_walks_and_end_drops_it(void **state) {
    (void)state;
    train(500);
    press("left");
    assert_int_equal(view.crosshair, 499);
    press("left");
    assert_true(view.crosshair < 499);
    press("Home");
    assert_int_equal(view.crosshair, 0);
    press("left");
    assert_int_equal(view.crosshair, 0);
    actions_command(&view, "go 250");
    assert_int_equal(view.crosshair, 249);
    press("End");
    assert_int_equal(view.crosshair, -1);
}

static void n_jumps_to_the_value_that_is_not_a_number(void **state) {
    (void)state;
    run.nan_step = 123;
    train(400);
    press("n");
    assert_int_equal(view.crosshair, 122);
    press("n");
    assert_int_equal(view.crosshair, 122);
    assert_true(shows("no later step"));
}

static void the_visible_records_survive_a_change_of_axis(void **state) {
    (void)state;
    train(1000);
    press("z z");
    for (int i = 0; i < AXIS_COUNT; i++) press("x");
    assert_int_equal(view.axis, AXIS_STEP);
    assert_true(fabs(view.x_low - 751) < 2);
}

static void tab_reaches_every_pane_and_m_maximises_it(void **state) {
    (void)state;
    train(300);
    for (int i = 0; i < view.n_shown; i++) {
        assert_int_equal(view.panel, view.shown[i]);
        press("m");
        assert_int_equal(view_layout(&view, 120, 40).n_plots, 1);
        assert_true(shows(view_panels[view.shown[i]].plot.title));
        press("m tab");
    }
    assert_int_equal(view.focus, FOCUS_LOG);
    press("tab");
    assert_int_equal(view.focus, FOCUS_PICTURES);
    press("m");
    assert_int_equal(view_layout(&view, 120, 40).n_pictures, 3);
    press("m s-tab");
    assert_int_equal(view.focus, FOCUS_LOG);
}

static bool is_shown(const char *title) {
    for (int i = 0; i < view.n_shown; i++)
        if (strcmp(view_panels[view.shown[i]].plot.title, title) == 0) return true;
    return false;
}

static void a_run_shows_the_plots_it_has_metrics_for(void **state) {
    (void)state;
    static const char *const learned[] = {
        "success",        "episode return",       "policy entropy",
        "actor loss",     "critic loss",          "returns in the dream",
        "episode length", "distance to the goal", "step / weights"};
    for (size_t i = 0; i < sizeof learned / sizeof *learned; i++)
        assert_false(is_shown(learned[i]));
    assert_true(is_shown("world-model loss"));
    train(9);
    for (size_t i = 0; i < sizeof learned / sizeof *learned; i++)
        assert_false(is_shown(learned[i]));
    int before = view.panel;
    run.full = true;
    train(5);
    for (size_t i = 0; i < sizeof learned / sizeof *learned; i++) assert_true(is_shown(learned[i]));
    assert_int_equal(view.panel, before); // the focus stays on its plot
    press("3");
    assert_true(shows("success") && shows("policy entropy"));
}

static void the_focused_plot_is_always_on_screen(void **state) {
    (void)state;
    train(300);
    for (int i = 0; i < view.n_shown; i++) {
        char *text = screen_of(80, 24, false, 256);
        assert_non_null(strstr(text, view_panels[view.shown[i]].plot.title));
        free(text);
        press("tab");
    }
}

static void pages_are_named_where_there_is_room_and_the_shown_one_is_marked(void **state) {
    (void)state;
    train(10);
    assert_true(shows("\u25B81 run 2 rollout 3 curves 4 log 5 time"));
    press("4");
    assert_true(shows(" 1 run 2 rollout 3 curves\u25B84 log 5 time"));
    press("1");
    char *narrow = screen_of(80, 24, false, 256);
    assert_null(strstr(narrow, "5 time"));
    free(narrow);
}

static void the_time_page_shows_the_parts_that_a_run_has(void **state) {
    (void)state;
    train(20);
    press("5");
    assert_true(shows("encoder"));
    assert_true(shows("44 %")); // the encoder: 240 of 541 GFLOP/s
    assert_false(shows("imagination"));
    assert_true(shows("environments, a step"));
    run.full = true;
    train(20);
    assert_true(shows("imagination"));
    assert_true(shows("mean of the newest records, step 40"));
    press("left");
    press("left");
    assert_true(shows("step 39"));
    press("End");
    assert_true(shows("mean of the newest records"));
}

static void a_rate_above_the_peak_is_no_share_of_it(void **state) {
    (void)state;
    run.peak_gflops = 230;
    train(20);
    press("5");
    assert_true(shows("above")); // the encoder: 240 of 230
    assert_true(shows("91 %"));  // the heads: 210
    assert_false(shows("104 %"));
    run.peak_gflops = 0;
}

static void frames_of_the_rollout_step_within_their_range(void **state) {
    (void)state;
    train(300);
    press("2");
    assert_int_equal(view.frame, FEED_CONTEXT);
    assert_true(shows("imagined 1/15"));
    press(",");
    assert_true(shows("context 5/5"));
    press("< < <");
    assert_int_equal(view.frame, 0);
    press("> > > > > > .");
    assert_int_equal(view.frame, FEED_ROLLOUT - 1);
    press("a"); // plays: a quarter of a second later one frame on
    assert_int_equal(view.frame, 0);
    refresh();
    assert_int_equal(view.frame, 1);
    press("a");
    refresh();
    assert_int_equal(view.frame, 1);
}

static void a_frame_of_the_rollout_names_the_action_that_led_to_it(void **state) {
    (void)state;
    train(100);
    press("2");
    assert_false(shows("LEFT"));
    snprintf(view.pictures->action[view.frame], FEED_ACTION_SIZE, "LEFT");
    assert_true(shows("frame 6/20 LEFT"));
}

static void the_log_filters_by_level_and_text(void **state) {
    (void)state;
    log_write(LOG_INFO, "apple");
    log_write(LOG_WARN, "pear");
    log_write(LOG_ERROR, "cherry");
    press("4");
    assert_true(shows("apple") && shows("pear") && shows("cherry"));
    press("l");
    assert_true(!shows("apple") && shows("pear") && shows("cherry"));
    press("l l / p e a r | a p p enter");
    assert_true(shows("apple") && shows("pear") && !shows("cherry"));
    press("/ escape");
    assert_true(shows("cherry"));
}

static void text_from_the_outside_cannot_write_to_the_terminal(void **state) {
    (void)state;
    struct feed_status s = {.phase = PHASE_TRAINING};
    snprintf(s.task, sizeof s.task, "a\033[2Jb\u202E\u6F22");
    snprintf(s.message, sizeof s.message, "\033]0;title\007 text");
    feed_set_status(run.feed, &s);
    refresh();
    char *text = screen_of(120, 40, false, 256);
    for (char *p = text; *p; p++) assert_true(*p == '\n' || (unsigned char)*p >= 32);
    assert_null(strstr(text, "\u202E"));
    free(text);
}

static void commands_are_the_words_of_the_key_table(void **state) {
    (void)state;
    train(100);
    press(": c u r v e s enter");
    assert_int_equal(view.page, PAGE_CURVES);
    assert_false(actions_command(&view, "fly away"));
    assert_true(view.notice_bad);
    assert_false(actions_command(&view, "save-screen"));
    assert_false(actions_command(&view, "go nowhere"));
    assert_true(actions_command(&view, "save-screen out file.txt"));
    assert_string_equal(view.save_path, "out file.txt");
    assert_true(actions_command(&view, "q"));
    assert_true(view.quit_asked);
}

static void a_prompt_takes_letters_that_are_keys_elsewhere(void **state) {
    (void)state;
    train(100);
    press(": q space z backspace backspace backspace backspace");
    assert_false(view.quit_asked);
    assert_int_equal(view.prompt, PROMPT_NONE); // emptied by backspace
}

static void a_long_prompt_stays_inside(void **state) {
    (void)state;
    press(":");
    for (int i = 0; i < 500; i++) actions_key(&view, i % 3 ? 0x6F22 : 'x');
    free(screen_of(40, 12, false, 256));
    free(screen_of(120, 40, true, 0));
    for (int i = 0; i < 300; i++) actions_key(&view, KEYCODE_BACKSPACE);
    assert_int_equal(view.prompt, PROMPT_NONE);
}

static void q_in_the_help_screen_only_leaves_the_help(void **state) {
    (void)state;
    press("?");
    assert_true(view.help);
    press("q");
    assert_false(view.help);
    assert_false(view.quit_asked);
    press("f1");
    assert_true(view.help);
}

static void drawing_allocates_nothing_once_the_size_is_known(void **state) {
    (void)state;
#ifndef COUNTS_ALLOCATIONS
    skip(); // a sanitizer owns malloc
#endif
    train(500);
    struct canvas c;
    canvas_init(&c, 120, 40);
    static const char *const pages[] = {"1", "2", "3", "4"};
    for (int round = 0; round < 2; round++)
        for (int p = 0; p < 4; p++) {
            press(pages[p]);
            long before = n_allocations;
            view_draw(&view, &c);
            if (round == 1)
                assert_int_equal(n_allocations, before);
            else
                assert_true(n_allocations > 0); // the counter counts
        }
    canvas_deinit(&c);
}

static void an_unchanged_run_is_not_dirty(void **state) {
    (void)state;
    train(100);
    view.dirty = false;
    refresh();
    assert_false(view.dirty);
    train(1);
    assert_true(view.dirty);
}

// ---- scripts

static bool load(const char *text, struct error *e) {
    char path[4200];
    snprintf(path, sizeof path, "%s/script", test_folder());
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    struct script s;
    bool ok = script_load(path, &s, e);
    if (ok) script_free(&s);
    return ok;
}

static void good_scripts_load(void **state) {
    (void)state;
    struct error e = {0};
    assert_true(
        load("# all of them\n\nspace\n  tab \nwait 250\nwait-step "
             "10\nwait-pictures\nwait-end\nsave x.txt\nsize 80x24\ntype hello\n:go 5\n:\nq\n",
             &e));
}

static void bad_scripts_are_refused_with_their_line(void **state) {
    (void)state;
    static const char *const bad[] = {"wait",        "wait x", "wait -5", "size 80",    "size 0x5",
                                      "size 80x24x", "save",   "jump",    "wait-end 5", "type"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        struct error e = {0};
        snprintf(text, sizeof text, "space\n%s\n", bad[i]);
        assert_false(load(text, &e));
        assert_int_equal(e.status, STATUS_USAGE);
        assert_non_null(strstr(e.message, "line 2"));
    }
    struct error e = {0};
    struct script s;
    assert_false(script_load("/nonexistent/script", &s, &e));
    assert_non_null(strstr(e.message, "/nonexistent/script"));
}

int main(void) {
    setlocale(LC_CTYPE, "C.UTF-8");
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(screens_equal_their_golden_text), // first: the log is still empty
        T(every_size_is_drawn_on_every_page),
        T(nothing_measured_yet_is_drawn_too),
        T(a_small_terminal_names_the_size_it_needs),
        T(freezing_keeps_the_screen_and_counts_the_steps_behind),
        T(new_pictures_are_shown_five_times_a_second_at_most),
        T(a_failure_shows_even_while_frozen),
        T(space_pauses_the_training_and_u_makes_one_update),
        T(zooming_and_panning_stay_inside_the_run),
        T(the_crosshair_walks_and_end_drops_it),
        T(n_jumps_to_the_value_that_is_not_a_number),
        T(the_visible_records_survive_a_change_of_axis),
        T(tab_reaches_every_pane_and_m_maximises_it),
        T(a_run_shows_the_plots_it_has_metrics_for),
        T(the_focused_plot_is_always_on_screen),
        T(pages_are_named_where_there_is_room_and_the_shown_one_is_marked),
        T(the_time_page_shows_the_parts_that_a_run_has),
        T(a_rate_above_the_peak_is_no_share_of_it),
        T(frames_of_the_rollout_step_within_their_range),
        T(a_frame_of_the_rollout_names_the_action_that_led_to_it),
        T(the_log_filters_by_level_and_text),
        T(text_from_the_outside_cannot_write_to_the_terminal),
        T(commands_are_the_words_of_the_key_table),
        T(a_prompt_takes_letters_that_are_keys_elsewhere),
        T(a_long_prompt_stays_inside),
        T(q_in_the_help_screen_only_leaves_the_help),
        T(drawing_allocates_nothing_once_the_size_is_known),
        T(an_unchanged_run_is_not_dirty),
        T(good_scripts_load),
        T(bad_scripts_are_refused_with_their_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
