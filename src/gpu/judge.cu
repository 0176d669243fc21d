// Rewards and ends of the machines' steps on the device: the rules of engine/env/goal_rules.h.
#include "gpu/emu.h"

struct judgement { // struct device_machines as kernels take it
    struct goal_rules rules;
    int n_goal_frames;
    buf<const uint32_t> goal;
    buf<uint32_t> previous;
    buf<float> distance;
    buf<int32_t> count, step;
};

// Word w of frame k of machine i's stack, the oldest first; the last is the new one.
DEVICE_FUNCTION uint32_t stacked(const struct judgement *j, buf<const uint32_t> frames, int64_t i,
                                 int k, int64_t w) {
    const int64_t n_previous = j->n_goal_frames - 1;
    if (k < n_previous) return j->previous[(i * n_previous + k) * OBS_WORDS + w];
    return frames[i * OBS_WORDS + w];
}

// A warp's machine: the distance of its last frames to the goal. Integers: exact.
DEVICE_FUNCTION float distance_of(const struct judgement *j, buf<const uint32_t> frames,
                                  int64_t i) {
    int sum = 0;
    for (int k = 0; k < j->n_goal_frames; k++)
        for (int64_t w = lane_of(); w < OBS_WORDS; w += WARP) {
            const uint32_t seen = stacked(j, frames, i, k, w), wanted = j->goal[k * OBS_WORDS + w];
            const uint64_t bytes = goal_byte_differences(seen, wanted);
            sum += (int)(bytes & 255) + (int)(bytes >> 8 & 255) + (int)(bytes >> 16 & 255) +
                   (int)(bytes >> 24 & 255);
        }
    sum = warp_sum(sum);
    return (float)sum / (float)(GOAL_MAX_FRAME_SUM * j->n_goal_frames);
}

// The stack takes the new frame: all of it after a reset, else as the newest of the previous ones.
DEVICE_FUNCTION void remember(const struct judgement *j, buf<const uint32_t> frames, int64_t i,
                              bool reset) {
    const int64_t n = j->n_goal_frames - 1;
    for (int64_t w = lane_of(); w < OBS_WORDS; w += WARP)
        for (int64_t k = 0; k < n; k++) {
            const uint32_t four = k + 1 < n && !reset
                                      ? (uint32_t)j->previous[(i * n + k + 1) * OBS_WORDS + w]
                                      : (uint32_t)frames[i * OBS_WORDS + w];
            j->previous[(i * n + k) * OBS_WORDS + w] = four;
        }
}

__global__ void judge_kernel(buf<const int32_t> orders, struct judgement j,
                             buf<const uint32_t> frames, struct machine_results out) {
    const int64_t i = warp_row(orders.n);
    if (i < 0) return;
    const int32_t order = orders[i];
    if (order == DEVICE_REST) return;
    const bool reset = order == DEVICE_RESET;
    if (reset) remember(&j, frames, i, true);
    const float distance = j.n_goal_frames ? distance_of(&j, frames, i) : 0;
    if (!reset) remember(&j, frames, i, false);
    if (lane_of() > 0) return;
    struct goal_count count = {distance, 0, 0};
    struct goal_verdict v = {0, false, false};
    uint32_t flags = FLAG_FIRST;
    if (!reset) {
        const float before = j.distance[i];
        const int32_t consecutive = j.count[i], step = j.step[i];
        count = {before, consecutive, step};
        v = goal_apply(&count, &j.rules, distance);
        if (!j.n_goal_frames) v.reward = 0, v.done = false;
        flags = out.flags[i] | (v.done ? FLAG_TERMINATED : 0) | (v.truncated ? FLAG_TRUNCATED : 0);
    }
    j.distance[i] = count.distance;
    j.count[i] = count.consecutive;
    j.step[i] = count.step;
    out.reward[i] = v.reward;
    out.distance[i] = distance;
    out.flags[i] = flags;
}

void machines_judge(struct device_machines *m, buf<const uint32_t> frames) {
    machines_judge_in(&m->gpu, m, frames);
}

void machines_judge_in(struct gpu *g, struct device_machines *m, buf<const uint32_t> frames) {
    const struct judgement j = {m->rules,        m->n_goal_frames,     m->goal,
                                m->previous,     m->progress_distance, m->progress_count,
                                m->progress_step};
    LAUNCH(g, judge_kernel, blocks_for_rows(m->n), THREADS,
           buf_make((const int32_t *)m->orders.at, m->n), j, frames, m->results);
}
