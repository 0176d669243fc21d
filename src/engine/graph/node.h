// Inside of src/engine/graph: nodes, the op table, and what op files use to add nodes and
// gradients.
//
// A graph is a tape: an array of nodes in the order in which they run. Forward nodes come from the
// g_* functions, backward nodes from the gradient rules; both are rows of one op table (ops.c) and
// both run the same way.
//
//     static void tanh_shape(struct node *n) { node_out_like(n, n->src[0]); }
//     static void tanh_grad(struct graph *g, struct node *n) {
//         struct node *b = backward_new(g, OP_TANH_DX, n, "dx");
//         node_src(b, n->out[0]);
//         node_src(b, output_grad(g, n->out[0]));
//         backward_out(g, b, n->src[0]); // where the contribution goes; sets b->accumulate
//         node_append(b);
//     }
//
// Memory. A tensor without `base` is a root and owns a range of memory (slab, input, parameter
// set); every other tensor lies inside another one, `offset` elements from its beginning. Gradients
// mirror this: a root has one gradient buffer of its own size, and the gradient of a view is the
// same view of the root's gradient. Which elements of a gradient buffer have been written so far is
// kept as a list of spans, so a contribution knows whether it writes or adds; where neither holds,
// zeros are filled in first.
#ifndef GRAPH_NODE_H
#define GRAPH_NODE_H

#include "base/error.h"
#include "engine/graph/graph.h"
#include "engine/graph/kernels.h"
#include "engine/graph/ppo_loss.h"

enum { NODE_MAX_OUT = 3, SCOPE_MAX_DEPTH = 16 };

// ---- op table (ops.c)
enum op_kind {
    OP_RESHAPE,
    OP_SLICE,
    OP_STACK,
    OP_STOP_GRADIENT,
    OP_COPY,
    OP_FILL,
    OP_UNPACK2,
    OP_CONV,
    OP_CONV_DX,
    OP_DECONV,
    OP_DECONV_DX,
    OP_CONV_DW,
    OP_CONV_PACK_DOWN,
    OP_CONV_PACK_UP,
    OP_HWC_TO_CHW,
    OP_CHW_TO_HWC,
    OP_HWC_TO_CHW_DX,
    OP_CHW_TO_HWC_DX,
    OP_PACK,
    OP_LINEAR,
    OP_LINEAR_DX,
    OP_LINEAR_DW,
    OP_COLUMN_SUM,
    OP_LAYER_NORM,
    OP_LAYER_NORM_DX,
    OP_BLOCK_PACK,
    OP_BLOCK_LINEAR,
    OP_BLOCK_LINEAR_DX,
    OP_BLOCK_LINEAR_DW,
    OP_GRU_GATES,
    OP_GRU_GATES_DX,
    OP_BLEND,
    OP_BLEND_DX,
    OP_UNIMIX,
    OP_UNIMIX_DX,
    OP_SAMPLE,
    OP_MODE,
    OP_LOG_CLAMPED,
    OP_SQUARE_ERROR,
    OP_SQUARE_ERROR_DX,
    OP_TWOHOT_NLL,
    OP_TWOHOT_NLL_DX,
    OP_TWOHOT_MEAN,
    OP_TWOHOT_MEAN_DX,
    OP_BCE,
    OP_BCE_DX,
    OP_KL,
    OP_KL_BALANCED,
    OP_KL_BALANCED_DX,
    OP_ENTROPY,
    OP_ENTROPY_DX,
    OP_LOG_PROB,
    OP_LOG_PROB_DX,
    OP_QUANTILES,
    OP_NORMALIZE,
    OP_NORMALIZE_DX,
    OP_COLUMNS,
    OP_COLUMNS_DX,
    OP_LIMIT,
    OP_LIMIT_DX,
    OP_NORMAL_ENTROPY,
    OP_NORMAL_ENTROPY_DX,
    OP_ADD,
    OP_AFFINE,
    OP_AFFINE_DX,
    OP_MUL,
    OP_MUL_DX,
    OP_TANH,
    OP_TANH_DX,
    OP_SIGMOID,
    OP_SIGMOID_DX,
    OP_SYMLOG,
    OP_SYMLOG_DX,
    OP_LESS,
    OP_MEAN,
    OP_MEAN_DX,
    OP_CONV_VALID,
    OP_CONV_VALID_DX,
    OP_CONV_VALID_DW,
    OP_PATCH_PACK,
    OP_PATCH_PACK_DX,
    OP_RELU,
    OP_RELU_DX,
    OP_ONES,
    OP_LINEAR_SCATTER,
    OP_UNPACK_STACK,
    OP_PPO_LOSS,
    OP_PPO_LOSS_DX,
    N_OPS
};

