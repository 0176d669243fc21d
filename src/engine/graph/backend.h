// What a device offers to graphs: a table of functions that a shared library gives away.
//
//     char why[BACKEND_MESSAGE_SIZE];
//     const struct backend *b = backend_open(NULL, why, sizeof why);    // NULL: why says why not
//     if (b) backend_choose(b);                            // for executors made from now on
//     struct executor *ex = executor_new(g, pool);         // graph.h
//
// The CPU needs no table: an executor without a backend runs the op table's CPU functions. The
// library (src/gpu, build/libworkbench_cuda.so) is opened at run time, so that one program serves
// machines with and without a GPU. It reads graphs, nodes and tensors as graph/node.h lays them
// out, and is refused where it was built from another layout.
//
// The host's memory is the truth: before a run inputs and weights are copied to the device, after
// it the kept tensors and the parameters' gradients are copied back. Optimisers, checkpoints and
// screens so work on what they know.
//
// Errors: functions return false (or NULL) and say why in one line; a graph that failed once stays
// failed. Threads: one thread at a time per graph; several graphs may run at once.
// Valid C17 and C++17.
#ifndef GRAPH_BACKEND_H
#define GRAPH_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct graph;
struct node;
struct tensor;
struct params;
struct backend_graph;
struct device_play;
struct device_ring;    // engine/env/device_play.h
struct device_rollout; // engine/algo/ppo/device_rollout.h
struct device_rollouts;
struct backend_program;
struct backend_ranks;

enum { BACKEND_MESSAGE_SIZE = 512, BACKEND_VERSION = 9 };

// What the library was compiled against (backend_layout_here): equal, or it is not used.
struct backend_layout {
    int32_t version, n_ops;
    uint32_t graph_bytes, node_bytes, tensor_bytes, root_bytes, params_bytes, real_bytes;
};

// Adam and the gradient norm on arrays of the host: what src/gpu/optim.cu offers so far.
struct backend_adam {
    int64_t n;
    float *weights, *moment1, *moment2;
    const float *grads;
    double learning_rate, beta1, beta2, eps;
    double max_norm; // of the whole gradient; 0: no clipping
    double correction1, correction2;
    double norm; // filled: before clipping. Where it is not finite nothing is changed.
};

// ---- programs: what repeats without the host, an update above all
//
// A program is a list of commands over graphs that were placed on the device. Its first launch
// enqueues them one by one, its second captures them (one CUDA graph), later ones replay that: one
// call of the host each. From the first launch on the device's weights and moments are the true
// ones, until program_fetch brings them back; inputs and results stay on the device.
//
// The program counts its launches as steps. A CHECK that finds a number that is not finite stops
// it: from there on no command changes anything, so inputs, weights and moments stay those of the
// failing step.
enum command_kind {
    COMMAND_FEED, // to: copied from the host's place for it at every launch
    COMMAND_FILL, // elements [first, first + count) of to: value
    // to: uniforms of (seed, purpose, step, element), base/philox.h. With count: of its rows (the
    // first dimension) every `count` are those from `first` on of `every` that have numbers.
    COMMAND_NOISE,
    COMMAND_NORMAL,  // to: normal numbers of the same
    COMMAND_RUN,     // all nodes of graph
    COMMAND_COPY,    // to = from, which lies in from_graph
    COMMAND_NORM,    // the norm of the set's gradient, before clipping to max_norm
    COMMAND_CHECK,   // is from, if any, and the set's norm, if any, finite?
    COMMAND_ADAM,    // one step of the set, with the norm found before
    COMMAND_TRACK,   // every `every` steps set = tau source + (1 - tau) set; at step 0 a copy
    COMMAND_ADVANCE, // the step is done
    COMMAND_REPORT,  // runs nothing: from is what program_read brings to the host's place for it
    COMMAND_FINITE,  // is every number of from finite? Else as CHECK
    // Of the ring's row that is being written (ring_tick or ring_put was called): once a launch,
    // before all other commands but in their order, or (ACT) after them.
    COMMAND_PICTURES, // to [n, 1440] = its pictures
    COMMAND_BEGINS,   // to [n]: 1 where an episode begins with it (program_seek: everywhere), or 0
    COMMAND_ACT,      // its actions are from [n, classes], one-hot
    // A batch of the window that ring_aim was given, drawn for the program's step and gathered to
    // where ring_batch_into says. Part of what is captured.
    COMMAND_SAMPLE,
    COMMAND_STAGE,  // a piece of rollout's work, with the norm of set where it was found
    COMMAND_MEAN,   // the set's gradients, or to: their mean over the ranks
    COMMAND_LAPROP, // as ADAM, one step of LaProp: clipped tensor by tensor, rate warmed up
    N_COMMANDS
};

