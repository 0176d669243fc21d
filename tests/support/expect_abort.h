// Runs a function in a child process and expects that a CHECK stops it with a message that holds
// `text`.
#ifndef TESTS_SUPPORT_EXPECT_ABORT_H
#define TESTS_SUPPORT_EXPECT_ABORT_H

#include <signal.h>
#include <sys/wait.h>

#include "support/test.h"

static inline __attribute__((unused)) void expect_abort(void (*function)(void), const char *text) {
    int fd[2], status;
    assert_int_equal(pipe(fd), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(fd[1], 2);
        close(fd[0]);
        function();
        _exit(0);
    }
    close(fd[1]);
    char message[4096];
    size_t n = 0;
    ssize_t got;
    while (n + 1 < sizeof message && (got = read(fd[0], message + n, sizeof message - 1 - n)) > 0)
        n += (size_t)got;
    message[n] = 0;
    close(fd[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_msg("no CHECK stopped it; expected \"%s\"", text);
    if (!strstr(message, text))
        fail_msg("the message is \"%s\", expected \"%s\" in it", message, text);
}

#endif
