// Ops that give one number per row: losses, KL, entropy, log-probability (spec/dreamer_v3.md
// 4, 5.5).
#include <string.h>

#include "engine/graph/ops.h"

static int64_t cost(int64_t elements, int64_t per_64) { return 1 + elements * per_64 / 64; }

static void one_per_row(struct node *n) { node_out(n, 1, (int64_t[]){n->src[0]->shape[0]}); }

static void check_like(const struct node *n, const struct tensor *a, const struct tensor *b) {
    NODE_CHECK(n, a->n_elements == b->n_elements && a->shape[0] == b->shape[0],
               "%s and %s have different shapes", a->name, b->name);
}

static void check_per_row(const struct node *n, const struct tensor *t) {
    NODE_CHECK(n, t->n_elements == n->src[0]->shape[0], "%s has %lld elements for %lld rows",
               t->name, (long long)t->n_elements, (long long)n->src[0]->shape[0]);
}

// Backward node with n's sources, then dy; contributions to source 0.
static struct node *loss_dx(struct graph *g, struct node *n, enum op_kind kind) {
    struct node *b = backward_new(g, kind, n, "dx");
    struct tensor *dy = output_grad(g, n->out[0]);
    for (int i = 0; i < n->n_src; i++) node_src(b, n->src[i]);
    node_src(b, dy);
    backward_out(g, b, n->src[0]);
    return b;
}

#define SRC(i) reals(n->src[i])
#define OUT(i) reals(n->out[i])

// ---- squared error

enum { FRAME_PIXELS = 8192 }; // of the largest frame that is unpacked on the way

void square_error_shape(struct node *n) {
    check_like(n, n->src[0], n->src[1]);
    one_per_row(n);
}

struct tensor *g_square_error(struct graph *g, struct tensor *x, struct tensor *target) {
    struct node *n = node_new(g, OP_SQUARE_ERROR);
    node_src(n, x);
    node_src(n, target);
    return node_finish(n);
}

bool square_error_reads_frames(const struct node *n) {
    return tensor_row_size(n->src[0]) <= FRAME_PIXELS;
}

// Row by row against frames (fuse.c): what is unpacked stays in the first-level cache.
static void square_error_frames(const struct run *r, const struct node *n, int64_t first,
                                int64_t end) {
    const int64_t k = tensor_row_size(n->src[0]);
    const uint8_t *frame = n->src[1]->data;
    _Alignas(64) real target[FRAME_PIXELS];
    for (int64_t row = first; row < end; row++) {
        r->rows->unpack2(k / 4, frame + row * k / 4, target);
        r->rows->square_error(1, k, SRC(0) + row * k, target, OUT(0) + row);
    }
}

// Its gradient in parts of rows: each is of a pixel alone.
static void square_error_dx_frames(const struct run *r, const struct node *n, int64_t first,
                                   int64_t end) {
    enum { PART = FRAME_PIXELS / 8 };
    const int64_t k = tensor_row_size(n->src[0]);
    const uint8_t *frame = n->src[1]->data;
    _Alignas(64) real target[PART];
    for (int64_t row = first; row < end; row++)
        for (int64_t i = 0; i < k; i += PART) {
            const int64_t at = row * k + i, count = k - i < PART ? k - i : PART;
            r->rows->unpack2(count / 4, frame + at / 4, target);
            r->rows->square_error_dx(1, count, SRC(0) + at, target, SRC(2) + row, OUT(0) + at,
                                     n->accumulate[0]);
        }
}

static bool is_against_frames(const struct node *n) { return n->src[1]->dtype == DTYPE_U8; }

static void square_error_rows(const struct run *r, const struct node *n, int64_t first,
                              int64_t end) {
    int64_t k = tensor_row_size(n->src[0]);
    if (is_against_frames(n))
        square_error_frames(r, n, first, end);
    else
        r->rows->square_error(end - first, k, SRC(0) + first * k, SRC(1) + first * k,
                              OUT(0) + first);
}

void square_error_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], cost(tensor_row_size(n->src[0]), 8), square_error_rows);
}

void square_error_grad(struct graph *g, struct node *n) {
    node_append(loss_dx(g, n, OP_SQUARE_ERROR_DX));
}

static void square_error_dx_rows(const struct run *r, const struct node *n, int64_t first,
                                 int64_t end) {
    int64_t k = tensor_row_size(n->src[0]), at = first * k;
    if (is_against_frames(n))
        square_error_dx_frames(r, n, first, end);
    else
        r->rows->square_error_dx(end - first, k, SRC(0) + at, SRC(1) + at, SRC(2) + first,
                                 OUT(0) + at, n->accumulate[0]);
}

void square_error_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], cost(tensor_row_size(n->src[0]), 8), square_error_dx_rows);
}

// ---- two-hot

static void check_bins(const struct node *n, const struct tensor *bins) {
    NODE_CHECK(n, n->src[0]->n_dims == 2 && bins->n_elements == tensor_last(n->src[0]),
               "%lld bins for %lld logits", (long long)bins->n_elements,
               (long long)tensor_last(n->src[0]));
}

