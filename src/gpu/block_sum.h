// Device functions: a number per thread of a block becomes one number of the block.
#ifndef GPU_BLOCK_SUM_H
#define GPU_BLOCK_SUM_H

#include "gpu/device.h"

// slices[block] = the sum of `value` over the THREADS threads, in one fixed tree. Every thread of
// the block comes here once.
DEVICE_FUNCTION void block_sum_to(double value, buf<double> slices) {
    SHARED(double, part, THREADS);
    part[threadIdx.x] = value;
    for (int half = THREADS / 2; half >= 1; half /= 2) {
        BARRIER();
        if ((int)threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    BARRIER();
    if (threadIdx.x == 0) slices[blockIdx.x] = part[0];
}

#endif
