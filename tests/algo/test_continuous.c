// Continuous actions and vector observations: gradients through the dream by finite differences,
// whose loss reaches which network, updates and the player.
#include <math.h>
#include <stdlib.h>

#include "base/philox.h"
#include "engine/algo/dreamer_v3/behaviour_graph.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/algo/dreamer_v3/player.h"
#include "support/config_of.h"

enum { ACTIONS = 2, STARTS = 6, CLIP = 20, VECTOR = 5 };
static const struct action_space two_values = {.n_continuous = ACTIONS};
static const struct obs_space a_vector = {.n_vector = VECTOR};

static struct config small_config(void) {
    static const char *const keys[] = {"algo.world_model.stochastic_size=3",
                                       "algo.world_model.discrete_size=4",
                                       "algo.per_rank_batch_size=2",
                                       "algo.per_rank_sequence_length=3",
                                       "algo.horizon=4",
                                       "algo.mlp_layers=2",
                                       NULL};
    return config_of("micro", keys);
}

static double noise(uint64_t stream, int64_t i) {
    return noise_normal(3, RNG_TEST, (int64_t)stream, (uint32_t)i);
}

static void fill_normal(real *x, int64_t n, uint64_t stream, double scale) {
    for (int64_t i = 0; i < n; i++) x[i] = (real)(scale * noise(stream, i));
}

// ---- the behaviour graph on its own

struct dream_case {
    struct config config;
    struct wm_dims world;
    struct ac_dims nets;
    struct params sets[4]; // world, actor, critic, target
    struct pool *pool;
    struct graph *graph;
    struct behaviour_graph b;
    struct executor *executor;
};

enum which_loss { ACTORS, CRITICS, BOTH };

// z is always 0 where derivatives are compared: the straight-through gradient of a sample is no
// derivative. The range is one constant for the same reason.
static void build(struct dream_case *k, bool zero_latent, enum which_loss which) {
    k->config = small_config();
    k->config.action_clip = CLIP; // a clipped action's factor is no part of a derivative
    k->world = wm_dims_from_config(&k->config, ACTIONS);
    wm_dims_observe(&k->world, false, VECTOR);
    k->world.zero_latent = zero_latent;
    k->nets = ac_dims_from_config(&k->config, &k->world, &two_values);
    for (int i = 0; i < 4; i++) params_init(&k->sets[i]);
    wm_register(&k->sets[0], &k->world);
    ac_register_actor(&k->sets[1], &k->nets);
    ac_register_critic(&k->sets[2], &k->nets, CRITIC_NAME);
    ac_register_critic(&k->sets[3], &k->nets, TARGET_CRITIC_NAME);
    for (int i = 0; i < 4; i++) {
        params_allocate(&k->sets[i]);
        fill_normal(k->sets[i].weights, k->sets[i].n_flat, (uint64_t)i, 0.5);
    }
    struct behaviour_graph_opts opts =
        behaviour_opts_from_config(&k->config, &k->world, &k->nets, STARTS);
    opts.min_scale = 1000;
    opts.ent_coef = (real)1e-5; // or it would be most of the gradient
    struct behaviour_sets sets = {&k->sets[0], &k->sets[1], &k->sets[2], &k->sets[3]};
    k->pool = pool_new(1);
    k->graph = graph_new();
    k->b = behaviour_build(k->graph, &sets, &opts);
    graph_gradients(k->graph, which == ACTORS    ? k->b.actor.loss
                              : which == CRITICS ? k->b.critic.loss
                                                 : k->b.loss);
    graph_keep(k->graph, k->b.dream.actions[0]);
    graph_plan(k->graph);
    k->executor = cpu_executor_new(k->graph, k->pool);
    const struct behaviour_in *in = &k->b.in;
    nn_twohot_bins(in->reward_bins->data, k->world.bins);
    nn_twohot_bins(in->value_bins->data, k->nets.bins);
    fill_normal(in->h->data, in->h->n_elements, 10, 0.5);
    fill_normal(in->eps->data, in->eps->n_elements, 11, 0.3);
    for (int64_t i = 0; i < in->z->n_elements; i += k->world.discrete) ((real *)in->z->data)[i] = 1;
    for (int64_t i = 0; i < in->u_prior->n_elements; i++)
        ((real *)in->u_prior->data)[i] = (real)rng_uniform(4, RNG_TEST, 12, (uint32_t)i);
    for (int64_t i = 0; i < STARTS; i++) ((real *)in->continues->data)[i] = 1;
}

static void destroy(struct dream_case *k) {
    executor_free(k->executor);
    graph_free(k->graph);
    for (int i = 0; i < 4; i++) params_deinit(&k->sets[i]);
    pool_free(k->pool);
}

