// The recurrent core: parameters and step of the LayerNorm-GRU and of the blocks.
#include "engine/algo/dreamer_v3/wm_core.h"

#define INPUT "rssm.recurrent_model.mlp._model"
#define LINEAR "rssm.recurrent_model.rnn.linear"
#define NORM "rssm.recurrent_model.rnn.layer_norm"
// of the blocks; sheeprl has none of them
#define STATE "rssm.recurrent_model.state._model"
#define LATENT "rssm.recurrent_model.latent._model"
#define ACTION "rssm.recurrent_model.action._model"
#define HIDDEN "rssm.recurrent_model.hidden.0"
#define HIDDEN_NORM "rssm.recurrent_model.hidden.1"
#define GATES "rssm.recurrent_model.gates"

static int64_t latent_width(const struct wm_dims *d) { return d->stochastic * d->discrete; }

// ---- LayerNorm-GRU

static void gru_register(struct params *p, const struct wm_dims *d) {
    const int64_t h = d->recurrent;
    nn_add_mlp(p, NN_LAYER_NORM, INPUT, latent_width(d) + d->n_actions, d->recurrent_units, 1, 0);
    nn_add_linear(p, LINEAR, h + d->recurrent_units, 3 * h, false);
    nn_add_norm(p, NN_LAYER_NORM, NORM, 3 * h);
}

static struct tensor *gru_actions(const struct wm_net *net, struct tensor *const *actions,
                                  int n_heads) {
    return nn_linear(&net->nn, INPUT ".0", actions, n_heads, latent_width(&net->dims), NULL);
}

struct wm_recurrent wm_gru(const struct wm_net *net, struct tensor *input, struct tensor *h) {
    struct wm_recurrent r = {.input = input};
    r.pre = nn_linear(&net->nn, LINEAR, (struct tensor *[]){h, r.input}, 2, 0, NULL);
    r.norm = nn_norm(&net->nn, NORM, r.pre, net->dims.dense_eps, ACT_NONE);
    r.h = g_gru_gates(net->nn.graph, r.norm, h);
    return r;
}

static struct wm_recurrent gru_step(const struct wm_net *net, struct tensor *z,
                                    struct tensor *action_half, struct tensor *h) {
    return wm_gru(net, nn_hidden(&net->nn, INPUT, 0, &z, 1, 0, action_half), h);
}

// ---- blocks. A row of HIDDEN takes its block of h, then what the hidden layers on h, z and a say.

static int64_t block_width(const struct wm_dims *d) { return d->recurrent / d->blocks; }

static void blocks_register(struct params *p, const struct wm_dims *d) {
    const int64_t h = d->recurrent, units = d->recurrent_units;
    nn_add_mlp(p, d->profile.norm, STATE, h, units, 1, 0);
    nn_add_mlp(p, d->profile.norm, LATENT, latent_width(d), units, 1, 0);
    nn_add_mlp(p, d->profile.norm, ACTION, d->n_actions, units, 1, 0);
    nn_add_linear(p, HIDDEN, block_width(d) + 3 * units, h, true);
    nn_add_norm(p, d->profile.norm, HIDDEN_NORM, h);
    nn_add_linear(p, GATES, block_width(d), 3 * h, true);
}

static struct tensor *blocks_actions(const struct wm_net *net, struct tensor *const *actions,
                                     int n_heads) {
    const struct wm_dims *d = &net->dims;
    struct tensor *x = nn_hidden(&net->nn, ACTION, 0, actions, n_heads, 0, NULL);
    return nn_linear(&net->nn, HIDDEN, &x, 1, block_width(d) + 2 * d->recurrent_units, NULL);
}

static struct wm_recurrent blocks_step(const struct wm_net *net, struct tensor *z,
                                       struct tensor *action_half, struct tensor *h) {
    const struct wm_dims *d = &net->dims;
    const struct nn *nn = &net->nn;
    struct tensor *parts[] = {nn_hidden(nn, STATE, 0, &h, 1, 0, NULL),
                              nn_hidden(nn, LATENT, 0, &z, 1, 0, NULL)};
    struct wm_recurrent r = {.input = parts[1]};
    r.pre = nn_linear(nn, HIDDEN, parts, 2, block_width(d), action_half);
    r.pre = nn_block_linear(nn, HIDDEN, h, d->blocks, r.pre);
    r.norm = nn_norm(nn, HIDDEN_NORM, r.pre, d->dense_eps, ACT_SILU);
    struct tensor *gates = nn_block_linear(nn, GATES, r.norm, d->blocks, NULL);
    r.h = g_gru_gates_blocks(nn->graph, gates, h, d->blocks);
    return r;
}

// ---- the table

static const struct core {
    void (*add)(struct params *p, const struct wm_dims *d);
    struct tensor *(*actions)(const struct wm_net *net, struct tensor *const *actions, int n_heads);
    struct wm_recurrent (*step)(const struct wm_net *net, struct tensor *z,
                                struct tensor *action_half, struct tensor *h);
} cores[] = {{gru_register, gru_actions, gru_step}, {blocks_register, blocks_actions, blocks_step}};

static const struct core *core_of(const struct wm_dims *d) { return &cores[d->profile.block_core]; }

void wm_core_register(struct params *p, const struct wm_dims *d) { core_of(d)->add(p, d); }

void wm_core_init_rules(const struct wm_dims *d, struct init_rule *out) {
    out[0] = (struct init_rule){HIDDEN ".", INIT_FAN_IN, 1, (double)d->blocks};
    out[1] = (struct init_rule){GATES ".", INIT_FAN_IN, 1, (double)d->blocks};
}

// The recurrent model stays in float32 whatever the rest is in (spec G57).
struct tensor *wm_heads_half(const struct wm_net *net, struct tensor *const *actions, int n_heads) {
    const bool before = graph_bf16(net->nn.graph, false);
    struct tensor *y = core_of(&net->dims)->actions(net, actions, n_heads);
    graph_bf16(net->nn.graph, before);
    return y;
}

struct tensor *wm_action_half(const struct wm_net *net, struct tensor *actions) {
    return wm_heads_half(net, &actions, 1);
}

struct wm_recurrent wm_recurrent(const struct wm_net *net, struct tensor *z,
                                 struct tensor *action_half, struct tensor *h) {
    const bool before = graph_bf16(net->nn.graph, false);
    struct wm_recurrent r = core_of(&net->dims)->step(net, z, action_half, h);
    graph_bf16(net->nn.graph, before);
    return r;
}
