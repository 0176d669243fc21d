// Tests of rom play: keys injected into SDL's dummy driver, one frame a turn.
#include <dirent.h>

#include "support/files.h"

#include "engine/env/task.h"
#include "ui/cli_actions.h"
#include "ui/cli_rom.h"
#include "ui/play.h"
#include "ui/play_rewind.h"

static char folder[4096], rom_path[4200];
static struct error e;

static struct play *open_play(const char *state_path) {
    struct play *p = play_open(
        &(struct play_opts){.rom_path = rom_path, .state_path = state_path, .unpaced = true}, &e);
    if (!p) fail_msg("%s", e.message);
    return p;
}

static void key(SDL_Keycode code, bool down) {
    SDL_Event event = {.key = {.type = down ? SDL_KEYDOWN : SDL_KEYUP, .keysym.sym = code}};
    assert_int_equal(SDL_PushEvent(&event), 1);
}

static void press(struct play *p, SDL_Keycode code) {
    key(code, true);
    key(code, false);
    assert_true(play_turn(p));
}

static void turns(struct play *p, int n) {
    for (int i = 0; i < n; i++) assert_true(play_turn(p));
}

static size_t state_of(const struct play *p, uint8_t *out) {
    return gb_state_save(play_machine(p), out);
}

static uint8_t a[1 << 17], b[1 << 17];

