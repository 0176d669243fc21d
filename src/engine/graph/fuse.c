// Fusion: what the CPU computes inside the node that reads it or writes it, found before memory is
// planned.
#include "engine/graph/node.h"

// ---- convolutions that unpack the frames they read

static bool reads_at(const struct node *n, const struct tensor *t, int src) {
    for (int s = 0; s < n->n_src; s++)
        if ((n->src[s] == t) != (s == src) && n->src[s] && tensor_root(n->src[s], NULL) == t)
            return false;
    return true;
}

// Whether t is read by convolutions in tiles only, and by them as their image.
static bool only_images(const struct graph *g, const struct tensor *t) {
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = g->nodes[i];
        const bool conv = n->kind == OP_CONV_VALID || n->kind == OP_CONV_VALID_DW;
        const bool tiled = conv && n->src[0] == t && tile_sizes(&n->at.patch).side > 0;
        if (!reads_at(n, t, tiled ? 0 : -1)) return false;
    }
    return !t->keep;
}

static void read_frames(struct graph *g, struct node *unpack) {
    struct tensor *t = unpack->out[0];
    if (!only_images(g, t)) return;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i]->n_src > 0 && g->nodes[i]->src[0] == t)
            g->nodes[i]->src[0] = unpack->src[0];
    unpack->given = g->fused = true;
}

void fuse_nodes(struct graph *g) {
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i]->kind == OP_UNPACK_STACK) read_frames(g, g->nodes[i]);
}
