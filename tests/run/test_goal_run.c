// Runs towards a goal: built-in tasks and a user's files give the same run; what meta and config
// say; refusals.
#include "support/files.h"
#include "support/test.h"

#include "base/hash.h"
#include "base/json.h"
#include "engine/data/session.h"
#include "engine/run/worker/worker.h"

static const char *const quick[] = {"algo.learning_starts=140", "env.num_envs=2"};

static struct run_opts options(void) {
    return (struct run_opts){.preset = "micro",
                             .updates = 1,
                             .n_threads = 1,
                             .no_media = true,
                             .settings = quick,
                             .n_settings = 2};
}

static struct run_opts user_files(void) {
    struct run_opts o = options();
    o.rom_path = "assets/roms/lab.gb";
    o.state_path = "assets/tasks/exit_lab/start.state";
    o.goal_dir = "assets/tasks/exit_lab/goal_v1";
    return o;
}

static enum status run(const struct run_opts *opts, char session[200], struct error *e) {
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(opts, feed, e);
    enum status status = w ? worker_run(w, e) : e->status;
    if (w && session) {
        struct worker_summary s;
        worker_summary(w, &s);
        snprintf(session, 200, "%s", s.session);
    }
    worker_free(w);
    feed_free(feed);
    return status;
}

static cJSON *read_json(const char *session, const char *name) {
    char path[PATH_SIZE];
    struct error e = {0};
    assert_true(path_join(path, session, name, &e));
    cJSON *root = json_read_file(path, 1 << 20, &e);
    if (!root) fail_msg("%s", e.message);
    return root;
}

static const char *text_of(const cJSON *root, const char *object, const char *key) {
    const char *text;
    struct error e = {0};
    if (object) root = cJSON_GetObjectItem(root, object);
    if (!json_get_string(root, key, "meta.json", &text, &e)) fail_msg("%s", e.message);
    return text;
}

static int64_t time_limit(const char *session) {
    int64_t v;
    struct error e = {0};
    cJSON *config = read_json(session, "config.json");
    if (!json_get_i64(config, "env.max_episode_steps", "config.json", &v, &e))
        fail_msg("%s", e.message);
    cJSON_Delete(config);
    return v;
}

static void a_goal_task_runs_in_mode_full_and_meta_names_its_goal(void **state) {
    (void)state;
    char session[200];
    struct error e = {0};
    struct run_opts o = options();
    o.task = "exit_lab";
    o.sessions_dir = test_folder();
    if (run(&o, session, &e) != STATUS_OK) fail_msg("%s", e.message);
    cJSON *meta = read_json(session, "meta.json");
    assert_string_equal(text_of(meta, NULL, "mode"), "full");
    assert_string_equal(text_of(meta, NULL, "task"), "exit_lab");
    assert_string_equal(text_of(meta, "goal", "name"), "exit_lab");
    char hex[SHA256_HEX_SIZE];
    assert_true(sha256_file_hex("assets/tasks/exit_lab/goal_v1/goal_template.npy", hex, &e));
    assert_string_equal(text_of(meta, "goal", "sha256"), hex);
    assert_int_equal(
        cJSON_GetObjectItem(cJSON_GetObjectItem(meta, "goal"), "pipeline_version")->valueint, 2);
    assert_true(sha256_file_hex("assets/tasks/exit_lab/start.state", hex, &e));
    assert_string_equal(text_of(meta, "start_state", "sha256"), hex);
    assert_true(sha256_file_hex("assets/roms/lab.gb", hex, &e));
    assert_string_equal(text_of(meta, "rom", "sha256"), hex);
    cJSON_Delete(meta);
    assert_int_equal(time_limit(session), 128);
}

static void a_users_files_give_the_run_of_the_task_they_are(void **state) {
    (void)state;
    char session[2][200];
    void *metrics[2];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        struct error e = {0};
        struct run_opts o = i ? user_files() : options();
        if (!i) o.task = "exit_lab";
        o.mode = "standing_still";
        o.updates = 2;
        o.sessions_dir = test_folder();
        if (run(&o, session[i], &e) != STATUS_OK) fail_msg("%s", e.message);
        char path[PATH_SIZE];
        assert_true(path_join(path, session[i], "metrics.jsonl", &e));
        metrics[i] = get_file(path, &n[i]);
    }
    assert_true(n[0] > 100);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(metrics[0], metrics[1], n[0]);
    cJSON *meta = read_json(session[1], "meta.json");
    assert_string_equal(text_of(meta, NULL, "mode"), "standing_still");
    assert_string_equal(text_of(meta, "goal", "name"), "goal_v1");
    cJSON_Delete(meta);
    free(metrics[0]);
    free(metrics[1]);
}

