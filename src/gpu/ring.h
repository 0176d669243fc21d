// The replay ring on the device: what its host part (ring.cu) and its kernels (sample.cu) share.
//
// Arrays are [rows][n_envs], in words of four bytes; a slot is (t mod rows) * n_envs + env. They
// and the batch are allocated once: addresses never change, each a multiple of 256, each
// observation of 16 bytes. What changes from batch to batch lies in `aim` on the device, so that
// the kernels of a batch can be captured once and replayed.
#ifndef GPU_RING_H
#define GPU_RING_H

#include "gpu/emu.h"

enum { COUNT_SLICES = 256 };
enum { AIM_FIRST, AIM_END, AIM_SEED, AIM_STEP, N_AIM };

struct ring_arrays {
    int64_t rows, n_envs;
    buf<uint32_t> obs; // [rows][n_envs][OBS_WORDS]
    buf<int32_t> action, episode;
    buf<float> reward;
    buf<uint32_t> flags; // FLAG_...
};

struct ring_batch {
    int n_actions;
    buf<int64_t> aim, starts; // [N_AIM], [B][2]
    buf<int64_t> counts;      // [COUNT_SLICES] terminated rows of a slice of the window
    buf<int32_t> parts;       // [COUNT_SLICES][THREADS] and of the parts of a slice
    buf<uint32_t> packed;     // [T][B][OBS_WORDS]
    buf<float> actions, prev_actions, rewards, continues, is_first;
};

// sample.cu
void ring_enqueue_batch(struct gpu *learner, const struct ring_arrays *a,
                        const struct ring_batch *b, const int64_t aim[N_AIM], int length, int batch,
                        int n_terminal);

#endif
