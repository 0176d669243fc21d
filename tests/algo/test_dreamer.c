// Dreamer, whole: parameter counts, first losses, determinism, refusal of bad numbers,
// and an actor that learns what its dreams reward.
#include "support/test.h"

#include <math.h>

#include "base/philox.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/graph/node.h"
#include "support/config_of.h"
#include "support/count_allocations.h"

enum { ACTIONS = 8 };

static const char *const SMALL[] = {"algo.per_rank_batch_size=4", "algo.per_rank_sequence_length=8",
                                    "algo.horizon=5", NULL};

static struct dreamer *dreamer(const struct config *c, struct pool *pool) {
    return dreamer_new(&(struct dreamer_opts){.config = c, .n_actions = ACTIONS, .pool = pool});
}

// Random actions and pictures that show nothing; a reward of 1 for having pressed button 3.
static void fill(const struct wm_batch *b, uint64_t step) {
    memset(b->prev_actions, 0, (size_t)(b->length * b->batch * b->n_actions) * sizeof(real));
    memset(b->packed, 0, (size_t)(b->length * b->batch) * WM_PACKED_BYTES);
    for (int row = 0; row < b->length * b->batch; row++) {
        uint32_t action = rng_below(5, RNG_TEST, step, (uint32_t)row, ACTIONS);
        bool first = row < b->batch;
        if (!first) b->prev_actions[row * b->n_actions + (int)action] = 1;
        b->is_first[row] = first;
        b->rewards[row] = !first && action == 3;
        b->continues[row] = 1;
    }
}

static void parameter_counts_are_those_of_the_specification(void **state) {
    (void)state;
    static const struct {
        const char *preset;
        int n_actions;
        long long total;
    } counts[] = {
        {"tiny", 8, 2062056}, {"tiny", 7, 2061799}, {"xs", 8, 16229544},  {"s", 8, 32085384},
        {"m", 8, 64480200},   {"l", 8, 129583112},  {"xl", 8, 328140936},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct config c = config_of(counts[i].preset, NULL);
        struct wm_dims world = wm_dims_from_config(&c, counts[i].n_actions);
        struct ac_dims d = ac_dims_from_config(&c, &world, NULL);
        struct params p[3];
        for (int k = 0; k < 3; k++) params_init(&p[k]);
        wm_register(&p[0], &world);
        ac_register_actor(&p[1], &d);
        ac_register_critic(&p[2], &d, CRITIC_NAME);
        long long total = p[0].n_weights + p[1].n_weights + p[2].n_weights;
        if (total != counts[i].total) fail_msg("%s has %lld weights", counts[i].preset, total);
        for (int k = 0; k < 3; k++) params_deinit(&p[k]);
    }
}

static void names_are_unique_over_all_parameter_sets(void **state) {
    (void)state;
    struct config c = config_of("micro", SMALL);
    struct pool *pool = pool_new(1);
    struct dreamer *d = dreamer(&c, pool);
    static const char *const prefix[DREAMER_N_SETS] = {"", "actor.", "critic.", "target_critic."};
    for (int s = 0; s < DREAMER_N_SETS; s++) {
        const struct params *p = dreamer_params(d, (enum dreamer_set)s);
        assert_true(p->n > 0);
        for (int i = 0; i < p->n; i++) {
            assert_true(strncmp(p->list[i].name, prefix[s], strlen(prefix[s])) == 0);
            for (int other = 0; other < s; other++)
                assert_null(
                    params_find(dreamer_params(d, (enum dreamer_set)other), p->list[i].name));
        }
    }
    dreamer_free(d);
    pool_free(pool);
}

