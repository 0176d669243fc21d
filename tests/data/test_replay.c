// Replay ring: rows, sampling, the write head, determinism, invariants, saving and restoring.
#include "support/expect_abort.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/philox.h"
#include "engine/data/replay.h"

enum { OBS = 16, A = 5 };

// Contents that name their row: every byte of the frame, reward and action depend on (t, env).
static uint8_t frame_byte(int64_t t, int env, int k) { return (uint8_t)(t * 31 + env * 7 + k); }
static float row_reward(int64_t t, int env) { return (float)(t * 10 + env); }

// Episodes of `period` rows: first row is a reset, the last one ends it (terminated and truncated
// in turn).
static void push_row(struct replay *r, int n_envs, int period) {
    int64_t t = replay_total(r);
    for (int n = 0; n < n_envs; n++) {
        uint8_t *slot = replay_slot(r, n);
        for (int k = 0; k < OBS; k++) slot[k] = frame_byte(t, n, k);
        bool first = t % period == 0, last = t % period == period - 1, odd = t / period % 2;
        replay_write_arrival(r, n, first ? 0 : row_reward(t, n), first, last && !odd, last && odd);
        replay_write_action(r, n, last ? REPLAY_NO_ACTION : (int)((t + n) % A));
    }
    replay_commit(r);
}

static struct replay *ring(int64_t rows, int n_envs, int guard, int margin) {
    struct error e = {0};
    struct replay *r = replay_new(&(struct replay_opts){.rows = rows,
                                                        .n_envs = n_envs,
                                                        .n_actions = A,
                                                        .obs_bytes = OBS,
                                                        .guard = guard,
                                                        .safety_margin = margin},
                                  &e);
    if (!r) fail_msg("%s", e.message);
    return r;
}

struct buffers {
    uint8_t *packed;
    real *actions, *prev, *rewards, *continues, *first;
    struct replay_batch batch;
};

static struct buffers make_buffers(int T, int B) {
    size_t n = (size_t)T * (size_t)B;
    struct buffers b = {.packed = mem_alloc(n * OBS),
                        .actions = mem_alloc(n * A * sizeof(real)),
                        .prev = mem_alloc(n * A * sizeof(real)),
                        .rewards = mem_alloc(n * sizeof(real)),
                        .continues = mem_alloc(n * sizeof(real)),
                        .first = mem_alloc(n * sizeof(real))};
    b.batch = (struct replay_batch){.packed = b.packed,
                                    .actions = b.actions,
                                    .prev_actions = b.prev,
                                    .rewards = b.rewards,
                                    .continues = b.continues,
                                    .is_first = b.first};
    return b;
}

static void free_buffers(struct buffers *b) {
    free(b->packed);
    free(b->actions);
    free(b->prev);
    free(b->rewards);
    free(b->continues);
    free(b->first);
}

static int hot(const real *v) {
    int at = -1, n = 0;
    for (int a = 0; a < A; a++)
        if (v[a] != 0) {
            assert_true(v[a] == 1);
            at = a;
            n++;
        }
    assert_true(n <= 1);
    return at;
}

// Everything about one gathered sequence follows from its start.
static void check_sequence(const struct buffers *b, int T, int B, int column, int64_t start,
                           int env, int period) {
    for (int k = 0; k < T; k++) {
        int64_t t = start + k;
        size_t cell = (size_t)(k * B + column);
        bool first = t % period == 0, last = t % period == period - 1, odd = t / period % 2;
        for (int i = 0; i < OBS; i++)
            assert_int_equal(b->packed[cell * OBS + (size_t)i], frame_byte(t, env, i));
        assert_int_equal(hot(b->actions + cell * A), last ? -1 : (int)((t + env) % A));
        assert_int_equal(hot(b->prev + cell * A), k == 0 || first ? -1 : (int)((t - 1 + env) % A));
        assert_true(b->rewards[cell] == (first ? 0 : row_reward(t, env)));
        assert_true(b->continues[cell] == (last && !odd ? 0 : 1));
        assert_true(b->first[cell] == (k == 0 || first));
    }
}

