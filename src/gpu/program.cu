// Programs: lists of commands that run without the host, captured once and replayed.
#include "gpu/program.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/noise.h"
#include "gpu/optim.h"
#include "gpu/placed.h"
#include "gpu/ranks.h"
#include "gpu/ring.h"
#include "gpu/watch.h"
#include "gpu/rollout.h"

enum { N_SLOTS = 2, SEEN = 2, ALIGNMENT = 256 };

struct placed_command {
    struct backend_command c;
    struct device_set *set, *source;
    buf<double> scalars;                  // of the set's norm; FINITE: slices
    buf<const struct optim_piece> pieces; // LAPROP
    buf<double> sums;
    void *to, *from;
    size_t bytes, offset; // offset: in the staging memory, in the report
};

// Memory of the host and of the device for values on their way.
struct channel {
    size_t bytes;
    char *device;
    char *host[N_SLOTS];
    struct gpu_event *taken[N_SLOTS]; // what was in it has left
};

struct backend_program {
    struct gpu gpu;
    struct placed_command *list;
    int n;
    struct backend_graph **graphs;
    int n_graphs;
    struct device_set **sets;
    int n_sets;
    buf<int64_t> state;
    buf<double> seen, rate; // rate [1]: what learning rates are multiplied by
    struct channel feed, report;
    struct gpu_capture *capture;
    struct gpu_timer *timer;
    int64_t launches;
    bool anew; // the next launch begins everything (program_seek)
};

static buf<const int64_t> state_of(const struct backend_program *p) {
    return buf_make((const int64_t *)p->state.at, p->state.n);
}

// ---- commands

typedef void command_run(struct backend_program *p, struct placed_command *c, int place);

static void run_copy_from_feed(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    guarded_copy(&p->gpu, state_of(p), p->feed.device + c->offset, c->to, c->bytes);
}

static void run_fill(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    guarded_fill(&p->gpu, state_of(p), (real)c->c.value,
                 buf_make((real *)c->to + c->c.first, c->c.count));
}

static struct noise_rows rows_of(const struct backend_command *c) {
    const struct noise_rows r = {c->first, c->count, c->every, c->to->n_elements / c->to->shape[0]};
    return r;
}

static void run_noise(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    noise_uniform(&p->gpu, state_of(p), c->c.seed, c->c.purpose, rows_of(&c->c),
                  buf_make((real *)c->to, c->c.to->n_elements));
}

static void run_normal(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    noise_normal(&p->gpu, state_of(p), c->c.seed, c->c.purpose, rows_of(&c->c),
                 buf_make((real *)c->to, c->c.to->n_elements));
}

static void run_graph(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    p->gpu.ranks = c->c.ranks;
    if (placed_clear(c->c.graph, &p->gpu)) placed_run(c->c.graph, &p->gpu);
    p->gpu.ranks = 0;
}

static void run_copy(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    guarded_copy(&p->gpu, state_of(p), c->from, c->to, c->bytes);
}

static void run_norm(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    optim_norm(&p->gpu, buf_make((const real *)c->set->grads, c->set->params->n_flat),
               c->c.max_norm, c->scalars);
}

static void run_check(struct backend_program *p, struct placed_command *c, int place) {
    program_check(&p->gpu, place, buf_make((const real *)c->from, c->from ? 1 : 0),
                  buf_make((const double *)c->scalars.at, c->scalars.n ? 1 : 0), p->state, p->seen);
}

static void run_adam(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    const int64_t n = c->set->params->n_flat;
    const struct optim_adam o = {c->c.learning_rate,
                                 c->c.beta1,
                                 c->c.beta2,
                                 c->c.eps,
                                 1,
                                 1,
                                 buf_make((const double *)p->rate.at, p->rate.n)};
    optim_adam(&p->gpu, &o, buf_make((const real *)c->set->grads, n), buf_make(c->set->moment1, n),
               buf_make(c->set->moment2, n), buf_make(c->set->weights, n), c->scalars, state_of(p));
}

