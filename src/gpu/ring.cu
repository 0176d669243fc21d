// The replay ring on the device: rows, the two fences between actor and learner, and who counts.
#include "gpu/ring.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_ARRAYS = 24, ARRIVED = 1, ACTED = 2 };

struct device_ring {
    struct device_ring_opts opts;
    struct device_machines *machines; // NULL: the host writes
    struct gpu own;                   // the actor's stream where there are no machines
    struct gpu *actor;
    struct gpu learner;
    struct ring_arrays a;
    struct ring_batch batch;
    buf<int32_t> chosen; // [n_envs] actions from the host
    void *arrays[MAX_ARRAYS];
    int n_arrays;
    // Logical rows: whole ones, begun ones, and those that the last commit event covers.
    int64_t total, claimed, committed;
    int parts; // of the row being written
    struct gpu_event *commit, *read_done;
    bool reading;          // a gather may be under way,
    int64_t reading_first; // of rows from here on
    int length, n_batch;   // of the last batch
    char message[GPU_MESSAGE_SIZE];
};

// ---- the window. The tests redefine these two to see broken fences noticed.
#ifndef READABLE_END
#define READABLE_END(r) ((r)->committed)
#endif
#ifndef OLDEST_ROW // whose bytes are still there
#define OLDEST_ROW(r) ((r)->claimed - (r)->opts.rows)
#endif

static void ring_window(const struct device_ring *r, int64_t *first, int64_t *end) {
    *first = r->total - r->opts.rows + r->opts.guard;
    if (*first < OLDEST_ROW(r)) *first = OLDEST_ROW(r);
    if (*first < 0) *first = 0;
    *end = READABLE_END(r) - r->opts.safety_margin;
    if (*end < *first) *end = *first;
}

// ---- errors: the actor's, the learner's, or a wrong call

static bool fine(struct device_ring *r) {
    const struct gpu *g = r->actor->failed ? r->actor : &r->learner;
    if (g->failed) snprintf(r->message, sizeof r->message, "%s", g->message);
    return !g->failed;
}

static bool refuse(struct device_ring *r, const char *what) {
    snprintf(r->message, sizeof r->message, "row %" PRId64 ": %s", r->claimed, what);
    return false;
}

// ---- writing

// Before the first byte of a new row: the gather that may read the row it replaces has to be over.
static bool claim(struct device_ring *r) {
    if (r->claimed > r->total) return true;
    const int64_t lost = r->total - r->opts.rows;
    if (r->reading && lost >= r->reading_first) {
        if (!gpu_await(r->actor, r->read_done)) return false;
        r->reading = false;
    }
    r->claimed = r->total + 1;
    return true;
}

static int64_t first_slot(const struct device_ring *r, int64_t t) {
    return t % r->opts.rows * r->opts.n_envs;
}

template <class T> static buf<T> row_of(const struct device_ring *r, buf<T> array, int64_t t) {
    return buf_make(array.at + first_slot(r, t), r->opts.n_envs);
}

static buf<uint32_t> frames_of(const struct device_ring *r, int64_t t) {
    return buf_make(r->a.obs.at + first_slot(r, t) * OBS_WORDS,
                    (int64_t)r->opts.n_envs * OBS_WORDS);
}

// What the machines are to do, from the row before; at the beginning all are reset.
__global__ void orders_kernel(buf<const uint32_t> flags, buf<const int32_t> action,
                              buf<int32_t> orders) {
    EACH(i, orders.n) {
        int32_t order = DEVICE_RESET;
        if (flags.n && !(flags[i] & (FLAG_TERMINATED | FLAG_TRUNCATED))) order = action[i];
        orders[i] = order;
    }
}

struct arrival { // a row being written, and the one before (n = 0: none)
    buf<const int32_t> episode_before;
    buf<int32_t> action, episode;
    buf<float> reward;
    buf<uint32_t> flags;
};

