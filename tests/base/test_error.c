// Errors: one line, no control characters; CHECK aborts and calls the hook first.
#include "support/test.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/error.h"

static void an_error_is_one_line_without_control_characters(void **state) {
    (void)state;
    struct error e = {0};
    assert_false(error_set(&e, STATUS_USAGE, "file %s: no", "a\nb\x1b[2J\x7f"));
    assert_string_equal(e.message, "file a?b?[2J?: no");
    assert_int_equal(e.status, STATUS_USAGE);
    assert_false(error_set(NULL, STATUS_FAILED, "nobody listens"));
}

static void a_long_message_is_cut_not_overrun(void **state) {
    (void)state;
    struct {
        struct error e;
        char guard[8];
    } s = {.guard = "guard"};
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    error_set(&s.e, STATUS_FAILED, "%s", text);
    assert_int_equal(strlen(s.e.message), sizeof s.e.message - 1);
    assert_string_equal(s.guard, "guard");
}

static int hook_pipe[2];
static void hook(void) {
    if (write(hook_pipe[1], "hook", 4) != 4) _exit(1);
    CHECK(false, "a failing hook must not recurse");
}

static void a_broken_check_restores_the_screen_then_says_where_and_aborts(void **state) {
    (void)state;
    int err[2];
    assert_int_equal(pipe(hook_pipe), 0);
    assert_int_equal(pipe(err), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); // cmocka catches it
        dup2(err[1], 2);
        check_set_hook(hook);
        CHECK(1 + 1 == 3, "sum of %d and %d", 1, 1);
        _exit(0);
    }
    close(err[1]);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    char text[500] = {0};
    assert_true(read(hook_pipe[0], text, sizeof text - 1) == 4);
    assert_true(read(err[0], text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, "test_error.c:"));
    assert_non_null(strstr(text, "a failing hook must not recurse"));
    close(err[0]);
    close(hook_pipe[0]);
    close(hook_pipe[1]);
}

static void device_line(const char *message, char *text, size_t size) {
    int err[2], status;
    assert_int_equal(pipe(err), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(err[1], 2);
        device_lost("cuda", message);
    }
    close(err[1]);
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == STATUS_FAILED);
    const ssize_t n = read(err[0], text, size - 1);
    assert_true(n > 0);
    text[n] = 0;
    assert_ptr_equal(strchr(text, '\n'), text + n - 1);
    close(err[0]);
}

static void a_device_that_fails_is_said_in_one_line(void **state) {
    (void)state;
    char text[500];
    device_line("device memory: out of memory", text, sizeof text);
    assert_non_null(strstr(text, "workbench: cuda: device memory: out of memory; take a smaller"));
    device_line("an illegal\naccess", text, sizeof text);
    assert_non_null(strstr(text, "workbench: cuda: an illegal?access; the run ends here"));
    assert_null(strstr(text, "smaller"));
}

static void a_check_that_holds_does_nothing(void **state) {
    (void)state;
    int calls = 0;
    CHECK(++calls == 1, "not reached");
    assert_int_equal(calls, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_one_line_without_control_characters),
        cmocka_unit_test(a_long_message_is_cut_not_overrun),
        cmocka_unit_test(a_broken_check_restores_the_screen_then_says_where_and_aborts),
        cmocka_unit_test(a_device_that_fails_is_said_in_one_line),
        cmocka_unit_test(a_check_that_holds_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