// Before the first update the critic is 0 everywhere, so are the rewards, and the policy is close
// to uniform (F49).
static void first_losses_are_those_of_a_fresh_agent(void **state) {
    (void)state;
    struct config c = config_of("tiny", SMALL);
    struct pool *pool = pool_new(1);
    struct dreamer *d = dreamer(&c, pool);
    struct dreamer_result r;
    float m[METRIC_COUNT];
    fill(wm_batch(dreamer_world(d)), 0);
    if (!dreamer_update(d, &r)) fail_msg("%s", r.bad_node);
    assert_string_equal(r.bad_node, "");
    assert_int_equal(wm_opt_steps(dreamer_world(d)), 1);
    uint64_t present = dreamer_metrics(d, m);
    for (int i = METRIC_LOSS_ACTOR; i <= METRIC_GRAD_NORM_CRITIC; i++) {
        assert_true(present >> i & 1);
        assert_true(isfinite(m[i]));
    }
    assert_true(present >> METRIC_LOSS_MODEL & 1);
    assert_true(m[METRIC_ACTION_ENTROPY] > 0.7 * log(ACTIONS) &&
                m[METRIC_ACTION_ENTROPY] <= (float)log(ACTIONS));
    assert_true(fabsf(m[METRIC_VALUE_MEAN]) < 1e-5F && m[METRIC_VALUE_STD] < 1e-5F);
    // each of the two terms is at most ln 255; weights are at most 1
    assert_true(m[METRIC_LOSS_CRITIC] > 0.1F &&
                m[METRIC_LOSS_CRITIC] <= (float)(2 * log(255) + 1e-4));
    assert_true(m[METRIC_RET_SCALE] == 1);
    assert_true(m[METRIC_GRAD_NORM_CRITIC] > 0 && m[METRIC_GRAD_NORM_ACTOR] > 0);
    dreamer_free(d);
    pool_free(pool);
}

static struct dreamer *run(const struct config *c, struct pool *pool, int updates) {
    struct dreamer *d = dreamer(c, pool);
    struct dreamer_result r;
    for (int i = 0; i < updates; i++) {
        fill(wm_batch(dreamer_world(d)), (uint64_t)i);
        if (!dreamer_update(d, &r)) fail_msg("update %d: %s is not finite", i, r.bad_node);
    }
    return d;
}

static void assert_same_weights(struct dreamer *a, struct dreamer *b) {
    for (int s = 0; s < DREAMER_N_SETS; s++) {
        const struct params *p = dreamer_params(a, (enum dreamer_set)s),
                            *q = dreamer_params(b, (enum dreamer_set)s);
        assert_memory_equal(p->weights, q->weights, (size_t)p->n_flat * sizeof(real));
        assert_memory_equal(p->moment2, q->moment2, (size_t)p->n_flat * sizeof(real));
    }
    assert_memory_equal(dreamer_range(a), dreamer_range(b), 2 * sizeof(real));
}

static void one_or_three_threads_give_the_same_bits(void **state) {
    (void)state;
    struct config c = config_of("tiny", SMALL);
    struct pool *one = pool_new(1), *three = pool_new(3);
    struct dreamer *a = run(&c, one, 4), *b = run(&c, three, 4);
    assert_same_weights(a, b);
    dreamer_free(a);
    dreamer_free(b);
    pool_free(one);
    pool_free(three);
}

// The world model alone (standing still) and the world model inside take the same steps.
static void the_behaviour_does_not_change_the_world_models_step(void **state) {
    (void)state;
    struct config c = config_of("tiny", SMALL);
    struct pool *pool = pool_new(2);
    struct dreamer *d = run(&c, pool, 3);
    struct world_model *wm =
        wm_new(&(struct wm_opts){.config = &c, .n_actions = ACTIONS, .pool = pool});
    struct wm_result r;
    for (int i = 0; i < 3; i++) {
        fill(wm_batch(wm), (uint64_t)i);
        assert_true(wm_update(wm, &r));
    }
    assert_memory_equal(wm_params(wm)->weights, dreamer_params(d, DREAMER_WORLD)->weights,
                        (size_t)wm_params(wm)->n_flat * sizeof(real));
    wm_free(wm);
    dreamer_free(d);
    pool_free(pool);
}

