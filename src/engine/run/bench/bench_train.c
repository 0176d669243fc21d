// Benchmark of the training update: world model and behaviour, and where their time goes.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/philox.h"
#include "base/pool.h"
#include "emu/gb_action.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/graph/program.h"
#include "engine/run/bench/bench.h"
#include "engine/run/device.h"
#include "engine/run/bench/parts.h"
#include "engine/run/bench/peak.h"

enum { WARM_UP = 3, BLOCK = 20, MAX_UPDATES = 1000000, N_ACTIONS = 8 };

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Random pictures, actions and rewards, as the peer's benchmark feeds itself.
static void fill_batch(const struct wm_batch *b) {
    uint32_t n = (uint32_t)(b->length * b->batch);
    for (uint32_t i = 0; i < n * WM_PACKED_BYTES; i += 4) {
        uint32_t word = rng_u32(0, RNG_TEST, 0, i);
        memcpy(b->packed + i, &word, 4);
    }
    memset(b->prev_actions, 0, (size_t)n * (size_t)b->n_actions * sizeof *b->prev_actions);
    for (uint32_t i = 0; i < n; i++) {
        b->prev_actions[i * (uint32_t)b->n_actions +
                        rng_below(0, RNG_TEST, 1, i, (uint32_t)b->n_actions)] = 1;
        b->rewards[i] = (real)(2 * rng_uniform(0, RNG_TEST, 2, i) - 1);
        b->is_first[i] = 0;
        b->continues[i] = 1;
    }
}

// ---- where the time goes

static void add_op(void *ctx, const struct node_time *t) {
    struct bench_train_result *r = ctx;
    int i = 0;
    while (i < r->n_ops && strcmp(r->ops[i].op, t->op) != 0) i++;
    CHECK(i < BENCH_MAX_OPS, "too many kinds of node");
    if (i == r->n_ops) r->ops[r->n_ops++] = (struct bench_op){.op = t->op};
    r->ops[i].ms += (double)t->ns * 1e-6 / r->updates;
}

static int longest_first(const void *a, const void *b) {
    double x = ((const struct bench_op *)a)->ms, y = ((const struct bench_op *)b)->ms;
    return (x < y) - (x > y);
}

// ---- beside the updates

static double emulator_step_ms(void) {
    struct bench_emu_result r;
    struct error e;
    CHECK(bench_emu(&(struct bench_emu_opts){.steps = 50}, &r, &e), "%s", e.message);
    return 1e3 * GB_FRAMES_PER_STEP / r.frames_per_second;
}

static void fill_profile(struct bench_train_result *r, struct dreamer *d, struct parts *parts,
                         struct pool *pool) {
    struct part_time times[N_PARTS];
    executor_node_times(wm_executor(dreamer_world(d)), add_op, r);
    if (!dreamer_is_joint(d))
        executor_node_times(behaviour_executor(dreamer_behaviour(d)), add_op, r);
    qsort(r->ops, (size_t)r->n_ops, sizeof *r->ops, longest_first);
    parts_take(parts, times);
    double inside = 0;
    for (int i = 0; i < N_PARTS; i++) inside += times[i].ms;
    times[PART_OPTIMISER].ms = r->full.mean_ms * r->updates - inside;
    for (int i = 0; i < N_PARTS; i++)
        r->parts[i] =
            (struct bench_part){part_info[i].name, times[i].ms / r->updates,
                                times[i].gflop / r->updates, times[i].product_ms / r->updates};
    r->n_parts = N_PARTS;
    r->emulator_ms = emulator_step_ms();
    double gflop = 0;
    for (int i = 0; i < N_PARTS; i++) gflop += r->parts[i].gflop;
    r->peak_gflops = peak_fma_at_least(pool, peak_fma_gflops(pool), gflop * 1e3 / r->full.mean_ms);
}

// ---- the updates

static struct bench_timing summary(double *ms, int n) {
    struct bench_timing t = {0};
    for (int i = 0; i < n; i++) t.mean_ms += ms[i] / n;
    qsort(ms, (size_t)n, sizeof *ms, compare_doubles);
    t.median_ms = ms[n / 2];
    t.min_ms = ms[0];
    return t;
}

// A joint update has no halves: all of it in the first one's place.
static bool timed_joint_update(struct dreamer *d, double *all) {
    struct dreamer_result r;
    const int64_t t0 = clock_now_ns();
    const bool fine = dreamer_update(d, &r);
    *all = (double)(clock_now_ns() - t0) * 1e-6;
    return fine;
}

// Time of one update's halves, in ms; the same calls in the same order as dreamer_update's.
static bool timed_update(struct dreamer *d, double *world, double *behaviour) {
    *behaviour = 0;
    if (dreamer_is_joint(d)) return timed_joint_update(d, world);
    struct wm_result wr;
    struct behaviour_result br;
    struct world_model *wm = dreamer_world(d);
    const int64_t step = wm_opt_steps(wm), t0 = clock_now_ns();
    if (!wm_update(wm, &wr)) return false;
    const int64_t t1 = clock_now_ns();
    struct wm_states states = wm_states(wm);
    struct behaviour_start start = {states.z, states.h, wm_batch(wm)->continues};
    if (!behaviour_update(dreamer_behaviour(d), &start, step, &br)) return false;
    *world = (double)(t1 - t0) * 1e-6;
    *behaviour = (double)(clock_now_ns() - t1) * 1e-6;
    return true;
}

