// Inside of the device library: what launchers of ops see, and what the device offers them.
//
//     static void relu(struct gpu *g, const struct gpu_args *a) {
//         LAUNCH(g, relu_kernel, blocks_for(out_real(a, 0).n), THREADS, src_real(a, 0),
//                out_real(a, 0));
//     }
//
// The library is one backend of src/engine/graph/backend.h. It knows nodes and tensors, whose
// layout backend.h compares at load time, and needs no symbol of the program. table.cu lists one
// launcher per kind of node; backend.cu places a graph's memory on the device and runs nodes;
// cuda.cu is the CUDA runtime and cuBLAS, in whose place the tests put their harness.
//
// Errors: the first one stays in struct gpu as one line; launches after it do nothing.
// Threads: a struct gpu (one per graph) belongs to one thread at a time; several may run at once.
#ifndef GPU_GPU_H
#define GPU_GPU_H

#ifdef __cplusplus
#define _Noreturn [[noreturn]] // the C headers say it in C17
#endif
#include "engine/graph/backend.h"
#include "engine/graph/node.h"
#include "gpu/device.h"

enum { GPU_MESSAGE_SIZE = 512 };

// What the operands of products are rounded to; sums are float32.
enum gpu_precision { IN_FLOAT32, IN_TF32, IN_BF16 };

struct gpu_watch;  // watch.h
struct gpu_device; // stream, cuBLAS handle: cuda.cu, or the harness
struct gpu {
    struct gpu_device *device;
    void *workspace; // for one node at a time
    size_t workspace_bytes;
    enum gpu_precision precision; // of the node that is enqueued
    int64_t launches;             // kernels, products, copies, clears enqueued so far
    struct gpu_watch *watch;      // NULL: nobody wants to know what takes how long
    struct backend_ranks *ranks; // of the graph that runs: others' numbers count too. NULL: alone
    void *gathered;              // room for all ranks' numbers of its largest node that gathers
    bool failed;
    char message[GPU_MESSAGE_SIZE];
};

// A node with the addresses of its tensors on the device.
struct gpu_args {
    const struct node *n;
    void **src; // [n->n_src], NULL: absent
    void *out[NODE_MAX_OUT];
};

typedef void gpu_launcher(struct gpu *g, const struct gpu_args *a);
typedef size_t gpu_workspace(const struct node *n); // bytes; NULL in the table: none
struct gpu_op {
    gpu_launcher *launch;
    gpu_workspace *workspace;
};
const struct gpu_op *gpu_op_of(enum op_kind kind); // table.cu; launch NULL: nothing to do (views)

// ---- tensors of a node
static inline buf<const real> src_real(const struct gpu_args *a, int i) {
    const struct tensor *t = i < a->n->n_src ? a->n->src[i] : 0;
    return buf_make((const real *)(t ? a->src[i] : 0), t ? t->n_elements : 0);
}
static inline buf<real> out_real(const struct gpu_args *a, int i) {
    const struct tensor *t = a->n->out[i];
    return buf_make((real *)(t ? a->out[i] : 0), t ? t->n_elements : 0);
}
static inline buf<real> workspace_real(const struct gpu *g, int64_t first, int64_t n) {
    return buf_make((real *)g->workspace + first, n);
}
static inline int64_t last_of(const struct tensor *t) { return t->shape[t->n_dims - 1]; }
static inline int64_t row_size_of(const struct tensor *t) { return t->n_elements / t->shape[0]; }

// ---- launch shapes
static inline int64_t ceil_div64(int64_t a, int64_t b) { return (a + b - 1) / b; }
// Blocks of THREADS threads for n elements (EACH goes on where they are too many), for n rows of a
// warp each.
static inline int blocks_for(int64_t n) {
    const int64_t most = 1 << 20, blocks = ceil_div64(n, THREADS);
    return (int)(blocks < 1 ? 1 : blocks > most ? most : blocks);
}
static inline int blocks_for_rows(int64_t rows) { return (int)ceil_div64(rows, WARPS); }

// ---- C[m,n] (=|+=) A[m,k] . B[k,n], rows one after the other in memory
struct gpu_gemm {
    int64_t m, n, k;
    buf<const real> a, b;
    int64_t a_row, b_row, c_row;     // elements from a row to the next, as stored
    bool a_transposed, b_transposed; // stored as [k,m], [n,k]
    buf<real> c;
    bool add;
};

