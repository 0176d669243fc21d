// Normal random numbers of a Philox stream: Box-Muller, in double. Valid C17 and CUDA C++.
//
//     double x = rng_normal(seed, RNG_ACTOR_NORMAL, step, index);
//
// One block gives two pairs, so elements 2i and 2i + 1 share one. CPU and GPU agree to the last
// digits of their log and cos.
#ifndef BASE_NORMAL_H
#define BASE_NORMAL_H

#include <math.h>

#include "base/philox.h"

HD double rng_normal(uint64_t seed, uint32_t purpose, uint64_t step, uint32_t index) {
    const double two_pi = 6.283185307179586;
    const struct philox r = rng_block(seed, purpose, step, index >> 1);
    const int pair = 2 * (int)(index & 1);
    const double u = (r.v[pair] + 0.5) * (1.0 / 4294967296.0),
                 angle = two_pi * (r.v[pair + 1] * (1.0 / 4294967296.0));
    return sqrt(-2 * log(u)) * cos(angle);
}

#endif
