// The replay ring on the device against the CPU's (engine/data/replay.h): same rows, same numbers,
// same sequences; and the fences between its two streams, whole and broken.
#include "gpu/parity.h"

#include <stdio.h>

#include "emu/gb.h"
#include "engine/data/replay.h"
#include "engine/env/device_play.h"

enum { N = 3, A = 5, T = 6, B = 7, ROWS = 40, MAX_CELLS = T * B };

static const struct device_play *play_of(const struct backend *b) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct device_play *p = device_play_of(b, why, sizeof why);
    if (!p) fail_msg("%s", why);
    return p;
}

static const struct device_play *the_play(void) { return play_of(parity_backend()); }

// ---- rows of chance, for both rings alike

struct world {
    bool ended[N];
    int64_t t;
    uint8_t obs[N][GB_OBS_BYTES], first[N], terminated[N], truncated[N];
    float reward[N];
    int32_t action[N];
};

static void next_row(struct world *w) {
    for (int n = 0; n < N; n++) {
        const double r = grad_random(w->t, n);
        w->first[n] = w->t == 0 || w->ended[n];
        w->terminated[n] = !w->first[n] && r < 0.08;
        w->truncated[n] = !w->first[n] && r > 0.93;
        w->ended[n] = w->terminated[n] || w->truncated[n];
        w->reward[n] = w->first[n] ? 0 : (float)grad_random(w->t + 7777, n);
        w->action[n] = (int32_t)(A * grad_random(w->t + 9999, n));
        for (int i = 0; i < GB_OBS_BYTES; i++)
            w->obs[n][i] = (uint8_t)(w->t * 31 + n * 7 + i * (1 + w->t % 5));
    }
    w->t++;
}

static void put_cpu(struct replay *r, const struct world *w) {
    for (int n = 0; n < N; n++) {
        memcpy(replay_slot(r, n), w->obs[n], GB_OBS_BYTES);
        replay_write_arrival(r, n, w->reward[n], w->first[n], w->terminated[n], w->truncated[n]);
        replay_write_action(r, n, w->ended[n] ? REPLAY_NO_ACTION : w->action[n]);
    }
    replay_commit(r);
}

// Both parts of a row; not committed.
static bool write_device(const struct device_play *p, struct device_ring *r,
                         const struct world *w) {
    const struct device_row row = {w->obs[0], w->reward, w->first, w->terminated, w->truncated};
    return p->ring_put(r, &row) && p->ring_act(r, w->action, false);
}

static void put_device(const struct device_play *p, struct device_ring *r, const struct world *w) {
    if (!write_device(p, r, w) || !p->ring_commit(r)) fail_msg("%s", p->ring_message(r));
}

static struct device_ring *ring_of(const struct device_play *p, int guard, int margin, int stride) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct device_ring_opts o = {.rows = ROWS,
                                       .n_envs = N,
                                       .n_actions = A,
                                       .guard = guard,
                                       .safety_margin = margin,
                                       .commit_stride = stride,
                                       .max_length = T,
                                       .max_batch = B};
    struct device_ring *r = p->ring_new(&o, NULL, why, sizeof why);
    if (!r) fail_msg("%s", why);
    return r;
}

static struct replay *cpu_ring(int guard, int margin) {
    struct error e = {0};
    const struct replay_opts o = {
        .rows = ROWS, .n_envs = N, .n_actions = A, .guard = guard, .safety_margin = margin};
    struct replay *r = replay_new(&o, &e);
    if (!r) fail_msg("%s", e.message);
    return r;
}

// ---- parity

struct batch {
    uint8_t packed[MAX_CELLS][GB_OBS_BYTES];
    float actions[MAX_CELLS][A], prev_actions[MAX_CELLS][A];
    float rewards[MAX_CELLS], continues[MAX_CELLS], is_first[MAX_CELLS];
};

static void compare_batches(struct device_ring *d, struct replay *r, struct replay_window w,
                            uint64_t step, int n_terminal) {
    static struct batch ours, theirs;
    int64_t starts[B][2];
    struct replay_start want[B];
    struct error e = {0};
    const struct device_sample s = {
        .seed = 11, .step = step, .length = T, .batch = B, .n_terminal = n_terminal};
    const struct device_batch out = {
        starts[0],    ours.packed[0], ours.actions[0], ours.prev_actions[0],
        ours.rewards, ours.continues, ours.is_first};
    if (!the_play()->ring_sample(d, &s) || !the_play()->ring_fetch(d, &out))
        fail_msg("%s", the_play()->ring_message(d));
    if (!replay_draw(r, w, 11, step, T, B, n_terminal, want, &e)) fail_msg("%s", e.message);
    for (int b = 0; b < B; b++) {
        assert_int_equal(starts[b][0], want[b].env);
        assert_int_equal(starts[b][1], want[b].t);
    }
    replay_gather(r, want, T, B,
                  &(struct replay_batch){.packed = theirs.packed[0],
                                         .actions = theirs.actions[0],
                                         .prev_actions = theirs.prev_actions[0],
                                         .rewards = theirs.rewards,
                                         .continues = theirs.continues,
                                         .is_first = theirs.is_first});
    assert_memory_equal(&ours, &theirs, sizeof ours);
}

