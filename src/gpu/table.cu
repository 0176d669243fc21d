// The table of the device library: kind of node -> launcher and workspace.
#include "gpu/launchers.h"

#define ROW(kind, name)                                                                            \
    case kind: {                                                                                   \
        static const struct gpu_op op = {gpu_##name, 0};                                           \
        return &op;                                                                                \
    }
#define ROW_WORKSPACE(kind, name)                                                                  \
    case kind: {                                                                                   \
        static const struct gpu_op op = {gpu_##name, gpu_##name##_workspace};                      \
        return &op;                                                                                \
    }

const struct gpu_op *gpu_op_of(enum op_kind kind) {
    switch (kind) {
        GPU_OPS(ROW, ROW_WORKSPACE)
    default:
        return 0; // views: nothing runs
    }
}
