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

// 160 shades to one row of 20 bytes.
HD void gb_obs_pack_row(const uint8_t shades[GB_LCD_WIDTH], uint8_t row[20])
{
    for (int i = 0; i < 20; i++) {
        const uint8_t *s = shades + i * 8;
        row[i] = (uint8_t)(s[0] | s[2] << 2 | s[4] << 4 | s[6] << 6);
    }
}

HD uint8_t gb_obs_pixel(const uint8_t packed2[GB_OBS_BYTES], int x, int y)
{
    return packed2[y * 20 + x / 4] >> (2 * (x & 3)) & 3;
}

#endif
