// Curves: the pyramid says what a plain loop over the records says; smoothing is unbiased.
#include "support/test.h"

#include <math.h>

#include "support/fake_run.h"
#include "ui/curves.h"

static struct feed *feed;
static struct curves *curves;

static int setup(void **state) {
    (void)state;
    feed = feed_new(0);
    curves = curves_new(feed);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    curves_free(curves);
    feed_free(feed);
    return 0;
}

static void push(int64_t step, bool present, float value) {
    struct record r = {.opt_steps = step, .env_steps = 2 * step};
    for (int m = 0; m < METRIC_COUNT; m++) r.value[m] = NAN;
    if (present) r.value[METRIC_KL_DYN] = value, r.present = UINT64_C(1) << METRIC_KL_DYN;
    feed_push_record(feed, &r, (double)step * 0.5);
}

static struct span plain_span(int64_t begin, int64_t end) {
    struct span s = {0};
    for (int64_t i = begin; i < end; i++) {
        if (!curves_measured(curves, METRIC_KL_DYN, i)) continue;
        float v = curves_value(curves, METRIC_KL_DYN, i);
        if (!isfinite(v)) {
            s.n_bad++;
            continue;
        }
        if (s.n_finite == 0 || v < s.min) s.min = v;
        if (s.n_finite == 0 || v > s.max) s.max = v;
        s.n_finite++;
    }
    return s;
}

static void spans_equal_a_plain_loop_for_any_stretch(void **state) {
    (void)state;
    for (int64_t i = 0; i < 40000; i++) {
        uint32_t r = rng_u32(3, RNG_TEST, 1, (uint32_t)i);
        push(i + 1, r % 7 != 0,
             r % 501 == 0   ? NAN
             : r % 503 == 0 ? INFINITY
                            : (float)(r % 10007) - 5000);
        if (i % 997 == 0) curves_update(curves); // in bites of any size
    }
    curves_update(curves);
    assert_int_equal(curves_count(curves), 40000);
    for (uint32_t k = 0; k < 600; k++) {
        int64_t a = rng_below(3, RNG_TEST, 2, k, 40001), b = rng_below(3, RNG_TEST, 3, k, 40001);
        if (a > b) {
            int64_t t = a;
            a = b;
            b = t;
        }
        struct span s = curves_span(curves, METRIC_KL_DYN, a, b), p = plain_span(a, b);
        assert_int_equal(s.n_finite, p.n_finite);
        assert_int_equal(s.n_bad, p.n_bad);
        if (p.n_finite) assert_true(s.min == p.min && s.max == p.max);
    }
}

static void stretches_beyond_the_records_are_clamped(void **state) {
    (void)state;
    push(1, true, 5);
    curves_update(curves);
    assert_int_equal(curves_span(curves, METRIC_KL_DYN, -10, 10).n_finite, 1);
    assert_int_equal(curves_span(curves, METRIC_KL_DYN, 1, 10).n_finite, 0);
    assert_int_equal(curves_span(curves, METRIC_KL_DYN, 5, 2).n_finite, 0);
    assert_true(isnan(curves_value(curves, METRIC_KL_DYN, 1)));
}

static void a_constant_stays_that_constant_under_smoothing(void **state) {
    (void)state;
    for (int64_t i = 1; i <= 300; i++) push(i, true, 7.25f);
    curves_update(curves);
    for (int s = 0; s < CURVES_SMOOTHINGS; s++)
        for (int64_t i = 0; i < 300;
             i++) // float sums of 300 terms: relative error below 300 * 2^-24
            assert_true(fabsf(curves_smoothed(curves, METRIC_KL_DYN, s, i) - 7.25f) <
                        7.25f * 300 / 16777216);
}

static void smoothing_uses_all_raw_values_and_skips_bad_ones(void **state) {
    (void)state;
    double sum = 0, weight = 0;
    const double keep = 0.9f;
    for (int64_t i = 1; i <= 200; i++) {
        float v = i == 77 ? NAN : (float)(i % 13);
        push(i, i % 5 != 0, v);
        if (i % 5 != 0 && isfinite(v))
            sum = keep * sum + (1 - keep) * v, weight = keep * weight + (1 - keep);
    }
    curves_update(curves);
    assert_true(fabs(curves_smoothed(curves, METRIC_KL_DYN, 2, 199) - sum / weight) < 1e-4);
}

static void nothing_measured_gives_no_smoothed_value(void **state) {
    (void)state;
    push(1, false, 0);
    push(2, true, 3);
    curves_update(curves);
    assert_true(isnan(curves_smoothed(curves, METRIC_KL_DYN, 2, 0)));
    assert_true(fabsf(curves_smoothed(curves, METRIC_KL_DYN, 2, 1) - 3) < 1e-5f);
}

static void a_step_is_found_on_every_axis(void **state) {
    (void)state;
    for (int64_t i = 1; i <= 100; i++) push(10 * i, true, 1);
    curves_update(curves);
    assert_int_equal(curves_find(curves, AXIS_STEP, 500, 100), 49);
    assert_int_equal(curves_find(curves, AXIS_STEP, 501, 100), 50);
    assert_int_equal(curves_find(curves, AXIS_ENV_STEP, 1000, 100), 49);
    assert_int_equal(curves_find(curves, AXIS_RELATIVE, 250, 100), 49);
    assert_int_equal(curves_find(curves, AXIS_STEP, 1e9, 100), 100);
    assert_int_equal(curves_find(curves, AXIS_STEP, -1, 100), 0);
    assert_int_equal(curves_find(curves, AXIS_STEP, 1e9, 30), 30); // a frozen screen looks at fewer
}

static void bad_values_are_found_forwards_and_backwards(void **state) {
    (void)state;
    for (int64_t i = 0; i < 1000; i++)
        push(i + 1, true, i == 3 || i == 640 ? NAN : i == 999 ? -INFINITY : 1);
    curves_update(curves);
    assert_int_equal(curves_next_bad(curves, -1, 1, 1000), 3);
    assert_int_equal(curves_next_bad(curves, 3, 1, 1000), 640);
    assert_int_equal(curves_next_bad(curves, 640, 1, 1000), 999);
    assert_int_equal(curves_next_bad(curves, 999, 1, 1000), -1);
    assert_int_equal(curves_next_bad(curves, 1000, -1, 1000), 999);
    assert_int_equal(curves_next_bad(curves, 999, -1, 1000), 640);
    assert_int_equal(curves_next_bad(curves, 640, -1, 1000), 3);
    assert_int_equal(curves_next_bad(curves, 3, -1, 1000), -1);
    assert_int_equal(curves_next_bad(curves, 640, 1, 999), -1);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(spans_equal_a_plain_loop_for_any_stretch),
        T(stretches_beyond_the_records_are_clamped),
        T(a_constant_stays_that_constant_under_smoothing),
        T(smoothing_uses_all_raw_values_and_skips_bad_ones),
        T(nothing_measured_gives_no_smoothed_value),
        T(a_step_is_found_on_every_axis),
        T(bad_values_are_found_forwards_and_backwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
