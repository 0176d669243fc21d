// PPO runs end to end: determinism, stop and resume, failure folder, refusals.
#define _GNU_SOURCE
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/algo/ppo/ppo_log.h"
#include "engine/data/session.h"
#include "engine/run/eval/eval.h"
#include "engine/run/worker/worker.h"
#include "support/small_run.h"

static const char *const small[] = {
    "env.num_envs=6",    "algo.rollout_steps=8", "algo.minibatches=3", "env.max_episode_steps=9",
    "algo.init=uniform", "eval.every=2",         "eval.episodes=3",    "checkpoint.every=2"};
enum { N_SMALL = sizeof small / sizeof *small, MORE = N_SMALL + 4 };

static struct run_opts options(const char *root, int64_t updates) {
    return (struct run_opts){.algo = "ppo",
                             .task = "toy",
                             .updates = updates,
                             .n_threads = 1,
                             .no_media = true,
                             .sessions_dir = root,
                             .settings = small,
                             .n_settings = N_SMALL};
}

static enum status run(const struct run_opts *opts, struct worker_summary *s, struct error *e) {
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(opts, feed, e);
    enum status status = w ? worker_run(w, e) : e->status;
    if (w && s) worker_summary(w, s);
    if (w && status == STATUS_OK && !opts->no_session && !worker_verify_checkpoint(w, e))
        status = STATUS_FAILED;
    worker_free(w);
    feed_free(feed);
    return status;
}

static void must_run(const struct run_opts *opts, struct worker_summary *s) {
    struct error e = {0};
    if (run(opts, s, &e) != STATUS_OK) fail_msg("%s", e.message);
}

static void read_all(const char *folder, const char *name, uint8_t **data, size_t *n) {
    struct error e = {0};
    char path[PATH_SIZE];
    if (!path_join(path, folder, name, &e) || !file_read(path, 1 << 28, data, n, &e))
        fail_msg("%s", e.message);
}

static void the_same_seed_gives_the_same_bytes_whatever_the_threads(void **state) {
    (void)state;
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s[2];
    for (int i = 0; i < 2; i++) {
        struct run_opts o = options(root, 4);
        o.n_threads = i ? 3 : 1;
        must_run(&o, &s[i]);
    }
    assert_same_file(s[0].session, s[1].session, "metrics.jsonl");
    assert_same_file(s[0].session, s[1].session, "checkpoints/step_000000004.safetensors");
    assert_int_equal(s[0].opt_steps, 4);
    assert_int_equal(s[0].env_steps, 4 * 48);
    assert_true(s[0].all_finite && s[0].episodes > 0 && strcmp(s[0].algo, "ppo") == 0);
}

// Resumed at update 2 of 6, in an episode and with a rollout cut off.
static void resume_equals_an_uninterrupted_run(const char *task) {
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary whole, part;
    struct run_opts o = options(root, 6);
    o.task = task;
    must_run(&o, &whole);
    o.updates = 2;
    must_run(&o, &part);
    struct run_opts again = {
        .resume = part.session, .updates = 6, .n_threads = 1, .no_media = true};
    struct worker_summary resumed;
    must_run(&again, &resumed);
    assert_string_equal(resumed.session, part.session);
    assert_int_equal(resumed.opt_steps, 6);
    assert_same_file(whole.session, part.session, "metrics.jsonl");
    assert_same_file(whole.session, part.session, "checkpoints/step_000000006.safetensors");
}

static void a_resumed_toy_run_equals_an_uninterrupted_one(void **state) {
    (void)state;
    resume_equals_an_uninterrupted_run("toy");
}

static void a_resumed_game_boy_run_equals_an_uninterrupted_one(void **state) {
    (void)state;
    if (SANITIZED) skip();
    resume_equals_an_uninterrupted_run("exit_lab");
}

// More environments than a checkpoint takes: their episodes begin anew, the count of steps goes on.
static void a_resumed_run_of_many_environments_counts_on(void **state) {
    (void)state;
    const char *settings[MORE];
    memcpy(settings, small, sizeof small);
    settings[N_SMALL] = "env.num_envs=258";
    settings[N_SMALL + 1] = "algo.rollout_steps=2";
    struct run_opts o = options(test_folder(), 2);
    o.settings = settings;
    o.n_settings = N_SMALL + 2;
    struct worker_summary first, resumed;
    must_run(&o, &first);
    assert_int_equal(first.env_steps, 2 * 2 * 258);
    struct run_opts again = {
        .resume = first.session, .updates = 3, .n_threads = 1, .no_media = true};
    must_run(&again, &resumed);
    assert_int_equal(resumed.opt_steps, 3);
    assert_int_equal(resumed.env_steps, 3 * 2 * 258);
}

