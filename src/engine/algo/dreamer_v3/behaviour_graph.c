// The behaviour graph: dream, returns, losses.
#include "engine/algo/dreamer_v3/behaviour_graph.h"

#include <string.h>

#include "base/error.h"

struct behaviour_graph_opts behaviour_opts_from_config(const struct config *cfg,
                                                       const struct wm_dims *world,
                                                       const struct ac_dims *nets,
                                                       int64_t n_starts) {
    return (struct behaviour_graph_opts){
        .world = *world,
        .nets = *nets,
        .horizon = (int)cfg->horizon,
        .n_starts = n_starts,
        .gamma = (real)cfg->gamma,
        .lambda = (real)cfg->lmbda,
        .ent_coef = (real)cfg->actor_ent_coef,
        .min_scale = (real)(1 / cfg->moments_max),
        .replay_scale = (real)cfg->critic_replay_scale,
        .soft_continues = strcmp(cfg->continue_mode, "prob") == 0,
        .moments = {.decay = (real)cfg->moments_decay,
                    .low = (real)cfg->percentile_low,
                    .high = (real)cfg->percentile_high},
    };
}

struct builder {
    struct graph *g;
    const struct behaviour_sets *sets;
    const struct behaviour_graph_opts *o;
    struct wm_net world;
    struct ac_net nets;
    struct behaviour_in in;
};

static struct tensor *input(struct graph *g, const char *name, int64_t rows, int64_t width) {
    return g_input(g, name, DTYPE_REAL, width ? 2 : 1, (int64_t[]){rows, width});
}

static struct behaviour_in inputs(struct graph *g, const struct behaviour_graph_opts *o) {
    int64_t n = o->n_starts, steps = o->horizon, latent = o->world.stochastic * o->world.discrete;
    const struct replayed *r = o->replayed;
    return (struct behaviour_in){
        .z = r ? g_stop_gradient(g, r->z) : input(g, "start_z", n, latent),
        .h = r ? g_stop_gradient(g, r->h) : input(g, "start_h", n, o->world.recurrent),
        .continues = r ? r->continues : input(g, "start_continues", n, 0),
        .u_action =
            o->nets.continuous ? NULL : input(g, "u_action", o->nets.n_heads * (steps + 1) * n, 0),
        .eps = o->nets.continuous ? input(g, "eps", (steps + 1) * n, o->world.n_actions) : NULL,
        .u_prior = input(g, "u_prior", steps * n, o->world.stochastic),
        .reward_bins = input(g, "reward_bins", o->world.bins, 0),
        .value_bins = input(g, "value_bins", o->nets.bins, 0),
        .range = input(g, "range", 2, 0),
    };
}

// Continuous: the policy sees the states without gradient, its actions carry theirs into the dream.
static void steer(struct builder *b, int tau, struct tensor *z, struct tensor *h,
                  struct tensor **actions, struct dream_step *s) {
    struct graph *g = b->g;
    int64_t n = b->o->n_starts;
    s->policy = ac_policy(&b->nets, b->sets->actor, g_stop_gradient(g, z), g_stop_gradient(g, h));
    s->normal = ac_sample_normal(&b->nets, &s->policy, g_slice(g, b->in.eps, tau * n, n));
    actions[0] = s->normal.clipped;
}

// The policy's actions in the states of step tau.
static struct policy act(struct builder *b, int tau, struct tensor *z, struct tensor *h,
                         struct tensor **actions) {
    struct tensor *u[AC_MAX_HEADS];
    int64_t n = b->o->n_starts;
    for (int k = 0; k < b->o->nets.n_heads; k++)
        u[k] = g_slice(b->g, b->in.u_action, (k * (b->o->horizon + 1) + tau) * n, n);
    struct policy p = ac_policy(&b->nets, b->sets->actor, z, h);
    ac_sample(&b->nets, &p, u, actions);
    return p;
}

// The state that follows from (z, h) and the actions.
static struct dream_step follow(struct builder *b, int tau, struct tensor **z, struct tensor **h,
                                struct tensor *const *actions) {
    struct graph *g = b->g;
    int64_t n = b->o->n_starts;
    struct dream_step s = {0};
    if (tau == 0) { // copies, so that they lie in the stacks
        z[0] = g_affine(g, b->in.z, 1, 0);
        h[0] = g_affine(g, b->in.h, 1, 0);
        return s;
    }
    struct tensor *half = wm_heads_half(&b->world, actions, b->o->nets.n_heads);
    s.recurrent = wm_recurrent(&b->world, z[tau - 1], half, h[tau - 1]);
    h[tau] = s.recurrent.h;
    s.prior = wm_prior(&b->world, h[tau]);
    z[tau] = wm_sample(&b->world, s.prior.probs, g_slice(g, b->in.u_prior, (tau - 1) * n, n));
    return s;
}

