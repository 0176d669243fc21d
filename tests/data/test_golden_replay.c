// Golden fixtures of the replay: row conventions (F43), valid window starts (F45), the row writer
// (F47).
#include "support/golden.h"

#include "base/mem.h"
#include "engine/data/alignment.h"
#include "engine/data/replay.h"

// ---- F43

static struct rows read_rows(struct golden_fixture *f, const char *prefix) {
    char name[64];
    struct rows r;
#define NAME(what) (snprintf(name, sizeof name, "%s." what, prefix), name)
    int n = (int)golden_dim(f, NAME("obs_id"), 0), width = (int)golden_dim(f, NAME("actions"), 1);
    rows_alloc(&r, n, width);
    r.n = n;
    size_t bytes = (size_t)n * 4;
    memcpy(r.obs_id, golden_raw(f, NAME("obs_id"), ST_I32), bytes);
    memcpy(r.actions, golden_raw(f, NAME("actions"), ST_F32), bytes * (size_t)width);
    memcpy(r.rewards, golden_raw(f, NAME("rewards"), ST_F32), bytes);
    memcpy(r.terminated, golden_raw(f, NAME("terminated"), ST_F32), bytes);
    memcpy(r.truncated, golden_raw(f, NAME("truncated"), ST_F32), bytes);
    memcpy(r.is_first, golden_raw(f, NAME("is_first"), ST_F32), bytes);
    for (int i = 0; i < n; i++) r.final_obs_id[i] = -1;
    if (strcmp(prefix, "ta") == 0)
        memcpy(r.final_obs_id, golden_raw(f, NAME("final_obs_id"), ST_I32), bytes);
#undef NAME
    return r;
}

static void assert_rows_equal(const struct rows *a, const struct rows *b) {
    assert_int_equal(a->n, b->n);
    size_t bytes = (size_t)a->n * 4;
    assert_memory_equal(a->obs_id, b->obs_id, bytes);
    assert_memory_equal(a->actions, b->actions, bytes * (size_t)a->n_actions);
    assert_memory_equal(a->rewards, b->rewards, bytes);
    assert_memory_equal(a->terminated, b->terminated, bytes);
    assert_memory_equal(a->truncated, b->truncated, bytes);
    assert_memory_equal(a->is_first, b->is_first, bytes);
    assert_memory_equal(a->final_obs_id, b->final_obs_id, bytes);
}

static void f43_row_conventions_convert_into_each_other_exactly(void **state) {
    (void)state;
    struct golden_fixture *f = golden_fixture_or_fail("F43");
    struct rows sa = read_rows(f, "sa"), aa = read_rows(f, "aa"), ta = read_rows(f, "ta"), out;
    rows_alloc(&out, 2 * sa.n, sa.n_actions);
    rows_sa_to_aa(&sa, &out);
    assert_rows_equal(&out, &aa);
    rows_aa_to_sa(&aa, &out);
    assert_rows_equal(&out, &sa);
    rows_sa_to_ta(&sa, &out);
    assert_rows_equal(&out, &ta);
    rows_ta_to_sa(&ta, &out);
    assert_rows_equal(&out, &sa);
    rows_free(&sa);
    rows_free(&aa);
    rows_free(&ta);
    rows_free(&out);
    golden_fixture_free(f);
}

