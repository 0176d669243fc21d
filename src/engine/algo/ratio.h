// Ratio scheduler: how many gradient steps are due after so many policy steps (sheeprl; spec/dreamer_v3.md 8.1).
#ifndef ALGO_RATIO_H
#define ALGO_RATIO_H

#include <stdbool.h>
#include <stdint.h>

struct ratio {
    double ratio;                    // gradient steps per policy step, >= 0
    int64_t pretrain_steps;          // 0: none
    double previous;                 // a float on purpose: the remainder must not be lost
    bool started;
};

// policy_step: policy steps so far, all environments, prefill subtracted. Less than in the call before (a count that was
// corrected): nothing is due until that is made up for. The first
// call pays for what came before it (at most pretrain_steps of it, if those are set) and drops its remainder; later
// calls carry theirs over. The whole struct is the state: keep it in a checkpoint.
int64_t ratio_due(struct ratio *r, int64_t policy_step);

#endif