static void the_time_limit_is_the_stages_unless_it_is_set(void **state) {
    (void)state;
    static const char *const set[] = {"algo.learning_starts=140", "env.num_envs=2",
                                      "env.max_episode_steps=30"};
    for (int i = 0; i < 2; i++) {
        char session[200];
        struct error e = {0};
        struct run_opts o = options();
        o.task = "errand";
        o.mode = "standing_still";
        o.sessions_dir = test_folder();
        if (i) o.settings = set, o.n_settings = 3;
        if (run(&o, session, &e) != STATUS_OK) fail_msg("%s", e.message);
        assert_int_equal(time_limit(session), i ? 30 : 512);
    }
}

// Eight steps of standing still cost what the keys say, and nothing else is earned.
static void the_reward_is_what_the_keys_say(void **state) {
    (void)state;
    static const char *const keys[] = {"algo.learning_starts=40",
                                       "env.num_envs=2",
                                       "env.max_episode_steps=8",
                                       "algo.per_rank_batch_size=2",
                                       "algo.per_rank_sequence_length=16",
                                       "env.step_cost=-0.5",
                                       "env.alpha=0"};
    char session[200];
    struct error e = {0};
    struct run_opts o = options();
    int n_ended = 0;
    o.task = "exit_lab";
    o.sessions_dir = test_folder();
    o.settings = keys, o.n_settings = 7;
    o.updates = 6;
    if (run(&o, session, &e) != STATUS_OK) fail_msg("%s", e.message);
    struct session_data *d = session_read(session, &e);
    if (!d) fail_msg("%s", e.message);
    for (int64_t i = 0; i < d->n_records; i++)
        if (d->records[i].present & METRIC_BIT(METRIC_RETURN_MEAN)) {
            assert_float_equal(d->records[i].value[METRIC_RETURN_MEAN], -4, 1e-6);
            n_ended++;
        }
    assert_true(n_ended > 0);
    session_data_free(d);
}

static void rewards_of_a_task_without_a_goal_are_refused(void **state) {
    (void)state;
    static const char *const tasks[] = {"static", "pendulum"}, *const keys[] = {"env.alpha=2",
                                                                                "env.goal_bonus=1",
                                                                                "env.step_cost=0"};
    for (int i = 0; i < 6; i++) {
        struct error e = {0};
        struct run_opts o = {.task = tasks[i / 3], .no_session = true, .updates = 1};
        o.settings = &keys[i % 3], o.n_settings = 1;
        assert_int_equal(run(&o, NULL, &e), STATUS_USAGE);
        if (!strstr(e.message, "has no goal")) fail_msg("%s", e.message);
    }
}

static void a_scene_has_no_goal_in_meta(void **state) {
    (void)state;
    char session[200];
    struct error e = {0};
    struct run_opts o = options();
    o.task = "static";
    o.sessions_dir = test_folder();
    if (run(&o, session, &e) != STATUS_OK) fail_msg("%s", e.message);
    cJSON *meta = read_json(session, "meta.json");
    assert_null(cJSON_GetObjectItem(meta, "goal"));
    assert_string_equal(text_of(meta, NULL, "mode"), "standing_still");
    cJSON_Delete(meta);
}

static double value(const struct record *r, enum metric m) {
    if (!(r->present & METRIC_BIT(m))) fail_msg("%s was not measured", metric_info[m].name);
    return (double)r->value[m];
}

