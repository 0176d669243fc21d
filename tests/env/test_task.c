// Tests of the goal tasks: stage files and recorded actions, users' files, and that each built-in
// task is honest.
#include "goal_fixture.h"

#include "base/mem.h"
#include "base/pool.h"
#include "engine/env/builtin.h"
#include "engine/env/task.h"
#include "env/solve.h"

static const char *const codecs[2] = {"pokemonred_puffer_v0", "pokemonred_puffer_v1"};
static const struct {
    const char *name;
    int max_steps;
    int least_steps, least_turns; // of any solution, until it is done
    int most_random;              // of 500 episodes
} tasks[] = {
    {"exit_lab", 128, 15, 3, 25},
    {"enter_house", 128, 15, 3, 10},
    {"errand", 512, 60, 0, 0},
};
enum { N_TASKS = 3, N_ENVS = 20 };

// WORKBENCH_SLOW_TESTS=1 makes them exhaustive: minutes.
static bool is_slow(void) { return getenv("WORKBENCH_SLOW_TESTS") != NULL; }

static struct task *open_task(const char *name, const char *codec) {
    struct task *t = mem_alloc(sizeof *t);
    struct error e = {0};
    if (!task_open_builtin(name, codec, t, &e)) fail_msg("%s", e.message);
    return t;
}

static void close_task(struct task *t) {
    task_close(t);
    free(t);
}

static struct env *env_of(const struct task *t, int n_envs, struct pool *pool) {
    struct env_gameboy_opts opts = {.n_envs = n_envs, .pool = pool};
    struct error e = {0};
    task_env_opts(t, &opts);
    struct env *env = env_gameboy_new(&opts, &e);
    if (!env) fail_msg("%s", e.message);
    return env;
}