static double loss_of(struct dream_case *k) {
    executor_run(k->executor);
    return (double)*(const real *)k->b.actor.loss->data;
}

static bool any_clipped(const struct dream_case *k) {
    const struct tensor *t = k->b.dream.actions[0];
    for (int64_t i = 0; i < t->n_elements; i++)
        if (fabs((double)((const real *)t->data)[i]) >= CLIP) return true;
    return false;
}

static void the_actors_gradient_through_the_dream_is_the_losss_derivative(void **state) {
    (void)state;
    if (sizeof(real) != sizeof(double)) skip(); // differences need the precision
    struct dream_case k = {0};
    build(&k, true, ACTORS);
    struct params *actor = &k.sets[1];
    loss_of(&k);
    assert_false(any_clipped(&k));
    real *grads = malloc((size_t)actor->n_flat * sizeof *grads);
    memcpy(grads, actor->grads, (size_t)actor->n_flat * sizeof *grads);
    for (int i = 0; i < actor->n; i++) {
        const struct param *p = &actor->list[i];
        double error = 0, norm = 1e-18;
        for (int64_t at = p->offset; at < p->offset + p->n_elements; at++) {
            const real before = actor->weights[at], step = (real)1e-5;
            actor->weights[at] = before + step;
            const double up = loss_of(&k);
            actor->weights[at] = before - step;
            const double down = loss_of(&k), d = (up - down) / (2 * (double)step);
            actor->weights[at] = before;
            error += pow((double)grads[at] - d, 2);
            norm += d * d;
        }
        if (!(sqrt(error / norm) < 1e-5)) fail_msg("%s: off by %g", p->name, sqrt(error / norm));
    }
    free(grads);
    destroy(&k);
}

// The gradient that reaches the actor does go through the dream: without a world that reacts to
// actions, and without a critic, nothing but the entropy is left.
static void each_loss_reaches_its_own_network_only(void **state) {
    (void)state;
    struct dream_case both = {0}, actors = {0}, critics = {0};
    build(&both, false, BOTH);
    build(&actors, false, ACTORS);
    build(&critics, false, CRITICS);
    executor_run(both.executor);
    executor_run(actors.executor);
    executor_run(critics.executor);
    const size_t n_actor = (size_t)both.sets[1].n_flat * sizeof(real),
                 n_critic = (size_t)both.sets[2].n_flat * sizeof(real);
    assert_memory_equal(both.sets[1].grads, actors.sets[1].grads, n_actor);
    assert_memory_equal(both.sets[2].grads, critics.sets[2].grads, n_critic);
    double actor = 0, critic = 0;
    for (int64_t i = 0; i < both.sets[1].n_flat; i++) actor += fabs((double)both.sets[1].grads[i]);
    for (int64_t i = 0; i < both.sets[2].n_flat; i++) critic += fabs((double)both.sets[2].grads[i]);
    assert_true(actor > 0 && critic > 0);
    destroy(&both);
    destroy(&actors);
    destroy(&critics);
}

// ---- whole updates, and the player

static struct dreamer *make_dreamer(const struct config *c, const struct obs_space *obs,
                                    struct pool *pool) {
    return dreamer_new(&(struct dreamer_opts){
        .config = c, .n_actions = ACTIONS, .actions = &two_values, .obs = obs, .pool = pool});
}

// What follows depends on the action: the vector of row t is the action before it, scaled.
static void fill_batch(const struct wm_batch *b, uint64_t step) {
    for (int64_t row = 0; row < (int64_t)b->length * b->batch; row++) {
        real *action = b->prev_actions + row * ACTIONS, *vector = b->vector + row * VECTOR;
        for (int i = 0; i < ACTIONS; i++)
            action[i] =
                (real)(2 * rng_uniform(9, RNG_TEST, step, (uint32_t)(row * ACTIONS + i)) - 1);
        for (int i = 0; i < VECTOR; i++) vector[i] = 30 * action[i % ACTIONS] * (real)(i + 1);
        b->is_first[row] = row < b->batch;
        b->rewards[row] = action[0];
        b->continues[row] = 1;
    }
    if (b->packed) memset(b->packed, 0x1B, (size_t)(b->length * b->batch) * WM_PACKED_BYTES);
}