static void run_laprop(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    const int64_t n = c->set->params->n_flat;
    const struct optim_laprop o = {c->c.learning_rate, c->c.beta1, c->c.beta2,
                                   c->c.eps,           c->c.agc,   c->c.warmup};
    optim_laprop(&p->gpu, &o, c->pieces, c->sums, buf_make((const real *)c->set->grads, n),
                 buf_make(c->set->moment1, n), buf_make(c->set->moment2, n),
                 buf_make(c->set->weights, n), c->scalars, state_of(p));
}

static void run_track(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    const int64_t n = c->set->params->n_flat;
    optim_track(&p->gpu, buf_make((const real *)c->source->weights, n), c->c.tau, c->c.every,
                buf_make(c->set->weights, n), state_of(p));
}

static void run_advance(struct backend_program *p, struct placed_command *c, int place) {
    (void)c, (void)place;
    program_advance(&p->gpu, p->state);
}

static void run_finite(struct backend_program *p, struct placed_command *c, int place) {
    program_finite(&p->gpu, place, buf_make((const real *)c->from, c->c.from->n_elements),
                   c->scalars, p->state, p->seen);
}

static void run_sample(struct backend_program *p, struct placed_command *c, int place) {
    const struct ring_draw d = {c->c.seed, c->c.length, c->c.batch, c->c.n_terminal};
    (void)place;
    ring_enqueue_batch(c->c.ring, &p->gpu, &d, state_of(p));
}

// What depends on the ring's row or window stands before and after what is captured.

static void before_pictures(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    ring_give_pictures(c->c.ring, &p->gpu, state_of(p),
                       buf_make((uint32_t *)c->to, (int64_t)(c->bytes / sizeof(uint32_t))));
}

static void before_begins(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    ring_give_begins(c->c.ring, &p->gpu, state_of(p), p->anew,
                     buf_make((real *)c->to, c->c.to->n_elements));
}

static void before_sample(struct backend_program *p, struct placed_command *c, int place) {
    const struct ring_draw d = {c->c.seed, c->c.length, c->c.batch, c->c.n_terminal};
    (void)place;
    ring_begin_batch(c->c.ring, &p->gpu, &d);
}

static void after_sample(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    ring_end_batch(c->c.ring, &p->gpu);
}

static void after_act(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    ring_take_actions(c->c.ring, &p->gpu, buf_make((const real *)c->from, c->c.from->n_elements));
}

static void run_stage(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    rollout_enqueue(c->c.rollout, (enum rollout_stage)c->c.stage, c->c.which, &p->gpu, state_of(p),
                    buf_make((const double *)c->scalars.at, c->scalars.n ? 1 : 0));
}

static void run_mean(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    gpu_ranks_mean(&p->gpu, c->c.ranks,
                   c->set ? buf_make(c->set->grads, c->set->params->n_flat)
                          : buf_make((real *)c->to, c->c.to->n_elements));
}

struct command_runs {
    command_run *run, *before, *after; // NULL: nothing
};

static const struct command_runs *runs_of(enum command_kind kind) {
    static const struct command_runs table[] = {
        {run_copy_from_feed, 0, 0},
        {run_fill, 0, 0},
        {run_noise, 0, 0},
        {run_normal, 0, 0},
        {run_graph, 0, 0},
        {run_copy, 0, 0},
        {run_norm, 0, 0},
        {run_check, 0, 0},
        {run_adam, 0, 0},
        {run_track, 0, 0},
        {run_advance, 0, 0},
        {0, 0, 0}, // REPORT
        {run_finite, 0, 0},
        {0, before_pictures, 0},
        {0, before_begins, 0},
        {0, 0, after_act},
        {run_sample, before_sample, after_sample},
        {run_stage, 0, 0},
        {run_mean, 0, 0},
        {run_laprop, 0, 0},
    };
    static_assert(sizeof table / sizeof *table == N_COMMANDS, "one per kind, in its order");
    return &table[kind];
}

// ---- making one