struct backend_command { // each kind uses a few; a tensor lies in the graph before it
    enum command_kind kind;
    struct backend_graph *graph;
    const struct tensor *to;
    struct backend_graph *from_graph;
    const struct tensor *from;
    const struct params *set, *source;
    double learning_rate, beta1, beta2, eps, max_norm, tau;
    int64_t first, count, every;
    uint64_t seed;
    uint32_t purpose;
    float value;
    double *norm; // COMMAND_NORM: filled by program_read
    double agc;   // COMMAND_LAPROP: nn/optim.h has the meaning of both
    int64_t warmup;
    struct device_ring *ring;
    int32_t length, batch, n_terminal; // COMMAND_SAMPLE: replay_draw's
    struct device_rollout *rollout;
    int32_t stage, which; // COMMAND_STAGE: of enum rollout_stage
    // COMMAND_MEAN: who they are. COMMAND_RUN: quantiles are those of all ranks' numbers; NULL: of
    // this one's.
    struct backend_ranks *ranks;
};

// What rank 0 makes up and the others are told, by which a device's ranks find each other.
struct backend_ranks_id {
    char bytes[128];
};

struct backend_progress {
    int64_t step;       // done so far
    int failed;         // the CHECK that stopped it, by its place in the list; -1: none
    double value, norm; // what that CHECK saw
};

// Transfers between host and device since the library was opened, by any graph or program.
struct backend_bus {
    int64_t copies, bytes;
};

// A program's launch taken apart: a node of a graph, or (NULL) a command of the list; of a
// COMMAND_RUN that is the clearing of gradients before its nodes.
struct backend_item {
    const struct node *node;
    const struct node *last; // of the nodes from `node` on that are one launch; else `node`
    int command;             // its place in the list
    int launches;            // kernels, products, copies and clears that it enqueues
    double ms; // on the device, median; of several launches with what lies between them
};
typedef void backend_item_fn(void *ctx, const struct backend_item *item);

// What a device does at most, measured by short kernels of nothing else. Rates are medians.
struct backend_rates {
    int64_t copy_bytes;            // wanted: size of the copy, much more than any cache holds
    int64_t fma_blocks, fma_steps; // wanted: blocks, and rounds of 16 FLOP for each thread
    int64_t product;               // wanted: rows and columns of a square product
    int repetitions;               // wanted
    double copy_bytes_per_s;       // read plus written
    double fma_flops;              // float32 multiply-adds, two FLOP each
    double product_flops[3];       // operands in float32, TF32, bf16
    double empty_ms;               // between two time marks with nothing between them
};

