// Terminal: the dashboard as a process on a pseudo terminal, seen through a virtual one; how it
// leaves in every way.
#include "support/test.h"

#include "support/fake_worker.h"
#include "support/pty_screen.h"
#include "ui/dashboard.h"

enum { PATIENCE_MS = 10000 };

// The child starts threads after the fork, which the thread sanitizer allows only when told so.
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "die_after_fork=0"; }

// What the child runs with; and what it tells through a pipe after the dashboard has ended.
struct setting {
    struct fake_worker worker;
    struct dashboard_opts opts;
    const char *term, *locale, *no_color;
    bool block_hangup;
    long steps; // target of the run
};
struct outcome {
    int end;
    bool told_to_stop;
    double cpu, turns_per_s;
};

static struct pty_screen screen = {.fd = -1, .slave = -1};
static int outcome_pipe[2] = {-1, -1};

static void tick(void *ctx, const struct feed_pictures *pictures,
                 const struct feed_status *status) {
    (void)pictures, (void)status;
    ++*(long *)ctx;
}

static _Noreturn void child(struct setting *s) {
    setenv("TERM", s->term ? s->term : "xterm-256color", 1);
    setenv("LC_ALL", s->locale ? s->locale : "C.UTF-8", 1);
    if (s->no_color)
        setenv("NO_COLOR", s->no_color, 1);
    else
        unsetenv("NO_COLOR");
    for (int sig = 1; sig < 32; sig++) // cmocka's handlers are not the product's
        if (sig != SIGKILL && sig != SIGSTOP) signal(sig, SIG_DFL);
    if (s->block_hangup) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGHUP);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    }
    long turns = 0;
    if (!s->worker.rate) s->worker.rate = 50;
    fake_run_init(&s->worker.run, s->steps);
    fake_worker_start(&s->worker);
    s->opts.feed = s->worker.run.feed;
    s->opts.tick = tick;
    s->opts.tick_ctx = &turns;
    struct error e = {0};
    int64_t cpu = clock_thread_cpu_ns(), wall = clock_now_ns();
    struct outcome o = {.end = (int)dashboard_run(&s->opts, &e)};
    o.cpu = (double)(clock_thread_cpu_ns() - cpu) / (double)(clock_now_ns() - wall);
    o.turns_per_s = (double)turns / ((double)(clock_now_ns() - wall) * 1e-9);
    o.told_to_stop = control_stop_requested(feed_control(s->worker.run.feed));
    ssize_t ignored = write(outcome_pipe[1], &o, sizeof o);
    (void)ignored;
    printf("back to the shell%s%s\n", *e.message ? ": " : "", e.message);
    fflush(stdout);
    if (s->worker.stubborn)
        pthread_detach(s->worker.thread);
    else
        fake_worker_finish(&s->worker);
    _exit(0);
}

static void start(struct setting s, int width, int height) {
    assert_int_equal(pipe(outcome_pipe), 0);
    pid_t pid = pty_screen_open(&screen, width, height);
    assert_true(pid >= 0);
    if (pid == 0) child(&s);
    close(outcome_pipe[1]);
}

static void expect_restored(void) {
    struct termios modes;
    tcgetattr(screen.slave, &modes);
    assert_true(modes.c_lflag & ECHO);
    assert_true(modes.c_lflag & ICANON);
    assert_true(modes.c_iflag & ICRNL);
    assert_false(screen.alternate);
    assert_true(screen.cursor);
}

static struct outcome expect_end(int end) {
    struct outcome o = {.end = -1};
    int status = pty_screen_finish(&screen, PATIENCE_MS);
    assert_int_equal(status, 0);
    assert_int_equal(read(outcome_pipe[0], &o, sizeof o), sizeof o);
    assert_int_equal(o.end, end);
    return o;
}

static int teardown(void **state) {
    (void)state;
    pty_screen_close(&screen);
    if (outcome_pipe[0] >= 0) close(outcome_pipe[0]);
    outcome_pipe[0] = -1;
    return 0;
}

static void expect(const char *words) {
    if (pty_screen_wait(&screen, words, PATIENCE_MS)) return;
    char *text = pty_screen_text(&screen);
    fail_msg("\"%s\" never came up on\n%s", words, text);
}

