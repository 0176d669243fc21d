// Font: the 5x7 bitmap letters of the exported pictures, drawn for this program. ASCII 32-126.
#ifndef DATA_FONT_H
#define DATA_FONT_H

#include <stdint.h>

enum { FONT_WIDTH = 5, FONT_HEIGHT = 7, FONT_FIRST = 32, FONT_LAST = 126 };
extern const uint8_t font_rows[FONT_LAST - FONT_FIRST + 1]
                              [FONT_HEIGHT]; // bit 4 is the leftmost pixel

#endif
