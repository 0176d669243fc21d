// The replay ring on the device: rows, the two fences between actor and learner, and who counts.
#include "gpu/ring.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    int into_length, into_batch;
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

// The earliest event that covers the rows before `end`; where none does, the last one.
static const struct gpu_event *commit_of(const struct device_ring *r, int64_t end) {
    const struct commit *found = &r->commits[0];
    for (int i = 1; i < r->n_commits; i++) {
        const struct commit *c = &r->commits[i];
        const bool covers = c->total >= end, earlier = c->total < found->total;
        if (found->total < end ? !earlier : covers && earlier) found = c;
    }
    return found->event;
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
    gpu_record(r->actor, r->arrived);
    r->parts |= ARRIVED;
}

// The beginning once, the end as often as it moves on.
static void mark(struct gpu *g, struct gpu_timer *timer, int *marks, int end) {
    if (end <= *marks && (end || !*marks) && gpu_timer_mark(g, timer, end)) *marks = end + 1;
}

static bool ring_tick(struct device_ring *r) {
    struct device_machines *m = r->machines;
    const int64_t t = r->total;
    if (!m || r->parts) return refuse(r, m ? "the last one is not committed" : "no machines");
    if (!claim(r)) return fine(r);
    mark(r->actor, r->played, &r->played_marks, 0);
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

static void tally_row(struct device_ring *r) {
    const struct ring_row row = {reading_of(row_of(r, r->a.reward, r->total)),
                                 reading_of(row_of(r, r->a.flags, r->total)),
                                 reading_of(row_of(r, r->a.action, r->total))};
    tally_enqueue_row(r->actor, &r->tally, &row);
}

static bool ring_commit(struct device_ring *r) {
    if (r->parts != (ARRIVED | ACTED)) return refuse(r, "it is not whole");
    r->parts = 0;
    if (r->machines) {
        tally_row(r);
        mark(r->actor, r->played, &r->played_marks, 1);
    }
    r->total++;
    if (r->total % r->opts.commit_stride) return fine(r);
    struct commit *c = &r->commits[r->total / r->opts.commit_stride % r->n_commits];
    if (!gpu_record(r->actor, c->event)) return fine(r);
    r->committed = c->total = r->total;
    return fine(r);
}

// ---- reading

// What a gather of rows from `first` on leaves behind: every earlier one is over before it.
static bool has_read(struct device_ring *r, struct gpu *g, int64_t first) {
    if (!gpu_await(g, r->read_done) || !gpu_record(g, r->read_done)) return false;
    if (!r->reading || first < r->reading_first) r->reading_first = first;
    r->reading = true;
    return true;
}

static bool too_few(struct device_ring *r, int64_t n, int length) {
    snprintf(r->message, sizeof r->message,
             "the replay has %" PRId64
             " rows per environment to sample, a sequence needs %d; raise "
             "algo.learning_starts or buffer.size",
             n, length);
    return false;
}

static bool fits(const struct device_ring *r, int length, int batch) {
    return length >= 1 && length <= r->opts.max_length && batch >= 1 && batch <= r->opts.max_batch;
}

static bool ring_sample(struct device_ring *r, const struct device_sample *s) {
    int64_t first, end;
    ring_window(r, &first, &end);
    if (!fits(r, s->length, s->batch))
        return refuse(r, "a batch larger than the ring was made for");
    if (end - first < s->length) return too_few(r, end - first, s->length);
    const struct ring_draw d = {s->seed, s->length, s->batch, s->n_terminal};
    struct gpu *g = &r->learner;
    if (!gpu_await(g, commit_of(r, end))) return fine(r);
    ring_enqueue_aim(g, &r->batch, first, end);
    ring_enqueue_step(g, r->step, (int64_t)s->step);
    ring_enqueue_draw(g, &r->a, &r->batch, &d, reading_of(r->step));
    ring_enqueue_gather(g, &r->a, &r->batch, s->length, s->batch, reading_of(r->step));
    r->length = s->length;
    r->n_batch = s->batch;
    has_read(r, g, first);
    return fine(r);
}

static bool ring_rows(struct device_ring *r, int env, int64_t end, int length) {
    const int64_t first = end - length, start[2] = {env, first};
    struct gpu *g = &r->learner;
    if (!fits(r, length, 1)) return refuse(r, "more rows than the ring was made for");
    if (env < 0 || env >= r->opts.n_envs || end > r->committed || first < 0 ||
        first < r->total - r->opts.rows + r->opts.guard || first < OLDEST_ROW(r))
        return refuse(r, "rows that are not in the ring");
    if (!gpu_await(g, commit_of(r, end)) || !gpu_upload(g, r->batch.starts.at, start, sizeof start))
        return fine(r);
    ring_enqueue_step(g, r->step, 0);
    ring_enqueue_gather(g, &r->a, &r->batch, length, 1, reading_of(r->step));
    r->length = length;
    r->n_batch = 1;
    has_read(r, g, first);
    return fine(r) && gpu_finish(g); // `start` goes
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

// ---- sums of the machines' episodes

static bool ring_fence(struct device_ring *r) {
    const int64_t last = r->total - 1;
    if (!r->machines || r->parts || last < 0) return refuse(r, "no fence of machines here");
    tally_enqueue_fence(r->actor, &r->tally, r->sums_read,
                        reading_of(r->machines->results.distance),
                        reading_of(row_of(r, r->a.flags, last)));
    r->sums_read = false;
    r->played_marks = 0;
    gpu_record(r->actor, r->fence);
    return fine(r);
}

static bool ring_sums(struct device_ring *r, struct device_sums *out, float *distance) {
    const struct ring_tally *t = &r->tally;
    const size_t sums = (size_t)t->n_sums * sizeof(double),
                 all = sums + (size_t)t->n_envs * sizeof(float);
    if (!r->machines || r->sums_read) return refuse(r, "no fence since the sums were read");
    if (!gpu_await(&r->learner, r->fence) ||
        !gpu_download_later(&r->learner, r->sums, t->out.at, all) || !gpu_finish(&r->learner))
        return fine(r);
    const double *s = (const double *)(void *)r->sums;
    *out = {s[SUM_N], s[SUM_SUCCESS], s[SUM_TRUNCATED], s[SUM_RETURN], s[SUM_LENGTH], {}};
    for (int i = 0; i < r->opts.n_actions; i++) out->actions[i] = s[N_SUMS + i];
    if (distance) memcpy(distance, r->sums + sums, (size_t)t->n_envs * sizeof(float));
    r->sums_read = true;
    return fine(r);
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

// ---- programs: the row that is being written, and batches

static void ring_aim(struct device_ring *r, int64_t first, int64_t end) {
    if (first != r->aim_first || end != r->aim_end) r->learned_marks = 0;
    r->aim_first = first;
    r->aim_end = end;
}

static bool ring_times(struct device_ring *r, struct device_times *out) {
    struct gpu *g = &r->learner;
    struct gpu_timer *a = r->played, *b = r->learned;
    if (r->played_marks < 2 || r->learned_marks < 2) return refuse(r, "nothing to time");
    out->actor_ms = gpu_timer_between(g, a, 0, a, 1);
    out->learner_ms = gpu_timer_between(g, b, 0, b, 1);
    // Both from the actor's beginning on.
    const double begin = gpu_timer_between(g, a, 0, b, 0), end = begin + out->learner_ms;
    const double first = begin > 0 ? begin : 0, last = end < out->actor_ms ? end : out->actor_ms;
    out->both_ms = last > first ? last - first : 0;
    return fine(r);
}

template <class T> static buf<T> place_of(void *at, int64_t n) {
    return buf_make((T *)at, at ? n : 0);
}

static bool shows(struct device_ring *r, struct gpu *g) {
    if (r->parts & ARRIVED) return gpu_await(g, r->arrived);
    gpu_fail(g, "row %" PRId64 " has no observations yet", r->total);
    return false;
}

__global__ void pictures_kernel(buf<const int64_t> state, buf<const uint32_t> frames,
                                buf<uint32_t> to) {
    if (state[STATE_FAILED] != 0) return;
    EACH(i, to.n) to[i] = frames[i];
}

void ring_give_pictures(struct device_ring *r, struct gpu *g, buf<const int64_t> state,
                        buf<uint32_t> to) {
    if (shows(r, g))
        LAUNCH(g, pictures_kernel, blocks_for(to.n), THREADS, state,
               reading_of(frames_of(r, r->total)), to);
}

__global__ void begins_kernel(buf<const int64_t> state, buf<const uint32_t> flags, bool everywhere,
                              buf<real> to) {
    if (state[STATE_FAILED] != 0) return;
    EACH(i, to.n) to[i] = everywhere || (flags[i] & FLAG_FIRST) ? 1 : 0;
}

void ring_give_begins(struct device_ring *r, struct gpu *g, buf<const int64_t> state,
                      bool everywhere, buf<real> to) {
    if (shows(r, g))
        LAUNCH(g, begins_kernel, blocks_for(to.n), THREADS, state,
               reading_of(row_of(r, r->a.flags, r->total)), everywhere, to);
}

// Where nothing is chosen (numbers that are not finite stop the program) it is the first action.
__global__ void choose_kernel(buf<const uint32_t> flags, buf<const real> one_hot, int64_t classes,
                              buf<int32_t> action) {
    EACH(i, action.n) {
        if (flags[i] & (FLAG_TERMINATED | FLAG_TRUNCATED)) continue;
        int32_t chosen = 0;
        for (int64_t k = 1; k < classes; k++)
            if (one_hot[i * classes + k] == 1) chosen = (int32_t)k;
        action[i] = chosen;
    }
}

void ring_take_actions(struct device_ring *r, struct gpu *g, buf<const real> one_hot) {
    const int64_t n = r->opts.n_envs;
    if (one_hot.n != n * r->opts.n_actions)
        gpu_fail(g, "%" PRId64 " numbers for the actions of %" PRId64 " environments", one_hot.n,
                 n);
    if (g->failed || !shows(r, g)) return;
    LAUNCH(g, choose_kernel, blocks_for(n), THREADS, reading_of(row_of(r, r->a.flags, r->total)),
           one_hot, (int64_t)r->opts.n_actions, row_of(r, r->a.action, r->total));
    if (gpu_record(g, r->acted) && gpu_await(r->actor, r->acted)) r->parts |= ACTED;
}

void ring_begin_batch(struct device_ring *r, struct gpu *g, const struct ring_draw *d) {
    const int64_t first = r->aim_first, end = r->aim_end;
    if (d->length != r->into_length || d->batch != r->into_batch) {
        gpu_fail(g, "a program's batch has no place of its size");
    } else if (end - first < d->length) {
        too_few(r, end - first, d->length);
        gpu_fail(g, "%s", r->message);
    } else if (first < OLDEST_ROW(r) || end > r->total) {
        gpu_fail(g, "rows %" PRId64 " to %" PRId64 " are not in the ring", first, end - 1);
    } else if (gpu_await(g, commit_of(r, end))) {
        mark(g, r->learned, &r->learned_marks, 0);
        ring_enqueue_aim(g, &r->into, first, end);
    }
}

void ring_enqueue_batch(struct device_ring *r, struct gpu *g, const struct ring_draw *d,
                        buf<const int64_t> state) {
    ring_enqueue_draw(g, &r->a, &r->into, d, state);
    ring_enqueue_gather(g, &r->a, &r->into, d->length, d->batch, state);
}

void ring_end_batch(struct device_ring *r, struct gpu *g) {
    has_read(r, g, r->aim_first);
    mark(g, r->learned, &r->learned_marks, 1);
}

// ---- making

template <class T> static buf<T> array_new(struct device_ring *r, int64_t n) {
    void *at = r->learner.failed || r->n_arrays == MAX_ARRAYS
                   ? 0
                   : gpu_alloc(&r->learner, (size_t)n * sizeof(T));
    if (at) r->arrays[r->n_arrays++] = at;
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
           (r->learned = gpu_timer_new(&r->learner));
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
