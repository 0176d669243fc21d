// picture.c - reads expected screens.
#include "picture.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 160, HEIGHT = 144, MAX_PATH_BYTES = 4096 };

// Where suites keep them: %s is the path without ".gb", or the folder of the ROM.
static const struct {
    const char *format;
    bool from_folder;
} places[] = {
    {"%s_dmg08.png", false},
    {"%s_dmg08_cgb04c.png", false},
    {"%s-dmg.png", false},
    {"%s/screenshots/expected.png", true},
    {"%s/screenshots/auto-pass.png", true},
    {"%s/baseline_0000.png", true},
    {"%s/reference-dmg.png", true},
};

static int luminance(const uint8_t *rgb)
{
    return (rgb[0] * 299 + rgb[1] * 587 + rgb[2] * 114) / 1000;
}

// The four shades are about thirds of the brightness in every palette these suites use.
static void to_shades(const uint8_t *rgb, uint8_t *shades)
{
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        shades[i] = (uint8_t)(3 - (luminance(rgb + i * 3) + 42) / 85);
}

static bool read_png(const char *path, uint8_t *shades)
{
    png_image image;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_file(&image, path)) return false;
    bool fine = false;
    image.format = PNG_FORMAT_RGB;
    uint8_t *rgb = malloc(PNG_IMAGE_SIZE(image));
    if (rgb && image.width == WIDTH && image.height == HEIGHT)
        fine = png_image_finish_read(&image, NULL, rgb, 0, NULL);
    if (fine) to_shades(rgb, shades);
    png_image_free(&image);
    free(rgb);
    return fine;
}

bool picture_expected(const char *rom_path, uint8_t *shades)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char stem[MAX_PATH_BYTES], path[MAX_PATH_BYTES + 64];
        snprintf(stem, sizeof stem, "%s", rom_path);
        char *cut = strrchr(stem, places[i].from_folder ? '/' : '.');
        if (cut) *cut = '\0';
        snprintf(path, sizeof path, places[i].format, stem);
        if (read_png(path, shades)) return true;
    }
    return false;
}
