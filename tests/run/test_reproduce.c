// Failure bundles: they hold the weights before the update, and the update fails again from them
// alone.
#include <math.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/data/safetensors.h"
#include "engine/data/session.h"
#include "engine/run/reproduce.h"
#include "engine/run/worker/worker_internal.h"
#include "support/small_run.h"

// Healthy runs with checkpoints of updates 7 and 9; the second with the profile official.
static char root[PATH_SIZE], session[200], official[200];

static int make_session(void **state) {
    (void)state;
    static const char *const busy[] = {
        "algo.per_rank_sequence_length=16",
        "algo.per_rank_batch_size=4",
        "algo.learning_starts=40",
        "algo.horizon=4",
        "algo.replay_ratio=1.5",
        "env.num_envs=2",
        "checkpoint.every=7",
        "buffer.size=200",
        "algo.profile=official", // the last one
    };
    snprintf(root, sizeof root, "%s", test_folder());
    struct run_opts o = small_run("full", root, 9);
    o.settings = busy;
    o.n_settings = sizeof busy / sizeof *busy - 1;
    run_well(&o, session);
    o.n_settings++;
    run_well(&o, official);
    return 0;
}

// `of` goes on from the checkpoint of update `from` with one key changed, fails, and leaves a
// bundle.
static void fail_of(const char *of, int from, const char *setting, char bundle[PATH_SIZE]) {
    static int n;
    char copy[200], path[PATH_SIZE], command[PATH_SIZE];
    struct error e = {0};
    snprintf(copy, sizeof copy, "%.150s/copy%d", root, ++n);
    snprintf(command, sizeof command, "cp -r %.190s %.190s", of, copy);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%.190s/checkpoints/step_%09d.safetensors", copy, from);
    struct run_opts o = {.resume = path,
                         .updates = 30,
                         .n_threads = 2,
                         .no_media = true,
                         .settings = &setting,
                         .n_settings = 1};
    assert_int_equal(run_worker(&o, NULL, &e), STATUS_FAILED);
    assert_non_null(strstr(e.message, "not finite"));
    snprintf(bundle, PATH_SIZE, "%.190s/failures/step_%09d", copy, from + 1);
}

static void fail_after(int from, const char *setting, char bundle[PATH_SIZE]) {
    fail_of(session, from, setting, bundle);
}

static void assert_same_weights(const char *a, const char *b, const char *prefix) {
    struct error e = {0};
    struct safetensors *x = safetensors_open(a, &e), *y = safetensors_open(b, &e);
    if (!x || !y) fail_msg("%s", e.message);
    int n = 0;
    for (int i = 0; i < safetensors_count(x); i++) {
        const struct st_tensor *t = safetensors_at(x, i), *u;
        if (strncmp(t->name, prefix, strlen(prefix)) != 0) continue;
        n++;
        u = safetensors_find(y, t->name);
        assert_non_null(u);
        assert_int_equal(t->n_bytes, u->n_bytes);
        if (memcmp(t->data, u->data, t->n_bytes) != 0) fail_msg("%s is another one", t->name);
    }
    assert_true(n > 20);
    safetensors_free(x);
    safetensors_free(y);
}

static struct reproduction again(const char *bundle) {
    struct reproduction r;
    struct error e = {0};
    if (!reproduce_run(bundle, 1, &r, &e)) fail_msg("%s", e.message);
    return r;
}

