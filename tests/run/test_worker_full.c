// The worker in mode full: a policy acts and learns. Determinism, schedule, metrics, checkpoint.
#include <math.h>

#include "base/file.h"
#include "engine/data/session.h"
#include "engine/run/worker/worker.h"
#include "support/small_run.h"

static const char *const quick[] = {
    "algo.per_rank_sequence_length=16",
    "algo.per_rank_batch_size=4",
    "algo.learning_starts=40",
    "algo.horizon=4",
    "algo.replay_ratio=0.5",
    "env.num_envs=2",
    "env.max_episode_steps=30",
};

static struct run_opts options(int64_t updates) {
    return (struct run_opts){.task = "sprites",
                             .mode = "full",
                             .preset = "micro",
                             .updates = updates,
                             .n_threads = 1,
                             .no_media = true,
                             .settings = quick,
                             .n_settings = sizeof quick / sizeof quick[0]};
}

static void same_seed_gives_the_same_bytes_whatever_the_threads(void **state) {
    (void)state;
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s[2];
    for (int i = 0; i < 2; i++) {
        struct error e = {0};
        struct run_opts o = options(12);
        o.sessions_dir = root;
        o.n_threads = 1 + 2 * i;
        struct feed *feed = feed_new(0);
        struct worker *w = run_and_keep(&o, feed);
        worker_summary(w, &s[i]);
        if (!worker_verify_checkpoint(w, &e)) fail_msg("%s", e.message);
        worker_free(w);
        feed_free(feed);
    }
    assert_same_file(s[0].session, s[1].session, "metrics.jsonl");
    assert_same_file(s[0].session, s[1].session, "checkpoints/step_000000012.safetensors");
    assert_same_file(s[0].session, s[1].session, "config.json");
}

// Ratio 0.5 with two environments: one update a tick once the prefill is over, none is lost at the
// end.
static void updates_follow_the_ratio(void **state) {
    (void)state;
    struct worker_summary s;
    struct run_opts o = options(0);
    o.no_session = true;
    o.env_steps = 100;
    struct feed *feed = feed_new(0);
    struct worker *w = run_and_keep(&o, feed);
    worker_summary(w, &s);
    assert_true(s.env_steps >= 100 && s.env_steps < 104);
    // the first call pays for one tick; then 30 more ticks or so
    assert_in_range(s.opt_steps, 29, 31);
    worker_free(w);
    feed_free(feed);
}

static void records_hold_the_behaviours_metrics_only_in_mode_full(void **state) {
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct run_opts o = options(4);
        o.no_session = true;
        if (!full) o.mode = "standing_still";
        struct feed *feed = feed_new(0);
        struct worker *w = run_and_keep(&o, feed);
        assert_int_equal(feed_n_records(feed), 4);
        const struct record *r = feed_record(feed, 3);
        for (int m = METRIC_LOSS_ACTOR; m <= METRIC_GRAD_NORM_CRITIC; m++) {
            assert_int_equal(r->present >> m & 1, full);
            if (full) assert_true(isfinite(r->value[m]));
        }
        assert_true(r->present >> METRIC_LOSS_MODEL & 1);
        assert_string_equal(feed_status(feed)->mode, full ? "full" : "standing_still");
        worker_free(w);
        feed_free(feed);
    }
}

static void an_update_that_is_not_finite_in_the_behaviour_stops_the_run(void **state) {
    (void)state;
    static const char *const overflow[] = {
        "algo.per_rank_sequence_length=16",
        "algo.learning_starts=40",
        "algo.horizon=4",
        "algo.actor.ent_coef=1e39",
    };
    struct error e = {0};
    struct run_opts o = options(3);
    o.sessions_dir = test_folder();
    o.settings = overflow;
    o.n_settings = sizeof overflow / sizeof overflow[0];
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&o, feed, &e);
    if (!w) fail_msg("%s", e.message);
    assert_int_equal(worker_run(w, &e), STATUS_FAILED);
    assert_non_null(strstr(e.message, "update 1:"));
    assert_non_null(strstr(e.message, "behaviour/"));
    worker_free(w);
    feed_free(feed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_gives_the_same_bytes_whatever_the_threads),
        cmocka_unit_test(updates_follow_the_ratio),
        cmocka_unit_test(records_hold_the_behaviours_metrics_only_in_mode_full),
        cmocka_unit_test(an_update_that_is_not_finite_in_the_behaviour_stops_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