// Rows come, and after each the same batches are drawn from both.
static void same_batches(int guard, int margin, int n_terminal) {
    struct device_ring *d = ring_of(the_play(), guard, margin, 1);
    struct replay *r = cpu_ring(guard, margin);
    struct world w = {0};
    int n_batches = 0;
    for (int t = 0; t < 3 * ROWS + 5; t++) {
        int64_t first, end;
        next_row(&w);
        put_cpu(r, &w);
        put_device(the_play(), d, &w);
        const struct replay_window window = replay_window(r);
        the_play()->ring_window(d, &first, &end);
        assert_int_equal(first, window.first);
        assert_int_equal(end, window.end);
        if (end - first < T || t % 3) continue;
        n_batches++;
        compare_batches(d, r, window, (uint64_t)t, n_terminal);
    }
    assert_true(n_batches > 30);
    the_play()->ring_free(d);
    replay_free(r);
}

static void batches_are_those_of_the_ring_on_the_cpu(void **state) {
    (void)state;
    same_batches(0, 0, 0);
}

static void guard_and_margin_hide_the_same_rows(void **state) {
    (void)state;
    same_batches(4, 3, 0);
}

static void sequences_through_ends_are_the_same(void **state) {
    (void)state;
    same_batches(2, 0, 5);
}

// ---- the commit window

static void only_whole_strides_are_readable(void **state) {
    (void)state;
    const struct device_play *p = the_play();
    struct device_ring *d = ring_of(p, 0, 1, 4);
    struct replay *r = cpu_ring(0, 0);
    struct world w = {0};
    const struct device_sample s = {.seed = 1, .length = T, .batch = B};
    for (int t = 1; t <= 2 * ROWS; t++) {
        int64_t first, end;
        next_row(&w);
        put_cpu(r, &w);
        put_device(p, d, &w);
        p->ring_window(d, &first, &end);
        const int64_t committed = t / 4 * 4, oldest = t > ROWS ? t - ROWS : 0;
        assert_int_equal(first, oldest);
        assert_int_equal(end, committed - 1 > oldest ? committed - 1 : oldest);
        if (end - first >= T) {
            compare_batches(d, r, (struct replay_window){first, end}, (uint64_t)t, 0);
        } else {
            assert_false(p->ring_sample(d, &s));
            assert_non_null(strstr(p->ring_message(d), "rows per environment to sample"));
        }
    }
    p->ring_free(d);
    replay_free(r);
}

static void a_row_counts_when_both_parts_are_in(void **state) {
    (void)state;
    const struct device_play *p = the_play();
    struct device_ring *d = ring_of(p, 0, 0, 1);
    struct world w = {0};
    next_row(&w);
    const struct device_row row = {w.obs[0], w.reward, w.first, w.terminated, w.truncated};
    assert_false(p->ring_commit(d));
    assert_false(p->ring_act(d, w.action, false));
    assert_true(p->ring_put(d, &row));
    assert_false(p->ring_put(d, &row));
    assert_false(p->ring_commit(d));
    assert_true(p->ring_act(d, w.action, false));
    assert_true(p->ring_commit(d));
    assert_int_equal(p->ring_total(d), 1);
    p->ring_free(d);
}

static void a_ring_too_small_for_its_window_is_refused(void **state) {
    (void)state;
    char why[BACKEND_MESSAGE_SIZE] = "";
    struct device_ring_opts o = {.rows = T + 2 + 3 + 4,
                                 .n_envs = N,
                                 .n_actions = A,
                                 .guard = 2,
                                 .safety_margin = 3,
                                 .commit_stride = 4,
                                 .max_length = T,
                                 .max_batch = B};
    struct device_ring *r = the_play()->ring_new(&o, NULL, why, sizeof why);
    assert_non_null(r);
    the_play()->ring_free(r);
    o.rows--;
    assert_null(the_play()->ring_new(&o, NULL, why, sizeof why));
    assert_non_null(strstr(why, "set buffer.size"));
}