static void rows_come_back_as_they_were_written(void **state) {
    (void)state;
    struct replay *r = ring(50, 3, 0, 0);
    for (int t = 0; t < 120; t++) push_row(r, 3, 9);
    assert_int_equal(replay_total(r), 120);
    assert_int_equal(replay_size(r), 150);
    assert_int_equal(replay_capacity(r), 150);
    for (int64_t t = 70; t < 120; t++)
        for (int n = 0; n < 3; n++) {
            struct replay_row row = replay_row(r, t, n);
            for (int k = 0; k < OBS; k++) assert_int_equal(row.obs[k], frame_byte(t, n, k));
            assert_int_equal(row.is_first, t % 9 == 0);
            assert_int_equal(row.episode_id, t / 9);
            assert_true(row.reward == (t % 9 ? row_reward(t, n) : 0));
        }
    struct error e = {0};
    if (!replay_check(r, &e)) fail_msg("%s", e.message);
    replay_free(r);
}

static void a_sequence_may_cross_an_episode_end_and_is_gathered_whole(void **state) {
    (void)state;
    struct replay *r = ring(40, 2, 0, 0);
    for (int t = 0; t < 95; t++) push_row(r, 2, 7);
    enum { T = 11, B = 64 };
    struct buffers b = make_buffers(T, B);
    struct replay_start starts[B];
    struct error e = {0};
    assert_true(replay_draw(r, replay_window(r), 5, 3, T, B, 0, starts, &e));
    replay_gather(r, starts, T, B, &b.batch);
    for (int i = 0; i < B; i++) check_sequence(&b, T, B, i, starts[i].t, (int)starts[i].env, 7);
    free_buffers(&b);
    replay_free(r);
}

static void replay_never_samples_across_the_write_head(void **state) {
    (void)state;
    enum { T = 5, B = 512 };
    struct buffers b = make_buffers(T, B);
    for (int rows = 6; rows <= 9; rows++)
        for (int guard = 0; guard < 2; guard++) {
            struct replay *r = ring(rows, 1, guard, 0);
            for (int total = 1; total < 30; total++) {
                push_row(r, 1, 6);
                struct replay_start starts[B];
                struct error e = {0};
                int64_t first = total - rows + guard > 0 ? total - rows + guard : 0;
                if (!replay_draw(r, replay_window(r), 1, (uint64_t)total, T, B, 0, starts, &e)) {
                    assert_true(total - first < T);
                    continue;
                }
                bool oldest = false, newest = false;
                for (int i = 0; i < B; i++) {
                    assert_true(starts[i].t >= first && starts[i].t + T <= total);
                    oldest |= starts[i].t == first;
                    newest |= starts[i].t == total - T;
                }
                assert_true(oldest && newest); // both ends are allowed and come up
                replay_gather(r, starts, T, B, &b.batch);
                for (int i = 0; i < B; i++) check_sequence(&b, T, B, i, starts[i].t, 0, 6);
            }
            replay_free(r);
        }
    free_buffers(&b);
}

static void too_few_rows_are_an_error_that_says_what_to_change(void **state) {
    (void)state;
    struct replay *r = ring(100, 1, 0, 4);
    struct buffers b = make_buffers(8, 2);
    struct error e = {0};
    for (int t = 0; t < 11; t++) push_row(r, 1, 50);
    assert_false(replay_can_sample(r, 8)); // 11 rows, 4 of them hidden by the margin
    assert_false(replay_sample(r, 1, 0, 8, 2, &b.batch, &e));
    assert_non_null(strstr(e.message, "has 7 rows"));
    assert_non_null(strstr(e.message, "algo.learning_starts"));
    push_row(r, 1, 50);
    assert_true(replay_can_sample(r, 8));
    assert_true(replay_sample(r, 1, 0, 8, 2, &b.batch, &e));
    assert_int_equal(replay_ready(r), 8);
    replay_free(r);
    free_buffers(&b);
}

