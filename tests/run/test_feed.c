// Tests of the feed: nothing torn, nothing blocked, nothing lost; meant to be run under
// ThreadSanitizer too.
#include "support/test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/run/feed.h"
#include "env/death.h"

// ---- payloads that show a tear: every byte follows from one number

static void fill_status(struct feed_status *s, int64_t k) {
    memset(s, (int)(k % 251), sizeof *s);
    s->opt_steps = k;
    s->phase = (enum feed_phase)(k % 6);
}

static void check_status(const struct feed_status *s) {
    struct feed_status expected;
    fill_status(&expected, s->opt_steps);
    assert_memory_equal(s, &expected, sizeof expected);
}

static void fill_pictures(struct feed_pictures *p, int64_t k) {
    memset(p, (int)(k % 251), sizeof *p);
    p->opt_steps = k;
    p->n_rollout = (int)(k % (FEED_ROLLOUT + 1));
}

static void check_pictures(const struct feed_pictures *p) {
    static struct feed_pictures expected;
    fill_pictures(&expected, p->opt_steps);
    assert_memory_equal(p, &expected, sizeof expected);
}

static struct record make_record(int64_t k) {
    struct record r = {
        .opt_steps = k, .env_steps = ~k, .present = (uint64_t)k * 0x9e3779b97f4a7c15u};
    for (int i = 0; i < METRIC_COUNT; i++) r.value[i] = (float)(k + i);
    return r;
}

static void check_record(const struct feed *feed, int64_t k) {
    const struct record *r = feed_record(feed, k);
    struct record expected = make_record(k);
    assert_int_equal(r->opt_steps, expected.opt_steps);
    assert_int_equal(r->env_steps, expected.env_steps);
    assert_int_equal(r->present, expected.present);
    assert_memory_equal(r->value, expected.value,
                        sizeof expected.value); // field by field: there may be padding
    assert_true(feed_record_wall_s(feed, k) == (double)k * 0.5);
}

// ---- what a reader sees before anything was written

static void an_empty_feed_shows_a_starting_run_without_pictures(void **state) {
    (void)state;
    struct feed *f = feed_new(0);
    assert_int_equal(feed_status(f)->phase, PHASE_STARTING);
    assert_int_equal(feed_status(f)->opt_steps, 0);
    assert_string_equal(feed_status(f)->message, "");
    assert_null(feed_pictures(f));
    assert_int_equal(feed_n_records(f), 0);
    assert_false(control_is_paused(feed_control(f)));
    assert_false(control_stop_requested(feed_control(f)));
    assert_false(control_take_checkpoint(feed_control(f)));
    assert_false(control_take_single_update(feed_control(f)));
    feed_free(f);
    feed_free(NULL);
}

static void every_phase_has_a_name(void **state) {
    (void)state;
    for (int p = PHASE_STARTING; p <= PHASE_FAILED; p++)
        for (int q = 0; q < p; q++)
            assert_string_not_equal(feed_phase_names[p], feed_phase_names[q]);
    assert_string_equal(feed_phase_names[PHASE_FAILED], "failed");
}

static void the_reader_keeps_a_picture_until_it_asks_for_the_next(void **state) {
    (void)state;
    struct feed *f = feed_new(16);
    fill_pictures(feed_pictures_back(f), 1);
    assert_null(feed_pictures(f)); // not published yet
    feed_pictures_publish(f);
    const struct feed_pictures *held = feed_pictures(f);
    for (int64_t k = 2; k <= 50; k++) {
        assert_ptr_not_equal(feed_pictures_back(f), held);
        fill_pictures(feed_pictures_back(f), k);
        feed_pictures_publish(f);
        assert_int_equal(held->opt_steps, 1);
        check_pictures(held);
    }
    assert_int_equal(feed_pictures(f)->opt_steps, 50); // the latest, those between are dropped
    assert_int_equal(feed_pictures(f)->opt_steps, 50); // and it stays
    feed_free(f);
}

// ---- a writer and a reader at full speed

enum { HAMMER_TURNS = 4000, MEETINGS = 50 };
static const int64_t patience_ns = 60000000000;

struct hammer {
    struct feed *feed;
    bool wait_for_meetings; // go on until the reader saw MEETINGS different statuses
    atomic_int n_meetings;
    atomic_bool done;
    int64_t n_turns; // in all, once done
};

static void *hammering_writer(void *arg) {
    struct hammer *h = arg;
    static struct feed_status status;
    int64_t end = clock_now_ns() + patience_ns;
    for (; h->n_turns < HAMMER_TURNS ||
           (h->wait_for_meetings && clock_now_ns() < end && atomic_load(&h->n_meetings) < MEETINGS);
         h->n_turns++) {
        int64_t k = h->n_turns;
        fill_status(&status, k);
        feed_set_status(h->feed, &status);
        if (k < HAMMER_TURNS) {
            struct record r = make_record(k);
            feed_push_record(h->feed, &r, (double)k * 0.5);
        }
        fill_pictures(feed_pictures_back(h->feed), k);
        feed_pictures_publish(h->feed);
    }
    atomic_store(&h->done, true);
    return NULL;
}

