// Roles: what a cell means, and the ONE table of the colours each role gets on 256, 16, 8 and 0
// colours.
//
// Drawing code names a role, never a colour; the terminal module and the coloured dump look it up
// here.
#ifndef UI_ROLE_H
#define UI_ROLE_H

#include <stdint.h>

enum { ROLE_GREYS = 13, ROLE_HEATS = 12 };

enum role {
    ROLE_DEFAULT,                             // the terminal's own foreground or background
    ROLE_TEXT, ROLE_DIM, ROLE_FAINT, ROLE_TITLE, ROLE_LABEL, ROLE_VALUE, ROLE_FOCUS,
    ROLE_GOOD, ROLE_WARN, ROLE_BAD, ROLE_KEY,
    ROLE_BAR, ROLE_BAR_TEXT, ROLE_BAR_DIM,    // header and footer bars
    ROLE_GOOD_BG, ROLE_WARN_BG, ROLE_BAD_BG, ROLE_INFO_BG, ROLE_ON_BADGE,
    ROLE_GAUGE, ROLE_GAUGE_REST, ROLE_CROSSHAIR, ROLE_BAND,
    ROLE_SERIES, ROLE_SERIES_LAST = ROLE_SERIES + 3,          // four curves
    ROLE_RAW, ROLE_RAW_LAST = ROLE_RAW + 3,                   // their raw bands
    ROLE_GREY, ROLE_GREY_LAST = ROLE_GREY + ROLE_GREYS - 1,   // lightest first
    ROLE_GREEN, ROLE_GREEN_LAST = ROLE_GREEN + ROLE_GREYS - 1,
    ROLE_HEAT, ROLE_HEAT_LAST = ROLE_HEAT + ROLE_HEATS - 1,   // no error first
    ROLE_SAFE, ROLE_SAFE_LAST = ROLE_SAFE + ROLE_HEATS - 1,   // the same, for the colour-blind
    ROLE_COUNT
};

enum { ATTR_BOLD = 1, ATTR_DIM = 2, ATTR_REVERSE = 4, ATTR_UNDERLINE = 8 };

struct role_colour {
    int16_t c256, c16, c8;                    // palette index, -1: the terminal's default
    // attributes that stand for it without colours, as foreground, background
    uint8_t mono_fg, mono_bg;
};

const struct role_colour *role_colour(enum role role);
// xterm's 256-colour palette: cube 16..231, greys 232..255
void role_rgb(int xterm_index, uint8_t rgb[3]);

#endif
