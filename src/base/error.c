// Errors as values and the CHECK abort.
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

void check_failed(const char *file, int line, const char *condition, const char *format, ...) {
    void (*hook)(void) = check_hook;
    check_hook = NULL;  // a failing hook must not recurse
    if (hook) hook();
    fprintf(stderr, "workbench: internal error at %s:%d: %s: ", file, line, condition);
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, " (please report it)\n");
    abort();
}
