// What the machines' episodes did, added up on the device: a sum for each machine, all of them
// together at a fence.
#include "gpu/block_sum.h"
#include "gpu/ring.h"

DEVICE_FUNCTION void add_to(struct ring_tally *t, int64_t sum, int64_t env, double value) {
    t->sums[sum * t->n_envs + env] += value;
}

__global__ void tally_kernel(struct ring_tally t, struct ring_row row) {
    EACH(i, t.n_envs) {
        const uint32_t f = row.flags[i];
        const bool begins = (f & FLAG_FIRST) != 0, done = (f & FLAG_TERMINATED) != 0,
                   late = (f & FLAG_TRUNCATED) != 0;
        const double sum = begins ? 0 : (double)t.episode[i] + (double)row.reward[i];
        const double length = begins ? 0 : (double)t.episode[t.n_envs + i] + 1;
        const int32_t action = row.action[i];
        t.episode[i] = sum;
        t.episode[t.n_envs + i] = length;
        if (row.machines[i] & FLAG_LOCKED) add_to(&t, SUM_LOCKED, i, 1);
        if (action >= 0 && action < t.n_sums - N_SUMS) add_to(&t, N_SUMS + action, i, 1);
        if (!done && !late) continue;
        add_to(&t, SUM_N, i, 1);
        add_to(&t, SUM_SUCCESS, i, done);
        add_to(&t, SUM_TRUNCATED, i, late);
        add_to(&t, SUM_RETURN, i, sum);
        add_to(&t, SUM_LENGTH, i, length);
    }
}

void tally_enqueue_row(struct gpu *g, const struct ring_tally *t, const struct ring_row *row) {
    LAUNCH(g, tally_kernel, blocks_for(t->n_envs), THREADS, *t, *row);
}

// A block per sum, a fixed tree.
__global__ void fence_kernel(struct ring_tally t, bool anew) {
    const int64_t first = (int64_t)blockIdx.x * t.n_envs;
    double mine = 0;
    for (int64_t i = threadIdx.x; i < t.n_envs; i += blockDim.x) {
        mine += (double)t.sums[first + i];
        t.sums[first + i] = 0;
    }
    block_sum_to(mine, t.since);
    if (threadIdx.x > 0) return;
    const double before = anew ? 0 : (double)t.out[blockIdx.x];
    t.out[blockIdx.x] = before + (double)t.since[blockIdx.x];
}

__global__ void distance_kernel(struct ring_tally t, buf<const float> distance,
                                buf<const uint32_t> flags) {
    EACH(i, t.n_envs) t.distance[i] = flags[i] & FLAG_FIRST ? -1.0f : distance[i];
}

void tally_enqueue_fence(struct gpu *g, const struct ring_tally *t, bool anew,
                         buf<const float> distance, buf<const uint32_t> flags) {
    LAUNCH(g, fence_kernel, t->n_sums, THREADS, *t, anew);
    LAUNCH(g, distance_kernel, blocks_for(t->n_envs), THREADS, *t, distance, flags);
}
