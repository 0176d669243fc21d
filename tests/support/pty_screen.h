// Pty screen: a child process on a pseudo terminal, and a virtual terminal (libvterm) that shows
// what it drew.
//
//     struct pty_screen s;
// like fork: 0 in the child, whose terminal it is
//     pid_t pid = pty_screen_open(&s, 120, 40);
//     if (pid == 0) { ...; _exit(0); }
//     assert_true(pty_screen_wait(&s, "training", 5000));
//     pty_screen_keys(&s, "q");
// exit status as of waitpid, -1: it did not end in time
//     int status = pty_screen_finish(&s, 5000);
#ifndef SUPPORT_PTY_SCREEN_H
#define SUPPORT_PTY_SCREEN_H

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>
#include <vterm.h>

#include "base/clock.h"
#include "ui/canvas.h"

struct pty_screen {
    VTerm *vt;
    VTermScreen *screen;
    // the slave is kept open, so that what was written can be read after the end
    int fd, slave;
    pid_t pid;
    int width, height;
    bool alternate, cursor;  // alternate screen in use; cursor visible
    long bytes;              // received
    bool not_ascii, colours; // a byte above 127 was received; a colour was set
    int state;               // of the scanner for colour sequences
    char sequence[64];
};

static int pty_screen_property(VTermProp prop, VTermValue *value, void *user) {
    struct pty_screen *s = user;
    if (prop == VTERM_PROP_ALTSCREEN) s->alternate = value->boolean;
    if (prop == VTERM_PROP_CURSORVISIBLE) s->cursor = value->boolean;
    return 1;
}

// ESC [ numbers m with a number of 30..37, 38, 40..47, 48, 90.. sets a colour.
static inline void pty_screen_scan(struct pty_screen *s, unsigned char c) {
    if (c > 127) s->not_ascii = true;
    if (c == 27)
        s->state = 1;
    else if (s->state == 1)
        s->state = c == '[' ? 2 : 0, s->sequence[0] = 0;
    else if (s->state == 2) {
        size_t n = strlen(s->sequence);
        if (c == 'm') {
            for (char *p = strtok(s->sequence, ";"); p; p = strtok(NULL, ";")) {
                int v = atoi(p);
                if ((v >= 30 && v != 39 && v != 49) || v > 49) s->colours = true;
            }
            s->state = 0;
        } else if (((c >= '0' && c <= '9') || c == ';') && n + 1 < sizeof s->sequence)
            s->sequence[n] = (char)c, s->sequence[n + 1] = 0;
        else
            s->state = 0;
    }
}

static inline pid_t pty_screen_open(struct pty_screen *s, int width, int height) {
    static const VTermScreenCallbacks callbacks = {.settermprop = pty_screen_property};
    *s = (struct pty_screen){.width = width, .height = height, .cursor = true};
    struct winsize size = {.ws_row = (unsigned short)height, .ws_col = (unsigned short)width};
    struct termios modes;
    char name[128];
    if (openpty(&s->fd, &s->slave, name, NULL, &size) != 0) return -1;
    tcgetattr(s->slave, &modes);
    fflush(NULL);
    s->pid = fork();
    if (s->pid == 0) {
        close(s->fd);
        if (login_tty(s->slave) != 0) _exit(99);
        return 0;
    }
    s->vt = vterm_new(height, width);
    vterm_set_utf8(s->vt, 1);
    s->screen = vterm_obtain_screen(s->vt);
    vterm_screen_set_callbacks(s->screen, &callbacks, s);
    vterm_screen_enable_altscreen(s->screen, 1);
    vterm_screen_reset(s->screen, 1);
    return s->pid;
}

// Reads what the child wrote, at most ms.
static inline void pty_screen_pump(struct pty_screen *s, int ms) {
    int64_t until = clock_now_ns() + (int64_t)ms * 1000000;
    for (;;) {
        int64_t left = (until - clock_now_ns()) / 1000000;
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        if (poll(&p, 1, left > 0 ? (int)left : 0) <= 0 || !(p.revents & POLLIN)) return;
        char buf[4096];
        ssize_t n = read(s->fd, buf, sizeof buf);
        if (n <= 0) return;
        s->bytes += n;
        for (ssize_t i = 0; i < n; i++) pty_screen_scan(s, (unsigned char)buf[i]);
        vterm_input_write(s->vt, buf, (size_t)n);
    }
}

// The screen as text, rows ended by '\n', trailing blanks cut; free() it.
static inline char *pty_screen_text(struct pty_screen *s) {
    char *text = malloc((size_t)(s->width * 5 + 1) * (size_t)s->height + 1), *p = text;
    for (int y = 0; y < s->height; y++) {
        char *end = p;
        for (int x = 0; x < s->width;) {
            VTermScreenCell cell;
            vterm_screen_get_cell(s->screen, (VTermPos){y, x}, &cell);
            uint32_t glyph = cell.chars[0] ? cell.chars[0] : ' ';
            p += utf8_put(glyph, p);
            if (glyph != ' ') end = p;
            x += cell.width > 0 ? cell.width : 1;
        }
        p = end;
        *p++ = '\n';
    }
    *p = 0;
    return text;
}

static inline bool pty_screen_shows(struct pty_screen *s, const char *words) {
    char *text = pty_screen_text(s);
    bool found = strstr(text, words) != NULL;
    free(text);
    return found;
}

static inline bool pty_screen_wait(struct pty_screen *s, const char *words, int ms) {
    for (int64_t until = clock_now_ns() + (int64_t)ms * 1000000; clock_now_ns() < until;) {
        if (pty_screen_shows(s, words)) return true;
        pty_screen_pump(s, 20);
    }
    return pty_screen_shows(s, words);
}

static inline void pty_screen_keys(struct pty_screen *s, const char *bytes) {
    ssize_t ignored = write(s->fd, bytes, strlen(bytes));
    (void)ignored;
}

static inline void pty_screen_resize(struct pty_screen *s, int width, int height) {
    struct winsize size = {.ws_row = (unsigned short)height, .ws_col = (unsigned short)width};
    s->width = width, s->height = height;
    vterm_set_size(s->vt, height, width);
    ioctl(s->fd, TIOCSWINSZ, &size);
}

static inline int pty_screen_finish(struct pty_screen *s, int ms) {
    int status = -1;
    for (int64_t until = clock_now_ns() + (int64_t)ms * 1000000; clock_now_ns() < until;) {
        if (s->fd >= 0)
            pty_screen_pump(s, 20);
        else
            clock_sleep_ns(20000000);
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            if (s->fd >= 0) pty_screen_pump(s, 50);
            return status;
        }
    }
    return -1;
}

static inline void pty_screen_close(struct pty_screen *s) {
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    if (s->fd >= 0) close(s->fd);
    if (s->slave >= 0) close(s->slave);
    if (s->vt) vterm_free(s->vt);
    *s = (struct pty_screen){.fd = -1, .slave = -1}; // closing twice is fine
}

#endif