static double learn(const struct obs_space *obs, int n_updates, double *first) {
    struct config c = small_config();
    struct error e = {0};
    assert_true(config_set(&c, "algo.world_model.optimizer.lr=1e-2", &e));
    struct pool *pool = pool_new(1);
    struct dreamer *d = make_dreamer(&c, obs, pool);
    float m[METRIC_COUNT];
    struct dreamer_result r;
    for (int i = 0; i < n_updates; i++) {
        fill_batch(wm_batch(dreamer_world(d)), (uint64_t)i);
        if (!dreamer_update(d, &r)) fail_msg("%s", r.bad_node);
        dreamer_metrics(d, m);
        if (i == 0) *first = (double)m[METRIC_OBS_NLL];
    }
    const double last = (double)m[METRIC_OBS_NLL];
    assert_true(isfinite((double)m[METRIC_LOSS_ACTOR]) && (double)m[METRIC_GRAD_NORM_ACTOR] > 0);
    assert_int_equal(wm_has_pictures(dreamer_world(d)), obs->pixels);
    dreamer_free(d);
    pool_free(pool);
    return last;
}

static void a_world_of_vectors_is_learned(void **state) {
    (void)state;
    double first = 0, last = learn(&a_vector, 200, &first);
    if (!(last < 0.5 * first)) fail_msg("the loss fell from %g to %g", first, last);
}

static void vectors_and_pictures_are_learned_together(void **state) {
    (void)state;
    const struct obs_space both = {.pixels = true, .n_vector = VECTOR};
    double first = 0, last = learn(&both, 60, &first);
    if (!(last < 0.5 * first)) fail_msg("the loss fell from %g to %g", first, last);
}

static void the_player_steers_by_vectors_within_the_bounds(void **state) {
    (void)state;
    enum { ENVS = 3, STEPS = 12 };
    struct config c = small_config();
    struct pool *pool = pool_new(1);
    struct dreamer *d = make_dreamer(&c, &a_vector, pool);
    struct player *p = player_new(&(struct player_opts){
        .world = wm_dims(dreamer_world(d)),
        .nets = behaviour_dims(dreamer_behaviour(d)),
        .world_params = dreamer_params(d, DREAMER_WORLD),
        .actor_params = dreamer_params(d, DREAMER_ACTOR),
        .n_envs = ENVS,
        .pool = pool,
    });
    float frames[ENVS][VECTOR];
    uint8_t *obs[ENVS], reset[ENVS] = {1, 1, 1};
    char bad[TENSOR_NAME_SIZE];
    bool differ = false;
    for (int n = 0; n < ENVS; n++) obs[n] = (uint8_t *)frames[n];
    for (int t = 0; t < STEPS; t++) {
        for (int n = 0; n < ENVS; n++)
            for (int i = 0; i < VECTOR; i++)
                frames[n][i] = (float)(10 * noise((uint64_t)(100 + t), n * VECTOR + i));
        if (!player_step(p, reset, obs, t, false, NULL, bad)) fail_msg("%s", bad);
        const real *values = player_values(p);
        for (int i = 0; i < ENVS * ACTIONS; i++) assert_true(fabs((double)values[i]) <= 1);
        differ |= values[0] != values[ACTIONS];
        memset(reset, 0, sizeof reset);
    }
    assert_true(differ);
    // the mean does not depend on the noise
    real greedy[ACTIONS];
    memset(reset, 1, sizeof reset);
    for (int n = 1; n < ENVS; n++) memcpy(frames[n], frames[0], sizeof frames[0]);
    frames[0][0] = NAN;
    assert_false(player_step(p, reset, obs, STEPS, true, NULL, bad));
    assert_true(strlen(bad) > 0);
    frames[0][0] = frames[1][0];
    assert_true(player_step(p, reset, obs, STEPS, true, NULL, bad));
    memcpy(greedy, player_values(p), sizeof greedy);
    assert_true(player_step(p, reset, obs, STEPS, true, NULL, bad));
    assert_memory_equal(greedy, player_values(p), sizeof greedy);
    player_free(p);
    dreamer_free(d);
    pool_free(pool);
}

static void normal_noise_has_mean_0_and_deviation_1(void **state) {
    (void)state;
    enum { N = 100000 };
    double sum = 0, squares = 0, fourth = 0;
    for (int i = 0; i < N; i++) {
        const double x = noise(7, i);
        sum += x, squares += x * x, fourth += x * x * x * x;
    }
    assert_true(fabs(sum / N) < 0.01);
    assert_true(fabs(squares / N - 1) < 0.02);
    assert_true(fabs(fourth / N - 3) < 0.15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_actors_gradient_through_the_dream_is_the_losss_derivative),
        cmocka_unit_test(each_loss_reaches_its_own_network_only),
        cmocka_unit_test(a_world_of_vectors_is_learned),
        cmocka_unit_test(vectors_and_pictures_are_learned_together),
        cmocka_unit_test(the_player_steers_by_vectors_within_the_bounds),
        cmocka_unit_test(normal_noise_has_mean_0_and_deviation_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
