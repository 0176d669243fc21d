// Returns of the dream: hard continues, lambda returns, discount weights and the running range that
// normalises them.
//
//     struct tensor *discount = g_affine(g, hard_continues(g, logits), gamma, 0); // [H*N]
//     struct tensor *G = lambda_returns(g, reward, value, discount, H, 0.95);     // [H*N]
//     struct tensor *w = discount_weights(g, g_affine(g, start, gamma, 0), discount, H, gamma);
//
// Rows are tau-major: row tau*N + n. Formulas: spec/dreamer_v3.md 5.3, 5.4. What is asked for
// without gradient has none; the rest is made of differentiable ops.
#ifndef ALGO_DREAMER_V3_RETURNS_H
#define ALGO_DREAMER_V3_RETURNS_H

#include "engine/graph/graph.h"

// 1 where sigmoid(logit) > 0.5, else 0 (a logit of 0 gives 0); [M]. No gradient.
struct tensor *hard_continues(struct graph *g, struct tensor *logits);
// sigmoid(logit); [M]
struct tensor *soft_continues(struct graph *g, struct tensor *logits);

// reward, value, discount [H*N]: of the states tau + 1, discount being gamma * continue.
// G_tau = reward + discount ((1 - lambda) value + lambda G_{tau+1}), starting from the last value.
// -> [H*N]
struct tensor *lambda_returns(struct graph *g, struct tensor *reward, struct tensor *value,
                              struct tensor *discount, int horizon, real lambda);

// The same along replayed rows t = 0..T-1 of B environments, [T*B]: reward, continues (1 -
// terminated) and bootstrap of every row, first: 1 where a row begins an episode. G_t = r_{t+1} +
// gamma continue_{t+1} ((1 - l) boot_{t+1} + l G_{t+1}), starting from the last bootstrap; l is
// lambda, or 0 where row t + 1 ends its episode, so nothing flows over the border (spec 5.7).
// returns [(T-1)*B]; weights [(T-1)*B]: 0 in the last row of an episode, whose successor is
// another's.
struct replay_returns {
    struct tensor *returns, *weights;
};
struct replay_returns replay_returns(struct graph *g, struct tensor *reward,
                                     struct tensor *continues, struct tensor *first,
                                     struct tensor *boot, int length, real gamma, real lambda);

// gamma * continue: `first` [N] of the start states, `discount` [H*N] of tau = 1..H.
// w_tau = (product of those of 0..tau) / gamma -> [H*N], tau = 0..H-1
struct tensor *discount_weights(struct graph *g, struct tensor *first, struct tensor *discount,
                                int horizon, real gamma);

// The running range [low, high] after these returns: range * decay + quantiles * (1 - decay).
struct moments_opts {
    real decay, low, high;
};
struct moments {
    struct tensor *quantiles, *range; // [2]
};
struct moments moments_update(struct graph *g, struct tensor *returns, struct tensor *range,
                              const struct moments_opts *o);
// (G - low) / scale - (v - low) / scale, scale = max(min_scale, high - low) (the reference's order
// of operations). No gradient.
struct tensor *normalized_advantage(struct graph *g, struct tensor *returns, struct tensor *value,
                                    struct tensor *range, real min_scale);

#endif
