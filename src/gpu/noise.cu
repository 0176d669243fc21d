// Kernels of programs that make no gradients: noise, filling, guarded copies, checks, the step.
#include "gpu/noise.h"

#include "base/normal.h"
#include "base/philox.h"
#include "gpu/optim.h"

DEVICE_FUNCTION bool has_failed(buf<const int64_t> state) { return state[STATE_FAILED] != 0; }

// A thread per Philox block: four elements.
__global__ void uniform_kernel(buf<const int64_t> state, uint64_t seed, uint32_t purpose,
                               buf<real> out) {
    if (has_failed(state)) return;
    const uint64_t step = (uint64_t)state[STATE_STEP];
    EACH(i, (out.n + 3) / 4) {
        const struct philox block = rng_block(seed, purpose, step, (uint32_t)i);
        for (int64_t k = 0; k < 4 && 4 * i + k < out.n; k++)
            out[4 * i + k] = (real)rng_to_uniform(block.v[k]);
    }
}

DEVICE_FUNCTION uint32_t number_of(struct noise_rows r, int64_t i) {
    if (!r.n) return (uint32_t)i;
    const int64_t row = i / r.width;
    return (uint32_t)((row / r.n * r.all + r.first + row % r.n) * r.width + i % r.width);
}

__global__ void uniform_rows_kernel(buf<const int64_t> state, uint64_t seed, uint32_t purpose,
                                    struct noise_rows rows, buf<real> out) {
    if (has_failed(state)) return;
    const uint64_t step = (uint64_t)state[STATE_STEP];
    EACH(i, out.n) out[i] = (real)rng_uniform(seed, purpose, step, number_of(rows, i));
}

__global__ void normal_kernel(buf<const int64_t> state, uint64_t seed, uint32_t purpose,
                              struct noise_rows rows, buf<real> out) {
    if (has_failed(state)) return;
    const uint64_t step = (uint64_t)state[STATE_STEP];
    EACH(i, out.n) out[i] = (real)rng_normal(seed, purpose, step, number_of(rows, i));
}

void noise_uniform(struct gpu *g, buf<const int64_t> state, uint64_t seed, uint32_t purpose,
                   struct noise_rows rows, buf<real> out) {
    if (rows.n)
        LAUNCH(g, uniform_rows_kernel, blocks_for(out.n), THREADS, state, seed, purpose, rows, out);
    else
        LAUNCH(g, uniform_kernel, blocks_for((out.n + 3) / 4), THREADS, state, seed, purpose, out);
}

void noise_normal(struct gpu *g, buf<const int64_t> state, uint64_t seed, uint32_t purpose,
                  struct noise_rows rows, buf<real> out) {
    LAUNCH(g, normal_kernel, blocks_for(out.n), THREADS, state, seed, purpose, rows, out);
}

// ---- what a stopped program must not touch

__global__ void fill_unless_failed_kernel(buf<const int64_t> state, real value, buf<real> out) {
    if (has_failed(state)) return;
    EACH(i, out.n) out[i] = value;
}

void guarded_fill(struct gpu *g, buf<const int64_t> state, real value, buf<real> out) {
    LAUNCH(g, fill_unless_failed_kernel, blocks_for(out.n), THREADS, state, value, out);
}

// Words of 4 bytes: every tensor's memory is a multiple of them.
__global__ void copy_words_kernel(buf<const int64_t> state, buf<const uint32_t> from,
                                  buf<uint32_t> to) {
    if (has_failed(state)) return;
    EACH(i, to.n) to[i] = from[i];
}

void guarded_copy(struct gpu *g, buf<const int64_t> state, const void *from, void *to,
                  size_t bytes) {
    const int64_t words = (int64_t)(bytes / sizeof(uint32_t));
    if (bytes % sizeof(uint32_t)) gpu_fail(g, "a tensor of %zu bytes", bytes);
    LAUNCH(g, copy_words_kernel, blocks_for(words), THREADS, state,
           buf_make((const uint32_t *)from, words), buf_make((uint32_t *)to, words));
}

// ---- the program's state

// One thread. The first failure stays.
__global__ void check_kernel(int place, buf<const real> value, buf<const double> norm,
                             buf<int64_t> state, buf<double> seen) {
    if (threadIdx.x > 0 || state[STATE_FAILED] != 0) return;
    const double v = value.n ? (double)value[0] : 0, s = norm.n ? (double)norm[0] : 0;
    if (v - v == 0 && s - s == 0) return;
    state[STATE_FAILED] = 1 + place;
    seen[0] = v;
    seen[1] = s;
}

void program_check(struct gpu *g, int place, buf<const real> value, buf<const double> norm,
                   buf<int64_t> state, buf<double> seen) {
    LAUNCH(g, check_kernel, 1, WARP, place, value, norm, state, seen);
}

// A block's first number that is not finite by its thread, 0 without one.
__global__ void finite_kernel(buf<const real> x, buf<double> slices) {
    SHARED(double, bad, THREADS);
    double mine = 0;
    EACH(i, x.n) {
        const double v = (double)x[i];
        if (v - v != 0) mine = v;
    }
    bad[threadIdx.x] = mine;
    for (int half = THREADS / 2; half >= 1; half /= 2) {
        BARRIER();
        if ((int)threadIdx.x < half && (double)bad[threadIdx.x] == 0)
            bad[threadIdx.x] = (double)bad[threadIdx.x + half];
    }
    BARRIER();
    if (threadIdx.x == 0) slices[blockIdx.x] = (double)bad[0];
}

__global__ void check_slices_kernel(int place, buf<const double> slices, buf<int64_t> state,
                                    buf<double> seen) {
    if (threadIdx.x > 0 || state[STATE_FAILED] != 0) return;
    for (int64_t i = 0; i < slices.n; i++) {
        const double v = slices[i];
        if (v == 0) continue;
        state[STATE_FAILED] = 1 + place;
        seen[0] = v;
        seen[1] = 0;
        return;
    }
}

void program_finite(struct gpu *g, int place, buf<const real> x, buf<double> slices,
                    buf<int64_t> state, buf<double> seen) {
    LAUNCH(g, finite_kernel, (int)finite_slices, THREADS, x, slices);
    LAUNCH(g, check_slices_kernel, 1, WARP, place, buf_make((const double *)slices.at, slices.n),
           state, seen);
}

__global__ void seek_kernel(buf<int64_t> state, int64_t step) {
    if (threadIdx.x == 0) state[STATE_STEP] = step;
}

void program_seek(struct gpu *g, buf<int64_t> state, int64_t step) {
    LAUNCH(g, seek_kernel, 1, WARP, state, step);
}

__global__ void advance_kernel(buf<int64_t> state) {
    if (threadIdx.x > 0 || state[STATE_FAILED] != 0) return;
    state[STATE_STEP] += 1;
}

void program_advance(struct gpu *g, buf<int64_t> state) {
    LAUNCH(g, advance_kernel, 1, WARP, state);
}
