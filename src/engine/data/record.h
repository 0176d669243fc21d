// One record of a run: all metrics after one gradient step. The feed's and the session files' unit.
#ifndef DATA_RECORD_H
#define DATA_RECORD_H

#include <stdint.h>

#include "engine/data/metrics.h"

struct record {
    int64_t opt_steps;                // gradient steps so far: the x axis "step"; rises by log interval
    int64_t env_steps;                // policy steps of all environments so far
    float value[METRIC_COUNT];        // NaN: not measured in this record; +-Inf and NaN may also be real results (see flags)
    uint64_t present;                 // bit m set: metric m was measured in this record
};

#endif
