// World model: parameter counts and names, first losses, determinism, refusal of bad numbers,
// masks, pictures.
#include "support/test.h"

#include <math.h>

#include "base/philox.h"
#include "engine/algo/dreamer_v3/wm_net.h"
#include "engine/algo/dreamer_v3/world_model.h"
#include "support/config_of.h"
#include "support/count_allocations.h"

enum { ACTIONS = 8 };

static const char *const SMALL[] = {"algo.per_rank_batch_size=4", "algo.per_rank_sequence_length=8",
                                    NULL};

static struct world_model *model(const struct config *c, struct pool *pool, bool zero_latent) {
    return wm_new(&(struct wm_opts){
        .config = c, .n_actions = ACTIONS, .pool = pool, .zero_latent = zero_latent});
}

// A picture of vertical bars, moved by `phase` pixels: every phase 0..19 is another picture.
static void bars(uint8_t *packed, int phase) {
    memset(packed, 0, WM_PACKED_BYTES);
    for (int y = 0; y < WM_HEIGHT; y++)
        for (int x = 0; x < WM_WIDTH; x++) {
            int shade = (x + phase) % 20 < 6 ? 3 : y / 9 % 2;
            packed[y * 20 + x / 4] |= (uint8_t)(shade << 2 * (x % 4));
        }
}

// Windows that start at a random phase and move by two pixels a step; no reward, no end.
static void fill(const struct wm_batch *b, uint64_t step) {
    memset(b->prev_actions, 0, (size_t)(b->length * b->batch * b->n_actions) * sizeof(real));
    for (int i = 0; i < b->batch; i++) {
        int start = (int)rng_below(5, RNG_TEST, step, (uint32_t)i, 10);
        for (int t = 0; t < b->length; t++) {
            int row = t * b->batch + i;
            bars(b->packed + row * WM_PACKED_BYTES, 2 * (start + t));
            if (t) b->prev_actions[row * b->n_actions] = 1;
            b->is_first[row] = t == 0;
            if (b->rewards) b->rewards[row] = 0, b->continues[row] = 1;
        }
    }
}

static void parameter_counts_are_those_of_the_specification(void **state) {
    (void)state;
    static const struct {
        const char *preset;
        long long a8;
    } counts[] = {
        {"tiny", 1896033}, {"xs", 15505569}, {"s", 29849217},
        {"m", 60044097},   {"l", 121111041}, {"xl", 308976513},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct config c = config_of(counts[i].preset, NULL);
        struct wm_dims d = wm_dims_from_config(&c, ACTIONS);
        struct params p;
        params_init(&p);
        wm_register(&p, &d);
        if (p.n_weights != counts[i].a8)
            fail_msg("%s has %lld weights", counts[i].preset, (long long)p.n_weights);
        params_deinit(&p);
    }
    struct config c = config_of("tiny", NULL);
    struct wm_dims d = wm_dims_from_config(&c, 7);
    struct params p;
    params_init(&p);
    wm_register(&p, &d);
    assert_int_equal(p.n_weights, 1895905);
    params_deinit(&p);
}

