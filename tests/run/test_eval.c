// Evaluation: statistics, episodes that do not depend on how they were batched, files, refusals.
#define _GNU_SOURCE // memmem
#include "support/eval_session.h"

#include <math.h>

#include "base/mem.h"
#include "emu/gb_action.h"
#include "engine/data/session.h"
#include "engine/run/eval/eval.h"

// ---- statistics

static void wilsons_interval_has_the_textbooks_values(void **state) {
    (void)state;
    // Computed apart from the program, from the formula: k, n, low, high.
    static const double table[][4] = {{95, 100, 0.888249, 0.978456},
                                      {20, 20, 0.838875, 1},
                                      {0, 100, 0, 0.036994},
                                      {1, 2, 0.094531, 0.905469}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        double low, high;
        eval_wilson((int64_t)table[i][0], (int64_t)table[i][1], &low, &high);
        assert_true(fabs(low - table[i][2]) < 2e-6);
        assert_true(fabs(high - table[i][3]) < 2e-6);
    }
}

static void a_set_of_episodes_is_summed_up(void **state) {
    (void)state;
    const struct eval_episode list[] = {
        {.steps = 30, .success = true, .total_reward = 9, .entropy = 1, .distance = 0.01f},
        {.steps = 50, .total_reward = -1, .entropy = 2, .distance = 0.5f},
        {.steps = 10, .success = true, .total_reward = 10, .entropy = 0, .distance = 0.02f},
        {.steps = 10, .success = true, .total_reward = 11, .entropy = 0, .distance = 0.04f}};
    struct eval_stats s = eval_stats_of(list, 4);
    assert_int_equal(s.successes, 3);
    assert_true(s.rate == 0.75 && s.median_steps == 10 && s.min_steps == 10);
    assert_true(s.mean_reward == 7.25 && s.mean_reward_success == 10 && s.mean_reward_fail == -1);
    assert_true(s.mean_length == 25 && fabs(s.entropy - 1.3) < 1e-12);
    assert_true(s.median_distance == (double)0.02f);
    assert_int_equal(eval_best(list, 4), 2);
    assert_int_equal(eval_best(list, 2), 0);
    s = eval_stats_of(list + 1, 1);
    assert_true(s.rate == 0 && isnan(s.median_steps) && isnan(s.mean_reward_success));
    const struct eval_episode fails[] = {{.steps = 5, .total_reward = -2},
                                         {.steps = 9, .total_reward = -1}};
    assert_int_equal(eval_best(fails, 2), 1);
}

// ---- episodes

struct file {
    void *data;
    size_t n;
};

static struct file read_out(const char *folder, const char *name) {
    char path[PATH_SIZE];
    struct error e = {0};
    struct file f;
    assert_true(path_join(path, folder, name, &e));
    f.data = get_file(path, &f.n);
    return f;
}

static void assert_same(const char *a, const char *b, const char *name) {
    struct file x = read_out(a, name), y = read_out(b, name);
    if (x.n != y.n || memcmp(x.data, y.data, x.n) != 0) fail_msg("%s: other bytes", name);
    free(x.data);
    free(y.data);
}

static double number_of(const cJSON *o, const char *key) {
    const cJSON *item = cJSON_GetObjectItem(o, key);
    if (!cJSON_IsNumber(item)) fail_msg("no number %s", key);
    return item->valuedouble;
}

// The next line of *at as JSON; *at moves on.
static cJSON *next_line(const char **at) {
    cJSON *o = cJSON_ParseWithOpts(*at, at, 0);
    if (!o) fail_msg("no JSON: %.80s", *at);
    *at += strspn(*at, "\n");
    return o;
}