static void samples_depend_on_seed_and_gradient_step_only(void **state) {
    (void)state;
    enum { T = 4, B = 16 };
    struct replay_start x[B], y[B];
    struct replay *r = ring(64, 3, 0, 0), *same = ring(64, 3, 0, 0);
    struct error e = {0};
    for (int t = 0; t < 50; t++) push_row(r, 3, 9);
    for (int t = 0; t < 50; t++) push_row(same, 3, 4);
    assert_true(replay_draw(r, replay_window(r), 7, 123, T, B, 0, x, &e));
    assert_true(replay_draw(same, replay_window(same), 7, 5, T, B, 0, y, &e));
    assert_memory_not_equal(x, y, sizeof x);
    assert_true(replay_draw(same, replay_window(same), 8, 123, T, B, 0, y, &e));
    assert_memory_not_equal(x, y, sizeof x);
    assert_true(replay_draw(same, replay_window(same), 7, 123, T, B, 0, y, &e));
    assert_memory_equal(x, y, sizeof x); // neither history nor contents matter
    replay_free(r);
    replay_free(same);
}

static void environments_and_starts_are_drawn_uniformly(void **state) {
    (void)state;
    enum { N = 4, T = 3, B = 4000, STARTS = 10 };
    struct replay *r = ring(12, N, 0, 0);
    for (int t = 0; t < 30; t++) push_row(r, N, 5);
    static struct replay_start starts[B];
    struct error e = {0};
    int count[N][STARTS] = {{0}}, rounds = 10;
    for (int s = 0; s < rounds; s++) {
        assert_true(replay_draw(r, replay_window(r), 11, (uint64_t)s, T, B, 0, starts, &e));
        for (int i = 0; i < B; i++) count[starts[i].env][starts[i].t - 18]++;
    }
    double expected = (double)B * rounds / (N * STARTS), chi2 = 0;
    for (int n = 0; n < N; n++)
        for (int s = 0; s < STARTS; s++) chi2 += pow(count[n][s] - expected, 2) / expected;
    assert_true(chi2 < 73); // 39 degrees of freedom: p = 0.001 at 72.1
    replay_free(r);
}

// The first n_terminal sequences hold a terminated row, each such row and each place in the
// sequence as often as another; the others are drawn as ever, and without such a row all of them
// are.
static void sequences_through_terminated_rows_are_drawn_as_asked(void **state) {
    (void)state;
    enum { N = 2, T = 4, B = 4096, ENDS = B / 2, PERIOD = 10, TOTAL = 60 };
    static struct replay_start x[B], plain[B];
    struct replay *r = ring(64, N, 0, 0), *endless = ring(64, N, 0, 0);
    struct error e = {0};
    for (int t = 0; t < TOTAL; t++) push_row(r, N, PERIOD); // ends in t = 9, 29, 49
    for (int t = 0; t < TOTAL; t++) push_row(endless, N, TOTAL + 1);
    assert_true(replay_draw(r, replay_window(r), 3, 1, T, B, 0, plain, &e));
    assert_true(replay_draw(r, replay_window(r), 3, 1, T, B, ENDS, x, &e));
    int count[N][3][T] = {{{0}}};
    for (int b = 0; b < ENDS; b++) {
        int64_t end = x[b].t <= 9 ? 9 : x[b].t <= 29 ? 29 : 49, place = end - x[b].t;
        assert_in_range(place, 0, T - 1);
        count[x[b].env][end / 20][place]++;
    }
    for (int i = 0; i < N * 3 * T; i++) {
        double expected = (double)ENDS / (N * 3 * T);
        assert_true(fabs((&count[0][0][0])[i] - expected) < 5 * sqrt(expected));
    }
    assert_memory_equal(x + ENDS, plain + ENDS, sizeof x - ENDS * sizeof *x);
    assert_memory_not_equal(x, plain, ENDS * sizeof *x);
    // A window ends at row 10: the end in 9 can only be first or within; rows after it are hidden.
    struct replay_window narrow = {7, 11};
    assert_true(replay_draw(r, narrow, 3, 1, T, B, B, x, &e));
    for (int b = 0; b < B; b++) assert_int_equal(x[b].t, 7);
    assert_true(replay_draw(endless, replay_window(endless), 3, 1, T, B, B, x, &e));
    assert_memory_equal(x, plain, sizeof x);
    replay_free(r);
    replay_free(endless);
}

