// Pendulum: its physics against values worked out by hand, its starts, its time limit, what is
// observed of it, its state.
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/env/pendulum.h"
#include "support/test.h"

enum { MOST = 5, BYTES = ENV_OBS_BYTES + PENDULUM_N_VECTOR * sizeof(float) };

struct batch {
    struct env *env;
    uint8_t obs[MOST][BYTES], *slots[MOST], mask[MOST];
    float values[MOST];
    struct env_step_result out[MOST];
};

static void make(struct batch *b, int n_envs, const char *observation, uint64_t seed) {
    struct error e = {0};
    struct control_opts o = {.n_envs = n_envs, .max_steps = 200, .seed = seed};
    memset(b, 0, sizeof *b);
    assert_true(control_observation(control_task_find("pendulum"), observation, &o.obs, &e));
    b->env = env_pendulum_new(&o);
    for (int i = 0; i < n_envs; i++) b->slots[i] = b->obs[i], b->mask[i] = 1;
}

static void reset(struct batch *b) { env_reset(b->env, b->mask, b->slots); }

// The vector lies behind the picture, if there is one.
static void vector_of(const struct batch *b, int i, float out[PENDULUM_N_VECTOR]) {
    memcpy(out, b->obs[i] + obs_picture_bytes(&b->env->obs), PENDULUM_N_VECTOR * sizeof *out);
}

// One number for all environments.
static void step(struct batch *b, float value) {
    for (int i = 0; i < b->env->n_envs; i++) b->values[i] = value;
    env_step_values(b->env, b->mask, b->values, b->slots, b->out);
}

static bool near(double a, double b) { return fabs(a - b) < 1e-12; }

static void a_step_of_the_physics_is_what_the_formulas_say(void **state) {
    (void)state;
    const double pi = 3.14159265358979323846;
    const struct {
        double theta, velocity, torque, next_theta, next_velocity, reward;
    } table[] = {
        // upright and still: nothing happens, nothing is paid
        {0, 0, 0, 0, 0, 0},
        // 3 u dt = 0.3; 0.3 dt = 0.015; 0.001 u^2 = 0.004
        {0, 0, 2, 0.015, 0.3, -0.004},
        // 15 sin(pi/2) dt = 0.75; (pi/2)^2
        {pi / 2, 0, 0, pi / 2 + 0.0375, 0.75, -pi * pi / 4},
        // hangs down: 15 sin(pi) = 0 but for rounding; -3 dt = -0.15
        {pi, 0, -1, pi - 0.0075, -0.15, -(pi * pi + 0.001)},
        // 7.9 + 15 sin(3) dt + 0.3 is above 8: clipped; 9 + 6.241 + 0.004
        {3, 7.9, 2, 3.4, 8, -15.245},
        {-3, -7.9, -2, -3.4, -8, -15.245},
        // beyond pi the angle is wrapped: 4 is 4 - 2 pi; one turn changes nothing
        {4, 0, 0, 4 + 0.0375 * sin(4), 0.75 * sin(4), -(4 - 2 * pi) * (4 - 2 * pi)},
        {4 - 20 * pi, 0, 0, 4 - 20 * pi + 0.0375 * sin(4), 0.75 * sin(4),
         -(4 - 2 * pi) * (4 - 2 * pi)},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        double theta = table[i].theta, velocity = table[i].velocity;
        const double reward = pendulum_advance(&theta, &velocity, table[i].torque);
        if (!near(theta, table[i].next_theta) || !near(velocity, table[i].next_velocity) ||
            !near(reward, table[i].reward))
            fail_msg("row %zu: theta %.15g, velocity %.15g, reward %.15g", i, theta, velocity,
                     reward);
    }
}

// Without torque and clipping the energy v^2/2 + 15 cos(theta) is kept but for the integrator's
// error, which does not add up.
static void without_torque_it_swings_on(void **state) {
    (void)state;
    double theta = 2.5, velocity = 0, worst = 0;
    const double energy = 15 * cos(theta);
    for (int t = 0; t < 2000; t++) {
        pendulum_advance(&theta, &velocity, 0);
        worst = worse(worst, fabs(velocity * velocity / 2 + 15 * cos(theta) - energy));
    }
    assert_true(worst > 0.01 && worst < 1.5);
}

