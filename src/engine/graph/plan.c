// Memory plan: lifetimes of the roots on the tape, then offsets in one slab, best fit, largest
// first.
//
//     node                 0    1    2    3    4
//     conv                 |=========|                offset 0
//     norm                      |==============|      behind conv
//     linear                              |====|      offset 0 again
//
// A root lives from the first node that touches it to the last one; kept roots live from the first
// to the end. Where a node may write its result over a source that nobody reads afterwards
// (op.in_place), both are one range.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/graph/backend.h"
#include "engine/graph/node.h"

enum { ALIGN = 64 };

// ---- lifetimes

static void touch(const struct tensor *t, int node) {
    if (!t) return;
    struct root *r = tensor_root(t, NULL)->root;
    if (r->first_use < 0) r->first_use = node;
    r->last_use = node;
}

// What rests from one run to the next is nobody else's memory.
static void rest(struct graph *g, struct node *n) {
    n->of_weights = n->n_src > 0 && op_table[n->kind].run;
    for (int s = 0; s < n->n_src && n->of_weights; s++) {
        const struct tensor *t = n->src[s] ? tensor_root(n->src[s], NULL) : NULL;
        n->of_weights = !t || t->storage == STORE_PARAM || (t->node && t->node->of_weights);
    }
    for (int o = 0; o < n->n_out && n->of_weights; o++) {
        struct root *r = tensor_root(n->out[o], NULL)->root;
        r->first_use = 0;
        r->last_use = g->n_nodes;
    }
}

void plan_lifetimes(struct graph *g) {
    for (int i = 0; i < g->n_tensors; i++)
        if (g->tensors[i]->root)
            g->tensors[i]->root->first_use = g->tensors[i]->root->last_use = -1;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = g->nodes[i];
        const bool runs = node_runs(n);
        for (int s = 0; runs && s < n->n_src; s++) touch(n->src[s], i);
        for (int o = 0; runs && o < n->n_out; o++) touch(n->out[o], i);
        for (int s = 0; n->inside && s < n->inside->n_src; s++) touch(n->inside->src[s], i);
        for (int o = 0; n->inside && o < n->inside->n_out; o++) touch(n->inside->out[o], i);
        touch(n->scratch, i);
    }
    for (int i = 0; i < g->n_tensors; i++) {
        const struct tensor *t = g->tensors[i];
        if (!t->keep) continue;
        struct root *r = tensor_root(t, NULL)->root;
        r->last_use = g->n_nodes;
        if (t->grad) tensor_root(t->grad, NULL)->root->last_use = g->n_nodes;
    }
    for (int i = 0; i < g->n_nodes && g->weights_rest; i++) rest(g, g->nodes[i]);
    regions_lifetimes(g);
}

bool plan_has(const struct tensor *t) {
    return t->root && !t->base && t->storage == STORE_SLAB && t->root->first_use >= 0;
}

// ---- one range for two

static bool is_whole(const struct tensor *t) {
    const struct tensor *root = t ? tensor_root(t, NULL) : NULL;
    return root && plan_has(root) && root->n_elements == t->n_elements;
}

void plan_in_place(struct graph *g) {
    for (int i = 0; i < g->n_tensors; i++) {
        struct root *r = g->tensors[i]->root;
        if (r) r->host = NULL, r->host_end = r->last_use;
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = g->nodes[i];
        const int source = op_table[n->kind].in_place - 1;
        if (source < 0 || n->given || !is_whole(n->src[source]) || !is_whole(n->out[0])) continue;
        struct root *from = tensor_root(n->src[source], NULL)->root,
                    *to = tensor_root(n->out[0], NULL)->root;
        if (from->last_use != i || to->first_use != i || from->bytes != to->bytes) continue;
        to->host = from->host ? from->host : from;
        to->host->host_end = to->last_use;
    }
}

// ---- offsets

