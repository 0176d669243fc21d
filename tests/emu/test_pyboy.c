// test_pyboy.c - PyBoy states of every version, written here field by field as PyBoy writes them.
#include "emu/gb_import.h"
#include "emu/gb_pyboy.h"
#include "gb_fixture.h"

enum { FILE_MAX = 1 << 18 };

static uint8_t file[FILE_MAX], altered[FILE_MAX];
static size_t n_file;
static char why[GB_MESSAGE_SIZE];
static struct gb loaded;

// ---- a writer in the order of PyBoy's own functions

static void w(uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) file[n_file++] = (uint8_t)(i < 8 ? value >> (8 * i) : 0);
}

static void many(size_t n, uint8_t value) {
    memset(file + n_file, value, n);
    n_file += n;
}

// A memory whose byte i is known: base + i, folded.
static void ramp(size_t n, uint8_t base) {
    for (size_t i = 0; i < n; i++) file[n_file++] = (uint8_t)(base + i + (i >> 8));
}

static uint8_t ramp_at(size_t i, uint8_t base) { return (uint8_t)(base + i + (i >> 8)); }

struct maker {
    int version, n_ram_banks;
    bool nr50; // 2.7.0 writes it and says 15
    bool cgb, boot_rom, halted, lcd_off;
};

static void write_cpu(const struct maker *k) {
    w(0x12, 1), w(0xb0, 1), w(0x34, 1), w(0x56, 1), w(0x78, 1), w(0x9a, 1); // A F B C D E
    w(0xc123, 2), w(0xdff0, 2), w(0x0150, 2);                               // HL SP PC
    w(0, 1);                                                                // IME
    if (k->version >= 19) w(0, 1);
    w(k->halted, 1), w(0, 1), w(0x0d, 1), w(0, 1), w(0x04, 1); // halted stopped IE queued IF
    if (k->version >= 12) w(1000000, 8);
    if (k->version >= 19) many(4, 0), w(0, 8);
}

static void write_lcd(const struct maker *k) {
    ramp(8192, 1);
    ramp(160, 2);
    w(k->lcd_off ? 0x11 : 0x91, 1), w(0xe4, 1), w(0xd0, 1), w(0xe0, 1); // LCDC BGP OBP0 OBP1
    w(0x82, 1), w(0, 1), w(77, 1);                                      // STAT (mode 2), LY, LYC
    w(5, 1), w(6, 1), w(70, 1), w(80, 1);                               // SCY SCX WY WX
    if (k->version >= 16) w(0, 1);
    if (k->version >= 11) many(720, 0x11);
    w(k->cgb, 1);
    if (k->version >= 17) w(0, 1);
    w(0, 1);
    if (k->version >= 13) w(1, 1), w(0, 1), w(0, 1);
    if (k->version >= 12) w(1000000, 8);
    w(4, 8), w(80, 8), w(3, 1); // clock, target, next mode
    if (k->version >= 29) w(0, 1);
}

static void write_tone(const struct maker *k, int duty, int period) {
    w((uint64_t)duty, 1), w(10, 1), w(15, 1), w(1, 1), w(3, 1), w((uint64_t)period, 2), w(1, 1),
        w(0, 1);
    many(48, 0);
    if (k->version >= 29) many(3, 0);
}

static void write_sound(const struct maker *k) {
    if (k->version < 14) return;
    w(0, 8), w(800, 8), w(0, 8);
    many(1602, 0x33);
    if (k->version >= 29) w(0, 1);
    many(1 + 8 + 8 + 8 + 8 + 8 + 8 + 8, 0);
    w(1, 1), w(0, 1);
    many(8, 1);
    if (k->version >= 16 || k->nr50) w(0x53, 1);
    write_tone(k, 2, 0x456);
    w(4, 1), w(1, 1), w(5, 1), w(0, 8);
    if (k->version >= 19) w(0, 8), w(0, 1);
    if (k->version >= 29) w(0, 8), w(0, 8);
    w(0, 1), w(0, 8);
    write_tone(k, 1, 0x321);
    ramp(16, 0x40);
    w(1, 1), w(20, 1), w(2, 1), w(0x765, 2), w(0, 1), w(0, 1);
    many(32, 0);
    if (k->version >= 19) w(0, 1);
    w(0, 8);
    if (k->version >= 19) w(0, 1);
    if (k->version >= 29) w(0, 1), w(0, 8);
    w(7, 1), w(12, 1), w(0, 1), w(2, 1), w(3, 1), w(1, 1), w(4, 1), w(1, 1), w(0, 1);
    many(56, 0);
    if (k->version >= 29) many(25, 0);
}