static void what_is_observed_and_rewarded_is_the_physics(void **state) {
    (void)state;
    struct batch b;
    make(&b, 2, "vector", 7);
    reset(&b);
    double theta[2], velocity[2];
    for (int i = 0; i < 2; i++) {
        float v[PENDULUM_N_VECTOR];
        vector_of(&b, i, v);
        theta[i] = atan2((double)v[1], (double)v[0]), velocity[i] = (double)v[2];
    }
    for (int t = 0; t < 20; t++) {
        const float action = t % 3 == 0 ? 0.5f : -1;
        step(&b, action);
        for (int i = 0; i < 2; i++) {
            float v[PENDULUM_N_VECTOR];
            const double reward = pendulum_advance(&theta[i], &velocity[i], 2 * (double)action);
            vector_of(&b, i, v);
            // The start is known to float precision, and the upright point drives errors apart.
            assert_true(fabs((double)v[0] - cos(theta[i])) < 1e-4);
            assert_true(fabs((double)v[1] - sin(theta[i])) < 1e-4);
            assert_true(fabs((double)v[2] - velocity[i]) < 1e-3);
            assert_true(fabs((double)b.out[i].reward - reward) < 1e-3);
            assert_true(!b.out[i].terminated && !b.out[i].truncated && b.out[i].distance == 0);
        }
    }
    env_free(b.env);
}

static void only_the_time_limit_ends_an_episode(void **state) {
    (void)state;
    struct batch b;
    make(&b, 1, "vector", 1);
    for (int episode = 0; episode < 2; episode++) {
        reset(&b);
        for (int t = 1; t <= PENDULUM_MAX_STEPS; t++) {
            step(&b, 0);
            assert_int_equal(b.out[0].truncated, t == PENDULUM_MAX_STEPS);
            assert_false(b.out[0].terminated);
        }
    }
    env_free(b.env);
}

// Uniform over the circle and over [-1, 1): the share of each tenth within five deviations of 0.1.
static void starts_are_uniform_and_depend_on_nothing_but_seed_place_and_episode(void **state) {
    (void)state;
    enum { EPISODES = 4000, TENTHS = 10 };
    int angle[TENTHS] = {0}, speed[TENTHS] = {0};
    struct batch one, many, other;
    make(&one, 1, "vector", 3);
    make(&many, 5, "vector", 3);
    make(&other, 1, "vector", 4);
    int n_same = 0;
    for (int k = 0; k < EPISODES; k++) {
        float v[PENDULUM_N_VECTOR];
        reset(&one), reset(&many), reset(&other);
        assert_memory_equal(one.obs[0], many.obs[0], sizeof v);
        n_same += memcmp(one.obs[0], other.obs[0], sizeof v) == 0;
        n_same += memcmp(one.obs[0], many.obs[1], sizeof v) == 0;
        vector_of(&one, 0, v);
        const double theta = atan2((double)v[1], (double)v[0]);
        const int a = (int)((theta / 3.14159266 + 1) / 2 * TENTHS), s = (int)((v[2] + 1) * 5);
        assert_true(a >= 0 && a < TENTHS && s >= 0 && s < TENTHS);
        angle[a]++, speed[s]++;
    }
    assert_int_equal(n_same, 0);
    for (int i = 0; i < TENTHS; i++) { // deviation of a count: sqrt(4000 x 0.1 x 0.9) = 19
        assert_in_range(angle[i], 305, 495);
        assert_in_range(speed[i], 305, 495);
    }
    env_free(one.env), env_free(many.env), env_free(other.env);
}

static void a_chosen_start_is_the_same_in_any_place_and_for_one_episode_only(void **state) {
    (void)state;
    struct batch b, plain;
    float v[2][PENDULUM_N_VECTOR];
    make(&b, 3, "vector", 9);
    make(&plain, 3, "vector", 9);
    env_choose_start(b.env, 0, 77, 5);
    env_choose_start(b.env, 2, 77, 5);
    reset(&b), reset(&plain);
    vector_of(&b, 0, v[0]), vector_of(&b, 2, v[1]);
    assert_memory_equal(v[0], v[1], sizeof v[0]);
    assert_true(memcmp(b.obs[0], plain.obs[0], sizeof v[0]) != 0);
    assert_memory_equal(b.obs[1], plain.obs[1], sizeof v[0]);
    reset(&b), reset(&plain);
    for (int i = 0; i < 3; i++) assert_memory_equal(b.obs[i], plain.obs[i], sizeof v[0]);
    env_free(b.env), env_free(plain.env);
}

