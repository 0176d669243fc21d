// Runs of profile official and of standing still on the device, machines and replay included,
// against the same on the CPU.
#include "gpu/device_run.h"

static const char *const OFFICIAL[] = {"algo.per_rank_batch_size=2",
                                       "algo.per_rank_sequence_length=3", "metric.log_every=1",
                                       "algo.profile=official", NULL};
static const char *const STANDING[] = {"algo.per_rank_batch_size=2",
                                       "algo.per_rank_sequence_length=3", "metric.log_every=1",
                                       "env.constant_action=NOOP", NULL};
static const char *const STANDING_QUIET[] = {
    "algo.per_rank_batch_size=1", "algo.per_rank_sequence_length=2", "metric.log_every=1000",
    "env.constant_action=NOOP", NULL};
static void the_official_profile_has_the_metrics_of_the_cpu(void **state) {
    (void)state;
    device_run_compare(NULL, OFFICIAL, 25);
}

static void standing_still_has_the_metrics_of_the_cpu(void **state) {
    (void)state;
    device_run_compare("standing_still", STANDING, 12);
}

// Its actions are sent once.
static void longer_runs_that_stand_still_send_nothing_more(void **state) {
    (void)state;
    const struct backend_bus two = device_run_sent("standing_still", STANDING_QUIET, 2),
                             four = device_run_sent("standing_still", STANDING_QUIET, 4);
    assert_true(two.copies > 0);
    assert_int_equal(four.copies - two.copies, 0);
    assert_int_equal(four.bytes - two.bytes, 0);
}

int main(void) {
    parity_for_runs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_official_profile_has_the_metrics_of_the_cpu),
        cmocka_unit_test(standing_still_has_the_metrics_of_the_cpu),
        cmocka_unit_test(longer_runs_that_stand_still_send_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
