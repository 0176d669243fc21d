// Image: an RGB canvas in memory with lines, filled boxes, small text and scaled pictures.
#include "engine/data/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/data/font.h"

void image_init(struct image *im, int width, int height, uint32_t colour) {
    CHECK(width >= 1 && height >= 1 && width <= IMAGE_MAX_SIDE && height <= IMAGE_MAX_SIDE,
          "an image of %dx%d", width, height);
    im->width = width;
    im->height = height;
    im->pixels = mem_alloc((size_t)width * (size_t)height * 3);
    image_box(im, 0, 0, width, height, colour);
}

void image_deinit(struct image *im) {
    free(im->pixels);
    *im = (struct image){0};
}

void image_dot(struct image *im, int x, int y, uint32_t colour) {
    if (x < 0 || y < 0 || x >= im->width || y >= im->height) return;
    uint8_t *p = im->pixels + ((size_t)y * (size_t)im->width + (size_t)x) * 3;
    p[0] = (uint8_t)(colour >> 16);
    p[1] = (uint8_t)(colour >> 8);
    p[2] = (uint8_t)colour;
}

void image_box(struct image *im, int x, int y, int width, int height, uint32_t colour) {
    int x1 = x + width < im->width ? x + width : im->width,
        y1 = y + height < im->height ? y + height : im->height;
    for (int j = y < 0 ? 0 : y; j < y1; j++)
        for (int i = x < 0 ? 0 : x; i < x1; i++) image_dot(im, i, j, colour);
}

void image_tint(struct image *im, int x, int y, int width, int height, uint32_t colour,
                int percent) {
    for (int j = y < 0 ? 0 : y; j < y + height && j < im->height; j++)
        for (int i = x < 0 ? 0 : x; i < x + width && i < im->width; i++) {
            uint8_t *p = im->pixels + ((size_t)j * (size_t)im->width + (size_t)i) * 3;
            for (int c = 0; c < 3; c++) {
                const int of = (int)(colour >> (16 - 8 * c) & 0xff);
                p[c] = (uint8_t)((p[c] * (100 - percent) + of * percent) / 100);
            }
        }
}

void image_line(struct image *im, int x0, int y0, int x1, int y1, uint32_t colour) {
    int dx = abs(x1 - x0), dy = -abs(y1 - y0), sx = x0 < x1 ? 1 : -1, sy = y0 < y1 ? 1 : -1,
        error = dx + dy;
    for (;;) {
        image_dot(im, x0, y0, colour);
        if (x0 == x1 && y0 == y1) return;
        int twice = 2 * error;
        if (twice >= dy) {
            error += dy;
            x0 += sx;
        }
        if (twice <= dx) {
            error += dx;
            y0 += sy;
        }
    }
}

void image_text(struct image *im, int x, int y, const char *text, int scale, uint32_t colour) {
    for (; *text; text++, x += IMAGE_CHAR_WIDTH * scale) {
        int c = (unsigned char)*text;
        if ((c & 0xC0) == 0x80)
            x -= IMAGE_CHAR_WIDTH * scale; // rest of a UTF-8 letter: one '?' for all of it
        const uint8_t *rows = font_rows[(c >= FONT_FIRST && c <= FONT_LAST ? c : '?') - FONT_FIRST];
        for (int j = 0; j < FONT_HEIGHT; j++)
            for (int i = 0; i < FONT_WIDTH; i++)
                if (rows[j] >> (FONT_WIDTH - 1 - i) & 1)
                    image_box(im, x + i * scale, y + j * scale, scale, scale, colour);
    }
}

int image_text_width(const char *text, int scale) {
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n ? n * IMAGE_CHAR_WIDTH * scale - scale : 0;
}

// 0 black, then red, then yellow: small errors stay dark, large ones shine.
static uint32_t heat_colour(uint8_t level) {
    uint32_t red = level < 128 ? 2u * level : 255, green = level < 128 ? 0 : 2u * (level - 128u);
    return red << 16 | green << 8;
}

void image_picture(struct image *im, int x, int y, const uint8_t *levels, int width, int height,
                   int scale, bool heat) {
    for (int j = 0; j < height; j++)
        for (int i = 0; i < width; i++) {
            uint8_t level = levels[(size_t)j * (size_t)width + (size_t)i];
            uint32_t grey = 255u - level;
            image_box(im, x + i * scale, y + j * scale, scale, scale,
                      heat ? heat_colour(level) : grey << 16 | grey << 8 | grey);
        }
}
