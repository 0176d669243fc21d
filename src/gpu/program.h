// Programs of the device library: lists of commands that repeat without the host (graph/backend.h
// is the manual of each function).
#ifndef GPU_PROGRAM_H
#define GPU_PROGRAM_H

#include "gpu/gpu.h"

struct backend_program *gpu_program_new(const struct backend_command *list, int n, char *message,
                                        size_t size);
void gpu_program_free(struct backend_program *p);
bool gpu_program_store(struct backend_program *p, int64_t step);
bool gpu_program_launch(struct backend_program *p);
bool gpu_program_seek(struct backend_program *p, int64_t step, bool anew);
bool gpu_program_scale_rates(struct backend_program *p, double factor);
bool gpu_program_read(struct backend_program *p, struct backend_progress *out);
bool gpu_program_fetch(struct backend_program *p);
bool gpu_program_items(struct backend_program *p, int passes, backend_item_fn *each, void *ctx);
int64_t gpu_program_graph_nodes(const struct backend_program *p);
double gpu_program_ms(struct backend_program *p);
const char *gpu_program_message(const struct backend_program *p);
bool gpu_program_copy_weights(const struct params *to, const struct params *from);

#endif
