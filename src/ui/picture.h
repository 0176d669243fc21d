// Picture: an 80x72 picture of levels as terminal cells, and the palettes that terminal and window
// share.
//
//     picture_draw(&canvas, (struct rect){0, 2, 40, 18}, pictures->real, PICTURE_SHADES,
//                  PALETTE_GREY);
//
// Levels are those of run/feed.h: 0 lightest .. 255 darkest for pictures, 0 none .. 255 largest for
// errors. With 16 colours or more a cell of a full-size picture (80x36 cells) is a half block that
// shows its two pixels exactly; a cell of a smaller one holds 2x2 averages, drawn as the quadrant
// block of the two colours that fit them best. With fewer colours a cell is a shade block, or an
// ASCII character.
#ifndef UI_PICTURE_H
#define UI_PICTURE_H

#include <stdint.h>

#include "engine/run/feed.h"
#include "ui/canvas.h"

enum picture_kind { PICTURE_SHADES, PICTURE_ERROR };
enum picture_palette { PALETTE_GREY, PALETTE_GREEN, PALETTE_CONTRAST, PALETTE_SAFE, PALETTE_COUNT };
// SAFE: grey with a heat map for the colour-blind
extern const char *const picture_palette_names[PALETTE_COUNT];

// The role of a level. Errors go up the ramp with their square root, so that small ones show; the
// mapping is fixed, so one colour means one error everywhere.
enum role picture_role(enum picture_kind kind, enum picture_palette palette, int level);
// smooth between roles
void picture_rgb(enum picture_kind kind, enum picture_palette palette, int level, uint8_t rgb[3]);

// Average of the source pixels under each of the w x h pixels of out; any size.
void picture_scale(const uint8_t *picture, int w, int h, uint8_t *out);

// Fills r with the picture. Clips to the canvas. Sizes beyond 80x36 cells repeat pixels.
void picture_draw(struct canvas *c, struct rect r, const uint8_t *picture, enum picture_kind kind,
                  enum picture_palette palette);
// The colours from no error (0) to the largest (3 shades), w cells wide with these numbers: the
// legend of the heat map.
void picture_legend(struct canvas *c, int x, int y, int w, enum picture_palette palette);

#endif
