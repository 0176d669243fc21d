// The worker end to end: determinism, schedule, commands, failure folder, refusals, memory.
#include <dirent.h>
#include <math.h>
#include <malloc.h>
#include <sys/resource.h>
#include <signal.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/data/session.h"
#include "engine/run/worker/worker.h"
#include "support/small_run.h"

static const char *const quick[] = {
    "algo.learning_starts=40",
#if SANITIZED // an instrumented update of the whole batch takes a second
    "algo.per_rank_batch_size=2",
    "algo.per_rank_sequence_length=8",
#endif
};
enum { N_QUICK = sizeof quick / sizeof *quick };

static struct run_opts options(const char *task, int64_t updates) {
    return (struct run_opts){.task = task,
                             .updates = updates,
                             .n_threads = 1,
                             .no_media = true,
                             .settings = quick,
                             .n_settings = N_QUICK};
}

static void same_seed_gives_the_same_bytes_whatever_the_threads(void **state) {
    (void)state;
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    struct worker_summary s[3];
    for (int i = 0; i < 3; i++) {
        struct error e = {0};
        struct run_opts o = options("sprites", 6);
        o.sessions_dir = root;
        o.n_threads = i == 0 ? 1 : i + 1;
        if (run_worker(&o, &s[i], &e) != STATUS_OK) fail_msg("%s", e.message);
    }
    for (int i = 1; i < 3; i++) {
        assert_same_file(s[0].session, s[i].session, "metrics.jsonl");
        assert_same_file(s[0].session, s[i].session, "checkpoints/step_000000006.safetensors");
        assert_same_file(s[0].session, s[i].session, "config.json");
    }
}

static void another_seed_gives_other_numbers(void **state) {
    (void)state;
    struct worker_summary a, b;
    struct error e = {0};
    struct run_opts o = options("static", 2);
    o.no_session = true;
    assert_int_equal(run_worker(&o, &a, &e), STATUS_OK);
    o.seed = "7";
    assert_int_equal(run_worker(&o, &b, &e), STATUS_OK);
    assert_true(a.first_obs_nll != b.first_obs_nll);
}

// Without its latent and without learning, a model's loss tells the pictures of a batch: over six
// batches it differs by 1 %, by 0.06 % where the same rows are drawn every time.
static void every_update_learns_from_another_batch(void **state) {
    (void)state;
    if (SANITIZED) skip(); // a long prefill
    static const char *const still[] = {"algo.learning_starts=400",
                                        "algo.world_model.optimizer.lr=1e-12"};
    struct error e = {0};
    double least = INFINITY, most = 0;
    struct feed *feed = feed_new(0);
    struct run_opts o = options("sprites", 6);
    o.no_session = true;
    o.zero_latent = true;
    o.settings = still;
    o.n_settings = 2;
    struct worker *w = worker_new(&o, feed, &e);
    assert_non_null(w);
    assert_int_equal(worker_run(w, &e), STATUS_OK);
    assert_int_equal(feed_n_records(feed), 6);
    for (int i = 0; i < 6; i++) {
        const double loss = (double)feed_record(feed, i)->value[METRIC_OBS_NLL];
        least = fmin(least, loss);
        most = fmax(most, loss);
    }
    if (!(most - least > 0.003 * least)) fail_msg("losses from %g to %g", least, most);
    worker_free(w);
    feed_free(feed);
}

static void one_update_per_policy_step_after_the_prefill(void **state) {
    (void)state;
    struct worker_summary s;
    struct error e = {0};
    struct run_opts o = options("static", 5);
    o.no_session = true;
    assert_int_equal(run_worker(&o, &s, &e), STATUS_OK);
    assert_int_equal(s.opt_steps, 5);
    assert_int_equal(s.env_steps,
                     40 +
                         5); // the first update is due after policy step 40 and runs beside step 41
    o.updates = 0;
    o.env_steps = 50;
    assert_int_equal(run_worker(&o, &s, &e), STATUS_OK);
    assert_int_equal(s.env_steps, 50);
    assert_int_equal(s.opt_steps, 50 - 40 + 1);
}

