// Optimiser kernels of the device library, on arrays of the host for the time being.
#ifndef GPU_OPTIM_H
#define GPU_OPTIM_H

#include "gpu/gpu.h"

// One Adam step as engine/nn/optim.h has it: norm, clipping, moments and weights. Copies everything
// to the device and back. False: message says why.
bool gpu_adam(struct backend_adam *a, char *message, size_t size);

#endif
