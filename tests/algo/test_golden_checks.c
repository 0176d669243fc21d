// Every row of the parity table against its fixture, and proof that a wrong number or byte is
// noticed.
#include "support/test.h"

#include "engine/algo/dreamer_v3/golden_checks.h"

enum { MAX_CHECKS = 64 };
static const char *const FOLDER = "tests/golden/dreamer_v3";
static struct pool *pool;

static void fixture_agrees(void **state) {
    const struct golden_check *check = *state;
    struct error e = {0};
    if (sizeof(real) != 4) skip(); // the fixtures are float32
    struct golden *g = golden_open(FOLDER, &e);
    if (!g) fail_msg("%s", e.message);
    bool ok = golden_check_run(check, g, pool, &e);
    golden_free(g);
    if (!ok) fail_msg("%s", e.message);
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
