// CUDA's execution model on the CPU, for tests: a block's threads are fibres, every access to
// memory is checked.
//
// Included by src/gpu/device.h where no CUDA compiler is at work. Blocks run one after the other in
// no order that a kernel could rely on (harness_block), the threads of a block in turns: a thread
// runs until it has to wait at a barrier or for its warp.
// A launch fails, with one line that names kernel, block and thread, when a thread
//   - reads or writes outside a buffer, in memory of the host, or at an address that is no multiple
//     of the element's alignment (a chip reads nothing there),
//   - reads what nothing has written,
//   - touches an element that another thread of the launch wrote, or writes one that another read,
//     with no barrier between the two (threads of different blocks have none),
//   - does so with what a launch in another stream did, with no event or wait of the host between
//     the two (a stream is a struct gpu_device; of readers the last one is known),
//   - waits at a barrier or in a warp function that the others never come to,
// or when the launch shape is none the chip takes. Pinned memory is what it is on a chip: what a
// copy brings there arrives when the host has waited for it, and what a copy takes from there must
// stay as it is until then. A capture holds no event, wait, allocation or release. cuBLAS' rules
// for products hold. The first mistake is kept.
#ifndef TESTS_GPU_HARNESS_H
#define TESTS_GPU_HARNESS_H

#include <stdint.h>
#include <string.h>
#include <functional>
#include <type_traits>
#include <utility>

#define __global__ static
#define DEVICE_FUNCTION static inline __attribute__((unused))

struct harness_dim {
    uint32_t x, y, z;
};
extern harness_dim threadIdx, blockIdx, blockDim, gridDim;

// Who touched four bytes last. A launch counts from 1; a phase is what lies between two barriers.
struct harness_cell {
    uint32_t written_launch, written_phase, read_launch, read_phase;
    int32_t written_block, written_thread, read_block, read_thread; // -2: several
};

enum { HARNESS_MAX_THREADS = 1024 };

// The thread that runs now.
struct harness_place {
    uint32_t launch, phase;
    int32_t block, thread;
};
extern harness_place harness_now;
enum harness_rule { UNWRITTEN, READS_WRITTEN, WRITES_WRITTEN, WRITES_READ };
void harness_mistake(harness_rule rule, const harness_cell *cell, int64_t index);
bool harness_is_over(uint32_t launch); // for the launch that runs now

// Whether what (launch, block, thread, phase) did may be followed by an access of this thread. A
// block's own memory is new to every launch.
static inline bool harness_ordered(uint32_t launch, int32_t block, int32_t thread, uint32_t phase,
                                   bool shared) {
    const harness_place &now = harness_now;
    if (launch != now.launch) return shared || harness_is_over(launch);
    return block == now.block && (thread == now.thread || phase < now.phase);
}

static inline void harness_read(harness_cell *c, int64_t index, bool shared) {
    const harness_place &now = harness_now;
    if (!c) return;
    const bool old = shared && (c->written_launch != now.launch || c->written_block != now.block);
    if (old || c->written_launch == 0)
        harness_mistake(UNWRITTEN, c, index);
    else if (!harness_ordered(c->written_launch, c->written_block, c->written_thread,
                              c->written_phase, shared))
        harness_mistake(READS_WRITTEN, c, index);
    const bool first = c->read_launch != now.launch || (shared && c->read_block != now.block);
    const bool other_block = !first && c->read_block != now.block;
    const bool other_thread = !first && c->read_phase == now.phase && c->read_thread != now.thread;
    c->read_launch = now.launch;
    c->read_phase = now.phase;
    c->read_block = other_block ? -2 : now.block;
    c->read_thread = other_block || other_thread ? -2 : now.thread;
}

static inline void harness_write(harness_cell *c, int64_t index, bool shared) {
    const harness_place &now = harness_now;
    if (!c) return;
    const bool written_here = !shared || c->written_block == now.block;
    const bool read_here = !shared || c->read_block == now.block;
    if (written_here && !harness_ordered(c->written_launch, c->written_block, c->written_thread,
                                         c->written_phase, shared))
        harness_mistake(WRITES_WRITTEN, c, index);
    else if (read_here &&
             !harness_ordered(c->read_launch, c->read_block, c->read_thread, c->read_phase, shared))
        harness_mistake(WRITES_READ, c, index);
    c->written_launch = now.launch;
    c->written_phase = now.phase;
    c->written_block = now.block;
    c->written_thread = now.thread;
}

// The cells of device memory that begins at `at`, NULL where it is not device memory.
harness_cell *harness_cells(const void *at, int64_t bytes);
void harness_out_of_bounds(int64_t index, int64_t n);
void harness_bad_address(const char *why, int64_t index);
void harness_barrier(int line);
uint64_t harness_warp(int kind, uint64_t value, int lanes, int line); // kind 0: xor, 1: ballot
// The k-th block of a launch that runs: each number once.
extern "C" int64_t harness_block(int64_t k, int64_t grid);
struct gpu;
void harness_launch(struct gpu *g, const char *kernel, int64_t grid, int64_t block,
                    void (*body)(void *), void *context);