// Going back to an older checkpoint cuts the records after it off.
static void resume_from_an_older_checkpoint_plays_the_same_again(void **state) {
    (void)state;
    char root[PATH_SIZE], checkpoint[PATH_SIZE];
    struct error e = {0};
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s;
    struct run_opts o = options(root, 6);
    must_run(&o, &s);
    uint8_t *before, *after;
    size_t n, m;
    read_all(s.session, "metrics.jsonl", &before, &n);
    assert_true(path_join(checkpoint, s.session, "checkpoints/step_000000004.safetensors", &e));
    struct run_opts again = {.resume = checkpoint, .updates = 6, .n_threads = 1, .no_media = true};
    must_run(&again, NULL);
    read_all(s.session, "metrics.jsonl", &after, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
}

static void refuse(const struct run_opts *o, const char *word) {
    struct error e = {0};
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(o, feed, &e);
    if (w) fail_msg("accepted; expected \"%s\"", word);
    assert_int_equal(e.status, STATUS_USAGE);
    if (!strstr(e.message, word)) fail_msg("'%s' has no '%s'", e.message, word);
    feed_free(feed);
}

static void a_resume_with_another_network_or_game_is_refused(void **state) {
    (void)state;
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s;
    struct run_opts o = options(root, 1);
    must_run(&o, &s);
    static const char *const stack[] = {"env.frame_stack=2"},
                             *const codec[] = {"env.action_codec=v1"},
                             *const envs[] = {"env.num_envs=12"};
    struct run_opts again = {.resume = s.session, .updates = 2, .n_threads = 1, .n_settings = 1};
    again.settings = stack, refuse(&again, "env.frame_stack is 4 there, not 2");
    again.settings = codec, refuse(&again, "env.action_codec is v0 there, not v1");
    again.settings = envs, refuse(&again, "env.num_envs is 6 there, not 12");
    again.n_settings = 0;
    again.task = "exit_lab";
    refuse(&again, "cannot change");
}

static void options_that_ppo_cannot_honour_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"algo.horizon=10"}, *const odd[] = {"algo.minibatches=7"};
    struct run_opts o = {.algo = "ppo", .updates = 1, .no_session = true, .n_threads = 1};
    o.mode = "standing_still", refuse(&o, "--mode standing_still"), o.mode = NULL;
    o.preset = "tiny", refuse(&o, "--preset tiny"), o.preset = NULL;
    o.task = "sprites", refuse(&o, "scene without a goal"), o.task = NULL;
    o.task = "nowhere", refuse(&o, "no such task; known: toy"), o.task = NULL;
    o.rom_path = "game.gb", refuse(&o, "PPO needs a goal"), o.rom_path = NULL;
    o.settings = wrong, o.n_settings = 1, refuse(&o, "unknown config key 'algo.horizon'");
    o.settings = odd, refuse(&o, "algo.minibatches=7 does not divide");
    o.algo = "sarsa", o.n_settings = 0, refuse(&o, "no such algorithm; known: dreamer_v3, ppo");
}

static void a_loss_that_is_not_finite_leaves_a_failure_folder_and_an_error(void **state) {
    (void)state;
    char root[PATH_SIZE], path[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    const char *settings[MORE];
    memcpy(settings, small, sizeof small);
    settings[N_SMALL] = "algo.vf_coef=1e300"; // the value loss overflows a float
    struct run_opts o = options(root, 3);
    o.settings = settings;
    o.n_settings = N_SMALL + 1;
    struct worker_summary s;
    struct error e = {0};
    assert_int_equal(run(&o, &s, &e), STATUS_FAILED);
    assert_non_null(strstr(e.message, "not finite"));
    assert_false(s.all_finite);
    static const char *const files[] = {"failure.json", "before.safetensors",
                                        "minibatch.safetensors", "config.json",
                                        "last_metrics.jsonl"};
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/failures/step_000000001/%s", s.session, files[i]);
        if (!file_exists(path)) fail_msg("%s is missing", path);
    }
    snprintf(path, sizeof path, "%s/failures/step_000000001/failure.json", s.session);
    cJSON *report = json_read_file(path, 1 << 20, &e);
    const char *command;
    assert_non_null(report);
    assert_true(json_get_string(report, "command", path, &command, &e));
    assert_non_null(strstr(command, "--algo ppo --task toy"));
    assert_non_null(strstr(command, "algo.vf_coef="));
    cJSON_Delete(report);
}

// Whether a line with these words was written since.
static bool was_said(int64_t from, const char *words, struct log_line *out) {
    for (int64_t i = from; i < log_count(); i++)
        if (log_read(i, out) && strstr(out->text, words)) return true;
    return false;
}

