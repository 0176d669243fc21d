// Hashes: SHA-256 through libmd, CRC-32 by table.
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sha2.h>
#include <string.h>
#include <unistd.h>

static void finish(SHA2_CTX *ctx, char hex[SHA256_HEX_SIZE]) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Final(digest, ctx);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[SHA256_HEX_SIZE - 1] = 0;
}

void sha256_hex(const void *data, size_t n, char hex[SHA256_HEX_SIZE]) {
    SHA2_CTX ctx;
    SHA256Init(&ctx);
    if (n) SHA256Update(&ctx, data, n);
    finish(&ctx, hex);
}

bool sha256_file_hex(const char *path, char hex[SHA256_HEX_SIZE], struct error *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return error_set(e, STATUS_USAGE, "cannot open %s: %s", path, strerror(errno));
    SHA2_CTX ctx;
    SHA256Init(&ctx);
    uint8_t buffer[65536];
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0 || (got < 0 && errno == EINTR))
        if (got > 0) SHA256Update(&ctx, buffer, (size_t)got);
    int code = errno;
    close(fd);
    if (got < 0) return error_set(e, STATUS_FAILED, "cannot read %s: %s", path, strerror(code));
    finish(&ctx, hex);
    return true;
}

static uint32_t table[256];

static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
}

uint32_t crc32_update(uint32_t crc, const void *data, size_t n) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_table);
    const uint8_t *p = data;
    crc = ~crc;
    for (size_t i = 0; i < n; i++) crc = table[(crc ^ p[i]) & 255] ^ (crc >> 8);
    return ~crc;
}
