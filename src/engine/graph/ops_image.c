// Ops on pixels: packed2 frames, convolution and transposed convolution, and the layouts of the
// flattened image.
#include "engine/graph/backend.h"
#include "engine/graph/ops.h"

// ---- packed2 frames (spec/dreamer_v3.md 1.1)

void unpack2_shape(struct node *n) {
    const struct tensor *x = n->src[0];
    int64_t h = n->at.height, w = n->at.width;
    NODE_CHECK(n, x->dtype == DTYPE_U8, "%s holds no bytes", x->name);
    NODE_CHECK(n, w % 4 == 0 && tensor_row_size(x) == h * w / 4,
               "a packed %lld x %lld frame is not %lld bytes", (long long)h, (long long)w,
               (long long)tensor_row_size(x));
    node_out(n, 4, (int64_t[]){x->shape[0], h, w, 1});
}

struct tensor *g_unpack2(struct graph *g, struct tensor *packed, int64_t height, int64_t width) {
    struct node *n = node_new(g, OP_UNPACK2);
    n->at.height = height;
    n->at.width = width;
    node_src(n, packed);
    return node_finish(n);
}

static void unpack2_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    const uint8_t *packed = n->src[0]->data;
    r->rows->unpack2(end - first, packed + first, reals(n->out[0]) + 4 * first);
}

void unpack2_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->src[0]->n_elements, 64, unpack2_rows);
}

// ---- convolutions: three kernels serve both directions (kernels.h). The last source is the packed
// weights.

static void set_shape(struct node *n, const struct conv_shape *shape) {
    n->at.conv = *shape;
    n->at.bf16 = shape->bf16;
}

static struct tensor *packed(struct graph *g, struct tensor *w, const struct conv_shape *shape,
                             enum op_kind kind) {
    struct pack pack = {.w = w, .kind = kind, .bf16 = shape->bf16};
    struct tensor *t = graph_find_pack(g, &pack);
    if (t) return t;
    struct node *n = node_new(g, kind);
    set_shape(n, shape);
    node_src(n, w);
    struct conv_shape stored = *shape; // a device packs floats: its tensor cores round them
    stored.bf16 = shape->bf16 && !backend_chosen();
    t = node_out(n, 1, (int64_t[]){conv_pack_reals(&stored)});
    node_append(n);
    pack.packed = t;
    graph_add_pack(g, &pack);
    return t;
}

static struct conv_job pack_job(const struct node *n) {
    return (struct conv_job){
        .shape = n->at.conv, .weights = reals(n->src[0]), .packed = reals(n->out[0])};
}

static void pack_down_share(const struct run *r, const struct node *n, int share) {
    struct conv_job job = pack_job(n);
    run_products(r, n)->conv_pack_down(&job, share);
}

static void pack_up_share(const struct run *r, const struct node *n, int share) {
    struct conv_job job = pack_job(n);
    run_products(r, n)->conv_pack_up(&job, share);
}

void conv_pack_down_run(const struct run *r, const struct node *n) {
    struct conv_job job = pack_job(n);
    run_shares(r, n, conv_pack_shares(&job), pack_down_share);
}

void conv_pack_up_run(const struct run *r, const struct node *n) {
    struct conv_job job = pack_job(n);
    run_shares(r, n, conv_pack_shares(&job), pack_up_share);
}

static void check_image(const struct node *n, const struct tensor *x, const struct tensor *w,
                        int channel_axis) {
    NODE_CHECK(n, x->n_dims == 4, "%s has %d dimensions, an image batch 4", x->name, x->n_dims);
    NODE_CHECK(n, w->n_dims == 4 && w->shape[2] == 4 && w->shape[3] == 4, "%s is no 4 x 4 kernel",
               w->name);
    NODE_CHECK(n, w->shape[channel_axis] == x->shape[3], "%s has %lld channels, %s takes %lld",
               x->name, (long long)x->shape[3], w->name, (long long)w->shape[channel_axis]);
}

void conv_shape(struct node *n) {
    const struct tensor *x = n->src[0], *w = n->src[1];
    check_image(n, x, w, 1);
    NODE_CHECK(n, x->shape[1] >= 2 && x->shape[2] >= 2, "%s is too small to halve", x->name);
    node_out(n, 4, (int64_t[]){x->shape[0], x->shape[1] / 2, x->shape[2] / 2, w->shape[0]});
    node_scratch(n, conv_scratch_reals(&n->at.conv));
}

