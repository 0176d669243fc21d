// gb_rom.h - reads a cartridge header and says in one line why a file cannot be played.
//
//   struct gb_rom rom; char why[160];
//   if (!gb_rom_parse(&rom, bytes, n_bytes, why, sizeof why)) { ...print file name and why... }
//
// Header layout: Pan Docs, "The Cartridge Header". No allocation, no files; any thread.
#ifndef GB_ROM_H
#define GB_ROM_H

#include "gb_types.h"

#ifdef __cplusplus
extern "C" {
#endif

// Fills *rom, which borrows the bytes: keep them while any machine uses it. Refuses a file that is
// empty, too short for a header, shorter than the header says, over 8 MiB, with a mapper this
// emulator lacks, or more than 32 KiB of cartridge RAM. Of a file longer than its header says, the
// largest power of two counts. `message` (one line without the file's
// name) is written when false is returned. Wrong checksums are accepted and told in
// rom->header_checksum_ok (the boot ROM of a real machine would stop) and rom->global_checksum_ok.
bool gb_rom_parse(struct gb_rom *rom, const uint8_t *bytes, size_t n_bytes, char *message,
                  size_t message_size);

// "MBC3+RAM+BATTERY" and the like for a cartridge type byte (0147), or "unknown".
const char *gb_rom_type_name(uint8_t type);

#ifdef __cplusplus
}
#endif
#endif
