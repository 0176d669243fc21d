// One check of the gpu gate on a library, with a very small agent.
#ifndef TESTS_GPU_GATE_RUN_H
#define TESTS_GPU_GATE_RUN_H

#include "gpu/parity.h"

#include "engine/run/gate/gate_internal.h"

static const char *const SETTINGS[] = {"algo.per_rank_batch_size=1",
                                       "algo.per_rank_sequence_length=2",
                                       "algo.horizon=2",
                                       "algo.dense_units=16",
                                       "algo.world_model.stochastic_size=4",
                                       "algo.world_model.discrete_size=5",
                                       "algo.world_model.recurrent_model.recurrent_state_size=16",
                                       "algo.world_model.transition_model.hidden_size=16",
                                       "algo.world_model.representation_model.hidden_size=16",
                                       "algo.world_model.encoder.cnn_channels_multiplier=2",
                                       "env.device=host"};

typedef void gate_check(struct gate *g);
static bool on_host; // the last setting too

static inline void run_on(const char *library, gate_check *check, bool passes, const char *words) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct backend *b =
        library ? backend_open(harness_path(library), why, sizeof why) : parity_backend();
    if (!b) fail_msg("%s", why);
    backend_choose(b);
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
