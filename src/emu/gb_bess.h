// gb_bess.h - BESS 1.0, the save state format that emulators share ("Best Effort Save State",
// SameBoy's BESS.md).
//
//   any native state | buffers | NAME INFO CORE MBC RTC END blocks | u32 first block | "BESS"
//
// A block is a 4-letter name, a u32 length and that many bytes; all numbers are little-endian. CORE
// holds registers and (size, offset) pairs of the memories, anywhere in the file.
// It has no LCD position within a line and no divider phase, so a machine from BESS runs on as the
// game does, not to the cycle.
#ifndef GB_BESS_H
#define GB_BESS_H

#include "gb_types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gb_bess_info {
    char emulator[64]; // NAME, "" without one
    bool names_rom;    // an INFO block stands in it
    char title[17];
    uint16_t global_checksum;
    char model[5];
    uint16_t minor;
    uint32_t cart_ram_bytes;
    bool has_rtc;
};

// Do the last four bytes say BESS?
bool gb_bess_is(const uint8_t *bytes, size_t n);

// Checks the whole structure and tells what is in it. False and one line when it is broken.
bool gb_bess_info(const uint8_t *bytes, size_t n, struct gb_bess_info *info, char *message,
                  size_t message_size);

// Makes *m (zeroed or reset before) the machine of the file. Refuses (false, one line, *m
// untouched) a broken structure, another major version, another model than the DMG, another ROM
// (both named).
bool gb_bess_load(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n,
                  char *message, size_t message_size);

// A file of any emulator that reads BESS: our exact state (gb_state.h), then the blocks, which
// point into it. gb_bess_size bytes are written to out; returns how many. unix_time is what a
// real-time clock counts on from, seconds since 1970.
size_t gb_bess_size(const struct gb_rom *rom);
size_t gb_bess_save(const struct gb *m, uint8_t *out, int64_t unix_time);

#ifdef __cplusplus
}
#endif
#endif
