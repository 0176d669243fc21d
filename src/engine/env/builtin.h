// The built-in tasks: our own ROMs, compiled into the program.
#ifndef ENV_BUILTIN_H
#define ENV_BUILTIN_H

#include <stddef.h>
#include <stdint.h>

struct builtin_task {
    const char *name;                 // --task NAME
    const char *what;                 // one line for --help
    const uint8_t *rom;
    size_t rom_bytes;
};

extern const struct builtin_task builtin_tasks[];
extern const int n_builtin_tasks;
const struct builtin_task *builtin_task_find(const char *name);     // NULL if there is none
void builtin_task_names(char *out, size_t size);                    // "static, scroll, sprites"

#endif
