// The gpu gate's checks of machines and replay: they pass where all is right, and fail on other
// rows, missing fences, a loop over the host.
#include "gpu/gate_run.h"

static void rows_are_those_of_the_cpu_while_both_streams_work(void **state) {
    (void)state;
    run_on(NULL, gate_check_rows, true, "to the byte");
}

static void other_rows_and_a_missing_fence_are_noticed(void **state) {
    (void)state;
    run_on("broken_short_step", gate_check_rows, false, "differs from the CPU's");
    if (!parity_on_harness()) return; // the harness sees races, a GPU has them
    run_on("broken_no_commit_wait", gate_check_rows, false, "race");
    run_on("broken_no_read_wait", gate_check_rows, false, "race");
}

static void acting_and_learning_send_nothing(void **state) {
    (void)state;
    run_on(NULL, gate_check_loop, true, "0 transfers, 0 bytes");
}

static void rows_of_the_host_in_the_loop_are_noticed(void **state) {
    (void)state;
    on_host = true;
    run_on(NULL, gate_check_loop, false, "replay on the HOST");
    on_host = false;
}

static void take_any_time(struct gate *g) { gate_check_batch_time(g, 0); }
static void take_no_time(struct gate *g) { gate_check_batch_time(g, 1e-9); }
static void take_an_hour(struct gate *g) { gate_check_batch_time(g, 1e9); }

static void the_time_of_a_batch_has_a_ceiling(void **state) {
    (void)state;
    run_on(NULL, take_any_time, true, parity_on_harness() ? "not judged here" : "GB/s measured");
    run_on(NULL, take_no_time, false, "floor");
    run_on(NULL, take_an_hour, true, "floor");
}

int main(void) {
    parity_for_runs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_the_cpu_while_both_streams_work),
        cmocka_unit_test(other_rows_and_a_missing_fence_are_noticed),
        cmocka_unit_test(acting_and_learning_send_nothing),
        cmocka_unit_test(rows_of_the_host_in_the_loop_are_noticed),
        cmocka_unit_test(the_time_of_a_batch_has_a_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
