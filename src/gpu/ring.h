// The replay ring on the device: what its host part (ring.cu, ring_write.cu, ring_read.cu), its
// kernels (sample.cu, tally.cu) and programs (program_commands.cu) share.
//
// Arrays are [rows][n_envs], in words of four bytes; a slot is (t mod rows) * n_envs + env. They
// and the batch are allocated once: addresses never change, each a multiple of 256, each
// observation of 16 bytes. What changes from batch to batch lies in `aim` and in a program's state
// on the device, so that the kernels of a batch can be captured once and replayed.
#ifndef GPU_RING_H
#define GPU_RING_H

#include "gpu/emu.h"
#include "gpu/optim.h" // STATE_...

enum { COUNT_SLICES = 256 };
enum { AIM_FIRST, AIM_END, N_AIM };

struct ring_arrays {
    int64_t rows, n_envs;
    buf<uint32_t> obs; // [rows][n_envs][OBS_WORDS]
    buf<int32_t> action, episode;
    buf<float> reward;
    buf<uint32_t> flags; // FLAG_...
};

// Where a batch comes from and goes; n = 0: nobody wants that part.
struct ring_batch {
    int n_actions;
    buf<int64_t> aim, starts; // [N_AIM], [B][2]
    buf<int64_t> counts;      // [COUNT_SLICES] terminated rows of a slice of the window
    buf<int32_t> parts;       // [COUNT_SLICES][THREADS] and of the parts of a slice
    buf<uint32_t> packed;     // [T][B][OBS_WORDS]
    buf<float> actions, prev_actions, rewards, continues, is_first;
};

struct ring_draw {
    uint64_t seed;
    int length, batch, n_terminal;
};

// ---- sample.cu. `state` [STATE_SIZE]: the draw's step; where it says failed nothing is touched.
void ring_enqueue_aim(struct gpu *g, const struct ring_batch *b, int64_t first, int64_t end);
void ring_enqueue_step(struct gpu *g, buf<int64_t> state, int64_t step);
void ring_enqueue_draw(struct gpu *g, const struct ring_arrays *a, const struct ring_batch *b,
                       const struct ring_draw *d, buf<const int64_t> state);
void ring_enqueue_gather(struct gpu *g, const struct ring_arrays *a, const struct ring_batch *b,
                         int length, int batch, buf<const int64_t> state);

// ---- tally.cu: what the episodes did
enum { SUM_N, SUM_SUCCESS, SUM_TRUNCATED, SUM_RETURN, SUM_LENGTH, SUM_LOCKED, N_SUMS };
struct ring_tally {
    int64_t n_envs;
    int n_sums;          // N_SUMS + actions
    buf<double> sums;    // [n_sums][n_envs] since the last fence
    buf<double> episode; // [2][n_envs] return and length of the one in progress
    buf<double> since;   // [n_sums] of the last fence alone
    buf<double> out;     // [n_sums] since they were read, and behind it ...
    buf<float> distance; // ... [n_envs]
};
struct ring_row { // of all environments
    buf<const uint32_t> machines; // their flags
    buf<const float> reward;
    buf<const uint32_t> flags;
    buf<const int32_t> action;
};
void tally_enqueue_row(struct gpu *g, const struct ring_tally *t, const struct ring_row *row);
// `anew`: what is there was read; else it is added to.
void tally_enqueue_fence(struct gpu *g, const struct ring_tally *t, bool anew,
                         buf<const float> distance, buf<const uint32_t> flags);

// ---- for programs: ring_write.cu (the row that is being written), ring_read.cu (batches). Each is
// enqueued in g's stream, which waits for the ring's and lets it wait; what fails is g's failure.
// Guarded by the program's `state`.
struct device_ring;
void ring_give_pictures(struct device_ring *r, struct gpu *g, buf<const int64_t> state,
                        buf<uint32_t> to);
void ring_give_begins(struct device_ring *r, struct gpu *g, buf<const int64_t> state,
                      bool everywhere, buf<real> to);
void ring_take_actions(struct device_ring *r, struct gpu *g, buf<const real> one_hot);
void ring_begin_batch(struct device_ring *r, struct gpu *g, const struct ring_draw *d);
void ring_enqueue_batch(struct device_ring *r, struct gpu *g, const struct ring_draw *d,
                        buf<const int64_t> state); // captured
void ring_end_batch(struct device_ring *r, struct gpu *g);

#endif
