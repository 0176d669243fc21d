// Goal traces: both forms are read, what is wrong is named by its line; captures, replays and
// calibration against pictures and distances that are known without an emulator.
#include "button_rom.h"
#include "support/test.h"

#include "engine/env/goal_trace.h"

static const struct gb_action_codec *v1(void) {
    return gb_action_codec_find("pokemonred_puffer_v1");
}

static uint8_t rom[BUTTON_ROM_BYTES];

static struct env_gameboy_opts game(void) {
    button_rom_make(rom);
    return (struct env_gameboy_opts){
        .rom = rom, .rom_bytes = sizeof rom, .rom_name = "buttons", .action_codec = v1()->id};
}

static struct goal_trace parse(const char *text) {
    struct goal_trace t;
    struct error e = {0};
    if (!goal_trace_parse(text, strlen(text), "x", v1(), &t, &e)) fail_msg("%s", e.message);
    return t;
}

static void lists_and_names_are_read(void **state) {
    (void)state;
    struct goal_trace t = parse("[1, 0]\n[4,7]\n[0,2]");
    assert_int_equal(t.n_steps, 3);
    assert_int_equal(t.n_envs, 2);
    static const int32_t read[] = {1, 0, 4, 7, 0, 2};
    assert_memory_equal(t.actions, read, sizeof read);
    goal_trace_free(&t);
    t = parse("# out\nUP\n\nA\n");
    assert_true(t.n_steps == 2 && t.n_envs == 1 && t.actions[0] == 4 && t.actions[1] == 1);
    goal_trace_free(&t);
}

static void every_broken_trace_is_refused_with_its_line(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "no action"},        {"[", "x:1"},
        {"[1]\n[]\n", "x:2"},     {"[1]\n[1,2]\n", "x:2: 2 actions, the first line has 1"},
        {"[1]\n[8]\n", "0 to 7"}, {"[-1]\n", "0 to 7"},
        {"[1.5]\n", "x:1"},       {"[\"1\"]\n", "x:1"},
        {"[1]\n{}\n", "x:2"},     {"[1]\n\n[1]\n", "x:2"},
        {"[[1]]\n", "x:1"},       {"[null]\n", "x:1"},
        {"[1]\nUP\n", "x:2"},     {"SELECT\n", "line 1"},
        {"[1]] \n", "x:1"},       {"{\"a\":1}\n", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct goal_trace t;
        struct error e = {0};
        if (goal_trace_parse(cases[i][0], strlen(cases[i][0]), "x", v1(), &t, &e))
            fail_msg("read: %s", cases[i][0]);
        if (!strstr(e.message, cases[i][1])) fail_msg("%s: %s", cases[i][0], e.message);
        assert_null(t.actions);
    }
    char wide[4096] = "[0";
    for (int i = 0; i < GOAL_TRACE_MAX_ENVS; i++) strcat(wide, ",0");
    strcat(wide, "]");
    struct goal_trace t;
    struct error e = {0};
    assert_false(goal_trace_parse(wide, strlen(wide), "x", v1(), &t, &e));
    assert_non_null(strstr(e.message, "1 to 64"));
}

// A picture's bytes are all the palette that the buttons so far make.
static void assert_shows(const uint8_t frame[ENV_OBS_BYTES], uint8_t palette) {
    for (int i = 0; i < ENV_OBS_BYTES; i++) assert_int_equal(frame[i], palette);
}

// The palettes after each step of the codec's actions.
static void palettes(const int *actions, int n, uint8_t *out) {
    static const uint8_t lines[] = {0, 0x01, 0x02, 0x08, 0x40, 0x80, 0x20, 0x10}; // of v1
    struct button_rom_state s = button_rom_begin();
    for (int i = 0; i < n; i++) {
        button_rom_after(&s, lines[actions[i]]);
        out[i] = s.shown;
    }
}

