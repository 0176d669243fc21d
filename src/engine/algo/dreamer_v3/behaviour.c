// Behaviour learning: the update of actor, critic and target critic, and its metrics.
#include "engine/algo/dreamer_v3/behaviour.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/worse.h"
#include "engine/algo/dreamer_v3/behaviour_graph.h"
#include "engine/algo/dreamer_v3/noise.h"
#include "engine/graph/program.h"
#include "engine/graph/ranks.h"
#include "engine/nn/optim.h"

struct behaviour {
    struct behaviour_graph_opts opts;
    struct params actor, critic, target;
    struct optim_opts actor_optim, critic_optim;
    real range[2]; // low, high
    double target_tau;
    int64_t target_update_freq;
    uint64_t seed;
    const struct noise_source *noise;
    struct ranks *ranks;
    struct pool *pool;
    bool own; // graph and executor are its own
    struct graph *graph;
    struct behaviour_graph nodes;
    struct executor *executor;
    double norm_actor, norm_critic; // of the last update
};

static void make_params(struct behaviour *b, const struct config *cfg) {
    const struct ac_dims *d = &b->opts.nets;
    params_init(&b->actor);
    params_init(&b->critic);
    params_init(&b->target);
    ac_register_actor(&b->actor, d);
    ac_register_critic(&b->critic, d, CRITIC_NAME);
    ac_register_critic(&b->target, d, TARGET_CRITIC_NAME);
    params_allocate(&b->actor);
    params_allocate(&b->critic);
    params_allocate(&b->target);
    ac_init_actor(&b->actor, d, b->seed, cfg->hafner_initialization, b->pool);
    ac_init_critic(&b->critic, d, CRITIC_NAME, b->seed, cfg->hafner_initialization, b->pool);
    optim_track(&b->target, &b->critic, 1, b->pool);
}

struct behaviour *behaviour_new(const struct behaviour_opts *opts) {
    const struct config *cfg = opts->config;
    struct behaviour *b = mem_alloc(sizeof *b);
    struct ac_dims nets = ac_dims_from_config(cfg, opts->world, opts->actions);
    b->opts = behaviour_opts_from_config(cfg, opts->world, &nets, opts->n_starts);
    b->seed = (uint64_t)cfg->seed;
    b->noise = opts->noise;
    b->ranks = opts->ranks;
    b->pool = opts->pool;
    b->target_tau = cfg->critic_tau;
    b->target_update_freq = cfg->target_update_freq;
    b->actor_optim = profile_optim(cfg, cfg->actor_lr, cfg->actor_eps, cfg->actor_clip);
    b->critic_optim = profile_optim(cfg, cfg->critic_lr, cfg->critic_eps, cfg->critic_clip);
    b->opts.replayed = opts->replayed;
    b->own = !opts->graph;
    make_params(b, cfg);

    b->graph = b->own ? graph_new() : opts->graph;
    struct behaviour_sets sets = {opts->world_params, &b->actor, &b->critic, &b->target};
    b->nodes = behaviour_build(b->graph, &sets, &b->opts);
    b->opts.replayed = NULL; // the caller's
    wm_twohot_bins(opts->world, b->nodes.in.reward_bins);
    wm_twohot_bins(opts->world, b->nodes.in.value_bins);
    if (!b->own) return b;
    graph_gradients(b->graph, b->nodes.loss);
    graph_plan_shared(b->graph, opts->slab);
    b->executor = executor_new(b->graph, b->pool);
    executor_set_ranks(b->executor, b->ranks);
    return b;
}

void behaviour_free(struct behaviour *b) {
    if (!b) return;
    if (b->own) {
        executor_free(b->executor);
        graph_free(b->graph);
    }
    params_deinit(&b->actor);
    params_deinit(&b->critic);
    params_deinit(&b->target);
    free(b);
}

struct params *behaviour_actor(struct behaviour *b) {
    return &b->actor;
}
struct params *behaviour_critic(struct behaviour *b) {
    return &b->critic;
}
struct params *behaviour_target(struct behaviour *b) {
    return &b->target;
}
real *behaviour_range(struct behaviour *b) { return b->range; }
const struct ac_dims *behaviour_dims(const struct behaviour *b) { return &b->opts.nets; }
size_t behaviour_slab_bytes(const struct behaviour *b) {
    return b->own ? graph_slab_bytes(b->graph) : 0;
}
void behaviour_attach(struct behaviour *b, struct executor *executor) { b->executor = executor; }
struct tensor *behaviour_loss(const struct behaviour *b) {
    return b->nodes.loss;
}
struct executor *behaviour_executor(struct behaviour *b) {
    return b->own ? b->executor : NULL;
}

// ---- the update

static double scalar(const struct tensor *t) { return (double)*(const real *)t->data; }

