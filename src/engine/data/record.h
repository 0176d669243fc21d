// One record of a run: all metrics after one gradient step. The feed's and the session files' unit.
#ifndef DATA_RECORD_H
#define DATA_RECORD_H

#include <stdint.h>

#include "engine/data/metrics.h"

// One bit per metric. More than 64: a shift of an int or a uint64_t is not enough, use METRIC_BIT.
__extension__ typedef unsigned __int128 metric_set;
#define METRIC_BIT(m) ((metric_set)1 << (m))
_Static_assert(METRIC_COUNT <= 128, "metric_set has one bit per metric");

enum { RECORD_MAX_ACTIONS = 9 };

struct record {
    int64_t opt_steps;         // gradient steps so far: the x axis "step"; rises by log interval
    int64_t env_steps;         // policy steps of all environments so far
    float value[METRIC_COUNT]; // NaN: not measured in this record; +-Inf and NaN may also be real
                               // results (see flags)
    metric_set present;        // bit m set: metric m was measured in this record
    int n_actions;             // 0: no histogram
    int64_t
        action_hist[RECORD_MAX_ACTIONS]; // how often each action was chosen (PPO: in the rollout)
};

#endif
