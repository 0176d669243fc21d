// Weight gradients of linear layers that are used several times (a time loop): one product per
// group.
//
//     y_t = x_t w^T, t = 0..T-1      dw = sum_t dy_t^T x_t = [dy_0; dy_1; ..]^T [x_0; x_1; ..]
//
// The x of a group, and the y (whose layout their gradients share), are moved into one stack each
// before memory is planned. What cannot be moved (a leaf, a view, part of another stack) is copied
// together when the calls are small, else each call adds its own product.
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/graph/node.h"

enum { COPY_ROWS_MAX = 128 }; // calls with more rows than this are efficient on their own

struct group {
    struct node **calls; // in tape order
    int n, capacity;
    bool each; // no common product
    bool same_bias;
};

struct linear_groups {
    struct group *list;
    int n, capacity;
};

static bool same_weights(const struct node *a, const struct node *b) {
    return a->src[1] == b->src[1] && a->at.column == b->at.column &&
           a->src[0]->shape[1] == b->src[0]->shape[1];
}

static void add_call(struct linear_groups *l, struct node *n) {
    struct group *f = NULL;
    for (int i = 0; i < l->n && !f; i++)
        if (same_weights(l->list[i].calls[0], n)) f = &l->list[i];
    if (!f) {
        if (l->n == l->capacity) {
            l->capacity = l->capacity ? 2 * l->capacity : 32;
            l->list = mem_resize(l->list, (size_t)l->capacity * sizeof *l->list);
        }
        f = &l->list[l->n++];
        *f = (struct group){.same_bias = true};
    }
    if (f->n == f->capacity) {
        f->capacity = f->capacity ? 2 * f->capacity : 8;
        f->calls = mem_resize(f->calls, (size_t)f->capacity * sizeof *f->calls);
    }
    f->calls[f->n++] = n;
    f->same_bias &= n->src[2] == f->calls[0]->src[2];
}

static struct tensor *call_x(const struct node *n) { return n->src[0]; }
static struct tensor *call_y(const struct node *n) { return n->out[0]; }
typedef struct tensor *call_side(const struct node *n);

// Do the tensors follow each other in one root?
static bool in_order(const struct group *f, call_side *side) {
    int64_t at, next;
    struct tensor *root = tensor_root(side(f->calls[0]), &at);
    next = at + side(f->calls[0])->n_elements;
    for (int i = 1; i < f->n; i++) {
        struct tensor *t = side(f->calls[i]);
        if (tensor_root(t, &at) != root || at != next) return false;
        next = at + t->n_elements;
    }
    return true;
}

static int64_t total_rows(const struct group *f) {
    int64_t rows = 0;
    for (int i = 0; i < f->n; i++) rows += f->calls[i]->src[0]->shape[0];
    return rows;
}

static struct tensor *rows_tensor(struct graph *g, const struct group *f, call_side *side,
                                  const char *suffix) {
    char name[TENSOR_NAME_SIZE];
    snprintf(name, sizeof name, "%.*s:%s", TENSOR_NAME_SIZE - 12, side(f->calls[0])->name, suffix);
    return tensor_new(g, name, DTYPE_REAL, 2,
                      (int64_t[]){total_rows(f), side(f->calls[0])->shape[1]});
}

// Moves all of one side into a new stack. False when one of them cannot be moved or is there twice.
static bool place(struct graph *g, const struct group *f, call_side *side) {
    for (int i = 0; i < f->n; i++) {
        if (!tensor_can_be_placed(side(f->calls[i]))) return false;
        for (int j = 0; j < i; j++)
            if (tensor_root(side(f->calls[i]), NULL) == tensor_root(side(f->calls[j]), NULL))
                return false;
    }
    struct tensor *stack = rows_tensor(g, f, side, "rows");
    int64_t at = 0;
    for (int i = 0; i < f->n; i++) {
        tensor_place(side(f->calls[i]), stack, at);
        at += side(f->calls[i])->n_elements;
    }
    return true;
}

static void arrange(struct graph *g, struct group *f) {
    bool small = true;
    for (int i = 0; i < f->n; i++) small &= f->calls[i]->src[0]->shape[0] <= COPY_ROWS_MAX;
    bool x = in_order(f, call_x) || place(g, f, call_x);
    bool y = in_order(f, call_y) || place(g, f, call_y);
    f->each = !(x && y) && !small;
}

struct linear_groups *linear_groups_new(struct graph *g) {
    struct linear_groups *l = mem_alloc(sizeof *l);
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        if (n->kind == OP_LINEAR && n->reached && wants_grad(n->src[1])) add_call(l, n);
    }
    for (int i = 0; i < l->n; i++)
        if (l->list[i].n > 1) arrange(g, &l->list[i]);
    return l;
}

void linear_groups_free(struct linear_groups *l) {
    if (!l) return;
    for (int i = 0; i < l->n; i++) free(l->list[i].calls);
    free(l->list);
    free(l);
}

static struct group *find_group(const struct linear_groups *l, const struct node *n) {
    for (int i = 0; i < l->n; i++)
        for (int c = 0; c < l->list[i].n; c++)
            if (l->list[i].calls[c] == n) return &l->list[i];
    return NULL;
}

bool linear_groups_has(const struct linear_groups *l, const struct node *n) {
    const struct group *f = find_group(l, n);
    return f && f->n > 1 && !f->each;
}

static int64_t group_one_hot(const struct group *f, call_side *side) {
    const int64_t classes = side(f->calls[0])->one_hot;
    for (int i = 1; i < f->n; i++)
        if (side(f->calls[i])->one_hot != classes) return 0;
    return classes;
}

// The stacked rows of one side: a view where they lie in order, else copies.
static struct tensor *stacked(struct graph *g, const struct group *f, call_side *side,
                              bool gradients) {
    if (in_order(f, side)) {
        int64_t at;
        struct tensor *first = side(f->calls[0]), *root = tensor_root(first, &at);
        struct tensor *all =
            tensor_view(g, first->name, root, at, 2, (int64_t[]){total_rows(f), first->shape[1]});
        all->one_hot = group_one_hot(f, side);
        return gradients ? output_grad(g, all) : all;
    }
    struct tensor *all = rows_tensor(g, f, side, gradients ? "drows" : "rows");
    all->one_hot = group_one_hot(f, side);
    int64_t at = 0;
    for (int i = 0; i < f->n; i++) {
        struct tensor *t = side(f->calls[i]), *from = gradients ? output_grad(g, t) : t;
        struct node *copy = backward_new(g, OP_COPY, f->calls[i], gradients ? "dy_row" : "x_row");
        node_src(copy, from);
        node_out_view(copy, all, at, 2, t->shape);
        node_append(copy);
        at += t->n_elements;
    }
    return all;
}

void linear_groups_finish(struct linear_groups *l, struct graph *g, const struct node *n) {
    struct group *f = find_group(l, n);
    if (!f || f->n < 2 || f->each || f->calls[0] != n) return;
    bool any = false;
    for (int i = 0; i < f->n; i++) {
        int64_t at;
        struct tensor *y = f->calls[i]->out[0], *d = tensor_root(y, &at)->root->grad;
        any |= d && spans_touch(&d->root->written, at, at + y->n_elements);
    }
    if (!any) return;
    struct tensor *x = stacked(g, f, call_x, false), *dy = stacked(g, f, call_y, true);
    linear_weight_grad(g, n, x, dy);
    if (f->same_bias)
        linear_bias_grad(g, n, dy);
    else
        for (int i = 0; i < f->n; i++)
            linear_bias_grad(g, f->calls[i], output_grad(g, f->calls[i]->out[0]));
}