static void f43_every_convention_gives_the_learner_the_same_windows(void **state) {
    (void)state;
    struct golden_fixture *f = golden_fixture_or_fail("F43");
    struct rows sa = read_rows(f, "sa"), aa = read_rows(f, "aa"), ta = read_rows(f, "ta"), back;
    rows_alloc(&back, 2 * sa.n, sa.n_actions);
    rows_ta_to_sa(&ta, &back);
    const int32_t *start = golden_raw(f, "start", ST_I32);
    int length = (int)golden_dim(f, "p", 0), n = (int)golden_dim(f, "p", 1), width = sa.n_actions;
    const struct {
        const struct rows *rows;
        enum alignment alignment;
    } ways[] = {{&sa, ALIGN_SA}, {&aa, ALIGN_AA}, {&back, ALIGN_SA}};
    for (size_t way = 0; way < 3; way++) {
        size_t cells = (size_t)(length * n);
        float *p = mem_alloc(cells * (size_t)width * 4), *rho = mem_alloc(cells * 4),
              *kappa = mem_alloc(cells * 4), *first = mem_alloc(cells * 4);
        float one_p[16 * 16], one_rho[16], one_kappa[16], one_first[16];
        assert_true(length <= 16 && width <= 16);
        for (int w = 0; w < n; w++) {
            rows_window(ways[way].rows, ways[way].alignment, start[w], length, one_p, one_rho,
                        one_kappa, one_first);
            for (int t = 0; t < length; t++) {
                memcpy(p + (size_t)(t * n + w) * (size_t)width, one_p + t * width,
                       (size_t)width * 4);
                rho[t * n + w] = one_rho[t];
                kappa[t * n + w] = one_kappa[t];
                first[t * n + w] = one_first[t];
            }
        }
        golden_assert_f32(f, "p", p, (int64_t)cells * width);
        golden_assert_f32(f, "rho", rho, (int64_t)cells);
        golden_assert_f32(f, "kappa", kappa, (int64_t)cells);
        golden_assert_f32(f, "f", first, (int64_t)cells);
        free(p);
        free(rho);
        free(kappa);
        free(first);
    }
    rows_free(&sa);
    rows_free(&aa);
    rows_free(&ta);
    rows_free(&back);
    golden_fixture_free(f);
}

// Where no final observation lies in the window, transition rows read directly must agree with
// sheeprl's.
static void f43_transition_rows_read_in_place_agree_inside_an_episode(void **state) {
    (void)state;
    struct golden_fixture *f = golden_fixture_or_fail("F43");
    struct rows sa = read_rows(f, "sa"), ta = read_rows(f, "ta");
    int n_compared = 0;
    for (int s = 0, t = 0; s < sa.n; s++) { // t: the transition row of SA row s
        if (sa.terminated[s] != 0 || sa.truncated[s] != 0) continue;
        float p[2][2 * 16], rho[2][2], kappa[2][2], first[2][2];
        bool inside = s + 1 < sa.n && sa.terminated[s + 1] == 0 && sa.truncated[s + 1] == 0;
        if (inside && (t > 0 || sa.is_first[s] != 0)) {
            rows_window(&sa, ALIGN_SA, s, 2, p[0], rho[0], kappa[0], first[0]);
            rows_window(&ta, ALIGN_TA, t, 2, p[1], rho[1], kappa[1], first[1]);
            assert_memory_equal(p[0], p[1], (size_t)sa.n_actions * 2 * 4);
            assert_memory_equal(rho[0], rho[1], sizeof rho[0]);
            assert_memory_equal(kappa[0], kappa[1], sizeof kappa[0]);
            assert_memory_equal(first[0], first[1], sizeof first[0]);
            n_compared++;
        }
        t++;
    }
    assert_true(n_compared >= 4);
    rows_free(&sa);
    rows_free(&ta);
    golden_fixture_free(f);
}

// ---- F43 and F47 through the ring itself

// The ring stores one action number per row, the fixture vectors of two heads: number the distinct
// vectors.
static int number_of(const float *action, const struct rows *rows) {
    size_t bytes = (size_t)rows->n_actions * 4;
    for (int i = 0; i < rows->n; i++)
        if (memcmp(rows->actions + i * rows->n_actions, action, bytes) == 0) return i;
    return -1;
}

static struct replay *ring_of(const struct rows *sa) {
    struct error e = {0};
    struct replay *r = replay_new(
        &(struct replay_opts){.rows = sa->n, .n_envs = 1, .n_actions = sa->n, .obs_bytes = 4}, &e);
    for (int i = 0; i < sa->n; i++) {
        bool ends = sa->terminated[i] != 0 || sa->truncated[i] != 0;
        memcpy(replay_slot(r, 0), &sa->obs_id[i], 4);
        replay_write_arrival(r, 0, sa->rewards[i], sa->is_first[i] != 0, sa->terminated[i] != 0,
                             sa->truncated[i] != 0);
        replay_write_action(
            r, 0, ends ? REPLAY_NO_ACTION : number_of(sa->actions + i * sa->n_actions, sa));
        replay_commit(r);
    }
    if (!replay_check(r, &e)) fail_msg("%s", e.message);
    return r;
}

