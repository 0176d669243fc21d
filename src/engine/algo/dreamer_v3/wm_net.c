// The world model's networks: parameters, RSSM step, scan, encoder and heads.
#include "engine/algo/dreamer_v3/wm_net.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/algo/dreamer_v3/wm_core.h"

#define ENCODER "encoder.cnn_encoder.model.0._model"
#define VECTOR_ENCODER "encoder.mlp_encoder.model._model"
#define INITIAL "rssm.initial_recurrent_state"
#define REPRESENTATION "rssm.representation_model._model"
#define TRANSITION "rssm.transition_model._model"
#define DECODER_LINEAR "observation_model.cnn_decoder.model.0"
#define DECODER "observation_model.cnn_decoder.model.2._model"
#define VECTOR_DECODER "observation_model.mlp_decoder.model._model"
#define VECTOR_HEAD "observation_model.mlp_decoder.heads."
#define REWARD "reward_model._model"
#define CONTINUE "continue_model._model"

enum { IMAGE_CHANNELS = 1, CORE_PIXELS = 9 * 10 };

struct wm_dims wm_dims_from_config(const struct config *cfg, int n_actions) {
    return (struct wm_dims){
        .n_actions = n_actions,
        .pixels = true,
        .stochastic = cfg->stochastic_size,
        .discrete = cfg->discrete_size,
        .recurrent = cfg->recurrent_size,
        .recurrent_units = cfg->recurrent_units,
        .transition_hidden = cfg->transition_hidden,
        .representation_hidden = cfg->representation_hidden,
        .dense_units = cfg->dense_units,
        .n_layers = cfg->mlp_layers,
        .multiplier = cfg->cnn_multiplier,
        .bins = cfg->reward_bins,
        .unimix = (real)cfg->unimix,
        .dense_eps = (real)cfg->mlp_eps,
        .conv_eps = (real)cfg->cnn_eps,
        .learnable_initial = cfg->learnable_initial,
        .bf16 = cfg->autocast,
        .decoupled = cfg->decoupled_rssm,
        .profile = *profile_of(cfg),
        .blocks = cfg->recurrent_blocks,
    };
}

void wm_dims_observe(struct wm_dims *d, bool pixels, int64_t vector) {
    CHECK(pixels || vector > 0, "a model that observes nothing");
    d->pixels = pixels;
    d->n_vectors = vector > 0;
    d->vectors[0] = vector;
}

static int64_t image_width(const struct wm_dims *d) {
    return d->pixels ? (d->multiplier << (NN_CONV_STAGES - 1)) * CORE_PIXELS : 0;
}

int64_t wm_embed_width(const struct wm_dims *d) {
    return image_width(d) + (d->n_vectors ? d->dense_units : 0);
}

// Columns of the representation model that belong to h; the embedding's come behind them.
static int64_t posterior_h_width(const struct wm_dims *d) {
    return d->decoupled ? 0 : d->recurrent;
}

static int64_t latent_width(const struct wm_dims *d) { return d->stochastic * d->discrete; }

static int head_layers(const struct wm_dims *d) {
    return d->profile.head_layers ? d->profile.head_layers : (int)d->n_layers;
}

static int prior_layers(const struct wm_dims *d) { return 1 + d->profile.more_prior_layers; }

static const char *vector_head(char out[PARAM_NAME_SIZE], int key) {
    snprintf(out, PARAM_NAME_SIZE, VECTOR_HEAD "%d", key);
    return out;
}

static void register_encoder(struct params *p, const struct wm_dims *d) {
    int64_t width = 0;
    for (int k = 0; k < d->n_vectors; k++) width += d->vectors[k];
    if (d->pixels) nn_add_conv_encoder(p, ENCODER, IMAGE_CHANNELS, d->multiplier);
    if (width)
        nn_add_mlp(p, d->profile.norm, VECTOR_ENCODER, width, d->dense_units, (int)d->n_layers, 0);
}

static void register_decoder(struct params *p, const struct wm_dims *d, int64_t state) {
    char name[PARAM_NAME_SIZE];
    if (d->pixels) {
        nn_add_linear(p, DECODER_LINEAR, state, image_width(d), true);
        nn_add_conv_decoder(p, DECODER, d->multiplier, IMAGE_CHANNELS);
    }
    if (d->n_vectors)
        nn_add_mlp(p, d->profile.norm, VECTOR_DECODER, state, d->dense_units, (int)d->n_layers, 0);
    for (int k = 0; k < d->n_vectors; k++)
        nn_add_linear(p, vector_head(name, k), d->dense_units, d->vectors[k], true);
}

