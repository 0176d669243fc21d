// gb_rom.c - parses and checks cartridge headers.
#include "gb_rom.h"

#include <stdio.h>

enum { HEADER_END = 0x150, MAX_BYTES = 8 << 20, UNSUPPORTED = 255 };
enum { MBC1_RAM_MAX = 32768 }; // its two bank bits reach no further, whatever the header says

struct cart_type {
    uint8_t type, mapper; // mapper: enum gb_mapper or UNSUPPORTED
    uint8_t has_ram, has_rtc;
    const char *name;
};

static const struct cart_type cart_types[] = {
    {0x00, GB_MAPPER_NONE, 0, 0, "ROM ONLY"},
    {0x01, GB_MAPPER_MBC1, 0, 0, "MBC1"},
    {0x02, GB_MAPPER_MBC1, 1, 0, "MBC1+RAM"},
    {0x03, GB_MAPPER_MBC1, 1, 0, "MBC1+RAM+BATTERY"},
    {0x05, GB_MAPPER_MBC2, 1, 0, "MBC2"},
    {0x06, GB_MAPPER_MBC2, 1, 0, "MBC2+BATTERY"},
    {0x08, GB_MAPPER_NONE, 1, 0, "ROM+RAM"},
    {0x09, GB_MAPPER_NONE, 1, 0, "ROM+RAM+BATTERY"},
    {0x0b, UNSUPPORTED, 0, 0, "MMM01"},
    {0x0c, UNSUPPORTED, 0, 0, "MMM01+RAM"},
    {0x0d, UNSUPPORTED, 0, 0, "MMM01+RAM+BATTERY"},
    {0x0f, GB_MAPPER_MBC3, 0, 1, "MBC3+TIMER+BATTERY"},
    {0x10, GB_MAPPER_MBC3, 1, 1, "MBC3+TIMER+RAM+BATTERY"},
    {0x11, GB_MAPPER_MBC3, 0, 0, "MBC3"},
    {0x12, GB_MAPPER_MBC3, 1, 0, "MBC3+RAM"},
    {0x13, GB_MAPPER_MBC3, 1, 0, "MBC3+RAM+BATTERY"},
    {0x19, GB_MAPPER_MBC5, 0, 0, "MBC5"},
    {0x1a, GB_MAPPER_MBC5, 1, 0, "MBC5+RAM"},
    {0x1b, GB_MAPPER_MBC5, 1, 0, "MBC5+RAM+BATTERY"},
    {0x1c, GB_MAPPER_MBC5, 0, 0, "MBC5+RUMBLE"},
    {0x1d, GB_MAPPER_MBC5, 1, 0, "MBC5+RUMBLE+RAM"},
    {0x1e, GB_MAPPER_MBC5, 1, 0, "MBC5+RUMBLE+RAM+BATTERY"},
    {0x20, UNSUPPORTED, 0, 0, "MBC6"},
    {0x22, UNSUPPORTED, 0, 0, "MBC7+SENSOR+RUMBLE+RAM+BATTERY"},
    {0xfc, UNSUPPORTED, 0, 0, "POCKET CAMERA"},
    {0xfd, UNSUPPORTED, 0, 0, "BANDAI TAMA5"},
    {0xfe, UNSUPPORTED, 0, 0, "HuC3"},
    {0xff, UNSUPPORTED, 0, 0, "HuC1+RAM+BATTERY"},
};

static const struct cart_type *find_type(uint8_t type) {
    for (size_t i = 0; i < sizeof cart_types / sizeof *cart_types; i++)
        if (cart_types[i].type == type) return &cart_types[i];
    return NULL;
}

const char *gb_rom_type_name(uint8_t type) {
    const struct cart_type *found = find_type(type);
    return found ? found->name : "unknown";
}

static uint64_t fnv1a(const uint8_t *bytes, size_t n) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

static uint16_t global_checksum(const uint8_t *bytes, size_t n) {
    uint16_t sum = 0;
    for (size_t i = 0; i < n; i++) sum = (uint16_t)(sum + bytes[i]);
    return (uint16_t)(sum - bytes[0x14e] - bytes[0x14f]);
}

