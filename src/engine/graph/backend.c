// Backends: opening the device library and the process's choice.
#define _GNU_SOURCE
#include "engine/graph/backend.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/graph/node.h"

#define LIBRARY "libworkbench_cuda.so"

static _Atomic(const struct backend *) chosen;

void backend_choose(const struct backend *b) {
    atomic_store_explicit(&chosen, b, memory_order_release);
}

const struct backend *backend_chosen(void) {
    return atomic_load_explicit(&chosen, memory_order_acquire);
}

// ---- the library

static struct backend_layout layout_here(void) {
    return (struct backend_layout){BACKEND_VERSION,       N_OPS,
                                   sizeof(struct graph),  sizeof(struct node),
                                   sizeof(struct tensor), sizeof(struct root),
                                   sizeof(struct params), sizeof(real)};
}

// Beside the program, else under ../lib of it (make install).
static void find_library(char *path, size_t size) {
    char program[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = 0;
    char *slash = strrchr(program, '/');
    if (slash) *slash = 0;
    snprintf(path, size, "%s/" LIBRARY, program);
    if (access(path, R_OK) != 0) snprintf(path, size, "%s/../lib/" LIBRARY, program);
}

// cuBLAS is hundreds of megabytes: not opened where the driver's own library is missing.
static bool has_driver(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver) dlclose(driver);
    return driver != NULL;
}

static const struct backend *load(const char *path, char *why, size_t size) {
    char found[PATH_MAX + 64];
    const char *named = path ? path : getenv("WORKBENCH_CUDA_LIBRARY");
    if (named)
        snprintf(found, sizeof found, "%s", named);
    else
        find_library(found, sizeof found);
    if (access(found, R_OK) != 0) {
        snprintf(why, size, "no " LIBRARY " here (%s); make CUDA=1 builds it", found);
        return NULL;
    }
    if (!named && !has_driver()) {
        snprintf(why, size, "no CUDA device (the driver's libcuda.so.1 is not installed)");
        return NULL;
    }
    void *library = dlopen(found, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(why, size, "%s", dlerror());
        return NULL;
    }
    backend_entry *entry;
    void *symbol = dlsym(library, BACKEND_SYMBOL);
    memcpy(&entry, &symbol, sizeof entry);
    const struct backend *b = symbol ? entry() : NULL;
    const struct backend_layout here = layout_here();
    if (!b || memcmp(&b->layout, &here, sizeof here) != 0) {
        snprintf(why, size, "%s was built from another version; run make again", found);
        return NULL;
    }
    char text[BACKEND_MESSAGE_SIZE];
    if (b->probe(text, sizeof text)) return b;
    snprintf(why, size, "%s", text);
    return NULL;
}

const struct backend *backend_open(const char *path, char *why, size_t size) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct backend *opened; // the default library's
    if (path) return load(path, why, size);
    pthread_mutex_lock(&lock);
    if (!opened) opened = load(NULL, why, size);
    pthread_mutex_unlock(&lock);
    return opened;
}
