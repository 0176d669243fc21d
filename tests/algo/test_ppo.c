// The PPO agent on the toy environment: invariants of an update, determinism, its parts.
#include <math.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/algo/ppo/ppo_stats.h"
#include "ppo_toy_run.h"

// ---- one update

static void the_ratio_is_one_before_the_weights_change(void **state) {
    (void)state;
    struct ppo_opts o = defaults(6, 20);
    struct run r;
    struct ppo_learned l;
    run_open(&r, &o, 1, 9);
    for (int i = 0; i < 3; i++) {
        update(&r, 1e-3, &l);
        // The policy differs from uniform by now, so that a wrong observation would show.
        assert_true(l.first[PPO_KL] == 0 && l.first[PPO_KL_K3] == 0 &&
                    l.first[PPO_CLIP_FRACTION] == 0);
        assert_int_equal(l.steps, 8);
    }
    assert_true(l.terms[PPO_KL_K3] > 0);
    run_close(&r);
}

static void a_rollout_with_shifted_observations_breaks_the_ratio(void **state) {
    (void)state;
    struct ppo_opts o = defaults(6, 20);
    struct run r;
    struct ppo_learned l;
    run_open(&r, &o, 1, 9);
    for (int i = 0; i < 3; i++) update(&r, 1e-3, &l);
    play(&r);
    // What the reference stores: at t the observation after the step (spec/ppo.md 8, 1).
    for (int64_t t = 0; t < o.n_steps; t++)
        for (int64_t i = 0; i < o.n_envs; i++)
            memcpy(ppo_rollout_frame(r.rollout, t, i), ppo_rollout_frame(r.rollout, t + 1, i),
                   ROLLOUT_FRAME_BYTES);
    assert_true(ppo_learn(r.agent, r.rollout, 1e-3, &l));
    assert_true(l.first[PPO_KL_K3] > 1e-6); // far above the gate's bar
    run_close(&r);
}

static void one_update_changes_every_parameter_and_stays_finite(void **state) {
    (void)state;
    struct ppo_opts o = defaults(4, 16);
    struct run r;
    struct ppo_learned l;
    run_open(&r, &o, 1, 9);
    struct params *p = ppo_params(r.agent);
    real *before = mem_alloc((size_t)p->n_flat * sizeof(real));
    memcpy(before, p->weights, (size_t)p->n_flat * sizeof(real));
    update(&r, 1e-3, &l);
    for (int i = 0; i < p->n; i++) {
        const real *w = params_weights(p, &p->list[i]), *old = before + p->list[i].offset;
        int64_t changed = 0;
        for (int64_t k = 0; k < p->list[i].n_elements; k++) {
            changed += w[k] != old[k];
            assert_true(isfinite((double)w[k]));
        }
        if (!changed) fail_msg("%s did not change", p->list[i].name);
    }
    assert_true(isfinite(l.grad_norm) && l.grad_norm > 0);
    free(before);
    run_close(&r);
}

static void a_nan_in_a_weight_stops_the_update_and_names_the_node(void **state) {
    (void)state;
    struct ppo_opts o = defaults(4, 8);
    struct run r;
    struct ppo_learned l;
    run_open(&r, &o, 1, 9);
    play(&r);
    struct params *p = ppo_params(r.agent);
    params_weights(p, params_find(p, "conv2.weight"))[5] = (real)NAN;
    assert_false(ppo_learn(r.agent, r.rollout, 1e-3, &l));
    assert_string_equal(l.bad_node, "conv2.weight");
    assert_true(l.bad_epoch == 0 && l.bad_minibatch == 0);
    int64_t n;
    const int64_t *samples = ppo_last_minibatch(r.agent, &n);
    assert_int_equal(n, 8);
    for (int64_t i = 0; i < n; i++) assert_in_range(samples[i], 0, 31);
    run_close(&r);
}

static void an_update_stops_after_the_epoch_that_moved_too_far(void **state) {
    (void)state;
    struct ppo_opts o = defaults(4, 16);
    struct run r;
    struct ppo_learned l;
    o.epochs = 5;
    o.target_kl = 1e-7;
    run_open(&r, &o, 1, 9);
    update(&r, 1e-3, &l);
    assert_in_range(l.steps, 4, 16);
    assert_int_equal(l.steps % 4, 0);
    run_close(&r);
}

