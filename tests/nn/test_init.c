// Initialisers: rules by shape and name, streams by name, statistics of the distributions.
#include "support/test.h"

#include <math.h>

#include "engine/nn/init.h"
#include "engine/nn/layers.h"

static double std_of(const real *x, int64_t n) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i], squares += (double)x[i] * x[i];
    return sqrt(squares / n - sum / n * (sum / n));
}

static double largest(const real *x, int64_t n) {
    double m = 0;
    for (int64_t i = 0; i < n; i++) m = fmax(m, fabs((double)x[i]));
    return m;
}

static bool all_are(const real *x, int64_t n, real value) {
    for (int64_t i = 0; i < n; i++)
        if (x[i] != value) return false;
    return true;
}

static struct params some_layers(bool extra_first) {
    struct params p;
    params_init(&p);
    if (extra_first) nn_add_linear(&p, "extra", 10, 10, true);
    nn_add_linear(&p, "linear", 300, 200, true);
    nn_add_norm(&p, NN_LAYER_NORM, "norm", 50);
    params_add(&p, "conv.weight", 4, (int64_t[]){64, 32, 4, 4});
    params_add(&p, "initial_recurrent_state", 1, (int64_t[]){20});
    nn_add_linear(&p, "head", 300, 200, true);
    nn_add_linear(&p, "zero", 300, 20, true);
    params_allocate(&p);
    return p;
}

static const struct init_rule rules[] = {
    {"head.", INIT_UNIFORM, 0, 0}, {"zero.", INIT_ZERO, 0, 0}, {NULL, INIT_BY_SHAPE, 0, 0}};

static const real *values(const struct params *p, const char *name, int64_t *n) {
    const struct param *q = params_find(p, name);
    assert_non_null(q);
    *n = q->n_elements;
    return params_weights(p, q);
}

static void shapes_and_rules_choose_the_distribution(void **state) {
    (void)state;
    struct params p = some_layers(false);
    int64_t n;
    init_params(&p, 3, rules, NULL);
    const real *x = values(&p, "linear.weight", &n);
    double sigma = sqrt(2.0 / 500), cut = 2 * sigma / 0.87962566103423978;
    assert_true(fabs(std_of(x, n) / sigma - 1) < 0.01);
    assert_true(largest(x, n) <= cut && largest(x, n) > 0.99 * cut);
    x = values(&p, "conv.weight", &n);
    // not truncated: wider than the Linear rule
    sigma = sqrt(2.0 / (16 * 96)) / 0.87962566103423978;
    assert_true(fabs(std_of(x, n) / sigma - 1) < 0.01);
    assert_true(largest(x, n) > 3.5 * sigma);
    x = values(&p, "head.weight", &n);
    double a = sqrt(6.0 / 500);
    assert_true(fabs(std_of(x, n) / (a / sqrt(3)) - 1) < 0.01);
    assert_true(largest(x, n) < a && largest(x, n) > 0.999 * a);
    x = values(&p, "zero.weight", &n);
    assert_true(all_are(x, n, 0));
    x = values(&p, "norm.weight", &n);
    assert_true(all_are(x, n, 1));
    static const char *const zeros[] = {"linear.bias", "norm.bias", "head.bias",
                                        "initial_recurrent_state"};
    for (int i = 0; i < 4; i++) {
        x = values(&p, zeros[i], &n);
        assert_true(all_are(x, n, 0));
    }
    params_deinit(&p);
}

static void weights_depend_on_seed_and_name_only(void **state) {
    (void)state;
    struct pool *pool = pool_new(3); // several pieces of the larger matrices
    struct params p = some_layers(false), q = some_layers(true), r = some_layers(false);
    int64_t n;
    init_params(&p, 3, rules, NULL);
    init_params(&q, 3, rules, pool);
    init_params(&r, 4, rules, NULL);
    assert_memory_equal(values(&p, "linear.weight", &n), values(&q, "linear.weight", &n),
                        300 * 200 * sizeof(real));
    assert_memory_not_equal(values(&p, "linear.weight", &n), values(&r, "linear.weight", &n),
                            300 * 200 * sizeof(real));
    // without rules the shape alone decides
    init_params(&p, 3, NULL, NULL);
    const real *x = values(&p, "zero.weight", &n);
    assert_true(largest(x, n) > 0);
    params_deinit(&p);
    params_deinit(&q);
    params_deinit(&r);
    pool_free(pool);
}

static void two_names_have_unrelated_weights(void **state) {
    (void)state;
    enum { N = 20000 };
    static real x[N], y[N];
    init_truncated_normal(x, N, 1, 2, 1, init_stream("a.weight"));
    init_truncated_normal(y, N, 1, 2, 1, init_stream("b.weight"));
    double product = 0;
    for (int i = 0; i < N; i++) product += (double)x[i] * y[i];
    assert_true(fabs(product / N) < 5 / sqrt(N));
    for (int i = 0; i < N; i++) assert_true(fabs((double)x[i]) <= 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_and_rules_choose_the_distribution),
        cmocka_unit_test(weights_depend_on_seed_and_name_only),
        cmocka_unit_test(two_names_have_unrelated_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
