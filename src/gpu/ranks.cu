// Ranks: NCCL opened at run time, behind two calls that a program can capture.
#include "gpu/ranks.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// NCCL's documented interface (NCCL 2.x user guide, "NCCL API"): what of it is used.
typedef struct nccl_comm *nccl_group;
struct nccl_id {
    char internal[128];
};
static_assert(sizeof(struct nccl_id) == sizeof(struct backend_ranks_id), "an id is 128 bytes");
static_assert(sizeof(real) == 4, "ncclFloat32");
enum { NCCL_SUCCESS = 0, NCCL_SUM = 0, NCCL_FLOAT32 = 7 };

static struct nccl {
    bool opened, ready;
    char why[GPU_MESSAGE_SIZE];
    int (*id)(struct nccl_id *out);
    int (*join)(nccl_group *out, int n, struct nccl_id id, int rank);
    int (*leave)(nccl_group comm);
    int (*reduce)(const void *from, void *to, size_t n, int type, int op, nccl_group comm,
                  void *stream);
    int (*gather)(const void *from, void *to, size_t n, int type, nccl_group comm, void *stream);
    const char *(*message)(int result);
} nccl;

struct backend_ranks {
    nccl_group comm;
    int n;
};

// ---- the library

static bool find(void *library, const char *name) {
    const struct {
        const char *name;
        void *to;
    } list[] = {{"ncclGetUniqueId", &nccl.id},    {"ncclCommInitRank", &nccl.join},
                {"ncclCommDestroy", &nccl.leave}, {"ncclAllReduce", &nccl.reduce},
                {"ncclAllGather", &nccl.gather},  {"ncclGetErrorString", &nccl.message}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        void *symbol = dlsym(library, list[i].name);
        if (!symbol) {
            snprintf(nccl.why, sizeof nccl.why, "%s has no %s: it is not NCCL", name, list[i].name);
            return false;
        }
        memcpy(list[i].to, &symbol, sizeof symbol);
    }
    return true;
}

static void open_library(void) {
    const char *name = getenv("WORKBENCH_NCCL_LIBRARY");
    if (!name || !*name) name = "libnccl.so.2";
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library)
        nccl.ready = find(library, name);
    else
        snprintf(nccl.why, sizeof nccl.why,
                 "no NCCL here (%s); it comes with CUDA as libnccl2, WORKBENCH_NCCL_LIBRARY names "
                 "its file",
                 dlerror());
}

bool gpu_ranks_ready(char *message, size_t size) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (!nccl.opened) open_library();
    nccl.opened = true;
    pthread_mutex_unlock(&lock);
    if (!nccl.ready) snprintf(message, size, "%s", nccl.why);
    return nccl.ready;
}

// ---- joining

static bool is_fine(int result, const char *what, char *message, size_t size) {
    if (result != NCCL_SUCCESS) snprintf(message, size, "%s: %s", what, nccl.message(result));
    return result == NCCL_SUCCESS;
}

bool gpu_ranks_id(struct backend_ranks_id *out, char *message, size_t size) {
    struct nccl_id id;
    if (!gpu_ranks_ready(message, size) || !is_fine(nccl.id(&id), "ncclGetUniqueId", message, size))
        return false;
    memcpy(out, &id, sizeof id);
    return true;
}

struct backend_ranks *gpu_ranks_join(const struct backend_ranks_id *id, int rank, int n,
                                     char *message, size_t size) {
    struct backend_ranks *r = (struct backend_ranks *)calloc(1, sizeof *r);
    struct nccl_id all;
    memcpy(&all, id, sizeof all);
    snprintf(message, size, "out of memory");
    if (r && gpu_ranks_ready(message, size) &&
        is_fine(nccl.join(&r->comm, n, all, rank), "ncclCommInitRank", message, size)) {
        r->n = n;
        return r;
    }
    free(r);
    return 0;
}

void gpu_ranks_leave(struct backend_ranks *r) {
    if (r) nccl.leave(r->comm);
    free(r);
}

int gpu_ranks_n(const struct backend_ranks *r) { return r->n; }

// ---- what is enqueued

static void reduce(struct gpu *g, const struct gpu_outside *o) {
    const struct backend_ranks *r = (const struct backend_ranks *)o->ctx;
    const int result = nccl.reduce(o->from, o->to, o->to_bytes / sizeof(real), NCCL_FLOAT32,
                                   NCCL_SUM, r->comm, gpu_stream(g));
    if (result != NCCL_SUCCESS) gpu_fail(g, "ncclAllReduce: %s", nccl.message(result));
}

static void gather(struct gpu *g, const struct gpu_outside *o) {
    const struct backend_ranks *r = (const struct backend_ranks *)o->ctx;
    const int result = nccl.gather(o->from, o->to, o->from_bytes / sizeof(real), NCCL_FLOAT32,
                                   r->comm, gpu_stream(g));
    if (result != NCCL_SUCCESS) gpu_fail(g, "ncclAllGather: %s", nccl.message(result));
}

__global__ void share_kernel(buf<real> x, real share) { EACH(i, x.n) x[i] = x[i] * share; }

void gpu_ranks_mean(struct gpu *g, struct backend_ranks *r, buf<real> x) {
    const size_t bytes = (size_t)x.n * sizeof(real);
    const struct gpu_outside o = {"ncclAllReduce", reduce, r, x.at, bytes, x.at, bytes};
    gpu_outside(g, &o);
    LAUNCH(g, share_kernel, blocks_for(x.n), THREADS, x, (real)1 / (real)r->n);
}

buf<const real> gpu_ranks_gather(struct gpu *g, struct backend_ranks *r, buf<const real> x,
                                 buf<real> room) {
    const size_t bytes = (size_t)x.n * sizeof(real);
    const struct gpu_outside o = {"ncclAllGather",     gather, r, x.at, bytes, room.at,
                                  bytes * (size_t)r->n};
    gpu_outside(g, &o);
    return buf_make((const real *)room.at, x.n * r->n);
}