// On a device: what a block of updates takes from its first launch to its one reading, shared out.
static bool run_blocks(struct dreamer *d, struct bench_train_result *r, int block) {
    const int n = (r->updates + block - 1) / block;
    double *ms = mem_alloc((size_t)n * sizeof *ms);
    struct dreamer_result result;
    bool fine = true;
    r->updates = n * block;
    for (int i = -1; i < n && fine; i++) { // the first one captures
        const int64_t t0 = clock_now_ns();
        for (int k = 0; k < block && fine; k++) fine = dreamer_update(d, &result);
        if (i >= 0) ms[i] = (double)(clock_now_ns() - t0) * 1e-6 / block;
    }
    if (fine) r->full = summary(ms, n);
    free(ms);
    return fine;
}

// *parts: the clocks of the parts, where a profile is wanted; else NULL.
static bool run_updates(struct dreamer *d, struct bench_train_result *r, bool with_profile,
                        struct parts **parts) {
    const int n = r->updates;
    double *ms = mem_alloc(3 * (size_t)n * sizeof *ms), ignored[2];
    bool fine = true;
    for (int i = -WARM_UP; i < n && fine; i++) {
        if (i == 0 && with_profile)
            *parts =
                parts_new(wm_executor(dreamer_world(d)), behaviour_executor(dreamer_behaviour(d)));
        fine = timed_update(d, i < 0 ? &ignored[0] : &ms[i], i < 0 ? &ignored[1] : &ms[n + i]);
        if (fine && i >= 0) ms[2 * n + i] = ms[i] + ms[n + i];
    }
    if (fine) {
        if (!dreamer_is_joint(d)) {
            r->world_model = summary(ms, n);
            r->behaviour = summary(ms + n, n);
        }
        r->full = summary(ms + 2 * n, n);
    }
    free(ms);
    return fine;
}

bool bench_train(const struct bench_train_opts *o, struct bench_train_result *r, struct error *e) {
    struct config config;
    if (!bench_check_limit("--threads", o->n_threads, BENCH_MAX_THREADS, e) ||
        !bench_check_limit("--updates", o->updates, MAX_UPDATES, e))
        return false;
    if (!config_init(&config, o->preset ? o->preset : "tiny", e)) return false;
    for (int i = 0; i < o->n_settings; i++)
        if (!config_set(&config, o->settings[i], e)) return false;
    if (!config_check(&config, e)) return false;
    struct device device;
    if (!device_choose(o->device ? o->device : "cpu", &device, e) ||
        !device_precision(&device, config.allow_tf32, e))
        return false;
    if (o->kernels && !backend_chosen())
        return error_set(e, STATUS_USAGE, "--kernels is for --device cuda; the CPU has --profile");
    *r = (struct bench_train_result){.updates = o->updates > 0 ? (int)o->updates : 40,
                                     .n_threads =
                                         o->n_threads > 0 ? (int)o->n_threads : pool_usable_cpus()};
    const int block = o->quick ? 2 : BLOCK;
    struct pool *pool = pool_new(r->n_threads);
    const int64_t t0 = clock_now_ns();
    struct dreamer *d = dreamer_new(&(struct dreamer_opts){.config = &config,
                                                           .n_actions = N_ACTIONS,
                                                           .pool = pool,
                                                           .read_every = block,
                                                           .batch_on_device = true});
    r->build_ms = (double)(clock_now_ns() - t0) * 1e-6;
    r->n_weights = dreamer_n_weights(d);
    r->n_nodes_slab_bytes = (int64_t)dreamer_slab_bytes(d);
    fill_batch(wm_batch(dreamer_world(d)));
    struct parts *parts = NULL;
    dreamer_sync(d, false); // the batch
    bool fine = dreamer_on_device(d) ? run_blocks(d, r, block)
                                     : run_updates(d, r, o->profile || o->shapes, &parts);
    if (!fine) error_set(e, STATUS_FAILED, "bench train: an update was not finite");
    if (fine && dreamer_on_device(d)) r->launches = program_graph_nodes(dreamer_program(d));
    if (fine && (o->kernels || (o->shapes && dreamer_on_device(d))))
        fine = bench_kernels(d, config.allow_tf32, o->quick, &r->kernels, e);
    if (fine && parts) fill_profile(r, d, parts, pool);
    if (fine && parts) fine = bench_replay_batch(&config, &r->replay_ms, e);
    if (fine && parts && o->shapes)
        bench_shapes(d, r->updates, r->peak_gflops, peak_memory_gbytes(pool), &r->kernels);
    parts_free(parts);
    dreamer_free(d);
    pool_free(pool);
    return fine;
}
