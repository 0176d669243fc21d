// The op table: one row per kind of node.
#include "engine/graph/ops.h"

#define FORWARD(name, min, max)                                                                    \
    { #name, min, max, name##_shape, NULL, name##_run, 0, 0, false, 0 }
#define DIFFERENTIABLE(name, min, max, no_grad)                                                    \
    { #name, min, max, name##_shape, name##_grad, name##_run, no_grad, 0, false, 0 }
#define BACKWARD(name, run)                                                                        \
    { name, 0, -1, NULL, NULL, run, 0, 0, false, 0 }
// The same, each row of the result from one row of the sources in the mask `rows`.
#define FORWARD_BY_ROW(name, min, max, rows)                                                       \
    { #name, min, max, name##_shape, NULL, name##_run, 0, 0, false, rows }
#define DIFFERENTIABLE_BY_ROW(name, min, max, no_grad, rows)                                       \
    { #name, min, max, name##_shape, name##_grad, name##_run, no_grad, 0, false, rows }
#define SOURCE(i) (1u << (i))
#define IN_PLACE_OF(i) ((i) + 1)

const struct op op_table[N_OPS] = {
    [OP_RESHAPE] = {"reshape", 1, 1, reshape_shape, view_grad, NULL, 0, 0, false, 0},
    [OP_SLICE] = {"slice", 1, 1, slice_shape, view_grad, NULL, 0, 0, false, 0},
    [OP_STACK] = {"stack", 1, -1, stack_shape, view_grad, NULL, 0, 0, false, 0},
    [OP_STOP_GRADIENT] = {"stop_gradient", 1, 1, reshape_shape, NULL, NULL, 0, 0, false, 0},
    [OP_COPY] = BACKWARD("copy", copy_run),
    [OP_FILL] = BACKWARD("fill", fill_run),

    [OP_UNPACK2] = {"unpack2", 1, 1, unpack2_shape, NULL, unpack2_run, 0, 0, true, 0},
    [OP_CONV] = DIFFERENTIABLE(conv, 3, 3, SOURCE(2)),
    [OP_CONV_DX] = BACKWARD("conv_dx", conv_up_run),
    [OP_DECONV] = DIFFERENTIABLE(deconv, 2, 4, SOURCE(3)),
    [OP_DECONV_DX] = BACKWARD("deconv_dx", conv_down_run),
    [OP_CONV_DW] = BACKWARD("conv_dw", conv_weight_run),
    [OP_CONV_PACK_DOWN] = BACKWARD("conv_pack", conv_pack_down_run),
    [OP_CONV_PACK_UP] = BACKWARD("conv_pack_up", conv_pack_up_run),
    [OP_HWC_TO_CHW] = DIFFERENTIABLE(hwc_to_chw, 1, 1, 0),
    [OP_CHW_TO_HWC] = DIFFERENTIABLE(chw_to_hwc, 1, 1, 0),
    [OP_HWC_TO_CHW_DX] = BACKWARD("hwc_to_chw_dx", chw_to_hwc_run),
    [OP_CHW_TO_HWC_DX] = BACKWARD("chw_to_hwc_dx", hwc_to_chw_run),

    [OP_PACK] = BACKWARD("pack", pack_run),
    [OP_LINEAR] = DIFFERENTIABLE_BY_ROW(linear, 2, 6, SOURCE(4) | SOURCE(5),
                                        SOURCE(0) | SOURCE(3) | SOURCE(5)),
    [OP_ONES] = {"ones", 0, -1, NULL, NULL, ones_run, 0, 0, false, SOURCE(0)},
    [OP_LINEAR_SCATTER] = BACKWARD("linear_scatter", linear_scatter_run),
    [OP_LINEAR_DX] = BACKWARD("linear_dx", linear_dx_run),
    [OP_LINEAR_DW] = BACKWARD("linear_dw", linear_dw_run),
    [OP_COLUMN_SUM] = BACKWARD("column_sum", column_sum_run),
    [OP_LAYER_NORM] = {"layer_norm", 2, 3, layer_norm_shape, layer_norm_grad, layer_norm_run, 0,
                       IN_PLACE_OF(0), true, SOURCE(0)},
    [OP_LAYER_NORM_DX] = {"layer_norm_dx", 0, -1, NULL, NULL, layer_norm_dx_run, 0, IN_PLACE_OF(3),
                          false, 0},

    [OP_BLOCK_PACK] = BACKWARD("block_pack", block_pack_run),
    [OP_BLOCK_LINEAR] = DIFFERENTIABLE(block_linear, 2, 5, SOURCE(4)),
    [OP_BLOCK_LINEAR_DX] = BACKWARD("block_linear_dx", block_linear_dx_run),
    [OP_BLOCK_LINEAR_DW] = BACKWARD("block_linear_dw", block_linear_dw_run),

    [OP_GRU_GATES] = DIFFERENTIABLE_BY_ROW(gru_gates, 2, 2, 0, SOURCE(0) | SOURCE(1)),
    [OP_GRU_GATES_DX] = BACKWARD("gru_gates_dx", gru_gates_dx_run),
    [OP_BLEND] = DIFFERENTIABLE_BY_ROW(blend, 2, 3, SOURCE(0), SOURCE(0) | SOURCE(1) | SOURCE(2)),
    [OP_BLEND_DX] = BACKWARD("blend_dx", blend_dx_run),
    [OP_UNIMIX] = DIFFERENTIABLE_BY_ROW(unimix, 1, 1, 0, SOURCE(0)),
    [OP_UNIMIX_DX] = BACKWARD("unimix_dx", unimix_dx_run),
    [OP_SAMPLE] = DIFFERENTIABLE_BY_ROW(sample, 2, 2, SOURCE(1), SOURCE(0) | SOURCE(1)),
    [OP_MODE] = FORWARD_BY_ROW(mode, 1, 1, SOURCE(0)),
    [OP_LOG_CLAMPED] = FORWARD(log_clamped, 1, 1),

    [OP_SQUARE_ERROR] = DIFFERENTIABLE(square_error, 2, 2, SOURCE(1)),
    [OP_SQUARE_ERROR_DX] = BACKWARD("square_error_dx", square_error_dx_run),
    [OP_TWOHOT_NLL] = DIFFERENTIABLE(twohot_nll, 3, 3, SOURCE(1) | SOURCE(2)),
    [OP_TWOHOT_NLL_DX] = BACKWARD("twohot_nll_dx", twohot_nll_dx_run),
    [OP_TWOHOT_MEAN] = DIFFERENTIABLE(twohot_mean, 2, 2, SOURCE(1)),
    [OP_TWOHOT_MEAN_DX] = BACKWARD("twohot_mean_dx", twohot_mean_dx_run),
    [OP_BCE] = DIFFERENTIABLE(bce, 2, 2, SOURCE(1)),
    [OP_BCE_DX] = BACKWARD("bce_dx", bce_dx_run),
    [OP_KL] = FORWARD(kl, 2, 2),
    [OP_KL_BALANCED] = DIFFERENTIABLE(kl_balanced, 2, 2, 0),
    [OP_KL_BALANCED_DX] = BACKWARD("kl_balanced_dx", kl_balanced_dx_run),
    [OP_ENTROPY] = DIFFERENTIABLE(entropy, 1, 1, 0),
    [OP_ENTROPY_DX] = BACKWARD("entropy_dx", entropy_dx_run),
    [OP_LOG_PROB] = DIFFERENTIABLE(log_prob, 2, 2, SOURCE(1)),
    [OP_LOG_PROB_DX] = BACKWARD("log_prob_dx", log_prob_dx_run),
    [OP_QUANTILES] = FORWARD(quantiles, 1, 1),
    [OP_NORMALIZE] = DIFFERENTIABLE(normalize, 2, 2, SOURCE(1)),
    [OP_NORMALIZE_DX] = BACKWARD("normalize_dx", normalize_dx_run),

    [OP_COLUMNS] = DIFFERENTIABLE(columns, 1, 1, 0),
    [OP_COLUMNS_DX] = BACKWARD("columns_dx", columns_dx_run),
    [OP_LIMIT] = DIFFERENTIABLE(limit, 1, 1, 0),
    [OP_LIMIT_DX] = BACKWARD("limit_dx", limit_dx_run),
    [OP_NORMAL_ENTROPY] = DIFFERENTIABLE(normal_entropy, 1, 1, 0),
    [OP_NORMAL_ENTROPY_DX] = BACKWARD("normal_entropy_dx", normal_entropy_dx_run),

    [OP_ADD] = DIFFERENTIABLE(add, 2, 2, 0),
    [OP_AFFINE] = DIFFERENTIABLE(affine, 1, 1, 0),
    [OP_AFFINE_DX] = BACKWARD("affine_dx", affine_dx_run),
    [OP_MUL] = DIFFERENTIABLE(mul, 2, 2, 0),
    [OP_MUL_DX] = BACKWARD("mul_dx", mul_dx_run),
    [OP_TANH] = DIFFERENTIABLE(tanh, 1, 1, 0),
    [OP_TANH_DX] = BACKWARD("tanh_dx", tanh_dx_run),
    [OP_SIGMOID] = DIFFERENTIABLE(sigmoid, 1, 1, 0),
    [OP_SIGMOID_DX] = BACKWARD("sigmoid_dx", sigmoid_dx_run),
    [OP_SYMLOG] = DIFFERENTIABLE(symlog, 1, 1, 0),
    [OP_SYMLOG_DX] = BACKWARD("symlog_dx", symlog_dx_run),
    [OP_LESS] = FORWARD(less, 1, 1),
    [OP_MEAN] = DIFFERENTIABLE(mean, 1, 1, 0),
    [OP_MEAN_DX] = BACKWARD("mean_dx", mean_dx_run),

    [OP_CONV_VALID] = DIFFERENTIABLE(conv_valid, 4, 4, SOURCE(3)),
    [OP_CONV_VALID_DX] = BACKWARD("conv_valid_dx", conv_valid_dx_run),
    [OP_CONV_VALID_DW] = BACKWARD("conv_valid_dw", conv_valid_dw_run),
    [OP_PATCH_PACK] = BACKWARD("patch_pack", patch_pack_run),
    [OP_PATCH_PACK_DX] = BACKWARD("patch_pack_dx", patch_pack_dx_run),
    [OP_RELU] = DIFFERENTIABLE(relu, 1, 1, 0),
    [OP_RELU_DX] = BACKWARD("relu_dx", relu_dx_run),
    [OP_UNPACK_STACK] = FORWARD(unpack_stack, 1, 1),
    [OP_PPO_LOSS] = DIFFERENTIABLE(ppo_loss, 6, 7, ~3u),
    [OP_PPO_LOSS_DX] = BACKWARD("ppo_loss_dx", ppo_loss_dx_run),
};
