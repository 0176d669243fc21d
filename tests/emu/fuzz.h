// fuzz.h - cartridges made of chance, run with chance input: the machine must survive all of it.
//
// A round makes one cartridge from a seed (plain noise, code that hammers the registers, or a
// built-in scene with damaged bytes), and runs it with random buttons. Now and then the machine is
// saved and loaded; both must go on alike. The sanitizers, and these comparisons, are what can
// fail.
#ifndef TESTS_EMU_FUZZ_H
#define TESTS_EMU_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "emu/gb.h"

enum { FUZZ_ROM_BYTES = 65536, FUZZ_STATE_MAX = 64 << 10, FUZZ_LOCKED_FRAMES = 4 };

struct fuzz {
    uint64_t state; // of the random numbers
    struct gb *m, *twin;
    uint8_t *rom, *saved, *again, *lcd;
    int64_t frames, locked, asleep, states; // run so far; locked and asleep rounds end early
};

static inline uint32_t fuzz_random(struct fuzz *f)
{
    f->state = f->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(f->state >> 33);
}

static inline uint32_t fuzz_below(struct fuzz *f, uint32_t n)
{
    return fuzz_random(f) % n;
}

static inline bool fuzz_is_illegal(uint8_t op)
{
    static const uint8_t illegal[] = {0xd3, 0xdb, 0xdd, 0xe3, 0xe4, 0xeb,
                                      0xec, 0xed, 0xf4, 0xfc, 0xfd};
    return memchr(illegal, op, sizeof illegal) != NULL;
}

// Code that writes and reads registers, video memory and bank numbers, halts, loops and returns.
static inline void fuzz_hammer(struct fuzz *f, uint8_t *code, size_t n)
{
    for (size_t i = 0; i + 8 < n;) {
        uint8_t low = (uint8_t)fuzz_random(f), high = (uint8_t)fuzz_random(f);
        switch (fuzz_below(f, 12)) {
        case 0: code[i++] = 0x3e, code[i++] = low; break;
        case 1: code[i++] = 0xe0, code[i++] = fuzz_below(f, 3) ? 0x40 | (low & 0x0f) : low; break;
        case 2: code[i++] = 0xf0, code[i++] = fuzz_below(f, 2) ? 0x41 : low; break;
        case 3: code[i++] = 0xea, code[i++] = low, code[i++] = high; break;
        case 4: code[i++] = 0x21, code[i++] = low, code[i++] = 0x80 | (high & 0x7f); break;
        case 5: code[i++] = 0x22 | (low & 8); break;
        case 6: code[i++] = fuzz_below(f, 8) ? 0xfb : 0x76; break;
        case 7: code[i++] = 0x20, code[i++] = 0xf0 | (low & 0x0e); break;
        case 8: code[i++] = 0x31, code[i++] = low, code[i++] = 0xc0 | (high & 0x1f); break;
        case 9: code[i++] = 0xe0, code[i++] = fuzz_below(f, 2) ? 0xff : 0x46; break;
        case 10: code[i++] = 0xcd, code[i++] = low, code[i++] = high & 0x7f; break;
        default: code[i++] = fuzz_is_illegal(low) || low == 0x10 ? 0x00 : low; break;
        }
    }
}

static inline void fuzz_scene(struct fuzz *f)
{
    static const char *const scenes[] = {"static", "scroll", "sprites"};
    char path[64];
    snprintf(path, sizeof path, "assets/roms/%s.gb", scenes[fuzz_below(f, 3)]);
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(f->rom, 1, FUZZ_ROM_BYTES, file) : 0;
    if (file) fclose(file);
    for (uint32_t i = fuzz_below(f, 64); n && i > 0; i--)
        f->rom[0x150 + fuzz_below(f, (uint32_t)n - 0x150)] = (uint8_t)fuzz_random(f);
}