void wm_register(struct params *p, const struct wm_dims *d) {
    int64_t latent = latent_width(d), state = latent + d->recurrent, h = d->recurrent;
    register_encoder(p, d);
    if (d->learnable_initial) params_add(p, INITIAL, 1, &h);
    wm_core_register(p, d);
    nn_add_mlp(p, d->profile.norm, REPRESENTATION, posterior_h_width(d) + wm_embed_width(d),
               d->representation_hidden, 1, latent);
    nn_add_mlp(p, d->profile.norm, TRANSITION, h, d->transition_hidden, prior_layers(d), latent);
    register_decoder(p, d, state);
    nn_add_mlp(p, d->profile.norm, REWARD, state, d->dense_units, head_layers(d), d->bins);
    nn_add_mlp(p, d->profile.norm, CONTINUE, state, d->dense_units, head_layers(d), 1);
}

void wm_init_weights(struct params *p, const struct wm_dims *d, uint64_t seed, bool hafner,
                     struct pool *pool) {
    char reward[PARAM_NAME_SIZE], cont[PARAM_NAME_SIZE];
    snprintf(reward, sizeof reward, REWARD ".%d.", 3 * head_layers(d));
    snprintf(cont, sizeof cont, CONTINUE ".%d.", 3 * head_layers(d));
    if (d->profile.fan_in) {
        struct init_rule official[WM_CORE_RULES + 3] = {{"", INIT_FAN_IN, 1, 1}};
        wm_core_init_rules(d, official + 1);
        official[WM_CORE_RULES + 1] = (struct init_rule){reward, INIT_ZERO, 0, 0};
        init_params(p, seed, official, pool);
        return;
    }
    const struct init_rule rules[] = {
        {TRANSITION ".3.", INIT_UNIFORM, 0, 0},
        {REPRESENTATION ".3.", INIT_UNIFORM, 0, 0},
        {VECTOR_HEAD, INIT_UNIFORM, 0, 0},
        {cont, INIT_UNIFORM, 0, 0},
        {reward, INIT_ZERO, 0, 0},
        {NULL, INIT_BY_SHAPE, 0, 0},
    };
    init_params(p, seed, hafner ? rules : NULL, pool);
}

struct wm_net wm_net_make(struct graph *g, struct params *p, const struct wm_dims *d) {
    graph_bf16(g, d->bf16);
    return (struct wm_net){
        .nn = {.graph = g, .params = p, .dense_eps = d->dense_eps, .conv_eps = d->conv_eps},
        .dims = *d,
    };
}

// ---- categorical states

// From the output of the last hidden layer.
static struct wm_categorical categorical(const struct wm_net *net, const char *model, int n_layers,
                                         struct tensor *hidden) {
    struct wm_categorical c = {.hidden = hidden};
    c.logits = nn_output(&net->nn, model, n_layers, hidden);
    c.probs = g_unimix(net->nn.graph, c.logits, net->dims.discrete, net->dims.unimix);
    return c;
}

struct wm_categorical wm_prior(const struct wm_net *net, struct tensor *h) {
    const int n = prior_layers(&net->dims);
    return categorical(net, TRANSITION, n, nn_mlp(&net->nn, TRANSITION, &h, 1, n, false));
}

struct wm_categorical wm_posterior(const struct wm_net *net, struct tensor *h,
                                   struct tensor *embed_half) {
    int n_parts = net->dims.decoupled ? 0 : 1;
    return categorical(net, REPRESENTATION, 1,
                       nn_hidden(&net->nn, REPRESENTATION, 0, &h, n_parts, 0, embed_half));
}

struct tensor *wm_embed_half(const struct wm_net *net, const struct wm_embedding *embedding) {
    return nn_linear(&net->nn, REPRESENTATION ".0", embedding->part, embedding->n,
                     posterior_h_width(&net->dims), NULL);
}

static struct tensor *latent_or_zero(const struct wm_net *net, struct tensor *z) {
    return net->dims.zero_latent ? g_affine(net->nn.graph, z, 0, 0) : z;
}

struct tensor *wm_sample(const struct wm_net *net, struct tensor *probs, struct tensor *u) {
    return latent_or_zero(net, g_sample(net->nn.graph, probs, u, net->dims.discrete));
}

