// A ROM made for tests: its whole picture is a record of every button press and release since it
// started.
//
// It polls the joypad; on each change of the pressed buttons it computes acc = rotate_left(acc ^
// buttons) (a set bit = released, d-pad in the high half, buttons in the low half, both in P1's
// order) and writes acc to the palette. The screen is one tile repeated whose observed pixels have
// the colours 0 1 2 3, so every byte of the packed2 observation equals the palette register.
// button_rom_after says what a step must show, without an emulator.
#ifndef TESTS_ENV_BUTTON_ROM_H
#define TESTS_ENV_BUTTON_ROM_H

#include <stdint.h>
#include <string.h>

enum { BUTTON_ROM_BYTES = 32768, BUTTON_ROM_START = 0xe4 };

static inline void button_rom_make(uint8_t rom[BUTTON_ROM_BYTES]) {
    static const uint8_t entry[] = {0x00, 0xc3, 0x50, 0x01}; // 0100 nop; jp 0150
    static const uint8_t code[] = {0xf3,                     // 0150 di
                                   0xaf, 0xe0,
                                   0x40, // LCD off: VRAM is free
                                   0x21, 0x00,
                                   0x80, 0x06,
                                   0x08, // tile 0, eight rows of
                                   0x3e, 0x22,
                                   0x22, 0x3e,
                                   0x0a, 0x22,
                                   0x05, 0x20,
                                   0xf7, // 0159 colours 0.1.2.3.
                                   0x21, 0x00,
                                   0x98, 0xaf,
                                   0x22, 0x7c,
                                   0xfe, 0x9c,
                                   0x20, 0xf9, // 0162 the map shows tile 0 everywhere
                                   0x3e, BUTTON_ROM_START,
                                   0xe0, 0x47,
                                   0x3e, 0x91,
                                   0xe0, 0x40, // 016c palette; LCD on
                                   0x06, 0x00,
                                   0x0e, 0xff, // 0174 b = acc = 0, c = buttons so far
                                   0x3e, 0x20,
                                   0xe0, 0x00,
                                   0xf0, 0x00,
                                   0xe6, 0x0f,
                                   0xcb, 0x37,
                                   0x57, // 0178 d = d-pad << 4
                                   0x3e, 0x10,
                                   0xe0, 0x00,
                                   0xf0, 0x00,
                                   0xe6, 0x0f,
                                   0xb2, // a = d | buttons
                                   0xb9, 0x28,
                                   0xe9, // unchanged: 0178
                                   0x4f, 0xa8,
                                   0x07, 0x47,
                                   0xe0, 0x47,
                                   0x18, 0xe1}; // acc = palette = rlc(acc ^ a); 0178
    memset(rom, 0, BUTTON_ROM_BYTES);
    memcpy(rom + 0x100, entry, sizeof entry);
    memcpy(rom + 0x134, "BUTTONS", 7);
    memcpy(rom + 0x150, code, sizeof code);
    uint8_t sum = 0;
    for (int i = 0x134; i < 0x14d; i++) sum = (uint8_t)(sum - rom[i] - 1);
    rom[0x14d] = sum;
}

struct button_rom_state {
    uint8_t acc;
    uint8_t shown;
};

static inline struct button_rom_state button_rom_begin(void) {
    return (struct button_rom_state){0, BUTTON_ROM_START};
}

// One step in which `lines` are down (P1's order: A B select start, then right left up down), then
// released.
static inline void button_rom_after(struct button_rom_state *s, uint8_t lines) {
    if (!lines) return;
    const uint8_t seen[2] = {(uint8_t)~lines, 0xff};
    for (int i = 0; i < 2; i++) {
        uint8_t x = (uint8_t)(s->acc ^ seen[i]);
        s->acc = (uint8_t)(x << 1 | x >> 7);
    }
    s->shown = s->acc;
}

#endif
