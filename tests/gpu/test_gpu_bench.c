// What the bars of the GPU are measured with: contents of the reports, right and broken.
#include "gpu/parity.h"

#include <sys/wait.h>

#include "engine/run/bench/bench.h"

// ---- bench emu

static void machines_are_timed_and_a_sample_is_that_of_the_cpu(void **state) {
    (void)state;
    struct bench_emu_device_result r;
    struct error e = {0};
    parity_choose(NULL);
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
    parity_choose("broken_short_step");
    const struct bench_emu_opts o = {.n_envs = 2, .n_threads = 1, .steps = 5};
    assert_false(bench_emu_device(&o, &r, &e));
    assert_int_equal(e.status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "2 of 2 machines on the device are not the CPU's"));
}

// ---- bench env

static const char *const short_episodes[] = {"env.max_episode_steps=6"};

static void environments_are_timed_and_a_sample_is_that_of_the_cpu(void **state) {
    (void)state;
    struct bench_env_result r;
    struct error e = {0};
    parity_choose(NULL);
    const struct bench_env_opts o = {.task = "exit_lab",
                                     .n_envs = 34,
                                     .n_threads = 1,
                                     .steps = 10,
                                     .settings = short_episodes,
                                     .n_settings = 1};
    if (!bench_env_device(&o, &r, &e)) fail_msg("%s", e.message);
    const struct bench_env_size *s = &r.size[0];
    assert_int_equal(r.n_sizes, 1);
    assert_int_equal(s->n_checked, 32);
    assert_int_equal(s->ticks, 10);
    assert_int_equal(s->episodes, 34 * 2); // at ticks 6 and 13; the fourth is the first timed
    assert_int_equal(s->steps, 34 * 8);
    assert_true(s->seconds > 0 && s->steps_per_second > 0);
}

static void environments_that_are_not_the_cpus_fail(void **state) {
    (void)state;
    struct bench_env_result r;
    struct error e = {0};
    if (!parity_on_harness()) skip();
    parity_choose("broken_short_step");
    const struct bench_env_opts o = {.n_envs = 2, .n_threads = 1, .steps = 5};
    assert_false(bench_env_device(&o, &r, &e));
    assert_int_equal(e.status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "2 of 2 environments on the device are not the CPU's"));
}

static void environments_without_machines_are_not_the_devices(void **state) {
    (void)state;
    struct bench_env_result r;
    struct error e = {0};
    parity_choose(NULL);
    const struct bench_env_opts o = {.task = "pendulum", .n_envs = 2};
    assert_false(bench_env_device(&o, &r, &e));
    assert_int_equal(e.status, STATUS_USAGE);
    assert_non_null(strstr(e.message, "--task pendulum is no Game Boy"));
}

// ---- bench replay

static bool remembered(struct bench_replay_result *r, struct error *e) {
    static const char *const sizes[] = {"algo.per_rank_batch_size=2",
                                        "algo.per_rank_sequence_length=4", "buffer.size=60",
                                        "algo.learning_starts=20"};
    const struct bench_replay_opts o = {
        .n_envs = 2, .steps = 10, .settings = sizes, .n_settings = 4};
    return bench_replay_device(&o, r, e);
}

static void a_batch_of_the_devices_ring_is_that_of_the_cpu_and_timed(void **state) {
    (void)state;
    static const char *const parts[] = {"written from the host", "drawn, gathered", "unpacked"};
    struct bench_replay_result r;
    struct error e = {0};
    parity_choose(NULL);
    if (!remembered(&r, &e)) fail_msg("%s", e.message);
    assert_int_equal(r.n_envs, 2);
    assert_int_equal(r.rows, 30);
    assert_int_equal(r.n_parts, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(r.part[i].name, parts[i]);
        assert_true(r.part[i].rows_per_second > 0 && r.part[i].bytes_per_second > 0);
    }
    assert_true(r.memory_bytes_per_s > 0);
}

