// Benchmark of the replay ring on a device, whose rows and batches are the host's to the byte.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "engine/graph/backend.h"
#include "engine/graph/program.h"
#include "engine/run/bench/bench_replay.h"

enum { DEFAULT_ENVS = 256 };

struct there {
    struct replay_bench *b;
    const struct device_play *play;
    struct device_ring *ring;
    int64_t t; // rows so far
    struct program *program;
};

static bool failed(const struct there *d, struct error *e) {
    return error_set(e, STATUS_FAILED, "bench replay: %s", d->play->ring_message(d->ring));
}

static bool write_row(void *ctx, struct error *e) {
    struct there *d = ctx;
    const struct device_row row = replay_bench_row(d->b, d->t++);
    return (d->play->ring_put(d->ring, &row) && d->play->ring_act(d->ring, d->b->actions, false) &&
            d->play->ring_commit(d->ring)) ||
           failed(d, e);
}

static bool draw(void *ctx, struct error *e) {
    struct there *d = ctx;
    const struct device_sample s = {1, d->b->step++, d->b->length, d->b->batch, d->b->n_terminal};
    return d->play->ring_sample(d->ring, &s) || failed(d, e);
}

// A few bytes of the last batch are fetched, after all that was enqueued before.
static bool wait_for_batch(void *ctx, struct error *e) {
    struct there *d = ctx;
    const struct device_batch starts = {.starts = (int64_t *)(void *)d->b->starts};
    return d->play->ring_fetch(d->ring, &starts) || failed(d, e);
}

// The learner's stream waits for the rows' events.
static bool wait_for_rows(void *ctx, struct error *e) {
    return draw(ctx, e) && wait_for_batch(ctx, e);
}

static bool unpack(void *ctx, struct error *e) {
    (void)e;
    program_launch(((struct there *)ctx)->program);
    return true;
}

static bool wait_for_program(void *ctx, struct error *e) {
    struct backend_progress at;
    (void)e;
    program_read(((struct there *)ctx)->program, &at);
    return true;
}

// ---- the same batch from both rings

static bool compare(struct there *d, struct error *e) {
    struct replay_bench *b = d->b;
    const size_t cells = (size_t)b->length * (size_t)b->batch,
                 acts = cells * REPLAY_BENCH_ACTIONS * sizeof(real), each = cells * sizeof(real);
    struct device_batch got = {.packed = mem_alloc(cells * REPLAY_OBS_BYTES),
                               .prev_actions = mem_alloc(acts),
                               .rewards = mem_alloc(each),
                               .continues = mem_alloc(each),
                               .is_first = mem_alloc(each)};
    while (replay_total(b->ring) < d->t) replay_bench_write(b);
    const uint64_t step = b->step;
    bool fine = draw(d, e) && (d->play->ring_fetch(d->ring, &got) || failed(d, e));
    b->step = step;
    fine = fine && replay_bench_draw(b, e);
    if (fine) replay_gather(b->ring, b->starts, b->length, b->batch, &b->out);
    if (fine && (memcmp(got.packed, b->out.packed, cells * REPLAY_OBS_BYTES) != 0 ||
                 memcmp(got.prev_actions, b->out.prev_actions, acts) != 0 ||
                 memcmp(got.rewards, b->out.rewards, each) != 0 ||
                 memcmp(got.continues, b->out.continues, each) != 0 ||
                 memcmp(got.is_first, b->out.is_first, each) != 0))
        fine = error_set(e, STATUS_FAILED,
                         "bench replay: a batch of the device's ring is not the CPU's after %lld "
                         "rows",
                         (long long)d->t);
    free(got.packed);
    free(got.prev_actions);
    free(got.rewards);
    free(got.continues);
    free(got.is_first);
    return fine;
}

// ---- the parts

static bool measure_ring(const struct bench_replay_opts *o, struct there *d,
                         struct bench_replay_result *r, struct error *e) {
    const struct replay_bench *b = d->b;
    const double cells = (double)b->length * b->batch;
    for (int64_t t = 0; t < b->rows; t++)
        if (!write_row(d, e)) return false;
    return replay_bench_time(r, "written from the host", o->steps, b->n_envs,
                             replay_bench_written(), write_row, wait_for_rows, d, e) &&
           replay_bench_time(r, "drawn, gathered", o->steps, cells, replay_bench_gathered(), draw,
                             wait_for_batch, d, e) &&
           compare(d, e);
}

static bool measure_unpacking(const struct bench_replay_opts *o, struct there *d, struct pool *pool,
                              struct bench_replay_result *r, struct error *e) {
    const double cells = (double)d->b->length * d->b->batch;
    struct tensor *packed;
    struct graph *g = replay_bench_unpack(d->b, &packed);
    struct executor *ex = executor_new(g, pool);
    d->program = program_new();
    program_run(d->program, ex);
    program_advance(d->program);
    program_seal(d->program, 0);
    unpack(d, e); // enqueued; the next one is captured
    const bool fine = wait_for_program(d, e) &&
                      replay_bench_time(r, "unpacked", o->steps, cells, replay_bench_unpacked(),
                                        unpack, wait_for_program, d, e);
    program_free(d->program);
    executor_free(ex);
    graph_free(g);
    return fine;
}

static bool open_ring(struct there *d, struct error *e) {
    char why[BACKEND_MESSAGE_SIZE] = "no device was chosen";
    const struct replay_bench *b = d->b;
    const struct device_ring_opts o = {.rows = b->rows,
                                       .n_envs = b->n_envs,
                                       .n_actions = REPLAY_BENCH_ACTIONS,
                                       .commit_stride = 1,
                                       .max_length = b->length,
                                       .max_batch = b->batch};
    d->play = backend_chosen() ? device_play_of(backend_chosen(), why, sizeof why) : NULL;
    if (d->play) d->ring = d->play->ring_new(&o, NULL, why, sizeof why);
    return d->ring || error_set(e, STATUS_FAILED, "bench replay: %s", why);
}

bool bench_replay_device(const struct bench_replay_opts *o, struct bench_replay_result *r,
                         struct error *e) {
    struct replay_bench b;
    struct there d = {.b = &b};
    char why[BACKEND_MESSAGE_SIZE];
    struct backend_rates rates;
    *r = (struct bench_replay_result){.n_threads = 1};
    bool fine = replay_bench_open(o, DEFAULT_ENVS, &b, e) && open_ring(&d, e);
    r->rows = b.rows;
    r->n_envs = b.n_envs;
    r->length = b.length;
    r->batch = b.batch;
    struct pool *pool = pool_new(1);
    fine = fine && measure_ring(o, &d, r, e) && measure_unpacking(o, &d, pool, r, e);
    if (fine) {
        rates = bench_probes(false);
        fine = backend_chosen()->rates(&rates, why, sizeof why) ||
               error_set(e, STATUS_FAILED, "bench replay: %s", why);
        r->memory_bytes_per_s = rates.copy_bytes_per_s;
    }
    pool_free(pool);
    if (d.play) d.play->ring_free(d.ring);
    replay_bench_close(&b);
    return fine;
}
