// Actor and critic: parameters, policy, value, losses.
#include "engine/algo/dreamer_v3/actor_critic.h"

#include <stdio.h>

#include "base/error.h"

#define ACTOR_MODEL "actor.model._model"
#define ACTOR_HEAD "actor.mlp_heads."

struct ac_dims ac_dims_from_config(const struct config *cfg, const struct wm_dims *world,
                                   const struct action_space *actions) {
    const struct action_space one = action_space_of_one((int)world->n_actions);
    if (!actions) actions = &one;
    struct ac_dims d = {
        .n_heads = actions->n_continuous ? 1 : actions->n_heads,
        .continuous = actions->n_continuous > 0,
        .min_std = (real)cfg->actor_min_std,
        .init_std = (real)cfg->actor_init_std,
        .action_clip = (real)cfg->action_clip,
        .state = world->stochastic * world->discrete + world->recurrent,
        .dense_units = cfg->dense_units,
        .n_layers = cfg->mlp_layers,
        .bins = cfg->critic_bins,
        .unimix = world->profile.plain_policy ? 0 : (real)cfg->unimix,
        .dense_eps = (real)cfg->mlp_eps,
        .profile = world->profile,
    };
    CHECK(d.n_heads >= 1 && d.n_heads <= AC_MAX_HEADS, "%d action heads", d.n_heads);
    for (int k = 0; k < d.n_heads; k++)
        d.classes[k] = d.continuous ? actions->n_continuous : actions->classes[k];
    CHECK(action_width(actions) == world->n_actions, "%d action values for %lld",
          action_width(actions), (long long)world->n_actions);
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
    nn_add_mlp(p, d->profile.norm, ACTOR_MODEL, d->state, d->dense_units, (int)d->n_layers, 0);
    for (int k = 0; k < d->n_heads; k++)
        nn_add_linear(p, head_name(name, k), d->dense_units,
                      d->continuous ? 2 * d->classes[k] : d->classes[k], true);
}

void ac_register_critic(struct params *p, const struct ac_dims *d, const char *name) {
    char model[PARAM_NAME_SIZE];
    nn_add_mlp(p, d->profile.norm, critic_model(model, name), d->state, d->dense_units,
               (int)d->n_layers, d->bins);
}

void ac_init_actor(struct params *p, const struct ac_dims *d, uint64_t seed, bool hafner,
                   struct pool *pool) {
    static const struct init_rule rules[] = {{ACTOR_HEAD, INIT_UNIFORM, 0, 0},
                                             {NULL, INIT_BY_SHAPE, 0, 0}};
    static const struct init_rule official[] = {
        {"", INIT_FAN_IN, 1, 1}, {ACTOR_HEAD, INIT_FAN_IN, 0.01, 1}, {NULL, INIT_BY_SHAPE, 0, 0}};
    init_params(p, seed, d->profile.fan_in ? official : hafner ? rules : NULL, pool);
}

