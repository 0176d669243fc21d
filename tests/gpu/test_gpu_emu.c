// The machines on the device against the CPU's: same inputs, the same machine to the byte.
#include "gpu/parity.h"

#include <stdio.h>

#include "emu/gb.h"
#include "engine/env/device_play.h"
#include "engine/env/gameboy.h"

enum { MAX_ROM = 1 << 20, STATE_ROOM = 64 << 10, MAX_LANES = 40, N_BUTTONS = 8 };
static const uint8_t buttons[N_BUTTONS] = {0x00, 0x10, 0x20, 0x80, 0x04, 0x08, 0x02, 0x01};

static const struct device_play *the_play(void) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct device_play *p = device_play_of(parity_backend(), why, sizeof why);
    if (!p) fail_msg("%s", why);
    return p;
}

// N machines twice: on the device, and as the CPU runs them.
struct pair {
    int n, n_frames, release_after;
    uint8_t *bytes;
    struct gb_rom rom;
    struct gb start;
    struct gb_image image;
    uint8_t start_obs[ENV_OBS_BYTES];
    struct gb *cpu;
    struct device_machines *device;
};

static void load(struct pair *p, const char *path) {
    char why[GB_MESSAGE_SIZE];
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    p->bytes = malloc(MAX_ROM);
    const size_t n = fread(p->bytes, 1, MAX_ROM, file);
    fclose(file);
    if (!gb_rom_parse(&p->rom, p->bytes, n, why, sizeof why)) fail_msg("%s: %s", path, why);
}

static struct pair *pair_new(const char *path, int n, int n_frames, int release_after) {
    struct pair *p = calloc(1, sizeof *p);
    char why[BACKEND_MESSAGE_SIZE] = "";
    load(p, path);
    p->n = n;
    p->n_frames = n_frames;
    p->release_after = release_after;
    gb_reset(&p->start, &p->rom);
    gb_step(&p->start, 0, 7, 0, p->start_obs); // not at the beginning of anything
    gb_image_take(&p->image, &p->start);
    p->cpu = calloc((size_t)n, sizeof *p->cpu);
    const struct device_machines_opts opts = {.rom = &p->rom,
                                              .start = &p->image,
                                              .start_obs = p->start_obs,
                                              .n_machines = n,
                                              .n_frames = n_frames,
                                              .release_after = release_after,
                                              .n_actions = N_BUTTONS,
                                              .buttons = buttons};
    p->device = the_play()->machines_new(&opts, why, sizeof why);
    if (!p->device) fail_msg("%s", why);
    return p;
}

static void pair_free(struct pair *p) {
    the_play()->machines_free(p->device);
    free(p->cpu);
    free(p->bytes);
    free(p);
}

static void run_cpu(struct pair *p, const int32_t *orders, uint8_t (*obs)[ENV_OBS_BYTES]) {
    for (int i = 0; i < p->n; i++) {
        if (orders[i] == DEVICE_REST) continue;
        if (orders[i] == DEVICE_RESET) {
            gb_copy(&p->cpu[i], &p->start);
            memcpy(obs[i], p->start_obs, ENV_OBS_BYTES);
        } else {
            gb_step(&p->cpu[i], buttons[orders[i]], p->n_frames, p->release_after, obs[i]);
        }
    }
}

static void run_both(struct pair *p, const int32_t *orders, uint8_t (*expected)[ENV_OBS_BYTES],
                     const char *what) {
    static uint8_t seen[MAX_LANES][ENV_OBS_BYTES];
    static struct device_result results[MAX_LANES];
    run_cpu(p, orders, expected);
    if (!the_play()->machines_run(p->device, orders) ||
        !the_play()->machines_results(p->device, results, seen[0]))
        fail_msg("%s: %s", what, the_play()->machines_message(p->device));
    for (int i = 0; i < p->n; i++) {
        if (memcmp(seen[i], expected[i], ENV_OBS_BYTES) != 0)
            fail_msg("%s: machine %d shows another picture", what, i);
        if (orders[i] >= 0) assert_int_equal(results[i].locked, gb_is_locked(&p->cpu[i]));
    }
}

// The whole state, in the file format.
static void compare_states(struct pair *p, const char *what) {
    static uint8_t ours[STATE_ROOM], theirs[STATE_ROOM];
    static struct gb_image image;
    static struct gb back;
    for (int i = 0; i < p->n; i++) {
        if (!the_play()->machines_take(p->device, i, &image))
            fail_msg("%s: %s", what, the_play()->machines_message(p->device));
        memset(&back, 0, sizeof back);
        gb_image_give(&back, &image, &p->rom);
        const size_t n = gb_state_save(&back, ours);
        gb_state_save(&p->cpu[i], theirs);
        for (size_t at = 0; at < n; at++)
            if (ours[at] != theirs[at])
                fail_msg("%s: machine %d: byte %zu of its state differs", what, i, at);
        if (back.picture_blank != p->cpu[i].picture_blank) fail_msg("%s: blank differs", what);
    }
}

