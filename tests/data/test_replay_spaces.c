// Replay rows of vectors beside pictures, of several action heads and of continuous actions.
#include "support/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/data/replay.h"

enum { PICTURE = 8, VECTOR = 3, OBS = PICTURE + VECTOR * 4, ENVS = 2, PERIOD = 5, ROWS = 40 };
static const struct action_space heads = {.n_heads = 2, .classes = {5, 3}};
static const struct action_space values = {.n_continuous = 2};

static struct replay *ring(const struct action_space *actions) {
    struct error e = {0};
    struct replay *r = replay_new(&(struct replay_opts){.rows = ROWS,
                                                        .n_envs = ENVS,
                                                        .n_actions = action_width(actions),
                                                        .obs_bytes = OBS,
                                                        .n_vector = VECTOR,
                                                        .actions = actions},
                                  &e);
    if (!r) fail_msg("%s", e.message);
    return r;
}

static float vector_value(int64_t t, int env, int i) { return (float)(t * 100 + env * 10 + i) - 7; }
static float action_value(int64_t t, int env, int i) {
    return (float)((t + 3 * env + i) % 9) / 4 - 1;
}
static int32_t action_head(int64_t t, int env, int k) {
    return (int32_t)((t + env + k) % heads.classes[k]);
}

static void push_row(struct replay *r, bool continuous) {
    int64_t t = replay_total(r);
    const bool first = t % PERIOD == 0, last = t % PERIOD == PERIOD - 1;
    for (int n = 0; n < ENVS; n++) {
        uint8_t *slot = replay_slot(r, n);
        memset(slot, (int)(t + n), PICTURE);
        for (int i = 0; i < VECTOR; i++) {
            const float x = vector_value(t, n, i);
            memcpy(slot + PICTURE + 4 * i, &x, sizeof x);
        }
        replay_write_arrival(r, n, 0, first, last, false);
        float a[2] = {action_value(t, n, 0), action_value(t, n, 1)};
        int32_t h[2] = {action_head(t, n, 0), action_head(t, n, 1)};
        if (continuous)
            replay_write_values(r, n, last ? NULL : a);
        else
            replay_write_heads(r, n, last ? NULL : h);
    }
    replay_commit(r);
}

// What the model should read as the action of row t.
static void expect_action(bool continuous, int64_t t, int env, real *out) {
    memset(out, 0, 8 * sizeof *out);
    if (t % PERIOD == PERIOD - 1) return; // an end
    for (int k = 0; k < 2 && continuous; k++) out[k] = (real)action_value(t, env, k);
    if (continuous) return;
    out[action_head(t, env, 0)] = 1;
    out[heads.classes[0] + action_head(t, env, 1)] = 1;
}

static void check_gathered(bool continuous) {
    enum { T = 7, B = 3 };
    struct replay *r = ring(continuous ? &values : &heads);
    const int width = action_width(continuous ? &values : &heads);
    for (int t = 0; t < 2 * ROWS; t++) push_row(r, continuous);
    uint8_t packed[T * B * PICTURE];
    real vector[T * B * VECTOR], actions[T * B * 8], prev[T * B * 8], wanted[8];
    const struct replay_start starts[B] = {{0, 50}, {1, 52}, {0, 61}};
    replay_gather(
        r, starts, T, B,
        &(struct replay_batch){
            .packed = packed, .vector = vector, .actions = actions, .prev_actions = prev});
    for (int i = 0; i < T; i++)
        for (int b = 0; b < B; b++) {
            const int64_t t = starts[b].t + i, cell = i * B + b;
            const int env = (int)starts[b].env;
            assert_int_equal(packed[cell * PICTURE + PICTURE - 1], (uint8_t)(t + env));
            for (int k = 0; k < VECTOR; k++)
                assert_true(vector[cell * VECTOR + k] == (real)vector_value(t, env, k));
            expect_action(continuous, t, env, wanted);
            assert_memory_equal(actions + cell * width, wanted, (size_t)width * sizeof(real));
            memset(wanted, 0, sizeof wanted);
            if (i > 0 && t % PERIOD != 0) expect_action(continuous, t - 1, env, wanted);
            assert_memory_equal(prev + cell * width, wanted, (size_t)width * sizeof(real));
        }
    replay_free(r);
}

static void vectors_and_heads_come_back_as_they_were_written(void **state) {
    (void)state;
    check_gathered(false);
}

static void vectors_and_continuous_actions_come_back_as_they_were_written(void **state) {
    (void)state;
    check_gathered(true);
}

static void rings_of_both_kinds_are_restored_exactly(void **state) {
    (void)state;
    for (int continuous = 0; continuous < 2; continuous++) {
        const struct action_space *a = continuous ? &values : &heads;
        struct replay *r = ring(a), *copy = ring(a), *other = ring(continuous ? &heads : &values);
        struct st_source list[REPLAY_MAX_TENSORS], again[REPLAY_MAX_TENSORS];
        char path[PATH_SIZE];
        struct error e = {0};
        for (int t = 0; t < ROWS + 13; t++) push_row(r, continuous);
        path_join(path, test_folder(), "replay", &e);
        int n = replay_tensors(r, list);
        if (!safetensors_write(path, list, n, NULL, 0, &e)) fail_msg("%s", e.message);
        struct safetensors *s = safetensors_open(path, &e);
        assert_non_null(s);
        if (!replay_restore(copy, s, &e)) fail_msg("%s", e.message);
        assert_false(replay_restore(other, s, &e)); // another kind of action
        assert_int_equal(replay_tensors(copy, again), n);
        for (int i = 0; i < n; i++) {
            size_t bytes = st_dtype_bytes(list[i].dtype);
            for (int k = 0; k < list[i].n_dims; k++) bytes *= (size_t)list[i].shape[k];
            assert_memory_equal(list[i].data, again[i].data, bytes);
        }
        push_row(copy, continuous); // and it goes on
        if (!replay_check(copy, &e)) fail_msg("%s", e.message);
        safetensors_free(s);
        replay_free(r);
        replay_free(copy);
        replay_free(other);
    }
}

static void an_action_that_is_not_finite_is_found_by_the_invariants(void **state) {
    (void)state;
    struct error e = {0};
    struct replay *r = ring(&values);
    push_row(r, true);
    assert_true(replay_check(r, &e));
    const struct replay_row row = replay_row(r, 0, 1);
    assert_true(row.values[0] == action_value(0, 1, 0));
    ((float *)(uintptr_t)row.values)[0] = NAN; // the ring's own
    assert_false(replay_check(r, &e));
    assert_non_null(strstr(e.message, "not finite"));
    replay_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_and_heads_come_back_as_they_were_written),
        cmocka_unit_test(vectors_and_continuous_actions_come_back_as_they_were_written),
        cmocka_unit_test(rings_of_both_kinds_are_restored_exactly),
        cmocka_unit_test(an_action_that_is_not_finite_is_found_by_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
