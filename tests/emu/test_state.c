// test_state.c - saved machines: exact round trips, and every cut, flip and forgery refused.
#include "gb_fixture.h"

enum { STATE_MAX = 64 << 10 };

static uint8_t saved[STATE_MAX], again[STATE_MAX], altered[STATE_MAX];
static struct gb other;

static bool load(struct gb *m, const uint8_t *bytes, size_t n)
{
    fixture.why[0] = 0;
    return gb_state_load(m, &fixture.rom, bytes, n, fixture.why, sizeof fixture.why);
}

// A program that keeps everything busy: timer, STAT, joypad and serial interrupts with handlers
// that write VRAM, scroll registers, cartridge RAM and sound, start DMA, and now and then switch
// the LCD.
static struct gb *busy_machine(void)
{
    static const uint8_t program[] = {
        0x31, 0xf0, 0xdf,                               // LD SP,DFF0
        0x3e, 0x0a, 0xea, 0x00, 0x00,                   // cartridge RAM on
        0x3e, 0x48, 0xe0, 0x41, 0x3e, 0x28, 0xe0, 0x45, // STAT: LYC and HBlank; LYC = 40
        0x3e, 0xf1, 0xe0, 0x06, 0x3e, 0x05, 0xe0, 0x07, // TMA, TAC
        0x3e, 0xf3, 0xe0, 0x40,                         // LCDC: everything on
        0x3e, 0x00, 0xe0, 0x00, 0x3e, 0x1f, 0xe0, 0xff, // P1 selected; IE
        0x21, 0x00, 0x80, 0x11, 0x00, 0xa0,             // HL = VRAM, DE = cartridge RAM
        0xfb,                                           // EI
        // loop:
        0xf0, 0x04, 0x22, 0x12, 0x13,                   // (HL+) = (DE+) = DIV
        0xe0, 0x43, 0xe0, 0x4b,                         // SCX = WX = it
        0xe6, 0x3f, 0x20, 0x0c,                         // one time in 64:
        0x3e, 0x80, 0xe0, 0x46,                         //   DMA from 8000
        0x3e, 0x81, 0xe0, 0x02,                         //   serial transfer
        0x7a, 0xea, 0x00, 0x40,                         //   cartridge RAM bank = D
        0x76,                                           // HALT
        0x7c, 0xe6, 0x1f, 0xf6, 0x80, 0x67,             // keep HL in VRAM
        0x7a, 0xe6, 0x1f, 0xf6, 0xa0, 0x57,             // and DE in cartridge RAM
        0x18, 0xd8,                                     // to loop
    };
    size_t n = fixture_rom(0x13, 2, 3);
    for (int vector = 0x40; vector <= 0x60; vector += 8) // PUSH AF; INC B; LD (C0xx),A; ...
        memcpy(fixture.bytes + vector,
               (const uint8_t[]){0xf5, 0x04, 0x78, 0xea, (uint8_t)vector, 0xc0, 0xf1, 0xd9}, 8);
    memcpy(fixture.bytes + FIXTURE_PROGRAM, program, sizeof program);
    return fixture_start(n);
}

static void run(struct gb *m, int n_steps, uint32_t seed)
{
    uint8_t obs[GB_OBS_BYTES];
    random_state = seed;
    for (int i = 0; i < n_steps; i++)
        gb_step(m, (uint8_t)(1 << random_below(8)), 3, 1 + (int)random_below(2), obs);
}

static void load_run_save_equals_run_save_to_the_byte(void **state)
{
    (void)state;
    struct gb *m = busy_machine();
    size_t n = gb_state_size(&fixture.rom);
    assert_true(n <= STATE_MAX);
    for (int round = 0; round < 40; round++) {
        run(m, 1 + round % 3, (uint32_t)round);
        assert_int_equal(gb_state_save(m, saved), n);
        assert_true(load(&other, saved, n));
        gb_state_save(&other, again);
        assert_memory_equal(saved, again, n);
        run(m, 4, 77);
        run(&other, 4, 77);
        gb_state_save(m, saved);
        gb_state_save(&other, again);
        assert_memory_equal(saved, again, n);
    }
    assert_true(m->cpu.halt != GB_LOCKED && m->cart_ram[100] != 0);
}

