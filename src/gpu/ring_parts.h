// Inside of the replay ring on the device: what making it (ring.cu), its rows being written
// (ring_write.cu) and read (ring_read.cu) share. Between the actor, who writes, and the learner,
// who reads, are two fences: the commits and `read_done`. engine/env/device_play.h is the manual of
// what the table offers.
#ifndef GPU_RING_PARTS_H
#define GPU_RING_PARTS_H

#include "gpu/ring.h"

#include <inttypes.h>
#include <stdio.h>

enum { MAX_ARRAYS = 40, ARRIVED = 1, ACTED = 2 };

// The rows before `total` are whole where the actor's stream passes it.
struct commit {
    struct gpu_event *event;
    int64_t total;
};

struct device_ring {
    struct device_ring_opts opts;
    struct device_machines *machines; // NULL: the host writes
    struct gpu own;                   // the actor's stream where there are no machines
    struct gpu *actor;
    struct gpu learner;
    struct ring_arrays a;
    struct ring_batch batch, into; // the host's, the programs'
    buf<int64_t> step;             // [STATE_SIZE] of the host's draw
    buf<int32_t> chosen;           // [n_envs] actions from the host
    struct ring_tally tally;
    char *sums; // of the host, pinned: what the tally sends
    bool sums_read;
    void *arrays[MAX_ARRAYS];
    int n_arrays;
    // Logical rows: whole ones, begun ones, and those that the last commit event covers.
    int64_t total, claimed, committed;
    int parts;              // of the row being written
    struct commit *commits; // the last n_commits, a ring
    int n_commits;
    struct gpu_event *arrived, *acted, *read_done, *fence;
    int64_t aim_first, aim_end; // the programs' window
    // Of the rollout since the last fence, of the batches of the window; marked: how many ends.
    struct gpu_timer *played, *learned;
    int played_marks, learned_marks;
    // From the rollout's first row being there until its policy may look at it: nothing, unless it
    // waits for its weights.
    struct gpu_timer *waited;
    int waited_marks;
    int into_length, into_batch;
    bool reading;          // a gather may be under way,
    int64_t reading_first; // of rows from here on
    int length, n_batch;   // of the last batch
    char message[GPU_MESSAGE_SIZE];
};

// ---- errors: the actor's, the learner's, or a wrong call

static inline bool fine(struct device_ring *r) {
    const struct gpu *g = r->actor->failed ? r->actor : &r->learner;
    if (g->failed) snprintf(r->message, sizeof r->message, "%s", g->message);
    return !g->failed;
}

static inline bool refuse(struct device_ring *r, const char *what) {
    snprintf(r->message, sizeof r->message, "row %" PRId64 ": %s", r->claimed, what);
    return false;
}

// ---- places in the arrays
static inline int64_t first_slot(const struct device_ring *r, int64_t t) {
    return t % r->opts.rows * r->opts.n_envs;
}

template <class T>
static inline buf<T> row_of(const struct device_ring *r, buf<T> array, int64_t t) {
    return buf_make(array.at + first_slot(r, t), r->opts.n_envs);
}

static inline buf<uint32_t> frames_of(const struct device_ring *r, int64_t t) {
    return buf_make(r->a.obs.at + first_slot(r, t) * OBS_WORDS,
                    (int64_t)r->opts.n_envs * OBS_WORDS);
}

template <class T> static inline buf<const T> reading_of(buf<T> b) {
    return buf_make((const T *)b.at, b.n);
}

// The beginning once, the end as often as it moves on.
static inline void mark(struct gpu *g, struct gpu_timer *timer, int *marks, int end) {
    if (end <= *marks && (end || !*marks) && gpu_timer_mark(g, timer, end)) *marks = end + 1;
}

// ---- ring_write.cu
bool ring_tick(struct device_ring *r);
bool ring_put(struct device_ring *r, const struct device_row *row);
bool ring_act(struct device_ring *r, const int32_t *actions, bool on_device);
bool ring_commit(struct device_ring *r);
bool ring_fence(struct device_ring *r);
bool ring_sums(struct device_ring *r, struct device_sums *out, float *distance);

// ---- ring_read.cu
void ring_window(const struct device_ring *r, int64_t *first, int64_t *end);
bool ring_sample(struct device_ring *r, const struct device_sample *s);
bool ring_rows(struct device_ring *r, int env, int64_t end, int length);
bool ring_fetch(struct device_ring *r, const struct device_batch *out);
void ring_aim(struct device_ring *r, int64_t first, int64_t end);
bool ring_times(struct device_ring *r, struct device_times *out);

#endif