static const uint8_t everyone[N_ENVS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                         1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

// ---- the built-in tasks

static void every_task_has_the_rules_of_the_specification_for_both_codecs(void **state) {
    (void)state;
    for (int i = 0; i < N_TASKS; i++)
        for (int c = 0; c < 2; c++) {
            struct task *t = open_task(tasks[i].name, codecs[c]);
            assert_true(t->rules.tau == 0.05f && t->rules.alpha == 1 && t->rules.goal_bonus == 10);
            assert_true(t->rules.step_cost == -0.01f);
            assert_int_equal(t->rules.k_consecutive, 2);
            assert_int_equal(t->rules.max_steps, tasks[i].max_steps);
            assert_string_equal(t->goal.meta.action_codec_id, codecs[c]);
            assert_int_equal(t->goal.meta.pipeline_version, 2);
            assert_true(t->goal.meta.tau == 0.05);
            assert_string_equal(t->name, tasks[i].name);
            close_task(t);
        }
}

static void a_recorded_solution_reaches_the_goal_at_its_last_action(void **state) {
    (void)state;
    for (int i = 0; i < N_TASKS; i++)
        for (int c = 0; c < 2; c++) {
            struct task *t = open_task(tasks[i].name, codecs[c]);
            struct env *env = env_of(t, 1, NULL);
            uint8_t frame[ENV_OBS_BYTES], *obs[1] = {frame};
            struct env_step_result r = {0};
            float total = 0, start = env_gameboy_start_distance(env), last = start;
            assert_true(t->n_solution >= tasks[i].least_steps);
            env_reset(env, everyone, obs);
            for (int k = 0; k < t->n_solution; k++) {
                env_step(env, everyone, &t->solution[k], obs, &r);
                total += r.reward;
                assert_int_equal(r.terminated, k + 1 == t->n_solution);
                assert_false(r.truncated);
                if (k + 2 < t->n_solution)
                    assert_true(r.distance >= t->rules.tau); // no other way round the rule
                last = r.distance;
            }
            assert_true(start >= 3 * t->rules.tau);
            assert_float_equal(total, 10.0 - 0.01 * t->n_solution + (double)(start - last), 1e-4);
            env_free(env);
            close_task(t);
        }
}

// Whatever is pressed on the goal screen, it holds still for k_consecutive steps.
static void the_goal_screen_holds_still_whatever_is_pressed(void **state) {
    (void)state;
    for (int i = 0; i < N_TASKS; i++)
        for (int c = 0; c < 2; c++) {
            struct task *t = open_task(tasks[i].name, codecs[c]);
            struct env *env = env_of(t, 1, NULL);
            uint8_t frame[ENV_OBS_BYTES], *obs[1] = {frame};
            for (int32_t press = 0; press < env->n_actions; press++) {
                struct env_step_result r = {0};
                env_reset(env, everyone, obs);
                for (int k = 0; k + 1 < t->n_solution; k++)
                    env_step(env, everyone, &t->solution[k], obs, &r);
                assert_false(r.terminated);
                env_step(env, everyone, &press, obs, &r);
                assert_true(r.terminated);
            }
            env_free(env);
            close_task(t);
        }
}

static int random_successes(const struct task *t, int n_episodes, struct pool *pool) {
    struct env *env = env_of(t, N_ENVS, pool);
    static uint8_t frames[N_ENVS][ENV_OBS_BYTES];
    uint8_t *obs[N_ENVS], mask[N_ENVS];
    struct env_step_result r[N_ENVS];
    uint64_t random[N_ENVS];
    int n_done = 0;
    for (int n = 0; n < N_ENVS; n++) {
        obs[n] = frames[n];
        random[n] = (uint64_t)n + 1;
    }
    for (int round = 0; round < n_episodes / N_ENVS; round++) {
        memset(mask, 1, sizeof mask);
        env_reset(env, everyone, obs);
        for (int running = N_ENVS; running > 0;) {
            int32_t actions[N_ENVS];
            for (int n = 0; n < N_ENVS; n++) {
                random[n] = random[n] * 6364136223846793005u + 1442695040888963407u;
                actions[n] = (int32_t)((random[n] >> 33) % (uint64_t)env->n_actions);
            }
            env_step(env, mask, actions, obs, r);
            for (int n = 0; n < N_ENVS; n++)
                if (mask[n] && (r[n].terminated || r[n].truncated)) {
                    n_done += r[n].terminated;
                    mask[n] = 0;
                    running--;
                }
        }
    }
    env_free(env);
    return n_done;
}

static void a_random_policy_hardly_ever_succeeds(void **state) {
    (void)state;
    if (SANITIZED) skip(); // seven million frames
    struct pool *pool = pool_new(2);
    for (int i = 0; i < N_TASKS; i++)
        for (int c = 0; c < 2; c++) {
            struct task *t = open_task(tasks[i].name, codecs[c]);
            int n_episodes =
                tasks[i].most_random > 0 || is_slow() ? 500 : 60; // a bound of 0 needs no number
            int n = random_successes(t, n_episodes, pool);
            printf("%s, %s: a random policy is done in %d of %d episodes\n", t->name, codecs[c], n,
                   n_episodes);
            assert_in_range(n, 0, tasks[i].most_random);
            close_task(t);
        }
    pool_free(pool);
}

// v1 can do what v0 can and more, so that its shortest way is the shorter one.
static void the_shortest_way_is_long_and_has_turns(void **state) {
    (void)state;
    if (SANITIZED) skip();
    for (int i = 0; i < N_TASKS; i++) {
        struct task *t = open_task(tasks[i].name, codecs[1]);
        bool is_long = tasks[i].least_steps > 20; // the whole search takes a minute
        int depth = !is_long ? 20 : is_slow() ? tasks[i].least_steps - 1 : 24;
        struct solved s = solve(t, depth);
        printf("%s: %d machines tried, %d steps deep; shortest way: %d steps, %d turns\n", t->name,
               s.n_states, depth, s.steps, s.turns);
        if (is_long) {
            assert_int_equal(s.steps, -1);
        } else {
            int done = s.steps + t->rules.k_consecutive - 1; // the picture stays near until then
            assert_true(done >= tasks[i].least_steps);
            assert_true(s.turns >= tasks[i].least_turns);
            assert_int_equal(done, t->n_solution); // the recorded one is the shortest
        }
        close_task(t);
    }
}

static void what_is_no_goal_task_is_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *name, *codec, *words[3];
    } bad[] = {
        {"exit_lap", "pokemonred_puffer_v1", {"exit_lap", "exit_lab", "sprites"}},
        {"sprites", "pokemonred_puffer_v1", {"sprites", "no goal"}},
        {"exit_lab", "legacy_v0", {"legacy_v0", "pokemonred_puffer_v0", "pokemonred_puffer_v1"}}};
    for (size_t i = 0; i < 3; i++) {
        struct task *t = mem_alloc(sizeof *t);
        struct error e = {0};
        assert_false(task_open_builtin(bad[i].name, bad[i].codec, t, &e));
        assert_int_equal(e.status, STATUS_USAGE);
        for (int w = 0; w < 3 && bad[i].words[w]; w++)
            assert_non_null(strstr(e.message, bad[i].words[w]));
        free(t);
    }
}

