// A whole run on the device, machines and replay included, against the same run on the CPU.
#include "gpu/device_run.h"

#include "base/log.h"
#include "env/button_rom.h"

static const char *const LOGGED[] = {"algo.per_rank_batch_size=2",
                                     "algo.per_rank_sequence_length=3", "metric.log_every=1", NULL};
static const char *const QUIET[] = {"algo.per_rank_batch_size=1", "algo.per_rank_sequence_length=2",
                                    "metric.log_every=1000", NULL};
static const char *const QUIET_HOST[] = {"algo.per_rank_batch_size=1",
                                         "algo.per_rank_sequence_length=2", "metric.log_every=1000",
                                         "env.device=host", NULL};

static void training_on_the_device_has_the_metrics_of_the_cpu(void **state) {
    (void)state;
    device_run_compare(NULL, LOGGED, 25);
}

// Without a session nothing has brought the rows to the host.
static void the_summary_sees_the_rows_on_the_device(void **state) {
    (void)state;
    struct worker_summary s[2] = {{0}};
    static const char *const devices[] = {"cpu", "cuda"};
    for (int i = 0; i < 2; i++) {
        struct error e = {0};
        const struct run_opts opts = device_run(devices[i], LOGGED, 2);
        if (run_worker(&opts, &s[i], &e) != STATUS_OK) fail_msg("%s", e.message);
    }
    assert_true(s[0].mean_picture_loss > 0);
    assert_true(s[1].mean_picture_loss == s[0].mean_picture_loss);
}

// ---- the bus

static void longer_runs_send_nothing_more(void **state) {
    (void)state;
    const struct backend_bus two = device_run_sent(NULL, QUIET, 2),
                             four = device_run_sent(NULL, QUIET, 4);
    assert_true(two.copies > 0); // it is counted
    assert_int_equal(four.copies - two.copies, 0);
    assert_int_equal(four.bytes - two.bytes, 0);
}

static void rows_of_the_host_are_counted(void **state) {
    (void)state;
    const struct backend_bus two = device_run_sent(NULL, QUIET_HOST, 2),
                             three = device_run_sent(NULL, QUIET_HOST, 3);
    const int64_t batch = 2 * WM_PACKED_BYTES, picture = 2 * WM_PACKED_BYTES;
    assert_true(three.copies - two.copies >= 2);
    assert_true(three.bytes - two.bytes >= batch + picture);
}

// ---- a game that crashes: an opcode that does not exist as soon as a button is down

static void a_machine_that_stands_still_is_warned_of_once(void **state) {
    (void)state;
    static uint8_t rom[BUTTON_ROM_BYTES];
    char path[4200];
    struct log_line line;
    struct error e = {0};
    button_rom_make(rom);
    *(uint8_t *)memchr(rom + 0x178, 0xa8, 64) = 0xd3;
    snprintf(path, sizeof path, "%s/crash.gb", test_folder());
    if (!file_write_atomic(path, rom, sizeof rom, &e)) fail_msg("%s", e.message);
    struct run_opts opts = device_run("cuda", LOGGED, 3);
    opts.task = NULL;
    opts.mode = "full";
    opts.rom_path = path;
    const int64_t before = log_count();
    if (run_worker(&opts, NULL, &e) != STATUS_OK) fail_msg("%s", e.message);
    int n = 0;
    for (int64_t i = before; i < log_count(); i++)
        n += log_read(i, &line) && line.level == LOG_WARN &&
             strstr(line.text, "crash: a machine stands still: an opcode that does not exist");
    assert_int_equal(n, 1);
}

// ---- a bad number

static void a_policy_step_that_is_not_finite_stops_the_run(void **state) {
    (void)state;
    struct error e = {0};
    const struct run_opts opts = device_run("cuda", LOGGED, 3);
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&opts, feed, &e);
    if (!w) fail_msg("%s", e.message);
    w->rollout.actor_weights.weights[3] = (real)NAN;
    player_sync(w->rollout.player, false);
    assert_int_equal(worker_run(w, &e), STATUS_FAILED);
    if (!strstr(e.message, "policy step") || !strstr(e.message, "is not finite"))
        fail_msg("%s", e.message);
    assert_int_equal(feed_n_records(feed), 0);
    // The first one after a prefill of twelve steps, and the row on which the episodes end.
    assert_int_equal(w->rollout.env_ticks, 13);
    worker_free(w);
    feed_free(feed);
}

int main(void) {
    parity_for_runs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_on_the_device_has_the_metrics_of_the_cpu),
        cmocka_unit_test(the_summary_sees_the_rows_on_the_device),
        cmocka_unit_test(longer_runs_send_nothing_more),
        cmocka_unit_test(rows_of_the_host_are_counted),
        cmocka_unit_test(a_machine_that_stands_still_is_warned_of_once),
        cmocka_unit_test(a_policy_step_that_is_not_finite_stops_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
