// gb_state.h - saves and loads a whole machine, exactly: load, run, save gives the same bytes as
// running on without the detour.
//
// Layout, little-endian, fixed size for a given ROM (gb_state_size):
//   "WGBS"  u32 version  u64 ROM hash  u32 ROM bytes  u16 ROM global checksum  u32 state bytes
//   fields in the order of `walk` in gb_state.c (HRAM, OAM, WRAM, VRAM, cartridge RAM last)
//   u32 CRC-32 of everything before it
// Pictures are not part of it: the observation of a loaded machine is blank until the first frame
// it completes. A state is taken between frames.
#ifndef GB_STATE_H
#define GB_STATE_H

#include "gb_types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GB_STATE_VERSION = 2 };

// Bytes of a state of a machine with this ROM: 17 KB and the cartridge RAM.
size_t gb_state_size(const struct gb_rom *rom);

// Writes gb_state_size(m->rom) bytes to out; returns how many.
size_t gb_state_save(const struct gb *m, uint8_t *out);

// Makes *m (zeroed or reset before) the saved machine. Refuses (false, one line in message, *m
// untouched) bytes that are no state, are cut or altered in any bit, of another version, for
// another ROM, or that hold values no machine can have. A lent LCD stays.
bool gb_state_load(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n_bytes,
                   char *message, size_t message_size);

#ifdef __cplusplus
}
#endif
#endif
