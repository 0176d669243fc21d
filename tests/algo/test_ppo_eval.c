// Evaluation of a PPO agent: quotas, success, medians; against the recorded scenario.
#include "ppo_fixtures.h"

#include "base/pool.h"
#include "engine/algo/ppo/ppo_eval.h"
#include "engine/env/toy.h"

// The recorded scenario's environments: reward 1 a step; 0 is done at its step 2, 1 truncated at
// its step 3.
struct scripted {
    struct env env;
    int steps[2], resets;
};

static void scripted_reset(struct env *env, const uint8_t *mask, uint8_t *const *obs) {
    struct scripted *s = (struct scripted *)env;
    for (int i = 0; i < 2; i++) {
        if (!mask[i]) continue;
        memset(obs[i], 0, ENV_OBS_BYTES);
        s->steps[i] = 0;
        s->resets++;
    }
}

static void scripted_step(struct env *env, const uint8_t *mask, const int32_t *actions,
                          uint8_t *const *obs, struct env_step_result *out) {
    struct scripted *s = (struct scripted *)env;
    (void)actions;
    for (int i = 0; i < 2; i++) {
        if (!mask[i]) continue;
        s->steps[i]++;
        memset(obs[i], s->steps[i], ENV_OBS_BYTES);
        out[i] = (struct env_step_result){.reward = 1,
                                          .terminated = i == 0 && s->steps[i] == 2,
                                          .truncated = i == 1 && s->steps[i] == 3,
                                          .distance = i ? 0.5f : 0.25f};
    }
}

static const struct env_vtable scripted_vtable = {.reset = scripted_reset, .step = scripted_step};

static struct pool *pool;
static struct ppo *agent;

static int open_agent(void **state) {
    fixtures_load(state);
    pool = pool_new(1);
    agent = ppo_new(&(struct ppo_opts){.n_envs = 4,
                                       .n_steps = 2,
                                       .epochs = 1,
                                       .minibatches = 1,
                                       .dims = {4, 7},
                                       .loss = {0.1, 0.5, 0.01, 0},
                                       .gamma = 0.99,
                                       .lambda = 0.95,
                                       .adam_eps = 1e-5,
                                       .seed = 3},
                    pool);
    return 0;
}

static int close_agent(void **state) {
    ppo_free(agent);
    pool_free(pool);
    return fixtures_free(state);
}

static void five_episodes_of_two_environments_match_the_reference(void **state) {
    (void)state;
    const cJSON *f = fixture("eval_scenario");
    struct scripted s = {.env = {.vtable = &scripted_vtable, .n_envs = 2, .n_actions = 7}};
    struct ppo_eval_episode episodes[5];
    ppo_eval_play(
        &(struct ppo_eval_opts){.agent = agent, .env = &s.env, .n_episodes = 5, .greedy = true},
        episodes);
    struct ppo_eval_report r = ppo_eval_report(episodes, 5);
    assert_int_equal(s.resets, 5);
    assert_true(r.successes == (int64_t)number(f, "successes") &&
                r.success_rate == number(f, "success_rate"));
    assert_true(r.median_steps == number(f, "median_steps_to_goal"));
    near("mean_return", r.mean_return, number(f, "mean_return"), 1e-9);
    assert_true(r.return_mean_success == 2 && r.return_mean_fail == 3 && r.distance_p50 == 0.25);
}

static void without_a_success_there_is_no_median(void **state) {
    (void)state;
    const struct ppo_eval_episode episodes[2] = {
        {.total_reward = -1, .steps = 9, .distance = 0.5f},
        {.total_reward = -3, .steps = 9, .distance = 0.7f}};
    struct ppo_eval_report r = ppo_eval_report(episodes, 2);
    assert_true(r.success_rate == 0 && isnan(r.median_steps) && isnan(r.return_mean_success));
    assert_true(r.return_mean_fail == -2 && r.distance_p50 == (double)0.5f);
    r = ppo_eval_report(episodes, 0);
    assert_true(isnan(r.success_rate) && isnan(r.mean_return));
}

static void greedy_episodes_are_all_the_same_and_drawn_ones_repeat_with_their_seed(void **state) {
    (void)state;
    struct error e = {0};
    struct env *env = env_toy_new(&(struct env_toy_opts){.n_envs = 3}, &e);
    struct ppo_eval_episode episodes[7];
    ppo_eval_play(
        &(struct ppo_eval_opts){.agent = agent, .env = env, .n_episodes = 7, .greedy = true},
        episodes);
    for (int i = 1; i < 7; i++) assert_memory_equal(&episodes[i], &episodes[0], sizeof episodes[0]);
    assert_int_equal(episodes[0].steps, 128);
    ppo_eval_play(&(struct ppo_eval_opts){.agent = agent, .env = env, .n_episodes = 7, .seed = 1},
                  episodes);
    struct ppo_eval_report a = ppo_eval_report(episodes, 7);
    ppo_eval_play(&(struct ppo_eval_opts){.agent = agent, .env = env, .n_episodes = 7, .seed = 1},
                  episodes);
    struct ppo_eval_report b = ppo_eval_report(episodes, 7);
    assert_true(a.mean_return == b.mean_return && a.successes == b.successes);
    env_free(env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_episodes_of_two_environments_match_the_reference),
        cmocka_unit_test(without_a_success_there_is_no_median),
        cmocka_unit_test(greedy_episodes_are_all_the_same_and_drawn_ones_repeat_with_their_seed),
    };
    return cmocka_run_group_tests(tests, open_agent, close_agent);
}
