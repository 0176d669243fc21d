// One check of the gpu gate on a library, with a very small agent.
#ifndef TESTS_GPU_GATE_RUN_H
#define TESTS_GPU_GATE_RUN_H

#include "gpu/parity.h"

#include "engine/run/gate/gate_internal.h"

static const char *const SETTINGS[] = {"algo.per_rank_batch_size=1",
                                       "algo.per_rank_sequence_length=2", "algo.horizon=2",
                                       SMALLEST_SIZES, "env.device=host"};

typedef void gate_check(struct gate *g);
static bool on_host; // the last setting too

static inline void run_on(const char *library, gate_check *check, bool passes, const char *words) {
    parity_choose(library);
    static struct gate g;
    const struct gate_opts opts = {.kind = "gpu",
                                   .settings = SETTINGS,
                                   .n_settings = sizeof SETTINGS / sizeof *SETTINGS - !on_host,
                                   .json = true};
    g = (struct gate){.opts = &opts, .out = stdout};
    check(&g);
    assert_int_equal(g.n_results, 1);
    if (g.results[0].passed != passes || !strstr(g.results[0].detail, words))
        fail_msg("%s %s: %s", g.results[0].name, g.results[0].passed ? "passed" : "failed",
                 g.results[0].detail);
}

#endif
