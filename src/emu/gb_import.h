// gb_import.h - a saved state of any format this program reads: its own, BESS, PyBoy's.
//
//   if (!gb_import(m, &rom, bytes, n_bytes, why, sizeof why)) ...;   // why: one line
//
// A file of our own with BESS blocks behind it (gb_bess_save) is read exactly, by its first part.
#ifndef GB_IMPORT_H
#define GB_IMPORT_H

#include "gb_types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gb_state_format { GB_FORMAT_WORKBENCH, GB_FORMAT_BESS, GB_FORMAT_PYBOY, GB_N_FORMATS };

struct gb_import_info {
    int format;              // enum gb_state_format
    const char *format_name; // "workbench", "BESS", "PyBoy"
    int version;             // BESS: minor
    bool is_exact;           // restores to the cycle: our own only
    bool has_bess;           // our own, with BESS blocks behind it
    char emulator[64];       // who wrote it, "" when it does not say
    char title[17];          // the ROM's, "" when it does not say
    uint64_t rom_hash;       // our own: gb_rom.hash; else 0
    int32_t global_checksum; // the ROM's; -1 when it does not say
    int32_t cart_ram_bytes;  // -1 when it does not say
};

// What the bytes are, checked as far as that goes without the ROM. False and one line when they are
// no state, damaged, or of a version or model that cannot be read.
bool gb_import_info(const uint8_t *bytes, size_t n, struct gb_import_info *info, char *message,
                    size_t message_size);

// Makes *m (zeroed or reset before) the saved machine, or refuses and leaves it untouched. A lent
// LCD stays. The picture is blank until the machine has drawn one (gb.h).
bool gb_import(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n,
               char *message, size_t message_size);

#ifdef __cplusplus
}
#endif
#endif