void ac_init_critic(struct params *p, const struct ac_dims *d, const char *name, uint64_t seed,
                    bool hafner, struct pool *pool) {
    char output[PARAM_NAME_SIZE];
    snprintf(output, sizeof output, "%s._model.%d.", name, 3 * (int)d->n_layers);
    const enum init_kind base = d->profile.fan_in ? INIT_FAN_IN : INIT_BY_SHAPE;
    const struct init_rule rules[] = {
        {"", base, 1, 1}, {output, INIT_ZERO, 0, 0}, {NULL, INIT_BY_SHAPE, 0, 0}};
    init_params(p, seed, hafner ? rules : NULL, pool);
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

static void normal_of(const struct ac_net *net, struct policy *p) {
    const real max_std = 1; // sheeprl's key for it is not passed on
    const struct ac_dims *d = &net->dims;
    struct graph *g = net->nn.graph;
    struct tensor *raw = g_columns(g, p->logits[0], p->classes[0], p->classes[0]);
    p->mean = g_tanh(g, g_columns(g, p->logits[0], 0, p->classes[0]));
    p->std = g_affine(g, g_sigmoid(g, g_affine(g, raw, 1, d->init_std)), max_std - d->min_std,
                      d->min_std);
}

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
        if (net->dims.continuous)
            normal_of(net, &p);
        else
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

struct normal_sample ac_sample_normal(const struct ac_net *net, const struct policy *p,
                                      struct tensor *eps) {
    struct graph *g = net->nn.graph;
    struct normal_sample s = {.sampled = g_add(g, p->mean, g_mul(g, p->std, eps))};
    s.clipped = g_limit(g, s.sampled, net->dims.action_clip);
    return s;
}

void ac_mode(const struct ac_net *net, const struct policy *p, struct tensor **actions) {
    if (net->dims.continuous) {
        actions[0] = g_limit(net->nn.graph, p->mean, net->dims.action_clip);
        return;
    }
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
    if (net->dims.continuous) return g_normal_entropy(g, p->std);
    for (int k = 0; k < p->n_heads; k++) sum = plus(g, sum, g_entropy(g, p->probs[k]));
    return sum;
}

// ---- value

static struct tensor *value_logits(const struct ac_net *net, struct params *critic,
                                   const char *name, struct tensor *z, struct tensor *h,
                                   bool frozen) {
    struct graph *g = net->nn.graph;
    struct nn nn = with_params(net, critic);
    nn.frozen = frozen;
    char model[PARAM_NAME_SIZE];
    graph_scope_push(g, "%s", name);
    struct tensor *logits = nn_mlp(&nn, critic_model(model, name), (struct tensor *[]){z, h}, 2,
                                   (int)net->dims.n_layers, true);
    graph_scope_pop(g);
    return logits;
}

struct tensor *ac_critic(const struct ac_net *net, struct params *critic, const char *name,
                         struct tensor *z, struct tensor *h) {
    return value_logits(net, critic, name, z, h, false);
}

struct tensor *ac_critic_frozen(const struct ac_net *net, struct params *critic, const char *name,
                                struct tensor *z, struct tensor *h) {
    return value_logits(net, critic, name, z, h, true);
}

// ---- losses

// - mean w (objective + ent_coef entropy)
static void add_up(struct graph *g, struct actor_loss *l, struct tensor *objective,
                   struct tensor *weights, real ent_coef) {
    struct tensor *sum = g_add(g, objective, g_affine(g, l->entropy, ent_coef, 0));
    l->loss = g_affine(g, g_mean(g, g_mul(g, sum, weights)), -1, 0);
}

struct actor_loss ac_actor_loss(const struct ac_net *net, struct params *actor, struct tensor *z,
                                struct tensor *h, struct tensor *const *actions,
                                struct tensor *advantage, struct tensor *weights, real ent_coef) {
    struct graph *g = net->nn.graph;
    graph_scope_push(g, "actor_loss");
    struct actor_loss l = {.policy = ac_policy(net, actor, z, h)};
    l.log_prob = ac_log_prob(net, &l.policy, actions);
    l.entropy = ac_entropy(net, &l.policy);
    add_up(g, &l, g_mul(g, l.log_prob, advantage), weights, ent_coef);
    graph_scope_pop(g);
    return l;
}

struct actor_loss ac_dream_loss(struct graph *g, struct tensor *entropy, struct tensor *advantage,
                                struct tensor *weights, real ent_coef) {
    graph_scope_push(g, "actor_loss");
    struct actor_loss l = {.entropy = entropy};
    add_up(g, &l, advantage, weights, ent_coef);
    graph_scope_pop(g);
    return l;
}

struct critic_loss ac_critic_loss(const struct ac_net *net, struct tensor *logits,
                                  struct tensor *returns, struct tensor *target_values,
                                  struct tensor *weights, struct tensor *bins) {
    struct graph *g = net->nn.graph;
    struct tensor *(*nll)(struct graph *, struct tensor *, struct tensor *, struct tensor *) =
        net->dims.profile.real_bins ? g_twohot_real_nll : g_twohot_nll;
    graph_scope_push(g, "critic_loss");
    struct critic_loss l = {
        .returns_nll = nll(g, logits, returns, bins),
        .target_nll = nll(g, logits, target_values, bins),
    };
    l.loss = g_mean(g, g_mul(g, g_add(g, l.returns_nll, l.target_nll), weights));
    graph_scope_pop(g);
    return l;
}
