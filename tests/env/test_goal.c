// Tests of the goal rules on frames made by hand: exact distances, rewards, ends.
#include "goal_fixture.h"

#include <math.h>

#include "engine/env/goal.h"

static int pixel(const uint8_t *frame, int i) { return frame[i / 4] >> (2 * (i % 4)) & 3; }

static int plain_sum(const uint8_t *a, const uint8_t *b) {
    int sum = 0;
    for (int i = 0; i < GOAL_FRAME_PIXELS; i++) sum += abs(pixel(a, i) - pixel(b, i));
    return sum;
}

// All pixels shade 0 but the first n, which have shade 1: distance n / 17280 to the blank frame.
static void frame_at(uint8_t frame[ENV_OBS_BYTES], int n) {
    memset(frame, 0, ENV_OBS_BYTES);
    for (int i = 0; i < n; i++) frame[i / 4] = (uint8_t)(frame[i / 4] | 1u << 2 * (i % 4));
}

static void the_sum_is_that_of_the_unpacked_pixels(void **state) {
    (void)state;
    uint8_t a[ENV_OBS_BYTES], b[ENV_OBS_BYTES];
    for (uint32_t seed = 0; seed < 100; seed++) {
        fixture_frame(a, seed);
        fixture_frame(b, seed + 1);
        assert_int_equal(goal_frame_sum(a, b), plain_sum(a, b));
        assert_int_equal(goal_frame_sum(b, a), plain_sum(a, b));
        assert_int_equal(goal_frame_sum(a, a), 0);
    }
    for (int x = 0; x < 256; x++) { // every pair of bytes, 256 at a time
        memset(a, x, sizeof a);
        for (int i = 0; i < ENV_OBS_BYTES; i++) b[i] = (uint8_t)i;
        assert_int_equal(goal_frame_sum(a, b), plain_sum(a, b));
    }
    memset(a, 0, sizeof a);
    memset(b, 0xff, sizeof b);
    assert_int_equal(goal_frame_sum(a, b), 17280);
}

struct walk {
    struct goal goal;
    struct goal_rules rules;
    struct goal_progress p;
};

static void begin(struct walk *w, int n) {
    uint8_t frame[ENV_OBS_BYTES];
    frame_at(frame, n);
    goal_begin(&w->p, &w->goal, frame);
}

static struct env_step_result step(struct walk *w, int n) {
    uint8_t frame[ENV_OBS_BYTES];
    struct env_step_result r;
    frame_at(frame, n);
    memset(&r, 0x5a, sizeof r);
    goal_step(&w->p, &w->goal, &w->rules, frame, &r);
    return r;
}

static struct walk *walk_new(void) {
    struct walk *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->goal.n_frames = 1; // the blank frame
    w->rules = goal_default_rules;
    return w;
}

static void the_defaults_are_those_of_the_specification(void **state) {
    (void)state;
    assert_true(goal_default_rules.tau == 0.05f);
    assert_int_equal(goal_default_rules.k_consecutive, 2);
    assert_int_equal(goal_default_rules.max_steps, 128);
    assert_true(goal_default_rules.alpha == 1);
    assert_true(goal_default_rules.goal_bonus == 10);
    assert_true(goal_default_rules.step_cost == -0.01f);
}

// Worked by hand: 17280 a frame, start 5760 = 1/3, then 2880 = 1/6, 800 and 800 < .05 * 17280 =
// 864.
static void rewards_are_step_cost_and_progress_and_the_bonus_at_the_end(void **state) {
    (void)state;
    struct walk *w = walk_new();
    begin(w, 5760);
    assert_true(w->p.distance == 5760.0f / 17280.0f);
    struct env_step_result r = step(w, 2880);
    assert_true(r.distance == 2880.0f / 17280.0f);
    assert_true(r.reward == -0.01f + (5760.0f / 17280.0f - 2880.0f / 17280.0f));
    assert_float_equal(r.reward, 0.1566667, 1e-6);
    assert_false(r.terminated || r.truncated);
    r = step(w, 800);
    assert_float_equal(r.reward, -0.01 + (2880.0 - 800.0) / 17280, 1e-6);
    assert_false(r.terminated); // the first of two
    r = step(w, 800);
    assert_true(r.reward == -0.01f + 10.0f);
    assert_true(r.terminated);
    assert_false(r.truncated);
    begin(w, 4000); // the next episode: nothing is left of the last one
    r = step(w, 4000);
    assert_true(r.reward == -0.01f);
    assert_false(r.terminated || r.truncated);
    r = step(w, 4001); // away: negative
    assert_float_equal(r.reward, -0.01 - 1.0 / 17280, 1e-7);
    free(w);
}

