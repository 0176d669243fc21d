// The CUDA device: runtime and cuBLAS behind the functions of gpu.h. Not part of the harness build.
//
// Every graph has a stream and a cuBLAS handle of its own, so that graphs of two threads do not
// meet. float32 throughout: cuBLAS is kept from TF32, and from atomics, whatever the environment
// says, so that a product gives the same bits each time on one device.
#include <cublas_v2.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/gpu.h"

struct gpu_device {
    cudaStream_t stream;
    cublasHandle_t cublas;
    void *cublas_workspace;
    bool capturing;
};

enum { GRID_MAX = 2147483647, BLOCK_MAX = 1024, OLDEST_MAJOR = 8 };
static const size_t cublas_workspace_bytes = 32 << 20; // cuBLAS' own advice for Hopper

// ---- errors

static bool check(struct gpu *g, cudaError_t error, const char *what, const char *file, int line) {
    if (error == cudaSuccess) return true;
    gpu_fail(g, "%s: %s (%s:%d)", what, cudaGetErrorString(error), file, line);
    cudaGetLastError(); // forgotten: the next launch of another graph would report it again
    return false;
}
#define CHECK_CUDA(g, what, call) check(g, call, what, __FILE__, __LINE__)

static bool check_cublas(struct gpu *g, cublasStatus_t status, const char *what, int line) {
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    gpu_fail(g, "%s: %s (%s:%d)", what, cublasGetStatusString(status), __FILE__, line);
    return false;
}

// What a captured graph cannot hold. CUDA would refuse most of it, in words that help nobody.
static bool may(struct gpu *g, const char *what) {
    if (g->device->capturing) gpu_fail(g, "%s while a graph is captured", what);
    return !g->failed;
}

// ---- the device

bool gpu_probe(char *text, size_t size) {
    int n = 0, driver = 0, runtime = 0;
    const cudaError_t error = cudaGetDeviceCount(&n);
    struct cudaDeviceProp p;
    if (error != cudaSuccess || n == 0 || cudaGetDeviceProperties(&p, 0) != cudaSuccess) {
        snprintf(text, size, "no CUDA device%s%s",
                 error != cudaSuccess && error != cudaErrorNoDevice ? ": " : "",
                 error != cudaSuccess && error != cudaErrorNoDevice ? cudaGetErrorString(error)
                                                                    : "");
        cudaGetLastError();
        return false;
    }
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (p.major < OLDEST_MAJOR) {
        snprintf(text, size,
                 "no CUDA device: %s has compute capability %d.%d, the library needs %d.0", p.name,
                 p.major, p.minor, OLDEST_MAJOR);
        return false;
    }
    snprintf(text, size,
             "%s, compute capability %d.%d, %d multiprocessors, %.1f GiB; CUDA %d.%d, "
             "driver for %d.%d; device 1 of %d",
             p.name, p.major, p.minor, p.multiProcessorCount,
             (double)p.totalGlobalMem / (1024.0 * 1024 * 1024), runtime / 1000, runtime % 1000 / 10,
             driver / 1000, driver % 1000 / 10, n);
    return true;
}

static bool open_cublas(struct gpu *g, struct gpu_device *d) {
    return check_cublas(g, cublasCreate(&d->cublas), "cublasCreate", __LINE__) &&
           check_cublas(g, cublasSetStream(d->cublas, d->stream), "cublasSetStream", __LINE__) &&
           CHECK_CUDA(g, "workspace of cuBLAS",
                      cudaMalloc(&d->cublas_workspace, cublas_workspace_bytes)) &&
           check_cublas(g,
                        cublasSetWorkspace(d->cublas, d->cublas_workspace, cublas_workspace_bytes),
                        "cublasSetWorkspace", __LINE__) &&
           check_cublas(g, cublasSetMathMode(d->cublas, CUBLAS_DEFAULT_MATH), "cublasSetMathMode",
                        __LINE__) &&
           check_cublas(g, cublasSetAtomicsMode(d->cublas, CUBLAS_ATOMICS_NOT_ALLOWED),
                        "cublasSetAtomicsMode", __LINE__);
}