// The command of a bundle: the keys in it make the run's config out of the preset's, and no others
// stand there.
static void assert_command_makes_the_config(const char *bundle, const char *broken) {
    struct error e = {0};
    struct config made, kept, plain;
    char path[PATH_SIZE], before[CONFIG_TEXT_SIZE], after[CONFIG_TEXT_SIZE];
    const char *text;
    uint8_t *json;
    size_t n;
    assert_true(path_join(path, bundle, "failure.json", &e));
    cJSON *report = json_read_file(path, 1 << 20, &e);
    assert_true(report && json_get_string(report, "command", path, &text, &e));
    assert_non_null(strstr(text, broken));
    assert_true(config_init(&made, "micro", &e) && config_init(&kept, "tiny", &e));
    char *words = mem_strdup(text);
    int n_keys = 0;
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
        if (!strchr(word, '=')) continue;
        plain = made;
        if (!config_set(&made, word, &e)) fail_msg("%s", e.message);
        int changed = 0;
        for (int i = 0; i < config_n_keys; i++) {
            config_text(&plain, i, before);
            config_text(&made, i, after);
            changed += strcmp(before, after) != 0;
        }
        if (!changed && strncmp(word, "env.max_episode_steps", 21) != 0)
            fail_msg("%s changes nothing", word);
        n_keys++;
    }
    assert_in_range(n_keys, 8, 12);
    assert_true(path_join(path, bundle, "config.json", &e) &&
                file_read(path, 1 << 20, &json, &n, &e) &&
                config_from_json(&kept, (const char *)json, n, path, &e));
    char a[CONFIG_HASH_SIZE], b[CONFIG_HASH_SIZE];
    config_hash(&made, a);
    config_hash(&kept, b);
    assert_string_equal(a, b);
    free(words);
    free(json);
    cJSON_Delete(report);
}

// Update 8 is the first of its rollout's batch or not, 10 the other: both ways of keeping the
// weights.
static void
a_failure_of_the_behaviour_keeps_the_weights_before_the_update_and_fails_again(void **state) {
    (void)state;
    for (int from = 7; from <= 9; from += 2) {
        char bundle[PATH_SIZE], before[PATH_SIZE], checkpoint[PATH_SIZE];
        fail_after(from, "algo.actor.ent_coef=1e39", bundle);
        assert_command_makes_the_config(bundle, "algo.actor.ent_coef=1e+39");
        snprintf(before, sizeof before, "%.300s/before.safetensors", bundle);
        snprintf(checkpoint, sizeof checkpoint, "%.190s/checkpoints/step_%09d.safetensors", session,
                 from);
        assert_same_weights(checkpoint, before, "weights/");
        struct reproduction r = again(bundle);
        assert_int_equal(r.update, from + 1);
        assert_string_equal(r.stage, "behaviour");
        assert_non_null(strstr(r.recorded, "behaviour/"));
        assert_string_equal(r.found, r.recorded);
        assert_true(r.same_kernel);
    }
}

static void a_failure_of_the_world_model_keeps_everything_and_fails_again(void **state) {
    (void)state;
    char bundle[PATH_SIZE], before[PATH_SIZE], checkpoint[PATH_SIZE];
    fail_after(7, "algo.world_model.kl_regularizer=1e39", bundle);
    snprintf(before, sizeof before, "%.300s/before.safetensors", bundle);
    snprintf(checkpoint, sizeof checkpoint, "%.190s/checkpoints/step_000000007.safetensors",
             session);
    assert_same_weights(checkpoint, before, "weights/");
    assert_same_weights(checkpoint, before, "adam_v/");
    struct reproduction r = again(bundle);
    assert_string_equal(r.stage, "world_model");
    assert_true(r.recorded[0] != 0);
    assert_string_equal(r.found, r.recorded);
}

// Whichever part of it fails: nothing had changed, and all of it runs again.
static void a_joint_update_that_fails_keeps_everything_and_fails_again(void **state) {
    (void)state;
    static const char *const causes[][2] = {{"algo.actor.ent_coef=1e39", "behaviour/"},
                                            {"algo.world_model.kl_regularizer=1e39", "wm/"}};
    for (int i = 0; i < 2; i++) {
        char bundle[PATH_SIZE], before[PATH_SIZE], checkpoint[PATH_SIZE];
        fail_of(official, 7, causes[i][0], bundle);
        assert_command_makes_the_config(bundle, "algo.profile=official");
        snprintf(before, sizeof before, "%.300s/before.safetensors", bundle);
        snprintf(checkpoint, sizeof checkpoint, "%.190s/checkpoints/step_000000007.safetensors",
                 official);
        assert_same_weights(checkpoint, before, "weights/");
        assert_same_weights(checkpoint, before, "adam_m/");
        assert_same_weights(checkpoint, before, "adam_v/");
        struct reproduction r = again(bundle);
        assert_int_equal(r.update, 8);
        assert_string_equal(r.stage, "joint");
        if (!strstr(r.recorded, causes[i][1])) fail_msg("%s", r.recorded);
        assert_string_equal(r.found, r.recorded);
        assert_false(isfinite(r.loss) && isfinite(r.grad_norm));
    }
}