// All that is read after an update, or in the next one, lies apart from what the graphs share.
static void graphs_share_memory_and_leave_nothing_there(void **state) {
    (void)state;
    struct config c = config_of("micro", SMALL);
    struct pool *pool = pool_new(1);
    struct dreamer *d[2] = {dreamer(&c, pool), dreamer(&c, pool)};
    static uint8_t pictures[2][2][WM_ROLLOUT][WM_PIXELS];
    float m[2][METRIC_COUNT] = {{0}};
    struct slab *shared = wm_slab(dreamer_world(d[1]));
    assert_true(slab_bytes(shared) > 100000);
    assert_ptr_equal(slab_take(shared, slab_bytes(shared)), slab_take(shared, 0)); // one block
    assert_true(dreamer_slab_bytes(d[1]) < slab_bytes(shared) * 3 / 2);
    for (int step = 0; step < 3; step++)
        for (int i = 0; i < 2; i++) {
            struct dreamer_result r;
            fill(wm_batch(dreamer_world(d[i])), (uint64_t)step);
            if (!dreamer_update(d[i], &r)) fail_msg("%s", r.bad_node);
            if (i == 1) memset(slab_take(shared, 0), 0xFF, slab_bytes(shared));
            wm_display(dreamer_world(d[i]), pictures[i][0], pictures[i][1]);
            if (i == 1) memset(slab_take(shared, 0), 0xFF, slab_bytes(shared));
            dreamer_metrics(d[i], m[i]);
        }
    assert_same_weights(d[0], d[1]);
    assert_memory_equal(m[0], m[1], sizeof m[0]);
    assert_memory_equal(pictures[0], pictures[1], sizeof pictures[0]);
    const struct wm_states s[2] = {wm_states(dreamer_world(d[0])), wm_states(dreamer_world(d[1]))};
    const size_t width = (size_t)wm_dims(dreamer_world(d[0]))->recurrent * sizeof(real);
    assert_memory_equal(s[0].h, s[1].h, (size_t)s[0].rows * width);
    for (int i = 0; i < 2; i++) dreamer_free(d[i]);
    pool_free(pool);
}

static void the_target_critic_starts_as_a_copy_and_follows_slowly(void **state) {
    (void)state;
    struct config c = config_of("micro", SMALL);
    struct pool *pool = pool_new(1);
    struct dreamer *d = dreamer(&c, pool);
    const struct params *critic = dreamer_params(d, DREAMER_CRITIC),
                        *target = dreamer_params(d, DREAMER_TARGET);
    size_t bytes = (size_t)critic->n_flat * sizeof(real);
    assert_memory_equal(critic->weights, target->weights, bytes);
    real *before = malloc(bytes), *critic_before = malloc(bytes);
    struct dreamer_result r;
    for (int i = 0; i < 3; i++) {
        memcpy(before, target->weights, bytes);
        memcpy(critic_before, critic->weights, bytes);
        fill(wm_batch(dreamer_world(d)), (uint64_t)i);
        assert_true(dreamer_update(d, &r));
        for (int64_t k = 0; k < critic->n_flat; k++) {
            double expect = i == 0 ? (double)critic_before[k]
                                   : 0.02 * (double)critic_before[k] + 0.98 * (double)before[k];
            assert_true(fabs((double)target->weights[k] - expect) < 1e-7);
        }
    }
    free(before);
    free(critic_before);
    dreamer_free(d);
    pool_free(pool);
}

// What a device's bundle does for want of copies: in the first update, and in a later one.
static void the_halves_of_an_update_that_failed_are_undone(void **state) {
    (void)state;
    struct config c = config_of("micro", SMALL);
    struct pool *pool = pool_new(1);
    struct dreamer_result r;
    for (int good = 0; good < 3; good += 2) {
        struct dreamer *d = dreamer(&c, pool);
        struct params *world = dreamer_params(d, DREAMER_WORLD),
                      *target = dreamer_params(d, DREAMER_TARGET), w, t;
        for (int i = 0; i < good; i++) {
            fill(wm_batch(dreamer_world(d)), (uint64_t)i);
            assert_true(dreamer_update(d, &r));
        }
        params_copy_init(&w, world);
        params_copy_init(&t, target);
        const size_t bytes[2] = {(size_t)world->n_flat * sizeof(real),
                                 (size_t)target->n_flat * sizeof(real)};
        real *before[2] = {malloc(bytes[0]), malloc(bytes[1])};
        memcpy(before[0], world->weights, bytes[0]);
        memcpy(before[1], target->weights, bytes[1]);
        fill(wm_batch(dreamer_world(d)), (uint64_t)good);
        dreamer_params(d, DREAMER_ACTOR)->weights[3] = (real)NAN;
        assert_false(dreamer_update(d, &r));
        wm_undo(dreamer_world(d), good + 1, &w);
        behaviour_target_before(dreamer_behaviour(d), good, &t);
        double moved = 0;
        for (int64_t k = 0; k < world->n_flat; k++) {
            moved = worse(moved, fabs((double)world->weights[k] - (double)before[0][k]));
            assert_true(fabs((double)w.weights[k] - (double)before[0][k]) < 3e-7);
        }
        for (int64_t k = 0; k < target->n_flat; k++)
            assert_true(fabs((double)t.weights[k] - (double)before[1][k]) < 3e-7);
        assert_true(moved > 5e-5);
        for (int i = 0; i < 2; i++) free(before[i]);
        params_deinit(&w);
        params_deinit(&t);
        dreamer_free(d);
    }
    pool_free(pool);
}

