// test_roms.c - the test ROMs of tests/roms, on the machine they pin.
#include <stdio.h>
#include <stdlib.h>

#include "emu/gb.h"
#include "support/test.h"

enum { MAX_ROM = 1 << 20, MAX_FRAMES = 60 * 60, RUNNING = 0x80, PASSED = 1, STATUS = 0xc000 };

static void run_rom(const char *name)
{
    char path[64], why[GB_MESSAGE_SIZE];
    snprintf(path, sizeof path, "tests/roms/%s.gb", name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    uint8_t *bytes = malloc(MAX_ROM);
    struct gb *m = calloc(1, sizeof *m);
    assert_non_null(bytes);
    assert_non_null(m);
    size_t n = fread(bytes, 1, MAX_ROM, file);
    fclose(file);
    struct gb_rom rom;
    if (!gb_rom_parse(&rom, bytes, n, why, sizeof why)) fail_msg("%s: %s", path, why);
    gb_reset(m, &rom);
    int frames = 0;
    do gb_run_frame(m, frames++ & 1);
    while (frames < MAX_FRAMES && (gb_peek(m, STATUS) == 0 || gb_peek(m, STATUS) == RUNNING));
    if (gb_peek(m, STATUS) != PASSED)
        fail_msg("%s: status %02x after %d frames; result %d is %02x, expected %02x", name,
                 gb_peek(m, STATUS), frames, gb_peek(m, STATUS + 1), gb_peek(m, STATUS + 2),
                 gb_peek(m, STATUS + 3));
    free(m);
    free(bytes);
}

#define ROM_TEST(test_name, rom)          \
    static void test_name(void **state)   \
    {                                     \
        (void)state;                      \
        run_rom(rom);                     \
    }

ROM_TEST(mode_3_lasts_as_scroll_window_and_sprites_make_it, "lcd")
ROM_TEST(timer_interrupts_and_halt_keep_their_cycles, "timer")
ROM_TEST(oam_dma_takes_its_time_and_its_bus, "dma")
ROM_TEST(sound_registers_and_length_counters_read_right, "sound")
ROM_TEST(mbc1_banks, "mbc1")
ROM_TEST(mbc3_banks, "mbc3")
ROM_TEST(mbc5_banks, "mbc5")

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mode_3_lasts_as_scroll_window_and_sprites_make_it),
        cmocka_unit_test(timer_interrupts_and_halt_keep_their_cycles),
        cmocka_unit_test(oam_dma_takes_its_time_and_its_bus),
        cmocka_unit_test(sound_registers_and_length_counters_read_right),
        cmocka_unit_test(mbc1_banks),
        cmocka_unit_test(mbc3_banks),
        cmocka_unit_test(mbc5_banks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
