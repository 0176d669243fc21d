// Tests of the Game Boy environment with a start state and a goal, on a ROM whose picture is known
// without an emulator.
#include "goal_fixture.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "engine/env/gameboy.h"
#include "env/button_rom.h"
#include "env/death.h"

enum { MAX_ENVS = 8, NOOP = 0, A = 1, B = 2, UP = 4, N_ACTIONS = 8 };

static uint8_t button_rom[BUTTON_ROM_BYTES];
static const uint8_t lines[N_ACTIONS] = {0, 0x01, 0x02, 0x08, 0x40, 0x80, 0x20, 0x10}; // codec v1
static const uint8_t everyone[MAX_ENVS] = {1, 1, 1, 1, 1, 1, 1, 1};

// ---- what the ROM shows, worked out here: every byte of the picture is the palette

static uint8_t shown_after(const int32_t *actions, int n) {
    struct button_rom_state s = button_rom_begin();
    for (int i = 0; i < n; i++) button_rom_after(&s, lines[actions[i]]);
    return s.shown;
}

static float palette_distance(uint8_t a, uint8_t b) {
    int sum = 0;
    for (int i = 0; i < 8; i += 2) sum += abs((a >> i & 3) - (b >> i & 3));
    return (float)(sum * 1440) / 17280.0f;
}

static struct goal *palette_goal(const uint8_t *palettes, int n_frames) {
    struct goal *g = mem_alloc(sizeof *g);
    g->n_frames = n_frames;
    for (int k = 0; k < n_frames; k++) memset(g->packed[k], palettes[k], ENV_OBS_BYTES);
    return g;
}

struct batch {
    struct env *env;
    uint8_t frames[MAX_ENVS][ENV_OBS_BYTES], *obs[MAX_ENVS];
    struct env_step_result results[MAX_ENVS];
};

static struct batch *batch_new(const struct env_gameboy_opts *given, const struct goal *goal,
                               const struct goal_rules *rules) {
    struct env_gameboy_opts opts = *given;
    struct error e = {0};
    struct batch *b = mem_alloc(sizeof *b);
    opts.rom = button_rom;
    opts.rom_bytes = sizeof button_rom;
    opts.goal = goal;
    opts.rules = rules;
    b->env = env_gameboy_new(&opts, &e);
    if (!b->env) fail_msg("%s", e.message);
    for (int i = 0; i < MAX_ENVS; i++) b->obs[i] = b->frames[i];
    return b;
}

static void batch_free(struct batch *b) {
    env_free(b->env);
    free(b);
}

static struct env_step_result step_one(struct batch *b, int32_t action) {
    memset(b->results, 0x5a, sizeof b->results);
    env_step(b->env, everyone, &action, b->obs, b->results);
    return b->results[0];
}

// ---- rules

static void rewards_follow_the_distance_of_each_picture(void **state) {
    (void)state;
    const int32_t actions[3] = {A, B, NOOP};
    uint8_t goal_palette = shown_after(actions, 3);
    struct goal *goal = palette_goal(&goal_palette, 1);
    struct batch *b = batch_new(&(struct env_gameboy_opts){0}, goal, NULL);
    for (int episode = 0; episode < 3; episode++) {
        float before = palette_distance(BUTTON_ROM_START, goal_palette);
        assert_true(before > 0.15f);
        assert_true(env_gameboy_start_distance(b->env) == before);
        env_reset(b->env, everyone, b->obs);
        for (int t = 0; t < 3; t++) {
            float d = palette_distance(shown_after(actions, t + 1), goal_palette);
            struct env_step_result r = step_one(b, actions[t]);
            float gained = before - d;
            assert_true(r.distance == d);
            assert_true(r.reward == (t == 2 ? -0.01f + gained + 10.0f : -0.01f + gained));
            assert_int_equal(r.terminated, t == 2);
            assert_false(r.truncated);
            before = d;
        }
    }
    batch_free(b);
    free(goal);
}

static void without_a_goal_nothing_is_rewarded_and_the_distance_is_zero(void **state) {
    (void)state;
    struct batch *b =
        batch_new(&(struct env_gameboy_opts){.max_episode_steps = 2}, NULL, &goal_default_rules);
    env_reset(b->env, everyone, b->obs);
    assert_true(env_gameboy_start_distance(b->env) == 0);
    for (int t = 1; t <= 2; t++) {
        struct env_step_result r = step_one(b, A);
        assert_true(r.reward == 0 && r.distance == 0);
        assert_false(r.terminated);
        assert_int_equal(r.truncated, t == 2);
    }
    batch_free(b);
}