static void the_rows_before_a_row_are_those_of_the_cpu(void **state) {
    (void)state;
    const struct device_play *p = the_play();
    struct device_ring *d = ring_of(p, 2, 0, 1);
    struct replay *r = cpu_ring(2, 0);
    struct world w = {0};
    static struct batch ours, theirs;
    const struct device_batch out = {
        .packed = ours.packed[0], .prev_actions = ours.prev_actions[0], .is_first = ours.is_first};
    int n_compared = 0;
    for (int t = 1; t <= 2 * ROWS; t++) {
        next_row(&w);
        put_cpu(r, &w);
        put_device(p, d, &w);
        for (int end = t > 3 ? t - 3 : 0; end <= t; end++) {
            const bool there =
                replay_rows_before(r, t % N, end, T,
                                   &(struct replay_batch){.packed = theirs.packed[0],
                                                          .prev_actions = theirs.prev_actions[0],
                                                          .is_first = theirs.is_first});
            assert_int_equal(p->ring_rows(d, t % N, end, T), there);
            if (!there) continue;
            if (!p->ring_fetch(d, &out)) fail_msg("%s", p->ring_message(d));
            assert_memory_equal(&ours, &theirs, sizeof ours);
            n_compared++;
        }
    }
    assert_true(n_compared > ROWS);
    p->ring_free(d);
    replay_free(r);
}

static void addresses_are_aligned_and_never_change(void **state) {
    (void)state;
    const struct device_play *p = the_play();
    struct device_ring *d = ring_of(p, 0, 0, 2);
    struct world w = {0};
    const void *before[N_RING_ARRAYS], *after[N_RING_ARRAYS];
    const struct device_batch_at batch = p->ring_batch_at(d);
    p->ring_arrays(d, before);
    for (int i = 0; i < N_RING_ARRAYS; i++) assert_int_equal((uintptr_t)before[i] % 256, 0);
    assert_int_equal((uintptr_t)batch.packed % 256, 0);
    for (int t = 0; t < 2 * ROWS; t++) {
        const struct device_sample s = {.seed = 1, .step = (uint64_t)t, .length = T, .batch = B};
        next_row(&w);
        put_device(p, d, &w);
        if (t > 2 * T && !p->ring_sample(d, &s)) fail_msg("%s", p->ring_message(d));
    }
    p->ring_arrays(d, after);
    assert_memory_equal(before, after, sizeof before);
    const struct device_batch_at batch_after = p->ring_batch_at(d);
    assert_memory_equal(&batch, &batch_after, sizeof batch);
    p->ring_free(d);
}

// ---- fences: nobody waits on the host here, so only the events order the two streams. The host's
// rows would wait; the machines' do not.

static struct device_machines *machines_of(const struct device_play *p) {
    static uint8_t bytes[32768];
    static struct gb start;
    static struct gb_image image;
    static uint8_t obs[GB_OBS_BYTES];
    struct gb_rom rom;
    char why[BACKEND_MESSAGE_SIZE] = "";
    FILE *file = fopen("assets/roms/static.gb", "rb");
    assert_non_null(file);
    const size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    if (!gb_rom_parse(&rom, bytes, n, why, sizeof why)) fail_msg("%s", why);
    gb_reset(&start, &rom);
    gb_step(&start, 0, 20, 0, obs);
    gb_image_take(&image, &start);
    const struct goal_rules rules = {.max_steps = 9};
    const struct device_machines_opts o = {.rom = &rom,
                                           .start = &image,
                                           .start_obs = obs,
                                           .n_machines = N,
                                           .n_frames = 1,
                                           .release_after = 1,
                                           .n_actions = A,
                                           .buttons = gb_action_codec(0)->buttons,
                                           .rules = &rules};
    struct device_machines *m = p->machines_new(&o, why, sizeof why);
    if (!m) fail_msg("%s", why);
    return m;
}

// Machines play on and on, a batch is drawn every third tick, in the middle of a row. False: the
// message.
static bool overlap(const char *library, int guard, int stride, char *message, size_t size) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct backend *b = parity_choose(library);
    const struct device_play *p = play_of(b);
    struct device_machines *m = machines_of(p);
    const struct device_ring_opts o = {.rows = ROWS,
                                       .n_envs = N,
                                       .n_actions = A,
                                       .guard = guard,
                                       .commit_stride = stride,
                                       .max_length = T,
                                       .max_batch = B};
    struct device_ring *r = p->ring_new(&o, m, why, sizeof why);
    if (!r) fail_msg("%s", why);
    // Chosen once: an upload of every tick would come from the host too.
    const int32_t actions[N] = {1, 4, 2};
    bool fine = true;
    for (int t = 0; t < 3 * ROWS && fine; t++) {
        const struct device_sample s = {.seed = 5, .step = (uint64_t)t, .length = T, .batch = B};
        int64_t first, end;
        fine = p->ring_tick(r);
        p->ring_window(r, &first, &end);
        if (fine && end - first >= T && t % 3 == 0) fine = p->ring_sample(r, &s);
        fine = fine && p->ring_act(r, actions, false) && p->ring_commit(r);
    }
    if (fine) assert_int_equal(p->ring_total(r), 3 * ROWS);
    snprintf(message, size, "%s", fine ? "" : p->ring_message(r));
    p->ring_free(r);
    p->machines_free(m);
    return fine;
}

