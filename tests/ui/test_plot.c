// Plot: stays in its rectangle, keeps every spike, marks what is not a number, labels its axes.
#include "support/test.h"

#include <locale.h>
#include <math.h>

#include "support/fake_run.h"
#include "ui/plot.h"

static struct feed *feed;
static struct curves *curves;
static struct plotter *plotter;

static int setup(void **state) {
    (void)state;
    feed = feed_new(0);
    curves = curves_new(feed);
    plotter = plotter_new();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    plotter_free(plotter);
    curves_free(curves);
    feed_free(feed);
    return 0;
}

static void push(float value) {
    struct record r = {.opt_steps = feed_n_records(feed) + 1};
    fake_put(&r, METRIC_KL_DYN, value);
    feed_push_record(feed, &r, (double)r.opt_steps);
}

static const struct plot_panel panel = {
    .title = "KL", .unit = "nats", .n_series = 1, .series = {{METRIC_KL_DYN, "raw"}}};

static struct plot_look look(void) {
    curves_update(curves);
    int64_t n = curves_count(curves);
    return (struct plot_look){
        .x_low = 1, .x_high = n > 1 ? (double)n : 2, .n_records = n, .crosshair = -1};
}

static char *drawn(int w, int h, const struct plot_panel *p, const struct plot_look *l,
                   bool ascii) {
    struct canvas c;
    canvas_init(&c, w, h);
    c.ascii = ascii;
    plot_draw(plotter, &c, (struct rect){0, 0, w, h}, p, l, curves);
    char *text = canvas_dump(&c);
    canvas_deinit(&c);
    return text;
}

static void it_never_writes_outside_its_rectangle(void **state) {
    (void)state;
    for (int i = 0; i < 500; i++) push(i == 250 ? NAN : (float)(i % 37) - 5);
    struct plot_look l = look();
    struct plot_panel banded = panel;
    banded.band_low = 1, banded.band_high = 3;
    struct canvas c;
    canvas_init(&c, 60, 24);
    for (int w = 0; w < 54; w += 1)
        for (int h = 0; h < 20; h++)
            for (int variant = 0; variant < 6; variant++) {
                l.glyphs = (enum plot_glyphs)(variant % 3);
                l.log_y = variant & 1;
                l.smoothing = variant & 2;
                l.crosshair = variant == 4 ? 100 : -1;
                canvas_fill(&c, (struct rect){0, 0, 60, 24}, '@', style(ROLE_TEXT));
                plot_draw(plotter, &c, (struct rect){3, 2, w, h}, variant == 5 ? &banded : &panel,
                          &l, curves);
                for (int y = 0; y < 24; y++)
                    for (int x = 0; x < 60; x++)
                        if (x < 3 || y < 2 || x >= 3 + w || y >= 2 + h)
                            assert_int_equal(canvas_at(&c, x, y)->glyph, '@');
            }
    canvas_deinit(&c);
}

static void no_spike_is_lost_however_long_the_run(void **state) {
    (void)state;
    for (int i = 0; i < 200000; i++) push(i == 123456 ? 1000 : 1);
    struct plot_look l = look();
    char *text = drawn(50, 12, &panel, &l, true);
    char *second = strchr(text, '\n') + 1, *third = strchr(second, '\n');
    *third = 0;
    assert_non_null(strpbrk(second + 8, ":.'")); // the spike reaches the top row
    free(text);
}

static void bad_values_are_marked_and_counted(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) push(i == 20 ? NAN : i == 60 ? INFINITY : 1 + (float)(i % 5));
    struct plot_look l = look();
    char *text = drawn(60, 8, &panel, &l, false);
    assert_non_null(strstr(text, "2 NaN/Inf"));
    int marks = 0;
    for (char *p = text; (p = strstr(p, "\u2717")); p++) marks++;
    assert_int_equal(marks, 2);
    free(text);
}

static void only_bad_values_still_give_a_plot(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++) push(NAN);
    struct plot_look l = look();
    l.log_y = true;
    char *text = drawn(60, 8, &panel, &l, false);
    assert_non_null(strstr(text, "10 NaN/Inf"));
    free(text);
}

static void no_records_say_so(void **state) {
    (void)state;
    struct plot_look l = look();
    char *text = drawn(40, 6, &panel, &l, false);
    assert_non_null(strstr(text, "no data yet"));
    free(text);
}

