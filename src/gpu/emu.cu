// The Game Boys on the device: src/emu as it is, one thread a machine.
#include "gpu/device.h"

// Must come before the machine's headers: memories of 32 machines interleaved, watched by the
// tests.
#define GB_INTERLEAVED WARP
#define GB_WATCH_MEMORY(offset) INSIDE(offset, GB_MEMORY_BYTES)
#include "emu/gb_run.h"
#include "gpu/emu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Small blocks, so that few machines still spread over all multiprocessors.
enum { STEP_BLOCK = WARP, COPY_BLOCK = THREADS, MAX_MACHINES = 65536, MAX_ARRAYS = 24 };

struct rooms {
    buf<struct gb> machines;
    buf<uint32_t> memory;   // [n / 32][MEMORY_WORDS / 4][32][4]: see word_of
    buf<uint32_t> pictures; // [n][2][OBS_WORDS]
    buf<uint32_t> shown;    // [n] SHOWN_...
    buf<const uint8_t> buttons;
    buf<const uint32_t> start_memory, start_pictures, start_obs;
    buf<const struct gb_registers> start_registers;
    const struct gb_rom *rom;
    int n_frames, release_after;
};

struct machine_room {
    struct rooms on_device;
    buf<uint32_t> image; // [sizeof(struct gb_image) / 4] on its way out
    void *arrays[MAX_ARRAYS];
    int n_arrays;
};

// Word w of machine i's memories.
DEVICE_FUNCTION int64_t word_of(int64_t i, int64_t w) {
    const int64_t granule = w / GRANULE_WORDS;
    return i / WARP * WARP * MEMORY_WORDS + (granule * WARP + i % WARP) * GRANULE_WORDS +
           w % GRANULE_WORDS;
}

// ---- kernels

DEVICE_FUNCTION void give_registers(struct rooms r, int64_t i, const struct gb_registers *from) {
    struct gb m;
    gb_registers_give(&m, from, r.rom);
    m.lcd = 0;
    m.memory = (uint8_t *)(r.memory.at + word_of(i, 0));
    m.obs = (uint8_t(*)[GB_OBS_BYTES])(r.pictures.at + i * 2 * OBS_WORDS);
    r.machines[i] = m;
}

// A block a machine: what copies least when few are reset.
__global__ void reset_kernel(buf<const int32_t> orders, struct rooms r) {
    const int64_t i = blockIdx.x;
    if (orders[i] != DEVICE_RESET) return;
    for (int64_t w = threadIdx.x; w < MEMORY_WORDS; w += blockDim.x)
        r.memory[word_of(i, w)] = r.start_memory[w];
    for (int64_t w = threadIdx.x; w < 2 * OBS_WORDS; w += blockDim.x)
        r.pictures[i * 2 * OBS_WORDS + w] = r.start_pictures[w];
    if (threadIdx.x > 0) return;
    const struct gb_registers from = r.start_registers[0];
    give_registers(r, i, &from);
    r.shown[i] = SHOWN_START;
}

// The machine reaches its memories and pictures through plain pointers; no other thread does.
DEVICE_FUNCTION void claim(struct rooms r, int64_t i) {
    for (int64_t w = 0; w < MEMORY_WORDS; w += GRANULE_WORDS)
        exclusive(r.memory, word_of(i, w), GRANULE_WORDS);
    exclusive(r.pictures, i * 2 * OBS_WORDS, 2 * OBS_WORDS);
}

#ifndef STEP_FRAMES // the tests break it
#define STEP_FRAMES(r) ((r).n_frames)
#endif

// 128 registers are enough for the machine; more would keep half of 65,536 machines waiting.
__global__ void LAUNCH_BOUNDS(STEP_BLOCK, 16)
    step_kernel(buf<const int32_t> orders, struct rooms r, buf<uint32_t> flags) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= orders.n) return;
    const int32_t order = orders[i];
    if (order < 0) return;
    claim(r, i);
    struct gb m = r.machines[i];
    gb_machine_frames(&m, r.buttons[order], STEP_FRAMES(r), r.release_after);
    r.machines[i] = m;
    r.shown[i] = m.picture_blank ? (uint32_t)SHOWN_BLANK : (uint32_t)SHOWN_FIRST + m.picture;
    flags[i] = m.cpu.halt == GB_LOCKED ? (uint32_t)FLAG_LOCKED : 0u;
}

