// Frames: pictures of a run in one append-only file, one byte per pixel, a zstd chunk per record.
#include "engine/data/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

enum { VERSION = 1, ZSTD_LEVEL = 3 };
static const uint32_t file_magic = 0x31524657, chunk_magic = 0x4b4e4843; // "WFR1", "CHNK"

struct file_header { // 32 bytes, little-endian
    uint32_t magic, version, width, height;
    uint32_t reserved[3]; // 0
    uint32_t crc;         // of the bytes before
};

struct chunk_header { // 48 bytes
    uint32_t magic, n_pictures;
    int64_t opt_steps, env_steps;
    uint64_t packed_bytes; // zstd data that follows
    uint32_t data_crc;     // of that data
    uint32_t reserved[2];  // 0
    uint32_t crc;          // of the bytes before
};
_Static_assert(sizeof(struct file_header) == 32 && sizeof(struct chunk_header) == 48,
               "file layout");

static uint32_t file_crc(const struct file_header *h) {
    return crc32_update(0, h, offsetof(struct file_header, crc));
}
static uint32_t chunk_crc(const struct chunk_header *h) {
    return crc32_update(0, h, offsetof(struct chunk_header, crc));
}

// ---- writing

struct frames_writer {
    struct file_append file;
    size_t picture_bytes;
    uint8_t *buffer; // chunk header and zstd data, reused
    size_t buffer_bytes;
};

struct frames_writer *frames_create(const char *path, int width, int height, struct error *e) {
    CHECK(width >= 1 && height >= 1 && width <= FRAMES_MAX_SIDE && height <= FRAMES_MAX_SIDE,
          "pictures of %dx%d", width, height);
    if (file_exists(path)) {
        error_set(e, STATUS_USAGE, "%s is there already; remove it or choose another name", path);
        return NULL;
    }
    struct frames_writer *w = mem_alloc(sizeof *w);
    w->picture_bytes = (size_t)width * (size_t)height;
    struct file_header h = {.magic = file_magic,
                            .version = VERSION,
                            .width = (uint32_t)width,
                            .height = (uint32_t)height};
    h.crc = file_crc(&h);
    if (file_append_open(&w->file, path, e)) {
        if (file_append_write(&w->file, &h, sizeof h, e)) return w;
        unlink(path);
    }
    frames_close(w, NULL);
    return NULL;
}

bool frames_append(struct frames_writer *w, int64_t opt_steps, int64_t env_steps,
                   const uint8_t *pixels, int n_pictures, struct error *e) {
    CHECK(n_pictures >= 1 && n_pictures <= FRAMES_MAX_PICTURES, "%d pictures", n_pictures);
    size_t raw = w->picture_bytes * (size_t)n_pictures,
           need = sizeof(struct chunk_header) + ZSTD_compressBound(raw);
    if (need > w->buffer_bytes) {
        w->buffer = mem_resize(w->buffer, need);
        w->buffer_bytes = need;
    }
    uint8_t *data = w->buffer + sizeof(struct chunk_header);
    size_t packed =
        ZSTD_compress(data, need - sizeof(struct chunk_header), pixels, raw, ZSTD_LEVEL);
    if (ZSTD_isError(packed))
        return error_set(e, STATUS_FAILED, "%s: cannot compress: %s", w->file.path,
                         ZSTD_getErrorName(packed));
    struct chunk_header h = {.magic = chunk_magic,
                             .n_pictures = (uint32_t)n_pictures,
                             .opt_steps = opt_steps,
                             .env_steps = env_steps,
                             .packed_bytes = packed,
                             .data_crc = crc32_update(0, data, packed)};
    h.crc = chunk_crc(&h);
    memcpy(w->buffer, &h, sizeof h);
    return file_append_write(&w->file, w->buffer, sizeof h + packed, e);
}

bool frames_close(struct frames_writer *w, struct error *e) {
    if (!w) return true;
    bool ok = file_append_close(&w->file, e);
    free(w->buffer);
    free(w);
    return ok;
}

// ---- reading

struct entry {
    int64_t offset; // of the zstd data
    struct chunk_header header;
};

struct frames_reader {
    int fd;
    char path[PATH_SIZE];
    struct file_header header;
    struct entry *entries;
    int64_t n, capacity;
    bool cut;
    uint8_t *packed; // reused
    size_t packed_bytes;
};