// A machine that ended has no action; the others' come later.
__global__ void arrive_kernel(struct arrival row, buf<const float> reward,
                              buf<const uint32_t> flags) {
    EACH(i, flags.n) {
        const uint32_t f = flags[i] & (FLAG_FIRST | FLAG_TERMINATED | FLAG_TRUNCATED);
        const int32_t before = row.episode_before.n ? (int32_t)row.episode_before[i] : -1;
        row.episode[i] = before + ((f & FLAG_FIRST) != 0);
        row.reward[i] = reward[i];
        row.flags[i] = f;
        row.action[i] = -1;
    }
}

__global__ void act_kernel(buf<const uint32_t> flags, buf<const int32_t> chosen,
                           buf<int32_t> action) {
    EACH(i, action.n) {
        if (flags[i] & (FLAG_TERMINATED | FLAG_TRUNCATED)) continue;
        action[i] = chosen[i];
    }
}

template <class T> static buf<const T> reading_of(buf<T> b) {
    return buf_make((const T *)b.at, b.n);
}

static void arrive(struct device_ring *r, buf<float> reward, buf<uint32_t> flags) {
    const int64_t t = r->total;
    struct arrival row = {{},
                          row_of(r, r->a.action, t),
                          row_of(r, r->a.episode, t),
                          row_of(r, r->a.reward, t),
                          row_of(r, r->a.flags, t)};
    if (t) row.episode_before = reading_of(row_of(r, r->a.episode, t - 1));
    LAUNCH(r->actor, arrive_kernel, blocks_for(r->opts.n_envs), THREADS, row, reading_of(reward),
           reading_of(flags));
    r->parts |= ARRIVED;
}

static bool ring_tick(struct device_ring *r) {
    struct device_machines *m = r->machines;
    const int64_t t = r->total;
    if (!m || r->parts) return refuse(r, m ? "the last one is not committed" : "no machines");
    if (!claim(r)) return fine(r);
    buf<const uint32_t> flags = {};
    buf<const int32_t> action = {};
    if (t) {
        flags = reading_of(row_of(r, r->a.flags, t - 1));
        action = reading_of(row_of(r, r->a.action, t - 1));
    }
    LAUNCH(r->actor, orders_kernel, blocks_for(m->n), THREADS, flags, action, m->orders);
    machines_enqueue(m, frames_of(r, t));
    machines_judge(m, reading_of(frames_of(r, t)));
    arrive(r, m->results.reward, m->results.flags);
    return fine(r);
}

static bool ring_put(struct device_ring *r, const struct device_row *row) {
    const int n = r->opts.n_envs;
    if (r->machines || r->parts) return refuse(r, "not the host's to write");
    if (!claim(r)) return fine(r);
    uint32_t *flags = (uint32_t *)malloc((size_t)n * sizeof *flags);
    if (!flags) return refuse(r, "out of memory");
    for (int i = 0; i < n; i++)
        flags[i] = (row->is_first[i] ? FLAG_FIRST : 0) |
                   (row->terminated[i] ? FLAG_TERMINATED : 0) |
                   (row->truncated[i] ? FLAG_TRUNCATED : 0);
    const buf<float> reward = row_of(r, r->a.reward, r->total);
    const buf<uint32_t> there = row_of(r, r->a.flags, r->total);
    const bool sent =
        gpu_upload(r->actor, frames_of(r, r->total).at, row->obs, (size_t)n * GB_OBS_BYTES) &&
        gpu_upload(r->actor, reward.at, row->reward, (size_t)n * sizeof(float)) &&
        gpu_upload(r->actor, there.at, flags, (size_t)n * sizeof *flags) && gpu_finish(r->actor);
    free(flags);
    if (sent) arrive(r, reward, there);
    return fine(r);
}