static void drawing_or_not_does_not_change_the_state(void **state)
{
    (void)state;
    struct gb *m = busy_machine();
    gb_copy(&other, m);
    for (int i = 0; i < 50; i++) {
        gb_run_frame(m, true);
        gb_run_frame(&other, false);
    }
    gb_state_save(m, saved);
    gb_state_save(&other, again);
    assert_memory_equal(saved, again, gb_state_size(&fixture.rom));
}

// A frame that STOP cuts off is never ended, so nothing else brings both up to the same line.
static void drawing_or_not_does_not_change_what_stop_leaves(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0xf3, 0x06, 0x00, 0x05, 0x20, 0xfd, // some ten lines later
                               0x3e, 0x1b, 0xe0, 0x47, // LDH (47): BGP, in the picture's middle
                               0x10, 0x00); // STOP
    gb_copy(&other, m);
    gb_run_frame(m, true);
    gb_run_frame(&other, false);
    assert_int_equal(m->cpu.halt, GB_ASLEEP);
    gb_state_save(m, saved);
    gb_state_save(&other, again);
    assert_memory_equal(saved, again, gb_state_size(&fixture.rom));
}

static void a_loaded_machine_observes_what_the_saved_one_does(void **state)
{
    (void)state;
    uint8_t obs[GB_OBS_BYTES], obs_loaded[GB_OBS_BYTES];
    struct gb *m = busy_machine();
    run(m, 7, 1);
    size_t n = gb_state_save(m, saved);
    assert_true(load(&other, saved, n));
    for (int i = 0; i < 5; i++) {
        gb_step(m, GB_BUTTON_A, 2, 1, obs);
        gb_step(&other, GB_BUTTON_A, 2, 1, obs_loaded);
        assert_memory_equal(obs, obs_loaded, sizeof obs);
    }
}

static void a_copied_machine_runs_the_same_and_on_its_own_memory(void **state)
{
    (void)state;
    struct gb *m = busy_machine();
    run(m, 5, 3);
    gb_copy(&other, m);
    run(m, 5, 4);
    gb_state_save(m, saved);
    run(&other, 5, 4);
    gb_state_save(&other, again);
    assert_memory_equal(saved, again, gb_state_size(&fixture.rom));
}

static void a_machine_with_32_KiB_of_cartridge_ram_fits_in_60_kB(void **state)
{
    (void)state;
    assert_true(sizeof(struct gb) < 60000);
}

static void a_state_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    struct gb *m = busy_machine();
    run(m, 3, 1);
    size_t n = gb_state_save(m, saved);
    for (size_t cut = 0; cut < n; cut++) {
        if (load(&other, saved, cut)) fail_msg("a state cut at byte %zu of %zu was loaded", cut, n);
        assert_true(fixture.why[0] != 0 && !strchr(fixture.why, '\n'));
    }
    saved[n] = 0;
    assert_false(load(&other, saved, n + 1));
}

