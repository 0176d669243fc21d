// Ops of the PPO network: convolution without a border, ReLU, stacks of packed2 frames.
#include "engine/graph/ops.h"

enum { X, W, BIAS, PACKED };

// ---- packed weights

static struct patch_job pack_job(const struct node *n) {
    return (struct patch_job){
        .shape = n->at.patch, .weights = reals(n->src[0]), .packed = reals(n->out[0])};
}

static void pack_share(const struct run *r, const struct node *n, int share) {
    struct patch_job job = pack_job(n);
    r->k->patch_pack(&job, share);
}

static void pack_dx_share(const struct run *r, const struct node *n, int share) {
    struct patch_job job = pack_job(n);
    r->k->patch_pack_dx(&job, share);
}

void patch_pack_run(const struct run *r, const struct node *n) {
    struct patch_job job = pack_job(n);
    run_shares(r, n, patch_pack_shares(&job), pack_share);
}

void patch_pack_dx_run(const struct run *r, const struct node *n) {
    struct patch_job job = pack_job(n);
    run_shares(r, n, patch_pack_shares(&job), pack_dx_share);
}

static struct tensor *packed(struct graph *g, struct tensor *w, const struct patch_shape *shape,
                             enum op_kind kind) {
    struct pack pack = {.w = w, .k = shape->stride, .kind = kind}; // tiles depend on the stride
    struct tensor *t = graph_find_pack(g, &pack);
    if (t) return t;
    struct node *n = node_new(g, kind);
    n->at.patch = *shape;
    node_src(n, w);
    t = node_out(n, 1, (int64_t[]){patch_pack_reals(shape)});
    node_append(n);
    pack.packed = t;
    graph_add_pack(g, &pack);
    return t;
}

// ---- convolution

void conv_valid_shape(struct node *n) {
    const struct patch_shape *s = &n->at.patch;
    const struct tensor *bias = n->src[BIAS];
    NODE_CHECK(n, bias->n_elements == s->c_out, "the bias has %lld elements for %lld channels",
               (long long)bias->n_elements, (long long)s->c_out);
    NODE_CHECK(n, s->height >= s->kernel && s->width >= s->kernel, "%s is smaller than the kernel",
               n->src[X]->name);
    NODE_CHECK(n, s->c_out % GEMM_UNIT == 0, "%lld output channels are no multiple of %d",
               (long long)s->c_out, GEMM_UNIT);
    int64_t run = s->kernel * s->c_in;
    NODE_CHECK(n, run % 4 == 0 && run >= 8, "%lld values in a row of the kernel", (long long)run);
    node_scratch(n, patch_shares(s) * patch_forward_share_reals(s));
    node_out(n, 4, (int64_t[]){s->n, patch_rows(s), patch_columns(s), s->c_out});
}

struct tensor *g_conv_valid(struct graph *g, struct tensor *x, struct tensor *w,
                            struct tensor *bias, int64_t stride) {
    struct node *n = node_new(g, OP_CONV_VALID);
    NODE_CHECK(n, x->n_dims == 4, "%s has %d dimensions, an image batch 4", x->name, x->n_dims);
    NODE_CHECK(n, w->n_dims == 4 && w->shape[2] == w->shape[3], "%s is no square kernel", w->name);
    NODE_CHECK(n, w->shape[1] == x->shape[3], "%s has %lld channels, %s takes %lld", x->name,
               (long long)x->shape[3], w->name, (long long)w->shape[1]);
    n->at.patch = (struct patch_shape){x->shape[0],
                                       x->shape[1],
                                       x->shape[2],
                                       x->shape[3],
                                       w->shape[0],
                                       w->shape[2],
                                       stride,
                                       x->node && x->node->kind == OP_UNPACK_STACK,
                                       0};
    node_src(n, x);
    node_src(n, w);
    node_src(n, bias);
    node_src(n, packed(g, w, &n->at.patch, OP_PATCH_PACK));
    return node_finish(n);
}

// Images, or the frames that they would be unpacked from (fuse.c).
static void read_images(struct patch_job *job, const struct tensor *x) {
    if (x->dtype == DTYPE_U8)
        job->frames = x->data;
    else
        job->big = reals(x);
}

static void forward_share(const struct run *r, const struct node *n, int share) {
    struct patch_job job = {.shape = n->at.patch,
                            .packed = reals(n->src[PACKED]),
                            .bias = reals(n->src[BIAS]),
                            .relu = n->at.relu,
                            .out = reals(n->out[0]),
                            .scratch = reals(n->scratch)};
    read_images(&job, n->src[X]);
    r->k->patch_forward(&job, share);
}

void conv_valid_run(const struct run *r, const struct node *n) {
    run_shares(r, n, patch_shares(&n->at.patch), forward_share);
}

