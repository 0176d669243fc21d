// Player: what a reset undoes, what environments owe to each other (nothing), determinism, states.
#include "support/test.h"

#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/algo/dreamer_v3/player.h"

enum { ACTIONS = 8, ENVS = 3, STEPS = 12 };

struct stage {
    struct pool *pool;
    struct dreamer *dreamer;
    struct player *player;
};

static struct stage stage_of(int n_envs, int threads, const char *setting) {
    struct config c;
    struct error e = {0};
    struct stage s = {.pool = pool_new(threads)};
    if (!config_init(&c, "micro", &e) || (setting && !config_set(&c, setting, &e)))
        fail_msg("%s", e.message);
    s.dreamer =
        dreamer_new(&(struct dreamer_opts){.config = &c, .n_actions = ACTIONS, .pool = s.pool});
    s.player = player_new(&(struct player_opts){
        .world = wm_dims(dreamer_world(s.dreamer)),
        .nets = behaviour_dims(dreamer_behaviour(s.dreamer)),
        .world_params = dreamer_params(s.dreamer, DREAMER_WORLD),
        .actor_params = dreamer_params(s.dreamer, DREAMER_ACTOR),
        .n_envs = n_envs,
        .seed = 9,
        .pool = s.pool,
    });
    return s;
}

static struct stage stage_new(int n_envs, int threads) { return stage_of(n_envs, threads, NULL); }

static void stage_free(struct stage *s) {
    player_free(s->player);
    dreamer_free(s->dreamer);
    pool_free(s->pool);
}

// Every environment sees another picture that changes at every step.
static void picture(uint8_t *obs, int env, int step) {
    for (int i = 0; i < WM_PACKED_BYTES; i++) obs[i] = (uint8_t)((i + 7 * step) * (env + 3));
}

static void play(struct stage *s, int n_envs, int step, const uint8_t *reset, bool greedy,
                 int32_t *actions) {
    static uint8_t frames[ENVS][WM_PACKED_BYTES];
    uint8_t *obs[ENVS];
    for (int n = 0; n < n_envs; n++) {
        picture(frames[n], n, step);
        obs[n] = frames[n];
    }
    char bad[TENSOR_NAME_SIZE];
    if (!player_step(s->player, reset, obs, step, greedy, actions, bad)) fail_msg("%s", bad);
}

static void the_number_of_threads_changes_no_action_and_no_state(void **state) {
    (void)state;
    static const uint8_t never[ENVS] = {0};
    struct stage a = stage_new(ENVS, 1), b = stage_new(ENVS, 3);
    int32_t x[ENVS], y[ENVS], seen[ACTIONS] = {0};
    for (int t = 0; t < STEPS; t++) {
        play(&a, ENVS, t, never, false, x);
        play(&b, ENVS, t, never, false, y);
        assert_memory_equal(x, y, sizeof x);
        for (int n = 0; n < ENVS; n++) {
            assert_in_range(x[n], 0, ACTIONS - 1);
            seen[x[n]]++;
        }
    }
    int kinds = 0;
    for (int i = 0; i < ACTIONS; i++) kinds += seen[i] > 0;
    assert_true(kinds >= 3); // a fresh policy explores
    stage_free(&a);
    stage_free(&b);
}

// h of environment `env`.
static const real *h_of(struct stage *s, int env) {
    struct player_state states[PLAYER_MAX_STATES];
    assert_int_equal(player_states(s->player, states), 3);
    assert_string_equal(states[0].name, "h");
    return states[0].data + env * states[0].width;
}

// After a reset the state is that of a player who has seen nothing else.
static void a_reset_forgets_state_and_previous_action_of_its_environment_only(void **state) {
    (void)state;
    struct stage a = stage_new(ENVS, 1), fresh = stage_new(ENVS, 1);
    int32_t actions[ENVS];
    uint8_t reset[ENVS] = {0};
    for (int t = 0; t < 5; t++) play(&a, ENVS, t, reset, false, actions);
    reset[1] = 1;
    play(&a, ENVS, 5, reset, false, actions);
    play(&fresh, ENVS, 5, reset, false, actions); // its first step resets everybody
    struct player_state states[PLAYER_MAX_STATES];
    player_states(a.player, states);
    size_t bytes = (size_t)states[0].width * sizeof(real);
    assert_memory_equal(h_of(&a, 1), h_of(&fresh, 1), bytes);
    assert_memory_not_equal(h_of(&a, 0), h_of(&fresh, 0), bytes);
    assert_memory_not_equal(h_of(&a, 2), h_of(&fresh, 2), bytes);
    stage_free(&a);
    stage_free(&fresh);
}

static void greedy_takes_the_likeliest_action_every_time(void **state) {
    (void)state;
    static const uint8_t always[ENVS] = {1, 1, 1};
    struct stage a = stage_new(ENVS, 1);
    int32_t first[ENVS], actions[ENVS];
    // nothing but the policy's bias decides: button 5
    struct params *actor = dreamer_params(a.dreamer, DREAMER_ACTOR);
    params_weights(actor, params_find(actor, "actor.mlp_heads.0.bias"))[5] = 50;
    play(&a, ENVS, 0, always, true, first);
    for (int n = 0; n < ENVS; n++) assert_int_equal(first[n], 5);
    params_weights(actor, params_find(actor, "actor.mlp_heads.0.bias"))[5] = -50;
    for (int t = 1; t < 6; t++) {
        play(&a, ENVS, t, always, true, actions);
        for (int n = 0; n < ENVS; n++) assert_int_not_equal(actions[n], 5);
    }
    stage_free(&a);
}