struct backend {
    struct backend_layout layout;
    const char *name; // "cuda"
    // A line about the device; false: why there is none.
    bool (*probe)(char *text, size_t size);
    bool (*has)(int op_kind); // a kernel for it, or nothing to do
    // Device memory for a planned graph. NULL: message says why.
    struct backend_graph *(*graph_new)(const struct graph *g, char *message, size_t size);
    void (*graph_free)(struct backend_graph *b); // NULL is fine
    // Inputs and weights to the device; parameter gradients zeroed as the plan says.
    bool (*begin)(struct backend_graph *b);
    bool (*run)(struct backend_graph *b, const struct node *n); // enqueued
    bool (*run_all)(struct backend_graph *b); // all of them, several as one where that is possible
    bool (*wait)(struct backend_graph *b);
    // A tensor to the host's place for it; waits.
    bool (*fetch)(struct backend_graph *b, const struct tensor *t);
    // All gradients of a parameter set that the graph has gradients for; waits.
    bool (*fetch_grads)(struct backend_graph *b, const struct params *set);
    const char *(*message)(const struct backend_graph *b); // why the last call failed
    int64_t (*copies)(const struct backend_graph *b);      // transfers so far, both directions
    // Copies the list; graphs and sets must outlive the program. The sets' values and all inputs of
    // the graphs are taken from the host, and the step is counted from `step`.
    struct backend_program *(*program_new)(const struct backend_command *list, int n, char *message,
                                           size_t size);
    void (*program_free)(struct backend_program *p);                // NULL is fine
    bool (*program_store)(struct backend_program *p, int64_t step); // again, when they were changed
    bool (*program_launch)(struct backend_program *p);              // enqueued
    // The next launch is step `step`, and where `anew` everything begins with it (COMMAND_BEGINS).
    // Enqueued; nothing crosses the bus. A new program's first launch begins anew.
    bool (*program_seek)(struct backend_program *p, int64_t step, bool anew);
    // Learning rates of the launches from now on: each ADAM's times this. Enqueued, 1 at first.
    bool (*program_scale_rates)(struct backend_program *p, double factor);
    // Reports and norms to the host in one transfer; waits.
    bool (*program_read)(struct backend_program *p, struct backend_progress *out);
    // Weights, moments and gradients of all sets, inputs of all graphs, to the host; waits.
    bool (*program_fetch)(struct backend_program *p);
    const char *(*program_message)(const struct backend_program *p);
    // Weights of one set become another's, for graphs and programs enqueued from now on. False: not
    // both are on the device.
    bool (*copy_weights)(const struct params *to, const struct params *from);
    struct backend_bus (*bus)(void);
    // How long the device worked on the last launch that program_read has waited for.
    double (*program_ms)(struct backend_program *p);
    // Everything that one launch enqueues, in order. passes 0: only counted, nothing runs. Else the
    // program is launched so many times and once more, not as a captured graph, each item between
    // two time marks, with the host so far ahead that the device never waits for it. After the
    // first program_launch; waits.
    bool (*program_items)(struct backend_program *p, int passes, backend_item_fn *each, void *ctx);
    // Nodes of the captured graph, once there is one; else 0.
    int64_t (*program_graph_nodes)(const struct backend_program *p);
    bool (*rates)(struct backend_rates *r, char *message, size_t size);
    // Where a tensor lies on the device, for as long as the graph lives; NULL: nobody uses it.
    void *(*address)(const struct backend_graph *b, const struct tensor *t);
    // float32 products on the tensor cores' TF32 (10 bits of fraction), from now on; off at first.
    // Nodes that a graph made in bf16 are in bf16 whatever this says.
    void (*allow_tf32)(bool on);
    bool (*adam)(struct backend_adam *a, char *message, size_t size);
    // Several processes, a device each, that enqueue the same programs. ready: is what it needs
    // here? id: of a new group. join waits until all n have come. A rank that does not come, or
    // dies, leaves the others waiting.
    bool (*ranks_ready)(char *message, size_t size);
    bool (*ranks_id)(struct backend_ranks_id *out, char *message, size_t size);
    struct backend_ranks *(*ranks_join)(const struct backend_ranks_id *id, int rank, int n,
                                        char *message, size_t size);
    void (*ranks_leave)(struct backend_ranks *r); // after all programs; NULL is fine
    const struct device_play *play;         // machines and replay ring: engine/env/device_play.h
    const struct device_rollouts *rollouts; // PPO's: engine/algo/ppo/device_rollout.h
};

// The library's one symbol.
#define BACKEND_SYMBOL "workbench_backend"
typedef const struct backend *backend_entry(void);

// Opens the library: `path`, or where that is NULL the one that WORKBENCH_CUDA_LIBRARY names, or
// libworkbench_cuda.so beside the program or under ../lib. NULL: `why` says what is missing. Also
// NULL where the library finds no device. Opened once and kept.
const struct backend *backend_open(const char *path, char *why, size_t size);

// The backend of executors made from now on; NULL: the CPU (so it is at the start). Whoever starts
// a run chooses, before any graph is built.
void backend_choose(const struct backend *b);
const struct backend *backend_chosen(void);

#endif