static void a_ring_that_draws_other_rows_fails(void **state) {
    (void)state;
    struct bench_replay_result r;
    struct error e = {0};
    if (!parity_on_harness()) skip();
    parity_choose("broken_wrong_draw");
    assert_false(remembered(&r, &e));
    assert_int_equal(e.status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "is not the CPU's"));
}

// ---- bench train --kernels

static const char *const small[] = {"algo.per_rank_batch_size=1", "algo.per_rank_sequence_length=2",
                                    "algo.horizon=2", SMALLEST_SIZES};
enum { N_SMALL = sizeof small / sizeof *small };

// "linear 2x20 > 2x16": rows, inputs, outputs.
static bool layer_of(const char *text, long long *m, long long *k, long long *n) {
    long long rows;
    return sscanf(text, "linear %lldx%lld > %lldx%lld", m, k, &rows, n) == 4;
}

static void check_kernel(const struct bench_kernel *k) {
    long long m, in, out;
    assert_true(k->count > 0 && k->launches >= k->count && k->bytes >= 0 && k->floor_ms >= 0);
    if (sscanf(k->text, "adam %lld", &m) == 1) // four read, three written
        assert_true(k->bytes == 4. * 7 * (double)m * k->count && k->flop == 0);
    if (!layer_of(k->text, &m, &in, &out)) return;
    assert_true(k->flop == 2. * (double)(m * in * out) * k->count);
    const double least = 4. * (double)(m * in + in * out + m * out); // without bias or addend
    assert_true(k->bytes >= least * k->count && k->bytes <= 2 * least * k->count);
}

static void kernels_of_an_update_are_listed_with_their_work(void **state) {
    (void)state;
    struct bench_train_result r;
    struct error e = {0};
    const struct bench_train_opts o = {.device = "cuda",
                                       .n_threads = 1,
                                       .updates = 2,
                                       .shapes = true, // as bench engine; --kernels is the same
                                       .quick = true,
                                       .settings = small,
                                       .n_settings = N_SMALL};
    const bool on_harness = parity_on_harness();
    if (on_harness) setenv("WORKBENCH_CUDA_LIBRARY", harness_path("harness"), 1);
    const bool fine = bench_train(&o, &r, &e);
    if (on_harness) unsetenv("WORKBENCH_CUDA_LIBRARY");
    if (!fine) fail_msg("%s", e.message);
    const struct bench_kernels *k = &r.kernels;
    int launches = 0, layers = 0, adams = 0;
    double ms = 0, least = 0;
    long long unused;
    for (int i = 0; i < k->n; i++) {
        check_kernel(&k->list[i]);
        launches += k->list[i].launches;
        ms += k->list[i].ms;
        least += k->list[i].floor_ms;
        layers += layer_of(k->list[i].text, &unused, &unused, &unused);
        adams += strncmp(k->list[i].text, "adam ", 5) == 0 ? k->list[i].count : 0;
        for (int j = 0; j < i; j++) assert_string_not_equal(k->list[i].text, k->list[j].text);
        if (i) assert_true(k->list[i - 1].ms >= k->list[i].ms);
    }
    assert_true(layers > 3 && adams == 3);
    assert_int_equal(launches, k->launches);
    assert_true(r.launches == k->graph_nodes && r.launches > 100);
    // On a GPU a product may be several kernels.
    if (parity_on_harness()) assert_int_equal(k->graph_nodes, k->launches);
    assert_true(fabs(ms - k->ms) < 1e-9 && fabs(least - k->floor_ms) < 1e-9);
    bench_kernels_free(&r.kernels);
}

static void kernels_are_for_a_device(void **state) {
    (void)state;
    struct bench_train_result r;
    struct error e = {0};
    const struct bench_train_opts o = {.kernels = true};
    assert_false(bench_train(&o, &r, &e));
    assert_int_equal(e.status, STATUS_USAGE);
}