static int larger_first(const void *a, const void *b) {
    const struct root *x = *(struct root *const *)a, *y = *(struct root *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->first_use - y->first_use;
}

static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

static bool overlap_in_time(const struct root *a, const struct root *b) {
    return a->first_use <= b->host_end && b->first_use <= a->host_end;
}

// The smallest gap that fits between the placed roots (ascending by offset) that live at the same
// time as r.
static size_t best_fit(struct root *const *placed, int n, const struct root *r, size_t bytes) {
    size_t end = 0, best = SIZE_MAX, best_gap = SIZE_MAX;
    for (int i = 0; i < n; i++) {
        if (!overlap_in_time(placed[i], r)) continue;
        size_t first = placed[i]->slab_offset;
        if (first >= end + bytes && first - end < best_gap) {
            best = end;
            best_gap = first - end;
        }
        size_t behind = first + aligned(placed[i]->bytes);
        if (behind > end) end = behind;
    }
    return best == SIZE_MAX ? end : best;
}

// What outlives the run lies one behind the other, apart from what others may write over.
static bool place_kept(struct graph *g, struct root *r) {
    r->kept = g->shared && r->host_end >= g->n_nodes;
    if (!r->kept) return false;
    r->slab_offset = g->kept_bytes;
    g->kept_bytes += aligned(r->bytes);
    return true;
}

static void place_roots(struct graph *g) {
    struct root **todo = mem_alloc((size_t)g->n_tensors * sizeof *todo);
    struct root **placed = mem_alloc((size_t)g->n_tensors * sizeof *placed);
    int n = 0;
    for (int i = 0; i < g->n_tensors; i++)
        if (plan_has(g->tensors[i]) && !g->tensors[i]->root->host &&
            !place_kept(g, g->tensors[i]->root))
            todo[n++] = g->tensors[i]->root;
    qsort(todo, (size_t)n, sizeof *todo, larger_first);
    for (int i = 0; i < n; i++) {
        struct root *r = todo[i];
        size_t bytes = aligned(r->bytes);
        r->slab_offset = best_fit(placed, i, r, bytes);
        if (r->slab_offset + bytes > g->slab_bytes) g->slab_bytes = r->slab_offset + bytes;
        int at = i;
        while (at > 0 && placed[at - 1]->slab_offset > r->slab_offset) at--;
        memmove(&placed[at + 1], &placed[at], (size_t)(i - at) * sizeof *placed);
        placed[at] = r;
    }
    for (int i = 0; i < g->n_tensors; i++) {
        struct root *r = g->tensors[i]->root;
        if (r && r->host) r->slab_offset = r->host->slab_offset, r->kept = r->host->kept;
    }
    free(todo);
    free(placed);
}

// Every root by itself, guard bytes behind each.
static void place_apart(struct graph *g) {
    for (int i = 0; i < g->n_tensors; i++) {
        if (!plan_has(g->tensors[i])) continue;
        struct root *r = g->tensors[i]->root;
        r->slab_offset = g->slab_bytes;
        g->slab_bytes += aligned(r->bytes + g->guard_bytes);
    }
}

// ---- addresses

static char *root_data(const struct graph *g, const struct tensor *t) {
    switch (t->storage) {
    case STORE_SLAB:
        return plan_has(t) ? (t->root->kept ? g->kept : g->slab) + t->root->slab_offset : NULL;
    case STORE_INPUT:
        return t->data;
    case STORE_PARAM:
        return (char *)(t->params->weights + t->flat_offset);
    case STORE_PARAM_GRAD:
        return (char *)(t->params->grads + t->flat_offset);
    }
    return NULL;
}

static void set_addresses(struct graph *g) {
    for (int i = 0; i < g->n_tensors; i++) {
        struct tensor *t = g->tensors[i];
        int64_t offset;
        const struct tensor *root = tensor_root(t, &offset);
        if (root->params)
            CHECK(root->params->weights, "%s: params_allocate comes before graph_plan", root->name);
        char *data = root_data(g, root);
        if (data && t->storage != STORE_INPUT)
            t->data = data + (size_t)offset * dtype_bytes(t->dtype);
    }
}

// ---- parameter gradients that the graph does not overwrite are zeroed before each run

static void add_clear(struct graph *g, struct params *set, int64_t first, int64_t end) {
    if (first >= end) return;
    if (g->n_clears == g->clears_capacity) {
        g->clears_capacity = g->clears_capacity ? 2 * g->clears_capacity : 32;
        g->clears = mem_resize(g->clears, (size_t)g->clears_capacity * sizeof *g->clears);
    }
    g->clears[g->n_clears++] = (struct clear){set, first, end};
}

// Flat elements of `set` that nodes write before they read or add.
static struct spans overwritten(const struct graph *g, const struct params *set) {
    struct spans all = {0};
    for (int i = 0; i < g->n_tensors; i++) {
        const struct tensor *t = g->tensors[i],
                            *d = t->storage == STORE_PARAM && !t->base ? t->root->grad : NULL;
        if (!d || d->params != set) continue;
        const struct spans *s = &d->root->overwritten;
        if (t->root->by_column && !spans_cover(s, 0, t->n_elements))
            continue; // columns are no ranges: clear all
        for (int k = 0; k < s->n; k++)
            spans_add(&all, d->flat_offset + s->list[k].first, d->flat_offset + s->list[k].end);
    }
    return all;
}

static void find_clears(struct graph *g) {
    for (int i = 0; i < g->n_tensors && g->has_gradients; i++) {
        bool live = g->tensors[i]->storage == STORE_PARAM && !g->tensors[i]->frozen;
        struct params *set = live ? g->tensors[i]->params : NULL;
        bool seen = !set;
        for (int j = 0; j < i && !seen; j++)
            seen = g->tensors[j]->storage == STORE_PARAM && g->tensors[j]->params == set;
        if (seen) continue;
        struct spans s = overwritten(g, set);
        int64_t at = 0;
        for (int k = 0; k < s.n; k++) {
            add_clear(g, set, at, s.list[k].first);
            at = s.list[k].end;
        }
        add_clear(g, set, at, set->n_flat);
        free(s.list);
    }
}

// ---- the plan

static void plan(struct graph *g, bool apart) {
    CHECK(!g->planned, "a graph is planned once");
    for (int i = 0, n = g->n_tensors; i < n && g->has_gradients; i++)
        if (g->tensors[i]->keep && g->tensors[i]->grad)
            output_grad(g, g->tensors[i]); // no part without a value
    if (!backend_chosen()) fuse_frames(g);
    recompute(g);
    g->planned = true;
    if (!backend_chosen()) fuse_nodes(g);
    if (!backend_chosen()) regions_find(g);
    plan_lifetimes(g);
    if (apart) {
        place_apart(g);
    } else {
        plan_in_place(g);
        place_roots(g);
    }
    g->slab = g->shared ? slab_take(g->shared, g->slab_bytes) : mem_slab_alloc(g->slab_bytes);
    if (g->kept_bytes) g->kept = mem_slab_alloc(g->kept_bytes);
    set_addresses(g);
    find_clears(g);
}

void graph_plan(struct graph *g) { plan(g, false); }

void graph_plan_shared(struct graph *g, struct slab *s) {
    CHECK(!s || !g->weights_rest, "packed weights cannot rest in memory that others use");
    g->shared = backend_chosen() ? NULL : s; // a device mirrors a graph's slab as a whole
    plan(g, false);
}

void graph_plan_guarded(struct graph *g, size_t guard_bytes) {
    g->guard_bytes = guard_bytes;
    plan(g, true);
}

size_t graph_slab_bytes(const struct graph *g) {
    return g->kept_bytes + (g->shared ? 0 : g->slab_bytes);
}