void twohot_nll_shape(struct node *n) {
    check_bins(n, n->src[2]);
    check_per_row(n, n->src[1]);
    one_per_row(n);
}

// at.first: the bins lie in real space
static struct tensor *twohot_nll(struct graph *g, struct tensor *logits, struct tensor *target,
                                 struct tensor *bins, bool real_space) {
    struct node *n = node_new(g, OP_TWOHOT_NLL);
    n->at.first = real_space;
    node_src(n, logits);
    node_src(n, target);
    node_src(n, bins);
    return node_finish(n);
}

struct tensor *g_twohot_nll(struct graph *g, struct tensor *logits, struct tensor *target,
                            struct tensor *bins) {
    return twohot_nll(g, logits, target, bins, false);
}

struct tensor *g_twohot_real_nll(struct graph *g, struct tensor *logits, struct tensor *target,
                                 struct tensor *bins) {
    return twohot_nll(g, logits, target, bins, true);
}

static void twohot_nll_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t k = tensor_last(n->src[0]);
    r->rows->twohot_nll(end - first, k, SRC(0) + first * k, SRC(1) + first, SRC(2), n->at.first,
                        OUT(0) + first);
}

void twohot_nll_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], cost(tensor_last(n->src[0]), 50), twohot_nll_rows);
}

void twohot_nll_grad(struct graph *g, struct node *n) {
    node_append(loss_dx(g, n, OP_TWOHOT_NLL_DX));
}

static void twohot_nll_dx_rows(const struct run *r, const struct node *n, int64_t first,
                               int64_t end) {
    int64_t k = tensor_last(n->src[0]), at = first * k;
    r->rows->twohot_nll_dx(end - first, k, SRC(0) + at, SRC(1) + first, SRC(2), n->at.first,
                           SRC(3) + first, OUT(0) + at, n->accumulate[0]);
}

void twohot_nll_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], cost(tensor_last(n->src[0]), 90), twohot_nll_dx_rows);
}

void twohot_mean_shape(struct node *n) {
    check_bins(n, n->src[1]);
    one_per_row(n);
}

static struct tensor *twohot_mean(struct graph *g, struct tensor *logits, struct tensor *bins,
                                  bool real_space) {
    struct node *n = node_new(g, OP_TWOHOT_MEAN);
    n->at.first = real_space;
    node_src(n, logits);
    node_src(n, bins);
    return node_finish(n);
}

struct tensor *g_twohot_mean(struct graph *g, struct tensor *logits, struct tensor *bins) {
    return twohot_mean(g, logits, bins, false);
}

struct tensor *g_twohot_real_mean(struct graph *g, struct tensor *logits, struct tensor *bins) {
    return twohot_mean(g, logits, bins, true);
}

static void twohot_mean_rows(const struct run *r, const struct node *n, int64_t first,
                             int64_t end) {
    int64_t k = tensor_last(n->src[0]);
    r->rows->twohot_mean(end - first, k, SRC(0) + first * k, SRC(1), n->at.first, OUT(0) + first);
}

void twohot_mean_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], cost(tensor_last(n->src[0]), 50), twohot_mean_rows);
}

void twohot_mean_grad(struct graph *g, struct node *n) {
    node_append(loss_dx(g, n, OP_TWOHOT_MEAN_DX));
}

static void twohot_mean_dx_rows(const struct run *r, const struct node *n, int64_t first,
                                int64_t end) {
    int64_t k = tensor_last(n->src[0]), at = first * k;
    r->rows->twohot_mean_dx(end - first, k, SRC(0) + at, SRC(1), n->at.first, SRC(2) + first,
                            OUT(0) + at, n->accumulate[0]);
}

void twohot_mean_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], cost(tensor_last(n->src[0]), 90), twohot_mean_dx_rows);
}

// ---- binary cross entropy

void bce_shape(struct node *n) {
    check_per_row(n, n->src[0]);
    check_per_row(n, n->src[1]);
    one_per_row(n);
}

struct tensor *g_bce(struct graph *g, struct tensor *logits, struct tensor *target) {
    struct node *n = node_new(g, OP_BCE);
    node_src(n, logits);
    node_src(n, target);
    return node_finish(n);
}

static void bce_elements(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    r->rows->bce(end - first, SRC(0) + first, SRC(1) + first, OUT(0) + first);
}

void bce_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, 80, bce_elements);
}

void bce_grad(struct graph *g, struct node *n) { node_append(loss_dx(g, n, OP_BCE_DX)); }

static void bce_dx_elements(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    r->rows->bce_dx(end - first, SRC(0) + first, SRC(1) + first, SRC(2) + first, OUT(0) + first,
                    n->accumulate[0]);
}

void bce_dx_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, 50, bce_dx_elements);
}

// ---- KL divergence and entropy

static void kl_check(struct node *n) {
    check_like(n, n->src[0], n->src[1]);
    NODE_CHECK(n, n->at.n_classes >= 1 && tensor_last(n->src[0]) % n->at.n_classes == 0,
               "rows of %lld values do not divide into categoricals of %lld",
               (long long)tensor_last(n->src[0]), (long long)n->at.n_classes);
    one_per_row(n);
}

