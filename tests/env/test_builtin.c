// Tests of the built-in scenes: what is compiled in is what is committed, and each scene moves as
// its manual says.
#include "support/test.h"

#include "base/file.h"
#include "engine/env/builtin.h"
#include "engine/env/gameboy.h"

enum { MAX_STEPS = 320 };

static const char manual_path[] = "assets/roms/README.md";

// Scenes come first in the table.
enum { N_SCENES = 3 };

static void scenes_and_goal_tasks_are_found_by_name(void **state) {
    (void)state;
    static const char *const names[] = {"static",   "scroll",      "sprites",
                                        "exit_lab", "enter_house", "errand"};
    assert_int_equal(n_builtin_tasks, 6);
    for (int i = 0; i < 6; i++) {
        const struct builtin_task *t = builtin_task_find(names[i]);
        assert_ptr_equal(t, &builtin_tasks[i]);
        assert_int_equal(t->goals != NULL, i >= N_SCENES);
        assert_string_equal(t->name, names[i]);
        assert_true(strlen(t->what) > 0);
    }
    assert_null(builtin_task_find(""));
    assert_null(builtin_task_find("Static"));
    assert_null(builtin_task_find("static.gb"));
}

static void the_list_of_names_is_cut_to_fit(void **state) {
    (void)state;
    char out[64];
    builtin_task_names(out, sizeof out);
    static const char all[] = "static, scroll, sprites, exit_lab, enter_house, errand";
    assert_string_equal(out, all);
    for (size_t size = 1; size < sizeof out; size++) {
        memset(out, 'x', sizeof out);
        builtin_task_names(out, size);
        size_t n = size - 1 < strlen(all) ? size - 1 : strlen(all);
        assert_int_equal(strlen(out), n);
        assert_memory_equal(out, all, n);
        for (size_t i = size; i < sizeof out; i++) assert_int_equal(out[i], 'x');
    }
}

static void the_embedded_roms_are_the_committed_files(void **state) {
    (void)state;
    for (int i = 0; i < n_builtin_tasks; i++) {
        const struct builtin_task *t = &builtin_tasks[i];
        char path[200];
        uint8_t *file;
        size_t n;
        struct error e = {0};
        snprintf(path, sizeof path, "assets/roms/%s.gb", t->goals ? "lab" : t->name);
        if (!file_read(path, 1 << 20, &file, &n, &e)) fail_msg("%s", e.message);
        assert_int_equal(n, 32768);
        assert_int_equal(t->rom_bytes, 32768);
        if (memcmp(t->rom, file, n) != 0)
            fail_msg("%s differs from the ROM in the program: touch src/engine/env/builtin.c and "
                     "make again",
                     path);
        free(file);
    }
}

// ---- how the scenes move

// Frames of a scene with nothing pressed, [n_steps][ENV_OBS_BYTES].
static uint8_t (*film(const char *name, int n_steps))[ENV_OBS_BYTES] {
    const struct builtin_task *t = builtin_task_find(name);
    assert_non_null(t);
    struct error e = {0};
    struct env *env = env_gameboy_new(
        &(struct env_gameboy_opts){.rom = t->rom, .rom_bytes = t->rom_bytes, .rom_name = name}, &e);
    if (!env) fail_msg("%s", e.message);
    uint8_t(*frames)[ENV_OBS_BYTES] = calloc((size_t)n_steps, ENV_OBS_BYTES);
    assert_non_null(frames);
    env_reset(env, (const uint8_t[1]){1}, (uint8_t *[1]){frames[0]});
    for (int t_step = 1; t_step < n_steps; t_step++) {
        struct env_step_result result;
        env_step(env, (const uint8_t[1]){1}, (const int32_t[1]){0}, (uint8_t *[1]){frames[t_step]},
                 &result);
        assert_false(result.terminated || result.truncated);
    }
    env_free(env);
    return frames;
}