struct wm_initial wm_initial(const struct wm_net *net) {
    struct graph *g = net->nn.graph;
    int64_t shape[2] = {1, net->dims.recurrent};
    struct wm_initial start = {0};
    if (net->dims.profile.zero_start) return start;
    graph_scope_push(g, "initial");
    // Without the learnable state it is a constant 0, which an input that nobody fills is.
    if (net->dims.learnable_initial)
        start.h = g_tanh(g, g_reshape(g, g_param(g, net->nn.params, INITIAL), 2, shape));
    else
        start.h = g_input(g, "zero", DTYPE_REAL, 2, shape);
    start.prior = wm_prior(net, g_stop_gradient(g, start.h));
    start.z = latent_or_zero(net, g_mode(g, start.prior.probs, net->dims.discrete));
    graph_scope_pop(g);
    return start;
}

// ---- recurrence

static struct wm_step step_to_h(const struct wm_net *net, const struct wm_initial *start,
                                const struct wm_step_in *in) {
    struct wm_step s = {0};
    s.h_bar = g_blend(net->nn.graph, in->is_first, in->h, start->h);
    s.z_bar = g_blend(net->nn.graph, in->is_first, in->z, start->z);
    s.recurrent = wm_recurrent(net, s.z_bar, in->action_half, s.h_bar);
    s.h = s.recurrent.h;
    return s;
}

struct wm_step wm_observe_step(const struct wm_net *net, const struct wm_initial *start,
                               const struct wm_step_in *in) {
    struct wm_step s = step_to_h(net, start, in);
    s.posterior = wm_posterior(net, s.h, in->embed_half);
    s.z = wm_sample(net, s.posterior.probs, in->u);
    return s;
}

struct wm_step wm_imagine_step(const struct wm_net *net, const struct wm_initial *start,
                               const struct wm_step_in *in) {
    struct wm_step s = step_to_h(net, start, in);
    s.prior = wm_prior(net, s.h);
    s.z = wm_sample(net, s.prior.probs, in->u);
    return s;
}

// Everything that the steps of the observed rollout share.
struct scan {
    struct tensor *action_half, *embed_half;
    struct wm_categorical posterior; // decoupled: of all rows, drawn before the loop
    struct tensor *z;                // decoupled: their samples
};

static struct wm_step scan_step(const struct wm_net *net, const struct wm_initial *start,
                                const struct wm_scan_in *in, const struct scan *k, int t,
                                const struct wm_step *before) {
    struct graph *g = net->nn.graph;
    int64_t b = in->batch, row = t * b;
    struct wm_step_in step = {
        .is_first = g_slice(g, in->is_first, row, b),
        .h = t ? before->h : in->zero_h,
        .z = t ? before->z : in->zero_z,
        .action_half = g_slice(g, k->action_half, row, b),
    };
    if (net->dims.decoupled) {
        struct wm_step s = step_to_h(net, start, &step);
        s.z = g_slice(g, k->z, row, b);
        return s;
    }
    step.embed_half = g_slice(g, k->embed_half, row, b);
    step.u = g_slice(g, in->u, row, b);
    return wm_observe_step(net, start, &step);
}

struct wm_scan wm_observe(const struct wm_net *net, const struct wm_initial *start,
                          const struct wm_scan_in *in) {
    struct graph *g = net->nn.graph;
    CHECK(in->length >= 1, "sequence of %d rows", in->length);
    struct tensor **h = mem_alloc(3 * (size_t)in->length * sizeof *h), **z = h + in->length,
                  **m = z + in->length;
    graph_scope_push(g, "rssm");
    struct tensor *actions = g_blend(g, in->is_first, in->prev_actions, NULL);
    struct scan k = {.action_half = wm_action_half(net, actions),
                     .embed_half = wm_embed_half(net, &in->embedding)};
    if (net->dims.decoupled) {
        k.posterior = wm_posterior(net, NULL, k.embed_half);
        k.z = wm_sample(net, k.posterior.probs, in->u);
    }
    struct wm_step s = {0};
    for (int t = 0; t < in->length; t++) {
        graph_scope_push(g, "t%02d", t);
        s = scan_step(net, start, in, &k, t, &s);
        h[t] = s.h, z[t] = s.z, m[t] = s.posterior.probs;
        if (in->steps) in->steps[t] = s;
        graph_scope_pop(g);
    }
    struct wm_scan scan = {.h = g_stack(g, h, in->length), .actions = actions};
    scan.z = k.z ? k.z : g_stack(g, z, in->length);
    scan.posterior = k.z ? k.posterior.probs : g_stack(g, m, in->length);
    graph_scope_pop(g);
    free(h);
    return scan;
}

