// Fusion of the LayerNorm-GRU: norm and gates are one pass over the rows, forwards and backwards.
//
//     x -> norm -> y -> gates -> h            gates norm a few rows, then use them
//     dh -> gates' -> dy -> norm' -> dx       norm' asks for dy of its slice of rows, then uses it
//
// The same kernels on the same rows, so no bit changes; a row of y is still in the first cache, and
// there is one hand-out to the threads where there were two. Only neighbours on the tape go
// together: nothing that runs between them could see the difference.
#include "engine/graph/node.h"

// The node that runs right before n; NULL: none.
static struct node *node_before(const struct graph *g, const struct node *n) {
    int i = n->index - 1;
    while (i >= 0 && !node_runs(g->nodes[i])) i--;
    return i >= 0 ? g->nodes[i] : NULL;
}

// Whether n goes row by row through `before`, whose out[0] is n's source number `source`. Gates in
// blocks have more rows than their norm.
static bool goes_through(const struct node *n, int source, const struct node *before) {
    const struct node *gates = n->kind == OP_GRU_GATES ? n : before;
    const struct tensor *y = before->out[0], *x = n->src[source];
    return gates->at.count == 1 && y && !before->accumulate[0] && y->n_elements == x->n_elements &&
           tensor_root(y, NULL) == tensor_root(x, NULL);
}

void fuse_gru(struct graph *g) {
    static const struct {
        enum op_kind kind, before;
        int source; // of kind: what `before` makes
    } pairs[] = {{OP_GRU_GATES, OP_LAYER_NORM, 0}, {OP_LAYER_NORM_DX, OP_GRU_GATES_DX, 3}};
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        for (int k = 0; k < 2 && !n->given; k++) {
            struct node *before = n->kind == pairs[k].kind ? node_before(g, n) : NULL;
            if (!before || before->kind != pairs[k].before || before->inside ||
                !goes_through(n, pairs[k].source, before))
                continue;
            n->inside = before;
            before->given = g->fused = true;
        }
    }
}