static const char *path_of(const char *name) {
    static char path[5000];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void the_game_runs_and_its_picture_is_shown(void **state) {
    (void)state;
    struct play *p = open_play(NULL);
    turns(p, 200);
    int n_dark = 0;
    for (int i = 0; i < 160 * 144; i++) n_dark += play_picture(p)[i] > 0;
    assert_true(n_dark > 1000);
    play_close(p);
}

static void buttons_reach_the_machine_while_they_are_held(void **state) {
    (void)state;
    struct play *p = open_play(NULL);
    for (const struct play_key *k = play_keys; k->key; k++) {
        if (k->action != PLAY_BUTTON) continue;
        key(k->key, true);
        turns(p, 2);
        assert_int_equal(play_machine(p)->buttons, k->argument);
        key(k->key, false);
        turns(p, 1);
        assert_int_equal(play_machine(p)->buttons, 0);
    }
    key(SDLK_z, true);
    key(SDLK_LEFT, true);
    turns(p, 1);
    assert_int_equal(play_machine(p)->buttons, GB_BUTTON_A | GB_BUTTON_LEFT);
    SDL_Event lost = {.window = {.type = SDL_WINDOWEVENT, .event = SDL_WINDOWEVENT_FOCUS_LOST}};
    SDL_PushEvent(&lost);
    turns(p, 1);
    assert_int_equal(play_machine(p)->buttons, 0);
    play_close(p);
}

static void pause_holds_the_machine_and_a_frame_step_moves_it_by_one(void **state) {
    (void)state;
    struct play *p = open_play(NULL), *other = NULL;
    turns(p, 100);
    press(p, SDLK_SPACE);
    assert_true(play_is_paused(p));
    size_t n = state_of(p, a);
    turns(p, 10);
    state_of(p, b);
    assert_memory_equal(a, b, n);
    press(p, SDLK_PERIOD);
    press(p, SDLK_PERIOD);
    state_of(p, a);
    play_close(p);
    other = open_play(NULL);
    turns(other, 102); // the pause came before its turn's frame
    state_of(other, b);
    assert_memory_equal(a, b, n);
    play_close(other);
}

static void fast_forward_runs_eight_frames_a_turn(void **state) {
    (void)state;
    struct play *p = open_play(NULL);
    key(SDLK_TAB, true);
    turns(p, 10);
    key(SDLK_TAB, false);
    turns(p, 1);
    size_t n = state_of(p, a);
    play_close(p);
    p = open_play(NULL);
    turns(p, 81);
    state_of(p, b);
    assert_memory_equal(a, b, n);
    play_close(p);
}

static void rewind_goes_back_through_the_same_states_and_pictures(void **state) {
    (void)state;
    static uint8_t picture[160 * 144];
    struct play *p = open_play(NULL);
    turns(p, 200);
    size_t n = state_of(p, a);
    memcpy(picture, play_picture(p), sizeof picture);
    turns(p, 40); // places at frames 200, 204 ... 236
    key(SDLK_BACKSPACE, true);
    turns(p, 10);
    key(SDLK_BACKSPACE, false);
    key(SDLK_SPACE, true);
    turns(p, 1);
    state_of(p, b);
    assert_memory_equal(a, b, n);
    assert_memory_equal(picture, play_picture(p), sizeof picture);
    key(SDLK_BACKSPACE, true);
    turns(p, 100); // to the beginning, and no further
    assert_non_null(strstr(play_message(p), "no further"));
    play_close(p);
}

static void the_rewind_ring_forgets_the_oldest(void **state) {
    (void)state;
    static struct gb m;
    static uint8_t shades[160 * 144];
    struct rom_file rom;
    assert_true(rom_file_open(&rom, rom_path, &e));
    gb_reset(&m, &rom.rom);
    struct rewind *r = rewind_new(&rom.rom);
    assert_false(rewind_pop(r, &m, shades));
    for (int i = 0; i < REWIND_PLACES + 50; i++) {
        shades[7] = (uint8_t)(i & 3);
        rewind_push(r, &m, shades);
    }
    assert_int_equal(rewind_count(r), REWIND_PLACES);
    for (int i = 0; i < REWIND_PLACES; i++) {
        assert_true(rewind_pop(r, &m, shades));
        assert_int_equal(shades[7], (REWIND_PLACES + 49 - i) & 3);
    }
    assert_false(rewind_pop(r, &m, shades));
    rewind_free(r);
    rom_file_close(&rom);
}

static void s_saves_a_state_that_play_starts_from(void **state) {
    (void)state;
    struct play *p = open_play(NULL);
    turns(p, 150);
    press(p, SDLK_SPACE);
    press(p, SDLK_s);
    size_t n = state_of(p, a);
    play_close(p);
    p = open_play(path_of("game-001.state"));
    state_of(p, b);
    assert_memory_equal(a, b, n);
    press(p, SDLK_s);
    assert_true(file_exists(path_of("game-002.state")));
    play_close(p);
}

static void p_saves_the_picture(void **state) {
    (void)state;
    struct play *p = open_play(NULL);
    turns(p, 100);
    press(p, SDLK_p);
    play_close(p);
    size_t n;
    uint8_t *png = get_file(path_of("game-001.png"), &n);
    assert_memory_equal(png, "\x89PNG", 4);
    assert_int_equal(png[18] << 8 | png[19], 160);
    assert_int_equal(png[22] << 8 | png[23], 144);
    free(png);
}

// Records while keys are pressed at odd moments; the file, done again by gb_step, ends in the same
// state.
static void recorded_actions_done_again_end_in_the_same_state(void **state) {
    (void)state;
    static struct gb m;
    uint8_t obs[GB_OBS_BYTES];
    struct play *p = open_play(NULL);
    turns(p, 77);
    key(SDLK_r, true);
    key(SDLK_r, false);
    for (int frame = 0; frame < 10 * GB_FRAMES_PER_STEP; frame++) {
        if (frame == 30) key(SDLK_UP, true);
        if (frame == 33) key(SDLK_UP, false); // a tap within a step counts for the next
        if (frame == 100) key(SDLK_x, true);
        if (frame == 170) key(SDLK_x, false);
        turns(p, 1);
    }
    press(p, SDLK_SPACE); // the first frame of an 11th step is not run
    size_t n = state_of(p, a);
    press(p, SDLK_r);
    play_close(p);
    struct actions actions;
    struct rom_file rom;
    if (!actions_read(&actions, path_of("game-001.actions"), &e)) fail_msg("%s", e.message);
    assert_int_equal(actions.n, 10);
    assert_string_equal(actions.codec->names[actions.list[2]], "UP");
    assert_string_equal(actions.codec->names[actions.list[5]], "B");
    assert_true(rom_file_open(&rom, rom_path, &e));
    assert_true(rom_file_start(&rom, &m, path_of("game-001.state"), &e));
    for (size_t i = 0; i < actions.n; i++)
        gb_step(&m, actions.codec->buttons[actions.list[i]], GB_FRAMES_PER_STEP, GB_RELEASE_AFTER,
                obs);
    gb_state_save(&m, b);
    assert_memory_equal(a, b, n);
    actions_deinit(&actions);
    rom_file_close(&rom);
}

static SDL_Keycode key_of(uint8_t button) {
    for (const struct play_key *k = play_keys; k->key; k++)
        if (k->action == PLAY_BUTTON && k->argument == button) return k->key;
    return 0;
}

// Plays exit_lab's solution by hand: S and R at the start, G once outside, R.
static void play_out_of_the_lab(const int32_t *solution, int n) {
    const struct gb_action_codec *codec = gb_action_codec(0);
    size_t n_rom;
    void *rom = get_file("assets/roms/lab.gb", &n_rom);
    put_file(rom_path, rom, n_rom);
    free(rom);
    struct play *p = open_play("assets/tasks/exit_lab/start.state");
    key(SDLK_s, true);
    key(SDLK_r, true);
    for (int i = 0; i < n; i++) {
        SDL_Keycode code = key_of(codec->buttons[solution[i]]);
        for (int frame = 0; frame < GB_FRAMES_PER_STEP; frame++) {
            if (code && frame % GB_RELEASE_AFTER == 0 && frame <= GB_RELEASE_AFTER)
                key(code, frame == 0);
            turns(p, 1);
        }
    }
    key(SDLK_r, true);
    key(SDLK_g, true);
    turns(p, 1);
    assert_string_equal(play_message(p), "goal game-003.goal"); // 001: S, 002: R
    play_close(p);
}

// The files of S and G are a task that the recorded way solves, not a step earlier.
static void s_and_g_make_a_task_that_the_played_way_solves(void **state) {
    (void)state;
    struct task built_in, task;
    if (!task_open_builtin("exit_lab", "pokemonred_puffer_v1", &built_in, &e))
        fail_msg("%s", e.message);
    play_out_of_the_lab(built_in.solution, built_in.n_solution);
    char state_path[5000], goal[5000];
    snprintf(state_path, sizeof state_path, "%s", path_of("game-001.state"));
    snprintf(goal, sizeof goal, "%s", path_of("game-003.goal"));
    struct task_files files = {.rom = rom_path,
                               .state = state_path,
                               .goal_dir = goal,
                               .action_codec_id = "pokemonred_puffer_v1"};
    if (!task_open_files(&files, &task, &e)) fail_msg("%s", e.message);
    struct env_gameboy_opts opts = {.n_envs = 1};
    task_env_opts(&task, &opts);
    struct env *env = env_gameboy_new(&opts, &e);
    if (!env) fail_msg("%s", e.message);
    assert_true(env_gameboy_start_distance(env) > 3 * 0.05f);
    struct actions played;
    if (!actions_read(&played, path_of("game-002.actions"), &e)) fail_msg("%s", e.message);
    assert_int_equal(played.n, built_in.n_solution);
    uint8_t picture[ENV_OBS_BYTES], mask = 1, *obs = picture;
    struct env_step_result result = {0};
    env_reset(env, &mask, &obs);
    for (size_t i = 0; i < played.n; i++) {
        assert_false(result.terminated);
        env_step(env, &mask, &(int32_t){played.list[i]}, &obs, &result);
    }
    assert_true(result.terminated);
    actions_deinit(&played);
    env_free(env);
    task_close(&task);
    task_close(&built_in);
}

static void broken_action_files_are_refused_with_file_and_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "cut after line 0"},
        {"hello\n", "no recorded actions"},
        {"workbench-actions 2\n", "workbench-actions 1"},
        {"workbench-actions 1\nrom abc\n", ":2:"},
        {"workbench-actions 1\nrom "
         "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nstate -\ncodec v9\n",
         ":4:"},
        {"workbench-actions 1\nrom "
         "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nstate -\n"
         "codec pokemonred_puffer_v1\nUP\nJUMP\n",
         ":6:"},
    };
    char path[5000];
    snprintf(path, sizeof path, "%s", path_of("bad.actions"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct actions actions;
        put_file(path, bad[i].text, strlen(bad[i].text));
        assert_false(actions_read(&actions, path, &e));
        if (!strstr(e.message, bad[i].says) || !strstr(e.message, "bad.actions"))
            fail_msg("%s", e.message);
    }
}

