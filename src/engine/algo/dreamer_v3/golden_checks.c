// Parity checks: the table and how one is run.
#include "engine/algo/dreamer_v3/golden_checks.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/algo/dreamer_v3/golden_case.h"

const struct golden_check golden_checks[] = {
#define X(code, name, what) {#code, what, golden_##name},
    GOLDEN_CHECKS_TABLE(X)
#undef X
};
const int n_golden_checks = sizeof golden_checks / sizeof golden_checks[0];

bool golden_check_run(const struct golden_check *check, const struct golden *g, struct pool *pool, struct error *e) {
    struct golden_fixture *fixture = golden_load(g, check->code, e);
    if (!fixture) return false;
    struct golden_case *c = mem_alloc(sizeof *c);
    c->fixture = fixture;
    c->golden = g;
    c->code = check->code;
    c->pool = pool;
    case_end(c);                                    // an ended case is an empty one
    check->run(c);
    case_end(c);
    bool ok = !c->failed;
    if (!ok && e) *e = c->error;
    golden_fixture_free(fixture);
    free(c);
    return ok;
}

const struct golden_check *golden_check_find(const char *code) {
    for (int i = 0; i < n_golden_checks; i++)
        if (strcmp(golden_checks[i].code, code) == 0) return &golden_checks[i];
    return NULL;
}
