// Layers computed twice: what a time loop has computed step by step, a later node on all of its
// rows need not.
//
//     for t:  p_t = policy(z_t)           the dream: no gradient flows through it
//     loss = f(policy([z_0; z_1; ..]))    the actor's loss: the same numbers, with a gradient
//
// Where earlier nodes have the same weights as a node that gets a gradient, and their sources make
// up its sources row by row, the earlier outputs are placed into its output and it is not run. Its
// gradient rule works as ever, on all rows at once. Rows do not see each other in these ops and
// their sums have one order, so the bits stay what they were.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/graph/node.h"

// Sources whose rows become rows of the output, as bits; all others must be the same tensors.
static unsigned row_sources(const struct node *n) {
    switch (n->kind) {
    case OP_LINEAR:
        return 1u << 0 | 1u << 3 | 1u << 5; // x, addend, where x's ones are
    case OP_LAYER_NORM:
    case OP_UNIMIX:
        return 1u << 0;
    default:
        return 0;
    }
}

enum { LINEAR_ONES = 5 }; // follows from x

static bool same_attributes(const struct node *a, const struct node *b) {
    return a->at.column == b->at.column && a->at.n_classes == b->at.n_classes &&
           a->at.eps == b->at.eps && a->at.mix == b->at.mix && a->at.act == b->at.act &&
           a->at.bf16 == b->at.bf16;
}

// The row of `all` at which t's rows lie, -1: they do not.
static int64_t first_row(const struct tensor *t, const struct tensor *all) {
    int64_t at, first;
    if (tensor_root(t, &at) != tensor_root(all, &first) || tensor_last(t) != tensor_last(all))
        return -1;
    at -= first;
    const bool inside =
        at >= 0 && at + t->n_elements <= all->n_elements && at % tensor_last(all) == 0;
    return inside ? at / tensor_last(all) : -1;
}

// The row of n's output that is the first of step's, -1: they compute different things.
static int64_t step_row(const struct node *n, const struct node *step) {
    if (step->kind != n->kind || step->reached || step->given || !same_attributes(n, step) ||
        step->n_src != n->n_src)
        return -1;
    int64_t row = -1;
    for (int s = 0; s < n->n_src; s++) {
        const struct tensor *x = n->src[s], *part = step->src[s];
        if (!(row_sources(n) >> s & 1)) {
            if (x != part) return -1;
            continue;
        }
        if (!x != !part) return -1;
        if (!x || (n->kind == OP_LINEAR && s == LINEAR_ONES)) continue;
        const int64_t at = first_row(part, x);
        if (at < 0 || (row >= 0 && at != row)) return -1;
        row = at;
    }
    return tensor_can_be_placed(step->out[0]) ? row : -1;
}

// The step whose rows begin at `row`, the earliest; NULL: none.
static struct node *find_step(const struct graph *g, const struct node *n, int64_t row) {
    for (int i = 0; i < n->index; i++)
        if (step_row(n, g->nodes[i]) == row) return g->nodes[i];
    return NULL;
}

static void reuse(struct graph *g, struct node *n) {
    const int64_t rows = tensor_rows(n->out[0]);
    struct node **steps = mem_alloc((size_t)rows * sizeof *steps);
    int n_steps = 0;
    int64_t row = 0;
    while (row < rows && (steps[n_steps] = find_step(g, n, row)) != NULL)
        row += tensor_rows(steps[n_steps++]->out[0]);
    n->given = row == rows;
    row = 0;
    for (int i = 0; i < n_steps && n->given; i++) {
        tensor_place(steps[i]->out[0], n->out[0], row * tensor_last(n->out[0]));
        row += tensor_rows(steps[i]->out[0]);
    }
    free(steps);
}

void reuse_steps(struct graph *g) {
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        if (n->reached && row_sources(n) && tensor_can_be_placed(n->out[0])) reuse(g, n);
    }
}
