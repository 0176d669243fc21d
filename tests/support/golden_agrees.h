// A row of the parity table (golden_checks.h) against its fixture.
#ifndef TESTS_SUPPORT_GOLDEN_AGREES_H
#define TESTS_SUPPORT_GOLDEN_AGREES_H

#include "engine/algo/dreamer_v3/golden_checks.h"
#include "support/test.h"

#define GOLDEN_FOLDER "tests/golden/dreamer_v3"

static inline void assert_golden_agrees(const struct golden_check *check, struct pool *pool) {
    struct error e = {0};
    struct golden *g = golden_open(GOLDEN_FOLDER, &e);
    if (!g) fail_msg("%s", e.message);
    const bool ok = golden_check_run(check, g, pool, &e);
    golden_free(g);
    if (!ok) fail_msg("%s", e.message);
}

#endif