static void a_state_with_any_flipped_bit_is_refused_and_the_machine_untouched(void **state)
{
    (void)state;
    struct gb *m = FIXTURE_RUN(0xf3); // no cartridge RAM: a small state, so every byte is quick
    gb_run_frame(m, false);
    size_t n = gb_state_save(m, saved);
    gb_copy(&other, m);
    for (size_t i = 0; i < n; i++) {
        uint8_t flip = (uint8_t)(1 << i % 8);
        saved[i] ^= flip;
        if (load(&other, saved, n)) fail_msg("bit %zu of byte %zu was not noticed", i % 8, i);
        saved[i] ^= flip;
    }
    for (size_t bit = 0; bit < 40 * 8; bit++) {
        saved[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(load(&other, saved, n));
        saved[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    gb_state_save(&other, again);
    assert_memory_equal(saved, again, n);
    assert_true(load(&other, saved, n));
}

static uint32_t crc32_plain(const uint8_t *bytes, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void forge(uint8_t *bytes, size_t n)
{
    uint32_t crc = crc32_plain(bytes, n - 4);
    for (int i = 0; i < 4; i++) bytes[n - 4 + (size_t)i] = (uint8_t)(crc >> (8 * i));
}

static void a_state_of_another_version_or_rom_is_refused_with_both_named(void **state)
{
    (void)state;
    struct gb *m = busy_machine();
    size_t n = gb_state_save(m, saved);
    memcpy(altered, saved, n);
    altered[4] = 9;
    forge(altered, n);
    assert_false(load(&other, altered, n));
    assert_non_null(strstr(fixture.why, "version 9"));
    assert_non_null(strstr(fixture.why, "version 2"));
    FIXTURE_RUN(0x00);
    assert_false(load(&other, saved, n));
    assert_non_null(strstr(fixture.why, "another ROM"));
}

static void forged_states_are_refused_or_run_without_harm(void **state)
{
    (void)state;
    struct gb *m = busy_machine();
    run(m, 3, 1);
    size_t n = gb_state_save(m, saved);
    int n_refused = 0;
    for (int i = 0; i < 3000; i++) {
        random_state = (uint32_t)i * 7919u;
        memcpy(altered, saved, n);
        int n_changes = 1 + (int)random_below(3);
        for (int k = 0; k < n_changes; k++)
            altered[26 + random_below(i % 2 ? 160 : (uint32_t)n - 30)] = (uint8_t)random_below(256);
        forge(altered, n);
        if (!load(&other, altered, n)) n_refused++;
        else run(&other, 1, 5);
    }
    assert_true(n_refused > 200 && n_refused < 2800);
}

// ROMs of random bytes as programs: whatever happens, nothing breaks and all of it can be saved.
static void random_programs_survive_and_save_exactly(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        static const uint8_t types[] = {0x00, 0x03, 0x06, 0x10, 0x1b};
        uint8_t type = types[seed % sizeof types];
        size_t n_rom = fixture_rom(type, type == 0 ? 0 : 3, (uint8_t)(seed % 4));
        random_state = seed;
        for (size_t i = 0; i < n_rom; i++) {
            uint8_t byte = (uint8_t)random_below(256);
            static const uint8_t missing[] = {0xd3, 0xdb, 0xdd, 0xe3, 0xe4, 0xeb,
                                              0xec, 0xed, 0xf4, 0xfc, 0xfd, 0x10};
            if (memchr(missing, byte, sizeof missing) && random_below(64)) byte = 0xe0; // LDH (n),A
            if (i < 0x100 || i >= 0x150) fixture.bytes[i] = byte;
        }
        struct gb *m = fixture_start(n_rom);
        size_t n = gb_state_size(&fixture.rom);
        for (int round = 0; round < 8; round++) {
            run(m, 2, seed + (uint32_t)round);
            assert_true(m->now >= 0 && m->now < GB_FRAME_CYCLES);
            gb_state_save(m, saved);
            if (!load(&other, saved, n)) fail_msg("seed %u: %s", seed, fixture.why);
            run(m, 2, seed);
            run(&other, 2, seed);
            gb_state_save(m, saved);
            gb_state_save(&other, again);
            if (memcmp(saved, again, n)) fail_msg("seed %u round %d: states differ", seed, round);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_run_save_equals_run_save_to_the_byte),
        cmocka_unit_test(drawing_or_not_does_not_change_the_state),
        cmocka_unit_test(drawing_or_not_does_not_change_what_stop_leaves),
        cmocka_unit_test(a_loaded_machine_observes_what_the_saved_one_does),
        cmocka_unit_test(a_copied_machine_runs_the_same_and_on_its_own_memory),
        cmocka_unit_test(a_machine_with_32_KiB_of_cartridge_ram_fits_in_60_kB),
        cmocka_unit_test(a_state_cut_at_any_byte_is_refused),
        cmocka_unit_test(a_state_with_any_flipped_bit_is_refused_and_the_machine_untouched),
        cmocka_unit_test(a_state_of_another_version_or_rom_is_refused_with_both_named),
        cmocka_unit_test(forged_states_are_refused_or_run_without_harm),
        cmocka_unit_test(random_programs_survive_and_save_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
