// gb_import.c - finds out which format a saved state has, and has it read.
#include "gb_import.h"

#include <stdio.h>

#include "gb_bess.h"
#include "gb_pyboy.h"
#include "gb_state.h"

static bool is_ours(const uint8_t *bytes, size_t n) {
    return n >= 4 && memcmp(bytes, "WGBS", 4) == 0;
}

// ---- our own: header fields as in gb_state.h

enum {
    VERSION_AT = 4,
    HASH_AT = 8,
    CHECKSUM_AT = 20,
    LENGTH_AT = 22,
    HEADER_BYTES = 26,
    CRC_BYTES = 4
};

static uint64_t number_at(const uint8_t *p, int n) {
    uint64_t value = 0;
    while (n-- > 0) value = value << 8 | p[n];
    return value;
}

static uint32_t crc32_of(const uint8_t *bytes, size_t n) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

// Bytes of our own state at the beginning of the file: what its header says where BESS blocks
// follow, else all of it (so that a cut file is told as such).
static size_t own_part(const uint8_t *bytes, size_t n) {
    if (n < HEADER_BYTES + CRC_BYTES || !gb_bess_is(bytes, n)) return n;
    size_t said = (size_t)number_at(bytes + LENGTH_AT, 4);
    return said < n ? said : n;
}

static bool ours_check(const uint8_t *bytes, size_t n, char *message, size_t message_size) {
    if (n < HEADER_BYTES + CRC_BYTES) {
        snprintf(message, message_size, "the state is cut: %zu bytes", n);
        return false;
    }
    unsigned version = (unsigned)number_at(bytes + VERSION_AT, 4);
    if (version != GB_STATE_VERSION) {
        snprintf(message, message_size, "the state is of version %u, this program reads version %d",
                 version, GB_STATE_VERSION);
        return false;
    }
    size_t said = (size_t)number_at(bytes + LENGTH_AT, 4);
    if (said != n) {
        snprintf(message, message_size, "the state is cut or has grown: %zu bytes, it says %zu", n,
                 said);
        return false;
    }
    if (crc32_of(bytes, n - CRC_BYTES) == number_at(bytes + n - CRC_BYTES, CRC_BYTES)) return true;
    snprintf(message, message_size, "the state is damaged: its checksum does not match");
    return false;
}

static bool ours_info(const uint8_t *bytes, size_t n, struct gb_import_info *info, char *message,
                      size_t message_size) {
    size_t own = own_part(bytes, n);
    if (!ours_check(bytes, own, message, message_size)) return false;
    info->version = GB_STATE_VERSION;
    info->is_exact = true;
    info->has_bess = own < n;
    info->rom_hash = number_at(bytes + HASH_AT, 8);
    info->global_checksum = (int32_t)number_at(bytes + CHECKSUM_AT, 2);
    info->cart_ram_bytes = -1;
    struct gb_bess_info bess;
    char unused[160];
    if (info->has_bess && gb_bess_info(bytes, n, &bess, unused, sizeof unused)) {
        memcpy(info->title, bess.title, sizeof info->title);
        info->cart_ram_bytes = (int32_t)bess.cart_ram_bytes;
    }
    snprintf(info->emulator, sizeof info->emulator, "workbench");
    return true;
}

// ---- the others

static bool bess_info(const uint8_t *bytes, size_t n, struct gb_import_info *info, char *message,
                      size_t message_size) {
    struct gb_bess_info bess;
    if (!gb_bess_info(bytes, n, &bess, message, message_size)) return false;
    info->version = bess.minor;
    memcpy(info->emulator, bess.emulator, sizeof info->emulator);
    if (bess.names_rom) {
        memcpy(info->title, bess.title, sizeof info->title);
        info->global_checksum = bess.global_checksum;
    }
    info->cart_ram_bytes = (int32_t)bess.cart_ram_bytes;
    return true;
}

static bool pyboy_info(const uint8_t *bytes, size_t n, struct gb_import_info *info, char *message,
                       size_t message_size) {
    struct gb_pyboy_info pyboy;
    if (!gb_pyboy_info(bytes, n, &pyboy, message, message_size)) return false;
    info->version = pyboy.version;
    snprintf(info->emulator, sizeof info->emulator, "PyBoy");
    info->cart_ram_bytes = (int32_t)pyboy.cart_ram_bytes;
    return true;
}

static bool ours_load(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n,
                      char *message, size_t message_size) {
    return gb_state_load(m, rom, bytes, own_part(bytes, n), message, message_size);
}

static const struct format {
    const char *name;
    bool (*is)(const uint8_t *bytes, size_t n);
    bool (*info)(const uint8_t *bytes, size_t n, struct gb_import_info *info, char *message,
                 size_t message_size);
    bool (*load)(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n,
                 char *message, size_t message_size);
} formats[GB_N_FORMATS] = {
    // tried in this order
    [GB_FORMAT_WORKBENCH] = {"workbench", is_ours, ours_info, ours_load},
    [GB_FORMAT_BESS] = {"BESS", gb_bess_is, bess_info, gb_bess_load},
    [GB_FORMAT_PYBOY] = {"PyBoy", gb_pyboy_is, pyboy_info, gb_pyboy_load},
};

// The format's number, or -1 and one line.
static int find_format(const uint8_t *bytes, size_t n, char *message, size_t message_size) {
    for (int i = 0; i < GB_N_FORMATS; i++)
        if (formats[i].is(bytes, n)) return i;
    snprintf(message, message_size,
             "this is no saved state that can be read (%zu bytes): not of this program, no BESS"
             " footer, not PyBoy's",
             n);
    return -1;
}

bool gb_import_info(const uint8_t *bytes, size_t n, struct gb_import_info *info, char *message,
                    size_t message_size) {
    int format = find_format(bytes, n, message, message_size);
    if (format < 0) return false;
    *info = (struct gb_import_info){
        .format = format, .format_name = formats[format].name, .global_checksum = -1};
    return formats[format].info(bytes, n, info, message, message_size);
}

bool gb_import(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n,
               char *message, size_t message_size) {
    int format = find_format(bytes, n, message, message_size);
    return format >= 0 && formats[format].load(m, rom, bytes, n, message, message_size);
}