static bool ring_act(struct device_ring *r, const int32_t *actions, bool on_device) {
    if (!(r->parts & ARRIVED)) return refuse(r, "actions come after the observations");
    buf<const int32_t> chosen = buf_make((const int32_t *)r->chosen.at, r->opts.n_envs);
    if (on_device)
        chosen = buf_make(actions, r->opts.n_envs);
    else if (!gpu_upload(r->actor, r->chosen.at, actions, (size_t)r->opts.n_envs * sizeof *actions))
        return fine(r);
    LAUNCH(r->actor, act_kernel, blocks_for(r->opts.n_envs), THREADS,
           reading_of(row_of(r, r->a.flags, r->total)), chosen, row_of(r, r->a.action, r->total));
    r->parts |= ACTED;
    return fine(r);
}

static bool ring_commit(struct device_ring *r) {
    if (r->parts != (ARRIVED | ACTED)) return refuse(r, "it is not whole");
    r->parts = 0;
    r->total++;
    if (r->total % r->opts.commit_stride) return true;
    if (!gpu_record(r->actor, r->commit)) return fine(r);
    r->committed = r->total;
    return true;
}

// ---- reading

static bool ring_sample(struct device_ring *r, const struct device_sample *s) {
    int64_t first, end;
    ring_window(r, &first, &end);
    if (s->length < 1 || s->length > r->opts.max_length || s->batch < 1 ||
        s->batch > r->opts.max_batch)
        return refuse(r, "a batch larger than the ring was made for");
    if (end - first < s->length) {
        snprintf(r->message, sizeof r->message,
                 "the replay has %" PRId64
                 " rows per environment to sample, a sequence needs %d; raise "
                 "algo.learning_starts or buffer.size",
                 end - first, s->length);
        return false;
    }
    const int64_t aim[N_AIM] = {first, end, (int64_t)s->seed, (int64_t)s->step};
    if (!gpu_await(&r->learner, r->commit)) return fine(r);
    ring_enqueue_batch(&r->learner, &r->a, &r->batch, aim, s->length, s->batch, s->n_terminal);
    if (!gpu_record(&r->learner, r->read_done)) return fine(r);
    if (!r->reading || first < r->reading_first) r->reading_first = first;
    r->reading = true;
    r->length = s->length;
    r->n_batch = s->batch;
    return fine(r);
}

static bool ring_fetch(struct device_ring *r, const struct device_batch *out) {
    const size_t cells = (size_t)r->length * (size_t)r->n_batch, real_bytes = cells * sizeof(float),
                 action_bytes = real_bytes * (size_t)r->opts.n_actions;
    const struct ring_batch *b = &r->batch;
    const struct {
        void *to;
        const void *from;
        size_t bytes;
    } list[] = {{out->starts, b->starts.at, (size_t)r->n_batch * 2 * sizeof(int64_t)},
                {out->packed, b->packed.at, cells * GB_OBS_BYTES},
                {out->actions, b->actions.at, action_bytes},
                {out->prev_actions, b->prev_actions.at, action_bytes},
                {out->rewards, b->rewards.at, real_bytes},
                {out->continues, b->continues.at, real_bytes},
                {out->is_first, b->is_first.at, real_bytes}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].to && !gpu_download(&r->learner, list[i].to, list[i].from, list[i].bytes))
            return fine(r);
    return fine(r);
}

static int64_t ring_total(const struct device_ring *r) { return r->total; }
static const char *ring_message(const struct device_ring *r) { return r->message; }

static struct device_batch_at ring_batch_at(const struct device_ring *r) {
    const struct ring_batch *b = &r->batch;
    return device_batch_at{b->packed.at,  b->actions.at,   b->prev_actions.at,
                           b->rewards.at, b->continues.at, b->is_first.at};
}

static void ring_arrays(const struct device_ring *r, const void **at) {
    const void *const list[N_RING_ARRAYS] = {r->a.obs.at, r->a.action.at, r->a.episode.at,
                                             r->a.reward.at, r->a.flags.at};
    for (int i = 0; i < N_RING_ARRAYS; i++) at[i] = list[i];
}

// ---- making

template <class T> static buf<T> array_new(struct device_ring *r, int64_t n) {
    void *at = r->learner.failed || r->n_arrays == MAX_ARRAYS
                   ? 0
                   : gpu_alloc(&r->learner, (size_t)n * sizeof(T));
    if (at) r->arrays[r->n_arrays++] = at;
    return buf_make((T *)at, at ? n : 0);
}

