// Role colours: the table, and xterm's palette as numbers.
#include "ui/role.h"

// The four Game Boy shades are xterm greys 231 248 240 232 (entries 0 4 8 12 of the grey ramp), the
// steps between them serve averaged and reconstructed pixels. The heat ramps rise in lightness, so
// they survive without hue.
static const struct role_colour table[ROLE_COUNT] = {
    [ROLE_DEFAULT] = {-1, -1, -1, 0, 0},
    [ROLE_TEXT] = {252, 7, 7, 0, 0},
    [ROLE_DIM] = {245, 8, 7, ATTR_DIM, 0},
    [ROLE_FAINT] = {239, 8, 7, ATTR_DIM, 0},
    [ROLE_TITLE] = {255, 15, 7, ATTR_BOLD, 0},
    [ROLE_LABEL] = {246, 7, 7, 0, 0},
    [ROLE_VALUE] = {255, 15, 7, ATTR_BOLD, 0},
    [ROLE_FOCUS] = {45, 14, 6, ATTR_BOLD, 0},
    [ROLE_GOOD] = {114, 10, 2, 0, 0},
    [ROLE_WARN] = {221, 11, 3, ATTR_BOLD, 0},
    [ROLE_BAD] = {203, 9, 1, ATTR_BOLD, 0},
    [ROLE_KEY] = {45, 14, 6, ATTR_BOLD, 0},
    [ROLE_BAR] = {236, 0, 0, 0, ATTR_REVERSE},
    [ROLE_BAR_TEXT] = {254, 15, 7, 0, 0},
    [ROLE_BAR_DIM] = {248, 7, 7, 0, 0},
    [ROLE_GOOD_BG] = {71, 2, 2, 0, ATTR_REVERSE},
    [ROLE_WARN_BG] = {178, 3, 3, 0, ATTR_REVERSE},
    [ROLE_BAD_BG] = {160, 1, 1, 0, ATTR_REVERSE},
    [ROLE_INFO_BG] = {31, 4, 4, 0, ATTR_REVERSE},
    [ROLE_ON_BADGE] = {16, 0, 0, ATTR_BOLD, 0},
    [ROLE_GAUGE] = {45, 14, 6, ATTR_BOLD, ATTR_REVERSE},
    [ROLE_GAUGE_REST] = {238, 8, 7, ATTR_DIM, 0},
    [ROLE_CROSSHAIR] = {240, 8, 4, 0, ATTR_REVERSE},
    [ROLE_BAND] = {235, -1, -1, 0, 0},
    [ROLE_SERIES] = {45, 14, 6, ATTR_BOLD, 0}, {214, 11, 3, 0, 0}, {120, 10, 2, 0, 0},
    {212, 13, 5, 0, 0},
    [ROLE_RAW] = {24, 4, 4, ATTR_DIM, 0}, {94, 3, 3, ATTR_DIM, 0}, {28, 2, 2, ATTR_DIM, 0},
    {96, 5, 5, ATTR_DIM, 0},
    [ROLE_GREY] = {231, 15, 7, 0, 0}, {254, 15, 7, 0, 0}, {252, 15, 7, 0, 0}, {250, 7, 7, 0, 0},
    {248, 7, 7, 0, 0},
    {246, 7, 7, 0, 0}, {244, 7, 7, 0, 0}, {242, 8, 0, 0, 0}, {240, 8, 0, 0, 0},
    {238, 8, 0, 0, 0}, {236, 0, 0, 0, 0},
    {234, 0, 0, 0, 0}, {232, 0, 0, 0, 0},
    [ROLE_GREEN] = {192, 15, 7, 0, 0}, {191, 15, 7, 0, 0}, {155, 10, 2, 0, 0},
    {149, 10, 2, 0, 0}, {113, 10, 2, 0, 0},
    {107, 10, 2, 0, 0}, {71, 2, 2, 0, 0}, {65, 2, 2, 0, 0}, {64, 2, 2, 0, 0}, {28, 2, 2, 0, 0},
    {22, 8, 0, 0, 0},
    {233, 0, 0, 0, 0}, {232, 0, 0, 0, 0},
    [ROLE_HEAT] = {16, 0, 0, 0, 0}, {17, 0, 0, 0, 0}, {53, 4, 4, 0, 0}, {89, 5, 5, 0, 0},
    {125, 5, 5, 0, 0},
    {161, 1, 1, 0, 0}, {203, 9, 1, 0, 0}, {209, 9, 1, 0, 0}, {215, 11, 3, 0, 0},
    {221, 11, 3, 0, 0}, {228, 15, 7, 0, 0},
    {231, 15, 7, 0, 0},
    [ROLE_SAFE] = {16, 0, 0, 0, 0}, {17, 0, 0, 0, 0}, {18, 4, 4, 0, 0}, {24, 4, 4, 0, 0},
    {60, 4, 4, 0, 0},
    {66, 12, 6, 0, 0}, {102, 8, 6, 0, 0}, {108, 7, 7, 0, 0}, {144, 7, 7, 0, 0},
    {179, 11, 3, 0, 0}, {185, 11, 3, 0, 0},
    {227, 11, 3, 0, 0},
};

const struct role_colour *role_colour(enum role role) {
    return &table[role < ROLE_COUNT ? role : ROLE_DEFAULT];
}

void role_rgb(int index, uint8_t rgb[3]) {
    static const uint8_t base[16][3] = {
        {0, 0, 0}, {205, 0, 0}, {0, 205, 0}, {205, 205, 0}, {0, 0, 238}, {205, 0, 205},
        {0, 205, 205}, {229, 229, 229},
        {127, 127, 127}, {255, 0, 0}, {0, 255, 0}, {255, 255, 0}, {92, 92, 255}, {255, 0, 255},
        {0, 255, 255},
        {255, 255, 255}};
    static const uint8_t cube[6] = {0, 95, 135, 175, 215, 255};
    if (index < 0) index = 0;
    if (index < 16) {
        for (int i = 0; i < 3; i++) rgb[i] = base[index][i];
    } else if (index < 232) {
        int n = index - 16;
        rgb[0] = cube[n / 36];
        rgb[1] = cube[n / 6 % 6];
        rgb[2] = cube[n % 6];
    } else {
        rgb[0] = rgb[1] = rgb[2] = (uint8_t)(8 + 10 * ((index > 255 ? 255 : index) - 232));
    }
}