struct gpu_device *gpu_open(char *message, size_t size) {
    struct gpu g = {};
    struct gpu_device *d = (struct gpu_device *)calloc(1, sizeof *d);
    if (!d) return 0;
    if (CHECK_CUDA(&g, "stream", cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking)) &&
        open_cublas(&g, d))
        return d;
    snprintf(message, size, "%s", g.message);
    gpu_close(d);
    return 0;
}

void gpu_close(struct gpu_device *d) {
    if (!d) return;
    if (d->cublas) cublasDestroy(d->cublas);
    if (d->cublas_workspace) cudaFree(d->cublas_workspace);
    if (d->stream) cudaStreamDestroy(d->stream);
    free(d);
}

// ---- memory: filled with NaN, so that what nobody wrote shows

// Others take memory too: what is free tells a run that is too large from a GPU that is shared.
static void refuse_memory(struct gpu *g, size_t bytes) {
    size_t left = 0, all = 0;
    cudaGetLastError();
    cudaMemGetInfo(&left, &all);
    gpu_fail(g,
             "device memory: out of memory, %.1f MB more were asked for, %.1f of %.1f MB are free",
             (double)bytes / 1e6, (double)left / 1e6, (double)all / 1e6);
}

void *gpu_alloc(struct gpu *g, size_t bytes) {
    void *at = 0;
    if (!may(g, "device memory is allocated")) return 0;
    const cudaError_t error = cudaMalloc(&at, bytes);
    if (error == cudaErrorMemoryAllocation) refuse_memory(g, bytes);
    if (g->failed || !CHECK_CUDA(g, "device memory", error)) return 0;
    if (CHECK_CUDA(g, "device memory", cudaMemsetAsync(at, 0xFF, bytes, g->device->stream)) &&
        CHECK_CUDA(g, "device memory", cudaStreamSynchronize(g->device->stream)))
        return at;
    cudaFree(at);
    return 0;
}

void gpu_free(struct gpu_device *d, void *memory) {
    (void)d;
    if (memory) cudaFree(memory);
}

bool gpu_upload(struct gpu *g, void *to, const void *from, size_t bytes) {
    if (!may(g, "a copy from the host")) return false;
    if (!bytes) return true;
    gpu_count_transfer(bytes);
    return CHECK_CUDA(g, "copy to the device",
                      cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, g->device->stream));
}

bool gpu_download_later(struct gpu *g, void *to, const void *from, size_t bytes) {
    if (!may(g, "a copy to the host")) return false;
    if (!bytes) return true;
    gpu_count_transfer(bytes);
    return CHECK_CUDA(g, "copy from the device",
                      cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, g->device->stream));
}

bool gpu_download(struct gpu *g, void *to, const void *from, size_t bytes) {
    return gpu_download_later(g, to, from, bytes) && gpu_finish(g);
}

bool gpu_copy(struct gpu *g, void *to, const void *from, size_t bytes) {
    if (!bytes) return true; // a captured graph has no node for it
    g->launches++;
    return CHECK_CUDA(
        g, "copy on the device",
        cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, g->device->stream));
}

// The library finds out by itself that the stream is captured.
bool gpu_outside(struct gpu *g, const struct gpu_outside *o) {
    g->launches++;
    if (!g->failed) o->call(g, o);
    return !g->failed;
}

void *gpu_pinned_new(struct gpu *g, size_t bytes) {
    void *at = 0;
    if (!may(g, "pinned memory is allocated")) return 0;
    CHECK_CUDA(g, "pinned memory", cudaMallocHost(&at, bytes));
    return at;
}

void gpu_pinned_free(void *memory) {
    if (memory) cudaFreeHost(memory);
}