// The critic is pulled to what the target says; returns and advantages know the critic alone.
static void the_target_critic_enters_the_critics_loss_and_nothing_else(void **state) {
    (void)state;
    static const char *const settings[] = {
        "algo.per_rank_batch_size=4",
        "algo.per_rank_sequence_length=8",
        "algo.horizon=5",
        "algo.critic.per_rank_target_network_update_freq=1000",
        "algo.critic.optimizer.lr=0.01", // away from the uniform start
        NULL,
    };
    struct config c = config_of("micro", settings);
    struct pool *pool = pool_new(1);
    struct dreamer_result r[2];
    for (int other = 0; other < 2; other++) {
        struct dreamer *d = run(&c, pool, 5);
        struct params *target = dreamer_params(d, DREAMER_TARGET);
        const struct param *bias = params_find(target, "target_critic._model.3.bias");
        assert_non_null(bias);
        if (other) params_weights(target, bias)[140] = 20; // a value of about 7
        fill(wm_batch(dreamer_world(d)), 5);
        assert_true(dreamer_update(d, &r[other]));
        dreamer_free(d);
    }
    assert_true(r[0].behaviour.loss_actor == r[1].behaviour.loss_actor);
    assert_true(fabs(r[0].behaviour.loss_critic - r[1].behaviour.loss_critic) > 1e-3);
    assert_true(r[0].behaviour.norm_critic != r[1].behaviour.norm_critic);
    pool_free(pool);
}

static void a_number_that_is_not_finite_in_the_dream_stops_actor_and_critic(void **state) {
    (void)state;
    struct config c = config_of("tiny", SMALL);
    struct pool *pool = pool_new(1);
    struct dreamer *d = run(&c, pool, 2);
    struct params *actor = dreamer_params(d, DREAMER_ACTOR),
                  *critic = dreamer_params(d, DREAMER_CRITIC);
    const struct param *q = params_find(actor, "actor.model._model.0.weight");
    assert_non_null(q);
    params_weights(actor, q)[5] = (real)NAN;
    size_t bytes = (size_t)critic->n_flat * sizeof(real);
    real *before = malloc(bytes), range[2];
    memcpy(before, critic->weights, bytes);
    memcpy(range, dreamer_range(d), sizeof range);
    struct dreamer_result r;
    fill(wm_batch(dreamer_world(d)), 2);
    assert_false(dreamer_update(d, &r));
    if (!strstr(r.bad_node, "actor.model._model.0.weight")) fail_msg("bad node: %s", r.bad_node);
    assert_memory_equal(before, critic->weights, bytes);
    assert_memory_equal(range, dreamer_range(d), sizeof range);
    free(before);

    fill(wm_batch(dreamer_world(d)), 2);
    wm_batch(dreamer_world(d))->rewards[7] = (real)NAN; // the world model's part: nothing moves
    assert_false(dreamer_update(d, &r));
    assert_non_null(strstr(r.bad_node, "rewards"));
    assert_int_equal(wm_opt_steps(dreamer_world(d)), 2);
    dreamer_free(d);
    pool_free(pool);
}

