// Files in tests: whole files in and out, without the waiting for the disk of base/file.h.
#ifndef TESTS_SUPPORT_FILES_H
#define TESTS_SUPPORT_FILES_H

#include "support/test.h"

#include "base/file.h"

// Replaces the file. Removed first: ext4 flushes a file that is replaced by rename or truncation,
// and tests do it thousandfold.
static inline __attribute__((unused)) void put_file(const char *path, const void *data, size_t n) {
    unlink(path);
    FILE *f = fopen(path, "wb");
    if (!f) fail_msg("cannot write %s", path);
    assert_int_equal(n ? fwrite(data, 1, n, f) : 0, n);
    assert_int_equal(fclose(f), 0);
}

// Caller frees; a NUL follows the last byte.
static inline __attribute__((unused)) void *get_file(const char *path, size_t *n) {
    uint8_t *data;
    struct error e = {0};
    if (!file_read(path, 1u << 30, &data, n, &e)) fail_msg("%s", e.message);
    return data;
}

#endif