// ---- the device (cuda.cu; tests/gpu/harness). False: g->message says why.
bool gpu_probe(char *text, size_t size); // a line about the device, or why there is none
struct gpu_device *gpu_open(char *message, size_t size); // NULL: message says why
void gpu_close(struct gpu_device *d);                    // NULL is fine
void *gpu_alloc(struct gpu *g, size_t bytes);            // NULL: g->message says why
void gpu_free(struct gpu_device *d, void *memory);       // NULL is fine
// `from` may change when it returns, unless it is pinned: then when the stream has passed the copy.
bool gpu_upload(struct gpu *g, void *to, const void *from, size_t bytes);
bool gpu_download(struct gpu *g, void *to, const void *from, size_t bytes); // waits for it
bool gpu_zero(struct gpu *g, void *at, size_t bytes);
bool gpu_finish(struct gpu *g); // waits for everything; false also for what kernels did wrong
bool gpu_copy(struct gpu *g, void *to, const void *from, size_t bytes); // on the device
// Memory of the host that transfers need not stage; gpu_download_later does not wait.
void *gpu_pinned_new(struct gpu *g, size_t bytes); // NULL: g->message says why
void gpu_pinned_free(void *memory);                // NULL is fine
bool gpu_download_later(struct gpu *g, void *to, const void *from, size_t bytes);
void gpu_product(struct gpu *g, const struct gpu_gemm *p);
// The parameter that a data gradient multiplies with, whether or not the graph packs it.
static inline const struct tensor *gpu_weights_of(const struct node *linear_dx) {
    const struct tensor *w = linear_dx->src[1];
    return w->node && w->node->kind == OP_PACK ? w->node->src[0] : w;
}
// Work that another library enqueues in g's stream (NCCL): call reads `from` and writes `to`. Now,
// or, where g is captured, at every replay.
struct gpu_outside {
    const char *name;
    void (*call)(struct gpu *g, const struct gpu_outside *o);
    void *ctx;
    const void *from;
    size_t from_bytes;
    void *to;
    size_t to_bytes;
};
bool gpu_outside(struct gpu *g, const struct gpu_outside *o);
// Order between two devices' streams: what g enqueued before gpu_record is over before what another
// enqueues after gpu_await begins. Awaiting what was never recorded is nothing.
struct gpu_event;
struct gpu_event *gpu_event_new(struct gpu *g); // NULL: g->message says why
void gpu_event_free(struct gpu_event *e);       // NULL is fine
bool gpu_record(struct gpu *g, struct gpu_event *e);
bool gpu_await(struct gpu *g, const struct gpu_event *e);
bool gpu_event_finish(struct gpu *g, const struct gpu_event *e); // the host waits
// What is enqueued between begin and end runs at every replay, and not before. Meanwhile nothing
// may be allocated, freed, waited for or copied from or to the host: that fails.
struct gpu_capture;
bool gpu_capture_begin(struct gpu *g);
struct gpu_capture *gpu_capture_end(struct gpu *g); // NULL: g->message says why
void gpu_capture_free(struct gpu_capture *c);       // NULL is fine
bool gpu_replay(struct gpu *g, const struct gpu_capture *c);
int64_t gpu_capture_nodes(const struct gpu_capture *c);
// The stream does nothing for so long, while the host goes ahead.
void gpu_hold(struct gpu *g, int microseconds);
// Times between two places in the stream; 0 until both are over.
struct gpu_timer;
struct gpu_timer *gpu_timer_new(struct gpu *g);                   // NULL: g->message says why
void gpu_timer_free(struct gpu_timer *t);                         // NULL is fine
bool gpu_timer_mark(struct gpu *g, struct gpu_timer *t, int end); // 0: begins, 1: ends here
double gpu_timer_ms(struct gpu *g, struct gpu_timer *t);
// From an end of one to an end of another, on whichever streams; waits for both, which were marked.
double gpu_timer_between(struct gpu *g, struct gpu_timer *from, int end, struct gpu_timer *to,
                         int end_of_to);
void *gpu_stream(const struct gpu *g);
void gpu_launched(struct gpu *g, const char *kernel, const char *file, int line);
// Whether a launch of this shape may go ahead: no error so far, and what the chip takes.
bool gpu_may_launch(struct gpu *g, const char *kernel, int64_t grid, int64_t block);

const struct device_play *gpu_play(void); // machines and ring: play.cu

// ---- transfers over the bus, counted by whoever makes one (backend.cu)
void gpu_count_transfer(size_t bytes);

// ---- messages (backend.cu)
void gpu_fail(struct gpu *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

// ---- sums that several ops use (reduce.cu)
// out[n] (=|+=) the column sums of x [rows, n]; workspace: column_sum_bytes
void gpu_sum_columns(struct gpu *g, buf<const real> x, int64_t rows, int64_t n, buf<real> out,
                     bool add);
size_t column_sum_bytes(int64_t rows, int64_t n);
// out[0] = scale * the sum of x (in double); workspace: sum_slices_max doubles
static const int64_t sum_slices_max = 256;
static inline int sum_slices(int64_t n) {
    const int64_t blocks = ceil_div64(n, 4 * THREADS);
    return (int)(blocks < sum_slices_max ? blocks : sum_slices_max);
}
void gpu_sum(struct gpu *g, buf<const real> x, real scale, buf<real> out);

#endif