static void f43_the_ring_gathers_the_same_windows(void **state) {
    (void)state;
    struct golden_fixture *f = golden_fixture_or_fail("F43");
    struct rows sa = read_rows(f, "sa");
    struct replay *r = ring_of(&sa);
    const int32_t *start = golden_raw(f, "start", ST_I32);
    int length = (int)golden_dim(f, "p", 0), n = (int)golden_dim(f, "p", 1), width = sa.n_actions;
    size_t cells = (size_t)(length * n);
    struct replay_start *starts = mem_alloc((size_t)n * sizeof *starts);
    for (int w = 0; w < n; w++) starts[w] = (struct replay_start){.env = 0, .t = start[w]};
    real *hot = mem_alloc(cells * (size_t)sa.n * sizeof *hot),
         *rho = mem_alloc(cells * sizeof *rho), *kappa = mem_alloc(cells * sizeof *kappa),
         *first = mem_alloc(cells * sizeof *first);
    float *p = mem_alloc(cells * (size_t)width * sizeof *p);
    replay_gather(r, starts, length, n,
                  &(struct replay_batch){
                      .prev_actions = hot, .rewards = rho, .continues = kappa, .is_first = first});
    for (size_t c = 0; c < cells; c++)
        for (int i = 0; i < sa.n; i++)
            if (hot[c * (size_t)sa.n + (size_t)i] != 0)
                memcpy(p + c * (size_t)width, sa.actions + i * width, (size_t)width * sizeof *p);
    golden_assert_f32(f, "p", p, (int64_t)cells * width);
    golden_assert_real(f, "rho", rho, (int64_t)cells);
    golden_assert_real(f, "kappa", kappa, (int64_t)cells);
    golden_assert_real(f, "f", first, (int64_t)cells);
    free(p);
    free(hot);
    free(rho);
    free(kappa);
    free(first);
    free(starts);
    replay_free(r);
    rows_free(&sa);
    golden_fixture_free(f);
}

// ---- F45

static void f45_window_starts_are_those_of_the_reference_buffer(void **state) {
    (void)state;
    struct golden_fixture *f = golden_fixture_or_fail("F45");
    int n = (int)golden_dim(f, "length", 0), capacity = (int)golden_dim(f, "mask", 1);
    const int32_t *length = golden_raw(f, "length", ST_I32),
                  *added = golden_raw(f, "added", ST_I32);
    int32_t *n_starts = mem_alloc((size_t)n * 4), *first = mem_alloc((size_t)n * 4),
            *last = mem_alloc((size_t)n * 4);
    uint8_t *mask = mem_alloc((size_t)(n * capacity));
    for (int c = 0; c < n; c++) {
        struct error e = {0};
        struct replay *r = replay_new(
            &(struct replay_opts){.rows = capacity, .n_envs = 1, .n_actions = 2, .obs_bytes = 1},
            &e);
        for (int t = 0; t < added[c]; t++) {
            replay_slot(r, 0);
            replay_write_arrival(r, 0, 0, t == 0, false, false);
            replay_write_action(r, 0, 0);
            replay_commit(r);
        }
        first[c] = last[c] = -1;
        enum { DRAWS = 400 }; // all of at most 8 starts come up (chance of a miss < 1e-22)
        struct replay_start starts[DRAWS];
        bool drawn = replay_draw(r, replay_window(r), 1, 1, length[c], DRAWS, 0, starts, &e);
        assert_int_equal(drawn, replay_can_sample(r, length[c]));
        for (int i = 0; drawn && i < DRAWS; i++) {
            int32_t t = (int32_t)starts[i].t;
            mask[c * capacity + t % capacity] = 1;
            if (first[c] < 0 || t < first[c]) first[c] = t;
            if (t > last[c]) last[c] = t;
        }
        for (int s = 0; s < capacity; s++) n_starts[c] += mask[c * capacity + s];
        replay_free(r);
    }
    golden_assert_i32(f, "n_starts", n_starts, n);
    golden_assert_i32(f, "first", first, n);
    golden_assert_i32(f, "last", last, n);
    golden_assert_u8(f, "mask", mask, (int64_t)n * capacity);
    free(n_starts);
    free(first);
    free(last);
    free(mask);
    golden_fixture_free(f);
}

