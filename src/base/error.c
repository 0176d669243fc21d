// Errors as values and the CHECK abort.
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void (*check_hook)(void);

bool error_set(struct error *e, enum status status, const char *format, ...) {
    if (!e) return false;
    va_list ap;
    va_start(ap, format);
    e->status = status;
    vsnprintf(e->message, sizeof e->message, format, ap);
    va_end(ap);
    for (char *c = e->message; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127) *c = '?';
    return false;
}

void check_set_hook(void (*hook)(void)) { check_hook = hook; }

static void call_hook(void) {
    void (*hook)(void) = check_hook;
    check_hook = NULL; // a failing hook must not recurse
    if (hook) hook();
}

void out_of_memory(size_t bytes) {
    char line[200];
    call_hook();
    const int n =
        bytes ? snprintf(line, sizeof line,
                         "workbench: out of memory, %.1f MB more were asked for: close other "
                         "programs, or take a smaller preset, env.num_envs or buffer.size\n",
                         (double)bytes / 1e6)
              : snprintf(line, sizeof line, "workbench: out of memory: close other programs\n");
    (void)!write(STDERR_FILENO, line, (size_t)n); // whole, and without memory of its own
    _exit(STATUS_FAILED);
}

// The runtime's, the driver's and cuBLAS' words for it.
static bool is_of_memory(const char *message) {
    return strstr(message, "out of memory") || strstr(message, "allocation failed") ||
           strstr(message, "ALLOC_FAILED");
}

void device_lost(const char *what, const char *message) {
    struct error e; // one line, whatever the driver says
    error_set(&e, STATUS_FAILED, "%s: %.600s; %s", what, message,
              is_of_memory(message)
                  ? "take a smaller preset, env.num_envs, buffer.size or batch, or --device cpu"
                  : "the run ends here, --resume goes on from the newest checkpoint of a session");
    call_hook();
    fprintf(stderr, "workbench: %s\n", e.message);
    _exit(STATUS_FAILED);
}

void check_failed(const char *file, int line, const char *condition, const char *format, ...) {
    call_hook();
    fprintf(stderr, "workbench: internal error at %s:%d: %s: ", file, line, condition);
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, " (please report it)\n");
    abort();
}
