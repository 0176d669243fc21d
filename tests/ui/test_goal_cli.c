// Tests of `workbench goal`: templates captured, checked and calibrated by the program itself, on a
// built-in task's files and on broken ones.
#define _GNU_SOURCE
#include "engine/data/npy.h"
#include "support/program.h"

#define LAB "assets/tasks/exit_lab/"
#define GAME " --rom assets/roms/lab.gb --state " LAB "start.state "
#define WAY "--actions " LAB "solution_v1.txt "
#define CAPTURE "goal capture" GAME

static void put(const char *name, const char *text) {
    char path[5000];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    put_file(path, text, strlen(text));
}

static int setup(void **state) {
    (void)state;
    program_setup();
    put("empty.jsonl", "");
    put("word.jsonl", "[0]\n[4]\nUP\n");
    put("wide.jsonl", "[0,1]\n[4]\n");
    put("nine.jsonl", "[9]\n");
    put("still.jsonl", "[0,0]\n[0,0]\n[0,0]\n");
    put("other.actions", "workbench-actions 1\n"
                         "rom 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
                         "state -\ncodec pokemonred_puffer_v1\nUP\n");
    put("game.gb", "no game");
    return 0;
}

static void what_a_task_ships_is_reached_by_its_solution(void **state) {
    (void)state;
    fine("goal check " LAB "goal_v1" GAME WAY);
    says("done after step 15 of 15");
    cJSON *o = json("goal check " LAB "goal_v1" GAME WAY "--json");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(o, "done")));
    assert_int_equal(cJSON_GetObjectItem(o, "step")->valueint, 15);
    cJSON_Delete(o);
}

static void a_template_of_a_trace_is_that_of_the_task(void **state) {
    (void)state;
    cJSON *o = json(CAPTURE WAY "--out $T/way --json");
    assert_string_equal(text_of(o, "action_codec_id"), "pokemonred_puffer_v1");
    assert_int_equal(cJSON_GetObjectItem(o, "steps")->valueint, 15);
    cJSON_Delete(o);
    assert_int_equal(system("cmp $T/way/goal_template.npy " LAB "goal_v1/goal_template.npy"), 0);
    assert_int_equal(system("test -s $T/way/goal_template.png"), 0);
    fine("goal check $T/way" GAME WAY);
    fine(CAPTURE WAY "--out $T/stack --use-stack 4 --tau 0.1 --k-consecutive 1");
    says("4 frames after 15 steps, pokemonred_puffer_v1, tau 0.1 for 1 step");
    fine("goal check $T/stack" GAME WAY);
    says("done after step 15");
}

static void a_template_of_a_state_is_what_an_episode_shows_first(void **state) {
    (void)state;
    fine(CAPTURE "--out $T/start env.action_codec=v0");
    says("1 frame of the state itself, pokemonred_puffer_v0");
    fine("goal check $T/start" GAME "--actions " LAB "solution_v0.txt --json");
    says("\"step\":\t2");
    fine("train --headless --algo ppo --updates 1 --no-session env.num_envs=2 algo.rollout_steps=4 "
         "--threads 1 --goal-dir $T/start" GAME);
}

static void a_template_is_replaced_only_by_force(void **state) {
    (void)state;
    fine(CAPTURE "--out $T/once");
    refused(1, CAPTURE WAY "--out $T/once", "--force");
    fine("goal check $T/once" GAME "--actions $T/still.jsonl");
    fine(CAPTURE WAY "--out $T/once --force");
    assert_int_equal(system("cmp $T/once/goal_template.npy " LAB "goal_v1/goal_template.npy"), 0);
}

static void a_trace_that_never_arrives_fails_and_leaves_its_curve(void **state) {
    (void)state;
    char path[5000];
    size_t n;
    struct npy_u8 a;
    struct error e = {0};
    refused(1, "goal check " LAB "goal_v1" GAME "--actions $T/still.jsonl --out $T/why",
            "not done in 3 steps: nearest 0.38");
    snprintf(path, sizeof path, "%s/why/last_frames.npy", folder);
    uint8_t *bytes = get_file(path, &n);
    assert_true(npy_parse(bytes, n, path, &a, &e));
    assert_true(a.n_dims == 3 && a.shape[0] == 2 && a.shape[1] == 72 && a.shape[2] == 80);
    free(bytes);
    snprintf(path, sizeof path, "%s/why/dist_curve.json", folder);
    char *text = get_file(path, &n);
    cJSON *o = cJSON_Parse(text), *curves = cJSON_GetObjectItem(o, "dist");
    assert_int_equal(cJSON_GetArraySize(curves), 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(cJSON_GetArraySize(cJSON_GetArrayItem(curves, i)), 3);
    cJSON_Delete(o);
    free(text);
    assert_int_equal(system("test -s $T/why/last_frames.png"), 0);
    fine(CAPTURE WAY "--out $T/far"); // without --out: beside the template
    assert_int_equal(workbench("goal check $T/far/" GAME "--actions $T/still.jsonl --json"), 1);
    says("\"done\":\tfalse");
    assert_int_equal(system("test -s $T/far.check/dist_curve.json"), 0);
}

static void calibrate_says_which_tau_the_end_of_a_trace_asks_for(void **state) {
    (void)state;
    fine("goal calibrate " LAB "goal_v1" GAME WAY);
    says("steps 15, distance min 0.0000");
    says("recommended_tau 0.0100");
    says("  0.35-0.40     12");
    cJSON *o = json("goal calibrate " LAB "goal_v1" GAME "--actions $T/still.jsonl --json");
    assert_int_equal(cJSON_GetObjectItem(o, "steps")->valueint, 3);
    const double tail = cJSON_GetObjectItem(o, "tail_min")->valuedouble,
                 tau = cJSON_GetObjectItem(o, "recommended_tau")->valuedouble;
    assert_true(tail > 0.3 && tau == tail + 0.01);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(o, "histogram")), 20);
    cJSON_Delete(o);
}

