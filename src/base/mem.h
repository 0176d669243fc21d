// Heap memory: failure ends the program with one line (error.h), so callers need no checks; slabs
// are 64-byte aligned and zeroed.
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t bytes);           // zeroed; free with free()
void *mem_resize(void *p, size_t bytes); // like realloc; new bytes are not zeroed
char *mem_strdup(const char *s);
void *mem_slab_alloc(
    size_t bytes); // zeroed, 64-byte aligned, huge pages where large; free with mem_slab_free
void mem_slab_free(void *p, size_t bytes); // the same `bytes` as at allocation; NULL is fine

#endif
