// Ops of the block-diagonal linear layer: the inputs of block k make the outputs of block k alone.
#include "engine/graph/node.h"
#include "engine/graph/ops.h"

enum { X, W, BIAS, ADDEND, PACKED };

// at.count: blocks; at.column: the first column of w. Block b takes in columns
// [b * in, (b + 1) * in) of x and rows [b * out, (b + 1) * out) of w.
static int64_t block_in(const struct tensor *x, const struct node *n) {
    return tensor_last(x) / n->at.count;
}
static int64_t block_out(const struct tensor *w, const struct node *n) {
    return w->shape[0] / n->at.count;
}

// A node's work is that of its blocks, one after the other.
typedef struct gemm_job job_of_block(const struct node *n, int64_t block);

static void run_block(const struct run *r, const struct node *n, int share, job_of_block *of) {
    struct gemm_job job = of(n, 0);
    const int shares = gemm_shares(&job);
    job = of(n, share / shares);
    r->k->gemm(&job, share % shares);
}

static int block_shares(const struct node *n, job_of_block *of) {
    struct gemm_job job = of(n, 0);
    return (int)n->at.count * gemm_shares(&job);
}

// ---- packed weights: at.first: for the data gradient

static struct gemm_pack_job pack_job(const struct node *n, int64_t block) {
    const struct tensor *w = n->src[0];
    const int64_t ld = w->shape[1], in = n->at.n_classes, out = block_out(w, n);
    const real *src = reals(w) + block * out * ld + n->at.column;
    real *to = reals(n->out[0]) + block * (n->out[0]->n_elements / n->at.count);
    if (n->at.first) return (struct gemm_pack_job){out, in, src, ld, 1, to};
    return (struct gemm_pack_job){in, out, src, 1, ld, to};
}

static void pack_share(const struct run *r, const struct node *n, int share) {
    struct gemm_pack_job job = pack_job(n, 0);
    const int shares = gemm_pack_shares(&job);
    job = pack_job(n, share / shares);
    r->k->gemm_pack(&job, share % shares);
}

void block_pack_run(const struct run *r, const struct node *n) {
    struct gemm_pack_job job = pack_job(n, 0);
    run_shares(r, n, (int)n->at.count * gemm_pack_shares(&job), pack_share);
}

// Made once for a time loop; at.n_classes holds the inputs of a block.
static struct tensor *packed(struct graph *g, const struct node *like, struct tensor *w, int64_t in,
                             bool transposed) {
    const int64_t column = like->at.column, blocks = like->at.count, out = w->shape[0] / blocks;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *p = g->nodes[i];
        if (p->kind == OP_BLOCK_PACK && p->src[0] == w && p->at.column == column &&
            p->at.count == blocks && p->at.n_classes == in && p->at.first == transposed)
            return p->out[0];
    }
    struct node *n = node_new(g, OP_BLOCK_PACK);
    n->at.column = column;
    n->at.count = blocks;
    n->at.n_classes = in;
    n->at.first = transposed;
    node_src(n, w);
    struct tensor *t = node_out(
        n, 1,
        (int64_t[]){blocks * (transposed ? gemm_pack_reals(out, in) : gemm_pack_reals(in, out))});
    node_append(n);
    return t;
}

// ---- forward

void block_linear_shape(struct node *n) {
    const struct tensor *x = n->src[X], *w = n->src[W];
    NODE_CHECK(n, x->n_dims == 2 && w->n_dims == 2, "x has %d and w %d dimensions, not 2",
               x->n_dims, w->n_dims);
    NODE_CHECK(n, x->shape[1] % n->at.count == 0 && w->shape[0] % n->at.count == 0,
               "%lld inputs and %lld outputs do not divide into %lld blocks",
               (long long)x->shape[1], (long long)w->shape[0], (long long)n->at.count);
    product_shape(n, block_in(x, n));
}

struct tensor *g_block_linear(struct graph *g, struct tensor *x, struct tensor *w,
                              struct tensor *bias, struct tensor *addend, int64_t column,
                              int64_t blocks) {
    struct node *n = node_new(g, OP_BLOCK_LINEAR);
    NODE_CHECK(n, blocks >= 1 && tensor_last(x) % blocks == 0 && w->shape[0] % blocks == 0,
               "%lld inputs and %lld outputs do not divide into %lld blocks",
               (long long)tensor_last(x), (long long)w->shape[0], (long long)blocks);
    n->at.column = column;
    n->at.count = blocks;
    node_src(n, x);
    node_src(n, w);
    node_src(n, bias);
    node_src(n, addend);
    node_src(n, packed(g, n, w, block_in(x, n), false));
    return node_finish(n);
}

