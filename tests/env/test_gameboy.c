// Tests of the Game Boy environment: determinism, masks, truncation, codecs, and what it refuses.
#include "support/test.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "engine/env/builtin.h"
#include "engine/env/gameboy.h"
#include "env/button_rom.h"
#include "env/death.h"

enum { MAX_ENVS = 8, GUARD = 0x5a };

static uint8_t button_rom[BUTTON_ROM_BYTES];

// A batch with its buffers; everything not written by the environment keeps GUARD.
struct batch {
    struct env *env;
    uint8_t frames[MAX_ENVS][ENV_OBS_BYTES], *obs[MAX_ENVS];
    struct env_step_result results[MAX_ENVS];
};

static void forget_frames(struct batch *b) {
    memset(b->frames, GUARD, sizeof b->frames);
    memset(b->results, GUARD, sizeof b->results);
}

static struct batch *batch_new(const struct env_gameboy_opts *opts) {
    struct error e = {0};
    struct batch *b = mem_alloc(sizeof *b);
    b->env = env_gameboy_new(opts, &e);
    if (!b->env) fail_msg("%s", e.message);
    assert_true(b->env->n_envs <= MAX_ENVS);
    for (int i = 0; i < MAX_ENVS; i++) b->obs[i] = b->frames[i];
    forget_frames(b);
    return b;
}

static void batch_free(struct batch *b) {
    env_free(b->env);
    free(b);
}

static struct env_gameboy_opts button_opts(int n_envs) {
    return (struct env_gameboy_opts){
        .rom = button_rom, .rom_bytes = sizeof button_rom, .rom_name = "buttons", .n_envs = n_envs};
}

static struct env_gameboy_opts task_opts(const char *name, int n_envs) {
    const struct builtin_task *t = builtin_task_find(name);
    assert_non_null(t);
    return (struct env_gameboy_opts){
        .rom = t->rom, .rom_bytes = t->rom_bytes, .rom_name = name, .n_envs = n_envs};
}

static const uint8_t everyone[MAX_ENVS] = {1, 1, 1, 1, 1, 1, 1, 1};

static void a_delayed_start_is_the_game_some_frames_later(void **state) {
    (void)state;
    const int32_t noop[3] = {0, 0, 0};
    struct env_gameboy_opts opts = task_opts("sprites", 3);
    struct batch *b = batch_new(&opts);
    env_delay_start(b->env, 1, 24);
    env_delay_start(b->env, 2, 5);
    env_reset(b->env, everyone, b->obs);
    assert_memory_not_equal(b->frames[0], b->frames[1], ENV_OBS_BYTES);
    assert_memory_not_equal(b->frames[0], b->frames[2], ENV_OBS_BYTES);
    uint8_t delayed[ENV_OBS_BYTES];
    memcpy(delayed, b->frames[1], sizeof delayed);
    env_step(b->env, everyone, noop, b->obs, b->results);
    assert_memory_equal(b->frames[0], delayed, ENV_OBS_BYTES);
    env_delay_start(b->env, 1, 0);
    env_reset(b->env, everyone, b->obs);
    assert_memory_equal(b->frames[0], b->frames[1], ENV_OBS_BYTES);
    batch_free(b);
}

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

static void assert_all_bytes(const uint8_t *frame, uint8_t value) {
    for (int i = 0; i < ENV_OBS_BYTES; i++)
        if (frame[i] != value) fail_msg("byte %d is %02x, not %02x", i, frame[i], value);
}

// ---- what a step does

static void every_action_presses_its_button_for_a_while_and_releases_it(void **state) {
    (void)state;
    static const struct {
        const char *codec, *names;
        uint8_t lines[9];
    } codecs[] = {
        {"pokemonred_puffer_v1",
         "NOOP A B START UP DOWN LEFT RIGHT ",
         {0, 0x01, 0x02, 0x08, 0x40, 0x80, 0x20, 0x10}},
        {"pokemonred_puffer_v0",
         "A B START UP DOWN LEFT RIGHT ",
         {0x01, 0x02, 0x08, 0x40, 0x80, 0x20, 0x10}},
        {"legacy_v0",
         "NOOP UP DOWN LEFT RIGHT A B START SELECT ",
         {0, 0x40, 0x80, 0x20, 0x10, 0x01, 0x02, 0x08, 0x04}},
    };
    for (size_t c = 0; c < sizeof codecs / sizeof *codecs; c++) {
        struct env_gameboy_opts opts = button_opts(1);
        opts.action_codec = codecs[c].codec;
        struct batch *b = batch_new(&opts);
        char names[200] = "";
        for (int a = 0; a < b->env->n_actions; a++)
            strcat(strcat(names, b->env->action_names[a]), " ");
        assert_string_equal(names, codecs[c].names);
        env_reset(b->env, everyone, b->obs);
        struct button_rom_state expected = button_rom_begin();
        assert_all_bytes(b->frames[0], expected.shown);
        for (int t = 0; t < 3 * b->env->n_actions; t++) {
            int32_t action = t * 5 % b->env->n_actions;
            env_step(b->env, everyone, &action, b->obs, b->results);
            button_rom_after(&expected, codecs[c].lines[action]);
            assert_all_bytes(b->frames[0], expected.shown);
            assert_false(b->results[0].terminated || b->results[0].truncated);
            assert_true(b->results[0].reward == 0);
        }
        batch_free(b);
    }
}

