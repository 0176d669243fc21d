// Metrics: the table of everything a run measures.
#include "engine/data/metrics.h"

#include <string.h>

const struct metric_info metric_info[METRIC_COUNT] = {
#define X(id, name, sheeprl, timed, unit, what) {name, sheeprl, timed, unit, what},
    METRICS_TABLE(X)
#undef X
};

int metric_find(const char *name) {
    for (int i = 0; i < METRIC_COUNT; i++)
        if (strcmp(metric_info[i].name, name) == 0) return i;
    return -1;
}
