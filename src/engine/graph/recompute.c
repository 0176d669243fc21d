// Memory for time: an output that is needed early and again much later, and that is cheap to
// compute, is computed twice instead of kept.
//
//     forward    conv -> x -> norm -> y -> conv    y is used and its memory given away
//     ..
//     backward   norm again: x -> y'               the same bits, from x, which is there: the
//                                                  norm's gradient needs it anyway
//                y' -> the second conv's weight gradient
//
// At the node where most memory is needed, the largest such output that waits there for a later
// node gives way; then again, as long as that lowers the most by an eighth of what has to be
// computed twice. The second node stands before the first use behind the peak and carries the name
// of the first with ":again". What follows is a function of the graph alone.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/graph/backend.h"
#include "engine/graph/node.h"

enum { WORTH = 8 }; // of an output's bytes, the part that must be saved

struct demand { // bytes of the slab's roots that are needed while a node runs
    size_t *at;
    int peak;
};

static void measure(struct graph *g, struct demand *d) {
    plan_lifetimes(g);
    plan_in_place(g);
    memset(d->at, 0, (size_t)g->n_nodes * sizeof *d->at);
    for (int i = 0; i < g->n_tensors; i++) {
        const struct root *r = g->tensors[i]->root;
        if (!plan_has(g->tensors[i]) || r->host) continue;
        for (int k = r->first_use; k <= r->host_end && k < g->n_nodes; k++) d->at[k] += r->bytes;
    }
    d->peak = 0;
    for (int k = 0; k < g->n_nodes; k++)
        if (d->at[k] > d->at[d->peak]) d->peak = k;
}

static bool touches(const struct tensor *t, const struct tensor *root) {
    return t && tensor_root(t, NULL) == root;
}

static bool reads(const struct node *n, const struct tensor *root) {
    for (int s = 0; node_runs(n) && s < n->n_src; s++)
        if (touches(n->src[s], root)) return true;
    return false;
}

static bool writes(const struct node *n, const struct tensor *root) {
    for (int o = 0; node_runs(n) && o < n->n_out; o++)
        if (touches(n->out[o], root)) return true;
    return false;
}

struct gap { // the nodes between which nobody uses a root, around the peak
    int before, behind;
};

static struct gap gap_of(const struct graph *g, const struct tensor *root, int peak) {
    struct gap gap = {peak, peak};
    const struct root *r = root->root;
    while (gap.before >= r->first_use && !reads(g->nodes[gap.before], root) &&
           !writes(g->nodes[gap.before], root))
        gap.before--;
    while (gap.behind <= r->last_use && gap.behind < g->n_nodes &&
           !reads(g->nodes[gap.behind], root))
        gap.behind++;
    return gap;
}

// Whether all that n reads is still there when node `when` runs.
static bool sources_last(const struct node *n, int when) {
    for (int s = 0; s < n->n_src; s++) {
        const struct tensor *root = n->src[s] ? tensor_root(n->src[s], NULL) : NULL;
        if (root && root->storage == STORE_SLAB && root->root->last_use < when) return false;
    }
    return true;
}

static bool is_alone_in_its_memory(const struct graph *g, const struct node *n) {
    const struct tensor *y = n->out[0];
    if (n->n_out != 1 || n->scratch || y->base || y->keep) return false;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i] != n && writes(g->nodes[i], y)) return false;
    return true;
}

// By how much the most that is needed falls when the root is not there inside the gap.
static size_t saving(const struct graph *g, const struct demand *d, const struct root *r,
                     struct gap gap) {
    size_t most = 0;
    for (int k = 0; k < g->n_nodes; k++) {
        const size_t bytes = d->at[k] - (k > gap.before && k < gap.behind ? r->bytes : 0);
        if (bytes > most) most = bytes;
    }
    return d->at[d->peak] - most;
}

// The node whose output gives way, the largest; NULL: none is worth it.
static struct node *choose(const struct graph *g, const struct demand *d, struct gap *gap) {
    struct node *best = NULL;
    for (int i = 0; i < d->peak; i++) {
        struct node *n = g->nodes[i];
        if (!op_table[n->kind].cheap || !node_runs(n)) continue;
        const struct root *r = n->out[0]->root;
        if (!r || r->bytes < g->recompute_bytes || r->last_use <= d->peak ||
            r->last_use >= g->n_nodes || (best && r->bytes <= best->out[0]->root->bytes) ||
            !is_alone_in_its_memory(g, n))
            continue;
        const struct gap found = gap_of(g, n->out[0], d->peak);
        if (found.before < d->peak && found.behind > d->peak && sources_last(n, found.behind) &&
            saving(g, d, r, found) >= r->bytes / WORTH) {
            best = n;
            *gap = found;
        }
    }
    return best;
}

// t, which lies in y's root, in the memory of `again`.
static struct tensor *moved(struct graph *g, const struct tensor *t, struct tensor *again) {
    int64_t offset;
    tensor_root(t, &offset);
    if (offset == 0 && t->n_dims == again->n_dims && t->n_elements == again->n_elements &&
        memcmp(t->shape, again->shape, sizeof t->shape) == 0)
        return again;
    struct tensor *view = tensor_view(g, t->name, again, offset, t->n_dims, t->shape);
    view->one_hot = t->one_hot;
    return view;
}

static void compute_again(struct graph *g, const struct node *n, int when) {
    const struct tensor *y = n->out[0];
    struct node *b = backward_new(g, n->kind, n, "again");
    for (int s = 0; s < n->n_src; s++) node_src(b, n->src[s]);
    struct tensor *again = node_out_like(b, y);
    again->one_hot = y->one_hot;
    node_append(b);
    memmove(&g->nodes[when + 1], &g->nodes[when],
            (size_t)(g->n_nodes - 1 - when) * sizeof(struct node *));
    g->nodes[when] = b;
    for (int i = when; i < g->n_nodes; i++) {
        struct node *later = g->nodes[i];
        later->index = i;
        for (int s = 0; s < later->n_src; s++)
            if (touches(later->src[s], y)) later->src[s] = moved(g, later->src[s], again);
    }
}

void recompute(struct graph *g) {
    if (!g->recompute_bytes) return;
    struct demand d = {0};
    struct gap gap = {0};
    for (;;) {
        d.at = mem_resize(d.at, (size_t)(g->n_nodes + 1) * sizeof *d.at);
        measure(g, &d);
        const struct node *n = choose(g, &d, &gap);
        if (!n) break;
        compute_again(g, n, gap.behind);
    }
    free(d.at);
}

void graph_recompute(struct graph *g, size_t least_bytes) {
    CHECK(!g->planned, "graph_recompute comes before graph_plan");
    g->recompute_bytes = backend_chosen() ? 0 : least_bytes;
}
