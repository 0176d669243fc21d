// Parameter set: all weights of a model in one flat buffer, their gradients and Adam's moments in
// three more.
//
//     struct params p;
//     params_init(&p);
//     params_add(&p, "rssm.recurrent_model.rnn.linear.weight", 2, (int64_t[]){384, 256});
//     params_allocate(&p); // when all are there
//
// The optimiser is one pass, clipping one reduction, a checkpoint a few named slices. Names are
// sheeprl's state-dict names (spec/dreamer_v3.md Appendix B). Each slice starts on a 64-byte
// boundary; padding stays zero.
#ifndef GRAPH_PARAMS_H
#define GRAPH_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"

enum { PARAM_MAX_DIMS = 4, PARAM_NAME_SIZE = 128 };

struct param {
    char name[PARAM_NAME_SIZE];
    int n_dims;
    int64_t shape[PARAM_MAX_DIMS];
    int64_t n_elements;
    int64_t offset; // in elements, into the flat buffers
};

struct params {
    struct param *list;
    int n, capacity;
    int64_t n_flat;                            // elements of a flat buffer, padding included
    int64_t n_weights;                         // without padding: the parameter count people quote
    real *weights, *grads, *moment1, *moment2; // [n_flat]; allocated by params_allocate
};

void params_init(struct params *p);
int params_add(struct params *p, const char *name, int n_dims,
               const int64_t *shape);   // index; CHECKs for duplicates
void params_allocate(struct params *p); // once, zeroed
// Another set with the same names and offsets and weights of its own, for a reader beside the
// optimiser; no gradients, no moments. params_copy_weights brings it up to date; both sets come
// from the same registration (CHECK).
void params_copy_init(struct params *copy, const struct params *of);
void params_copy_weights(struct params *copy, const struct params *of);
void params_deinit(struct params *p);
const struct param *params_find(const struct params *p, const char *name); // NULL if absent
static inline real *params_weights(const struct params *p, const struct param *q) {
    return p->weights + q->offset;
}
static inline real *params_grads(const struct params *p, const struct param *q) {
    return p->grads + q->offset;
}

#endif
