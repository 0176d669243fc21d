// Ops: linear layers (packed weights, product, gradients) and LayerNorm.
#include "engine/graph/backend.h"
#include "engine/graph/node.h"
#include "engine/graph/ops.h"

enum { X, W, BIAS, ADDEND, PACKED, ONES };

// ---- packed weights: B = w^T for the forward product, B = w for the data gradient

static struct gemm_pack_job pack_job(const struct node *n) {
    const struct tensor *w = n->src[0];
    bool transposed = n->at.first;
    int64_t rows = w->shape[0], ld = w->n_elements / rows, k = n->at.count;
    const real *src = reals(w) + n->at.column;
    if (transposed) return (struct gemm_pack_job){rows, k, src, ld, 1, reals(n->out[0])};
    return (struct gemm_pack_job){k, rows, src, 1, ld, reals(n->out[0])};
}

static void pack_share(const struct run *r, const struct node *n, int share) {
    struct gemm_pack_job job = pack_job(n);
    run_products(r, n)->gemm_pack(&job, share);
}

void pack_run(const struct run *r, const struct node *n) {
    struct gemm_pack_job job = pack_job(n);
    run_shares(r, n, gemm_pack_shares(&job), pack_share);
}

// Made once per (w, columns, direction), on the tape before its first use.
static struct tensor *packed(struct graph *g, struct tensor *w, int64_t column, int64_t k,
                             bool transposed, bool bf16) {
    struct pack pack = {w, column, k, OP_PACK, transposed, bf16, NULL};
    struct tensor *t = graph_find_pack(g, &pack);
    if (t) return t;
    struct node *n = node_new(g, OP_PACK);
    n->at.column = column;
    n->at.count = k;
    n->at.first = transposed;
    n->at.bf16 = bf16;
    node_src(n, w);
    const int64_t n_rows = transposed ? w->shape[0] : k, n_columns = transposed ? k : w->shape[0];
    // A device packs floats: its tensor cores round them.
    const bool halves = bf16 && !backend_chosen();
    t = node_out(n, 1, (int64_t[]){gemm_pack_reals(halves ? (n_rows + 1) / 2 : n_rows, n_columns)});
    node_append(n);
    pack.packed = t;
    graph_add_pack(g, &pack);
    return t;
}

// ---- forward

void product_shape(struct node *n, int64_t in) {
    const struct tensor *x = n->src[X], *w = n->src[W], *bias = n->src[BIAS],
                        *addend = n->src[ADDEND];
    NODE_CHECK(n, n->at.column >= 0 && n->at.column + in <= w->shape[1],
               "columns %lld..%lld of a matrix with %lld", (long long)n->at.column,
               (long long)(n->at.column + in), (long long)w->shape[1]);
    NODE_CHECK(n, !bias || bias->n_elements == w->shape[0], "bias of %lld for %lld outputs",
               bias ? (long long)bias->n_elements : 0, (long long)w->shape[0]);
    NODE_CHECK(n,
               !addend || (addend->n_elements == x->shape[0] * w->shape[0] &&
                           tensor_last(addend) == w->shape[0]),
               "the addend %s has another shape than the result", addend ? addend->name : "");
    node_out(n, 2, (int64_t[]){x->shape[0], w->shape[0]});
}

void linear_shape(struct node *n) {
    const struct tensor *x = n->src[X], *w = n->src[W];
    NODE_CHECK(n, x->n_dims == 2 && w->n_dims == 2, "x has %d and w %d dimensions, not 2",
               x->n_dims, w->n_dims);
    product_shape(n, x->shape[1]);
}

struct tensor *g_linear(struct graph *g, struct tensor *x, struct tensor *w, struct tensor *bias,
                        struct tensor *addend, int64_t column) {
    struct node *n = node_new(g, OP_LINEAR);
    struct tensor *ones = ones_of(g, x);
    n->at.column = column;
    n->at.bf16 = g->bf16;
    node_src(n, x);
    node_src(n, w);
    node_src(n, bias);
    node_src(n, addend);
    node_src(n, packed(g, w, column, x->shape[x->n_dims - 1], false, g->bf16 && !ones));
    node_src(n, ones);
    return node_finish(n);
}

