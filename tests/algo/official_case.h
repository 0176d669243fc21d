// A small official agent, its world model and behaviour in one graph on rows that were made up, and
// layers written out by hand: what the tests of the official profile begin with.
#ifndef TESTS_ALGO_OFFICIAL_CASE_H
#define TESTS_ALGO_OFFICIAL_CASE_H

#include <math.h>

#include "base/philox.h"
#include "engine/algo/dreamer_v3/behaviour_graph.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/algo/dreamer_v3/wm_graph.h"
#include "support/config_of.h"

enum { ACTIONS = 3, T = 5, B = 2, N = T * B, HORIZON = 4, REPLAYED = (T - 1) * B };
static const double GAMMA = 0.9, LAMBDA = 0.95;

static inline struct config small_config(const char *const *settings) {
    static const char *const keys[] = {"algo.profile=official",
                                       "algo.world_model.recurrent_model.blocks=4",
                                       "algo.world_model.stochastic_size=3",
                                       "algo.world_model.discrete_size=4",
                                       "algo.per_rank_batch_size=2",
                                       "algo.per_rank_sequence_length=5",
                                       "algo.horizon=4",
                                       "algo.gamma=0.9",
                                       "algo.learning_starts=16",
                                       NULL};
    struct config c = config_of("micro", keys);
    config_take(&c, settings);
    return c;
}

static inline double uniform(uint64_t stream, int64_t i) {
    return (double)rng_uniform(11, RNG_TEST, stream, (uint32_t)i);
}

static inline void perturb(struct params *p, uint64_t stream) {
    for (int k = 0; k < p->n; k++) {
        real *w = params_weights(p, &p->list[k]);
        for (int64_t i = 0; i < p->list[k].n_elements; i++)
            w[i] += (real)(0.6 * (uniform(stream + (uint64_t)k, i) - 0.5));
    }
}

// Episodes: environment 0 ends with row 1 (terminated) and begins again in row 2; environment 1 is
// cut off behind row 2 and begins again in row 3.
static inline void fill_rows(struct wm_inputs *in) {
    for (int row = 0; row < N; row++) {
        int t = row / B, env = row % B;
        bool first = t == 0 || t == (env ? 3 : 2);
        uint8_t *packed = (uint8_t *)in->packed->data + row * WM_PACKED_BYTES;
        for (int i = 0; i < WM_PACKED_BYTES; i++)
            packed[i] = (uint8_t)(uniform((uint64_t)row, i) * 256);
        for (int k = 0; k < ACTIONS; k++)
            ((real *)in->prev_actions->data)[row * ACTIONS + k] = !first && k == row % ACTIONS;
        ((real *)in->is_first->data)[row] = first;
        ((real *)in->rewards->data)[row] = first ? 0 : (real)(uniform(90, row) * 3 - 1);
        ((real *)in->continues->data)[row] = !(env == 0 && t == 1);
    }
}

static inline void fill_uniforms(struct tensor *u, uint64_t stream) {
    for (int64_t i = 0; i < u->n_elements; i++) ((real *)u->data)[i] = (real)uniform(stream, i);
}

// ---- world model and behaviour in one graph, by hand

struct joint_case {
    struct config config;
    struct wm_dims world;
    struct ac_dims nets;
    struct params sets[4]; // world, actor, critic, target
    struct pool *pool;
    struct graph *graph;
    struct wm_train wm;
    struct behaviour_graph b;
    struct executor *executor;
};

// MODEL_EVENLY: both terms of the KL weigh as much and none is clamped.
enum loss_of { ALL, MODEL_ALONE, MODEL_EVENLY };