void kl_shape(struct node *n) { kl_check(n); }
void kl_balanced_shape(struct node *n) { kl_check(n); }

struct tensor *g_kl(struct graph *g, struct tensor *post, struct tensor *prior, int64_t n_classes) {
    struct node *n = node_new(g, OP_KL);
    n->at.n_classes = n_classes;
    node_src(n, post);
    node_src(n, prior);
    return node_finish(n);
}

struct tensor *g_kl_balanced(struct graph *g, struct tensor *post, struct tensor *prior,
                             int64_t n_classes, real w_dyn, real w_rep, real free_nats) {
    struct node *n = node_new(g, OP_KL_BALANCED);
    n->at.n_classes = n_classes;
    n->at.w_dyn = w_dyn;
    n->at.w_rep = w_rep;
    n->at.free_nats = free_nats;
    node_src(n, post);
    node_src(n, prior);
    return node_finish(n);
}

static void kl_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t k = tensor_row_size(n->src[0]);
    r->rows->kl(end - first, k, SRC(0) + first * k, SRC(1) + first * k, OUT(0) + first);
}

static void kl_balanced_rows(const struct run *r, const struct node *n, int64_t first,
                             int64_t end) {
    kl_rows(r, n, first, end);
    real *y = OUT(0);
    for (int64_t i = first; i < end; i++) {
        real k = y[i] < n->at.free_nats ? n->at.free_nats : y[i]; // NaN stays
        y[i] = n->at.w_dyn * k + n->at.w_rep * k;
    }
}

static int64_t kl_cost(const struct node *n, int64_t per_64) {
    return cost(tensor_row_size(n->src[0]), per_64);
}

void kl_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], kl_cost(n, 40), kl_rows);
}

void kl_balanced_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], kl_cost(n, 40), kl_balanced_rows);
}

void kl_balanced_grad(struct graph *g, struct node *n) {
    struct node *b = loss_dx(g, n, OP_KL_BALANCED_DX);
    backward_out(g, b, n->src[1]);
    node_append(b);
}

static void kl_balanced_dx_rows(const struct run *r, const struct node *n, int64_t first,
                                int64_t end) {
    int64_t k = tensor_row_size(n->src[0]), at = first * k;
    struct kl_dx d = {.post = SRC(0) + at,
                      .prior = SRC(1) + at,
                      .dy = SRC(2) + first,
                      .d_post = n->out[0] ? OUT(0) + at : NULL,
                      .d_prior = n->out[1] ? OUT(1) + at : NULL,
                      .add_post = n->accumulate[0],
                      .add_prior = n->accumulate[1],
                      .w_dyn = n->at.w_dyn,
                      .w_rep = n->at.w_rep,
                      .free_nats = n->at.free_nats};
    r->rows->kl_balanced_dx(end - first, k, &d);
}

void kl_balanced_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], kl_cost(n, 100), kl_balanced_dx_rows);
}

void entropy_shape(struct node *n) { one_per_row(n); }

struct tensor *g_entropy(struct graph *g, struct tensor *m) {
    struct node *n = node_new(g, OP_ENTROPY);
    node_src(n, m);
    return node_finish(n);
}

static void entropy_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t k = tensor_row_size(n->src[0]);
    r->rows->entropy(end - first, k, SRC(0) + first * k, OUT(0) + first);
}

void entropy_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], kl_cost(n, 40), entropy_rows);
}

void entropy_grad(struct graph *g, struct node *n) { node_append(loss_dx(g, n, OP_ENTROPY_DX)); }

static void entropy_dx_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t k = tensor_row_size(n->src[0]), at = first * k;
    r->rows->entropy_dx(end - first, k, SRC(0) + at, SRC(1) + first, OUT(0) + at, n->accumulate[0]);
}

void entropy_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], kl_cost(n, 40), entropy_dx_rows);
}

// ---- log-probability of a sample

void log_prob_shape(struct node *n) {
    check_like(n, n->src[0], n->src[1]);
    one_per_row(n);
}

struct tensor *g_log_prob(struct graph *g, struct tensor *m, struct tensor *z) {
    struct node *n = node_new(g, OP_LOG_PROB);
    node_src(n, m);
    node_src(n, z);
    return node_finish(n);
}

static void log_prob_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    int64_t k = tensor_row_size(n->src[0]), at = first * k;
    r->rows->log_prob(end - first, k, SRC(0) + at, SRC(1) + at, OUT(0) + first);
}

void log_prob_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], kl_cost(n, 40), log_prob_rows);
}

void log_prob_grad(struct graph *g, struct node *n) { node_append(loss_dx(g, n, OP_LOG_PROB_DX)); }

static void log_prob_dx_rows(const struct run *r, const struct node *n, int64_t first,
                             int64_t end) {
    int64_t k = tensor_row_size(n->src[0]), at = first * k;
    r->rows->log_prob_dx(end - first, k, SRC(0) + at, SRC(1) + at, SRC(2) + first, OUT(0) + at,
                         n->accumulate[0]);
}

void log_prob_dx_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], kl_cost(n, 16), log_prob_dx_rows);
}
