// What is left of a run on the device that fails or is stopped: one line, a bundle that fails again
// on the CPU, counts that are those of the CPU.
#include <math.h>

#include "engine/run/reproduce.h"
#include "gpu/device_run.h"

// ---- an update that is not finite: on the device, and again on the CPU from the bundle alone

struct failing {
    const char *what, *mode, *stage;
    const char *settings[6];
    int64_t updates;
};
static const struct failing FAILING[] = {
    {"read with the record that is due",
     "full",
     "world_model",
     {"metric.log_every=2", "algo.world_model.kl_dynamic=1e39"},
     2},
    {"found by a checkpoint",
     "full",
     "behaviour",
     {"metric.log_every=1000", "algo.actor.ent_coef=1e39"},
     3},
    {"found at the end",
     "full",
     "world_model",
     {"metric.log_every=1000", "checkpoint.every=0", "algo.world_model.kl_dynamic=1e39"},
     1},
    {"of one graph for all",
     "full",
     "joint",
     {"metric.log_every=1000", "checkpoint.every=0", "algo.profile=official",
      "algo.actor.ent_coef=1e39"},
     1},
    {"of a world model alone",
     "standing_still",
     "world_model",
     {"metric.log_every=1000", "checkpoint.every=0", "algo.world_model.kl_dynamic=1e39"},
     1},
};

static struct run_opts options_of(const struct failing *f) {
    const char *more[9] = {"algo.per_rank_batch_size=1", "algo.per_rank_sequence_length=2"};
    for (int i = 0; i < 6; i++) more[2 + i] = f->settings[i];
    struct run_opts o = device_run("cuda", more, f->updates);
    o.mode = f->mode;
    return o;
}

// Weights in two bundles: the CPU's copies, and what the device's steps give when they are undone.
// They differ by rounding, a step moves a weight by 1e-4.
static double apart(const char *bundle, const char *of_cpu, const char *a, const char *b) {
    struct error e = {0};
    char path[2][PATH_SIZE];
    double most = 0;
    int n = 0;
    snprintf(path[0], PATH_SIZE, "%.200s/%s", bundle, a);
    snprintf(path[1], PATH_SIZE, "%.200s/%s", of_cpu, b);
    struct safetensors *s[2] = {safetensors_open(path[0], &e), safetensors_open(path[1], &e)};
    if (!s[0] || !s[1]) fail_msg("%s", e.message);
    for (int i = 0; i < safetensors_count(s[0]); i++) {
        const struct st_tensor *x = safetensors_at(s[0], i), *y = safetensors_find(s[1], x->name);
        if (!y || x->dtype != ST_F32 || strncmp(x->name, "weights/", 8) != 0) continue;
        const float *u = x->data, *v = y->data;
        assert_int_equal(x->n_bytes, y->n_bytes);
        for (int64_t k = 0; k < x->n_elements; k++)
            most = worse(most, fabs((double)u[k] - (double)v[k]) / fmax(1, fabs((double)v[k])));
        n++;
    }
    assert_true(n > 20);
    safetensors_free(s[0]);
    safetensors_free(s[1]);
    return most;
}

static void compare_with_cpu(const struct failing *f, const char *bundle) {
    struct error e = {0};
    struct worker_summary s = {0};
    char of_cpu[PATH_SIZE];
    struct run_opts o = options_of(f);
    o.device = "cpu";
    o.no_session = false;
    o.sessions_dir = test_folder();
    assert_int_equal(run_worker(&o, &s, &e), STATUS_FAILED);
    snprintf(of_cpu, sizeof of_cpu, "%.190s/failures/step_000000001", s.session);
    assert_true(apart(bundle, of_cpu, "before.safetensors", "before.safetensors") < 5e-6);
    assert_true(apart(bundle, of_cpu, "stepped.safetensors", "before.safetensors") > 5e-5);
}

static void fail_and_reproduce(const struct failing *f) {
    struct error e = {0};
    struct worker_summary s = {0};
    struct reproduction r;
    char bundle[PATH_SIZE], checkpoint[PATH_SIZE];
    int64_t step;
    struct run_opts o = options_of(f);
    o.no_session = false;
    o.sessions_dir = test_folder();
    assert_int_equal(run_worker(&o, &s, &e), STATUS_FAILED);
    if (!strstr(e.message, "update 1: ") || !strstr(e.message, "first bad node: ") ||
        !strstr(e.message, "see failures/ in "))
        fail_msg("%s: %s", f->what, e.message);
    assert_int_equal(s.opt_steps, 0);
    assert_false(s.all_finite);
    assert_false(session_newest_checkpoint(s.session, checkpoint, &step, &e));
    snprintf(bundle, sizeof bundle, "%.190s/failures/step_000000001", s.session);
    backend_choose(NULL);
    if (!reproduce_run(bundle, 1, &r, &e)) fail_msg("%s: %s", f->what, e.message);
    assert_int_equal(r.update, 1);
    assert_string_equal(r.stage, f->stage);
    assert_true(r.found[0] != 0);
    if (strcmp(r.found, r.recorded) != 0)
        fail_msg("%s: %s on the device, %s from the bundle", f->what, r.recorded, r.found);
    if (strcmp(f->stage, "behaviour") == 0) compare_with_cpu(f, bundle);
}

static void an_update_that_is_not_finite_leaves_a_bundle_that_fails_again(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof FAILING / sizeof *FAILING; i++) fail_and_reproduce(&FAILING[i]);
}

