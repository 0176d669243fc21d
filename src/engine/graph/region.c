// Regions: stretches of the tape whose nodes work row by row, so that a thread takes a slice of the
// rows through all of them and the threads meet at the end of the stretch, not behind every node.
//
//                linear   norm   gates   linear   sample
//     rows  0 ..   ----------------------------------->     one share
//     rows 16 ..   ----------------------------------->     another one
//
// The time loop and the dream of a small model are such stretches: a node there is microseconds of
// work, too little to be spread by itself. Each row is computed by the same kernels as before, so
// no bit changes, however many slices there are: one for each thread. A node may join when all that
// the stretch has touched and it touches too is cut in the same way: the same elements, the same
// number of rows (op.by_row says which sources are read row by row). Everything a region touches
// lives as long as the region: one thread may be at its last node while another one is at its
// first.
#include <stdlib.h>

#include "base/mem.h"
#include "engine/graph/node.h"

enum {
    REGION_BYTES = (512 << 10) * (int)sizeof(real), // of results: more leave the caches
    WEIGHT_BYTES = (128 << 10) * (int)sizeof(real), // of a product: each thread reads all
    ROWS_FEW = 64,        // from here on slices have at least ROWS_MIN rows,
    ROWS_MIN = 16,        // else half of the rows
    SHARE_COST_NS = 8000, // as a node's (executor.c)
};

// Elements of a root that the open region touches.
struct access {
    const struct tensor *root;
    int64_t first, n;
    bool sliced, writes;
};

struct opening { // the region that is being made
    struct graph *g;
    struct access *list;
    int n_access, capacity;
    int first, last, n_nodes; // nodes on the tape
    int64_t rows;
    size_t bytes;
    double cost_ns;
};

// ---- what a node touches

// Whether source s is read row by row; a blend may read one row for all.
static bool is_sliced(const struct node *n, int s) {
    const bool by_row = op_table[n->kind].by_row >> s & 1;
    return by_row && !(n->kind == OP_BLEND && n->src[s]->n_elements < n->src[1]->n_elements && s);
}

static struct access access_of(const struct tensor *t, bool sliced, bool writes) {
    struct access a = {NULL, 0, t->n_elements, sliced, writes};
    a.root = tensor_root(t, &a.first);
    return a;
}

static bool in_conflict(const struct access *a, const struct access *b) {
    if (a->root != b->root || (!a->writes && !b->writes)) return false;
    if (a->first >= b->first + b->n || b->first >= a->first + a->n) return false;
    return !(a->sliced && b->sliced && a->first == b->first && a->n == b->n);
}

static bool may_add(const struct opening *o, const struct access *a) {
    if (a->sliced && a->n % o->rows != 0) return false;
    for (int i = 0; i < o->n_access; i++)
        if (in_conflict(&o->list[i], a)) return false;
    return true;
}

static void add(struct opening *o, const struct access *a) {
    if (o->n_access == o->capacity) {
        o->capacity = o->capacity ? 2 * o->capacity : 64;
        o->list = mem_resize(o->list, (size_t)o->capacity * sizeof *o->list);
    }
    o->list[o->n_access++] = *a;
}

typedef bool access_fn(struct opening *o, const struct access *a);
static bool add_always(struct opening *o, const struct access *a) {
    add(o, a);
    return true;
}
static bool ask(struct opening *o, const struct access *a) { return may_add(o, a); }

static bool each_access(struct opening *o, const struct node *n, access_fn *fn) {
    bool fine = true;
    for (int s = 0; s < n->n_src; s++) {
        if (!n->src[s]) continue;
        const struct access a = access_of(n->src[s], is_sliced(n, s), false);
        fine = fn(o, &a) && fine;
    }
    for (int i = 0; i < n->n_out; i++) {
        if (!n->out[i]) continue;
        const struct access a = access_of(n->out[i], true, true);
        fine = fn(o, &a) && fine;
    }
    return n->inside ? each_access(o, n->inside, fn) && fine : fine;
}

// ---- which nodes may be part of one

static size_t out_bytes(const struct node *n) {
    size_t bytes = n->inside ? out_bytes(n->inside) : 0;
    for (int i = 0; i < n->n_out; i++) bytes += tensor_bytes(n->out[i]);
    return bytes;
}

static double node_cost_ns(const struct node *n) {
    return node_flop(n) / 150 + (double)out_bytes(n) / (2 * sizeof(real));
}

// A list is one row of all its elements.
static bool goes_by_row(const struct node *n) {
    if (!op_table[n->kind].by_row || n->scratch || !n->out[0] || n->out[0]->n_dims < 2)
        return false;
    if (n->inside && !goes_by_row(n->inside)) return false;
    const struct tensor *weights = n->kind == OP_LINEAR ? n->src[1] : NULL;
    return !weights ||
           (size_t)(tensor_last(n->src[0]) * weights->shape[0]) * sizeof(real) <= WEIGHT_BYTES;
}

static bool may_join(struct opening *o, const struct node *n) {
    return o->n_nodes > 0 && goes_by_row(n) && n->out[0]->shape[0] == o->rows &&
           o->bytes + out_bytes(n) <= REGION_BYTES && each_access(o, n, ask);
}

static void join(struct opening *o, struct node *n) {
    if (o->n_nodes++ == 0) {
        o->rows = n->out[0]->shape[0];
        o->first = n->index;
    }
    o->last = n->index;
    o->bytes += out_bytes(n);
    o->cost_ns += node_cost_ns(n);
    each_access(o, n, add_always);
}

static int shares_of(const struct opening *o) {
    const int64_t most = o->rows >= ROWS_FEW ? o->rows / ROWS_MIN : o->rows > 1 ? 2 : 1;
    const double worth = o->cost_ns / SHARE_COST_NS;
    return (int)(worth < (double)most ? worth : (double)most);
}

static void close_region(struct opening *o) {
    const int shares = o->n_nodes > 1 ? shares_of(o) : 0;
    if (shares > 1) {
        struct graph *g = o->g;
        g->regions = mem_resize(g->regions, (size_t)(g->n_regions + 1) * sizeof *g->regions);
        g->regions[g->n_regions++] = (struct region){
            .first = o->first, .last = o->last, .rows = o->rows, .shares_max = shares};
    }
    o->n_nodes = o->n_access = 0;
    o->bytes = 0;
    o->cost_ns = 0;
}

void regions_find(struct graph *g) {
    struct opening o = {.g = g};
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = g->nodes[i];
        if (!node_runs(n)) continue;
        if (!may_join(&o, n)) close_region(&o);
        if (o.n_nodes > 0 || goes_by_row(n)) join(&o, n);
    }
    close_region(&o);
    free(o.list);
}

void regions_lifetimes(struct graph *g) {
    for (int i = 0; i < g->n_tensors; i++) {
        struct root *r = g->tensors[i]->root;
        for (int k = 0; r && k < g->n_regions; k++) {
            const struct region *of = &g->regions[k];
            if (r->first_use > of->first && r->first_use <= of->last) r->first_use = of->first;
            if (r->last_use >= of->first && r->last_use < of->last) r->last_use = of->last;
        }
    }
}