static void the_rules_time_limit_holds_and_success_in_the_last_step_is_both(void **state) {
    (void)state;
    const int32_t actions[3] = {A, B, NOOP};
    uint8_t goal_palette = shown_after(actions, 3);
    struct goal *goal = palette_goal(&goal_palette, 1);
    struct goal_rules rules = goal_default_rules;
    rules.max_steps = 3;
    // The environment's own limit is for runs without a goal.
    struct batch *b = batch_new(&(struct env_gameboy_opts){.max_episode_steps = 2}, goal, &rules);
    env_reset(b->env, everyone, b->obs);
    step_one(b, A);
    struct env_step_result r = step_one(b, B);
    assert_false(r.terminated || r.truncated);
    r = step_one(b, NOOP);
    assert_true(r.terminated && r.truncated);
    env_reset(b->env, everyone, b->obs);
    for (int t = 1; t <= 3; t++) {
        r = step_one(b, NOOP);
        assert_int_equal(r.truncated, t == 3);
        assert_false(r.terminated);
    }
    batch_free(b);
    free(goal);
}

static void step_past_success(void *ctx) {
    (void)ctx;
    uint8_t start = BUTTON_ROM_START;
    struct goal *goal = palette_goal(&start, 1);
    struct batch *b = batch_new(&(struct env_gameboy_opts){0}, goal, NULL);
    env_reset(b->env, everyone, b->obs);
    for (int t = 0; t < 3; t++) step_one(b, NOOP);
}

static void an_environment_that_reached_its_goal_must_be_reset(void **state) {
    (void)state;
    expect_check_failure(step_past_success, NULL, "stepped after its episode ended");
}

static void a_stack_of_frames_must_come_in_its_order(void **state) {
    (void)state;
    const int32_t actions[4] = {A, B, UP, A};
    uint8_t wanted[3];
    for (int k = 0; k < 3; k++) wanted[k] = shown_after(actions, k + 2);
    struct goal *goal = palette_goal(wanted, 3);
    struct goal_rules rules = goal_default_rules;
    rules.k_consecutive = 1;
    rules.tau = 1e-6f;
    struct batch *b = batch_new(&(struct env_gameboy_opts){.n_envs = 2}, goal, &rules);
    env_reset(b->env, everyone, b->obs);
    uint8_t seen[3] = {BUTTON_ROM_START, BUTTON_ROM_START, BUTTON_ROM_START};
    for (int t = 0; t < 4; t++) {
        const int32_t both[2] = {actions[t], NOOP};
        env_step(b->env, everyone, both, b->obs, b->results);
        memmove(seen, seen + 1, 2);
        seen[2] = shown_after(actions, t + 1);
        int sum = 0;
        for (int k = 0; k < 3; k++)
            sum += (int)(palette_distance(seen[k], wanted[k]) * 17280.0f + 0.5f);
        assert_true(b->results[0].distance == (float)sum / (3 * 17280.0f));
        assert_int_equal(b->results[0].terminated, t == 3);
        assert_false(b->results[1].terminated); // its own stack
    }
    batch_free(b);
    free(goal);
}

// ---- a game that crashes