static bool add_graph(struct backend_program *p, struct backend_graph *b) {
    for (int i = 0; i < p->n_graphs; i++)
        if (p->graphs[i] == b) return true;
    p->graphs[p->n_graphs++] = b;
    if (b->gpu.workspace_bytes > p->gpu.workspace_bytes)
        p->gpu.workspace_bytes = b->gpu.workspace_bytes;
    return true;
}

// The set once more for the program, which gives it back.
static struct device_set *add_set(struct backend_program *p, const struct params *params,
                                  bool optimised) {
    struct device_set *s = sets_take(&p->gpu, params, optimised, optimised);
    for (int i = 0; i < p->n_sets && s; i++)
        if (p->sets[i] == s) {
            sets_give(p->gpu.device, s); // it was taken before
            return s;
        }
    if (s) p->sets[p->n_sets++] = s;
    return s;
}

static bool give_scalars(struct backend_program *p, struct placed_command *c, int64_t n) {
    double *at = (double *)gpu_alloc(&p->gpu, (size_t)n * sizeof(double));
    c->scalars = buf_make(at, at ? n : 0);
    return at != 0;
}

static bool resolve_sets(struct backend_program *p, struct placed_command *c) {
    const bool optimised = c->c.kind == COMMAND_NORM || c->c.kind == COMMAND_ADAM ||
                           c->c.kind == COMMAND_LAPROP || c->c.kind == COMMAND_MEAN;
    if (c->c.set && !(c->set = add_set(p, c->c.set, optimised))) return false;
    if (c->c.source && !(c->source = add_set(p, c->c.source, false))) return false;
    if (!c->c.set || c->c.kind == COMMAND_TRACK || c->c.kind == COMMAND_MEAN) return true;
    if (c->c.kind == COMMAND_NORM) return give_scalars(p, c, optim_scalars);
    for (struct placed_command *norm = p->list; norm < c; norm++)
        if (norm->c.kind == COMMAND_NORM && norm->set == c->set) c->scalars = norm->scalars;
    if (c->scalars.n || c->c.kind == COMMAND_STAGE) return true; // a stage may do without
    gpu_fail(&p->gpu, "a program uses a gradient norm before it is known");
    return false;
}

static bool give_pieces(struct backend_program *p, struct placed_command *c) {
    const struct params *set = c->c.set;
    int64_t n = 0;
    for (int i = 0; i < set->n; i++) n += ceil_div64(set->list[i].n_elements, OPTIM_PIECE);
    struct optim_piece *list = (struct optim_piece *)calloc((size_t)n + 1, sizeof *list);
    int32_t at = 0;
    for (int i = 0; i < set->n && list; i++) {
        const struct param *q = &set->list[i];
        const int32_t count = (int32_t)ceil_div64(q->n_elements, OPTIM_PIECE), first = at;
        for (int64_t k = 0; k < q->n_elements; k += OPTIM_PIECE)
            list[at++] = {q->offset + k,
                          q->n_elements - k < OPTIM_PIECE ? q->n_elements - k
                                                          : (int64_t)OPTIM_PIECE,
                          first, count};
    }
    void *there = list ? gpu_alloc(&p->gpu, (size_t)n * sizeof *list) : 0;
    double *sums = (double *)gpu_alloc(&p->gpu, (size_t)(2 * n) * sizeof(double));
    const bool fine = there && sums && gpu_upload(&p->gpu, there, list, (size_t)n * sizeof *list) &&
                      gpu_finish(&p->gpu);
    c->pieces = buf_make((const struct optim_piece *)there, there ? n : 0);
    c->sums = buf_make(sums, sums ? 2 * n : 0);
    free(list);
    return fine;
}

static size_t reserve(size_t *total, size_t bytes) {
    const size_t at = *total;
    *total += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return at;
}

