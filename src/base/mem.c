// Heap memory whose failure ends the program, and aligned slabs on huge pages.
#define _GNU_SOURCE
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

enum { SLAB_MAP_BYTES = 1 << 20, HUGE_PAGE_BYTES = 2 << 20 };

void *mem_alloc(size_t bytes) {
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) out_of_memory(bytes);
    return p;
}

void *mem_resize(void *p, size_t bytes) {
    p = realloc(p, bytes ? bytes : 1);
    if (!p) out_of_memory(bytes);
    return p;
}

char *mem_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    return memcpy(mem_alloc(n), s, n);
}

void *mem_slab_alloc(size_t bytes) {
    void *p = NULL;
    if (bytes == 0) bytes = 1;
    if (bytes < SLAB_MAP_BYTES) {
        if (posix_memalign(&p, 64, bytes) != 0) out_of_memory(bytes);
        return memset(p, 0, bytes);
    }
    // A mapping is zero already and costs memory only where it is touched.
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
             0);
    if (p == MAP_FAILED) out_of_memory(bytes);
    if (bytes >= HUGE_PAGE_BYTES) madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void mem_slab_free(void *p, size_t bytes) {
    if (!p) return;
    if (bytes < SLAB_MAP_BYTES)
        free(p);
    else
        munmap(p, bytes);
}
