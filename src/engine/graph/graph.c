// Building a graph: tensors, names, nodes, leaves and placement.
#include "engine/graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/graph/node.h"

struct graph *graph_new(void) {
    return mem_alloc(sizeof(struct graph));
}

static void tensor_free(struct tensor *t) {
    if (t->root) {
        if (t->storage == STORE_INPUT) mem_slab_free(t->data, t->root->bytes);
        free(t->root->written.list);
        free(t->root->overwritten.list);
        free(t->root);
    }
    free(t);
}

void graph_free(struct graph *g) {
    if (!g) return;
    for (int i = 0; i < g->n_tensors; i++) tensor_free(g->tensors[i]);
    for (int i = 0; i < g->n_nodes; i++) {
        free(g->nodes[i]->src);
        free(g->nodes[i]);
    }
    if (!g->shared) mem_slab_free(g->slab, g->slab_bytes);
    mem_slab_free(g->kept, g->kept_bytes);
    free(g->tensors);
    free(g->nodes);
    free(g->packs);
    free(g->clears);
    free(g->regions);
    free(g);
}

// ---- names

void graph_scope_push(struct graph *g, const char *format, ...) {
    CHECK(g->scope_depth < SCOPE_MAX_DEPTH, "scope %s: nested too deeply", g->scope);
    g->scope_marks[g->scope_depth++] = g->scope_length;
    size_t room = sizeof g->scope - (size_t)g->scope_length;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(g->scope + g->scope_length, room, format, args);
    va_end(args);
    CHECK(n > 0 && (size_t)n + 1 < room, "scope %s: the name is too long", g->scope);
    g->scope_length += n;
    g->scope[g->scope_length++] = '/';
    g->scope[g->scope_length] = 0;
}

void graph_scope_pop(struct graph *g) {
    CHECK(g->scope_depth > 0, "graph_scope_pop without a push");
    g->scope_length = g->scope_marks[--g->scope_depth];
    g->scope[g->scope_length] = 0;
}

static void join_name(char *to, const char *scope, int scope_length, const char *name) {
    int n = snprintf(to, TENSOR_NAME_SIZE, "%.*s%s", scope_length, scope, name);
    CHECK(n < TENSOR_NAME_SIZE, "%.*s%s: the name is too long", scope_length, scope, name);
}

void graph_name(struct graph *g, struct tensor *t, const char *name) {
    (void)g;
    char full[TENSOR_NAME_SIZE];
    join_name(full, t->name, t->scope_length, name);
    memcpy(t->name, full, sizeof full);
    if (t->node) memcpy(t->node->name, full, sizeof full);
}

