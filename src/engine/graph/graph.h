// Static graph: tensors, the ops that make them, reverse-mode gradients and one memory plan.
//
//     struct graph *g = graph_new();
//     struct tensor *x = g_input(g, "x", DTYPE_REAL, 2, (int64_t[]){8, 16});
//     struct tensor *w = g_param(g, &params, "linear.weight");
//     struct tensor *y = g_linear(g, x, w, NULL, NULL, 0);
//     struct tensor *loss = g_mean(g, g_square_error(g, y, target));
//     graph_gradients(g, loss);                 // appends the backward nodes
//     graph_keep(g, y);                         // readable after a run
//     graph_plan(g);                            // once: liveness -> offsets in one slab
//     struct executor *ex = executor_new(g, pool);
//     for (;;) { fill(x); executor_run(ex); }   // no allocation from here on
//
// A graph is built once per shape, then run thousands of times. Shapes are static; is_first and the
// horizon are masks, never branches. Tensors are row-major and contiguous; images are NHWC; time
// comes first ([T][B][...]).
//
// Memory: every tensor is a range of one slab (activations), or of a parameter set's flat buffers
// (parameters and their gradients), or an input (own storage, stable address, filled by the caller
// before a run). Slices and stacks along axis 0 are views: a step's tensor lies inside its
// time-major buffer and no copy is made.
//
// Gradients: graph_gradients adds nodes in reverse order. A tensor has one gradient buffer; the
// first contribution writes it, later ones accumulate. Parameter gradients accumulate into the
// parameter set's flat gradient buffer, which executor_run zeroes first. The uses of one weight
// matrix inside a time loop are deferred to ONE product over the stacked rows (g_linear's
// contract), which is what makes BPTT cheap.
//
// Ownership: the graph owns its tensors; free it last. Thread: one thread builds and runs a graph.
// Shape errors are our own bugs: CHECK aborts and names the node.
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/real.h"
#include "engine/graph/params.h"

enum { TENSOR_MAX_DIMS = 6, TENSOR_MAX_SRC = 8, TENSOR_NAME_SIZE = 96 };
enum dtype { DTYPE_REAL, DTYPE_I32, DTYPE_U8 };
enum storage { STORE_SLAB, STORE_INPUT, STORE_PARAM, STORE_PARAM_GRAD };

struct graph;

// Read-only for everybody but src/engine/graph. `data` is valid after graph_plan.
struct tensor {
    char name[TENSOR_NAME_SIZE]; // scope path and own name: "wm/rssm/t07/gru"
    enum dtype dtype;
    int n_dims;
    int64_t shape[TENSOR_MAX_DIMS];
    int64_t n_elements;
    void *data;
    struct tensor *grad; // NULL where no gradient flows; set by graph_gradients
    struct node *node;   // how it is made (graph/node.h); NULL for leaves
    // Placement, for src/engine/graph only: a view lies in `base` at `offset` elements; a root has
    // no base.
    struct tensor *base;
    int64_t offset;
    enum storage storage; // of a root
    int64_t one_hot;      // n: rows are one-hot groups of n classes (ops_gather.c); 0: not known
    bool needs_grad, keep, frozen;
    struct root *root;     // what the planner knows about a root (graph/node.h)
    struct params *params; // STORE_PARAM, STORE_PARAM_GRAD: the set ...
    int64_t flat_offset;   // ... and where it begins there, in elements
    int scope_length;      // of `name`: graph_name replaces what follows
};

struct graph *graph_new(void);
void graph_free(struct graph *g); // NULL is fine

