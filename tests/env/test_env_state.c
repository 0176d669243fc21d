// Environments are saved and loaded exactly: with their machine, their episode and their progress
// towards the goal.
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/env/gameboy.h"
#include "engine/env/task.h"
#include "support/test.h"

enum { N = 3, STEPS = 40, CODEC_ACTIONS = 8 };

struct batch {
    struct task task;
    struct env *env;
    uint8_t obs[N][ENV_OBS_BYTES], mask[N];
    int32_t actions[N];
    struct env_step_result out[N];
};

static void make(struct batch *b) {
    struct error e = {0};
    memset(b, 0, sizeof *b);
    if (!task_open_builtin("exit_lab", "pokemonred_puffer_v1", &b->task, &e))
        fail_msg("%s", e.message);
    b->task.rules.max_steps = 25; // some episodes end by it
    struct env_gameboy_opts o = {.action_codec = "pokemonred_puffer_v1", .n_envs = N};
    task_env_opts(&b->task, &o);
    b->env = env_gameboy_new(&o, &e);
    if (!b->env) fail_msg("%s", e.message);
    memset(b->mask, 1, N);
}

static void end(struct batch *b) {
    env_free(b->env);
    task_close(&b->task);
}

// Steps t0..t1-1; an environment that ended spends the next one on its reset.
static void play(struct batch *b, int t0, int t1) {
    for (int t = t0; t < t1; t++) {
        uint8_t *slots[N], step[N];
        for (int n = 0; n < N; n++) {
            slots[n] = b->obs[n];
            step[n] = !b->mask[n];
            b->actions[n] =
                (int32_t)rng_below(5, RNG_TEST, (uint64_t)t, (uint32_t)n, CODEC_ACTIONS);
        }
        env_reset(b->env, b->mask, slots);
        env_step(b->env, step, b->actions, slots, b->out);
        for (int n = 0; n < N; n++)
            if (!step[n]) b->out[n] = (struct env_step_result){0};
        for (int n = 0; n < N; n++)
            b->mask[n] = step[n] && (b->out[n].terminated || b->out[n].truncated);
    }
}

static void a_loaded_environment_goes_on_like_the_saved_one(void **state) {
    (void)state;
    struct error e = {0};
    for (int at = 0; at <= 27; at += 9) { // before the first reset, inside and after an episode
        struct batch a, b;
        make(&a);
        make(&b);
        play(&a, 0, at);
        size_t bytes = a.env->vtable->state_bytes(a.env);
        uint8_t *saved = mem_alloc(bytes), *later = mem_alloc(bytes);
        play(&b, 0, 2); // elsewhere
        for (int n = 0; n < N; n++) {
            a.env->vtable->save(a.env, n, saved);
            if (!b.env->vtable->load(b.env, n, saved, &e)) fail_msg("%s", e.message);
            b.env->vtable->save(b.env, n, later);
            assert_memory_equal(saved, later, bytes);
        }
        memcpy(b.mask, a.mask, sizeof a.mask);
        for (int t = at; t < at + STEPS; t++) {
            play(&a, t, t + 1);
            play(&b, t, t + 1);
            assert_memory_equal(a.obs, b.obs, sizeof a.obs);
            for (int n = 0; n < N; n++) {
                assert_int_equal(a.mask[n], b.mask[n]);
                assert_true(a.out[n].reward == b.out[n].reward &&
                            a.out[n].distance == b.out[n].distance);
                assert_int_equal(a.out[n].terminated, b.out[n].terminated);
            }
        }
        free(saved);
        free(later);
        end(&a);
        end(&b);
    }
}

static void an_altered_state_is_refused_and_changes_nothing(void **state) {
    (void)state;
    struct batch a;
    make(&a);
    play(&a, 0, 12);
    size_t bytes = a.env->vtable->state_bytes(a.env);
    uint8_t *saved = mem_alloc(bytes), *now = mem_alloc(bytes);
    a.env->vtable->save(a.env, 0, saved);
    play(&a, 12, 14);
    a.env->vtable->save(a.env, 0, now);
    for (size_t at = 0; at < bytes; at += bytes / 37) {
        struct error e = {0};
        saved[at] ^= 16;
        if (a.env->vtable->load(a.env, 0, saved, &e))
            fail_msg("byte %zu was altered and taken", at);
        assert_non_null(strstr(e.message, "environment 0"));
        saved[at] ^= 16;
        uint8_t *after = mem_alloc(bytes);
        a.env->vtable->save(a.env, 0, after);
        assert_memory_equal(after, now, bytes);
        free(after);
    }
    free(saved);
    free(now);
    end(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loaded_environment_goes_on_like_the_saved_one),
        cmocka_unit_test(an_altered_state_is_refused_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
