// Tests of the ratio scheduler against sheeprl's sequences (spec/dreamer_v3.md 8.1, fixture F44).
//
// Expected values: the class Ratio of the specification in Python (float64, int() truncates), 1000
// calls with steps P, 2P, ...; the state is its _prev, so equality is exact.
#include "support/test.h"

#include "engine/algo/ratio.h"

static const struct {
    double ratio;
    int policy_steps_per_call; // P = environments
    int64_t total;             // gradient steps after 1000 calls
    double state;
    const char *first; // the first 32 results; c = 12
} cases[] = {
    {0.015625, 1, 15, 0x1.e080000000000p+9, "00000000000000000000000000000000"},
    {0.0625, 1, 62, 0x1.f080000000000p+9, "00000000000000001000000000000000"},
    {0.125, 1, 124, 0x1.f080000000000p+9, "00000000100000001000000010000000"},
    {0.25, 1, 249, 0x1.f280000000000p+9, "00001000100010001000100010001000"},
    {0.3, 1, 299, 0x1.f2d555555557bp+9, "00001001000100100100010010010010"},
    {0.4, 1, 399, 0x1.f340000000000p+9, "00010100101001010010100101001010"},
    {0.5, 1, 499, 0x1.f380000000000p+9, "00101010101010101010101010101010"},
    {0.7, 1, 699, 0x1.f3c924924928bp+9, "00110110110111011011101101101110"},
    {1, 1, 1000, 0x1.f400000000000p+9, "11111111111111111111111111111111"},
    {1.5, 1, 1499, 0x1.f3d5555555556p+9, "11212112121212121212121212121212"},
    {3, 1, 3000, 0x1.f400000000000p+9, "33333333333333333333333333333333"},
    {0.015625, 4, 62, 0x1.f080000000000p+11, "00000000000000001000000000000000"},
    {0.0625, 4, 249, 0x1.f280000000000p+11, "00001000100010001000100010001000"},
    {0.125, 4, 499, 0x1.f380000000000p+11, "00101010101010101010101010101010"},
    {0.25, 4, 1000, 0x1.f400000000000p+11, "11111111111111111111111111111111"},
    {0.3, 4, 1199, 0x1.f3aaaaaaaaaf8p+11, "11111121111211112111211112111121"},
    {0.4, 4, 1599, 0x1.f3e0000000000p+11, "11212212122121221212212122121221"},
    {0.5, 4, 2000, 0x1.f400000000000p+11, "22222222222222222222222222222222"},
    {0.7, 4, 2799, 0x1.f3f6db6db6d47p+11, "22333323333233332333233332333323"},
    {1, 4, 4000, 0x1.f400000000000p+11, "44444444444444444444444444444444"},
    {1.5, 4, 6000, 0x1.f400000000000p+11, "66666666666666666666666666666666"},
    {3, 4, 12000, 0x1.f400000000000p+11, "cccccccccccccccccccccccccccccccc"},
};

static void sequences_totals_and_state_are_those_of_sheeprl(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct ratio r = {.ratio = cases[c].ratio};
        int64_t total = 0;
        for (int i = 0; i < 1000; i++) {
            int64_t due = ratio_due(&r, (int64_t)(i + 1) * cases[c].policy_steps_per_call);
            total += due;
            if (i >= 32) continue;
            int64_t expected = cases[c].first[i] == 'c' ? 12 : cases[c].first[i] - '0';
            if (due != expected)
                fail_msg("ratio %g, P %d: call %d gave %lld, not %lld", cases[c].ratio,
                         cases[c].policy_steps_per_call, i + 1, (long long)due,
                         (long long)expected);
        }
        assert_int_equal(total, cases[c].total);
        if (r.previous != cases[c].state)
            fail_msg("ratio %g, P %d: state %a, not %a", cases[c].ratio,
                     cases[c].policy_steps_per_call, r.previous, cases[c].state);
    }
}

static void the_first_update_of_a_small_ratio_comes_after_a_whole_period(void **state) {
    (void)state;
    struct ratio r = {.ratio = 0.0625};
    for (int step = 1; step <= 40; step++)
        assert_int_equal(ratio_due(&r, step), step == 17 || step == 33);
}

static void a_ratio_of_zero_never_trains(void **state) {
    (void)state;
    struct ratio r = {.ratio = 0, .pretrain_steps = 100};
    for (int step = 1; step <= 100; step++) assert_int_equal(ratio_due(&r, step * 1000), 0);
}

