// Chains: which nodes go together, where their tensors lie, and their steps for the device.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "gpu/chain.h"
#include "gpu/placed.h"
#include "gpu/row_ops.h"

// Weights that every block reads, at most; inputs of a layer and elements of a row that a block
// takes; rows of a chain with layers; memory for tensors that move and for slots.
static const int64_t weights_bytes_max = 256 << 10, k_max = 1024, width_max = 4096,
                     layer_rows_max = 256, moved_bytes_max = (int64_t)512 << 20;
enum { ANY_ROWS = -1, NODES_MIN = 2, MOVED_ALIGNMENT = 256 };
// Sources of nodes by their places (src/engine/graph/ops_*.c).
enum { LINEAR_X, LINEAR_W, LINEAR_BIAS, LINEAR_ADDEND, LINEAR_PACKED, LINEAR_ONES };

struct moved {
    const struct tensor *root;
    size_t offset; // in the memory for them
};

// What a node of a chain does to memory, in rows.
struct touch {
    uintptr_t at, end;
    int64_t row_bytes; // all_rows: a row may touch any of it
    bool write;
};
static const int64_t all_rows = 0, in_slot = -1; // in_slot: written after the chain

struct draft { // a chain that is being made
    std::vector<const struct node *> nodes;
    std::vector<touch> touches;
    int64_t rows;
};

struct chain_plan {
    struct backend_graph *b;
    std::vector<struct chain> chains;
    std::vector<std::vector<const struct node *>> nodes; // of each chain
    std::vector<int> of_node;                            // chain by node index, -1: none
    std::vector<char> skipped;                           // by node index
    std::vector<moved> moves;
    size_t moved_bytes;
    char *memory;
    void *steps, *slots, *slot_memory;
};

// ---- where tensors lie while the plan is made: numbers, since nothing is allocated yet

static const struct tensor *root_of(const struct tensor *t, size_t *offset) {
    int64_t elements = 0;
    const enum dtype d = t->dtype;
    for (; t->base; t = t->base) elements += t->offset;
    const size_t each = d == DTYPE_REAL ? sizeof(real) : d == DTYPE_I32 ? sizeof(int32_t) : 1;
    *offset = (size_t)elements * each;
    return t;
}

static const struct moved *move_of(const struct chain_plan *p, const struct tensor *root) {
    for (size_t i = 0; i < p->moves.size(); i++)
        if (p->moves[i].root == root) return &p->moves[i];
    return 0;
}

static uintptr_t number_of(const struct chain_plan *p, const struct tensor *t) {
    size_t offset;
    const struct moved *m = move_of(p, root_of(t, &offset));
    const uintptr_t moved_from = (uintptr_t)1 << 62; // where no memory of the host lies
    return m ? moved_from + m->offset + offset : (uintptr_t)t->data;
}

void *chain_moved(const struct chain_plan *p, const struct tensor *t) {
    size_t offset;
    const struct moved *m = p && t->data ? move_of(p, root_of(t, &offset)) : 0;
    return m ? p->memory + m->offset + offset : 0;
}

static size_t reserve(struct chain_plan *p, size_t bytes) {
    const size_t at = p->moved_bytes;
    p->moved_bytes += (bytes + MOVED_ALIGNMENT - 1) / MOVED_ALIGNMENT * MOVED_ALIGNMENT;
    return at;
}

// ---- which nodes

static bool is_map(enum op_kind kind) {
    switch (kind) {
#define IS_MAP(kind, name, value) case kind:
        GPU_MAPS(IS_MAP)
        return true;
    default:
        return kind == OP_FILL;
    }
}

// One number per row over all its categoricals, or its gradient.
static bool is_of_row(enum op_kind kind) {
    return kind == OP_KL || kind == OP_KL_BALANCED || kind == OP_KL_BALANCED_DX ||
           kind == OP_ENTROPY || kind == OP_ENTROPY_DX || kind == OP_LOG_PROB ||
           kind == OP_LOG_PROB_DX;
}

static int64_t columns_of(const struct tensor *t) { return t->shape[t->n_dims - 1]; }

