// Video: MP4 through an `ffmpeg` child process that reads raw grey frames from a pipe.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/data/video.h"

extern char **environ;

static const int64_t patience_ns = 60000000000; // no progress for so long: the child hangs

// A write to a dead child raises SIGPIPE in this thread: block it, and take back what came.
struct sigpipe_guard {
    sigset_t pipe, old;
    bool was_pending;
};

static void guard_begin(struct sigpipe_guard *g) {
    sigset_t pending;
    sigemptyset(&g->pipe);
    sigaddset(&g->pipe, SIGPIPE);
    sigpending(&pending);
    g->was_pending = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &g->pipe, &g->old);
}

static void guard_end(struct sigpipe_guard *g) {
    if (!g->was_pending)
        while (sigtimedwait(&g->pipe, NULL, &(struct timespec){0}) == -1 && errno == EINTR) {
        }
    pthread_sigmask(SIG_SETMASK, &g->old, NULL);
}

// Starts ffmpeg with `read_end` as its stdin and silence on its outputs. 0 or an errno.
static int start(char *const argv[], int read_end, pid_t *child) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, read_end, STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0); // Ctrl-C at the terminal is ours to handle
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    int code = posix_spawnp(child, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

static bool feed(int fd, const uint8_t *data, size_t n) {
    while (n) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int ready = poll(&p, 1, (int)(patience_ns / 1000000));
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return false;
        ssize_t done = write(fd, data, n);
        if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (done < 0) return false;
        data += done;
        n -= (size_t)done;
    }
    return true;
}

// One frame, scaled and padded to even sides, levels turned into brightness.
static void fill_frame(const struct video_frames *v, int frame, int scale, int width, int height,
                       uint8_t *out) {
    const uint8_t *pixels = v->pixels + (size_t)frame * (size_t)v->width * (size_t)v->height;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int sx = x / scale < v->width ? x / scale : v->width - 1,
                sy = y / scale < v->height ? y / scale : v->height - 1;
            out[(size_t)y * (size_t)width + (size_t)x] =
                (uint8_t)(255 - pixels[(size_t)sy * (size_t)v->width + (size_t)sx]);
        }
}

static bool feed_frames(int fd, const struct video_frames *v, int scale, int width, int height) {
    uint8_t *frame = mem_alloc((size_t)width * (size_t)height);
    bool ok = true;
    for (int i = 0; ok && i < v->n; i++) {
        fill_frame(v, i, scale, width, height, frame);
        ok = feed(fd, frame, (size_t)width * (size_t)height);
    }
    free(frame);
    return ok;
}

// Waits for the end of the child; one that hangs is killed. True if it ended well.
static bool finish(pid_t child, bool fed) {
    int status = 0;
    int64_t deadline = clock_now_ns() + (fed ? patience_ns : 1000000000);
    for (;;) {
        pid_t done = waitpid(child, &status, WNOHANG);
        if (done == child) return fed && WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (done < 0 && errno != EINTR) return false;
        if (clock_now_ns() > deadline) {
            kill(child, SIGKILL);
            deadline = INT64_MAX;
        }
        clock_sleep_ns(5000000);
    }
}

static bool encode(char *const argv[], const struct video_frames *v, int scale, int width,
                   int height, struct error *e) {
    int ends[2];
    pid_t child;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_set(e, STATUS_SKIPPED, "no pipe: %s", strerror(errno));
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    int code = start(argv, ends[0], &child);
    close(ends[0]);
    if (code) {
        close(ends[1]);
        if (code == ENOENT)
            return error_set(e, STATUS_SKIPPED,
                             "there is no ffmpeg in PATH (apt-get install ffmpeg)");
        return error_set(e, STATUS_SKIPPED, "ffmpeg does not start: %s", strerror(code));
    }
    struct sigpipe_guard guard;
    guard_begin(&guard);
    bool fed = feed_frames(ends[1], v, scale, width, height);
    guard_end(&guard);
    close(ends[1]);
    return finish(child, fed) || error_set(e, STATUS_SKIPPED, "ffmpeg failed");
}

bool video_write_mp4(const char *path, const struct video_frames *v, struct error *e) {
    CHECK(v->n >= 1 && v->width >= 1 && v->height >= 1 && v->frames_per_second >= 1,
          "a video of %d frames of %dx%d", v->n, v->width, v->height);
    int scale = v->scale > 0 ? v->scale : 1, width = (v->width * scale + 1) & ~1,
        height = (v->height * scale + 1) & ~1;
    char size[32], rate[16], temporary[PATH_SIZE];
    snprintf(size, sizeof size, "%dx%d", width, height);
    snprintf(rate, sizeof rate, "%d", v->frames_per_second);
    // A path that begins with '-' would be read as an option, one with ':' as a protocol.
    int n = snprintf(temporary, sizeof temporary, "file:%s.tmp-%ld", path, (long)getpid());
    if (n >= (int)sizeof temporary)
        return error_set(e, STATUS_SKIPPED, "the path %s is too long", path);
    char *argv[] = {"ffmpeg",   "-hide_banner", "-loglevel", "error",      "-y",       "-f",
                    "rawvideo", "-pix_fmt",     "gray",      "-s",         size,       "-r",
                    rate,       "-i",           "pipe:0",    "-an",        "-threads", "1",
                    "-pix_fmt", "yuv420p",      "-movflags", "+faststart", "-fflags",  "+bitexact",
                    "-flags:v", "+bitexact",    "-f",        "mp4",        temporary,  NULL};
    const char *made = temporary + strlen("file:");
    bool ok = encode(argv, v, scale, width, height, e);
    if (ok && rename(made, path) != 0)
        ok = error_set(e, STATUS_SKIPPED, "cannot write %s: %s", path, strerror(errno));
    if (!ok) unlink(made);
    return ok;
}