// Losses of the third update with seed 7. The values are this program's own, recorded once from a
// build with AVX-512 by PPO_VERBOSE=1: a change here is a change of the algorithm.
static void three_updates_give_the_recorded_losses(void **state) {
    (void)state;
    if (sizeof(real) == 8) skip();
    static const double recorded[PPO_N_TERMS] = {[PPO_TOTAL] = -0.0214194104,
                                                 [PPO_POLICY] = -0.00290485463,
                                                 [PPO_VALUE] = 0.00092913588,
                                                 [PPO_ENTROPY] = 1.94436914};
    static const enum ppo_term checked[] = {PPO_TOTAL, PPO_POLICY, PPO_VALUE, PPO_ENTROPY};
    struct ppo_opts o = defaults(6, 20);
    struct run r;
    struct ppo_learned l;
    run_open(&r, &o, 1, 9);
    for (int i = 0; i < 3; i++) update(&r, 1e-3, &l);
    if (getenv("PPO_VERBOSE"))
        print_message("total %.9g policy %.9g value %.9g entropy %.9g\n", l.terms[PPO_TOTAL],
                      l.terms[PPO_POLICY], l.terms[PPO_VALUE], l.terms[PPO_ENTROPY]);
    for (int i = 0; i < 4; i++)
        if (!(fabs(l.terms[checked[i]] - recorded[checked[i]]) < 1e-5))
            fail_msg("term %d: %.9g, recorded %.9g", checked[i], l.terms[checked[i]],
                     recorded[checked[i]]);
    run_close(&r);
}

// ---- the same bits

static void same_bits(int threads_a, int threads_b, enum ppo_advantages advantages) {
    struct ppo_opts o = defaults(5, 12);
    o.advantages = advantages;
    o.loss.value_clip = 0.1;
    struct run a, b;
    struct ppo_learned la, lb;
    run_open(&a, &o, threads_a, 7);
    run_open(&b, &o, threads_b, 7);
    for (int i = 0; i < 3; i++) {
        update(&a, 1e-3, &la);
        update(&b, 1e-3, &lb);
        assert_memory_equal(&la, &lb, sizeof la);
    }
    assert_memory_equal(ppo_params(a.agent)->weights, ppo_params(b.agent)->weights,
                        (size_t)ppo_params(a.agent)->n_flat * sizeof(real));
    run_close(&a);
    run_close(&b);
}

static void the_same_seed_gives_the_same_bits_with_any_number_of_threads(void **state) {
    (void)state;
    same_bits(1, 1, PPO_ADVANTAGES_BATCH);
    same_bits(1, 3, PPO_ADVANTAGES_MINIBATCH);
}

// A run that is cut after two updates and continued in fresh objects.
static void a_continued_run_equals_an_uninterrupted_one(void **state) {
    (void)state;
    struct ppo_opts o = defaults(5, 12);
    struct run a, b;
    struct ppo_learned la, lb;
    struct error e = {0};
    run_open(&a, &o, 1, 9);
    for (int i = 0; i < 2; i++) update(&a, 1e-3, &la);
    run_open(&b, &o, 1, 9);
    uint8_t *memory = mem_alloc(ppo_rollout_memory_bytes(a.rollout)),
            *counts = mem_alloc(collect_state_bytes(a.collect));
    uint8_t block[64];
    ppo_rollout_memory_save(a.rollout, memory);
    ppo_rollout_memory_load(b.rollout, memory);
    collect_save(a.collect, counts);
    collect_load(b.collect, counts);
    for (int i = 0; i < 5; i++) {
        a.env->vtable->save(a.env, i, block);
        assert_true(b.env->vtable->load(b.env, i, block, &e));
    }
    *ppo_counters(b.agent) = *ppo_counters(a.agent);
    struct params *from = ppo_params(a.agent), *to = ppo_params(b.agent);
    const size_t bytes = (size_t)from->n_flat * sizeof(real);
    memcpy(to->weights, from->weights, bytes);
    memcpy(to->moment1, from->moment1, bytes);
    memcpy(to->moment2, from->moment2, bytes);
    collect_clear(a.collect);
    for (int i = 0; i < 2; i++) {
        update(&a, 1e-3, &la);
        update(&b, 1e-3, &lb);
        assert_memory_equal(&la, &lb, sizeof la);
    }
    assert_memory_equal(collect_stats(a.collect), collect_stats(b.collect),
                        sizeof(struct collect_stats));
    assert_memory_equal(to->weights, from->weights, bytes);
    free(memory);
    free(counts);
    run_close(&a);
    run_close(&b);
}

// ---- parts

static void actions_are_drawn_as_often_as_their_probability_says(void **state) {
    (void)state;
    enum { DRAWS = 100000, A = 7 };
    const real logits[A] = {1, -1, 0, 2, (real)0.5, -2, 0};
    real log_probs[A];
    int counts[A] = {0};
    ppo_log_softmax(logits, A, log_probs);
    for (int i = 0; i < DRAWS; i++)
        counts[ppo_sample(log_probs, A, rng_uniform(1, RNG_PPO_ACTION, (uint64_t)i, 0))]++;
    double chi2 = 0;
    for (int a = 0; a < A; a++) {
        const double expected = DRAWS * exp((double)log_probs[a]);
        chi2 += pow(counts[a] - expected, 2) / expected;
    }
    assert_true(chi2 < 22.46); // 6 degrees of freedom: one in a thousand lies above
    assert_int_equal(ppo_sample(log_probs, A, 0), 0);
    assert_int_equal(ppo_sample(log_probs, A, 0.99999994f), A - 1);
    assert_int_equal(ppo_greedy(logits, A), 3);
    assert_int_equal(ppo_greedy((real[]){0, 1, 1}, 3), 1);
}