static void the_vector_beside_a_picture_is_the_same_and_the_picture_is_its_drawing(void **state) {
    (void)state;
    struct batch vector, both, pixels;
    uint8_t drawn[ENV_OBS_BYTES];
    float v[PENDULUM_N_VECTOR];
    make(&vector, 2, "task", 5), make(&both, 2, "both", 5), make(&pixels, 2, "pixels", 5);
    assert_int_equal(obs_bytes(&vector.env->obs), sizeof v);
    assert_int_equal(obs_bytes(&both.env->obs), sizeof v + ENV_OBS_BYTES);
    assert_int_equal(obs_bytes(&pixels.env->obs), ENV_OBS_BYTES);
    reset(&vector), reset(&both), reset(&pixels);
    for (int t = 0; t < 10; t++) {
        for (int i = 0; i < 2; i++) {
            assert_memory_equal(vector.obs[i], both.obs[i] + ENV_OBS_BYTES, sizeof v);
            assert_memory_equal(pixels.obs[i], both.obs[i], ENV_OBS_BYTES);
            vector_of(&vector, i, v);
            vector.env->vtable->draw(v, drawn);
            assert_memory_equal(drawn, pixels.obs[i], ENV_OBS_BYTES);
        }
        step(&vector, 1), step(&both, 1), step(&pixels, 1);
    }
    env_free(vector.env), env_free(both.env), env_free(pixels.env);
}

static int shade(const uint8_t *packed, int x, int y) {
    const int pixel = y * ENV_OBS_WIDTH + x;
    return packed[pixel / 4] >> pixel % 4 * 2 & 3;
}

// Upright is up, a quarter turn anticlockwise is left; imagined vectors may be short, long or no
// numbers at all.
static void the_rod_is_drawn_where_it_points(void **state) {
    (void)state;
    uint8_t p[ENV_OBS_BYTES], q[ENV_OBS_BYTES];
    pendulum_draw((float[]){1, 0, 0}, p);
    assert_true(shade(p, 40, 10) == 3 && shade(p, 40, 60) == 0 && shade(p, 15, 36) == 0);
    pendulum_draw((float[]){0, 1, 3}, p);
    assert_true(shade(p, 15, 36) == 3 && shade(p, 65, 36) == 0 && shade(p, 40, 10) == 0);
    pendulum_draw((float[]){-1, 0, 0}, p);
    assert_true(shade(p, 40, 60) == 3 && shade(p, 40, 10) == 0);
    pendulum_draw((float[]){-30, 0, 0}, q);
    assert_memory_equal(p, q, sizeof p);
    pendulum_draw((float[]){0.2f, 0, 0}, p);
    assert_true(shade(p, 40, 10) == 0 && shade(p, 40, 32) == 3);
    pendulum_draw((float[]){NAN, 1, 0}, p);
    for (size_t i = 0; i < sizeof p; i++) assert_int_equal(p[i], 0);
}

static void a_loaded_pendulum_goes_on_like_the_saved_one(void **state) {
    (void)state;
    struct batch a, b;
    struct error e = {0};
    make(&a, 2, "vector", 5), make(&b, 2, "vector", 5);
    const size_t bytes = a.env->vtable->state_bytes(a.env);
    uint8_t *saved = mem_alloc(bytes);
    reset(&a), reset(&b);
    for (int t = 0; t < 150; t++) step(&a, t % 2 ? 1 : -0.25f);
    for (int i = 0; i < 2; i++) {
        a.env->vtable->save(a.env, i, saved);
        if (!b.env->vtable->load(b.env, i, saved, &e)) fail_msg("%s", e.message);
    }
    for (int t = 150; t < 200; t++) {
        step(&a, 0.1f), step(&b, 0.1f);
        assert_memory_equal(a.obs[0], b.obs[0], sizeof a.obs[0]);
        assert_memory_equal(a.obs[1], b.obs[1], sizeof a.obs[1]);
    }
    assert_true(b.out[0].truncated);
    reset(&a), reset(&b); // the next episode too
    assert_memory_equal(a.obs[1], b.obs[1], sizeof a.obs[1]);
    memset(saved, 0xff, bytes);
    assert_false(b.env->vtable->load(b.env, 0, saved, &e));
    assert_non_null(strstr(e.message, "no pendulum's"));
    free(saved);
    env_free(a.env), env_free(b.env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_of_the_physics_is_what_the_formulas_say),
        cmocka_unit_test(without_torque_it_swings_on),
        cmocka_unit_test(what_is_observed_and_rewarded_is_the_physics),
        cmocka_unit_test(only_the_time_limit_ends_an_episode),
        cmocka_unit_test(starts_are_uniform_and_depend_on_nothing_but_seed_place_and_episode),
        cmocka_unit_test(a_chosen_start_is_the_same_in_any_place_and_for_one_episode_only),
        cmocka_unit_test(the_vector_beside_a_picture_is_the_same_and_the_picture_is_its_drawing),
        cmocka_unit_test(the_rod_is_drawn_where_it_points),
        cmocka_unit_test(a_loaded_pendulum_goes_on_like_the_saved_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
