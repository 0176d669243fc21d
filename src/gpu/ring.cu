// The replay ring on the device: made and freed, kept in checkpoints, and its table.
#include "gpu/ring_parts.h"

#include <stdlib.h>

// ---- making

template <class T> static buf<T> array_new(struct device_ring *r, int64_t n) {
    void *at = r->learner.failed || r->n_arrays == MAX_ARRAYS
                   ? 0
                   : gpu_alloc(&r->learner, (size_t)n * sizeof(T));
    if (at) r->arrays[r->n_arrays++] = at;
    return buf_make((T *)at, at ? n : 0);
}

// Sums and distances one after the other: one transfer.
static bool get_tally(struct device_ring *r) {
    struct ring_tally *t = &r->tally;
    const int64_t n = r->opts.n_envs;
    t->n_envs = n;
    t->n_sums = N_SUMS + r->opts.n_actions;
    t->sums = array_new<double>(r, t->n_sums * n);
    t->episode = array_new<double>(r, 2 * n);
    t->since = array_new<double>(r, t->n_sums);
    t->out = array_new<double>(r, t->n_sums + (n + 1) / 2);
    t->distance = buf_make((float *)(void *)(t->out.at + t->n_sums), n);
    t->out.n = t->n_sums;
    const size_t each = sizeof(double);
    if (r->learner.failed || !gpu_zero(&r->learner, t->sums.at, (size_t)(t->n_sums * n) * each) ||
        !gpu_zero(&r->learner, t->episode.at, (size_t)(2 * n) * each) ||
        !gpu_zero(&r->learner, t->out.at, (size_t)(t->n_sums + (n + 1) / 2) * each))
        return false;
    r->sums =
        (char *)gpu_pinned_new(&r->learner, (size_t)t->n_sums * each + (size_t)n * sizeof(float));
    r->sums_read = true;
    return r->sums != 0;
}

// Of commits as many as the guard's rows and the row before them have.
static bool get_events(struct device_ring *r) {
    r->n_commits = r->opts.guard / r->opts.commit_stride + 2;
    r->commits = (struct commit *)calloc((size_t)r->n_commits, sizeof *r->commits);
    bool fine = r->commits != 0;
    for (int i = 0; fine && i < r->n_commits; i++)
        fine = (r->commits[i].event = gpu_event_new(&r->learner)) != 0;
    struct gpu_event **const others[] = {&r->arrived, &r->acted, &r->read_done, &r->fence};
    for (size_t i = 0; fine && i < sizeof others / sizeof *others; i++)
        fine = (*others[i] = gpu_event_new(&r->learner)) != 0;
    return fine && (r->played = gpu_timer_new(&r->learner)) &&
           (r->learned = gpu_timer_new(&r->learner)) && (r->waited = gpu_timer_new(&r->learner));
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
    r->step = array_new<int64_t>(r, STATE_SIZE);
    r->into = {o->n_actions,
               array_new<int64_t>(r, N_AIM),
               {},
               array_new<int64_t>(r, COUNT_SLICES),
               array_new<int32_t>(r, (int64_t)COUNT_SLICES * THREADS),
               {},
               {},
               {},
               {},
               {},
               {}};
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
    return get_tally(r) && get_events(r) && gpu_finish(&r->learner);
}

static void ring_free(struct device_ring *r) {
    if (!r) return;
    if (r->actor && r->actor->device) gpu_finish(r->actor);
    if (r->learner.device) gpu_finish(&r->learner);
    for (int i = 0; i < r->n_arrays; i++) gpu_free(r->learner.device, r->arrays[i]);
    for (int i = 0; r->commits && i < r->n_commits; i++)
        if (r->commits[i].event) gpu_event_free(r->commits[i].event);
    struct gpu_event *const others[] = {r->arrived, r->acted, r->read_done, r->fence};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) gpu_event_free(others[i]);
    gpu_timer_free(r->played);
    gpu_timer_free(r->learned);
    gpu_timer_free(r->waited);
    gpu_pinned_free(r->sums);
    free(r->commits);
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

// ---- checkpoints

static bool move(struct gpu *g, void *on_device, void *on_host, size_t bytes, bool out) {
    if (!bytes) return true;
    return out ? gpu_download_later(g, on_host, on_device, bytes)
               : gpu_upload(g, on_device, on_host, bytes);
}