static uint32_t hash_name(const char *s) {
    uint32_t h = 2166136261u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

// scope/op, then scope/op_2, ...: a name says which node it is.
static void default_name(struct graph *g, struct node *n) {
    join_name(n->name, g->scope, g->scope_length, op_table[n->kind].name);
    n->scope_length = g->scope_length;
    n->name_hash = hash_name(n->name);
    int same = 1;
    for (int i = 0; i < g->n_nodes; i++) same += g->nodes[i]->name_hash == n->name_hash;
    if (same == 1) return;
    char own[TENSOR_NAME_SIZE];
    snprintf(own, sizeof own, "%s_%d", op_table[n->kind].name, same);
    join_name(n->name, g->scope, g->scope_length, own);
}

// ---- tensors

size_t dtype_bytes(enum dtype d) {
    return d == DTYPE_REAL ? sizeof(real) : d == DTYPE_I32 ? sizeof(int32_t) : 1;
}

static struct tensor *tensor_add(struct graph *g, const char *name, enum dtype dtype, int n_dims,
                                 const int64_t *shape) {
    CHECK(!g->planned, "%s: the graph is planned already", name);
    CHECK(n_dims >= 1 && n_dims <= TENSOR_MAX_DIMS, "%s: %d dimensions", name, n_dims);
    struct tensor *t = mem_alloc(sizeof *t);
    *t = (struct tensor){.dtype = dtype, .n_dims = n_dims, .n_elements = 1};
    snprintf(t->name, sizeof t->name, "%s", name);
    for (int i = 0; i < n_dims; i++) {
        CHECK(shape[i] > 0, "%s: dimension %d is %lld", name, i, (long long)shape[i]);
        t->shape[i] = shape[i];
        t->n_elements *= shape[i];
    }
    if (g->n_tensors == g->tensors_capacity) {
        g->tensors_capacity = g->tensors_capacity ? 2 * g->tensors_capacity : 256;
        g->tensors = mem_resize(g->tensors, (size_t)g->tensors_capacity * sizeof(struct tensor *));
    }
    g->tensors[g->n_tensors++] = t;
    return t;
}

struct tensor *tensor_new(struct graph *g, const char *name, enum dtype dtype, int n_dims,
                          const int64_t *shape) {
    struct tensor *t = tensor_add(g, name, dtype, n_dims, shape);
    t->root = mem_alloc(sizeof *t->root);
    *t->root = (struct root){.tensor = t,
                             .first_use = -1,
                             .last_use = -1,
                             .bytes = (size_t)t->n_elements * dtype_bytes(dtype)};
    return t;
}

struct tensor *tensor_view(struct graph *g, const char *name, struct tensor *base, int64_t offset,
                           int n_dims, const int64_t *shape) {
    struct tensor *t = tensor_add(g, name, base->dtype, n_dims, shape);
    CHECK(offset >= 0 && offset + t->n_elements <= base->n_elements, "%s: a view beyond %s", name,
          base->name);
    t->base = base;
    t->offset = offset;
    return t;
}

struct tensor *tensor_root(const struct tensor *t, int64_t *offset) {
    int64_t o = 0;
    for (; t->base; t = t->base) o += t->offset;
    if (offset) *offset = o;
    return (struct tensor *)t;
}

// The tensor that would have to move to move t: t, or what t is another shape of. NULL when it
// cannot.
static struct tensor *movable(const struct tensor *t) {
    while (t->base && t->base->n_elements == t->n_elements) t = t->base;
    bool ok = !t->base && t->storage == STORE_SLAB && t->node && t->node->kind != OP_STACK;
    return ok ? (struct tensor *)t : NULL;
}

bool tensor_can_be_placed(const struct tensor *t) { return movable(t) != NULL; }

void tensor_place(struct tensor *t, struct tensor *base, int64_t offset) {
    struct tensor *m = movable(t);
    CHECK(m && !m->root->grad, "%s: it has its place already", t->name);
    CHECK(m->dtype == base->dtype && offset + m->n_elements <= base->n_elements, "%s: no room",
          t->name);
    m->base = base;
    m->offset = offset;
}

int64_t tensor_last(const struct tensor *t) { return t->shape[t->n_dims - 1]; }
int64_t tensor_rows(const struct tensor *t) { return t->n_elements / tensor_last(t); }
int64_t tensor_row_size(const struct tensor *t) { return t->n_elements / t->shape[0]; }

// ---- nodes

void node_fail(const struct node *n, const char *file, int line, const char *condition,
               const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    check_failed(file, line, condition, "node %s: %s", n->name, message);
}

static struct node *node_alloc(struct graph *g, enum op_kind kind) {
    CHECK(!g->planned, "%s: the graph is planned already", op_table[kind].name);
    struct node *n = mem_alloc(sizeof *n);
    *n = (struct node){.g = g, .kind = kind, .index = -1};
    return n;
}

struct node *node_new(struct graph *g, enum op_kind kind) {
    struct node *n = node_alloc(g, kind);
    default_name(g, n);
    return n;
}

struct node *backward_new(struct graph *g, enum op_kind kind, const struct node *forward,
                          const char *suffix) {
    struct node *n = node_alloc(g, kind);
    snprintf(n->name, sizeof n->name, "%.*s:%s", (int)(sizeof n->name - strlen(suffix) - 2),
             forward->name, suffix);
    n->scope_length = forward->scope_length;
    n->at = forward->at;
    return n;
}

void node_src(struct node *n, struct tensor *t) {
    n->src = mem_resize(n->src, (size_t)(n->n_src + 1) * sizeof(struct tensor *));
    n->src[n->n_src++] = t;
}

static struct tensor *add_out(struct node *n, struct tensor *t) {
    CHECK(n->n_out < NODE_MAX_OUT, "node %s: too many outputs", n->name);
    t->node = n;
    t->scope_length = n->scope_length;
    return n->out[n->n_out++] = t;
}

struct tensor *node_out(struct node *n, int n_dims, const int64_t *shape) {
    return add_out(n, tensor_new(n->g, n->name, DTYPE_REAL, n_dims, shape));
}

struct tensor *node_out_i32(struct node *n, int n_dims, const int64_t *shape) {
    return add_out(n, tensor_new(n->g, n->name, DTYPE_I32, n_dims, shape));
}

struct tensor *node_out_like(struct node *n, const struct tensor *like) {
    return node_out(n, like->n_dims, like->shape);
}

struct tensor *node_out_view(struct node *n, struct tensor *base, int64_t offset, int n_dims,
                             const int64_t *shape) {
    return add_out(n, tensor_view(n->g, n->name, base, offset, n_dims, shape));
}

void node_scratch(struct node *n, int64_t n_reals) {
    if (n_reals <= 0) return;
    n->scratch = tensor_new(n->g, n->name, DTYPE_REAL, 1, &n_reals);
}

void node_append(struct node *n) {
    struct graph *g = n->g;
    if (g->n_nodes == g->nodes_capacity) {
        g->nodes_capacity = g->nodes_capacity ? 2 * g->nodes_capacity : 256;
        g->nodes = mem_resize(g->nodes, (size_t)g->nodes_capacity * sizeof(struct node *));
    }
    n->index = g->n_nodes;
    g->nodes[g->n_nodes++] = n;
}

struct tensor *node_finish(struct node *n) {
    const struct op *op = &op_table[n->kind];
    NODE_CHECK(n, n->n_src >= op->min_src && (op->max_src < 0 || n->n_src <= op->max_src),
               "%d sources", n->n_src);
    for (int i = 0; i < n->n_src; i++)
        NODE_CHECK(n, n->src[i] || i >= op->min_src, "source %d is NULL", i);
    op->shape(n);
    n->out[0]->one_hot = node_one_hot(n);
    node_append(n);
    return n->out[0];
}

// ---- precision

bool graph_bf16(struct graph *g, bool on) {
    const bool before = g->bf16;
    CHECK(!on || cpu_kernels_bf16_name(), "this build has no bf16");
    g->bf16 = on;
    return before;
}

// ---- leaves

struct tensor *g_input(struct graph *g, const char *name, enum dtype dtype, int n_dims,
                       const int64_t *shape) {
    char full[TENSOR_NAME_SIZE];
    join_name(full, g->scope, g->scope_length, name);
    struct tensor *t = tensor_new(g, full, dtype, n_dims, shape);
    t->storage = STORE_INPUT;
    t->scope_length = g->scope_length;
    t->data = mem_slab_alloc(t->root->bytes);
    return t;
}

struct tensor *g_param(struct graph *g, struct params *set, const char *name) {
    const struct param *p = params_find(set, name);
    CHECK(p, "no parameter is named %s", name);
    for (int i = 0; i < g->n_tensors; i++) {
        struct tensor *t = g->tensors[i];
        if (t->storage == STORE_PARAM && t->params == set && t->flat_offset == p->offset) return t;
    }
    struct tensor *t = tensor_new(g, p->name, DTYPE_REAL, p->n_dims, p->shape);
    t->storage = STORE_PARAM;
    t->params = set;
    t->flat_offset = p->offset;
    return t;
}

void graph_want_gradient(struct graph *g, struct tensor *input) {
    CHECK(!g->has_gradients, "%s: ask for its gradient before graph_gradients", input->name);
    CHECK(input->storage == STORE_INPUT && !input->base && input->dtype == DTYPE_REAL,
          "%s is no input of reals", input->name);
    input->needs_grad = true;
}

void graph_freeze(struct graph *g, const struct params *set) {
    CHECK(!g->has_gradients, "parameters are frozen before graph_gradients");
    for (int i = 0; i < g->n_tensors; i++)
        if (g->tensors[i]->storage == STORE_PARAM && g->tensors[i]->params == set)
            g->tensors[i]->frozen = true;
}

void graph_keep(struct graph *g, struct tensor *t) {
    CHECK(!g->planned, "%s: keep it before graph_plan", t->name);
    t->keep = true;
}

void graph_rest_weights(struct graph *g) {
    CHECK(!g->planned, "before graph_plan");
    g->weights_rest = true;
}

int graph_n_nodes(const struct graph *g) { return g->n_nodes; }

// ---- packed weights

struct tensor *graph_find_pack(struct graph *g, const struct pack *key) {
    for (int i = 0; i < g->n_packs; i++) {
        struct pack *p = &g->packs[i];
        if (p->w == key->w && p->kind == key->kind && p->transposed == key->transposed &&
            p->bf16 == key->bf16 && p->column == key->column && p->k == key->k)
            return p->packed;
    }
    return NULL;
}

void graph_add_pack(struct graph *g, const struct pack *pack) {
    if (g->n_packs == g->packs_capacity) {
        g->packs_capacity = g->packs_capacity ? 2 * g->packs_capacity : 32;
        g->packs = mem_resize(g->packs, (size_t)g->packs_capacity * sizeof *g->packs);
    }
    g->packs[g->n_packs++] = *pack;
}