// One episode's lines of the trajectory against its own line.
static void check_trajectory(const char **at, const cJSON *episode) {
    const int steps = (int)number_of(episode, "steps");
    double sum = 0;
    for (int t = 1; t <= steps; t++) {
        cJSON *s = next_line(at);
        assert_true(number_of(s, "episode_idx") == number_of(episode, "episode"));
        assert_true(number_of(s, "t") == t);
        assert_true(
            number_of(s, "action") ==
            cJSON_GetArrayItem(cJSON_GetObjectItem(episode, "actions"), t - 1)->valuedouble);
        sum += number_of(s, "reward");
        const bool done = cJSON_IsTrue(cJSON_GetObjectItem(s, "done")),
                   cut = cJSON_IsTrue(cJSON_GetObjectItem(s, "trunc"));
        assert_int_equal(done || cut, t == steps);
        if (t < steps) assert_true(number_of(s, "dist") >= number_of(episode, "least_distance"));
        if (t == steps) assert_true(number_of(s, "dist") == number_of(episode, "distance"));
        cJSON_Delete(s);
    }
    assert_float_equal(sum, number_of(episode, "return"), 1e-5);
}

static void a_trajectory_has_every_step_of_every_episode_in_order(void **state) {
    (void)state;
    char session[SESSION_SIZE], folder[PATH_SIZE];
    make_session(&(struct run_opts){.task = "exit_lab"}, session);
    evaluate(&(struct eval_opts){.path = session, .episodes = 3, .n_envs = 3, .seed = 7}, folder,
             NULL);
    struct file list = read_out(folder, "episodes.jsonl"),
                steps = read_out(folder, "trajectory.jsonl");
    const char *episode = (const char *)list.data, *at = (const char *)steps.data;
    for (int i = 0; i < 3; i++) {
        cJSON *o = next_line(&episode);
        check_trajectory(&at, o);
        cJSON_Delete(o);
    }
    assert_int_equal(*at, 0); // and no more
    free(list.data);
    free(steps.data);
}

static void episodes_depend_on_seed_and_number_alone(void **state) {
    (void)state;
    char session[SESSION_SIZE], folder[3][PATH_SIZE];
    make_session(&(struct run_opts){.task = "exit_lab"}, session);
    struct eval_opts o = {.path = session, .episodes = 5, .n_envs = 1, .n_threads = 1, .seed = 7};
    evaluate(&o, folder[0], NULL);
    o.n_envs = 4, o.n_threads = 3;
    evaluate(&o, folder[1], NULL);
    assert_same(folder[0], folder[1], "episodes.jsonl");
    assert_same(folder[0], folder[1], "random.jsonl");
    assert_same(folder[0], folder[1], "trajectory.jsonl");
    assert_same(folder[0], folder[1], "summary.json");
    o.episodes = 7, o.n_envs = 7;
    evaluate(&o, folder[2], NULL);
    struct file five = read_out(folder[0], "episodes.jsonl"),
                seven = read_out(folder[2], "episodes.jsonl");
    assert_true(seven.n > five.n);
    assert_memory_equal(five.data, seven.data, five.n);
    free(seven.data);
    o.episodes = 5, o.seed = 8;
    evaluate(&o, folder[2], NULL);
    seven = read_out(folder[2], "episodes.jsonl");
    assert_true(seven.n != five.n || memcmp(five.data, seven.data, five.n) != 0);
    free(five.data);
    free(seven.data);
}

// What a line of episodes.jsonl says.
static double value_of(const char *line, const char *key) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(line, quoted);
    assert_non_null(at);
    return strtod(at + strlen(quoted), NULL);
}

