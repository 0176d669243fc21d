// Parity checks of behaviour learning: F32-F40, F49.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/algo/dreamer_v3/behaviour.h"
#include "engine/algo/dreamer_v3/behaviour_graph.h"
#include "engine/algo/dreamer_v3/golden_case.h"
#include "engine/algo/dreamer_v3/golden_checks.h"
#include "engine/algo/dreamer_v3/golden_tiny.h"

static const real GAMMA = (real)(1 - 1.0 / 333), LAMBDA = (real)0.95, ENT_COEF = (real)3e-4;

static void fill(struct golden_case *c, const char *name, struct tensor *to) {
    const real *x = case_reals(c, name, to->n_elements);
    if (x) memcpy(to->data, x, (size_t)to->n_elements * sizeof *x);
}

static struct tensor *plain_input(struct golden_case *c, const char *name, int64_t rows,
                                  int64_t width) {
    return g_input(c->graph, name, DTYPE_REAL, width ? 2 : 1, (int64_t[]){rows, width});
}

// ---- F33, F34

static void match_returns(struct golden_case *c, const char *part, const char *suffix, real lambda,
                          bool gradients) {
    enum { REWARD, VALUE, DISCOUNT, RETURN, D_RETURN, D_REWARD, D_VALUE, N_NAMES };
    static const char *const names[N_NAMES] = {"reward",  "value",    "discount", "return_",
                                               "dreturn", "dreward_", "dvalue_"};
    char name[N_NAMES][ST_NAME_SIZE];
    for (int i = 0; i < N_NAMES; i++)
        snprintf(name[i], sizeof name[i], "%s.%s%s", part, names[i],
                 strchr(names[i], '_') ? suffix : "");
    int64_t horizon = case_dim(c, name[REWARD], 0), n = horizon * case_dim(c, name[REWARD], 1);
    if (c->failed) return;
    case_begin(c);
    struct tensor *reward = case_input(c, name[REWARD], 1, &n),
                  *value = case_input(c, name[VALUE], 1, &n),
                  *discount = case_input(c, name[DISCOUNT], 1, &n);
    struct tensor *returns =
        lambda_returns(c->graph, reward, value, discount, (int)horizon, lambda);
    case_value(c, name[RETURN], returns);
    if (gradients) {
        case_upstream(c, returns, name[D_RETURN]);
        case_gradient(c, name[D_REWARD], reward);
        case_gradient(c, name[D_VALUE], value);
    }
    case_run(c);
    case_end(c);
}

void golden_lambda_returns(struct golden_case *c) {
    static const struct {
        const char *suffix;
        real lambda;
    } mixes[] = {{"0", 0}, {"095", (real)0.95}, {"1", 1}};
    for (size_t i = 0; i < sizeof mixes / sizeof mixes[0]; i++) {
        match_returns(c, "hand", mixes[i].suffix, mixes[i].lambda, false);
        match_returns(c, "random", mixes[i].suffix, mixes[i].lambda, true);
    }
}

void golden_continue_discount(struct golden_case *c) {
    int64_t steps = case_dim(c, "continue_logit", 0) - 1, n = case_dim(c, "continue_logit", 1);
    if (c->failed) return;
    case_begin(c);
    struct graph *g = c->graph;
    struct tensor *ended = plain_input(c, "terminated", n, 0);
    struct tensor *logits = plain_input(c, "continue_logit", (steps + 1) * n, 1);
    struct tensor *parts[2] = {g_affine(g, ended, -1, 1),
                               hard_continues(g, g_slice(g, logits, n, steps * n))};
    case_values(c, "c", parts, 2);
    case_value(c, "w",
               discount_weights(g, g_affine(g, parts[0], GAMMA, 0), g_affine(g, parts[1], GAMMA, 0),
                                (int)steps, GAMMA));
    case_plan(c);
    fill(c, "terminated", ended);
    fill(c, "continue_logit", logits);
    case_execute(c);
    case_compare(c);
}

// ---- F36

