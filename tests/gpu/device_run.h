// A very small agent's run on a device, for tests: the harness needs a second for an update.
#ifndef TESTS_GPU_DEVICE_RUN_H
#define TESTS_GPU_DEVICE_RUN_H

#include "gpu/parity.h"

#include "engine/run/worker/worker_internal.h"
#include "support/small_run.h"

// Two machines, whose episodes end once before learning begins and not soon after it has.
static const char *const device_run_settings[] = {"algo.horizon=2",
                                                  SMALLEST_SIZES,
                                                  "algo.learning_starts=24",
                                                  "algo.replay_ratio=0.5",
                                                  "buffer.terminal_fraction=0.5",
                                                  "buffer.size=60",
                                                  "env.num_envs=2",
                                                  "env.max_episode_steps=9",
                                                  "checkpoint.every=2"};
enum { DEVICE_RUN_SETTINGS = sizeof device_run_settings / sizeof *device_run_settings };

// `more`, up to the first NULL; the texts of the last call are used.
static inline struct run_opts device_run(const char *device, const char *const *more,
                                         int64_t updates) {
    static const char *settings[DEVICE_RUN_SETTINGS + 8];
    int n = DEVICE_RUN_SETTINGS;
    memcpy(settings, device_run_settings, sizeof device_run_settings);
    while (*more) settings[n++] = *more++;
    return (struct run_opts){.task = "exit_lab",
                             .preset = "micro",
                             .device = device,
                             .n_threads = 1,
                             .updates = updates,
                             .no_session = true,
                             .no_media = true,
                             .settings = settings,
                             .n_settings = n};
}

// `mode` NULL: full.
static inline struct feed *device_run_to_end(const char *device, const char *mode,
                                             const char *const *more, int64_t updates) {
    struct error e = {0};
    struct run_opts opts = device_run(device, more, updates);
    opts.mode = mode;
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&opts, feed, &e);
    if (!w || worker_run(w, &e) != STATUS_OK) fail_msg("%s: %s", device, e.message);
    bool there = strcmp(device, "cuda") == 0;
    for (int i = 0; more[i]; i++) there &= strcmp(more[i], "env.device=host") != 0;
    assert_true((w->on_device != NULL) == there);
    worker_free(w);
    return feed;
}

static inline void device_run_same(const struct record *a, const struct record *b, int least) {
    assert_int_equal(a->opt_steps, b->opt_steps);
    assert_int_equal(a->env_steps, b->env_steps);
    assert_int_equal(a->n_actions, b->n_actions);
    assert_memory_equal(a->action_hist, b->action_hist, sizeof a->action_hist);
    int n = 0;
    for (int m = 0; m < METRIC_COUNT; m++) {
        const bool ours = a->present >> m & 1, theirs = b->present >> m & 1;
        if (metric_info[m].timed || strstr(metric_info[m].name, "update_ratio")) continue;
        if (ours != theirs) fail_msg("%s is not in both", metric_info[m].name);
        const double x = (double)a->value[m], y = (double)b->value[m];
        if (ours && !(fabs(x - y) <= 1e-4 * fmax(1, fabs(y))))
            fail_msg("update %lld: %s: %.9g on the device, %.9g on the CPU",
                     (long long)a->opt_steps, metric_info[m].name, x, y);
        n += ours;
    }
    assert_true(n > least);
}

static inline void device_run_times(const struct record *r) {
    const float actor = r->value[METRIC_ACTOR_MS], learner = r->value[METRIC_LEARNER_MS],
                overlap = r->value[METRIC_OVERLAP];
    assert_true(r->present >> METRIC_OVERLAP & 1);
    assert_true(overlap >= 0 && overlap <= 1);
    if (parity_on_harness()) assert_true(actor > 0 && learner > 0 && overlap == 0);
}

// The metrics of three updates, more than `least` of them, are the CPU's.
static inline __attribute__((unused)) void device_run_compare(const char *mode,
                                                              const char *const *more, int least) {
    enum { UPDATES = 3 };
    struct feed *cpu = device_run_to_end("cpu", mode, more, UPDATES),
                *device = device_run_to_end("cuda", mode, more, UPDATES);
    assert_int_equal(feed_n_records(cpu), UPDATES);
    assert_int_equal(feed_n_records(device), UPDATES);
    for (int64_t i = 0; i < UPDATES; i++) {
        device_run_same(feed_record(device, i), feed_record(cpu, i), least);
        device_run_times(feed_record(device, i));
    }
    assert_false(feed_record(cpu, 0)->present >> METRIC_OVERLAP & 1);
    feed_free(cpu);
    feed_free(device);
}

// What a whole run sends, setting up and looking at the end included.
static inline __attribute__((unused)) struct backend_bus
device_run_sent(const char *mode, const char *const *more, int64_t updates) {
    const struct backend_bus before = parity_backend()->bus();
    feed_free(device_run_to_end("cuda", mode, more, updates));
    const struct backend_bus after = parity_backend()->bus();
    return (struct backend_bus){after.copies - before.copies, after.bytes - before.bytes};
}

#endif