// While g captures: `what` is kept for later, true.
bool harness_capture(struct gpu *g, std::function<void(struct gpu *)> what);

// An element that may be written: reads and writes are noted.
template <class T> struct harness_element {
    T *at;
    harness_cell *cell; // NULL: not watched
    int64_t index;
    bool shared;
    operator T() const {
        harness_read(cell, index, shared);
        return *at;
    }
    T operator=(T value) const {
        harness_write(cell, index, shared);
        for (size_t k = 1; cell && !shared && k < sizeof(T) / 4; k++) cell[k] = *cell;
        return *at = value;
    }
    T operator=(const harness_element &other) const { return *this = (T)other; }
    T operator+=(T value) const { return *this = (T) * this + value; }
    T operator-=(T value) const { return *this = (T) * this - value; }
};

template <class T> struct buf {
    T *at;
    int64_t n;
    harness_cell *cells;
    static constexpr bool is_const = std::is_const<T>::value;
    typedef typename std::remove_const<T>::type value;
    typedef typename std::conditional<is_const, value, harness_element<value>>::type element;
    element operator[](int64_t i) const {
        static value nothing; // where a wrong index lands
        const bool inside = i >= 0 && i < n;
        if (!inside) harness_out_of_bounds(i, n);
        if (inside && !cells) harness_bad_address("is not in device memory", i);
        if ((uintptr_t)at % alignof(value)) harness_bad_address("is not aligned", i);
        // Bytes share a cell, so of bytes only the bounds are checked.
        harness_cell *cell =
            inside && cells && sizeof(T) >= 4 ? cells + i * (int64_t)(sizeof(T) / 4) : nullptr;
        value *place = inside ? const_cast<value *>(at) + i : &nothing;
        if constexpr (is_const) {
            harness_read(cell, i, false);
            return *place;
        } else {
            return element{place, cell, i, false};
        }
    }
};

template <class T> buf<T> buf_make(T *at, int64_t n) {
    return buf<T>{at, n, harness_cells((const void *)at, n * (int64_t)sizeof(T))};
}

template <class T> static inline T *exclusive(buf<T> b, int64_t first, int64_t n) {
    const bool inside = first >= 0 && n >= 0 && first + n <= b.n;
    if (!inside) harness_out_of_bounds(first + n, b.n);
    harness_cell *cells = inside ? b.cells : nullptr;
    for (int64_t i = first; cells && sizeof(T) == 4 && i < first + n; i++) {
        harness_read(cells + i, i, false);
        harness_write(cells + i, i, false);
    }
    return b.at + (inside ? first : 0);
}

template <class T, int64_t N> struct harness_shared {
    T data[N];
    harness_cell cells[N];
    harness_element<T> operator[](int64_t i) {
        static T nothing;
        if (i >= 0 && i < N) return {data + i, cells + i, i, true};
        harness_out_of_bounds(i, N);
        return {&nothing, nullptr, i, true};
    }
};

#define LAUNCH_BOUNDS(threads, blocks)
#define INSIDE(index, n)                                                                           \
    ((uint64_t)(index) < (uint64_t)(n) ? (void)0 : harness_out_of_bounds((int64_t)(index), n))
// Static: a block at a time runs. What an earlier block left there counts as unwritten.
#define SHARED(type, name, count) static harness_shared<type, count> name
#define BARRIER() harness_barrier(__LINE__)
#define ENQUEUE(g, kernel, grid, block, ...)                                                       \
    harness_call(g, #kernel, grid, block, kernel, __VA_ARGS__)

enum { HARNESS_MAX_ARGUMENTS = 4096 }; // bytes: what every chip takes

template <class K, class... A>
void harness_call(struct gpu *g, const char *name, int64_t grid, int64_t block, K *kernel,
                  A... arguments) {
    static_assert((sizeof(A) + ... + (8 * sizeof...(A))) <= HARNESS_MAX_ARGUMENTS,
                  "a kernel's arguments are too many bytes");
    if (harness_capture(g, [=](struct gpu *later) {
            harness_call(later, name, grid, block, kernel, arguments...);
        }))
        return;
    auto body = [&] { kernel(arguments...); };
    harness_launch(
        g, name, grid, block, [](void *context) { (*(decltype(body) *)context)(); }, &body);
}

template <class T> static inline T harness_xor(T value, int lanes, int line) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = harness_warp(0, bits, lanes, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}
#define warp_xor(value, lanes) harness_xor(value, lanes, __LINE__)
#define warp_ballot(vote) ((uint32_t)harness_warp(1, (vote) ? 1 : 0, 0, __LINE__))

static inline int __popc(uint32_t x) { return __builtin_popcount(x); }

#endif
