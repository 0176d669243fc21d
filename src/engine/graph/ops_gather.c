// One-hot rows: which tensors have them, where their ones are, and the weight gradient of a layer
// that reads them.
//
// A latent state is one-hot by groups of n_classes. g_linear sees that in its input (graph_one_hot,
// g_sample, g_mode and what only moves their rows) and then gathers rows of the weights. Where the
// ones are is found once per tensor, by a node of its own.
#include "engine/graph/ops.h"

enum { MIN_CLASSES = 8 }; // below that a product is as fast

void graph_one_hot(struct graph *g, struct tensor *t, int64_t n_classes) {
    CHECK(!g->planned && t->dtype == DTYPE_REAL && tensor_last(t) % n_classes == 0,
          "%s: %lld classes", t->name, (long long)n_classes);
    t->one_hot = n_classes;
}

// Classes of a node's output: what a node moves or picks keeps them; 0: not known to be one-hot.
int64_t node_one_hot(const struct node *n) {
    const struct tensor *x = n->src[0];
    switch (n->kind) {
    case OP_SAMPLE:
    case OP_MODE:
        return n->at.n_classes;
    case OP_RESHAPE:
    case OP_SLICE:
    case OP_STOP_GRADIENT:
        return tensor_last(n->out[0]) == tensor_last(x) ? x->one_hot : 0;
    case OP_AFFINE:
        return n->at.shift == 0 && (n->at.scale == 0 || n->at.scale == 1) ? x->one_hot : 0;
    case OP_BLEND: // the mask is 0 or 1
        return !n->src[2] || n->src[2]->one_hot == n->src[1]->one_hot ? n->src[1]->one_hot : 0;
    case OP_STACK:
        for (int i = 1; i < n->n_src; i++)
            if (n->src[i]->one_hot != x->one_hot) return 0;
        return x->one_hot;
    default:
        return 0;
    }
}

// ---- where the ones are

static int64_t limit_of(const struct tensor *x) { return tensor_last(x) / x->one_hot; }

struct tensor *ones_of(struct graph *g, struct tensor *x) {
    if (x->one_hot < MIN_CLASSES) return NULL;
    struct pack pack = {.w = x, .kind = OP_ONES};
    struct tensor *t = graph_find_pack(g, &pack);
    if (t) return t;
    struct node *n = node_new(g, OP_ONES);
    node_src(n, x);
    t = node_out_i32(n, 2, (int64_t[]){tensor_rows(x), limit_of(x) + 1});
    node_append(n);
    pack.packed = t;
    graph_add_pack(g, &pack);
    return t;
}

static void ones_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    const int64_t width = tensor_last(n->src[0]), limit = tensor_last(n->out[0]) - 1;
    r->rows->ones(end - first, width, limit, reals(n->src[0]) + first * width,
                  (int32_t *)n->out[0]->data + first * (limit + 1));
}

void ones_run(const struct run *r, const struct node *n) {
    run_rows(r, n, tensor_rows(n->src[0]), 1 + tensor_last(n->src[0]) / 8, ones_rows);
}

// ---- weight gradient

static struct scatter_job scatter_job(const struct node *n) {
    const struct tensor *x = n->src[0], *dy = n->src[1], *index = n->src[2], *dw = n->out[0];
    return (struct scatter_job){.rows = x->shape[0],
                                .k = x->shape[1],
                                .n = dy->shape[1],
                                .x = reals(x),
                                .dy = reals(dy),
                                .index = index->data,
                                .limit = tensor_last(index) - 1,
                                .out = reals(dw) + n->at.column,
                                .out_row = dw->n_elements / dw->shape[0],
                                .accumulate = n->accumulate[0],
                                .scratch = reals(n->scratch)};
}

void append_scatter(struct graph *g, const struct node *n, struct tensor *x, struct tensor *dy,
                    struct tensor *ones) {
    struct node *b = backward_new(g, OP_LINEAR_SCATTER, n, "dw");
    node_src(b, x);
    node_src(b, dy);
    node_src(b, ones);
    backward_out_columns(g, b, n->src[1], n->at.column, x->shape[1]);
    struct scatter_job job = {.k = x->shape[1], .n = dy->shape[1]};
    node_scratch(b, scatter_shares(&job) * job.k * SCATTER_COLUMNS);
    node_append(b);
}

static void scatter_share(const struct run *r, const struct node *n, int share) {
    struct scatter_job job = scatter_job(n);
    r->k->scatter(&job, share);
}

void linear_scatter_run(const struct run *r, const struct node *n) {
    struct scatter_job job = scatter_job(n);
    run_shares(r, n, scatter_shares(&job), scatter_share);
}
