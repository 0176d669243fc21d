// Clocks: monotonic, CPU time counts work only, UTC texts have their form.
#include "support/test.h"

#include <time.h>

#include "base/clock.h"

static void the_clock_never_goes_back_and_sleeps_take_their_time(void **state) {
    (void)state;
    int64_t before = clock_now_ns();
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_now_ns();
        assert_true(now >= before);
        before = now;
    }
    clock_sleep_ns(20000000);
    assert_true(clock_now_ns() - before >= 20000000);
}

static void thread_time_stands_still_while_the_thread_sleeps(void **state) {
    (void)state;
    int64_t before = clock_thread_cpu_ns();
    clock_sleep_ns(100000000);
    assert_true(clock_thread_cpu_ns() - before < 20000000);
    volatile double x = 1;
    for (int64_t end = clock_now_ns() + 50000000; clock_now_ns() < end;) x = x * 1.0000001;
    assert_true(clock_thread_cpu_ns() > before);
}

static void utc_texts_have_their_form_and_fit_small_buffers(void **state) {
    (void)state;
    char compact[32], iso[32], small[4] = "xx";
    clock_utc_compact(compact, sizeof compact);
    clock_utc_iso(iso, sizeof iso);
    assert_int_equal(strlen(compact), 16);
    assert_int_equal(strlen(iso), 20);
    assert_true(compact[8] == 'T' && compact[15] == 'Z' && iso[10] == 'T' && iso[19] == 'Z');
    struct tm tm = {0};
    assert_int_equal(sscanf(iso, "%d-%d-%dT%d:%d:%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
                            &tm.tm_hour, &tm.tm_min, &tm.tm_sec),
                     6);
    assert_true(tm.tm_year >= 2024 && tm.tm_mon >= 1 && tm.tm_mon <= 12 && tm.tm_hour < 24);
    clock_utc_iso(small, sizeof small); // does not fit: empty, not cut
    assert_string_equal(small, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_never_goes_back_and_sleeps_take_their_time),
        cmocka_unit_test(thread_time_stands_still_while_the_thread_sleeps),
        cmocka_unit_test(utc_texts_have_their_form_and_fit_small_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
