// Ops of continuous actions: columns of a row, the clip, the entropy of a normal
// (spec/dreamer_v3.md 5.5).
#include "base/fmath.h"
#include "engine/graph/ops.h"

enum { COST_COPY = 8, COST_DIVIDE = 16, COST_LOG = 40 }; // ns for 64 elements

static int64_t row_cost(int64_t elements, int64_t per_64) { return 1 + elements * per_64 / 64; }

// ---- columns

void columns_shape(struct node *n) {
    const struct tensor *x = n->src[0];
    NODE_CHECK(n, x->n_dims == 2 && x->dtype == DTYPE_REAL, "%s is no matrix of reals", x->name);
    NODE_CHECK(n,
               n->at.first >= 0 && n->at.count >= 1 && n->at.first + n->at.count <= tensor_last(x),
               "columns %lld..%lld of %s with %lld", (long long)n->at.first,
               (long long)(n->at.first + n->at.count), x->name, (long long)tensor_last(x));
    node_out(n, 2, (int64_t[]){x->shape[0], n->at.count});
}

struct tensor *g_columns(struct graph *g, struct tensor *x, int64_t first, int64_t count) {
    struct node *n = node_new(g, OP_COLUMNS);
    n->at.first = first;
    n->at.count = count;
    node_src(n, x);
    return node_finish(n);
}

static void columns_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    (void)r;
    const int64_t width = tensor_last(n->src[0]), count = n->at.count;
    const real *x = reals(n->src[0]) + n->at.first;
    real *y = reals(n->out[0]);
    for (int64_t row = first; row < end; row++)
        for (int64_t i = 0; i < count; i++) y[row * count + i] = x[row * width + i];
}

void columns_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->out[0]->shape[0], row_cost(n->at.count, COST_COPY), columns_rows);
}

void columns_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_COLUMNS_DX, n, "dx");
    node_src(b, output_grad(g, n->out[0]));
    backward_out_added(g, b, n->src[0]); // the other columns keep theirs
    node_append(b);
}

static void columns_dx_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    (void)r;
    const int64_t width = tensor_last(n->out[0]), count = n->at.count;
    const real *dy = reals(n->src[0]);
    real *dx = reals(n->out[0]) + n->at.first;
    for (int64_t row = first; row < end; row++)
        for (int64_t i = 0; i < count; i++) dx[row * width + i] += dy[row * count + i];
}

void columns_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->out[0]->shape[0], row_cost(n->at.count, COST_COPY), columns_dx_rows);
}

// ---- limit: the factor is a constant to the gradient

static real limit_factor(real x, real bound) {
    const real size = fast_abs(x);
    return size > bound ? bound / size : 1;
}

void limit_shape(struct node *n) {
    NODE_CHECK(n, n->src[0]->dtype == DTYPE_REAL, "%s holds no reals", n->src[0]->name);
    NODE_CHECK(n, n->at.scale > 0, "a bound of %g", (double)n->at.scale);
    node_out_like(n, n->src[0]);
}

struct tensor *g_limit(struct graph *g, struct tensor *x, real bound) {
    struct node *n = node_new(g, OP_LIMIT);
    n->at.scale = bound;
    node_src(n, x);
    return node_finish(n);
}

static void limit_elements(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    (void)r;
    const real *x = reals(n->src[0]);
    real *y = reals(n->out[0]);
    for (int64_t i = first; i < end; i++) y[i] = x[i] * limit_factor(x[i], n->at.scale);
}

void limit_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, COST_DIVIDE, limit_elements);
}

void limit_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_LIMIT_DX, n, "dx");
    node_src(b, n->src[0]);
    node_src(b, output_grad(g, n->out[0]));
    backward_out(g, b, n->src[0]);
    node_append(b);
}

static void limit_dx_elements(const struct run *r, const struct node *n, int64_t first,
                              int64_t end) {
    (void)r;
    const real *x = reals(n->src[0]), *dy = reals(n->src[1]);
    real *dx = reals(n->out[0]);
    for (int64_t i = first; i < end; i++) {
        const real d = dy[i] * limit_factor(x[i], n->at.scale);
        dx[i] = n->accumulate[0] ? dx[i] + d : d;
    }
}

void limit_dx_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, COST_DIVIDE, limit_dx_elements);
}

// ---- entropy of independent normals

static const real HALF_LOG_2_PI_E = (real)1.4189385332046727; // 1/2 + 1/2 log 2 pi

void normal_entropy_shape(struct node *n) {
    NODE_CHECK(n, n->src[0]->n_dims == 2 && n->src[0]->dtype == DTYPE_REAL,
               "%s is no matrix of reals", n->src[0]->name);
    node_out(n, 1, (int64_t[]){n->src[0]->shape[0]});
}

struct tensor *g_normal_entropy(struct graph *g, struct tensor *std) {
    struct node *n = node_new(g, OP_NORMAL_ENTROPY);
    node_src(n, std);
    return node_finish(n);
}

static void normal_entropy_rows(const struct run *r, const struct node *n, int64_t first,
                                int64_t end) {
    (void)r;
    const int64_t width = tensor_last(n->src[0]);
    const real *std = reals(n->src[0]);
    real *y = reals(n->out[0]);
    for (int64_t row = first; row < end; row++) {
        real sum = 0;
        for (int64_t i = 0; i < width; i++) sum += HALF_LOG_2_PI_E + fast_log(std[row * width + i]);
        y[row] = sum;
    }
}

void normal_entropy_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->out[0]->n_elements, row_cost(tensor_last(n->src[0]), COST_LOG),
             normal_entropy_rows);
}

void normal_entropy_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_NORMAL_ENTROPY_DX, n, "dx");
    node_src(b, n->src[0]);
    node_src(b, output_grad(g, n->out[0]));
    backward_out(g, b, n->src[0]);
    node_append(b);
}

static void normal_entropy_dx_rows(const struct run *r, const struct node *n, int64_t first,
                                   int64_t end) {
    (void)r;
    const int64_t width = tensor_last(n->src[0]);
    const real *std = reals(n->src[0]), *dy = reals(n->src[1]);
    real *dx = reals(n->out[0]);
    for (int64_t row = first; row < end; row++)
        for (int64_t i = row * width; i < (row + 1) * width; i++) {
            const real d = dy[row] / std[i];
            dx[i] = n->accumulate[0] ? dx[i] + d : d;
        }
}

void normal_entropy_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[1]->n_elements, row_cost(tensor_last(n->src[0]), COST_DIVIDE),
             normal_entropy_dx_rows);
}