// Every episode is cut off after eight steps, so none succeeds.
static void records_tell_of_episodes_distances_actions_and_steps(void **state) {
    (void)state;
    static const char *const keys[] = {"algo.learning_starts=40", "env.num_envs=2",
                                       "env.max_episode_steps=8", "algo.per_rank_batch_size=2",
                                       "algo.per_rank_sequence_length=16"};
    char session[200];
    struct error e = {0};
    struct run_opts o = options();
    o.task = "exit_lab";
    o.sessions_dir = test_folder();
    o.settings = keys, o.n_settings = 5;
    o.updates = 12;
    if (run(&o, session, &e) != STATUS_OK) fail_msg("%s", e.message);
    struct session_data *d = session_read(session, &e);
    if (!d) fail_msg("%s", e.message);
    assert_int_equal(d->n_records, 12);
    int64_t n_actions = 0, n_ended = 0;
    for (int64_t i = 0; i < d->n_records; i++) {
        const struct record *r = &d->records[i];
        assert_int_equal(r->n_actions, 8);
        for (int a = 0; a < 8; a++) n_actions += r->action_hist[a];
        if (r->present & METRIC_BIT(METRIC_SUCCESS_RATE)) {
            n_ended++;
            assert_true(value(r, METRIC_SUCCESS_RATE) == 0 && value(r, METRIC_TRUNC_RATE) == 1);
            assert_true(value(r, METRIC_LENGTH_MEAN) == 8);
        }
        if (r->present & METRIC_BIT(METRIC_DIST_P10)) {
            double low = value(r, METRIC_DIST_P10), high = value(r, METRIC_DIST_P90);
            assert_true(low > 0.3 && low <= value(r, METRIC_DIST_P50));
            assert_true(value(r, METRIC_DIST_P50) <= high && high < 0.45);
        }
        static const enum metric ratios[] = {METRIC_UPDATE_RATIO_MODEL, METRIC_UPDATE_RATIO_ACTOR,
                                             METRIC_UPDATE_RATIO_CRITIC};
        for (int k = 0; k < 3; k++) assert_true(value(r, ratios[k]) > 0 && value(r, ratios[k]) < 1);
        assert_true(value(r, METRIC_LATENT_CLASSES) > 0.2 && value(r, METRIC_LATENT_CLASSES) <= 1);
        assert_true(value(r, METRIC_LATENT_PERPLEXITY) >= 1);
        assert_true(value(r, METRIC_LATENT_PERPLEXITY) <= 4); // classes of preset micro
    }
    assert_true(n_ended >= 1);
    assert_int_equal(n_actions, d->records[11].env_steps);
    session_data_free(d);
}

static void assert_refused(const struct run_opts *o, const char *const words[3]) {
    struct error e = {0};
    struct run_opts opts = *o;
    opts.no_session = true;
    assert_int_not_equal(run(&opts, NULL, &e), STATUS_OK);
    assert_null(strchr(e.message, '\n'));
    for (int i = 0; i < 3 && words[i]; i++)
        if (!strstr(e.message, words[i])) fail_msg("\"%s\" is missing in: %s", words[i], e.message);
}

static void what_does_not_fit_the_goal_is_refused_with_both_values(void **state) {
    (void)state;
    static const char *const v0[] = {"env.action_codec=v0"};
    struct run_opts codec = user_files(), rom = user_files(), no_state = user_files(),
                    folder = user_files();
    codec.settings = v0;
    codec.n_settings = 1;
    assert_refused(&codec, (const char *const[3]){"action_codec_id", "pokemonred_puffer_v1",
                                                  "pokemonred_puffer_v0"});
    codec.goal_dir = "assets/tasks/exit_lab/goal_v0";
    codec.no_session = true;
    struct error e = {0};
    if (run(&codec, NULL, &e) != STATUS_OK) fail_msg("%s", e.message);
    rom.rom_path = "assets/roms/static.gb";
    assert_refused(&rom, (const char *const[3]){"rom_sha256"});
    no_state.state_path = NULL;
    assert_refused(&no_state, (const char *const[3]){"--goal-dir", "--state"});
    folder.goal_dir = "assets";
    assert_refused(&folder, (const char *const[3]){"assets/goal_template.meta.json"});
    struct run_opts task = options();
    task.task = "exit_lab";
    task.state_path = "assets/tasks/errand/start.state";
    assert_refused(&task, (const char *const[3]){"exit_lab", "--state"});
    task.state_path = NULL;
    task.accept_pipeline = 1;
    assert_refused(&task, (const char *const[3]){"--accept-pipeline", "--goal-dir"});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_goal_task_runs_in_mode_full_and_meta_names_its_goal),
        cmocka_unit_test(a_users_files_give_the_run_of_the_task_they_are),
        cmocka_unit_test(the_time_limit_is_the_stages_unless_it_is_set),
        cmocka_unit_test(the_reward_is_what_the_keys_say),
        cmocka_unit_test(rewards_of_a_task_without_a_goal_are_refused),
        cmocka_unit_test(a_scene_has_no_goal_in_meta),
        cmocka_unit_test(records_tell_of_episodes_distances_actions_and_steps),
        cmocka_unit_test(what_does_not_fit_the_goal_is_refused_with_both_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
