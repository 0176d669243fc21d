// The worker's memory while rollouts and updates run side by side: no allocation in an update, no
// growth.
#include "support/count_allocations.h"

#include <unistd.h>

#include "base/clock.h"
#include "support/small_run.h"

static const char *const steady[] = {
    "algo.per_rank_sequence_length=16",
    "algo.per_rank_batch_size=4",
    "algo.learning_starts=40",
    "algo.horizon=4",
    "algo.replay_ratio=0.25",
    "env.num_envs=2",
    "env.max_episode_steps=9",
    "buffer.size=100",
    "algo.profile=official", // the last one: left out where it is not meant
};
enum { N_STEADY = sizeof steady / sizeof *steady };

static int64_t resident_bytes(void) {
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &pages, &resident), 2);
    fclose(f);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static void await_records(struct feed *feed, int64_t n) {
    int64_t deadline = clock_now_ns() + 60000000000;
    while (feed_n_records(feed) < n) {
        if (clock_now_ns() > deadline)
            fail_msg("%lld records in a minute", (long long)feed_n_records(feed));
        clock_sleep_ns(1000000);
    }
}

static struct worker *start(struct feed *feed, bool official) {
    struct error e = {0};
    struct run_opts o = small_run("full", NULL, 0);
    o.task = "exit_lab";
    o.no_session = true;
    o.settings = steady;
    o.n_settings = official ? N_STEADY : N_STEADY - 1;
    struct worker *w = worker_new(&o, feed, &e);
    if (!w) fail_msg("%s", e.message);
    worker_start(w);
    return w;
}

static void end(struct worker *w, struct feed *feed) {
    struct error e = {0};
    control_stop(feed_control(feed));
    assert_int_equal(worker_join(w, &e), STATUS_OK);
    worker_free(w);
    feed_free(feed);
}

static void updates_beside_rollouts_allocate_nothing(void **state) {
    (void)state;
    if (!COUNTS_ALLOCATIONS) skip();
    for (int official = 0; official < 2; official++) {
        struct feed *feed = feed_new(0);
        struct worker *w = start(feed, official);
        await_records(feed, 5);
        long before = n_allocations;
        assert_true(before > 100); // the counter counts
        await_records(feed, 105);
        assert_int_equal(n_allocations, before);
        end(w, feed);
    }
}

// The feed keeps every record (its pages come as they are written); beside them nothing may grow.
static void memory_stays_flat_over_many_updates(void **state) {
    (void)state;
    if (SANITIZED) skip(); // shadow memory
    const int64_t first = 200, last = 900;
    struct feed *feed = feed_new(0);
    struct worker *w = start(feed, false);
    await_records(feed, first);
    int64_t before = resident_bytes();
    await_records(feed, last);
    int64_t grown = resident_bytes() - before,
            records = (last - first) * (int64_t)(sizeof(struct record) + sizeof(double));
    if (grown > records + (256 << 10))
        fail_msg("%lld kB more, of which records %lld kB", (long long)grown >> 10,
                 (long long)records >> 10);
    end(w, feed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_beside_rollouts_allocate_nothing),
        cmocka_unit_test(memory_stays_flat_over_many_updates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