// ---- showing

static void a_run_is_on_the_screen_and_q_gives_the_terminal_back(void **state) {
    (void)state;
    start((struct setting){.worker.start = 200}, 120, 40);
    expect("training");
    expect("reconstruction from the posterior");
    expect("world-model loss");
    expect("posterior / prior entropy");
    assert_true(screen.alternate);
    assert_false(screen.cursor);
    pty_screen_keys(&screen, "q");
    struct outcome o = expect_end(DASHBOARD_QUIT);
    assert_true(o.told_to_stop);
    assert_true(pty_screen_shows(&screen, "back to the shell"));
    expect_restored();
}

static void pictures_have_their_colours(void **state) {
    (void)state;
    start((struct setting){.worker = {.start = 200, .rate = 10}}, 120, 40);
    expect("reconstruction from the posterior");
    int seen[256] = {0};
    for (int x = 0; x < 40; x++)
        for (int y = 4; y < 22; y++) {
            VTermScreenCell cell;
            vterm_screen_get_cell(screen.screen, (VTermPos){y, x}, &cell);
            if (VTERM_COLOR_IS_INDEXED(&cell.bg)) seen[cell.bg.indexed.idx]++;
            if (cell.chars[0] == 0x2580 && VTERM_COLOR_IS_INDEXED(&cell.fg))
                seen[cell.fg.indexed.idx]++;
        }
    assert_true(seen[231] > 0);
    assert_true(seen[231] + seen[254] + seen[252] > 100);
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
}

static void keys_open_the_help_and_the_pages(void **state) {
    (void)state;
    start((struct setting){.worker.start = 100}, 120, 40);
    expect("training");
    pty_screen_keys(&screen, "?");
    expect("this screen; any key leaves it");
    pty_screen_keys(&screen, "x");
    expect("reconstruction");
    pty_screen_keys(&screen, "\033OP"); // F1
    expect("this screen; any key leaves it");
    pty_screen_keys(&screen, "x2");
    expect("error per frame");
    pty_screen_keys(&screen, "3");
    expect("one update");
    pty_screen_keys(&screen, "1\033OD"); // left arrow
    expect("values at step");
    pty_screen_keys(&screen, " ");
    expect("training paused");
    pty_screen_keys(&screen, "o");
    expect("there is no picture window");
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
}

static void resizing_redraws_at_the_new_size(void **state) {
    (void)state;
    start((struct setting){.worker.start = 100}, 120, 40);
    expect("reconstruction");
    pty_screen_resize(&screen, 80, 24);
    expect("real at step");
    for (int64_t until = clock_now_ns() + 5000000000;
         clock_now_ns() < until && pty_screen_shows(&screen, "reconstruction");)
        pty_screen_pump(&screen, 50);
    assert_false(pty_screen_shows(&screen, "reconstruction"));
    pty_screen_resize(&screen, 20, 5);
    expect("terminal too small:\nneeds 40x12, is 20x5");
    pty_screen_resize(&screen, 1, 1);
    pty_screen_pump(&screen, 300);
    pty_screen_resize(&screen, 240, 60);
    expect("one update");
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
    expect_restored();
}

static void a_terminal_of_20x5_gets_the_notice_and_q_still_works(void **state) {
    (void)state;
    start((struct setting){.worker.start = 10}, 20, 5);
    expect("needs 40x12, is 20x5");
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
}

static void an_unknown_terminal_type_is_used_as_xterm(void **state) {
    (void)state;
    start((struct setting){.worker.start = 100, .term = "no-such-terminal"}, 120, 40);
    expect("training");
    pty_screen_keys(&screen, "4");
    expect("terminal type \"no-such-terminal\" is unknown here: using xterm-256color");
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
    expect_restored();
}

static void a_terminal_that_cannot_place_its_cursor_is_refused(void **state) {
    (void)state;
    start((struct setting){.worker.start = 100, .term = "dumb"}, 120, 40);
    expect("terminal type \"dumb\" cannot place its cursor");
    expect_end(DASHBOARD_ERROR);
    expect_restored();
}

