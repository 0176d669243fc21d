// The functions behind the op table: shape rules, gradient rules and CPU runs, by file.
#ifndef GRAPH_OPS_H
#define GRAPH_OPS_H

#include "engine/graph/node.h"
#include "engine/graph/rows.h"

#define OP_FORWARD(name)                                                                           \
    void name##_shape(struct node *n);                                                             \
    void name##_run(const struct run *r, const struct node *n);
#define OP_DIFFERENTIABLE(name)                                                                    \
    OP_FORWARD(name)                                                                               \
    void name##_grad(struct graph *g, struct node *n);
#define OP_BACKWARD(name) void name##_run(const struct run *r, const struct node *n);

// ops_view.c
void reshape_shape(struct node *n);
void slice_shape(struct node *n);
void stack_shape(struct node *n);
void view_grad(struct graph *g, struct node *n); // nothing: gradients of views share memory too
OP_BACKWARD(copy)
OP_BACKWARD(fill)
// ops_image.c
OP_FORWARD(unpack2)
OP_DIFFERENTIABLE(conv)
OP_DIFFERENTIABLE(deconv)
OP_BACKWARD(conv_down)
OP_BACKWARD(conv_up)
OP_BACKWARD(conv_weight)
OP_BACKWARD(conv_pack_down)
OP_BACKWARD(conv_pack_up)
OP_DIFFERENTIABLE(hwc_to_chw)
OP_DIFFERENTIABLE(chw_to_hwc)
// ops_linear.c
OP_BACKWARD(pack)
// [rows, in of w's columns] -> [rows, outputs], with bias and addend: sources 0 to 3 are x, w and
// those.
void product_shape(struct node *n, int64_t in);
OP_DIFFERENTIABLE(linear)
OP_BACKWARD(linear_dx)
OP_BACKWARD(linear_dw)
OP_BACKWARD(linear_scatter)
OP_BACKWARD(ones)
OP_BACKWARD(column_sum)
OP_DIFFERENTIABLE(layer_norm)
OP_BACKWARD(layer_norm_dx)
// ops_block.c
OP_BACKWARD(block_pack)
OP_DIFFERENTIABLE(block_linear)
OP_BACKWARD(block_linear_dx)
OP_BACKWARD(block_linear_dw)
// ops_rssm.c
OP_DIFFERENTIABLE(gru_gates)
OP_BACKWARD(gru_gates_dx)
void gru_gates_dx_rows(const struct run *r, const struct node *n, int64_t first, int64_t end);
OP_DIFFERENTIABLE(blend)
OP_BACKWARD(blend_dx)
OP_DIFFERENTIABLE(unimix)
OP_BACKWARD(unimix_dx)
OP_DIFFERENTIABLE(sample)
OP_FORWARD(mode)
OP_FORWARD(log_clamped)
// ops_loss.c
OP_DIFFERENTIABLE(square_error)
OP_BACKWARD(square_error_dx)
bool square_error_reads_frames(const struct node *n); // in place of its target: rows fit
OP_DIFFERENTIABLE(twohot_nll)
OP_BACKWARD(twohot_nll_dx)
OP_DIFFERENTIABLE(twohot_mean)
OP_BACKWARD(twohot_mean_dx)
OP_DIFFERENTIABLE(bce)
OP_BACKWARD(bce_dx)
OP_FORWARD(kl)
OP_DIFFERENTIABLE(kl_balanced)
OP_BACKWARD(kl_balanced_dx)
OP_DIFFERENTIABLE(entropy)
OP_BACKWARD(entropy_dx)
OP_DIFFERENTIABLE(log_prob)
OP_BACKWARD(log_prob_dx)
// ops_returns.c
OP_FORWARD(quantiles)
OP_DIFFERENTIABLE(normalize)
OP_BACKWARD(normalize_dx)
// ops_normal.c
OP_DIFFERENTIABLE(columns)
OP_BACKWARD(columns_dx)
OP_DIFFERENTIABLE(limit)
OP_BACKWARD(limit_dx)
OP_DIFFERENTIABLE(normal_entropy)
OP_BACKWARD(normal_entropy_dx)
// ops_math.c
OP_DIFFERENTIABLE(add)
OP_DIFFERENTIABLE(affine)
OP_BACKWARD(affine_dx)
OP_DIFFERENTIABLE(mul)
OP_BACKWARD(mul_dx)
OP_DIFFERENTIABLE(tanh)
OP_BACKWARD(tanh_dx)
OP_DIFFERENTIABLE(sigmoid)
OP_BACKWARD(sigmoid_dx)
OP_DIFFERENTIABLE(symlog)
OP_BACKWARD(symlog_dx)
OP_FORWARD(less)
OP_DIFFERENTIABLE(mean)
OP_BACKWARD(mean_dx)

// ops_patch.c
OP_DIFFERENTIABLE(conv_valid)
OP_BACKWARD(conv_valid_dx)
OP_BACKWARD(conv_valid_dw)
OP_BACKWARD(patch_pack)
OP_BACKWARD(patch_pack_dx)
OP_DIFFERENTIABLE(relu)
OP_BACKWARD(relu_dx)
OP_FORWARD(unpack_stack)
// ops_ppo.c
OP_DIFFERENTIABLE(ppo_loss)
OP_BACKWARD(ppo_loss_dx)

// Rows [first, end) of a LayerNorm node (ops_linear.c).
void layer_norm_rows(const struct run *r, const struct node *n, int64_t first, int64_t end);

// bias.grad += the sum of dy over all but the last axis (ops_linear.c).
void append_column_sum(struct graph *g, const struct node *n, struct tensor *bias,
                       struct tensor *dy);

#endif
