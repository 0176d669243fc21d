// The gpu gate's PPO checks: they pass on right kernels and fail on rollouts that talk to the host,
// on a policy that sees other frames than it learns from, and on one that does not get better.
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/run/gate/gate_internal.h"
#include "gpu/which.h"

// The first result is the rollouts', the second whether the policy gets better.

static const char *const PPO_SETTINGS[] = {"env.num_envs=2", "algo.rollout_steps=4",
                                           "algo.minibatches=1", "algo.update_epochs=1",
                                           "algo.init=uniform"};

// In a process of its own: the program opens one library and keeps it.
static void play_on(const char *library, struct gate *out) {
    const size_t bytes = sizeof(struct gate);
    struct gate *g = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(g != MAP_FAILED);
    const pid_t child = fork();
    if (child == 0) {
        const struct gate_opts opts = {.kind = "gpu",
                                       .algo = "ppo",
                                       .n_threads = 1,
                                       .settings = PPO_SETTINGS,
                                       .n_settings = sizeof PPO_SETTINGS / sizeof *PPO_SETTINGS,
                                       .json = true};
        setenv("WORKBENCH_CUDA_LIBRARY", harness_path(library), 1);
        g->opts = &opts;
        g->out = stdout;
        gate_check_ppo_on_gpu(g, 3); // enqueued, captured, replayed
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    memcpy(out, g, bytes);
    munmap(g, bytes);
}

static void judge(const char *library, bool passes, const char *words) {
    static struct gate g;
    if (getenv("WORKBENCH_CUDA_LIBRARY")) skip(); // a whole gate runs there
    play_on(library, &g);
    assert_int_equal(g.n_results, 2);
    if (g.results[0].passed != passes || !strstr(g.results[0].detail, words))
        fail_msg("%s %s: %s", g.results[0].name, g.results[0].passed ? "passed" : "failed",
                 g.results[0].detail);
    assert_false(g.results[1].passed); // in a few steps nothing is learned
}

static void rollouts_on_the_device_are_alone_and_learned_from(void **state) {
    (void)state;
    judge("harness", true, "0 transfers inside 3 rollouts");
}

static void a_rollout_that_tells_the_host_is_noticed(void **state) {
    (void)state;
    judge("broken_chatty", false, "transfers inside 3 rollouts");
}

static void a_policy_that_sees_other_frames_than_it_learns_from_is_noticed(void **state) {
    (void)state;
    judge("broken_stale_frames", false, "before the first step KL");
}

static void a_policy_that_does_not_get_better_fails(void **state) {
    (void)state;
    const char *why;
    assert_true(gate_judge_lab(&(struct gate_lab){0.07, 0.6}, &why));
    assert_true(gate_judge_lab(&(struct gate_lab){0, 0.2}, &why));
    assert_false(gate_judge_lab(&(struct gate_lab){0.07, 0.08}, &why));
    assert_false(gate_judge_lab(&(struct gate_lab){0, 0.1}, &why));
    assert_false(gate_judge_lab(&(struct gate_lab){0.2, 0.3}, &why));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rollouts_on_the_device_are_alone_and_learned_from),
        cmocka_unit_test(a_rollout_that_tells_the_host_is_noticed),
        cmocka_unit_test(a_policy_that_sees_other_frames_than_it_learns_from_is_noticed),
        cmocka_unit_test(a_policy_that_does_not_get_better_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
