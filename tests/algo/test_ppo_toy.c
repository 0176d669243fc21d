// PPO learns: 60 updates of 32 x 32 steps solve the toy task (spec/ppo.md 7). PPO_SEED, PPO_LR and
// PPO_VERBOSE: by hand.
#include "base/clock.h"
#include "engine/algo/ppo/ppo_eval.h"
#include "ppo_toy_run.h"

static double success_rate(struct run *r, bool greedy, int episodes) {
    struct ppo_eval_episode played[64];
    struct error e = {0};
    struct env *env = env_toy_new(&(struct env_toy_opts){.n_envs = 32}, &e);
    ppo_eval_play(
        &(struct ppo_eval_opts){
            .agent = r->agent, .env = env, .n_episodes = episodes, .greedy = greedy, .seed = 99},
        played);
    env_free(env);
    return ppo_eval_report(played, episodes).success_rate;
}

static void sixty_updates_solve_the_toy_task_that_a_random_policy_does_not(void **state) {
    (void)state;
    if (SANITIZED || sizeof(real) == 8) skip();
    struct ppo_opts o = defaults(32, 32);
    if (getenv("PPO_SEED")) o.seed = (uint64_t)atoll(getenv("PPO_SEED"));
    const double rate = getenv("PPO_LR") ? atof(getenv("PPO_LR")) : 1e-3;
    struct run r;
    struct ppo_learned l;
    run_open(&r, &o, 2, 128);
    const int64_t start = clock_now_ns();
    const double before = success_rate(&r, false, 64);
    for (int i = 0; i < 60; i++) {
        collect_clear(r.collect);
        update(&r, rate, &l);
        const struct collect_stats *s = collect_stats(r.collect);
        if (getenv("PPO_VERBOSE"))
            print_message("%d: episodes %lld, solved %lld, entropy %.3f, k3 %.4f, clipped %.3f, "
                          "value %.4f, ev %.3f, "
                          "norm %.3f\n",
                          i, (long long)s->episodes, (long long)s->successes, l.terms[PPO_ENTROPY],
                          l.terms[PPO_KL_K3], l.terms[PPO_CLIP_FRACTION], l.terms[PPO_VALUE],
                          l.explained_variance, l.grad_norm);
    }
    const double seconds = (double)(clock_now_ns() - start) * 1e-9;
    const double after = success_rate(&r, false, 64);
    print_message(
        "toy: success %.2f before, %.2f after 60 updates of 32 x 32, greedy %.0f, %.1f s\n", before,
        after, success_rate(&r, true, 1), seconds);
    assert_true(before < 0.3);
    assert_true(after >= 0.9);
    run_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixty_updates_solve_the_toy_task_that_a_random_policy_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
