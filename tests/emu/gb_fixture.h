// gb_fixture.h - a cartridge made in memory and a machine that runs it, for the tests of this
// folder.
#ifndef TESTS_EMU_GB_FIXTURE_H
#define TESTS_EMU_GB_FIXTURE_H

#include "emu/gb.h"
#include "emu/gb_bus.h"
#include "support/test.h"

enum { FIXTURE_ROM_MAX = 8 << 20, FIXTURE_PROGRAM = 0x150 };

// Room for one ROM and one machine; tests run one after the other.
struct fixture {
    struct gb_rom rom;
    struct gb m;
    char why[GB_MESSAGE_SIZE];
    uint8_t bytes[FIXTURE_ROM_MAX];
};

static struct fixture fixture;

// Numbers for changes of bytes; a test sets the state first.
static uint32_t random_state;
static inline uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static inline void fixture_checksum(void)
{
    uint8_t sum = 0;
    for (int i = 0x134; i <= 0x14c; i++) sum = (uint8_t)(sum - fixture.bytes[i] - 1);
    fixture.bytes[0x14d] = sum;
}

// An empty cartridge: jump to 0150, where the program stands; every bank begins with its number
// (low byte, high byte) at its offset 0 except bank 0. Returns its size.
static inline size_t fixture_rom(uint8_t type, uint8_t rom_code, uint8_t ram_code)
{
    size_t n = (size_t)32768 << rom_code;
    memset(fixture.bytes, 0, n);
    memcpy(fixture.bytes + 0x100, (const uint8_t[]){0x00, 0xc3, 0x50, 0x01}, 4);
    memcpy(fixture.bytes + 0x134, "FIXTURE", 7);
    fixture.bytes[0x147] = type;
    fixture.bytes[0x148] = rom_code;
    fixture.bytes[0x149] = ram_code;
    for (size_t bank = 1; bank < n >> 14; bank++) {
        fixture.bytes[bank << 14] = (uint8_t)bank;
        fixture.bytes[(bank << 14) + 1] = (uint8_t)(bank >> 8);
    }
    fixture_checksum();
    return n;
}

// Parses what fixture_rom built and starts the machine.
static inline __attribute__((unused)) struct gb *fixture_start(size_t n_bytes)
{
    if (!gb_rom_parse(&fixture.rom, fixture.bytes, n_bytes, fixture.why, sizeof fixture.why))
        fail_msg("%s", fixture.why);
    gb_reset(&fixture.m, &fixture.rom);
    return &fixture.m;
}

// A 32 KiB cartridge without mapper that runs `code` at 0150 and then stays in a loop.
static inline __attribute__((unused)) struct gb *fixture_run(const uint8_t *code, size_t n_code)
{
    size_t n = fixture_rom(0x00, 0, 0);
    memcpy(fixture.bytes + FIXTURE_PROGRAM, code, n_code);
    fixture.bytes[FIXTURE_PROGRAM + n_code] = 0x18; // JR -2
    fixture.bytes[FIXTURE_PROGRAM + n_code + 1] = 0xfe;
    return fixture_start(n);
}

#define FIXTURE_RUN(...) \
    fixture_run((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#endif
