// Ops: elementwise functions and the mean.
#include <string.h>

#include "engine/graph/ops.h"

enum { COST_PLAIN = 8, COST_FUNCTION = 40 }; // ns for 64 elements

static void same_shape(struct node *n) {
    const struct tensor *a = n->src[0], *b = n->src[1];
    NODE_CHECK(n, a->n_dims == b->n_dims && memcmp(a->shape, b->shape, sizeof a->shape) == 0,
               "%s and %s have different shapes", a->name, b->name);
}

// A backward node with sources (first, dy) whose result goes to n's source 0.
static void unary_grad(struct graph *g, struct node *n, enum op_kind kind, struct tensor *first) {
    struct node *b = backward_new(g, kind, n, "dx");
    struct tensor *dy = output_grad(g, n->out[0]);
    node_src(b, first);
    node_src(b, dy);
    backward_out(g, b, n->src[0]);
    node_append(b);
}

// The run function `name` of an elementwise op: `call` sees x, x1 (sources), y (output), k
// elements, n and r.
#define ELEMENTWISE(name, cost, call)                                                              \
    static void name##_elements(const struct run *r, const struct node *n, int64_t first,          \
                                int64_t end) {                                                     \
        const int64_t k = end - first;                                                             \
        const real *x = reals(n->src[0]) + first,                                                  \
                   *x1 = n->n_src > 1 ? reals(n->src[1]) + first : NULL;                           \
        real *y = reals(n->out[0]) + first;                                                        \
        (void)x1;                                                                                  \
        call;                                                                                      \
    }                                                                                              \
    void name##_run(const struct run *r, const struct node *n) {                                   \
        run_elements(r, n, n->out[0]->n_elements, cost, name##_elements);                          \
    }

ELEMENTWISE(add, COST_PLAIN, r->rows->add(k, x, x1, y))
ELEMENTWISE(affine, COST_PLAIN, r->rows->affine(k, x, n->at.scale, n->at.shift, y, false))
ELEMENTWISE(affine_dx, COST_PLAIN, r->rows->affine(k, x, n->at.scale, 0, y, n->accumulate[0]))
ELEMENTWISE(mul, COST_PLAIN, r->rows->mul(k, x, x1, y, false))
ELEMENTWISE(mul_dx, COST_PLAIN, r->rows->mul(k, x, x1, y, n->accumulate[0]))
ELEMENTWISE(tanh, COST_FUNCTION, r->rows->tanh(k, x, y))
ELEMENTWISE(tanh_dx, COST_PLAIN, r->rows->tanh_dx(k, x, x1, y, n->accumulate[0]))
ELEMENTWISE(sigmoid, COST_FUNCTION, r->rows->sigmoid(k, x, y))
ELEMENTWISE(sigmoid_dx, COST_PLAIN, r->rows->sigmoid_dx(k, x, x1, y, n->accumulate[0]))
ELEMENTWISE(symlog, COST_FUNCTION, r->rows->symlog(k, x, y))
ELEMENTWISE(symlog_dx, COST_PLAIN, r->rows->symlog_dx(k, x, x1, y, n->accumulate[0]))
ELEMENTWISE(less, COST_PLAIN, r->rows->less(k, x, n->at.scale, y))

// ---- two sources

void add_shape(struct node *n) {
    same_shape(n);
    node_out_like(n, n->src[0]);
}

struct tensor *g_add(struct graph *g, struct tensor *a, struct tensor *b) {
    struct node *n = node_new(g, OP_ADD);
    node_src(n, a);
    node_src(n, b);
    return node_finish(n);
}

void add_grad(struct graph *g, struct node *n) {
    struct tensor *dy = output_grad(g, n->out[0]);
    backward_pass(g, n, n->src[0], dy, "da");
    backward_pass(g, n, n->src[1], dy, "db");
}

void mul_shape(struct node *n) { add_shape(n); }

struct tensor *g_mul(struct graph *g, struct tensor *a, struct tensor *b) {
    struct node *n = node_new(g, OP_MUL);
    node_src(n, a);
    node_src(n, b);
    return node_finish(n);
}

void mul_grad(struct graph *g, struct node *n) {
    struct tensor *dy = output_grad(g, n->out[0]);
    for (int i = 0; i < 2; i++) {
        if (!wants_grad(n->src[i])) continue;
        struct node *b = backward_new(g, OP_MUL_DX, n, i == 0 ? "da" : "db");
        node_src(b, n->src[1 - i]);
        node_src(b, dy);
        backward_out(g, b, n->src[i]);
        node_append(b);
    }
}

