// Comparing saved runs: when a level is reached, what differs, broken sessions.
#include <math.h>

#include "engine/run/compare.h"
#include "support/test.h"

enum { ROWS = 20, STEPS_A_ROW = 1024 };

static const char *more_keys = ""; // of the next session's config

// Success rises by `rise` a record from 0 on; records of odd number have no episode.
static void write_session(const char *root, const char *tag, const char *algo, const char *codec,
                          int rows, double rise, char path[PATH_SIZE]) {
    struct error e = {0};
    char config[160];
    static int seed = 3; // another one for every session
    snprintf(config, sizeof config, "{\"seed\":%d,\"env.action_codec\":\"%s\"%s}", seed, codec,
             more_keys);
    struct session_opts o = {.root = root,
                             .tag = tag,
                             .algo = algo,
                             .task = "exit_lab",
                             .mode = "full",
                             .seed = (uint64_t)seed++,
                             .config_json = config};
    struct session *s = session_create(&o, &e);
    if (!s) fail_msg("%s", e.message);
    for (int i = 0; i < rows; i++) {
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
    write_session(root, "a", "ppo", "v0", ROWS, 0.1, a);
    write_session(root, "b", "dreamer_v3", "v1", ROWS, 0.01, b);
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
    struct comparison *c = compare_new(runs, 2, &e);
    assert_non_null(c);
    compare_differences(c, note, sizeof note);
    assert_non_null(strstr(note, "different action codecs"));
    assert_null(strstr(note, "tasks"));
    cJSON *made = compare_json(c);
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
    assert_true(compare_png(c, png, &e));
    assert_true(file_exists(png));
    compare_free(c);
    compare_close(&runs[0]);
    compare_close(&runs[1]);
}

// Three runs of one setting, the third shorter, beside one of another: success of the window is
// rise (i - 1) at record i, of record 0 and 1 rise 0.
static void seeds_of_one_setting_become_a_band(void **state) {
    (void)state;
    char root[PATH_SIZE], path[PATH_SIZE];
    struct error e = {0};
    struct compare_run runs[4];
    snprintf(root, sizeof root, "%s", test_folder());
    static const double rise[4] = {0.01, 0.1, 0.03, 0.05};
    static const int rows[4] = {ROWS, ROWS, ROWS - 5, ROWS};
    for (int i = 0; i < 4; i++) {
        char tag[8];
        snprintf(tag, sizeof tag, "s%d", i);
        write_session(root, tag, i == 3 ? "dreamer_v3" : "ppo", "v0", rows[i], rise[i], path);
        if (!compare_open(&runs[i], path, &e)) fail_msg("%s", e.message);
    }
    struct comparison *c = compare_new(runs, 4, &e);
    assert_non_null(c);
    assert_int_equal(c->n_groups, 2);
    assert_true(c->group_of[0] == 0 && c->group_of[2] == 0 && c->group_of[3] == 1);
    const struct compare_group *g = &c->groups[0];
    assert_string_equal(g->label, "ppo v0, 3 seeds");
    // One of three reached 50 %: the median run did not. Of the other group the one run did.
    assert_true(g->n_reached[0] == 1 && isnan(g->median_steps[0]));
    assert_true(c->groups[1].n_reached[0] == 1 && c->groups[1].median_steps[0] == 13 * STEPS_A_ROW);
    assert_true(c->groups[1].median_wall_s[0] == 26 && isnan(c->groups[1].median_steps[1]));
    for (int axis = 0; axis < COMPARE_N_AXES; axis++) {
        const struct compare_curve *v = &g->curves[axis];
        const double row = axis == COMPARE_BY_STEPS ? STEPS_A_ROW : 2;
        int n_known = 0;
        for (int k = 0; k < COMPARE_POINTS; k++) {
            const double i = floor(v->x[k] / row + 1e-9) - 1; // the record at or before x
            if (i < 0 || v->x[k] > (ROWS - 5) * row + 1e-6) {
                assert_true(isnan(v->mean[k]) && isnan(v->low[k]) && isnan(v->high[k]));
                continue;
            }
            n_known++;
            if (i < 4) continue;                               // the window is not full yet
            const double at = fmod(i, 2) == 1 ? i - 2 : i - 1; // odd records have no episode
            assert_float_equal(v->low[k], 0.01 * at, 1e-6);
            assert_float_equal(v->high[k], fmin(1, 0.1 * at), 1e-6);
            assert_float_equal(v->mean[k], (v->low[k] + v->high[k] + 0.03 * at) / 3, 1e-6);
        }
        assert_in_range(n_known, COMPARE_POINTS / 2, COMPARE_POINTS * 3 / 4);
    }
    cJSON *o = compare_json(c);
    const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItem(o, "groups"), 0);
    assert_in_range(cJSON_GetArraySize(cJSON_GetObjectItem(first, "success_by_env_steps")),
                    COMPARE_POINTS / 2, COMPARE_POINTS * 3 / 4);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(first, "median_env_steps_to_50_percent")));
    cJSON_Delete(o);
    compare_free(c);
    for (int i = 0; i < 4; i++) compare_close(&runs[i]);
}

