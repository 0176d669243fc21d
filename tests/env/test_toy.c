// The toy environment: its picture, moves, rules, and what a uniform policy achieves.
#include "engine/env/toy.h"
#include "base/philox.h"
#include "support/test.h"

enum { A, B, START, UP, DOWN, LEFT, RIGHT };

struct world {
    struct env *env;
    uint8_t obs[4][ENV_OBS_BYTES];
    uint8_t *slots[4], all[4];
    struct env_step_result out[4];
};

static void open_world(struct world *w, int n, const struct goal_rules *rules) {
    struct error e = {0};
    w->env = env_toy_new(&(struct env_toy_opts){.n_envs = n, .rules = rules}, &e);
    assert_non_null(w->env);
    for (int i = 0; i < n; i++) {
        w->slots[i] = w->obs[i];
        w->all[i] = 1;
    }
    env_reset(w->env, w->all, w->slots);
}

static void step(struct world *w, int32_t action) {
    const int32_t actions[4] = {action, action, action, action};
    env_step(w->env, w->all, actions, w->slots, w->out);
}

// The cell of the block, or a failure if the picture shows anything but one whole block.
static void find_block(const uint8_t *obs, int *x, int *y) {
    int n = 0, first = -1;
    for (int p = 0; p < 72 * 80; p++) {
        const int shade = obs[p / 4] >> p % 4 * 2 & 3;
        assert_true(shade == 0 || shade == 3);
        if (shade == 3 && first < 0) first = p;
        n += shade == 3;
    }
    assert_int_equal(n, 90);
    *x = first % 80 / 10;
    *y = first / 80 / 9;
    for (int row = 0; row < 9; row++)
        for (int column = 0; column < 10; column++) {
            const int p = (*y * 9 + row) * 80 + *x * 10 + column;
            assert_int_equal(obs[p / 4] >> p % 4 * 2 & 3, 3);
        }
}

static void assert_cell(const struct world *w, int x, int y) {
    int at_x, at_y;
    find_block(w->obs[0], &at_x, &at_y);
    assert_int_equal(at_x, x);
    assert_int_equal(at_y, y);
}

static void the_block_follows_the_pad_and_stops_at_the_walls(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 1, NULL);
    assert_int_equal(w.env->n_actions, 7);
    assert_cell(&w, 0, 0);
    step(&w, UP), assert_cell(&w, 0, 0);
    step(&w, LEFT), assert_cell(&w, 0, 0);
    step(&w, RIGHT), assert_cell(&w, 1, 0);
    step(&w, DOWN), assert_cell(&w, 1, 1);
    step(&w, A), assert_cell(&w, 1, 1);
    step(&w, B), step(&w, START), assert_cell(&w, 1, 1);
    step(&w, LEFT), step(&w, UP), assert_cell(&w, 0, 0);
    for (int i = 0; i < 9; i++) step(&w, DOWN);
    assert_cell(&w, 0, 7);
    env_free(w.env);
}

static void the_goal_is_reached_by_the_shortest_way_and_one_more_step(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 2, NULL);
    float total = 0;
    for (int i = 0; i < 14; i++) {
        step(&w, i % 2 ? DOWN : RIGHT);
        total += w.out[0].reward;
        assert_false(w.out[0].terminated || w.out[0].truncated);
    }
    assert_cell(&w, 7, 7);
    assert_true(w.out[0].distance == 0);
    step(&w, A);
    assert_true(w.out[0].terminated && !w.out[0].truncated && w.out[1].terminated);
    total += w.out[0].reward;
    // 15 steps, the distance from start to goal, the bonus
    assert_float_equal(total, 10 - 0.15f + 540.0f / 17280, 1e-5f);
    env_free(w.env);
}