static bool get_memory(struct device_ring *r) {
    const struct device_ring_opts *o = &r->opts;
    const int64_t slots = o->rows * o->n_envs, cells = (int64_t)o->max_length * o->max_batch;
    r->a = {o->rows,
            o->n_envs,
            array_new<uint32_t>(r, slots * OBS_WORDS),
            array_new<int32_t>(r, slots),
            array_new<int32_t>(r, slots),
            array_new<float>(r, slots),
            array_new<uint32_t>(r, slots)};
    r->chosen = array_new<int32_t>(r, o->n_envs);
    r->batch = {o->n_actions,
                array_new<int64_t>(r, N_AIM),
                array_new<int64_t>(r, 2 * (int64_t)o->max_batch),
                array_new<int64_t>(r, COUNT_SLICES),
                array_new<int32_t>(r, (int64_t)COUNT_SLICES * THREADS),
                array_new<uint32_t>(r, cells * OBS_WORDS),
                array_new<float>(r, cells * o->n_actions),
                array_new<float>(r, cells * o->n_actions),
                array_new<float>(r, cells),
                array_new<float>(r, cells),
                array_new<float>(r, cells)};
    r->commit = gpu_event_new(&r->learner);
    r->read_done = gpu_event_new(&r->learner);
    return r->commit && r->read_done && gpu_finish(&r->learner);
}

static void ring_free(struct device_ring *r) {
    if (!r) return;
    if (r->actor && r->actor->device) gpu_finish(r->actor);
    if (r->learner.device) gpu_finish(&r->learner);
    for (int i = 0; i < r->n_arrays; i++) gpu_free(r->learner.device, r->arrays[i]);
    gpu_event_free(r->commit);
    gpu_event_free(r->read_done);
    gpu_close(r->learner.device);
    gpu_close(r->own.device);
    free(r);
}

static bool is_possible(const struct device_ring_opts *o, const struct device_machines *m) {
    return o->n_envs >= 1 && o->n_actions >= 1 && o->guard >= 0 && o->safety_margin >= 0 &&
           o->commit_stride >= 1 && o->max_length >= 1 && o->max_batch >= 1 &&
           o->rows >= (int64_t)o->max_length + o->guard + o->safety_margin + o->commit_stride &&
           (!m || m->n == o->n_envs);
}

static struct device_ring *ring_new(const struct device_ring_opts *o, struct device_machines *m,
                                    char *message, size_t size) {
    if (!is_possible(o, m)) {
        snprintf(message, size,
                 "a replay ring of %" PRId64
                 " rows is too small for sequences of %d with guard %d, "
                 "margin %d and commit stride %d; set buffer.size",
                 o->rows, o->max_length, o->guard, o->safety_margin, o->commit_stride);
        return 0;
    }
    struct device_ring *r = (struct device_ring *)calloc(1, sizeof *r);
    snprintf(message, size, "out of memory");
    if (!r) return 0;
    r->opts = *o;
    r->machines = m;
    r->actor = m ? &m->gpu : &r->own;
    r->learner.device = gpu_open(message, size);
    if (r->learner.device && !m) r->own.device = gpu_open(message, size);
    if (r->learner.device && r->actor->device && get_memory(r)) return r;
    if (r->learner.failed) snprintf(message, size, "%s", r->learner.message);
    ring_free(r);
    return 0;
}

void ring_fill_table(struct device_play *p) {
    p->ring_new = ring_new;
    p->ring_free = ring_free;
    p->ring_tick = ring_tick;
    p->ring_put = ring_put;
    p->ring_act = ring_act;
    p->ring_commit = ring_commit;
    p->ring_total = ring_total;
    p->ring_window = ring_window;
    p->ring_sample = ring_sample;
    p->ring_fetch = ring_fetch;
    p->ring_batch_at = ring_batch_at;
    p->ring_arrays = ring_arrays;
    p->ring_message = ring_message;
}