// Row by row, as replay.h says it, on a ring that has wrapped around more than once.
static void terminated_rows_are_found_across_the_ring_s_end(void **state) {
    (void)state;
    enum { ROWS = 26, N = 3, T = 5, B = 64, PERIOD = 4 };
    struct replay *r = ring(ROWS, N, 2, 0);
    struct error e = {0};
    for (int t = 0; t < 3 * ROWS; t++) {
        push_row(r, N, PERIOD);
        const struct replay_window w = replay_window(r);
        struct replay_start x[B], ends[ROWS * N];
        int64_t n = 0, n_starts = w.end - w.first - T + 1;
        for (int64_t at = w.first; at < w.end; at++)
            for (int env = 0; env < N; env++)
                if (replay_row(r, at, env).terminated)
                    ends[n++] = (struct replay_start){.env = env, .t = at};
        if (n_starts < 1 || n == 0) continue;
        assert_true(replay_draw(r, w, 9, (uint64_t)t, T, B, B, x, &e));
        for (int b = 0; b < B; b++) {
            const struct replay_start end =
                ends[rng_below(9, RNG_REPLAY_ENV, (uint64_t)t, (uint32_t)b, (uint32_t)n)];
            const int64_t low = end.t - T + 1 > w.first ? end.t - T + 1 : w.first,
                          top = w.first + n_starts - 1, high = end.t < top ? end.t : top;
            assert_int_equal(x[b].env, end.env);
            assert_int_equal(x[b].t, low + rng_below(9, RNG_REPLAY_START, (uint64_t)t, (uint32_t)b,
                                                     (uint32_t)(high - low + 1)));
        }
    }
    replay_free(r);
}

static void rows_before_a_row_are_the_newest_of_that_environment(void **state) {
    (void)state;
    struct replay *r = ring(20, 2, 0, 6);
    struct buffers b = make_buffers(8, 1);
    for (int t = 0; t < 7; t++) push_row(r, 2, 5);
    assert_false(replay_rows_before(r, 1, replay_total(r), 8, &b.batch));
    for (int t = 0; t < 30; t++) push_row(r, 2, 5);
    assert_true(replay_rows_before(r, 1, replay_total(r), 8, &b.batch));
    check_sequence(&b, 8, 1, 0, 37 - 8, 1, 5);
    assert_true(replay_row(r, 37 - 8, 1).is_first == false); // storage keeps the true flag
    replay_free(r);
    free_buffers(&b);
}

static void missing_parts_of_a_batch_are_left_out(void **state) {
    (void)state;
    struct replay *r = ring(20, 1, 0, 0);
    for (int t = 0; t < 12; t++) push_row(r, 1, 5);
    real rewards[6];
    struct error e = {0};
    assert_true(replay_sample(r, 1, 1, 3, 2, &(struct replay_batch){.rewards = rewards}, &e));
    replay_free(r);
}

static void a_half_written_row_hides_the_oldest_one(void **state) {
    (void)state;
    struct replay *r = ring(10, 1, 0, 0);
    for (int t = 0; t < 25; t++) push_row(r, 1, 5);
    assert_int_equal(replay_window(r).first, 15);
    memset(replay_slot(r, 0), 0, OBS); // row 25 takes the place of row 15
    assert_int_equal(replay_window(r).first, 16);
    replay_free(r);
}