static void write_memory(const struct maker *k) {
    if (k->version < 11) many(720, 0x11);
    many((k->version == 9 ? 4 : 5) * 160 * 144, 0x99);
    if (k->version >= 18) w(0, 1);
    ramp(8192, 3);
    many(96, 0);
    many(76, 0);
    file[n_file - 76] = 0xdf; // P1: buttons selected
    file[n_file - 75] = 0x5a; // SB
    ramp(127, 4);
    if (k->version <= 15)
        many(52, 0);
    else
        w(0, 1);
}

static void write_cartridge(const struct maker *k) {
    w(5, 1), w(2, 1), w(1, 1), w(0, 1); // ROM bank, RAM bank, RAM on, mode
    for (int bank = 0; bank < k->n_ram_banks; bank++) ramp(8192, (uint8_t)(0x50 + bank));
    if (fixture.rom.has_rtc) {
        w(0, k->version <= 12 ? 4 : 8), w(0, 1), w(1, 1);
        if (k->version >= 21)
            w(11, 1), w(22, 1), w(3, 1), w(44, 1), w(1, 1), w(0, 1), w(1, 1), w(0, 16);
    }
    if (fixture.rom.mapper == GB_MAPPER_MBC1) w(0x0b, 1), w(1, 1);
    if (fixture.rom.mapper == GB_MAPPER_MBC5 && k->version >= 22) w(0, 1);
}

static void make(const struct maker *k) {
    n_file = 0;
    w((uint64_t)k->version, 1), w(k->boot_rom, 1);
    if (k->version >= 16) w(0, 1);
    w(0, 1), w(0, 1), w(k->cgb, 1);
    write_cpu(k);
    write_lcd(k);
    write_sound(k);
    write_memory(k);
    w(0xab, 1), w(0x9c, 1), w(0x64, 2), w(0x08, 2), w(0x9b, 1), w(0x05, 1); // timer; TAC: 16 cycles
    if (k->version >= 20) w(0, 1);
    if (k->version >= 12) w(1000000, 8);
    if (k->version >= 13) w(0, 8);
    write_cartridge(k);
    w(0x0f, 1), w(0x0e, 1); // A is down
    if (k->version >= 15) w(0x5a, 1), w(0x7e, 1), w(0, 1), w(0, 1), many(32, 0);
    if (k->version >= 23) many(11 + 0x2080 + 0x800, 0);
}

static bool load(const uint8_t *bytes, size_t n) {
    why[0] = 0;
    bool fine = gb_import(&loaded, &fixture.rom, bytes, n, why, sizeof why);
    assert_true(fine || (why[0] && !strchr(why, '\n')));
    return fine;
}

static void start(uint8_t type, uint8_t rom_code, uint8_t ram_code) {
    fixture_start(fixture_rom(type, rom_code, ram_code));
}

static const int versions[] = {9, 10, 11, 12, 14, 15, 17, 21, 29};
enum { N_VERSIONS = sizeof versions / sizeof *versions };

// Lengths of files that the releases themselves wrote, for a cartridge without RAM (2.8.1 has 804
// samples a frame, four more, so 153,524); the others: by
// 2.7.0, and with 32 KiB as in the files that come with gbxcule.
static void lengths_are_those_of_real_files(void **state) {
    (void)state;
    static const size_t lengths[N_VERSIONS] = {118034, 141074, 141074, 141098, 143064,
                                               143100, 143053, 143079, 153516};
    start(0x00, 0, 0);
    for (int i = 0; i < N_VERSIONS; i++) {
        make(&(struct maker){.version = versions[i], .n_ram_banks = 1});
        assert_int_equal(n_file, lengths[i]);
        if (!load(file, n_file)) fail_msg("version %d: %s", versions[i], why);
    }
    make(&(struct maker){.version = 15, .n_ram_banks = 1, .nr50 = true});
    assert_int_equal(n_file, 143101);
    assert_true(load(file, n_file));
    start(0x13, 3, 3);
    make(&(struct maker){.version = 15, .n_ram_banks = 4});
    assert_int_equal(n_file, 167676);
    assert_true(load(file, n_file));
    make(&(struct maker){.version = 21, .n_ram_banks = 4});
    assert_int_equal(n_file, 167655);
    assert_true(load(file, n_file));
}

static void assert_memory(void) {
    for (size_t i = 0; i < 8192; i++) {
        assert_int_equal(gb_peek(&loaded, (uint16_t)(0x8000 + i)), ramp_at(i, 1));
        assert_int_equal(gb_peek(&loaded, (uint16_t)(0xc000 + i)), ramp_at(i, 3));
        assert_int_equal(gb_peek(&loaded, (uint16_t)(0xa000 + i)), ramp_at(i, 0x52)); // bank 2
    }
    for (size_t i = 0; i < 160; i++)
        assert_int_equal(gb_peek(&loaded, (uint16_t)(0xfe00 + i)), ramp_at(i, 2));
    for (size_t i = 0; i < 127; i++)
        assert_int_equal(gb_peek(&loaded, (uint16_t)(0xff80 + i)), ramp_at(i, 4));
    assert_int_equal(gb_peek(&loaded, 0x4000), 5); // the fixture's banks begin with their number
}