// ---- F47

// One scripted environment, driven as the worker drives real ones: a step per tick, and a tick of
// its own for a reset. The script's clock is the reference's: it does not stand still while this
// one resets.
static struct replay *write_script(struct golden_fixture *f, int env) {
    int n_ticks = (int)golden_dim(f, "script.action", 0),
        n_envs = (int)golden_dim(f, "script.action", 1);
    const int32_t *action = golden_raw(f, "script.action", ST_I32),
                  *obs_id = golden_raw(f, "script.obs_id", ST_I32),
                  *final_obs_id = golden_raw(f, "script.final_obs_id", ST_I32);
    const float *reward = golden_raw(f, "script.reward", ST_F32);
    const uint8_t *terminated = golden_raw(f, "script.terminated", ST_U8),
                  *truncated = golden_raw(f, "script.truncated", ST_U8);
    struct error e = {0};
    struct replay *r = replay_new(
        &(struct replay_opts){.rows = 64, .n_envs = 1, .n_actions = 8, .obs_bytes = 4}, &e);
    bool needs_reset = true;
    for (int tick = 0, acted = 0; acted < n_ticks; tick++) {
        int now = acted * n_envs + env,
            before = now - n_envs; // script step that is chosen now; that brought us here
        bool ends = !needs_reset && (terminated[before] || truncated[before]);
        int32_t seen = ends ? final_obs_id[before] : obs_id[now];
        memcpy(replay_slot(r, 0), &seen, 4);
        replay_write_arrival(r, 0, needs_reset ? 0 : reward[before], needs_reset,
                             ends && terminated[before], ends && truncated[before]);
        replay_write_action(r, 0, ends ? REPLAY_NO_ACTION : action[now]);
        replay_commit(r);
        needs_reset = ends;
        acted += !ends;
    }
    return r;
}

static void f47_rows_of_scripted_episodes_equal_the_reference_loop(void **state) {
    (void)state;
    struct golden_fixture *f = golden_fixture_or_fail("F47");
    for (int env = 0; env < 2; env++) {
        struct replay *r = write_script(f, env);
        struct error e = {0};
        if (!replay_check(r, &e)) fail_msg("%s", e.message);
        char name[64];
        snprintf(name, sizeof name, "env%d.obs_id", env);
        int n = (int)golden_dim(f, name, 0);
        assert_true(replay_total(r) >= n);
        int32_t obs[64];
        float actions[64 * 8] = {0}, rewards[64];
        uint8_t terminated[64], truncated[64], is_first[64];
        for (int i = 0; i < n; i++) {
            struct replay_row row = replay_row(r, i, 0);
            memcpy(&obs[i], row.obs, 4);
            if (row.action >= 0) actions[i * 8 + row.action] = 1;
            rewards[i] = row.reward;
            terminated[i] = row.terminated;
            truncated[i] = row.truncated;
            is_first[i] = row.is_first;
        }
#define COMPARE(SUFFIX, WHAT, DATA, COUNT)                                                         \
    snprintf(name, sizeof name, "env%d." WHAT, env);                                               \
    golden_assert_##SUFFIX(f, name, DATA, COUNT)
        COMPARE(i32, "obs_id", obs, n);
        COMPARE(f32, "actions", actions, n * 8);
        COMPARE(f32, "rewards", rewards, n);
        COMPARE(u8, "terminated", terminated, n);
        COMPARE(u8, "truncated", truncated, n);
        COMPARE(u8, "is_first", is_first, n);
#undef COMPARE
        replay_free(r);
    }
    golden_fixture_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f43_row_conventions_convert_into_each_other_exactly),
        cmocka_unit_test(f43_every_convention_gives_the_learner_the_same_windows),
        cmocka_unit_test(f43_transition_rows_read_in_place_agree_inside_an_episode),
        cmocka_unit_test(f43_the_ring_gathers_the_same_windows),
        cmocka_unit_test(f45_window_starts_are_those_of_the_reference_buffer),
        cmocka_unit_test(f47_rows_of_scripted_episodes_equal_the_reference_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
