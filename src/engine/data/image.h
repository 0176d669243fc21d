// Image: an RGB canvas with lines, boxes, small text and scaled pictures, and PNG files.
//
//     struct image im;
//     image_init(&im, 640, 400, 0xffffff);
//     image_text(&im, 8, 8, "loss", 1, 0x202020);
//     image_write_png(&im, path, (struct image_note[]){{"Title", "loss"}}, 1, &e);
//     image_deinit(&im);
//
// Drawing outside the canvas is clipped. Colours are 0xRRGGBB. The font is our own, 5x7 in a 6x9
// cell, ASCII 32-126.
#ifndef DATA_IMAGE_H
#define DATA_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { IMAGE_CHAR_WIDTH = 6, IMAGE_CHAR_HEIGHT = 9, IMAGE_MAX_SIDE = 16384 };

struct image {
    int width, height;
    uint8_t *pixels; // [height][width][3]
};

void image_init(struct image *im, int width, int height, uint32_t colour);
void image_deinit(struct image *im);
void image_dot(struct image *im, int x, int y, uint32_t colour);
void image_box(struct image *im, int x, int y, int width, int height, uint32_t colour); // filled
// Mixed into what is there: percent of the colour.
void image_tint(struct image *im, int x, int y, int width, int height, uint32_t colour,
                int percent);
void image_line(struct image *im, int x0, int y0, int x1, int y1, uint32_t colour);
void image_text(struct image *im, int x, int y, const char *text, int scale,
                uint32_t colour); // x, y: top left
int image_text_width(const char *text, int scale);
// Levels 0 (white, lightest shade) .. 255 (black) as grey; heat: as an error map, black over red to
// yellow.
void image_picture(struct image *im, int x, int y, const uint8_t *levels, int width, int height,
                   int scale, bool heat);

// ---- PNG through libpng, replaced atomically. Notes become tEXt chunks. No time inside: same
// image, same bytes.
struct image_note {
    const char *key, *text;
};
bool image_write_png(const struct image *im, const char *path, const struct image_note *notes,
                     int n_notes, struct error *e);
bool png_write_grey(const char *path, const uint8_t *pixels, int width, int height,
                    const struct image_note *notes, int n_notes, struct error *e);

#endif