static void what_the_device_does_at_most_is_measured(void **state) {
    (void)state;
    struct backend_rates r = {
        .copy_bytes = 4096, .fma_blocks = 2, .fma_steps = 4, .product = 16, .repetitions = 3};
    char why[BACKEND_MESSAGE_SIZE] = "";
    if (!parity_backend()->rates(&r, why, sizeof why)) fail_msg("%s", why);
    assert_true(r.copy_bytes_per_s > 0 && r.fma_flops > 0 && r.empty_ms >= 0);
    for (int i = 0; i < 3; i++) assert_true(r.product_flops[i] > 0);
}

// ---- tests/gpu/on_device, where there is no GPU: each part says so

static int output_of(const char *command, char *text, size_t size) {
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    text[fread(text, 1, size - 1, pipe)] = 0;
    const int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void without_a_gpu_every_part_of_the_device_script_is_skipped(void **state) {
    (void)state;
    static const char *const parts[] = {"doctor",     "parity",  "gate",    "emu",
                                        "train_tiny", "train_s", "failures"};
    enum { N_PARTS = sizeof parts / sizeof *parts };
    char text[1024], said[8192];
    const char *build = getenv("WORKBENCH_BUILD");
    if (!parity_on_harness() || access("/usr/bin/timeout", X_OK) != 0) skip();
    if (access("/dev/nvidiactl", F_OK) == 0) skip();
    snprintf(text, sizeof text,
             "d=$(mktemp -d); NO_BUILD=1 BUILD='%s' tests/gpu/on_device $d; rc=$?; "
             "grep -c . $d/summary.txt; tar -tf $d/report.tar.gz | grep -c log; rm -r $d; exit $rc",
             build ? build : "build");
    assert_int_equal(output_of(text, said, sizeof said), 3);
    for (size_t i = 0; i < N_PARTS; i++) {
        snprintf(text, sizeof text, "\n%s: skipped (exit 3)", parts[i]);
        const char *line = strstr(said, text);
        if (!line || !strstr(line, "no CUDA device")) fail_msg("%s: %s", parts[i], said);
    }
    // Lines of the summary: the build, the parts, the time; logs: the first two.
    snprintf(text, sizeof text, "\n%d\n%d\n", N_PARTS + 2, N_PARTS + 1);
    assert_non_null(strstr(said, text));
}

// With a program of an older build in its folder, which says that there is no GPU.
static void a_build_that_fails_runs_no_part_and_fails(void **state) {
    (void)state;
    char said[8192];
    if (access("/usr/bin/timeout", X_OK) != 0) skip();
    const char *const command =
        "d=$(mktemp -d); mkdir $d/bin $d/old; "
        "printf '#!/bin/sh\\necho gpu no CUDA device\\n' >$d/old/workbench; "
        "printf '#!/bin/sh\\ncase \"$*\" in *check-tools*) exit 0;; esac; "
        "echo a fault in the source; exit 2\\n' >$d/bin/make; "
        "chmod +x $d/old/workbench $d/bin/make; touch $d/old/libworkbench_cuda.so; "
        "PATH=$d/bin:$PATH BUILD=$d/old tests/gpu/on_device $d/out doctor; rc=$?; "
        "cat $d/out/summary.txt; rm -r $d; exit $rc";
    assert_int_equal(output_of(command, said, sizeof said), 1);
    assert_non_null(strstr(said, "build: FAILED (exit 2)"));
    assert_null(strstr(said, "doctor"));
    assert_null(strstr(said, "skipped"));
}

// A program without a test for a GPU is no failure there.
static void programs_for_the_harness_alone_are_skipped_on_a_gpu(void **state) {
    (void)state;
    static const char *const names[] = {"memory", "ranks"};
    char text[1024], said[8192];
    const char *build = getenv("WORKBENCH_BUILD");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text, "%s/tests/gpu/test_gpu_%s", build ? build : "build", names[i]);
        if (access(text, X_OK) != 0) continue; // ONLY= left it out
        snprintf(text, sizeof text,
                 "WORKBENCH_TOTALS= WORKBENCH_CUDA_LIBRARY=/of/a/gpu.so "
                 "tests/run_tests '%s/tests/gpu/test_gpu_%s'",
                 build ? build : "build", names[i]);
        if (output_of(text, said, sizeof said) != 0) fail_msg("%s", said);
        assert_non_null(strstr(said, "0 passed, 1 skipped"));
        assert_non_null(strstr(said, "skipped: "));
    }
}

