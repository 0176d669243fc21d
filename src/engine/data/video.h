// Video: greyscale pictures as an animated GIF, and as MP4 where there is an `ffmpeg` program.
//
//     struct video_frames v = {
//         .width = 80, .height = 72, .n = n, .pixels = p, .frames_per_second = 10};
//     video_write_gif(path, &v, &e);
//     video_write_mp4(path, &v, &e);  // STATUS_SKIPPED without ffmpeg: tell the person, go on
#ifndef DATA_VIDEO_H
#define DATA_VIDEO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct video_frames {
    int width, height, n;
    const uint8_t *pixels; // [n][height][width] levels 0 (white, lightest shade) .. 255 (black)
    int frames_per_second; // 1..50
    int scale;             // each pixel becomes scale x scale; 0: 1
};

// 16 greys, endless loop. Replaced atomically, mode 0644 before umask.
bool video_write_gif(const char *path, const struct video_frames *v, struct error *e);
// H.264 in MP4, even sizes (padded by one pixel where odd). Runs `ffmpeg` from PATH with a pipe; a
// missing, failing or dying ffmpeg gives STATUS_SKIPPED and leaves no file.
bool video_write_mp4(const char *path, const struct video_frames *v, struct error *e);

#endif
