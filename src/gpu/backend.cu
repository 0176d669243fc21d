// The device library's backend: a graph's memory on the device, its nodes run one by one.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>

#include "gpu/launchers.h"
#include "gpu/optim.h"
#include "gpu/placed.h"
#include "gpu/probe.h"
#include "gpu/program.h"
#include "gpu/ranks.h"
#include "gpu/watch.h"
#include "gpu/rollout.h"

// ---- messages

void gpu_fail(struct gpu *g, const char *format, ...) {
    if (g->failed) return;
    g->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(g->message, sizeof g->message, format, args);
    va_end(args);
}

// ---- transfers over the bus

static std::atomic<int64_t> bus_copies, bus_bytes;

void gpu_count_transfer(size_t bytes) {
    bus_copies++;
    bus_bytes += (int64_t)bytes;
}

static struct backend_bus bus(void) {
    const struct backend_bus now = {bus_copies, bus_bytes};
    return now;
}

// ---- memory: one slab, one block per input; parameter sets are shared (sets.h)

static bool is_root(const struct tensor *t, enum storage storage) {
    return t->root && !t->base && t->storage == storage;
}

static bool mirror_new(struct gpu *gpu, struct mirror *m, const void *host, size_t bytes) {
    m->host = (const char *)host;
    m->bytes = bytes;
    m->device = bytes ? gpu_alloc(gpu, bytes) : 0;
    return m->device || !bytes;
}

static struct placed_set *find_set(struct backend_graph *b, const struct params *params) {
    for (int i = 0; i < b->n_sets; i++)
        if (b->sets[i].on->params == params) return &b->sets[i];
    return 0;
}

static bool add_set(struct backend_graph *b, const struct params *params, bool gradients) {
    struct placed_set *s = find_set(b, params);
    if (s && (s->gradients || !gradients)) return true;
    struct device_set *on = sets_take(&b->gpu, params, gradients, false);
    if (!on) return false;
    if (s) {
        s->gradients = true;
        sets_give(b->gpu.device, on); // it was taken before
    } else {
        b->sets[b->n_sets++] = {on, gradients};
    }
    return true;
}

static bool place_roots(struct backend_graph *b) {
    const struct graph *g = b->g;
    if (!mirror_new(&b->gpu, &b->slab, g->slab, g->slab_bytes)) return false;
    for (int i = 0; i < g->n_tensors; i++) {
        const struct tensor *t = g->tensors[i];
        if (is_root(t, STORE_INPUT) &&
            !mirror_new(&b->gpu, &b->inputs[b->n_inputs++], t->data, t->root->bytes))
            return false;
        if (is_root(t, STORE_PARAM) && !add_set(b, t->params, false)) return false;
        if (is_root(t, STORE_PARAM_GRAD) && !add_set(b, t->params, true)) return false;
    }
    for (int i = 0; i < g->n_clears; i++)
        if (!add_set(b, g->clears[i].set, true)) return false;
    return true;
}

static void *inside(const struct mirror *m, const void *host) {
    const char *at = (const char *)host;
    if (!m->device || at < m->host || at >= m->host + m->bytes) return 0;
    return (char *)m->device + (at - m->host);
}

// Where a tensor of a set lies, in the buffer that begins at `device`.
static void *inside_set(const struct device_set *s, const real *host, real *device,
                        const void *data) {
    const struct mirror m = {(const char *)host, s->bytes, device};
    return host ? inside(&m, data) : 0;
}

void *placed_address(const struct backend_graph *b, const struct tensor *t) {
    if (!t || !t->data) return 0;
    void *at = chain_moved(b->chains, t);
    if (!at) at = inside(&b->slab, t->data);
    for (int i = 0; i < b->n_inputs && !at; i++) at = inside(&b->inputs[i], t->data);
    for (int i = 0; i < b->n_sets && !at; i++) {
        const struct device_set *s = b->sets[i].on;
        at = inside_set(s, s->params->weights, s->weights, t->data);
        if (!at && b->sets[i].gradients) at = inside_set(s, s->params->grads, s->grads, t->data);
    }
    return at;
}

static bool is_view(enum op_kind kind) {
    return kind == OP_RESHAPE || kind == OP_SLICE || kind == OP_STACK || kind == OP_STOP_GRADIENT;
}

static bool has(int kind) { return is_view((enum op_kind)kind) || gpu_op_of((enum op_kind)kind); }