static struct gemm_job linear_job(const struct node *n) {
    const struct tensor *x = n->src[X], *y = n->out[0];
    const struct tensor *ones = n->src[ONES];
    int64_t columns = y->shape[1];
    return (struct gemm_job){.m = x->shape[0],
                             .k = x->shape[1],
                             .n = columns,
                             .a = reals(x),
                             .a_row = x->shape[1],
                             .a_k = 1,
                             .b = reals(n->src[PACKED]),
                             .c = reals(y),
                             .c_row = columns,
                             .bias = reals(n->src[BIAS]),
                             .addend = reals(n->src[ADDEND]),
                             .addend_row = columns,
                             .index = ones ? ones->data : NULL,
                             .limit = ones ? tensor_last(ones) - 1 : 0,
                             .bf16 = n->at.bf16 && !ones};
}

static void linear_part(const struct run *r, const struct node *n, const struct gemm_job *job,
                        int share) {
    if (job->index)
        r->k->gemm_gather(job, share);
    else
        run_products(r, n)->gemm(job, share);
}

static void linear_share(const struct run *r, const struct node *n, int share) {
    const struct gemm_job job = linear_job(n);
    linear_part(r, n, &job, share);
}

static void linear_slice(const struct run *r, const struct node *n, struct gemm_job job) {
    const struct range rows = run_slice(r, job.m);
    job.m = rows.end - rows.first;
    job.a += rows.first * job.a_row;
    job.c += rows.first * job.c_row;
    if (job.addend) job.addend += rows.first * job.addend_row;
    if (job.index) job.index += rows.first * (job.limit + 1);
    for (int share = 0; share < gemm_shares(&job); share++) linear_part(r, n, &job, share);
}

void linear_run(const struct run *r, const struct node *n) {
    struct gemm_job job = linear_job(n);
    if (r->slice)
        linear_slice(r, n, job);
    else
        run_shares(r, n, gemm_shares(&job), linear_share);
}

// ---- gradients

// Whether no other layer passes a gradient back through the same columns of the weights: packing
// them for one product would only write and read them once more.
static bool passes_alone(const struct graph *g, const struct node *n) {
    int passing = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *m = g->nodes[i];
        if (m->kind == OP_LINEAR && m->src[W] == n->src[W] && m->at.column == n->at.column)
            passing += wants_grad(m->src[X]);
    }
    return passing == 1;
}

void linear_grad(struct graph *g, struct node *n) {
    struct tensor *x = n->src[X], *w = n->src[W], *dy = output_grad(g, n->out[0]);
    if (wants_grad(x)) {
        struct tensor *wt =
            passes_alone(g, n) ? w : packed(g, w, n->at.column, x->shape[1], true, n->at.bf16);
        struct node *b = backward_new(g, OP_LINEAR_DX, n, "dx");
        node_src(b, dy);
        node_src(b, wt);
        backward_out(g, b, x);
        node_append(b);
    }
    backward_pass(g, n, n->src[ADDEND], dy, "daddend");
    if (linear_groups_has(g->groups, n)) return;
    if (wants_grad(w)) linear_weight_grad(g, n, x, dy);
    linear_bias_grad(g, n, dy);
}

void linear_weight_grad(struct graph *g, const struct node *n, struct tensor *x,
                        struct tensor *dy) {
    struct tensor *ones = n->src[ONES] ? ones_of(g, x) : NULL;
    if (ones) {
        append_scatter(g, n, x, dy, ones);
        return;
    }
    struct node *b = backward_new(g, OP_LINEAR_DW, n, "dw");
    node_src(b, x);
    node_src(b, dy);
    backward_out_columns(g, b, n->src[W], n->at.column, x->shape[1]);
    node_append(b);
}

