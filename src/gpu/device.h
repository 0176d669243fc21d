// The language of the kernels: what CUDA C++ and the test harness both understand.
//
//     __global__ void scale_kernel(buf<const real> x, real by, buf<real> y) {
//         EACH(i, y.n) y[i] = by * x[i];
//     }
//     LAUNCH(g, scale_kernel, blocks_for(n), THREADS, x, by, y);
//
// A kernel reaches memory only through `buf` (a pointer and how many elements lie there) and SHARED
// arrays, and threads meet only at BARRIER() and in the warp_* functions. In a CUDA build these are
// plain pointers, __shared__ arrays, __syncthreads and shuffles. In a harness build (no
// __CUDACC__: tests/gpu/harness) the same source runs on the CPU and every access is checked:
// bounds, memory that nothing wrote, two threads at one element without a barrier between them.
//
// Rules that keep both builds equal: no float atomics; a block is a multiple of 32 threads; all
// threads of a block reach every BARRIER, all lanes of a warp every warp_* function; elements are
// read into plain variables (no `auto`, no address of an element).
#ifndef GPU_DEVICE_H
#define GPU_DEVICE_H

#include <math.h>
#include <stdint.h>

#include "base/real.h"

#ifndef THREADS // the tests break it
enum { THREADS = 256 };
#endif
enum { WARP = 32, WARPS = THREADS / WARP };

#if defined(__CUDACC__)

#include <cuda_runtime.h>

template <class T> struct buf {
    T *at;
    int64_t n;
    __device__ T &operator[](int64_t i) const { return at[i]; }
};
template <class T> buf<T> buf_make(T *at, int64_t n) { return buf<T>{at, n}; }
// Elements [first, first + n) through a plain pointer: this thread's alone, written before.
template <class T> __device__ inline T *exclusive(buf<T> b, int64_t first, int64_t) {
    return b.at + first;
}
#define LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks) // blocks on a processor
#define INSIDE(index, n) ((void)0) // for what plain pointers reach: checked by the harness

#define SHARED(type, name, count) __shared__ type name[count]
#define BARRIER() __syncthreads()
#define ENQUEUE(g, kernel, grid, block, ...)                                                       \
    kernel<<<grid, block, 0, (cudaStream_t)gpu_stream(g)>>>(__VA_ARGS__)
#define DEVICE_FUNCTION static __device__ inline

template <class T> DEVICE_FUNCTION T warp_xor(T value, int lanes) {
    return __shfl_xor_sync(0xFFFFFFFFu, value, lanes);
}
DEVICE_FUNCTION uint32_t warp_ballot(bool vote) { return __ballot_sync(0xFFFFFFFFu, vote); }

#else

#include "gpu/harness/harness.h" // tests/gpu/harness, on the include path of the harness build only

#endif

// Number i of the elements [0, n) that are this thread's.
#ifndef EACH // the tests redefine it to see the harness catch a wrong bound
#define EACH(i, n)                                                                                 \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n);                      \
         i += (int64_t)gridDim.x * blockDim.x)
#endif

// Launches on g's stream; what goes wrong is kept in g (gpu.h: gpu_launched).
#define LAUNCH(g, kernel, grid, block, ...)                                                        \
    do {                                                                                           \
        if (gpu_may_launch(g, #kernel, grid, block)) {                                             \
            ENQUEUE(g, kernel, grid, block, __VA_ARGS__);                                          \
            gpu_launched(g, #kernel, __FILE__, __LINE__);                                          \
        }                                                                                          \
    } while (0)

// ---- warps: a fixed tree, every lane gets the result

DEVICE_FUNCTION int lane_of(void) { return (int)(threadIdx.x % WARP); }
// The rows [0, rows) one warp each: this warp's row, -1 behind the end (for the whole warp).
DEVICE_FUNCTION int64_t warp_row(int64_t rows) {
    const int64_t row = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    return row < rows ? row : -1;
}

template <class T> DEVICE_FUNCTION T warp_sum(T value) {
    for (int lanes = WARP / 2; lanes >= 1; lanes /= 2) value += warp_xor(value, lanes);
    return value;
}

// The largest; a NaN may be lost here: whatever follows computes with the values themselves.
DEVICE_FUNCTION real warp_max(real value) {
    for (int lanes = WARP / 2; lanes >= 1; lanes /= 2) {
        const real other = warp_xor(value, lanes);
        value = other > value ? other : value;
    }
    return value;
}

#endif