// The entropy of the policies that acted, with its gradient; NULL with discrete actions, whose loss
// evaluates them again on all rows at once.
static struct tensor *imagine(struct builder *b, struct dream *d) {
    enum { STATES = BEHAVIOUR_MAX_HORIZON + 1 };
    struct graph *g = b->g;
    struct tensor *z[STATES], *h[STATES], *actions[AC_MAX_HEADS][STATES],
        *now[AC_MAX_HEADS] = {0}, *std[STATES], *entropy = NULL;
    const bool continuous = b->o->nets.continuous;
    int n_heads = b->o->nets.n_heads, n_acts = b->o->horizon + b->o->whole;
    graph_scope_push(g, "dream");
    for (int tau = 0; tau <= b->o->horizon; tau++) {
        graph_scope_push(g, "t%02d", tau);
        struct dream_step s = follow(b, tau, z, h, now);
        if (tau < n_acts && continuous)
            steer(b, tau, z[tau], h[tau], now, &s);
        else if (tau < n_acts)
            s.policy = act(b, tau, z[tau], h[tau], now);
        std[tau] = s.policy.std;
        for (int k = 0; k < n_heads; k++) actions[k][tau] = now[k];
        if (b->o->steps) b->o->steps[tau] = s;
        graph_scope_pop(g);
    }
    d->z = g_stack(g, z, b->o->horizon + 1);
    d->h = g_stack(g, h, b->o->horizon + 1);
    if (continuous)
        entropy = g_normal_entropy(g, g_stack(g, std, b->o->horizon));
    else {
        d->z = g_stop_gradient(g, d->z);
        d->h = g_stop_gradient(g, d->h);
    }
    for (int k = 0; k < n_heads; k++) d->actions[k] = g_stack(g, actions[k], n_acts);
    graph_scope_pop(g);
    return entropy;
}

// What the world model says about the imagined states.
static void judge(struct builder *b, struct dream *d) {
    struct graph *g = b->g;
    const bool all = b->o->whole || b->o->world.profile.discounted_continues;
    int64_t n = b->o->n_starts, first = all ? 0 : n, rows = d->z->shape[0] - first;
    struct tensor *z = g_slice(g, d->z, first, rows), *h = g_slice(g, d->h, first, rows);
    graph_scope_push(g, "heads");
    d->rewards = wm_twohot_mean(&b->world, wm_reward(&b->world, z, h), b->in.reward_bins);
    d->continue_logits = wm_continue(&b->world, z, h);
    int64_t imagined = b->o->horizon * n;
    struct tensor *logits = g_slice(g, d->continue_logits, rows - imagined, imagined);
    d->continues = (b->o->soft_continues ? soft_continues : hard_continues)(g, logits);
    d->first = b->in.continues;
    if (b->o->world.profile.discounted_continues)
        d->first = soft_continues(g, g_slice(g, d->continue_logits, 0, n));
    if (b->o->replayed) { // its parameters are not frozen in this graph
        d->rewards = g_stop_gradient(g, d->rewards);
        d->continues = g_stop_gradient(g, d->continues);
        d->first = g_stop_gradient(g, d->first);
    }
    graph_scope_pop(g);
}

// Returns and weights of the imagined states. The discount is in the continues of a profile that
// learns it there.
static void look_ahead(struct builder *b, struct behaviour_graph *r) {
    const struct behaviour_graph_opts *o = b->o;
    const struct dream *d = &r->dream;
    const real gamma = o->world.profile.discounted_continues ? 1 : o->gamma;
    struct graph *g = b->g;
    int64_t n = o->n_starts, rows = o->horizon * n, n_rewards = d->rewards->n_elements;
    struct tensor *first = g_affine(g, d->first, gamma, 0);
    struct tensor *discount = g_affine(g, d->continues, gamma, 0);
    struct tensor *reward = g_slice(g, d->rewards, n_rewards - rows, rows);
    r->returns =
        lambda_returns(g, reward, g_slice(g, r->values, n, rows), discount, o->horizon, o->lambda);
    r->weights = discount_weights(g, first, discount, o->horizon, gamma);
}

// The critic on the replayed rows: bootstrapped everywhere from what was imagined there (spec 5.7).
static void replay(struct builder *b, struct behaviour_graph *r) {
    const struct replayed *data = b->o->replayed;
    struct graph *g = b->g;
    const int64_t n = b->o->n_starts, rows = n / data->length * (data->length - 1);
    graph_scope_push(g, "replay");
    r->replayed = replay_returns(g, data->rewards, data->continues, data->is_first,
                                 g_slice(g, g_stop_gradient(g, r->returns), 0, n), data->length,
                                 b->o->gamma, b->o->lambda);
    struct tensor *logits = ac_critic(&b->nets, b->sets->critic, CRITIC_NAME,
                                      g_slice(g, data->z, 0, rows), g_slice(g, data->h, 0, rows));
    r->replay =
        ac_critic_loss(&b->nets, logits, r->replayed.returns, g_slice(g, r->target_values, 0, rows),
                       r->replayed.weights, r->in.value_bins);
    graph_scope_pop(g);
}

