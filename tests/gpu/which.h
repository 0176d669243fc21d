// Which device the tests of this folder run on: the harness, or with WORKBENCH_CUDA_LIBRARY the
// library of that name (make gpu-check).
//
//     const struct backend *b = parity_backend();     // opened once, and chosen
#ifndef TESTS_GPU_WHICH_H
#define TESTS_GPU_WHICH_H

#include <stdio.h>
#include <stdlib.h>

#include "engine/graph/backend.h"
#include "support/test.h"

static inline const char *harness_path(const char *name) {
    static char path[4096];
    const char *build = getenv("WORKBENCH_BUILD");
    snprintf(path, sizeof path, "%s/tests/gpu/lib%s.so", build ? build : "build", name);
    return path;
}

static inline bool parity_on_harness(void) {
    const char *library = getenv("WORKBENCH_CUDA_LIBRARY");
    return !library || strcmp(library, harness_path("harness")) == 0;
}
// For runs, which find the library themselves; before the first one.
static inline __attribute__((unused)) void parity_for_runs(void) {
    if (parity_on_harness()) setenv("WORKBENCH_CUDA_LIBRARY", harness_path("harness"), 1);
}

static inline const struct backend *parity_backend(void) {
    static const struct backend *b;
    char why[BACKEND_MESSAGE_SIZE] = "";
    if (b) return b;
    b = backend_open(parity_on_harness() ? harness_path("harness") : NULL, why, sizeof why);
    if (!b) fail_msg("%s", why);
    backend_choose(b);
    return b;
}

// One of the tests' own libraries, as harness_path names them, chosen; NULL: parity_backend.
static inline __attribute__((unused)) const struct backend *parity_choose(const char *library) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct backend *b =
        library ? backend_open(harness_path(library), why, sizeof why) : parity_backend();
    if (!b) fail_msg("%s", why);
    backend_choose(b);
    return b;
}

// For a program of which nothing is for a GPU: main's return there. Counted as skipped, says why.
static inline void not_for_a_gpu(void **state) {
    (void)state;
    skip();
}
static inline __attribute__((unused)) int parity_skip_all(const char *why) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(not_for_a_gpu)};
    printf("skipped: %s\n", why);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// Sizes of a very small agent: the harness needs a second for an update.
#define SMALLEST_SIZES                                                                             \
    "algo.dense_units=16", "algo.world_model.stochastic_size=4",                                   \
        "algo.world_model.discrete_size=5",                                                        \
        "algo.world_model.recurrent_model.recurrent_state_size=16",                                \
        "algo.world_model.transition_model.hidden_size=16",                                        \
        "algo.world_model.representation_model.hidden_size=16",                                    \
        "algo.world_model.encoder.cnn_channels_multiplier=2"

#endif
