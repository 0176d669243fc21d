// test_bess.c - BESS files: round trips, files as other emulators lay them out, and broken ones.
#include "emu/gb_bess.h"
#include "emu/gb_import.h"
#include "gb_fixture.h"
#include "support/files.h"

enum { FILE_MAX = 1 << 17 };

static uint8_t file[FILE_MAX], altered[FILE_MAX], lcd_a[2 * 160 * 144], lcd_b[2 * 160 * 144];
static size_t n_file;
static char why[GB_MESSAGE_SIZE];
static struct gb loaded;

static bool load_bess(const uint8_t *bytes, size_t n) {
    why[0] = 0;
    bool fine = gb_bess_load(&loaded, &fixture.rom, bytes, n, why, sizeof why);
    assert_true(fine || (why[0] && !strchr(why, '\n')));
    return fine;
}

static void put32(uint8_t *to, size_t value) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static size_t get32(const uint8_t *from) {
    return (size_t)from[0] | (size_t)from[1] << 8 | (size_t)from[2] << 16 | (size_t)from[3] << 24;
}

// One of our scenes, run for a while.
static struct gb *scene(const char *name, int n_frames) {
    char path[64];
    size_t n;
    snprintf(path, sizeof path, "assets/roms/%s.gb", name);
    uint8_t *bytes = get_file(path, &n);
    memcpy(fixture.bytes, bytes, n);
    free(bytes);
    struct gb *m = fixture_start(n);
    for (int i = 0; i < n_frames; i++) gb_run_frame(m, false);
    return m;
}

// A cartridge of that type with everything about it set; saved to `file`.
static struct gb *cartridge(uint8_t type) {
    struct gb *m =
        fixture_start(fixture_rom(type, type ? 3 : 0, type == 0x06 || type == 0 ? 0 : 3));
    for (size_t i = 0; i < fixture.rom.ram_bytes; i++) m->cart_ram[i] = (uint8_t)(i * 7 + 1);
    if (type == 0x06)
        for (size_t i = 0; i < fixture.rom.ram_bytes; i++) m->cart_ram[i] &= 0x0f;
    gb_run_frame(m, false);
    gb_write(m, 0x0000, 0x0a, m->now);
    gb_write(m, type == 0x06 ? 0x2100 : 0x2000, 6, m->now);
    gb_write(m, 0x4000, 2, m->now);
    if (type == 0x03) gb_write(m, 0x6000, 1, m->now);
    if (type == 0x10) memcpy(m->cart.rtc, (const uint8_t[]){1, 2, 3, 4, 0x81}, 5);
    if (type == 0x10) memcpy(m->cart.rtc_latched, (const uint8_t[]){5, 6, 7, 8, 0x40}, 5);
    n_file = gb_bess_save(m, file, 1234567890);
    assert_int_equal(n_file, gb_bess_size(&fixture.rom));
    return m;
}

static void our_files_are_read_back_exactly(void **state) {
    (void)state;
    static uint8_t a[FILE_MAX], b[FILE_MAX];
    cartridge(0x13);
    if (!gb_import(&loaded, &fixture.rom, file, n_file, why, sizeof why)) fail_msg("%s", why);
    size_t n = gb_state_save(&fixture.m, a);
    assert_int_equal(gb_state_save(&loaded, b), n);
    assert_memory_equal(a, b, n);
    struct gb_import_info info;
    assert_true(gb_import_info(file, n_file, &info, why, sizeof why));
    assert_true(info.is_exact && info.has_bess);
    assert_string_equal(info.title, "FIXTURE");
    assert_int_equal(info.cart_ram_bytes, 32768);
}

