// Files: whole reads, atomic replacement, appending with checked errors, folders and paths.
#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

// One line for errno at `path`. Wrong paths are the user's to correct, the rest is the machine's
// failure.
static bool system_error(struct error *e, const char *verb, const char *path, int code) {
    static const struct {
        int code;
        enum status status;
        const char *advice;
    } known[] = {
        {ENOENT, STATUS_USAGE, "check the path"},
        {ENOTDIR, STATUS_USAGE, "check the path"},
        {EISDIR, STATUS_USAGE, "give a file, not a folder"},
        {EEXIST, STATUS_USAGE, "choose another name"},
        {ENAMETOOLONG, STATUS_USAGE, "choose a shorter name"},
        {EACCES, STATUS_USAGE, "check its permissions"},
        {EPERM, STATUS_USAGE, "check its permissions"},
        {EROFS, STATUS_USAGE, "choose a folder that can be written"},
        {ENOSPC, STATUS_FAILED, "free some space or choose another disk"},
        {EDQUOT, STATUS_FAILED, "free some space or choose another disk"},
        {EFBIG, STATUS_FAILED, "the file size limit is reached"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].code == code)
            return error_set(e, known[i].status, "cannot %s %s: %s; %s", verb, path, strerror(code),
                             known[i].advice);
    return error_set(e, STATUS_FAILED, "cannot %s %s: %s", verb, path, strerror(code));
}

// ---- reading

static bool read_all(int fd, const char *path, size_t limit, uint8_t **data, size_t *n,
                     struct error *e) {
    size_t used = 0;
    for (;;) {
        if (used == *n) { // grew since fstat, or its size is not known (/proc)
            if (used > limit)
                return error_set(e, STATUS_FAILED,
                                 "%s is larger than the %zu bytes expected at most", path, limit);
            *n = used + (used / 2 > 65536 ? used / 2 : 65536);
            *data = mem_resize(*data, *n + 1);
        }
        ssize_t got = read(fd, *data + used, *n - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error(e, "read", path, errno);
        if (got == 0) break;
        used += (size_t)got;
    }
    if (used > limit)
        return error_set(e, STATUS_FAILED, "%s is larger than the %zu bytes expected at most", path,
                         limit);
    (*data)[used] = 0;
    *n = used;
    return true;
}

bool file_read(const char *path, size_t max_bytes, uint8_t **data, size_t *n, struct error *e) {
    *data = NULL;
    *n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a named pipe must not hang us
    if (fd < 0) return system_error(e, "open", path, errno);
    struct stat st;
    bool ok = false;
    if (fstat(fd, &st) != 0)
        system_error(e, "read", path, errno);
    else if (S_ISDIR(st.st_mode))
        system_error(e, "read", path, EISDIR);
    else if (!S_ISREG(st.st_mode))
        error_set(e, STATUS_USAGE, "cannot read %s: not a regular file", path);
    else if ((uint64_t)st.st_size > max_bytes)
        error_set(e, STATUS_FAILED, "%s has %lld bytes, more than the %zu expected at most", path,
                  (long long)st.st_size, max_bytes);
    else {
        *n = (size_t)st.st_size + 1; // one more, so that EOF is seen without growing
        *data = mem_alloc(*n + 1);
        ok = read_all(fd, path, max_bytes, data, n, e);
    }
    close(fd);
    if (!ok) {
        free(*data);
        *data = NULL;
        *n = 0;
    }
    return ok;
}

// ---- folders and paths

bool file_exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

bool file_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool file_make_folders(const char *path, struct error *e) {
    char part[PATH_SIZE];
    size_t n = strlen(path);
    if (n == 0) return error_set(e, STATUS_USAGE, "a folder name is empty");
    if (n >= sizeof part) return system_error(e, "make the folder", path, ENAMETOOLONG);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char c = part[i];
        part[i] = 0;
        if (mkdir(part, 0777) != 0) {
            int code =
                errno; // EEXIST, but also EROFS or EACCES, come for folders that are there already
            if (!file_is_folder(part))
                return system_error(e, "make the folder", part, code == EEXIST ? ENOTDIR : code);
        }
        part[i] = c;
    }
    return true;
}

bool path_join(char out[PATH_SIZE], const char *a, const char *b, struct error *e) {
    size_t n = strlen(a);
    while (n > 1 && a[n - 1] == '/') n--;
    while (*b == '/') b++;
    size_t n_b = strlen(b);
    if (n + n_b + 2 > PATH_SIZE) return system_error(e, "use the path", a, ENAMETOOLONG);
    memmove(out, a, n); // out may be a itself
    if (n && !(n == 1 && a[0] == '/')) out[n++] = '/';
    memcpy(out + n, b, n_b + 1);
    return true;
}

const char *path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// ---- writing

