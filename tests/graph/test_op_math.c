// Elementwise ops and the mean: forward, gradient, memory, threads.
#include "support/grad_check.h"

enum { N = 3 * 37 };
static const struct leaf one[] = {{"x", 2, {3, 37}, -3, 3, false}};
static const struct leaf two[] = {{"a", 2, {3, 37}, -3, 3, false}, {"b", 2, {3, 37}, -2, 2, false}};

#define MAP(name, expression)                                                  \
    static void name##_reference(const double *const *leaf, double *y) {       \
        for (int i = 0; i < N; i++) {                                          \
            const double x = leaf[0][i];                                       \
            y[i] = (expression);                                               \
        }                                                                      \
    }
#define BUILD1(name, call) \
    static struct tensor *name##_build(struct graph *g, struct tensor **leaf) { return call; }

BUILD1(affine, g_affine(g, leaf[0], (real)1.5, (real)-0.25))
MAP(affine, 1.5 * x - 0.25)
BUILD1(tanh, g_tanh(g, leaf[0]))
MAP(tanh, tanh(x))
BUILD1(sigmoid, g_sigmoid(g, leaf[0]))
MAP(sigmoid, 1 / (1 + exp(-x)))
BUILD1(symlog, g_symlog(g, leaf[0]))
MAP(symlog, copysign(log(1 + fabs(x)), x))
BUILD1(add, g_add(g, leaf[0], leaf[1]))
MAP(add, x + leaf[1][i])
BUILD1(mul, g_mul(g, leaf[0], leaf[1]))
MAP(mul, x *leaf[1][i])
BUILD1(less, g_less(g, leaf[0], (real)0.5))
MAP(less, x < 0.5 ? 1 : 0)
BUILD1(square, g_mul(g, leaf[0], leaf[0]))
MAP(square, x *x)

#define UNARY(name)                                                                   \
    static void name##_matches_its_formula_and_gradient(void **state) {               \
        (void)state;                                                                  \
        grad_check(&(struct grad_case){one, 1, name##_build, name##_reference, 0, 0, false}); \
    }
#define BINARY(name)                                                                  \
    static void name##_matches_its_formula_and_gradient(void **state) {               \
        (void)state;                                                                  \
        grad_check(&(struct grad_case){two, 2, name##_build, name##_reference, 0, 0, false}); \
    }
UNARY(affine)
UNARY(tanh)
UNARY(sigmoid)
UNARY(symlog)
UNARY(square)
BINARY(add)
BINARY(mul)

static void less_gives_ones_and_zeros_and_no_gradient(void **state) {
    (void)state;
    static const struct leaf constant[] = {{"x", 2, {3, 37}, -3, 3, true}};
    grad_check(&(struct grad_case){constant, 1, less_build, less_reference, 0, 0, true});
}

BUILD1(mean, g_mean(g, leaf[0]))
static void mean_reference(const double *const *leaf, double *y) {
    y[0] = 0;
    for (int i = 0; i < N; i++) y[0] += leaf[0][i] / N;
}
UNARY(mean)

enum { LARGE = 300000 };
static void large_mean_reference(const double *const *leaf, double *y) {
    y[0] = 0;
    for (int i = 0; i < LARGE; i++) y[0] += leaf[0][i] / LARGE;
}
static void mean_of_many_is_summed_in_slices(void **state) {
    (void)state;
    static const struct leaf large[] = {{"x", 1, {LARGE}, -1, 2, false}};
    grad_check(&(struct grad_case){large, 1, mean_build, large_mean_reference, 0, 0, true});
}

static void large_tanh_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < LARGE; i++) y[i] = tanh(leaf[0][i]);
}
static void big_tensors_are_spread_over_threads(void **state) {
    (void)state;
    static const struct leaf large[] = {{"x", 1, {LARGE}, -1, 2, false}};
    grad_check(&(struct grad_case){large, 1, tanh_build, large_tanh_reference, 0, 0, true});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(affine_matches_its_formula_and_gradient),
        cmocka_unit_test(tanh_matches_its_formula_and_gradient),
        cmocka_unit_test(sigmoid_matches_its_formula_and_gradient),
        cmocka_unit_test(symlog_matches_its_formula_and_gradient),
        cmocka_unit_test(square_matches_its_formula_and_gradient),
        cmocka_unit_test(add_matches_its_formula_and_gradient),
        cmocka_unit_test(mul_matches_its_formula_and_gradient),
        cmocka_unit_test(less_gives_ones_and_zeros_and_no_gradient),
        cmocka_unit_test(mean_matches_its_formula_and_gradient),
        cmocka_unit_test(mean_of_many_is_summed_in_slices),
        cmocka_unit_test(big_tensors_are_spread_over_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
