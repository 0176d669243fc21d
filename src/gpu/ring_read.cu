// The replay ring's rows being read: which may be, batches for the host and for programs.
#include "gpu/ring_parts.h"

#include <string.h>

// ---- the window. The tests redefine these two to see broken fences noticed.
#ifndef READABLE_END
#define READABLE_END(r) ((r)->committed)
#endif
#ifndef OLDEST_ROW // whose bytes are still there
#define OLDEST_ROW(r) ((r)->claimed - (r)->opts.rows)
#endif

void ring_window(const struct device_ring *r, int64_t *first, int64_t *end) {
    *first = r->total - r->opts.rows + r->opts.guard;
    if (*first < OLDEST_ROW(r)) *first = OLDEST_ROW(r);
    if (*first < 0) *first = 0;
    *end = READABLE_END(r) - r->opts.safety_margin;
    if (*end < *first) *end = *first;
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

bool ring_sample(struct device_ring *r, const struct device_sample *s) {
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

bool ring_rows(struct device_ring *r, int env, int64_t end, int length) {
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

bool ring_fetch(struct device_ring *r, const struct device_batch *out) {
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

// ---- programs: batches

void ring_aim(struct device_ring *r, int64_t first, int64_t end) {
    if (first != r->aim_first || end != r->aim_end) r->learned_marks = 0;
    r->aim_first = first;
    r->aim_end = end;
}

// What [a, a_end] and [b, b_end] have in common.
static double common(double a, double a_end, double b, double b_end) {
    const double first = a > b ? a : b, last = a_end < b_end ? a_end : b_end;
    return last > first ? last - first : 0;
}

// All from the actor's beginning on. The policy's weights may come after its first pictures: in
// between the actor does nothing.
bool ring_times(struct device_ring *r, struct device_times *out) {
    struct gpu *g = &r->learner;
    struct gpu_timer *a = r->played, *b = r->learned, *w = r->waited;
    if (r->played_marks < 2 || r->learned_marks < 2) return refuse(r, "nothing to time");
    const double end = gpu_timer_between(g, a, 0, a, 1),
                 learning = gpu_timer_between(g, a, 0, b, 0);
    out->learner_ms = gpu_timer_between(g, b, 0, b, 1);
    const double learned = learning + out->learner_ms;
    double idle = 0, idle_end = 0;
    if (r->waited_marks == 2) {
        idle = gpu_timer_between(g, a, 0, w, 0);
        idle_end = idle + gpu_timer_between(g, w, 0, w, 1);
    }
    out->actor_ms = end - common(0, end, idle, idle_end);
    out->both_ms = common(0, end, learning, learned) - common(idle, idle_end, learning, learned);
    return fine(r);
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
