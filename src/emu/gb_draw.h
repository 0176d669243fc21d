// gb_draw.h - the picture: background, window and sprites of one line at a time, into the packed2
// observation and, where the caller lent a buffer, into all 160x144 shades.
//
// Drawing is late: nothing happens until somebody changes what the picture depends on, or VBlank
// comes; then gb_draw_to draws what the LCD has passed by then, with the registers still as they
// were. A line that is interrupted in mode 3 is drawn in pieces. Frames nobody will look at are not
// drawn, only their window lines are counted, so a saved state does not depend on who watched.
// Rules: Pan Docs, "Graphics".
#ifndef GB_DRAW_H
#define GB_DRAW_H

#include "gb_obs.h"

enum {
    GB_LCDC_BG = 0x01,
    GB_LCDC_SPRITES = 0x02,
    GB_LCDC_TALL = 0x04,
    GB_LCDC_BG_MAP = 0x08,
    GB_LCDC_UNSIGNED = 0x10,
    GB_LCDC_WINDOW = 0x20,
    GB_LCDC_WIN_MAP = 0x40,
    GB_LCDC_ON = 0x80,
    GB_DOT_FIRST_PIXEL = 96 // dot of a line at which pixel 0 goes out, without fine scroll
};

// The first ten sprites in OAM order that cover the line. Returns how many.
HD int gb_draw_find_sprites(const struct gb *m, int line, uint8_t index[10])
{
    int n = 0, height = m->ppu.lcdc & GB_LCDC_TALL ? 16 : 8;
    for (int i = 0; i < 40 && n < 10; i++)
        if ((unsigned)(line + 16 - m->oam[i * 4]) < (unsigned)height) index[n++] = (uint8_t)i;
    return n;
}

// Sorts by X, then by place in OAM: the order of priority.
HD void gb_draw_sort_sprites(const struct gb *m, uint8_t index[10], int n)
{
    for (int i = 1; i < n; i++) {
        uint8_t moving = index[i];
        int j = i;
        for (; j > 0 && m->oam[index[j - 1] * 4 + 1] > m->oam[moving * 4 + 1]; j--)
            index[j] = index[j - 1];
        index[j] = moving;
    }
}

HD bool gb_draw_window_on(const struct gb *m)
{
    unsigned need = GB_LCDC_WINDOW | GB_LCDC_BG;
    return (m->ppu.lcdc & need) == need && m->ppu.wy_hit && m->ppu.wx <= 166;
}

// Eight bits to eight bytes of 0 or 1, the leftmost pixel (bit 7) in the lowest byte. The product
// holds the byte eight times, 9 bits apart, so that bit 7 of byte k is bit 7-k of the source.
HD uint64_t gb_draw_spread(uint8_t bits)
{
    return (bits * 0x8040201008040201u & 0x8080808080808080u) >> 7;
}

HD void gb_draw_put8(uint8_t *to, uint64_t pixels)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    pixels = __builtin_bswap64(pixels);
#endif
    memcpy(to, &pixels, 8);
}

// n tiles of a map row, from map column `column` on, as colour numbers 0-3.
HD void gb_draw_tiles(const struct gb *m, uint8_t *to, int n, int map, int y, int column)
{
    const uint8_t *row = m->vram + map + (y >> 3) * 32;
    bool unsigned_tiles = (m->ppu.lcdc & GB_LCDC_UNSIGNED) != 0;
    for (int i = 0; i < n; i++) {
        unsigned tile = row[(column + i) & 31];
        unsigned base = unsigned_tiles || tile >= 128 ? tile * 16 : 0x1000 + tile * 16;
        const uint8_t *data = m->vram + base + (y & 7) * 2;
        gb_draw_put8(to + i * 8, gb_draw_spread(data[0]) | gb_draw_spread(data[1]) << 1);
    }
}

// Background and window of a line as colour numbers; line has room for 8 pixels left of the screen
// and 16 right of it.
HD void gb_draw_background(const struct gb *m, int ly, uint8_t *line)
{
    const struct gb_ppu *ppu = &m->ppu;
    if (!(ppu->lcdc & GB_LCDC_BG)) {
        memset(line, 0, GB_LCD_WIDTH);
        return;
    }
    int n_left = gb_draw_window_on(m) ? ppu->wx - 7 : GB_LCD_WIDTH;
    if (n_left > 0) {
        int map = ppu->lcdc & GB_LCDC_BG_MAP ? 0x1c00 : 0x1800;
        gb_draw_tiles(m, line - (ppu->scx & 7), (n_left + 7 + 7) >> 3, map,
                      (ly + ppu->scy) & 0xff, ppu->scx >> 3);
    }
    if (n_left < GB_LCD_WIDTH) {
        int map = ppu->lcdc & GB_LCDC_WIN_MAP ? 0x1c00 : 0x1800;
        gb_draw_tiles(m, line + n_left, (GB_LCD_WIDTH - n_left + 7) >> 3, map, ppu->win_line, 0);
    }
}