static void memories_and_registers_pass_through_the_blocks(void **state) {
    (void)state;
    static const uint8_t types[] = {0x00, 0x03, 0x06, 0x10, 0x13, 0x1b};
    for (size_t i = 0; i < sizeof types; i++) {
        struct gb *m = cartridge(types[i]);
        if (!load_bess(file, n_file)) fail_msg("type %02x: %s", types[i], why);
        assert_memory_equal(loaded.vram, m->vram, sizeof m->vram);
        assert_memory_equal(loaded.wram, m->wram, sizeof m->wram);
        assert_memory_equal(loaded.oam, m->oam, sizeof m->oam);
        assert_memory_equal(loaded.hram, m->hram, 127);
        assert_memory_equal(loaded.cart_ram, m->cart_ram, fixture.rom.ram_bytes);
        for (unsigned addr = 0; addr < 0x8000; addr += 0x4000)
            assert_int_equal(gb_peek(&loaded, (uint16_t)addr), gb_peek(m, (uint16_t)addr));
        for (unsigned addr = 0xa000; addr < 0xc000; addr++)
            assert_int_equal(gb_peek(&loaded, (uint16_t)addr), gb_peek(m, (uint16_t)addr));
        assert_int_equal(loaded.cpu.pc, m->cpu.pc);
        assert_int_equal(loaded.cpu.sp, m->cpu.sp);
        assert_int_equal(loaded.cpu.a << 8 | loaded.cpu.f, m->cpu.a << 8 | m->cpu.f);
        assert_memory_equal(loaded.cart.rtc, m->cart.rtc, 5);
        assert_memory_equal(loaded.cart.rtc_latched, m->cart.rtc_latched, 5);
        for (int reg = 0; reg < 0x4c; reg++) { // TIMA and the LCD's place are not exact
            if (reg == 0x05 || reg == 0x41 || reg == 0x44 || reg == 0x26) continue;
            assert_int_equal(gb_io_read(&loaded, (uint8_t)reg, loaded.now),
                             gb_io_read(m, (uint8_t)reg, m->now));
        }
    }
}

static void the_scenes_go_on_with_the_same_pictures(void **state) {
    (void)state;
    static const char *const names[] = {"static", "scroll", "sprites"};
    for (int s = 0; s < 3; s++) {
        struct gb *m = scene(names[s], 300);
        n_file = gb_bess_save(m, file, 0);
        assert_true(load_bess(file, n_file));
        gb_set_lcd(m, lcd_a);
        gb_set_lcd(&loaded, lcd_b);
        int n_equal = 0;
        for (int i = 0; i < 60; i++) {
            gb_run_frame(m, true);
            gb_run_frame(&loaded, true);
            const uint8_t *a = gb_lcd(m), *b = gb_lcd(&loaded);
            n_equal += a && b && memcmp(a, b, 160 * 144) == 0;
        }
        if (n_equal < 58)
            fail_msg("%s: %d of 60 pictures are equal", names[s],
                     n_equal); // the first has no start
    }
}

// A file as another emulator may lay it out: an unknown native part, unknown blocks, memories of
// other sizes, no INFO, a longer CORE, a newer minor version.
static void a_foreign_file_is_read(void **state) {
    (void)state;
    cartridge(0x13);
    size_t core = 0, first = get32(file + n_file - 8), n = 0;
    for (size_t i = first; i < n_file - 8; i++)
        if (memcmp(file + i, "CORE", 4) == 0) core = i;
    memset(altered, 0x77, 1000);
    n = 1000;
    uint8_t *at = altered + n;
    memcpy(at, "XYZ \3\0\0\0abc", 11);
    memcpy(at + 11, file + core, 8 + 0xd0);
    put32(at + 15, 0xd4);
    at[21] = 9; // minor version
    uint8_t *pairs = at + 11 + 8 + 0x98;
    put32(pairs, 32768), put32(pairs + 4, 2000);         // RAM: too large
    put32(pairs + 8, 100), put32(pairs + 12, 2000);      // VRAM: too small
    put32(pairs + 16, 0), put32(pairs + 20, 0xffffffff); // no cartridge RAM
    put32(pairs + 24, 160), put32(pairs + 28, 2000);
    put32(pairs + 32, 127), put32(pairs + 36, 2000);
    n += 11 + 8 + 0xd4;
    memcpy(altered + n, "MBC \6\0\0\0", 8);
    memcpy(altered + n + 8, (const uint8_t[]){0, 0, 0x0a, 0, 0x20, 4}, 6);
    memcpy(altered + n + 14, "END \0\0\0\0", 8);
    n += 22;
    memset(altered + n, 0x5e, 2000 + 32768);
    n += 2000 + 32768;
    put32(altered + n, 1000);
    memcpy(altered + n + 4, "BESS", 4);
    n += 8;
    memset(altered + 1800, 0x5e, 1000); // VRAM, OAM and so on begin here
    if (!load_bess(altered, n)) fail_msg("%s", why);
    assert_int_equal(gb_peek(&loaded, 0xc000), 0x5e);
    assert_int_equal(loaded.vram[99], 0x5e);
    assert_int_equal(loaded.vram[100], 0);
    assert_int_equal(gb_peek(&loaded, 0xa000), 0);
    assert_int_equal(gb_peek(&loaded, 0x4000), 4);
}

