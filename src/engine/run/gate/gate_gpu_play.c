// Gate, machines and replay on a GPU: their rows against the CPU's while both streams work, a loop
// of acting and learning without transfers, the time of a batch.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/philox.h"
#include "engine/algo/config.h"
#include "engine/data/replay.h"
#include "engine/env/device_env.h"
#include "engine/env/gameboy.h"
#include "engine/env/task.h"
#include "engine/graph/backend.h"
#include "engine/graph/program.h"
#include "engine/run/feed.h"
#include "engine/run/gate/gate_internal.h"

static double seconds_since(int64_t t0) { return (double)(clock_now_ns() - t0) * 1e-9; }

// ---- rows: the same ticks on both sides, batches gathered while the machines play on

enum { ENVS = 2, ROWS = 24, GUARD = 4, LENGTH = 5, BATCH = 6, CELLS = LENGTH * BATCH, TICKS = 70 };

struct batch {
    uint8_t packed[CELLS][REPLAY_OBS_BYTES];
    real prev_actions[CELLS][DEVICE_MAX_ACTIONS], rewards[CELLS], continues[CELLS], is_first[CELLS];
};

struct both {
    struct task task;
    struct env *env;
    struct replay *replay;
    const struct device_play *play;
    struct device_env *machines;
    struct device_ring *ring;
    uint8_t ended[ENVS];
    struct batch expected, got;
    const void *arrays[N_RING_ARRAYS];
    int n_batches;
};

static bool both_open(struct both *b, struct error *e) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    struct env_gameboy_opts opts = {.rom_name = "exit_lab", .n_envs = ENVS};
    if (!task_open_builtin("exit_lab", "pokemonred_puffer_v1", &b->task, e)) return false;
    b->task.rules.max_steps = 11;
    task_env_opts(&b->task, &opts);
    if (!(b->env = env_gameboy_new(&opts, e))) return false;
    const struct replay_opts host = {
        .rows = ROWS, .n_envs = ENVS, .n_actions = b->env->n_actions, .guard = GUARD};
    const struct device_ring_opts there = {.rows = ROWS,
                                           .n_envs = ENVS,
                                           .n_actions = b->env->n_actions,
                                           .guard = GUARD,
                                           .commit_stride = 1,
                                           .max_length = LENGTH,
                                           .max_batch = BATCH};
    if (!(b->replay = replay_new(&host, e))) return false;
    if ((b->play = device_play_of(backend_chosen(), why, sizeof why)) &&
        (b->machines = device_env_new(backend_chosen(), b->env, why, sizeof why)) &&
        (b->ring = b->play->ring_new(&there, device_env_machines(b->machines), why, sizeof why))) {
        b->play->ring_arrays(b->ring, b->arrays);
        memset(b->ended, 1, sizeof b->ended);
        return true;
    }
    return error_set(e, STATUS_FAILED, "%s", why);
}

static void both_close(struct both *b) {
    if (b->play) b->play->ring_free(b->ring);
    device_env_free(b->machines);
    replay_free(b->replay);
    env_free(b->env);
    task_close(&b->task);
}

static void tick_on_host(struct both *b, const int32_t *before, const int32_t *actions) {
    uint8_t *obs[ENVS], reset[ENVS], mask[ENVS];
    struct env_step_result out[ENVS] = {{0}};
    for (int n = 0; n < ENVS; n++) {
        obs[n] = replay_slot(b->replay, n);
        reset[n] = b->ended[n];
        mask[n] = !reset[n];
    }
    env_reset(b->env, reset, obs);
    env_step(b->env, mask, before, obs, out);
    for (int n = 0; n < ENVS; n++) {
        b->ended[n] = mask[n] && (out[n].terminated || out[n].truncated);
        replay_write_arrival(b->replay, n, mask[n] ? out[n].reward : 0, reset[n],
                             mask[n] && out[n].terminated, mask[n] && out[n].truncated);
        replay_write_action(b->replay, n, b->ended[n] ? REPLAY_NO_ACTION : actions[n]);
    }
    replay_commit(b->replay);
}

