// gb_pyboy.h - reads save states of PyBoy, versions 9, 10, 11, 12, 14, 15, 17, 21 and 29.
//
// The format has no magic and no lengths, only a version byte: which fields stand in a file follows
// from that version, the cartridge and the sound buffer's size, and the sum must be the file's
// length. The table of fields is in gb_pyboy.c; docs/formats.md names the releases.
// It does not say which ROM it is for: only a cartridge with other RAM is noticed.
#ifndef GB_PYBOY_H
#define GB_PYBOY_H

#include "gb_types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gb_pyboy_info {
    int version;
    uint32_t cart_ram_bytes; // as PyBoy keeps it: 8 KiB or more, whatever the cartridge has
    bool mbc1, rtc;          // what the length fits
};

// Could these bytes be a PyBoy state (of a version that may be unknown)? By first byte and length.
bool gb_pyboy_is(const uint8_t *bytes, size_t n);

// What the bytes are without knowing the ROM: the first kind of cartridge whose length fits.
bool gb_pyboy_info(const uint8_t *bytes, size_t n, struct gb_pyboy_info *info, char *message,
                   size_t message_size);

// Makes *m (zeroed or reset before) the machine of the file. Refuses (false, one line, *m
// untouched) unknown versions (the known ones are named), lengths that do not fit the version and
// this ROM, states of a Game Boy Color or from inside the boot ROM.
bool gb_pyboy_load(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n,
                   char *message, size_t message_size);

#ifdef __cplusplus
}
#endif
#endif