static void zoom_keys_stay_between_one_and_ten(void **state) {
    (void)state;
    struct play *p = open_play(NULL);
    assert_int_equal(play_zoom(p), 4);
    press(p, SDLK_PLUS);
    assert_int_equal(play_zoom(p), 5);
    for (int i = 0; i < 20; i++) press(p, SDLK_EQUALS);
    assert_int_equal(play_zoom(p), 10);
    for (int i = 0; i < 20; i++) press(p, SDLK_MINUS);
    assert_int_equal(play_zoom(p), 1);
    play_close(p);
}

static void q_escape_and_the_close_button_leave(void **state) {
    (void)state;
    static const SDL_Keycode codes[] = {SDLK_q, SDLK_ESCAPE, 0};
    for (int i = 0; i < 3; i++) {
        struct play *p = open_play(NULL);
        turns(p, 2);
        SDL_Event quit = {.type = SDL_QUIT};
        if (codes[i])
            key(codes[i], true);
        else
            SDL_PushEvent(&quit);
        assert_false(play_turn(p));
        play_close(p);
    }
}

static void a_folder_that_cannot_be_written_is_told_and_the_game_goes_on(void **state) {
    (void)state;
    struct play *p = open_play(NULL);
    turns(p, 2);
    char gone[4200];
    snprintf(gone, sizeof gone, "%s-gone", folder);
    assert_int_equal(rename(folder, gone), 0);
    press(p, SDLK_s);
    assert_non_null(strstr(play_message(p), "not saved"));
    press(p, SDLK_r);
    press(p, SDLK_g);
    assert_non_null(strstr(play_message(p), "not saved"));
    press(p, SDLK_p);
    turns(p, 5);
    play_close(p);
    assert_int_equal(rename(gone, folder), 0);
}