static void first_losses_are_those_of_a_fresh_model(void **state) {
    (void)state;
    struct config c = config_of("tiny", SMALL);
    struct pool *pool = pool_new(1);
    struct world_model *wm = model(&c, pool, false);
    struct wm_result r;
    float m[METRIC_COUNT];
    fill(wm_batch(wm), 0);
    assert_true(wm_update(wm, &r));
    assert_string_equal(r.bad_node, "");
    assert_int_equal(wm_opt_steps(wm), 1);
    uint64_t present = wm_metrics(wm, m);
    static const enum metric known[] = {
        METRIC_LOSS_MODEL,    METRIC_OBS_NLL,
        METRIC_REWARD_NLL,    METRIC_CONTINUE_NLL,
        METRIC_KL_TOTAL,      METRIC_KL_DYN,
        METRIC_KL_REP,        METRIC_FREE_BITS,
        METRIC_PRIOR_ENTROPY, METRIC_POSTERIOR_ENTROPY,
        METRIC_ENTROPY_RATIO, METRIC_GRAD_NORM_MODEL,
    };
    uint64_t expected = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        expected |= (uint64_t)1 << known[i];
        assert_true(isfinite(m[known[i]]));
    }
    assert_true(present == expected);
    // zero reward head (F49)
    assert_true(fabs((double)m[METRIC_REWARD_NLL] - log(255)) < 1e-5);
    assert_true(m[METRIC_PRIOR_ENTROPY] > 0.8 * 16 * log(16) &&
                m[METRIC_PRIOR_ENTROPY] <= 16 * log(16));
    assert_true(m[METRIC_KL_DYN] == m[METRIC_KL_REP] && m[METRIC_KL_DYN] > 0);
    assert_true(fabs((double)(m[METRIC_OBS_NLL] + m[METRIC_REWARD_NLL] + m[METRIC_CONTINUE_NLL] +
                              m[METRIC_KL_TOTAL] - m[METRIC_LOSS_MODEL])) <
                1e-5 * (double)m[METRIC_LOSS_MODEL]);
    assert_true(r.grad_norm > 0 &&
                fabs(r.grad_norm - (double)m[METRIC_GRAD_NORM_MODEL]) < 1e-4 * r.grad_norm);
    wm_free(wm);
    pool_free(pool);
}

static struct world_model *run(const struct config *c, struct pool *pool, int updates) {
    struct world_model *wm = model(c, pool, false);
    struct wm_result r;
    for (int i = 0; i < updates; i++) {
        fill(wm_batch(wm), (uint64_t)i);
        assert_true(wm_update(wm, &r));
    }
    return wm;
}

static void one_or_three_threads_give_the_same_bits(void **state) {
    (void)state;
    struct config c = config_of("tiny", SMALL);
    struct pool *one = pool_new(1), *three = pool_new(3);
    struct world_model *a = run(&c, one, 4), *b = run(&c, three, 4), *d = run(&c, one, 4);
    size_t bytes = (size_t)wm_params(a)->n_flat * sizeof(real);
    assert_memory_equal(wm_params(a)->weights, wm_params(b)->weights, bytes);
    assert_memory_equal(wm_params(a)->moment2, wm_params(b)->moment2, bytes);
    assert_memory_equal(wm_params(a)->weights, wm_params(d)->weights, bytes);
    static uint8_t seen[2][WM_ROLLOUT][WM_PIXELS], dream[2][WM_ROLLOUT][WM_PIXELS];
    fill(wm_display_batch(a), 0);
    fill(wm_display_batch(b), 0);
    wm_display(a, seen[0], dream[0]);
    wm_display(b, seen[1], dream[1]);
    assert_memory_equal(seen[0], seen[1], sizeof seen[0]);
    assert_memory_equal(dream[0], dream[1], sizeof dream[0]);
    assert_memory_equal(dream[0], seen[0], WM_CONTEXT * WM_PIXELS);
    // looking changes nothing
    assert_memory_equal(wm_params(a)->weights, wm_params(d)->weights, bytes);
    wm_free(a);
    wm_free(b);
    wm_free(d);
    pool_free(one);
    pool_free(three);
}

static void another_seed_is_another_run_and_opt_steps_key_the_noise(void **state) {
    (void)state;
    static const char *const other[] = {"algo.per_rank_batch_size=4",
                                        "algo.per_rank_sequence_length=8", "seed=43", NULL};
    struct config c = config_of("tiny", SMALL), c2 = config_of("tiny", other);
    struct pool *pool = pool_new(1);
    struct world_model *a = model(&c, pool, false), *b = model(&c2, pool, false);
    assert_memory_not_equal(wm_params(a)->weights, wm_params(b)->weights, 1000 * sizeof(real));
    struct wm_result first, again, later;
    fill(wm_batch(a), 0);
    assert_true(wm_forward_backward(a, &first));
    assert_true(wm_forward_backward(a, &again));
    wm_set_opt_steps(a, 9);
    assert_true(wm_forward_backward(a, &later));
    assert_true(first.loss == again.loss && first.grad_norm == again.grad_norm);
    assert_true(first.loss != later.loss);
    wm_free(a);
    wm_free(b);
    pool_free(pool);
}

