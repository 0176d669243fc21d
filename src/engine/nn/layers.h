// Layers of the Dreamer networks: registers their parameters under sheeprl's names and adds their
// nodes to a graph.
//
//     nn_add_mlp(&params, "reward_model._model", latent, units, 2, 255); // before params_allocate
//     struct nn nn = {.graph = g, .params = &params, .dense_eps = 1e-3, .conv_eps = 1e-3};
//     struct tensor *parts[] = {z, h};
//     struct tensor *logits = nn_mlp(&nn, "reward_model._model", parts, 2, 2, true);
//
// Building blocks of spec/dreamer_v3.md 0.1 and 2: a *hidden layer* is a Linear without bias,
// LayerNorm, SiLU; or (3.6) a Linear with bias, RMS norm, SiLU, which differ only in the parameters
// that are registered. An *output layer* is a Linear with bias. In a model "m", hidden layer k is
// m.{3k}.weight and m.{3k+1}.weight/.bias, the output layer after n of them m.{3n}.weight/.bias
// (Appendix B).
//
// An input is a list of parts [N, width_i] that stand for their concatenation: each part has its
// own columns of the weights and no copy is made.
#ifndef NN_LAYERS_H
#define NN_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/graph/graph.h"

// 72x80 halves three times: 36x40, 18x20, 9x10 (spec 2.1, 2.2)
enum { NN_CONV_STAGES = 3 };

// ---- registering parameters
void nn_add_linear(struct params *p, const char *name, int64_t in, int64_t out, bool bias);
enum nn_norm { NN_LAYER_NORM, NN_RMS_NORM };
// scale and shift, or scale alone
void nn_add_norm(struct params *p, enum nn_norm norm, const char *name, int64_t n);
// n_layers hidden layers of `units`, then an output layer of `out` (0: none).
void nn_add_mlp(struct params *p, enum nn_norm norm, const char *model, int64_t in, int64_t units,
                int n_layers, int64_t out);
void nn_add_conv_encoder(struct params *p, const char *model, int64_t in_channels,
                         int64_t multiplier);
void nn_add_conv_decoder(struct params *p, const char *model, int64_t multiplier,
                         int64_t out_channels);

// ---- adding nodes
struct nn {
    struct graph *graph;
    struct params *params;
    // LayerNorm of dense layers and the decoder; of the encoder's convolutions
    real dense_eps, conv_eps;
    bool frozen; // gradients flow through the layers, their parameters get none
    // Told of every layer's output while it is built, by the name of sheeprl's submodule (LayerNorm
    // and SiLU are one node and carry SiLU's): parity checks look at them. NULL: nobody.
    void (*probe)(void *ctx, const char *submodule, struct tensor *output);
    void *probe_ctx;
};
// name.weight (and name.bias if it is registered) on the parts; columns from `column` on. addend
// [N, out] or NULL: what the same layer's other columns gave, bias included.
struct tensor *nn_linear(const struct nn *nn, const char *name, struct tensor *const *parts,
                         int n_parts, int64_t column, struct tensor *addend);
// The same layer's first columns, block-diagonal: g_block_linear.
struct tensor *nn_block_linear(const struct nn *nn, const char *name, struct tensor *x,
                               int64_t blocks, struct tensor *addend);
struct tensor *nn_norm(const struct nn *nn, const char *name, struct tensor *x, real eps,
                       enum activation act);
// Hidden layer k of a model: norm and SiLU over its Linear.
struct tensor *nn_hidden(const struct nn *nn, const char *model, int k, struct tensor *const *parts,
                         int n_parts, int64_t column, struct tensor *addend);
struct tensor *nn_output(const struct nn *nn, const char *model, int k, struct tensor *x);
struct tensor *nn_mlp(const struct nn *nn, const char *model, struct tensor *const *parts,
                      int n_parts, int n_layers, bool output);
// [N,72,80,Ci] -> [N, 4m * 90], flattened c,y,x
struct tensor *nn_conv_encoder(const struct nn *nn, const char *model, struct tensor *image);
// [N, 4m * 90], flattened c,y,x -> [N,72,80,Co]
struct tensor *nn_conv_decoder(const struct nn *nn, const char *model, struct tensor *core,
                               int64_t multiplier);

// Bins of the two-hot distribution in symlog space: linspace(-20, 20, n), exactly antisymmetric
// (spec 4.1, D4). n >= 2.
void nn_twohot_bins(real *bins, int64_t n);
// The same bins in real space: symexp of them, as antisymmetric (spec 4.2).
void nn_twohot_real_bins(real *bins, int64_t n);

#endif