static void a_broken_ring_is_found_by_the_invariants(void **state) {
    (void)state;
    struct error e = {0};
    struct {
        float reward;
        bool first, terminated, truncated;
        int action;
        const char *message;
    } rows[] = {
        {0, true, false, false, 1, "exactly an end"},    // a reset in the middle of an episode
        {1, false, true, false, 1, "episode goes on"},   // an end with an action
        {1, false, false, false, -1, "episode goes on"}, // no action without an end
        {2, true, false, false, 1, "a reward or an end"},
        {0, true, true, false, -1, "a reward or an end"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct replay *r = ring(10, 1, 0, 0);
        push_row(r, 1, 8);
        push_row(r, 1, 8);
        replay_slot(r, 0);
        replay_write_arrival(r, 0, rows[i].reward, rows[i].first, rows[i].terminated,
                             rows[i].truncated);
        replay_write_action(r, 0, rows[i].action);
        replay_commit(r);
        assert_false(replay_check(r, &e));
        if (!strstr(e.message, rows[i].message)) fail_msg("case %zu: %s", i, e.message);
        replay_free(r);
    }
}

static const char *save(struct replay *r) {
    static char path[PATH_SIZE];
    struct st_source list[REPLAY_MAX_TENSORS];
    struct error e = {0};
    path_join(path, test_folder(), "replay", &e);
    int n = replay_tensors(r, list);
    if (!safetensors_write(path, list, n, NULL, 0, &e)) fail_msg("%s", e.message);
    return path;
}

static void a_restored_ring_goes_on_exactly_like_the_saved_one(void **state) {
    (void)state;
    enum { T = 4, B = 8 };
    for (int rows_written = 3; rows_written < 60; rows_written += 19) {
        struct replay *r = ring(20, 2, 1, 0), *copy = ring(20, 2, 1, 0);
        for (int t = 0; t < rows_written; t++) push_row(r, 2, 6);
        struct error e = {0};
        struct safetensors *s = safetensors_open(save(r), &e);
        assert_non_null(s);
        push_row(copy, 2, 3); // whatever was there goes away
        if (!replay_restore(copy, s, &e)) fail_msg("%s", e.message);
        safetensors_free(s);
        for (int t = 0; t < 30; t++) push_row(r, 2, 6), push_row(copy, 2, 6);
        struct buffers x = make_buffers(T, B), y = make_buffers(T, B);
        assert_true(replay_sample(r, 3, 9, T, B, &x.batch, &e) &&
                    replay_sample(copy, 3, 9, T, B, &y.batch, &e));
        assert_memory_equal(x.packed, y.packed, T * B * OBS);
        assert_memory_equal(x.prev, y.prev, T * B * A * sizeof(real));
        assert_memory_equal(x.rewards, y.rewards, T * B * sizeof(real));
        assert_int_equal(replay_total(r), replay_total(copy));
        assert_int_equal(replay_row(r, replay_total(r) - 1, 1).episode_id,
                         replay_row(copy, replay_total(r) - 1, 1).episode_id);
        free_buffers(&x);
        free_buffers(&y);
        replay_free(r);
        replay_free(copy);
    }
}

static void a_saved_ring_of_another_size_or_with_broken_rows_is_refused(void **state) {
    (void)state;
    struct error e = {0};
    struct replay *r = ring(20, 2, 0, 0), *other = ring(20, 3, 0, 0), *same = ring(20, 2, 0, 0);
    for (int t = 0; t < 30; t++) push_row(r, 2, 6);
    for (int t = 0; t < 4; t++) push_row(same, 2, 6);
    struct safetensors *s = safetensors_open(save(r), &e);
    assert_false(replay_restore(other, s, &e));
    assert_non_null(strstr(e.message, "expected"));
    assert_int_equal(replay_total(other), 0);
    const struct st_tensor *actions = safetensors_find(s, "replay/action");
    ((int32_t *)actions->data)[7] = 1000;
    assert_false(replay_restore(same, s, &e));
    assert_non_null(strstr(e.message, "out of range"));
    assert_int_equal(replay_total(same), 4); // untouched
    safetensors_free(s);
    replay_free(r);
    replay_free(other);
    replay_free(same);
}

static void impossible_sizes_are_refused(void **state) {
    (void)state;
    struct error e = {0};
    const int64_t sizes[] = {0, -5, INT64_MAX, 4};
    for (size_t i = 0; i < 4; i++) {
        assert_null(replay_new(
            &(struct replay_opts){.rows = sizes[i], .n_envs = 1, .n_actions = 2, .guard = 4}, &e));
        assert_int_equal(e.status, STATUS_USAGE);
    }
}

// ---- a ring in a file

static void a_ring_in_a_file_is_like_one_in_memory_and_leaves_nothing_behind(void **state) {
    (void)state;
    struct error e = {0};
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", test_folder());
    struct replay_opts o = {
        .rows = 40, .n_envs = 2, .n_actions = A, .obs_bytes = OBS, .file_folder = folder};
    struct replay *file = replay_new(&o, &e);
    if (!file) fail_msg("%s", e.message);
    o.file_folder = NULL;
    struct replay *memory = replay_new(&o, &e);
    struct buffers x = make_buffers(8, 4), y = make_buffers(8, 4);
    for (int t = 0; t < 100; t++) push_row(file, 2, 6), push_row(memory, 2, 6);
    assert_int_equal(rmdir(folder), 0); // no name is left, while the ring is in use
    assert_true(replay_sample(file, 3, 4, 8, 4, &x.batch, &e) &&
                replay_sample(memory, 3, 4, 8, 4, &y.batch, &e));
    for (int i = 0; i < 4; i++)
        for (int t = 0; t < 8; t++) {
            size_t cell = (size_t)(t * 4 + i);
            assert_memory_equal(x.batch.packed + cell * OBS, y.batch.packed + cell * OBS, OBS);
            assert_true(x.batch.rewards[cell] == y.batch.rewards[cell]);
            assert_memory_equal(x.batch.actions + cell * A, y.batch.actions + cell * A,
                                A * sizeof(real));
        }
    assert_true(replay_check(file, &e));
    free_buffers(&x);
    free_buffers(&y);
    replay_free(file);
    replay_free(memory);
    o.file_folder = folder; // gone
    assert_null(replay_new(&o, &e));
    assert_non_null(strstr(e.message, folder));
}

static void a_ring_that_the_disk_has_no_room_for_is_refused(void **state) {
    (void)state;
    struct error e = {0};
    struct rlimit before, small;
    struct replay_opts o = {
        .rows = 1000, .n_envs = 1, .n_actions = 2, .file_folder = test_folder()};
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 100000;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    struct replay *r = replay_new(&o, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, old);
    assert_null(r);
    assert_non_null(strstr(e.message, "buffer.memmap: no room for"));
}

// ---- a writer and a sampler in two threads, as acting and learning overlap

enum { GUARD = 16, ROUNDS = 200, THREAD_T = 8, THREAD_B = 16 };

static void *write_rows(void *arg) {
    for (int i = 0; i < GUARD; i++) push_row(arg, 2, 9);
    return NULL;
}

static void a_batch_is_whole_while_a_writer_fills_the_guarded_rows(void **state) {
    (void)state;
    struct replay *r = ring(THREAD_T + GUARD + 3, 2, GUARD, 0);
    struct buffers b = make_buffers(THREAD_T, THREAD_B);
    for (int t = 0; t < 60; t++) push_row(r, 2, 9);
    for (int round = 0; round < ROUNDS; round++) {
        struct replay_window window = replay_window(r);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, write_rows, r), 0);
        struct replay_start starts[THREAD_B];
        struct error e = {0};
        assert_true(replay_draw(r, window, 1, (uint64_t)round, THREAD_T, THREAD_B, THREAD_B / 2,
                                starts, &e));
        replay_gather(r, starts, THREAD_T, THREAD_B, &b.batch);
        pthread_join(thread, NULL);
        for (int i = 0; i < THREAD_B; i++)
            check_sequence(&b, THREAD_T, THREAD_B, i, starts[i].t, (int)starts[i].env, 9);
    }
    free_buffers(&b);
    replay_free(r);
}