static void codec_v1_is_the_default(void **state) {
    (void)state;
    struct env_gameboy_opts opts = button_opts(0);
    struct batch *b = batch_new(&opts);
    assert_int_equal(b->env->n_envs, 1);
    assert_int_equal(b->env->n_actions, 8);
    assert_string_equal(b->env->action_names[0], "NOOP");
    batch_free(b);
}

// ---- independence of batch size and threads

enum { TICKS = 40 };

// Environment i's own script: what it does at tick t depends on nothing else.
static void script(int i, int t, bool ended, bool *reset, bool *step, int32_t *action) {
    uint32_t s = (uint32_t)(i * 7919 + t * 104729 + 17);
    next_random(&s);
    *reset = t == 0 || ended || next_random(&s) % 11 == 0;
    *step = !*reset && next_random(&s) % 5 != 0;
    *action = (int32_t)(next_random(&s) % 8);
}

// Plays environments first..first+n-1 as one batch; appends each tick's frame and result of each to
// its own log.
static void play(const struct env_gameboy_opts *base, int first, int n, int n_threads,
                 uint8_t (*frames)[TICKS][ENV_OBS_BYTES], uint8_t (*truncated)[TICKS]) {
    struct env_gameboy_opts opts = *base;
    opts.n_envs = n;
    opts.max_episode_steps = 9;
    opts.pool = n_threads ? pool_new(n_threads) : NULL;
    struct batch *b = batch_new(&opts);
    bool ended[MAX_ENVS] = {false};
    for (int t = 0; t < TICKS; t++) {
        uint8_t reset_mask[MAX_ENVS], step_mask[MAX_ENVS];
        int32_t actions[MAX_ENVS];
        for (int i = 0; i < n; i++) {
            bool reset, step;
            script(first + i, t, ended[i], &reset, &step, &actions[i]);
            reset_mask[i] = reset;
            step_mask[i] = step;
        }
        forget_frames(b);
        env_reset(b->env, reset_mask, b->obs);
        env_step(b->env, step_mask, actions, b->obs, b->results);
        for (int i = 0; i < n; i++) {
            memcpy(frames[first + i][t], b->frames[i], ENV_OBS_BYTES);
            truncated[first + i][t] = step_mask[i] ? b->results[i].truncated : 2;
            ended[i] = reset_mask[i] ? false : step_mask[i] ? b->results[i].truncated : ended[i];
        }
    }
    batch_free(b);
    pool_free(opts.pool);
}

struct recording {
    uint8_t frames[MAX_ENVS][TICKS][ENV_OBS_BYTES], truncated[MAX_ENVS][TICKS];
};

static void assert_independent(const struct env_gameboy_opts *opts) {
    struct recording *alone = mem_alloc(sizeof *alone), *together = mem_alloc(sizeof *together);
    for (int i = 0; i < MAX_ENVS; i++) play(opts, i, 1, 0, alone->frames, alone->truncated);
    for (int n_threads = 0; n_threads <= 4; n_threads += 2) {
        memset(together, 0, sizeof *together);
        play(opts, 0, MAX_ENVS, n_threads, together->frames, together->truncated);
        assert_memory_equal(together, alone, sizeof *alone);
    }
    memset(together, 0, sizeof *together);
    play(opts, 0, 3, 2, together->frames, together->truncated);
    play(opts, 3, 5, 3, together->frames, together->truncated);
    assert_memory_equal(together, alone, sizeof *alone);
    free(alone);
    free(together);
}

