// Quantiles and the shift and scale by them: plain references, edges, numbers that are not finite.
#include <stdlib.h>

#include "support/grad_check.h"

enum { N = 1531 };

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile_of(const double *x, int n, double q) {
    double *sorted = mem_alloc((size_t)n * sizeof *sorted);
    memcpy(sorted, x, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    double position = q * (n - 1);
    int i = (int)position;
    double y = i + 1 < n ? sorted[i] + (position - i) * (sorted[i + 1] - sorted[i]) : sorted[i];
    free(sorted);
    return y;
}

static void quantiles_reference(const double *const *leaf, double *y) {
    y[0] = quantile_of(leaf[0], N, 0.05);
    y[1] = quantile_of(leaf[0], N, 0.95);
}
static struct tensor *quantiles_build(struct graph *g, struct tensor **leaf) {
    return g_quantiles(g, leaf[0], (real)0.05, (real)0.95);
}

static void quantiles_match_those_of_the_sorted_values(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"x", 1, {N}, -40, 70, true}};
    grad_check(&(struct grad_case){leaves, 1, quantiles_build, quantiles_reference, 2e-6, 0, true});
}

// low and high of n values.
static void quantiles(const real *values, int n, real q_low, real q_high, real out[2]) {
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 1, (int64_t[]){n}),
                  *y = g_quantiles(g, x, q_low, q_high);
    graph_keep(g, y);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    memcpy(x->data, values, (size_t)n * sizeof *values);
    executor_run(ex);
    memcpy(out, y->data, 2 * sizeof *out);
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
}

static void every_order_of_the_values_gives_the_same_quantiles(void **state) {
    (void)state;
    enum { MANY = 200 };
    real x[MANY], out[2];
    for (int shape = 0; shape < 5; shape++) {
        for (int i = 0; i < MANY; i++)
            x[i] = (real)(shape == 0     ? i
                          : shape == 1   ? MANY - 1 - i
                          : shape == 2   ? i * 77 % MANY
                          : shape == 3   ? 5
                          : i < MANY / 2 ? i
                                         : MANY * 3 / 2 - 1 - i);
        quantiles(x, MANY, (real)0.25, (real)0.5, out);
        double expect[2] = {shape == 3 ? 5 : 49.75, shape == 3 ? 5 : 99.5};
        assert_true(fabs((double)out[0] - expect[0]) < 1e-4 &&
                    fabs((double)out[1] - expect[1]) < 1e-4);
    }
}

static void the_ends_one_value_and_bad_numbers_are_handled(void **state) {
    (void)state;
    real x[] = {3, -1, 8, 2, INFINITY}, out[2];
    quantiles(x, 1, 0, 1, out);
    assert_true(out[0] == 3 && out[1] == 3);
    quantiles(x, 4, 0, 1, out);
    assert_true(out[0] == -1 && out[1] == 8);
    quantiles(x, 5, (real)0.5, 1, out);
    assert_true(out[0] == 3 && isinf(out[1]));
    x[2] = NAN;
    quantiles(x, 4, 0, 1, out);
    assert_true(isnan(out[0]) && isnan(out[1]));
}

// ---- normalize

static struct tensor *normalize_build(struct graph *g, struct tensor **leaf) {
    return g_normalize(g, leaf[0], leaf[1], (real)0.5);
}
static void normalize_reference(const double *const *leaf, double *y) {
    double low = leaf[1][0], span = leaf[1][1] - low;
    for (int i = 0; i < N; i++) y[i] = (leaf[0][i] - low) / fmax(0.5, span);
}
static void normalize_matches_its_formula_above_and_below_the_smallest_scale(void **state) {
    (void)state;
    static const struct leaf narrow[] = {{"x", 1, {N}, -3, 7, true},
                                         {"range", 1, {2}, 1, 1.4, true}};
    static const struct leaf wide[] = {{"x", 1, {N}, -3, 7, true}, {"range", 1, {2}, -3, 9, true}};
    // The wide pair must be in order: with the streams of grad_check it is.
    assert_true(grad_random(1, 1) - grad_random(1, 0) > 0.05);
    grad_check(&(struct grad_case){narrow, 2, normalize_build, normalize_reference, 0, 0, true});
    grad_check(&(struct grad_case){wide, 2, normalize_build, normalize_reference, 0, 0, true});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_match_those_of_the_sorted_values),
        cmocka_unit_test(every_order_of_the_values_gives_the_same_quantiles),
        cmocka_unit_test(the_ends_one_value_and_bad_numbers_are_handled),
        cmocka_unit_test(normalize_matches_its_formula_above_and_below_the_smallest_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