// z is always 0 where derivatives are compared: the straight-through gradient of a sample is none.
static inline void joint_build(struct joint_case *k, bool zero_latent, double replay_scale,
                               enum loss_of which) {
    *k = (struct joint_case){.config = small_config(NULL), .pool = pool_new(2)};
    k->config.critic_replay_scale = replay_scale;
    if (which == MODEL_EVENLY) {
        k->config.kl_dynamic = k->config.kl_representation = 0.5;
        k->config.kl_free_nats = 0;
    }
    k->world = wm_dims_from_config(&k->config, ACTIONS);
    k->world.zero_latent = zero_latent;
    k->nets = ac_dims_from_config(&k->config, &k->world, NULL);
    for (int i = 0; i < 4; i++) params_init(&k->sets[i]);
    wm_register(&k->sets[0], &k->world);
    ac_register_actor(&k->sets[1], &k->nets);
    ac_register_critic(&k->sets[2], &k->nets, CRITIC_NAME);
    ac_register_critic(&k->sets[3], &k->nets, TARGET_CRITIC_NAME);
    for (int i = 0; i < 4; i++) params_allocate(&k->sets[i]);
    wm_init_weights(&k->sets[0], &k->world, 1, true, NULL);
    ac_init_actor(&k->sets[1], &k->nets, 1, true, NULL);
    ac_init_critic(&k->sets[2], &k->nets, CRITIC_NAME, 1, true, NULL);
    ac_init_critic(&k->sets[3], &k->nets, TARGET_CRITIC_NAME, 1, true, NULL);
    for (int i = 0; i < 4; i++) perturb(&k->sets[i], (uint64_t)(1000 * (i + 1)));
    k->graph = graph_new();
    struct wm_net net = wm_net_make(k->graph, &k->sets[0], &k->world);
    struct wm_loss_weights weights = wm_loss_weights_from_config(&k->config);
    k->wm = wm_train_build(&net, &weights, T, B, NULL);
    struct replayed replayed = {
        T, k->wm.scan.z, k->wm.scan.h, k->wm.in.rewards, k->wm.in.is_first, k->wm.in.continues};
    struct behaviour_graph_opts opts =
        behaviour_opts_from_config(&k->config, &k->world, &k->nets, N);
    opts.replayed = &replayed;
    struct behaviour_sets sets = {&k->sets[0], &k->sets[1], &k->sets[2], &k->sets[3]};
    k->b = behaviour_build(k->graph, &sets, &opts);
    struct tensor *kept[] = {k->b.dream.rewards,     k->b.dream.continue_logits,
                             k->b.replayed.returns,  k->b.replayed.weights,
                             k->b.replay.loss,       k->b.target_values,
                             k->b.replay.target_nll, k->b.replay.returns_nll,
                             k->wm.continue_logits,  k->wm.continue_rows,
                             k->wm.scan.h,           k->wm.reconstruction,
                             k->wm.scan.z,           k->wm.scan.actions};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) graph_keep(k->graph, kept[i]);
    struct tensor *loss = which == ALL ? g_add(k->graph, k->wm.loss, k->b.loss) : k->wm.loss;
    graph_gradients(k->graph, loss);
    graph_plan(k->graph);
    k->executor = executor_new(k->graph, k->pool);
    fill_rows(&k->wm.in);
    wm_twohot_bins(&k->world, k->wm.in.bins);
    wm_twohot_bins(&k->world, k->b.in.reward_bins);
    wm_twohot_bins(&k->world, k->b.in.value_bins);
    fill_uniforms(k->wm.in.u, 71);
    fill_uniforms(k->b.in.u_action, 72);
    fill_uniforms(k->b.in.u_prior, 73);
}

static inline void joint_free(struct joint_case *k) {
    executor_free(k->executor);
    graph_free(k->graph);
    for (int i = 0; i < 4; i++) params_deinit(&k->sets[i]);
    pool_free(k->pool);
}

static inline double at(const struct tensor *t, int64_t i) {
    return (double)((const real *)t->data)[i];
}
static inline double bound(void) { return sizeof(real) == 8 ? 1e-10 : 2e-5; }

static inline void assert_near(const char *what, int64_t i, double got, double want) {
    if (!(fabs(got - want) <= bound() * (1 + fabs(want))))
        fail_msg("%s %lld is %.9g, not %.9g", what, (long long)i, got, want);
}

static inline double sigmoid(double x) { return 1 / (1 + exp(-x)); }

// Central difference of a loss in one weight.
static inline double slope(struct params *p, int64_t place, double (*loss)(void *ctx), void *ctx) {
    const real before = p->weights[place], step = (real)1e-5;
    double side[2];
    for (int up = 0; up < 2; up++) {
        p->weights[place] = before + (up ? step : -step);
        side[up] = loss(ctx);
    }
    p->weights[place] = before;
    return (side[1] - side[0]) / (2 * (double)step);
}

// ---- layers by hand

enum { WIDTH = 64 }; // no layer is wider

static inline const real *weights_of(const struct params *p, const char *model, int layer,
                                     const char *what) {
    char name[PARAM_NAME_SIZE];
    snprintf(name, sizeof name, "%s.%d.%s", model, layer, what);
    const struct param *q = params_find(p, name);
    if (!q) fail_msg("no %s", name);
    return params_weights(p, q);
}

// y = silu(rms(y) gamma), in place (spec 3.6)
static inline void norm_by_hand(double *y, const real *gamma, int n) {
    double square = 0;
    for (int j = 0; j < n; j++) square += y[j] * y[j] / n;
    for (int j = 0; j < n; j++) {
        double z = y[j] / sqrt(square + 1e-4) * (double)gamma[j];
        y[j] = z * sigmoid(z);
    }
}

// Hidden layer k of a model, x [width] -> y [units]
static inline void hidden_by_hand(const struct params *p, const char *model, int k, const double *x,
                                  int width, double *y, int units) {
    const real *w = weights_of(p, model, 3 * k, "weight"), *b = weights_of(p, model, 3 * k, "bias");
    for (int j = 0; j < units; j++) {
        y[j] = (double)b[j];
        for (int i = 0; i < width; i++) y[j] += (double)w[j * width + i] * x[i];
    }
    norm_by_hand(y, weights_of(p, model, 3 * k + 1, "weight"), units);
}

#endif