static void a_locale_without_utf8_gets_ascii_only(void **state) {
    (void)state;
    start((struct setting){.worker.start = 300, .locale = "C"}, 120, 40);
    expect("training");
    pty_screen_keys(&screen, "2");
    expect("error per frame");
    pty_screen_keys(&screen, "?");
    expect("this screen");
    assert_false(screen.not_ascii);
    pty_screen_keys(&screen, "xq");
    expect_end(DASHBOARD_QUIT);
}

static void a_locale_that_is_not_installed_keeps_braille(void **state) {
    (void)state;
    start((struct setting){.worker.start = 300, .locale = "en_US.UTF-8"}, 120, 40);
    expect("training");
    expect("\u2500 log \u2500");
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
}

static void no_color_sends_no_colours(void **state) {
    (void)state;
    start((struct setting){.worker.start = 300, .no_color = "1"}, 120, 40);
    expect("training");
    assert_false(screen.colours);
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
    teardown(NULL);
    start((struct setting){.worker.start = 300}, 120, 40);
    expect("training");
    assert_true(screen.colours); // the scanner sees them where they are
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
}

static void what_libraries_print_goes_to_the_log(void **state) {
    (void)state;
    start((struct setting){.worker = {.print = true, .rate = 200}}, 120, 40);
    expect("printed: libfoo: warning from a library");
    char *text = pty_screen_text(&screen);
    assert_memory_equal(text, " workbench", 10); // the screen did not scroll
    free(text);
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
}

static void a_saved_screen_is_the_screen(void **state) {
    (void)state;
    char script[4200], saved[4220], text[8500];
    snprintf(script, sizeof script, "%s", test_folder());
    snprintf(saved, sizeof saved, "%s/saved.txt", script);
    strcat(script, "/script");
    snprintf(text, sizeof text, "wait-end\n3\nwait 700\nsave %s\nwait 5000\n", saved);
    FILE *f = fopen(script, "w");
    fputs(text, f);
    fclose(f);
    start((struct setting){.worker = {.rate = 200}, .steps = 20, .opts.script = script}, 120, 40);
    expect("done");
    for (int i = 0; i < 100 && access(saved, R_OK) != 0; i++) pty_screen_pump(&screen, 50);
    pty_screen_pump(&screen, 300);
    static char expected[65536];
    f = fopen(saved, "r");
    assert_non_null(f);
    expected[fread(expected, 1, sizeof expected - 1, f)] = 0;
    fclose(f);
    char *shown = pty_screen_text(&screen);
    // All but the last row, where the notice about the saved file stands by now.
    *strrchr(expected, '\n') = 0, *strrchr(expected, '\n') = 0;
    assert_memory_equal(shown, expected, strlen(expected));
    free(shown);
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_FINISHED);
}

// ---- leaving

static void ctrl_c_asks_the_run_to_stop_first(void **state) {
    (void)state;
    start((struct setting){.worker.start = 50}, 80, 24);
    expect("training");
    pty_screen_keys(&screen, "\003");
    assert_true(expect_end(DASHBOARD_QUIT).told_to_stop);
    expect_restored();
}

static void a_second_q_leaves_a_run_that_does_not_stop(void **state) {
    (void)state;
    start((struct setting){.worker = {.start = 50, .stubborn = true}}, 80, 24);
    expect("training");
    pty_screen_keys(&screen, "q");
    expect("q again leaves at once");
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_FORCED);
    expect_restored();
}

static void sigterm_stops_the_run_and_restores_the_terminal(void **state) {
    (void)state;
    start((struct setting){.worker.start = 50}, 80, 24);
    expect("training");
    kill(screen.pid, SIGTERM);
    assert_true(expect_end(DASHBOARD_SIGNAL).told_to_stop);
    expect_restored();
}