static void nothing_is_torn_while_both_sides_hammer(void **state) {
    (void)state;
    struct hammer h = {.feed = feed_new(HAMMER_TURNS), .wait_for_meetings = true};
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, hammering_writer, &h), 0);
    int64_t seen = 0, last_status = 0, last_pictures = 0;
    for (bool done = false; !done;) {
        done = atomic_load(&h.done); // then one more look: the last of everything
        const struct feed_status *s = feed_status(h.feed);
        const struct feed_pictures *p = feed_pictures(h.feed);
        if (s->opt_steps || seen) check_status(s);
        assert_true(s->opt_steps >= last_status);
        if (s->opt_steps != last_status) atomic_fetch_add(&h.n_meetings, 1);
        last_status = s->opt_steps;
        if (p) {
            check_pictures(p);
            assert_true(p->opt_steps >= last_pictures);
            last_pictures = p->opt_steps;
        }
        for (int64_t n = feed_n_records(h.feed); seen < n; seen++) check_record(h.feed, seen);
        if (p) check_pictures(p); // still, although the writer went on
    }
    pthread_join(writer, NULL);
    assert_true(atomic_load(&h.n_meetings) >= MEETINGS); // the two really met
    assert_int_equal(last_status, h.n_turns - 1);
    assert_int_equal(last_pictures, h.n_turns - 1);
    assert_int_equal(seen, HAMMER_TURNS);
    feed_free(h.feed);
}

static void a_reader_that_never_reads_does_not_stop_the_writer(void **state) {
    (void)state;
    struct hammer h = {.feed = feed_new(100)};
    pthread_t writer;
    int64_t end = clock_now_ns() + patience_ns;
    assert_int_equal(pthread_create(&writer, NULL, hammering_writer, &h), 0);
    while (!atomic_load(&h.done) && clock_now_ns() < end) clock_sleep_ns(1000000);
    assert_true(atomic_load(&h.done)); // a lock would wait forever
    pthread_join(writer, NULL);
    assert_int_equal(feed_status(h.feed)->opt_steps, HAMMER_TURNS - 1);
    assert_int_equal(feed_pictures(h.feed)->opt_steps, HAMMER_TURNS - 1);
    feed_free(h.feed);
}

static void a_writer_that_stopped_does_not_stop_the_reader(void **state) {
    (void)state;
    struct feed *f = feed_new(4);
    fill_pictures(feed_pictures_back(f), 7);
    feed_pictures_publish(f);
    fill_pictures(feed_pictures_back(f), 8); // it died half-way: never published
    for (int i = 0; i < 100; i++) {
        assert_int_equal(feed_status(f)->phase, PHASE_STARTING);
        assert_int_equal(feed_pictures(f)->opt_steps, 7);
        check_pictures(feed_pictures(f));
    }
    feed_free(f);
}

// ---- records

static void records_stay_where_they_are(void **state) {
    (void)state;
    struct feed *f = feed_new(0);
    enum { N = 50000 };
    const struct record *first = NULL, *middle = NULL;
    for (int64_t k = 0; k < N; k++) {
        struct record r = make_record(k);
        feed_push_record(f, &r, (double)k * 0.5);
        if (k == 0) first = feed_record(f, 0);
        if (k == N / 2) middle = feed_record(f, N / 2);
    }
    assert_ptr_equal(feed_record(f, 0), first);
    assert_ptr_equal(feed_record(f, N / 2), middle);
    for (int64_t k = 0; k < N; k += 97) check_record(f, k);
    check_record(f, N - 1);
    feed_free(f);
}

static void a_full_record_store_says_so_once_and_the_run_goes_on(void **state) {
    (void)state;
    struct feed *f = feed_new(10);
    int64_t lines = log_count();
    for (int64_t k = 0; k < 30; k++) {
        struct record r = make_record(k);
        struct feed_status s;
        feed_push_record(f, &r, (double)k * 0.5);
        fill_status(&s, k);
        feed_set_status(f, &s);
    }
    assert_int_equal(feed_n_records(f), 10);
    for (int64_t k = 0; k < 10; k++) check_record(f, k);
    assert_int_equal(feed_status(f)->opt_steps, 29);
    assert_int_equal(log_count(), lines + 1);
    feed_free(f);
}

static void ask_for_record(void *ctx) {
    struct feed *f = feed_new(10);
    struct record r = make_record(0);
    feed_push_record(f, &r, 0);
    feed_record(f, *(int64_t *)ctx);
}

static void a_record_that_is_not_there_aborts(void **state) {
    (void)state;
    expect_check_failure(ask_for_record, &(int64_t){1}, "record 1 asked for");
    expect_check_failure(ask_for_record, &(int64_t){-1}, "record -1 asked for");
}

