// Term guard: signals, crash restore, capture of stdout and stderr.
#include "ui/term_guard.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum { ALT_STACK_BYTES = 65536 };

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static const int quit_signals[] = {SIGINT, SIGTERM, SIGHUP}, stop_signal[] = {SIGTSTP};
enum { N_CRASH = 5, N_QUIT = 3 };

// Read by signal handlers: written only while none of them is installed, or of a type a handler may
// touch.
static struct {
    atomic_int on; // whoever takes it from 1 to 0 restores the terminal
    volatile sig_atomic_t interrupts, terminations, hangups, stop_asked;
    int fd, wake[2], capture[2], saved_out, saved_err;
    int tty, sink; // the terminal once more, and /dev/null
    char restore[512];
    size_t restore_bytes;
    struct termios modes;
    bool have_modes;
    struct sigaction old_crash[N_CRASH], old_quit[N_QUIT], old_stop;
    char line[512];
    size_t line_bytes;
    char *alt_stack;
} guard = {.fd = -1,
           .wake = {-1, -1},
           .capture = {-1, -1},
           .saved_out = -1,
           .saved_err = -1,
           .tty = -1,
           .sink = -1};

// Async-signal-safe, and for a process that ends: leaves the alternate screen, shows the cursor,
// resets colours and modes, uncaptures 1 and 2. The screen's own descriptor leads nowhere from here
// on, or the dashboard's thread would draw over what is said now. Returns false when that was done already, or is being done by another thread.
static bool restore(void) {
    if (!atomic_exchange(&guard.on, 0)) return false;
    int saved_errno = errno;
    int tty = guard.tty >= 0 ? guard.tty : guard.fd;
    if (guard.tty >= 0 && guard.sink >= 0) dup2(guard.sink, guard.fd);
    if (guard.have_modes) tcsetattr(tty, TCSANOW, &guard.modes);
    struct pollfd ready = {.fd = tty,
                           .events = POLLOUT}; // never hang in a terminal that takes nothing
    if (poll(&ready, 1, 200) == 1 && ready.revents & POLLOUT) {
        ssize_t ignored = write(tty, guard.restore, guard.restore_bytes);
        (void)ignored;
    }
    if (guard.saved_out >= 0) dup2(guard.saved_out, STDOUT_FILENO);
    if (guard.saved_err >= 0) dup2(guard.saved_err, STDERR_FILENO);
    errno = saved_errno;
    return true;
}

static void restore_now(void) { restore(); }

static void on_crash(int sig) {
    if (restore()) {
        static const char text[] = "workbench: crashed; the terminal is restored. Please report "
                                   "what follows, if anything.\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
    }
    for (int i = 0; i < N_CRASH;
         i++) // whoever was there before us (a sanitizer, the kernel) goes on
        if (crash_signals[i] == sig) sigaction(sig, &guard.old_crash[i], NULL);
    raise(sig);
}

static void on_quit(int sig) {
    int saved_errno = errno;
    if (sig == SIGINT) guard.interrupts++;
    if (sig == SIGTERM) guard.terminations++;
    if (sig == SIGHUP) guard.hangups++;
    if (sig == SIGTSTP) guard.stop_asked = 1;
    // The loop may hang in a write to a stuck terminal: the third demand is obeyed right here.
    if (guard.interrupts + guard.terminations >= 3 && restore()) _exit(128 + sig);
    ssize_t ignored = write(guard.wake[1], "", 1);
    (void)ignored;
    errno = saved_errno;
}

static void add_restore(const char *capability) {
    const char *s = tigetstr(capability);
    if (!s || s == (char *)-1) return;
    size_t n = strlen(s);
    if (guard.restore_bytes + n > sizeof guard.restore) return;
    memcpy(guard.restore + guard.restore_bytes, s, n);
    guard.restore_bytes += n;
}

static bool make_pipe(int fds[2]) {
    if (pipe(fds) != 0) return false;
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        fcntl(fds[i], F_SETFL,
              O_NONBLOCK); // a full pipe must not stop a library: its text is lost then
    }
    return true;
}

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void close_pipe(int fds[2]) {
    close_fd(&fds[0]);
    close_fd(&fds[1]);
}