// The terminal takes nothing any more (Ctrl-S, a dead connection): the loop hangs in its write.
static void a_third_sigterm_leaves_a_program_stuck_on_its_terminal(void **state) {
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); // it holds signals back until the write returns
#endif
    start((struct setting){.worker = {.start = 50, .stubborn = true}}, 240, 60);
    expect("training");
    pty_screen_keys(&screen, "\023");
    clock_sleep_ns(1000000000);
    int status = 0;
    for (int i = 0; i < 100 && screen.pid; i++) {
        kill(screen.pid, SIGTERM);
        clock_sleep_ns(100000000);
        if (waitpid(screen.pid, &status, WNOHANG) == screen.pid) screen.pid = 0;
        if (i < 2) assert_true(screen.pid > 0); // the first two are questions
    }
    assert_int_equal(screen.pid, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
    struct termios modes;
    tcgetattr(screen.slave, &modes);
    assert_true(modes.c_lflag & ECHO);
}

static void a_finished_run_stays_up_until_q(void **state) {
    (void)state;
    start((struct setting){.worker.rate = 200, .steps = 30}, 120, 40);
    expect("done");
    expect("the run is done: q leaves");
    pty_screen_keys(&screen, "q");
    assert_false(expect_end(DASHBOARD_FINISHED).told_to_stop);
}

static void a_failed_run_says_why(void **state) {
    (void)state;
    start((struct setting){.worker = {.rate = 200, .fail = true}, .steps = 30}, 120, 40);
    expect("failed: non-finite gradient in wm/rssm/t07/gru");
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_FINISHED);
}

static void hang_up(bool blocked, bool keep_running) {
    start((struct setting){.worker.start = 50,
                           .block_hangup = blocked,
                           .opts.keep_running = keep_running},
          80, 24);
    expect("training");
    close(screen.slave);
    close(screen.fd);
    screen.fd = screen.slave = -1;
    int64_t begin = clock_now_ns();
    assert_true(expect_end(DASHBOARD_HANGUP).told_to_stop == !keep_running);
    assert_true(clock_now_ns() - begin < 5000000000);
}

static void a_hang_up_stops_the_run(void **state) {
    (void)state;
    hang_up(false, false);
}

static void a_hang_up_is_noticed_without_its_signal(void **state) {
    (void)state;
    hang_up(true, false);
}

static void with_keep_running_a_hang_up_does_not_stop_the_run(void **state) {
    (void)state;
    hang_up(false, true);
}

static void crash(const char *how, bool by_signal, int code, const char *says) {
    start((struct setting){.worker = {.crash = how, .rate = 100}}, 80, 24);
    int status = pty_screen_finish(&screen, PATIENCE_MS);
    assert_true(status != -1);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_int_equal(by_signal ? WTERMSIG(status) : WEXITSTATUS(status), code);
#else
    (void)by_signal, (void)code;
#endif
    if (says) assert_true(pty_screen_shows(&screen, says));
    expect_restored();
}

static void a_crash_restores_the_terminal(void **state) {
    (void)state;
    crash("SEGV", true, SIGSEGV, "workbench: crashed");
}

static void a_broken_invariant_restores_the_terminal_and_is_readable(void **state) {
    (void)state;
    crash("CHECK", true, SIGABRT, "a broken invariant");
}

static void an_exit_from_anywhere_restores_the_terminal(void **state) {
    (void)state;
    crash("EXIT", false, 9, NULL);
}

// A shell with job control in between: it makes the dashboard its foreground job, and continues it
// when it was stopped.
static _Noreturn void shell_then_child(struct setting *s) {
    signal(SIGTTOU, SIG_IGN);
    pid_t job = fork();
    if (job == 0) {
        setpgid(0, 0);
        tcsetpgrp(0, getpid());
        child(s);
    }
    setpgid(job, job);
    tcsetpgrp(0, job);
    int status;
    waitpid(job, &status, WUNTRACED);
    if (!WIFSTOPPED(status)) _exit(1);
    tcsetpgrp(0, getpgrp());
    struct termios modes;
    tcgetattr(0, &modes);
    dprintf(1, "stopped, echo %s\r\n", modes.c_lflag & ECHO ? "on" : "off");
    char line[8]; // a line typed at the shell: its modes are those of before
    if (read(0, line, sizeof line) < 1) _exit(1);
    tcsetpgrp(0, job);
    kill(-job, SIGCONT);
    waitpid(job, &status, 0);
    _exit(WEXITSTATUS(status));
}

