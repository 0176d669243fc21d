// Rollout buffer: room and order, stacks out of single frames, what is carried over.
#include "base/mem.h"
#include "base/philox.h"
#include "engine/algo/ppo/ppo_rollout.h"
#include "support/expect_abort.h"
#include "support/test.h"

enum { T = 12, N = 3, K = 4, STACK = K * ROLLOUT_FRAME_BYTES };

static struct ppo_rollout *new_rollout(void) {
    return ppo_rollout_new(&(struct ppo_rollout_opts){.n_steps = T, .n_envs = N, .stack = K});
}

static void fill_frame(uint8_t *frame, int t, int env) {
    for (int i = 0; i < ROLLOUT_FRAME_BYTES; i++)
        frame[i] = (uint8_t)rng_u32(3, RNG_TEST, (uint64_t)(t * N + env), (uint32_t)i);
}

static void add_row(struct ppo_rollout *r, int32_t action) {
    const int32_t actions[N] = {action, action, action};
    const real zero[N] = {0};
    const uint8_t no[N] = {0};
    const float far[N] = {0};
    ppo_rollout_add(r, &(struct ppo_rollout_row){actions, zero, zero, zero, no, no, far}, 7);
}

// An explicit stack, shifted by hand: the plain way that single frames must reproduce.
struct explicit_stacks {
    uint8_t of[N][STACK];
};

static void explicit_fill(struct explicit_stacks *s, int env, const uint8_t *frame) {
    for (int k = 0; k < K; k++)
        memcpy(s->of[env] + k * ROLLOUT_FRAME_BYTES, frame, ROLLOUT_FRAME_BYTES);
}

static void explicit_shift(struct explicit_stacks *s, int env, const uint8_t *frame) {
    memmove(s->of[env], s->of[env] + ROLLOUT_FRAME_BYTES, STACK - ROLLOUT_FRAME_BYTES);
    memcpy(s->of[env] + STACK - ROLLOUT_FRAME_BYTES, frame, ROLLOUT_FRAME_BYTES);
}

static void single_frames_give_the_same_stacks_as_shifting_over_random_resets(void **state) {
    (void)state;
    struct ppo_rollout *r = new_rollout();
    struct explicit_stacks *s = mem_alloc(sizeof *s);
    uint8_t stack[STACK], last[ROLLOUT_FRAME_BYTES];
    for (int env = 0; env < N; env++) {
        fill_frame(ppo_rollout_frame(r, 0, env), 0, env);
        ppo_rollout_restart(r, 0, env);
        explicit_fill(s, env, ppo_rollout_frame(r, 0, env));
    }
    int resets = 0, tick = 0;
    for (int rollouts = 0; rollouts < 4; rollouts++) {
        for (int t = 0; t < T; t++) {
            tick++;
            for (int env = 0; env < N; env++) {
                ppo_rollout_stack(r, t, env, stack);
                assert_memory_equal(stack, s->of[env], STACK);
                const bool ends = rng_below(5, RNG_TEST, (uint64_t)tick, (uint32_t)env, 4) == 0;
                fill_frame(last, tick, env);
                explicit_shift(s, env, last);
                ppo_rollout_final_stack(r, t, env, last, stack);
                assert_memory_equal(stack, s->of[env], STACK);
                memcpy(ppo_rollout_frame(r, t + 1, env), last, sizeof last);
                if (ends) { // the next episode's first frame takes the slot
                    fill_frame(ppo_rollout_frame(r, t + 1, env), 1000 + tick, env);
                    explicit_fill(s, env, ppo_rollout_frame(r, t + 1, env));
                    ppo_rollout_restart(r, t + 1, env);
                    resets++;
                } else {
                    ppo_rollout_continue(r, t + 1, env);
                }
            }
            add_row(r, 0);
        }
        ppo_rollout_carry(r);
    }
    assert_in_range(resets, 10, 100);
    free(s);
    ppo_rollout_free(r);
}