static void match_moments(struct golden_case *c, const char *part, int n_batches) {
    enum { MAX_BATCHES = 3, Q05, Q95, LOW, HIGH, SCALE };
    real values[SCALE + 1][MAX_BATCHES], range[2] = {0, 0};
    static const struct moments_opts opts = {(real)0.99, (real)0.05, (real)0.95};
    char name[ST_NAME_SIZE];
    for (int i = 0; i < n_batches && !c->failed; i++) {
        snprintf(name, sizeof name, "%s.x%d", part, i);
        int64_t n = case_dim(c, name, 0);
        case_begin(c);
        struct tensor *x = plain_input(c, name, n, 0), *before = plain_input(c, "range", 2, 0);
        struct moments m = moments_update(c->graph, x, before, &opts);
        graph_keep(c->graph, m.quantiles);
        graph_keep(c->graph, m.range);
        case_plan(c);
        fill(c, name, x);
        memcpy(before->data, range, sizeof range);
        case_execute(c);
        const real *q = m.quantiles->data, *now = m.range->data;
        values[Q05][i] = q[0], values[Q95][i] = q[1];
        values[LOW][i] = range[0] = now[0], values[HIGH][i] = range[1] = now[1];
        values[SCALE][i] = now[1] - now[0] > 1 ? now[1] - now[0] : 1;
        case_end(c);
    }
    static const char *const names[SCALE + 1] = {
        [Q05] = "q05", [Q95] = "q95", [LOW] = "low", [HIGH] = "high", [SCALE] = "scale"};
    for (int k = Q05; k <= SCALE && !c->failed; k++) {
        snprintf(name, sizeof name, "%s.%s", part, names[k]);
        case_match(c, name, values[k], n_batches);
    }
}

void golden_moments(struct golden_case *c) {
    match_moments(c, "hand", 3);
    match_moments(c, "mixed", 3);
    match_moments(c, "narrow", 2);
}

// ---- F37, F39: the losses on a given trajectory

struct trajectory {
    int64_t rows;
    struct tensor *z, *h, *weights, *returns;
};

static struct trajectory trajectory_inputs(struct golden_case *c, const struct golden_tiny *t) {
    int64_t rows = case_dim(c, "trajectory", 0) * case_dim(c, "trajectory", 1);
    return (struct trajectory){
        .rows = rows,
        .z = plain_input(c, "z", rows, t->world.stochastic * t->world.discrete),
        .h = plain_input(c, "h", rows, t->world.recurrent),
        .weights = plain_input(c, "w", rows, 0),
        .returns = plain_input(c, "return", rows, 0),
    };
}

static void trajectory_fill(struct golden_case *c, const struct trajectory *t) {
    int64_t n_z = t->z->shape[1], n_h = t->h->shape[1], width = n_z + n_h;
    const real *x = case_reals(c, "trajectory", t->rows * width);
    for (int64_t i = 0; x && i < t->rows; i++, x += width) {
        memcpy((real *)t->z->data + i * n_z, x, (size_t)n_z * sizeof *x);
        memcpy((real *)t->h->data + i * n_h, x + n_z, (size_t)n_h * sizeof *x);
    }
    fill(c, "w", t->weights);
    fill(c, "return", t->returns);
}

// Class numbers [rows][heads] as one one-hot tensor per head.
static void fill_actions(struct golden_case *c, const char *name, struct tensor *const *one_hot,
                         int n_heads) {
    int64_t rows = one_hot[0]->shape[0];
    const real *index = case_reals(c, name, rows * n_heads);
    for (int k = 0; index && k < n_heads; k++)
        for (int64_t i = 0; i < rows; i++)
            ((real *)one_hot[k]->data)[i * one_hot[k]->shape[1] + (int64_t)index[i * n_heads + k]] =
                1;
}

static void match_policy(struct golden_case *c, const struct policy *p) {
    for (int k = 0; k < p->n_heads; k++) {
        char name[2][32];
        snprintf(name[0], sizeof name[0], "logits%d", k);
        snprintf(name[1], sizeof name[1], "lambda%d", k);
        case_value(c, name[0], p->logits[k]);
        case_value(c, name[1], g_log_clamped(c->graph, p->probs[k]));
    }
}