static void a_loss_that_is_not_finite_stops_the_run_with_a_failure_folder(void **state) {
    (void)state;
    struct worker_summary s;
    struct error e = {0};
    const char *const overflow[] = {"algo.learning_starts=40",
                                    "algo.world_model.kl_regularizer=1e39"};
    struct run_opts o = options("static", 5);
    o.sessions_dir = test_folder();
    o.settings = overflow;
    o.n_settings = 2;
    assert_int_equal(run_worker(&o, &s, &e), STATUS_FAILED);
    assert_non_null(strstr(e.message, "not finite"));
    assert_false(s.all_finite);
    assert_int_equal(s.opt_steps, 0);
    static const char *const files[] = {"failure.json", "batch.safetensors", "before.safetensors",
                                        "config.json", "last_metrics.jsonl"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s/failures/step_000000001/%s", s.session, files[i]);
        if (!file_exists(path)) fail_msg("%s is missing", path);
    }
    char path[PATH_SIZE];
    const char *node;
    snprintf(path, sizeof path, "%s/failures/step_000000001/failure.json", s.session);
    cJSON *json = json_read_file(path, 1 << 20, &e);
    assert_non_null(json);
    assert_true(json_get_string(json, "bad_node", path, &node, &e));
    assert_true(node[0] != 0);
    const char *command;
    assert_true(json_get_string(json, "command", path, &command, &e));
    assert_non_null(strstr(command, "--task 'static'"));
    assert_non_null(strstr(command, " algo.learning_starts=40 "));
    assert_non_null(strstr(command, " algo.world_model.kl_regularizer=1e+39 "));
    assert_non_null(strstr(command, "--updates 1"));
    cJSON_Delete(json);
    struct session_data *d = session_read(s.session, &e);
    assert_non_null(d);
    assert_string_equal(cJSON_GetObjectItem(d->heartbeat, "state")->valuestring, "failed");
    session_data_free(d);
}

// Waits until the feed's phase is `phase`; fails after 20 s.
static const struct feed_status *await_phase(struct feed *feed, enum feed_phase phase) {
    int64_t deadline = clock_now_ns() + 20000000000;
    for (;;) {
        const struct feed_status *s = feed_status(feed);
        if (s->phase == phase) return s;
        if (clock_now_ns() > deadline)
            fail_msg("phase is %s, not %s", feed_phase_names[s->phase], feed_phase_names[phase]);
        clock_sleep_ns(2000000);
    }
}

static void pause_single_update_checkpoint_and_stop_are_obeyed(void **state) {
    (void)state;
    struct error e = {0};
    struct feed *feed = feed_new(0);
    struct control *c = feed_control(feed);
    struct run_opts o = options("static", 0);
    o.sessions_dir = test_folder();
    struct worker *w = worker_new(&o, feed, &e);
    if (!w) fail_msg("%s", e.message);
    control_pause(c, true);
    worker_start(w);
    assert_int_equal(await_phase(feed, PHASE_PAUSED)->opt_steps, 0);
    control_single_update(c);
    int64_t deadline = clock_now_ns() + 20000000000;
    while (feed_n_records(feed) < 1 && clock_now_ns() < deadline) clock_sleep_ns(2000000);
    clock_sleep_ns(300000000);
    assert_int_equal(feed_n_records(feed), 1);
    assert_int_equal(await_phase(feed, PHASE_PAUSED)->opt_steps, 1);
    control_checkpoint(c);
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/checkpoints/step_000000001.safetensors",
             feed_status(feed)->session);
    while (!file_exists(path) && clock_now_ns() < deadline) clock_sleep_ns(2000000);
    assert_true(file_exists(path));
    control_stop(c);
    assert_int_equal(worker_join(w, &e), STATUS_OK);
    assert_int_equal(feed_status(feed)->phase, PHASE_DONE);
    assert_true(worker_verify_checkpoint(w, &e));
    worker_free(w);
    feed_free(feed);
}

static struct worker *start_paused(struct feed *feed, const char *const settings[2]) {
    struct error e = {0};
    struct run_opts o = options("static", 0);
    o.no_session = true;
    o.settings = settings;
    o.n_settings = 2;
    struct worker *w = worker_new(&o, feed, &e);
    if (!w) fail_msg("%s", e.message);
    control_pause(feed_control(feed), true);
    worker_start(w);
    int64_t before = await_phase(feed, PHASE_PAUSED)->env_steps;
    clock_sleep_ns(300000000);
    assert_int_equal(feed_status(feed)->env_steps, before);
    return w;
}

static void stop_and_free(struct worker *w, struct feed *feed) {
    struct error e = {0};
    control_stop(feed_control(feed));
    assert_int_equal(worker_join(w, &e), STATUS_OK);
    worker_free(w);
    feed_free(feed);
}

static void a_pause_holds_where_no_update_is_ever_due(void **state) {
    (void)state;
    static const char *const none[] = {"algo.learning_starts=40", "algo.replay_ratio=0"};
    struct feed *feed = feed_new(0);
    struct worker *w = start_paused(feed, none);
    control_single_update(feed_control(feed)); // cannot be done: must not let the run go
    int64_t before = feed_status(feed)->env_steps;
    clock_sleep_ns(300000000);
    assert_int_equal(feed_status(feed)->env_steps, before);
    stop_and_free(w, feed);
}