// The second is of a program that did not know the keys yet: it had the values that they have where
// nobody asks for them.
static void sessions_of_before_a_key_are_of_the_setting_that_they_had(void **state) {
    (void)state;
    static const struct {
        const char *algo, *keys;
        int group;
    } cases[] = {{"dreamer_v3", ",\"buffer.terminal_fraction\":0,\"precision.autocast\":false", 0},
                 {"dreamer_v3", "", 0},
                 {"dreamer_v3", ",\"buffer.terminal_fraction\":0.25", 1},
                 {"ppo", ",\"algo.target_kl\":0", 2},
                 {"ppo", "", 2},
                 {"ppo", ",\"algo.target_kl\":0.5", 3},
                 {"ppo", ",\"no.key\":1", 4}};
    enum { N = sizeof cases / sizeof *cases };
    char root[PATH_SIZE], path[PATH_SIZE];
    struct error e = {0};
    struct compare_run runs[N];
    snprintf(root, sizeof root, "%s", test_folder());
    for (int i = 0; i < N; i++) {
        char tag[8];
        snprintf(tag, sizeof tag, "k%d", i);
        more_keys = cases[i].keys;
        write_session(root, tag, cases[i].algo, "v1", 2, 0.1, path);
        if (!compare_open(&runs[i], path, &e)) fail_msg("%s", e.message);
    }
    more_keys = "";
    struct comparison *c = compare_new(runs, N, &e);
    if (!c) fail_msg("%s", e.message);
    for (int i = 0; i < N; i++) assert_int_equal(c->group_of[i], cases[i].group);
    compare_free(c);
    for (int i = 0; i < N; i++) compare_close(&runs[i]);
}