static void axes_carry_units_and_round_numbers(void **state) {
    (void)state;
    for (int i = 0; i < 1000; i++) push((float)i / 100);
    struct plot_look l = look();
    char *text = drawn(60, 10, &panel, &l, false);
    assert_non_null(strstr(text, "nats"));
    assert_non_null(strstr(text, "step"));
    assert_non_null(strstr(text, "400"));
    assert_non_null(strstr(text, "  5\u2524"));
    free(text);
    l.axis = AXIS_RELATIVE;
    text = drawn(60, 10, &panel, &l, false);
    assert_non_null(strstr(text, "elapsed"));
    assert_non_null(strstr(text, "10:00"));
    free(text);
    l.axis = AXIS_WALL;
    l.clock_at_0_s = 23 * 3600 + 55 * 60;
    text = drawn(60, 10, &panel, &l, false);
    assert_non_null(strstr(text, "clock"));
    assert_non_null(strstr(text, "00:00"));
    free(text);
}

static void an_axis_of_zeros_begins_at_zero(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) push(0);
    const struct plot_look l = look();
    char *text = drawn(40, 10, &panel, &l, false);
    assert_non_null(strstr(text, " 0\u2524"));
    assert_null(strstr(text, "-"));
    free(text);
}

static void a_logarithmic_axis_has_powers_of_ten(void **state) {
    (void)state;
    for (int i = 0; i < 1000; i++) push(powf(10, 3 - (float)i / 200));
    struct plot_look l = look();
    l.log_y = true;
    char *text = drawn(60, 16, &panel, &l, false);
    assert_non_null(strstr(text, "1000\u2524"));
    assert_non_null(strstr(text, "0.1\u2524"));
    assert_non_null(strstr(text, "log nats"));
    free(text);
}

static void zero_on_a_logarithmic_axis_sits_on_the_bottom(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) push(0);
    for (int i = 0; i < 50; i++) push(100);
    struct plot_look l = look();
    l.log_y = true;
    char *text = drawn(40, 8, &panel, &l, true);
    char *row = text;
    for (int i = 0; i < 6; i++) row = strchr(row, '\n') + 1;
    assert_memory_equal(row + 8, "...", 3);
    free(text);
}

static void the_crosshair_shows_the_exact_value(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) push(i == 41 ? 5.125f : 1);
    struct plot_look l = look();
    l.crosshair = 41;
    char *text = drawn(50, 8, &panel, &l, false);
    assert_non_null(strstr(text, "5.125"));
    free(text);
}

static void two_points_are_joined_by_a_straight_line(void **state) {
    (void)state;
    push(0);
    push(10);
    struct plot_look l = look();
    l.smoothing = 0;
    char *text =
        drawn(49, 12, &panel, &l, true); // 40 columns, 20 rows of dots: a dot pair in each column
    int columns = 0;
    for (int x = 8; x < 48; x++) {
        char *row = text;
        int dots = 0;
        for (int y = 0; y < 11; y++, row = strchr(row, '\n') + 1)
            if (y > 0 && (int)strcspn(row, "\n") > x && strchr(".:'", row[x])) dots++;
        columns += dots > 0;
    }
    assert_int_equal(columns, 40);
    free(text);
}

static void numbers_are_short_and_exact_enough(void **state) {
    (void)state;
    static const struct {
        double v;
        const char *text;
    } cases[] = {{0, "0"},           {0.00012, "1.2e-04"}, {0.0123, "0.0123"}, {1.2345, "1.234"},
                 {9.996, "10.00"},   {12.345, "12.35"},    {123.45, "123.5"},  {1234.5, "1234"},
                 {12345, "12.3k"},   {1234567, "1.2M"},    {-0.5, "-0.500"},   {NAN, "NaN"},
                 {-INFINITY, "-Inf"}};
    char out[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        plot_format(cases[i].v, out);
        assert_string_equal(out, cases[i].text);
    }
    for (int e = -40; e < 40; e++) {
        plot_format(-9.99949 * pow(10, e), out);
        assert_true(strlen(out) <= 8);
    }
}

static void times_read_like_clocks(void **state) {
    (void)state;
    static const struct {
        double v;
        const char *text;
    } cases[] = {{0, "0:00"},          {7, "0:07"},  {751, "12:31"}, {11045, "3:04:05"},
                 {183840, "2d 03:04"}, {-3, "0:00"}, {NAN, "0:00"}};
    char out[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        plot_format_time(cases[i].v, out);
        assert_string_equal(out, cases[i].text);
    }
}

int main(void) {
    setlocale(LC_CTYPE, "C.UTF-8");
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(it_never_writes_outside_its_rectangle),
        T(no_spike_is_lost_however_long_the_run),
        T(bad_values_are_marked_and_counted),
        T(only_bad_values_still_give_a_plot),
        T(no_records_say_so),
        T(axes_carry_units_and_round_numbers),
        T(a_logarithmic_axis_has_powers_of_ten),
        T(zero_on_a_logarithmic_axis_sits_on_the_bottom),
        T(an_axis_of_zeros_begins_at_zero),
        T(the_crosshair_shows_the_exact_value),
        T(two_points_are_joined_by_a_straight_line),
        T(numbers_are_short_and_exact_enough),
        T(times_read_like_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
