// Sequences from the ring on the device: drawing and gathering, the same numbers as
// engine/data/replay.c.
#include "gpu/ring.h"

#include "base/philox.h"

DEVICE_FUNCTION int64_t slot_of(const struct ring_arrays *a, int64_t t, int64_t env) {
    return t % a->rows * a->n_envs + env;
}

DEVICE_FUNCTION bool has_failed(buf<const int64_t> state) { return state[STATE_FAILED] != 0; }

__global__ void aim_kernel(buf<int64_t> aim, int64_t first, int64_t end) {
    if (threadIdx.x > 0) return;
    aim[AIM_FIRST] = first;
    aim[AIM_END] = end;
}

void ring_enqueue_aim(struct gpu *g, const struct ring_batch *b, int64_t first, int64_t end) {
    LAUNCH(g, aim_kernel, 1, WARP, b->aim, first, end);
}

__global__ void step_of_draw_kernel(buf<int64_t> state, int64_t step) {
    if (threadIdx.x > 0) return;
    state[STATE_STEP] = step;
    state[STATE_FAILED] = 0;
}

void ring_enqueue_step(struct gpu *g, buf<int64_t> state, int64_t step) {
    LAUNCH(g, step_of_draw_kernel, 1, WARP, state, step);
}

// ---- drawing. Cells of the window are counted row after row: c = (t - first) * n_envs + env.

struct cells { // of cells
    int64_t first, end;
};

// Part i of n of a span.
DEVICE_FUNCTION struct cells part_of(struct cells s, int64_t i, int64_t n) {
    const int64_t each = (s.end - s.first + n - 1) / n, from = s.first + i * each;
    const int64_t to = from + each;
    return cells{from < s.end ? from : s.end, to < s.end ? to : s.end};
}

DEVICE_FUNCTION bool is_end(const struct ring_arrays *a, int64_t first, int64_t cell) {
    const uint32_t flags = a->flags[slot_of(a, first + cell / a->n_envs, cell % a->n_envs)];
    return (flags & FLAG_TERMINATED) != 0;
}

DEVICE_FUNCTION int64_t count_ends(const struct ring_arrays *a, int64_t first, struct cells s) {
    int64_t n = 0;
    for (int64_t c = s.first; c < s.end; c++) n += is_end(a, first, c);
    return n;
}