static void a_capture_is_what_environment_0_shows_at_the_end(void **state) {
    (void)state;
    struct env_gameboy_opts g = game();
    struct goal_trace t = parse("[1,2]\n[4,2]\n[2,2]\n[1,2]");
    struct goal *goal = calloc(1, sizeof *goal);
    struct error e = {0};
    uint8_t shown[4];
    palettes((const int[]){1, 4, 2, 1}, 4, shown);
    assert_true(goal_capture(&g, &t, 1, goal, &e));
    assert_int_equal(goal->n_frames, 1);
    assert_shows(goal->packed[0], shown[3]);
    assert_true(goal_capture(&g, &t, 3, goal, &e));
    for (int k = 0; k < 3; k++) assert_shows(goal->packed[k], shown[1 + k]);
    assert_true(goal_capture(&g, &t, 6, goal, &e)); // older than the trace: the first frame
    assert_shows(goal->packed[0], BUTTON_ROM_START);
    assert_shows(goal->packed[2], shown[0]);
    assert_true(goal_capture(&g, NULL, 1, goal, &e));
    assert_shows(goal->packed[0], BUTTON_ROM_START);
    goal_trace_free(&t);
    free(goal);
}

// Done needs k steps in a row: buttons that change nothing hold the picture.
static void a_replay_ends_with_the_first_environment_that_is_done(void **state) {
    (void)state;
    struct env_gameboy_opts g = game();
    struct goal_trace way = parse("[1]\n[2]"), t = parse("[0,1]\n[1,2]\n[2,0]\n[0,0]\n[0,0]");
    struct goal *goal = calloc(1, sizeof *goal);
    struct goal_rules rules = goal_default_rules;
    struct goal_curve c;
    struct error e = {0};
    rules.tau = 1e-6f;
    assert_true(goal_capture(&g, &way, 1, goal, &e));
    g.goal = goal;
    g.rules = &rules;
    if (!goal_replay(&g, &t, false, &c, &e)) fail_msg("%s", e.message);
    assert_int_equal(c.n_steps, 3); // environment 1 stands there after steps 2 and 3
    assert_int_equal(c.done_env, 1);
    assert_true(c.distances[2 * 2 + 1] == 0 && c.distances[0] > 0);
    goal_curve_free(&c);
    if (!goal_replay(&g, &t, true, &c, &e)) fail_msg("%s", e.message);
    assert_int_equal(c.n_steps, 5);
    assert_int_equal(c.done_env, -1);
    assert_memory_equal(c.last[0], goal->packed[0], ENV_OBS_BYTES);
    goal_curve_free(&c);
    rules.k_consecutive = 5;
    if (!goal_replay(&g, &t, false, &c, &e)) fail_msg("%s", e.message);
    assert_true(c.done_env == -1 && c.n_steps == 5);
    goal_curve_free(&c);
    goal_trace_free(&t);
    goal_trace_free(&way);
    free(goal);
}

static void calibration_sums_the_curve_of_environment_0(void **state) {
    (void)state;
    float distances[24];
    for (int i = 0; i < 12; i++) {
        distances[2 * i] = (float)(i == 0 ? 1.0 : i == 1 ? 0.02 : 0.5 - 0.01 * i);
        distances[2 * i + 1] = 0; // another environment's
    }
    const struct goal_curve curve = {.n_steps = 12, .n_envs = 2, .distances = distances};
    struct goal_calibration c;
    goal_calibrate(&curve, &c);
    assert_int_equal(c.steps, 12);
    assert_float_equal(c.min, 0.02, 1e-6);
    assert_float_equal(c.max, 1, 0);
    assert_float_equal(c.mean, (1 + 0.02 + 10 * 0.5 - 0.65) / 12, 1e-6);
    assert_float_equal(c.tail_min, 0.39, 1e-6); // the near one is older than ten steps
    assert_float_equal(c.recommended_tau, 0.40, 1e-6);
    int sum = 0;
    for (int i = 0; i < GOAL_BINS; i++) sum += c.histogram[i];
    assert_int_equal(sum, 12);
    assert_true(c.histogram[GOAL_BINS - 1] == 1 && c.histogram[0] == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_and_names_are_read),
        cmocka_unit_test(every_broken_trace_is_refused_with_its_line),
        cmocka_unit_test(a_capture_is_what_environment_0_shows_at_the_end),
        cmocka_unit_test(a_replay_ends_with_the_first_environment_that_is_done),
        cmocka_unit_test(calibration_sums_the_curve_of_environment_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
