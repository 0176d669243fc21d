// Benchmark of the replay ring: rows written, drawn, gathered and unpacked a second.
#include "engine/run/bench/bench_replay.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/philox.h"
#include "base/pool.h"
#include "engine/algo/ppo/ppo_stats.h"
#include "engine/run/bench/peak.h"

enum { REPETITIONS = 5, PICTURES = 64, EPISODE = 256, PIXELS = 72 * 80 };
enum { MAX_RING_ROWS = 1 << 17 }; // of all environments, 190 MB: no cache holds them
static const double wanted_seconds = 0.4;

// Of a row beside its picture: action, episode and reward in the ring, three flags.
static const double row_bytes = 3 * 4 + 3;
// In a batch: the action as one-hot, reward, continue, is_first.
static const double batch_bytes = (REPLAY_BENCH_ACTIONS + 3) * sizeof(real);

double replay_bench_written(void) { return 2 * (REPLAY_OBS_BYTES + row_bytes); }
double replay_bench_gathered(void) { return 2 * REPLAY_OBS_BYTES + row_bytes + batch_bytes; }
double replay_bench_unpacked(void) { return REPLAY_OBS_BYTES + PIXELS * (double)sizeof(real); }

// Of b's config.
static bool set_sizes(struct replay_bench *b, int n_envs, struct error *e) {
    const struct config *c = &b->config;
    b->length = (int)c->sequence_length;
    b->batch = (int)c->batch_size;
    b->n_envs = n_envs;
    b->n_terminal = config_terminal_sequences(c);
    b->rows = c->buffer_size < MAX_RING_ROWS ? c->buffer_size : MAX_RING_ROWS;
    if ((int64_t)b->n_envs * 2 * b->length > MAX_RING_ROWS)
        return error_set(e, STATUS_USAGE,
                         "bench replay: %d environments with sequences of %d rows: its ring of %d "
                         "rows has room for %d",
                         b->n_envs, b->length, MAX_RING_ROWS, MAX_RING_ROWS / (2 * b->length));
    b->rows /= b->n_envs;
    if (b->rows < 2 * b->length) b->rows = 2 * b->length;
    return true;
}

static bool read_sizes(const struct bench_replay_opts *o, int n_envs, struct replay_bench *b,
                       struct error *e) {
    struct config *c = &b->config;
    bool has_envs = false;
    if (!config_init(c, o->preset ? o->preset : "tiny", e)) return false;
    for (int i = 0; i < o->n_settings; i++) {
        if (!config_set(c, o->settings[i], e)) return false;
        has_envs |= strncmp(o->settings[i], "env.num_envs=", 13) == 0;
    }
    if (o->n_envs && has_envs)
        return error_set(e, STATUS_USAGE, "--envs and env.num_envs are the same: give one");
    if (!config_check(c, e) || !bench_check_limit("--envs", o->n_envs, BENCH_MAX_ENVS, e))
        return false;
    if (o->n_envs) n_envs = (int)o->n_envs;
    return set_sizes(b, has_envs ? (int)c->num_envs : n_envs, e);
}

static void get_batch(struct replay_bench *b) {
    const size_t cells = (size_t)b->length * (size_t)b->batch, n = (size_t)b->n_envs;
    b->starts = mem_alloc((size_t)b->batch * sizeof *b->starts);
    b->out.packed = mem_alloc(cells * REPLAY_OBS_BYTES);
    b->out.prev_actions = mem_alloc(cells * REPLAY_BENCH_ACTIONS * sizeof(real));
    b->out.rewards = mem_alloc(cells * sizeof(real));
    b->out.continues = mem_alloc(cells * sizeof(real));
    b->out.is_first = mem_alloc(cells * sizeof(real));
    b->obs = mem_alloc(n * REPLAY_OBS_BYTES);
    b->reward = mem_alloc(n * sizeof *b->reward);
    b->first = mem_alloc(n);
    b->terminated = mem_alloc(n);
    b->never = mem_alloc(n);
    b->actions = mem_alloc(n * sizeof *b->actions);
    b->pictures = mem_alloc((size_t)PICTURES * REPLAY_OBS_BYTES);
    for (uint32_t i = 0; i < PICTURES * REPLAY_OBS_BYTES; i += 4) {
        const uint32_t word = rng_u32(1, RNG_TEST, 0, i);
        memcpy(b->pictures + i, &word, 4);
    }
}