// `steps` steps of random actions; a machine now and then rests or is reset.
static void play_both(const char *path, int n, int n_frames, int release_after, int steps,
                      bool disturb) {
    static uint8_t expected[MAX_LANES][ENV_OBS_BYTES];
    struct pair *p = pair_new(path, n, n_frames, release_after);
    int32_t orders[MAX_LANES];
    for (int i = 0; i < n; i++) orders[i] = DEVICE_RESET;
    run_both(p, orders, expected, path);
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < n; i++) {
            const double r = grad_random(3 * step + 1, i);
            orders[i] = (int32_t)(N_BUTTONS * grad_random(3 * step, i));
            if (disturb && r < 0.1) orders[i] = r < 0.05 ? DEVICE_RESET : DEVICE_REST;
        }
        run_both(p, orders, expected, path);
        if (step % 8 == 0) compare_states(p, path);
    }
    compare_states(p, path);
    pair_free(p);
}

static void built_in_games_play_1000_frames_of_random_buttons(void **state) {
    (void)state;
    static const char *const roms[] = {"assets/roms/scroll.gb", "assets/roms/sprites.gb",
                                       "assets/roms/static.gb", "assets/roms/lab.gb"};
    for (size_t r = 0; r < sizeof roms / sizeof *roms; r++)
        play_both(roms[r], 2, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, 42, false);
}

static void machines_rest_and_are_reset_one_by_one(void **state) {
    (void)state;
    play_both("assets/roms/sprites.gb", 35, 4, 2, 12, true); // over the edge of a warp
}

static void every_frame_for_itself(void **state) {
    (void)state;
    play_both("assets/roms/scroll.gb", 3, 1, 1, 40, false);
}

// Mappers, clock, timer, DMA, sound, mid-frame effects: the ROMs that pin the CPU's machine.
static void test_cartridges_run_to_the_same_bytes(void **state) {
    (void)state;
    static const char *const roms[] = {"mbc1", "mbc3", "mbc5", "timer", "lcd", "dma", "sound"};
    for (size_t r = 0; r < sizeof roms / sizeof *roms; r++) {
        char path[64];
        snprintf(path, sizeof path, "tests/roms/%s.gb", roms[r]);
        play_both(path, 2, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, 12, false);
    }
}

// Cartridges of chance (tests/emu/fuzz.h makes worse ones): a ROM whose code is damaged.
static void damaged_code_runs_to_the_same_bytes(void **state) {
    (void)state;
    for (int k = 0; k < 12; k++) {
        char path[64];
        snprintf(path, sizeof path, "%s", k & 1 ? "assets/roms/lab.gb" : "tests/roms/mbc3.gb");
        struct pair *p = pair_new(path, 1, 3, 2);
        the_play()->machines_free(p->device);
        for (int i = 0; i < 600; i++)
            p->bytes[0x150 + (int)(0x1e00 * grad_random(100 + k, 2 * i))] =
                (uint8_t)(256 * grad_random(100 + k, 2 * i + 1));
        gb_reset(&p->start, &p->rom);
        gb_image_take(&p->image, &p->start);
        memset(p->start_obs, 0, sizeof p->start_obs);
        const struct device_machines_opts opts = {.rom = &p->rom,
                                                  .start = &p->image,
                                                  .start_obs = p->start_obs,
                                                  .n_machines = 1,
                                                  .n_frames = 3,
                                                  .release_after = 2,
                                                  .n_actions = N_BUTTONS,
                                                  .buttons = buttons};
        char why[BACKEND_MESSAGE_SIZE] = "";
        p->device = the_play()->machines_new(&opts, why, sizeof why);
        if (!p->device) fail_msg("%s", why);
        static uint8_t expected[MAX_LANES][ENV_OBS_BYTES];
        for (int step = 0; step < 20; step++) {
            const int32_t order = step ? step * 5 % N_BUTTONS : DEVICE_RESET;
            run_both(p, &order, expected, path);
        }
        compare_states(p, path);
        pair_free(p);
    }
}

// ---- the goal's rules

static struct env *env_of(const char *path, const struct goal *goal, const struct goal_rules *rules,
                          uint8_t *bytes) {
    struct error e = {0};
    FILE *file = fopen(path, "rb");
    const size_t n = fread(bytes, 1, MAX_ROM, file);
    fclose(file);
    const struct env_gameboy_opts o = {.rom = bytes,
                                       .rom_bytes = n,
                                       .rom_name = path,
                                       .n_envs = MAX_LANES,
                                       .warm_up_frames = 30,
                                       .max_episode_steps = 11,
                                       .goal = goal,
                                       .rules = rules};
    struct env *env = env_gameboy_new(&o, &e);
    if (!env) fail_msg("%s", e.message);
    return env;
}