// A full disk, played by a limit on the size of files.
static void when_the_disk_is_full_the_old_checkpoints_stay_and_the_run_goes_on(void **state) {
    (void)state;
    char path[PATH_SIZE];
    struct rlimit before, tiny;
    struct error e = {0};
    struct worker_summary s;
    struct log_line line;
    struct run_opts o = options(test_folder(), 2);
    must_run(&o, &s);
    getrlimit(RLIMIT_FSIZE, &before);
    tiny = before;
    tiny.rlim_cur = 1 << 20;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    const int64_t from = log_count();
    struct run_opts again = {.resume = s.session, .updates = 6, .n_threads = 1, .no_media = true};
    setrlimit(RLIMIT_FSIZE, &tiny);
    const enum status status = run(&again, &s, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, old);
    assert_true(was_said(from, "no checkpoint at update 4", &line));
    assert_int_equal(s.opt_steps, 6); // it went on
    assert_int_equal(status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "step_000000006"));
    snprintf(path, sizeof path, "%.190s/checkpoints/step_000000002.safetensors", s.session);
    assert_true(file_exists(path));
    again.updates = 3;
    must_run(&again, NULL); // the old one still carries the run on
}

// The records of a run without files; `setting` comes last and holds.
static struct feed *feed_of_run(const char *setting, int64_t updates) {
    const char *settings[MORE];
    memcpy(settings, small, sizeof small);
    settings[N_SMALL] = setting;
    struct run_opts o = options(NULL, updates);
    o.no_session = true;
    o.settings = settings;
    o.n_settings = N_SMALL + (setting != NULL);
    struct feed *feed = feed_new(0);
    worker_free(run_and_keep(&o, feed));
    assert_int_equal(feed_n_records(feed), updates);
    return feed;
}

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

// ---- memory

// Resident memory of this process, bytes.
static double resident(void) {
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d %lld", &pages), 1);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void a_run_says_first_how_much_memory_it_will_take(void **state) {
    (void)state;
    if (SANITIZED) skip(); // their shadow memory counts
    static const char *const big[] = {"env.num_envs=64", "algo.rollout_steps=32"};
    struct run_opts o = options(NULL, 1);
    struct error e = {0};
    struct log_line line;
    o.no_session = true;
    o.settings = big;
    o.n_settings = 2;
    const double before = resident();
    const int64_t first = log_count();
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&o, feed, &e);
    assert_non_null(w);
    assert_true(was_said(first, "about ", &line));
    const double megabytes = atof(strstr(line.text, "about ") + 6);
    assert_int_equal(worker_run(w, &e), STATUS_OK);
    const double taken = (resident() - before) / 1e6;
    print_message("memory: %.0f MB said, %.0f MB taken\n", megabytes, taken);
    assert_true(fabs(megabytes - taken) < 0.1 * taken + 5); // the allocator's, thread stacks
    assert_false(was_said(first, "more than this machine's", &line));
    worker_free(w);
    feed_free(feed);
}

// Full batches of half a million samples; nothing is touched before the first update.
static void a_run_that_does_not_fit_the_machine_is_warned_of(void **state) {
    (void)state;
    if (SANITIZED) skip();
    static const char *const huge[] = {"env.num_envs=4096", "algo.minibatches=1"};
    struct run_opts o = options(NULL, 1);
    struct error e = {0};
    struct log_line line;
    o.no_session = true;
    o.settings = huge;
    o.n_settings = 2;
    const int64_t first = log_count();
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&o, feed, &e);
    if (!w) fail_msg("%s", e.message);
    assert_true(was_said(first, "more than this machine's", &line));
    assert_int_equal(line.level, LOG_WARN);
    worker_free(w);
    feed_free(feed);
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
        cmocka_unit_test(the_same_seed_gives_the_same_bytes_whatever_the_threads),
        cmocka_unit_test(a_resumed_toy_run_equals_an_uninterrupted_one),
        cmocka_unit_test(a_resumed_game_boy_run_equals_an_uninterrupted_one),
        cmocka_unit_test(a_resumed_run_of_many_environments_counts_on),
        cmocka_unit_test(resume_from_an_older_checkpoint_plays_the_same_again),
        cmocka_unit_test(a_resume_with_another_network_or_game_is_refused),
        cmocka_unit_test(options_that_ppo_cannot_honour_are_refused),
        cmocka_unit_test(a_loss_that_is_not_finite_leaves_a_failure_folder_and_an_error),
        cmocka_unit_test(when_the_disk_is_full_the_old_checkpoints_stay_and_the_run_goes_on),
        cmocka_unit_test(annealing_lowers_the_recorded_learning_rate),
        cmocka_unit_test(rates_are_means_over_the_transitions_of_a_rollout),
        cmocka_unit_test(a_saved_policy_plays_as_it_did_in_training),
        cmocka_unit_test(a_greedy_evaluation_is_recorded_every_so_many_updates),
        cmocka_unit_test(the_reward_of_a_goal_is_what_the_keys_say),
        cmocka_unit_test(an_evaluation_comes_with_the_next_record_that_is_written),
        cmocka_unit_test(evaluations_change_nothing_else_of_a_run),
        cmocka_unit_test(a_run_says_first_how_much_memory_it_will_take),
        cmocka_unit_test(a_run_that_does_not_fit_the_machine_is_warned_of),
        cmocka_unit_test(the_validator_takes_the_log_and_rejects_each_broken_key),
        cmocka_unit_test(the_validator_rejects_a_meta_file_without_each_of_its_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