// The driver lists a GPU that the program does not take: what the machine is gets said, nothing is
// skipped.
static void a_gpu_that_the_program_does_not_find_fails(void **state) {
    (void)state;
    char said[8192];
    if (access("/usr/bin/timeout", X_OK) != 0) skip();
    const char *const command =
        "d=$(mktemp -d); mkdir $d/bin $d/old; "
        "printf '#!/bin/sh\necho \"gpu  no CUDA device: its library is broken; cpu\"\n' "
        ">$d/old/workbench; "
        "printf '#!/bin/sh\necho GPU 0: NVIDIA H100\n' >$d/bin/nvidia-smi; "
        "chmod +x $d/old/workbench $d/bin/nvidia-smi; touch $d/old/libworkbench_cuda.so; "
        "PATH=$d/bin:$PATH BUILD=$d/old NO_BUILD=1 tests/gpu/on_device $d/out doctor emu; rc=$?; "
        "tar -xOzf $d/out/report.tar.gz ./doctor.log; rm -r $d; exit $rc";
    assert_int_equal(output_of(command, said, sizeof said), 1);
    assert_non_null(strstr(said, "\ndoctor: FAILED"));
    assert_non_null(strstr(said, "\nemu: FAILED"));
    assert_null(strstr(said, "skipped"));
    assert_non_null(strstr(said, "\nLinux ")); // the log begins with the machine
    assert_non_null(strstr(said, "its library is broken"));
}

static void more_than_ten_minutes_of_parts_are_refused(void **state) {
    (void)state;
    char said[2048];
    assert_int_equal(
        output_of("tests/gpu/on_device -n /tmp peers_tiny peers_s 2>&1", said, sizeof said), 2);
    assert_non_null(strstr(said, "name fewer parts"));
    assert_int_equal(output_of("tests/gpu/on_device -n", said, sizeof said), 0);
    assert_non_null(strstr(said, "at most "));
    assert_true(atoi(strstr(said, "at most ") + 8) <= 580);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machines_are_timed_and_a_sample_is_that_of_the_cpu),
        cmocka_unit_test(a_machine_that_is_not_the_cpus_fails),
        cmocka_unit_test(environments_are_timed_and_a_sample_is_that_of_the_cpu),
        cmocka_unit_test(environments_that_are_not_the_cpus_fail),
        cmocka_unit_test(environments_without_machines_are_not_the_devices),
        cmocka_unit_test(a_batch_of_the_devices_ring_is_that_of_the_cpu_and_timed),
        cmocka_unit_test(a_ring_that_draws_other_rows_fails),
        cmocka_unit_test(what_the_device_does_at_most_is_measured),
        cmocka_unit_test(kernels_are_for_a_device),
        cmocka_unit_test(a_build_that_fails_runs_no_part_and_fails),
        cmocka_unit_test(programs_for_the_harness_alone_are_skipped_on_a_gpu),
        cmocka_unit_test(a_gpu_that_the_program_does_not_find_fails),
        cmocka_unit_test(more_than_ten_minutes_of_parts_are_refused),
        cmocka_unit_test(kernels_of_an_update_are_listed_with_their_work),
        cmocka_unit_test(without_a_gpu_every_part_of_the_device_script_is_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