static bool resolve(struct backend_program *p, struct placed_command *c) {
    const bool reports = c->c.kind == COMMAND_REPORT;
    if (c->c.graph && !add_graph(p, c->c.graph)) return false;
    if (c->c.to) c->to = placed_address(c->c.graph, c->c.to);
    if (c->c.from)
        c->from = placed_address(c->c.from_graph ? c->c.from_graph : c->c.graph, c->c.from);
    if ((c->c.to && !c->to) || (c->c.from && !c->from)) {
        gpu_fail(&p->gpu, "%s: a program's tensor without a place on the device",
                 (c->c.to && !c->to ? c->c.to : c->c.from)->name);
        return false;
    }
    if (c->c.to || c->c.from) c->bytes = placed_bytes(c->c.to ? c->c.to : c->c.from);
    if (c->c.kind == COMMAND_FEED) c->offset = reserve(&p->feed.bytes, c->bytes);
    if (reports) c->offset = reserve(&p->report.bytes, c->bytes);
    if (c->c.kind == COMMAND_NORM) c->offset = reserve(&p->report.bytes, sizeof(double));
    if (c->c.kind == COMMAND_FINITE && !give_scalars(p, c, finite_slices)) return false;
    if (c->c.kind == COMMAND_LAPROP && !give_pieces(p, c)) return false;
    return resolve_sets(p, c);
}

static bool open_channel(struct gpu *g, struct channel *c) {
    if (!c->bytes) return true;
    // Zeroed for the gaps between tensors.
    if (!(c->device = (char *)gpu_alloc(g, c->bytes)) || !gpu_zero(g, c->device, c->bytes))
        return false;
    for (int i = 0; i < N_SLOTS; i++)
        if (!(c->host[i] = (char *)gpu_pinned_new(g, c->bytes)) ||
            !(c->taken[i] = gpu_event_new(g)))
            return false;
    for (int i = 0; i < N_SLOTS; i++) memset(c->host[i], 0, c->bytes);
    return true;
}

static bool allocate(struct backend_program *p, const struct backend_command *list, int n) {
    int n_sets = 2 * n;
    p->list = (struct placed_command *)calloc((size_t)n + 1, sizeof *p->list);
    p->graphs = (struct backend_graph **)calloc((size_t)n + 1, sizeof *p->graphs);
    for (int i = 0; i < n; i++)
        if (list[i].graph) n_sets += list[i].graph->n_sets;
    p->sets = (struct device_set **)calloc((size_t)n_sets + 1, sizeof *p->sets);
    int64_t *state = (int64_t *)gpu_alloc(&p->gpu, STATE_SIZE * sizeof *state);
    double *seen = (double *)gpu_alloc(&p->gpu, SEEN * sizeof *seen);
    p->state = buf_make(state, STATE_SIZE);
    double *rate = (double *)gpu_alloc(&p->gpu, sizeof *rate);
    p->seen = buf_make(seen, SEEN);
    p->rate = buf_make(rate, rate ? 1 : 0);
    return p->list && p->graphs && p->sets && state && seen && rate &&
           gpu_program_scale_rates(p, 1);
}

// Room for what the graphs' nodes gather from all ranks.
static bool make_room(struct backend_program *p) {
    int64_t most = 0;
    for (int i = 0; i < p->n; i++) {
        const struct backend_command *c = &p->list[i].c;
        if (c->kind != COMMAND_RUN || !c->ranks) continue;
        const struct graph *g = c->graph->g;
        for (int k = 0; k < g->n_nodes; k++) {
            if (g->nodes[k]->kind != OP_QUANTILES) continue;
            const int64_t all = g->nodes[k]->src[0]->n_elements * gpu_ranks_n(c->ranks);
            if (all > most) most = all;
        }
    }
    return !most || (p->gpu.gathered = gpu_alloc(&p->gpu, (size_t)most * sizeof(real))) != 0;
}

