// The gpu gate's own checks: they pass on right kernels and fail on an update that is wrong, or
// that talks to the host.
#include "gpu/gate_run.h"

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

static void a_single_number_that_is_none_is_far_apart(void **state) {
    (void)state;
    real a[] = {1, (real)NAN, 3}, b[] = {1, 2, 4}, c[] = {1, 2, 3};
    const struct params one = {.weights = a, .n_flat = 3}, two = {.weights = b, .n_flat = 3},
                        three = {.weights = c, .n_flat = 3};
    assert_true(isnan(gate_apart(&one, &two)));
    assert_true(gate_apart(&three, &two) == 0.25);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_update_is_that_of_the_cpu),
        cmocka_unit_test(a_wrong_step_is_noticed),
        cmocka_unit_test(nothing_crosses_the_bus_between_readings),
        cmocka_unit_test(a_single_number_that_is_none_is_far_apart),
        cmocka_unit_test(an_update_that_tells_the_host_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
