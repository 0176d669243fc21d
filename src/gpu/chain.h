// Chains: consecutive nodes of a graph that work row by row, as one launch.
//
//     struct chain_plan *plan = chain_plan_new(b, message, size);    // when the graph is placed
//     const struct chain *c = chain_at(plan, node->index);           // NULL: the node runs alone
//     chain_enqueue(g, plan, c);                                     // then go on behind c->last
//
// A row of most nodes' results depends on the same row of their inputs alone: layers, norms, gates,
// samples, elementwise functions. So a block of threads takes a few rows through many such nodes,
// with a barrier between two of them, where each would be a launch of its own; the time loops of a
// small model become one launch each. Layers whose weights every block would have to read are left
// to a product of their own where the weights are large (chain_takes_weights).
//
// Memory. The graph's plan lets tensors take the place of others that are no longer needed, by the
// order of the nodes; in a chain rows run ahead of each other, so a tensor must not take the place
// of one that another row may still read. Where two meet otherwise than row on row, the later one
// moves to memory of its own; where it cannot (its values come from before), the chain ends there.
//
// Sums over the rows (gradients of scale and shift, of a state shared by all rows): each row adds
// its share to a row of a slot, a second launch adds up the slots' columns.
#ifndef GPU_CHAIN_H
#define GPU_CHAIN_H

#include "gpu/gpu.h"

enum { CHAIN_MAX_SRC = 4 };

// A node, as the device reads it.
struct chain_step {
    int32_t kind, add, flag, across; // add: bit i: to out[i] is added
    int64_t width;                   // elements of a row of out[0] that are split among threads
    int64_t n, k, ld, limit, groups;
    real scale, shift, third; // of a KL: weights of prior and posterior, free nats
    buf<const real> src[CHAIN_MAX_SRC];
    buf<const int32_t> index; // of a layer over one-hot rows
    buf<real> out[NODE_MAX_OUT];
    buf<int32_t> ones;
};

struct chain_slot {
    buf<const real> shares; // [rows][n]
    buf<real> out;          // [n]
    int64_t rows, n;
    int32_t add;
};

struct chain {
    int first, last; // node indices
    int n_nodes;
    int64_t rows, rows_per_block;
    buf<const struct chain_step> steps;
    buf<const struct chain_slot> slots; // n 0: none
    int slot_tiles;                     // of the widest slot
};

struct backend_graph;
struct chain_plan;
// Plans, gives memory and uploads the steps. NULL: b->gpu.message says why.
struct chain_plan *chain_plan_new(struct backend_graph *b);
void chain_plan_free(struct gpu_device *d, struct chain_plan *p); // NULL is fine
const struct chain *chain_at(const struct chain_plan *p, int node);
// Of a tensor that was moved: its place. NULL: it lies where the graph's plan has it.
void *chain_moved(const struct chain_plan *p, const struct tensor *t);
// Whether the node's result is read by nobody: packed weights that products do not need.
bool chain_skips(const struct chain_plan *p, const struct node *n);
void chain_enqueue(struct gpu *g, const struct chain *c);

#endif