static uint8_t io(uint8_t reg) { return gb_io_read(&loaded, reg, loaded.now); }

static void assert_registers(int version) {
    const struct gb_cpu *cpu = &loaded.cpu;
    assert_int_equal(cpu->a << 8 | cpu->f, 0x12b0);
    assert_int_equal(cpu->bc, 0x3456);
    assert_int_equal(cpu->de, 0x789a);
    assert_int_equal(cpu->hl, 0xc123);
    assert_int_equal(cpu->sp, 0xdff0);
    assert_int_equal(cpu->pc, 0x0150);
    assert_int_equal(loaded.irq_enable, 0x0d);
    assert_int_equal(io(0x0f), 0xe4);
    assert_int_equal(loaded.buttons, GB_BUTTON_A);
    assert_int_equal(io(0x00), 0xde);
    assert_int_equal(io(0x01), 0x5a);
    assert_int_equal(io(0x04), 0xab);
    assert_int_equal(io(0x05), 0x9c);
    assert_int_equal(io(0x06), 0x9b);
    assert_int_equal(io(0x07), 0xfd);
    assert_int_equal(gb_timer_divider(&loaded, 0), 0xab68); // low bits: TIMA's counter
    static const uint8_t lcd[12] = {0x91, 0x82, 5, 6, 0, 77, 0, 0xe4, 0xd0, 0xe0, 70, 80};
    for (uint8_t i = 0; i < 12; i++)
        if (i != 6) assert_int_equal(io((uint8_t)(0x40 + i)), lcd[i]);
    if (version < 14) return;
    static const uint8_t sound[] = {0xcd, 0xbf, 0xfb, 0xff, 0xff};
    for (uint8_t i = 0; i < 5; i++) assert_int_equal(io((uint8_t)(0x10 + i)), sound[i]);
    assert_int_equal(io(0x16), 0x7f);
    assert_int_equal(io(0x1a), 0xff);
    assert_int_equal(io(0x1c), 0xdf);
    assert_int_equal(io(0x21), 0xc2);
    assert_int_equal(io(0x22), 0x3c);
    assert_int_equal(io(0x24), version >= 16 ? 0x53 : 0x77);
    assert_int_equal(io(0x25), 0xff);
    assert_int_equal(io(0x26), 0xf0);
    assert_int_equal(io(0x35), 0x45);
}

static void every_version_gives_the_same_machine(void **state) {
    (void)state;
    start(0x13, 3, 3);
    for (int i = 0; i < N_VERSIONS; i++) {
        make(&(struct maker){.version = versions[i], .n_ram_banks = 4});
        if (!load(file, n_file)) fail_msg("version %d: %s", versions[i], why);
        assert_memory();
        assert_registers(versions[i]);
        assert_int_equal(loaded.now, 0);
    }
}

static void a_halted_machine_goes_on_behind_its_halt(void **state) {
    (void)state;
    start(0x13, 3, 3);
    make(&(struct maker){.version = 15, .n_ram_banks = 4, .halted = true});
    assert_true(load(file, n_file));
    assert_int_equal(loaded.cpu.pc, 0x0151);
    assert_int_equal(loaded.cpu.halt, GB_HALTED);
}

static void every_mapper_finds_its_banks(void **state) {
    (void)state;
    static const struct {
        uint8_t type;
        int bank;
    } carts[] = {{0x03, 0x2b & 15}, {0x06, 5}, {0x10, 5}, {0x1b, 5}, {0x00, 1}};
    for (size_t c = 0; c < sizeof carts / sizeof *carts; c++)
        for (int i = 0; i < N_VERSIONS; i++) {
            start(carts[c].type, carts[c].type ? 3 : 0, 0);
            make(&(struct maker){.version = versions[i], .n_ram_banks = 1});
            if (!load(file, n_file))
                fail_msg("type %02x version %d: %s", carts[c].type, versions[i], why);
            if (carts[c].type) assert_int_equal(gb_peek(&loaded, 0x4000), carts[c].bank);
            if (fixture.rom.has_rtc && versions[i] >= 21) {
                static const uint8_t clock[5] = {11, 22, 3, 44, 0x81};
                assert_memory_equal(loaded.cart.rtc, clock, 5);
            }
        }
}

