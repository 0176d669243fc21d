// The harness's memory, for tests: how much is taken, and its end. Nothing of the kind on a GPU.
#ifndef TESTS_GPU_HARNESS_MEMORY_H
#define TESTS_GPU_HARNESS_MEMORY_H

#include <dlfcn.h>

#include "gpu/which.h"

// The harness must be in use (parity_backend, or a run on it).
static inline void *harness_symbol(const char *name) {
    void *library = dlopen(harness_path("harness"), RTLD_LAZY | RTLD_NOLOAD);
    void *symbol = library ? dlsym(library, name) : NULL;
    if (!symbol) fail_msg("the harness has no %s", name);
    dlclose(library); // it stays open: it was
    return symbol;
}

// Streams, blocks of memory, events and timers that are taken and not given back.
static inline __attribute__((unused)) int64_t memory_taken(void) {
    int64_t (*taken)(void);
    *(void **)&taken = harness_symbol("harness_taken");
    return taken();
}

// So many blocks can be taken from now on, of the device's memory or pinned; -1: no end.
static inline __attribute__((unused)) void memory_left(int64_t n_blocks) {
    void (*left)(int64_t);
    *(void **)&left = harness_symbol("harness_memory_left");
    left(n_blocks);
}

#endif
