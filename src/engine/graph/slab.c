// Memory that several graphs use in turn.
#include <stdlib.h>

#include "base/mem.h"
#include "engine/graph/node.h"

struct slab {
    struct block {
        char *memory;
        size_t bytes;
    } * blocks; // each larger than the one before; new graphs take the last
    int n;
};

struct slab *slab_new(void) {
    return mem_alloc(sizeof(struct slab));
}

void slab_free(struct slab *s) {
    if (!s) return;
    for (int i = 0; i < s->n; i++) mem_slab_free(s->blocks[i].memory, s->blocks[i].bytes);
    free(s->blocks);
    free(s);
}

size_t slab_bytes(const struct slab *s) {
    size_t bytes = 0;
    for (int i = 0; i < s->n; i++) bytes += s->blocks[i].bytes;
    return bytes;
}

char *slab_take(struct slab *s, size_t bytes) {
    if (s->n == 0 || s->blocks[s->n - 1].bytes < bytes) {
        s->blocks = mem_resize(s->blocks, (size_t)(s->n + 1) * sizeof *s->blocks);
        s->blocks[s->n++] = (struct block){mem_slab_alloc(bytes), bytes};
    }
    return s->blocks[s->n - 1].memory;
}