static void an_imported_machine_saves_exactly(void **state) {
    (void)state;
    static uint8_t saved[1 << 17];
    static struct gb again;
    start(0x13, 3, 3);
    for (int i = 0; i < N_VERSIONS; i++)
        for (int off = 0; off < 2; off++) {
            make(&(struct maker){.version = versions[i], .n_ram_banks = 4, .lcd_off = off});
            assert_true(load(file, n_file));
            size_t n = gb_state_save(&loaded, saved);
            if (!gb_state_load(&again, &fixture.rom, saved, n, why, sizeof why))
                fail_msg("%s", why);
        }
}

static void other_versions_are_refused_with_the_known_ones_named(void **state) {
    (void)state;
    start(0x13, 3, 3);
    make(&(struct maker){.version = 15, .n_ram_banks = 4});
    for (int v = 1; v < 64; v++) {
        bool known = false;
        for (int i = 0; i < N_VERSIONS; i++) known |= versions[i] == v;
        if (known) continue;
        char says[32];
        snprintf(says, sizeof says, "version %d,", v);
        file[0] = (uint8_t)v;
        assert_false(load(file, n_file));
        if (!strstr(why, says) || !strstr(why, "9, 10, 11, 12, 14, 15, 17, 21, 29"))
            fail_msg("%s", why);
    }
}

static void another_cartridge_a_colour_machine_and_the_boot_rom_are_refused(void **state) {
    (void)state;
    start(0x13, 3, 3);
    make(&(struct maker){.version = 15, .n_ram_banks = 4, .cgb = true});
    assert_false(load(file, n_file));
    assert_non_null(strstr(why, "Color"));
    make(&(struct maker){.version = 15, .n_ram_banks = 4, .boot_rom = true});
    assert_false(load(file, n_file));
    assert_non_null(strstr(why, "boot ROM"));
    make(&(struct maker){.version = 15, .n_ram_banks = 1});
    assert_false(load(file, n_file));
    if (!strstr(why, "another ROM") || !strstr(why, "32768")) fail_msg("%s", why);
}

static void a_cut_file_is_refused_at_every_byte(void **state) {
    (void)state;
    start(0x13, 3, 3);
    for (int i = 0; i < N_VERSIONS; i++) {
        make(&(struct maker){.version = versions[i], .n_ram_banks = 4});
        size_t step = versions[i] == 15 ? 1 : 211;
        for (size_t cut = 0; cut < n_file; cut += step) {
            uint8_t *exact = malloc(cut + 1); // so that a sanitizer sees a read behind the end
            memcpy(exact, file, cut);
            if (load(exact, cut)) fail_msg("version %d cut at %zu was loaded", versions[i], cut);
            struct gb_import_info info;
            gb_import_info(exact, cut, &info, why, sizeof why);
            free(exact);
            if (step == 1 && cut > 3000 && cut + 3000 < n_file) cut += 16;
        }
    }
}

// Anything may stand in the bytes: refused, or a machine that runs and saves.
static void altered_files_never_break_the_machine(void **state) {
    (void)state;
    static uint8_t saved[1 << 17];
    static struct gb again;
    int n_loaded = 0;
    for (uint32_t seed = 1; seed <= 1500; seed++) {
        static const uint8_t types[] = {0x13, 0x03, 0x1b, 0x10};
        random_state = seed * 7919u;
        start(types[seed % 4], 3, 3);
        make(&(struct maker){.version = versions[seed % N_VERSIONS], .n_ram_banks = 4});
        memcpy(altered, file, n_file);
        int n = 1 + (int)random_below(40);
        for (int i = 0; i < n; i++) {
            size_t at = random_below(2) ? random_below(300) : random_below((uint32_t)n_file);
            if (random_below(3) == 0) at = n_file - 1 - random_below(200);
            if (random_below(4) == 0) at = 8200 + random_below(3000);
            altered[at] = (uint8_t)random_below(256);
        }
        altered[0] = file[0];
        altered[1] = altered[4] = altered[5] = 0;
        if (!load(altered, n_file)) continue;
        n_loaded++;
        gb_run_frame(&loaded, true);
        gb_run_frame(&loaded, false);
        size_t size = gb_state_save(&loaded, saved);
        if (!gb_state_load(&again, &fixture.rom, saved, size, why, sizeof why)) fail_msg("%s", why);
    }
    assert_true(n_loaded > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_those_of_real_files),
        cmocka_unit_test(every_version_gives_the_same_machine),
        cmocka_unit_test(a_halted_machine_goes_on_behind_its_halt),
        cmocka_unit_test(every_mapper_finds_its_banks),
        cmocka_unit_test(an_imported_machine_saves_exactly),
        cmocka_unit_test(other_versions_are_refused_with_the_known_ones_named),
        cmocka_unit_test(another_cartridge_a_colour_machine_and_the_boot_rom_are_refused),
        cmocka_unit_test(a_cut_file_is_refused_at_every_byte),
        cmocka_unit_test(altered_files_never_break_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
