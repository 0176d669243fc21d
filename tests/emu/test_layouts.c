// test_layouts.c - page pointers and interleaved memory (the GPU's layout) give the same machine.
//
// This file compiles the machine's headers with interleaved memory; the library beside it has page
// pointers. To this file the library's machine is only room for one, hence `room`.
#define GB_INTERLEAVED 4

#include <stdio.h>
#include <stdlib.h>

#include "emu/gb.h"
#include "emu/gb_reset.h"
#include "emu/gb_run.h"
#include "support/test.h"

enum { MAX_ROM = 1 << 20, ROOM_BYTES = 64 << 10, N_STEPS = 12, LANES = GB_INTERLEAVED };

struct both {
    struct gb_rom rom;
    uint8_t *bytes, *memory, *saved;
    void *room[LANES]; // the library's machines
    struct gb lane[LANES]; // ours
    uint8_t pictures[LANES][2][GB_OBS_BYTES];
};

static struct both both;

static void load(const char *path)
{
    char why[GB_MESSAGE_SIZE];
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    size_t n = fread(both.bytes, 1, MAX_ROM, file);
    fclose(file);
    assert_true(gb_rom_parse(&both.rom, both.bytes, n, why, sizeof why));
}

// The memories stand at the end of a saved state, before its checksum (gb_state.h).
static void compare_memories(const struct gb *m, void *room, const char *path, int lane)
{
    size_t end = gb_state_save(room, both.saved) - 4;
    const uint8_t *cart = both.saved + end - both.rom.ram_bytes;
    const uint8_t *vram = cart - 8192, *wram = vram - 8192, *oam = wram - 160, *hram = oam - 127;
    unsigned differ = 0;
    for (unsigned i = 0; i < both.rom.ram_bytes; i++) differ += cart[i] != *gb_cart_byte(m, i);
    for (unsigned i = 0; i < 8192; i++) differ += vram[i] != *gb_vram(m, i);
    for (unsigned i = 0; i < 8192; i++) differ += wram[i] != *gb_wram(m, i);
    differ += memcmp(oam, m->oam, 160) != 0 || memcmp(hram, m->hram, 127) != 0;
    if (differ) fail_msg("%s, lane %d: %u bytes differ", path, lane, differ);
}

static void both_layouts_run_our_roms_to_the_same_bytes(void **state)
{
    (void)state;
    static const char *const roms[] = {"assets/roms/scroll.gb", "assets/roms/sprites.gb",
                                       "tests/roms/mbc1.gb",    "tests/roms/mbc3.gb",
                                       "tests/roms/mbc5.gb",    "tests/roms/lcd.gb",
                                       "tests/roms/dma.gb",     "tests/roms/sound.gb"};
    both.bytes = malloc(MAX_ROM);
    both.saved = malloc(ROOM_BYTES);
    both.memory = malloc((size_t)GB_MEMORY_BYTES * LANES);
    for (int i = 0; i < LANES; i++) both.room[i] = calloc(1, ROOM_BYTES);
    for (size_t r = 0; r < sizeof roms / sizeof roms[0]; r++) {
        load(roms[r]);
        for (int i = 0; i < LANES; i++) {
            gb_reset(both.room[i], &both.rom);
            both.lane[i].memory = both.memory + i * GB_GRANULE;
            both.lane[i].obs = both.pictures[i];
            gb_machine_reset(&both.lane[i], &both.rom);
        }
        for (int step = 0; step < N_STEPS; step++)
            for (int i = 0; i < LANES; i++) {
                uint8_t seen[GB_OBS_BYTES], expected[GB_OBS_BYTES];
                uint8_t buttons = gb_action_codec(0)->buttons[(step * 3 + i) % 8];
                gb_step(both.room[i], buttons, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, expected);
                gb_machine_step(&both.lane[i], buttons, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, seen);
                assert_memory_equal(seen, expected, GB_OBS_BYTES);
                compare_memories(&both.lane[i], both.room[i], roms[r], i);
            }
    }
    for (int i = 0; i < LANES; i++) free(both.room[i]);
    free(both.memory);
    free(both.saved);
    free(both.bytes);
}

static void a_machine_takes_less_than_60_kB_in_either_layout(void **state)
{
    (void)state;
    assert_true(sizeof(struct gb) + GB_MEMORY_BYTES < 60000);
    assert_true(sizeof(struct gb) < 8192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_layouts_run_our_roms_to_the_same_bytes),
        cmocka_unit_test(a_machine_takes_less_than_60_kB_in_either_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
