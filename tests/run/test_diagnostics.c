// Diagnostics: update-to-weight ratios and the use of the latent's classes, against values worked
// out by hand.
#include "support/test.h"

#include <math.h>

#include "engine/run/worker/diagnostics.h"

static void make_params(struct params *p, int64_t n) {
    params_init(p);
    params_add(p, "weight", 1, &n);
    params_allocate(p);
    for (int64_t i = 0; i < n; i++) p->weights[i] = 2;
}

static void a_ratio_is_the_distance_moved_over_the_size(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 100, 8192, 8193, 1000003};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct params p;
        struct update_probe probe;
        make_params(&p, sizes[k]);
        update_probe_init(&probe, &p);
        assert_true(probe.n <= UPDATE_PROBE_SAMPLES && probe.n * probe.stride >= p.n_flat);
        update_probe_before(&probe);
        assert_true(update_probe_ratio(&probe) == 0);
        for (int64_t i = 0; i < sizes[k]; i++) p.weights[i] = (real)2.5;
        assert_true(fabs(update_probe_ratio(&probe) - 0.2) < 1e-6);
        update_probe_before(&probe);
        for (int64_t i = 0; i < sizes[k]; i++) p.weights[i] = 0;
        assert_true(update_probe_ratio(&probe) == 0);
        update_probe_deinit(&probe);
        params_deinit(&p);
    }
}

static void a_sample_tells_the_ratio_of_all_within_a_few_percent(void **state) {
    (void)state;
    enum { N = 500000 };
    struct params p;
    struct update_probe probe;
    make_params(&p, N);
    double moved = 0, size = 0;
    for (int64_t i = 0; i < N; i++) p.weights[i] = (real)sin((double)i * 0.37);
    update_probe_init(&probe, &p);
    update_probe_before(&probe);
    for (int64_t i = 0; i < N; i++) {
        double d = 1e-3 * cos((double)i * 1.91);
        p.weights[i] += (real)d;
        moved += d * d;
        size += (double)p.weights[i] * (double)p.weights[i];
    }
    double whole = sqrt(moved / size);
    assert_true(fabs(update_probe_ratio(&probe) / whole - 1) < 0.05);
    update_probe_deinit(&probe);
    params_deinit(&p);
}

// Two categoricals of four classes over eight rows: the first always draws class 2, the second each
// class twice.
static void classes_in_use_are_counted_by_categorical(void **state) {
    (void)state;
    real z[8][2][4] = {0};
    int64_t counts[4];
    for (int r = 0; r < 8; r++) z[r][0][2] = z[r][1][r % 4] = 1;
    struct latent_usage u = latent_usage(&z[0][0][0], 8, 2, 4, counts);
    assert_true(fabs(u.classes - (0.25 + 1) / 2) < 1e-12);
    assert_true(fabs(u.perplexity - (1.0 + 4.0) / 2) < 1e-12);
    u = latent_usage(&z[0][0][0], 2, 2, 4, counts); // of the second only classes 0 and 1 were drawn
    assert_true(fabs(u.classes - (0.25 + 0.5) / 2) < 1e-12);
    assert_true(fabs(u.perplexity - (1.0 + 2.0) / 2) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ratio_is_the_distance_moved_over_the_size),
        cmocka_unit_test(a_sample_tells_the_ratio_of_all_within_a_few_percent),
        cmocka_unit_test(classes_in_use_are_counted_by_categorical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
