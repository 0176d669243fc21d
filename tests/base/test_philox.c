// Philox4x32-10: the published known answers, and the streams built on it.
#include "support/test.h"

#include <math.h>

#include "base/philox.h"

// Known answers for philox4x32-10 of the Random123 distribution (Salmon et al., SC'11): counter,
// key, result.
static void the_published_known_answers_hold(void **state) {
    (void)state;
    static const uint32_t cases[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (size_t i = 0; i < 3; i++) {
        const uint32_t *c = cases[i];
        struct philox r = philox4x32_10(c[0], c[1], c[2], c[3], c[4], c[5]);
        assert_memory_equal(r.v, c + 6, 16);
    }
}

static void a_word_depends_on_each_of_the_four_numbers_of_its_stream(void **state) {
    (void)state;
    uint32_t base = rng_u32(1, RNG_TEST, 5, 9);
    assert_int_equal(base, rng_u32(1, RNG_TEST, 5, 9));
    assert_int_not_equal(base, rng_u32(2, RNG_TEST, 5, 9));
    assert_int_not_equal(base, rng_u32(1 + ((uint64_t)1 << 32), RNG_TEST, 5, 9));
    assert_int_not_equal(base, rng_u32(1, RNG_INIT, 5, 9));
    assert_int_not_equal(base, rng_u32(1, RNG_TEST, 6, 9));
    assert_int_not_equal(base, rng_u32(1, RNG_TEST, 5 + ((uint64_t)1 << 32), 9));
    assert_int_not_equal(base, rng_u32(1, RNG_TEST, 5, 10));
    assert_int_equal(base, rng_block(1, RNG_TEST, 5, 2).v[1]); // index 9 = word 1 of block 2
}

static void uniforms_lie_in_zero_to_one_and_spread_evenly(void **state) {
    (void)state;
    enum { N = 100000, BINS = 100 };
    assert_true(rng_to_uniform(0) == 0);
    assert_true(rng_to_uniform(UINT32_MAX) < 1);
    double sum = 0, chi2 = 0;
    int bins[BINS] = {0};
    for (uint32_t i = 0; i < N; i++) {
        float u = rng_uniform(7, RNG_TEST, 3, i);
        assert_true(u >= 0 && u < 1);
        sum += (double)u;
        bins[(int)(u * BINS)]++;
    }
    for (int i = 0; i < BINS; i++) chi2 += pow(bins[i] - N / BINS, 2) / (N / BINS);
    assert_true(fabs(sum / N - 0.5) < 0.004); // four standard errors
    assert_true(chi2 < 149);                  // 99 degrees of freedom: p = 0.001 at 148.2
}

static void integers_below_n_reach_both_ends_and_nothing_else(void **state) {
    (void)state;
    for (uint32_t n = 1; n < 20; n++) {
        uint32_t seen = 0;
        for (uint32_t i = 0; i < 1000; i++) {
            uint32_t v = rng_below(3, RNG_TEST, n, i, n);
            assert_true(v < n);
            seen |= 1u << v;
        }
        assert_int_equal(seen, (1u << n) - 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_known_answers_hold),
        cmocka_unit_test(a_word_depends_on_each_of_the_four_numbers_of_its_stream),
        cmocka_unit_test(uniforms_lie_in_zero_to_one_and_spread_evenly),
        cmocka_unit_test(integers_below_n_reach_both_ends_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
