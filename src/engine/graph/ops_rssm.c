// Ops of the recurrent state space model: gates, reset blend, categoricals (spec/dreamer_v3.md 3).
#include <string.h>

#include "engine/graph/ops.h"

static int64_t cost(int64_t elements, int64_t per_64) { return 1 + elements * per_64 / 64; }

// ---- GRU gates

void gru_gates_shape(struct node *n) {
    const struct tensor *y = n->src[0], *h = n->src[1];
    NODE_CHECK(n, tensor_last(y) == 3 * tensor_last(h) && tensor_rows(y) == tensor_rows(h),
               "%s is not three times as wide as %s", y->name, h->name);
    NODE_CHECK(n, n->at.count >= 1 && tensor_last(h) % n->at.count == 0,
               "%lld columns do not divide into %lld blocks", (long long)tensor_last(h),
               (long long)n->at.count);
    node_out_like(n, h);
}

struct tensor *g_gru_gates_blocks(struct graph *g, struct tensor *y, struct tensor *h,
                                  int64_t blocks) {
    struct node *n = node_new(g, OP_GRU_GATES);
    n->at.count = blocks;
    node_src(n, y);
    node_src(n, h);
    return node_finish(n);
}

struct tensor *g_gru_gates(struct graph *g, struct tensor *y, struct tensor *h) {
    return g_gru_gates_blocks(g, y, h, 1);
}

// A block of a row is a row of its own to the kernels.
static int64_t gru_width(const struct node *n) { return tensor_last(n->src[1]) / n->at.count; }
static int64_t gru_n_rows(const struct node *n) { return tensor_rows(n->src[1]) * n->at.count; }

static void gru_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t width = gru_width(n);
    r->rows->gru_gates(end - first, width, reals(n->src[0]) + first * 3 * width,
                       reals(n->src[1]) + first * width, reals(n->out[0]) + first * width);
}

// A few rows are normed, and gated while they are in the first cache (fuse_gru.c).
static void normed_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    enum { ROWS = 4 };
    for (int64_t at = first; at < end; at += ROWS) {
        const int64_t stop = at + ROWS < end ? at + ROWS : end;
        layer_norm_rows(r, n->inside, at, stop);
        gru_rows(r, n, at, stop);
    }
}

void gru_gates_run(const struct run *r, const struct node *n) {
    const int64_t width = gru_width(n);
    if (n->inside)
        run_rows(r, n, gru_n_rows(n), cost(width, 120) + cost(3 * width, 60), normed_rows);
    else
        run_rows(r, n, gru_n_rows(n), cost(width, 120), gru_rows);
}

void gru_gates_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_GRU_GATES_DX, n, "dx");
    struct tensor *dout = output_grad(g, n->out[0]);
    node_src(b, n->src[0]);
    node_src(b, n->src[1]);
    node_src(b, dout);
    backward_out(g, b, n->src[0]);
    backward_out(g, b, n->src[1]);
    node_append(b);
}

static real *at_row(const struct tensor *t, int64_t offset) { return t ? reals(t) + offset : NULL; }

void gru_gates_dx_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t width = gru_width(n), at = first * width;
    struct gru_dx d = {.y = reals(n->src[0]) + 3 * at,
                       .h = reals(n->src[1]) + at,
                       .dout = reals(n->src[2]) + at,
                       .dy = at_row(n->out[0], 3 * at),
                       .dh = at_row(n->out[1], at),
                       .add_dy = n->accumulate[0],
                       .add_dh = n->accumulate[1]};
    r->rows->gru_gates_dx(end - first, width, &d);
}

void gru_gates_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, gru_n_rows(n), cost(gru_width(n), 200), gru_gates_dx_rows);
}

// ---- blend: (1 - f) a + f b per row

void blend_shape(struct node *n) {
    const struct tensor *f = n->src[0], *a = n->src[1], *b = n->src[2];
    NODE_CHECK(n, f->n_elements == a->shape[0], "%s has %lld elements for %lld rows", f->name,
               (long long)f->n_elements, (long long)a->shape[0]);
    NODE_CHECK(n, !b || b->n_elements == a->n_elements || b->n_elements == tensor_row_size(a),
               "%s is neither like %s nor like one row of it", b ? b->name : "", a->name);
    node_out_like(n, a);
}

struct tensor *g_blend(struct graph *g, struct tensor *f, struct tensor *a, struct tensor *b) {
    struct node *n = node_new(g, OP_BLEND);
    node_src(n, f);
    node_src(n, a);
    node_src(n, b);
    return node_finish(n);
}

static bool one_row(const struct tensor *b, const struct tensor *a) {
    return b->n_elements == tensor_row_size(a) && a->shape[0] > 1;
}

static void blend_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    const struct tensor *a = n->src[1], *b = n->src[2];
    int64_t width = tensor_row_size(a), b_row = b && !one_row(b, a) ? width : 0;
    r->rows->blend(end - first, width, reals(n->src[0]) + first, reals(a) + first * width,
                   b ? reals(b) + first * b_row : NULL, b_row, reals(n->out[0]) + first * width);
}

void blend_run(const struct run *r, const struct node *n) {
    const struct tensor *a = n->src[1];
    run_rows(r, n, a->shape[0], cost(tensor_row_size(a), 8), blend_rows);
}