// ---- a user's files: here those of the source tree

static void the_files_of_a_task_open_like_the_task(void **state) {
    (void)state;
    for (int i = 0; i < N_TASKS; i++)
        for (int c = 0; c < 2; c++) {
            char state_path[200], goal_dir[200], stage_path[200];
            struct task *built_in = open_task(tasks[i].name, codecs[c]), *t = mem_alloc(sizeof *t);
            struct error e = {0};
            snprintf(state_path, sizeof state_path, "assets/tasks/%s/start.state", tasks[i].name);
            snprintf(goal_dir, sizeof goal_dir, "assets/tasks/%s/goal_v%d", tasks[i].name, c);
            struct goal_rules rules = goal_default_rules;
            rules.max_steps = tasks[i].max_steps;
            struct task_files files = {.rom = "assets/roms/lab.gb",
                                       .state = state_path,
                                       .goal_dir = goal_dir,
                                       .action_codec_id = codecs[c],
                                       .rules = &rules};
            if (!task_open_files(&files, t, &e)) fail_msg("%s", e.message);
            assert_string_equal(t->rom_sha256, built_in->rom_sha256);
            assert_string_equal(t->state_sha256, built_in->state_sha256);
            assert_memory_equal(&t->goal, &built_in->goal, sizeof t->goal);
            assert_memory_equal(&t->rules, &built_in->rules, sizeof t->rules);
            assert_null(t->solution);
            env_free(env_of(t, 1, NULL));
            close_task(t);
            // The stage file says where these files are.
            snprintf(stage_path, sizeof stage_path, "assets/tasks/%s/stage_v%d.json", tasks[i].name,
                     c);
            size_t n;
            char *text = get_file(stage_path, &n);
            struct stage stage;
            if (!stage_parse(text, n, stage_path, tasks[i].name, &stage, &e))
                fail_msg("%s", e.message);
            free(text);
            assert_true(stage.ready);
            assert_string_equal(stage.action_codec_id, codecs[c]);
            assert_memory_equal(&stage.rules, &rules, sizeof rules);
            const char *const parts[] = {stage.rom, stage.start_state, stage.goal_dir,
                                         stage.solution};
            for (int p = 0; p < 4; p++) {
                char path[1024];
                snprintf(path, sizeof path, "assets/tasks/%s/%s", tasks[i].name, parts[p]);
                if (!file_exists(path)) fail_msg("%s: %s is not there", stage_path, path);
            }
            close_task(built_in);
        }
}

