// PPO's gate: passes, and each check turns red when what it checks is broken on purpose.
#include "base/real.h"
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
        cmocka_unit_test(a_loss_that_is_not_finite_fails_smoke_and_toy),
        cmocka_unit_test(an_algorithm_without_a_gate_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