static void leaving_the_goal_starts_the_count_again(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 1, NULL);
    for (int i = 0; i < 14; i++) step(&w, i % 2 ? DOWN : RIGHT);
    step(&w, LEFT);
    assert_false(w.out[0].terminated);
    assert_float_equal(w.out[0].distance, 540.0f / 17280, 1e-7f);
    step(&w, RIGHT);
    assert_false(w.out[0].terminated);
    step(&w, RIGHT);
    assert_true(w.out[0].terminated);
    env_free(w.env);
}

static void the_time_limit_ends_an_episode_and_a_reset_starts_it_anew(void **state) {
    (void)state;
    struct world w;
    struct goal_rules rules = toy_rules;
    rules.max_steps = 5;
    open_world(&w, 2, &rules);
    for (int i = 0; i < 5; i++) {
        assert_false(i > 0 && w.out[0].truncated);
        step(&w, RIGHT);
    }
    assert_true(w.out[0].truncated && !w.out[0].terminated && w.out[1].truncated);
    w.all[1] = 0; // half of them are reset
    env_reset(w.env, w.all, w.slots);
    assert_cell(&w, 0, 0);
    int x, y;
    find_block(w.obs[1], &x, &y);
    assert_int_equal(x, 5);
    step(&w, RIGHT);
    assert_false(w.out[0].truncated);
    env_free(w.env);
}

static void a_saved_environment_goes_on_as_it_would_have(void **state) {
    (void)state;
    struct world w, v;
    struct error e = {0};
    uint8_t saved[64];
    open_world(&w, 1, NULL);
    open_world(&v, 1, NULL);
    assert_true(w.env->vtable->state_bytes(w.env) <= sizeof saved);
    for (int i = 0; i < 13; i++) step(&w, i % 2 ? DOWN : RIGHT);
    w.env->vtable->save(w.env, 0, saved);
    assert_true(v.env->vtable->load(v.env, 0, saved, &e));
    for (int i = 0; i < 2; i++) {
        step(&w, DOWN);
        step(&v, DOWN);
        assert_memory_equal(w.obs, v.obs, ENV_OBS_BYTES);
        assert_memory_equal(&w.out[0], &v.out[0], sizeof w.out[0]);
    }
    assert_true(v.out[0].terminated);
    memset(saved, 0x7F, sizeof saved);
    assert_false(v.env->vtable->load(v.env, 0, saved, &e));
    env_free(w.env);
    env_free(v.env);
}

static void a_uniform_policy_succeeds_in_5_to_25_percent_of_its_episodes(void **state) {
    (void)state;
    enum { EPISODES = 3000 };
    struct world w;
    open_world(&w, 1, NULL);
    int successes = 0;
    uint64_t at = 0;
    for (int episode = 0; episode < EPISODES; episode++) {
        env_reset(w.env, w.all, w.slots);
        do step(&w, (int32_t)rng_below(1, RNG_TEST, at++, 0, 7));
        while (!w.out[0].terminated && !w.out[0].truncated);
        successes += w.out[0].terminated;
    }
    // Exactly 8.15 % (dynamic programming); four standard deviations of 3,000 episodes are 2 %.
    assert_in_range(successes, EPISODES * 615 / 10000, EPISODES * 1015 / 10000);
    env_free(w.env);
}

static void an_unknown_codec_is_refused(void **state) {
    (void)state;
    struct error e = {0};
    assert_null(env_toy_new(&(struct env_toy_opts){.action_codec = "v9"}, &e));
    assert_non_null(strstr(e.message, "env.action_codec=v9"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_block_follows_the_pad_and_stops_at_the_walls),
        cmocka_unit_test(the_goal_is_reached_by_the_shortest_way_and_one_more_step),
        cmocka_unit_test(leaving_the_goal_starts_the_count_again),
        cmocka_unit_test(the_time_limit_ends_an_episode_and_a_reset_starts_it_anew),
        cmocka_unit_test(a_saved_environment_goes_on_as_it_would_have),
        cmocka_unit_test(a_uniform_policy_succeeds_in_5_to_25_percent_of_its_episodes),
        cmocka_unit_test(an_unknown_codec_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
