// Kernels of programs that make no gradients. Where `state` says that the program has failed they
// leave everything as it is.
#ifndef GPU_NOISE_H
#define GPU_NOISE_H

#include "gpu/gpu.h"

// Whose numbers: rows of `width` elements, of which every n are the place `first` of `all` (several
// ranks' sequences, noise_share of engine/algo/dreamer_v3/noise.h). n 0: element i is number i.
struct noise_rows {
    int64_t first, n, all, width;
};
// The numbers of engine/algo/dreamer_v3/noise.h for the program's step.
void noise_uniform(struct gpu *g, buf<const int64_t> state, uint64_t seed, uint32_t purpose,
                   struct noise_rows rows, buf<real> out);
void noise_normal(struct gpu *g, buf<const int64_t> state, uint64_t seed, uint32_t purpose,
                  struct noise_rows rows, buf<real> out);
void guarded_fill(struct gpu *g, buf<const int64_t> state, real value, buf<real> out);
void guarded_copy(struct gpu *g, buf<const int64_t> state, const void *from, void *to,
                  size_t bytes);
// Fails the program where value[0] or norm[0] (n 0: none) is not finite; seen [2] keeps them.
void program_check(struct gpu *g, int place, buf<const real> value, buf<const double> norm,
                   buf<int64_t> state, buf<double> seen);
// The same for all numbers of x; slices [finite_slices].
static const int64_t finite_slices = 64;
void program_finite(struct gpu *g, int place, buf<const real> x, buf<double> slices,
                    buf<int64_t> state, buf<double> seen);
void program_seek(struct gpu *g, buf<int64_t> state, int64_t step);
void program_advance(struct gpu *g, buf<int64_t> state);

#endif
