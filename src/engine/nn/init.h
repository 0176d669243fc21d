// Initialisers: first values of weights, drawn from Philox (spec/dreamer_v3.md 6; sheeprl's
// init_weights and uniform_init_weights).
//
//     static const struct init_rule rules[] = {{"reward_model._model.6.", INIT_ZERO}, {NULL, 0}};
//     init_params(&params, seed, rules, pool);
//
// By shape: Linear [out][in] and convolution [a][b][4][4] weights are normal with
// sigma0 = sqrt(2 / (fan_in + fan_out)) / 0.87962566, cut at 2 sigma0 (Linear) or at 2.0
// (convolution); a one-dimensional ".weight" (LayerNorm's gamma) is 1; everything else is 0. Rules,
// tried by prefix of the name, the last one that fits counting, overwrite that for output layers.
// The stream of a parameter is the hash of its name: adding a parameter changes no other.
#ifndef NN_INIT_H
#define NN_INIT_H

#include <stdint.h>

#include "base/pool.h"
#include "base/real.h"
#include "engine/graph/params.h"

enum init_kind {
    INIT_BY_SHAPE,
    INIT_ZERO,
    // weights uniform(-a, a), a = sqrt(3 * 2 / (fan_in + fan_out)); bias 0
    INIT_UNIFORM,
    // weights normal with sigma = scale / sqrt(fan_in) / 0.87962566, cut at 2 sigma; fan_in: the
    // elements of one output, times `blocks`; bias 0 (the official code's)
    INIT_FAN_IN,
};
struct init_rule {
    // "reward_model._model.6." fits .weight and .bias; NULL ends the table
    const char *prefix;
    enum init_kind kind;
    double scale;  // INIT_FAN_IN; 0 counts as 1
    double blocks; // INIT_FAN_IN of a block-diagonal matrix: how many; 0 counts as 1
};

// rules NULL: none. pool NULL: on the calling thread; the bits don't depend on it.
void init_params(struct params *p, uint64_t seed, const struct init_rule *rules, struct pool *pool);

// Normal(0, sigma) cut at +-cut (by rejection), and uniform(-a, a); element i is a function of
// (seed, stream, i).
void init_truncated_normal(real *x, int64_t n, double sigma, double cut, uint64_t seed,
                           uint64_t stream);
void init_uniform(real *x, int64_t n, double a, uint64_t seed, uint64_t stream);
// FNV-1a of the name
uint64_t init_stream(const char *name);

#endif