// Bytes read at `offset`: `n`, fewer at the end of the file, or -1.
static ssize_t read_at(int fd, void *out, size_t n, int64_t offset) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (uint8_t *)out + done, n - done, (off_t)offset + (off_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static size_t raw_bytes(const struct frames_reader *r, const struct chunk_header *h) {
    return (size_t)r->header.width * r->header.height * h->n_pictures;
}

static bool read_file_header(struct frames_reader *r, struct error *e) {
    struct file_header *h = &r->header;
    if (read_at(r->fd, h, sizeof *h, 0) != sizeof *h || h->magic != file_magic)
        return error_set(e, STATUS_FAILED, "%s: not a frames file", r->path);
    if (h->crc != file_crc(h))
        return error_set(e, STATUS_FAILED, "%s: the header is broken", r->path);
    if (h->version != VERSION)
        return error_set(e, STATUS_FAILED,
                         "%s: frames version %" PRIu32 ", this program reads version %d", r->path,
                         h->version, VERSION);
    if (h->width < 1 || h->height < 1 || h->width > FRAMES_MAX_SIDE || h->height > FRAMES_MAX_SIDE)
        return error_set(e, STATUS_FAILED, "%s: pictures of %" PRIu32 "x%" PRIu32, r->path,
                         h->width, h->height);
    return true;
}

// Follows the chunk headers. A chunk that does not fit into the file is the cut tail of a killed
// run.
static bool read_index(struct frames_reader *r, int64_t file_bytes, struct error *e) {
    for (int64_t at = sizeof(struct file_header); at < file_bytes;) {
        struct chunk_header h;
        ssize_t got = read_at(r->fd, &h, sizeof h, at);
        if (got < 0)
            return error_set(e, STATUS_FAILED, "cannot read %s: %s", r->path, strerror(errno));
        if (got < (ssize_t)sizeof h) {
            r->cut = true;
            return true;
        }
        if (h.magic != chunk_magic || h.crc != chunk_crc(&h) || h.n_pictures < 1 ||
            h.n_pictures > FRAMES_MAX_PICTURES ||
            h.packed_bytes > ZSTD_compressBound(raw_bytes(r, &h)))
            return error_set(e, STATUS_FAILED,
                             "%s: record %" PRId64 " at byte %" PRId64 " is broken", r->path,
                             r->n + 1, at);
        if ((int64_t)h.packed_bytes > file_bytes - at - (int64_t)sizeof h) {
            r->cut = true;
            return true;
        }
        if (r->n == r->capacity) {
            r->capacity = r->capacity ? 2 * r->capacity : 64;
            r->entries = mem_resize(r->entries, (size_t)r->capacity * sizeof *r->entries);
        }
        r->entries[r->n++] = (struct entry){.offset = at + (int64_t)sizeof h, .header = h};
        at += (int64_t)(sizeof h + h.packed_bytes);
    }
    return true;
}

struct frames_reader *frames_open(const char *path, struct error *e) {
    struct stat st;
    struct frames_reader *r = mem_alloc(sizeof *r);
    strncpy(r->path, path, sizeof r->path - 1);
    r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool ok = r->fd >= 0 && fstat(r->fd, &st) == 0 && S_ISREG(st.st_mode);
    if (!ok)
        error_set(e, STATUS_USAGE, "cannot open %s: %s", path,
                  r->fd < 0 ? strerror(errno) : "not a regular file");
    else
        ok = read_file_header(r, e) && read_index(r, st.st_size, e);
    if (ok) return r;
    frames_reader_free(r);
    return NULL;
}

void frames_reader_free(struct frames_reader *r) {
    if (!r) return;
    if (r->fd >= 0) close(r->fd);
    free(r->entries);
    free(r->packed);
    free(r);
}

int frames_width(const struct frames_reader *r) { return (int)r->header.width; }
int frames_height(const struct frames_reader *r) { return (int)r->header.height; }
int64_t frames_count(const struct frames_reader *r) { return r->n; }
bool frames_tail_cut(const struct frames_reader *r) { return r->cut; }

static const struct entry *entry_at(const struct frames_reader *r, int64_t index) {
    CHECK(index >= 0 && index < r->n, "record %lld of %lld", (long long)index, (long long)r->n);
    return &r->entries[index];
}

struct frames_info frames_info(const struct frames_reader *r, int64_t index) {
    const struct chunk_header *h = &entry_at(r, index)->header;
    return (struct frames_info){
        .opt_steps = h->opt_steps, .env_steps = h->env_steps, .n_pictures = (int)h->n_pictures};
}

bool frames_read(struct frames_reader *r, int64_t index, uint8_t *pixels, struct error *e) {
    const struct entry *entry = entry_at(r, index);
    size_t n = entry->header.packed_bytes, raw = raw_bytes(r, &entry->header);
    if (n > r->packed_bytes) {
        r->packed = mem_resize(r->packed, n);
        r->packed_bytes = n;
    }
    if (read_at(r->fd, r->packed, n, entry->offset) != (ssize_t)n)
        return error_set(e, STATUS_FAILED, "%s: record %" PRId64 " cannot be read", r->path,
                         index + 1);
    if (crc32_update(0, r->packed, n) != entry->header.data_crc ||
        ZSTD_decompress(pixels, raw, r->packed, n) != raw)
        return error_set(e, STATUS_FAILED,
                         "%s: record %" PRId64 " is broken (its checksum differs)", r->path,
                         index + 1);
    return true;
}

// ---- going on

struct frames_writer *frames_resume(const char *path, int width, int height, int64_t opt_steps,
                                    struct error *e) {
    struct stat st;
    if (stat(path, &st) != 0 || st.st_size < (off_t)sizeof(struct file_header)) {
        unlink(path);
        return frames_create(path, width, height, e);
    }
    struct frames_reader *r = frames_open(path, e);
    if (!r) return NULL;
    int64_t end = sizeof(struct file_header);
    for (int64_t i = 0; i < r->n && r->entries[i].header.opt_steps <= opt_steps; i++)
        end = r->entries[i].offset + (int64_t)r->entries[i].header.packed_bytes;
    struct frames_writer *w = mem_alloc(sizeof *w);
    w->picture_bytes = (size_t)r->header.width * r->header.height;
    frames_reader_free(r);
    if (file_append_open(&w->file, path, e) && file_append_cut(&w->file, end, e)) return w;
    frames_close(w, NULL);
    return NULL;
}