static void a_template_of_another_codec_rom_or_state_is_refused_with_both_values(void **state) {
    (void)state;
    struct task_files good = {.rom = "assets/roms/lab.gb",
                              .state = "assets/tasks/exit_lab/start.state",
                              .goal_dir = "assets/tasks/exit_lab/goal_v1",
                              .action_codec_id = codecs[1]};
    struct task_files codec = good, rom = good, start = good, folder = good, missing = good;
    codec.action_codec_id = codecs[0];
    rom.rom = "assets/roms/sprites.gb";
    start.state = "assets/tasks/errand/start.state";
    folder.goal_dir = "assets/tasks/exit_lab";
    missing.state = "assets/tasks/exit_lab/nothing.state";
    const struct {
        struct task_files *files;
        const char *words[3];
    } bad[] = {{&codec, {"action_codec_id", codecs[0], codecs[1]}},
               {&rom, {"rom_sha256"}},
               {&start, {"state_sha256"}},
               {&folder, {"goal_template.meta.json"}},
               {&missing, {"nothing.state"}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct task *t = mem_alloc(sizeof *t);
        struct error e = {0};
        assert_false(task_open_files(bad[i].files, t, &e));
        assert_null(strchr(e.message, '\n'));
        for (int w = 0; w < 3 && bad[i].words[w]; w++)
            if (!strstr(e.message, bad[i].words[w]))
                fail_msg("%s is missing in: %s", bad[i].words[w], e.message);
        free(t);
    }
    struct error e = {0};
    char hex[2][SHA256_HEX_SIZE];
    struct task *t = mem_alloc(sizeof *t);
    assert_true(sha256_file_hex(rom.rom, hex[0], &e) && sha256_file_hex(good.rom, hex[1], &e));
    assert_false(task_open_files(&rom, t, &e));
    assert_non_null(strstr(e.message, hex[0]));
    assert_non_null(strstr(e.message, hex[1]));
    free(t);
}

// ---- stage files

static struct stage *a_stage(void) {
    struct stage *s = mem_alloc(sizeof *s);
    strcpy(s->id, "exit_lab");
    strcpy(s->name, "Out of the \"lab\"");
    s->ready = true;
    strcpy(s->rom, "lab.gb");
    strcpy(s->start_state, "start.state");
    strcpy(s->goal_dir, "goal");
    strcpy(s->solution, "solution.txt");
    strcpy(s->action_codec_id, codecs[1]);
    s->rules = (struct goal_rules){.tau = 0.07f,
                                   .k_consecutive = 3,
                                   .max_steps = 99,
                                   .alpha = 2.5f,
                                   .goal_bonus = 4,
                                   .step_cost = -0.125f};
    s->has_tau = s->has_k = true;
    return s;
}

static void a_stage_file_says_what_was_written(void **state) {
    (void)state;
    struct stage *s = a_stage(), *back = mem_alloc(sizeof *back);
    struct error e = {0};
    char *text = stage_to_text(s);
    if (!stage_parse(text, strlen(text), "s.json", NULL, back, &e)) fail_msg("%s", e.message);
    assert_memory_equal(back, s, sizeof *s);
    assert_true(stage_parse(text, strlen(text), "s.json", "exit_lab", back, &e));
    assert_false(stage_parse(text, strlen(text), "s.json", "errand", back, &e));
    assert_non_null(strstr(e.message, "errand"));
    free(text);
    free(s);
    free(back);
}

// The list in the form of the project that the format comes from: no rules, several stages, one
// skipped.
static void a_list_of_several_stages_gives_each_with_the_default_rules(void **state) {
    (void)state;
    static const char text[] =
        "{\"abi\": {\"action_codec_id\": \"pokemonred_puffer_v1\", \"frames_per_step\": 24, "
        "\"release_after_frames\": 8,"
        " \"stack_k\": 1, \"downsample_h\": 72, \"downsample_w\": 80, \"shade_levels\": 4,"
        " \"dist_metric\": \"l1_mean_norm\"},"
        " \"stages\": [{\"id\": \"one\", \"name\": \"One\", \"status\": \"ready\", "
        "\"start_state\": \"a.state\","
        " \"goal_source_state\": \"b.state\", \"goal_dir\": \"g1\", \"max_steps\": 96},"
        " {\"id\": \"two\", \"name\": \"Two\", \"status\": \"skipped\", \"start_state\": "
        "\"b.state\","
        " \"goal_source_state\": null, \"goal_dir\": \"g2\", \"max_steps\": 64}]}";
    struct stage *s = mem_alloc(sizeof *s);
    struct error e = {0};
    assert_false(stage_parse(text, strlen(text), "list.json", NULL, s, &e));
    assert_non_null(strstr(e.message, "2 stages"));
    if (!stage_parse(text, strlen(text), "list.json", "two", s, &e)) fail_msg("%s", e.message);
    assert_false(s->ready || s->has_tau || s->has_k);
    assert_string_equal(s->goal_dir, "g2");
    struct goal_rules expected = goal_default_rules;
    expected.max_steps = 64;
    assert_memory_equal(&s->rules, &expected, sizeof expected);
    assert_true(stage_parse(text, strlen(text), "list.json", "one", s, &e));
    assert_true(s->ready);
    assert_string_equal(s->goal_source_state, "b.state");
    free(s);
}

static void a_stage_of_another_machine_is_refused_with_both_values(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *words[3];
    } bad[] = {
        {"\"frames_per_step\": 24", "\"frames_per_step\": 4", {"frames_per_step", "4", "24"}},
        {"\"release_after_frames\": 8",
         "\"release_after_frames\": 3",
         {"release_after_frames", "3", "8"}},
        {"\"downsample_h\": 72", "\"downsample_h\": 144", {"downsample_h", "144", "72"}},
        {"\"downsample_w\": 80", "\"downsample_w\": 160", {"downsample_w", "160", "80"}},
        {"\"shade_levels\": 4", "\"shade_levels\": 8", {"shade_levels", "8", "4"}},
        {"l1_mean_norm", "l2", {"dist_metric", "l2", "l1_mean_norm"}},
        {"pokemonred_puffer_v1", "v9", {"action_codec_id", "v9", "pokemonred_puffer_v1"}},
        {"\"ready\"", "\"soon\"", {"status", "soon"}},
        {"\"max_steps\": 99", "\"max_steps\": 0", {"max_steps", "0"}},
        {"\"k_consecutive\": 3", "\"k_consecutive\": \"x\"", {"k_consecutive"}},
        {"\"tau\": 0.07", "\"tau\": \"NaN\"", {"tau"}},
        {"\"alpha\": 2.5", "\"alpha\": 1e30", {"alpha"}},
        {"\"start_state\"", "\"state\"", {"start_state", "missing"}}};
    struct stage *s = a_stage(), *back = mem_alloc(sizeof *back);
    char *text = stage_to_text(s);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char altered[4000];
        const char *at = strstr(text, bad[i].from);
        struct error e = {0};
        assert_non_null(at);
        snprintf(altered, sizeof altered, "%.*s%s%s", (int)(at - text), text, bad[i].to,
                 at + strlen(bad[i].from));
        assert_false(stage_parse(altered, strlen(altered), "s.json", NULL, back, &e));
        for (int w = 0; w < 3 && bad[i].words[w]; w++)
            if (!strstr(e.message, bad[i].words[w]))
                fail_msg("%s is missing in: %s", bad[i].words[w], e.message);
    }
    size_t n = strlen(text);
    for (size_t cut = 0; cut + 1 < n; cut++) {
        char *exact = mem_alloc(cut + 1);
        memcpy(exact, text, cut);
        assert_false(stage_parse(exact, cut, "s.json", NULL, back, NULL));
        free(exact);
    }
    for (size_t bit = 0; bit < 8 * n; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        struct error e = {0};
        if (!stage_parse(text, n, "s.json", NULL, back, &e))
            assert_true(e.message[0] && !strchr(e.message, '\n'));
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
    free(text);
    free(s);
    free(back);
}