static void starts_are_jittered_and_both_policies_get_the_same(void **state) {
    (void)state;
    char session[SESSION_SIZE], folder[PATH_SIZE];
    make_session(&(struct run_opts){.task = "exit_lab"}, session);
    struct eval_opts o = {.path = session, .episodes = 20, .seed = 1, .warm_up_frames = 40};
    evaluate(&o, folder, NULL);
    struct file a = read_out(folder, "episodes.jsonl"), b = read_out(folder, "random.jsonl");
    const char *x = a.data, *y = b.data;
    bool seen[40] = {false};
    int n_starts = 0;
    for (int i = 0; i < 20; i++, x = strchr(x, '\n') + 1, y = strchr(y, '\n') + 1) {
        int frames = (int)value_of(x, "start_frames");
        assert_true(frames >= 0 && frames < 40);
        assert_true(value_of(y, "start_frames") == frames);
        assert_true(value_of(x, "steps") == 24 && value_of(x, "episode") == i);
        n_starts += !seen[frames];
        seen[frames] = true;
    }
    assert_true(n_starts > 8);
    assert_true(*x == 0 && *y == 0);
    free(a.data);
    free(b.data);
    // One frame of choice is no choice: greedy episodes from one start differ in nothing but their
    // latents' noise.
    o.warm_up_frames = 1;
    evaluate(&o, folder, NULL);
    a = read_out(folder, "episodes.jsonl");
    assert_null(strstr(a.data, "\"start_frames\":1"));
    free(a.data);
}

// A goal that is the start's own picture: whoever stands still has reached it.
static const char *start_as_goal(void) {
    static char folder[PATH_SIZE];
    struct error e = {0};
    struct task *task = mem_alloc(sizeof *task);
    if (!task_open_builtin("exit_lab", "pokemonred_puffer_v1", task, &e)) fail_msg("%s", e.message);
    struct env_gameboy_opts o = {0};
    task_env_opts(task, &o);
    struct env *env = env_gameboy_new(&o, &e);
    struct goal goal = {.n_frames = 1};
    uint8_t *obs = goal.packed[0];
    env_reset(env, (uint8_t[]){1}, &obs);
    struct goal_template *t = mem_alloc(sizeof *t);
    goal_make(&(struct goal_source){.action_codec_id = "pokemonred_puffer_v1",
                                    .rom_path = "lab.gb",
                                    .rom_sha256 = task->rom_sha256,
                                    .state_path = "start.state",
                                    .state_sha256 = task->state_sha256},
              &goal, t);
    assert_true(path_join(folder, test_folder(), "goal", &e));
    if (!goal_write(folder, t, 0, &e)) fail_msg("%s", e.message);
    env_free(env);
    task_close(task);
    free(task);
    free(t);
    return folder;
}

static void who_reaches_the_goal_is_counted_with_steps_and_return(void **state) {
    (void)state;
    char session[SESSION_SIZE], folder[PATH_SIZE];
    struct eval_report r;
    const char *goal = start_as_goal();
    make_session(&(struct run_opts){.rom_path = "assets/roms/lab.gb",
                                    .state_path = "assets/tasks/exit_lab/start.state",
                                    .goal_dir = goal},
                 session);
    struct eval_opts o = {
        .path = session,
        .files = {"assets/roms/lab.gb", "assets/tasks/exit_lab/start.state", goal, 0},
        .policy = EVAL_GREEDY,
        .episodes = 10,
        .seed = 1};
    evaluate(&o, folder, &r);
    assert_true(r.random_stats.successes >= 8); // two steps near the start are near enough
    assert_true(r.random_stats.min_steps == 2 && r.random_stats.median_steps <= 3);
    assert_true(r.random_stats.mean_reward_success > 9);
    struct file lines = read_out(folder, "random.jsonl");
    assert_non_null(strstr(lines.data, "\"steps\":2,\"success\":true,\"truncated\":false"));
    free(lines.data);
}

static void a_checkpoint_plays_like_its_session_and_leaves_a_video(void **state) {
    (void)state;
    char session[SESSION_SIZE], checkpoint[PATH_SIZE], folder[2][PATH_SIZE], path[PATH_SIZE];
    int64_t step;
    struct error e = {0};
    make_session(&(struct run_opts){.task = "exit_lab"}, session);
    assert_true(session_newest_checkpoint(session, checkpoint, &step, &e));
    struct eval_opts o = {.path = session, .episodes = 2, .seed = 1};
    evaluate(&o, folder[0], NULL);
    o.path = checkpoint;
    evaluate(&o, folder[1], NULL);
    assert_same(folder[0], folder[1], "episodes.jsonl");
    snprintf(path, sizeof path, "%.4000s/best.gif", folder[0]);
    bool gif = file_exists(path);
    snprintf(path, sizeof path, "%.4000s/best.mp4", folder[0]);
    assert_true(gif || file_exists(path));
}

