// Gate: the checks a CI job runs, a line each, one verdict, a JSON summary, an exit code.
//
//     golden          every fixture of tests/golden, made with the reference's own functions
//     smoke           two updates with a checkpoint that loads again
//     standing_still  300 updates of `static` and of `scroll`: the observation loss must fall by
//                     85 % and by 55 %
//     dream           250 updates of `scroll` at 20 times the learning rate: the observation loss
//                     must be below 0.65 of the mean picture's (the latent carries the scene), and
//                     five imagined pictures below 0.35 of the error of the last seen one held
//                     still (the prior predicts)
//
// With algo "ppo" (spec/ppo.md 7):
//
//     random          uniform actions reach the goal of `toy` in less than 30 % of 400 episodes
//     smoke           as above
//     toy             60 updates of 32 x 32 steps: 90 % of the last rollout's episodes reach the
//                     goal, and so does the greedy policy; the values explain half of the returns'
//                     variance; updates move the policy by a KL of less than 0.008; before an
//                     update's first step its policy is exactly the one that played
//
// The gpu gate does the same on the GPU, and: the update there against the CPU's, transfers and
// addresses while it runs alone, exit_lab played until an episode succeeds (gate_gpu.c); and, with
// either algorithm (gate_ppo_gpu.c):
//
//     ppo rollout     8 updates of 256 x 128 steps on the device: no transfer inside a rollout,
//                     all finite, the policy before an update's first step is the one that played
//     ppo exit_lab    the last of these rollouts has twice the successes of the first, and at
//                     least 20 %
//
// The settings reach every training run of the gate, so that a test can break a check on purpose
// and see it fail.
#ifndef RUN_GATE_H
#define RUN_GATE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

struct gate_opts {
    const char *kind;            // "cpu"; "gpu" is skipped where there is no device
    const char *algo;            // dreamer_v3, ppo; NULL: dreamer_v3
    const char *golden_dir;      // NULL: found by files.h
    const char *out_path;        // JSON summary; NULL: none
    int n_threads;               // 0: all
    const char *const *settings; // "key=value" for the training runs
    int n_settings;
    bool zero_latent; // ablation, must turn dream red
    bool json;        // the summary on `out` instead of lines
};

// Prints to `out` as it goes. STATUS_OK passed, STATUS_FAILED failed, STATUS_SKIPPED no device,
// STATUS_USAGE.
enum status gate_run(const struct gate_opts *opts, FILE *out, struct error *e);

#endif