static bool fill_ring(struct replay_bench *b, struct error *e) {
    const struct replay_opts ring = {
        .rows = b->rows, .n_envs = b->n_envs, .n_actions = REPLAY_BENCH_ACTIONS};
    if (!(b->ring = replay_new(&ring, e))) return false;
    get_batch(b);
    for (int64_t t = 0; t < b->rows; t++) replay_bench_write(b);
    return true;
}

bool replay_bench_open(const struct bench_replay_opts *o, int n_envs, struct replay_bench *b,
                       struct error *e) {
    *b = (struct replay_bench){0};
    return read_sizes(o, n_envs, b, e) && fill_ring(b, e);
}

void replay_bench_close(struct replay_bench *b) {
    replay_free(b->ring);
    void *const all[] = {b->pictures,    b->starts,        b->out.packed,   b->out.prev_actions,
                         b->out.rewards, b->out.continues, b->out.is_first, b->obs,
                         b->reward,      b->first,         b->terminated,   b->never,
                         b->actions};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static const uint8_t *picture_of(const struct replay_bench *b, int64_t t, int n) {
    return b->pictures + (size_t)((t * 7 + n) % PICTURES) * REPLAY_OBS_BYTES;
}

static bool begins(int64_t t) { return t % EPISODE == 0; }
static bool ends(int64_t t) { return t % EPISODE == EPISODE - 1; }
static int action_of(int64_t t, int n) { return (int)((t + n) % REPLAY_BENCH_ACTIONS); }

struct device_row replay_bench_row(struct replay_bench *b, int64_t t) {
    for (int n = 0; n < b->n_envs; n++) {
        memcpy(b->obs + (size_t)n * REPLAY_OBS_BYTES, picture_of(b, t, n), REPLAY_OBS_BYTES);
        b->reward[n] = begins(t) ? 0 : 0.5f;
        b->first[n] = begins(t);
        b->terminated[n] = ends(t);
        b->actions[n] = action_of(t, n);
    }
    return (struct device_row){b->obs, b->reward, b->first, b->terminated, b->never};
}

void replay_bench_write(struct replay_bench *b) {
    const int64_t t = replay_total(b->ring);
    for (int n = 0; n < b->n_envs; n++) {
        memcpy(replay_slot(b->ring, n), picture_of(b, t, n), REPLAY_OBS_BYTES);
        replay_write_arrival(b->ring, n, begins(t) ? 0 : 0.5f, begins(t), ends(t), false);
        replay_write_action(b->ring, n, ends(t) ? REPLAY_NO_ACTION : action_of(t, n));
    }
    replay_commit(b->ring);
}

bool replay_bench_draw(struct replay_bench *b, struct error *e) {
    return replay_draw(b->ring, replay_window(b->ring), 1, b->step++, b->length, b->batch,
                       b->n_terminal, b->starts, e);
}

struct graph *replay_bench_unpack(const struct replay_bench *b, struct tensor **packed) {
    const int64_t cells = (int64_t)b->length * b->batch;
    struct graph *g = graph_new();
    *packed = g_input(g, "packed", DTYPE_U8, 2, (int64_t[]){cells, REPLAY_OBS_BYTES});
    graph_keep(g, g_unpack2(g, *packed, 72, 80));
    memcpy((*packed)->data, b->out.packed, (size_t)cells * REPLAY_OBS_BYTES);
    graph_plan(g);
    return g;
}

// ---- measuring

static bool take_turns(int64_t n, replay_turn *turn, replay_turn *wait, void *ctx, double *seconds,
                       struct error *e) {
    const int64_t t0 = clock_now_ns();
    for (int64_t i = 0; i < n; i++)
        if (!turn(ctx, e)) return false;
    if (wait && !wait(ctx, e)) return false;
    *seconds = (double)(clock_now_ns() - t0) * 1e-9;
    return true;
}

bool replay_bench_time(struct bench_replay_result *r, const char *name, int64_t turns, double rows,
                       double bytes, replay_turn *turn, replay_turn *wait, void *ctx,
                       struct error *e) {
    double seconds[REPETITIONS], warm = 0;
    int64_t each = turns / REPETITIONS, n = 1;
    if (!take_turns(1, turn, wait, ctx, &warm, e)) return false;
    // Twice as many until the clock says how long one takes.
    for (; !turns && warm < 0.01 && n < 1 << 20; n *= 2)
        if (!take_turns(n, turn, wait, ctx, &warm, e)) return false;
    if (!turns && n > 1) n /= 2;
    if (!turns) each = (int64_t)(wanted_seconds / REPETITIONS / (warm / (double)n));
    if (each < 1) each = 1;
    for (int i = 0; i < REPETITIONS; i++)
        if (!take_turns(each, turn, wait, ctx, &seconds[i], e)) return false;
    const double median = stats_lower_median(seconds, REPETITIONS);
    r->part[r->n_parts++] = (struct bench_replay_part){name, rows * (double)each / median,
                                                       rows * bytes * (double)each / median};
    return true;
}

struct turns {
    struct replay_bench *b;
    struct executor *unpack;
};

static bool write_row(void *ctx, struct error *e) {
    (void)e;
    replay_bench_write(((struct turns *)ctx)->b);
    return true;
}
static bool draw_batch(void *ctx, struct error *e) {
    return replay_bench_draw(((struct turns *)ctx)->b, e);
}
static bool gather_batch(void *ctx, struct error *e) {
    struct replay_bench *b = ((struct turns *)ctx)->b;
    if (!replay_bench_draw(b, e)) return false;
    replay_gather(b->ring, b->starts, b->length, b->batch, &b->out);
    return true;
}
static bool unpack_batch(void *ctx, struct error *e) {
    (void)e;
    executor_run(((struct turns *)ctx)->unpack);
    return true;
}

static double cells_of(const struct replay_bench *b) { return (double)b->length * b->batch; }

static bool measure_batches(const struct bench_replay_opts *o, struct turns *t,
                            struct bench_replay_result *r, struct error *e) {
    return replay_bench_time(r, "drawn, gathered", o->steps, cells_of(t->b),
                             replay_bench_gathered(), gather_batch, NULL, t, e);
}

static bool measure(const struct bench_replay_opts *o, struct turns *t,
                    struct bench_replay_result *r, struct error *e) {
    const struct replay_bench *b = t->b;
    const double cells = cells_of(b);
    return replay_bench_time(r, "written", o->steps, b->n_envs, replay_bench_written(), write_row,
                             NULL, t, e) &&
           replay_bench_time(r, "drawn", o->steps, cells, 0, draw_batch, NULL, t, e) &&
           measure_batches(o, t, r, e) &&
           replay_bench_time(r, "unpacked", o->steps, cells, replay_bench_unpacked(), unpack_batch,
                             NULL, t, e);
}

bool bench_replay(const struct bench_replay_opts *o, struct bench_replay_result *r,
                  struct error *e) {
    *r = (struct bench_replay_result){0};
    struct replay_bench b = {0};
    if (!bench_check_limit("--threads", o->n_threads, BENCH_MAX_THREADS, e)) return false;
    bool fine = replay_bench_open(o, 1, &b, e);
    if (fine) {
        r->n_threads = o->n_threads > 0 ? (int)o->n_threads : pool_usable_cpus();
        r->rows = b.rows;
        r->n_envs = b.n_envs;
        r->length = b.length;
        r->batch = b.batch;
        struct pool *pool = pool_new(r->n_threads);
        struct tensor *packed;
        struct graph *g = replay_bench_unpack(&b, &packed);
        struct turns t = {&b, executor_new(g, pool)};
        r->memory_bytes_per_s = 1e9 * peak_memory_gbytes(pool);
        fine = measure(o, &t, r, e);
        executor_free(t.unpack);
        graph_free(g);
        pool_free(pool);
    }
    replay_bench_close(&b);
    return fine;
}

bool bench_replay_batch(const struct config *config, double *ms, struct error *e) {
    struct replay_bench b = {.config = *config};
    struct turns t = {.b = &b};
    struct bench_replay_result r = {0};
    const bool fine = set_sizes(&b, 1, e) && fill_ring(&b, e) &&
                      measure_batches(&(struct bench_replay_opts){0}, &t, &r, e);
    if (fine) *ms = 1e3 * cells_of(&b) / r.part[0].rows_per_second;
    replay_bench_close(&b);
    return fine;
}
