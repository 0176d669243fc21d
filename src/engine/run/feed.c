// Feed: records in one growing array, status and pictures in triple buffers, commands as atomics.
#define _GNU_SOURCE
#include "engine/run/feed.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

const char *const feed_phase_names[] = {"starting", "prefill", "training",
                                        "paused",   "done",    "failed"};

enum { DEFAULT_MAX_RECORDS = 4 << 20 };

struct control {
    atomic_bool paused, checkpoint, stop;
    atomic_int single_updates;
};

// Triple buffer: the writer owns `back`, the reader owns `front`, `middle` is exchanged between
// them; its bit FRESH says that the writer has put a newer buffer there.
enum { FRESH = 4 };
struct triple {
    atomic_int middle;
    int back, front;
    bool ever;
};

struct feed_entry {
    struct record record;
    double wall_s;
};

struct feed {
    struct control control;
    _Alignas(64) struct triple status_turn;
    _Alignas(64) struct triple pictures_turn;
    struct feed_status status[3];
    struct feed_pictures *pictures[3];
    struct feed_entry *entries; // [max_records], reserved; pages come as they are written
    size_t entries_bytes;
    int64_t max_records;
    bool full_said; // the writer's
    _Alignas(64) atomic_llong n_records;
};

static void triple_init(struct triple *t) {
    t->back = 0;
    t->front = 1;
    atomic_store(&t->middle, 2);
}

static void triple_publish(struct triple *t) {
    t->back = atomic_exchange_explicit(&t->middle, t->back | FRESH, memory_order_acq_rel) & ~FRESH;
}

static int triple_latest(struct triple *t) {
    if (atomic_load_explicit(&t->middle, memory_order_relaxed) & FRESH) {
        t->front = atomic_exchange_explicit(&t->middle, t->front, memory_order_acq_rel) & ~FRESH;
        t->ever = true;
    }
    return t->front;
}

struct feed *feed_new(int64_t max_records) {
    struct feed *f = mem_slab_alloc(sizeof *f);
    f->max_records = max_records > 0 ? max_records : DEFAULT_MAX_RECORDS;
    f->entries_bytes = (size_t)f->max_records * sizeof *f->entries;
    f->entries = mem_slab_alloc(f->entries_bytes);
    for (int i = 0; i < 3; i++) f->pictures[i] = mem_alloc(sizeof **f->pictures);
    triple_init(&f->status_turn);
    triple_init(&f->pictures_turn);
    return f;
}

void feed_free(struct feed *f) {
    if (!f) return;
    for (int i = 0; i < 3; i++) free(f->pictures[i]);
    mem_slab_free(f->entries, f->entries_bytes);
    mem_slab_free(f, sizeof *f);
}

void feed_set_status(struct feed *f, const struct feed_status *status) {
    f->status[f->status_turn.back] = *status;
    triple_publish(&f->status_turn);
}

void feed_push_record(struct feed *f, const struct record *record, double wall_s) {
    int64_t n = atomic_load_explicit(&f->n_records, memory_order_relaxed);
    if (n >= f->max_records) { // days of training: the files go on, the screen's history ends here
        if (!f->full_said)
            log_write(LOG_WARN, "the curves end here: %lld records are kept", (long long)n);
        f->full_said = true;
        return;
    }
    f->entries[n].record = *record;
    f->entries[n].wall_s = wall_s;
    atomic_store_explicit(&f->n_records, n + 1, memory_order_release);
}

struct feed_pictures *feed_pictures_back(struct feed *f) {
    return f->pictures[f->pictures_turn.back];
}
void feed_pictures_publish(struct feed *f) { triple_publish(&f->pictures_turn); }

const struct feed_status *feed_status(struct feed *f) {
    return &f->status[triple_latest(&f->status_turn)];
}

const struct feed_pictures *feed_pictures(struct feed *f) {
    int latest = triple_latest(&f->pictures_turn);
    return f->pictures_turn.ever ? f->pictures[latest] : NULL;
}

int64_t feed_n_records(const struct feed *f) {
    return atomic_load_explicit(&((struct feed *)(uintptr_t)f)->n_records, memory_order_acquire);
}

const struct record *feed_record(const struct feed *f, int64_t index) {
    CHECK(index >= 0 && index < feed_n_records(f), "record %lld asked for", (long long)index);
    return &f->entries[index].record;
}

double feed_record_wall_s(const struct feed *f, int64_t index) {
    CHECK(index >= 0 && index < feed_n_records(f), "record %lld asked for", (long long)index);
    return f->entries[index].wall_s;
}

struct control *feed_control(struct feed *f) {
    return &f->control;
}

// Single updates belong to one pause: what an earlier one left over must not run when the next
// begins.
void control_pause(struct control *c, bool paused) {
    if (paused && !atomic_load(&c->paused)) atomic_store(&c->single_updates, 0);
    atomic_store(&c->paused, paused);
}

bool control_is_paused(const struct control *c) {
    return atomic_load(&((struct control *)(uintptr_t)c)->paused);
}
void control_single_update(struct control *c) { atomic_fetch_add(&c->single_updates, 1); }
void control_checkpoint(struct control *c) { atomic_store(&c->checkpoint, true); }
void control_stop(struct control *c) { atomic_store(&c->stop, true); }
bool control_stop_requested(const struct control *c) {
    return atomic_load(&((struct control *)(uintptr_t)c)->stop);
}

bool control_take_single_update(struct control *c) {
    int n = atomic_load(&c->single_updates);
    while (n > 0)
        if (atomic_compare_exchange_weak(&c->single_updates, &n, n - 1)) return true;
    return false;
}

bool control_take_checkpoint(struct control *c) { return atomic_exchange(&c->checkpoint, false); }
