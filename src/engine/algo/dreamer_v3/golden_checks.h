// Parity checks: our layers, losses, gradients, Adam and initialisers against the reference's
// golden fixtures.
//
//     struct golden *g = golden_open(folder, &e);
//     for (int i = 0; i < n_golden_checks; i++)
//         if (!golden_check_run(&golden_checks[i], g, pool, &e)) puts(e.message);
//
// One row per fixture of spec/dreamer_v3.md 10.3. The tests and the CPU gate run the same rows. A
// failure is one line: fixture, tensor, worst element, got and expected. Fixtures are float32: in a
// double build nothing is exact.
#ifndef ALGO_DREAMER_V3_GOLDEN_CHECKS_H
#define ALGO_DREAMER_V3_GOLDEN_CHECKS_H

#include <stdbool.h>

#include "base/error.h"
#include "base/pool.h"
#include "engine/data/golden.h"

struct golden_case;
struct golden_check {
    const char *code, *what; // "F09", one line
    const char *fixture;     // NULL: that of the code; else another's, of which a part is compared
    void (*run)(struct golden_case *c);
};
extern const struct golden_check golden_checks[];
extern const int n_golden_checks;
// F51: the losses of F41's steps in bf16. Not in the table, because no gate computes in bf16 unless
// that is named.
extern const struct golden_check golden_check_bf16;

bool golden_check_run(const struct golden_check *check, const struct golden *g, struct pool *pool,
                      struct error *e);
const struct golden_check *golden_check_find(const char *code); // NULL if there is none

// ---- the checks, by file
// clang-format off
#define GOLDEN_CHECKS_TABLE(X)                                                                         \
    X(F01, packed2_lut, "packed2 bytes and their four shades")                                         \
    X(F02, packed2_norm, "shades as the network's input, exact bits")                                  \
    X(F03, packed2_frame, "screen to packed frame, packed batch to input")                             \
    X(F04, symlog_symexp, "symlog and symexp")                                                         \
    X(F05, twohot_bins, "bins of the two-hot distribution")                                            \
    X(F06, twohot_weights, "two-hot weights of a target")                                              \
    X(F07, twohot_logprob, "two-hot log-probability and gradient")                                     \
    X(F08, twohot_mean, "two-hot mean and gradient")                                                   \
    X(F09, layer_norm, "LayerNorm and gradients")                                                      \
    X(F10, channel_norm, "LayerNorm over channels and gradients")                                      \
    X(F11, conv, "convolution and gradients")                                                          \
    X(F12, deconv, "transposed convolution and gradients")                                             \
    X(F13, encoder, "image encoder, every layer, gradients")                                           \
    X(F14, decoder, "image decoder, every layer, gradients")                                           \
    X(F15, vector_encoder, "vector encoder, every layer, gradients")                                   \
    X(F16, vector_decoder, "vector decoder, every layer, gradients")                                   \
    X(F17, unimix, "softmax with unimix and gradients")                                                \
    X(F18, sample, "sampling, mode, straight-through gradient")                                        \
    X(F19, gru_cell, "LayerNorm-GRU cell and gradients")                                               \
    X(F20, recurrent_step, "recurrent model and gradients")                                            \
    X(F21, initial_state, "state after a reset")                                                       \
    X(F22, dynamic_step, "one step of the observed rollout with a reset")                              \
    X(F23, rssm_scan, "observed rollout with resets inside the window")                                \
    X(F24, rssm_scan_grad, "its gradients through time")                                               \
    X(F25, decoupled_scan, "the decoupled rollout and its gradients")                                  \
    X(F26, kl_free_nats, "KL, free nats, balanced gradients")                                          \
    X(F27, recon_terms, "observation and continue loss")                                               \
    X(F28, wm_loss, "world-model loss: all intermediates and logged values")                           \
    X(F28V, wm_loss_vector, "the same with a vector beside the picture")                               \
    X(F29, wm_grads, "world-model gradients, norm, clipping, one Adam step")                           \
    X(F29V, wm_grads_vector, "the same with a vector beside the picture")                              \
    X(F30, adam, "Adam and clipping")                                                                  \
    X(F31, entropies, "entropies")                                                                     \
    X(F32, imagination, "the dream: states, actions, values, rewards, continues")                      \
    X(F33, lambda_returns, "lambda returns and gradients")                                             \
    X(F34, continue_discount, "hard continues and discount weights")                                   \
    X(F35, horizon_shapes, "lengths of every array of the dream")                                      \
    X(F36, moments, "running percentiles of the returns")                                              \
    X(F37, actor_discrete, "the actor's loss, gradients, one Adam step")                               \
    X(F38, actor_continuous, "continuous actions: the dream, the loss, gradients through it")          \
    X(F39, critic_loss, "the critic's loss, gradients, one Adam step")                                 \
    X(F40, target_ema, "updates of the target critic")                                                 \
    X(F41, train_steps, "three whole training steps")                                                  \
    X(F42, player_episode, "the player: two environments, a reset, sampled and greedy")                \
    X(F44, ratio, "the ratio scheduler, and what the main loop makes of it")                           \
    X(F48, init_stats, "statistics of the initialisers")                                               \
    X(F49, zero_heads, "what a fresh reward head and critic say")                                      \
    X(F50, laprop_agc, "the official profile's optimiser: LaProp, clipping tensor by tensor")

// clang-format on

#define X(code, name, what) void golden_##name(struct golden_case *c);
GOLDEN_CHECKS_TABLE(X)
#undef X
void golden_mixed_precision(struct golden_case *c);

#endif
