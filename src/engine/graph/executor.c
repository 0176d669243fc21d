// Executor: runs the tape on the CPU or on a backend, spreads big nodes over the pool, finds the
// first non-finite value.
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/graph/backend.h"
#include "engine/graph/node.h"

enum { SHARES_MAX = 64, SHARE_COST_NS = 8000, ELEMENTS_UNIT = 64 };

struct executor {
    struct graph *g;
    struct run run;
    const struct node **steps; // nodes that do something, in order
    int n_steps;
    bool profile;
    bool packed; // what follows from parameters alone is there
    struct {
        int64_t n_runs, ns;
        _Atomic int64_t shares_ns; // of the shares of the region that has just run
    } * times;                     // of each step
    const struct backend *backend; // NULL: the CPU
    struct backend_graph *device;
    const struct tensor **kept; // what the host reads after a run of the device
    const struct params **sets; // whose gradients it reads
    int n_kept, n_sets;
};

// A device that fails cannot be gone on with: its message is the last one.
#define DEVICE(ex, call)                                                                           \
    do {                                                                                           \
        if (!(ex)->backend->call)                                                                  \
            device_lost((ex)->backend->name, (ex)->backend->message((ex)->device));                \
    } while (0)

static void keep(struct executor *ex, const struct tensor *t) {
    if (t && t->data && tensor_root(t, NULL)->storage == STORE_SLAB) ex->kept[ex->n_kept++] = t;
}

static void add_set(struct executor *ex, const struct params *set) {
    for (int i = 0; i < ex->n_sets; i++)
        if (ex->sets[i] == set) return;
    ex->sets[ex->n_sets++] = set;
}

static void open_device(struct executor *ex) {
    char why[BACKEND_MESSAGE_SIZE];
    struct graph *g = ex->g;
    CHECK(!g->fused && !g->shared, "a graph was planned for the CPU before the device was chosen");
    ex->device = ex->backend->graph_new(g, why, sizeof why);
    if (!ex->device) device_lost(ex->backend->name, why);
    ex->kept = mem_alloc((size_t)(2 * g->n_tensors + 1) * sizeof *ex->kept);
    ex->sets = mem_alloc((size_t)(g->n_tensors + 1) * sizeof *ex->sets);
    for (int i = 0; i < g->n_tensors; i++) {
        const struct tensor *t = g->tensors[i];
        if (t->storage == STORE_PARAM_GRAD && !t->base) add_set(ex, t->params);
        if (!t->keep) continue;
        keep(ex, t);
        keep(ex, t->grad);
    }
}

struct executor *executor_new(struct graph *g, struct pool *pool) {
    struct executor *ex = cpu_executor_new(g, pool);
    ex->backend = backend_chosen();
    if (ex->backend) open_device(ex);
    return ex;
}

struct executor *cpu_executor_new(struct graph *g, struct pool *pool) {
    CHECK(g->planned, "graph_plan comes before cpu_executor_new");
    struct executor *ex = mem_alloc(sizeof *ex);
    const struct kernels *k = kernels_get();
    *ex = (struct executor){.g = g, .run = {k, kernels_bf16_get(), k->rows, pool, NULL, NULL}};
    ex->steps = mem_alloc((size_t)g->n_nodes * sizeof *ex->steps);
    for (int i = 0; i < g->n_nodes; i++)
        if (node_runs(g->nodes[i])) ex->steps[ex->n_steps++] = g->nodes[i];
    ex->times = mem_alloc((size_t)g->n_nodes * sizeof *ex->times);
    return ex;
}

void executor_free(struct executor *ex) {
    if (!ex) return;
    if (ex->backend) ex->backend->graph_free(ex->device);
    free(ex->kept);
    free(ex->sets);
    free(ex->times);
    free(ex->steps);
    free(ex);
}

// ---- spreading one node over the pool

struct share_job {
    const struct run *r;
    const struct node *n;
    share_task *share;
};

static void pool_share(void *ctx, int share) {
    const struct share_job *job = ctx;
    job->share(job->r, job->n, share);
}

void run_shares(const struct run *r, const struct node *n, int n_shares, share_task *share) {
    if (n_shares == 1) {
        share(r, n, 0);
        return;
    }
    struct share_job job = {r, n, share};
    pool_run(r->pool, n_shares, pool_share, &job);
}

struct rows_job {
    const struct run *r;
    const struct node *n;
    rows_task *task;
    int64_t rows, unit, limit;
    int n_shares;
};

static void pool_rows(void *ctx, int share) {
    const struct rows_job *job = ctx;
    struct range range = share_range(job->rows, job->n_shares, share);
    int64_t first = range.first * job->unit, end = range.end * job->unit;
    job->task(job->r, job->n, first, end < job->limit ? end : job->limit);
}

