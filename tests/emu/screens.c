// screens.c - SHA-256 of every picture of a ROM under random buttons: screens ROM FRAMES SEED.
// The other half of tests/bench/emu_peers.py --screens; by hand.
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>

#include "emu/gb.h"

enum { MAX_ROM = 8 << 20, STEP = 24, RELEASE = 8, PIXELS = GB_LCD_WIDTH * GB_LCD_HEIGHT };

static uint8_t lcd[2 * PIXELS], blank[PIXELS];

int main(int argc, char **argv)
{
    static const uint8_t keys[7] = {GB_BUTTON_A,    GB_BUTTON_B,    GB_BUTTON_START, GB_BUTTON_UP,
                                    GB_BUTTON_DOWN, GB_BUTTON_LEFT, GB_BUTTON_RIGHT};
    if (argc != 4) {
        fprintf(stderr, "usage: screens ROM FRAMES SEED\n");
        return 2;
    }
    uint8_t *bytes = malloc(MAX_ROM), key = 0;
    struct gb *m = calloc(1, sizeof *m);
    FILE *file = fopen(argv[1], "rb");
    if (!bytes || !m || !file) return 1;
    size_t n = fread(bytes, 1, MAX_ROM, file);
    fclose(file);
    struct gb_rom rom;
    char why[GB_MESSAGE_SIZE];
    if (!gb_rom_parse(&rom, bytes, n, why, sizeof why)) {
        fprintf(stderr, "%s: %s\n", argv[1], why);
        return 1;
    }
    gb_reset(m, &rom);
    gb_set_lcd(m, lcd);
    uint32_t seed = (uint32_t)strtoul(argv[3], NULL, 10);
    for (int frame = 0; frame < atoi(argv[2]); frame++) {
        if (frame % STEP == 0) {
            seed = seed * 1664525u + 1013904223u;
            key = keys[(seed >> 16) % 7];
        }
        gb_set_buttons(m, frame % STEP < RELEASE ? key : 0);
        gb_run_frame(m, true);
        char digest[SHA256_DIGEST_STRING_LENGTH];
        puts(SHA256Data(gb_lcd(m) ? gb_lcd(m) : blank, PIXELS, digest));
    }
    free(m);
    free(bytes);
    return 0;
}