static bool takes_weights(const struct node *n, int64_t rows, int64_t k, int64_t columns) {
    if (n->at.bf16 || k > k_max || rows > layer_rows_max) return false;
    return k * columns * (int64_t)sizeof(real) <= weights_bytes_max;
}

// How many rows a node has, ANY_ROWS: as many as wanted; 0: it goes into no chain.
static int64_t rows_of(const struct node *n) {
    const struct tensor *x = n->n_src ? n->src[0] : 0, *y = n->out[0];
    if (is_map(n->kind)) return ANY_ROWS;
    switch (n->kind) {
    case OP_LINEAR: {
        const struct tensor *ones = n->src[LINEAR_ONES];
        const int64_t rows = x->shape[0], width = y->shape[1];
        if (!ones) return takes_weights(n, rows, x->shape[1], width) ? rows : 0;
        const int64_t read = (columns_of(ones) - 1) * width * (int64_t)sizeof(real);
        return read <= weights_bytes_max ? rows : 0;
    }
    case OP_LINEAR_DX:
        return x->n_dims == 2 && y->n_dims == 2 &&
                       takes_weights(n, x->shape[0], x->shape[1], y->shape[1])
                   ? x->shape[0]
                   : 0;
    case OP_LAYER_NORM:
    case OP_LAYER_NORM_DX:
        return x->n_elements / columns_of(x);
    case OP_GRU_GATES:
    case OP_GRU_GATES_DX:
        return n->src[1]->shape[0];
    case OP_BLEND:
    case OP_BLEND_DX:
        return x->n_elements;
    case OP_UNIMIX:
    case OP_UNIMIX_DX:
        return y->shape[0];
    case OP_SAMPLE:
    case OP_ONES:
        return x->shape[0];
    default:
        return is_of_row(n->kind) ? x->shape[0] : 0;
    }
}

// Bit i: source i is read row by row; the others by every row.
static unsigned row_sources(const struct node *n) {
    switch (n->kind) {
    case OP_LINEAR:
        return 1u << LINEAR_X | 1u << LINEAR_ADDEND | 1u << LINEAR_ONES;
    case OP_LINEAR_DX:
    case OP_LAYER_NORM:
        return 1;
    case OP_LAYER_NORM_DX:
        return 1 | 8;
    case OP_BLEND:
        return n->src[2] && n->src[2]->n_elements != n->out[0]->n_elements ? 3 : 7;
    default:
        return ~0u;
    }
}

// Bit i: output i is a sum over the rows.
static unsigned slot_outputs(const struct node *n) {
    if (n->kind == OP_LAYER_NORM_DX) return 2 | 4;
    return n->kind == OP_BLEND_DX && n->at.count ? 1 : 0;
}

static bool has_rows(const struct tensor *t, int64_t rows) {
    return t->n_elements % rows == 0 && t->n_elements / rows <= width_max;
}

static bool fits_rows(const struct node *n, int64_t rows) {
    const int64_t own = rows_of(n);
    if (own != rows && own != ANY_ROWS) return false;
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i] && row_sources(n) >> i & 1 && !has_rows(n->src[i], rows)) return false;
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i] && !(slot_outputs(n) >> i & 1) && !has_rows(n->out[i], rows)) return false;
    if (own != ANY_ROWS) return true;
    for (int i = 0; i < n->n_src; i++) // elementwise: of equal size
        if (n->src[i] && n->src[i]->n_elements != n->out[0]->n_elements) return false;
    return true;
}

// ---- memory: rows that run ahead of each other

static void add_touch(const struct chain_plan *p, std::vector<touch> *to, const struct tensor *t,
                      int64_t row_bytes, bool write) {
    if (!t || !t->data) return;
    touch a = {};
    a.at = number_of(p, t);
    a.end = a.at + placed_bytes(t);
    a.row_bytes = row_bytes;
    a.write = write;
    to->push_back(a);
}

