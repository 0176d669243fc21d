// Fusion: what the CPU computes inside the node that reads it or writes it, found before memory is
// planned.
//
//     frames -> unpack -> x -> conv, dw    they read the frames, and so does the squared error of
//                                          a reconstruction; x is never made
//     conv -> c -> ReLU -> y               conv writes y
//     dy -> ReLU' -> dc -> dx, dw, db      dx and dw read dy and y; dw sums db as it goes
//
// Only what nobody else sees goes; a ReLU only into convolutions in tiles (kernels_tiles.h). The
// nodes that are computed elsewhere stay on the tape as given. Devices run the tape as it was.
#include "engine/graph/node.h"
#include "engine/graph/ops.h"

static struct tensor *root_of(const struct tensor *t) { return t ? tensor_root(t, NULL) : NULL; }

static bool is_tiled(const struct node *n) { return tile_sizes(&n->at.patch).side > 0; }

// By which source a node may read a tensor that is to go; -1: by none.
typedef int place_fn(const struct node *n);

// How often the root t is read; -1: by another source than `place` names, or after the run.
static int n_reads_at(const struct graph *g, const struct tensor *t, place_fn *place) {
    int n_reads = 0;
    if (t->keep) return -1;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = g->nodes[i];
        for (int s = 0; s < n->n_src && !n->given; s++) {
            if (root_of(n->src[s]) != t) continue;
            if (s != place(n)) return -1;
            n_reads++;
        }
    }
    return n_reads;
}

// ---- nodes that unpack the frames they read

static int stack_place(const struct node *n) {
    const bool conv = n->kind == OP_CONV_VALID || n->kind == OP_CONV_VALID_DW;
    return conv && is_tiled(n) ? 0 : -1;
}

static int frame_place(const struct node *n) {
    switch (n->kind) {
    case OP_CONV:
    case OP_CONV_DW:
        return conv_reads_frames(&n->at.conv) ? 0 : -1;
    case OP_SQUARE_ERROR:
    case OP_SQUARE_ERROR_DX:
        return square_error_reads_frames(n) ? 1 : -1;
    default:
        return -1;
    }
}

static void read_frames(struct graph *g, struct node *unpack, place_fn *place) {
    struct tensor *x = unpack->out[0];
    if (x->base || n_reads_at(g, x, place) < 0) return; // with a base: a part of a stack
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        for (int s = 0; s < n->n_src; s++)
            if (root_of(n->src[s]) == x) n->src[s] = unpack->src[0];
    }
    unpack->given = g->fused = true;
}

// ---- convolutions with their ReLU

static int relu_place(const struct node *n) { return n->kind == OP_RELU ? 0 : -1; }

static int gradient_place(const struct node *n) {
    if (n->kind == OP_COLUMN_SUM) return 0;
    return !is_tiled(n)                  ? -1
           : n->kind == OP_CONV_VALID_DX ? 0
           : n->kind == OP_CONV_VALID_DW ? 1
                                         : -1;
}

static struct node *reader(const struct graph *g, const struct tensor *t, enum op_kind kind) {
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        for (int s = 0; s < n->n_src && n->kind == kind; s++)
            if (root_of(n->src[s]) == t) return n;
    }
    return NULL;
}

// The one node that writes t and nothing before; NULL: there are several.
static struct node *only_writer(const struct graph *g, const struct tensor *t) {
    struct node *found = NULL;
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        for (int o = 0; o < n->n_out; o++) {
            if (root_of(n->out[o]) != t) continue;
            if (found || n->accumulate[o]) return NULL;
            found = n;
        }
    }
    return found;
}

// The gradient dc of a convolution is no longer made: dx and dw read dy where y is above 0.
static bool fuse_gradient(struct graph *g, struct tensor *dc, const struct tensor *y) {
    struct node *mask = only_writer(g, dc), *dw = reader(g, dc, OP_CONV_VALID_DW);
    struct node *dx = reader(g, dc, OP_CONV_VALID_DX), *db = reader(g, dc, OP_COLUMN_SUM);
    if (!mask || mask->kind != OP_RELU_DX || mask->src[0] != y || !dw || dw->n_out > 1)
        return false;
    if (n_reads_at(g, dc, gradient_place) < 0) return false;
    dw->src[1] = mask->src[1];
    node_src(dw, mask->src[0]);
    if (dx) dx->src[0] = mask->src[1];
    if (dx) node_src(dx, mask->src[0]);
    if (db) {
        dw->out[dw->n_out] = db->out[0];
        dw->accumulate[dw->n_out++] = db->accumulate[0];
        db->given = true;
    }
    mask->given = true;
    return true;
}

static void fuse_relu(struct graph *g, struct node *relu) {
    struct tensor *c = relu->src[0], *y = relu->out[0];
    struct node *conv = c->node;
    if (!conv || conv->kind != OP_CONV_VALID || !is_tiled(conv) || c->base) return;
    if (n_reads_at(g, c, relu_place) != 1) return; // a second ReLU would find nothing
    if (c->root->grad && !fuse_gradient(g, c->root->grad, y)) return;
    conv->out[0] = y;
    conv->at.relu = relu->given = g->fused = true;
}

void fuse_frames(struct graph *g) {
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        if (n->kind == OP_UNPACK_STACK) read_frames(g, n, stack_place);
        if (n->kind == OP_UNPACK2) read_frames(g, n, frame_place);
    }
}

void fuse_nodes(struct graph *g) {
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i]->kind == OP_RELU) fuse_relu(g, g->nodes[i]);
    fuse_gru(g);
}