static void results_depend_neither_on_batch_size_nor_on_threads(void **state) {
    (void)state;
    struct env_gameboy_opts buttons = button_opts(0), sprites = task_opts("sprites", 0);
    assert_independent(&buttons);
    assert_independent(&sprites);
}

static void two_batches_in_one_process_do_not_touch_each_other(void **state) {
    (void)state;
    struct env_gameboy_opts opts = button_opts(2);
    struct batch *a = batch_new(&opts), *b = batch_new(&opts);
    env_reset(a->env, everyone, a->obs);
    env_reset(b->env, everyone, b->obs);
    const int32_t press[2] = {1, 2}, nothing[2] = {0, 0};
    for (int t = 0; t < 5; t++) {
        env_step(a->env, everyone, press, a->obs, a->results);
        env_step(b->env, everyone, nothing, b->obs, b->results);
    }
    assert_all_bytes(b->frames[0], BUTTON_ROM_START);
    assert_memory_not_equal(a->frames[0], a->frames[1], ENV_OBS_BYTES);
    batch_free(a);
    env_step(b->env, everyone, nothing, b->obs, b->results);
    assert_all_bytes(b->frames[1], BUTTON_ROM_START);
    batch_free(b);
}

// ---- masks

static void reset_and_step_touch_masked_environments_only(void **state) {
    (void)state;
    struct env_gameboy_opts opts = button_opts(4);
    struct batch *b = batch_new(&opts);
    struct batch untouched;
    env_reset(b->env, everyone, b->obs);
    const int32_t actions[4] = {1, 2, 3, 4};
    env_step(b->env, everyone, actions, b->obs, b->results);
    uint8_t before[4][ENV_OBS_BYTES];
    memcpy(before, b->frames, sizeof before);

    forget_frames(b);
    memcpy(&untouched, b, sizeof untouched);
    env_reset(b->env, (const uint8_t[4]){0, 1, 0, 0}, b->obs);
    assert_all_bytes(b->frames[1], BUTTON_ROM_START);
    memcpy(b->frames[1], untouched.frames[1], ENV_OBS_BYTES);
    assert_memory_equal(b->frames, untouched.frames, sizeof b->frames);
    assert_memory_equal(b->results, untouched.results, sizeof b->results);

    // Step 2 and 3 with nothing pressed: 2 shows its history, 3's is still there afterwards, 1 lost
    // its own.
    env_step(b->env, (const uint8_t[4]){0, 0, 1, 0}, (const int32_t[4]){-7, 99, 0, -1}, b->obs,
             b->results);
    assert_memory_equal(b->frames[2], before[2], ENV_OBS_BYTES);
    for (int i = 0; i < 4; i++) {
        if (i == 2) continue;
        assert_memory_equal(b->frames[i], untouched.frames[i], ENV_OBS_BYTES);
        assert_memory_equal(&b->results[i], &untouched.results[i], sizeof b->results[i]);
    }
    env_step(b->env, everyone, (const int32_t[4]){0}, b->obs, b->results);
    assert_memory_equal(b->frames[0], before[0], ENV_OBS_BYTES);
    assert_all_bytes(b->frames[1], BUTTON_ROM_START);
    assert_memory_equal(b->frames[3], before[3], ENV_OBS_BYTES);
    batch_free(b);
}

static void a_reset_starts_the_same_episode_again(void **state) {
    (void)state;
    struct env_gameboy_opts opts = task_opts("sprites", 1);
    struct batch *b = batch_new(&opts);
    enum { STEPS = 6 };
    uint8_t first[STEPS + 1][ENV_OBS_BYTES];
    for (int round = 0; round < 3; round++) {
        env_reset(b->env, everyone, b->obs);
        for (int t = 0; t <= STEPS; t++) {
            if (t) env_step(b->env, everyone, (const int32_t[1]){0}, b->obs, b->results);
            if (round == 0) memcpy(first[t], b->frames[0], ENV_OBS_BYTES);
            assert_memory_equal(b->frames[0], first[t], ENV_OBS_BYTES);
        }
    }
    batch_free(b);
}

// ---- the time limit

