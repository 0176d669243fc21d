// Every row of the parity table against its fixture, and proof that a wrong number or byte is
// noticed.
#include "support/golden_agrees.h"

enum { MAX_CHECKS = 64 };
static struct pool *pool;

static void fixture_agrees(void **state) {
    if (sizeof(real) != 4) skip(); // the fixtures are float32
    assert_golden_agrees(*state, pool);
}

int main(void) {
    struct CMUnitTest tests[MAX_CHECKS];
    static char names[MAX_CHECKS][160];
    pool = pool_new(2);
    for (int i = 0; i < n_golden_checks; i++) {
        snprintf(names[i], sizeof names[i], "%s agrees with the reference: %s", golden_checks[i].code,
                 golden_checks[i].what);
        tests[i] =
            (struct CMUnitTest){names[i], fixture_agrees, NULL, NULL, (void *)&golden_checks[i]};
    }
    int failed =
        _cmocka_run_group_tests("golden checks", tests, (size_t)n_golden_checks, NULL, NULL);
    pool_free(pool);
    return failed;
}