static const real *at_column(const struct tensor *t, int64_t column) {
    return t ? reals(t) + column : NULL;
}

static struct gemm_job forward_job(const struct node *n, int64_t block) {
    const struct tensor *x = n->src[X], *y = n->out[0], *pack = n->src[PACKED];
    const int64_t in = block_in(x, n), out = tensor_last(y) / n->at.count;
    return (struct gemm_job){.m = x->shape[0],
                             .k = in,
                             .n = out,
                             .a = reals(x) + block * in,
                             .a_row = x->shape[1],
                             .a_k = 1,
                             .b = reals(pack) + block * (pack->n_elements / n->at.count),
                             .c = reals(y) + block * out,
                             .c_row = y->shape[1],
                             .bias = at_column(n->src[BIAS], block * out),
                             .addend = at_column(n->src[ADDEND], block * out),
                             .addend_row = y->shape[1]};
}

static void forward_share(const struct run *r, const struct node *n, int share) {
    run_block(r, n, share, forward_job);
}

void block_linear_run(const struct run *r, const struct node *n) {
    run_shares(r, n, block_shares(n, forward_job), forward_share);
}

// ---- gradients. The few weights of a time loop's layer are added step by step.

void block_linear_grad(struct graph *g, struct node *n) {
    struct tensor *x = n->src[X], *w = n->src[W], *dy = output_grad(g, n->out[0]);
    if (wants_grad(x)) {
        struct tensor *wt = packed(g, n, w, block_in(x, n), true);
        struct node *b = backward_new(g, OP_BLOCK_LINEAR_DX, n, "dx");
        node_src(b, dy);
        node_src(b, wt);
        backward_out(g, b, x);
        node_append(b);
    }
    backward_pass(g, n, n->src[ADDEND], dy, "daddend");
    if (wants_grad(w)) {
        struct node *b = backward_new(g, OP_BLOCK_LINEAR_DW, n, "dw");
        node_src(b, x);
        node_src(b, dy);
        backward_out_added(g, b, w);
        node_append(b);
    }
    append_column_sum(g, n, n->src[BIAS], dy);
}

static struct gemm_job dx_job(const struct node *n, int64_t block) {
    const struct tensor *dy = n->src[0], *pack = n->src[1], *dx = n->out[0];
    const int64_t in = block_in(dx, n), out = tensor_last(dy) / n->at.count;
    return (struct gemm_job){.m = dy->shape[0],
                             .k = out,
                             .n = in,
                             .a = reals(dy) + block * out,
                             .a_row = dy->shape[1],
                             .a_k = 1,
                             .b = reals(pack) + block * (pack->n_elements / n->at.count),
                             .c = reals(dx) + block * in,
                             .c_row = dx->shape[1],
                             .accumulate = n->accumulate[0]};
}

static void dx_share(const struct run *r, const struct node *n, int share) {
    run_block(r, n, share, dx_job);
}

void block_linear_dx_run(const struct run *r, const struct node *n) {
    run_shares(r, n, block_shares(n, dx_job), dx_share);
}

static struct gemm_job dw_job(const struct node *n, int64_t block) {
    const struct tensor *x = n->src[0], *dy = n->src[1], *dw = n->out[0];
    const int64_t in = block_in(x, n), out = tensor_last(dy) / n->at.count, ld = dw->shape[1];
    return (struct gemm_job){.m = out,
                             .k = x->shape[0],
                             .n = in,
                             .a = reals(dy) + block * out,
                             .a_row = 1,
                             .a_k = dy->shape[1],
                             .b_rows = reals(x) + block * in,
                             .b_row = x->shape[1],
                             .c = reals(dw) + block * out * ld + n->at.column,
                             .c_row = ld,
                             .accumulate = true};
}

static void dw_share(const struct run *r, const struct node *n, int share) {
    run_block(r, n, share, dw_job);
}

void block_linear_dw_run(const struct run *r, const struct node *n) {
    run_shares(r, n, block_shares(n, dw_job), dw_share);
}