static void ctrl_z_gives_the_terminal_to_the_shell_and_fg_brings_the_screen_back(void **state) {
    (void)state;
    assert_int_equal(pipe(outcome_pipe), 0);
    struct setting s = {.worker.start = 50};
    if (pty_screen_open(&screen, 80, 24) == 0) shell_then_child(&s);
    close(outcome_pipe[1]);
    expect("training");
    pty_screen_keys(&screen, "\032");
    expect("stopped, echo on");
    assert_false(screen.alternate);
    assert_true(screen.cursor);
    pty_screen_keys(&screen, "\r");
    expect("world-model loss");
    assert_true(screen.alternate);
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
    expect_restored();
}

// ---- cost

// The best of three: other programs on the machine may take the cores away for a while.
static void it_keeps_redrawing_and_leaves_the_core_to_the_training(void **state) {
    (void)state;
    struct outcome o = {0};
    start((struct setting){.worker = {.start = 300, .rate = 50}}, 120, 40);
    expect("training");
    pty_screen_pump(&screen, 3000);
    pty_screen_keys(&screen, "q");
    o = expect_end(DASHBOARD_QUIT);
    print_message("dashboard thread: %.2f %% of a core, %.1f turns/s\n", o.cpu * 100,
                  o.turns_per_s);
    // The bars (10 a second, 3 %) are judged on a quiet machine, in docs/benchmarks.md: a busy one
    // must not fail a test. What fails here is a loop that stands still or spins.
    assert_true(o.turns_per_s >= 3);
    if (!SANITIZED) assert_true(o.cpu < 0.25);
}

static void a_paused_run_costs_few_bytes(void **state) {
    (void)state;
    start((struct setting){.worker.start = 300}, 120, 40);
    expect("training");
    pty_screen_keys(&screen, " ");
    expect("training paused");
    pty_screen_pump(&screen, 4000); // until the notice about the pause is gone
    long before = screen.bytes;
    pty_screen_pump(&screen, 2000);
    assert_true(screen.bytes - before < 200);
    pty_screen_keys(&screen, "q");
    expect_end(DASHBOARD_QUIT);
}

static void a_script_with_an_error_never_opens_the_screen(void **state) {
    (void)state;
    start((struct setting){.opts.script = "/nonexistent/script"}, 80, 24);
    expect_end(DASHBOARD_ERROR);
    assert_true(pty_screen_shows(&screen, "cannot read the script /nonexistent/script"));
    assert_false(screen.alternate);
}

int main(void) {
#define T(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        T(a_run_is_on_the_screen_and_q_gives_the_terminal_back),
        T(pictures_have_their_colours),
        T(keys_open_the_help_and_the_pages),
        T(resizing_redraws_at_the_new_size),
        T(a_terminal_of_20x5_gets_the_notice_and_q_still_works),
        T(an_unknown_terminal_type_is_used_as_xterm),
        T(a_terminal_that_cannot_place_its_cursor_is_refused),
        T(a_locale_without_utf8_gets_ascii_only),
        T(a_locale_that_is_not_installed_keeps_braille),
        T(no_color_sends_no_colours),
        T(what_libraries_print_goes_to_the_log),
        T(a_saved_screen_is_the_screen),
        T(ctrl_c_asks_the_run_to_stop_first),
        T(a_second_q_leaves_a_run_that_does_not_stop),
        T(sigterm_stops_the_run_and_restores_the_terminal),
        T(a_third_sigterm_leaves_a_program_stuck_on_its_terminal),
        T(a_finished_run_stays_up_until_q),
        T(a_failed_run_says_why),
        T(a_hang_up_stops_the_run),
        T(a_hang_up_is_noticed_without_its_signal),
        T(with_keep_running_a_hang_up_does_not_stop_the_run),
        T(a_crash_restores_the_terminal),
        T(a_broken_invariant_restores_the_terminal_and_is_readable),
        T(an_exit_from_anywhere_restores_the_terminal),
        T(ctrl_z_gives_the_terminal_to_the_shell_and_fg_brings_the_screen_back),
        T(it_keeps_redrawing_and_leaves_the_core_to_the_training),
        T(a_paused_run_costs_few_bytes),
        T(a_script_with_an_error_never_opens_the_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
