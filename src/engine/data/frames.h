// Frames: pictures of a run in one append-only file, one byte per pixel, a zstd chunk per record.
//
//     struct frames_writer *w = frames_create(path, 80, 72, &e);
//     frames_append(w, opt_steps, env_steps, pixels, n, &e);  // pixels [n][72][80]
//     frames_close(w, &e);
//     struct frames_reader *r = frames_open(path, &e);
//     for (int64_t i = 0; i < frames_count(r); i++) frames_read(r, i, pixels, &e);
//
//     [file header 32 B][chunk header 48 B][zstd data][chunk header][zstd data]...
//
// A chunk is written by one write(), so a kill loses at most the last one; the reader drops a cut
// tail and says so. Chunk headers hold step, number of pictures, sizes and CRC-32 of header and
// data: following them is the index.
#ifndef DATA_FRAMES_H
#define DATA_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { FRAMES_MAX_SIDE = 4096, FRAMES_MAX_PICTURES = 4096 };

struct frames_writer;
struct frames_writer *frames_create(const char *path, int width, int height,
                                    struct error *e); // must not exist
// Goes on with a file after cutting it back to the records of at most `opt_steps`; one that is
// missing or whose writer was killed before it had a header is made.
struct frames_writer *frames_resume(const char *path, int width, int height, int64_t opt_steps,
                                    struct error *e);
bool frames_append(struct frames_writer *w, int64_t opt_steps, int64_t env_steps,
                   const uint8_t *pixels, int n_pictures, struct error *e);
bool frames_close(struct frames_writer *w, struct error *e); // frees; NULL is fine

struct frames_info {
    int64_t opt_steps, env_steps;
    int n_pictures;
};
struct frames_reader;
struct frames_reader *frames_open(const char *path, struct error *e);
void frames_reader_free(struct frames_reader *r); // NULL is fine
int frames_width(const struct frames_reader *r);
int frames_height(const struct frames_reader *r);
int64_t frames_count(const struct frames_reader *r);
bool frames_tail_cut(const struct frames_reader *r);
struct frames_info frames_info(const struct frames_reader *r, int64_t index);
// Record `index` into pixels [n_pictures][height][width]; false and one line when its checksum
// fails.
bool frames_read(struct frames_reader *r, int64_t index, uint8_t *pixels, struct error *e);

#endif