// One sprite's row onto the shades; colours are the background's numbers, 4 = taken by a sprite.
HD void gb_draw_sprite(const struct gb *m, int ly, int index, uint8_t *colours, uint8_t *shades)
{
    const uint8_t *sprite = m->oam + index * 4;
    int height = m->ppu.lcdc & GB_LCDC_TALL ? 16 : 8;
    int row = ly + 16 - sprite[0], left = sprite[1] - 8;
    unsigned tile = height == 16 ? sprite[2] & 0xfeu : sprite[2], attributes = sprite[3];
    if (attributes & 0x40) row = height - 1 - row;
    const uint8_t *data = m->vram + tile * 16 + row * 2;
    unsigned palette = attributes & 0x10 ? m->ppu.obp1 : m->ppu.obp0;
    for (int i = 0; i < 8; i++) {
        int x = left + i, bit = attributes & 0x20 ? i : 7 - i;
        unsigned colour = (data[0] >> bit & 1u) | (data[1] >> bit & 1u) << 1;
        if (x < 0 || x >= GB_LCD_WIDTH || colour == 0 || colours[x] == 4) continue;
        if (!(attributes & 0x80) || colours[x] == 0)
            shades[x] = (uint8_t)(palette >> (2 * colour) & 3);
        colours[x] = 4; // even when behind the background it hides later sprites
    }
}

// A whole line in shades, with the registers as they are.
HD void gb_draw_line(const struct gb *m, int ly, uint8_t shades[GB_LCD_WIDTH])
{
    uint8_t room[8 + GB_LCD_WIDTH + 16], *colours = room + 8, index[10];
    unsigned bgp = m->ppu.bgp;
    gb_draw_background(m, ly, colours);
    const uint8_t map[4] = {(uint8_t)(bgp & 3), (uint8_t)(bgp >> 2 & 3), (uint8_t)(bgp >> 4 & 3),
                            (uint8_t)(bgp >> 6)};
    bool bg_on = (m->ppu.lcdc & GB_LCDC_BG) != 0;
    for (int x = 0; x < GB_LCD_WIDTH; x++) shades[x] = bg_on ? map[colours[x]] : 0;
    if (!(m->ppu.lcdc & GB_LCDC_SPRITES)) return;
    int n = gb_draw_find_sprites(m, ly, index);
    gb_draw_sort_sprites(m, index, n);
    for (int i = 0; i < n; i++) gb_draw_sprite(m, ly, index[i], colours, shades);
}

// Is the frame being shown one that somebody will look at?
HD bool gb_draw_wanted(const struct gb *m)
{
    return m->ppu.frame_t + 144 * GB_LINE_CYCLES > m->draw_from;
}

// Draws pixels [from_x, to_x) of a line, and hands the line out when it is complete.
HD void gb_draw_piece(struct gb *m, int ly, int from_x, int to_x)
{
    if (!m->lcd && (ly & 1)) return;
    if (from_x == 0 && to_x == GB_LCD_WIDTH) {
        gb_draw_line(m, ly, m->line);
    } else {
        uint8_t shades[GB_LCD_WIDTH];
        gb_draw_line(m, ly, shades);
        memcpy(m->line + from_x, shades + from_x, (size_t)(to_x - from_x));
    }
    if (to_x < GB_LCD_WIDTH) return;
    int next = !m->picture;
    if (!(ly & 1)) gb_obs_pack_row(m->line, m->obs[next] + ly / 2 * 20);
    if (m->lcd)
        memcpy(m->lcd + next * GB_LCD_WIDTH * GB_LCD_HEIGHT + ly * GB_LCD_WIDTH, m->line,
               GB_LCD_WIDTH);
}

// The start of a line in mode 2, where LY = WY is looked at.
HD void gb_draw_begin_line(struct gb *m)
{
    if ((m->ppu.lcdc & GB_LCDC_WINDOW) && m->ppu.wy == m->ppu.drawn_line) m->ppu.wy_hit = 1;
}

// Also looked at when WY or LCDC is written during the line.
HD void gb_draw_check_window(struct gb *m, int32_t t)
{
    int line = (t - m->ppu.frame_t) / GB_LINE_CYCLES;
    if ((m->ppu.lcdc & GB_LCDC_WINDOW) && m->ppu.wy == line) m->ppu.wy_hit = 1;
}

// Advances the picture to pixel x of the line being drawn.
HD void gb_draw_advance(struct gb *m, int x, bool wanted)
{
    struct gb_ppu *ppu = &m->ppu;
    if (x <= ppu->drawn_x) return;
    if (wanted) gb_draw_piece(m, ppu->drawn_line, ppu->drawn_x, x);
    if (gb_draw_window_on(m)) ppu->win_used = 1;
    ppu->drawn_x = (uint8_t)x;
}

// Draws everything the LCD has shown by time t.
HD void gb_draw_to(struct gb *m, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    if (!(ppu->lcdc & GB_LCDC_ON) || ppu->drawn_line >= GB_LCD_HEIGHT) return;
    int p = t - ppu->frame_t, line = p / GB_LINE_CYCLES;
    int x = p % GB_LINE_CYCLES - GB_DOT_FIRST_PIXEL - (ppu->scx & 7);
    bool wanted = gb_draw_wanted(m);
    for (;;) {
        if (!ppu->line_begun) {
            if (ppu->drawn_line > line) return;
            gb_draw_begin_line(m);
            ppu->line_begun = 1;
        }
        if (ppu->drawn_line == line) {
            gb_draw_advance(m, x < GB_LCD_WIDTH ? x : GB_LCD_WIDTH, wanted);
            return;
        }
        gb_draw_advance(m, GB_LCD_WIDTH, wanted);
        ppu->win_line = (uint8_t)(ppu->win_line + ppu->win_used);
        ppu->win_used = ppu->drawn_x = ppu->line_begun = 0;
        if (++ppu->drawn_line == GB_LCD_HEIGHT) return;
    }
}

// The frame is complete: it becomes the picture.
HD void gb_draw_show(struct gb *m, bool blank)
{
    m->picture = !m->picture;
    m->picture_blank = blank;
}

#endif
