// Products and convolutions on operands rounded to bf16, for one instruction set: compiled once for
// each, with -DKERNELS_ISA=<name>.
#include "engine/graph/kernels.h"
#include "engine/graph/kernels_name.h"

#include <string.h>

#define KERNELS_TABLE JOIN(kernels_bf16_, KERNELS_ISA)

#define KERNELS_BF16
#include "engine/graph/kernels_vec.h"

extern const struct kernels KERNELS_TABLE;

#if REAL_BYTES == 4

#include "engine/graph/kernels_gemm.h"
#include "engine/graph/kernels_conv_weight.h"

const struct kernels KERNELS_TABLE = {
    .name = TEXT(KERNELS_ISA),
    .gemm_pack = gemm_pack,
    .gemm = gemm,
    .conv_pack_down = conv_pack_down,
    .conv_pack_up = conv_pack_up,
    .conv_down = conv_down,
    .conv_up = conv_up,
    .conv_weight = conv_weight,
    .conv_weight_reduce = conv_weight_reduce,
};

#else

const struct kernels KERNELS_TABLE = {.name = TEXT(KERNELS_ISA)};

#endif
