// picture.h - the expected screen of a test ROM, from a PNG that stands beside it.
#ifndef TESTS_CONFORMANCE_PICTURE_H
#define TESTS_CONFORMANCE_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

// Finds and reads the picture for the ROM at rom_path as 160x144 shades 0 (lightest) to 3. False
// when there is none of that size.
bool picture_expected(const char *rom_path, uint8_t *shades);

#endif