static bool same_episodes(const char *a, const char *b) {
    struct file x = read_out(a, "episodes.jsonl"), y = read_out(b, "episodes.jsonl");
    bool same = x.n == y.n && memcmp(x.data, y.data, x.n) == 0;
    free(x.data);
    free(y.data);
    return same;
}

static bool says_zero_latent(const char *folder) {
    struct file f = read_out(folder, "summary.json");
    bool says = memmem(f.data, f.n, "\"zero_latent\"", 13) != NULL;
    free(f.data);
    return says;
}

// One that learned without it plays without it, told so or not.
static void a_policy_can_be_played_without_the_latent(void **state) {
    (void)state;
    char whole[SESSION_SIZE], zero[SESSION_SIZE], folder[4][PATH_SIZE];
    make_session(&(struct run_opts){.task = "exit_lab"}, whole);
    make_session(&(struct run_opts){.task = "exit_lab", .zero_latent = true}, zero);
    for (int i = 0; i < 4; i++)
        evaluate(
            &(struct eval_opts){
                .path = i < 2 ? whole : zero, .episodes = 4, .seed = 1, .zero_latent = i % 2},
            folder[i], NULL);
    assert_false(same_episodes(folder[0], folder[1]));
    assert_true(same_episodes(folder[2], folder[3]));
    for (int i = 0; i < 4; i++) assert_int_equal(says_zero_latent(folder[i]), i > 0);
}

// ---- open loop

static void dreams_are_measured_by_horizon_whatever_the_batch(void **state) {
    (void)state;
    char session[SESSION_SIZE], folder[2][PATH_SIZE];
    struct eval_report r;
    make_session(&(struct run_opts){.task = "sprites"}, session);
    struct eval_opts o = {
        .path = session, .episodes = 3, .n_envs = 1, .seed = 1, .open_loop = true};
    evaluate(&o, folder[0], &r);
    assert_int_equal(r.policy, EVAL_CONSTANT);
    // 25 rows: windows from row 0 and 15, the second one with 5 rows behind its context.
    assert_int_equal(r.horizon[0].n, 6);
    assert_int_equal(r.horizon[4].n, 6);
    assert_int_equal(r.horizon[5].n, 3);
    for (int k = 0; k < EVAL_HORIZON; k++) {
        const struct eval_horizon *h = &r.horizon[k];
        assert_true(h->mse > 0 && h->mse <= 9 && h->shades > 0 && h->shades <= 3);
        assert_true(h->copy_mse > 0 && h->copy_shades > 0 && h->copy_shades < 1);
        // An untrained decoder shows a grey field: far worse than a picture that is held.
        assert_true(h->mse > h->copy_mse);
        assert_true(h->wrong > h->copy_wrong && h->wrong <= 1 && h->copy_wrong > 0);
        // A wrong pixel of the held frame is off by 1 to 3 shades.
        assert_true(h->copy_shades >= h->copy_wrong && h->copy_shades <= 3 * h->copy_wrong);
    }
    o.n_envs = 3, o.n_threads = 2;
    evaluate(&o, folder[1], NULL);
    assert_same(folder[0], folder[1], "summary.json");
}

// ---- refusals

static void assert_refused(const char *path, const char *const words[3]) {
    struct error e = {0};
    struct eval *v = eval_new(&(struct eval_opts){.path = path, .episodes = 1}, &e);
    if (v) fail_msg("%s was taken", path);
    assert_null(strchr(e.message, '\n'));
    for (int i = 0; i < 3 && words[i]; i++)
        if (!strstr(e.message, words[i])) fail_msg("\"%s\" is missing in: %s", words[i], e.message);
}

