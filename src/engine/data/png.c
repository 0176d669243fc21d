// PNG files through libpng: composed in memory, replaced atomically.
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "engine/data/image.h"

static void take_bytes(png_structp png, png_bytep data, png_size_t n) {
    text_add_bytes(png_get_io_ptr(png), data, n);
}

static void no_flush(png_structp png) { (void)png; }

static void on_error(png_structp png, png_const_charp message) {
    struct error *e = png_get_error_ptr(png);
    error_set(e, STATUS_FAILED, "cannot make a PNG: %s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

struct picture {
    const uint8_t *pixels;
    int width, height, channels; // 1 or 3
    const struct image_note *notes;
    int n_notes;
};

static void put_notes(png_structp png, png_infop info, const struct picture *p) {
    for (int i = 0; i < p->n_notes; i++) {
        png_text text = {.compression = PNG_TEXT_COMPRESSION_NONE,
                         .key = (char *)p->notes[i].key,
                         .text = (char *)p->notes[i].text};
        png_set_text(png, info, &text, 1);
    }
}

// libpng leaves by longjmp on errors: everything it may leave behind belongs to the caller.
static bool compose(png_structp png, png_infop info, const struct picture *p, struct text *out) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_write_fn(png, out, take_bytes, no_flush);
    png_set_IHDR(png, info, (png_uint_32)p->width, (png_uint_32)p->height, 8,
                 p->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    put_notes(png, info, p);
    png_write_info(png, info);
    for (int y = 0; y < p->height; y++)
        png_write_row(png, p->pixels + (size_t)y * (size_t)p->width * (size_t)p->channels);
    png_write_end(png, NULL);
    return true;
}

static bool write_picture(const struct picture *p, const char *path, struct error *e) {
    struct error inner = {STATUS_FAILED, "cannot make a PNG"};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &inner, on_error, on_warning);
    CHECK(png, "libpng does not start");
    png_infop info = png_create_info_struct(png);
    CHECK(info, "libpng does not start");
    struct text out = {0};
    bool ok = compose(png, info, p, &out);
    png_destroy_write_struct(&png, &info);
    ok = ok ? file_write_atomic(path, out.data, out.n, e)
            : error_set(e, inner.status, "%s: %s", path, inner.message);
    text_deinit(&out);
    return ok;
}

bool image_write_png(const struct image *im, const char *path, const struct image_note *notes,
                     int n_notes, struct error *e) {
    struct picture p = {im->pixels, im->width, im->height, 3, notes, n_notes};
    return write_picture(&p, path, e);
}

bool png_write_grey(const char *path, const uint8_t *pixels, int width, int height,
                    const struct image_note *notes, int n_notes, struct error *e) {
    struct picture p = {pixels, width, height, 1, notes, n_notes};
    return write_picture(&p, path, e);
}
