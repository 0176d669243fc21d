// Probes: what the device does at most (graph/backend.h: struct backend_rates).
#ifndef GPU_PROBE_H
#define GPU_PROBE_H

#include "gpu/gpu.h"

bool gpu_rates(struct backend_rates *r, char *message, size_t size);

#endif
