// The built-in tasks: our own ROMs and goal tasks, compiled into the program from assets.
#include "engine/env/builtin.h"

#include <stdio.h>
#include <string.h>

// The assembler reads the file from the top of the source tree, where the compiler runs.
#define EMBED(symbol, path)                                                                        \
    __asm__(".pushsection .rodata\n.balign 16\n.global " #symbol "\n" #symbol ":\n.incbin \"" path \
            "\"\n.global " #symbol "_end\n" #symbol "_end:\n.byte 0\n.popsection\n");              \
    extern const uint8_t symbol[], symbol##_end[]

EMBED(builtin_rom_static, "assets/roms/static.gb");
EMBED(builtin_rom_scroll, "assets/roms/scroll.gb");
EMBED(builtin_rom_sprites, "assets/roms/sprites.gb");
EMBED(builtin_rom_lab, "assets/roms/lab.gb");

#define EMBED_CODEC(task, codec)                                                                   \
    EMBED(builtin_##task##_npy_##codec,                                                            \
          "assets/tasks/" #task "/goal_" #codec "/goal_template.npy");                             \
    EMBED(builtin_##task##_meta_##codec,                                                           \
          "assets/tasks/" #task "/goal_" #codec "/goal_template.meta.json");                       \
    EMBED(builtin_##task##_stage_##codec, "assets/tasks/" #task "/stage_" #codec ".json");         \
    EMBED(builtin_##task##_solution_##codec, "assets/tasks/" #task "/solution_" #codec ".txt")
#define BYTES(symbol)                                                                              \
    { symbol, symbol##_end }
#define CODEC_GOAL(task, codec)                                                                    \
    {                                                                                              \
        "pokemonred_puffer_" #codec, BYTES(builtin_##task##_npy_##codec),                          \
            BYTES(builtin_##task##_meta_##codec), BYTES(builtin_##task##_stage_##codec),           \
            BYTES(builtin_##task##_solution_##codec)                                               \
    }
#define EMBED_GOALS(task)                                                                          \
    EMBED(builtin_##task##_state, "assets/tasks/" #task "/start.state");                           \
    EMBED_CODEC(task, v0);                                                                         \
    EMBED_CODEC(task, v1);                                                                         \
    static const struct builtin_goal task##_goals[BUILTIN_N_CODECS] = {CODEC_GOAL(task, v0),       \
                                                                       CODEC_GOAL(task, v1)}

EMBED_GOALS(exit_lab);
EMBED_GOALS(enter_house);
EMBED_GOALS(errand);

enum { BUILTIN_ROM_BYTES = 32768 }; // of every committed file: tests/env/test_builtin.c

#define SCENE(name, what)                                                                          \
    {                                                                                              \
#name, what, builtin_rom_##name, BUILTIN_ROM_BYTES, NULL, { NULL, NULL }                   \
    }
#define GOAL_TASK(name, rom, what)                                                                 \
    {                                                                                              \
#name, what, builtin_rom_##rom, BUILTIN_ROM_BYTES, name##_goals,                           \
            BYTES(builtin_##name##_state)                                                          \
    }

const struct builtin_task builtin_tasks[] = {
    SCENE(static, "a rich still picture"),
    SCENE(scroll, "a landscape that scrolls by"),
    SCENE(sprites, "a scene with things that move by their own clock"),
    GOAL_TASK(exit_lab, lab, "walk out of a laboratory"),
    GOAL_TASK(enter_house, lab, "find the door of a house in the village"),
    GOAL_TASK(errand, lab, "fetch a parcel and deliver it: long and sparse"),
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