static void spread(const struct run *r, const struct node *n, int64_t rows, int64_t unit,
                   int64_t limit, int64_t cost, rows_task *task) {
    int64_t n_shares = rows * cost / SHARE_COST_NS;
    if (n_shares > rows) n_shares = rows;
    if (n_shares > SHARES_MAX) n_shares = SHARES_MAX;
    if (n_shares <= 1) {
        task(r, n, 0, limit);
        return;
    }
    struct rows_job job = {r, n, task, rows, unit, limit, (int)n_shares};
    pool_run(r->pool, job.n_shares, pool_rows, &job);
}

void run_rows(const struct run *r, const struct node *n, int64_t rows, int64_t cost,
              rows_task *task) {
    const struct range slice = run_slice(r, rows);
    if (r->slice)
        task(r, n, slice.first, slice.end);
    else
        spread(r, n, rows, 1, rows, cost, task);
}

void run_elements(const struct run *r, const struct node *n, int64_t n_elements, int64_t cost,
                  rows_task *task) {
    spread(r, n, (n_elements + ELEMENTS_UNIT - 1) / ELEMENTS_UNIT, ELEMENTS_UNIT, n_elements, cost,
           task);
}

// ---- a region: a share is a slice of the rows

struct region_job {
    struct executor *ex;
    const struct region *region;
    int step, shares;
};

static bool in_region(const struct executor *ex, int step, const struct region *region) {
    return step < ex->n_steps && ex->steps[step]->index <= region->last;
}

static void region_share(void *ctx, int share) {
    const struct region_job *job = ctx;
    struct executor *ex = job->ex;
    const struct range rows = share_range(job->region->rows, job->shares, share);
    const struct slice slice = {rows.first, rows.end, job->region->rows};
    struct run run = ex->run;
    run.slice = &slice;
    int64_t before = ex->profile ? clock_now_ns() : 0;
    for (int i = job->step; in_region(ex, i, job->region); i++) {
        op_table[ex->steps[i]->kind].run(&run, ex->steps[i]);
        if (!ex->profile) continue;
        const int64_t now = clock_now_ns();
        atomic_fetch_add_explicit(&ex->times[i].shares_ns, now - before, memory_order_relaxed);
        before = now;
    }
}

// Runs the region that begins at step i; returns the step behind it.
static int run_region(struct executor *ex, int step, const struct region *region) {
    const int threads = pool_threads(ex->run.pool);
    struct region_job job = {ex, region, step,
                             threads < region->shares_max ? threads : region->shares_max};
    pool_run(ex->run.pool, job.shares, region_share, &job);
    while (in_region(ex, step, region)) step++;
    return step;
}

// ---- running the tape

static void clear_gradients(const struct graph *g) {
    for (int i = 0; i < g->n_clears; i++) {
        const struct clear *c = &g->clears[i];
        memset(c->set->grads + c->first, 0, (size_t)(c->end - c->first) * sizeof(real));
    }
}

// Everything to the device that a run reads.
static void begin(struct executor *ex) {
    if (ex->backend)
        DEVICE(ex, begin(ex->device));
    else
        clear_gradients(ex->g);
}

static void run_step(struct executor *ex, const struct node *n) {
    if (ex->backend)
        DEVICE(ex, run(ex->device, n));
    else
        op_table[n->kind].run(&ex->run, n);
}

// Everything to the host that it may read.
static void finish(struct executor *ex) {
    if (!ex->backend) return;
    DEVICE(ex, wait(ex->device));
    for (int i = 0; i < ex->n_kept; i++) DEVICE(ex, fetch(ex->device, ex->kept[i]));
    for (int i = 0; i < ex->n_sets; i++) DEVICE(ex, fetch_grads(ex->device, ex->sets[i]));
}

// The time of a region goes to its nodes as its shares spent it.
static void divide_time(struct executor *ex, int first, int end, int64_t ns) {
    double all = 0;
    for (int i = first; i < end; i++) all += (double)ex->times[i].shares_ns;
    for (int i = first; i < end; i++) {
        ex->times[i].ns += (int64_t)((double)ns * (double)ex->times[i].shares_ns / all);
        ex->times[i].shares_ns = 0;
        ex->times[i].n_runs++;
    }
}

// Runs step i, or the region that begins there; returns the step behind it.
static int run_next(struct executor *ex, int i, const struct region **next) {
    const struct region *end = ex->g->regions + ex->g->n_regions;
    while (*next < end && (*next)->last < ex->steps[i]->index) ++*next;
    if (*next < end && (*next)->first == ex->steps[i]->index && pool_threads(ex->run.pool) > 1)
        return run_region(ex, i, *next);
    if (!ex->packed || !ex->steps[i]->of_weights)
        op_table[ex->steps[i]->kind].run(&ex->run, ex->steps[i]);
    return i + 1;
}

static void run_on_cpu(struct executor *ex) {
    const struct region *next = ex->g->regions;
    for (int i = 0; i < ex->n_steps;) {
        const int64_t before = ex->profile ? clock_now_ns() : 0;
        const int end = run_next(ex, i, &next);
        if (ex->profile && end == i + 1) ex->times[i].shares_ns = 1;
        if (ex->profile) divide_time(ex, i, end, clock_now_ns() - before);
        i = end;
    }
}