// ---- commands

enum { N_SENDERS = 3, COMMANDS_EACH = 20000 };

static void *send_single_updates(void *arg) {
    for (int i = 0; i < COMMANDS_EACH; i++) control_single_update(arg);
    return NULL;
}

static void each_single_update_is_taken_exactly_once(void **state) {
    (void)state;
    struct feed *f = feed_new(1);
    struct control *c = feed_control(f);
    control_pause(c, true);
    pthread_t sender[N_SENDERS];
    for (int i = 0; i < N_SENDERS; i++)
        assert_int_equal(pthread_create(&sender[i], NULL, send_single_updates, c), 0);
    int64_t taken = 0;
    for (int64_t end = clock_now_ns() + 60000000000;
         taken < N_SENDERS * COMMANDS_EACH && clock_now_ns() < end;)
        taken += control_take_single_update(c);
    for (int i = 0; i < N_SENDERS; i++) pthread_join(sender[i], NULL);
    while (control_take_single_update(c)) taken++;
    assert_int_equal(taken, N_SENDERS * COMMANDS_EACH);
    feed_free(f);
}

static void single_updates_left_over_do_not_run_in_the_next_pause(void **state) {
    (void)state;
    struct feed *f = feed_new(1);
    struct control *c = feed_control(f);
    control_single_update(c); // while running
    control_pause(c, true);
    assert_false(control_take_single_update(c));
    control_single_update(c);
    control_single_update(c);
    control_pause(c, true); // already: nothing changes
    assert_true(control_take_single_update(c));
    control_pause(c, false);
    assert_false(control_is_paused(c));
    control_pause(c, true);
    assert_true(control_is_paused(c));
    assert_false(control_take_single_update(c));
    feed_free(f);
}

// Asks again only when the last request was taken, so a lost one is never followed by another.
enum { CHECKPOINTS = 5000 };
static atomic_int n_taken;

static void *ask_for_checkpoints(void *arg) {
    for (int i = 0; i < CHECKPOINTS; i++) {
        control_checkpoint(arg);
        int64_t end = clock_now_ns() + 20000000000;
        while (atomic_load(&n_taken) <= i && clock_now_ns() < end) sched_yield();
        if (atomic_load(&n_taken) <= i) break;
    }
    return NULL;
}

static void no_request_for_a_checkpoint_is_lost_and_two_in_a_row_are_one(void **state) {
    (void)state;
    struct feed *f = feed_new(1);
    struct control *c = feed_control(f);
    control_checkpoint(c);
    control_checkpoint(c);
    assert_true(control_take_checkpoint(c));
    assert_false(control_take_checkpoint(c));
    pthread_t sender;
    atomic_store(&n_taken, 0);
    assert_int_equal(pthread_create(&sender, NULL, ask_for_checkpoints, c), 0);
    int64_t end = clock_now_ns() + 20000000000;
    while (atomic_load(&n_taken) < CHECKPOINTS && clock_now_ns() < end) {
        if (control_take_checkpoint(c))
            atomic_fetch_add(&n_taken, 1);
        else
            sched_yield();
    }
    pthread_join(sender, NULL);
    assert_int_equal(atomic_load(&n_taken), CHECKPOINTS);
    assert_false(control_take_checkpoint(c));
    feed_free(f);
}

static struct control *signalled;
static void on_signal(int number) {
    (void)number;
    control_stop(signalled);
}

static void stop_may_come_from_a_signal_handler_and_stays(void **state) {
    (void)state;
    struct feed *f = feed_new(1);
    signalled = feed_control(f);
    signal(SIGUSR1, on_signal);
    assert_false(control_stop_requested(signalled));
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
    assert_true(control_stop_requested(signalled));
    assert_true(control_stop_requested(signalled));
    feed_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_feed_shows_a_starting_run_without_pictures),
        cmocka_unit_test(every_phase_has_a_name),
        cmocka_unit_test(the_reader_keeps_a_picture_until_it_asks_for_the_next),
        cmocka_unit_test(nothing_is_torn_while_both_sides_hammer),
        cmocka_unit_test(a_reader_that_never_reads_does_not_stop_the_writer),
        cmocka_unit_test(a_writer_that_stopped_does_not_stop_the_reader),
        cmocka_unit_test(records_stay_where_they_are),
        cmocka_unit_test(a_full_record_store_says_so_once_and_the_run_goes_on),
        cmocka_unit_test(a_record_that_is_not_there_aborts),
        cmocka_unit_test(each_single_update_is_taken_exactly_once),
        cmocka_unit_test(single_updates_left_over_do_not_run_in_the_next_pause),
        cmocka_unit_test(no_request_for_a_checkpoint_is_lost_and_two_in_a_row_are_one),
        cmocka_unit_test(stop_may_come_from_a_signal_handler_and_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