bool gpu_zero(struct gpu *g, void *at, size_t bytes) {
    if (!bytes) return true;
    g->launches++;
    return CHECK_CUDA(g, "clear", cudaMemsetAsync(at, 0, bytes, g->device->stream));
}

bool gpu_finish(struct gpu *g) {
    if (g->device->capturing) return may(g, "the host waits");
    return CHECK_CUDA(g, "kernels", cudaStreamSynchronize(g->device->stream)) && !g->failed;
}

// ---- events: without times, which would make them dearer

struct gpu_event {
    cudaEvent_t event;
};

struct gpu_event *gpu_event_new(struct gpu *g) {
    struct gpu_event *e = (struct gpu_event *)calloc(1, sizeof *e);
    if (!e) return 0;
    if (CHECK_CUDA(g, "event", cudaEventCreateWithFlags(&e->event, cudaEventDisableTiming)))
        return e;
    free(e);
    return 0;
}

void gpu_event_free(struct gpu_event *e) {
    if (!e) return;
    cudaEventDestroy(e->event);
    free(e);
}

bool gpu_record(struct gpu *g, struct gpu_event *e) {
    if (g->device->capturing) return may(g, "an event is recorded");
    return CHECK_CUDA(g, "event", cudaEventRecord(e->event, g->device->stream));
}

bool gpu_await(struct gpu *g, const struct gpu_event *e) {
    if (g->device->capturing) return may(g, "an event is awaited");
    return CHECK_CUDA(g, "event", cudaStreamWaitEvent(g->device->stream, e->event, 0));
}

bool gpu_event_finish(struct gpu *g, const struct gpu_event *e) {
    return may(g, "the host waits") && CHECK_CUDA(g, "event", cudaEventSynchronize(e->event));
}

// ---- timers

// globaltimer counts nanoseconds, in steps of up to a microsecond or so.
__global__ void hold_kernel(uint64_t nanoseconds) {
    uint64_t begin, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    do {
        asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    } while (now - begin < nanoseconds);
}

void gpu_hold(struct gpu *g, int microseconds) {
    LAUNCH(g, hold_kernel, 1, WARP, (uint64_t)microseconds * 1000);
}

struct gpu_timer {
    cudaEvent_t ends[2];
};

struct gpu_timer *gpu_timer_new(struct gpu *g) {
    struct gpu_timer *t = (struct gpu_timer *)calloc(1, sizeof *t);
    if (t && CHECK_CUDA(g, "timer", cudaEventCreate(&t->ends[0])) &&
        CHECK_CUDA(g, "timer", cudaEventCreate(&t->ends[1])))
        return t;
    gpu_timer_free(t);
    return 0;
}

void gpu_timer_free(struct gpu_timer *t) {
    for (int i = 0; t && i < 2; i++)
        if (t->ends[i]) cudaEventDestroy(t->ends[i]);
    free(t);
}

bool gpu_timer_mark(struct gpu *g, struct gpu_timer *t, int end) {
    if (g->device->capturing) return may(g, "a time is taken");
    return CHECK_CUDA(g, "timer", cudaEventRecord(t->ends[end], g->device->stream));
}

double gpu_timer_ms(struct gpu *g, struct gpu_timer *t) {
    float ms = 0;
    (void)g;
    if (cudaEventElapsedTime(&ms, t->ends[0], t->ends[1]) == cudaSuccess) return (double)ms;
    cudaGetLastError(); // not over yet
    return 0;
}

double gpu_timer_between(struct gpu *g, struct gpu_timer *from, int end, struct gpu_timer *to,
                         int end_of_to) {
    float ms = 0;
    if (CHECK_CUDA(g, "timer", cudaEventSynchronize(from->ends[end])) &&
        CHECK_CUDA(g, "timer", cudaEventSynchronize(to->ends[end_of_to])))
        CHECK_CUDA(g, "timer", cudaEventElapsedTime(&ms, from->ends[end], to->ends[end_of_to]));
    return (double)ms;
}

// ---- capture: one CUDA graph