// Every test finds only the ROM in its folder.
static int setup(void **state) {
    (void)state;
    size_t n;
    snprintf(folder, sizeof folder, "%s", test_folder());
    snprintf(rom_path, sizeof rom_path, "%s/game.gb", folder);
    void *rom = get_file("assets/roms/sprites.gb", &n);
    put_file(rom_path, rom, n);
    free(rom);
    return 0;
}

int main(void) {
    setenv("SDL_VIDEODRIVER", "dummy", 1);
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, setup)
        TEST(the_game_runs_and_its_picture_is_shown),
        TEST(buttons_reach_the_machine_while_they_are_held),
        TEST(pause_holds_the_machine_and_a_frame_step_moves_it_by_one),
        TEST(fast_forward_runs_eight_frames_a_turn),
        TEST(rewind_goes_back_through_the_same_states_and_pictures),
        TEST(the_rewind_ring_forgets_the_oldest),
        TEST(s_saves_a_state_that_play_starts_from),
        TEST(p_saves_the_picture),
        TEST(recorded_actions_done_again_end_in_the_same_state),
        TEST(s_and_g_make_a_task_that_the_played_way_solves),
        TEST(broken_action_files_are_refused_with_file_and_line),
        TEST(zoom_keys_stay_between_one_and_ten),
        TEST(q_escape_and_the_close_button_leave),
        TEST(a_folder_that_cannot_be_written_is_told_and_the_game_goes_on),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
