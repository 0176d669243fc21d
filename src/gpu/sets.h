// Parameter sets on the device: one copy each, shared by all graphs and programs that know the set.
//
//     struct device_set *s = sets_take(g, params, true);    // NULL: g->message says why
//     sets_reads(g, s); ... launches that read s->weights ...; sets_has_read(g, s);
//     sets_give(g, s);
//
// A set is known by the address of its struct params. Who truth is with: `resident` false: the
// host's values count and are uploaded before use; true: the device's do (a program changes them).
//
// Order between streams: sets_reads and sets_writes make g's stream wait for what others have done
// to the set, sets_has_read and sets_has_written let others wait for g.
#ifndef GPU_SETS_H
#define GPU_SETS_H

#include "gpu/gpu.h"

struct device_set {
    const struct params *params;
    int users;
    size_t bytes;                              // of each buffer
    real *weights, *grads, *moment1, *moment2; // NULL but weights: nobody wanted them yet
    bool resident;
    struct gpu_event *written, *read;
    struct device_set *next;
};

// Takes it once more; gradients, moments: those buffers are needed.
struct device_set *sets_take(struct gpu *g, const struct params *params, bool gradients,
                             bool moments);
void sets_give(struct gpu_device *d, struct device_set *s); // the last one frees it; NULL is fine
struct device_set *sets_find(const struct params *params);  // NULL: on no device

bool sets_reads(struct gpu *g, struct device_set *s);
bool sets_has_read(struct gpu *g, struct device_set *s);
bool sets_writes(struct gpu *g, struct device_set *s);
bool sets_has_written(struct gpu *g, struct device_set *s);

#endif
