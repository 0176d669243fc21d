// Elementary functions of fmath.h: accuracy over their whole range, limits, NaN.
#include "base/fmath.h"

#include <float.h>

#include "support/test.h"

// 2e-7 is 1.7 units in the last place of a float; a double build calls libm.
static const double tolerance = sizeof(real) == 8 ? 4e-16 : 2.4e-7;

// Largest error of f against g over n points of [lo, hi], relative where g is a normal number.
static double worst(real (*f)(real), double (*g)(double), double lo, double hi) {
    enum { N = 400001 };
    double bad = 0;
    for (int i = 0; i < N; i++) {
        real x = (real)(lo + (hi - lo) * i / (N - 1));
        double want = g((double)x), got = (double)f(x), error = fabs(got - want);
        if (fabs(want) > FLT_MAX) continue;
        error /= fabs(want) > FLT_MIN ? fabs(want) : FLT_MIN;
        bad = worse(bad, error);
    }
    return bad;
}

static double d_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double d_silu(double x) { return x / (1 + exp(-x)); }
static double d_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double d_symlog(double x) { return x < 0 ? -log1p(-x) : log1p(x); }
static double d_symexp(double x) { return x < 0 ? -expm1(-x) : expm1(x); }

struct pair {
    const char *name;
    real (*f)(real);
    double (*g)(double);
    double lo, hi;
    double factor;
};

static const struct pair pairs[] = {
    {"exp", fast_exp, exp, -87, 88.7, 1},
    {"exp near 0", fast_exp, exp, -1, 1, 1},
    {"expm1", fast_expm1, expm1, -20, 88, 1},
    {"expm1 near 0", fast_expm1, expm1, -0.6, 0.6, 1},
    {"expm1 tiny", fast_expm1, expm1, -1e-5, 1e-5, 1},
    {"log", fast_log, log, 1e-30, 4, 1},
    {"log near 1", fast_log, log, 0.6, 1.6, 1},
    {"log large", fast_log, log, 2, 3e38, 1},
    {"log small", fast_log, log, 1e-38, 1e-36, 1},
    {"log1p", fast_log1p, log1p, -0.9, 10, 1.5},
    {"log1p tiny", fast_log1p, log1p, -1e-4, 1e-4, 1.5},
    {"log1p large", fast_log1p, log1p, 1, 3e38, 1},
    {"sigmoid", fast_sigmoid, d_sigmoid, -86, 86, 1.5},
    {"tanh", fast_tanh, tanh, -12, 12, 1.2},
    {"tanh near 0", fast_tanh, tanh, -1, 1, 1.2},
    {"tanh tiny", fast_tanh, tanh, -1e-6, 1e-6, 1},
    {"silu", fast_silu, d_silu, -80, 100, 1.5},
    {"softplus", fast_softplus, d_softplus, -80, 100, 1.5},
    {"symlog", fast_symlog, d_symlog, -1e4, 1e4, 1.5},
    {"symlog near 0", fast_symlog, d_symlog, -1e-3, 1e-3, 1.5},
    {"symexp", fast_symexp, d_symexp, -21, 21, 1},
};

static void functions_are_accurate_over_their_range(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        double error = worst(pairs[i].f, pairs[i].g, pairs[i].lo, pairs[i].hi);
        printf("%-14s [%g, %g]: %.2e\n", pairs[i].name, pairs[i].lo, pairs[i].hi, error);
        if (!(error <= pairs[i].factor * tolerance))
            fail_msg("%s is off by %g relative", pairs[i].name, error);
    }
}

static void limits_are_the_mathematical_ones(void **state) {
    (void)state;
    const real inf = (real)INFINITY;
    assert_true(fast_exp(inf) == inf && fast_exp(-inf) == 0);
    assert_true(fast_exp((real)1e5) == inf && fast_exp((real)-1e5) == 0 && fast_exp(0) == 1);
    assert_true(fast_expm1(inf) == inf && fast_expm1(-inf) == -1 && fast_expm1(0) == 0);
    assert_true(fast_log(inf) == inf && fast_log(0) == -inf && fast_log(1) == 0);
    assert_true(isnan(fast_log(-1)) && isnan(fast_log(-inf)));
    assert_true(fast_log1p(inf) == inf && fast_log1p(-1) == -inf && fast_log1p(0) == 0);
    assert_true(fast_sigmoid(inf) == 1 && fast_sigmoid(-inf) == 0 && fast_sigmoid(0) == (real)0.5);
    assert_true(fast_tanh(inf) == 1 && fast_tanh(-inf) == -1 && fast_tanh(0) == 0);
    assert_true(fast_silu(0) == 0 && fast_silu(inf) == inf);
    assert_true(fast_softplus(inf) == inf && fast_softplus(-inf) == 0);
    assert_true(fast_symlog(-inf) == -inf && fast_symexp(-inf) == -inf && fast_symexp(0) == 0);
}

static void nan_stays_nan(void **state) {
    (void)state;
    const real nan_value = (real)NAN;
    real (*const all[])(real) = {fast_exp,     fast_expm1,  fast_log,   fast_log1p,
                                 fast_sigmoid, fast_tanh,   fast_silu,  fast_softplus,
                                 fast_sqrt,    fast_symlog, fast_symexp};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) assert_true(isnan(all[i](nan_value)));
}

static void subnormal_results_and_arguments_work(void **state) {
    (void)state;
    const double want = exp(-100.0);
    assert_true(fabs((double)fast_exp(-100) - want) < 2e-45);
    assert_true(fabs((double)fast_log((real)1e-42) - log((double)(real)1e-42)) < 1e-4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_accurate_over_their_range),
        cmocka_unit_test(limits_are_the_mathematical_ones),
        cmocka_unit_test(nan_stays_nan),
        cmocka_unit_test(subnormal_results_and_arguments_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