static bool build(struct backend_program *p, const struct backend_command *list, int n) {
    if (!allocate(p, list, n)) return false;
    reserve(&p->report.bytes, STATE_SIZE * sizeof(int64_t) + SEEN * sizeof(double));
    for (int i = 0; i < n; i++) {
        p->list[i].c = list[i];
        if (!resolve(p, &p->list[p->n++])) return false;
    }
    for (int i = 0; i < p->n_graphs; i++)
        for (int k = 0; k < p->graphs[i]->n_sets; k++)
            if (!add_set(p, p->graphs[i]->sets[k].on->params, false)) return false;
    if (p->gpu.workspace_bytes && !(p->gpu.workspace = gpu_alloc(&p->gpu, p->gpu.workspace_bytes)))
        return false;
    if (!(p->timer = gpu_timer_new(&p->gpu)) || !make_room(p)) return false;
    return open_channel(&p->gpu, &p->feed) && open_channel(&p->gpu, &p->report) &&
           gpu_program_store(p, 0);
}

struct backend_program *gpu_program_new(const struct backend_command *list, int n, char *message,
                                        size_t size) {
    struct backend_program *p = (struct backend_program *)calloc(1, sizeof *p);
    snprintf(message, size, "out of memory");
    if (!p) return 0;
    p->anew = true;
    p->gpu.device = gpu_open(message, size);
    if (p->gpu.device && build(p, list, n)) return p;
    if (p->gpu.failed) snprintf(message, size, "%s", p->gpu.message);
    gpu_program_free(p);
    return 0;
}

static void close_channel(struct gpu *g, struct channel *c) {
    gpu_free(g->device, c->device);
    for (int i = 0; i < N_SLOTS; i++) {
        gpu_pinned_free(c->host[i]);
        gpu_event_free(c->taken[i]);
    }
}

void gpu_program_free(struct backend_program *p) {
    if (!p) return;
    if (p->gpu.device) gpu_finish(&p->gpu);
    gpu_capture_free(p->capture);
    gpu_timer_free(p->timer);
    for (int i = 0; i < p->n; i++)
        if (p->list[i].c.kind == COMMAND_NORM || p->list[i].c.kind == COMMAND_FINITE)
            gpu_free(p->gpu.device, p->list[i].scalars.at);
    for (int i = 0; i < p->n; i++) {
        gpu_free(p->gpu.device, (void *)p->list[i].pieces.at);
        gpu_free(p->gpu.device, p->list[i].sums.at);
    }
    for (int i = 0; i < p->n_sets; i++) {
        p->sets[i]->resident = false;
        sets_give(p->gpu.device, p->sets[i]);
    }
    close_channel(&p->gpu, &p->feed);
    close_channel(&p->gpu, &p->report);
    gpu_free(p->gpu.device, p->state.at);
    gpu_free(p->gpu.device, p->seen.at);
    gpu_free(p->gpu.device, p->rate.at);
    gpu_free(p->gpu.device, p->gpu.workspace);
    gpu_free(p->gpu.device, p->gpu.gathered);
    gpu_close(p->gpu.device);
    free(p->list);
    free(p->graphs);
    free(p->sets);
    free(p);
}

double gpu_program_ms(struct backend_program *p) { return gpu_timer_ms(&p->gpu, p->timer); }

const char *gpu_program_message(const struct backend_program *p) { return p->gpu.message; }

// ---- between host and device

static bool store_set(struct backend_program *p, struct device_set *s) {
    struct gpu *g = &p->gpu;
    if (!sets_writes(g, s) || !gpu_upload(g, s->weights, s->params->weights, s->bytes))
        return false;
    if (s->moment1 && (!gpu_upload(g, s->moment1, s->params->moment1, s->bytes) ||
                       !gpu_upload(g, s->moment2, s->params->moment2, s->bytes)))
        return false;
    s->resident = true;
    return sets_has_written(g, s);
}

bool gpu_program_store(struct backend_program *p, int64_t step) {
    struct gpu *g = &p->gpu;
    const int64_t state[STATE_SIZE] = {step, 0};
    const double seen[SEEN] = {0, 0};
    if (!gpu_upload(g, p->state.at, state, sizeof state) ||
        !gpu_upload(g, p->seen.at, seen, sizeof seen))
        return false;
    for (int i = 0; i < p->n_sets; i++)
        if (!store_set(p, p->sets[i])) return false;
    for (int i = 0; i < p->n_graphs; i++)
        for (int k = 0; k < p->graphs[i]->n_inputs; k++) {
            const struct mirror *m = &p->graphs[i]->inputs[k];
            if (!gpu_upload(g, m->device, m->host, m->bytes)) return false;
        }
    return gpu_finish(g);
}