// F46: rollouts of STRIDE rows on a thread of their own, as the worker plays them. What may be
// sampled is fixed before each: the rows committed by then without the margin, less those that the
// rollout takes; every row names itself.
enum { STRIDE = 4, ROLLOUTS = 120, F46_T = 16, F46_ROWS = 64 };

static void *write_rollout(void *arg) {
    for (int i = 0; i < STRIDE; i++) push_row(arg, 2, 9);
    return NULL;
}

static void a_batch_beside_a_rollout_sees_the_rows_committed_before_it(void **state) {
    (void)state;
    for (int margin = 0; margin <= 16; margin += 16) {
        struct replay *r = ring(F46_ROWS, 2, STRIDE, margin);
        struct buffers b = make_buffers(F46_T, THREAD_B);
        for (int64_t k = 0; k < ROLLOUTS; k++) {
            struct replay_window w = replay_window(r);
            int64_t total = k * STRIDE, first = total - F46_ROWS + STRIDE, end = total - margin;
            assert_int_equal(w.first, first > 0 ? first : 0);
            assert_int_equal(w.end, end > w.first ? end : w.first);
            pthread_t thread;
            assert_int_equal(pthread_create(&thread, NULL, write_rollout, r), 0);
            struct replay_start starts[THREAD_B];
            struct error e = {0};
            bool ready = replay_draw(r, w, 2, (uint64_t)k, F46_T, THREAD_B, 0, starts, &e);
            assert_int_equal(ready, w.end - w.first >= F46_T);
            if (ready) replay_gather(r, starts, F46_T, THREAD_B, &b.batch);
            pthread_join(thread, NULL);
            for (int i = 0; ready && i < THREAD_B; i++) {
                assert_true(starts[i].t >= w.first && starts[i].t + F46_T <= w.end);
                check_sequence(&b, F46_T, THREAD_B, i, starts[i].t, (int)starts[i].env, 9);
            }
        }
        free_buffers(&b);
        replay_free(r);
    }
}

