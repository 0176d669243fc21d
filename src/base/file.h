// Files: whole reads, atomic replacement, appending with checked errors, folders and paths.
//
//     struct error e = {0};
//     uint8_t *data; size_t n;
//     if (!file_read(path, 8 << 20, &data, &n, &e)) return false;  // e names the file
//     ...
//     free(data);
//
// Every error message names the file and the cause. Status: USAGE where the path itself is wrong
// (missing, a folder, no permission), FAILED where the machine let us down (disk full, I/O error).
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { PATH_SIZE = 4096 };

// Whole regular file into *data (malloc'ed, caller frees, one NUL after the last byte). More than
// max_bytes is an error.
bool file_read(const char *path, size_t max_bytes, uint8_t **data, size_t *n, struct error *e);

bool file_exists(const char *path); // anything of that name
bool file_is_folder(const char *path);
bool file_make_folders(const char *path, struct error *e); // mkdir -p; fine if it is there
// out = a/b, exactly one slash between. False (and an error) when it does not fit PATH_SIZE.
bool path_join(char out[PATH_SIZE], const char *a, const char *b, struct error *e);
const char *path_base(const char *path); // after the last slash
bool file_remove_tree(const char *path,
                      struct error *e); // a folder with all it holds; links are not followed

// ---- replacing a file: readers see the old or the new content, never a part. A crash leaves the
// old file and perhaps a hidden ".name.tmp-PID-N" beside it.
struct file_atomic {
    int fd;           // -1 when closed
    uint64_t n_bytes; // written so far
    char path[PATH_SIZE], temporary[PATH_SIZE];
};
bool file_atomic_begin(struct file_atomic *f, const char *path, struct error *e);
bool file_atomic_write(struct file_atomic *f, const void *data, size_t n,
                       struct error *e); // on error: aborted
bool file_atomic_commit(struct file_atomic *f, bool sync,
                        struct error *e); // sync: on the disk when it returns
void file_atomic_abort(
    struct file_atomic *f); // removes the temporary file; fine after commit or error

bool file_write_atomic(const char *path, const void *data, size_t n, struct error *e); // with sync
bool file_write_atomic_fast(const char *path, const void *data, size_t n,
                            struct error *e); // without: heartbeats

// ---- appending: one write() per call, so a kill at any moment loses at most what is being
// appended. When the disk is full the part that did get in is cut off again.
struct file_append {
    int fd; // -1 when closed
    char path[PATH_SIZE];
};
bool file_append_open(struct file_append *f, const char *path, struct error *e); // made when absent
bool file_append_write(struct file_append *f, const void *data, size_t n, struct error *e);
bool file_append_cut(struct file_append *f, int64_t n_bytes,
                     struct error *e);                          // keeps the first n_bytes
bool file_append_close(struct file_append *f, struct error *e); // fine when closed

#endif