static void add_touches(const struct chain_plan *p, std::vector<touch> *to, const struct node *n,
                        int64_t rows) {
    for (int i = 0; i < n->n_src; i++) {
        const struct tensor *t = n->src[i];
        if (n->kind == OP_LINEAR && i == LINEAR_W) continue; // packed is what is read
        const bool by_row = row_sources(n) >> i & 1;
        if (t) add_touch(p, to, t, by_row ? (int64_t)placed_bytes(t) / rows : all_rows, false);
    }
    for (int i = 0; i < n->n_out; i++) {
        const struct tensor *t = n->out[i];
        const bool summed = slot_outputs(n) >> i & 1;
        if (t) add_touch(p, to, t, summed ? in_slot : (int64_t)placed_bytes(t) / rows, true);
    }
}

// Whether b may follow a with nothing but a barrier among the threads of a row between them.
static bool meet_well(const touch &a, const touch &b) {
    if ((!a.write && !b.write) || a.end <= b.at || b.end <= a.at) return true;
    if (a.row_bytes == all_rows || b.row_bytes == all_rows) return false;
    return a.row_bytes == b.row_bytes && a.at == b.at && a.end == b.end;
}

#ifndef MEET_WELL // the tests break it
#define MEET_WELL(a, b) meet_well(a, b)
#endif

// What a node writes may move if nothing before the chain has to do with it.
static bool may_move(const struct chain_plan *p, const struct draft *d, const struct node *n,
                     int output) {
    size_t offset;
    const struct tensor *root = root_of(n->out[output], &offset);
    if (slot_outputs(n) >> output & 1 || root->storage != STORE_SLAB || !root->root) return false;
    const int first = d->nodes.empty() ? n->index : d->nodes[0]->index;
    return root->root->first_use >= first && !move_of(p, root) &&
           (int64_t)(p->moved_bytes + root->root->bytes) <= moved_bytes_max;
}

static void move(struct chain_plan *p, struct draft *d, const struct tensor *t) {
    size_t offset;
    const struct tensor *root = root_of(t, &offset);
    const struct moved m = {root, reserve(p, root->root->bytes)};
    p->moves.push_back(m);
    d->touches.clear();
    for (size_t i = 0; i < d->nodes.size(); i++) add_touches(p, &d->touches, d->nodes[i], d->rows);
}

static bool joins(struct chain_plan *p, struct draft *d, const struct node *n) {
    for (;;) {
        std::vector<touch> own;
        bool fine = true, moved_one = false;
        add_touches(p, &own, n, d->rows);
        for (size_t i = 0; i < own.size() && fine; i++)
            for (size_t k = 0; k < d->touches.size() && fine; k++)
                fine = MEET_WELL(d->touches[k], own[i]);
        if (fine) {
            d->touches.insert(d->touches.end(), own.begin(), own.end());
            d->nodes.push_back(n);
            return true;
        }
        for (int i = 0; i < n->n_out && !moved_one; i++)
            if (n->out[i] && may_move(p, d, n, i)) {
                move(p, d, n->out[i]);
                moved_one = true;
            }
        if (!moved_one) return false;
    }
}

// ---- chains of a graph

static bool runs(const struct chain_plan *p, const struct node *n) {
    return !n->given && gpu_op_of(n->kind) && !p->skipped[(size_t)n->index];
}

static void end_chain(struct chain_plan *p, struct draft *d) {
    if ((int)d->nodes.size() >= NODES_MIN) {
        struct chain c = {};
        c.first = d->nodes.front()->index;
        c.last = d->nodes.back()->index;
        c.n_nodes = (int)d->nodes.size();
        c.rows = d->rows;
        p->of_node[(size_t)c.first] = (int)p->chains.size();
        p->chains.push_back(c);
        p->nodes.push_back(d->nodes);
    }
    d->nodes.clear();
    d->touches.clear();
}

// Rows of a chain that begins with node n: those of the first node from there on that has some.
static int64_t rows_from(const struct chain_plan *p, const struct node *n) {
    const struct graph *g = n->g;
    for (int i = n->index; i < g->n_nodes; i++) {
        const struct node *m = g->nodes[i];
        if (!runs(p, m)) continue;
        const int64_t rows = rows_of(m);
        if (rows == 0) break;
        if (rows != ANY_ROWS) return fits_rows(n, rows) ? rows : n->out[0]->shape[0];
    }
    return rows_of(n) == ANY_ROWS ? n->out[0]->shape[0] : 0;
}

