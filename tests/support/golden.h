// Golden fixtures in tests: what is missing, altered or different fails with one clear line.
//
//     struct golden_fixture *f = golden_fixture_or_fail("F09");
//     const real *x = golden_input(f, "x", 2 * 3 * 8);                 // count is checked
//     golden_assert_real(f, "y", mine, 2 * 3 * 8);  // by the manifest's tolerance
//     golden_fixture_free(f);
#ifndef TESTS_SUPPORT_GOLDEN_H
#define TESTS_SUPPORT_GOLDEN_H

#include "support/test.h"

#include "engine/data/golden.h"

#define GOLDEN_UNUSED static inline __attribute__((unused))

// WORKBENCH_GOLDEN: the fixtures' folder; default tests/golden/dreamer_v3 of the repository root.
GOLDEN_UNUSED struct golden_fixture *golden_fixture_or_fail(const char *code) {
    const char *folder = getenv("WORKBENCH_GOLDEN");
    struct error e = {0};
    struct golden *g = golden_open(folder ? folder : "tests/golden/dreamer_v3", &e);
    if (!g) fail_msg("%s", e.message);
    struct golden_fixture *f = golden_load(g, code, &e);
    if (!f) fail_msg("%s", e.message);
    golden_free(g);
    return f;
}

GOLDEN_UNUSED const struct golden_tensor *golden_tensor_or_fail(const struct golden_fixture *f,
                                                                const char *name) {
    const struct golden_tensor *t = golden_find(f, name);
    if (!t) fail_msg("the fixture has no tensor \"%s\"", name);
    return t;
}

// Any tensor as reals; n < 0: any count.
GOLDEN_UNUSED const real *golden_input(struct golden_fixture *f, const char *name, int64_t n) {
    const struct golden_tensor *t = golden_tensor_or_fail(f, name);
    if (n >= 0 && t->t->n_elements != n)
        fail_msg("%s has %lld elements, not %lld", name, (long long)t->t->n_elements, (long long)n);
    return golden_reals(f, t);
}

// Raw data of a tensor of the given dtype.
GOLDEN_UNUSED const void *golden_raw(struct golden_fixture *f, const char *name,
                                     enum st_dtype dtype) {
    const struct golden_tensor *t = golden_tensor_or_fail(f, name);
    if (t->t->dtype != dtype)
        fail_msg("%s is %s, not %s", name, st_dtype_names[t->t->dtype], st_dtype_names[dtype]);
    return t->t->data;
}

GOLDEN_UNUSED int64_t golden_dim(struct golden_fixture *f, const char *name, int dim) {
    const struct golden_tensor *t = golden_tensor_or_fail(f, name);
    if (dim >= t->t->n_dims) fail_msg("%s has %d dimensions", name, t->t->n_dims);
    return t->t->shape[dim];
}

#define GOLDEN_ASSERT(SUFFIX, TYPE)                                                                \
    GOLDEN_UNUSED void golden_assert_##SUFFIX(struct golden_fixture *f, const char *name,          \
                                              const TYPE *x, int64_t n) {                          \
        struct error e = {0};                                                                      \
        if (!golden_match_##SUFFIX(golden_tensor_or_fail(f, name), x, n, &e))                      \
            fail_msg("%s", e.message);                                                             \
    }
GOLDEN_ASSERT(real, real)
GOLDEN_ASSERT(f32, float)
GOLDEN_ASSERT(i32, int32_t)
GOLDEN_ASSERT(u8, uint8_t)

#endif