struct tensor *g_conv(struct graph *g, struct tensor *x, struct tensor *w) {
    struct conv_shape shape = {.n = x->shape[0],
                               .height = x->shape[1],
                               .width = x->shape[2],
                               .n_big = w->shape[1],
                               .n_small = w->shape[0]};
    struct node *n = node_new(g, OP_CONV);
    check_image(n, x, w, 1);
    shape.bf16 = g->bf16 && conv_in_bf16(&shape);
    shape.tiles = !backend_chosen() && conv_in_tiles(&shape);
    set_shape(n, &shape);
    node_src(n, x);
    node_src(n, w);
    node_src(n, packed(g, w, &shape, OP_CONV_PACK_DOWN));
    return node_finish(n);
}

void deconv_shape(struct node *n) {
    const struct tensor *x = n->src[0], *w = n->src[1], *bias = n->src[2];
    check_image(n, x, w, 0);
    NODE_CHECK(n, !bias || bias->n_elements == w->shape[1],
               "the bias has %lld elements for %lld channels",
               bias ? (long long)bias->n_elements : 0, (long long)w->shape[1]);
    node_out(n, 4, (int64_t[]){x->shape[0], 2 * x->shape[1], 2 * x->shape[2], w->shape[1]});
    node_scratch(n, conv_scratch_reals(&n->at.conv));
}

struct tensor *g_deconv(struct graph *g, struct tensor *x, struct tensor *w, struct tensor *bias) {
    struct conv_shape shape = {.n = x->shape[0],
                               .height = 2 * x->shape[1],
                               .width = 2 * x->shape[2],
                               .n_big = w->shape[1],
                               .n_small = w->shape[0]};
    struct node *n = node_new(g, OP_DECONV);
    check_image(n, x, w, 0);
    shape.bf16 = g->bf16 && conv_in_bf16(&shape);
    shape.tiles = !backend_chosen() && conv_in_tiles(&shape);
    set_shape(n, &shape);
    node_src(n, x);
    node_src(n, w);
    node_src(n, bias);
    node_src(n, packed(g, w, &shape, OP_CONV_PACK_UP));
    return node_finish(n);
}

static struct conv_job image_job(const struct node *n) {
    return (struct conv_job){.shape = n->at.conv,
                             .packed = reals(n->src[n->n_src - 1]),
                             .out = reals(n->out[0]),
                             .accumulate = n->accumulate[0],
                             .scratch = reals(n->scratch)};
}

// The big image, or the frames from which the convolution makes it (fuse.c).
static void read_big(struct conv_job *job, const struct tensor *t) {
    if (t->dtype == DTYPE_U8)
        job->frames = t->data;
    else
        job->big = reals(t);
}

static struct conv_job down_job(const struct node *n) {
    struct conv_job job = image_job(n);
    read_big(&job, n->src[0]);
    return job;
}

static struct conv_job up_job(const struct node *n) {
    struct conv_job job = image_job(n);
    job.small = reals(n->src[0]);
    job.bias = n->kind == OP_DECONV ? reals(n->src[2]) : NULL;
    return job;
}

static void down_share(const struct run *r, const struct node *n, int share) {
    struct conv_job job = down_job(n);
    run_products(r, n)->conv_down(&job, share);
}

static void up_share(const struct run *r, const struct node *n, int share) {
    struct conv_job job = up_job(n);
    run_products(r, n)->conv_up(&job, share);
}

void conv_down_run(const struct run *r, const struct node *n) {
    struct conv_job job = down_job(n);
    run_shares(r, n, conv_shares(&job), down_share);
}

void conv_up_run(const struct run *r, const struct node *n) {
    struct conv_job job = up_job(n);
    run_shares(r, n, conv_shares(&job), up_share);
}

void conv_run(const struct run *r, const struct node *n) { conv_down_run(r, n); }
void deconv_run(const struct run *r, const struct node *n) { conv_up_run(r, n); }

static void append_weight_grad(struct graph *g, struct node *n, struct tensor *big,
                               struct tensor *small) {
    if (!wants_grad(n->src[1])) return;
    struct node *b = backward_new(g, OP_CONV_DW, n, "dw");
    node_src(b, big);
    node_src(b, small);
    backward_out(g, b, n->src[1]);
    node_scratch(b, conv_weight_scratch_reals(&b->at.conv));
    node_append(b);
}

static void append_image_grad(struct graph *g, struct node *n, struct tensor *dy, enum op_kind kind,
                              enum op_kind pack_kind) {
    if (!wants_grad(n->src[0])) return;
    struct tensor *weights = packed(g, n->src[1], &n->at.conv, pack_kind);
    struct node *b = backward_new(g, kind, n, "dx");
    node_src(b, dy);
    node_src(b, weights);
    backward_out(g, b, n->src[0]);
    node_scratch(b, conv_scratch_reals(&b->at.conv));
    node_append(b);
}