static struct column_sum_job column_sum_job(const struct node *n) {
    const struct tensor *x = n->src[0];
    int64_t columns = n->at.count;
    return (struct column_sum_job){.rows = x->n_elements / columns,
                                   .n = columns,
                                   .row_stride = columns,
                                   .x = reals(x),
                                   .out = reals(n->out[0]),
                                   .accumulate = n->accumulate[0],
                                   .partials = reals(n->scratch)};
}

// bias.grad += the column sums of dy.
void append_column_sum(struct graph *g, const struct node *n, struct tensor *bias,
                       struct tensor *dy) {
    if (!wants_grad(bias)) return;
    struct node *b = backward_new(g, OP_COLUMN_SUM, n, "db");
    b->at.count = bias->n_elements;
    node_src(b, dy);
    backward_out(g, b, bias);
    struct column_sum_job job = column_sum_job(b);
    node_scratch(b, column_sum_partial_reals(&job));
    node_append(b);
}

void linear_bias_grad(struct graph *g, const struct node *n, struct tensor *dy) {
    append_column_sum(g, n, n->src[BIAS], dy);
}

static void column_sum_share(const struct run *r, const struct node *n, int share) {
    struct column_sum_job job = column_sum_job(n);
    r->k->column_sum(&job, share);
}

static void column_sum_reduce_share(const struct run *r, const struct node *n, int share) {
    struct column_sum_job job = column_sum_job(n);
    r->k->column_sum_reduce(&job, share);
}

void column_sum_run(const struct run *r, const struct node *n) {
    struct column_sum_job job = column_sum_job(n);
    run_shares(r, n, column_sum_shares(&job), column_sum_share);
    run_shares(r, n, column_sum_reduce_shares(&job), column_sum_reduce_share);
}

// dx = dy w, of the weights themselves (a matrix) or packed (a list)
static struct gemm_job dx_job(const struct node *n) {
    const struct tensor *dy = n->src[0], *w = n->src[1], *dx = n->out[0];
    const bool is_packed = w->n_dims == 1;
    return (struct gemm_job){.m = dy->shape[0],
                             .k = dy->shape[1],
                             .n = dx->shape[1],
                             .a = reals(dy),
                             .a_row = dy->shape[1],
                             .a_k = 1,
                             .b = is_packed ? reals(w) : NULL,
                             .b_rows = is_packed ? NULL : reals(w) + n->at.column,
                             .b_row = w->n_elements / w->shape[0],
                             .c = reals(dx),
                             .c_row = dx->shape[1],
                             .accumulate = n->accumulate[0],
                             .bf16 = n->at.bf16};
}

static void dx_share(const struct run *r, const struct node *n, int share) {
    struct gemm_job job = dx_job(n);
    run_products(r, n)->gemm(&job, share);
}

void linear_dx_run(const struct run *r, const struct node *n) {
    struct gemm_job job = dx_job(n);
    run_shares(r, n, gemm_shares(&job), dx_share);
}

// dw[:, column..] = dy^T x
static struct gemm_job dw_job(const struct node *n) {
    const struct tensor *x = n->src[0], *dy = n->src[1], *dw = n->out[0];
    int64_t ld = dw->n_elements / dw->shape[0];
    return (struct gemm_job){.m = dy->shape[1],
                             .k = x->shape[0],
                             .n = x->shape[1],
                             .a = reals(dy),
                             .a_row = 1,
                             .a_k = dy->shape[1],
                             .b_rows = reals(x),
                             .b_row = x->shape[1],
                             .c = reals(dw) + n->at.column,
                             .c_row = ld,
                             .accumulate = n->accumulate[0],
                             .bf16 = n->at.bf16};
}

static void dw_share(const struct run *r, const struct node *n, int share) {
    struct gemm_job job = dw_job(n);
    run_products(r, n)->gemm(&job, share);
}

void linear_dw_run(const struct run *r, const struct node *n) {
    struct gemm_job job = dw_job(n);
    run_shares(r, n, gemm_shares(&job), dw_share);
}

// ---- LayerNorm