static void run_profiled_device(struct executor *ex) {
    int64_t before = clock_now_ns();
    for (int i = 0; i < ex->n_steps; i++) {
        run_step(ex, ex->steps[i]);
        DEVICE(ex, wait(ex->device));
        int64_t now = clock_now_ns();
        ex->times[i].ns += now - before;
        ex->times[i].n_runs++;
        before = now;
    }
}

void executor_run(struct executor *ex) {
    begin(ex);
    if (!ex->backend)
        run_on_cpu(ex);
    else if (ex->profile)
        run_profiled_device(ex);
    else
        DEVICE(ex, run_all(ex->device));
    ex->packed = ex->g->weights_rest && !ex->backend;
    finish(ex);
}

void executor_weights_changed(struct executor *ex) { ex->packed = false; }

struct backend_graph *executor_device(const struct executor *ex) {
    return ex->device;
}

void executor_set_ranks(struct executor *ex, struct ranks *ranks) {
    if (!ex->backend) ex->run.ranks = ranks;
}

int64_t executor_copies(const struct executor *ex) {
    return ex->backend ? ex->backend->copies(ex->device) : 0;
}

// ---- profile

void executor_profile(struct executor *ex, bool on) { ex->profile = on; }

static int longer_first(const void *a, const void *b) {
    const struct op_time *x = a, *y = b;
    return (x->ns < y->ns) - (x->ns > y->ns);
}

int executor_times(const struct executor *ex, struct op_time *out, int capacity) {
    struct op_time sorted[N_OPS];
    for (int i = 0; i < N_OPS; i++) sorted[i] = (struct op_time){.op = op_table[i].name};
    for (int i = 0; i < ex->n_steps; i++) {
        sorted[ex->steps[i]->kind].n_runs += ex->times[i].n_runs;
        sorted[ex->steps[i]->kind].ns += ex->times[i].ns;
    }
    qsort(sorted, N_OPS, sizeof *sorted, longer_first);
    int n = 0;
    for (int i = 0; i < N_OPS && n < capacity; i++)
        if (sorted[i].n_runs) out[n++] = sorted[i];
    return n;
}

void executor_node_times(const struct executor *ex, node_time_fn *each, void *ctx) {
    for (int i = 0; i < ex->n_steps; i++) {
        const struct node *n = ex->steps[i];
        each(ctx, &(struct node_time){n->name, op_table[n->kind].name, ex->times[i].n_runs,
                                      ex->times[i].ns, node_flop(n), n});
    }
}

// ---- the first bad value

static bool all_finite(const struct tensor *t) {
    if (!t || t->dtype != DTYPE_REAL || !t->data) return true;
    for (int64_t i = 0; i < t->n_elements; i++)
        if (!isfinite(((const real *)t->data)[i])) return false;
    return true;
}

// Packed weights have padding, and are copies of what was looked at already.
static bool is_pack(const struct node *n) {
    return n->kind == OP_PACK || n->kind == OP_CONV_PACK_DOWN || n->kind == OP_CONV_PACK_UP ||
           n->kind == OP_PATCH_PACK || n->kind == OP_PATCH_PACK_DX;
}

// A convolution's own result where its ReLU is inside (fuse.c): the one is bad where the other is,
// and a device, which has both, names the convolution.
static const struct tensor *unfused(const struct node *n, const struct tensor *t) {
    return n->at.relu && t == n->out[0] ? t->node->src[0] : t;
}

static const struct tensor *nonfinite_after(struct executor *ex, const struct node *n) {
    run_step(ex, n);
    for (int o = 0; o < n->n_out && !is_pack(n); o++) {
        const struct tensor *t = n->out[o];
        if (ex->backend && t && t->dtype == DTYPE_REAL) DEVICE(ex, fetch(ex->device, t));
        if (!all_finite(t)) return unfused(n, t);
    }
    return NULL;
}

// Two nodes that are one run after each other, so that what lies between them is looked at too.
static const struct tensor *first_nonfinite(struct executor *ex) {
    const struct tensor *bad = NULL;
    begin(ex);
    for (int i = 0; i < ex->n_steps && !bad; i++) {
        struct node n = *ex->steps[i];
        if (n.inside) bad = nonfinite_after(ex, n.inside);
        n.inside = NULL;
        if (!bad) bad = nonfinite_after(ex, ex->backend ? ex->steps[i] : &n);
    }
    return bad;
}

const struct tensor *executor_find_nonfinite(struct executor *ex) {
    struct graph *g = ex->g;
    for (int i = 0; i < g->n_tensors; i++) {
        const struct tensor *t = g->tensors[i];
        bool leaf = !t->base && (t->storage == STORE_INPUT || t->storage == STORE_PARAM);
        if (leaf && !all_finite(t)) return t;
    }
    struct ranks *ranks = ex->run.ranks;
    ex->run.ranks = NULL; // each looks for itself, and none waits for another
    const struct tensor *bad = first_nonfinite(ex);
    ex->run.ranks = ranks;
    return bad;
}
