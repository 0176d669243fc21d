// Safetensors: own reader and writer of named tensors. The reader trusts nothing the file says.
//
//     struct safetensors *s = safetensors_open(path, &e);
//     const struct st_tensor *t = safetensors_find(s, "reward");
//     if (!t || t->dtype != ST_F32) ...
//     safetensors_free(s);
//
// Layout: 8 bytes little-endian header length, JSON header, then the row-major little-endian data
// without holes or overlaps. The header: {"name":{"dtype","shape","data_offsets"},...,
// "__metadata__":{text:text}}.
//
//     [length u64][header, spaces up to a multiple of 8][tensor][tensor]...
//
// The writer orders by element size (large first), then name, so that every tensor is aligned in
// the file, as other readers of the format need; equal tensors and metadata give equal bytes.
// Little-endian hosts only.
#ifndef DATA_SAFETENSORS_H
#define DATA_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { ST_MAX_DIMS = 8, ST_NAME_SIZE = 256 };
enum { ST_MAX_HEADER_BYTES = 64 << 20, ST_MAX_TENSORS = 1 << 20 };

enum st_dtype { ST_F64, ST_I64, ST_F32, ST_I32, ST_U32, ST_U8, ST_BOOL, ST_N_DTYPES };
extern const char *const st_dtype_names[ST_N_DTYPES]; // "F64", ...
size_t st_dtype_bytes(enum st_dtype dtype);
#define ST_REAL (sizeof(real) == 8 ? ST_F64 : ST_F32) // of base/real.h

struct st_tensor {
    char name[ST_NAME_SIZE];
    enum st_dtype dtype;
    int n_dims; // 0: a scalar
    int64_t shape[ST_MAX_DIMS];
    int64_t n_elements;
    size_t n_bytes;
    const void *data; // 64-byte aligned
};

struct st_text {
    const char *key, *value;
};

// ---- reading. Thread-safe once opened; everything lives until safetensors_free.
struct safetensors;
// The whole file into memory. NULL and one line naming the file and what is wrong with it.
struct safetensors *safetensors_open(const char *path, struct error *e);
// The same from bytes in memory (copied); `where` stands in messages.
struct safetensors *safetensors_parse(const void *bytes, size_t n, const char *where,
                                      struct error *e);
void safetensors_free(struct safetensors *s); // NULL is fine
int safetensors_count(const struct safetensors *s);
const struct st_tensor *safetensors_at(const struct safetensors *s, int index); // sorted by name
const struct st_tensor *safetensors_find(const struct safetensors *s,
                                         const char *name); // NULL if absent
const char *safetensors_text(const struct safetensors *s,
                             const char *key);              // __metadata__; NULL if absent
const char *safetensors_where(const struct safetensors *s); // path, for messages
// The tensor `name` if it has this dtype and shape, else NULL and one line saying what is wrong.
const struct st_tensor *safetensors_expect(const struct safetensors *s, const char *name,
                                           enum st_dtype dtype, int n_dims, const int64_t *shape,
                                           struct error *e);

// ---- writing
struct st_source {
    const char *name;
    enum st_dtype dtype;
    int n_dims;
    int64_t shape[ST_MAX_DIMS];
    const void *data; // borrowed during the call
};
// CRC-32 over names and data in the order of the names, as eight hexadecimal digits: the text
// "crc32" of files that must not be taken when a bit was altered. `intact`: false and one line when
// a file's text differs; true where it has none.
#define ST_CRC_KEY "crc32"
void safetensors_crc(const struct st_source *tensors, int n_tensors, char out[9]);
bool safetensors_intact(const struct safetensors *s, struct error *e);
// Replaced atomically and synced. Names must be unique (CHECK). Any order.
bool safetensors_write(const char *path, const struct st_source *tensors, int n_tensors,
                       const struct st_text *texts, int n_texts, struct error *e);

#endif