// A writer that begins one row more than it said: found, not sampled.
static void gather_lapped_rows(void) {
    struct replay *r = ring(F46_ROWS, 2, STRIDE, 0);
    for (int t = 0; t < 3 * F46_ROWS; t++) push_row(r, 2, 9);
    struct buffers b = make_buffers(F46_T, 1);
    struct replay_start oldest = {.env = 0, .t = replay_window(r).first};
    for (int i = 0; i < STRIDE + 1; i++) push_row(r, 2, 9);
    replay_gather(r, &oldest, F46_T, 1, &b.batch);
}

static void a_rollout_longer_than_the_guard_is_caught(void **state) {
    (void)state;
    expect_abort(gather_lapped_rows, "not in the ring");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_as_they_were_written),
        cmocka_unit_test(a_sequence_may_cross_an_episode_end_and_is_gathered_whole),
        cmocka_unit_test(replay_never_samples_across_the_write_head),
        cmocka_unit_test(too_few_rows_are_an_error_that_says_what_to_change),
        cmocka_unit_test(samples_depend_on_seed_and_gradient_step_only),
        cmocka_unit_test(environments_and_starts_are_drawn_uniformly),
        cmocka_unit_test(sequences_through_terminated_rows_are_drawn_as_asked),
        cmocka_unit_test(terminated_rows_are_found_across_the_ring_s_end),
        cmocka_unit_test(rows_before_a_row_are_the_newest_of_that_environment),
        cmocka_unit_test(missing_parts_of_a_batch_are_left_out),
        cmocka_unit_test(a_half_written_row_hides_the_oldest_one),
        cmocka_unit_test(a_broken_ring_is_found_by_the_invariants),
        cmocka_unit_test(a_restored_ring_goes_on_exactly_like_the_saved_one),
        cmocka_unit_test(a_saved_ring_of_another_size_or_with_broken_rows_is_refused),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(a_batch_beside_a_rollout_sees_the_rows_committed_before_it),
        cmocka_unit_test(a_rollout_longer_than_the_guard_is_caught),
        cmocka_unit_test(a_ring_in_a_file_is_like_one_in_memory_and_leaves_nothing_behind),
        cmocka_unit_test(a_ring_that_the_disk_has_no_room_for_is_refused),
        cmocka_unit_test(a_batch_is_whole_while_a_writer_fills_the_guarded_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
