// Actor and critic: parameters, policy, value, losses.
#include "engine/algo/dreamer_v3/actor_critic.h"

#include <stdio.h>

#include "base/error.h"

#define ACTOR_MODEL "actor.model._model"
#define ACTOR_HEAD "actor.mlp_heads."

struct ac_dims ac_dims_from_config(const struct config *cfg, const struct wm_dims *world,
                                   int n_heads, const int64_t *classes) {
    struct ac_dims d = {
        .n_heads = n_heads ? n_heads : 1,
        .state = world->stochastic * world->discrete + world->recurrent,
        .dense_units = cfg->dense_units,
        .n_layers = cfg->mlp_layers,
        .bins = cfg->critic_bins,
        .unimix = (real)cfg->unimix,
        .dense_eps = (real)cfg->mlp_eps,
    };
    int64_t sum = 0;
    CHECK(d.n_heads <= AC_MAX_HEADS, "%d action heads", n_heads);
    for (int k = 0; k < d.n_heads; k++) {
        d.classes[k] = n_heads ? classes[k] : world->n_actions;
        sum += d.classes[k];
    }
    CHECK(sum == world->n_actions, "heads of %lld classes for %lld actions", (long long)sum,
          (long long)world->n_actions);
    return d;
}

static const char *head_name(char out[PARAM_NAME_SIZE], int head) {
    snprintf(out, PARAM_NAME_SIZE, ACTOR_HEAD "%d", head);
    return out;
}

static const char *critic_model(char out[PARAM_NAME_SIZE], const char *name) {
    snprintf(out, PARAM_NAME_SIZE, "%s._model", name);
    return out;
}

void ac_register_actor(struct params *p, const struct ac_dims *d) {
    char name[PARAM_NAME_SIZE];
    nn_add_mlp(p, ACTOR_MODEL, d->state, d->dense_units, (int)d->n_layers, 0);
    for (int k = 0; k < d->n_heads; k++)
        nn_add_linear(p, head_name(name, k), d->dense_units, d->classes[k], true);
}

void ac_register_critic(struct params *p, const struct ac_dims *d, const char *name) {
    char model[PARAM_NAME_SIZE];
    nn_add_mlp(p, critic_model(model, name), d->state, d->dense_units, (int)d->n_layers, d->bins);
}

void ac_init_actor(struct params *p, uint64_t seed, bool hafner) {
    static const struct init_rule rules[] = {{ACTOR_HEAD, INIT_UNIFORM}, {NULL, INIT_BY_SHAPE}};
    init_params(p, seed, hafner ? rules : NULL);
}

void ac_init_critic(struct params *p, const struct ac_dims *d, const char *name, uint64_t seed,
                    bool hafner) {
    char output[PARAM_NAME_SIZE];
    snprintf(output, sizeof output, "%s._model.%d.", name, 3 * (int)d->n_layers);
    const struct init_rule rules[] = {{output, INIT_ZERO}, {NULL, INIT_BY_SHAPE}};
    init_params(p, seed, hafner ? rules : NULL);
}

struct ac_net ac_net_make(struct graph *g, const struct ac_dims *d) {
    return (struct ac_net){.nn = {.graph = g, .dense_eps = d->dense_eps, .conv_eps = d->dense_eps},
                           .dims = *d};
}

static struct nn with_params(const struct ac_net *net, struct params *p) {
    struct nn nn = net->nn;
    nn.params = p;
    return nn;
}

// ---- policy

