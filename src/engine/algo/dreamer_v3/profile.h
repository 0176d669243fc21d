// Profiles: in what sheeprl's DreamerV3 and the newest official one differ, one row of a table each
// (spec/dreamer_v3.md 3.6, 4.2, 5.7, 7.2). All other code is the same for both.
//
//     const struct profile *p = profile_of(&config);          // algo.profile
//     if (p->block_core) ...
//
// Numbers (rates, weights, layers) are config keys with a default of the profile's; here is what no
// number says. A profile that is all 0 is sheeprl's, so what is built by hand is sheeprl's.
// Pure: any thread.
#ifndef ALGO_DREAMER_V3_PROFILE_H
#define ALGO_DREAMER_V3_PROFILE_H

#include "engine/algo/config.h"
#include "engine/nn/layers.h"
#include "engine/graph/program.h"
#include "engine/nn/optim.h"

struct profile {
    const char *name;
    enum nn_norm norm;     // of the hidden layers
    int more_prior_layers; // hidden layers of the prior behind the first
    int head_layers;       // hidden layers of the reward and continue heads; 0: algo.mlp_layers
    bool block_core;       // the recurrent core in blocks, in place of one LayerNorm-GRU
    bool real_bins;        // two-hot bins lie in real space (nn_twohot_real_bins)
    bool bounded_pixels;   // the decoder's output is squeezed between black and white
    bool zero_start;       // h and z are 0 after a reset
    bool plain_policy;     // the policy's categoricals have no unimix
    bool fan_in;           // the official initialisers
    // The continue head learns gamma * (1 - terminated) and is asked for the start state as well.
    bool discounted_continues;
    // One loss and one set of weights: the dream starts before the world model's step, and the
    // critic also learns from the replayed rows, through which its loss reaches the world model.
    bool joint;
    enum optim_kind optim;
};
const struct profile *profile_of(const struct config *cfg);

// What an optimiser of `cfg` is. max_norm: of a profile that clips the whole gradient.
struct optim_opts profile_optim(const struct config *cfg, double learning_rate, double eps,
                                double max_norm);
// The same for a device's program.
struct program_adam profile_program(const struct optim_opts *o);

#endif