// The environment of the CPU beside the machines of the device, for 60 steps.
static void judge_both(int n_goal_frames, bool has_goal) {
    static uint8_t rom[MAX_ROM], obs[MAX_LANES][ENV_OBS_BYTES], seen[MAX_LANES][ENV_OBS_BYTES];
    struct env_step_result want[MAX_LANES] = {0};
    struct device_result got[MAX_LANES];
    uint8_t *slots[MAX_LANES], mask[MAX_LANES], resets[MAX_LANES];
    const char *path = "assets/roms/lab.gb";
    struct pair *p = pair_new(path, MAX_LANES, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER);
    the_play()->machines_free(p->device);
    gb_reset(&p->start, &p->rom);
    gb_step(&p->start, 0, 30, 0, p->start_obs);
    gb_image_take(&p->image, &p->start);
    struct goal goal = {.n_frames = n_goal_frames};
    for (int k = 0; k < n_goal_frames; k++) memcpy(goal.packed[k], p->start_obs, ENV_OBS_BYTES);
    goal.packed[0][700] ^= 0xff;
    const struct goal_rules rules = {.tau = 0.004f,
                                     .k_consecutive = 2,
                                     .max_steps = 11,
                                     .alpha = 7.3f,
                                     .goal_bonus = 10,
                                     .step_cost = -0.01f};
    const struct goal_rules only_time = {.max_steps = 11};
    struct env *env = env_of(path, has_goal ? &goal : NULL, &rules, rom);
    const struct device_machines_opts opts = {.rom = &p->rom,
                                              .start = &p->image,
                                              .start_obs = p->start_obs,
                                              .n_machines = MAX_LANES,
                                              .n_frames = GB_FRAMES_PER_STEP,
                                              .release_after = GB_RELEASE_AFTER,
                                              .n_actions = N_BUTTONS,
                                              .buttons = gb_action_codec(0)->buttons,
                                              .goal = goal.packed[0],
                                              .n_goal_frames = has_goal ? n_goal_frames : 0,
                                              .rules = has_goal ? &rules : &only_time};
    char why[BACKEND_MESSAGE_SIZE] = "";
    p->device = the_play()->machines_new(&opts, why, sizeof why);
    if (!p->device) fail_msg("%s", why);
    for (int i = 0; i < MAX_LANES; i++) slots[i] = obs[i], want[i].truncated = true;
    int n_done = 0, n_truncated = 0;
    for (int step = 0; step < 30; step++) {
        int32_t orders[MAX_LANES];
        for (int i = 0; i < MAX_LANES; i++) {
            resets[i] = want[i].terminated || want[i].truncated;
            mask[i] = !resets[i];
            orders[i] = resets[i] ? DEVICE_RESET : (int32_t)(N_BUTTONS * grad_random(step, i));
            if (i < 3 && !resets[i]) orders[i] = 0;
        }
        env_reset(env, resets, slots);
        env_step(env, mask, orders, slots, want);
        if (!the_play()->machines_run(p->device, orders) ||
            !the_play()->machines_results(p->device, got, seen[0]))
            fail_msg("%s", the_play()->machines_message(p->device));
        assert_memory_equal(seen, obs, sizeof obs);
        for (int i = 0; i < MAX_LANES; i++) {
            if (resets[i]) want[i] = (struct env_step_result){0};
            n_done += want[i].terminated;
            n_truncated += want[i].truncated;
            assert_int_equal(got[i].terminated, want[i].terminated);
            assert_int_equal(got[i].truncated, want[i].truncated);
            assert_memory_equal(&got[i].reward, &want[i].reward, sizeof(float));
            if (mask[i]) assert_memory_equal(&got[i].distance, &want[i].distance, sizeof(float));
        }
    }
    if (has_goal) assert_true(n_done > 0);
    assert_true(n_truncated > 0);
    env_free(env);
    pair_free(p);
}

static void rewards_and_ends_are_those_of_the_environment(void **state) {
    (void)state;
    judge_both(1, true);
}

static void a_goal_of_several_frames_is_compared_with_the_last_ones(void **state) {
    (void)state;
    judge_both(3, true);
}

static void without_a_goal_only_the_time_limit_ends(void **state) {
    (void)state;
    judge_both(1, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_games_play_1000_frames_of_random_buttons),
        cmocka_unit_test(machines_rest_and_are_reset_one_by_one),
        cmocka_unit_test(every_frame_for_itself),
        cmocka_unit_test(test_cartridges_run_to_the_same_bytes),
        cmocka_unit_test(damaged_code_runs_to_the_same_bytes),
        cmocka_unit_test(rewards_and_ends_are_those_of_the_environment),
        cmocka_unit_test(a_goal_of_several_frames_is_compared_with_the_last_ones),
        cmocka_unit_test(without_a_goal_only_the_time_limit_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