// ---- recorded actions

static void actions_are_read_line_by_line(void **state) {
    (void)state;
    static const char text[] = "# out of the door\nUP\r\n\n  A \nSTART\nNOOP";
    int n;
    int32_t *a = task_parse_actions(text, strlen(text), "a.txt", codecs[1], &n, NULL);
    assert_non_null(a);
    assert_int_equal(n, 4);
    const int32_t expected[4] = {4, 1, 3, 0};
    assert_memory_equal(a, expected, sizeof expected);
    free(a);
    struct error e = {0};
    assert_null(
        task_parse_actions(text, strlen(text), "a.txt", codecs[0], &n, &e)); // v0 has no NOOP
    assert_string_equal(e.message, "a.txt: line 6: \"NOOP\" is no action of pokemonred_puffer_v0");
    assert_null(task_parse_actions("# nothing\n", 10, "a.txt", codecs[0], &n, &e));
    assert_non_null(strstr(e.message, "no action"));
    assert_null(task_parse_actions("UP DOWN\n", 8, "a.txt", codecs[0], &n, &e));
    assert_null(task_parse_actions("A\0", 2, "a.txt", codecs[0], &n, &e));
    assert_null(task_parse_actions("A\0B", 3, "a.txt", codecs[0], &n, &e));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_has_the_rules_of_the_specification_for_both_codecs),
        cmocka_unit_test(a_recorded_solution_reaches_the_goal_at_its_last_action),
        cmocka_unit_test(the_goal_screen_holds_still_whatever_is_pressed),
        cmocka_unit_test(a_random_policy_hardly_ever_succeeds),
        cmocka_unit_test(the_shortest_way_is_long_and_has_turns),
        cmocka_unit_test(what_is_no_goal_task_is_refused_by_name),
        cmocka_unit_test(the_files_of_a_task_open_like_the_task),
        cmocka_unit_test(a_template_of_another_codec_rom_or_state_is_refused_with_both_values),
        cmocka_unit_test(a_stage_file_says_what_was_written),
        cmocka_unit_test(a_list_of_several_stages_gives_each_with_the_default_rules),
        cmocka_unit_test(a_stage_of_another_machine_is_refused_with_both_values),
        cmocka_unit_test(actions_are_read_line_by_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
