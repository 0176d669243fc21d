// Every numeric kernel for one instruction set: compiled once for each, with -DKERNELS_ISA=<name>.
#include "engine/graph/kernels.h"
#include "engine/graph/kernels_name.h"

#include <math.h>
#include <string.h>

#define KERNELS_TABLE JOIN(kernels_, KERNELS_ISA)

#include "engine/graph/kernels_vec.h"
#include "engine/graph/kernels_gemm.h"
#include "engine/graph/kernels_gather.h"
#include "engine/graph/kernels_conv_weight.h"
#include "engine/graph/kernels_norm.h"
#include "engine/graph/kernels_patch.h"
#include "engine/graph/kernels_optim.h"
#include "engine/graph/kernels_conv_tiles.h"
#include "engine/graph/kernels_rows.h"

extern const struct kernels KERNELS_TABLE;
const struct kernels KERNELS_TABLE = {
    .name = TEXT(KERNELS_ISA),
    .gemm_pack = gemm_pack,
    .gemm = gemm,
    .gemm_gather = gemm_gather,
    .scatter = scatter,
    .conv_pack_down = conv_pack_down_either,
    .conv_pack_up = conv_pack_up_either,
    .conv_down = conv_down_either,
    .conv_up = conv_up_either,
    .conv_weight = conv_weight_either,
    .conv_weight_reduce = conv_weight_reduce_either,
    .patch_pack = patch_pack,
    .patch_pack_dx = patch_pack_dx,
    .patch_forward = patch_forward,
    .patch_dx = patch_dx,
    .patch_dw = patch_dw,
    .patch_dw_reduce = patch_dw_reduce,
    .relu = relu_forward,
    .relu_dx = relu_backward,
    .norm_forward = norm_forward,
    .norm_backward = norm_backward,
    .norm_backward_reduce = norm_backward_reduce,
    .column_sum = column_sum,
    .column_sum_reduce = column_sum_reduce,
    .sum_squares = sum_squares,
    .adam = adam,
    .laprop = laprop,
    .rows = &kernels_rows_table,
};