static void alpha_bonus_and_cost_are_taken_from_the_rules(void **state) {
    (void)state;
    struct walk *w = walk_new();
    w->rules = (struct goal_rules){.tau = 0.2f,
                                   .k_consecutive = 1,
                                   .max_steps = 0,
                                   .alpha = 10,
                                   .goal_bonus = 5,
                                   .step_cost = -0.5f};
    begin(w, 5760);
    struct env_step_result r = step(w, 3456); // a fifth: below tau or not as float32 has it
    bool below = 3456.0f / 17280.0f < 0.2f;
    assert_int_equal(r.terminated, below);
    assert_float_equal(r.reward, -0.5 + 10 * (5760.0 - 3456.0) / 17280 + (below ? 5 : 0), 1e-5);
    begin(w, 5760);
    r = step(w, 3455);
    assert_true(r.terminated);
    assert_float_equal(r.reward, -0.5 + 10 * (5760.0 - 3455.0) / 17280 + 5, 1e-5);
    free(w);
}

static void a_frame_at_tau_is_not_there_yet(void **state) {
    (void)state;
    struct walk *w = walk_new();
    w->rules.tau = 864.0f / 17280.0f;
    w->rules.k_consecutive = 1;
    begin(w, 5760);
    assert_false(step(w, 864).terminated);
    assert_true(step(w, 863).terminated);
    free(w);
}

static void near_frames_count_only_in_a_row(void **state) {
    (void)state;
    static const struct {
        int k, n[8];
        bool done[8];
    } cases[] = {
        {2, {0, 5000, 0, 0}, {false, false, false, true}},
        {3, {0, 0, 5000, 0, 0, 0}, {false, false, false, false, false, true}},
        {1, {5000, 0}, {false, true}},
    };
    for (size_t c = 0; c < 3; c++) {
        struct walk *w = walk_new();
        w->rules.k_consecutive = cases[c].k;
        begin(w, 0); // the start itself never counts
        for (int t = 0; t == 0 || !cases[c].done[t - 1]; t++)
            assert_int_equal(step(w, cases[c].n[t]).terminated, cases[c].done[t]);
        free(w);
    }
}

static void the_last_step_can_be_both_done_and_truncated(void **state) {
    (void)state;
    struct walk *w = walk_new();
    w->rules.max_steps = 3;
    begin(w, 5760);
    assert_false(step(w, 5760).truncated);
    assert_false(step(w, 0).truncated);
    struct env_step_result r = step(w, 0);
    assert_true(r.terminated);
    assert_true(r.truncated);
    assert_true(r.reward == -0.01f + 10.0f);
    begin(w, 5760);
    for (int t = 1; t <= 3; t++) {
        r = step(w, 5760);
        assert_int_equal(r.truncated, t == 3);
        assert_false(r.terminated);
    }
    assert_true(r.reward == -0.01f); // no bonus for the time limit
    free(w);
}

static void a_stack_is_compared_frame_by_frame_oldest_first(void **state) {
    (void)state;
    enum { K = 3 };
    uint8_t previous[K - 1][ENV_OBS_BYTES];
    struct walk *w = walk_new();
    w->goal.n_frames = K;
    w->rules.k_consecutive = 1;
    w->rules.tau = 1e-6f;
    for (int k = 0; k < K; k++) frame_at(w->goal.packed[k], 100 * (k + 1)); // 100 200 300
    w->p.previous = previous;
    begin(w, 50); // 50 50 50: 50 + 150 + 250
    assert_true(w->p.distance == 450.0f / (3 * 17280.0f));
    assert_true(step(w, 100).distance == (50 + 150 + 200) / (3 * 17280.0f)); // 50 50 100
    assert_true(step(w, 200).distance == (50 + 100 + 100) / (3 * 17280.0f)); // 50 100 200
    struct env_step_result r = step(w, 300);                                 // 100 200 300
    assert_true(r.distance == 0);
    assert_true(r.terminated);
    begin(w, 300); // the stack is filled anew
    assert_true(w->p.distance == 300.0f / (3 * 17280.0f));
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_is_that_of_the_unpacked_pixels),
        cmocka_unit_test(the_defaults_are_those_of_the_specification),
        cmocka_unit_test(rewards_are_step_cost_and_progress_and_the_bonus_at_the_end),
        cmocka_unit_test(alpha_bonus_and_cost_are_taken_from_the_rules),
        cmocka_unit_test(a_frame_at_tau_is_not_there_yet),
        cmocka_unit_test(near_frames_count_only_in_a_row),
        cmocka_unit_test(the_last_step_can_be_both_done_and_truncated),
        cmocka_unit_test(a_stack_is_compared_frame_by_frame_oldest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
