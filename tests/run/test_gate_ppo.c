// PPO's gate: passes, and each check turns red when what it checks is broken on purpose.
#include <math.h>

#include "base/real.h"
#include "engine/run/gate/gate_internal.h"
#include "support/gate.h"

static struct outcome run_ppo(const char *const *settings, int n) {
    return run_gate(&(struct gate_opts){
        .kind = "cpu", .algo = "ppo", .n_threads = 2, .settings = settings, .n_settings = n});
}

static void sixty_updates_solve_the_toy_task_that_random_actions_do_not(void **state) {
    (void)state;
    if (SANITIZED || sizeof(real) == 8) skip(); // 61,440 steps
    struct outcome o = run_ppo(NULL, 0);
    print_message("%s", o.text);
    if (o.status != STATUS_OK) fail_msg("%s", o.text);
    static const char *const checks[] = {"random", "smoke", "toy"};
    for (int i = 0; i < 3; i++) assert_check(&o, "pass", checks[i]);
}

// As many updates, but hardly any learning.
static void a_learner_that_stands_still_fails_toy(void **state) {
    (void)state;
    if (SANITIZED || sizeof(real) == 8) skip();
    static const char *const still[] = {"algo.optimizer.lr=1e-9", "algo.update_epochs=1",
                                        "env.num_envs=16"};
    struct outcome o = run_ppo(still, 3);
    assert_int_equal(o.status, STATUS_FAILED);
    assert_check(&o, "pass", "random");
    assert_check(&o, "pass", "smoke");
    assert_check(&o, "FAIL", "toy");
}

// The policy may still learn; what makes it PPO is broken.
static void updates_without_clipping_or_without_values_fail_toy(void **state) {
    (void)state;
    if (SANITIZED || sizeof(real) == 8) skip();
    static const struct {
        const char *settings[4], *why;
    } broken[] = {{{"algo.clip_coef=0.99", "env.num_envs=8", "algo.optimizer.lr=1e-3"},
                   "an update leaves its policy too far behind"},
                  {{"algo.vf_coef=0", "env.num_envs=8", "algo.update_epochs=1"},
                   "the values do not explain the returns"}};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct outcome o = run_ppo(broken[i].settings, 3);
        assert_check(&o, "FAIL", "toy");
        if (!strstr(o.text, broken[i].why)) fail_msg("%s", o.text);
    }
}

static void every_bar_of_toy_is_missed_for_its_own_reason(void **state) {
    (void)state;
    // As measured: seed 42, then a part of it broken in the source (docs/validation.md).
    static const struct {
        struct gate_toy t;
        const char *why;
    } runs[] = {
        {{1, 1, 0.97, 0.0022, 0}, NULL},
        {{1, 1, 0.32, 0.0320, 3.9e-2}, "not the one that played"},
        {{1, 1, 0.97, 0.0025, 1.3e-3}, "not the one that played"},
        {{1, 1, 0.90, 0.0147, 0}, "too far behind"},
        {{1, 1, -0.2, 0.0023, 0}, "do not explain"},
        {{0.2, 0, 0.97, 0.0023, 0}, "too few episodes"},
        {{1, 0, 0.97, 0.0023, 0}, "greedy"},
        {{NAN, 1, 0.97, 0.0023, 0}, "too few episodes"},
        {{1, 1, 0.97, 0.0023, NAN}, "not the one that played"},
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        const char *why = NULL;
        assert_int_equal(gate_judge_toy(&runs[i].t, &why), !runs[i].why);
        if (runs[i].why && !strstr(why, runs[i].why)) fail_msg("run %zu: %s", i, why);
    }
}

static void a_loss_that_is_not_finite_fails_smoke_and_toy(void **state) {
    (void)state;
    static const char *const overflow[] = {"algo.vf_coef=1e300"};
    struct outcome o = run_ppo(overflow, 1);
    assert_int_equal(o.status, STATUS_FAILED);
    assert_check(&o, "FAIL", "smoke");
    assert_check(&o, "FAIL", "toy");
    assert_non_null(strstr(o.text, "not finite"));
}

static void an_algorithm_without_a_gate_is_refused(void **state) {
    (void)state;
    struct error e = {0};
    assert_int_equal(gate_run(&(struct gate_opts){.kind = "cpu", .algo = "sarsa"}, stdout, &e),
                     STATUS_USAGE);
    assert_non_null(strstr(e.message, "--algo sarsa"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixty_updates_solve_the_toy_task_that_random_actions_do_not),
        cmocka_unit_test(a_learner_that_stands_still_fails_toy),
        cmocka_unit_test(updates_without_clipping_or_without_values_fail_toy),
        cmocka_unit_test(every_bar_of_toy_is_missed_for_its_own_reason),
        cmocka_unit_test(a_loss_that_is_not_finite_fails_smoke_and_toy),
        cmocka_unit_test(an_algorithm_without_a_gate_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
