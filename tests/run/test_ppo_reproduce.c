// Failure bundles of PPO: the step that failed fails again from them alone, and a weight that is no
// number is named.
#include <math.h>
#include <unistd.h>

#include "base/json.h"
#include "engine/data/safetensors.h"
#include "engine/run/ppo/ppo_run_internal.h"
#include "support/small_run.h"

// Four minibatches a pass. The first step moves every weight by the learning rate, after which the
// value loss is beyond a float: the second step fails.
static const char *const overflows[] = {"env.num_envs=6",          "algo.rollout_steps=8",
                                        "env.max_episode_steps=9", "algo.optimizer.lr=1",
                                        "algo.vf_coef=1e30",       "checkpoint.every=2"};

static struct run_opts options(void) {
    return (struct run_opts){.algo = "ppo",
                             .task = "toy",
                             .updates = 2,
                             .n_threads = 1,
                             .no_media = true,
                             .sessions_dir = test_folder(),
                             .settings = overflows,
                             .n_settings = sizeof overflows / sizeof *overflows};
}

static void fail_a_step(char bundle[PATH_SIZE]) {
    struct error e = {0};
    struct worker_summary s = {0};
    const struct run_opts o = options();
    assert_int_equal(run_worker(&o, &s, &e), STATUS_FAILED);
    if (!strstr(e.message, "update 1, pass 0, minibatch 1")) fail_msg("%s", e.message);
    snprintf(bundle, PATH_SIZE, "%.190s/failures/step_000000001", s.session);
}

static struct reproduction again(const char *bundle, int n_threads) {
    struct reproduction r;
    struct error e = {0};
    if (!reproduce_run(bundle, n_threads, &r, &e)) fail_msg("%s", e.message);
    return r;
}

static void a_step_that_failed_fails_again_at_the_same_node(void **state) {
    (void)state;
    char bundle[PATH_SIZE];
    fail_a_step(bundle);
    for (int threads = 1; threads <= 3; threads += 2) {
        const struct reproduction r = again(bundle, threads);
        assert_int_equal(r.update, 1);
        assert_string_equal(r.stage, "pass 0, minibatch 1");
        assert_true(r.recorded[0] != 0);
        assert_string_equal(r.found, r.recorded);
        assert_true(r.same_kernel && !isfinite(r.loss + r.grad_norm));
    }
}

// A run whose weight is broken from outside, in the run's own memory.
static void a_nan_in_a_weight_leaves_a_bundle_that_names_it(void **state) {
    (void)state;
    struct run_opts o = options();
    struct error e = {0};
    struct feed *feed = feed_new(0);
    struct worker_summary s;
    char bundle[PATH_SIZE], path[PATH_SIZE];
    o.n_settings = 3; // nothing overflows by itself
    struct ppo_run *r = ppo_run_new(&o, feed, &e);
    if (!r) fail_msg("%s", e.message);
    struct params *p = ppo_params(r->agent);
    params_weights(p, params_find(p, "conv2.weight"))[5] = (real)NAN;
    assert_false(ppo_run_main(r, &e));
    assert_int_equal(e.status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "first bad node: conv2.weight"));
    ppo_run_summary(r, &s);
    assert_false(s.all_finite);
    ppo_run_free(r);
    feed_free(feed);
    snprintf(bundle, sizeof bundle, "%.190s/failures/step_000000001", s.session);
    snprintf(path, sizeof path, "%.300s/failure.json", bundle);
    cJSON *report = json_read_file(path, 1 << 20, &e);
    const char *node;
    assert_true(json_get_string(report, "bad_node", path, &node, &e));
    assert_string_equal(node, "conv2.weight");
    cJSON_Delete(report);
    assert_string_equal(again(bundle, 1).found, "conv2.weight");
}

// A run with `keys` of two updates goes on and fails in the third; the bundle's folder.
static void go_on_and_fail(const char *const *keys, int n_keys, int64_t updates,
                           char bundle[PATH_SIZE]) {
    static const char *const breaks[] = {"algo.vf_coef=1e300"};
    struct run_opts o = options();
    struct error e = {0};
    struct worker_summary s = {0};
    char session[PATH_SIZE];
    o.settings = keys;
    o.n_settings = n_keys;
    if (run_worker(&o, &s, &e) != STATUS_OK) fail_msg("%s", e.message);
    snprintf(session, sizeof session, "%.190s", s.session);
    const struct run_opts on = {.resume = session,
                                .updates = updates,
                                .n_threads = 1,
                                .no_media = true,
                                .settings = breaks,
                                .n_settings = 1};
    assert_int_equal(run_worker(&on, NULL, &e), STATUS_FAILED);
    snprintf(bundle, PATH_SIZE, "%.190s/failures/step_000000003", session);
}

