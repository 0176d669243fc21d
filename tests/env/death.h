// Death test: runs a function that must end in a CHECK failure, in a child process, and looks at
// what it said.
//
//     expect_check_failure(step_ended_env, NULL, "stepped after its episode ended");
#ifndef TESTS_ENV_DEATH_H
#define TESTS_ENV_DEATH_H

#include "support/test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

// The child must not have other threads than the caller: create what needs threads inside `body`.
static inline __attribute__((unused)) void expect_check_failure(void (*body)(void *), void *ctx,
                                                                const char *message) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
            signal(signals[i], SIG_DFL); // cmocka's handler would report a failed test
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        body(ctx);
        _exit(0);
    }
    close(ends[1]);
    char said[2000];
    size_t n = 0;
    for (ssize_t got; n < sizeof said - 1; n += (size_t)got)
        if ((got = read(ends[0], said + n, sizeof said - 1 - n)) <= 0) break;
    said[n] = 0;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_msg("no abort: wait status %#x, stderr: %s", (unsigned)status, said);
    if (!strstr(said, "internal error at") || !strstr(said, message))
        fail_msg("aborted without \"%s\": %s", message, said);
}

#endif
