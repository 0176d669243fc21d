// Reverse mode: walks the tape backwards and appends the nodes that compute gradients.
//
// A source's gradient is complete when the node that made it comes up, because all its readers come
// later on the tape and have been passed; that also holds for a stack's sources, whose memory the
// stack's readers share.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/graph/node.h"

// ---- spans of elements that have a value

bool spans_cover(const struct spans *s, int64_t first, int64_t end) {
    for (int i = 0; i < s->n; i++)
        if (s->list[i].first <= first && end <= s->list[i].end) return true;
    return false;
}

bool spans_touch(const struct spans *s, int64_t first, int64_t end) {
    for (int i = 0; i < s->n; i++)
        if (s->list[i].first < end && first < s->list[i].end) return true;
    return false;
}

void spans_add(struct spans *s, int64_t first, int64_t end) {
    int at = 0;
    while (at < s->n && s->list[at].end < first) at++;
    int to = at; // [at, to) touch the new span and merge with it
    while (to < s->n && s->list[to].first <= end) {
        if (s->list[to].first < first) first = s->list[to].first;
        if (s->list[to].end > end) end = s->list[to].end;
        to++;
    }
    if (to == at && s->n == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 4;
        s->list = mem_resize(s->list, (size_t)s->capacity * sizeof *s->list);
    }
    memmove(&s->list[at + 1], &s->list[to], (size_t)(s->n - to) * sizeof *s->list);
    s->n += 1 - (to - at);
    s->list[at] = (struct span){first, end};
}

// ---- gradient buffers

bool wants_grad(const struct tensor *t) { return t && t->needs_grad; }

// The gradient buffer of a root.
static struct tensor *root_grad(struct graph *g, struct tensor *root) {
    if (root->root->grad) return root->root->grad;
    char name[TENSOR_NAME_SIZE];
    snprintf(name, sizeof name, "%.*s:grad", TENSOR_NAME_SIZE - 8, root->name);
    struct tensor *d = tensor_new(g, name, DTYPE_REAL, root->n_dims, root->shape);
    if (root->storage == STORE_PARAM) {
        d->storage = STORE_PARAM_GRAD;
        d->params = root->params;
        d->flat_offset = root->flat_offset;
    }
    return root->root->grad = d;
}

// t.grad: the same view of the root's gradient that t is of its root.
static struct tensor *grad_tensor(struct graph *g, struct tensor *t) {
    if (t->grad) return t->grad;
    int64_t offset;
    struct tensor *root = tensor_root(t, &offset), *d = root_grad(g, root);
    if (t == root) return t->grad = d;
    char name[TENSOR_NAME_SIZE];
    snprintf(name, sizeof name, "%.*s:grad", TENSOR_NAME_SIZE - 8, t->name);
    return t->grad = tensor_view(g, name, d, offset, t->n_dims, t->shape);
}

static void append_fill(struct graph *g, struct tensor *d, int64_t first, int64_t end, real value) {
    struct node *n = mem_alloc(sizeof *n);
    *n = (struct node){.g = g, .kind = OP_FILL, .at.scale = value};
    snprintf(n->name, sizeof n->name, "%.*s:fill", TENSOR_NAME_SIZE - 8, d->name);
    node_out_view(n, d, first, 1, (int64_t[]){end - first});
    node_append(n);
}

// Zero-fills what of [first, end) of the gradient root d has no value yet. A parameter's gradient
// is zeroed before the run, so there it only needs to be noted.
static void fill_gaps(struct graph *g, struct tensor *d, int64_t first, int64_t end) {
    struct spans *s = &d->root->written;
    while (!spans_cover(s, first, end)) {
        int64_t a = first, b = end;
        for (int i = 0; i < s->n; i++) // ascending
            if (s->list[i].first <= a && a < s->list[i].end) a = s->list[i].end;
        for (int i = 0; i < s->n; i++)
            if (s->list[i].first > a && s->list[i].first < b) b = s->list[i].first;
        if (d->storage == STORE_SLAB) append_fill(g, d, a, b, 0);
        spans_add(s, a, b);
    }
}

struct tensor *output_grad(struct graph *g, struct tensor *t) {
    struct tensor *d = grad_tensor(g, t);
    int64_t offset;
    struct tensor *root = tensor_root(d, &offset);
    fill_gaps(g, root, offset, offset + t->n_elements);
    return d;
}

static struct tensor *contribution(struct graph *g, struct node *b, struct tensor *x,
                                   bool only_adds) {
    if (!wants_grad(x)) return NULL;
    int64_t offset;
    struct tensor *d = grad_tensor(g, x), *root = tensor_root(d, &offset);
    struct root *r = root->root;
    int64_t end = offset + x->n_elements;
    bool adds = only_adds || spans_touch(&r->written, offset, end);
    if (adds) {
        fill_gaps(g, root, offset, end);
    } else {
        spans_add(&r->written, offset, end);
        if (root->storage == STORE_PARAM_GRAD) spans_add(&r->overwritten, offset, end);
    }
    b->accumulate[b->n_out] = adds;
    return node_out_view(b, root, offset, x->n_dims, x->shape);
}

struct tensor *backward_out(struct graph *g, struct node *b, struct tensor *x) {
    struct tensor *t = contribution(g, b, x, false);
    if (!t) b->n_out++; // keeps the place: out[i] stays NULL
    return t;
}