static void a_reset_fills_the_stack_with_the_first_frame_and_steps_shift_it(void **state) {
    (void)state;
    struct ppo_rollout *r = new_rollout();
    uint8_t stack[STACK];
    for (int t = 0; t <= 5; t++) {
        memset(ppo_rollout_frame(r, t, 1), 10 + t, ROLLOUT_FRAME_BYTES);
        if (t == 0 || t == 4)
            ppo_rollout_restart(r, t, 1);
        else
            ppo_rollout_continue(r, t, 1);
    }
    static const uint8_t want[6][K] = {{10, 10, 10, 10}, {10, 10, 10, 11}, {10, 10, 11, 12},
                                       {10, 11, 12, 13}, {14, 14, 14, 14}, {14, 14, 14, 15}};
    for (int t = 0; t <= 5; t++) {
        ppo_rollout_stack(r, t, 1, stack);
        for (int k = 0; k < K; k++) assert_int_equal(stack[k * ROLLOUT_FRAME_BYTES], want[t][k]);
    }
    ppo_rollout_free(r);
}

static void the_memory_of_a_rollout_survives_saving(void **state) {
    (void)state;
    struct ppo_rollout *r = new_rollout(), *copy = new_rollout();
    uint8_t a[STACK], b[STACK];
    for (int t = 0; t <= T; t++)
        for (int env = 0; env < N; env++) {
            fill_frame(ppo_rollout_frame(r, t, env), t, env);
            if (t == 0 || (t == T - 1 && env == 2))
                ppo_rollout_restart(r, t, env);
            else
                ppo_rollout_continue(r, t, env);
        }
    for (int t = 0; t < T; t++) add_row(r, 0);
    ppo_rollout_carry(r);
    uint8_t *saved = mem_alloc(ppo_rollout_memory_bytes(r));
    ppo_rollout_memory_save(r, saved);
    ppo_rollout_memory_load(copy, saved);
    for (int env = 0; env < N; env++) {
        ppo_rollout_stack(r, 0, env, a);
        ppo_rollout_stack(copy, 0, env, b);
        assert_memory_equal(a, b, STACK);
        assert_memory_equal(a + STACK - ROLLOUT_FRAME_BYTES, ppo_rollout_frame(copy, 0, env),
                            ROLLOUT_FRAME_BYTES);
    }
    free(saved);
    ppo_rollout_free(r);
    ppo_rollout_free(copy);
}

static struct ppo_rollout *the_rollout;
static int32_t the_action;
static void add_one_more(void) { add_row(the_rollout, the_action); }
static void carry_now(void) { ppo_rollout_carry(the_rollout); }

static void a_full_rollout_takes_no_row_and_an_unfinished_one_is_not_carried(void **state) {
    (void)state;
    the_rollout = new_rollout();
    the_action = 0;
    for (int t = 0; t < T - 1; t++) add_row(the_rollout, 0);
    assert_false(ppo_rollout_is_full(the_rollout));
    expect_abort(carry_now, "rollout has 11 of 12 steps");
    add_row(the_rollout, 6);
    assert_true(ppo_rollout_is_full(the_rollout));
    expect_abort(add_one_more, "rollout is full");
    ppo_rollout_carry(the_rollout);
    assert_int_equal(the_rollout->n_added, 0);
    ppo_rollout_free(the_rollout);
}

static void actions_outside_the_codec_are_refused(void **state) {
    (void)state;
    the_rollout = new_rollout();
    the_action = 7;
    expect_abort(add_one_more, "action 7 of 7");
    the_action = -1;
    expect_abort(add_one_more, "action -1 of 7");
    ppo_rollout_free(the_rollout);
}

static void the_estimate_of_memory_is_what_is_taken(void **state) {
    (void)state;
    // N 256, T 128: 48 MB of frames (spec/ppo.md 3.5) and 34 bytes a cell
    const struct ppo_rollout_opts o = {.n_steps = 128, .n_envs = 256, .stack = 4};
    assert_true(ppo_rollout_bytes(&o) ==
                132LL * 256 * 1441 + 128LL * 256 * (4 + 6 * (int64_t)sizeof(real) + 2 + 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_frames_give_the_same_stacks_as_shifting_over_random_resets),
        cmocka_unit_test(a_reset_fills_the_stack_with_the_first_frame_and_steps_shift_it),
        cmocka_unit_test(the_memory_of_a_rollout_survives_saving),
        cmocka_unit_test(a_full_rollout_takes_no_row_and_an_unfinished_one_is_not_carried),
        cmocka_unit_test(actions_outside_the_codec_are_refused),
        cmocka_unit_test(the_estimate_of_memory_is_what_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