static void actor_and_learner_overlap_without_meeting(void **state) {
    (void)state;
    char message[BACKEND_MESSAGE_SIZE];
    if (!overlap(NULL, 0, 1, message, sizeof message)) fail_msg("%s", message);
    if (!overlap(NULL, 8, 4, message, sizeof message)) fail_msg("%s", message);
}

static void expect_race(const char *library, const char *kernel, const char *what) {
    char message[BACKEND_MESSAGE_SIZE];
    if (getenv("WORKBENCH_CUDA_LIBRARY")) skip(); // the harness sees races, a GPU has them
    if (overlap(library, 0, 4, message, sizeof message)) fail_msg("%s: nobody noticed", library);
    if (!strstr(message, kernel) || !strstr(message, what))
        fail_msg("%s: \"%s\" does not name %s and \"%s\"", library, message, kernel, what);
}

static void a_learner_that_does_not_wait_for_the_commit_is_noticed(void **state) {
    (void)state;
    expect_race("broken_no_commit_wait", "gather_pictures_kernel", "reads element");
}

static void an_actor_that_laps_a_gather_is_noticed(void **state) {
    (void)state;
    expect_race("broken_no_read_wait", "show_kernel", "which another stream read");
}

static void rows_that_no_event_covers_are_noticed(void **state) {
    (void)state;
    expect_race("broken_early_rows", "gather_pictures_kernel", "reads element");
}

static void a_row_that_is_being_overwritten_is_noticed(void **state) {
    (void)state;
    expect_race("broken_late_rows", "gather_pictures_kernel", "which another stream wrote");
}

// ---- the machines play into the ring: what the CPU's environment gives

static void machines_write_the_rows_of_their_episodes(void **state) {
    (void)state;
    const struct device_play *p = the_play();
    struct device_machines *m = machines_of(p);
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct device_ring_opts o = {.rows = ROWS,
                                       .n_envs = N,
                                       .n_actions = A,
                                       .commit_stride = 1,
                                       .max_length = 24,
                                       .max_batch = 1};
    struct device_ring *r = p->ring_new(&o, m, why, sizeof why);
    if (!r) fail_msg("%s", why);
    const int32_t actions[N] = {1, 4, 2};
    for (int t = 0; t < 24; t++)
        if (!p->ring_tick(r) || !p->ring_act(r, actions, false) || !p->ring_commit(r))
            fail_msg("%s", p->ring_message(r));
    float rewards[24], continues[24], first[24], chosen[24][A];
    int64_t start[2];
    const struct device_sample s = {.length = 24, .batch = 1};
    const struct device_batch out = {.starts = start,
                                     .actions = chosen[0],
                                     .rewards = rewards,
                                     .continues = continues,
                                     .is_first = first};
    if (!p->ring_sample(r, &s) || !p->ring_fetch(r, &out)) fail_msg("%s", p->ring_message(r));
    assert_int_equal(start[1], 0);
    for (int t = 0; t < 24; t++) { // a reset, nine steps, a reset, ...
        assert_true(first[t] == (t % 10 == 0));
        assert_true(continues[t] == 1 && rewards[t] == 0);
        for (int a = 0; a < A; a++)
            assert_true(chosen[t][a] == (t % 10 != 9 && a == actions[start[0]]));
    }
    p->ring_free(r);
    p->machines_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_those_of_the_ring_on_the_cpu),
        cmocka_unit_test(guard_and_margin_hide_the_same_rows),
        cmocka_unit_test(sequences_through_ends_are_the_same),
        cmocka_unit_test(only_whole_strides_are_readable),
        cmocka_unit_test(a_row_counts_when_both_parts_are_in),
        cmocka_unit_test(a_ring_too_small_for_its_window_is_refused),
        cmocka_unit_test(the_rows_before_a_row_are_those_of_the_cpu),
        cmocka_unit_test(addresses_are_aligned_and_never_change),
        cmocka_unit_test(actor_and_learner_overlap_without_meeting),
        cmocka_unit_test(a_learner_that_does_not_wait_for_the_commit_is_noticed),
        cmocka_unit_test(an_actor_that_laps_a_gather_is_noticed),
        cmocka_unit_test(rows_that_no_event_covers_are_noticed),
        cmocka_unit_test(a_row_that_is_being_overwritten_is_noticed),
        cmocka_unit_test(machines_write_the_rows_of_their_episodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