// In a matrix that is filled by columns, a span counts columns times rows: columns [a, b) are [a *
// rows, b * rows). plan.c zeroes the whole matrix before a run unless every column is overwritten.
struct tensor *backward_out_columns(struct graph *g, struct node *b, struct tensor *w,
                                    int64_t column, int64_t k) {
    if (w->base || !w->root->by_column) return backward_out_added(g, b, w);
    struct tensor *d = grad_tensor(g, w);
    struct root *r = d->root;
    int64_t first = column * w->shape[0], end = (column + k) * w->shape[0];
    bool adds = spans_touch(&r->written, first, end);
    if (!adds) spans_add(&r->overwritten, first, end);
    spans_add(&r->written, first, end);
    b->accumulate[b->n_out] = adds;
    return node_out_view(b, d, 0, 2, w->shape);
}

struct tensor *backward_out_added(struct graph *g, struct node *b, struct tensor *x) {
    struct tensor *t = contribution(g, b, x, true);
    if (!t) b->n_out++;
    return t;
}

void backward_pass(struct graph *g, const struct node *forward, struct tensor *dst,
                   struct tensor *src_grad, const char *suffix) {
    if (!wants_grad(dst)) return;
    struct node *b = backward_new(g, OP_COPY, forward, suffix);
    node_src(b, src_grad);
    backward_out(g, b, dst);
    node_append(b);
}

// ---- the walk

// needs_grad: a parameter or wanted input lies upstream, along edges that carry gradient.
static void mark_upstream(struct graph *g) {
    for (int i = 0; i < g->n_tensors; i++)
        if (g->tensors[i]->storage == STORE_PARAM)
            g->tensors[i]->needs_grad = !g->tensors[i]->frozen;
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        const struct op *op = &op_table[n->kind];
        bool any = false;
        for (int s = 0; op->grad && s < n->n_src; s++)
            any |= wants_grad(n->src[s]) && !(s < 32 && (op->no_grad >> s & 1));
        if (n->out[0]) n->out[0]->needs_grad = any;
    }
}

// reached: the loss depends on the node, along edges that carry gradient. What the loss does not
// reach gets no gradient.
static void mark_reached(struct graph *g, struct tensor *loss) {
    for (int i = 0; i < g->n_nodes; i++) g->nodes[i]->reached = false;
    loss->node->reached = true;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        struct node *n = g->nodes[i];
        const struct op *op = &op_table[n->kind];
        if (!n->reached || !n->out[0]->needs_grad) continue;
        for (int s = 0; s < n->n_src; s++) {
            struct tensor *x = n->src[s];
            if (wants_grad(x) && !(s < 32 && (op->no_grad >> s & 1)) && x->node)
                x->node->reached = true;
        }
    }
}

// A weight matrix that only linear layers read gets its gradient in blocks of whole columns.
static void mark_columns(struct graph *g) {
    for (int i = 0; i < g->n_tensors; i++)
        if (g->tensors[i]->storage == STORE_PARAM)
            g->tensors[i]->root->by_column = g->tensors[i]->n_dims == 2;
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        for (int s = 0; s < n->n_src; s++)
            if (n->src[s] && !n->src[s]->base && !(n->kind == OP_LINEAR && s == 1) &&
                n->kind != OP_PACK)
                n->src[s]->root->by_column = false;
    }
}

// Whoever wants a gradient and got one can ask for it.
static void name_gradients(struct graph *g) {
    for (int i = 0, n = g->n_tensors; i < n; i++) {
        struct tensor *t = g->tensors[i];
        int64_t at;
        struct tensor *root = tensor_root(t, &at), *d = root->root->grad;
        if (!t->needs_grad) continue;
        if (root->storage == STORE_PARAM ||
            (d && spans_touch(&d->root->written, at, at + t->n_elements)))
            grad_tensor(g, t);
    }
}

void graph_gradients(struct graph *g, struct tensor *loss) {
    CHECK(!g->has_gradients && !g->planned, "gradients are added once, before graph_plan");
    CHECK(loss->n_elements == 1 && loss->node, "%s: the loss is a node with one element",
          loss->name);
    mark_upstream(g);
    CHECK(loss->needs_grad, "%s: the loss depends on no parameter", loss->name);
    mark_reached(g, loss);
    g->has_gradients = true;
    reuse_steps(g);
    mark_columns(g);
    g->groups = linear_groups_new(g);
    int64_t offset;
    struct tensor *d = tensor_root(grad_tensor(g, loss), &offset);
    append_fill(g, d, offset, offset + 1, 1);
    spans_add(&d->root->written, offset, offset + 1);
    for (int i = loss->node->index; i >= 0; i--) {
        struct node *n = g->nodes[i];
        const struct op *op = &op_table[n->kind];
        struct tensor *y = n->out[0];
        if (op->grad && n->reached && y->needs_grad) {
            int64_t at;
            struct tensor *root = tensor_root(y, &at), *root_d = root->root->grad;
            if (root_d && spans_touch(&root_d->root->written, at, at + y->n_elements))
                op->grad(g, n);
        }
        if (n->kind == OP_LINEAR) linear_groups_finish(g->groups, g, n);
    }
    linear_groups_free(g->groups);
    g->groups = NULL;
    name_gradients(g);
}