// ---- one source

static struct tensor *unary(struct graph *g, enum op_kind kind, struct tensor *x, real scale,
                            real shift) {
    struct node *n = node_new(g, kind);
    n->at.scale = scale;
    n->at.shift = shift;
    node_src(n, x);
    return node_finish(n);
}

static void unary_shape(struct node *n) {
    NODE_CHECK(n, n->src[0]->dtype == DTYPE_REAL, "%s holds no reals", n->src[0]->name);
    node_out_like(n, n->src[0]);
}

void affine_shape(struct node *n) { unary_shape(n); }
void tanh_shape(struct node *n) { unary_shape(n); }
void sigmoid_shape(struct node *n) { unary_shape(n); }
void symlog_shape(struct node *n) { unary_shape(n); }
void less_shape(struct node *n) { unary_shape(n); }

struct tensor *g_affine(struct graph *g, struct tensor *x, real scale, real shift) {
    return unary(g, OP_AFFINE, x, scale, shift);
}
struct tensor *g_tanh(struct graph *g, struct tensor *x) {
    return unary(g, OP_TANH, x, 0, 0);
}
struct tensor *g_sigmoid(struct graph *g, struct tensor *x) {
    return unary(g, OP_SIGMOID, x, 0, 0);
}
struct tensor *g_symlog(struct graph *g, struct tensor *x) {
    return unary(g, OP_SYMLOG, x, 0, 0);
}
struct tensor *g_less(struct graph *g, struct tensor *x, real threshold) {
    return unary(g, OP_LESS, x, threshold, 0);
}

void affine_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_AFFINE_DX, n, "dx");
    node_src(b, output_grad(g, n->out[0]));
    backward_out(g, b, n->src[0]);
    node_append(b);
}

void tanh_grad(struct graph *g, struct node *n) { unary_grad(g, n, OP_TANH_DX, n->out[0]); }
void sigmoid_grad(struct graph *g, struct node *n) { unary_grad(g, n, OP_SIGMOID_DX, n->out[0]); }
void symlog_grad(struct graph *g, struct node *n) { unary_grad(g, n, OP_SYMLOG_DX, n->src[0]); }

// ---- mean: slices of fixed number, added in order

enum { MEAN_SLICES = 16, MEAN_SLICE_ELEMENTS = 16384 };

static int mean_slices(const struct node *n) {
    return n->src[0]->n_elements < MEAN_SLICE_ELEMENTS * MEAN_SLICES ? 1 : MEAN_SLICES;
}

void mean_shape(struct node *n) {
    NODE_CHECK(n, n->src[0]->dtype == DTYPE_REAL, "%s holds no reals", n->src[0]->name);
    node_out(n, 1, (int64_t[]){1});
    if (mean_slices(n) > 1) node_scratch(n, MEAN_SLICES);
}

struct tensor *g_mean(struct graph *g, struct tensor *x) {
    return unary(g, OP_MEAN, x, 0, 0);
}

static void mean_slice(const struct run *r, const struct node *n, int slice) {
    struct range range = share_range(n->src[0]->n_elements, MEAN_SLICES, slice);
    reals(n->scratch)[slice] =
        r->rows->sum(range.end - range.first, reals(n->src[0]) + range.first);
}

void mean_run(const struct run *r, const struct node *n) {
    int64_t count = n->src[0]->n_elements;
    real sum;
    if (mean_slices(n) == 1) {
        sum = r->rows->sum(count, reals(n->src[0]));
    } else {
        run_shares(r, n, MEAN_SLICES, mean_slice);
        sum = r->rows->sum(MEAN_SLICES, reals(n->scratch));
    }
    *reals(n->out[0]) = sum / (real)count;
}

void mean_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_MEAN_DX, n, "dx");
    node_src(b, output_grad(g, n->out[0]));
    backward_out(g, b, n->src[0]);
    node_append(b);
}

static void mean_dx_elements(const struct run *r, const struct node *n, int64_t first,
                             int64_t end) {
    (void)r;
    const real d = *reals(n->src[0]) / (real)n->out[0]->n_elements;
    real *dx = reals(n->out[0]);
    for (int64_t i = first; i < end; i++) dx[i] = n->accumulate[0] ? dx[i] + d : d;
}

void mean_dx_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, COST_PLAIN, mean_dx_elements);
}
