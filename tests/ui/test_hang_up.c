// Hang-up of the whole program on a pseudo terminal: shells and multiplexers send SIGHUP more than
// once.
#define _GNU_SOURCE
#include "base/file.h"
#include "base/json.h"
#include "engine/data/session.h"
#include "support/test.h"
#include "support/pty_screen.h"

static char sessions[PATH_SIZE];

static pid_t start(struct pty_screen *screen, const char *keep_running) {
    char program[PATH_SIZE];
    const char *build = getenv("WORKBENCH_BUILD");
    snprintf(sessions, sizeof sessions, "%s", test_folder());
    snprintf(program, sizeof program, "%s/workbench", build ? build : "build");
    pid_t pid = pty_screen_open(screen, 80, 24);
    if (pid) return pid;
    setenv("TERM", "xterm-256color", 1);
    execl(program, program, "--task", "static", "--threads", "1", "--updates", "400", "--sessions",
          sessions, "--preset", "micro", "algo.per_rank_batch_size=2",
          "algo.per_rank_sequence_length=8", "algo.learning_starts=20", keep_running, (char *)NULL);
    _exit(99);
}

// Closes the terminal and sends SIGHUP each millisecond until the program has ended; its status,
// -1: it did not.
static int hang_up(struct pty_screen *screen, pid_t pid) {
    int status = -1;
    close(screen->fd);
    close(screen->slave);
    vterm_free(screen->vt);
    for (int64_t until = clock_now_ns() + 60000000000; clock_now_ns() < until;
         clock_sleep_ns(1000000)) {
        if (waitpid(pid, &status, WNOHANG) == pid) return status;
        kill(pid, SIGHUP);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -1;
}

// How many updates the only session there holds; its run must have ended well.
static int64_t updates_done(void) {
    char command[PATH_SIZE + 100], path[PATH_SIZE], checkpoint[PATH_SIZE];
    struct error e = {0};
    int64_t step = 0;
    snprintf(command, sizeof command, "ls -d '%s'/*", sessions);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(path, sizeof path, p));
    pclose(p);
    path[strcspn(path, "\n")] = 0;
    struct session_data *d = session_read(path, &e);
    if (!d) fail_msg("%s", e.message);
    assert_string_equal(cJSON_GetObjectItem(d->heartbeat, "state")->valuestring, "done");
    session_data_free(d);
    if (!session_newest_checkpoint(path, checkpoint, &step, &e)) fail_msg("%s", e.message);
    return step;
}

static void a_hang_up_writes_a_checkpoint_however_often_it_is_told(void **state) {
    (void)state;
    if (SANITIZED) skip(); // the whole program, against the clock
    struct pty_screen screen;
    pid_t pid = start(&screen, NULL);
    assert_true(pty_screen_wait(&screen, "training", 20000));
    assert_int_equal(hang_up(&screen, pid), 0);
    assert_true(updates_done() < 400);
}

static void with_keep_running_the_run_goes_on_to_its_end(void **state) {
    (void)state;
    if (SANITIZED) skip(); // the whole program, against the clock
    struct pty_screen screen;
    pid_t pid = start(&screen, "--keep-running");
    assert_true(pty_screen_wait(&screen, "training", 20000));
    assert_int_equal(hang_up(&screen, pid), 0);
    assert_int_equal(updates_done(), 400);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hang_up_writes_a_checkpoint_however_often_it_is_told),
        cmocka_unit_test(with_keep_running_the_run_goes_on_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