// at.first: 0 the share of a, 1 of b; at.count: 1 where b is one row for all
static void append_blend_dx(struct graph *g, struct node *n, int source, struct tensor *dout) {
    if (!wants_grad(n->src[source])) return;
    struct node *b = backward_new(g, OP_BLEND_DX, n, source == 1 ? "da" : "db");
    b->at.first = source - 1;
    b->at.count = source == 2 && one_row(n->src[2], n->src[1]);
    node_src(b, n->src[0]);
    node_src(b, dout);
    backward_out(g, b, n->src[source]);
    node_append(b);
}

void blend_grad(struct graph *g, struct node *n) {
    struct tensor *dout = output_grad(g, n->out[0]);
    append_blend_dx(g, n, 1, dout);
    append_blend_dx(g, n, 2, dout);
}

static void blend_dx_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t width = tensor_row_size(n->src[1]);
    r->rows->blend_dx(end - first, width, reals(n->src[0]) + first, n->at.first == 0,
                      reals(n->src[1]) + first * width, reals(n->out[0]) + first * width,
                      n->accumulate[0]);
}

void blend_dx_run(const struct run *r, const struct node *n) {
    const struct tensor *dout = n->src[1];
    int64_t width = tensor_row_size(dout);
    if (n->at.count)
        r->rows->blend_sum(dout->shape[0], width, reals(n->src[0]), reals(dout), reals(n->out[0]),
                           n->accumulate[0]);
    else
        run_rows(r, n, dout->shape[0], cost(width, 8), blend_dx_rows);
}

// ---- categoricals: rows of n_classes values

static void check_classes(const struct node *n) {
    NODE_CHECK(n, n->at.n_classes >= 1 && tensor_last(n->src[0]) % n->at.n_classes == 0,
               "rows of %lld values do not divide into categoricals of %lld",
               (long long)tensor_last(n->src[0]), (long long)n->at.n_classes);
}

static struct tensor *categorical(struct graph *g, enum op_kind kind, struct tensor *x,
                                  struct tensor *u, int64_t n_classes, real mix) {
    struct node *n = node_new(g, kind);
    n->at.n_classes = n_classes;
    n->at.mix = mix;
    node_src(n, x);
    if (u) node_src(n, u);
    return node_finish(n);
}

void unimix_shape(struct node *n) {
    check_classes(n);
    NODE_CHECK(n, n->at.mix >= 0 && n->at.mix < 1, "mix is %g", (double)n->at.mix);
    node_out_like(n, n->src[0]);
}

struct tensor *g_unimix(struct graph *g, struct tensor *logits, int64_t n_classes, real mix) {
    return categorical(g, OP_UNIMIX, logits, NULL, n_classes, mix);
}

static void unimix_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t k = n->at.n_classes;
    r->rows->unimix(end - first, k, reals(n->src[0]) + first * k, n->at.mix,
                    reals(n->out[0]) + first * k);
}

void unimix_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->n_elements / n->at.n_classes, cost(n->at.n_classes, 60), unimix_rows);
}

void unimix_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_UNIMIX_DX, n, "dx");
    struct tensor *dm = output_grad(g, n->out[0]);
    node_src(b, n->out[0]);
    node_src(b, dm);
    backward_out(g, b, n->src[0]);
    node_append(b);
}

static void unimix_dx_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t k = n->at.n_classes, at = first * k;
    r->rows->unimix_dx(end - first, k, reals(n->src[0]) + at, n->at.mix, reals(n->src[1]) + at,
                       reals(n->out[0]) + at, n->accumulate[0]);
}

void unimix_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->n_elements / n->at.n_classes, cost(n->at.n_classes, 20),
             unimix_dx_rows);
}

void sample_shape(struct node *n) {
    check_classes(n);
    NODE_CHECK(n, n->src[1]->n_elements * n->at.n_classes == n->src[0]->n_elements,
               "%lld uniforms for %lld categoricals", (long long)n->src[1]->n_elements,
               (long long)(n->src[0]->n_elements / n->at.n_classes));
    node_out_like(n, n->src[0]);
}

struct tensor *g_sample(struct graph *g, struct tensor *m, struct tensor *u, int64_t n_classes) {
    return categorical(g, OP_SAMPLE, m, u, n_classes, 0);
}

static void sample_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t k = n->at.n_classes;
    r->rows->sample(end - first, k, reals(n->src[0]) + first * k, reals(n->src[1]) + first,
                    reals(n->out[0]) + first * k);
}

void sample_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[1]->n_elements, cost(n->at.n_classes, 60), sample_rows);
}

void sample_grad(struct graph *g, struct node *n) { // straight through
    backward_pass(g, n, n->src[0], output_grad(g, n->out[0]), "dm");
}

void mode_shape(struct node *n) {
    check_classes(n);
    node_out_like(n, n->src[0]);
}

struct tensor *g_mode(struct graph *g, struct tensor *m, int64_t n_classes) {
    return categorical(g, OP_MODE, m, NULL, n_classes, 0);
}

static void mode_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t k = n->at.n_classes;
    r->rows->mode(end - first, k, reals(n->src[0]) + first * k, reals(n->out[0]) + first * k);
}

void mode_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->n_elements / n->at.n_classes, cost(n->at.n_classes, 60), mode_rows);
}

void log_clamped_shape(struct node *n) { node_out_like(n, n->src[0]); }

struct tensor *g_log_clamped(struct graph *g, struct tensor *m) {
    struct node *n = node_new(g, OP_LOG_CLAMPED);
    node_src(n, m);
    return node_finish(n);
}

static void log_clamped_elements(const struct run *r, const struct node *n, int64_t first,
                                 int64_t end) {
    r->rows->log_clamped(end - first, reals(n->src[0]) + first, reals(n->out[0]) + first);
}

void log_clamped_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, 40, log_clamped_elements);
}
