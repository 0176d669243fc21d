// A graph on the device: where its tensors lie, and enqueuing its nodes.
#ifndef GPU_PLACED_H
#define GPU_PLACED_H

#include "gpu/gpu.h"
#include "gpu/chain.h"
#include "gpu/sets.h"

struct mirror { // a range of the host and its place on the device
    const char *host;
    size_t bytes;
    void *device;
};

struct placed_set {
    struct device_set *on;
    bool gradients; // this graph makes them
};

struct backend_graph {
    struct gpu gpu; // the stream on which it runs alone; programs have their own
    const struct graph *g;
    struct mirror slab;
    struct mirror *inputs;
    struct placed_set *sets;
    int n_inputs, n_sets;
    struct gpu_args *args; // by node index
    struct chain_plan *chains;
    int64_t copies;
};

// Where a tensor lies on the device, NULL where it has no place (nobody uses it).
void *placed_address(const struct backend_graph *b, const struct tensor *t);
size_t placed_bytes(const struct tensor *t);
// On g's stream, with g's workspace, which must hold b->gpu.workspace_bytes.
bool placed_clear(struct backend_graph *b, struct gpu *g); // gradients, as the plan says
bool placed_run(struct backend_graph *b, struct gpu *g);   // all nodes

#endif