// Packed weights are read by layers over one-hot rows and by those in chains.
static bool needs_pack(const struct graph *g, const struct tensor *packed) {
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = g->nodes[i];
        for (int k = 0; k < n->n_src; k++) {
            if (n->src[k] != packed || n->given) continue;
            if (n->kind == OP_LINEAR_DX) continue;
            if (n->kind != OP_LINEAR || n->src[LINEAR_ONES] || rows_of(n)) return true;
        }
    }
    return false;
}

static void find_chains(struct chain_plan *p) {
    const struct graph *g = p->b->g;
    struct draft d = {};
    for (int i = 0; i < g->n_nodes; i++)
        p->skipped[(size_t)i] = g->nodes[i]->kind == OP_PACK && !needs_pack(g, g->nodes[i]->out[0]);
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = g->nodes[i];
        if (!runs(p, n)) continue;
        if (!d.nodes.empty() && fits_rows(n, d.rows) && joins(p, &d, n)) continue;
        end_chain(p, &d);
        d.rows = rows_of(n) ? rows_from(p, n) : 0;
        if (d.rows > 0 && fits_rows(n, d.rows)) joins(p, &d, n);
    }
    end_chain(p, &d);
}

// ---- steps

static buf<const real> real_at(const struct chain_plan *p, const struct tensor *t) {
    void *at = t ? placed_address(p->b, t) : 0;
    return buf_make((const real *)at, at ? t->n_elements : 0);
}
static buf<real> real_to(const struct chain_plan *p, const struct tensor *t) {
    void *at = t ? placed_address(p->b, t) : 0;
    return buf_make((real *)at, at ? t->n_elements : 0);
}

static int across_of(int64_t columns) {
    int across = WARP;
    while (across < columns && across < THREADS / 2) across *= 2;
    return across;
}

static void fill_linear(const struct chain_plan *p, const struct node *n, struct chain_step *s) {
    const struct tensor *ones = n->src[LINEAR_ONES];
    s->k = n->src[LINEAR_X]->shape[1];
    s->n = s->ld = n->out[0]->shape[1];
    s->src[1] = real_at(p, n->src[LINEAR_PACKED]);
    s->src[2] = real_at(p, n->src[LINEAR_BIAS]);
    s->src[3] = real_at(p, n->src[LINEAR_ADDEND]);
    s->across = across_of(s->n);
    if (!ones) return;
    s->index = buf_make((const int32_t *)placed_address(p->b, ones), ones->n_elements);
    s->limit = columns_of(ones) - 1;
}

// The data gradient of a layer is a product with the parameter itself, also where the graph has a
// packed copy of it.
static void fill_linear_dx(const struct chain_plan *p, const struct node *n, struct chain_step *s) {
    const struct tensor *w = gpu_weights_of(n);
    const buf<const real> whole = real_at(p, w);
    s->kind = OP_LINEAR;
    s->k = n->src[0]->shape[1];
    s->n = n->out[0]->shape[1];
    s->ld = w->n_elements / w->shape[0];
    s->src[1] = buf_make(whole.at + n->at.column, whole.n - n->at.column);
    s->across = across_of(s->n);
}

static void fill_numbers(const struct node *n, int64_t rows, struct chain_step *s) {
    s->n = n->at.n_classes;
    s->scale = n->at.scale;
    s->shift = n->at.shift;
    if (n->kind == OP_LAYER_NORM || n->kind == OP_LAYER_NORM_DX) {
        s->n = columns_of(n->src[0]);
        s->scale = n->at.eps;
        s->flag = n->at.act == ACT_SILU;
    }
    if (n->kind == OP_UNIMIX || n->kind == OP_UNIMIX_DX) s->scale = n->at.mix;
    if (n->kind == OP_UNIMIX || n->kind == OP_UNIMIX_DX || n->kind == OP_SAMPLE)
        s->groups = n->out[0]->n_elements / s->n / rows;
    if (n->kind == OP_GRU_GATES || n->kind == OP_GRU_GATES_DX) {
        s->n = columns_of(n->src[1]) / n->at.count;
        s->width = n->src[1]->n_elements / rows;
    }
    if (n->kind == OP_BLEND) s->n = n->src[1]->n_elements / rows;
    if (n->kind == OP_BLEND_DX) {
        s->n = s->width = n->src[1]->n_elements / rows;
        s->flag = n->at.first == 0 && !n->at.count;
    }
    if (n->kind == OP_KL || n->kind == OP_KL_BALANCED || n->kind == OP_KL_BALANCED_DX) {
        s->scale = n->at.w_dyn;
        s->shift = n->at.w_rep;
        s->third = n->at.free_nats;
        s->flag = n->kind == OP_KL_BALANCED;
    }
    if (is_of_row(n->kind)) s->n = n->src[0]->n_elements / rows;
    if (n->kind == OP_ONES) {
        s->n = columns_of(n->src[0]);
        s->limit = columns_of(n->out[0]) - 1;
    }
}