// The weights are finite, what the actor makes of them is not. Few updates, so that the policy
// meets them first.
static void fail_policy(char bundle[PATH_SIZE], struct error *e) {
    static int n;
    static const char *const rare = "algo.replay_ratio=0.01";
    char copy[200], command[PATH_SIZE];
    snprintf(copy, sizeof copy, "%.150s/policy%d", root, ++n);
    snprintf(command, sizeof command, "cp -r %.190s %.190s", session, copy);
    assert_int_equal(system(command), 0);
    struct run_opts o = {.resume = copy,
                         .updates = 30,
                         .n_threads = 2,
                         .no_media = true,
                         .settings = &rare,
                         .n_settings = 1};
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&o, feed, e);
    if (!w) fail_msg("%s", e->message);
    struct params *actor = dreamer_params(w->dreamer, DREAMER_ACTOR);
    for (int64_t i = 0; i < actor->n_flat; i++) actor->weights[i] = (real)1e38;
    assert_int_equal(worker_run(w, e), STATUS_FAILED);
    worker_free(w);
    feed_free(feed);
    snprintf(bundle, PATH_SIZE, "%.190s/failures/step_000000009", copy);
}

static void a_policy_step_that_is_not_finite_leaves_a_bundle_and_fails_again(void **state) {
    (void)state;
    char bundle[PATH_SIZE], path[PATH_SIZE];
    struct error e = {0};
    fail_policy(bundle, &e);
    assert_non_null(strstr(e.message, "policy step"));
    assert_non_null(strstr(e.message, "failures/"));
    assert_null(strchr(e.message, '\n'));
    struct reproduction r = again(bundle);
    assert_true(r.policy);
    assert_int_equal(r.update, 9);
    assert_string_equal(r.stage, "policy");
    assert_non_null(strstr(r.recorded, "actor"));
    assert_non_null(strstr(e.message, r.recorded));
    assert_string_equal(r.found, r.recorded);
    snprintf(path, sizeof path, "%.300s/policy.safetensors", bundle);
    assert_int_equal(truncate(path, 200), 0);
    assert_false(reproduce_run(bundle, 1, &r, &e));
    assert_non_null(strstr(e.message, "policy.safetensors"));
}

static void what_was_repaired_is_finite_this_time(void **state) {
    (void)state;
    char bundle[PATH_SIZE], command[2 * PATH_SIZE];
    fail_after(7, "algo.actor.ent_coef=1e39", bundle);
    snprintf(command, sizeof command, "sed -i 's/1e+39/3e-4/' %s/config.json", bundle);
    assert_int_equal(system(command), 0);
    struct reproduction r = again(bundle);
    assert_string_equal(r.found, "");
    assert_true(r.recorded[0] != 0);
}

static void what_is_no_bundle_or_a_broken_one_is_refused(void **state) {
    (void)state;
    static const char *const files[] = {"failure.json", "config.json", "before.safetensors",
                                        "stepped.safetensors", "batch.safetensors"};
    char bundle[PATH_SIZE], path[PATH_SIZE];
    struct reproduction r;
    struct error e = {0};
    assert_false(reproduce_run("/nowhere", 1, &r, &e));
    assert_non_null(strstr(e.message, "/nowhere"));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        fail_after(7, "algo.actor.ent_coef=1e39", bundle);
        snprintf(path, sizeof path, "%.300s/%s", bundle, files[i]);
        assert_int_equal(truncate(path, 200), 0);
        assert_false(reproduce_run(bundle, 1, &r, &e));
        if (!strstr(e.message, files[i])) fail_msg("%s: says %s", files[i], e.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_failure_of_the_behaviour_keeps_the_weights_before_the_update_and_fails_again),
        cmocka_unit_test(a_failure_of_the_world_model_keeps_everything_and_fails_again),
        cmocka_unit_test(a_joint_update_that_fails_keeps_everything_and_fails_again),
        cmocka_unit_test(a_policy_step_that_is_not_finite_leaves_a_bundle_and_fails_again),
        cmocka_unit_test(what_was_repaired_is_finite_this_time),
        cmocka_unit_test(what_is_no_bundle_or_a_broken_one_is_refused),
    };
    return cmocka_run_group_tests(tests, make_session, NULL);
}
