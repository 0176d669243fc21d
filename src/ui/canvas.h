// Canvas: a grid of cells (a glyph, two colour roles, attributes) that all screens draw on. No
// terminal in it.
//
//     struct canvas c;
//     canvas_init(&c, 80, 24);
//     canvas_text(&c, (struct rect){2, 0, 20, 1}, style(ROLE_TITLE), "replay ring");
// golden screens; the terminal module shows the same cells
//     char *text = canvas_dump(&c);
//
// Every drawing call clips to the canvas, so drawing code need not. The caller owns the canvas; one
// thread at a time. Text is UTF-8 from anywhere: control characters and zero-width marks are
// dropped, wide glyphs take two cells and are never cut in half, broken bytes become U+FFFD. Widths
// are those of the C library (LC_CTYPE must be UTF-8).
#ifndef UI_CANVAS_H
#define UI_CANVAS_H

#include <stdbool.h>
#include <stdint.h>

#include "ui/role.h"

struct rect { int x, y, w, h; };
struct style { uint8_t fg, bg, attrs; };      // enum role, enum role, ATTR_*

struct cell {
    uint32_t glyph;                           // UTF-32; 0 in the right half of a wide glyph
    uint8_t fg, bg, attrs;
    uint8_t width;                            // 1, 2, or 0 in the right half of a wide glyph
};

struct canvas {
    int width, height;
    struct cell *cells;                       // [height][width]
    bool ascii;                               // draw with ASCII glyphs only
    int colours;                              // 256, 16, 8 or 0: pictures choose their way by it
};

void canvas_init(struct canvas *c, int width, int height);    // cleared, UTF-8, 256 colours
void canvas_deinit(struct canvas *c);
// sizes below 1 become 1; clears; keeps ascii and colours
void canvas_resize(struct canvas *c, int width, int height);
void canvas_clear(struct canvas *c);

struct style style(enum role fg);                              // on the default background
struct style style_on(enum role fg, enum role bg, int attrs);

// glyphs of width 1
void canvas_put(struct canvas *c, int x, int y, uint32_t glyph, struct style s);
void canvas_fill(struct canvas *c, struct rect r, uint32_t glyph, struct style s);
// another background under what is there
void canvas_tint(struct canvas *c, struct rect r, enum role bg);

// One line of text into the first row of r; what doesn't fit ends in an ellipsis. Returns the
// columns used.
int canvas_text(struct canvas *c, struct rect r, struct style s, const char *utf8);
int canvas_printf(struct canvas *c, struct rect r, struct style s, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int canvas_text_right(struct canvas *c, struct rect r, struct style s, const char *utf8);
int canvas_text_width(const char *utf8);                       // columns it would take

// Text wrapped at blanks into r; returns the rows used.
int canvas_paragraph(struct canvas *c, struct rect r, struct style s, const char *utf8);

const struct cell *canvas_at(const struct canvas *c, int x, int y);   // NULL outside

// rows ended by '\n', trailing blanks cut; free() it
char *canvas_dump(const struct canvas *c);
// the same with 256-colour escapes, for `cat` and screenshots
char *canvas_dump_colour(const struct canvas *c);

// next code point, 0 at the end; U+FFFD for broken bytes
uint32_t utf8_next(const char **text);
int utf8_put(uint32_t glyph, char out[5]);         // bytes written, out ends in 0

#endif