// A kill between the two files leaves metrics.jsonl a record ahead of timing.jsonl.
static void a_run_without_its_last_time_keeps_the_times_before(void **state) {
    (void)state;
    char root[PATH_SIZE], a[PATH_SIZE], path[PATH_SIZE];
    struct error e = {0};
    struct compare_run run;
    snprintf(root, sizeof root, "%s", test_folder());
    write_session(root, "a", "ppo", "v0", ROWS, 0.1, a);
    size_t n;
    uint8_t *timing;
    assert_true(path_join(path, a, "timing.jsonl", &e));
    assert_true(file_read(path, 1 << 20, &timing, &n, &e));
    assert_true(file_write_atomic(path, timing, n - 5, &e)); // the last line is cut
    free(timing);
    assert_true(compare_open(&run, a, &e));
    assert_int_equal(run.env_steps, ROWS * STEPS_A_ROW);
    assert_float_equal(run.wall_s, (ROWS - 1) * 2, 1e-6);
    assert_float_equal(run.sps, 512, 1e-3);
    struct comparison *c = compare_new(&run, 1, &e);
    assert_non_null(c);
    const struct compare_curve *v = &c->groups[0].curves[COMPARE_BY_WALL];
    assert_float_equal(v->x[COMPARE_POINTS - 1], (ROWS - 1) * 2, 1e-6);
    assert_float_equal(v->mean[COMPARE_POINTS - 1], run.last_success, 1e-6);
    compare_free(c);
    compare_close(&run);
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

// Runs of a task without a goal: no success in any record; their returns are compared, and a run
// that has success beside them makes it success again.
static void runs_without_a_goal_are_compared_by_their_return(void **state) {
    (void)state;
    char root[PATH_SIZE], png[PATH_SIZE], goal[PATH_SIZE];
    struct error e = {0};
    struct compare_run runs[3];
    snprintf(root, sizeof root, "%s", test_folder());
    for (int k = 0; k < 2; k++) {
        struct session_opts o = {.root = root,
                                 .tag = k ? "b" : "a",
                                 .algo = "dreamer_v3",
                                 .task = "pendulum",
                                 .mode = "full",
                                 .seed = (uint64_t)k,
                                 .config_json = "{\"env.action_codec\":\"v1\"}"};
        struct session *s = session_create(&o, &e);
        if (!s) fail_msg("%s", e.message);
        for (int i = 0; i < ROWS; i++) {
            struct record r = {.opt_steps = i + 1, .env_steps = (i + 1) * STEPS_A_ROW};
            r.value[METRIC_RETURN_MEAN] = (float)(-1000 + 10 * i - 100 * k);
            r.present = METRIC_BIT(METRIC_RETURN_MEAN);
            assert_true(session_append(s, &r, &e));
        }
        session_finish(s, SESSION_DONE, "");
        assert_true(compare_open(&runs[k], session_path(s), &e));
        session_close(s);
    }
    assert_true(isnan(runs[0].last_success));
    // the window's four records: 16 .. 19
    assert_float_equal(runs[0].last_return, -1000 + 175, 1e-6);
    assert_string_equal(runs[1].label, "dreamer_v3 pendulum seed 1");
    struct comparison *c = compare_new(runs, 2, &e);
    assert_true(c && c->by_return && c->n_groups == 1);
    assert_string_equal(c->groups[0].label, "dreamer_v3, 2 seeds");
    const struct compare_curve *curve = &c->groups[0].curves[COMPARE_BY_STEPS];
    assert_float_equal(curve->mean[COMPARE_POINTS - 1], -1000 + 175 - 50, 1e-6);
    assert_float_equal(curve->low[COMPARE_POINTS - 1], -1000 + 175 - 100, 1e-6);
    cJSON *json = compare_json(c);
    char *text = cJSON_PrintUnformatted(json);
    assert_non_null(strstr(text, "\"return_by_env_steps\":[["));
    assert_null(strstr(text, "success"));
    assert_null(strstr(text, "action_codec"));
    free(text);
    cJSON_Delete(json);
    assert_true(path_join(png, root, "returns.png", &e) && compare_png(c, png, &e));
    compare_free(c);
    write_session(root, "c", "dreamer_v3", "v1", ROWS, 0.1, goal);
    assert_true(compare_open(&runs[2], goal, &e));
    c = compare_new(runs, 3, &e);
    assert_true(c && !c->by_return);
    compare_free(c);
    for (int k = 0; k < 3; k++) compare_close(&runs[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_reached_where_the_window_s_mean_is_as_high),
        cmocka_unit_test(seeds_of_one_setting_become_a_band),
        cmocka_unit_test(sessions_of_before_a_key_are_of_the_setting_that_they_had),
        cmocka_unit_test(a_run_without_its_last_time_keeps_the_times_before),
        cmocka_unit_test(one_good_episode_at_the_start_is_no_level),
        cmocka_unit_test(what_is_no_session_is_refused),
        cmocka_unit_test(runs_without_a_goal_are_compared_by_their_return),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
