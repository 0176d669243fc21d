// Reconstruction strip: real, reconstruction and error of several moments of a run, in one PNG.
#include <inttypes.h>
#include <stdio.h>

#include "engine/data/image.h"
#include "engine/data/plot.h"

enum { N_ROWS = 3, GAP = 6, LABEL_WIDTH = 92, HEADER = 44, MAX_COLUMNS = 64 };

static const uint32_t paper = 0xffffff, ink = 0x202428, dim = 0x80868c, border = 0xc8ccd0;
static const char *const row_names[N_ROWS] = {"real", "reconstruction", "error"};

static void draw_column(struct image *im, const struct plot_column *c, int x, int width, int height,
                        int scale) {
    const uint8_t *const pictures[N_ROWS] = {c->real, c->reconstruction, c->error};
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, c->opt_steps);
    image_text(im, x + (width * scale - image_text_width(text, 1)) / 2, HEADER - 14, text, 1, dim);
    for (int r = 0; r < N_ROWS; r++) {
        int y = HEADER + r * (height * scale + GAP);
        image_box(im, x - 1, y - 1, width * scale + 2, height * scale + 2, border);
        image_picture(im, x, y, pictures[r], width, height, scale, r == N_ROWS - 1);
    }
}

bool plot_strip_png(const char *path, const char *title, const struct plot_column *columns,
                    int n_columns, int width, int height, int scale, struct error *e) {
    CHECK(n_columns >= 1 && n_columns <= MAX_COLUMNS && width >= 1 && height >= 1 && scale >= 1,
          "a strip of %d columns", n_columns);
    int column = width * scale + GAP, row = height * scale + GAP,
        total = LABEL_WIDTH + n_columns * column + GAP;
    int minimum = 12 + image_text_width(title, 2) + 12;
    if (minimum > IMAGE_MAX_SIDE) minimum = IMAGE_MAX_SIDE;
    struct image im;
    image_init(&im, total > minimum ? total : minimum, HEADER + N_ROWS * row + GAP, paper);
    image_text(&im, 12, 8, title, 2, ink);
    image_text(&im, 12, HEADER - 14, "gradient step", 1, dim);
    for (int r = 0; r < N_ROWS; r++)
        image_text(&im, 6, HEADER + r * row + (row - GAP) / 2, row_names[r], 1, ink);
    for (int c = 0; c < n_columns; c++)
        draw_column(&im, &columns[c], LABEL_WIDTH + c * column, width, height, scale);
    const struct image_note notes[] = {{"Title", title}, {"Software", "workbench"}};
    bool ok = image_write_png(&im, path, notes, 2, e);
    image_deinit(&im);
    return ok;
}