// The weights' gradient comes first: it is the last to read x, whose memory dx may take.
void conv_grad(struct graph *g, struct node *n) {
    struct tensor *dy = output_grad(g, n->out[0]);
    append_weight_grad(g, n, n->src[0], dy);
    append_image_grad(g, n, dy, OP_CONV_DX, OP_CONV_PACK_UP);
}

void deconv_grad(struct graph *g, struct node *n) {
    struct tensor *dy = output_grad(g, n->out[0]);
    append_weight_grad(g, n, dy, n->src[0]);
    append_column_sum(g, n, n->src[2], dy);
    append_image_grad(g, n, dy, OP_DECONV_DX, OP_CONV_PACK_DOWN);
}

static struct conv_job weight_job(const struct node *n) {
    struct conv_job job = {.shape = n->at.conv,
                           .small = reals(n->src[1]),
                           .out = reals(n->out[0]),
                           .accumulate = n->accumulate[0],
                           .scratch = reals(n->scratch)};
    read_big(&job, n->src[0]);
    return job;
}

static void weight_share(const struct run *r, const struct node *n, int share) {
    struct conv_job job = weight_job(n);
    run_products(r, n)->conv_weight(&job, share);
}

static void weight_reduce_share(const struct run *r, const struct node *n, int share) {
    struct conv_job job = weight_job(n);
    run_products(r, n)->conv_weight_reduce(&job, share);
}

void conv_weight_run(const struct run *r, const struct node *n) {
    struct conv_job job = weight_job(n);
    run_shares(r, n, conv_shares(&job), weight_share);
    run_shares(r, n, conv_weight_reduce_shares(&job), weight_reduce_share);
}

// ---- layouts of a flattened image: [pixels, channels] per image and [channels, pixels]

void hwc_to_chw_shape(struct node *n) {
    const struct tensor *x = n->src[0];
    NODE_CHECK(n, x->n_dims == 4, "%s has %d dimensions, an image batch 4", x->name, x->n_dims);
    n->at.count = x->shape[1] * x->shape[2];
    n->at.n_classes = x->shape[3];
    node_out(n, 2, (int64_t[]){x->shape[0], tensor_row_size(x)});
}

struct tensor *g_hwc_to_chw(struct graph *g, struct tensor *x) {
    struct node *n = node_new(g, OP_HWC_TO_CHW);
    node_src(n, x);
    return node_finish(n);
}

void chw_to_hwc_shape(struct node *n) {
    const struct tensor *x = n->src[0];
    int64_t h = n->at.height, w = n->at.width, c = n->at.n_classes;
    NODE_CHECK(n, tensor_row_size(x) == h * w * c,
               "%s has %lld values per row, not %lld x %lld x %lld", x->name,
               (long long)tensor_row_size(x), (long long)h, (long long)w, (long long)c);
    n->at.count = h * w;
    node_out(n, 4, (int64_t[]){x->shape[0], h, w, c});
}

struct tensor *g_chw_to_hwc(struct graph *g, struct tensor *x, int64_t height, int64_t width,
                            int64_t channels) {
    struct node *n = node_new(g, OP_CHW_TO_HWC);
    n->at.height = height;
    n->at.width = width;
    n->at.n_classes = channels;
    node_src(n, x);
    return node_finish(n);
}

// Images [first, end) of rows x columns values each.
static void transpose(const struct run *r, const struct node *n, int64_t rows, int64_t columns,
                      int64_t first, int64_t end) {
    for (int64_t at = first * rows * columns; at < end * rows * columns; at += rows * columns)
        r->rows->transpose(rows, columns, reals(n->src[0]) + at, reals(n->out[0]) + at,
                           n->accumulate[0]);
}

static void to_chw_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    transpose(r, n, n->at.count, n->at.n_classes, first, end);
}

static void to_hwc_rows(const struct run *r, const struct node *n, int64_t first, int64_t end) {
    transpose(r, n, n->at.n_classes, n->at.count, first, end);
}

void hwc_to_chw_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], tensor_row_size(n->src[0]) / 4, to_chw_rows);
}

void chw_to_hwc_run(const struct run *r, const struct node *n) {
    run_rows(r, n, n->src[0]->shape[0], tensor_row_size(n->src[0]) / 4, to_hwc_rows);
}

static void append_layout_grad(struct graph *g, struct node *n, enum op_kind kind) {
    struct node *b = backward_new(g, kind, n, "dx");
    node_src(b, output_grad(g, n->out[0]));
    backward_out(g, b, n->src[0]);
    node_append(b);
}

void hwc_to_chw_grad(struct graph *g, struct node *n) {
    append_layout_grad(g, n, OP_HWC_TO_CHW_DX);
}
void chw_to_hwc_grad(struct graph *g, struct node *n) {
    append_layout_grad(g, n, OP_CHW_TO_HWC_DX);
}