// A checkpoint's states, put back into another player, lead to the same actions.
static void states_can_be_carried_over(void **state) {
    (void)state;
    static const uint8_t never[ENVS] = {0};
    struct stage a = stage_new(ENVS, 1), b = stage_new(ENVS, 1);
    int32_t x[ENVS], y[ENVS];
    for (int t = 0; t < 6; t++) play(&a, ENVS, t, never, false, x);
    struct player_state from[PLAYER_MAX_STATES], to[PLAYER_MAX_STATES];
    int n = player_states(a.player, from);
    assert_int_equal(player_states(b.player, to), n);
    for (int i = 0; i < n; i++)
        memcpy(to[i].data, from[i].data, (size_t)(from[i].rows * from[i].width) * sizeof(real));
    player_resume(b.player);
    for (int t = 6; t < STEPS; t++) {
        play(&a, ENVS, t, never, false, x);
        play(&b, ENVS, t, never, false, y);
        assert_memory_equal(x, y, sizeof x);
    }
    for (int e = 0; e < ENVS; e++)
        assert_memory_equal(h_of(&a, e), h_of(&b, e), (size_t)from[0].width * sizeof(real));
    stage_free(&a);
    stage_free(&b);
}

static void numbers_that_are_not_finite_are_named_and_change_nothing(void **state) {
    (void)state;
    static const uint8_t never[ENVS] = {0};
    struct stage a = stage_new(ENVS, 1);
    int32_t actions[ENVS], before[ENVS];
    for (int t = 0; t < 3; t++) play(&a, ENVS, t, never, false, actions);
    struct player_state states[PLAYER_MAX_STATES];
    player_states(a.player, states);
    size_t bytes = (size_t)(states[0].rows * states[0].width) * sizeof(real);
    real *h = malloc(bytes);
    memcpy(h, states[0].data, bytes);
    memcpy(before, actions, sizeof before);
    struct params *actor = dreamer_params(a.dreamer, DREAMER_ACTOR);
    const struct param *q = params_find(actor, "actor.mlp_heads.0.weight");
    // finite weights whose product is not: infinity minus infinity
    for (int64_t i = 0; i < q->n_elements; i++)
        params_weights(actor, q)[i] = (i & 1 ? 1 : -1) * (real)(sizeof(real) == 4 ? 3e38 : 1e308);
    static uint8_t frame[WM_PACKED_BYTES];
    uint8_t *obs[ENVS] = {frame, frame, frame};
    char bad[TENSOR_NAME_SIZE] = "";
    assert_false(player_step(a.player, never, obs, 3, false, actions, bad));
    assert_non_null(strstr(bad, "actor"));
    assert_memory_equal(h, states[0].data, bytes);
    assert_memory_equal(actions, before, sizeof before);
    free(h);
    stage_free(&a);
}

// A decoupled posterior sees the picture alone: the same picture gives the same z whatever came
// before.
static void a_decoupled_player_forgets_nothing_but_reads_the_picture_alone(void **state) {
    (void)state;
    static const uint8_t never[ENVS] = {0};
    static const char *const settings[] = {"algo.world_model.decoupled_rssm=true",
                                           "algo.world_model.decoupled_rssm=false"};
    for (int i = 0; i < 2; i++) {
        struct stage a = stage_of(ENVS, 1, settings[i]), b = stage_of(ENVS, 1, settings[i]);
        int32_t actions[ENVS];
        struct player_state x[PLAYER_MAX_STATES], y[PLAYER_MAX_STATES];
        // where the posterior sees h, it sees little else
        for (int k = 0; k < 2 && i == 1; k++) {
            struct params *p = dreamer_params(k ? b.dreamer : a.dreamer, DREAMER_WORLD);
            const struct param *q = params_find(p, "rssm.representation_model._model.0.weight");
            for (int64_t row = 0; row < q->shape[0]; row++)
                for (int64_t column = 0; column < 8; column++)
                    params_weights(p, q)[row * q->shape[1] + column] *= 1000;
        }
        for (int t = 0; t < 7; t++) play(&a, ENVS, t, never, false, actions);
        play(&a, ENVS, 7, never, false, actions);
        play(&b, ENVS, 7, never, false, actions); // its first step
        player_states(a.player, x);
        player_states(b.player, y);
        size_t h_bytes = (size_t)(x[0].rows * x[0].width) * sizeof(real),
               z_bytes = (size_t)(x[1].rows * x[1].width) * sizeof(real);
        assert_memory_not_equal(x[0].data, y[0].data, h_bytes);
        if (i == 0)
            assert_memory_equal(x[1].data, y[1].data, z_bytes);
        else
            assert_memory_not_equal(x[1].data, y[1].data, z_bytes);
        stage_free(&a);
        stage_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_number_of_threads_changes_no_action_and_no_state),
        cmocka_unit_test(a_reset_forgets_state_and_previous_action_of_its_environment_only),
        cmocka_unit_test(greedy_takes_the_likeliest_action_every_time),
        cmocka_unit_test(states_can_be_carried_over),
        cmocka_unit_test(numbers_that_are_not_finite_are_named_and_change_nothing),
        cmocka_unit_test(a_decoupled_player_forgets_nothing_but_reads_the_picture_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