static inline void fuzz_cartridge(struct fuzz *f)
{
    static const uint8_t types[] = {0x00, 0x01, 0x03, 0x06, 0x0f, 0x10, 0x13, 0x19, 0x1b, 0x1e};
    uint32_t kind = fuzz_below(f, 8);
    for (int i = 0; i < FUZZ_ROM_BYTES; i++) f->rom[i] = (uint8_t)fuzz_random(f);
    for (int i = 0; i < FUZZ_ROM_BYTES && kind; i++)
        if (fuzz_is_illegal(f->rom[i])) f->rom[i] = 0xd9;
    if (kind >= 2) fuzz_hammer(f, f->rom, FUZZ_ROM_BYTES);
    if (kind >= 2)
        for (int vector = 0x40; vector <= 0x60; vector += 8) f->rom[vector] = 0xd9; // RETI
    if (kind == 7) fuzz_scene(f);
    f->rom[0x100] = 0x00;
    f->rom[0x101] = 0xc3, f->rom[0x102] = 0x50, f->rom[0x103] = 0x01;
    f->rom[0x147] = types[fuzz_below(f, sizeof types)];
    f->rom[0x148] = 1; // 64 KiB
    f->rom[0x149] = (uint8_t)fuzz_below(f, 4);
}

static inline bool fuzz_save_and_load(struct fuzz *f, const struct gb_rom *rom)
{
    char why[GB_MESSAGE_SIZE];
    size_t n = gb_state_save(f->m, f->saved);
    if (!gb_state_load(f->twin, rom, f->saved, n, why, sizeof why)) {
        fprintf(stderr, "fuzz: a saved state is refused: %s\n", why);
        return false;
    }
    uint8_t buttons = (uint8_t)fuzz_random(f);
    gb_set_buttons(f->m, buttons);
    gb_set_buttons(f->twin, buttons);
    gb_run_frame(f->m, true);
    gb_run_frame(f->twin, false); // what is drawn must not matter either
    f->frames += 2;
    f->states++;
    gb_state_save(f->m, f->saved);
    gb_state_save(f->twin, f->again);
    if (memcmp(f->saved, f->again, n) == 0) return true;
    size_t at = 0;
    while (f->saved[at] == f->again[at]) at++;
    fprintf(stderr, "fuzz: a loaded machine goes on differently (byte %zu of %zu)\n", at, n);
    return false;
}

// One cartridge for up to n_frames. False: something is wrong, and stderr says what.
static inline bool fuzz_round(struct fuzz *f, uint64_t seed, int n_frames)
{
    struct gb_rom rom;
    char why[GB_MESSAGE_SIZE];
    f->state = seed;
    fuzz_cartridge(f);
    if (!gb_rom_parse(&rom, f->rom, FUZZ_ROM_BYTES, why, sizeof why)) return true; // refused
    gb_reset(f->m, &rom);
    gb_set_lcd(f->m, fuzz_below(f, 2) ? f->lcd : NULL);
    for (int i = 0, locked = 0; i < n_frames; i++) {
        uint8_t packed[GB_OBS_BYTES];
        uint8_t buttons = (uint8_t)fuzz_random(f);
        switch (fuzz_below(f, 16)) {
        case 0:
            gb_step(f->m, buttons, 4, 2, packed);
            f->frames += 4;
            break;
        case 1:
            if (!fuzz_save_and_load(f, &rom)) return false;
            break;
        default:
            gb_set_buttons(f->m, buttons);
            gb_run_frame(f->m, fuzz_below(f, 2));
            f->frames++;
        }
        bool asleep = f->m->cpu.halt == GB_ASLEEP;
        f->locked += gb_is_locked(f->m);
        f->asleep += asleep;
        locked += gb_is_locked(f->m) || asleep;
        if (locked > FUZZ_LOCKED_FRAMES) break;
    }
    return true;
}

static inline bool fuzz_init(struct fuzz *f)
{
    memset(f, 0, sizeof *f);
    f->m = calloc(1, sizeof *f->m);
    f->twin = calloc(1, sizeof *f->twin);
    f->rom = malloc(FUZZ_ROM_BYTES);
    f->saved = malloc(FUZZ_STATE_MAX);
    f->again = malloc(FUZZ_STATE_MAX);
    f->lcd = calloc(2, GB_LCD_WIDTH * GB_LCD_HEIGHT);
    return f->m && f->twin && f->rom && f->saved && f->again && f->lcd;
}

static inline void fuzz_deinit(struct fuzz *f)
{
    free(f->m);
    free(f->twin);
    free(f->rom);
    free(f->saved);
    free(f->again);
    free(f->lcd);
}

#endif
