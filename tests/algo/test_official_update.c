// The official profile's joint update: rate and target, any number of threads, numbers that are not
// finite.
#include "official_case.h"
#include "support/count_allocations.h"

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
        cmocka_unit_test(the_rate_grows_from_zero_and_the_target_follows_behind),
        cmocka_unit_test(updates_do_not_depend_on_the_number_of_threads_and_allocate_nothing),
        cmocka_unit_test(what_is_not_finite_changes_nothing_and_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