// One update in 20 policy steps: a single update takes the steps it needs, then the pause holds
// again.
static void a_single_update_runs_to_the_next_one_that_is_due(void **state) {
    (void)state;
    static const char *const rare[] = {"algo.learning_starts=40", "algo.replay_ratio=0.05"};
    struct feed *feed = feed_new(0);
    struct worker *w = start_paused(feed, rare);
    control_single_update(feed_control(feed));
    int64_t deadline = clock_now_ns() + 20000000000;
    while (feed_n_records(feed) < 1 && clock_now_ns() < deadline) clock_sleep_ns(2000000);
    clock_sleep_ns(300000000);
    assert_int_equal(feed_n_records(feed), 1);
    assert_int_equal(await_phase(feed, PHASE_PAUSED)->opt_steps, 1);
    stop_and_free(w, feed);
}

// The prefill runs hundreds of steps a second: none of it may show as the speed of training.
static void the_first_rates_are_those_of_training_not_of_the_prefill(void **state) {
    (void)state;
    if (SANITIZED) skip(); // measures rates
    static const char *const long_prefill[] = {"algo.learning_starts=1000"};
    struct error e = {0};
    struct feed *feed = feed_new(0);
    struct run_opts o = options("static", 30);
    o.no_session = true;
    o.settings = long_prefill;
    o.n_settings = 1;
    struct worker *w = worker_new(&o, feed, &e);
    assert_non_null(w);
    assert_int_equal(worker_run(w, &e), STATUS_OK);
    int n_known = 0;
    for (int64_t i = 0; i < feed_n_records(feed); i++) {
        const struct record *r = feed_record(feed, i);
        if (!(r->present >> METRIC_SPS & 1)) continue;
        n_known++;
        // replay_ratio 1: one policy step an update, and at most one more of either at the window's
        // ends
        assert_true((double)r->value[METRIC_SPS] <= 2.01 * (double)r->value[METRIC_TRAIN_SPS]);
    }
    assert_true(n_known > 0);
    worker_free(w);
    feed_free(feed);
}

static void pictures_show_the_emulators_frame_and_a_rollout(void **state) {
    (void)state;
    struct error e = {0};
    struct feed *feed = feed_new(0);
    struct run_opts o = options("static", 3);
    o.no_session = true;
    struct worker *w = worker_new(&o, feed, &e);
    assert_non_null(w);
    assert_int_equal(worker_run(w, &e), STATUS_OK);
    const struct feed_pictures *p = feed_pictures(feed);
    assert_non_null(p);
    assert_int_equal(p->n_rollout, FEED_ROLLOUT);
    bool shades[4] = {false, false, false, false};
    for (int i = 0; i < FEED_PIXELS; i++) {
        assert_int_equal(p->real[i] % 85, 0);
        shades[p->real[i] / 85] = true;
        assert_int_equal(p->error[i], abs(p->real[i] - p->reconstruction[i]));
    }
    for (int k = 0; k < 4; k++) assert_true(shades[k]);
    for (int i = 1; i < FEED_ROLLOUT; i++)
        assert_memory_equal(p->truth[i], p->truth[0], FEED_PIXELS); // a still scene
    worker_free(w);
    feed_free(feed);
}

// The bar of docs/validation.md (loss against the mean picture) measures whether the latent carries
// the scene: a model without it cannot beat the mean picture. A larger learning rate than the
// default keeps the test short.
static void a_model_without_its_latent_cannot_beat_the_mean_picture(void **state) {
    (void)state;
    if (SANITIZED) skip(); // 1,000 updates
    const char *const fast[] = {"algo.world_model.optimizer.lr=1e-3", "algo.profile=official",
                                "algo.optimizer.warmup=0"};
    for (int official = 0; official < 2; official++) {
        struct worker_summary with = {0}, without = {0};
        struct error e = {0};
        struct run_opts o = options("scroll", official ? 200 : 300);
        o.no_session = true;
        o.n_threads = 2;
        o.settings = fast;
        o.n_settings = official ? 3 : 1;
        assert_int_equal(run_worker(&o, &with, &e), STATUS_OK);
        o.zero_latent = true;
        assert_int_equal(run_worker(&o, &without, &e), STATUS_OK);
        if (!(with.last_obs_nll < 0.45 * with.mean_picture_loss &&
              without.last_obs_nll > 0.95 * without.mean_picture_loss))
            fail_msg("official %d: %g with and %g without the latent, mean picture %g", official,
                     with.last_obs_nll, without.last_obs_nll, with.mean_picture_loss);
    }
}

// ---- refusals