__global__ void count_kernel(struct ring_arrays a, struct ring_batch b) {
    SHARED(int64_t, part, THREADS);
    const int64_t first = b.aim[AIM_FIRST], end = b.aim[AIM_END];
    const struct cells slice =
        part_of(cells{0, (end - first) * a.n_envs}, blockIdx.x, COUNT_SLICES);
    const int64_t mine = count_ends(&a, first, part_of(slice, threadIdx.x, THREADS));
    b.parts[(int64_t)blockIdx.x * THREADS + threadIdx.x] = (int32_t)mine;
    part[threadIdx.x] = mine;
    for (int half = THREADS / 2; half >= 1; half /= 2) {
        BARRIER();
        if ((int)threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    BARRIER();
    if (threadIdx.x == 0) b.counts[blockIdx.x] = part[0];
}

// Cell of terminated row number k of the window: its slice, its part of that, then one by one.
DEVICE_FUNCTION int64_t find_end(const struct ring_arrays *a, const struct ring_batch *b,
                                 int64_t first, int64_t end, int64_t k) {
    struct cells s = {0, (end - first) * a->n_envs};
    int slice = 0;
    for (int64_t n; slice < COUNT_SLICES - 1 && k >= (n = b->counts[slice]); slice++) k -= n;
    s = part_of(s, slice, COUNT_SLICES);
    int part = 0;
    for (int64_t n; part < THREADS - 1 && k >= (n = b->parts[slice * THREADS + part]); part++)
        k -= n;
    s = part_of(s, part, THREADS);
    for (int64_t c = s.first; c < s.end; c++)
        if (is_end(a, first, c) && k-- == 0) return c;
    return s.first; // not reached: counts and flags agree
}

DEVICE_FUNCTION int64_t pick(uint64_t seed, buf<const int64_t> state, uint32_t purpose, int64_t b,
                             int64_t n) {
    return rng_below(seed, purpose, (uint64_t)state[STATE_STEP], (uint32_t)b, (uint32_t)n);
}

__global__ void draw_kernel(struct ring_arrays a, struct ring_batch b, struct ring_draw d,
                            buf<const int64_t> state) {
    if (has_failed(state)) return;
    const int64_t window_first = b.aim[AIM_FIRST], window_end = b.aim[AIM_END], length = d.length;
    EACH(i, d.batch) {
        int64_t n_ends = 0, env, first = window_first, last = window_end - length;
        if (i < d.n_terminal)
            for (int s = 0; s < COUNT_SLICES; s++) n_ends += b.counts[s];
        if (n_ends) {
            const int64_t cell = find_end(&a, &b, window_first, window_end,
                                          pick(d.seed, state, RNG_REPLAY_ENV, i, n_ends));
            const int64_t t = window_first + cell / a.n_envs;
            env = cell % a.n_envs;
            first = t - length + 1 > first ? t - length + 1 : first;
            last = t < last ? t : last;
        } else {
            env = pick(d.seed, state, RNG_REPLAY_ENV, i, a.n_envs);
        }
        b.starts[2 * i] = env;
        b.starts[2 * i + 1] = first + pick(d.seed, state, RNG_REPLAY_START, i, last - first + 1);
    }
}

// ---- gathering

__global__ void gather_pictures_kernel(struct ring_arrays a, struct ring_batch b, int length,
                                       int batch, buf<const int64_t> state) {
    if (has_failed(state)) return;
    EACH(k, (int64_t)length * batch * OBS_WORDS) {
        const int64_t cell = k / OBS_WORDS, t = cell / batch, i = cell % batch;
        const int64_t env = b.starts[2 * i], from = b.starts[2 * i + 1];
        b.packed[k] = a.obs[slot_of(&a, from + t, env) * OBS_WORDS + k % OBS_WORDS];
    }
}

DEVICE_FUNCTION void put_action(buf<float> out, int64_t cell, int n_actions, int32_t action) {
    for (int k = 0; k < n_actions && out.n; k++) out[cell * n_actions + k] = k == action;
}

__global__ void gather_rows_kernel(struct ring_arrays a, struct ring_batch b, int length, int batch,
                                   buf<const int64_t> state) {
    if (has_failed(state)) return;
    EACH(cell, (int64_t)length * batch) {
        const int64_t t = cell / batch, i = cell % batch;
        const int64_t env = b.starts[2 * i], from = b.starts[2 * i + 1];
        const int64_t slot = slot_of(&a, from + t, env);
        const uint32_t flags = a.flags[slot];
        const bool first = t == 0 || (flags & FLAG_FIRST);
        const int32_t action = a.action[slot];
        const int32_t before =
            first ? (int32_t)-1 : (int32_t)a.action[slot_of(&a, from + t - 1, env)];
        put_action(b.actions, cell, b.n_actions, action);
        put_action(b.prev_actions, cell, b.n_actions, before);
        if (b.rewards.n) b.rewards[cell] = a.reward[slot];
        if (b.continues.n) b.continues[cell] = flags & FLAG_TERMINATED ? 0 : 1;
        if (b.is_first.n) b.is_first[cell] = first;
    }
}

void ring_enqueue_draw(struct gpu *g, const struct ring_arrays *a, const struct ring_batch *b,
                       const struct ring_draw *d, buf<const int64_t> state) {
    if (d->n_terminal > 0) LAUNCH(g, count_kernel, COUNT_SLICES, THREADS, *a, *b);
    LAUNCH(g, draw_kernel, blocks_for(d->batch), THREADS, *a, *b, *d, state);
}

void ring_enqueue_gather(struct gpu *g, const struct ring_arrays *a, const struct ring_batch *b,
                         int length, int batch, buf<const int64_t> state) {
    const int64_t cells = (int64_t)length * batch;
    if (b->packed.n)
        LAUNCH(g, gather_pictures_kernel, blocks_for(cells * OBS_WORDS), THREADS, *a, *b, length,
               batch, state);
    LAUNCH(g, gather_rows_kernel, blocks_for(cells), THREADS, *a, *b, length, batch, state);
}