static void the_first_row_is_first_and_hides_its_previous_action(void **state) {
    (void)state;
    struct config c = config_of("tiny", SMALL);
    struct pool *pool = pool_new(1);
    struct world_model *wm = model(&c, pool, false);
    const struct wm_batch *b = wm_batch(wm);
    struct wm_result plain, garbage, reset, reset_garbage;
    fill(b, 0);
    assert_true(wm_forward_backward(wm, &plain));
    for (int i = 0; i < b->batch; i++) b->is_first[i] = 0, b->prev_actions[i * ACTIONS + 3] = 5;
    assert_true(wm_forward_backward(wm, &garbage));
    assert_true(plain.loss == garbage.loss && plain.grad_norm == garbage.grad_norm);
    int row = 3 * b->batch + 1;
    // a reset in the middle masks in the same way
    b->is_first[row] = 1;
    assert_true(wm_forward_backward(wm, &reset));
    assert_true(reset.loss != plain.loss);
    b->prev_actions[row * ACTIONS + 2] = 7;
    assert_true(wm_forward_backward(wm, &reset_garbage));
    assert_true(reset.loss == reset_garbage.loss);
    wm_free(wm);
    pool_free(pool);
}

static void a_number_that_is_not_finite_changes_no_weight_and_is_named(void **state) {
    (void)state;
    struct config c = config_of("tiny", SMALL);
    struct pool *pool = pool_new(2);
    struct world_model *wm = run(&c, pool, 2);
    struct params *p = wm_params(wm);
    size_t bytes = (size_t)p->n_flat * sizeof(real);
    real *before = malloc(bytes), *moment = malloc(bytes);
    struct wm_result r;

    fill(wm_batch(wm), 5);
    wm_batch(wm)->rewards[3] = (real)NAN; // bad data
    memcpy(before, p->weights, bytes);
    memcpy(moment, p->moment1, bytes);
    assert_false(wm_update(wm, &r));
    assert_false(isfinite(r.loss));
    assert_non_null(strstr(r.bad_node, "rewards"));
    assert_memory_equal(before, p->weights, bytes);
    assert_memory_equal(moment, p->moment1, bytes);
    assert_int_equal(wm_opt_steps(wm), 2);

    fill(wm_batch(wm), 5); // good data again: it goes on
    assert_true(wm_update(wm, &r));
    assert_int_equal(wm_opt_steps(wm), 3);

    const struct param *q = params_find(p, "observation_model.cnn_decoder.model.2._model.6.bias");
    assert_non_null(q);
    // finite, but its square is not
    params_weights(p, q)[0] = (real)(sizeof(real) == 4 ? 1e30 : 1e300);
    memcpy(before, p->weights, bytes);
    assert_false(wm_update(wm, &r));
    if (!strstr(r.bad_node, "loss"))
        fail_msg("the first bad node is not the loss but %s", r.bad_node);
    assert_memory_equal(before, p->weights, bytes);
    free(before);
    free(moment);
    wm_free(wm);
    pool_free(pool);
}

static void updates_and_pictures_allocate_nothing(void **state) {
    (void)state;
    if (!COUNTS_ALLOCATIONS) skip();
    static uint8_t seen[WM_ROLLOUT][WM_PIXELS], dream[WM_ROLLOUT][WM_PIXELS];
    struct config c = config_of("tiny", SMALL);
    struct pool *pool = pool_new(2);
    long at_start = n_allocations;
    struct world_model *wm = run(&c, pool, 1);
    assert_true(n_allocations > at_start); // the counter counts
    struct wm_result r;
    fill(wm_display_batch(wm), 0);
    long before = n_allocations;
    bool fine = wm_update(wm, &r);
    wm_display(wm, seen, dream);
    long after = n_allocations;
    assert_true(fine);
    assert_int_equal(after, before);
    wm_free(wm);
    pool_free(pool);
}