// The slot of an output, made where the chain has none yet; *again: it has been written before.
static struct chain_slot *slot_of(const struct chain_plan *p, std::vector<chain_slot> *slots,
                                  size_t first, std::vector<size_t> *offsets, const struct node *n,
                                  int output, int64_t rows, size_t *memory, bool *again) {
    const buf<real> out = real_to(p, n->out[output]);
    for (size_t i = first; i < slots->size(); i++)
        if ((*slots)[i].out.at == out.at) {
            *again = true;
            return &(*slots)[i];
        }
    struct chain_slot s = {};
    s.out = out;
    s.rows = rows;
    s.n = out.n;
    s.add = n->kind == OP_LAYER_NORM_DX || n->accumulate[output];
    offsets->push_back(*memory);
    *memory += (size_t)(rows * s.n) * sizeof(real);
    slots->push_back(s);
    *again = false;
    return &slots->back();
}

struct making {
    std::vector<chain_step> steps;
    std::vector<chain_slot> slots;
    std::vector<size_t> slot_offsets;
    struct slot_use {
        size_t step, slot;
        int output;
    };
    std::vector<slot_use> uses;
    size_t slot_bytes;
};

static void fill_outputs(const struct chain_plan *p, struct making *m, size_t first_slot,
                         const struct node *n, int64_t rows, struct chain_step *s) {
    for (int i = 0; i < n->n_out; i++) {
        if (!n->out[i]) continue;
        bool again = false;
        if (!(slot_outputs(n) >> i & 1)) {
            if (n->kind == OP_ONES)
                s->ones =
                    buf_make((int32_t *)placed_address(p->b, n->out[i]), n->out[i]->n_elements);
            else
                s->out[i] = real_to(p, n->out[i]);
            s->add |= n->accumulate[i] ? 1 << i : 0;
            continue;
        }
        const struct chain_slot *slot =
            slot_of(p, &m->slots, first_slot, &m->slot_offsets, n, i, rows, &m->slot_bytes, &again);
        const making::slot_use use = {m->steps.size(), (size_t)(slot - m->slots.data()), i};
        m->uses.push_back(use);
        if (n->kind == OP_LAYER_NORM_DX)
            s->add |= again ? 2 : 0;
        else
            s->add = again ? 1 : 0;
    }
}

static void add_step(const struct chain_plan *p, struct making *m, size_t first_slot,
                     const struct node *n, int64_t rows) {
    struct chain_step s = {};
    s.kind = n->kind;
    s.width = n->out[0] ? n->out[0]->n_elements / rows : 0;
    fill_numbers(n, rows, &s);
    for (int i = 0; i < n->n_src && i < CHAIN_MAX_SRC; i++)
        if (n->kind != OP_LINEAR || i == LINEAR_X) s.src[i] = real_at(p, n->src[i]);
    if (n->kind == OP_LINEAR) fill_linear(p, n, &s);
    if (n->kind == OP_LINEAR_DX) fill_linear_dx(p, n, &s);
    fill_outputs(p, m, first_slot, n, rows, &s);
    m->steps.push_back(s);
}

static int64_t rows_per_block(const std::vector<const struct node *> &nodes, int64_t rows) {
    int64_t widest = 1;
    for (size_t i = 0; i < nodes.size(); i++)
        for (int k = 0; k < nodes[i]->n_out; k++)
            if (nodes[i]->out[k] && !(slot_outputs(nodes[i]) >> k & 1) &&
                nodes[i]->out[k]->n_elements / rows > widest)
                widest = nodes[i]->out[k]->n_elements / rows;
    const int64_t several = THREADS / widest;
    return several < 1 ? 1 : several > rows ? rows : several;
}

