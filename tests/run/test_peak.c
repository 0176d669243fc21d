// Peak rates: they are the machine's also where it is busy with other things, and never fall.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/pool.h"
#include "engine/run/bench/peak.h"
#include "support/test.h"

// Two busy processes per CPU.
enum { MAX_BUSY = 64 };

static int make_busy(pid_t *out) {
    const int n = 2 * pool_usable_cpus() < MAX_BUSY ? 2 * pool_usable_cpus() : MAX_BUSY;
    for (int i = 0; i < n; i++) {
        out[i] = fork();
        assert_true(out[i] >= 0);
        for (volatile unsigned turns = 0; out[i] == 0;) turns++;
    }
    return n;
}

static void end_busy(const pid_t *busy, int n) {
    for (int i = 0; i < n; i++) {
        kill(busy[i], SIGKILL);
        waitpid(busy[i], NULL, 0);
    }
}

static void other_load_does_not_lower_the_peak_of_all_threads(void **state) {
    (void)state;
    if (SANITIZED) skip();
    struct pool *pool = pool_new(pool_usable_cpus());
    const double before = peak_fma_gflops(pool);
    pid_t busy[MAX_BUSY];
    const int n = make_busy(busy);
    double beside = 0;
    for (int i = 0; i < 3 && beside < 0.6 * before; i++)
        beside = peak_fma_at_least(pool, beside, 0.6 * before);
    end_busy(busy, n);
    pool_free(pool);
    if (!(before > 0 && beside > 0.6 * before))
        fail_msg("%.0f GFLOP/s, beside other load %.0f", before, beside);
}

static void threads_beyond_the_cpus_add_nothing(void **state) {
    (void)state;
    if (SANITIZED) skip();
    struct pool *all = pool_new(pool_usable_cpus()), *more = pool_new(4 * pool_usable_cpus());
    const double peak = peak_fma_gflops(all), beyond = peak_fma_gflops(more);
    pool_free(all);
    pool_free(more);
    if (!(beyond < 1.6 * peak))
        fail_msg("%.0f GFLOP/s, with four times the threads %.0f", peak, beyond);
}

static void a_peak_is_measured_again_only_below_a_rate_and_never_falls(void **state) {
    (void)state;
    struct pool *pool = pool_new(1);
    assert_true(peak_fma_at_least(pool, 100, 50) == 100); // not measured
    assert_true(peak_fma_at_least(pool, 1e-6, 1e9) > 1e-3);
    assert_true(peak_fma_at_least(pool, 1e8, 1e9) == 1e8); // more than any machine does
    pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_load_does_not_lower_the_peak_of_all_threads),
        cmocka_unit_test(threads_beyond_the_cpus_add_nothing),
        cmocka_unit_test(a_peak_is_measured_again_only_below_a_rate_and_never_falls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
