// test_mappers.c - bank switching on cartridges whose every bank begins with its own number.
#include "gb_fixture.h"

static uint8_t rd(uint16_t addr)
{
    return gb_read(&fixture.m, addr, 0);
}

static void wr(uint16_t addr, uint8_t value)
{
    gb_write(&fixture.m, addr, value, 0);
}

static int bank_at_4000(void)
{
    return rd(0x4000) | rd(0x4001) << 8;
}

static void without_a_mapper_writes_below_8000_do_nothing(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x00, 0, 0));
    wr(0x2000, 5);
    wr(0x0000, 0x0a);
    assert_int_equal(bank_at_4000(), 1);
    assert_int_equal(rd(0xa000), 0xff);
}

static void mbc1_takes_bank_0_for_1_and_joins_both_registers(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x01, 6, 0)); // 128 banks
    wr(0x2000, 0);
    assert_int_equal(bank_at_4000(), 1);
    wr(0x3fff, 0x1f);
    assert_int_equal(bank_at_4000(), 31);
    wr(0x4000, 2);
    assert_int_equal(bank_at_4000(), 2 * 32 + 31);
    wr(0x2000, 0x20); // five bits: zero, so one
    assert_int_equal(bank_at_4000(), 2 * 32 + 1);
    assert_int_equal(rd(0x0000), 0);
    wr(0x6000, 1);
    assert_int_equal(rd(0x0000), 64);
    assert_int_equal(bank_at_4000(), 65);
}

static void mbc1_masks_banks_the_rom_does_not_have(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x01, 2, 0)); // 8 banks
    wr(0x2000, 0x0d);
    assert_int_equal(bank_at_4000(), 5);
}

static void mbc1_ram_needs_its_key_and_banks_in_mode_1_only(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x03, 0, 3));
    wr(0xa000, 0x11);
    assert_int_equal(rd(0xa000), 0xff);
    wr(0x0000, 0x3a); // the low four bits count
    wr(0xa000, 0x11);
    wr(0x4000, 3);
    assert_int_equal(rd(0xa000), 0x11);
    wr(0x6000, 1);
    wr(0xa000, 0x33);
    wr(0xbfff, 0x34);
    wr(0x4000, 0);
    assert_int_equal(rd(0xa000), 0x11);
    wr(0x4000, 3);
    assert_int_equal(rd(0xa000), 0x33);
    assert_int_equal(rd(0xbfff), 0x34);
    wr(0x0000, 0x00);
    assert_int_equal(rd(0xa000), 0xff);
}

static void small_cartridge_ram_repeats(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x03, 0, 1)); // 2 KiB
    wr(0x0000, 0x0a);
    wr(0xa123, 0x77);
    assert_int_equal(rd(0xa923), 0x77);
    assert_int_equal(rd(0xb923), 0x77);
}

static void mbc2_keeps_nibbles_and_decides_by_address_bit_8(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x06, 3, 0)); // 16 banks
    wr(0x2100, 7);
    assert_int_equal(bank_at_4000(), 7);
    wr(0x2100, 0);
    assert_int_equal(bank_at_4000(), 1);
    wr(0x2000, 0x0a); // bit 8 clear: RAM enable, even here
    wr(0xa001, 0x5c);
    assert_int_equal(rd(0xa001), 0xfc);
    assert_int_equal(rd(0xa201), 0xfc);
    wr(0x3e00, 0x00);
    assert_int_equal(rd(0xa001), 0xff);
}

static void mbc3_has_seven_bit_banks_and_four_ram_banks(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x13, 6, 3));
    wr(0x2000, 0x20);
    assert_int_equal(bank_at_4000(), 0x20);
    wr(0x2000, 0x80);
    assert_int_equal(bank_at_4000(), 1);
    wr(0x0000, 0x0a);
    for (uint8_t bank = 0; bank < 4; bank++) {
        wr(0x4000, bank);
        wr(0xb000, (uint8_t)(0x40 + bank));
    }
    for (uint8_t bank = 0; bank < 4; bank++) {
        wr(0x4000, bank);
        assert_int_equal(rd(0xb000), 0x40 + bank);
    }
    wr(0x4000, 8); // no clock on this cartridge
    assert_int_equal(rd(0xa000), 0xff);
}