static bool device_failed(const struct both *b, struct error *e) {
    return error_set(e, STATUS_FAILED, "%s", b->play->ring_message(b->ring));
}

static bool tick(struct both *b, int64_t t, struct error *e) {
    int32_t before[ENVS], actions[ENVS];
    for (uint32_t n = 0; n < ENVS; n++) {
        const uint32_t all = (uint32_t)b->env->n_actions;
        before[n] = t ? (int32_t)rng_below(3, RNG_TEST, (uint64_t)t - 1, n, all) : 0;
        actions[n] = (int32_t)rng_below(3, RNG_TEST, (uint64_t)t, n, all);
    }
    tick_on_host(b, before, actions);
    return (b->play->ring_tick(b->ring) && b->play->ring_act(b->ring, actions, false) &&
            b->play->ring_commit(b->ring)) ||
           device_failed(b, e);
}

// The device's batch is only enqueued.
static bool draw(struct both *b, uint64_t step, struct error *e) {
    const struct device_sample s = {
        .seed = 9, .step = step, .length = LENGTH, .batch = BATCH, .n_terminal = 2};
    const struct replay_batch out = {.packed = b->expected.packed[0],
                                     .prev_actions = b->expected.prev_actions[0],
                                     .rewards = b->expected.rewards,
                                     .continues = b->expected.continues,
                                     .is_first = b->expected.is_first};
    struct replay_start starts[BATCH];
    if (!replay_draw(b->replay, replay_window(b->replay), s.seed, step, LENGTH, BATCH, s.n_terminal,
                     starts, e))
        return false;
    replay_gather(b->replay, starts, LENGTH, BATCH, &out);
    return b->play->ring_sample(b->ring, &s) || device_failed(b, e);
}

static bool compare(struct both *b, struct error *e) {
    const struct device_batch out = {.packed = b->got.packed[0],
                                     .prev_actions = b->got.prev_actions[0],
                                     .rewards = b->got.rewards,
                                     .continues = b->got.continues,
                                     .is_first = b->got.is_first};
    if (!b->play->ring_fetch(b->ring, &out)) return device_failed(b, e);
    b->n_batches++;
    return memcmp(&b->got, &b->expected, sizeof b->got) == 0 ||
           error_set(e, STATUS_FAILED, "batch %d differs from the CPU's", b->n_batches);
}

static bool stays(const struct both *b, struct error *e) {
    const void *now[N_RING_ARRAYS];
    b->play->ring_arrays(b->ring, now);
    return memcmp(now, b->arrays, sizeof now) == 0 ||
           error_set(e, STATUS_FAILED, "the ring's addresses moved");
}

void gate_check_rows(struct gate *g) {
    struct error e = {0};
    struct both *b = mem_alloc(sizeof *b);
    char detail[400];
    const int64_t t0 = clock_now_ns();
    bool fine = both_open(b, &e);
    // A batch is drawn, the machines play GUARD rows on, then it is looked at.
    for (int64_t t = 0; fine && t < TICKS; t++) {
        fine = tick(b, t, &e);
        if (fine && t > 2 * LENGTH && t % (GUARD + 1) == 0) fine = draw(b, (uint64_t)t, &e);
        if (fine && t > 4 * LENGTH && t % (GUARD + 1) == GUARD) fine = compare(b, &e);
    }
    fine = fine && stays(b, &e);
    snprintf(detail, sizeof detail,
             "%d batches gathered while %d machines play %d rows over a ring of %d: %s%.200s",
             b->n_batches, ENVS, TICKS, ROWS, fine ? "the CPU's to the byte, addresses stay" : "",
             fine ? "" : e.message);
    gate_add_result(g, "rows", fine && b->n_batches > 5, seconds_since(t0), detail);
    both_close(b);
    free(b);
}

