// Ops that share memory (reshape, slice, stack) and the two that only move or fill it.
#include <string.h>

#include "engine/graph/ops.h"

// ---- views: nothing runs, and their gradients are the same views of the gradient

void view_grad(struct graph *g, struct node *n) {
    (void)g;
    (void)n;
}

void reshape_shape(struct node *n) {
    struct tensor *x = n->src[0];
    const int64_t *shape = n->at.shape ? n->at.shape : x->shape;
    int n_dims = n->at.shape ? n->at.n_dims : x->n_dims;
    int64_t count = 1;
    for (int i = 0; i < n_dims; i++) count *= shape[i];
    NODE_CHECK(n, count == x->n_elements, "%s has %lld elements, the new shape %lld", x->name,
               (long long)x->n_elements, (long long)count);
    node_out_view(n, x, 0, n_dims, shape);
    n->at.shape = NULL; // the caller's memory
}

struct tensor *g_reshape(struct graph *g, struct tensor *x, int n_dims, const int64_t *shape) {
    struct node *n = node_new(g, OP_RESHAPE);
    n->at.n_dims = n_dims;
    n->at.shape = shape;
    node_src(n, x);
    return node_finish(n);
}

struct tensor *g_stop_gradient(struct graph *g, struct tensor *x) {
    struct node *n = node_new(g, OP_STOP_GRADIENT);
    node_src(n, x);
    return node_finish(n);
}

void slice_shape(struct node *n) {
    struct tensor *x = n->src[0];
    int64_t shape[TENSOR_MAX_DIMS];
    NODE_CHECK(n, n->at.first >= 0 && n->at.count >= 1 && n->at.first + n->at.count <= x->shape[0],
               "rows %lld..%lld of %s with %lld", (long long)n->at.first,
               (long long)(n->at.first + n->at.count), x->name, (long long)x->shape[0]);
    memcpy(shape, x->shape, sizeof shape);
    shape[0] = n->at.count;
    node_out_view(n, x, n->at.first * tensor_row_size(x), x->n_dims, shape);
}

struct tensor *g_slice(struct graph *g, struct tensor *x, int64_t first, int64_t count) {
    struct node *n = node_new(g, OP_SLICE);
    n->at.first = first;
    n->at.count = count;
    node_src(n, x);
    return node_finish(n);
}

void stack_shape(struct node *n) {
    struct tensor *x = n->src[0];
    int64_t shape[TENSOR_MAX_DIMS];
    memcpy(shape, x->shape, sizeof shape);
    shape[0] *= n->n_src;
    struct tensor *all = node_out(n, x->n_dims, shape);
    NODE_CHECK(n, !n->g->has_gradients, "stacks are made before graph_gradients");
    for (int i = 0; i < n->n_src; i++) {
        NODE_CHECK(n,
                   n->src[i]->n_dims == x->n_dims &&
                       memcmp(n->src[i]->shape, x->shape, sizeof x->shape) == 0,
                   "%s has another shape than %s", n->src[i]->name, x->name);
        NODE_CHECK(n, tensor_can_be_placed(n->src[i]),
                   "%s is a leaf, a part of something, or stacked already", n->src[i]->name);
        tensor_place(n->src[i], all, i * x->n_elements);
    }
}

struct tensor *g_stack(struct graph *g, struct tensor *const *x, int count) {
    struct node *n = node_new(g, OP_STACK);
    for (int i = 0; i < count; i++) node_src(n, x[i]);
    return node_finish(n);
}

// ---- out (+)= source: a contribution that arrives unchanged

static void copy_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    const real *x = reals(n->src[0]) + first;
    real *y = reals(n->out[0]) + first;
    if (n->accumulate[0])
        r->rows->affine(end - first, x, 1, 0, y, true);
    else
        memcpy(y, x, (size_t)(end - first) * sizeof(real));
}

void copy_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, 8, copy_rows);
}

static void fill_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    (void)r;
    real *y = reals(n->out[0]);
    for (int64_t i = first; i < end; i++) y[i] = n->at.scale;
}

void fill_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, 4, fill_rows);
}
