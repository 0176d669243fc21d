// The world model's networks: parameters, and the graph pieces that training, display and parity
// checks are made of.
//
//     struct wm_net net = wm_net_make(g, &params, &dims);
//     struct wm_initial start = wm_initial(&net);
//     struct wm_scan scan = wm_observe(&net, &start, &in); // [T*B] rows, time-major
//     struct tensor *image = wm_decode(&net, scan.z, scan.h);
//
// Names are sheeprl's (spec/dreamer_v3.md Appendix B); formulas: spec 2 and 3. Everything that
// needs no recurrence is done on all T*B rows at once: the embedding's half of the posterior, the
// action's half of the recurrent input layer, the prior head.
#ifndef ALGO_DREAMER_V3_WM_NET_H
#define ALGO_DREAMER_V3_WM_NET_H

#include "engine/algo/config.h"
#include "engine/nn/init.h"
#include "engine/nn/layers.h"

struct wm_dims {
    int64_t n_actions, embed;                // A, E (= 360 m for pictures of 72x80)
    int64_t stochastic, discrete, recurrent; // S, D, H
    int64_t recurrent_units, transition_hidden, representation_hidden;
    int64_t dense_units, n_layers, multiplier, bins; // U, n, m, K
    real unimix, dense_eps, conv_eps;
    bool learnable_initial;
    bool decoupled;   // the posterior sees the embedding alone (spec 3.4)
    bool zero_latent; // test: z is always 0
};

struct wm_net {
    struct nn nn;
    struct wm_dims dims;
};

struct wm_dims wm_dims_from_config(const struct config *cfg, int n_actions);
// all parameters; not allocated
void wm_register(struct params *p, const struct wm_dims *d);
// spec 6
void wm_init_weights(struct params *p, const struct wm_dims *d, uint64_t seed, bool hafner);
struct wm_net wm_net_make(struct graph *g, struct params *p, const struct wm_dims *d);

// A categorical state: probabilities after unimix [N, S*D], and what led to them.
struct wm_categorical {
    struct tensor *hidden, *logits, *probs;
};
struct wm_categorical wm_prior(const struct wm_net *net, struct tensor *h);
// embed_half [N, hidden]: wm_embed_half's rows. h may be NULL where the model is decoupled.
struct wm_categorical wm_posterior(const struct wm_net *net, struct tensor *h,
                                   struct tensor *embed_half);
struct tensor *wm_embed_half(const struct wm_net *net, struct tensor *embedding);
struct tensor *wm_action_half(const struct wm_net *net, struct tensor *actions);
// the same for actions [N, classes] of several heads
struct tensor *wm_heads_half(const struct wm_net *net, struct tensor *const *actions, int n_heads);
// u [N, S]
struct tensor *wm_sample(const struct wm_net *net, struct tensor *probs, struct tensor *u);

// State after a reset: h [1,H] = tanh(w0), z [1,S*D] = mode of the prior there (no gradient).
struct wm_initial {
    struct tensor *h, *z;
    struct wm_categorical prior;
};
struct wm_initial wm_initial(const struct wm_net *net);

// One recurrent step: hidden layer on [z; a], then the LayerNorm-GRU.
// f, W [h; f], its LayerNorm, h'
struct wm_recurrent {
    struct tensor *input, *pre, *norm, *h;
};
struct wm_recurrent wm_gru(const struct wm_net *net, struct tensor *input, struct tensor *h);
struct wm_recurrent wm_recurrent(const struct wm_net *net, struct tensor *z,
                                 struct tensor *action_half, struct tensor *h);

// One step of the observed rollout; all have B rows. is_first [B].
struct wm_step {
    struct tensor *h_bar, *z_bar; // state after the reset mask
    struct wm_recurrent recurrent;
    struct wm_categorical posterior; // empty in an imagined step
    struct wm_categorical prior;     // empty in an observed step: see wm_scan
    struct tensor *h, *z;
};
struct wm_step_in {
    struct tensor *is_first, *h, *z, *action_half, *embed_half, *u;
};
struct wm_step wm_observe_step(const struct wm_net *net, const struct wm_initial *start,
                               const struct wm_step_in *in);
struct wm_step wm_imagine_step(const struct wm_net *net, const struct wm_initial *start,
                               const struct wm_step_in *in);

// The observed rollout over T steps of B rows, full back-propagation through time.
struct wm_scan_in {
    int length, batch;
    struct tensor *is_first;     // [T*B]
    struct tensor *prev_actions; // [T*B, A], not masked yet
    struct tensor *embedding;    // [T*B, E]
    struct tensor *u;            // [T*B, S]
    // inputs [B, H], [B, S*D], all 0: what comes before the window
    struct tensor *zero_h, *zero_z;
    struct wm_step *steps; // [T] out, or NULL: the steps themselves
};
// [T*B, ...]; actions are masked
struct wm_scan {
    struct tensor *h, *z, *posterior, *actions;
};
struct wm_scan wm_observe(const struct wm_net *net, const struct wm_initial *start,
                          const struct wm_scan_in *in);

// ---- encoder and heads on N rows
// [N,72,80,1] -> [N, E]
struct tensor *wm_encode(const struct wm_net *net, struct tensor *image);
// -> [N,72,80,1]
struct tensor *wm_decode(const struct wm_net *net, struct tensor *z, struct tensor *h);
// -> logits [N, K]
struct tensor *wm_reward(const struct wm_net *net, struct tensor *z, struct tensor *h);
// -> logit [N, 1]
struct tensor *wm_continue(const struct wm_net *net, struct tensor *z, struct tensor *h);

#endif