void layer_norm_shape(struct node *n) {
    const struct tensor *x = n->src[0];
    for (int i = 1; i <= 2; i++)
        NODE_CHECK(n, !n->src[i] || n->src[i]->n_elements == tensor_last(x),
                   "%s has %lld elements for rows of %lld", n->src[i]->name,
                   (long long)n->src[i]->n_elements, (long long)tensor_last(x));
    node_out_like(n, x);
}

struct tensor *g_layer_norm(struct graph *g, struct tensor *x, struct tensor *gamma,
                            struct tensor *beta, real eps, enum activation act) {
    struct node *n = node_new(g, OP_LAYER_NORM);
    n->at.eps = eps;
    n->at.act = act;
    node_src(n, x);
    node_src(n, gamma);
    node_src(n, beta);
    return node_finish(n);
}

static struct norm_job norm_job(const struct node *n) {
    const struct tensor *x = n->src[0];
    return (struct norm_job){.rows = tensor_rows(x),
                             .n = tensor_last(x),
                             .eps = n->at.eps,
                             .silu = n->at.act == ACT_SILU,
                             .rms = !n->src[2],
                             .x = reals(x),
                             .gamma = reals(n->src[1]),
                             .beta = reals(n->src[2])};
}

static struct norm_job norm_forward_job(const struct node *n) {
    struct norm_job job = norm_job(n);
    job.y = reals(n->out[0]);
    return job;
}

static void norm_share(const struct run *r, const struct node *n, int share) {
    struct norm_job job = norm_forward_job(n);
    r->k->norm_forward(&job, share);
}

void layer_norm_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    struct norm_job job = norm_forward_job(n);
    job.rows = end - first;
    job.x += first * job.n;
    job.y += first * job.n;
    for (int share = 0; share < norm_shares(&job); share++) r->k->norm_forward(&job, share);
}

void layer_norm_run(const struct run *r, const struct node *n) {
    struct norm_job job = norm_forward_job(n);
    const struct range rows = run_slice(r, job.rows);
    if (r->slice)
        layer_norm_rows(r, n, rows.first, rows.end);
    else
        run_shares(r, n, norm_shares(&job), norm_share);
}

static struct norm_job norm_backward_job(const struct node *n) {
    struct norm_job job = norm_job(n);
    int64_t partial = norm_partial_reals(&job);
    job.dy = reals(n->src[3]);
    job.dx = reals(n->out[0]);
    job.accumulate = n->accumulate[0];
    job.partials = reals(n->scratch);
    // What nobody wants is summed into scratch.
    job.dgamma = n->out[1] ? reals(n->out[1]) : job.partials + partial;
    job.dbeta = n->out[2] ? reals(n->out[2]) : job.partials + partial + job.n;
    return job;
}

void layer_norm_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_LAYER_NORM_DX, n, "dx");
    struct tensor *dy = output_grad(g, n->out[0]);
    for (int i = 0; i < 3; i++) node_src(b, n->src[i]);
    node_src(b, dy);
    backward_out(g, b, n->src[0]);
    backward_out_added(g, b, n->src[1]);
    backward_out_added(g, b, n->src[2]);
    struct norm_job job = norm_job(b);
    node_scratch(b, norm_partial_reals(&job) + 2 * job.n);
    node_append(b);
}

static void norm_dx_share(const struct run *r, const struct node *n, int share) {
    struct norm_job job = norm_backward_job(n);
    if (n->inside) { // makes dy (fuse_gru.c)
        const struct range rows = share_range(job.rows, norm_backward_shares(&job), share);
        gru_gates_dx_rows(r, n->inside, rows.first, rows.end);
    }
    r->k->norm_backward(&job, share);
}

static void norm_reduce_share(const struct run *r, const struct node *n, int share) {
    struct norm_job job = norm_backward_job(n);
    r->k->norm_backward_reduce(&job, share);
}

void layer_norm_dx_run(const struct run *r, const struct node *n) {
    struct norm_job job = norm_backward_job(n);
    run_shares(r, n, norm_backward_shares(&job), norm_dx_share);
    run_shares(r, n, norm_backward_reduce_shares(&job), norm_reduce_share);
}