// Position of a block in `file`.
static size_t block_at(const char *id) {
    for (size_t i = get32(file + n_file - 8); i < n_file - 8; i++)
        if (memcmp(file + i, id, 4) == 0) return i;
    fail_msg("no block %s", id);
    return 0;
}

static void refused(size_t at, uint8_t value, const char *says) {
    memcpy(altered, file, n_file);
    altered[at] = value;
    if (load_bess(altered, n_file)) fail_msg("byte %zu as %02x was accepted (%s)", at, value, says);
    if (!strstr(why, says)) fail_msg("\"%s\" is missing in: %s", says, why);
}

static void broken_structures_are_told_in_one_line(void **state) {
    (void)state;
    cartridge(0x10);
    size_t core = block_at("CORE"), mbc = block_at("MBC "), end = block_at("END ");
    refused(core + 8, 2, "version 2.1, this program reads version 1");
    refused(core + 8 + 4, 'C', "Game Boy Color");
    refused(core + 8 + 4, 'S', "Super Game Boy");
    refused(core + 8 + 0x16, 3, "execution state 3");
    refused(core + 8 + 0x18 + 0x50, 0, "boot ROM");
    refused(core + 4, 0xcf, "");
    refused(core, 'X', "no CORE");
    refused(mbc + 4, 8, "MBC");
    refused(mbc + 9, 0x90, "writes to 9000");
    refused(block_at("RTC ") + 4, 0x2f, "RTC");
    refused(end + 4, 1, "");
    refused(end, 'F', "no END");
    refused(core + 8 + 0x98 + 3, 0x70, "outside the file");
    refused(n_file - 6, 0x7f, "no END");
    refused(n_file - 1, 'T', "footer");
}

static void a_state_of_another_rom_is_refused_with_both_named(void **state) {
    (void)state;
    cartridge(0x13);
    scene("scroll", 1);
    assert_false(load_bess(file, n_file));
    if (!strstr(why, "FIXTURE") || !strstr(why, fixture.rom.title)) fail_msg("%s", why);
}

static void a_cut_file_is_refused_at_every_byte(void **state) {
    (void)state;
    cartridge(0x00);
    for (size_t cut = 0; cut < n_file; cut++) {
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, file, cut);
        if (cut >= 8) { // with a footer put back at its end, so that the blocks are looked at
            put32(exact + cut - 8, get32(file + n_file - 8));
            memcpy(exact + cut - 4, "BESS", 4);
        }
        if (load_bess(exact, cut)) fail_msg("cut at %zu of %zu it was loaded", cut, n_file);
        bool whole = cut == gb_state_size(&fixture.rom); // all but the blocks: our exact state
        assert_int_equal(gb_import(&loaded, &fixture.rom, file, cut, why, sizeof why), whole);
        free(exact);
    }
}

static void altered_files_never_break_the_machine(void **state) {
    (void)state;
    static uint8_t saved[FILE_MAX];
    static struct gb again;
    static const uint8_t types[] = {0x00, 0x03, 0x06, 0x10, 0x13, 0x1b};
    int n_loaded = 0, n_refused = 0;
    for (uint32_t seed = 1; seed <= 3000; seed++) {
        random_state = seed * 7919u;
        cartridge(types[seed % sizeof types]);
        uint8_t *exact = malloc(n_file);
        memcpy(exact, file, n_file);
        size_t first = get32(file + n_file - 8);
        for (uint32_t i = 0, n = 1 + random_below(8); i < n; i++)
            exact[first + random_below((uint32_t)(n_file - first))] =
                (uint8_t)(random_below(3) ? random_below(256) : 0xff);
        if (load_bess(exact, n_file)) {
            n_loaded++;
            gb_run_frame(&loaded, true);
            size_t size = gb_state_save(&loaded, saved);
            if (!gb_state_load(&again, &fixture.rom, saved, size, why, sizeof why))
                fail_msg("%s", why);
        } else {
            n_refused++;
        }
        free(exact);
    }
    assert_true(n_loaded > 300 && n_refused > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_files_are_read_back_exactly),
        cmocka_unit_test(memories_and_registers_pass_through_the_blocks),
        cmocka_unit_test(the_scenes_go_on_with_the_same_pictures),
        cmocka_unit_test(a_foreign_file_is_read),
        cmocka_unit_test(broken_structures_are_told_in_one_line),
        cmocka_unit_test(a_state_of_another_rom_is_refused_with_both_named),
        cmocka_unit_test(a_cut_file_is_refused_at_every_byte),
        cmocka_unit_test(altered_files_never_break_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