// ---- the loop: a longer run sends no more than a shorter one

enum { SHORT = 2, LONG = 6 };

static bool run_quiet(struct gate *g, int64_t updates, struct worker_summary *s,
                      struct backend_bus *sent, struct error *e) {
    enum { N_QUIET = 4, MOST = 64 };
    const char *settings[MOST] = {"metric.log_every=1000000", "env.num_envs=2",
                                  "algo.replay_ratio=0.5"};
    char starts[64];
    struct config cfg;
    struct run_opts opts = gate_run_options(g, "exit_lab");
    if (opts.n_settings > MOST - N_QUIET)
        return error_set(e, STATUS_USAGE, "%d settings", opts.n_settings);
    if (!config_init(&cfg, "tiny", e)) return false;
    for (int i = 0; i < opts.n_settings; i++) {
        if (!config_set(&cfg, opts.settings[i], e)) return false;
        settings[N_QUIET + i] = opts.settings[i];
    }
    snprintf(starts, sizeof starts, "algo.learning_starts=%lld",
             2 * ((long long)cfg.sequence_length + 8));
    settings[N_QUIET - 1] = starts;
    opts.settings = settings;
    opts.n_settings += N_QUIET;
    opts.updates = updates;
    struct feed *feed = feed_new(0);
    const struct backend_bus before = backend_chosen()->bus();
    struct worker *w = worker_new(&opts, feed, e);
    const bool fine = w && worker_run(w, e) == STATUS_OK;
    const struct backend_bus after = backend_chosen()->bus();
    if (w) worker_summary(w, s); // looks at the ring's rows
    worker_free(w);
    feed_free(feed);
    *sent = (struct backend_bus){after.copies - before.copies, after.bytes - before.bytes};
    return fine;
}

void gate_check_loop(struct gate *g) {
    struct error e = {0};
    struct worker_summary s = {0};
    struct backend_bus few = {0}, many = {0};
    char detail[400];
    const int64_t t0 = clock_now_ns();
    const bool ran = run_quiet(g, SHORT, &s, &few, &e) && run_quiet(g, LONG, &s, &many, &e);
    const bool same = ran && few.copies == many.copies && few.bytes == many.bytes;
    if (ran)
        snprintf(detail, sizeof detail,
                 "%d more updates and their rollouts: %lld transfers, %lld bytes over the bus "
                 "(bar 0); machines and replay on the %s",
                 LONG - SHORT, (long long)(many.copies - few.copies),
                 (long long)(many.bytes - few.bytes), s.on_device ? "device" : "HOST");
    else
        snprintf(detail, sizeof detail, "%.300s", e.message);
    gate_add_result(g, "loop", same && s.on_device, seconds_since(t0), detail);
}

// ---- a batch's time: drawn, gathered, unpacked

static const double most_times_floor = 4, launches_ms = 0.03;

struct timed { // a graph in a program of its own
    struct graph *graph;
    struct executor *ex;
    struct program *program;
};

static void timed_close(struct timed *t) {
    program_free(t->program);
    executor_free(t->ex);
    graph_free(t->graph);
}

// The best of five, after one that is enqueued and one that is captured.
static double best_ms(struct program *p) {
    struct backend_progress at;
    double best = 0;
    for (int i = 0; i < 7; i++) {
        program_launch(p);
        program_read(p, &at);
        const double ms = program_ms(p);
        if (i >= 2 && (best == 0 || ms < best)) best = ms;
    }
    return best;
}

