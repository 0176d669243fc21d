// Errors of the outside world as values, and CHECK for broken invariants of our own.
//
//     struct error e = {0};
//     if (!rom_open(path, &rom, &e)) {
//         fprintf(stderr, "workbench: %s\n", e.message);
//         return e.status;
//     }
//
// A function that can fail returns bool, takes `struct error *e` last and fills it when it returns
// false. The message is one line: what happened, which file or key, what to do about it.
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_SKIPPED = 3
}; // = exit codes

struct error {
    enum status status;
    char message[600];
};

// Fills *e (e may be NULL) and returns false, so that `return error_set(...)` reads well. Control
// characters in the result become '?', so a hostile file name cannot write to the terminal.
bool error_set(struct error *e, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Aborts with file, line and message when the condition is false. Always on, never with side
// effects.
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__);               \
    } while (0)

_Noreturn void check_failed(const char *file, int line, const char *condition, const char *format,
                            ...) __attribute__((format(printf, 4, 5)));

// There is no memory: one line on stderr, and the program ends with exit code 1. bytes: what was
// asked for, 0 unknown.
_Noreturn void out_of_memory(size_t bytes);

// A GPU fails, or has too little memory: the same. what: which part of the run it carries; message:
// the device's own.
_Noreturn void device_lost(const char *what, const char *message);

// Called by all three before they print: the terminal module restores the screen here. NULL:
// nothing.
void check_set_hook(void (*hook)(void));

#endif