static void the_last_step_truncates_and_keeps_its_final_frame(void **state) {
    (void)state;
    struct env_gameboy_opts limited = button_opts(2), endless = button_opts(2);
    limited.max_episode_steps = 5;
    struct batch *a = batch_new(&limited), *b = batch_new(&endless);
    env_reset(a->env, everyone, a->obs);
    env_reset(b->env, everyone, b->obs);
    for (int episode = 0; episode < 3; episode++) {
        for (int t = 1; t <= 5; t++) {
            const int32_t actions[2] = {(t + episode) % 8, 1};
            forget_frames(a);
            env_step(a->env, everyone, actions, a->obs, a->results);
            env_step(b->env, everyone, actions, b->obs, b->results);
            assert_memory_equal(a->frames, b->frames,
                                2 * ENV_OBS_BYTES); // the true last frame, not a reset one
            for (int i = 0; i < 2; i++) {
                assert_int_equal(a->results[i].truncated, t == 5);
                assert_false(a->results[i].terminated);
                assert_false(b->results[i].truncated);
            }
        }
        env_reset(a->env, everyone, a->obs);
        env_reset(b->env, everyone, b->obs);
    }
    batch_free(a);
    batch_free(b);
}

static void each_environment_counts_its_own_steps(void **state) {
    (void)state;
    struct env_gameboy_opts opts = button_opts(2);
    opts.max_episode_steps = 3;
    struct batch *b = batch_new(&opts);
    const int32_t nothing[2] = {0, 0};
    env_reset(b->env, everyone, b->obs);
    env_step(b->env, everyone, nothing, b->obs, b->results);
    env_step(b->env, (const uint8_t[2]){1, 0}, nothing, b->obs, b->results);
    env_step(b->env, everyone, nothing, b->obs, b->results);
    assert_true(b->results[0].truncated);
    assert_false(b->results[1].truncated);
    env_reset(b->env, (const uint8_t[2]){1, 0}, b->obs);
    env_step(b->env, everyone, nothing, b->obs, b->results);
    assert_false(b->results[0].truncated);
    assert_true(b->results[1].truncated);
    batch_free(b);
}

static void a_limit_of_zero_never_truncates(void **state) {
    (void)state;
    struct env_gameboy_opts opts = button_opts(1);
    struct batch *b = batch_new(&opts);
    env_reset(b->env, everyone, b->obs);
    for (int t = 0; t < 300; t++) {
        env_step(b->env, everyone, (const int32_t[1]){0}, b->obs, b->results);
        assert_false(b->results[0].truncated);
    }
    batch_free(b);
}

// ---- broken callers

static void step_without_reset(void *ctx) {
    (void)ctx;
    struct env_gameboy_opts opts = button_opts(1);
    struct batch *b = batch_new(&opts);
    env_step(b->env, everyone, (const int32_t[1]){0}, b->obs, b->results);
}

static void step_twice_past_the_end(void *ctx) {
    const int *n_threads = ctx;
    struct env_gameboy_opts opts = button_opts(2);
    opts.max_episode_steps = 1;
    opts.pool = pool_new(*n_threads);
    struct batch *b = batch_new(&opts);
    env_reset(b->env, everyone, b->obs);
    for (int t = 0; t < 2; t++)
        env_step(b->env, everyone, (const int32_t[2]){0}, b->obs, b->results);
}

static void step_with_action(void *ctx) {
    struct env_gameboy_opts opts = button_opts(1);
    struct batch *b = batch_new(&opts);
    env_reset(b->env, everyone, b->obs);
    env_step(b->env, everyone, ctx, b->obs, b->results);
}

static void stepping_an_ended_environment_aborts(void **state) {
    (void)state;
    expect_check_failure(step_twice_past_the_end, &(int){1}, "stepped after its episode ended");
    expect_check_failure(step_twice_past_the_end, &(int){2}, "stepped after its episode ended");
    expect_check_failure(step_without_reset, NULL, "stepped after its episode ended");
}

static void an_action_outside_the_codec_aborts(void **state) {
    (void)state;
    expect_check_failure(step_with_action, &(int32_t){8}, "action 8");
    expect_check_failure(step_with_action, &(int32_t){-1}, "action -1");
}

// ---- bad input

static void assert_refused(const struct env_gameboy_opts *opts, enum status status,
                           const char *const words[4]) {
    struct error e = {0};
    struct env *env = env_gameboy_new(opts, &e);
    assert_null(env);
    assert_int_equal(e.status, status);
    assert_null(strchr(e.message, '\n'));
    for (int i = 0; i < 4 && words[i]; i++)
        if (!strstr(e.message, words[i])) fail_msg("\"%s\" is missing in: %s", words[i], e.message);
    assert_null(env_gameboy_new(opts, NULL)); // nobody listening is fine
}