// The MBC30 of cartridges over 2 MiB (mbc3-tester).
static void mbc3_has_eight_bit_banks_beyond_2_MiB(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x13, 7, 3));
    for (int bank = 1; bank < 256; bank++) {
        wr(0x2000, (uint8_t)bank);
        assert_int_equal(bank_at_4000(), bank);
    }
    wr(0x2000, 0);
    assert_int_equal(bank_at_4000(), 1);
}

static void mbc3_clock_counts_machine_time_and_reads_latched(void **state)
{
    (void)state;
    struct gb *m = fixture_start(fixture_rom(0x10, 1, 3));
    fixture.bytes[FIXTURE_PROGRAM] = 0x18; // JR -2
    fixture.bytes[FIXTURE_PROGRAM + 1] = 0xfe;
    wr(0x0000, 0x0a);
    const uint8_t almost_midnight[5] = {58, 59, 23, 0xff, 0x01};
    for (uint8_t i = 0; i < 5; i++) {
        wr(0x4000, (uint8_t)(8 + i));
        wr(0xa000, almost_midnight[i]);
    }
    for (int frame = 0; frame < 125; frame++) gb_run_frame(m, false); // 2.09 seconds
    wr(0x4000, 8);
    assert_int_equal(rd(0xa000), 58); // not latched yet
    wr(0x6000, 0);
    wr(0x6000, 1);
    const uint8_t wanted[5] = {0, 0, 0, 0, 0x80}; // day 512 overflows into the carry bit
    for (uint8_t i = 0; i < 5; i++) {
        wr(0x4000, (uint8_t)(8 + i));
        assert_int_equal(rd(0xa000), wanted[i]);
    }
    wr(0x4000, 12);
    wr(0xa000, 0x40); // halt
    for (int frame = 0; frame < 125; frame++) gb_run_frame(m, false);
    wr(0x6000, 0);
    wr(0x6000, 1);
    wr(0x4000, 8);
    assert_int_equal(rd(0xa000), 0);
}

static void mbc5_has_nine_bit_banks_and_bank_0_is_bank_0(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x1b, 8, 3)); // 512 banks
    wr(0x2000, 0x34);
    wr(0x3000, 1);
    assert_int_equal(bank_at_4000(), 0x134);
    wr(0x3000, 0);
    wr(0x2000, 0);
    assert_int_equal(rd(0x4000), fixture.bytes[0]);
    assert_int_equal(rd(0x4147), 0x1b); // bank 0 itself, header and all
    wr(0x0000, 0x0a);
    wr(0x4000, 2);
    wr(0xa000, 0x22);
    wr(0x4000, 0);
    assert_int_equal(rd(0xa000), 0);
    wr(0x4000, 2);
    assert_int_equal(rd(0xa000), 0x22);
    wr(0x0000, 0x1a); // MBC5 compares all eight bits
    assert_int_equal(rd(0xa000), 0xff);
}

static void work_ram_has_an_echo_and_FEA0_is_empty(void **state)
{
    (void)state;
    fixture_start(fixture_rom(0x00, 0, 0));
    wr(0xc123, 1);
    wr(0xddff, 2);
    assert_int_equal(rd(0xe123), 1);
    assert_int_equal(rd(0xfdff), 2);
    wr(0xf456, 3);
    assert_int_equal(rd(0xd456), 3);
    assert_int_equal(rd(0xfea0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_mapper_writes_below_8000_do_nothing),
        cmocka_unit_test(mbc1_takes_bank_0_for_1_and_joins_both_registers),
        cmocka_unit_test(mbc1_masks_banks_the_rom_does_not_have),
        cmocka_unit_test(mbc1_ram_needs_its_key_and_banks_in_mode_1_only),
        cmocka_unit_test(small_cartridge_ram_repeats),
        cmocka_unit_test(mbc2_keeps_nibbles_and_decides_by_address_bit_8),
        cmocka_unit_test(mbc3_has_seven_bit_banks_and_four_ram_banks),
        cmocka_unit_test(mbc3_has_eight_bit_banks_beyond_2_MiB),
        cmocka_unit_test(mbc3_clock_counts_machine_time_and_reads_latched),
        cmocka_unit_test(mbc5_has_nine_bit_banks_and_bank_0_is_bank_0),
        cmocka_unit_test(work_ram_has_an_echo_and_FEA0_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