static void without_a_session_it_fails_too(void **state) {
    (void)state;
    struct error e = {0};
    const struct run_opts o = options_of(&FAILING[2]);
    assert_int_equal(run_worker(&o, NULL, &e), STATUS_FAILED);
    if (!strstr(e.message, "update 1: ")) fail_msg("%s", e.message);
}

// ---- learner and actor fail in the same turn: each has a bundle

static void an_update_and_a_policy_step_that_fail_leave_two_bundles(void **state) {
    (void)state;
    static const char *const more[] = {"algo.per_rank_batch_size=1",
                                       "algo.per_rank_sequence_length=2", "metric.log_every=1000",
                                       "checkpoint.every=0", NULL};
    struct error e = {0};
    char path[PATH_SIZE];
    struct reproduction r;
    struct run_opts o = device_run("cuda", more, 2);
    o.no_session = false;
    o.sessions_dir = test_folder();
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&o, feed, &e);
    if (!w) fail_msg("%s", e.message);
    dreamer_params(w->dreamer, DREAMER_ACTOR)->weights[3] = (real)NAN;
    dreamer_sync(w->dreamer, false);
    assert_int_equal(worker_run(w, &e), STATUS_FAILED);
    if (!strstr(e.message, "update 1: ")) fail_msg("%s", e.message);
    char session[PATH_SIZE];
    snprintf(session, sizeof session, "%.190s", session_path(w->session));
    const int64_t played_with = w->rollout.weights_step;
    worker_free(w);
    feed_free(feed);
    backend_choose(NULL);
    snprintf(path, sizeof path, "%.190s/failures/step_000000001", session);
    if (!reproduce_run(path, 1, &r, &e)) fail_msg("%s", e.message);
    assert_string_equal(r.stage, "behaviour");
    assert_string_equal(r.found, r.recorded);
    snprintf(path, sizeof path, "%.190s/failures/step_%09lld", session, (long long)played_with);
    if (!reproduce_run(path, 1, &r, &e)) fail_msg("%s", e.message);
    assert_true(r.policy);
    assert_string_equal(r.found, r.recorded);
}

// ---- a checkpoint that cannot be written

static void a_checkpoint_that_cannot_be_written_changes_nothing_else(void **state) {
    (void)state;
    static const char *const more[] = {"algo.per_rank_batch_size=1",
                                       "algo.per_rank_sequence_length=2", "metric.log_every=1",
                                       "checkpoint.every=1", NULL};
    char sessions[2][PATH_SIZE];
    for (int broken = 0; broken < 2; broken++) {
        struct error e = {0};
        struct run_opts o = device_run("cuda", more, 2);
        char folder[PATH_SIZE];
        o.no_session = false;
        o.sessions_dir = test_folder();
        struct feed *feed = feed_new(0);
        struct worker *w = worker_new(&o, feed, &e);
        if (!w) fail_msg("%s", e.message);
        snprintf(sessions[broken], PATH_SIZE, "%.190s", session_path(w->session));
        snprintf(folder, sizeof folder, "%.190s/checkpoints", sessions[broken]);
        if (broken) { // a file in the folder's place
            rmdir(folder);
            assert_true(file_write_atomic(folder, "", 0, &e));
        }
        const enum status status = worker_run(w, &e);
        assert_true((status == STATUS_OK) == !broken); // the last one must be written
        if (broken && !strstr(e.message, "checkpoints")) fail_msg("%s", e.message);
        assert_int_equal(feed_n_records(feed), 2);
        worker_free(w);
        feed_free(feed);
    }
    assert_same_file(sessions[0], sessions[1], "metrics.jsonl");
}

// ---- a stop beside a rollout in which episodes end

// Every second row ends an episode; two updates a rollout, the second is not made.
static const char *const ENDING[] = {
    "algo.per_rank_batch_size=1", "algo.per_rank_sequence_length=2", "metric.log_every=1",
    "algo.replay_ratio=1",        "env.max_episode_steps=1",         NULL};

static void a_stop_counts_the_rollout_beside_the_batch_as_the_cpu_does(void **state) {
    (void)state;
    int64_t ended = 0;
    for (int64_t updates = 1; updates <= 2; updates++) {
        struct feed *feed = feed_new(0);
        const struct run_opts opts = device_run("cuda", ENDING, updates);
        struct worker *w = run_and_keep(&opts, feed);
        const struct rollout *r = &w->rollout;
        // No turn since the last record: the fence is that record's, whose episodes are in it.
        assert_int_equal(w->fence.policy_steps, feed_record(feed, updates - 1)->env_steps);
        assert_int_equal(w->episodes.n, 0);
        assert_int_equal(r->policy_steps,
                         w->fence.policy_steps + r->n_ticks * r->env->n_envs - r->episodes.n);
        ended += r->episodes.n;
        worker_free(w);
        feed_free(feed);
    }
    assert_true(ended > 0);
}

int main(void) {
    parity_for_runs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_that_is_not_finite_leaves_a_bundle_that_fails_again),
        cmocka_unit_test(without_a_session_it_fails_too),
        cmocka_unit_test(an_update_and_a_policy_step_that_fail_leave_two_bundles),
        cmocka_unit_test(a_checkpoint_that_cannot_be_written_changes_nothing_else),
        cmocka_unit_test(a_stop_counts_the_rollout_beside_the_batch_as_the_cpu_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
