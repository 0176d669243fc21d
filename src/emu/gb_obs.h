// gb_obs.h - the observation: 80x72 shades, four pixels a byte ("packed2").
//
// Observation pixel (x, y) is screen pixel (2x, 2y), shade 0 (lightest) to 3, after the palette.
// Row-major, 20 bytes a row; the leftmost of four pixels is in bits 1-0, the next in 3-2, 5-4, 7-6:
//
//   byte 0:  7 6   5 4   3 2   1 0          (spec: gameboy, section 7)
//            x=3   x=2   x=1   x=0
#ifndef GB_OBS_H
#define GB_OBS_H

#include "gb_types.h"

// Eight bytes as a number, the first one lowest.
HD uint64_t gb_load8(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

// 160 shades to one row of 20 bytes.
HD void gb_obs_pack_row(const uint8_t shades[GB_LCD_WIDTH], uint8_t row[20])
{
    for (int i = 0; i < 20; i++) {
        uint64_t s = gb_load8(shades + i * 8) & 0x0003000300030003u;
        row[i] = (uint8_t)(s | s >> 14 | s >> 28 | s >> 42);
    }
}

HD uint8_t gb_obs_pixel(const uint8_t packed2[GB_OBS_BYTES], int x, int y)
{
    return packed2[y * 20 + x / 4] >> (2 * (x & 3)) & 3;
}

#endif