// The ROM's loop reaches an illegal opcode (D3 in the place of its xor) as soon as a button is
// down.
static void an_illegal_opcode_is_reported_and_the_episode_goes_on(void **state) {
    (void)state;
    uint8_t *rom = mem_alloc(BUTTON_ROM_BYTES);
    memcpy(rom, button_rom, BUTTON_ROM_BYTES);
    uint8_t *on_change = memchr(rom + 0x178, 0xa8, 64);
    assert_non_null(on_change);
    *on_change = 0xd3;
    struct error e = {0};
    struct env_gameboy_opts opts = {.rom = rom,
                                    .rom_bytes = BUTTON_ROM_BYTES,
                                    .rom_name = "games/crash.gb",
                                    .n_envs = 2,
                                    .max_episode_steps = 4};
    struct env *env = env_gameboy_new(&opts, &e);
    if (!env) fail_msg("%s", e.message);
    uint8_t frames[2][ENV_OBS_BYTES], *obs[2] = {frames[0], frames[1]};
    struct env_step_result r[2];
    struct log_line line = {0};
    int64_t before = log_count();
    env_reset(env, everyone, obs);
    for (int t = 1; t <= 4; t++) {
        env_step(env, everyone, (const int32_t[2]){NOOP, t == 2 ? A : NOOP}, obs, r);
        assert_false(r[0].locked);
        assert_int_equal(r[1].locked, t >= 2);
        assert_int_equal(r[1].truncated, t == 4);
    }
    assert_int_equal(log_count(), before + 1); // once
    assert_true(log_read(before, &line));
    assert_non_null(strstr(line.text, "games/crash.gb"));
    assert_non_null(strstr(line.text, "environment 1 stands still since step 2"));
    env_reset(env, everyone, obs); // a new episode, a new machine
    env_step(env, everyone, (const int32_t[2]){NOOP, NOOP}, obs, r);
    assert_false(r[1].locked);
    env_free(env);
    free(rom);
}

// ---- start states

static uint8_t *state_after(const int32_t *actions, int n, size_t *n_bytes) {
    struct batch *b = batch_new(&(struct env_gameboy_opts){0}, NULL, NULL);
    env_reset(b->env, everyone, b->obs);
    for (int i = 0; i < n; i++) step_one(b, actions[i]);
    uint8_t *bytes = mem_alloc(*n_bytes = env_gameboy_state_bytes(b->env));
    env_gameboy_save(b->env, 0, bytes);
    batch_free(b);
    return bytes;
}

static void an_episode_starts_from_the_state_and_shows_its_picture(void **state) {
    (void)state;
    const int32_t actions[5] = {A, UP, A, B, UP};
    size_t n;
    uint8_t *bytes = state_after(actions, 3, &n);
    struct env_gameboy_opts opts = {.state = bytes, .state_bytes = n, .state_name = "start.state"};
    struct batch *b = batch_new(&opts, NULL, NULL);
    free(bytes); // read once
    for (int episode = 0; episode < 2; episode++) {
        memset(b->frames[0], 0x5a, ENV_OBS_BYTES);
        env_reset(b->env, everyone, b->obs);
        for (int i = 0; i < ENV_OBS_BYTES; i++)
            assert_int_equal(b->frames[0][i], shown_after(actions, 3));
        for (int t = 3; t < 5; t++) {
            step_one(b, actions[t]);
            for (int i = 0; i < ENV_OBS_BYTES; i++)
                assert_int_equal(b->frames[0][i], shown_after(actions, t + 1));
        }
    }
    batch_free(b);
}

// The picture of the start is made by a copy: the machine itself runs on from the state to the
// cycle.
static void a_run_through_a_state_equals_the_run_without(void **state) {
    (void)state;
    const int32_t actions[6] = {A, UP, A, B, NOOP, UP};
    size_t n, n_end;
    uint8_t *middle = state_after(actions, 3, &n), *end = state_after(actions, 6, &n_end),
            *again = mem_alloc(n_end);
    struct env_gameboy_opts opts = {.state = middle, .state_bytes = n};
    struct batch *b = batch_new(&opts, NULL, NULL);
    env_reset(b->env, everyone, b->obs);
    for (int t = 3; t < 6; t++) step_one(b, actions[t]);
    env_gameboy_save(b->env, 0, again);
    assert_memory_equal(again, end, n_end);
    batch_free(b);
    free(middle);
    free(end);
    free(again);
}

static void a_damaged_state_is_refused_by_name(void **state) {
    (void)state;
    size_t n;
    uint8_t *bytes = state_after((const int32_t[1]){A}, 1, &n);
    struct env_gameboy_opts opts = {.rom = button_rom,
                                    .rom_bytes = sizeof button_rom,
                                    .state = bytes,
                                    .state_bytes = n,
                                    .state_name = "saves/one.state"};
    for (size_t i = 0; i < n; i += 611) {
        struct error e = {0};
        bytes[i] ^= 4;
        assert_null(env_gameboy_new(&opts, &e));
        assert_non_null(strstr(e.message, "saves/one.state"));
        assert_null(strchr(e.message, '\n'));
        bytes[i] ^= 4;
        opts.state_bytes = i;
        assert_null(env_gameboy_new(&opts, NULL));
        opts.state_bytes = n;
    }
    free(bytes);
}