// A run that goes on has its keys from the session, and its bundle's command names them all the
// same.
static void the_command_of_a_resumed_run_names_the_sessions_keys(void **state) {
    (void)state;
    static const char *const keys[] = {" env.num_envs=6",          " algo.rollout_steps=8",
                                       " env.max_episode_steps=9", " checkpoint.every=2",
                                       " algo.vf_coef=1e+300",     " seed=7"};
    const char *healthy[] = {overflows[0], overflows[1], overflows[2], overflows[5], "seed=7"};
    struct error e = {0};
    char bundle[PATH_SIZE], path[PATH_SIZE];
    const char *command;
    go_on_and_fail(healthy, 5, 4, bundle);
    snprintf(path, sizeof path, "%.300s/failure.json", bundle);
    cJSON *report = json_read_file(path, 1 << 20, &e);
    if (!report || !json_get_string(report, "command", path, &command, &e))
        fail_msg("%s", e.message);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strstr(command, keys[i])) fail_msg("no%s in %s", keys[i], command);
    assert_null(strstr(command, "algo.gamma"));
    cJSON_Delete(report);
}

// Third of four updates of a run whose rate falls to zero: half of it is left.
static void a_step_is_repeated_with_the_rate_of_its_own_update(void **state) {
    (void)state;
    const char *falling[] = {overflows[0], overflows[1],          overflows[2],
                             overflows[5], "algo.anneal_lr=true", "algo.optimizer.lr=0.001"};
    char bundle[PATH_SIZE];
    go_on_and_fail(falling, 6, 4, bundle);
    assert_true(again(bundle, 1).learning_rate == 0.0005);
}

static void what_was_repaired_is_finite_this_time(void **state) {
    (void)state;
    char bundle[PATH_SIZE], command[2 * PATH_SIZE];
    fail_a_step(bundle);
    snprintf(command, sizeof command, "sed -i 's/1e+30/0.5/' %.300s/config.json", bundle);
    assert_int_equal(system(command), 0);
    const struct reproduction r = again(bundle, 1);
    assert_string_equal(r.found, "");
    assert_true(r.recorded[0] != 0 && isfinite(r.loss) && r.grad_norm > 0);
}

static void refused(const char *bundle, const char *word) {
    struct reproduction r;
    struct error e = {0};
    assert_false(reproduce_run(bundle, 1, &r, &e));
    if (!strstr(e.message, word)) fail_msg("expected \"%s\": %s", word, e.message);
}

static void replace_in(const char *bundle, const char *file, const char *from, const char *to) {
    char command[2 * PATH_SIZE];
    snprintf(command, sizeof command, "sed -i 's/%s/%s/' %.300s/%s", from, to, bundle, file);
    assert_int_equal(system(command), 0);
}

static void a_cut_or_altered_bundle_is_refused_with_the_files_name(void **state) {
    (void)state;
    static const char *const files[] = {"failure.json", "config.json", "before.safetensors",
                                        "minibatch.safetensors"};
    static const char *const altered[][3] = {
        {"failure.json", "\"n_actions\":.*", "\"n_actions\": 4000,"},
        {"failure.json", "\"bad_node\"", "\"node\""},
        {"failure.json", "\"learning_rate\":.*", "\"learning_rate\": \"NaN\","},
        {"config.json", "\"env.frame_stack\":\\s*4", "\"env.frame_stack\":3"},
        {"config.json", "\"algo.minibatches\":\\s*4", "\"algo.minibatches\":2"}};
    static const char *const says[] = {"4000", "bad_node", "learning_rate", "before.safetensors",
                                       "minibatch.safetensors"};
    char bundle[PATH_SIZE], copy[PATH_SIZE], command[3 * PATH_SIZE], path[PATH_SIZE];
    fail_a_step(bundle);
    snprintf(copy, sizeof copy, "%.300s_copy", bundle);
    snprintf(command, sizeof command, "rm -rf %.300s && cp -r %.300s %.300s", copy, bundle, copy);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(system(command), 0);
        snprintf(path, sizeof path, "%.300s/%s", copy, files[i]);
        assert_int_equal(truncate(path, 100), 0);
        refused(copy, files[i]);
    }
    for (size_t i = 0; i < sizeof altered / sizeof *altered; i++) {
        assert_int_equal(system(command), 0);
        replace_in(copy, altered[i][0], altered[i][1], altered[i][2]);
        refused(copy, says[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_that_failed_fails_again_at_the_same_node),
        cmocka_unit_test(a_nan_in_a_weight_leaves_a_bundle_that_names_it),
        cmocka_unit_test(the_command_of_a_resumed_run_names_the_sessions_keys),
        cmocka_unit_test(a_step_is_repeated_with_the_rate_of_its_own_update),
        cmocka_unit_test(what_was_repaired_is_finite_this_time),
        cmocka_unit_test(a_cut_or_altered_bundle_is_refused_with_the_files_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
