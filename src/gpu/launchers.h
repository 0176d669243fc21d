// The launchers behind the table of the device library, by file. One row per kind of node that
// runs: X(kind, launcher, workspace).
#ifndef GPU_LAUNCHERS_H
#define GPU_LAUNCHERS_H

#include "gpu/gpu.h"

#define GPU_OPS(X, X_WORKSPACE)                                                                    \
    /* elementwise.cu */                                                                           \
    X(OP_COPY, copy)                                                                               \
    X(OP_FILL, fill)                                                                               \
    X(OP_ADD, add)                                                                                 \
    X(OP_AFFINE, affine)                                                                           \
    X(OP_AFFINE_DX, affine_dx)                                                                     \
    X(OP_MUL, mul)                                                                                 \
    X(OP_MUL_DX, mul)                                                                              \
    X(OP_TANH, tanh)                                                                               \
    X(OP_TANH_DX, tanh_dx)                                                                         \
    X(OP_SIGMOID, sigmoid)                                                                         \
    X(OP_SIGMOID_DX, sigmoid_dx)                                                                   \
    X(OP_SYMLOG, symlog)                                                                           \
    X(OP_SYMLOG_DX, symlog_dx)                                                                     \
    X(OP_RELU, relu)                                                                               \
    X(OP_RELU_DX, relu_dx)                                                                         \
    X(OP_LESS, less)                                                                               \
    X(OP_LOG_CLAMPED, log_clamped)                                                                 \
    X(OP_BCE, bce)                                                                                 \
    X(OP_BCE_DX, bce_dx)                                                                           \
    X(OP_MEAN_DX, mean_dx)                                                                         \
    X(OP_NORMALIZE, normalize)                                                                     \
    X(OP_NORMALIZE_DX, normalize_dx)                                                               \
    X(OP_COLUMNS, columns)                                                                         \
    X(OP_COLUMNS_DX, columns_dx)                                                                   \
    X(OP_LIMIT, limit)                                                                             \
    X(OP_LIMIT_DX, limit_dx)                                                                       \
    X(OP_NORMAL_ENTROPY, normal_entropy)                                                           \
    X(OP_NORMAL_ENTROPY_DX, normal_entropy_dx)                                                     \
    /* reduce.cu */                                                                                \
    X_WORKSPACE(OP_MEAN, mean)                                                                     \
    X_WORKSPACE(OP_COLUMN_SUM, column_sum)                                                         \
    X(OP_QUANTILES, quantiles)                                                                     \
    /* image.cu */                                                                                 \
    X(OP_UNPACK2, unpack2)                                                                         \
    X(OP_UNPACK_STACK, unpack_stack)                                                               \
    X(OP_HWC_TO_CHW, hwc_to_chw)                                                                   \
    X(OP_CHW_TO_HWC_DX, hwc_to_chw)                                                                \
    X(OP_CHW_TO_HWC, chw_to_hwc)                                                                   \
    X(OP_HWC_TO_CHW_DX, chw_to_hwc)                                                                \
    /* conv.cu */                                                                                  \
    X(OP_CONV_PACK_DOWN, conv_pack_down)                                                           \
    X(OP_CONV_PACK_UP, conv_pack_up)                                                               \
    X_WORKSPACE(OP_CONV, conv_down)                                                                \
    X_WORKSPACE(OP_DECONV_DX, conv_down)                                                           \
    X_WORKSPACE(OP_CONV_DX, conv_up)                                                               \
    X_WORKSPACE(OP_DECONV, conv_up)                                                                \
    X_WORKSPACE(OP_CONV_DW, conv_dw)                                                               \
    X(OP_PATCH_PACK, patch_pack)                                                                   \
    X(OP_PATCH_PACK_DX, patch_pack_dx)                                                             \
    X_WORKSPACE(OP_CONV_VALID, patch_forward)                                                      \
    X_WORKSPACE(OP_CONV_VALID_DX, patch_dx)                                                        \
    X_WORKSPACE(OP_CONV_VALID_DW, patch_dw)                                                        \
    /* linear.cu */                                                                                \
    X(OP_PACK, pack)                                                                               \
    X(OP_ONES, ones)                                                                               \
    X(OP_LINEAR, linear)                                                                           \
    X(OP_LINEAR_DX, linear_dx)                                                                     \
    X(OP_LINEAR_DW, linear_dw)                                                                     \
    X(OP_LINEAR_SCATTER, linear_dw)                                                                \
    X(OP_BLOCK_PACK, block_pack)                                                                   \
    X(OP_BLOCK_LINEAR, block_linear)                                                               \
    X(OP_BLOCK_LINEAR_DX, block_linear_dx)                                                         \
    X(OP_BLOCK_LINEAR_DW, block_linear_dw)                                                         \
    /* norm.cu */                                                                                  \
    X(OP_LAYER_NORM, layer_norm)                                                                   \
    X_WORKSPACE(OP_LAYER_NORM_DX, layer_norm_dx)                                                   \
    /* rssm.cu */                                                                                  \
    X(OP_GRU_GATES, gru_gates)                                                                     \
    X(OP_GRU_GATES_DX, gru_gates_dx)                                                               \
    X(OP_BLEND, blend)                                                                             \
    X(OP_BLEND_DX, blend_dx)                                                                       \
    /* categorical.cu */                                                                           \
    X(OP_UNIMIX, unimix)                                                                           \
    X(OP_UNIMIX_DX, unimix_dx)                                                                     \
    X(OP_SAMPLE, sample)                                                                           \
    X(OP_MODE, mode)                                                                               \
    X(OP_KL, kl)                                                                                   \
    X(OP_KL_BALANCED, kl)                                                                          \
    X(OP_KL_BALANCED_DX, kl_balanced_dx)                                                           \
    X(OP_ENTROPY, entropy)                                                                         \
    X(OP_ENTROPY_DX, entropy_dx)                                                                   \
    X(OP_LOG_PROB, log_prob)                                                                       \
    X(OP_LOG_PROB_DX, log_prob_dx)                                                                 \
    /* loss.cu */                                                                                  \
    X(OP_SQUARE_ERROR, square_error)                                                               \
    X(OP_SQUARE_ERROR_DX, square_error_dx)                                                         \
    X(OP_TWOHOT_NLL, twohot_nll)                                                                   \
    X(OP_TWOHOT_NLL_DX, twohot_nll_dx)                                                             \
    X(OP_TWOHOT_MEAN, twohot_mean)                                                                 \
    X(OP_TWOHOT_MEAN_DX, twohot_mean_dx)                                                           \
    X(OP_PPO_LOSS, ppo_loss)                                                                       \
    X(OP_PPO_LOSS_DX, ppo_loss_dx)

#define GPU_DECLARE(kind, name) void gpu_##name(struct gpu *g, const struct gpu_args *a);
#define GPU_DECLARE_WORKSPACE(kind, name)                                                          \
    GPU_DECLARE(kind, name)                                                                        \
    size_t gpu_##name##_workspace(const struct node *n);
GPU_OPS(GPU_DECLARE, GPU_DECLARE_WORKSPACE)

#endif