void conv_valid_grad(struct graph *g, struct node *n) {
    struct tensor *dy = output_grad(g, n->out[0]);
    const struct patch_shape *s = &n->at.patch;
    if (wants_grad(n->src[X])) {
        struct tensor *weights = packed(g, n->src[W], s, OP_PATCH_PACK_DX);
        struct node *b = backward_new(g, OP_CONV_VALID_DX, n, "dx");
        node_src(b, dy);
        node_src(b, weights);
        backward_out(g, b, n->src[X]);
        node_scratch(b, patch_shares(s) * patch_dx_share_reals(s));
        node_append(b);
    }
    if (wants_grad(n->src[W])) {
        struct node *b = backward_new(g, OP_CONV_VALID_DW, n, "dw");
        node_src(b, n->src[X]);
        node_src(b, dy);
        backward_out(g, b, n->src[W]);
        node_scratch(b, patch_shares(s) * patch_dw_share_reals(s));
        node_append(b);
    }
    append_column_sum(g, n, n->src[BIAS], dy);
}

// The output of a ReLU that fuse.c has made a part of the convolution.
static const real *relu_output(const struct node *n) {
    return n->n_src > 2 ? reals(n->src[2]) : NULL;
}

static void dx_share(const struct run *r, const struct node *n, int share) {
    struct patch_job job = {.shape = n->at.patch,
                            .small = reals(n->src[0]),
                            .y = relu_output(n),
                            .packed = reals(n->src[1]),
                            .out = reals(n->out[0]),
                            .accumulate = n->accumulate[0],
                            .scratch = reals(n->scratch)};
    r->k->patch_dx(&job, share);
}

void conv_valid_dx_run(const struct run *r, const struct node *n) {
    run_shares(r, n, patch_shares(&n->at.patch), dx_share);
}

static struct patch_job dw_job(const struct node *n) {
    struct patch_job job = {.shape = n->at.patch,
                            .small = reals(n->src[1]),
                            .y = relu_output(n),
                            .out = reals(n->out[0]),
                            .accumulate = n->accumulate[0],
                            .bias_out = n->n_out > 1 ? reals(n->out[1]) : NULL,
                            .bias_accumulate = n->accumulate[1],
                            .scratch = reals(n->scratch)};
    read_images(&job, n->src[0]);
    return job;
}

static void dw_share(const struct run *r, const struct node *n, int share) {
    struct patch_job job = dw_job(n);
    r->k->patch_dw(&job, share);
}

static void dw_reduce_share(const struct run *r, const struct node *n, int share) {
    struct patch_job job = dw_job(n);
    r->k->patch_dw_reduce(&job, share);
}

void conv_valid_dw_run(const struct run *r, const struct node *n) {
    struct patch_job job = dw_job(n);
    run_shares(r, n, patch_shares(&n->at.patch), dw_share);
    run_shares(r, n, patch_dw_reduce_shares(&job), dw_reduce_share);
}

// ---- ReLU

enum { COST_RELU = 8 }; // ns for 64 elements

void relu_shape(struct node *n) {
    NODE_CHECK(n, n->src[0]->dtype == DTYPE_REAL, "%s holds no reals", n->src[0]->name);
    node_out_like(n, n->src[0]);
}

struct tensor *g_relu(struct graph *g, struct tensor *x) {
    struct node *n = node_new(g, OP_RELU);
    node_src(n, x);
    return node_finish(n);
}

static void relu_elements(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    r->k->relu(end - first, reals(n->src[0]) + first, reals(n->out[0]) + first);
}

void relu_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, COST_RELU, relu_elements);
}

void relu_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_RELU_DX, n, "dx");
    struct tensor *dy = output_grad(g, n->out[0]);
    node_src(b, n->out[0]);
    node_src(b, dy);
    backward_out(g, b, n->src[0]);
    node_append(b);
}

static void relu_dx_elements(const struct run *r, const struct node *n, int64_t first,
                             int64_t end) {
    r->k->relu_dx(end - first, reals(n->src[0]) + first, reals(n->src[1]) + first,
                  reals(n->out[0]) + first, n->accumulate[0]);
}

void relu_dx_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, COST_RELU, relu_dx_elements);
}

// ---- stacks of packed2 frames

void unpack_stack_shape(struct node *n) {
    const struct tensor *x = n->src[0];
    int64_t h = n->at.height, w = n->at.width;
    NODE_CHECK(n, x->dtype == DTYPE_U8 && x->n_dims == 3, "%s is no [N, K, bytes]", x->name);
    NODE_CHECK(n, w % 4 == 0 && x->shape[2] == h * w / 4,
               "a packed %lld x %lld frame is not %lld bytes", (long long)h, (long long)w,
               (long long)x->shape[2]);
    node_out(n, 4, (int64_t[]){x->shape[0], h, w, x->shape[1]});
}

struct tensor *g_unpack_stack(struct graph *g, struct tensor *stacks, int64_t height,
                              int64_t width) {
    struct node *n = node_new(g, OP_UNPACK_STACK);
    n->at.height = height;
    n->at.width = width;
    node_src(n, stacks);
    return node_finish(n);
}

static void unpack_stack_rows(const struct run *r, const struct node *n, int64_t first,
                              int64_t end) {
    const int64_t depth = n->src[0]->shape[1], bytes = n->src[0]->shape[2];
    for (int64_t i = first; i < end; i++)
        r->rows->unpack_stack(depth, bytes, (const uint8_t *)n->src[0]->data + i * depth * bytes,
                              reals(n->out[0]) + i * depth * bytes * 4);
}

void unpack_stack_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], n->out[0]->n_elements / n->src[0]->shape[0],
             unpack_stack_rows);
}
