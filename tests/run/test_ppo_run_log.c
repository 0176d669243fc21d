// The log of a PPO run: what its records say, evaluations between updates, the validator.
#include "base/json.h"
#include "engine/algo/ppo/ppo_log.h"
#include "engine/data/session.h"
#include "engine/run/eval/eval.h"
#include "ppo_small_run.h"

static void annealing_lowers_the_recorded_learning_rate(void **state) {
    (void)state;
    struct feed *feed = feed_of_run("algo.anneal_lr=true", 4);
    for (int i = 0; i < 4; i++)
        assert_float_equal(feed_record(feed, i)->value[METRIC_LR], 2.5e-4 * (4 - i) / 4, 1e-9);
    feed_free(feed);
}

// Six environments, eight steps a rollout, episodes of nine: every environment's limit falls into
// the second rollout and again into the third (steps 9 and 18), none into the first; the goal is 15
// steps away. Metrics that only an ended episode has are then missing from the first record.
static void rates_are_means_over_the_transitions_of_a_rollout(void **state) {
    (void)state;
    struct feed *feed = feed_of_run(NULL, 3);
    for (int i = 0; i < 3; i++) {
        const struct record *r = feed_record(feed, i);
        const float want = i ? 6.0f / 48 : 0;
        assert_float_equal(r->value[METRIC_TRUNC_RATE], want, 0);
        assert_float_equal(r->value[METRIC_RESET_RATE], want, 0);
        assert_float_equal(r->value[METRIC_DONE_RATE], 0, 0);
        assert_true(r->present >> METRIC_TRUNC_RATE & r->present >> METRIC_DONE_RATE & 1);
        assert_int_equal(r->present >> METRIC_LENGTH_MEAN & 1, i > 0);
    }
    feed_free(feed);
}

// The recorded greedy evaluation of the last update and one of the saved weights are the same play.
static void a_saved_policy_plays_as_it_did_in_training(void **state) {
    (void)state;
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s;
    struct run_opts o = options(root, 4);
    must_run(&o, &s);
    struct error e = {0};
    struct session_data *d = session_read(s.session, &e);
    assert_non_null(d);
    const struct record *last = &d->records[d->n_records - 1];
    assert_true(last->present >> METRIC_EVAL_MEAN_RETURN & 1);
    struct eval_report r;
    struct eval *v = eval_new(
        &(struct eval_opts){.path = s.session, .policy = EVAL_GREEDY, .episodes = 5, .n_envs = 3},
        &e);
    if (!v || !eval_run(v, &e)) fail_msg("%s", e.message);
    eval_report(v, &r);
    assert_int_equal(r.policy_stats.episodes, 5);
    assert_float_equal(r.policy_stats.mean_reward, last->value[METRIC_EVAL_MEAN_RETURN], 1e-5);
    assert_float_equal(r.policy_stats.mean_length, 9,
                       0); // env.max_episode_steps: none reaches the goal so soon
    eval_free(v);
    v = eval_new(&(struct eval_opts){.path = s.session, .open_loop = true}, &e);
    assert_null(v);
    assert_non_null(strstr(e.message, "--open-loop"));
    session_data_free(d);
}

// ---- evaluations between updates

