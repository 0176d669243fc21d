// Ranks of the device library: sums and gathered numbers of several GPUs over NCCL.
//
//     struct backend_ranks *r = gpu_ranks_join(&id, rank, n, why, sizeof why);
//     gpu_ranks_mean(g, r, grads);                       // enqueued in g's stream, can be captured
//     all = gpu_ranks_gather(g, r, x, room);             // [ranks][x.n], rank after rank
//     gpu_ranks_leave(r);
//
// One process a GPU. NCCL (libnccl.so.2, or what WORKBENCH_NCCL_LIBRARY names) is opened at run
// time by its documented functions; its header is not needed to build. All ranks enqueue the same
// calls in the same order. Errors: the struct gpu's first one.
#ifndef GPU_RANKS_H
#define GPU_RANKS_H

#include "gpu/gpu.h"

bool gpu_ranks_ready(char *message, size_t size);
bool gpu_ranks_id(struct backend_ranks_id *out, char *message, size_t size);
struct backend_ranks *gpu_ranks_join(const struct backend_ranks_id *id, int rank, int n,
                                     char *message, size_t size);
void gpu_ranks_leave(struct backend_ranks *r); // NULL is fine
int gpu_ranks_n(const struct backend_ranks *r);

// Every element becomes the sum over the ranks, in NCCL's order, times 1 / ranks.
void gpu_ranks_mean(struct gpu *g, struct backend_ranks *r, buf<real> x);
// Into `room` [ranks * x.n]; returns it.
buf<const real> gpu_ranks_gather(struct gpu *g, struct backend_ranks *r, buf<const real> x,
                                 buf<real> room);

#endif