static int write_all(int fd, const uint8_t *data, size_t n) {
    while (n) {
        ssize_t done = write(fd, data, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return errno;
        if (done == 0) return EIO;
        data += done;
        n -= (size_t)done;
    }
    return 0;
}

bool file_atomic_begin(struct file_atomic *f, const char *path, struct error *e) {
    static atomic_uint counter; // two threads may write into one folder
    f->fd = -1;
    f->n_bytes = 0;
    const char *base = path_base(path);
    if (!*base) return system_error(e, "write", path, EISDIR);
    unsigned serial = atomic_fetch_add(&counter, 1);
    int n = snprintf(f->temporary, PATH_SIZE, "%.*s.%s.tmp-%ld-%u", (int)(base - path), path, base,
                     (long)getpid(), serial);
    if (n >= PATH_SIZE) return system_error(e, "write", path, ENAMETOOLONG);
    snprintf(f->path, PATH_SIZE, "%s", path);
    if (file_is_folder(path)) return system_error(e, "write", path, EISDIR);
    f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (f->fd < 0) return system_error(e, "write", path, errno);
    return true;
}

void file_atomic_abort(struct file_atomic *f) {
    if (f->fd < 0) return;
    close(f->fd);
    f->fd = -1;
    unlink(f->temporary);
}

static bool atomic_error(struct file_atomic *f, int code, struct error *e) {
    file_atomic_abort(f);
    return system_error(e, "write", f->path, code);
}

bool file_atomic_write(struct file_atomic *f, const void *data, size_t n, struct error *e) {
    CHECK(f->fd >= 0, "%s is not open", f->path);
    int code = write_all(f->fd, data, n);
    if (code) return atomic_error(f, code, e);
    f->n_bytes += n;
    return true;
}

// Makes the rename itself survive a power cut. Some file systems refuse; the content is safe
// anyway.
static void sync_folder_of(const char *path) {
    char folder[PATH_SIZE];
    size_t n = (size_t)(path_base(path) - path);
    snprintf(folder, sizeof folder, "%.*s", (int)n, path);
    int fd = open(n ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

bool file_atomic_commit(struct file_atomic *f, bool sync, struct error *e) {
    CHECK(f->fd >= 0, "%s is not open", f->path);
    if (sync && fsync(f->fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        return atomic_error(f, errno, e);
    int fd = f->fd;
    if (close(fd) != 0) {
        int code = errno;
        f->fd = -1;
        unlink(f->temporary);
        return system_error(e, "write", f->path, code);
    }
    f->fd = -1;
    if (rename(f->temporary, f->path) != 0) {
        int code = errno;
        unlink(f->temporary);
        return system_error(e, "write", f->path, code);
    }
    if (sync) sync_folder_of(f->path);
    return true;
}

static bool replace(const char *path, const void *data, size_t n, bool sync, struct error *e) {
    struct file_atomic f;
    return file_atomic_begin(&f, path, e) && file_atomic_write(&f, data, n, e) &&
           file_atomic_commit(&f, sync, e);
}

bool file_write_atomic(const char *path, const void *data, size_t n, struct error *e) {
    return replace(path, data, n, true, e);
}

bool file_write_atomic_fast(const char *path, const void *data, size_t n, struct error *e) {
    return replace(path, data, n, false, e);
}

// ---- appending

bool file_append_open(struct file_append *f, const char *path, struct error *e) {
    f->fd = -1;
    if (snprintf(f->path, PATH_SIZE, "%s", path) >= PATH_SIZE)
        return system_error(e, "write", path, ENAMETOOLONG);
    f->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    return f->fd >= 0 || system_error(e, "write", path, errno);
}

bool file_append_write(struct file_append *f, const void *data, size_t n, struct error *e) {
    CHECK(f->fd >= 0, "%s is not open", f->path);
    off_t before = lseek(f->fd, 0, SEEK_END);
    int code = write_all(f->fd, data, n);
    if (!code) return true;
    // Half a record would be worse than none. Only if even that fails is the tail left for the
    // reader to drop.
    if (before >= 0 && ftruncate(f->fd, before) != 0 && errno == EIO) code = EIO;
    return system_error(e, "write", f->path, code);
}

bool file_append_cut(struct file_append *f, int64_t n_bytes, struct error *e) {
    CHECK(f->fd >= 0, "%s is not open", f->path);
    return ftruncate(f->fd, (off_t)n_bytes) == 0 || system_error(e, "cut", f->path, errno);
}

bool file_append_close(struct file_append *f, struct error *e) {
    if (f->fd < 0) return true;
    int fd = f->fd;
    f->fd = -1;
    return close(fd) == 0 || system_error(e, "write", f->path, errno);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info, (void)kind, (void)at;
    return remove(path);
}

bool file_remove_tree(const char *path, struct error *e) {
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0) return true;
    return error_set(e, STATUS_FAILED, "%s: cannot be removed: %s", path, strerror(errno));
}