static void a_shuffle_is_a_permutation_and_every_epoch_has_its_own(void **state) {
    (void)state;
    enum { N = 50 };
    int64_t a[N], b[N];
    bool seen[N] = {false};
    ppo_shuffle(a, N, 7, 0);
    ppo_shuffle(b, N, 7, 1);
    for (int i = 0; i < N; i++) {
        assert_in_range(a[i], 0, N - 1);
        assert_false(seen[a[i]]);
        seen[a[i]] = true;
    }
    assert_true(memcmp(a, b, sizeof a) != 0);
    ppo_shuffle(b, N, 7, 0);
    assert_memory_equal(a, b, sizeof a);
}

static void normalised_advantages_have_mean_0_and_std_1_or_stay_0(void **state) {
    (void)state;
    real x[5] = {1, 2, 3, 4, 10}, same[3] = {2, 2, 2}, two[2] = {-1, 1};
    double mean, std;
    ppo_normalize(x, 5, false);
    stats_mean_std(x, 5, &mean, &std);
    assert_true(fabs(mean) < 1e-6 && fabs(std - 1) < 1e-6);
    ppo_normalize(same, 3, false);
    for (int i = 0; i < 3; i++) assert_true(same[i] == 0);
    ppo_normalize(two, 2, true);
    assert_true(fabs((double)two[1] - sqrt(0.5)) < 1e-6);
}

static void orthogonal_weights_have_orthogonal_rows_or_columns_of_their_gain(void **state) {
    (void)state;
    struct params p;
    params_init(&p);
    ppo_net_register(&p, &(struct ppo_dims){4, 7});
    params_allocate(&p);
    ppo_net_init(&p, 3, PPO_INIT_ORTHOGONAL);
    static const struct {
        const char *name;
        double gain;
    } want[] = {
        {"conv1.weight", 2}, {"fc.weight", 2}, {"policy.weight", 1e-4}, {"value.weight", 1}};
    for (int i = 0; i < 4; i++) {
        const struct param *q = params_find(&p, want[i].name);
        const real *w = params_weights(&p, q);
        const int64_t n = q->n_elements / q->shape[0];
        for (int64_t row = 0; row<q->shape[0]; row += q->shape[0]> 50 ? 37 : 1)
            for (int64_t other = 0; other <= row; other += 3) {
                double dot = 0;
                for (int64_t k = 0; k < n; k++)
                    dot += (double)w[row * n + k] * (double)w[other * n + k];
                assert_true(fabs(dot - (row == other ? want[i].gain : 0)) < 1e-5 * want[i].gain);
            }
    }
    assert_true(params_weights(&p, params_find(&p, "conv2.bias"))[3] == 0);
    params_deinit(&p);
}

static void explained_variance_is_1_for_perfect_values_and_0_for_constant_ones(void **state) {
    (void)state;
    const real returns[4] = {1, 2, 3, 5}, same[4] = {2, 2, 2, 2};
    assert_true(stats_explained_variance(returns, returns, 4) == 1);
    assert_true(fabs(stats_explained_variance(same, returns, 4)) < 1e-12);
    assert_true(stats_explained_variance(returns, same, 4) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ratio_is_one_before_the_weights_change),
        cmocka_unit_test(a_rollout_with_shifted_observations_breaks_the_ratio),
        cmocka_unit_test(one_update_changes_every_parameter_and_stays_finite),
        cmocka_unit_test(a_nan_in_a_weight_stops_the_update_and_names_the_node),
        cmocka_unit_test(an_update_stops_after_the_epoch_that_moved_too_far),
        cmocka_unit_test(three_updates_give_the_recorded_losses),
        cmocka_unit_test(the_same_seed_gives_the_same_bits_with_any_number_of_threads),
        cmocka_unit_test(a_continued_run_equals_an_uninterrupted_one),
        cmocka_unit_test(actions_are_drawn_as_often_as_their_probability_says),
        cmocka_unit_test(a_shuffle_is_a_permutation_and_every_epoch_has_its_own),
        cmocka_unit_test(normalised_advantages_have_mean_0_and_std_1_or_stay_0),
        cmocka_unit_test(orthogonal_weights_have_orthogonal_rows_or_columns_of_their_gain),
        cmocka_unit_test(explained_variance_is_1_for_perfect_values_and_0_for_constant_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
