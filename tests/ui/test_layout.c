// Layout: for every size of a terminal, everything is inside, nothing overlaps, and pictures have
// the promised sizes.
#include "support/test.h"

#include "ui/layout.h"

enum { MAX_RECTS = 80 };

static int collect(const struct layout *l, struct rect *out) {
    int n = 0;
    out[n++] = l->header;
    out[n++] = l->stats;
    out[n++] = l->footer;
    if (l->log.h) out[n++] = l->log;
    for (int i = 0; i < l->n_pictures; i++) out[n++] = l->pictures[i];
    for (int i = 0; i < l->n_plots; i++) out[n++] = l->plots[i];
    if (l->errors.h) out[n++] = l->errors;
    for (int i = 0; i < l->n_thumbs; i++) out[n++] = l->truth[i], out[n++] = l->dream[i];
    return n;
}

static void check(const struct layout *l, int w, int h) {
    struct rect r[MAX_RECTS];
    int n = collect(l, r);
    for (int i = 0; i < n; i++) {
        if (r[i].x < 0 || r[i].y < 0 || r[i].w < 1 || r[i].h < 1 || r[i].x + r[i].w > w ||
            r[i].y + r[i].h > h)
            fail_msg("%dx%d: rectangle %d is %d,%d %dx%d", w, h, i, r[i].x, r[i].y, r[i].w, r[i].h);
        for (int j = 0; j < i; j++)
            if (r[i].x < r[j].x + r[j].w && r[j].x < r[i].x + r[i].w && r[i].y < r[j].y + r[j].h &&
                r[j].y < r[i].y + r[i].h)
                fail_msg("%dx%d: rectangles %d and %d overlap", w, h, i, j);
    }
}

static void every_size_gives_rectangles_inside_that_do_not_overlap(void **state) {
    (void)state;
    for (int kind = LAYOUT_RUN; kind <= LAYOUT_TABLE; kind++)
        for (int w = 1; w <= 300; w++)
            for (int h = 1; h <= 100; h++)
                for (int plots = 1; plots <= 8; plots += 7) {
                    struct layout l = layout_make((enum layout_kind)kind, w, h, plots);
                    assert_int_equal(l.too_small, w < LAYOUT_MIN_WIDTH || h < LAYOUT_MIN_HEIGHT);
                    if (!l.too_small) check(&l, w, h);
                }
}

static void expect_pictures(int w, int h, int n, int pw, int ph) {
    struct layout l = layout_make(LAYOUT_RUN, w, h, 8);
    assert_int_equal(l.n_pictures, n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(l.pictures[i].w, pw);
        assert_int_equal(l.pictures[i].h, ph + 1);
    }
}

static void three_half_size_pictures_stand_side_by_side_at_120x40(void **state) {
    (void)state;
    expect_pictures(120, 40, 3, 40, 18);
}

static void three_full_size_pictures_from_240_columns(void **state) {
    (void)state;
    expect_pictures(240, 60, 3, 80, 36);
    expect_pictures(300, 100, 3, 80, 36);
}

static void smaller_terminals_show_one_picture_at_a_time(void **state) {
    (void)state;
    expect_pictures(80, 24, 1, 40, 18);
    expect_pictures(100, 30, 1, 40, 18);
    expect_pictures(119, 40, 1, 60, 27);
}

static void curves_are_shown_at_every_size_that_is_large_enough(void **state) {
    (void)state;
    for (int w = LAYOUT_MIN_WIDTH; w <= 300; w++)
        for (int h = LAYOUT_MIN_HEIGHT; h <= 100; h++) {
            struct layout l = layout_make(LAYOUT_RUN, w, h, 8);
            assert_true(l.n_plots >= 1);
            for (int i = 0; i < l.n_plots; i++)
                assert_true(l.plots[i].w >= 20 && l.plots[i].h >= 5);
        }
}

static void at_120x40_six_plots_and_the_log_fit_below(void **state) {
    (void)state;
    struct layout l = layout_make(LAYOUT_RUN, 120, 40, 8);
    assert_int_equal(l.n_plots, 6);
    assert_true(l.log.h >= 3);
}

static void the_rollout_page_has_both_strips_at_120x40(void **state) {
    (void)state;
    struct layout l = layout_make(LAYOUT_ROLLOUT, 120, 40, 0);
    assert_int_equal(l.n_pictures, 3);
    assert_true(l.n_thumbs >= 8);
    assert_true(l.errors.h >= 5);
}

static void a_maximised_plot_takes_the_whole_body(void **state) {
    (void)state;
    struct layout l = layout_make(LAYOUT_PLOTS_ONLY, 100, 30, 1);
    assert_int_equal(l.n_plots, 1);
    assert_int_equal(l.plots[0].w, 100);
    assert_int_equal(l.plots[0].h, l.body.h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_gives_rectangles_inside_that_do_not_overlap),
        cmocka_unit_test(three_half_size_pictures_stand_side_by_side_at_120x40),
        cmocka_unit_test(three_full_size_pictures_from_240_columns),
        cmocka_unit_test(smaller_terminals_show_one_picture_at_a_time),
        cmocka_unit_test(curves_are_shown_at_every_size_that_is_large_enough),
        cmocka_unit_test(at_120x40_six_plots_and_the_log_fit_below),
        cmocka_unit_test(the_rollout_page_has_both_strips_at_120x40),
        cmocka_unit_test(a_maximised_plot_takes_the_whole_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
