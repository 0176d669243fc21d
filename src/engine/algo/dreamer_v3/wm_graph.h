// The world model's two graphs: the training step (losses, metrics, gradients) and the pictures for
// the screens.
//
//     struct wm_net net = wm_net_make(g, &params, &dims);
//     struct wm_train t = wm_train_build(&net, &weights, 16, 8, NULL);
//     graph_gradients(g, t.loss); graph_plan(g);
//
// Formulas: spec/dreamer_v3.md 4; one training step without the behaviour part: Appendix C 2-7.
#ifndef ALGO_DREAMER_V3_WM_GRAPH_H
#define ALGO_DREAMER_V3_WM_GRAPH_H

#include "engine/algo/dreamer_v3/wm_net.h"
#include "engine/algo/dreamer_v3/world_model.h"

struct wm_loss_weights {
    real kl_dynamic, kl_representation, free_nats, kl_regularizer, continue_scale;
    real gamma; // of a profile whose continue head learns it
};
struct wm_loss_weights wm_loss_weights_from_config(const struct config *cfg);

// Inputs: storage stays where it is; the caller fills `data`. zero_* stay 0.
struct wm_inputs {
    struct tensor *packed;                      // u8 [T*B, 1440]; NULL without pictures
    struct tensor *vectors[WM_MAX_VECTORS];     // [T*B, width] of each key
    struct tensor *prev_actions, *is_first, *u; // [T*B, A], [T*B], [T*B, S]
    // [T*B], [T*B], [K]; NULL in the display graph
    struct tensor *rewards, *continues, *bins;
    struct tensor *u_prior;         // display: [imagined, S]
    struct tensor *zero_h, *zero_z; // [B, H], [B, S*D]
};

struct wm_train {
    struct wm_inputs in;
    struct wm_embedding embedding; // [T*B, ...]
    struct wm_scan scan;
    struct wm_categorical prior;                    // [T*B, ...]
    struct tensor *reconstruction;                  // [T*B,72,80,1]; NULL without pictures
    struct tensor *vectors[WM_MAX_VECTORS];         // [T*B, width] in symlog space
    struct tensor *reward_logits, *continue_logits; // [T*B, K], [T*B, 1]
    struct tensor *image_rows, *vector_rows;        // what L_obs adds up, [T*B]; NULL: not observed
    // L_obs, L_rew, L_con, raw K; [T*B]
    struct tensor *observation_rows, *reward_rows, *continue_rows, *kl_rows;
    struct tensor *loss; // [1]
    // Means over T*B, [1]: what the metric table shows.
    struct tensor *observation, *reward, *continues, *kl, *kl_raw, *free_bits, *prior_entropy,
        *posterior_entropy;
};
// steps: NULL, or room for `length` steps of the rollout (for parity checks).
struct wm_train wm_train_build(const struct wm_net *net, const struct wm_loss_weights *w,
                               int length, int batch, struct wm_step *steps);

struct wm_view {
    struct wm_inputs in; // T = rows, B = 1
    // pictures [rows,72,80,1], [rows - context,72,80,1]; NULL without pictures
    struct tensor *posterior, *imagined;
    // the same of each key of vectors, [rows, width] and [rows - context, width], in symlog space
    struct tensor *vector_posterior[WM_MAX_VECTORS], *vector_imagined[WM_MAX_VECTORS];
};
struct wm_view wm_view_build(const struct wm_net *net, int rows, int context);

#endif