// Both texts are as long.
static void replace_text(const char *path, const char *from, const char *to) {
    size_t n, at = 0, length = strlen(from);
    char *data = get_file(path, &n);
    while (at + length <= n && memcmp(data + at, from, length) != 0) at++;
    if (at + length > n) fail_msg("%s: no %s", path, from);
    memcpy(data + at, to, length);
    put_file(path, data, n);
    free(data);
}

static void what_cannot_be_evaluated_is_refused_in_one_line(void **state) {
    (void)state;
    char session[SESSION_SIZE], still[SESSION_SIZE], path[PATH_SIZE], copy[PATH_SIZE];
    int64_t step;
    struct error e = {0};
    make_session(&(struct run_opts){.task = "exit_lab"}, session);
    make_session(&(struct run_opts){.task = "static"}, still);
    assert_refused("no/such/session", (const char *const[3]){"no/such/session", "sessions list"});
    assert_refused("assets", (const char *const[3]){"assets", "meta.json"});
    assert_refused("assets/roms/lab.gb", (const char *const[3]){"lab.gb", "checkpoints/"});
    assert_refused(still, (const char *const[3]){"standing still", "--open-loop"});

    assert_true(session_newest_checkpoint(session, path, &step, &e));
    size_t n;
    char *data = get_file(path, &n);
    put_file(path, data, n / 2);
    assert_refused(session, (const char *const[3]){"step_000000001.safetensors"});
    put_file(path, data, n);
    free(data);

    // Another architecture: the config no longer is the one that the checkpoint was made with.
    snprintf(copy, sizeof copy, "%.200s/config.json", session);
    replace_text(copy, "\"algo.dense_units\":\t8", "\"algo.dense_units\":\t9");
    assert_refused(session, (const char *const[3]){"configuration", "config.json"});
}

static void a_users_game_must_be_the_sessions(void **state) {
    (void)state;
    char session[SESSION_SIZE];
    struct error e = {0};
    make_session(&(struct run_opts){.rom_path = "assets/roms/lab.gb",
                                    .state_path = "assets/tasks/exit_lab/start.state",
                                    .goal_dir = "assets/tasks/exit_lab/goal_v1"},
                 session);
    assert_refused(session, (const char *const[3]){"--rom", "--state", "--goal-dir"});
    struct eval_opts o = {.path = session,
                          .episodes = 1,
                          .files = {"assets/roms/lab.gb", "assets/tasks/errand/start.state",
                                    "assets/tasks/errand/goal_v1", 0}};
    assert_null(eval_new(&o, &e));
    assert_non_null(strstr(e.message, "trained with"));
    o.files = (struct saved_files){"assets/roms/lab.gb", "assets/tasks/exit_lab/start.state",
                                   "assets/tasks/exit_lab/goal_v1", 0};
    struct eval *v = eval_new(&o, &e);
    if (!v) fail_msg("%s", e.message);
    eval_free(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilsons_interval_has_the_textbooks_values),
        cmocka_unit_test(a_set_of_episodes_is_summed_up),
        cmocka_unit_test(a_trajectory_has_every_step_of_every_episode_in_order),
        cmocka_unit_test(episodes_depend_on_seed_and_number_alone),
        cmocka_unit_test(starts_are_jittered_and_both_policies_get_the_same),
        cmocka_unit_test(who_reaches_the_goal_is_counted_with_steps_and_return),
        cmocka_unit_test(a_checkpoint_plays_like_its_session_and_leaves_a_video),
        cmocka_unit_test(a_policy_can_be_played_without_the_latent),
        cmocka_unit_test(dreams_are_measured_by_horizon_whatever_the_batch),
        cmocka_unit_test(what_cannot_be_evaluated_is_refused_in_one_line),
        cmocka_unit_test(a_users_game_must_be_the_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