static void copy_in(struct tensor *to, const real *from) {
    memcpy(to->data, from, (size_t)to->n_elements * sizeof *from);
}

void behaviour_begin(struct behaviour *b, int64_t step) {
    const struct behaviour_in *in = &b->nodes.in;
    copy_in(in->range, b->range);
    if (in->eps)
        noise_fill_normal(b->noise, in->eps, b->seed, RNG_ACTOR_NORMAL, step);
    else
        noise_fill(b->noise, in->u_action, b->seed, RNG_ACTOR, step);
    noise_fill(b->noise, in->u_prior, b->seed, RNG_PRIOR, step);
}

// Both norms are looked at before either network takes its step.
static bool all_finite(struct behaviour *b, struct behaviour_result *out) {
    if (isfinite(out->loss_actor) && isfinite(out->loss_critic) && isfinite(out->norm_actor) &&
        isfinite(out->norm_critic))
        return true;
    const struct tensor *bad = executor_find_nonfinite(b->executor);
    snprintf(out->bad_node, sizeof out->bad_node, "%s", bad ? bad->name : "gradient norm");
    return false;
}

double behaviour_target_step(int64_t step, int64_t update_freq, double tau) {
    return step == 0 ? 1 : step % update_freq == 0 ? tau : 0;
}

void behaviour_target_before(const struct behaviour *b, int64_t step, struct params *out) {
    const double tau = behaviour_target_step(step, b->target_update_freq, b->target_tau);
    const double took = tau < 1 ? tau : 0;
    for (int64_t i = 0; i < out->n_flat; i++)
        out->weights[i] =
            (real)(((double)b->target.weights[i] - took * (double)b->critic.weights[i]) /
                   (1 - took));
}

// What all ranks look at is the same.
static void meet(struct behaviour *b) {
    ranks_mean(b->ranks, b->actor.grads, b->actor.n_flat);
    ranks_mean(b->ranks, b->critic.grads, b->critic.n_flat);
    ranks_mean(b->ranks, b->nodes.actor.loss->data, 1);
    ranks_mean(b->ranks, b->nodes.critic_total->data, 1);
}

bool behaviour_check(struct behaviour *b, struct behaviour_result *out) {
    meet(b);
    *out = (struct behaviour_result){
        .loss_actor = scalar(b->nodes.actor.loss),
        .loss_critic = scalar(b->nodes.critic_total),
        .norm_actor = optim_norm(b->actor.grads, b->actor.n_flat, b->pool),
        .norm_critic = optim_norm(b->critic.grads, b->critic.n_flat, b->pool),
    };
    b->norm_actor = out->norm_actor;
    b->norm_critic = out->norm_critic;
    return all_finite(b, out);
}

static void take_steps(struct behaviour *b, int64_t step) {
    optim_step(&b->actor, b->pool, &b->actor_optim, step + 1);
    optim_step(&b->critic, b->pool, &b->critic_optim, step + 1);
    memcpy(b->range, b->nodes.moments.range->data, sizeof b->range);
}

static void track_target(struct behaviour *b, double tau) {
    if (tau > 0) optim_track(&b->target, &b->critic, tau, b->pool);
}

void behaviour_apply(struct behaviour *b, int64_t step) {
    take_steps(b, step);
    track_target(b, behaviour_target_step(step + 1, b->target_update_freq, b->target_tau));
}

bool behaviour_update(struct behaviour *b, const struct behaviour_start *s, int64_t step,
                      struct behaviour_result *out) {
    const struct behaviour_in *in = &b->nodes.in;
    track_target(b, behaviour_target_step(step, b->target_update_freq, b->target_tau));
    copy_in(in->z, s->z);
    copy_in(in->h, s->h);
    copy_in(in->continues, s->continues);
    behaviour_begin(b, step);
    executor_run(b->executor);
    if (!behaviour_check(b, out)) return false;
    take_steps(b, step);
    return true;
}

// ---- the same on a device

static void report_all(struct behaviour *b, struct program *p) {
    const struct behaviour_graph *n = &b->nodes;
    const struct tensor *const reports[] = {n->actor.loss, n->critic_total, n->action_entropy,
                                            n->baseline,   n->advantage,    n->moments.range};
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++)
        program_report(p, b->executor, reports[i]);
}

// The ranks' share of the noise the program makes by itself.
static bool is_fed(const struct behaviour *b) { return b->noise && !b->ranks; }

void behaviour_program_begin(struct behaviour *b, struct program *p) {
    const struct behaviour_in *in = &b->nodes.in;
    struct executor *ex = b->executor;
    if (is_fed(b)) {
        program_feed(p, ex, in->eps);
        program_feed(p, ex, in->u_action);
        program_feed(p, ex, in->u_prior);
        return;
    }
    if (in->eps)
        program_noise(p, ex, in->eps, b->seed, RNG_ACTOR_NORMAL, true);
    else
        program_noise(p, ex, in->u_action, b->seed, RNG_ACTOR, false);
    program_noise(p, ex, in->u_prior, b->seed, RNG_PRIOR, false);
}

