// Log ring: order, cutting, overwriting, and lines that stay whole under several writers.
#include "support/test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"

static void lines_are_read_in_order_and_without_control_characters(void **state) {
    (void)state;
    int64_t start = log_count();
    log_write(LOG_WARN, "first %d\x1b\n", 1);
    log_write(LOG_INFO, "second");
    struct log_line line;
    assert_int_equal(log_count(), start + 2);
    assert_true(log_read(start, &line));
    assert_string_equal(line.text, "first 1  ");
    assert_int_equal(line.level, LOG_WARN);
    assert_true(line.time_s >= 0);
    assert_true(log_read(start + 1, &line));
    assert_string_equal(line.text, "second");
    assert_false(log_read(start + 2, &line));
    assert_false(log_read(-1, &line));
}

static void a_long_line_is_cut(void **state) {
    (void)state;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    log_write(LOG_INFO, "%s", text);
    struct log_line line;
    assert_true(log_read(log_count() - 1, &line));
    assert_int_equal(strlen(line.text), LOG_LINE_SIZE - 1);
}

static void old_lines_are_overwritten_not_mixed_up(void **state) {
    (void)state;
    int64_t start = log_count();
    for (int i = 0; i < LOG_LINES + 100; i++) log_write(LOG_INFO, "line %d", i);
    struct log_line line;
    char expect[32];
    assert_false(log_read(start + 99, &line));
    for (int i = 100; i < LOG_LINES + 100; i++) {
        assert_true(log_read(start + i, &line));
        snprintf(expect, sizeof expect, "line %d", i);
        assert_string_equal(line.text, expect);
    }
}

// ---- several writers, one reader

enum { WRITERS = 3, LINES_WANTED = 3000 };
static atomic_bool stop;

static void *write_lines(void *arg) {
    int id = *(int *)arg;
    for (int i = 0; !atomic_load(&stop); i++) {
        char text[201];
        int n = 1 + (i * 7 + id) % 200;
        memset(text, 'a' + id, (size_t)n);
        text[n] = 0;
        log_write(LOG_INFO, "%03d%s", n, text);
    }
    return NULL;
}

static void assert_whole(const struct log_line *line) {
    int n = atoi((char[]){line->text[0], line->text[1], line->text[2], 0});
    assert_int_equal(strlen(line->text), n + 3);
    for (int i = 3; line->text[i]; i++) assert_int_equal(line->text[i], line->text[3]);
}

// A line may be lost where a writer was held up for a whole lap of the ring, but none is ever
// mixed.
static void lines_stay_whole_while_several_threads_write(void **state) {
    (void)state;
    pthread_t threads[WRITERS];
    int ids[WRITERS] = {0, 1, 2};
    struct log_line line;
    int n_read = 0;
    atomic_store(&stop, false);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &ids[i]), 0);
    int64_t start = log_count(), deadline = clock_now_ns() + 20000000000;
    for (int64_t next = start; n_read < LINES_WANTED && clock_now_ns() < deadline;) {
        int64_t end = log_count();
        if (next >= end) continue;
        if (end - next > LOG_LINES / 2) next = end - LOG_LINES / 2;
        if (!log_read(next++, &line)) continue;
        assert_whole(&line);
        n_read++;
    }
    atomic_store(&stop, true);
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(n_read, LINES_WANTED);
    int n_left = 0;
    for (int64_t i = log_count() - LOG_LINES; i < log_count(); i++)
        if (log_read(i, &line)) {
            assert_whole(&line);
            n_left++;
        }
    assert_true(n_left > LOG_LINES - 10);
}

static void headless_runs_print_lines_with_their_level(void **state) {
    (void)state;
    int ends[2], old = dup(2);
    assert_int_equal(pipe(ends), 0);
    fflush(stderr);
    dup2(ends[1], 2);
    log_to_stderr(true);
    log_write(LOG_ERROR, "broken");
    log_write(LOG_INFO, "fine");
    log_to_stderr(false);
    log_write(LOG_INFO, "silent");
    dup2(old, 2);
    close(old);
    close(ends[1]);
    char text[200] = {0};
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    close(ends[0]);
    assert_string_equal(text, "error: broken\nfine\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_in_order_and_without_control_characters),
        cmocka_unit_test(a_long_line_is_cut),
        cmocka_unit_test(old_lines_are_overwritten_not_mixed_up),
        cmocka_unit_test(lines_stay_whole_while_several_threads_write),
        cmocka_unit_test(headless_runs_print_lines_with_their_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
