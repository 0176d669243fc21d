// Breaks real kernels on purpose, one way per BREAK_ name: the harness has to notice. Included
// before the kernels' source (-include).
#include "gpu/device.h"

#if defined(BREAK_no_barrier) // every barrier is forgotten
#undef BARRIER
#define BARRIER() ((void)0)
#elif defined(BREAK_off_by_one) // the last index is one too far
#undef EACH
#define EACH(i, n)                                                                                 \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i <= (n);                     \
         i += (int64_t)gridDim.x * blockDim.x)
#elif defined(BREAK_one_short) // the last element is left out
#undef EACH
#define EACH(i, n)                                                                                 \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n)-1;                    \
         i += (int64_t)gridDim.x * blockDim.x)
#elif defined(BREAK_divergent_barrier) // a barrier that one thread does not reach
#undef BARRIER
#define BARRIER() (threadIdx.x != 255 ? harness_barrier(__LINE__) : (void)0)
#elif defined(BREAK_large_block) // a block larger than any chip takes
#define THREADS 2048
#elif defined(BREAK_stale_lane) // the first lane leaves before its warp has met
#define warp_sum(value) (lane_of() ? warp_sum(value) : (value))
#elif defined(BREAK_host_memory) // a kernel reads memory of the host
#include "gpu/gpu.h"
static real broken_host[1 << 16];
#define src_real(a, i) buf_make((const real *)broken_host, (src_real)(a, i).n)
#elif defined(BREAK_unaligned) // doubles between two places for doubles
#include "gpu/gpu.h"
template <class T> static buf<T> broken_buf(T *at, int64_t n) {
    return buf_make(sizeof(T) == 8 ? (T *)((char *)at + 4) : at, n);
}
#define buf_make(at, n) broken_buf(at, n)
#elif defined(BREAK_short_row) // a product whose rows overlap
#include "gpu/gpu.h"
static void broken_product(struct gpu *g, struct gpu_gemm p) {
    p.b_row--;
    gpu_product(g, &p);
}
#define gpu_product(g, p) broken_product(g, *(p))
#elif defined(BREAK_no_bytes) // an array of no size
#include "gpu/gpu.h"
#define gpu_alloc(g, bytes) (gpu_alloc)(g, 0 * (bytes))
#elif defined(BREAK_early_look) // the host looks before the copy is over
#include "gpu/gpu.h"
#define gpu_finish(g) true
#elif defined(BREAK_no_slot_wait) // the host writes where a copy is still reading
#include "gpu/gpu.h"
#define gpu_event_finish(g, e) true
#elif defined(BREAK_no_commit_wait) || defined(BREAK_no_read_wait) // a fence nobody waits at
#include "gpu/gpu.h"
#ifdef BREAK_no_commit_wait
#define BROKEN_FENCE "commit"
#else
#define BROKEN_FENCE "read_done"
#endif
#define gpu_await(g, event) (strstr(#event, BROKEN_FENCE) ? true : gpu_await(g, event))
#elif defined(BREAK_stale_frames) // the policy acts on the step before
#define STEP_SEEN(t) ((t) > 0 ? (t)-1 : (t))
#elif defined(BREAK_chain_barrier) // a node of a chain does not wait for the one before it
#define CHAIN_BARRIER() ((void)0)
#elif defined(BREAK_chain_memory) // tensors of a chain stay where other rows still read
#define MEET_WELL(a, b) (meet_well(a, b) || true)
#elif defined(BREAK_short_step) // a frame is missing
#define STEP_FRAMES(r) ((r).n_frames - 1)
#elif defined(BREAK_early_rows) // rows are read that no event covers
#define READABLE_END(r) ((r)->total)
#elif defined(BREAK_late_rows) // also the row that is being overwritten
#define OLDEST_ROW(r) ((r)->total - (r)->opts.rows)
#elif defined(BREAK_wrong_draw) // sequences begin at other rows
#include "base/philox.h"
#define RNG_REPLAY_START RNG_REPLAY_ENV
#elif defined(BREAK_captured_copy) // a program's copies go over the host
#include "gpu/noise.h"
#define guarded_copy(g, state, from, to, bytes)                                                    \
    (gpu_download(g, broken_place, from, bytes), gpu_upload(g, to, broken_place, bytes))
static char broken_place[1 << 20];
#elif defined(BREAK_captured_alloc) // memory is allocated in every update
#include "gpu/optim.h"
#define optim_norm(g, grads, max_norm, scalars)                                                    \
    (gpu_free((g)->device, gpu_alloc(g, 16)), optim_norm(g, grads, max_norm, scalars))
#elif defined(BREAK_captured_event) // a capture that others could wait for
#include "gpu/noise.h"
#define program_advance(g, state) (program_advance(g, state), (void)gpu_record(g, broken_event(g)))
static gpu_event *broken_event(struct gpu *g) {
    static gpu_event *e = gpu_event_new(g);
    return e;
}
#elif defined(BREAK_captured_free) // memory is given back in every update
#include "gpu/noise.h"
#define program_advance(g, state)                                                                  \
    (program_advance(g, state), gpu_free((g)->device, (void *)(uintptr_t)256))
#elif defined(BREAK_captured_wait) // the host looks at every update
#include "gpu/noise.h"
#define program_advance(g, state) (program_advance(g, state), (void)gpu_finish(g))
#elif defined(BREAK_wrong_step) // Adam's steps are too long
#include "gpu/optim.h"
#define optim_adam(g, o, ...)                                                                      \
    do {                                                                                           \
        struct optim_adam longer = *(o);                                                           \
        longer.learning_rate *= 1.5;                                                               \
        optim_adam(g, &longer, __VA_ARGS__);                                                       \
    } while (0)
#elif defined(BREAK_chatty) // every update tells the host something
#include "gpu/gpu.h"
#define gpu_replay(g, c) (gpu_count_transfer(4), gpu_replay(g, c))
#else
#error "which way?"
#endif
