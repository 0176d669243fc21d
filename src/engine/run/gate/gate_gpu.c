// Gate, what only a GPU can fail: its update against the CPU's, transfers and addresses while it
// runs alone, exit_lab.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/philox.h"
#include "base/worse.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/graph/backend.h"
#include "engine/run/feed.h"
#include "engine/run/gate/gate_internal.h"

enum { ACTIONS = 8, STEPS = 3, ALONE = 8, LAB_ENV_STEPS = 20000 };
static const double apart_at_most = 1e-4;

// Three updates in small: the arithmetic of the whole, seconds on the CPU.
static const char *const sizes[] = {"algo.per_rank_batch_size=4", "algo.per_rank_sequence_length=8",
                                    "algo.horizon=5"};

struct twins {
    struct config config;
    struct pool *pool;
    struct dreamer *cpu, *device;
};

static bool twins_new(const struct gate *g, struct twins *t, bool alone, struct error *e) {
    const struct backend *gpu = backend_chosen();
    *t = (struct twins){0};
    if (!config_init(&t->config, "tiny", e)) return false;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!config_set(&t->config, sizes[i], e)) return false;
    for (int i = 0; i < g->opts->n_settings; i++)
        if (!config_set(&t->config, g->opts->settings[i], e)) return false;
    t->pool = pool_new(1);
    struct dreamer_opts o = {.config = &t->config, .n_actions = ACTIONS, .pool = t->pool};
    backend_choose(NULL);
    if (!alone) t->cpu = dreamer_new(&o);
    backend_choose(gpu);
    o.read_every = alone ? 2 * ALONE : 1;
    o.batch_on_device = alone;
    t->device = dreamer_new(&o);
    return true;
}

static void twins_free(struct twins *t) {
    dreamer_free(t->device);
    dreamer_free(t->cpu);
    pool_free(t->pool);
}

static void fill(const struct wm_batch *b, uint64_t step) {
    const uint32_t rows = (uint32_t)(b->length * b->batch);
    memset(b->prev_actions, 0, (size_t)rows * (size_t)b->n_actions * sizeof(real));
    for (uint32_t i = 0; i < rows * WM_PACKED_BYTES; i++)
        b->packed[i] = (uint8_t)(rng_u32(0, RNG_TEST, step, i / 64) >> 7);
    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t action = rng_below(1, RNG_TEST, step, i, ACTIONS);
        b->prev_actions[i * ACTIONS + action] = 1;
        b->rewards[i] = (real)action;
        b->is_first[i] = i == 9;
        b->continues[i] = i != 8;
    }
}

double gate_apart(const struct params *a, const struct params *b) {
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < a->n_flat; i++) {
        worst = worse(worst, fabs((double)a->weights[i] - (double)b->weights[i]));
        largest = fmax(largest, fabs((double)b->weights[i]));
    }
    return worst / largest;
}

void gate_check_update_on_gpu(struct gate *g) {
    struct error e = {0};
    struct twins t;
    struct dreamer_result r;
    char detail[400];
    double worst = 0;
    const int64_t t0 = clock_now_ns();
    bool fine = twins_new(g, &t, false, &e);
    for (uint64_t step = 0; fine && step < STEPS; step++) {
        struct dreamer *const both[] = {t.cpu, t.device};
        for (int i = 0; i < 2 && fine; i++) {
            fill(wm_batch(dreamer_world(both[i])), step);
            fine = dreamer_update(both[i], &r);
        }
    }
    if (fine) dreamer_sync(t.device, true);
    for (int i = 0; fine && i < DREAMER_N_SETS; i++)
        worst = worse(worst, gate_apart(dreamer_params(t.device, (enum dreamer_set)i),
                                        dreamer_params(t.cpu, (enum dreamer_set)i)));
    snprintf(
        detail, sizeof detail,
        "weights after %d updates differ from the CPU's by %.1e of the largest (bar %.0e)%s%.200s",
        STEPS, worst, apart_at_most, fine ? "" : "; ", fine ? "" : e.message);
    gate_add_result(g, "update", fine && worst <= apart_at_most,
                    (double)(clock_now_ns() - t0) * 1e-9, detail);
    twins_free(&t);
}

// Between two readings nothing may cross the bus, and no tensor may move.
void gate_check_bus(struct gate *g) {
    struct error e = {0};
    struct twins t;
    struct dreamer_result r;
    char detail[400];
    const struct backend *gpu = backend_chosen();
    const int64_t t0 = clock_now_ns();
    bool fine = twins_new(g, &t, true, &e);
    if (fine) fill(wm_batch(dreamer_world(t.device)), 0);
    if (fine) dreamer_sync(t.device, false);
    for (int i = 0; i < 2 && fine; i++) fine = dreamer_update(t.device, &r); // set up, capture
    const struct wm_tensors states = wm_tensors(dreamer_world(t.device));
    const struct backend_graph *on = executor_device(wm_executor(dreamer_world(t.device)));
    void *const before[] = {gpu->address(on, states.z), gpu->address(on, states.continues)};
    const struct backend_bus idle = gpu->bus();
    for (int i = 0; i < ALONE && fine; i++) fine = dreamer_update(t.device, &r);
    const struct backend_bus after = gpu->bus();
    const bool still = before[0] && before[0] == gpu->address(on, states.z) && before[1] &&
                       before[1] == gpu->address(on, states.continues);
    fine =
        fine && dreamer_sync(t.device, true) && wm_opt_steps(dreamer_world(t.device)) == ALONE + 2;
    snprintf(detail, sizeof detail,
             "%lld transfers, %lld bytes over the bus in %d updates (bar 0); addresses %s%s%.200s",
             (long long)(after.copies - idle.copies), (long long)(after.bytes - idle.bytes), ALONE,
             still ? "stay" : "MOVED", fine ? "" : "; not all updates ran ", fine ? "" : e.message);
    gate_add_result(g, "bus", fine && still && after.copies == idle.copies,
                    (double)(clock_now_ns() - t0) * 1e-9, detail);
    twins_free(&t);
}

// Learning is what the validation runs show; here episodes must succeed at all, with every number
// finite.
void gate_check_exit_lab(struct gate *g) {
    struct error e = {0};
    struct worker_summary s = {0};
    char detail[700];
    double best = 0;
    const int64_t t0 = clock_now_ns();
    struct run_opts opts = gate_run_options(g, "exit_lab");
    opts.env_steps = LAB_ENV_STEPS;
    struct feed *feed = feed_new(0);
    const bool ran = gate_run_once(&opts, false, feed, &s, &e);
    for (int64_t i = 0; i < feed_n_records(feed); i++) {
        const struct record *r = feed_record(feed, i);
        if (r->present & METRIC_BIT(METRIC_SUCCESS_RATE))
            best = fmax(best, (double)r->value[METRIC_SUCCESS_RATE]);
    }
    feed_free(feed);
    if (ran)
        snprintf(detail, sizeof detail,
                 "%lld updates, %lld policy steps, best success rate %.0f %% (bar above 0), %s; "
                 "machines and replay on the %s",
                 (long long)s.opt_steps, (long long)s.env_steps, 100 * best,
                 s.all_finite ? "all finite" : "NOT all finite", s.on_device ? "device" : "HOST");
    else
        snprintf(detail, sizeof detail, "%s", e.message);
    gate_add_result(g, "exit_lab",
                    ran && s.all_finite && s.on_device && s.opt_steps > 0 && best > 0,
                    (double)(clock_now_ns() - t0) * 1e-9, detail);
}
