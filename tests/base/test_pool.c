// Thread pool: every task runs once; results do not depend on the number of threads.
#include "support/test.h"

#include <stdatomic.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/pool.h"

enum { MAX_TASKS = 1000 };
struct counts {
    atomic_int of[MAX_TASKS];
};

static void count(void *ctx, int task) { atomic_fetch_add(&((struct counts *)ctx)->of[task], 1); }

static void every_task_runs_exactly_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= 6; threads++) {
        struct pool *p = pool_new(threads);
        assert_int_equal(pool_threads(p), threads);
        static struct counts c;
        for (int round = 0; round < 300; round++) {
            int n = (round * 37) % 60;
            memset(&c, 0, sizeof c);
            pool_run(p, n, count, &c);
            for (int i = 0; i < MAX_TASKS; i++) assert_int_equal(atomic_load(&c.of[i]), i < n);
        }
        pool_run(p, MAX_TASKS, count, memset(&c, 0, sizeof c));
        for (int i = 0; i < MAX_TASKS; i++) assert_int_equal(atomic_load(&c.of[i]), 1);
        pool_free(p);
    }
    pool_free(NULL);
}

// Plain, not atomic, memory: what a task writes is visible to the caller and to the next job's
// tasks.
struct chain {
    long cells[64], next[64];
};
static void step(void *ctx, int i) {
    struct chain *c = ctx;
    c->next[i] = c->cells[i] * 3 + c->cells[(i + 1) % 64] + i;
}

static void jobs_see_what_earlier_jobs_wrote(void **state) {
    (void)state;
    struct chain expect = {{0}, {0}};
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < 64; i++) step(&expect, i);
        for (int i = 0; i < 64; i++) expect.cells[i] = expect.next[i] % 1000003;
    }
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *p = pool_new(threads);
        struct chain c = {{0}, {0}};
        for (int round = 0; round < 2000; round++) {
            pool_run(p, 64, step, &c);
            for (int i = 0; i < 64; i++) c.cells[i] = c.next[i] % 1000003;
        }
        assert_memory_equal(c.cells, expect.cells, sizeof c.cells);
        pool_free(p);
    }
}

static void sleeping_workers_wake_up_again(void **state) {
    (void)state;
    struct pool *p = pool_new(3);
    static struct counts c;
    memset(&c, 0, sizeof c);
    for (int round = 0; round < 30; round++) {
        clock_sleep_ns(round % 3 * 2000000);
        pool_run(p, 50, count, &c);
    }
    for (int i = 0; i < 50; i++) assert_int_equal(atomic_load(&c.of[i]), 30);
    pool_free(p);
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void an_idle_pool_costs_nothing(void **state) {
    (void)state;
    struct pool *p = pool_new(4);
    static struct counts c;
    pool_run(p, 10, count, &c);
    clock_sleep_ns(50000000); // they spin a little first
    double before = cpu_seconds();
    clock_sleep_ns(300000000);
    assert_true(cpu_seconds() - before < 0.05);
    pool_free(p);
}

static void a_pool_that_did_nothing_ends_at_once(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) pool_free(pool_new(1 + i % 5));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_exactly_once),
        cmocka_unit_test(jobs_see_what_earlier_jobs_wrote),
        cmocka_unit_test(sleeping_workers_wake_up_again),
        cmocka_unit_test(an_idle_pool_costs_nothing),
        cmocka_unit_test(a_pool_that_did_nothing_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
