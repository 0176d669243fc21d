// The official profile: what the shared code makes of it, against values computed apart: returns on
// replayed rows, continues as probabilities, which loss reaches which network, the joint update.
#include "support/test.h"

#include <math.h>

#include "base/philox.h"
#include "engine/algo/dreamer_v3/behaviour_graph.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/algo/dreamer_v3/wm_graph.h"
#include "support/count_allocations.h"

enum { ACTIONS = 3, T = 5, B = 2, N = T * B, HORIZON = 4, REPLAYED = (T - 1) * B };
static const double GAMMA = 0.9, LAMBDA = 0.95;

static struct config small_config(const char *const *settings) {
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
    struct config c;
    struct error e = {0};
    bool ok = config_init(&c, "micro", &e);
    for (int i = 0; ok && keys[i]; i++) ok = config_set(&c, keys[i], &e);
    for (; ok && settings && *settings; settings++) ok = config_set(&c, *settings, &e);
    if (!ok || !config_check(&c, &e)) fail_msg("%s", e.message);
    return c;
}

static double uniform(uint64_t stream, int64_t i) {
    return (double)rng_uniform(11, RNG_TEST, stream, (uint32_t)i);
}

static void perturb(struct params *p, uint64_t stream) {
    for (int k = 0; k < p->n; k++) {
        real *w = params_weights(p, &p->list[k]);
        for (int64_t i = 0; i < p->list[k].n_elements; i++)
            w[i] += (real)(0.6 * (uniform(stream + (uint64_t)k, i) - 0.5));
    }
}

