// What the bars of the GPU are measured with: contents of the reports, right and broken.
#include "gpu/parity.h"

#include "engine/run/bench.h"

static void choose(const char *library) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct backend *b =
        library ? backend_open(harness_path(library), why, sizeof why) : parity_backend();
    if (!b) fail_msg("%s", why);
    backend_choose(b);
}

// ---- bench emu

static void machines_are_timed_and_a_sample_is_that_of_the_cpu(void **state) {
    (void)state;
    struct bench_emu_device_result r;
    struct error e = {0};
    choose(NULL);
    const struct bench_emu_opts o = {.task = "exit_lab", .n_envs = 40, .n_threads = 1, .steps = 10};
    if (!bench_emu_device(&o, &r, &e)) fail_msg("%s", e.message);
    assert_int_equal(r.n_sizes, 1);
    const struct bench_emu_size *s = &r.size[0];
    assert_int_equal(s->n_envs, 40);
    assert_int_equal(s->n_checked, 32);
    assert_int_equal(s->steps, 10);
    assert_true(s->seconds > 0 && strlen(s->hash) == SHA256_HEX_SIZE - 1);
    assert_true(fabs(s->steps_per_second * s->seconds - 2 * 40) < 1e-6); // of one repetition
    assert_true(fabs(s->frames_per_second - 24 * s->steps_per_second) < 1e-3);
}

static void a_machine_that_is_not_the_cpus_fails(void **state) {
    (void)state;
    struct bench_emu_device_result r;
    struct error e = {0};
    if (!parity_on_harness()) skip();
    choose("broken_short_step");
    const struct bench_emu_opts o = {.n_envs = 2, .n_threads = 1, .steps = 5};
    assert_false(bench_emu_device(&o, &r, &e));
    assert_int_equal(e.status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "2 of 2 machines on the device are not the CPU's"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines_are_timed_and_a_sample_is_that_of_the_cpu),
        cmocka_unit_test(a_machine_that_is_not_the_cpus_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