static bool fetch_set(struct backend_program *p, const struct device_set *s) {
    const struct params *h = s->params;
    const struct {
        real *host, *device;
    } buffers[] = {{h->weights, s->weights},
                   {h->grads, s->grads},
                   {h->moment1, s->moment1},
                   {h->moment2, s->moment2}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (buffers[i].host && buffers[i].device &&
            !gpu_download(&p->gpu, buffers[i].host, buffers[i].device, s->bytes))
            return false;
    return true;
}

bool gpu_program_fetch(struct backend_program *p) {
    for (int i = 0; i < p->n_sets; i++)
        if (!fetch_set(p, p->sets[i])) return false;
    for (int i = 0; i < p->n_graphs; i++)
        for (int k = 0; k < p->graphs[i]->n_inputs; k++) {
            const struct mirror *m = &p->graphs[i]->inputs[k];
            if (!gpu_download(&p->gpu, (void *)m->host, m->device, m->bytes)) return false;
        }
    return gpu_finish(&p->gpu);
}

// ---- running

// The fed tensors leave in one transfer, while the host goes on with the other slot.
static bool send_feed(struct backend_program *p) {
    struct channel *c = &p->feed;
    const int slot = (int)(p->launches % N_SLOTS);
    if (!c->bytes) return true;
    if (!gpu_event_finish(&p->gpu, c->taken[slot])) return false;
    for (int i = 0; i < p->n; i++)
        if (p->list[i].c.kind == COMMAND_FEED)
            memcpy(c->host[slot] + p->list[i].offset, p->list[i].c.to->data, p->list[i].bytes);
    return gpu_upload(&p->gpu, c->device, c->host[slot], c->bytes) &&
           gpu_record(&p->gpu, c->taken[slot]);
}

static bool enqueue_all(struct backend_program *p) {
    for (int i = 0; i < p->n && !p->gpu.failed; i++) {
        command_run *run = runs_of(p->list[i].c.kind)->run;
        if (!run) continue;
        gpu_watch_command(&p->gpu, i);
        run(p, &p->list[i], i);
    }
    return !p->gpu.failed;
}

static bool enqueue_around(struct backend_program *p, bool after) {
    for (int i = 0; i < p->n && !p->gpu.failed; i++) {
        const struct command_runs *runs = runs_of(p->list[i].c.kind);
        command_run *run = after ? runs->after : runs->before;
        if (run) run(p, &p->list[i], i);
    }
    return !p->gpu.failed;
}

// The first launch is not captured: libraries set themselves up in it.
static bool capture(struct backend_program *p) {
    if (!gpu_capture_begin(&p->gpu)) return false;
    enqueue_all(p);
    p->capture = gpu_capture_end(&p->gpu);
    return p->capture && !p->gpu.failed;
}

bool gpu_program_launch(struct backend_program *p) {
    struct gpu *g = &p->gpu;
    if (g->failed || !send_feed(p)) return false;
    for (int i = 0; i < p->n_sets; i++)
        if (!sets_writes(g, p->sets[i])) return false;
    const bool watched = g->watch != 0;
    if (!enqueue_around(p, false)) return false;
    if (p->launches > 0 && !p->capture && !watched && !capture(p)) return false;
    if (!gpu_timer_mark(g, p->timer, 0) ||
        !(p->capture && !watched ? gpu_replay(g, p->capture) : enqueue_all(p)) ||
        !gpu_timer_mark(g, p->timer, 1) || !enqueue_around(p, true))
        return false;
    p->anew = false;
    for (int i = 0; i < p->n_sets; i++)
        if (!sets_has_written(g, p->sets[i])) return false;
    p->launches++;
    return true;
}

bool gpu_program_seek(struct backend_program *p, int64_t step, bool anew) {
    p->anew = anew;
    program_seek(&p->gpu, p->state, step);
    return !p->gpu.failed;
}

int64_t gpu_program_graph_nodes(const struct backend_program *p) {
    return gpu_capture_nodes(p->capture);
}

// What nobody replays has not run.
static bool count_items(struct backend_program *p) {
    if (!gpu_capture_begin(&p->gpu)) return false;
    enqueue_all(p);
    struct gpu_capture *c = gpu_capture_end(&p->gpu);
    gpu_capture_free(c);
    return c && !p->gpu.failed;
}

bool gpu_program_items(struct backend_program *p, int passes, backend_item_fn *each, void *ctx) {
    struct gpu *g = &p->gpu;
    struct gpu_watch w = {};
    g->watch = &w;
    bool fine = passes ? gpu_program_launch(p) : count_items(p);
    for (int i = 0; i < passes && fine; i++)
        fine = gpu_watch_begin(g) && gpu_program_launch(p) && gpu_watch_end(g);
    g->watch = 0;
    for (int i = 0; i < w.n && fine; i++) {
        const struct backend_item item = gpu_watch_item(&w, i);
        each(ctx, &item);
    }
    gpu_watch_free(&w);
    return fine;
}

bool gpu_program_scale_rates(struct backend_program *p, double factor) {
    optim_set(&p->gpu, p->rate, factor);
    return !p->gpu.failed;
}

static bool gather_report(struct backend_program *p) {
    struct gpu *g = &p->gpu;
    char *to = p->report.device;
    if (!gpu_copy(g, to, p->state.at, STATE_SIZE * sizeof(int64_t)) ||
        !gpu_copy(g, to + STATE_SIZE * sizeof(int64_t), p->seen.at, SEEN * sizeof(double)))
        return false;
    for (int i = 0; i < p->n; i++) {
        const struct placed_command *c = &p->list[i];
        if (c->c.kind == COMMAND_NORM &&
            !gpu_copy(g, to + c->offset, c->scalars.at + OPTIM_NORM, sizeof(double)))
            return false;
        if (c->c.kind == COMMAND_REPORT && !gpu_copy(g, to + c->offset, c->from, c->bytes))
            return false;
    }
    return true;
}

bool gpu_program_read(struct backend_program *p, struct backend_progress *out) {
    const char *at = p->report.host[0];
    int64_t state[STATE_SIZE];
    double seen[SEEN];
    if (!gather_report(p) ||
        !gpu_download_later(&p->gpu, p->report.host[0], p->report.device, p->report.bytes) ||
        !gpu_finish(&p->gpu))
        return false;
    memcpy(state, at, sizeof state);
    memcpy(seen, at + sizeof state, sizeof seen);
    for (int i = 0; i < p->n; i++) {
        const struct placed_command *c = &p->list[i];
        if (c->c.kind == COMMAND_NORM && c->c.norm)
            memcpy(c->c.norm, at + c->offset, sizeof *c->c.norm);
        if (c->c.kind == COMMAND_REPORT) memcpy(c->c.from->data, at + c->offset, c->bytes);
    }
    out->step = state[STATE_STEP];
    out->failed = (int)state[STATE_FAILED] - 1;
    out->value = seen[0];
    out->norm = seen[1];
    return true;
}

// ---- weights from set to set

bool gpu_program_copy_weights(const struct params *to, const struct params *from) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct gpu copier; // opened once and kept
    struct device_set *source = sets_find(from), *target = sets_find(to);
    if (!source || !target || !source->resident) return false;
    pthread_mutex_lock(&lock);
    if (!copier.device) copier.device = gpu_open(copier.message, sizeof copier.message);
    struct gpu *g = &copier;
    const bool fine = g->device && sets_reads(g, source) && sets_writes(g, target) &&
                      gpu_copy(g, target->weights, source->weights, source->bytes) &&
                      sets_has_read(g, source) && sets_has_written(g, target);
    pthread_mutex_unlock(&lock);
    if (fine) target->resident = true;
    return fine;
}