static void capture_streams(bool on) {
    if (guard.capture[1] < 0) return;
    fflush(stdout);
    fflush(stderr);
    if (on) {
        dup2(guard.capture[1], STDOUT_FILENO);
        dup2(guard.capture[1], STDERR_FILENO);
    } else {
        dup2(guard.saved_out, STDOUT_FILENO);
        dup2(guard.saved_err, STDERR_FILENO);
    }
}

static void install(const int *signals, int n, void (*handler)(int), int flags,
                    struct sigaction *old) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < n; i++) sigaction(signals[i], &action, old ? &old[i] : NULL);
}

void guard_save_terminal(int fd) {
    guard.fd = fd;
    guard.have_modes = tcgetattr(fd, &guard.modes) == 0;
    install(stop_signal, 1, on_quit, SA_RESTART, &guard.old_stop);
}

void guard_forget_terminal(void) { sigaction(SIGTSTP, &guard.old_stop, NULL); }

static void at_exit(void) { restore_now(); }

void guard_on(void) {
    static bool registered;
    if (!registered) atexit(at_exit);
    registered = true;
    guard.restore_bytes = 0;
    static const char *const capabilities[] = {"sgr0", "op", "rmkx", "cnorm", "rmcup"};
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        add_restore(capabilities[i]);
    guard.interrupts = guard.terminations = guard.hangups = guard.stop_asked = 0;
    guard.line_bytes = 0;
    log_to_stderr(false); // else captured text would be logged for ever
    if (!make_pipe(guard.wake)) close_pipe(guard.wake);
    guard.saved_out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    guard.saved_err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    guard.tty = fcntl(guard.fd, F_DUPFD_CLOEXEC, 3);
    guard.sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (make_pipe(guard.capture)) capture_streams(true);
    if (!guard.alt_stack)
        guard.alt_stack = mem_alloc(ALT_STACK_BYTES); // kept: a handler may still stand on it
    stack_t stack = {.ss_sp = guard.alt_stack, .ss_size = ALT_STACK_BYTES};
    sigaltstack(&stack, NULL);
    guard.on = 1;
    install(crash_signals, N_CRASH, on_crash, SA_ONSTACK | SA_NODEFER, guard.old_crash);
    install(quit_signals, N_QUIT, on_quit, SA_RESTART, guard.old_quit);
    check_set_hook(restore_now);
}

void guard_off(void) {
    check_set_hook(NULL);
    for (int i = 0; i < N_CRASH; i++) sigaction(crash_signals[i], &guard.old_crash[i], NULL);
    for (int i = 0; i < N_QUIT; i++) sigaction(quit_signals[i], &guard.old_quit[i], NULL);
    guard.on = 0;
    capture_streams(false);
    guard_capture_drain();
    close_pipe(guard.capture);
    close_pipe(guard.wake);
    close_fd(&guard.saved_out);
    close_fd(&guard.saved_err);
    close_fd(&guard.tty);
    close_fd(&guard.sink);
}

struct term_signals guard_signals(void) {
    return (struct term_signals){guard.interrupts, guard.terminations, guard.hangups};
}

bool guard_stop_asked(void) { return guard.stop_asked; }

void guard_stop_now(void) {
    guard.stop_asked = 0;
    guard.on = 0; // the screen is left already
    capture_streams(false);
    install(stop_signal, 1, SIG_DFL, 0, NULL);
    kill(getpid(), SIGTSTP); // all threads stand still here until SIGCONT
    install(stop_signal, 1, on_quit, SA_RESTART, NULL);
    capture_streams(true);
    guard.on = 1;
}

int guard_wake_fd(void) { return guard.wake[0]; }
int guard_capture_fd(void) { return guard.capture[0]; }

void guard_wake_drain(void) {
    char bytes[64];
    while (read(guard.wake[0], bytes, sizeof bytes) > 0) continue;
}

static void log_line(void) {
    if (guard.line_bytes == 0) return;
    guard.line[guard.line_bytes] = 0;
    log_write(LOG_WARN, "printed: %s", guard.line);
    guard.line_bytes = 0;
}

void guard_capture_drain(void) {
    char bytes[1024];
    if (guard.capture[0] < 0) return;
    for (ssize_t n; (n = read(guard.capture[0], bytes, sizeof bytes)) > 0;)
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == '\n' || guard.line_bytes + 1 == sizeof guard.line) log_line();
            if (bytes[i] != '\n') guard.line[guard.line_bytes++] = bytes[i];
        }
}
