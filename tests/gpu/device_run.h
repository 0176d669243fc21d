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

#endif