struct node;
struct run;
struct op {
    const char *name;
    int min_src, max_src; // max_src -1: any number
    void (*shape)(
        struct node *n); // checks sources, makes outputs; NULL: a backward node, its maker does
    void (*grad)(struct graph *g,
                 struct node *n); // appends backward nodes; NULL: no gradient flows
    void (*run)(const struct run *r, const struct node *n); // CPU; NULL: nothing to do (views)
    unsigned no_grad;                                       // bit i: no gradient to source i
    // Source i has as many elements as out[0], and each of them is read for the last time before
    // the one in the same place of out[0] is written, by the thread that writes it: out[0] may take
    // the source's memory (plan.c). 0: none, else i + 1.
    int in_place;
    bool cheap; // its memory may be worth more than its time: may be run twice (recompute.c)
    // Bit i: of source i a row of out[0] reads the row in the same place and no other. 0: the op
    // does not go row by row (region.c).
    unsigned by_row;
};
extern const struct op op_table[N_OPS];

struct attributes { // each op uses a few
    int64_t column, n_classes, height, width, first, count;
    real scale, shift, eps, mix, w_dyn, w_rep, free_nats;
    bool bf16; // products and convolutions: operands are rounded
    bool relu; // a convolution with its ReLU (fuse.c)
    enum activation act;
    struct conv_shape conv;
    struct patch_shape patch;
    struct ppo_loss_opts ppo;
    int n_dims;
    const int64_t *shape; // reshape: only while the node is made
};

struct node {
    struct graph *g;
    enum op_kind kind;
    int index; // on the tape, -1 before
    int n_src, n_out;
    struct tensor **src;
    struct tensor *out[NODE_MAX_OUT]; // NULL: not wanted
    bool accumulate[NODE_MAX_OUT];
    struct attributes at;
    struct tensor *scratch; // for this node only, or NULL
    bool reached;           // a gradient may arrive here
    bool of_weights;        // reads nothing but parameters (graph_rest_weights)
    bool given;             // not run: another node computes it (reuse.c, fuse.c)
    struct node *inside;    // given, computed row by row within this one (fuse_gru.c), or NULL
    uint32_t name_hash;     // of the name before it was made unique
    char name[TENSOR_NAME_SIZE];
    int scope_length;
};

// ---- roots
struct span {
    int64_t first, end;
}; // elements
struct spans {
    struct span *list;
    int n, capacity;
}; // disjoint, ascending

struct linear_groups;
struct root { // one per root tensor
    struct tensor *tensor;
    struct tensor *grad;      // root of its gradient buffer, NULL before the first contribution
    struct spans written;     // of a gradient root: has a value by now
    struct spans overwritten; // of a parameter's gradient: need not be zeroed before a run
    int first_use, last_use;  // node indices
    bool by_column;           // a matrix whose gradient is written in blocks of whole columns
    bool kept;                // lies in the graph's `kept`, not in its slab
    struct root *host;        // begins where this one has ended, in its memory; NULL: none
    int host_end;             // of a host: the last use of the last root in its memory
    size_t bytes, slab_offset;
};

struct pack {
    const struct tensor *w;
    int64_t column, k;
    enum op_kind kind;
    bool transposed, bf16;
    struct tensor *packed;
};
struct clear {
    struct params *set;
    int64_t first, end;
};              // gradient elements zeroed before a run
struct region { // nodes [first, last] of the tape, run slice of rows by slice of rows (region.c)
    int first, last;
    int64_t rows;
    int shares_max; // 2 or more
};

