// PPO's network: three convolutions and a dense layer shared by a policy and a value head
// (spec/ppo.md 2).
//
//     ppo_net_register(&params, &(struct ppo_dims){.stack = 4, .n_actions = 7});
//     params_allocate(&params);
//     ppo_net_init(&params, seed, PPO_INIT_ORTHOGONAL);
//     struct ppo_net net = ppo_net_build(g, &params, g_input(g, "stacks", DTYPE_U8, 3, ...));
//
// conv1 K->32 8x8 stride 4, conv2 32->64 4x4 stride 2, conv3 64->64 3x3, no border; ReLU after
// each; flattened channel, row, column; fc 1920->512, ReLU; policy 512->A, value 512->1. 1,065,640
// weights with K 4 and A 7. The input is the exact shades 0..3: the network's x / 3 is folded into
// conv1's weights when the graph runs. Parameters: conv1.weight ... value.bias, weights as PyTorch
// lays them out.
#ifndef PPO_NET_H
#define PPO_NET_H

#include "engine/graph/graph.h"

enum {
    PPO_HEIGHT = 72,
    PPO_WIDTH = 80,
    PPO_FRAME_BYTES = 72 * 80 / 4,
    PPO_N_CONVS = 3,
    PPO_HIDDEN = 512
};

struct ppo_dims {
    int64_t stack, n_actions; // stack: frames the network sees, oldest first
};

enum ppo_init {
    PPO_INIT_ORTHOGONAL, // gain sqrt 2, policy 0.01, value 1, biases 0
    PPO_INIT_UNIFORM,    // PyTorch's default: weights and biases uniform in +-1/sqrt(fan in)
};

void ppo_net_register(struct params *p, const struct ppo_dims *dims);
void ppo_net_init(struct params *p, uint64_t seed, enum ppo_init kind);

struct ppo_net {
    struct tensor *conv[PPO_N_CONVS], *fc; // after their ReLU; convolutions NHWC
    struct tensor *logits, *values;        // [N, n_actions], [N, 1]
};
struct ppo_net ppo_net_build(struct graph *g, struct params *p,
                             struct tensor *stacks); // u8 [N, K, 1440]

#endif