struct refusal {
    struct run_opts opts;
    enum status status;
    const char *says;
};

static void bad_options_are_refused_in_one_line(void **state) {
    (void)state;
    char folder[PATH_SIZE], empty[PATH_SIZE + 16], cut[PATH_SIZE + 16],
        file_as_folder[PATH_SIZE + 32];
    struct error e = {0};
    static const char *const unknown[] = {"algo.horizn=3"}, *const range[] = {"env.num_envs=0"};
    static const char *const no_updates[] = {"algo.replay_ratio=0"};
    snprintf(folder, sizeof folder, "%s", test_folder());
    snprintf(empty, sizeof empty, "%s/empty.gb", folder);
    snprintf(cut, sizeof cut, "%s/cut.gb", folder);
    snprintf(file_as_folder, sizeof file_as_folder, "%s/sessions", empty);
    assert_true(file_write_atomic(empty, "", 0, &e) &&
                file_write_atomic(cut, "not a cartridge", 15, &e));
    struct refusal cases[] = {
        {{.task = "tetris"}, STATUS_USAGE, "static, scroll, sprites"},
        {{.task = "static", .rom_path = "x.gb"}, STATUS_USAGE, "exclude"},
        {{.rom_path = "/nowhere/x.gb"}, STATUS_USAGE, "/nowhere/x.gb"},
        {{.rom_path = empty}, STATUS_FAILED, "empty.gb"},
        {{.rom_path = cut}, STATUS_FAILED, "cut.gb"},
        {{.preset = "huge"}, STATUS_USAGE, "tiny"},
        {{.algo = "sac"}, STATUS_USAGE, "dreamer_v3"},
        {{.mode = "fully"}, STATUS_USAGE, "standing_still, full"},
        {{.device = "cuda"}, STATUS_FAILED, "cuda"},
        {{.device = "abacus"}, STATUS_USAGE, "abacus"},
        {{.n_threads = 1000}, STATUS_USAGE, "--threads"},
        {{.seed = "-3"}, STATUS_USAGE, "seed"},
        {{.settings = unknown, .n_settings = 1}, STATUS_USAGE, "algo.horizn"},
        {{.settings = range, .n_settings = 1}, STATUS_USAGE, "env.num_envs"},
        {{.updates = 3, .settings = no_updates, .n_settings = 1},
         STATUS_USAGE,
         "algo.replay_ratio=0"},
        {{.task = "static", .sessions_dir = file_as_folder}, STATUS_USAGE, "empty.gb"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error why = {0};
        struct feed *feed = feed_new(0);
        struct worker *w = worker_new(&cases[i].opts, feed, &why);
        if (w) fail_msg("case %zu was accepted", i);
        if (!strstr(why.message, cases[i].says)) fail_msg("case %zu says: %s", i, why.message);
        if (why.status != cases[i].status)
            fail_msg("case %zu: status %d: %s", i, why.status, why.message);
        assert_null(strchr(why.message, '\n'));
        feed_free(feed);
    }
}

// A full disk, played by a limit on the size of files.
static void a_full_disk_stops_the_run_in_one_line(void **state) {
    (void)state;
    struct rlimit before, small;
    struct error e = {0};
    struct worker_summary s;
    struct run_opts o = options("static", 200);
    o.sessions_dir = test_folder();
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 8192;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    enum status status = run_worker(&o, &s, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, old);
    assert_int_equal(status, STATUS_FAILED);
    assert_non_null(strstr(e.message, "jsonl"));
    struct session_data *d = session_read(s.session, &e);
    if (!d) fail_msg("%s", e.message);
    assert_false(d->last_line_cut); // what did not fit is cut off again
    session_data_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_gives_the_same_bytes_whatever_the_threads),
        cmocka_unit_test(another_seed_gives_other_numbers),
        cmocka_unit_test(every_update_learns_from_another_batch),
        cmocka_unit_test(one_update_per_policy_step_after_the_prefill),
        cmocka_unit_test(a_loss_that_is_not_finite_stops_the_run_with_a_failure_folder),
        cmocka_unit_test(pause_single_update_checkpoint_and_stop_are_obeyed),
        cmocka_unit_test(a_pause_holds_where_no_update_is_ever_due),
        cmocka_unit_test(a_single_update_runs_to_the_next_one_that_is_due),
        cmocka_unit_test(the_first_rates_are_those_of_training_not_of_the_prefill),
        cmocka_unit_test(pictures_show_the_emulators_frame_and_a_rollout),
        cmocka_unit_test(a_model_without_its_latent_cannot_beat_the_mean_picture),
        cmocka_unit_test(bad_options_are_refused_in_one_line),
        cmocka_unit_test(a_full_disk_stops_the_run_in_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
