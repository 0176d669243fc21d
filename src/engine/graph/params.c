// Parameter set: registration, allocation and lookup.
#include "engine/graph/params.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum { ALIGN_ELEMENTS = 64 / sizeof(real) };

void params_init(struct params *p) { *p = (struct params){0}; }

int params_add(struct params *p, const char *name, int n_dims, const int64_t *shape) {
    CHECK(!p->weights, "%s: parameters are added before params_allocate", name);
    CHECK(strlen(name) < PARAM_NAME_SIZE, "%s: the name is too long", name);
    CHECK(n_dims >= 1 && n_dims <= PARAM_MAX_DIMS, "%s: %d dimensions", name, n_dims);
    CHECK(!params_find(p, name), "%s: added twice", name);
    if (p->n == p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 64;
        p->list = mem_resize(p->list, (size_t)p->capacity * sizeof *p->list);
    }
    struct param *q = &p->list[p->n];
    *q = (struct param){.n_dims = n_dims, .n_elements = 1, .offset = p->n_flat};
    memcpy(q->name, name, strlen(name) + 1);
    for (int i = 0; i < n_dims; i++) {
        CHECK(shape[i] > 0, "%s: dimension %d is %lld", name, i, (long long)shape[i]);
        q->shape[i] = shape[i];
        q->n_elements *= shape[i];
    }
    p->n_weights += q->n_elements;
    p->n_flat += (q->n_elements + ALIGN_ELEMENTS - 1) / ALIGN_ELEMENTS * ALIGN_ELEMENTS;
    return p->n++;
}

static size_t flat_bytes(const struct params *p) { return (size_t)p->n_flat * sizeof(real); }

void params_allocate(struct params *p) {
    CHECK(!p->weights, "parameters are allocated once");
    p->weights = mem_slab_alloc(flat_bytes(p));
    p->grads = mem_slab_alloc(flat_bytes(p));
    p->moment1 = mem_slab_alloc(flat_bytes(p));
    p->moment2 = mem_slab_alloc(flat_bytes(p));
}

void params_copy_init(struct params *copy, const struct params *of) {
    *copy = *of;
    copy->capacity = of->n;
    copy->list = mem_alloc((size_t)of->n * sizeof *copy->list);
    memcpy(copy->list, of->list, (size_t)of->n * sizeof *copy->list);
    copy->weights = mem_slab_alloc(flat_bytes(of));
    copy->grads = copy->moment1 = copy->moment2 = NULL;
    params_copy_weights(copy, of);
}

void params_copy_weights(struct params *copy, const struct params *of) {
    CHECK(copy->n == of->n && copy->n_flat == of->n_flat, "weights of another parameter set");
    memcpy(copy->weights, of->weights, flat_bytes(of));
}

void params_deinit(struct params *p) {
    mem_slab_free(p->weights, flat_bytes(p));
    mem_slab_free(p->grads, flat_bytes(p));
    mem_slab_free(p->moment1, flat_bytes(p));
    mem_slab_free(p->moment2, flat_bytes(p));
    free(p->list);
    *p = (struct params){0};
}

const struct param *params_find(const struct params *p, const char *name) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->list[i].name, name) == 0) return &p->list[i];
    return NULL;
}