void golden_actor_discrete(struct golden_case *c) {
    struct golden_tiny t = golden_tiny();
    struct params actor;
    params_init(&actor);
    ac_register_actor(&actor, &t.nets);
    params_allocate(&actor);
    case_load_set(c, &actor, "param.", true);
    case_begin(c);
    struct ac_net net = ac_net_make(c->graph, &t.nets);
    struct trajectory in = trajectory_inputs(c, &t);
    struct tensor *value = plain_input(c, "value", in.rows, 0), *actions[AC_MAX_HEADS],
                  *range = plain_input(c, "range", 2, 0);
    for (int k = 0; k < t.nets.n_heads; k++)
        actions[k] = plain_input(c, "action", in.rows, t.nets.classes[k]);
    struct tensor *advantage = normalized_advantage(c->graph, in.returns, value, range, 1);
    struct actor_loss l =
        ac_actor_loss(&net, &actor, in.z, in.h, actions, advantage, in.weights, ENT_COEF);
    match_policy(c, &l.policy);
    case_value(c, "advantage", advantage);
    case_value(c, "log_prob", l.log_prob);
    case_value(c, "entropy", l.entropy);
    case_value(c, "Loss/policy_loss", l.loss);
    case_add_loss(c, l.loss);
    case_plan(c);
    trajectory_fill(c, &in);
    fill(c, "value", value);
    fill_actions(c, "action", actions, t.nets.n_heads);
    const real *low = case_reals(c, "low", 1), *scale = case_reals(c, "scale", 1);
    if (low && scale) memcpy(range->data, (real[]){*low, *low + *scale}, 2 * sizeof(real));
    case_execute(c);
    case_compare(c);
    case_update(c, &actor, &t.adam, "Grads/actor");
    case_end(c); // its graph first
    params_deinit(&actor);
}

void golden_critic_loss(struct golden_case *c) {
    struct golden_tiny t = golden_tiny();
    struct params critic, target;
    params_init(&critic);
    params_init(&target);
    ac_register_critic(&critic, &t.nets, CRITIC_NAME);
    ac_register_critic(&target, &t.nets, TARGET_CRITIC_NAME);
    params_allocate(&critic);
    params_allocate(&target);
    case_load_set(c, &critic, "param.", true);
    case_load_set(c, &target, "param.", true);
    case_begin(c);
    struct ac_net net = ac_net_make(c->graph, &t.nets);
    struct trajectory in = trajectory_inputs(c, &t);
    struct tensor *bins = plain_input(c, "bins", t.nets.bins, 0);
    struct tensor *logits = ac_critic(&net, &critic, CRITIC_NAME, in.z, in.h);
    struct tensor *target_values =
        g_twohot_mean(c->graph, ac_critic(&net, &target, TARGET_CRITIC_NAME, in.z, in.h), bins);
    struct critic_loss l =
        ac_critic_loss(&net, logits, in.returns, target_values, in.weights, bins);
    case_value(c, "logits", logits);
    case_value(c, "target_value", target_values);
    case_value(c, "l_return", l.returns_nll);
    case_value(c, "l_target", l.target_nll);
    case_value(c, "Loss/value_loss", l.loss);
    case_add_loss(c, l.loss);
    case_plan(c);
    trajectory_fill(c, &in);
    case_bins(c, bins);
    case_execute(c);
    case_compare(c);
    case_update(c, &critic, &t.adam, "Grads/critic");
    case_end(c);
    params_deinit(&critic);
    params_deinit(&target);
}

// ---- F40

enum { TARGET_STEPS = 5, TARGET_VALUES = 19 };

static void two_tensors(struct params *p) {
    params_init(p);
    params_add(p, "a", 1, (int64_t[]){7});
    params_add(p, "b", 1, (int64_t[]){12});
    params_allocate(p);
}

// 19 values to or from the slices of the set.
static void put_values(struct params *p, const real *x) {
    for (int i = 0; i < p->n; x += p->list[i++].n_elements)
        memcpy(params_weights(p, &p->list[i]), x, (size_t)p->list[i].n_elements * sizeof *x);
}
static void get_values(const struct params *p, real *x) {
    for (int i = 0; i < p->n; x += p->list[i++].n_elements)
        memcpy(x, params_weights(p, &p->list[i]), (size_t)p->list[i].n_elements * sizeof *x);
}