// Episodes of nine steps never reach the goal, which is fifteen steps away: what only successes
// have is absent. A greedy policy plays all of them alike.
static void a_greedy_evaluation_is_recorded_every_so_many_updates(void **state) {
    (void)state;
    struct feed *feed = feed_of_run("eval.every=3", 6);
    for (int i = 0; i < 6; i++) {
        const struct record *r = feed_record(feed, i);
        const metric_set all =
            METRIC_BIT(METRIC_EVAL_SUCCESS_RATE) | METRIC_BIT(METRIC_EVAL_MEAN_RETURN) |
            METRIC_BIT(METRIC_EVAL_RETURN_FAIL) | METRIC_BIT(METRIC_EVAL_DIST_AT_END);
        const metric_set of_success = METRIC_BIT(METRIC_EVAL_MEDIAN_STEPS) |
                                      METRIC_BIT(METRIC_EVAL_STEPS_P50) |
                                      METRIC_BIT(METRIC_EVAL_RETURN_SUCCESS);
        assert_true((r->present & (all | of_success)) == (i % 3 == 2 ? all : 0));
        if (i % 3 != 2) continue;
        const float *v = r->value;
        assert_true(v[METRIC_EVAL_SUCCESS_RATE] == 0);
        assert_true(v[METRIC_EVAL_MEAN_RETURN] == v[METRIC_EVAL_RETURN_FAIL]);
        // nine steps at -.01 each, and the way gone
        const float start = 2 * 270.0f / 17280;
        assert_float_equal(v[METRIC_EVAL_MEAN_RETURN], -0.09f + start - v[METRIC_EVAL_DIST_AT_END],
                           1e-5f);
    }
    feed_free(feed);
}

// Half a point a step and no distance: nine steps, also in the evaluation and in that of the saved
// session.
static void the_reward_of_a_goal_is_what_the_keys_say(void **state) {
    (void)state;
    static const char *const more[] = {"eval.every=2", "env.step_cost=-0.5", "env.alpha=0"};
    const char *settings[N_SMALL + 3];
    struct error e = {0};
    char session[200];
    memcpy(settings, small, sizeof small);
    memcpy(settings + N_SMALL, more, sizeof more);
    struct run_opts o = options(test_folder(), 2);
    o.settings = settings;
    o.n_settings = N_SMALL + 3;
    run_well(&o, session);
    struct session_data *d = session_read(session, &e);
    if (!d) fail_msg("%s", e.message);
    assert_float_equal(d->records[1].value[METRIC_RETURN_MEAN], -4.5, 1e-6);
    assert_float_equal(d->records[1].value[METRIC_EVAL_MEAN_RETURN], -4.5, 1e-6);
    session_data_free(d);
    struct eval *v = eval_new(&(struct eval_opts){.path = session, .episodes = 2, .n_envs = 2}, &e);
    struct eval_report r;
    if (!v || !eval_run(v, &e)) fail_msg("%s", e.message);
    eval_report(v, &r);
    assert_float_equal(r.policy_stats.mean_reward, -4.5, 1e-6);
    eval_free(v);
}

// Updates 3, 6 and 9 ask for one; records are those of 2, 4, 6, 8 and 10.
static void an_evaluation_comes_with_the_next_record_that_is_written(void **state) {
    (void)state;
    static const bool evaluated[] = {false, true, true, false, true};
    const char *settings[N_SMALL + 2];
    memcpy(settings, small, sizeof small);
    settings[N_SMALL] = "eval.every=3";
    settings[N_SMALL + 1] = "metric.log_every=2";
    struct run_opts o = options(NULL, 10);
    o.no_session = true;
    o.settings = settings;
    o.n_settings = N_SMALL + 2;
    struct feed *feed = feed_new(0);
    worker_free(run_and_keep(&o, feed));
    assert_int_equal(feed_n_records(feed), 5);
    for (int i = 0; i < 5; i++) {
        const struct record *r = feed_record(feed, i);
        assert_int_equal(r->opt_steps, 2 * (i + 1));
        assert_int_equal(r->present >> METRIC_EVAL_MEAN_RETURN & 1, evaluated[i]);
    }
    feed_free(feed);
}

