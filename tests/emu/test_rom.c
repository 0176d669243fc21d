// test_rom.c - cartridge headers: what is read, and the one line said about what is refused.
#include "gb_fixture.h"

static bool parse(size_t n_bytes)
{
    fixture.why[0] = 0;
    return gb_rom_parse(&fixture.rom, fixture.bytes, n_bytes, fixture.why, sizeof fixture.why);
}

static void refused(size_t n_bytes, const char *part, const char *other_part)
{
    assert_false(parse(n_bytes));
    if (!strstr(fixture.why, part) || !strstr(fixture.why, other_part))
        fail_msg("message \"%s\" lacks \"%s\" or \"%s\"", fixture.why, part, other_part);
    assert_null(strchr(fixture.why, '\n'));
}

static void a_header_is_read_as_it_stands(void **state)
{
    (void)state;
    size_t n = fixture_rom(0x13, 5, 3);
    assert_true(parse(n));
    assert_string_equal(fixture.rom.title, "FIXTURE");
    assert_int_equal(fixture.rom.mapper, GB_MAPPER_MBC3);
    assert_int_equal(fixture.rom.n_banks, 64);
    assert_int_equal(fixture.rom.n_bytes, 1 << 20);
    assert_int_equal(fixture.rom.ram_bytes, 32768);
    assert_int_equal(fixture.rom.has_rtc, 0);
    assert_string_equal(gb_rom_type_name(0x13), "MBC3+RAM+BATTERY");
}

static void an_empty_file_is_refused(void **state)
{
    (void)state;
    refused(0, "empty", "");
}

static void a_file_shorter_than_a_header_is_refused(void **state)
{
    (void)state;
    fixture_rom(0, 0, 0);
    refused(0x14f, "truncated", "335 bytes");
}

static void a_file_shorter_than_its_header_says_is_refused_with_both_sizes(void **state)
{
    (void)state;
    size_t n = fixture_rom(0x01, 3, 0);
    refused(n - 1, "262143", "262144");
    assert_true(parse(n));
}

static void a_file_over_8_MiB_is_refused(void **state)
{
    (void)state;
    refused(FIXTURE_ROM_MAX + 1u, "8 MiB", "8388609");
}

static void a_wrong_header_checksum_is_told_but_accepted(void **state)
{
    (void)state;
    size_t n = fixture_rom(0, 0, 0);
    assert_true(parse(n));
    assert_int_equal(fixture.rom.header_checksum_ok, 1);
    fixture.bytes[0x14d] ^= 0x40;
    assert_true(parse(n));
    assert_int_equal(fixture.rom.header_checksum_ok, 0);
}

static void a_wrong_global_checksum_is_told_but_accepted(void **state)
{
    (void)state;
    size_t n = fixture_rom(0, 0, 0);
    assert_true(parse(n));
    assert_int_equal(fixture.rom.global_checksum_ok, 0);
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) sum += fixture.bytes[i];
    fixture.bytes[0x14e] = (uint8_t)(sum >> 8);
    fixture.bytes[0x14f] = (uint8_t)sum;
    assert_true(parse(n));
    assert_int_equal(fixture.rom.global_checksum_ok, 1);
}

static void an_unsupported_mapper_is_refused_by_name_and_number(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        const char *name;
    } lacking[] = {{0x0b, "MMM01"}, {0x20, "MBC6"},         {0x22, "MBC7"}, {0xfc, "CAMERA"},
                   {0xfe, "HuC3"},  {0x42, "unknown (type 42)"}};
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++) {
        char number[8];
        size_t n = fixture_rom(lacking[i].type, 0, 0);
        snprintf(number, sizeof number, "%02X", lacking[i].type);
        refused(n, lacking[i].name, number);
    }
}

static void a_file_longer_than_its_header_says_has_all_its_banks(void **state)
{
    (void)state;
    fixture_rom(0x01, 2, 0);
    fixture.bytes[0x148] = 0; // the header says 32 KiB of 128
    fixture_checksum();
    struct gb *m = fixture_start((128 << 10) + 100); // what is over a power of two is left out
    assert_int_equal(fixture.rom.n_banks, 8);
    gb_write(m, 0x2000, 7, 0);
    assert_int_equal(gb_read(m, 0x4000, 0), 7);
}

static void sizes_no_cartridge_has_are_refused(void **state)
{
    (void)state;
    size_t n = fixture_rom(0x01, 0, 0);
    fixture.bytes[0x148] = 9;
    fixture_checksum();
    refused(n, "ROM size code 09", "00 to 08");
    n = fixture_rom(0x1b, 0, 4);
    refused(n, "128 KiB of RAM", "32 KiB at most");
    n = fixture_rom(0x1b, 0, 7);
    refused(n, "size code 07", "00 to 05");
    fixture_start(fixture_rom(0x03, 0, 4)); // MBC1 reaches 32 KiB of it
    assert_int_equal(fixture.rom.ram_bytes, 32768);
    fixture_start(fixture_rom(0x01, 0, 7)); // without RAM the code says nothing
    assert_int_equal(fixture.rom.ram_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_read_as_it_stands),
        cmocka_unit_test(an_empty_file_is_refused),
        cmocka_unit_test(a_file_shorter_than_a_header_is_refused),
        cmocka_unit_test(a_file_shorter_than_its_header_says_is_refused_with_both_sizes),
        cmocka_unit_test(a_file_over_8_MiB_is_refused),
        cmocka_unit_test(a_wrong_header_checksum_is_told_but_accepted),
        cmocka_unit_test(a_wrong_global_checksum_is_told_but_accepted),
        cmocka_unit_test(an_unsupported_mapper_is_refused_by_name_and_number),
        cmocka_unit_test(a_file_longer_than_its_header_says_has_all_its_banks),
        cmocka_unit_test(sizes_no_cartridge_has_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