static void every_bad_input_gets_one_line_and_its_exit_code(void **state) {
    (void)state;
    static const struct {
        int code;
        const char *arguments, *part;
    } cases[] = {
        {2, "goal", "capture|check|calibrate"},
        {2, "goal eat", "goal eat: write workbench goal capture|check|calibrate"},
        {2, "goal capture" GAME, "--out DIR"},
        {2, "goal capture --rom assets/roms/lab.gb --out $T/x", "--state FILE"},
        {2, "goal check" GAME WAY, "goal check DIR"},
        {2, "goal check " LAB "goal_v1" GAME, "--actions FILE"},
        {2, "goal calibrate " LAB "goal_v1 " WAY, "--rom FILE"},
        {2, "goal check $T/nowhere" GAME WAY, "goal_template.meta.json"},
        {2, CAPTURE "--out $T/x --use-stack 9", "at most 8"},
        {2, CAPTURE "--out $T/x --use-stack 0", "--use-stack 0"},
        {2, CAPTURE "--out $T/x --tau 1.5", "--tau 1.5: a distance is at most 1"},
        {2, CAPTURE "--out $T/x --tau 0", "--tau 0"},
        {2, CAPTURE "--out $T/x --k-consecutive 1000001", "at most 1000000"},
        {2, CAPTURE "--out $T/x algo.gamma=1", "algo.gamma=1: the one key here"},
        {2, CAPTURE "--out $T/x --actions $T/nothing", "nothing"},
        {1, CAPTURE "--out $T/x --actions $T/empty.jsonl", "no action in it"},
        {1, CAPTURE "--out $T/x --actions $T/word.jsonl", "word.jsonl:3"},
        {1, CAPTURE "--out $T/x --actions $T/wide.jsonl", "1 actions, the first line has 2"},
        {1, CAPTURE "--out $T/x --actions $T/nine.jsonl", "0 to 7"},
        {1, CAPTURE "--out $T/x --actions $T/other.actions", "another ROM (sha256 001122334455"},
        {1, CAPTURE "--out $T/x --actions $T/other.actions env.action_codec=v0",
         "recorded with pokemonred_puffer_v1, env.action_codec asks for pokemonred_puffer_v0"},
        {1, "goal capture --rom $T/game.gb --state " LAB "start.state --out $T/x", "game.gb"},
        {1, "goal capture --rom assets/roms/lab.gb --state $T/game.gb --out $T/x", "game.gb"},
        {1, "goal check " LAB "goal_v1" GAME WAY "env.action_codec=v0",
         "action_codec_id is pokemonred_puffer_v1, this run has pokemonred_puffer_v0"},
        {1, "goal check assets/tasks/enter_house/goal_v1" GAME WAY, "state_sha256 is"},
        {1, "goal check " LAB "goal_v1 --rom assets/roms/scroll.gb --state " LAB "start.state " WAY,
         "rom_sha256 is"},
        {2, CAPTURE "--out $T/game.gb", "game.gb"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].code, cases[i].arguments, cases[i].part);
    assert_int_equal(system("test ! -e $T/x"), 0); // nothing is left behind
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_task_ships_is_reached_by_its_solution),
        cmocka_unit_test(a_template_of_a_trace_is_that_of_the_task),
        cmocka_unit_test(a_template_of_a_state_is_what_an_episode_shows_first),
        cmocka_unit_test(a_template_is_replaced_only_by_force),
        cmocka_unit_test(a_trace_that_never_arrives_fails_and_leaves_its_curve),
        cmocka_unit_test(calibrate_says_which_tau_the_end_of_a_trace_asks_for),
        cmocka_unit_test(every_bad_input_gets_one_line_and_its_exit_code),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
