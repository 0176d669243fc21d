// Comparing saved runs: when a level is reached, what differs, broken sessions.
#include <math.h>

#include "engine/run/compare.h"
#include "support/test.h"

enum { ROWS = 20, STEPS_A_ROW = 1024 };

// Success rises by `rise` a record from 0 on; records of odd number have no episode.
static void write_session(const char *root, const char *tag, const char *algo, const char *codec,
                          double rise, char path[PATH_SIZE]) {
    struct error e = {0};
    char config[80];
    snprintf(config, sizeof config, "{\"env.action_codec\":\"%s\"}", codec);
    struct session_opts o = {.root = root,
                             .tag = tag,
                             .algo = algo,
                             .task = "exit_lab",
                             .mode = "full",
                             .seed = 3,
                             .config_json = config};
    struct session *s = session_create(&o, &e);
    if (!s) fail_msg("%s", e.message);
    for (int i = 0; i < ROWS; i++) {
        struct record r = {.opt_steps = i + 1, .env_steps = (i + 1) * STEPS_A_ROW};
        const double success = rise * i > 1 ? 1 : rise * i;
        r.value[METRIC_SUCCESS_RATE] = (float)success;
        r.value[METRIC_WALL_TIME] = (float)(i + 1) * 2;
        r.present = METRIC_BIT(METRIC_WALL_TIME) | (i % 2 ? 0 : METRIC_BIT(METRIC_SUCCESS_RATE));
        assert_true(session_append(s, &r, &e));
    }
    snprintf(path, PATH_SIZE, "%s", session_path(s));
    session_finish(s, SESSION_DONE, "");
    session_close(s);
}

static void levels_are_reached_where_the_window_s_mean_is_as_high(void **state) {
    (void)state;
    char root[PATH_SIZE], a[PATH_SIZE], b[PATH_SIZE], png[PATH_SIZE];
    struct error e = {0};
    struct compare_run runs[2];
    snprintf(root, sizeof root, "%s", test_folder());
    write_session(root, "a", "ppo", "v0", 0.1, a);
    write_session(root, "b", "dreamer_v3", "v1", 0.01, b);
    assert_true(compare_open(&runs[0], a, &e) && compare_open(&runs[1], b, &e));
    // The window of 4,096 steps holds four records, two with episodes: i and i - 2 have the mean
    // 0.1 (i - 1).
    assert_true(runs[0].levels[0].reached && runs[0].levels[0].env_steps == 7 * STEPS_A_ROW);
    assert_true(runs[0].levels[0].wall_s == 14);
    assert_true(runs[0].levels[1].reached && runs[0].levels[1].env_steps == 11 * STEPS_A_ROW);
    assert_float_equal(runs[0].last_success, 1, 1e-6);
    assert_false(runs[1].levels[0].reached || runs[1].levels[1].reached);
    assert_float_equal(runs[1].last_success, 0.17, 0.011);
    assert_int_equal(runs[0].env_steps, ROWS * STEPS_A_ROW);
    assert_float_equal(runs[0].sps, 512, 1e-3);
    char note[200];
    compare_differences(runs, 2, note, sizeof note);
    assert_non_null(strstr(note, "different action codecs"));
    assert_null(strstr(note, "tasks"));
    cJSON *made = compare_json(runs, 2);
    char *text = cJSON_Print(made); // doubles are raw text inside
    cJSON *o = cJSON_Parse(text);
    cJSON_Delete(made);
    free(text);
    const cJSON *list = cJSON_GetObjectItem(o, "runs"), *first = cJSON_GetArrayItem(list, 0),
                *second = cJSON_GetArrayItem(list, 1);
    assert_true(cJSON_GetObjectItem(first, "env_steps_to_90_percent")->valuedouble ==
                11 * STEPS_A_ROW);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(second, "env_steps_to_90_percent")));
    cJSON_Delete(o);
    assert_true(path_join(png, root, "success.png", &e));
    assert_true(compare_png(runs, 2, png, &e));
    assert_true(file_exists(png));
    compare_close(&runs[0]);
    compare_close(&runs[1]);
}

static void one_good_episode_at_the_start_is_no_level(void **state) {
    (void)state;
    char root[PATH_SIZE], a[PATH_SIZE];
    struct error e = {0};
    struct compare_run run;
    snprintf(root, sizeof root, "%s", test_folder());
    struct session *s = session_create(
        &(struct session_opts){.root = root, .algo = "ppo", .task = "toy", .config_json = "{}"},
        &e);
    struct record r = {
        .opt_steps = 1, .env_steps = 100, .present = METRIC_BIT(METRIC_SUCCESS_RATE)};
    r.value[METRIC_SUCCESS_RATE] = 1;
    assert_true(session_append(s, &r, &e));
    snprintf(a, sizeof a, "%s", session_path(s));
    session_close(s);
    assert_true(compare_open(&run, a, &e));
    assert_false(run.levels[0].reached);
    assert_true(isnan(run.wall_s));
    compare_close(&run);
}

static void what_is_no_session_is_refused(void **state) {
    (void)state;
    struct error e = {0};
    struct compare_run run;
    assert_false(compare_open(&run, "/nowhere/at/all", &e));
    assert_non_null(strstr(e.message, "/nowhere/at/all"));
    compare_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_reached_where_the_window_s_mean_is_as_high),
        cmocka_unit_test(one_good_episode_at_the_start_is_no_level),
        cmocka_unit_test(what_is_no_session_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