__global__ void show_kernel(buf<const int32_t> orders, struct rooms r, buf<uint32_t> frames) {
    EACH(k, orders.n * OBS_WORDS) {
        const int64_t i = k / OBS_WORDS, w = k % OBS_WORDS;
        if (orders[i] == DEVICE_REST) continue;
        const uint32_t shown = r.shown[i];
        uint32_t four = 0;
        if (shown == SHOWN_START) four = r.start_obs[w];
        if (shown >= SHOWN_FIRST) four = r.pictures[(i * 2 + shown - SHOWN_FIRST) * OBS_WORDS + w];
        frames[k] = four;
    }
}

// Machine i into an image: memories, pictures, registers one after the other.
__global__ void take_kernel(struct rooms r, int64_t i, buf<uint32_t> image,
                            buf<struct gb_registers> registers) {
    for (int64_t w = threadIdx.x; w < MEMORY_WORDS; w += blockDim.x)
        image[w] = r.memory[word_of(i, w)];
    for (int64_t w = threadIdx.x; w < 2 * OBS_WORDS; w += blockDim.x)
        image[MEMORY_WORDS + w] = r.pictures[i * 2 * OBS_WORDS + w];
    if (threadIdx.x > 0) return;
    const struct gb m = r.machines[i];
    struct gb_registers out;
    gb_registers_take(&out, &m);
    registers[0] = out;
}

// The other way round.
__global__ void give_kernel(struct rooms r, int64_t i, buf<const uint32_t> image,
                            buf<const struct gb_registers> registers) {
    for (int64_t w = threadIdx.x; w < MEMORY_WORDS; w += blockDim.x)
        r.memory[word_of(i, w)] = image[w];
    for (int64_t w = threadIdx.x; w < 2 * OBS_WORDS; w += blockDim.x)
        r.pictures[i * 2 * OBS_WORDS + w] = image[MEMORY_WORDS + w];
    if (threadIdx.x > 0) return;
    const struct gb_registers from = registers[0];
    give_registers(r, i, &from);
    r.shown[i] = from.picture_blank ? (uint32_t)SHOWN_BLANK : (uint32_t)SHOWN_FIRST + from.picture;
}

// ---- host: memory

static void *array_new(struct device_machines *m, size_t bytes, const void *from) {
    struct machine_room *room = m->room;
    if (m->gpu.failed) return 0;
    if (room->n_arrays == MAX_ARRAYS) {
        gpu_fail(&m->gpu, "too many arrays of machines");
        return 0;
    }
    void *at = gpu_alloc(&m->gpu, bytes ? bytes : 4);
    if (!at) return 0;
    room->arrays[room->n_arrays++] = at;
    const bool fine = from ? gpu_upload(&m->gpu, at, from, bytes) : gpu_zero(&m->gpu, at, bytes);
    return fine ? at : 0;
}

// Zeroed, or a copy of n elements of the host.
template <class T> static buf<T> buf_new(struct device_machines *m, int64_t n, const void *from) {
    void *at = array_new(m, (size_t)n * sizeof(T), from);
    return buf_make((T *)at, at ? n : 0);
}

static void give_rom(struct device_machines *m, const struct gb_rom *rom) {
    struct gb_rom there = *rom;
    there.bytes = (const uint8_t *)array_new(m, rom->n_bytes, rom->bytes);
    m->room->on_device.rom = (const struct gb_rom *)array_new(m, sizeof there, &there);
    gpu_finish(&m->gpu); // `there` goes
}

static void give_start(struct device_machines *m, const struct device_machines_opts *o) {
    struct rooms *r = &m->room->on_device;
    r->start_memory = buf_new<const uint32_t>(m, MEMORY_WORDS, o->start->memory);
    r->start_pictures = buf_new<const uint32_t>(m, 2 * OBS_WORDS, o->start->obs);
    r->start_obs = buf_new<const uint32_t>(m, OBS_WORDS, o->start_obs);
    r->start_registers = buf_new<const struct gb_registers>(m, 1, &o->start->registers);
    r->buttons = buf_new<const uint8_t>(m, o->n_actions, o->buttons);
    r->n_frames = o->n_frames;
    r->release_after = o->release_after;
}