// A multicart repeats the logo at the start of each 256 KiB game.
static bool is_multicart(const uint8_t *bytes, size_t n) {
    int n_logos = 0;
    if (n != 1 << 20) return false;
    for (size_t game = 0; game < 4; game++)
        n_logos += memcmp(bytes + 0x104, bytes + (game << 18) + 0x104, 48) == 0;
    return n_logos >= 2;
}

static void copy_title(char title[17], const uint8_t *bytes) {
    int n = 0;
    for (int i = 0; i < 16; i++) {
        uint8_t c = bytes[0x134 + i];
        if (c < 0x20 || c > 0x7e) break;
        title[n++] = (char)c;
    }
    while (n > 0 && title[n - 1] == ' ') n--;
    title[n] = 0;
}

static uint8_t header_checksum(const uint8_t *bytes) {
    uint8_t sum = 0;
    for (int i = 0x134; i <= 0x14c; i++) sum = (uint8_t)(sum - bytes[i] - 1);
    return sum;
}

// What can be said from the size alone.
static bool check_size(size_t n, char *message, size_t size) {
    if (n == 0) {
        snprintf(message, size, "the ROM is empty");
        return false;
    }
    if (n < HEADER_END) {
        snprintf(message, size, "the ROM is truncated: %zu bytes, a cartridge header needs %d", n,
                 HEADER_END);
        return false;
    }
    if (n > MAX_BYTES) {
        snprintf(message, size, "the ROM has %zu bytes, a cartridge holds 8 MiB at most", n);
        return false;
    }
    return true;
}

bool gb_rom_parse(struct gb_rom *rom, const uint8_t *bytes, size_t n_bytes, char *message,
                  size_t message_size) {
    static const uint32_t ram_sizes[6] = {0, 2048, 8192, 32768, 131072, 65536};
    memset(rom, 0, sizeof *rom);
    if (!check_size(n_bytes, message, message_size)) return false;
    uint8_t type = bytes[0x147], rom_code = bytes[0x148], ram_code = bytes[0x149];
    const struct cart_type *found = find_type(type);
    if (!found || found->mapper == UNSUPPORTED) {
        snprintf(message, message_size,
                 "the cartridge's mapper %s (type %02X) is not supported; supported are ROM only,"
                 " MBC1, MBC2, MBC3 and MBC5",
                 gb_rom_type_name(type), type);
        return false;
    }
    if (rom_code > 8) {
        snprintf(message, message_size,
                 "the header's ROM size code %02X is not a known one (00 to 08)", rom_code);
        return false;
    }
    size_t said = (size_t)32768 << rom_code;
    if (n_bytes < said) {
        snprintf(message, message_size, "the ROM is truncated: %zu bytes, its header says %zu",
                 n_bytes, said);
        return false;
    }
    size_t used = said;
    while (used * 2 <= n_bytes) used *= 2;
    uint32_t ram = found->has_ram && ram_code < 6 ? ram_sizes[ram_code] : 0;
    if (found->mapper == GB_MAPPER_MBC2) ram = 512;
    if (found->mapper == GB_MAPPER_MBC1 && ram > MBC1_RAM_MAX) ram = MBC1_RAM_MAX;
    if (found->has_ram && ram_code >= 6) {
        snprintf(message, message_size,
                 "the header's RAM size code %02X is not a known one (00 to 05)", ram_code);
        return false;
    }
    if (ram > GB_CART_RAM_MAX) {
        snprintf(message, message_size,
                 "the cartridge has %u KiB of RAM (size code %02X), a machine here %d KiB at most",
                 ram >> 10, ram_code, GB_CART_RAM_MAX >> 10);
        return false;
    }
    rom->bytes = bytes;
    rom->n_bytes = (uint32_t)used;
    rom->n_banks = (uint32_t)(used >> 14);
    rom->ram_bytes = ram;
    rom->hash = fnv1a(bytes, used);
    rom->global_checksum = (uint16_t)(bytes[0x14e] << 8 | bytes[0x14f]);
    rom->global_checksum_ok = global_checksum(bytes, used) == rom->global_checksum;
    rom->header_checksum_ok = header_checksum(bytes) == bytes[0x14d];
    rom->type = type;
    rom->mapper = found->mapper;
    rom->has_rtc = found->has_rtc;
    rom->multicart = found->mapper == GB_MAPPER_MBC1 && is_multicart(bytes, used);
    copy_title(rom->title, bytes);
    return true;
}
