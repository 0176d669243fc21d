// The reference's fixtures on the device: layers, losses, gradients, three whole training steps
// with recorded uniforms. On the harness those that larger ones contain are left out: it is slow.
#include "gpu/parity.h"

#include "support/golden_agrees.h"

enum { MAX_CHECKS = 64 };
static struct pool *pool;

static bool contained_in_another(const char *code) {
    static const char *const codes[] = {"F28", "F28V", "F29"}; // in F29V and F41
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(code, codes[i]) == 0) return true;
    return false;
}

static void fixture_agrees(void **state) { assert_golden_agrees(*state, pool); }

int main(void) {
    struct CMUnitTest tests[MAX_CHECKS];
    static char names[MAX_CHECKS][160];
    size_t n = 0;
    parity_backend();
    pool = pool_new(1);
    for (int i = 0; i < n_golden_checks; i++) {
        const struct golden_check *c = &golden_checks[i];
        if (parity_on_harness() && contained_in_another(c->code)) continue;
        snprintf(names[n], sizeof names[n], "%s agrees with the reference on the device: %s",
                 c->code, c->what);
        tests[n] = (struct CMUnitTest){names[n], fixture_agrees, NULL, NULL, (void *)c};
        n++;
    }
    int failed = _cmocka_run_group_tests("golden checks", tests, n, NULL, NULL);
    pool_free(pool);
    return failed;
}