// Bytes of a copy (read and written) per millisecond.
static double copied_bytes_per_ms(struct pool *pool, int64_t n) {
    struct timed t = {.graph = graph_new()};
    struct tensor *from = g_input(t.graph, "from", DTYPE_REAL, 1, &n),
                  *to = g_input(t.graph, "to", DTYPE_REAL, 1, &n);
    graph_keep(t.graph, g_affine(t.graph, g_slice(t.graph, from, 0, 1), 1, 0));
    graph_keep(t.graph, g_affine(t.graph, g_slice(t.graph, to, 0, 1), 1, 0));
    memset(from->data, 0, (size_t)n * sizeof(real));
    memset(to->data, 0, (size_t)n * sizeof(real));
    graph_plan(t.graph);
    t.ex = executor_new(t.graph, pool);
    t.program = program_new();
    program_copy(t.program, t.ex, to, t.ex, from);
    program_advance(t.program);
    program_seal(t.program, 0);
    const double ms = best_ms(t.program);
    timed_close(&t);
    return 2 * (double)n * sizeof(real) / ms;
}

static bool batch_ms(struct both *b, struct pool *pool, int length, int batch, double *ms,
                     struct error *e) {
    const int64_t rows = (int64_t)length * batch;
    struct timed t = {.graph = graph_new()};
    struct tensor *packed =
        g_input(t.graph, "packed", DTYPE_U8, 2, (int64_t[]){rows, REPLAY_OBS_BYTES});
    graph_keep(t.graph, g_unpack2(t.graph, packed, 72, 80));
    memset(packed->data, 0, (size_t)rows * REPLAY_OBS_BYTES);
    graph_plan(t.graph);
    t.ex = executor_new(t.graph, pool);
    t.program = program_new();
    program_sample(t.program, b->ring, &(struct program_sample){5, length, batch, 0});
    program_run(t.program, t.ex);
    program_advance(t.program);
    const struct device_batch_at at = {
        .packed = backend_chosen()->address(executor_device(t.ex), packed)};
    int64_t first, end;
    b->play->ring_window(b->ring, &first, &end);
    b->play->ring_aim(b->ring, first, end);
    const bool fine = b->play->ring_batch_into(b->ring, &at, length, batch);
    if (fine) {
        program_seal(t.program, 0);
        *ms = best_ms(t.program);
    }
    timed_close(&t);
    return fine || device_failed(b, e);
}

void gate_check_batch_time(struct gate *g, double times_floor) {
    struct error e = {0};
    struct both *b = mem_alloc(sizeof *b);
    struct pool *pool = pool_new(1);
    char detail[400];
    const int64_t t0 = clock_now_ns();
    const bool real_gpu = strcmp(backend_chosen()->name, "cuda") == 0;
    const bool judged = real_gpu || times_floor > 0;
    const int batch = real_gpu ? 512 : 2, length = LENGTH;
    double ms = 0, bandwidth = 0;
    bool fine = both_open(b, &e);
    for (int64_t t = 0; fine && t < 2 * LENGTH; t++) fine = tick(b, t, &e);
    if (fine) bandwidth = copied_bytes_per_ms(pool, real_gpu ? 1 << 26 : 1 << 12);
    fine = fine && batch_ms(b, pool, length, batch, &ms, &e);
    // Rows are read and written once, read again and unpacked to floats.
    const double bytes = (double)(length * batch) * (3 * REPLAY_OBS_BYTES + 4 * 72 * 80);
    const double floor_ms = bandwidth > 0 ? bytes / bandwidth : 0;
    const double most = (times_floor > 0 ? times_floor : most_times_floor) * floor_ms +
                        (times_floor > 0 ? 0 : launches_ms);
    snprintf(detail, sizeof detail,
             "%d rows drawn, gathered, unpacked in %.4f ms, floor %.4f ms at %.0f GB/s measured "
             "(bar %.4f%s)%s%.200s",
             length * batch, ms, floor_ms, bandwidth * 1e-6, most,
             judged ? "" : ", not judged here", fine ? "" : "; ", fine ? "" : e.message);
    gate_add_result(g, "batch_time", fine && ms > 0 && floor_ms > 0 && (!judged || ms <= most),
                    seconds_since(t0), detail);
    both_close(b);
    pool_free(pool);
    free(b);
}