// Loss of the best constant picture: the per-pixel mean over the ten phases.
static double mean_picture_loss(void) {
    uint8_t frames[10][WM_PACKED_BYTES];
    double loss = 0;
    for (int k = 0; k < 10; k++) bars(frames[k], 2 * k);
    for (int i = 0; i < WM_PIXELS; i++) {
        double sum = 0, squares = 0;
        for (int k = 0; k < 10; k++) {
            double x = (frames[k][i / 4] >> 2 * (i % 4) & 3) / 3.0;
            sum += x, squares += x * x;
        }
        loss += squares / 10 - sum / 10 * (sum / 10);
    }
    return loss;
}

// Mean observation loss of the last ten of `updates` updates.
static double train(struct world_model *wm, int updates) {
    struct wm_result r;
    double last = 0;
    for (int i = 0; i < updates; i++) {
        float m[METRIC_COUNT];
        fill(wm_batch(wm), (uint64_t)i);
        if (!wm_update(wm, &r)) fail_msg("update %d: %s is not finite", i, r.bad_node);
        wm_metrics(wm, m);
        if (i >= updates - 10) last += (double)m[METRIC_OBS_NLL] / 10;
    }
    return last;
}

// Mean |level difference| in shades between shown pictures [first, end) and what the window really
// held.
static double shades_off(const struct wm_batch *b, uint8_t shown[WM_ROLLOUT][WM_PIXELS], int first,
                         int end) {
    double sum = 0;
    for (int t = first; t < end; t++)
        for (int i = 0; i < WM_PIXELS; i++)
            sum += fabs(shown[t][i] / 85.0 -
                        (b->packed[t * WM_PACKED_BYTES + i / 4] >> 2 * (i % 4) & 3));
    return sum / (end - first) / WM_PIXELS;
}

// What the gate's bar against the mean picture catches: without its latent a model cannot know the
// phase.
static void a_model_learns_to_reconstruct_and_one_without_its_latent_does_not(void **state) {
    (void)state;
    enum { UPDATES = 150 };
    static const char *const settings[] = {
        "algo.per_rank_batch_size=4",
        "algo.per_rank_sequence_length=8",
        "algo.world_model.optimizer.lr=0.001",
        NULL,
    };
    static uint8_t seen[WM_ROLLOUT][WM_PIXELS], dream[WM_ROLLOUT][WM_PIXELS];
    struct config c = config_of("tiny", settings);
    struct pool *pool = pool_new(2);
    struct world_model *wm = model(&c, pool, false), *blind = model(&c, pool, true);
    double bar = mean_picture_loss(), with = train(wm, UPDATES), without = train(blind, UPDATES);
    const struct wm_batch *b = wm_display_batch(wm);
    fill(b, 1);
    wm_display(wm, seen, dream);
    double seen_off = shades_off(b, seen, 0, WM_ROLLOUT),
           context_off = shades_off(b, dream, 0, WM_CONTEXT);
    double dream_off = shades_off(b, dream, WM_CONTEXT, WM_ROLLOUT);
    fill(wm_display_batch(blind), 1);
    wm_display(blind, seen, dream);
    double blind_off = shades_off(b, seen, 0, WM_ROLLOUT);
    printf("observation loss: mean picture %.1f, trained %.1f, latent zeroed %.1f; shades off: "
           "seen %.3f, context %.3f, "
           "dreamt %.3f, latent zeroed %.3f\n",
           bar, with, without, seen_off, context_off, dream_off, blind_off);
    assert_true(with < 0.45 * bar);
    assert_true(without > 0.8 * bar);
    assert_true(seen_off < 0.3 && context_off < 0.3 && blind_off > 0.5);
    assert_true(dream_off < 0.6);
    wm_free(wm);
    wm_free(blind);
    pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameter_counts_are_those_of_the_specification),
        cmocka_unit_test(first_losses_are_those_of_a_fresh_model),
        cmocka_unit_test(one_or_three_threads_give_the_same_bits),
        cmocka_unit_test(another_seed_is_another_run_and_opt_steps_key_the_noise),
        cmocka_unit_test(the_first_row_is_first_and_hides_its_previous_action),
        cmocka_unit_test(a_number_that_is_not_finite_changes_no_weight_and_is_named),
        cmocka_unit_test(updates_and_pictures_allocate_nothing),
        cmocka_unit_test(a_model_learns_to_reconstruct_and_one_without_its_latent_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