// ---- names: scopes are joined with '/', tensors made inside carry them
void graph_scope_push(struct graph *g, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void graph_scope_pop(struct graph *g);
void graph_name(struct graph *g, struct tensor *t,
                const char *name); // own name; default is the op's

// ---- precision
// Products and convolutions added from here on, and their gradients, round their operands to bf16
// and sum in float32 (off at first); returns what was before. Weights stay float32 and are rounded
// when they are packed; everything else is as ever. One-hot rows are gathered and scattered in
// float32, and so are convolutions of few channels computed where bf16 would be slower
// (conv_in_bf16). CHECKs that this build has bf16.
bool graph_bf16(struct graph *g, bool on);

// ---- leaves
struct tensor *g_input(struct graph *g, const char *name, enum dtype dtype, int n_dims,
                       const int64_t *shape);
// Says that an input's rows are one-hot groups of n_classes (or all 0): layers that read them are
// faster. Other values give the same result as without it, slowly.
void graph_one_hot(struct graph *g, struct tensor *input, int64_t n_classes);
struct tensor *g_param(struct graph *g, struct params *set,
                       const char *name); // CHECKs that it exists; one tensor per name
void graph_want_gradient(
    struct graph *g,
    struct tensor *input); // inputs get none unless asked for, before graph_gradients

// ---- views, no copy
struct tensor *g_reshape(struct graph *g, struct tensor *x, int n_dims, const int64_t *shape);
struct tensor *g_slice(struct graph *g, struct tensor *x, int64_t first,
                       int64_t n); // rows of axis 0; n = 1 keeps the axis
// n tensors of equal shape [B, ...] become [n * B, ...] (axis 0 joined in order). Each source must
// be an op's output that no other stack holds and that is no view: it is placed inside the stack's
// memory.
struct tensor *g_stack(struct graph *g, struct tensor *const *x, int n);
struct tensor *g_stop_gradient(struct graph *g, struct tensor *x);

// ---- pixels and convolutions (spec/dreamer_v3.md 1.1, 2.1)
struct tensor *g_unpack2(struct graph *g, struct tensor *packed, int64_t height,
                         int64_t width); // u8 [N, h*w/4] -> [N,h,w,1], shade/3 - 0.5
// k4 s2 p1, no bias. x [N,H,W,Ci], w [Co,Ci,4,4] -> [N,H/2,W/2,Co] (floor)
struct tensor *g_conv(struct graph *g, struct tensor *x, struct tensor *w);
// Its adjoint. x [N,H,W,Ci], w [Ci,Co,4,4], bias [Co] or NULL -> [N,2H,2W,Co]
struct tensor *g_deconv(struct graph *g, struct tensor *x, struct tensor *w, struct tensor *bias);
struct tensor *g_hwc_to_chw(struct graph *g,
                            struct tensor *x); // [N,H,W,C] -> [N, C*H*W], flattened c,y,x
struct tensor *g_chw_to_hwc(struct graph *g, struct tensor *x, int64_t height, int64_t width,
                            int64_t channels); // and back

// Without a border, any square kernel and stride (spec/ppo.md 2). x [N,H,W,Ci], w [Co,Ci,k,k], bias
// [Co] -> [N,(H-k)/stride+1,(W-k)/stride+1,Co]. Co is a multiple of 16, k * Ci one of 4 and 8 at
// least.
struct tensor *g_conv_valid(struct graph *g, struct tensor *x, struct tensor *w,
                            struct tensor *bias, int64_t stride);
// u8 [N, K, h*w/4] packed2 frames, oldest first -> [N,h,w,K]: the shades themselves, 0..3
struct tensor *g_unpack_stack(struct graph *g, struct tensor *packed, int64_t height,
                              int64_t width);

// ---- dense layers
// y = x[:, :] . w[:, column : column + K]^T (+ bias) (+ addend).   x [M,K], w [N,Ktotal], bias [N],
// addend [M,N]. A layer on a concatenation [a, b] is two calls: the second's addend is the first's
// result. Backward: dx at once; dw is ONE product for all calls on the same (w, column, K): their x
// and dy are laid out as stacked rows when there are several (each x and y then must be no view or
// lie in order in one stack; else dw is done call by call).
struct tensor *g_linear(struct graph *g, struct tensor *x, struct tensor *w, struct tensor *bias,
                        struct tensor *addend, int64_t column);
// Block-diagonal: the k-th of `blocks` equal parts of x's columns makes the k-th part of y's
// columns. x [M,K], w [N,Kw]: row o of w takes columns column .. column + K / blocks - 1. bias [N]
// or NULL, addend [M,N] or NULL.
struct tensor *g_block_linear(struct graph *g, struct tensor *x, struct tensor *w,
                              struct tensor *bias, struct tensor *addend, int64_t column,
                              int64_t blocks);
enum activation { ACT_NONE, ACT_SILU };
// LayerNorm over the last axis (biased variance, eps inside the root), then the activation.  gamma,
// beta [C]. beta NULL: RMS norm, which neither centres nor shifts: gamma x / sqrt(mean of x^2 +
// eps)
struct tensor *g_layer_norm(struct graph *g, struct tensor *x, struct tensor *gamma,
                            struct tensor *beta, real eps, enum activation act);

// ---- recurrent state space model (spec 3)
struct tensor *
g_gru_gates(struct graph *g, struct tensor *y,
            struct tensor *h); // y [B,3H] after LN: reset, candidate, update; -> h' [B,H]
// The same where y holds these three for each of `blocks` equal parts of h, part after part.
struct tensor *g_gru_gates_blocks(struct graph *g, struct tensor *y, struct tensor *h,
                                  int64_t blocks);
struct tensor *g_blend(struct graph *g, struct tensor *f, struct tensor *a,
                       struct tensor *b); // (1-f)a + f b; f [B], a [B,..], b [B,..] or [1,..] or
                                          // NULL (= 0); no gradient to f
struct tensor *g_unimix(struct graph *g, struct tensor *logits, int64_t n_classes,
                        real mix); // [N, S*D] -> probabilities (1-mix) softmax + mix/D
struct tensor *
g_sample(struct graph *g, struct tensor *m, struct tensor *u,
         int64_t n_classes); // m [N,S*D], u [N,S] -> exactly one-hot; straight-through dm = dz
struct tensor *
g_mode(struct graph *g, struct tensor *m,
       int64_t n_classes); // one-hot of the arg-max, lowest index on ties; no gradient
struct tensor *g_log_clamped(
    struct graph *g,
    struct tensor *m); // lambda = log(clamp(m, eps32, 1-eps32)); no gradient (parity and display)

// ---- losses per row (spec 4); all give [N]
struct tensor *
g_square_error(struct graph *g, struct tensor *x,
               struct tensor *target); // sum over everything but axis 0; no gradient to target
struct tensor *
g_twohot_nll(struct graph *g, struct tensor *logits, struct tensor *target,
             struct tensor *bins); // [N,K],[N],[K]; target is real-space, symlog inside
struct tensor *g_twohot_mean(struct graph *g, struct tensor *logits,
                             struct tensor *bins); // symexp(sum p b)
// The same where the bins lie in real space: neither symlog nor symexp (spec 4.2). Bins that are
// exactly antisymmetric and logits that are all equal give a mean of exactly 0.
struct tensor *g_twohot_real_nll(struct graph *g, struct tensor *logits, struct tensor *target,
                                 struct tensor *bins);
struct tensor *g_twohot_real_mean(struct graph *g, struct tensor *logits, struct tensor *bins);
struct tensor *g_bce(struct graph *g, struct tensor *logits,
                     struct tensor *target); // with logits; [N] or [N,1]
struct tensor *g_kl(struct graph *g, struct tensor *post, struct tensor *prior,
                    int64_t n_classes); // raw K, no gradient
// w_dyn * max(K(sg(post)||prior), free) + w_rep * max(K(post||sg(prior)), free); gradient half at
// an exact tie
struct tensor *g_kl_balanced(struct graph *g, struct tensor *post, struct tensor *prior,
                             int64_t n_classes, real w_dyn, real w_rep, real free_nats);
struct tensor *g_entropy(struct graph *g, struct tensor *m); // -sum m log m over the row; nats
struct tensor *
g_log_prob(struct graph *g, struct tensor *m,
           struct tensor *z); // sum z log m over the row: of the sample z; no gradient to z

// ---- return statistics (spec 5.4); no gradient to the quantiles or the range
// [2]: the q_low and q_high quantiles of all elements, linear interpolation between neighbours in
// order. NaN if one is NaN.
struct tensor *g_quantiles(struct graph *g, struct tensor *x, real q_low, real q_high);
struct tensor *g_normalize(struct graph *g, struct tensor *x, struct tensor *range,
                           real min_scale); // (x - range[0]) / max(min_scale, range[1] - range[0])

// ---- continuous actions (spec 5.5)
struct tensor *g_columns(struct graph *g, struct tensor *x, int64_t first,
                         int64_t n); // x [N,C] -> [N,n]: its columns [first, first + n)
struct tensor *g_limit(struct graph *g, struct tensor *x,
                       real bound); // x bound / max(bound, |x|), the factor without gradient
struct tensor *
g_normal_entropy(struct graph *g,
                 struct tensor *std); // [N,A] deviations -> [N]: sum 1/2 + 1/2 log 2pi + log std

// ---- PPO (spec/ppo.md 3.3): [PPO_N_TERMS] numbers, the first is the loss and the only one with a
// gradient (to logits and values). old_values NULL where opts.value_clip is 0.
struct ppo_loss_opts;
struct ppo_loss_in {
    struct tensor *logits, *values, *actions, *old_log_probs, *advantages, *returns, *old_values;
};
struct tensor *g_ppo_loss(struct graph *g, const struct ppo_loss_in *in,
                          const struct ppo_loss_opts *opts);

// ---- elementwise and reductions
struct tensor *g_add(struct graph *g, struct tensor *a, struct tensor *b); // equal shapes
struct tensor *g_affine(struct graph *g, struct tensor *x, real scale,
                        real shift);                                       // scale * x + shift
struct tensor *g_mul(struct graph *g, struct tensor *a, struct tensor *b); // equal shapes
struct tensor *g_tanh(struct graph *g, struct tensor *x);
struct tensor *g_relu(struct graph *g, struct tensor *x); // gradient 0 at 0
struct tensor *g_sigmoid(struct graph *g, struct tensor *x);
struct tensor *g_symlog(struct graph *g, struct tensor *x);
struct tensor *g_less(struct graph *g, struct tensor *x,
                      real threshold); // 1 where x < threshold else 0; no gradient
struct tensor *g_mean(struct graph *g, struct tensor *x); // -> [1]

// ---- finishing a graph
void graph_gradients(struct graph *g,
                     struct tensor *loss); // loss [1]; once per graph, before graph_plan
void graph_freeze(
    struct graph *g,
    const struct params *set); // its parameters get no gradient here; before graph_gradients
void graph_keep(struct graph *g,
                struct tensor *t); // t (and its grad, if any) stays readable after a run
// Outputs of at least this many bytes are computed a second time where they are needed again, if
// that is cheap (LayerNorm, unpacking) and lowers the most memory that is needed at any time; 0, as
// at first: none is. The same numbers: same kernel, same sources. Not on a device, whose memory is
// large and whose time is not. Before graph_plan.
void graph_recompute(struct graph *g, size_t least_bytes);
void graph_plan(struct graph *g);
// What follows from parameters alone, packed weights above all, is computed in the first run and
// then only after executor_weights_changed. Not on a device. Before graph_plan; not with a shared
// slab.
void graph_rest_weights(struct graph *g);
size_t graph_slab_bytes(const struct graph *g); // memory of the activations, without what is shared

// Memory that several graphs use in turn: only one of them runs at a time, and none finds there
// what it has left. What graph_keep names lies in a graph's own memory and stays readable while
// others run. Addresses never move, so the graph that needs most should be planned first: one that
// needs more than those before it gets a block of its own, which those after it share. On a device
// nothing is shared. Freed after its graphs.
struct slab;
struct slab *slab_new(void);
void slab_free(struct slab *s); // NULL is fine
size_t slab_bytes(const struct slab *s);
// graph_plan, in s, where no weights may rest (graph_rest_weights: CHECK); NULL: graph_plan itself.
void graph_plan_shared(struct graph *g, struct slab *s);
int graph_n_nodes(const struct graph *g);

// ---- running. On the CPU results do not depend on the pool's number of threads.
struct executor;
// On the chosen backend (backend.h), the CPU by default. Borrows both. CHECKs that the device takes
// the graph, and later that it runs it.
struct executor *executor_new(struct graph *g, struct pool *pool);
struct executor *cpu_executor_new(struct graph *g, struct pool *pool); // on the CPU
// Quantiles are those of all ranks' numbers from now on (ranks.h); borrowed. On a device it is the
// program that knows the ranks (program_join), and executor_run is one rank's alone.
struct ranks;
void executor_set_ranks(struct executor *ex, struct ranks *ranks);
void executor_run(struct executor *ex);
void executor_weights_changed(struct executor *ex); // for graph_rest_weights
void executor_free(struct executor *ex);            // NULL is fine
// Where the backend has placed the graph (backend.h), for programs; NULL on the CPU.
struct backend_graph *executor_device(const struct executor *ex);
// Copies between host and device so far; 0 on the CPU.
int64_t executor_copies(const struct executor *ex);
// Runs again node by node and returns the first node with a non-finite output, NULL if all are
// finite. Same inputs and parameters as the failing run, so the same numbers. Inputs and parameters
// themselves are looked at first. A backward node's tensor carries the forward node's name and what
// it is: "wm/encoder/conv1:dx".
const struct tensor *executor_find_nonfinite(struct executor *ex);
// Adds up nanoseconds per node while on (a clock read per node). What never ran is left out of
// executor_times.
void executor_profile(struct executor *ex, bool on);
struct op_time {
    const char *op;
    int64_t n_runs, ns;
};
int executor_times(const struct executor *ex, struct op_time *out,
                   int capacity); // per op kind, largest first; returns how many
// Per node, in the order in which they run. flop: of the products and convolutions in one run,
// multiply and add counted as two; of the definition's sums, however few of them are executed; 0
// for every other node.
struct node;
struct node_time {
    const char *name, *op;
    int64_t n_runs, ns;
    double flop;
    const struct node *node; // for node_work, while the graph lives
};
typedef void node_time_fn(void *ctx, const struct node_time *t);
void executor_node_times(const struct executor *ex, node_time_fn *each, void *ctx);
// What a node is and has to do at least: kind and shapes ("linear 16x1024 > 16x1536"), bytes (each
// tensor read or written once), FLOP (as above, but of one-hot rows only the sums).
void node_work(const struct node *n, char *text, int size, double *bytes, double *flop);
const char *cpu_kernels_name(
    void); // "avx512", "avx2" or "generic": part of what fixes the bits; chosen at run time
bool cpu_kernels_choose(
    const char *name); // tests and WORKBENCH_KERNELS: false if this CPU lacks it
// What graph_bf16 takes: "avx512bf16", or "avx512", "avx2", "generic" where bf16 is emulated on
// these; NULL in a double build, which has none. Emulated or not, the bits are the same, but for
// numbers below 1.2e-38.
const char *cpu_kernels_bf16_name(void);
// What fixes the bits of a run, as meta.json records it: "avx512", "avx512 bf16".
const char *cpu_kernels_kind(bool bf16);

#endif