static void add_step(struct program *p, const struct params *set, const struct optim_opts *o) {
    const struct program_adam numbers = profile_program(o);
    program_adam(p, set, &numbers);
}

void behaviour_program_check(struct behaviour *b, struct program *p) {
    struct executor *ex = b->executor;
    program_mean(p, &b->actor);
    program_mean(p, &b->critic);
    program_mean_of(p, ex, b->nodes.actor.loss);
    program_mean_of(p, ex, b->nodes.critic_total);
    program_norm(p, &b->actor, b->actor_optim.max_norm, &b->norm_actor);
    program_norm(p, &b->critic, b->critic_optim.max_norm, &b->norm_critic);
    program_check(p, ex, b->nodes.actor.loss, &b->actor);
    program_check(p, ex, b->nodes.critic_total, &b->critic);
}

void behaviour_program_step(struct behaviour *b, struct program *p) {
    add_step(p, &b->actor, &b->actor_optim);
    add_step(p, &b->critic, &b->critic_optim);
    program_copy(p, b->executor, b->nodes.in.range, b->executor, b->nodes.moments.range);
    report_all(b, p);
}

void behaviour_program_track(struct behaviour *b, struct program *p) {
    program_track(p, &b->target, &b->critic, b->target_tau, b->target_update_freq);
}

void behaviour_program(struct behaviour *b, const struct behaviour_states *s, struct program *p) {
    const struct behaviour_in *in = &b->nodes.in;
    struct executor *ex = b->executor;
    behaviour_program_track(b, p);
    program_copy(p, ex, in->z, s->world, s->z);
    program_copy(p, ex, in->h, s->world, s->h);
    program_copy(p, ex, in->continues, s->world, s->continues);
    behaviour_program_begin(b, p);
    program_run(p, ex);
    behaviour_program_check(b, p);
    behaviour_program_step(b, p);
}

void behaviour_feed(struct behaviour *b, int64_t step) {
    if (is_fed(b)) behaviour_begin(b, step);
}

bool behaviour_take(struct behaviour *b, const struct backend_progress *found,
                    struct behaviour_result *out) {
    *out = (struct behaviour_result){
        .loss_actor = scalar(b->nodes.actor.loss),
        .loss_critic = scalar(b->nodes.critic_total),
        .norm_actor = b->norm_actor,
        .norm_critic = b->norm_critic,
    };
    return found->failed < 0 || all_finite(b, out);
}

void behaviour_sync(struct behaviour *b, bool to_host) {
    real *in = b->nodes.in.range->data;
    memcpy(to_host ? b->range : in, to_host ? in : b->range, sizeof b->range);
}

// ---- metrics

struct spread {
    double mean, std;
};

static struct spread spread_of(const struct tensor *t) {
    const real *x = t->data;
    double sum = 0, squares = 0, n = (double)t->n_elements;
    for (int64_t i = 0; i < t->n_elements; i++) sum += (double)x[i];
    const double mean = sum / n;
    for (int64_t i = 0; i < t->n_elements; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    return (struct spread){mean, sqrt(squares / n)};
}

uint64_t behaviour_metrics(const struct behaviour *b, float out[METRIC_COUNT]) {
    const struct behaviour_graph *n = &b->nodes;
    const real *range = n->moments.range->data;
    const struct spread value = spread_of(n->baseline), advantage = spread_of(n->advantage);
    const double low = (double)range[0], high = (double)range[1];
    const struct {
        enum metric metric;
        double value;
    } values[] = {
        {METRIC_LOSS_ACTOR, scalar(n->actor.loss)},
        {METRIC_LOSS_CRITIC, scalar(n->critic_total)},
        {METRIC_ACTION_ENTROPY, scalar(n->action_entropy)},
        {METRIC_VALUE_MEAN, value.mean},
        {METRIC_VALUE_STD, value.std},
        {METRIC_ADV_MEAN, advantage.mean},
        {METRIC_ADV_STD, advantage.std},
        {METRIC_RET_P05, low},
        {METRIC_RET_P95, high},
        {METRIC_RET_SCALE, worse((double)b->opts.min_scale, high - low)},
        {METRIC_GRAD_NORM_ACTOR, b->norm_actor},
        {METRIC_GRAD_NORM_CRITIC, b->norm_critic},
    };
    uint64_t present = 0;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        out[values[i].metric] = (float)values[i].value;
        present |= (uint64_t)1 << values[i].metric;
    }
    return present;
}