static bool move_rows(struct device_ring *r, const struct device_rows *h, uint32_t *flags,
                      bool out) {
    const size_t rows = (size_t)(h->total < r->opts.rows ? h->total : r->opts.rows),
                 n = (size_t)r->opts.n_envs, slots = rows * n, each = n * sizeof(double);
    struct gpu *g = r->actor;
    return move(g, r->a.obs.at, h->obs, slots * GB_OBS_BYTES, out) &&
           move(g, r->a.action.at, h->action, slots * sizeof(int32_t), out) &&
           move(g, r->a.episode.at, h->episode, slots * sizeof(int32_t), out) &&
           move(g, r->a.reward.at, h->reward, slots * sizeof(float), out) &&
           move(g, r->a.flags.at, flags, slots * sizeof(uint32_t), out) &&
           move(g, r->tally.episode.at, h->episode_return, each, out) &&
           move(g, r->tally.episode.at + n, h->episode_length, each, out) && gpu_finish(g);
}

// Flags of the host's rows are bytes of their own.
static uint32_t *flags_of(const struct device_ring *r, const struct device_rows *h, size_t *slots) {
    const int64_t rows = h->total < r->opts.rows ? h->total : r->opts.rows;
    *slots = (size_t)rows * (size_t)r->opts.n_envs;
    return (uint32_t *)malloc((*slots + 1) * sizeof(uint32_t));
}

static bool ring_save(struct device_ring *r, struct device_rows *h) {
    size_t slots;
    if (r->parts) return refuse(r, "saved while it is half written");
    h->total = r->total;
    uint32_t *flags = flags_of(r, h, &slots);
    if (!flags) return refuse(r, "out of memory");
    const bool saved = move_rows(r, h, flags, true);
    for (size_t i = 0; saved && i < slots; i++) {
        h->is_first[i] = (flags[i] & FLAG_FIRST) != 0;
        h->terminated[i] = (flags[i] & FLAG_TERMINATED) != 0;
        h->truncated[i] = (flags[i] & FLAG_TRUNCATED) != 0;
    }
    free(flags);
    return fine(r);
}

static bool ring_load(struct device_ring *r, const struct device_rows *h) {
    size_t slots;
    if (r->parts) return refuse(r, "loaded while it is half written");
    if (!gpu_finish(&r->learner) || !gpu_await(r->actor, r->read_done)) return fine(r);
    uint32_t *flags = flags_of(r, h, &slots);
    if (!flags) return refuse(r, "out of memory");
    for (size_t i = 0; i < slots; i++)
        flags[i] = (h->is_first[i] ? FLAG_FIRST : 0) | (h->terminated[i] ? FLAG_TERMINATED : 0) |
                   (h->truncated[i] ? FLAG_TRUNCATED : 0);
    const bool loaded = move_rows(r, h, flags, false);
    free(flags);
    if (!loaded) return fine(r);
    r->total = r->claimed = h->total;
    r->committed = h->total / r->opts.commit_stride * r->opts.commit_stride;
    for (int i = 0; i < r->n_commits; i++) {
        r->commits[i].total = i ? 0 : r->committed;
        gpu_record(r->actor, r->commits[i].event);
    }
    r->reading = false;
    return fine(r);
}

// ---- the table

template <class T> static buf<T> place_of(void *at, int64_t n) {
    return buf_make((T *)at, at ? n : 0);
}

static bool ring_batch_into(struct device_ring *r, const struct device_batch_at *at, int length,
                            int batch) {
    struct ring_batch *b = &r->into;
    const int64_t cells = (int64_t)length * batch;
    r->into_length = length;
    b->starts = array_new<int64_t>(r, 2 * (int64_t)batch);
    r->into_batch = batch;
    b->packed = place_of<uint32_t>(at->packed, cells * OBS_WORDS);
    b->actions = place_of<float>(at->actions, cells * r->opts.n_actions);
    b->prev_actions = place_of<float>(at->prev_actions, cells * r->opts.n_actions);
    b->rewards = place_of<float>(at->rewards, cells);
    b->continues = place_of<float>(at->continues, cells);
    b->is_first = place_of<float>(at->is_first, cells);
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

void ring_fill_table(struct device_play *p) {
    p->ring_new = ring_new;
    p->ring_free = ring_free;
    p->ring_tick = ring_tick;
    p->ring_put = ring_put;
    p->ring_act = ring_act;
    p->ring_commit = ring_commit;
    p->ring_total = ring_total;
    p->ring_window = ring_window;
    p->ring_fence = ring_fence;
    p->ring_sums = ring_sums;
    p->ring_aim = ring_aim;
    p->ring_batch_into = ring_batch_into;
    p->ring_rows = ring_rows;
    p->ring_times = ring_times;
    p->ring_save = ring_save;
    p->ring_load = ring_load;
    p->ring_sample = ring_sample;
    p->ring_fetch = ring_fetch;
    p->ring_batch_at = ring_batch_at;
    p->ring_arrays = ring_arrays;
    p->ring_message = ring_message;
}
