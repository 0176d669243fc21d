// The built-in tasks: our own ROMs, compiled into the program from assets/roms.
#include "engine/env/builtin.h"

#include <stdio.h>
#include <string.h>

// The assembler reads the file from the top of the source tree, where the compiler runs.
#define EMBED(symbol, path)                                                                       \
    __asm__(".pushsection .rodata\n.balign 16\n.global " #symbol "\n" #symbol ":\n.incbin \"" path \
            "\"\n.global " #symbol "_end\n" #symbol "_end:\n.byte 0\n.popsection\n");             \
    extern const uint8_t symbol[], symbol##_end[]

EMBED(builtin_rom_static, "assets/roms/static.gb");
EMBED(builtin_rom_scroll, "assets/roms/scroll.gb");
EMBED(builtin_rom_sprites, "assets/roms/sprites.gb");

enum { BUILTIN_ROM_BYTES = 32768 };  // of every committed file: tests/env/test_builtin.c

#define SCENE(name, what) {#name, what, builtin_rom_##name, BUILTIN_ROM_BYTES, NULL, {NULL, NULL}}

const struct builtin_task builtin_tasks[] = {
    SCENE(static, "a rich still picture"),
    SCENE(scroll, "a landscape that scrolls by"),
    SCENE(sprites, "a scene with things that move by their own clock"),
};
const int n_builtin_tasks = sizeof builtin_tasks / sizeof *builtin_tasks;

const struct builtin_task *builtin_task_find(const char *name) {
    for (int i = 0; i < n_builtin_tasks; i++)
        if (strcmp(builtin_tasks[i].name, name) == 0) return &builtin_tasks[i];
    return NULL;
}

void builtin_task_names(char *out, size_t size) {
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < n_builtin_tasks && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", builtin_tasks[i].name);
}
