// The built-in tasks: our own ROMs, and for goal tasks their states and goals, compiled into the
// program.
#ifndef ENV_BUILTIN_H
#define ENV_BUILTIN_H

#include <stddef.h>
#include <stdint.h>

struct builtin_bytes {
    const uint8_t *begin, *end;
};

// What a goal task has for one action codec: the files of assets/tasks/NAME (docs/formats.md).
struct builtin_goal {
    const char *action_codec_id;
    struct builtin_bytes goal_npy, goal_meta, stage, solution;
};

enum { BUILTIN_N_CODECS = 2 }; // v0 and v1

struct builtin_task {
    const char *name; // --task NAME
    const char *what; // one line for --help
    const uint8_t *rom;
    size_t rom_bytes;
    const struct builtin_goal *goals; // [BUILTIN_N_CODECS]; NULL: a scene to look at
    struct builtin_bytes state;       // the start, with goals
};

extern const struct builtin_task builtin_tasks[];
extern const int n_builtin_tasks;
const struct builtin_task *builtin_task_find(const char *name); // NULL if there is none
void builtin_task_names(char *out, size_t size);                // "static, scroll, sprites"

#endif