void golden_target_ema(struct golden_case *c) {
    const real *theta = case_reals(c, "theta", TARGET_STEPS * TARGET_VALUES),
               *start = case_reals(c, "target0", TARGET_VALUES);
    for (int freq = 1; freq <= 2 && !c->failed; freq++) {
        struct params critic, target;
        real mine[TARGET_STEPS * TARGET_VALUES];
        char name[ST_NAME_SIZE];
        two_tensors(&critic);
        two_tensors(&target);
        put_values(&target, start);
        for (int step = 0; step < TARGET_STEPS; step++) {
            double tau = behaviour_target_step(step, freq, 0.02);
            put_values(&critic, theta + step * TARGET_VALUES);
            if (tau > 0) optim_track(&target, &critic, tau, c->pool);
            get_values(&target, mine + step * TARGET_VALUES);
        }
        snprintf(name, sizeof name, "freq%d.target", freq);
        case_match(c, name, mine, TARGET_STEPS * TARGET_VALUES);
        params_deinit(&critic);
        params_deinit(&target);
    }
}

// ---- F32, F35, F49: the behaviour graph

enum { MAX_STATES = 6 };
struct behaviour_case {
    struct golden_tiny tiny;
    struct params world, actor, critic, target;
    struct behaviour_graph_opts opts;
    struct behaviour_graph b;
    struct dream_step steps[MAX_STATES];
    struct tensor *reward_hidden, *continue_hidden, *critic_hidden;
};

static void probe(void *ctx, const char *submodule, struct tensor *output) {
    struct behaviour_case *k = ctx;
    if (strcmp(submodule, "reward_model._model.5") == 0) k->reward_hidden = output;
    if (strcmp(submodule, "continue_model._model.5") == 0) k->continue_hidden = output;
    if (strcmp(submodule, "critic._model.5") == 0) k->critic_hidden = output;
}

static struct behaviour_case *behaviour_case_new(const struct golden_tiny *tiny, int horizon,
                                                 int64_t n_starts) {
    struct behaviour_case *k = mem_alloc(sizeof *k);
    k->tiny = *tiny;
    struct params *sets[] = {&k->world, &k->actor, &k->critic, &k->target};
    for (int i = 0; i < 4; i++) params_init(sets[i]);
    wm_register(&k->world, &k->tiny.world);
    ac_register_actor(&k->actor, &k->tiny.nets);
    ac_register_critic(&k->critic, &k->tiny.nets, CRITIC_NAME);
    ac_register_critic(&k->target, &k->tiny.nets, TARGET_CRITIC_NAME);
    for (int i = 0; i < 4; i++) params_allocate(sets[i]);
    k->opts = behaviour_opts_from_config(&k->tiny.config, &k->tiny.world, &k->tiny.nets, n_starts);
    k->opts.horizon = horizon;
    k->opts.gamma = GAMMA;
    k->opts.lambda = LAMBDA;
    k->opts.whole = true;
    k->opts.steps = k->steps;
    k->opts.probe = probe;
    k->opts.probe_ctx = k;
    CHECK(horizon < MAX_STATES, "a horizon of %d", horizon);
    return k;
}

static void behaviour_case_build(struct golden_case *c, struct behaviour_case *k) {
    struct behaviour_sets sets = {&k->world, &k->actor, &k->critic, &k->target};
    case_begin(c);
    k->b = behaviour_build(c->graph, &sets, &k->opts);
}

static void behaviour_case_free(struct golden_case *c, struct behaviour_case *k) {
    case_end(c); // its graph first
    params_deinit(&k->world);
    params_deinit(&k->actor);
    params_deinit(&k->critic);
    params_deinit(&k->target);
    free(k);
}

static int fixture_params(const struct golden_case *c) {
    int n = 0;
    for (int i = 0; i < golden_tensor_count(c->fixture); i++)
        n += strncmp(golden_tensor_at(c->fixture, i)->t->name, "param.", 6) == 0;
    return n;
}