// The critic's values of all states, and its logits for its own loss.
static void value(struct builder *b, struct behaviour_graph *r) {
    struct graph *g = b->g;
    const struct dream *d = &r->dream;
    struct params *critic = b->sets->critic;
    if (b->o->nets.continuous) {
        struct tensor *logits = ac_critic_frozen(&b->nets, critic, CRITIC_NAME, d->z, d->h);
        r->values = wm_twohot_mean(&b->world, logits, r->in.value_bins);
        r->critic_logits = ac_critic(&b->nets, critic, CRITIC_NAME, g_stop_gradient(g, d->z),
                                     g_stop_gradient(g, d->h));
        return;
    }
    r->critic_logits = ac_critic(&b->nets, critic, CRITIC_NAME, d->z, d->h);
    r->values = wm_twohot_mean(&b->world, g_stop_gradient(g, r->critic_logits), r->in.value_bins);
}

static struct actor_loss actor_loss(struct builder *b, const struct behaviour_graph *r,
                                    struct tensor *entropy) {
    const struct behaviour_graph_opts *o = b->o;
    const struct dream *d = &r->dream;
    struct graph *g = b->g;
    int64_t rows = o->horizon * o->n_starts;
    struct tensor *actions[AC_MAX_HEADS];
    if (entropy) return ac_dream_loss(g, entropy, r->advantage, r->weights, o->ent_coef);
    for (int k = 0; k < o->nets.n_heads; k++) actions[k] = g_slice(g, d->actions[k], 0, rows);
    return ac_actor_loss(&b->nets, b->sets->actor, g_slice(g, d->z, 0, rows),
                         g_slice(g, d->h, 0, rows), actions, r->advantage, r->weights, o->ent_coef);
}

static void name_results(struct graph *g, struct behaviour_graph *r) {
    const struct {
        struct tensor *tensor;
        const char *name;
    } kept[] = {
        {r->values, "values"},
        {r->baseline, NULL},
        {r->returns, NULL},
        {r->weights, NULL},
        {r->advantage, NULL},
        {r->moments.quantiles, NULL},
        {r->moments.range, NULL},
        {r->actor.loss, "actor_loss"},
        {r->critic.loss, "critic_loss"},
        {r->critic_total, r->replay.loss ? "critic_total" : NULL},
        {r->action_entropy, "action_entropy"},
        {r->loss, "loss"},
    };
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (kept[i].name) graph_name(g, kept[i].tensor, kept[i].name);
        graph_keep(g, kept[i].tensor);
    }
}

struct behaviour_graph behaviour_build(struct graph *g, const struct behaviour_sets *sets,
                                       const struct behaviour_graph_opts *o) {
    CHECK(o->horizon >= 1 && o->horizon <= BEHAVIOUR_MAX_HORIZON, "a horizon of %d", o->horizon);
    graph_scope_push(g, "behaviour");
    struct behaviour_graph r = {.in = inputs(g, o)};
    if (!o->replayed) graph_one_hot(g, r.in.z, o->world.discrete);
    struct builder b = {
        g, sets, o, wm_net_make(g, sets->world, &o->world), ac_net_make(g, &o->nets), r.in};
    b.world.nn.probe = b.nets.nn.probe = o->probe;
    b.world.nn.probe_ctx = b.nets.nn.probe_ctx = o->probe_ctx;
    struct dream *d = &r.dream;
    int64_t n = o->n_starts, rows = o->horizon * n;
    struct tensor *entropy = imagine(&b, d);
    judge(&b, d);
    value(&b, &r);
    struct tensor *z = g_slice(g, g_stop_gradient(g, d->z), 0, rows),
                  *h = g_slice(g, g_stop_gradient(g, d->h), 0, rows);
    r.target_values = wm_twohot_mean(
        &b.world, ac_critic(&b.nets, sets->target, TARGET_CRITIC_NAME, z, h), r.in.value_bins);
    look_ahead(&b, &r);
    r.baseline = g_slice(g, r.values, 0, rows);
    r.moments = moments_update(g, r.returns, r.in.range, &o->moments);
    r.advantage = normalized_advantage(g, r.returns, r.baseline, r.moments.range, o->min_scale);

    r.actor = actor_loss(&b, &r, entropy);
    r.critic = ac_critic_loss(&b.nets, g_slice(g, r.critic_logits, 0, rows), r.returns,
                              r.target_values, r.weights, r.in.value_bins);
    r.critic_total = r.critic.loss;
    if (o->replayed) {
        replay(&b, &r);
        r.critic_total = g_add(g, r.critic.loss, g_affine(g, r.replay.loss, o->replay_scale, 0));
    }
    r.action_entropy = g_mean(g, r.actor.entropy);
    r.loss = g_add(g, r.actor.loss, r.critic_total);
    name_results(g, &r);
    graph_scope_pop(g);
    if (!o->replayed) graph_freeze(g, sets->world);
    graph_freeze(g, sets->target);
    return r;
}