// The last number of the scene's row in the manual's table.
static int period_in_manual(const char *name) {
    uint8_t *text;
    size_t n;
    struct error e = {0};
    if (!file_read(manual_path, 1 << 20, &text, &n, &e)) fail_msg("%s", e.message);
    char cell[64];
    snprintf(cell, sizeof cell, "| `%s.gb` |", name);
    char *row = strstr((char *)text, cell);
    if (!row) fail_msg("%s: no row for %s", manual_path, name);
    row[strcspn(row, "\n")] = 0;
    char *last = strrchr(row, '|');
    *last = 0;
    int period = atoi(strrchr(row, '|') + 1);
    free(text);
    assert_true(period >= 1);
    return period;
}

static bool has_period(const uint8_t (*frames)[ENV_OBS_BYTES], int n_steps, int period) {
    for (int t = 0; t + period < n_steps; t++)
        if (memcmp(frames[t], frames[t + period], ENV_OBS_BYTES) != 0) return false;
    return true;
}

static void each_scene_repeats_with_the_period_of_its_manual_and_none_shorter(void **state) {
    (void)state;
    for (int i = 0; i < N_SCENES; i++) {
        const char *name = builtin_tasks[i].name;
        uint8_t(*frames)[ENV_OBS_BYTES] = film(name, MAX_STEPS);
        int said = period_in_manual(name), found = 0;
        for (int p = 1; p <= MAX_STEPS / 2 && !found; p++)
            if (has_period((const uint8_t(*)[ENV_OBS_BYTES])frames, MAX_STEPS, p)) found = p;
        if (found != said)
            fail_msg("%s repeats after %d steps, the manual says %d", name, found, said);
        free(frames);
    }
}

static void the_still_picture_never_changes(void **state) {
    (void)state;
    uint8_t(*frames)[ENV_OBS_BYTES] = film("static", MAX_STEPS);
    for (int t = 1; t < MAX_STEPS; t++) assert_memory_equal(frames[t], frames[0], ENV_OBS_BYTES);
    free(frames);
}

static int changed_pixels(const uint8_t *a, const uint8_t *b) {
    int n = 0;
    for (int i = 0; i < ENV_OBS_BYTES; i++)
        for (int s = 0; s < 8; s += 2) n += ((a[i] ^ b[i]) >> s & 3) != 0;
    return n;
}

// A learner must have something to see: what moves is more than a blinking dot and less than
// everything.
static void the_moving_scenes_change_at_every_step(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int least, most;
    } bounds[] = {{"scroll", 576, 5760}, {"sprites", 40, 2880}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        uint8_t(*frames)[ENV_OBS_BYTES] = film(bounds[i].name, 100);
        for (int t = 1; t < 100; t++)
            assert_in_range(changed_pixels(frames[t - 1], frames[t]), bounds[i].least,
                            bounds[i].most);
        free(frames);
    }
}

static void every_scene_uses_all_four_shades(void **state) {
    (void)state;
    for (int i = 0; i < N_SCENES; i++) {
        uint8_t(*frames)[ENV_OBS_BYTES] = film(builtin_tasks[i].name, 2);
        int count[4] = {0};
        for (int k = 0; k < ENV_OBS_BYTES; k++)
            for (int s = 0; s < 8; s += 2) count[frames[0][k] >> s & 3]++;
        for (int shade = 0; shade < 4; shade++) assert_true(count[shade] >= 100);
        free(frames);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scenes_and_goal_tasks_are_found_by_name),
        cmocka_unit_test(the_list_of_names_is_cut_to_fit),
        cmocka_unit_test(the_embedded_roms_are_the_committed_files),
        cmocka_unit_test(each_scene_repeats_with_the_period_of_its_manual_and_none_shorter),
        cmocka_unit_test(the_still_picture_never_changes),
        cmocka_unit_test(the_moving_scenes_change_at_every_step),
        cmocka_unit_test(every_scene_uses_all_four_shades),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