static void updates_allocate_nothing(void **state) {
    (void)state;
    if (!COUNTS_ALLOCATIONS) skip();
    struct config c = config_of("micro", SMALL);
    struct pool *pool = pool_new(2);
    long at_start = n_allocations;
    struct dreamer *d = run(&c, pool, 1);
    assert_true(n_allocations > at_start); // the counter counts
    struct dreamer_result r;
    float m[METRIC_COUNT];
    fill(wm_batch(dreamer_world(d)), 1);
    long before = n_allocations;
    bool fine = dreamer_update(d, &r);
    dreamer_metrics(d, m);
    long after = n_allocations;
    assert_true(fine);
    assert_int_equal(after, before);
    dreamer_free(d);
    pool_free(pool);
}

static void a_decoupled_model_is_trained_like_any_other(void **state) {
    (void)state;
    static const char *const settings[] = {"algo.per_rank_batch_size=4",
                                           "algo.per_rank_sequence_length=8", "algo.horizon=5",
                                           "algo.world_model.decoupled_rssm=true", NULL};
    struct config c = config_of("micro", settings), coupled = config_of("micro", SMALL);
    struct pool *pool = pool_new(1);
    struct dreamer *d = run(&c, pool, 3), *other = run(&coupled, pool, 1);
    // the representation model has no columns for h
    assert_int_equal(dreamer_n_weights(other) - dreamer_n_weights(d),
                     coupled.recurrent_size * coupled.representation_hidden);
    dreamer_free(d);
    dreamer_free(other);
    pool_free(pool);
}

// Two heads: the dream, the losses and the update run with several action components.
static void several_action_heads_are_trained_together(void **state) {
    (void)state;
    static const struct action_space heads = {.n_heads = 2, .classes = {5, 3}};
    struct config c = config_of("micro", SMALL);
    struct pool *pool = pool_new(1);
    struct dreamer *d = dreamer_new(&(struct dreamer_opts){
        .config = &c, .n_actions = ACTIONS, .actions = &heads, .pool = pool});
    struct dreamer_result r;
    float m[METRIC_COUNT];
    for (int i = 0; i < 2; i++) {
        fill(wm_batch(dreamer_world(d)), (uint64_t)i);
        if (!dreamer_update(d, &r)) fail_msg("%s", r.bad_node);
    }
    dreamer_metrics(d, m);
    double most = log(5) + log(3);
    assert_true((double)m[METRIC_ACTION_ENTROPY] > 0.8 * most &&
                (double)m[METRIC_ACTION_ENTROPY] <= most + 1e-6);
    assert_non_null(params_find(dreamer_params(d, DREAMER_ACTOR), "actor.mlp_heads.1.bias"));
    dreamer_free(d);
    pool_free(pool);
}

// Buttons 0 to 3 pay 1, the others nothing: a policy that knows it earns 1 a step, worth 2 at gamma
// 0.5 (random play: 1).
static void the_actor_learns_what_its_dreams_reward(void **state) {
    (void)state;
    static const char *const settings[] = {
        "algo.per_rank_batch_size=16",
        "algo.per_rank_sequence_length=4",
        "algo.dense_units=32",
        "algo.world_model.recurrent_model.recurrent_state_size=32",
        "algo.world_model.transition_model.hidden_size=32",
        "algo.world_model.representation_model.hidden_size=32",
        "algo.horizon=5",
        "algo.gamma=0.5",
        "algo.world_model.optimizer.lr=0.005",
        "algo.actor.optimizer.lr=0.005",
        "algo.critic.optimizer.lr=0.01",
        "algo.actor.moments.decay=0.9",
        NULL,
    };
    enum { UPDATES = 300 };
    struct config c = config_of("micro", settings);
    struct pool *pool = pool_new(2);
    struct dreamer *d = dreamer(&c, pool);
    struct dreamer_result r;
    float m[METRIC_COUNT];
    double value = 0, entropy = 0;
    for (int i = 0; i < UPDATES; i++) {
        const struct wm_batch *b = wm_batch(dreamer_world(d));
        fill(b, (uint64_t)i);
        for (int row = b->batch; row < b->length * b->batch; row++) {
            const real *action = b->prev_actions + row * ACTIONS;
            b->rewards[row] = action[0] + action[1] + action[2] + action[3];
        }
        if (!dreamer_update(d, &r)) fail_msg("update %d: %s is not finite", i, r.bad_node);
        dreamer_metrics(d, m);
        if (i >= UPDATES - 10) {
            value += (double)m[METRIC_VALUE_MEAN] / 10;
            entropy += (double)m[METRIC_ACTION_ENTROPY] / 10;
        }
    }
    printf("value %.3f (best 2, random 1), entropy %.3f of %.3f\n", value, entropy, log(ACTIONS));
    assert_true(value > 1.15 && value < 2.3);
    assert_true(entropy < log(ACTIONS / 2) + 0.1);
    dreamer_free(d);
    pool_free(pool);
}