// Episodes: environment 0 ends with row 1 (terminated) and begins again in row 2; environment 1 is
// cut off behind row 2 and begins again in row 3.
static void fill_rows(struct wm_inputs *in) {
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

static void fill_uniforms(struct tensor *u, uint64_t stream) {
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
static void joint_build(struct joint_case *k, bool zero_latent, double replay_scale,
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

static void joint_free(struct joint_case *k) {
    executor_free(k->executor);
    graph_free(k->graph);
    for (int i = 0; i < 4; i++) params_deinit(&k->sets[i]);
    pool_free(k->pool);
}

static double at(const struct tensor *t, int64_t i) { return (double)((const real *)t->data)[i]; }
static double bound(void) { return sizeof(real) == 8 ? 1e-10 : 2e-5; }

static void assert_near(const char *what, int64_t i, double got, double want) {
    if (!(fabs(got - want) <= bound() * (1 + fabs(want))))
        fail_msg("%s %lld is %.9g, not %.9g", what, (long long)i, got, want);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

// ---- the dream: probabilities, the discount in them, the start's predicted too

static void imagined_continues_are_probabilities_that_hold_the_discount(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    executor_run(k.executor);
    assert_int_equal(k.b.dream.continue_logits->n_elements, (HORIZON + 1) * N);
    for (int n = 0; n < N; n++) {
        double next = at(k.b.values, HORIZON * N + n), weight = 1, want[HORIZON];
        for (int tau = HORIZON - 1; tau >= 0; tau--) {
            int64_t row = (tau + 1) * N + n;
            double c = sigmoid(at(k.b.dream.continue_logits, row));
            next = at(k.b.dream.rewards, row) +
                   c * ((1 - LAMBDA) * at(k.b.values, row) + LAMBDA * next);
            want[tau] = next;
        }
        for (int tau = 0; tau < HORIZON; tau++) {
            weight *= sigmoid(at(k.b.dream.continue_logits, tau * N + n));
            assert_near("return", tau, at(k.b.returns, tau * N + n), want[tau]);
            assert_near("weight", tau, at(k.b.weights, tau * N + n), weight);
        }
    }
    joint_free(&k);
}

static void the_continue_head_learns_the_discount(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    executor_run(k.executor);
    for (int row = 0; row < N; row++) {
        double l = at(k.wm.continue_logits, row), target = GAMMA * at(k.wm.in.continues, row);
        assert_near("continue loss", row, at(k.wm.continue_rows, row),
                    -target * log(sigmoid(l)) - (1 - target) * log(1 - sigmoid(l)));
    }
    joint_free(&k);
}

static void pictures_lie_between_black_and_white(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    for (int64_t i = 0; i < k.sets[0].n_flat; i++) k.sets[0].weights[i] *= 5;
    executor_run(k.executor);
    double low = 0, high = 0;
    for (int64_t i = 0; i < k.wm.reconstruction->n_elements; i++) {
        low = fmin(low, at(k.wm.reconstruction, i));
        high = fmax(high, at(k.wm.reconstruction, i));
    }
    assert_true(low >= -0.5 && high <= 0.5 && high - low > 0.3);
    joint_free(&k);
}

// ---- the replayed rows

// Minus log-likelihood of `target` under a two-hot distribution whose bins lie in real space.
static double twohot_nll(const real *logits, const real *bins, int n, double target) {
    double sum = 0, q_high;
    int low = 0;
    for (int i = 0; i < n; i++) sum += exp((double)logits[i]);
    while (low < n - 2 && (double)bins[low + 1] <= target) low++;
    q_high = (target - (double)bins[low]) / (double)(bins[low + 1] - bins[low]);
    return log(sum) - (1 - q_high) * (double)logits[low] - q_high * (double)logits[low + 1];
}

static void replayed_returns_stop_at_the_end_of_an_episode(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    executor_run(k.executor);
    const struct wm_inputs *in = &k.wm.in;
    double loss = 0;
    for (int env = 0; env < B; env++) {
        double next = at(k.b.returns, (T - 1) * B + env);
        for (int t = T - 2; t >= 0; t--) {
            int64_t row = t * B + env, after = row + B;
            double boot = at(k.b.returns, after); // imagined from there: tau = 0
            bool ends = t + 2 < T && at(in->is_first, after + B) == 1;
            double mix = ends ? 0 : LAMBDA;
            next = at(in->rewards, after) +
                   GAMMA * at(in->continues, after) * ((1 - mix) * boot + mix * next);
            assert_near("replayed return", row, at(k.b.replayed.returns, row), next);
            double weight = at(in->is_first, after) == 1 ? 0 : 1;
            assert_true(at(k.b.replayed.weights, row) == weight);
            loss += weight * (at(k.b.replay.returns_nll, row) + at(k.b.replay.target_nll, row));
        }
    }
    // the terminated row's successor gives its reward alone, the cut-off row's its bootstrap too
    assert_near("terminated", 0, at(k.b.replayed.returns, 0), at(in->rewards, B));
    assert_near("cut off", 1, at(k.b.replayed.returns, B + 1),
                at(in->rewards, 2 * B + 1) + GAMMA * at(k.b.returns, 2 * B + 1));
    assert_near("replay loss", 0, at(k.b.replay.loss, 0), loss / REPLAYED);
    assert_near("critic's loss", 0, at(k.b.critic_total, 0),
                at(k.b.critic.loss, 0) + 0.3 * at(k.b.replay.loss, 0));
    joint_free(&k);
}

// ---- which loss reaches which network

static double distance(const struct params *p, const real *a, const real *b) {
    double sum = 0, norm = 0;
    (void)p;
    for (int64_t i = 0; i < p->n_flat; i++) {
        sum += pow((double)a[i] - (double)b[i], 2);
        norm += pow((double)b[i], 2);
    }
    return sqrt(sum / (norm > 0 ? norm : 1));
}

static void dreams_teach_the_world_model_nothing(void **state) {
    (void)state;
    struct joint_case k, alone;
    joint_build(&k, false, 0, ALL);
    joint_build(&alone, false, 0, MODEL_ALONE);
    executor_run(k.executor);
    executor_run(alone.executor);
    double off = distance(&k.sets[0], k.sets[0].grads, alone.sets[0].grads);
    if (off > (sizeof(real) == 8 ? 1e-13 : 1e-6)) fail_msg("the gradients differ by %g", off);
    for (int64_t i = 0; i < k.sets[3].n_flat; i++) assert_true(k.sets[3].grads[i] == 0);
    for (int s = 1; s < 3; s++)
        assert_true(distance(&k.sets[s], alone.sets[s].grads, k.sets[s].grads) > 0.99);
    joint_free(&k);
    joint_free(&alone);
}

enum { WIDTH = 64 };

static const real *weights_of(const struct params *p, const char *model, int layer,
                              const char *what) {
    char name[PARAM_NAME_SIZE];
    snprintf(name, sizeof name, "%s.%d.%s", model, layer, what);
    const struct param *q = params_find(p, name);
    if (!q) fail_msg("no %s", name);
    return params_weights(p, q);
}

// y = silu(rms(y) gamma), in place (spec 3.6)
static void norm_by_hand(double *y, const real *gamma, int n) {
    double square = 0;
    for (int j = 0; j < n; j++) square += y[j] * y[j] / n;
    for (int j = 0; j < n; j++) {
        double z = y[j] / sqrt(square + 1e-4) * (double)gamma[j];
        y[j] = z * sigmoid(z);
    }
}

// Hidden layer k of a model, x [width] -> y [units]
static void hidden_by_hand(const struct params *p, const char *model, int k, const double *x,
                           int width, double *y, int units) {
    const real *w = weights_of(p, model, 3 * k, "weight"), *b = weights_of(p, model, 3 * k, "bias");
    for (int j = 0; j < units; j++) {
        y[j] = (double)b[j];
        for (int i = 0; i < width; i++) y[j] += (double)w[j * width + i] * x[i];
    }
    norm_by_hand(y, weights_of(p, model, 3 * k + 1, "weight"), units);
}

// The critic's loss on the replayed rows as a function of world model and critic, its targets held:
// by hand, from the states that a run leaves.
static double replay_loss(struct joint_case *k, struct tensor *h, const double *returns,
                          const double *targets, const double *weights) {
    const struct params *c = &k->sets[2];
    const int units = (int)k->nets.dense_units, bins = (int)k->nets.bins, n = (int)k->nets.n_layers,
              latent = (int)(k->nets.state - k->world.recurrent);
    double sum = 0;
    for (int row = 0; row < REPLAYED; row++) {
        double x[WIDTH] = {0};
        real logits[512];
        int width = (int)k->nets.state;
        for (int i = 0; i < (int)k->world.recurrent; i++)
            x[latent + i] = at(h, row * k->world.recurrent + i);
        for (int layer = 0; layer < n; layer++) {
            double y[WIDTH];
            hidden_by_hand(c, "critic._model", layer, x, width, y, units);
            memcpy(x, y, sizeof x);
            width = units;
        }
        const real *w = weights_of(c, "critic._model", 3 * n, "weight"),
                   *bias = weights_of(c, "critic._model", 3 * n, "bias");
        for (int j = 0; j < bins; j++) {
            double y = (double)bias[j];
            for (int i = 0; i < width; i++) y += (double)w[j * width + i] * x[i];
            logits[j] = (real)y;
        }
        const real *b = k->b.in.value_bins->data;
        sum += weights[row] * (twohot_nll(logits, b, bins, returns[row]) +
                               twohot_nll(logits, b, bins, targets[row]));
    }
    return sum / REPLAYED;
}

// What the replay loss adds to the gradients of world model and critic is its derivative.
static void the_replay_loss_reaches_critic_and_world_model(void **state) {
    (void)state;
    struct joint_case with, without;
    joint_build(&with, true, 0.3, ALL);
    joint_build(&without, true, 0, ALL);
    executor_run(with.executor);
    executor_run(without.executor);
    double returns[REPLAYED], targets[REPLAYED], weights[REPLAYED];
    for (int row = 0; row < REPLAYED; row++) {
        returns[row] = at(with.b.replayed.returns, row);
        targets[row] = at(with.b.target_values, row);
        weights[row] = at(with.b.replayed.weights, row);
    }
    assert_near("replay loss", 0, replay_loss(&with, with.wm.scan.h, returns, targets, weights),
                at(with.b.replay.loss, 0));
    if (sizeof(real) == 4) { // central differences mean nothing there
        joint_free(&with);
        joint_free(&without);
        return;
    }
    for (int s = 0; s < 3; s += 2) {
        struct params *p = &with.sets[s];
        real *grads = calloc((size_t)p->n_flat, sizeof *grads);
        executor_run(with.executor); // not those of the last probe
        memcpy(grads, p->grads, (size_t)p->n_flat * sizeof *grads);
        double error = 0, norm = 0;
        int n_probes = 0;
        for (int q = 0; q < p->n; q++)
            for (int64_t i = 0; i < p->list[q].n_elements; i += 1 + p->list[q].n_elements / 5) {
                const int64_t place = p->list[q].offset + i;
                const real before = p->weights[place], step = (real)1e-5;
                double side[2];
                for (int up = 0; up < 2; up++) {
                    p->weights[place] = before + (up ? step : -step);
                    executor_run(with.executor);
                    side[up] = replay_loss(&with, with.wm.scan.h, returns, targets, weights);
                }
                p->weights[place] = before;
                double want = 0.3 * (side[1] - side[0]) / (2 * (double)step);
                double got = (double)grads[place] - (double)without.sets[s].grads[place];
                error += (got - want) * (got - want);
                norm += want * want;
                n_probes++;
            }
        free(grads);
        assert_true(n_probes > 20 && norm > 1e-8);
        if (!(sqrt(error / norm) < 1e-7))
            fail_msg("set %d: relative error %.3g over %d probes", s, sqrt(error / norm), n_probes);
    }
    joint_free(&with);
    joint_free(&without);
}

// ---- the recurrent core

#define CORE "rssm.recurrent_model"

// h' of one row from z, a and h by spec 3.6; a new episode's are 0.
static void core_by_hand(const struct joint_case *k, const double *z, const double *a, double *h) {
    const struct params *p = &k->sets[0];
    const int width = (int)k->world.recurrent, units = (int)k->world.recurrent_units,
              blocks = (int)k->world.blocks, part = width / blocks, in = part + 3 * units,
              latent = (int)(k->world.stochastic * k->world.discrete);
    double x[3 * WIDTH], hidden[WIDTH], before[WIDTH];
    memcpy(before, h, (size_t)width * sizeof *h);
    hidden_by_hand(p, CORE ".state._model", 0, h, width, x, units);
    hidden_by_hand(p, CORE ".latent._model", 0, z, latent, x + units, units);
    hidden_by_hand(p, CORE ".action._model", 0, a, ACTIONS, x + 2 * units, units);
    const real *w = weights_of(p, CORE ".hidden", 0, "weight"),
               *b = weights_of(p, CORE ".hidden", 0, "bias"),
               *gates = params_weights(p, params_find(p, CORE ".gates.weight")),
               *gate_bias = params_weights(p, params_find(p, CORE ".gates.bias"));
    for (int j = 0; j < width; j++) { // row j lies in block j / part
        hidden[j] = (double)b[j];
        for (int i = 0; i < part; i++)
            hidden[j] += (double)w[j * in + i] * before[j / part * part + i];
        for (int i = 0; i < 3 * units; i++) hidden[j] += (double)w[j * in + part + i] * x[i];
    }
    norm_by_hand(hidden, weights_of(p, CORE ".hidden", 1, "weight"), width);
    for (int j = 0; j < width; j++) {
        double pre[3]; // reset, candidate, update: thirds of the block's rows
        for (int g = 0; g < 3; g++) {
            const int row = j / part * 3 * part + g * part + j % part;
            pre[g] = (double)gate_bias[row];
            for (int i = 0; i < part; i++)
                pre[g] += (double)gates[row * part + i] * hidden[j / part * part + i];
        }
        const double u = sigmoid(pre[2] - 1);
        h[j] = u * tanh(sigmoid(pre[0]) * pre[1]) + (1 - u) * before[j];
    }
}

static void the_core_takes_state_latent_and_action_block_by_block(void **state) {
    (void)state;
    struct joint_case k;
    joint_build(&k, false, 0.3, ALL);
    executor_run(k.executor);
    const int width = (int)k.world.recurrent, latent = (int)(k.world.stochastic * k.world.discrete);
    assert_true(width <= WIDTH && k.world.recurrent_units <= WIDTH && k.world.blocks == 4);
    for (int row = 0; row < N; row++) {
        double h[WIDTH] = {0}, z[WIDTH] = {0}, a[ACTIONS];
        const bool first = at(k.wm.in.is_first, row) == 1;
        for (int i = 0; i < width && !first; i++) h[i] = at(k.wm.scan.h, (row - B) * width + i);
        for (int i = 0; i < latent && !first; i++) z[i] = at(k.wm.scan.z, (row - B) * latent + i);
        for (int i = 0; i < ACTIONS; i++)
            a[i] = first ? 0 : at(k.wm.in.prev_actions, row * ACTIONS + i);
        core_by_hand(&k, z, a, h);
        for (int i = 0; i < width; i++)
            assert_near("h", row * width + i, at(k.wm.scan.h, row * width + i), h[i]);
    }
    joint_free(&k);
}

// ---- the world model's gradient

// What the gradient is the derivative of: with even weights the KL's two terms, which hold one side
// each, are together one KL.
static double derived_loss(struct joint_case *k) {
    executor_run(k->executor);
    return at(k->wm.loss, 0) - 0.5 * at(k->wm.kl_raw, 0);
}

static void the_world_models_gradient_is_its_losss_derivative(void **state) {
    (void)state;
    if (sizeof(real) == 4) skip(); // central differences mean nothing there
    struct joint_case k;
    joint_build(&k, true, 0, MODEL_EVENLY);
    struct params *p = &k.sets[0];
    executor_run(k.executor);
    real *grads = calloc((size_t)p->n_flat, sizeof *grads);
    memcpy(grads, p->grads, (size_t)p->n_flat * sizeof *grads);
    int n_probes = 0;
    for (int q = 0; q < p->n; q++) {
        double error = 0, norm = 0;
        for (int64_t i = 0; i < p->list[q].n_elements; i += 1 + p->list[q].n_elements / 5) {
            const int64_t place = p->list[q].offset + i;
            const real before = p->weights[place], step = (real)1e-5;
            double side[2];
            for (int up = 0; up < 2; up++) {
                p->weights[place] = before + (up ? step : -step);
                side[up] = derived_loss(&k);
            }
            p->weights[place] = before;
            double want = (side[1] - side[0]) / (2 * (double)step), got = (double)grads[place];
            error += (got - want) * (got - want);
            norm += want * want;
            n_probes++;
        }
        // the loss is some thousands: differences of it are good to 1e-6 or so
        if (!(sqrt(error) < 1e-6 * (1 + sqrt(norm))))
            fail_msg("%s: off by %.3g of %.3g", p->list[q].name, sqrt(error), sqrt(norm));
    }
    assert_true(n_probes > 100);
    free(grads);
    joint_free(&k);
}

// ---- fresh weights

static double deviation(const struct params *p, const char *name) {
    const struct param *q = params_find(p, name);
    if (!q) fail_msg("no %s", name);
    const real *w = params_weights(p, q);
    double sum = 0;
    for (int64_t i = 0; i < q->n_elements; i++) sum += (double)w[i] * (double)w[i];
    return sqrt(sum / (double)q->n_elements);
}

static void assert_deviation(const struct params *p, const char *name, double want) {
    const double got = deviation(p, name);
    if (!(fabs(got - want) <= 0.03 * want)) fail_msg("%s: %g, not %g", name, got, want);
}

// By the fan-in; of a block's matrices by that of all blocks together.
static void fresh_weights_follow_the_fan_in(void **state) {
    (void)state;
    struct config c;
    struct error e = {0};
    if (!config_init(&c, "tiny", &e) || !config_set(&c, "algo.profile=official", &e))
        fail_msg("%s", e.message);
    const struct wm_dims world = wm_dims_from_config(&c, ACTIONS);
    const struct ac_dims nets = ac_dims_from_config(&c, &world, NULL);
    struct params p[3]; // world, actor, critic
    for (int i = 0; i < 3; i++) params_init(&p[i]);
    wm_register(&p[0], &world);
    ac_register_actor(&p[1], &nets);
    ac_register_critic(&p[2], &nets, CRITIC_NAME);
    for (int i = 0; i < 3; i++) params_allocate(&p[i]);
    wm_init_weights(&p[0], &world, 1, true, NULL);
    ac_init_actor(&p[1], &nets, 1, true, NULL);
    ac_init_critic(&p[2], &nets, CRITIC_NAME, 1, true, NULL);
    const double h = (double)world.recurrent, units = (double)world.recurrent_units,
                 g = (double)world.blocks;
    assert_true(g == 8);
    assert_deviation(&p[0], CORE ".state._model.0.weight", 1 / sqrt(h));
    assert_deviation(&p[0], CORE ".gates.weight", 1 / sqrt(h));
    assert_deviation(&p[0], CORE ".hidden.0.weight", 1 / sqrt(g * (h / g + 3 * units)));
    assert_deviation(&p[1], "actor.model._model.0.weight", 1 / sqrt((double)nets.state));
    const double head = deviation(&p[1], "actor.mlp_heads.0.weight") * sqrt((double)c.dense_units);
    assert_true(head > 0.009 && head < 0.011); // a hundredth
    assert_true(deviation(&p[0], "reward_model._model.3.weight") == 0);
    assert_true(deviation(&p[0], "continue_model._model.3.weight") > 0);
    assert_true(deviation(&p[2], "critic._model.9.weight") == 0);
    for (int i = 0; i < 3; i++) params_deinit(&p[i]);
}

// ---- whole updates

static void fill_batch(const struct wm_batch *b, uint64_t step) {
    for (int64_t row = 0; row < b->length * b->batch; row++) {
        bool first = row < b->batch;
        for (int i = 0; i < WM_PACKED_BYTES; i++)
            b->packed[row * WM_PACKED_BYTES + i] = (uint8_t)((i * 7 + (int)step) * (row + 1));
        for (int k = 0; k < b->n_actions; k++)
            b->prev_actions[row * b->n_actions + k] = !first && k == (row + (int64_t)step) % 3;
        b->is_first[row] = first;
        b->rewards[row] = (real)(row % 3) - 1;
        b->continues[row] = row % 7 != 6;
    }
}

static struct dreamer *dreamer(const struct config *c, struct pool *pool) {
    return dreamer_new(&(struct dreamer_opts){.config = c, .n_actions = ACTIONS, .pool = pool});
}

static void the_rate_grows_from_zero_and_the_target_follows_behind(void **state) {
    (void)state;
    static const char *const fast[] = {"algo.optimizer.warmup=1",
                                       "algo.world_model.optimizer.lr=1e-2", NULL};
    struct config c = small_config(fast);
    struct pool *pool = pool_new(1);
    struct dreamer *d = dreamer(&c, pool);
    struct dreamer_result r;
    struct params *critic = dreamer_params(d, DREAMER_CRITIC),
                  *target = dreamer_params(d, DREAMER_TARGET);
    size_t bytes = (size_t)critic->n_flat * sizeof(real);
    real *before = calloc(1, bytes);
    fill_batch(wm_batch(dreamer_world(d)), 0);
    memcpy(before, critic->weights, bytes);
    assert_true(dreamer_update(d, &r));
    assert_memory_equal(before, critic->weights, bytes); // rate 0
    for (int64_t i = 0; i < critic->n_flat; i++)
        assert_true(fabs((double)(target->weights[i] - before[i])) < 1e-6);
    assert_true(dreamer_update(d, &r));
    assert_int_equal(wm_opt_steps(dreamer_world(d)), 2);
    bool moved = false;
    for (int64_t i = 0; i < critic->n_flat; i++) {
        moved |= critic->weights[i] != before[i];
        double want = 0.02 * (double)critic->weights[i] + 0.98 * (double)before[i];
        assert_true(fabs((double)target->weights[i] - want) < 1e-6);
    }
    assert_true(moved);
    free(before);
    dreamer_free(d);
    pool_free(pool);
}

static void updates_do_not_depend_on_the_number_of_threads_and_allocate_nothing(void **state) {
    (void)state;
    struct config c = small_config((const char *const[]){"algo.optimizer.warmup=0", NULL});
    real *first[DREAMER_N_SETS] = {0};
    for (int threads = 1; threads <= 3; threads++) {
        struct pool *pool = pool_new(threads);
        struct dreamer *d = dreamer(&c, pool);
        struct dreamer_result r;
        for (uint64_t step = 0; step < 4; step++) {
            fill_batch(wm_batch(dreamer_world(d)), step);
            long before = n_allocations;
            assert_true(dreamer_update(d, &r));
            assert_true(n_allocations == before);
        }
        for (int s = 0; s < DREAMER_N_SETS; s++) {
            const struct params *p = dreamer_params(d, (enum dreamer_set)s);
            size_t bytes = (size_t)p->n_flat * sizeof(real);
            if (!first[s]) memcpy(first[s] = malloc(bytes), p->weights, bytes);
            assert_memory_equal(first[s], p->weights, bytes);
        }
        dreamer_free(d);
        pool_free(pool);
    }
    for (int s = 0; s < DREAMER_N_SETS; s++) free(first[s]);
}

static void what_is_not_finite_changes_nothing_and_is_named(void **state) {
    (void)state;
    struct config c = small_config((const char *const[]){"algo.optimizer.warmup=0", NULL});
    struct pool *pool = pool_new(1);
    struct dreamer *d = dreamer(&c, pool);
    struct dreamer_result r;
    fill_batch(wm_batch(dreamer_world(d)), 0);
    assert_true(dreamer_update(d, &r));
    real *before[DREAMER_N_SETS];
    for (int s = 0; s < DREAMER_N_SETS; s++) {
        const struct params *p = dreamer_params(d, (enum dreamer_set)s);
        before[s] = malloc((size_t)p->n_flat * sizeof(real));
        memcpy(before[s], p->weights, (size_t)p->n_flat * sizeof(real));
    }
    // the actor's weights are no part of the world model's loss
    struct params *actor = dreamer_params(d, DREAMER_ACTOR);
    actor->weights[0] = (real)NAN;
    assert_false(dreamer_update(d, &r));
    assert_non_null(strstr(r.bad_node, "actor"));
    assert_string_equal(r.bad_node, r.model.bad_node);
    actor->weights[0] = before[DREAMER_ACTOR][0];
    wm_batch(dreamer_world(d))->rewards[3] = (real)NAN;
    assert_false(dreamer_update(d, &r));
    assert_non_null(strstr(r.bad_node, "rewards"));
    assert_int_equal(wm_opt_steps(dreamer_world(d)), 1);
    for (int s = 0; s < DREAMER_N_SETS; s++) {
        const struct params *p = dreamer_params(d, (enum dreamer_set)s);
        assert_memory_equal(before[s], p->weights, (size_t)p->n_flat * sizeof(real));
        free(before[s]);
    }
    dreamer_free(d);
    pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imagined_continues_are_probabilities_that_hold_the_discount),
        cmocka_unit_test(the_continue_head_learns_the_discount),
        cmocka_unit_test(pictures_lie_between_black_and_white),
        cmocka_unit_test(replayed_returns_stop_at_the_end_of_an_episode),
        cmocka_unit_test(dreams_teach_the_world_model_nothing),
        cmocka_unit_test(the_replay_loss_reaches_critic_and_world_model),
        cmocka_unit_test(the_core_takes_state_latent_and_action_block_by_block),
        cmocka_unit_test(the_world_models_gradient_is_its_losss_derivative),
        cmocka_unit_test(fresh_weights_follow_the_fan_in),
        cmocka_unit_test(the_rate_grows_from_zero_and_the_target_follows_behind),
        cmocka_unit_test(updates_do_not_depend_on_the_number_of_threads_and_allocate_nothing),
        cmocka_unit_test(what_is_not_finite_changes_nothing_and_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