static void pretraining_replaces_the_first_burst_and_is_clamped_to_it(void **state) {
    (void)state;
    static const struct {
        int64_t pretrain, expected[6];
    } rows[] = {
        {0, {4, 0, 1, 0, 1, 0}},   // steps 8, 9, 10, ... at ratio 0.5
        {4, {2, 0, 1, 0, 1, 0}},   // min(4, 8) / 2
        {7, {3, 0, 1, 0, 1, 0}},   // truncated
        {100, {4, 0, 1, 0, 1, 0}}, // more than there is: clamped
    };
    for (size_t c = 0; c < sizeof rows / sizeof *rows; c++) {
        struct ratio r = {.ratio = 0.5, .pretrain_steps = rows[c].pretrain};
        for (int i = 0; i < 6; i++) assert_int_equal(ratio_due(&r, 8 + i), rows[c].expected[i]);
    }
}

// The loop of spec 8.2: the prefill is subtracted, so the first training call sees P steps, not
// learning_starts.
static void with_prefill_subtracted_training_begins_without_a_burst(void **state) {
    (void)state;
    static const struct {
        double ratio;
        int64_t learning_starts;
        int n_envs, first_iteration;
        int64_t first_due, total;
    } rows[] = {
        {1, 1024, 1, 1024, 1, 977}, // iterations 1024..2000
        {1, 1024, 4, 256, 4, 6980}, // P = 4: learning_starts / P = 256; 1745 iterations of 4
        {0.5, 100, 4, 25, 2, 3952}, // 1976 iterations of 2
        {0.3, 64, 1, 64, 0, 580},   // 1937 steps at 0.3: 581.1, one late
        {1, 0, 1, 1, 1, 2000},      // no prefill at all
    };
    for (size_t c = 0; c < sizeof rows / sizeof *rows; c++) {
        struct ratio r = {.ratio = rows[c].ratio};
        int64_t starts = rows[c].learning_starts / rows[c].n_envs, prefill = starts - (starts > 0);
        int64_t policy_step = 0, total = 0, first = -1;
        int first_iteration = 0;
        for (int k = 1; k <= 2000; k++) {
            policy_step += rows[c].n_envs;
            if (k < starts) continue;
            int64_t due = ratio_due(&r, policy_step - prefill * rows[c].n_envs);
            if (first < 0) first = due, first_iteration = k;
            total += due;
        }
        assert_int_equal(first, rows[c].first_due);
        assert_int_equal(first_iteration, rows[c].first_iteration);
        assert_int_equal(total, rows[c].total);
    }
}

static void no_gradient_step_is_lost_over_a_long_run(void **state) {
    (void)state;
    static const double ratios[] = {0.3, 0.4, 0.7, 1.5, 1.0 / 3};
    for (size_t c = 0; c < sizeof ratios / sizeof *ratios; c++) {
        struct ratio r = {.ratio = ratios[c]};
        int64_t total = 0;
        const int64_t n = 2000000;
        for (int64_t step = 1; step <= n; step++) total += ratio_due(&r, step);
        // The first call's remainder is dropped, and one step may still be due.
        assert_in_range((double)n * ratios[c] - (double)total, 0, 2);
    }
}

static void a_pause_of_the_environment_is_caught_up_at_once(void **state) {
    (void)state;
    struct ratio r = {.ratio = 0.5};
    assert_int_equal(ratio_due(&r, 1), 0);
    assert_int_equal(ratio_due(&r, 1), 0);
    assert_int_equal(ratio_due(&r, 101), 50);
    assert_int_equal(ratio_due(&r, 101), 0);
    assert_int_equal(ratio_due(&r, 103), 1);
}

static void a_count_that_goes_back_is_made_up_for(void **state) {
    (void)state;
    struct ratio r = {.ratio = 0.5};
    int64_t total = ratio_due(&r, 10) + ratio_due(&r, 30);
    assert_int_equal(total, 15);
    assert_int_equal(ratio_due(&r, 20), 0); // ten of them were none
    assert_int_equal(ratio_due(&r, 28), 0);
    assert_int_equal(ratio_due(&r, 34), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_count_that_goes_back_is_made_up_for),
        cmocka_unit_test(sequences_totals_and_state_are_those_of_sheeprl),
        cmocka_unit_test(the_first_update_of_a_small_ratio_comes_after_a_whole_period),
        cmocka_unit_test(a_ratio_of_zero_never_trains),
        cmocka_unit_test(pretraining_replaces_the_first_burst_and_is_clamped_to_it),
        cmocka_unit_test(with_prefill_subtracted_training_begins_without_a_burst),
        cmocka_unit_test(no_gradient_step_is_lost_over_a_long_run),
        cmocka_unit_test(a_pause_of_the_environment_is_caught_up_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