static bool resolve(struct backend_graph *b, const struct node *n) {
    if (!has(n->kind)) gpu_fail(&b->gpu, "%s: the device has no kernel for this op", n->name);
    if (b->gpu.failed) return false;
    struct gpu_args *a = &b->args[n->index];
    a->n = n;
    a->src = (void **)calloc((size_t)n->n_src + 1, sizeof *a->src);
    if (!a->src) return false;
    for (int i = 0; i < n->n_src; i++) a->src[i] = placed_address(b, n->src[i]);
    if (n->kind == OP_LINEAR_DX) a->src[1] = placed_address(b, gpu_weights_of(n));
    for (int i = 0; i < n->n_out; i++) a->out[i] = placed_address(b, n->out[i]);
    const struct gpu_op *op = gpu_op_of(n->kind);
    const size_t bytes = op && op->workspace ? op->workspace(n) : 0;
    if (bytes > b->gpu.workspace_bytes) b->gpu.workspace_bytes = bytes;
    return true;
}

static void graph_free_(struct backend_graph *b) {
    if (!b) return;
    for (int i = 0; b->args && i < b->g->n_nodes; i++) free(b->args[i].src);
    for (int i = 0; i < b->n_inputs; i++) gpu_free(b->gpu.device, b->inputs[i].device);
    for (int i = 0; i < b->n_sets; i++) sets_give(b->gpu.device, b->sets[i].on);
    chain_plan_free(b->gpu.device, b->chains);
    gpu_free(b->gpu.device, b->slab.device);
    gpu_free(b->gpu.device, b->gpu.workspace);
    gpu_close(b->gpu.device);
    free(b->args);
    free(b->inputs);
    free(b->sets);
    free(b);
}

static bool place(struct backend_graph *b) {
    const struct graph *g = b->g;
    b->inputs = (struct mirror *)calloc((size_t)g->n_tensors + 1, sizeof *b->inputs);
    b->sets = (struct placed_set *)calloc((size_t)g->n_tensors + 1, sizeof *b->sets);
    b->args = (struct gpu_args *)calloc((size_t)g->n_nodes + 1, sizeof *b->args);
    if (!b->inputs || !b->sets || !b->args) return false;
    if (!place_roots(b) || !chain_plan_new(b)) return false;
    for (int i = 0; i < g->n_nodes; i++)
        if (!resolve(b, g->nodes[i])) return false;
    if (!b->gpu.workspace_bytes) return true;
    b->gpu.workspace = gpu_alloc(&b->gpu, b->gpu.workspace_bytes);
    return b->gpu.workspace != 0;
}

static struct backend_graph *graph_new_(const struct graph *g, char *message, size_t size) {
    struct backend_graph *b = (struct backend_graph *)calloc(1, sizeof *b);
    snprintf(message, size, "out of memory");
    if (!b) return 0;
    b->g = g;
    b->gpu.device = gpu_open(message, size);
    if (b->gpu.device && place(b)) return b;
    if (b->gpu.failed) snprintf(message, size, "%s", b->gpu.message);
    graph_free_(b);
    return 0;
}

// ---- running

static bool upload(struct backend_graph *b, void *to, const void *from, size_t bytes) {
    b->copies++;
    return gpu_upload(&b->gpu, to, from, bytes);
}

// The host's weights, unless the device has newer ones.
static bool bring_weights(struct backend_graph *b, struct device_set *s) {
    if (s->resident) return sets_reads(&b->gpu, s);
    return sets_writes(&b->gpu, s) && upload(b, s->weights, s->params->weights, s->bytes);
}

bool placed_clear(struct backend_graph *b, struct gpu *g) {
    for (int i = 0; i < b->g->n_clears; i++) {
        const struct clear *c = &b->g->clears[i];
        real *grads = find_set(b, c->set)->on->grads;
        if (!gpu_zero(g, grads + c->first, (size_t)(c->end - c->first) * sizeof(real)))
            return false;
    }
    return true;
}

static bool begin(struct backend_graph *b) {
    for (int i = 0; i < b->n_inputs; i++)
        if (!upload(b, b->inputs[i].device, b->inputs[i].host, b->inputs[i].bytes)) return false;
    for (int i = 0; i < b->n_sets; i++)
        if (!bring_weights(b, b->sets[i].on)) return false;
    return placed_clear(b, &b->gpu);
}

static std::atomic<bool> tf32;