// ---- independence of batch size and threads

enum { TICKS = 30 };

struct recording {
    struct env_step_result results[MAX_ENVS][TICKS];
    uint8_t frames[MAX_ENVS][TICKS][ENV_OBS_BYTES];
};

// What environment i does is its own affair: three of eight actions lead on to the goal's palette.
static int32_t script(int i, int t) {
    uint32_t s = (uint32_t)(i * 7919 + t * 104729 + 17) * 1664525u + 1013904223u;
    return (int32_t)((s >> 16) % N_ACTIONS);
}

static void play(int first, int n, int n_threads, const struct goal *goal, struct recording *r) {
    struct pool *pool = n_threads ? pool_new(n_threads) : NULL;
    struct goal_rules rules = goal_default_rules;
    rules.max_steps = 9;
    rules.tau = 0.2f;
    struct batch *b =
        batch_new(&(struct env_gameboy_opts){.n_envs = n, .pool = pool}, goal, &rules);
    uint8_t reset[MAX_ENVS];
    memset(reset, 1, sizeof reset);
    for (int t = 0; t < TICKS; t++) {
        uint8_t mask[MAX_ENVS];
        int32_t actions[MAX_ENVS];
        for (int i = 0; i < n; i++) {
            mask[i] = !reset[i];
            actions[i] = script(first + i, t);
        }
        env_reset(b->env, reset, b->obs);
        env_step(b->env, mask, actions, b->obs, b->results);
        for (int i = 0; i < n; i++) {
            memcpy(r->frames[first + i][t], b->frames[i], ENV_OBS_BYTES);
            if (mask[i]) r->results[first + i][t] = b->results[i];
            reset[i] = mask[i] && (b->results[i].terminated || b->results[i].truncated);
        }
    }
    batch_free(b);
    pool_free(pool);
}

static void results_depend_neither_on_batch_size_nor_on_threads(void **state) {
    (void)state;
    const int32_t actions[2] = {A, B};
    uint8_t palettes[2] = {shown_after(actions, 1), shown_after(actions, 2)};
    for (int n_frames = 1; n_frames <= 2; n_frames++) {
        struct goal *goal = palette_goal(palettes, n_frames);
        struct recording *alone = mem_alloc(sizeof *alone), *together = mem_alloc(sizeof *together);
        for (int i = 0; i < MAX_ENVS; i++) play(i, 1, 0, goal, alone);
        for (int n_threads = 0; n_threads <= 4; n_threads += 2) {
            memset(together, 0, sizeof *together);
            play(0, MAX_ENVS, n_threads, goal, together);
            assert_memory_equal(together, alone, sizeof *alone);
        }
        memset(together, 0, sizeof *together);
        play(0, 3, 2, goal, together);
        play(3, 5, 3, goal, together);
        assert_memory_equal(together, alone, sizeof *alone);
        int n_done = 0, n_truncated = 0;
        for (int i = 0; i < MAX_ENVS; i++)
            for (int t = 0; t < TICKS; t++) {
                n_done += alone->results[i][t].terminated;
                n_truncated += alone->results[i][t].truncated;
            }
        assert_true(n_truncated > 0);
        if (n_frames == 1) assert_true(n_done > 0); // else the test would say little
        free(goal);
        free(alone);
        free(together);
    }
}

int main(void) {
    button_rom_make(button_rom);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewards_follow_the_distance_of_each_picture),
        cmocka_unit_test(without_a_goal_nothing_is_rewarded_and_the_distance_is_zero),
        cmocka_unit_test(the_rules_time_limit_holds_and_success_in_the_last_step_is_both),
        cmocka_unit_test(an_environment_that_reached_its_goal_must_be_reset),
        cmocka_unit_test(a_stack_of_frames_must_come_in_its_order),
        cmocka_unit_test(an_illegal_opcode_is_reported_and_the_episode_goes_on),
        cmocka_unit_test(an_episode_starts_from_the_state_and_shows_its_picture),
        cmocka_unit_test(a_run_through_a_state_equals_the_run_without),
        cmocka_unit_test(a_damaged_state_is_refused_by_name),
        cmocka_unit_test(results_depend_neither_on_batch_size_nor_on_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
