// worse.h: bars see every number that was measured.
#include "base/worse.h"

#include <math.h>

#include "support/test.h"

static double worst_of(const double *x, int n) {
    double worst = 0;
    for (int i = 0; i < n; i++) worst = worse(worst, x[i]);
    return worst;
}

static void the_larger_one_counts(void **state) {
    (void)state;
    assert_true(worst_of((const double[]){1, 3, 2}, 3) == 3);
    assert_true(worst_of((const double[]){-1}, 1) == 0);
    assert_true(isinf(worst_of((const double[]){1, INFINITY, 2}, 3)));
}

static void what_is_no_number_stays_wherever_it_stands(void **state) {
    (void)state;
    for (int at = 0; at < 3; at++) {
        double x[] = {1, 3, 2};
        x[at] = NAN;
        assert_true(isnan(worst_of(x, 3)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_larger_one_counts),
        cmocka_unit_test(what_is_no_number_stays_wherever_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