struct policy ac_policy(const struct ac_net *net, struct params *actor, struct tensor *z,
                        struct tensor *h) {
    struct graph *g = net->nn.graph;
    struct nn nn = with_params(net, actor);
    struct policy p = {.n_heads = net->dims.n_heads};
    char name[PARAM_NAME_SIZE];
    graph_scope_push(g, "actor");
    struct tensor *x =
        nn_mlp(&nn, ACTOR_MODEL, (struct tensor *[]){z, h}, 2, (int)net->dims.n_layers, false);
    p.hidden = x;
    for (int k = 0; k < p.n_heads; k++) {
        p.classes[k] = net->dims.classes[k];
        p.logits[k] = nn_linear(&nn, head_name(name, k), &x, 1, 0, NULL);
        p.probs[k] = g_unimix(g, p.logits[k], p.classes[k], net->dims.unimix);
    }
    graph_scope_pop(g);
    return p;
}

void ac_sample(const struct ac_net *net, const struct policy *p, struct tensor *const *u,
               struct tensor **actions) {
    struct graph *g = net->nn.graph;
    for (int k = 0; k < p->n_heads; k++)
        actions[k] = g_sample(g, g_stop_gradient(g, p->probs[k]), u[k], p->classes[k]);
}

void ac_mode(const struct ac_net *net, const struct policy *p, struct tensor **actions) {
    for (int k = 0; k < p->n_heads; k++)
        actions[k] = g_mode(net->nn.graph, p->probs[k], p->classes[k]);
}

static struct tensor *plus(struct graph *g, struct tensor *sum, struct tensor *x) {
    return sum ? g_add(g, sum, x) : x;
}

struct tensor *ac_log_prob(const struct ac_net *net, const struct policy *p,
                           struct tensor *const *actions) {
    struct graph *g = net->nn.graph;
    struct tensor *sum = NULL;
    for (int k = 0; k < p->n_heads; k++) sum = plus(g, sum, g_log_prob(g, p->probs[k], actions[k]));
    return sum;
}

struct tensor *ac_entropy(const struct ac_net *net, const struct policy *p) {
    struct graph *g = net->nn.graph;
    struct tensor *sum = NULL;
    for (int k = 0; k < p->n_heads; k++) sum = plus(g, sum, g_entropy(g, p->probs[k]));
    return sum;
}

// ---- value

struct tensor *ac_critic(const struct ac_net *net, struct params *critic, const char *name,
                         struct tensor *z, struct tensor *h) {
    struct graph *g = net->nn.graph;
    struct nn nn = with_params(net, critic);
    char model[PARAM_NAME_SIZE];
    graph_scope_push(g, "%s", name);
    struct tensor *logits = nn_mlp(&nn, critic_model(model, name), (struct tensor *[]){z, h}, 2,
                                   (int)net->dims.n_layers, true);
    graph_scope_pop(g);
    return logits;
}

// ---- losses

struct actor_loss ac_actor_loss(const struct ac_net *net, struct params *actor, struct tensor *z,
                                struct tensor *h, struct tensor *const *actions,
                                struct tensor *advantage, struct tensor *weights, real ent_coef) {
    struct graph *g = net->nn.graph;
    graph_scope_push(g, "actor_loss");
    struct actor_loss l = {.policy = ac_policy(net, actor, z, h)};
    l.log_prob = ac_log_prob(net, &l.policy, actions);
    l.entropy = ac_entropy(net, &l.policy);
    struct tensor *objective =
        g_add(g, g_mul(g, l.log_prob, advantage), g_affine(g, l.entropy, ent_coef, 0));
    l.loss = g_affine(g, g_mean(g, g_mul(g, objective, weights)), -1, 0);
    graph_scope_pop(g);
    return l;
}

struct critic_loss ac_critic_loss(struct graph *g, struct tensor *logits, struct tensor *returns,
                                  struct tensor *target_values, struct tensor *weights,
                                  struct tensor *bins) {
    graph_scope_push(g, "critic_loss");
    struct critic_loss l = {
        .returns_nll = g_twohot_nll(g, logits, returns, bins),
        .target_nll = g_twohot_nll(g, logits, target_values, bins),
    };
    l.loss = g_mean(g, g_mul(g, g_add(g, l.returns_nll, l.target_nll), weights));
    graph_scope_pop(g);
    return l;
}
