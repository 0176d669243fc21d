// The gpu gate's own checks: they pass on right kernels and fail on an update that is wrong, or
// that talks to the host.
#include "gpu/parity.h"

#include "engine/run/gate_internal.h"

static const char *const SETTINGS[] = {"algo.per_rank_batch_size=1",
                                       "algo.per_rank_sequence_length=2",
                                       "algo.horizon=2",
                                       "algo.dense_units=16",
                                       "algo.world_model.stochastic_size=4",
                                       "algo.world_model.discrete_size=5",
                                       "algo.world_model.recurrent_model.recurrent_state_size=16",
                                       "algo.world_model.transition_model.hidden_size=16",
                                       "algo.world_model.representation_model.hidden_size=16",
                                       "algo.world_model.encoder.cnn_channels_multiplier=2"};

typedef void gate_check(struct gate *g);

static void run_on(const char *library, gate_check *check, bool passes, const char *words) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct backend *b =
        library ? backend_open(harness_path(library), why, sizeof why) : parity_backend();
    if (!b) fail_msg("%s", why);
    backend_choose(b);
    static struct gate g;
    const struct gate_opts opts = {.kind = "gpu",
                                   .settings = SETTINGS,
                                   .n_settings = sizeof SETTINGS / sizeof *SETTINGS,
                                   .json = true};
    g = (struct gate){.opts = &opts, .out = stdout};
    check(&g);
    assert_int_equal(g.n_results, 1);
    if (g.results[0].passed != passes || !strstr(g.results[0].detail, words))
        fail_msg("%s %s: %s", g.results[0].name, g.results[0].passed ? "passed" : "failed",
                 g.results[0].detail);
}

static void the_update_is_that_of_the_cpu(void **state) {
    (void)state;
    run_on(NULL, gate_check_update_on_gpu, true, "bar 1e-04");
}

static void a_wrong_step_is_noticed(void **state) {
    (void)state;
    run_on("broken_wrong_step", gate_check_update_on_gpu, false, "differ from the CPU's");
}

static void nothing_crosses_the_bus_between_readings(void **state) {
    (void)state;
    run_on(NULL, gate_check_bus, true, "0 transfers, 0 bytes");
}

static void an_update_that_tells_the_host_is_noticed(void **state) {
    (void)state;
    run_on("broken_chatty", gate_check_bus, false, "8 transfers, 32 bytes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_update_is_that_of_the_cpu),
        cmocka_unit_test(a_wrong_step_is_noticed),
        cmocka_unit_test(nothing_crosses_the_bus_between_readings),
        cmocka_unit_test(an_update_that_tells_the_host_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