// ---- encoder and heads

struct tensor *wm_encode_vectors(const struct wm_net *net, struct tensor *const *vectors, int n) {
    struct tensor *squashed[WM_MAX_VECTORS];
    for (int k = 0; k < n; k++) squashed[k] = g_symlog(net->nn.graph, vectors[k]);
    return nn_mlp(&net->nn, VECTOR_ENCODER, squashed, n, (int)net->dims.n_layers, false);
}

struct wm_embedding wm_encode(const struct wm_net *net, struct tensor *image,
                              struct tensor *const *vectors) {
    const struct wm_dims *d = &net->dims;
    struct wm_embedding e = {0};
    graph_scope_push(net->nn.graph, "encoder");
    if (d->pixels) e.part[e.n++] = nn_conv_encoder(&net->nn, ENCODER, image);
    if (d->n_vectors) e.part[e.n++] = wm_encode_vectors(net, vectors, d->n_vectors);
    graph_scope_pop(net->nn.graph);
    return e;
}

struct tensor *wm_decode(const struct wm_net *net, struct tensor *z, struct tensor *h) {
    graph_scope_push(net->nn.graph, "decoder");
    struct tensor *core =
        nn_linear(&net->nn, DECODER_LINEAR, (struct tensor *[]){z, h}, 2, 0, NULL);
    struct tensor *image = nn_conv_decoder(&net->nn, DECODER, core, net->dims.multiplier);
    // black is -0.5, white 0.5, as in the target
    if (net->dims.profile.bounded_pixels)
        image = g_affine(net->nn.graph, g_sigmoid(net->nn.graph, image), 1, (real)-0.5);
    graph_scope_pop(net->nn.graph);
    return image;
}

void wm_decode_vectors(const struct wm_net *net, struct tensor *const *parts, int n_parts,
                       struct tensor **out) {
    char name[PARAM_NAME_SIZE];
    graph_scope_push(net->nn.graph, "decoder");
    struct tensor *x =
        nn_mlp(&net->nn, VECTOR_DECODER, parts, n_parts, (int)net->dims.n_layers, false);
    for (int k = 0; k < net->dims.n_vectors; k++)
        out[k] = nn_linear(&net->nn, vector_head(name, k), &x, 1, 0, NULL);
    graph_scope_pop(net->nn.graph);
}

// Both sides are multiplied by 0 where the square does not count: their difference and its gradient
// are exactly 0 there.
struct tensor *wm_vector_error(struct graph *g, struct tensor *x, struct tensor *target) {
    const real least = (real)1e-8;
    struct tensor *wanted = g_symlog(g, target), *off = g_add(g, x, g_affine(g, wanted, -1, 0));
    struct tensor *counts = g_affine(g, g_less(g, g_mul(g, off, off), least), -1, 1);
    return g_square_error(g, g_mul(g, x, counts), g_mul(g, wanted, counts));
}

static struct tensor *head(const struct wm_net *net, const char *scope, const char *model,
                           struct tensor *z, struct tensor *h) {
    graph_scope_push(net->nn.graph, "%s", scope);
    struct tensor *y =
        nn_mlp(&net->nn, model, (struct tensor *[]){z, h}, 2, head_layers(&net->dims), true);
    graph_scope_pop(net->nn.graph);
    return y;
}

struct tensor *wm_reward(const struct wm_net *net, struct tensor *z, struct tensor *h) {
    return head(net, "reward", REWARD, z, h);
}

void wm_twohot_bins(const struct wm_dims *d, struct tensor *bins) {
    (d->profile.real_bins ? nn_twohot_real_bins : nn_twohot_bins)(bins->data, bins->n_elements);
}

struct tensor *wm_twohot_nll(const struct wm_net *net, struct tensor *logits, struct tensor *target,
                             struct tensor *bins) {
    return (net->dims.profile.real_bins ? g_twohot_real_nll : g_twohot_nll)(net->nn.graph, logits,
                                                                            target, bins);
}

struct tensor *wm_twohot_mean(const struct wm_net *net, struct tensor *logits,
                              struct tensor *bins) {
    return (net->dims.profile.real_bins ? g_twohot_real_mean : g_twohot_mean)(net->nn.graph, logits,
                                                                              bins);
}

struct tensor *wm_continue(const struct wm_net *net, struct tensor *z, struct tensor *h) {
    return head(net, "continue", CONTINUE, z, h);
}