static void evaluations_change_nothing_else_of_a_run(void **state) {
    (void)state;
    static const enum metric checked[] = {METRIC_LOSS_TOTAL, METRIC_GRAD_NORM, METRIC_RETURN_MEAN,
                                          METRIC_VALUE_MEAN, METRIC_DIST_P50,  METRIC_ENTROPY_MEAN};
    struct feed *with = feed_of_run("eval.every=1", 6), *without = feed_of_run("eval.every=0", 6);
    for (int i = 0; i < 6; i++) {
        const struct record *a = feed_record(with, i), *b = feed_record(without, i);
        for (size_t k = 0; k < sizeof checked / sizeof *checked; k++) {
            assert_true(a->present >> checked[k] & 1 || i == 0); // no episode ends in the first
            assert_true(!(a->present >> checked[k] & 1) ||
                        a->value[checked[k]] == b->value[checked[k]]);
        }
        assert_true(a->present >> METRIC_EVAL_MEAN_RETURN & 1);
        assert_false(b->present >> METRIC_EVAL_MEAN_RETURN & 1);
    }
    feed_free(with);
    feed_free(without);
}

// ---- the log's validator

static const char *const required[] = {
    "opt_steps",  "env_steps",    "sps",        "wall_time_s",  "reward_mean",
    "done_rate",  "trunc_rate",   "reset_rate", "dist_p10",     "dist_p50",
    "dist_p90",   "entropy_mean", "value_mean", "value_std",    "action_hist",
    "loss_total", "loss_policy",  "loss_value", "loss_entropy", "entropy",
    "approx_kl",  "clipfrac",     "kl_k3",      "grad_norm",    "explained_variance",
    "lr",         "grad_steps",   "episodes",   "env_ms",       "policy_ms",
    "update_ms",  "updates_per_s"};
enum { N_REQUIRED = sizeof required / sizeof *required };

static void rejected(const struct ppo_log_shape *shape, const cJSON *record, const char *key,
                     const char *how) {
    struct error e = {0};
    if (ppo_log_check_record(record, shape, "log", &e)) fail_msg("%s %s was accepted", key, how);
    if (!strstr(e.message, key)) fail_msg("%s %s gives: %s", key, how, e.message);
}

static void replace(cJSON *record, const char *key, cJSON *with) {
    cJSON_DeleteItemFromObjectCaseSensitive(record, key);
    if (with) cJSON_AddItemToObject(record, key, with);
}