static void an_unknown_codec_is_refused_with_the_known_ones(void **state) {
    (void)state;
    struct env_gameboy_opts opts = button_opts(1);
    for (size_t i = 0; i < 3; i++) {
        static const char *const bad[] = {"v9", "", "pokemonred_puffer_v1 "};
        opts.action_codec = bad[i];
        assert_refused(&opts, STATUS_USAGE,
                       (const char *const[4]){"env.action_codec", "pokemonred_puffer_v0",
                                              "pokemonred_puffer_v1", "legacy_v0"});
    }
}

static void wrong_checksums_are_one_warning_and_the_rom_runs(void **state) {
    (void)state;
    static const struct {
        int header, global; // bits to turn over at 0134 and 014F
        const char *says;
    } cases[] = {{0, 0, NULL},
                 {0, 1, "wrong global checksum"},
                 {1, 0, "wrong header and global checksum"}};
    uint8_t rom[BUTTON_ROM_BYTES];
    struct env_gameboy_opts opts = button_opts(1);
    opts.rom = rom;
    opts.rom_name = "games/hack.gb";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct log_line line = {0};
        int64_t before = log_count();
        memcpy(rom, button_rom, sizeof rom);
        unsigned sum = 0;
        for (int at = 0; at < BUTTON_ROM_BYTES; at++)
            sum += at == 0x14e || at == 0x14f ? 0 : button_rom[at];
        rom[0x14e] = (uint8_t)(sum >> 8), rom[0x14f] = (uint8_t)sum;
        rom[0x134] ^= (uint8_t)cases[i].header;
        rom[0x14f] ^= (uint8_t)cases[i].global;
        struct env *env = env_gameboy_new(&opts, NULL);
        assert_non_null(env);
        env_free(env);
        assert_int_equal(log_count(), before + (cases[i].says != NULL));
        if (!cases[i].says) continue;
        assert_true(log_read(before, &line));
        assert_int_equal(line.level, LOG_WARN);
        assert_non_null(strstr(line.text, "games/hack.gb"));
        assert_non_null(strstr(line.text, cases[i].says));
    }
}

static void a_bad_rom_is_refused_by_name_and_reason(void **state) {
    (void)state;
    uint8_t rom[BUTTON_ROM_BYTES];
    struct env_gameboy_opts opts = button_opts(1);
    opts.rom = rom;
    opts.rom_name = "games/bad.gb";
    memcpy(rom, button_rom, sizeof rom);
    opts.rom_bytes = 0;
    assert_refused(&opts, STATUS_FAILED, (const char *const[4]){"games/bad.gb", "empty"});
    for (size_t n = 1; n < sizeof rom; n += n < 0x160 ? 1 : 997) {
        opts.rom_bytes = n;
        assert_refused(&opts, STATUS_FAILED, (const char *const[4]){"games/bad.gb", "truncated"});
    }
    opts.rom_bytes = sizeof rom;
    rom[0x147] = 0x22;
    rom[0x14d] = (uint8_t)(rom[0x14d] - 0x22);
    assert_refused(&opts, STATUS_FAILED,
                   (const char *const[4]){"games/bad.gb", "MBC7", "supported"});
    opts.rom_name = NULL;
    assert_refused(&opts, STATUS_FAILED, (const char *const[4]){"MBC7"});
    struct error e = {0};
    env_gameboy_new(&opts, &e);
    assert_null(strstr(e.message, "(null)"));
}

int main(void) {
    button_rom_make(button_rom);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_action_presses_its_button_for_a_while_and_releases_it),
        cmocka_unit_test(codec_v1_is_the_default),
        cmocka_unit_test(results_depend_neither_on_batch_size_nor_on_threads),
        cmocka_unit_test(two_batches_in_one_process_do_not_touch_each_other),
        cmocka_unit_test(reset_and_step_touch_masked_environments_only),
        cmocka_unit_test(a_reset_starts_the_same_episode_again),
        cmocka_unit_test(the_last_step_truncates_and_keeps_its_final_frame),
        cmocka_unit_test(each_environment_counts_its_own_steps),
        cmocka_unit_test(a_limit_of_zero_never_truncates),
        cmocka_unit_test(stepping_an_ended_environment_aborts),
        cmocka_unit_test(a_delayed_start_is_the_game_some_frames_later),
        cmocka_unit_test(an_action_outside_the_codec_aborts),
        cmocka_unit_test(an_unknown_codec_is_refused_with_the_known_ones),
        cmocka_unit_test(wrong_checksums_are_one_warning_and_the_rom_runs),
        cmocka_unit_test(a_bad_rom_is_refused_by_name_and_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