struct gpu_capture {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
};

// Relaxed: CUDA loads kernels when they are first launched, and cuBLAS may allocate then; in the
// other modes that would end a capture that nothing ran before (gpu_program_items). What this
// library may not do meanwhile it refuses itself.
bool gpu_capture_begin(struct gpu *g) {
    g->device->capturing = CHECK_CUDA(
        g, "capture", cudaStreamBeginCapture(g->device->stream, cudaStreamCaptureModeRelaxed));
    return g->device->capturing;
}

struct gpu_capture *gpu_capture_end(struct gpu *g) {
    cudaGraph_t graph = 0;
    g->device->capturing = false;
    const bool ended = CHECK_CUDA(g, "capture", cudaStreamEndCapture(g->device->stream, &graph));
    struct gpu_capture *c = (struct gpu_capture *)calloc(1, sizeof *c);
    if (c) c->graph = graph;
    if (c && ended && !g->failed &&
        CHECK_CUDA(g, "graph", cudaGraphInstantiate(&c->exec, c->graph, 0)) &&
        CHECK_CUDA(g, "graph", cudaGraphUpload(c->exec, g->device->stream)))
        return c;
    gpu_capture_free(c);
    return 0;
}

void gpu_capture_free(struct gpu_capture *c) {
    if (!c) return;
    if (c->exec) cudaGraphExecDestroy(c->exec);
    if (c->graph) cudaGraphDestroy(c->graph);
    free(c);
}

int64_t gpu_capture_nodes(const struct gpu_capture *c) {
    size_t n = 0;
    return c && cudaGraphGetNodes(c->graph, 0, &n) == cudaSuccess ? (int64_t)n : 0;
}

bool gpu_replay(struct gpu *g, const struct gpu_capture *c) {
    return !g->failed && CHECK_CUDA(g, "graph", cudaGraphLaunch(c->exec, g->device->stream));
}

// ---- launches

void *gpu_stream(const struct gpu *g) { return g->device->stream; }

bool gpu_may_launch(struct gpu *g, const char *kernel, int64_t grid, int64_t block) {
    if (g->failed) return false;
    if (block < 1 || block > BLOCK_MAX || block % WARP || grid < 1 || grid > GRID_MAX)
        gpu_fail(g, "%s: a launch of %lld blocks of %lld threads is impossible", kernel,
                 (long long)grid, (long long)block);
    return !g->failed;
}

void gpu_launched(struct gpu *g, const char *kernel, const char *file, int line) {
    g->launches++;
    check(g, cudaGetLastError(), kernel, file, line);
}

// Which unit sums the products: CUDA cores, or tensor cores on rounded operands.
static cublasComputeType_t compute_of(enum gpu_precision p) {
    static const cublasComputeType_t types[] = {
        CUBLAS_COMPUTE_32F_PEDANTIC, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_32F_FAST_16BF};
    return types[p];
}

// cuBLAS counts by columns: row after row, C = A B is C^T = B^T A^T there.
void gpu_product(struct gpu *g, const struct gpu_gemm *p) {
    const float one = 1, zero = 0;
    if (g->failed) return;
    g->launches++;
    if (p->m > GRID_MAX || p->n > GRID_MAX || p->k > GRID_MAX) {
        gpu_fail(g, "a product of %lld x %lld x %lld is too large", (long long)p->m,
                 (long long)p->k, (long long)p->n);
        return;
    }
    check_cublas(g,
                 cublasGemmEx(g->device->cublas, p->b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                              p->a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, (int)p->n, (int)p->m,
                              (int)p->k, &one, p->b.at, CUDA_R_32F, (int)p->b_row, p->a.at,
                              CUDA_R_32F, (int)p->a_row, p->add ? &one : &zero, p->c.at, CUDA_R_32F,
                              (int)p->c_row, compute_of(g->precision), CUBLAS_GEMM_DEFAULT),
                 "cublasGemmEx", __LINE__);
}