// Sums in another order leave three updates' weights within a tenth of what the GPU gate allows
// (1e-4 of the largest): it judges a device, not rounding. Adam's first steps are blind to a
// gradient's size (spec 10.2, G37), so this could be otherwise.
static void weights_hardly_depend_on_the_order_of_sums(void **state) {
    (void)state;
    static const char *const tables[] = {"avx512", "avx2", "generic"};
    enum { STEPS = 3, N = sizeof tables / sizeof *tables };
    const char *const before = cpu_kernels_name();
    struct config c = config_of("tiny", SMALL);
    struct pool *pool = pool_new(2);
    struct dreamer *d[N], *first = NULL;
    for (int k = 0; k < N; k++) {
        d[k] = cpu_kernels_choose(tables[k]) ? dreamer(&c, pool) : NULL;
        for (uint64_t step = 0; d[k] && step < STEPS; step++) {
            const struct wm_batch *b = wm_batch(dreamer_world(d[k]));
            struct dreamer_result r;
            fill(b, step);
            for (uint32_t i = 0; i < (uint32_t)(b->length * b->batch) * WM_PACKED_BYTES; i++)
                b->packed[i] = (uint8_t)(rng_u32(6, RNG_TEST, step, i / 64) >> 7);
            if (!dreamer_update(d[k], &r)) fail_msg("%s: %s", tables[k], r.bad_node);
        }
        if (!first) first = d[k];
        for (int set = 0; d[k] && d[k] != first && set < DREAMER_N_SETS; set++) {
            const struct params *p = dreamer_params(d[k], (enum dreamer_set)set),
                                *q = dreamer_params(first, (enum dreamer_set)set);
            double largest = 0, worst = 0;
            for (int64_t i = 0; i < p->n_flat; i++) {
                largest = fmax(largest, fabs((double)q->weights[i]));
                worst = worse(worst, fabs((double)p->weights[i] - (double)q->weights[i]));
            }
            if (!(worst <= 1e-5 * largest))
                fail_msg("%s, set %d: apart by %g of %g", tables[k], set, worst, largest);
        }
    }
    for (int k = 0; k < N; k++) dreamer_free(d[k]);
    pool_free(pool);
    cpu_kernels_choose(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameter_counts_are_those_of_the_specification),
        cmocka_unit_test(names_are_unique_over_all_parameter_sets),
        cmocka_unit_test(first_losses_are_those_of_a_fresh_agent),
        cmocka_unit_test(one_or_three_threads_give_the_same_bits),
        cmocka_unit_test(weights_hardly_depend_on_the_order_of_sums),
        cmocka_unit_test(the_behaviour_does_not_change_the_world_models_step),
        cmocka_unit_test(graphs_share_memory_and_leave_nothing_there),
        cmocka_unit_test(the_target_critic_starts_as_a_copy_and_follows_slowly),
        cmocka_unit_test(the_halves_of_an_update_that_failed_are_undone),
        cmocka_unit_test(the_target_critic_enters_the_critics_loss_and_nothing_else),
        cmocka_unit_test(a_number_that_is_not_finite_in_the_dream_stops_actor_and_critic),
        cmocka_unit_test(updates_allocate_nothing),
        cmocka_unit_test(a_decoupled_model_is_trained_like_any_other),
        cmocka_unit_test(several_action_heads_are_trained_together),
        cmocka_unit_test(the_actor_learns_what_its_dreams_reward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
