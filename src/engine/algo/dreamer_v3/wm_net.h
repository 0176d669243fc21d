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
#include "engine/algo/dreamer_v3/profile.h"
#include "engine/nn/init.h"
#include "engine/nn/layers.h"

enum { WM_MAX_VECTORS = 4 };

struct wm_dims {
    int64_t n_actions;                       // A
    bool pixels;                             // a picture of 72x80 is observed
    int n_vectors;                           // keys of vector observations beside it ...
    int64_t vectors[WM_MAX_VECTORS];         // ... and their widths
    int64_t stochastic, discrete, recurrent; // S, D, H
    int64_t recurrent_units, transition_hidden, representation_hidden;
    int64_t dense_units, n_layers, multiplier, bins; // U, n, m, K
    real unimix, dense_eps, conv_eps;
    bool learnable_initial;
    bool bf16;        // products in bf16, but the recurrent model's (spec G57)
    bool decoupled;   // the posterior sees the embedding alone (spec 3.4)
    struct profile profile;
    int64_t blocks;   // of the recurrent core, where the profile has them
    bool zero_latent; // test: z is always 0
};

struct wm_net {
    struct nn nn;
    struct wm_dims dims;
};

// Of pictures alone; wm_dims_observe says otherwise.
struct wm_dims wm_dims_from_config(const struct config *cfg, int n_actions);
// Pictures, a vector of that width (0: none), or both.
void wm_dims_observe(struct wm_dims *d, bool pixels, int64_t vector);
// E: 360 m of a picture, U of the vectors
int64_t wm_embed_width(const struct wm_dims *d);
// all parameters; not allocated
void wm_register(struct params *p, const struct wm_dims *d);
// spec 6
void wm_init_weights(struct params *p, const struct wm_dims *d, uint64_t seed, bool hafner,
                     struct pool *pool);
// The nodes that are added to the graph from here on, also those of other networks, are in the
// precision of the world model (graph_bf16).
struct wm_net wm_net_make(struct graph *g, struct params *p, const struct wm_dims *d);

// What the encoder makes of one observation: its two halves [N, 360 m] and [N, U], one after the
// other; of one kind of observation the one there is.
struct wm_embedding {
    struct tensor *part[2];
    int n;
};

// A categorical state: probabilities after unimix [N, S*D], and what led to them.
struct wm_categorical {
    struct tensor *hidden, *logits, *probs;
};
struct wm_categorical wm_prior(const struct wm_net *net, struct tensor *h);
// embed_half [N, hidden]: wm_embed_half's rows. h may be NULL where the model is decoupled.
struct wm_categorical wm_posterior(const struct wm_net *net, struct tensor *h,
                                   struct tensor *embed_half);
struct tensor *wm_embed_half(const struct wm_net *net, const struct wm_embedding *embedding);
struct tensor *wm_action_half(const struct wm_net *net, struct tensor *actions);
// the same for actions [N, classes] of several heads
struct tensor *wm_heads_half(const struct wm_net *net, struct tensor *const *actions, int n_heads);
// u [N, S]
struct tensor *wm_sample(const struct wm_net *net, struct tensor *probs, struct tensor *u);

// State after a reset: h [1,H] = tanh(w0), z [1,S*D] = mode of the prior there (no gradient). All
// NULL, which stands for 0, where the profile says so.
struct wm_initial {
    struct tensor *h, *z;
    struct wm_categorical prior;
};
struct wm_initial wm_initial(const struct wm_net *net);

// One recurrent step (wm_core.h): hidden layer on [z; a], then the LayerNorm-GRU: f, W [h; f], its
// LayerNorm, h'; or the blocks: the hidden layer on z, the layer before its norm and behind it, h'
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
    struct tensor *is_first;       // [T*B]
    struct tensor *prev_actions;   // [T*B, A], not masked yet
    struct wm_embedding embedding; // [T*B, ...]
    struct tensor *u;              // [T*B, S]
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
// image [N,72,80,1] or NULL, vectors [N, width] of each key, as they are: symlog is the encoder's
struct wm_embedding wm_encode(const struct wm_net *net, struct tensor *image,
                              struct tensor *const *vectors);
// -> [N, U]; the vectors alone
struct tensor *wm_encode_vectors(const struct wm_net *net, struct tensor *const *vectors, int n);
// -> [N,72,80,1]
struct tensor *wm_decode(const struct wm_net *net, struct tensor *z, struct tensor *h);
// out [n_vectors]: [N, width] of each key, in symlog space. parts: of the latent
void wm_decode_vectors(const struct wm_net *net, struct tensor *const *parts, int n_parts,
                       struct tensor **out);
// Sum over the row of (x - symlog(target))^2, where a square below 1e-8 counts nothing and gets no
// gradient (spec 4) -> [N]
struct tensor *wm_vector_error(struct graph *g, struct tensor *x, struct tensor *target);
// -> logits [N, K]
struct tensor *wm_reward(const struct wm_net *net, struct tensor *z, struct tensor *h);
// Two-hot distributions of reward and value, in the profile's space: the bins' values (an input's,
// before a run), minus log-likelihood [N], mean [N].
void wm_twohot_bins(const struct wm_dims *d, struct tensor *bins);
struct tensor *wm_twohot_nll(const struct wm_net *net, struct tensor *logits, struct tensor *target,
                             struct tensor *bins);
struct tensor *wm_twohot_mean(const struct wm_net *net, struct tensor *logits, struct tensor *bins);
// -> logit [N, 1]
struct tensor *wm_continue(const struct wm_net *net, struct tensor *z, struct tensor *h);

#endif
