// Hashes: SHA-256 of files and buffers as hex text (identity), CRC-32 (accidents).
//
//     char hex[SHA256_HEX_SIZE];
//     sha256_hex(data, n, hex);
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { SHA256_HEX_SIZE = 65 };

void sha256_hex(const void *data, size_t n, char hex[SHA256_HEX_SIZE]);
bool sha256_file_hex(const char *path, char hex[SHA256_HEX_SIZE], struct error *e); // any size

// CRC-32 as in zlib and PNG. Begin with crc = 0; feed the result back to go on.
uint32_t crc32_update(uint32_t crc, const void *data, size_t n);

#endif