static void allow_tf32(bool on) { tf32 = on; }

static bool enqueue(struct backend_graph *b, struct gpu *g, const struct node *n) {
    const struct gpu_op *op = gpu_op_of(n->kind);
    g->precision = n->at.bf16 ? IN_BF16 : tf32 ? IN_TF32 : IN_FLOAT32;
    if (op) op->launch(g, &b->args[n->index]);
    return !g->failed;
}

bool placed_run(struct backend_graph *b, struct gpu *g) {
    for (int i = 0; i < b->g->n_nodes; i++) {
        const struct node *n = b->g->nodes[i];
        const struct chain *c = chain_at(b->chains, i);
        if (n->given || !gpu_op_of(n->kind) || chain_skips(b->chains, n)) continue;
        gpu_watch_nodes(g, n, c ? b->g->nodes[c->last] : n);
        if (c) {
            chain_enqueue(g, c);
            i = c->last;
        } else if (!enqueue(b, g, n)) {
            return false;
        }
    }
    return !g->failed;
}

static bool run_all(struct backend_graph *b) { return placed_run(b, &b->gpu); }

static bool run_node(struct backend_graph *b, const struct node *n) {
    return enqueue(b, &b->gpu, n);
}

static bool wait_all(struct backend_graph *b) {
    for (int i = 0; i < b->n_sets; i++) {
        struct device_set *s = b->sets[i].on;
        if (!(s->resident ? sets_has_read(&b->gpu, s) : sets_has_written(&b->gpu, s))) return false;
    }
    return gpu_finish(&b->gpu) && !b->gpu.failed;
}

size_t placed_bytes(const struct tensor *t) {
    const size_t each = t->dtype == DTYPE_REAL  ? sizeof(real)
                        : t->dtype == DTYPE_I32 ? sizeof(int32_t)
                                                : 1;
    return (size_t)t->n_elements * each;
}

static bool fetch(struct backend_graph *b, const struct tensor *t) {
    const void *at = placed_address(b, t);
    if (!at) return true;
    b->copies++;
    return gpu_download(&b->gpu, t->data, at, placed_bytes(t));
}

static bool fetch_grads(struct backend_graph *b, const struct params *params) {
    const struct placed_set *s = find_set(b, params);
    if (!s || !s->gradients) return true;
    b->copies++;
    return gpu_download(&b->gpu, params->grads, s->on->grads, s->on->bytes);
}

static const char *message_of(const struct backend_graph *b) { return b->gpu.message; }
static int64_t copies_of(const struct backend_graph *b) { return b->copies; }

extern "C" const struct backend *workbench_backend(void);
extern "C" const struct backend *workbench_backend(void) {
    static struct backend table;
    table.layout = {BACKEND_VERSION,       N_OPS,
                    sizeof(struct graph),  sizeof(struct node),
                    sizeof(struct tensor), sizeof(struct root),
                    sizeof(struct params), sizeof(real)};
    table.name = GPU_BACKEND_NAME;
    table.probe = gpu_probe;
    table.has = has;
    table.graph_new = graph_new_;
    table.graph_free = graph_free_;
    table.begin = begin;
    table.run = run_node;
    table.run_all = run_all;
    table.wait = wait_all;
    table.fetch = fetch;
    table.fetch_grads = fetch_grads;
    table.message = message_of;
    table.copies = copies_of;
    table.program_new = gpu_program_new;
    table.program_free = gpu_program_free;
    table.program_store = gpu_program_store;
    table.program_launch = gpu_program_launch;
    table.program_seek = gpu_program_seek;
    table.program_scale_rates = gpu_program_scale_rates;
    table.program_read = gpu_program_read;
    table.program_fetch = gpu_program_fetch;
    table.program_message = gpu_program_message;
    table.copy_weights = gpu_program_copy_weights;
    table.bus = bus;
    table.program_ms = gpu_program_ms;
    table.program_items = gpu_program_items;
    table.program_graph_nodes = gpu_program_graph_nodes;
    table.rates = gpu_rates;
    table.address = placed_address;
    table.allow_tf32 = allow_tf32;
    table.adam = gpu_adam;
    table.ranks_ready = gpu_ranks_ready;
    table.ranks_id = gpu_ranks_id;
    table.ranks_join = gpu_ranks_join;
    table.ranks_leave = gpu_ranks_leave;
    table.play = gpu_play();
    table.rollouts = gpu_rollouts();
    return &table;
}