static void dream_fill(struct golden_case *c, struct behaviour_case *k) {
    const struct behaviour_in *in = &k->b.in;
    int64_t n = in->z->shape[0], s = k->tiny.world.stochastic, d = k->tiny.world.discrete;
    const real *z = case_reals(c, "start_z", n * s), *ended = case_reals(c, "terminated", n);
    for (int64_t i = 0; z && i < n * s; i++) ((real *)in->z->data)[i * d + (int64_t)z[i]] = 1;
    for (int64_t i = 0; ended && i < n; i++) ((real *)in->continues->data)[i] = 1 - ended[i];
    fill(c, "start_h", in->h);
    fill(c, "u_prior", in->u_prior);
    if (in->eps) {
        fill(c, "eps", in->eps);
    } else {
        const real *u = case_reals(c, "u_action", in->u_action->n_elements);
        if (u) golden_tiny_heads(u, in->u_action->data, in->u_action->n_elements, 2);
    }
    case_bins(c, in->reward_bins);
    case_bins(c, in->value_bins);
}

static void dream_values(struct golden_case *c, struct behaviour_case *k) {
    struct tensor *f[MAX_STATES], *hidden[MAX_STATES], *logits[MAX_STATES], *actor[MAX_STATES],
        *heads[2][MAX_STATES];
    int n = k->opts.horizon;
    for (int tau = 0; tau <= n; tau++) {
        const struct dream_step *s = &k->steps[tau];
        if (tau > 0) {
            f[tau - 1] = s->recurrent.input;
            hidden[tau - 1] = s->prior.hidden;
            logits[tau - 1] = s->prior.logits;
        }
        actor[tau] = s->policy.hidden;
        for (int head = 0; head < 2; head++) heads[head][tau] = s->policy.logits[head];
    }
    case_values(c, "layer.f", f, n);
    case_values(c, "layer.prior_hidden", hidden, n);
    case_values(c, "layer.prior_logits", logits, n);
    case_values(c, "layer.actor_hidden", actor, n + 1);
    case_values(c, "actor_logits0", heads[0], n + 1);
    case_values(c, "actor_logits1", heads[1], n + 1);
    const struct dream *d = &k->b.dream;
    case_classes(c, "z", (struct tensor *const *)&d->z, 1, k->tiny.world.discrete);
    case_value(c, "h", d->h);
    case_value(c, "layer.reward_hidden", k->reward_hidden);
    case_value(c, "layer.continue_hidden", k->continue_hidden);
    case_value(c, "layer.critic_hidden", k->critic_hidden);
    case_value(c, "value", k->b.values);
    case_value(c, "reward", d->rewards);
    case_value(c, "continue_logit", d->continue_logits);
    case_values(c, "c", (struct tensor *[]){k->b.in.continues, d->continues}, 2);
    for (int head = 0; head < 2; head++) graph_keep(c->graph, d->actions[head]);
}

// Class numbers [tau][n][head] from one one-hot tensor per head.
static void match_actions(struct golden_case *c, struct tensor *const *actions) {
    int64_t rows = actions[0]->shape[0];
    real *index = mem_alloc((size_t)(2 * rows) * sizeof *index);
    for (int head = 0; head < 2; head++)
        golden_tiny_classes(actions[head]->data, rows, actions[head]->shape[1], index + head, 2);
    case_match(c, "action", index, 2 * rows);
    free(index);
}

// A dream from the fixture's start states with its parameters, built.
static struct behaviour_case *dream_case(struct golden_case *c, const struct golden_tiny *t) {
    struct behaviour_case *k =
        behaviour_case_new(t, (int)case_dim(c, "u_prior", 0), case_dim(c, "start_h", 0));
    int loaded = case_load_set(c, &k->world, "param.", false) +
                 case_load_set(c, &k->actor, "param.", true) +
                 case_load_set(c, &k->critic, "param.", true);
    if (loaded != fixture_params(c)) case_fail(c, "%d parameters were loaded", loaded);
    behaviour_case_build(c, k);
    return k;
}

void golden_imagination(struct golden_case *c) {
    struct golden_tiny t = golden_tiny();
    struct behaviour_case *k = dream_case(c, &t);
    dream_values(c, k);
    case_plan(c);
    dream_fill(c, k);
    if (!c->failed) case_execute(c);
    case_compare(c);
    if (!c->failed) match_actions(c, k->b.dream.actions);
    behaviour_case_free(c, k);
}