struct graph {
    struct tensor **tensors;
    struct node **nodes;
    struct pack *packs;
    struct clear *clears;
    struct region *regions; // ascending
    int n_tensors, tensors_capacity, n_nodes, nodes_capacity, n_packs, packs_capacity, n_clears,
        clears_capacity, n_regions;
    char scope[TENSOR_NAME_SIZE];
    int scope_length, scope_marks[SCOPE_MAX_DEPTH], scope_depth;
    bool has_gradients, planned, bf16, fused; // fused: for the CPU alone (fuse.c)
    bool weights_rest;                        // graph_rest_weights
    size_t recompute_bytes;                   // graph_recompute's; 0: nothing is computed twice
    struct linear_groups *groups;             // during graph_gradients
    char *slab;
    size_t slab_bytes, guard_bytes;
    struct slab *shared; // whose memory `slab` is; NULL: its own
    char *kept;          // where `slab` is shared: of what is kept
    size_t kept_bytes;
};

static inline bool node_runs(const struct node *n) { return op_table[n->kind].run && !n->given; }

// ---- making nodes (graph.c)
struct node *node_new(struct graph *g, enum op_kind kind); // named scope/op; not on the tape yet
void node_src(struct node *n, struct tensor *t); // t may be NULL: an absent optional source
struct tensor *node_finish(struct node *n);      // shape rule, append; returns out[0]
void node_append(struct node *n);
// Outputs of a forward node, from its shape rule.
struct tensor *node_out(struct node *n, int n_dims, const int64_t *shape);
struct tensor *node_out_like(struct node *n, const struct tensor *like);
struct tensor *node_out_i32(struct node *n, int n_dims, const int64_t *shape);
struct tensor *node_out_view(struct node *n, struct tensor *base, int64_t offset, int n_dims,
                             const int64_t *shape);
void node_scratch(struct node *n, int64_t n_reals); // 0: none
_Noreturn void node_fail(const struct node *n, const char *file, int line, const char *condition,
                         const char *format, ...) __attribute__((format(printf, 5, 6)));