static void the_validator_takes_the_log_and_rejects_each_broken_key(void **state) {
    (void)state;
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s;
    struct error e = {0};
    struct run_opts o = options(root, 4);
    must_run(&o, &s);
    int64_t n = 0;
    if (!ppo_log_check_session(s.session, &n, &e)) fail_msg("%s", e.message);
    assert_int_equal(n, 4);
    struct ppo_log_shape shape;
    cJSON *good = ppo_log_read_record(s.session, 1, &shape, &e);
    if (!good || !ppo_log_check_record(good, &shape, "log", &e)) fail_msg("%s", e.message);
    assert_true(shape.n_envs == 6 && shape.n_steps == 8 && shape.n_actions == 7);
    for (int i = 0; i < N_REQUIRED; i++) {
        cJSON *broken = cJSON_Duplicate(good, true);
        replace(broken, required[i], NULL);
        rejected(&shape, broken, required[i], "missing");
        replace(broken, required[i], cJSON_CreateString("NaN"));
        rejected(&shape, broken, required[i], "not finite");
        replace(broken, required[i], cJSON_CreateBool(true));
        rejected(&shape, broken, required[i], "of another type");
        cJSON_Delete(broken);
    }
    static const struct {
        const char *key;
        double value;
    } ranges[] = {{"done_rate", 1.5},
                  {"trunc_rate", 1.5},
                  {"trunc_rate", -0.1},
                  {"done_rate", -0.1},
                  {"reset_rate", 2},
                  {"clipfrac", -1},
                  {"kl_k3", -0.5},
                  {"dist_p50", 1.1},
                  {"entropy", 5},
                  {"entropy_mean", -1},
                  {"value_std", -1},
                  {"lr", -1},
                  {"opt_steps", 1.5},
                  {"env_steps", 7},
                  {"sps", -3},
                  {"explained_variance", 1.5},
                  {"grad_norm", -1},
                  {"grad_steps", 0.5},
                  {"eval_success_rate", 1.2}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        cJSON *broken = cJSON_Duplicate(good, true);
        replace(broken, ranges[i].key, cJSON_CreateNumber(ranges[i].value));
        rejected(&shape, broken, ranges[i].key, "out of range");
        cJSON_Delete(broken);
    }
    // Keys of ended episodes and of evaluations: missing, though others say that there were some.
    static const char *const due[] = {
        "return_mean",         "length_mean",      "success_rate",
        "eval_success_rate",   "eval_mean_return", "eval_return_mean_fail",
        "eval_median_steps",   "eval_steps_p50",   "eval_return_mean_success",
        "eval_dist_at_end_p50"};
    for (size_t i = 0; i < sizeof due / sizeof *due; i++) {
        cJSON *broken = cJSON_Duplicate(good, true);
        replace(broken, "eval_success_rate", cJSON_CreateNumber(0.5)); // of both kinds
        replace(broken, "eval_median_steps", cJSON_CreateNumber(7));
        replace(broken, "eval_steps_p50", cJSON_CreateNumber(7));
        replace(broken, "eval_return_mean_success", cJSON_CreateNumber(1));
        if (!ppo_log_check_record(broken, &shape, "log", &e)) fail_msg("%s", e.message);
        replace(broken, due[i], NULL);
        rejected(&shape, broken, due[i], "missing");
        replace(broken, due[i], cJSON_CreateBool(true));
        rejected(&shape, broken, due[i], "of another type");
        cJSON_Delete(broken);
    }
    static const char *const histograms[] = {"[48,0,0,0,0,0]", "[47,0,0,0,0,0,0]",
                                             "[49,-1,0,0,0,0,0]", "[47.5,0.5,0,0,0,0,0]",
                                             "[\"48\",0,0,0,0,0,0]"};
    for (size_t i = 0; i < sizeof histograms / sizeof *histograms; i++) {
        cJSON *broken = cJSON_Duplicate(good, true);
        replace(broken, "action_hist", cJSON_Parse(histograms[i]));
        rejected(&shape, broken, "action_hist", histograms[i]);
        cJSON_Delete(broken);
    }
    cJSON_Delete(good);
}

static void the_validator_rejects_a_meta_file_without_each_of_its_keys(void **state) {
    (void)state;
    static const char *const keys[] = {
        "algo",    "task",     "rom",    "seed",      "frames_per_step", "release_after", "kernel",
        "created", "revision", "schema", "n_weights", "config_sha256",   "version"};
    char root[PATH_SIZE], path[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s;
    struct error e = {0};
    struct run_opts o = options(root, 1);
    must_run(&o, &s);
    snprintf(path, sizeof path, "%s/meta.json", s.session);
    cJSON *meta = json_read_file(path, 1 << 20, &e);
    assert_true(ppo_log_check_meta(meta, "meta.json", &e));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        cJSON *broken = cJSON_Duplicate(meta, true);
        replace(broken, keys[i], NULL);
        assert_false(ppo_log_check_meta(broken, "meta.json", &e));
        assert_non_null(strstr(e.message, keys[i]));
        cJSON_Delete(broken);
    }
    cJSON_Delete(meta);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(annealing_lowers_the_recorded_learning_rate),
        cmocka_unit_test(rates_are_means_over_the_transitions_of_a_rollout),
        cmocka_unit_test(a_saved_policy_plays_as_it_did_in_training),
        cmocka_unit_test(a_greedy_evaluation_is_recorded_every_so_many_updates),
        cmocka_unit_test(the_reward_of_a_goal_is_what_the_keys_say),
        cmocka_unit_test(an_evaluation_comes_with_the_next_record_that_is_written),
        cmocka_unit_test(evaluations_change_nothing_else_of_a_run),
        cmocka_unit_test(the_validator_takes_the_log_and_rejects_each_broken_key),
        cmocka_unit_test(the_validator_rejects_a_meta_file_without_each_of_its_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