// ---- F38: continuous actions

static void steering_values(struct golden_case *c, struct behaviour_case *k) {
    enum { RAW, MEAN, STD, SAMPLED, ACTION, N_NAMES };
    static const char *const names[N_NAMES] = {"actor_out", "mean", "std", "sampled", "action"};
    struct tensor *rows[N_NAMES][MAX_STATES];
    const struct behaviour_graph *b = &k->b;
    int n = k->opts.horizon + 1;
    for (int tau = 0; tau < n; tau++) {
        const struct dream_step *s = &k->steps[tau];
        rows[RAW][tau] = s->policy.logits[0];
        rows[MEAN][tau] = s->policy.mean;
        rows[STD][tau] = s->policy.std;
        rows[SAMPLED][tau] = s->normal.sampled;
        rows[ACTION][tau] = s->normal.clipped;
    }
    for (int i = 0; i < N_NAMES; i++) case_values(c, names[i], rows[i], n);
    case_classes(c, "z", (struct tensor *const *)&b->dream.z, 1, k->tiny.world.discrete);
    case_value(c, "h", b->dream.h);
    case_value(c, "value", b->values);
    case_value(c, "reward", b->dream.rewards);
    case_values(c, "c", (struct tensor *[]){b->in.continues, b->dream.continues}, 2);
    case_value(c, "return", b->returns);
    case_value(c, "w", b->weights);
    case_value(c, "advantage", b->advantage);
    case_value(c, "entropy", b->actor.entropy);
    case_value(c, "Loss/policy_loss", b->actor.loss);
}

// The critic's loss is added as in every update: the actor's gradients must not see it, nor the
// critic's the actor's.
void golden_actor_continuous(struct golden_case *c) {
    struct golden_tiny t = golden_tiny_taking(&(struct action_space){.n_continuous = 3});
    struct behaviour_case *k = dream_case(c, &t);
    steering_values(c, k);
    case_add_loss(c, k->b.loss);
    case_plan(c);
    dream_fill(c, k);
    if (!c->failed) case_execute(c);
    case_compare(c);
    if (!c->failed) {
        const real *range = k->b.moments.range->data, span = range[1] - range[0];
        case_match(c, "low", range, 1);
        case_match(c, "scale", &(real){span > 1 ? span : 1}, 1);
        case_update(c, &k->actor, &k->tiny.adam, "Grads/actor");
    }
    behaviour_case_free(c, k);
}

// [rows / N, N, width], as sheeprl shapes them.
static void match_shape(struct golden_case *c, int horizon, const char *what, int64_t elements,
                        int64_t n, int64_t width, int n_dims) {
    char name[ST_NAME_SIZE];
    snprintf(name, sizeof name, "h%d.%s", horizon, what);
    case_match(c, name, (real[]){(real)(elements / (n * width)), (real)n, (real)width}, n_dims);
}

void golden_horizon_shapes(struct golden_case *c) {
    static const int horizons[] = {1, 5};
    for (int i = 0; i < 2 && !c->failed; i++) {
        int h = horizons[i];
        struct golden_tiny t = golden_tiny();
        int64_t n = t.config.sequence_length * t.config.batch_size;
        struct behaviour_case *k = behaviour_case_new(&t, h, n);
        behaviour_case_build(c, k);
        const struct behaviour_graph *b = &k->b;
        const struct dream *d = &b->dream;
        int64_t state = d->z->n_elements + d->h->n_elements,
                actions = d->actions[0]->n_elements + d->actions[1]->n_elements;
        match_shape(c, h, "imagined_trajectories", state, n, t.nets.state, 3);
        match_shape(c, h, "imagined_actions", actions, n, t.world.n_actions, 3);
        match_shape(c, h, "predicted_values", b->values->n_elements, n, 1, 3);
        match_shape(c, h, "predicted_rewards", d->rewards->n_elements, n, 1, 3);
        match_shape(c, h, "continues", b->in.continues->n_elements + d->continues->n_elements, n, 1,
                    3);
        match_shape(c, h, "lambda_values", b->returns->n_elements, n, 1, 3);
        match_shape(c, h, "baseline", b->baseline->n_elements, n, 1, 3);
        match_shape(c, h, "advantage", b->advantage->n_elements, n, 1, 3);
        match_shape(c, h, "objective", b->actor.log_prob->n_elements, n, 1, 3);
        match_shape(c, h, "predicted_target_values", b->target_values->n_elements, n, 1, 3);
        char name[ST_NAME_SIZE];
        snprintf(name, sizeof name, "h%d.draws", h);
        real draws = (real)(b->in.u_prior->n_elements + b->in.u_action->n_elements);
        case_match(c, name, &draws, 1);
        if (b->weights->n_elements != h * n || b->actor.entropy->n_elements != h * n)
            case_fail(c, "weights and entropies are not those of tau = 0..%d", h - 1);
        behaviour_case_free(c, k);
    }
}