#define NODE_CHECK(n, condition, ...)                                                              \
    do {                                                                                           \
        if (!(condition)) node_fail(n, __FILE__, __LINE__, #condition, __VA_ARGS__);               \
    } while (0)

// ---- tensors and placement (graph.c)
struct tensor *tensor_new(struct graph *g, const char *name, enum dtype dtype, int n_dims,
                          const int64_t *shape); // a slab root
struct tensor *tensor_view(struct graph *g, const char *name, struct tensor *base, int64_t offset,
                           int n_dims, const int64_t *shape);
struct tensor *tensor_root(const struct tensor *t,
                           int64_t *offset); // offset (may be NULL) of t in it, in elements
void tensor_place(struct tensor *root, struct tensor *base,
                  int64_t offset);                 // the root becomes a view
bool tensor_can_be_placed(const struct tensor *t); // an op's output, slab root; full views count
int64_t tensor_rows(const struct tensor *t);       // all axes but the last
int64_t tensor_last(const struct tensor *t);       // last axis
int64_t tensor_row_size(const struct tensor *t);   // elements behind one index of axis 0
size_t dtype_bytes(enum dtype d);

// ---- packed weights: made once per use kind, shared (ops_linear.c, ops_image.c)
// The pack like `key` (its `packed` is not looked at), or NULL.
struct tensor *graph_find_pack(struct graph *g, const struct pack *key);
void graph_add_pack(struct graph *g, const struct pack *pack);

// ---- gradients (autodiff.c)
struct node *backward_new(struct graph *g, enum op_kind kind, const struct node *forward,
                          const char *suffix);
bool wants_grad(const struct tensor *t);                       // NULL: no
struct tensor *output_grad(struct graph *g, struct tensor *t); // to read; gaps are zero-filled
// Registers out[n_out++] of b as a contribution to x's gradient and sets b->accumulate. NULL when x
// wants none.
struct tensor *backward_out(struct graph *g, struct node *b, struct tensor *x);
struct tensor *backward_out_added(struct graph *g, struct node *b,
                                  struct tensor *x); // kernels that only add
struct tensor *backward_out_columns(struct graph *g, struct node *b, struct tensor *w,
                                    int64_t column, int64_t k);
// dst.grad += src_grad (a copy node where it is the first contribution).
void backward_pass(struct graph *g, const struct node *forward, struct tensor *dst,
                   struct tensor *src_grad, const char *suffix);
void spans_add(struct spans *s, int64_t first, int64_t end);
bool spans_cover(const struct spans *s, int64_t first, int64_t end);
bool spans_touch(const struct spans *s, int64_t first, int64_t end);

// ---- weight gradients of linear layers used several times (linear_group.c)
struct linear_groups *
linear_groups_new(struct graph *g); // places x and y of each group as stacked rows
void linear_groups_free(struct linear_groups *l);
bool linear_groups_has(const struct linear_groups *l,
                       const struct node *n); // dw (and db) of n come with its group
void linear_groups_finish(struct linear_groups *l, struct graph *g,
                          const struct node *n); // n is passed: emits its group after the first
void linear_weight_grad(struct graph *g, const struct node *n, struct tensor *x, struct tensor *dy);
void linear_bias_grad(struct graph *g, const struct node *n, struct tensor *dy);

// ---- one-hot rows (ops_gather.c)
int64_t node_one_hot(const struct node *n); // classes of out[0], 0: not known
struct tensor *ones_of(struct graph *g,
                       struct tensor *x); // where x's ones are; NULL: x is to be multiplied
void append_scatter(struct graph *g, const struct node *n, struct tensor *x, struct tensor *dy,
                    struct tensor *ones);

// ---- layers computed twice (reuse.c)
void reuse_steps(struct graph *g); // after `reached` is known, before any gradient buffer

// ---- nodes that the CPU computes inside others (fuse.c); for graphs that no device runs
void fuse_frames(struct graph *g); // before recompute: what is not made is not made twice
void fuse_nodes(struct graph *g);
void fuse_gru(struct graph *g); // fuse_gru.c

// ---- slices of rows that go through several nodes (region.c)
void regions_find(struct graph *g);      // when it is known which nodes run
void regions_lifetimes(struct graph *g); // what a region touches lives as long as it

// ---- planning (plan.c)
void plan_lifetimes(struct graph *g);  // first_use and last_use of all roots
void plan_in_place(struct graph *g);   // host and host_end of all roots, from their lifetimes
bool plan_has(const struct tensor *t); // a root in the slab that some node uses
// For tests: guard_bytes unused bytes behind every root, and no memory is used twice.
void graph_plan_guarded(struct graph *g, size_t guard_bytes);

// ---- memory that is shared (slab.c)
char *slab_take(struct slab *s, size_t bytes); // of a graph that runs alone

// ---- memory for time (recompute.c)
void recompute(struct graph *g); // what graph_recompute asks for; before memory is planned

// ---- running (executor.c)
struct slice { // of a region: rows [first, end) of `of`
    int64_t first, end, of;
};
struct run {
    const struct kernels *k, *bf16;
    const struct kernels_rows *rows;
    struct pool *pool;
    struct ranks *ranks;       // NULL: one alone
    const struct slice *slice; // what this thread computes of a node with op.by_row; NULL: all
};
// The slice's part of n rows, which its `of` divides; all of them where there is no slice.
static inline struct range run_slice(const struct run *r, int64_t n) {
    const struct slice *s = r->slice;
    return s ? (struct range){n / s->of * s->first, n / s->of * s->end} : (struct range){0, n};
}
// The table of a node's products and convolutions.
static inline const struct kernels *run_products(const struct run *r, const struct node *n) {
    return n->at.bf16 ? r->bf16 : r->k;
}
typedef void share_task(const struct run *r, const struct node *n, int share);
// share(r, n, 0 .. n_shares - 1), on the pool when there are several.
void run_shares(const struct run *r, const struct node *n, int n_shares, share_task *share);
typedef void rows_task(const struct run *r, const struct node *n, int64_t first, int64_t end);
// All rows [0, rows), cut by their number and the cost of one (about nanoseconds) only.
void run_rows(const struct run *r, const struct node *n, int64_t rows, int64_t cost,
              rows_task *task);
// The same for n elements in units of 64; the cost is that of a unit.
void run_elements(const struct run *r, const struct node *n, int64_t n_elements, int64_t cost,
                  rows_task *task);

// ---- what a node has to do (profile.c)
double node_flop(const struct node *n);       // what graph.h says of node_time
double node_least_flop(const struct node *n); // the same, but of one-hot rows only the sums
// Each input read once, each output written once (read too where it is added to); of weights what
// is wanted of them, without padding. With those of the node inside it.
double node_bytes(const struct node *n);
size_t tensor_bytes(const struct tensor *t);                // NULL: 0
void node_text(const struct node *n, char *text, int size); // "linear 16x1024 > 16x1536"

static inline real *reals(const struct tensor *t) { return t ? (real *)t->data : 0; }

#endif