static void give_goal(struct device_machines *m, const struct device_machines_opts *o) {
    m->rules = o->rules ? *o->rules : goal_rules{};
    m->n_goal_frames = o->n_goal_frames;
    m->progress_distance = buf_new<float>(m, m->n, 0);
    m->progress_count = buf_new<int32_t>(m, m->n, 0);
    m->progress_step = buf_new<int32_t>(m, m->n, 0);
    if (!o->n_goal_frames) return;
    m->goal = buf_new<const uint32_t>(m, m->n_goal_frames * OBS_WORDS, o->goal);
    m->previous = buf_new<uint32_t>(m, (int64_t)m->n * (m->n_goal_frames - 1) * OBS_WORDS, 0);
}

static bool give(struct device_machines *m, const struct device_machines_opts *o) {
    struct rooms *r = &m->room->on_device;
    const int64_t n = m->n, whole = ceil_div64(n, WARP) * WARP;
    r->machines = buf_new<struct gb>(m, n, 0);
    r->memory = buf_new<uint32_t>(m, whole * MEMORY_WORDS, 0);
    r->pictures = buf_new<uint32_t>(m, n * 2 * OBS_WORDS, 0);
    r->shown = buf_new<uint32_t>(m, n, 0);
    m->room->image = buf_new<uint32_t>(m, sizeof(struct gb_image) / 4, 0);
    m->orders = buf_new<int32_t>(m, n, 0);
    m->results.reward = buf_new<float>(m, n, 0);
    m->results.distance = buf_new<float>(m, n, 0);
    m->results.flags = buf_new<uint32_t>(m, n, 0);
    m->results.frames = buf_new<uint32_t>(m, n * OBS_WORDS, 0);
    give_rom(m, o->rom);
    give_start(m, o);
    give_goal(m, o);
    return gpu_finish(&m->gpu);
}

static void machines_free(struct device_machines *m) {
    if (!m) return;
    for (int i = 0; m->room && i < m->room->n_arrays; i++)
        gpu_free(m->gpu.device, m->room->arrays[i]);
    gpu_close(m->gpu.device);
    free(m->room);
    free(m);
}

static struct device_machines *machines_new(const struct device_machines_opts *o, char *message,
                                            size_t size) {
    if (o->n_machines < 1 || o->n_machines > MAX_MACHINES || o->n_actions < 1 ||
        o->n_actions > DEVICE_MAX_ACTIONS || o->n_frames < 1) {
        snprintf(message, size, "%d machines with %d actions of %d frames are not possible",
                 o->n_machines, o->n_actions, o->n_frames);
        return 0;
    }
    struct device_machines *m = (struct device_machines *)calloc(1, sizeof *m);
    snprintf(message, size, "out of memory");
    if (!m) return 0;
    m->n = o->n_machines;
    m->room = (struct machine_room *)calloc(1, sizeof *m->room);
    m->gpu.device = m->room ? gpu_open(message, size) : 0;
    if (m->gpu.device && give(m, o)) return m;
    if (m->gpu.failed) snprintf(message, size, "%s", m->gpu.message);
    machines_free(m);
    return 0;
}

// ---- host: running

static buf<const int32_t> orders_of(const struct device_machines *m) {
    return buf_make((const int32_t *)m->orders.at, m->n);
}

static void enqueue_in(struct gpu *g, struct device_machines *m, buf<uint32_t> frames) {
    const struct rooms r = m->room->on_device;
    LAUNCH(g, reset_kernel, m->n, COPY_BLOCK, orders_of(m), r);
    LAUNCH(g, step_kernel, (int)ceil_div64(m->n, STEP_BLOCK), STEP_BLOCK, orders_of(m), r,
           m->results.flags);
    LAUNCH(g, show_kernel, blocks_for((int64_t)m->n * OBS_WORDS), THREADS, orders_of(m), r, frames);
}

void machines_enqueue(struct device_machines *m, buf<uint32_t> frames) {
    enqueue_in(&m->gpu, m, frames);
}

void machines_play(struct device_machines *m, struct gpu *g) {
    enqueue_in(g, m, m->results.frames);
    machines_judge_in(g, m, buf_make((const uint32_t *)m->results.frames.at, m->results.frames.n));
}

static bool machines_run(struct device_machines *m, const int32_t *orders) {
    if (!gpu_upload(&m->gpu, m->orders.at, orders, (size_t)m->n * sizeof *orders)) return false;
    machines_play(m, &m->gpu);
    return !m->gpu.failed;
}