// ---- F49: what a fresh model says whatever its other weights are

static void fresh_rewards(struct golden_case *c, struct behaviour_case *k) {
    int64_t n = case_dim(c, "rewards", 0) * case_dim(c, "rewards", 1), width = k->tiny.nets.state;
    case_begin(c);
    struct wm_net net = wm_net_make(c->graph, &k->world, &k->tiny.world);
    struct tensor *z = plain_input(c, "z", n, width - k->tiny.world.recurrent),
                  *h = plain_input(c, "h", n, k->tiny.world.recurrent),
                  *target = plain_input(c, "rewards", n, 0),
                  *bins = plain_input(c, "bins", k->tiny.world.bins, 0);
    struct tensor *logits = wm_reward(&net, z, h),
                  *nll = g_twohot_nll(c->graph, logits, target, bins);
    struct tensor *loss = g_mean(c->graph, nll);
    case_value(c, "l_rew", nll);
    case_value(c, "Loss/reward_loss", loss);
    case_value(c, "reward_mean", g_twohot_mean(c->graph, logits, bins));
    case_add_loss(c, loss);
    case_plan(c);
    for (int64_t i = 0; i < h->n_elements; i++) ((real *)h->data)[i] = (real)sin((double)i);
    fill(c, "rewards", target);
    case_bins(c, bins);
    case_execute(c);
    case_compare(c);
    const struct param *bias = params_find(&k->world, "reward_model._model.6.bias");
    case_match(c, "dreward_bias", params_grads(&k->world, bias), bias->n_elements);
    case_end(c);
}

// The dream of a model that never ends one.
static void fresh_values(struct golden_case *c, struct behaviour_case *k) {
    const struct param *bias = params_find(&k->world, "continue_model._model.6.bias");
    params_weights(&k->world, bias)[0] = 100;
    behaviour_case_build(c, k);
    int64_t n = k->opts.n_starts;
    case_value(c, "value", g_slice(c->graph, k->b.values, 0, n));
    case_value(c, "target_value", g_slice(c->graph, k->b.target_values, 0, n));
    case_value(c, "l_return", k->b.critic.returns_nll);
    case_value(c, "w_mean", g_mean(c->graph, k->b.weights));
    case_value(c, "Loss/value_loss", k->b.critic.loss);
    case_plan(c);
    for (int64_t i = 0; i < n; i++) ((real *)k->b.in.continues->data)[i] = 1;
    case_bins(c, k->b.in.reward_bins);
    case_bins(c, k->b.in.value_bins);
    case_execute(c);
    case_compare(c);
}

void golden_zero_heads(struct golden_case *c) {
    struct golden_tiny t = golden_tiny();
    struct behaviour_case *k = behaviour_case_new(&t, (int)case_dim(c, "l_return", 0),
                                                  t.config.sequence_length * t.config.batch_size);
    wm_init_weights(&k->world, &t.world, 1, true, NULL);
    ac_init_actor(&k->actor, &t.nets, 1, true, NULL);
    ac_init_critic(&k->critic, &t.nets, CRITIC_NAME, 1, true, NULL);
    optim_track(&k->target, &k->critic, 1, c->pool);
    fresh_rewards(c, k);
    if (!c->failed) fresh_values(c, k);
    behaviour_case_free(c, k);
}
