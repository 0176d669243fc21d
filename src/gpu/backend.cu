// The device library's backend: a graph's memory on the device, its nodes run one by one.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/launchers.h"
#include "gpu/optim.h"

// ---- messages

void gpu_fail(struct gpu *g, const char *format, ...) {
    if (g->failed) return;
    g->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(g->message, sizeof g->message, format, args);
    va_end(args);
}

// ---- memory: one slab, one block per input, weights and gradients per parameter set

struct mirror { // a range of the host and its place on the device
    const char *host;
    size_t bytes;
    void *device;
};

struct set { // a parameter set
    const struct params *params;
    struct mirror weights, grads; // grads.device NULL: none here
};

struct backend_graph {
    struct gpu gpu;
    const struct graph *g;
    struct mirror slab;
    struct mirror *inputs;
    struct set *sets;
    int n_inputs, n_sets;
    struct gpu_args *args; // by node index
    int64_t copies;
};

static bool is_root(const struct tensor *t, enum storage storage) {
    return t->root && !t->base && t->storage == storage;
}

static bool mirror_new(struct gpu *gpu, struct mirror *m, const void *host, size_t bytes) {
    m->host = (const char *)host;
    m->bytes = bytes;
    m->device = bytes ? gpu_alloc(gpu, bytes) : 0;
    return m->device || !bytes;
}

static struct set *find_set(struct backend_graph *b, const struct params *params) {
    for (int i = 0; i < b->n_sets; i++)
        if (b->sets[i].params == params) return &b->sets[i];
    return 0;
}

static bool add_set(struct backend_graph *b, const struct params *params, bool gradients) {
    struct set *s = find_set(b, params);
    const size_t bytes = (size_t)params->n_flat * sizeof(real);
    if (!s) {
        s = &b->sets[b->n_sets++];
        memset(s, 0, sizeof *s);
        s->params = params;
        if (!mirror_new(&b->gpu, &s->weights, params->weights, bytes)) return false;
    }
    if (gradients && !s->grads.device) return mirror_new(&b->gpu, &s->grads, params->grads, bytes);
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

// Where a tensor lies on the device, NULL where it has no place (nobody uses it).
static void *device_of(const struct backend_graph *b, const struct tensor *t) {
    if (!t || !t->data) return 0;
    void *at = inside(&b->slab, t->data);
    for (int i = 0; i < b->n_inputs && !at; i++) at = inside(&b->inputs[i], t->data);
    for (int i = 0; i < b->n_sets && !at; i++) at = inside(&b->sets[i].weights, t->data);
    for (int i = 0; i < b->n_sets && !at; i++) at = inside(&b->sets[i].grads, t->data);
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
    for (int i = 0; i < n->n_src; i++) a->src[i] = device_of(b, n->src[i]);
    for (int i = 0; i < n->n_out; i++) a->out[i] = device_of(b, n->out[i]);
    const struct gpu_op *op = gpu_op_of(n->kind);
    const size_t bytes = op && op->workspace ? op->workspace(n) : 0;
    if (bytes > b->gpu.workspace_bytes) b->gpu.workspace_bytes = bytes;
    return true;
}

static void graph_free_(struct backend_graph *b) {
    if (!b) return;
    for (int i = 0; b->args && i < b->g->n_nodes; i++) free(b->args[i].src);
    for (int i = 0; i < b->n_inputs; i++) gpu_free(b->gpu.device, b->inputs[i].device);
    for (int i = 0; i < b->n_sets; i++) {
        gpu_free(b->gpu.device, b->sets[i].weights.device);
        gpu_free(b->gpu.device, b->sets[i].grads.device);
    }
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
    b->sets = (struct set *)calloc((size_t)g->n_tensors + 1, sizeof *b->sets);
    b->args = (struct gpu_args *)calloc((size_t)g->n_nodes + 1, sizeof *b->args);
    if (!b->inputs || !b->sets || !b->args) return false;
    if (!place_roots(b)) return false;
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

static bool upload(struct backend_graph *b, const struct mirror *m) {
    b->copies++;
    return gpu_upload(&b->gpu, m->device, m->host, m->bytes);
}

static bool begin(struct backend_graph *b) {
    for (int i = 0; i < b->n_inputs; i++)
        if (!upload(b, &b->inputs[i])) return false;
    for (int i = 0; i < b->n_sets; i++)
        if (!upload(b, &b->sets[i].weights)) return false;
    for (int i = 0; i < b->g->n_clears; i++) {
        const struct clear *c = &b->g->clears[i];
        real *grads = (real *)find_set(b, c->set)->grads.device;
        if (!gpu_zero(&b->gpu, grads + c->first, (size_t)(c->end - c->first) * sizeof(real)))
            return false;
    }
    return true;
}

static bool run_node(struct backend_graph *b, const struct node *n) {
    const struct gpu_op *op = gpu_op_of(n->kind);
    if (op) op->launch(&b->gpu, &b->args[n->index]);
    return !b->gpu.failed;
}

static bool wait_all(struct backend_graph *b) { return gpu_finish(&b->gpu) && !b->gpu.failed; }

static size_t bytes_of(const struct tensor *t) {
    const size_t each = t->dtype == DTYPE_REAL  ? sizeof(real)
                        : t->dtype == DTYPE_I32 ? sizeof(int32_t)
                                                : 1;
    return (size_t)t->n_elements * each;
}

static bool fetch(struct backend_graph *b, const struct tensor *t) {
    const void *at = device_of(b, t);
    if (!at) return true;
    b->copies++;
    return gpu_download(&b->gpu, t->data, at, bytes_of(t));
}

static bool fetch_grads(struct backend_graph *b, const struct params *params) {
    const struct set *s = find_set(b, params);
    if (!s || !s->grads.device) return true;
    b->copies++;
    return gpu_download(&b->gpu, params->grads, s->grads.device, s->grads.bytes);
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
    table.wait = wait_all;
    table.fetch = fetch;
    table.fetch_grads = fetch_grads;
    table.message = message_of;
    table.copies = copies_of;
    table.adam = gpu_adam;
    table.play = gpu_play();
    return &table;
}