static void fill_results(int n, const float *reward, const float *distance, const uint32_t *flags,
                         struct device_result *out) {
    for (int i = 0; i < n; i++) {
        out[i].reward = reward[i];
        out[i].distance = distance[i];
        out[i].terminated = (flags[i] & FLAG_TERMINATED) != 0;
        out[i].truncated = (flags[i] & FLAG_TRUNCATED) != 0;
        out[i].locked = (flags[i] & FLAG_LOCKED) != 0;
    }
}

static bool machines_results(struct device_machines *m, struct device_result *out, uint8_t *obs) {
    const size_t n = (size_t)m->n;
    float *reward = (float *)malloc(3 * n * sizeof *reward), *distance = reward + n;
    uint32_t *flags = (uint32_t *)(distance + n);
    if (!reward) gpu_fail(&m->gpu, "out of memory");
    bool fine = !m->gpu.failed && gpu_download(&m->gpu, reward, m->results.reward.at, n * 4) &&
                gpu_download(&m->gpu, distance, m->results.distance.at, n * 4) &&
                gpu_download(&m->gpu, flags, m->results.flags.at, n * 4);
    if (fine && out) fill_results(m->n, reward, distance, flags, out);
    free(reward);
    return fine && (!obs || gpu_download(&m->gpu, obs, m->results.frames.at, n * GB_OBS_BYTES));
}

static bool machines_take(struct device_machines *m, int i, struct gb_image *out) {
    const buf<uint32_t> image = m->room->image;
    char *registers = (char *)image.at + offsetof(struct gb_image, registers);
    if (i < 0 || i >= m->n) gpu_fail(&m->gpu, "machine %d of %d", i, m->n);
    LAUNCH(&m->gpu, take_kernel, 1, COPY_BLOCK, m->room->on_device, (int64_t)i,
           buf_make(image.at, MEMORY_WORDS + 2 * OBS_WORDS),
           buf_make((struct gb_registers *)registers, 1));
    return !m->gpu.failed && gpu_download(&m->gpu, out, image.at, sizeof *out);
}

// Machine i's part of an array, in words of four bytes, from or to the host.
template <class T> static bool move_part(struct device_machines *m, buf<T> of, int i, int64_t each,
                                         void *host, bool to_host) {
    void *at = (void *)(of.at + i * each);
    const size_t bytes = (size_t)each * sizeof(T);
    if (!each) return true;
    return to_host ? gpu_download(&m->gpu, host, at, bytes) : gpu_upload(&m->gpu, at, host, bytes);
}

static bool move_progress(struct device_machines *m, int i, struct goal_count *count,
                          void *previous, bool to_host) {
    const int64_t words = m->n_goal_frames > 1 ? (m->n_goal_frames - 1) * OBS_WORDS : 0;
    return move_part(m, m->progress_distance, i, 1, &count->distance, to_host) &&
           move_part(m, m->progress_count, i, 1, &count->consecutive, to_host) &&
           move_part(m, m->progress_step, i, 1, &count->step, to_host) &&
           move_part(m, m->previous, i, words, previous, to_host);
}

static bool machines_progress(struct device_machines *m, int i, struct goal_count *out,
                              uint8_t *previous) {
    return move_progress(m, i, out, previous, true);
}

static bool machines_give(struct device_machines *m, int i, const struct gb_image *image,
                          const struct goal_count *count, const uint8_t *previous) {
    const buf<uint32_t> there = m->room->image;
    const char *registers = (char *)there.at + offsetof(struct gb_image, registers);
    struct goal_count now = *count;
    if (i < 0 || i >= m->n) gpu_fail(&m->gpu, "machine %d of %d", i, m->n);
    if (m->gpu.failed || !gpu_upload(&m->gpu, there.at, image, sizeof *image)) return false;
    LAUNCH(&m->gpu, give_kernel, 1, COPY_BLOCK, m->room->on_device, (int64_t)i,
           buf_make((const uint32_t *)there.at, MEMORY_WORDS + 2 * OBS_WORDS),
           buf_make((const struct gb_registers *)registers, 1));
    return move_progress(m, i, &now, (void *)previous, false) &&
           move_part(m, m->results.distance, i, 1, &now.distance, false) && gpu_finish(&m->gpu);
}

static const char *machines_message(const struct device_machines *m) { return m->gpu.message; }

void machines_fill_table(struct device_play *p) {
    p->machines_new = machines_new;
    p->machines_free = machines_free;
    p->machines_run = machines_run;
    p->machines_results = machines_results;
    p->machines_take = machines_take;
    p->machines_progress = machines_progress;
    p->machines_give = machines_give;
    p->machines_message = machines_message;
}