static bool upload(struct gpu *g, void **at, const void *from, size_t bytes) {
    if (!bytes) return true;
    *at = gpu_alloc(g, bytes);
    return *at && gpu_upload(g, *at, from, bytes);
}

// Memory for what moved and for the slots, then the steps that point there.
static bool make_steps(struct chain_plan *p) {
    struct gpu *g = &p->b->gpu;
    struct making m = {};
    std::vector<size_t> first_step, first_slot;
    if (p->moved_bytes && !(p->memory = (char *)gpu_alloc(g, p->moved_bytes))) return false;
    for (size_t c = 0; c < p->chains.size(); c++) {
        first_step.push_back(m.steps.size());
        first_slot.push_back(m.slots.size());
        for (size_t i = 0; i < p->nodes[c].size(); i++)
            add_step(p, &m, first_slot[c], p->nodes[c][i], p->chains[c].rows);
    }
    first_step.push_back(m.steps.size());
    first_slot.push_back(m.slots.size());
    char *shares = m.slot_bytes ? (char *)gpu_alloc(g, m.slot_bytes) : 0;
    if (m.slot_bytes && !shares) return false;
    p->slot_memory = shares;
    for (size_t i = 0; i < m.slots.size(); i++)
        m.slots[i].shares =
            buf_make((const real *)(shares + m.slot_offsets[i]), m.slots[i].rows * m.slots[i].n);
    for (size_t i = 0; i < m.uses.size(); i++) {
        const making::slot_use u = m.uses[i];
        const struct chain_slot *s = &m.slots[u.slot];
        m.steps[u.step].out[u.output] =
            buf_make((real *)(shares + m.slot_offsets[u.slot]), s->rows * s->n);
    }
    if (!upload(g, &p->steps, m.steps.data(), m.steps.size() * sizeof m.steps[0]) ||
        !upload(g, &p->slots, m.slots.data(), m.slots.size() * sizeof m.slots[0]) || !gpu_finish(g))
        return false;
    for (size_t c = 0; c < p->chains.size(); c++) {
        struct chain *one = &p->chains[c];
        const size_t n_slots = first_slot[c + 1] - first_slot[c];
        int64_t widest = 0;
        for (size_t i = first_slot[c]; i < first_slot[c + 1]; i++)
            if (m.slots[i].n > widest) widest = m.slots[i].n;
        one->rows_per_block = rows_per_block(p->nodes[c], one->rows);
        one->steps = buf_make((const struct chain_step *)p->steps + first_step[c],
                              (int64_t)(first_step[c + 1] - first_step[c]));
        one->slots =
            buf_make((const struct chain_slot *)p->slots + first_slot[c], (int64_t)n_slots);
        one->slot_tiles = (int)ceil_div64(widest, THREADS);
    }
    return true;
}

// ---- what others see

struct chain_plan *chain_plan_new(struct backend_graph *b) {
    struct chain_plan *p = new chain_plan{};
    const size_t n = (size_t)b->g->n_nodes;
    p->b = b;
    p->of_node.assign(n, -1);
    p->skipped.assign(n, 0);
    b->chains = p; // addresses are asked for through it
    find_chains(p);
    if (make_steps(p)) return p;
    b->chains = 0;
    chain_plan_free(b->gpu.device, p);
    return 0;
}

void chain_plan_free(struct gpu_device *d, struct chain_plan *p) {
    if (!p) return;
    gpu_free(d, p->memory);
    gpu_free(d, p->slot_memory);
    gpu_free(d, p->steps);
    gpu_free(d, p->slots);
    delete p;
}

const struct chain *chain_at(const struct chain_plan *p, int node) {
    const int i = p ? p->of_node[(size_t)node] : -1;
    return i < 0 ? 0 : &p->chains[(size_t)i];
}

bool chain_skips(const struct chain_plan *p, const struct node *n) {
    return p && p->skipped[(size_t)n->index];
}
