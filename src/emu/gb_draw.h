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

#include "gb_line.h"
#include "gb_obs.h"

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
    unsigned row = (unsigned)(map + (y >> 3) * 32);
    bool unsigned_tiles = (m->ppu.lcdc & GB_LCDC_UNSIGNED) != 0;
    for (int i = 0; i < n; i++) {
        unsigned tile = *gb_vram(m, row + ((unsigned)(column + i) & 31));
        unsigned base = unsigned_tiles || tile >= 128 ? tile * 16 : 0x1000 + tile * 16;
        const uint8_t *data = gb_vram(m, base + ((unsigned)y & 7) * 2);
        gb_draw_put8(to + i * 8, gb_draw_spread(data[0]) | gb_draw_spread(data[1]) << 1);
    }
}

// Background and window of a line as colour numbers; line has room for 8 pixels left of the screen
// and 16 right of it.
HD_CALL void gb_draw_background(const struct gb *m, int ly, uint8_t *line)
{
    const struct gb_ppu *ppu = &m->ppu;
    if (!(ppu->lcdc & GB_LCDC_BG)) {
        memset(line, 0, GB_LCD_WIDTH);
        return;
    }
    bool window = ppu->win_from && (ppu->win_state & GB_WIN_SHOWN);
    int n_left = window && ppu->win_from < GB_X_END ? ppu->win_from - 8 : GB_LCD_WIDTH;
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
HD_CALL void gb_draw_sprite(const struct gb *m, int ly, const struct gb_sprites *s, int i,
                       uint8_t *colours, uint8_t *shades)
{
    const uint8_t *sprite = m->oam + s->index[i] * 4;
    int height = m->ppu.lcdc & GB_LCDC_TALL ? 16 : 8;
    int row = (ly + 16 - s->y[i]) & (height - 1), left = s->x[i] - 8;
    unsigned tile = height == 16 ? sprite[2] & 0xfeu : sprite[2], attributes = sprite[3];
    if (attributes & 0x40) row = height - 1 - row;
    const uint8_t *data = gb_vram(m, tile * 16 + (unsigned)row * 2);
    unsigned palette = attributes & 0x10 ? m->ppu.obp1 : m->ppu.obp0;
    for (int k = 0; k < 8; k++) {
        int x = left + k, bit = attributes & 0x20 ? k : 7 - k;
        unsigned colour = (data[0] >> bit & 1u) | (data[1] >> bit & 1u) << 1;
        if (x < 0 || x >= GB_LCD_WIDTH || colour == 0 || colours[x] == 4) continue;
        if (!(attributes & 0x80) || colours[x] == 0)
            shades[x] = (uint8_t)(palette >> (2 * colour) & 3);
        colours[x] = 4; // even when behind the background it hides later sprites
    }
}

// Eight colour numbers to eight shades: each byte is 0-3, so nothing carries.
HD uint64_t gb_draw_palette8(uint64_t colours, unsigned palette)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = colours & ones, high = colours >> 1 & ones, both = low & high;
    return (ones ^ (low | high)) * (palette & 3) + (low ^ both) * (palette >> 2 & 3) +
           (high ^ both) * (palette >> 4 & 3) + both * (palette >> 6 & 3);
}

// A whole line in shades, with the registers as they are.
HD_CALL void gb_draw_line(const struct gb *m, int ly, uint8_t shades[GB_LCD_WIDTH])
{
    uint8_t room[8 + GB_LCD_WIDTH + 16], *colours = room + 8;
    gb_draw_background(m, ly, colours);
    unsigned palette = m->ppu.lcdc & GB_LCDC_BG ? m->ppu.bgp : 0;
    for (int x = 0; x < GB_LCD_WIDTH; x += 8) {
        uint64_t eight;
        memcpy(&eight, colours + x, 8);
        eight = gb_draw_palette8(eight, palette);
        memcpy(shades + x, &eight, 8);
    }
    if (!(m->ppu.lcdc & GB_LCDC_SPRITES)) return;
    struct gb_sprites s;
    gb_line_sprites(m, ly, &s);
    for (int i = 0; i < s.n; i++) gb_draw_sprite(m, ly, &s, i, colours, shades);
}

// Is the frame being shown one that somebody will look at?
HD bool gb_draw_wanted(const struct gb *m)
{
    return m->ppu.frame_t + 144 * GB_LINE_CYCLES > m->draw_from;
}

// Draws pixels [from_x, to_x) of a line, and hands the line out when it is complete.
HD_CALL void gb_draw_piece(struct gb *m, int ly, int from_x, int to_x)
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

// LY = WY is looked at twice on a line, at dots 2 (5 on line 0) and 454.
HD_CALL void gb_draw_check_window(struct gb *m, int dot)
{
    struct gb_ppu *ppu = &m->ppu;
    bool equal = (ppu->lcdc & GB_LCDC_WINDOW) && ppu->wy == ppu->drawn_line;
    if (ppu->line_checks == 0 && dot >= (ppu->drawn_line == 0 ? 5 : 2)) {
        ppu->wy_hit = equal || (ppu->wy_hit && ppu->drawn_line > 0);
        ppu->line_checks = 1;
    }
    if (ppu->line_checks == 1 && dot >= 454) {
        ppu->wy_hit |= equal;
        ppu->line_checks = 2;
    }
}

// Advances the picture to screen pixel x of the line being drawn.
HD void gb_draw_advance(struct gb *m, int x, bool wanted)
{
    struct gb_ppu *ppu = &m->ppu;
    if (x <= ppu->drawn_x) return;
    if (wanted) gb_draw_piece(m, ppu->drawn_line, ppu->drawn_x, x);
    ppu->drawn_x = (uint8_t)x;
}

HD void gb_draw_rest_of_line(struct gb *m, bool wanted)
{
    gb_line_finish(m, m->ppu.drawn_line);
    gb_draw_advance(m, GB_LCD_WIDTH, wanted);
}

// The line being shown up to and including a dot of it, in pieces if it is in the middle of mode 3.
HD_CALL void gb_draw_within_line(struct gb *m, int dot, bool wanted)
{
    struct gb_line *l = &m->ppu.line;
    int line = m->ppu.drawn_line;
    if (dot < GB_LINE_START_DOT || l->state == GB_LINE_OVER) return;
    if (l->state == GB_LINE_UNTOUCHED) {
        int end = dot < GB_LINE_SURELY_DONE ? gb_line_formula(m, line, GB_X_LAST) : dot;
        if (dot >= end) {
            l->mode0 = l->end = (int16_t)end; // both are past
            gb_draw_rest_of_line(m, wanted);
            return;
        }
    }
    gb_line_follow(m, line, dot + 1);
    gb_draw_advance(m, l->x > 8 ? l->x - 8 : 0, wanted);
}

// The lines before `line` are over.
HD_CALL void gb_draw_lines(struct gb *m, int line, bool wanted)
{
    struct gb_ppu *ppu = &m->ppu;
    while (ppu->drawn_line < line && ppu->drawn_line < GB_LCD_HEIGHT) {
        gb_draw_check_window(m, 5);
        gb_draw_rest_of_line(m, wanted);
        gb_draw_check_window(m, 454);
        ppu->line_checks = ppu->drawn_x = 0;
        gb_line_forget(ppu);
        ppu->drawn_line++;
    }
}

// Lines that are over by time t, and the looks at LY = WY.
HD_CALL void gb_draw_pass(struct gb *m, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    if (!(ppu->lcdc & GB_LCDC_ON) || ppu->drawn_line >= GB_LCD_HEIGHT) return;
    int p = t - ppu->frame_t;
    gb_draw_lines(m, p / GB_LINE_CYCLES, gb_draw_wanted(m));
    if (ppu->drawn_line < GB_LCD_HEIGHT) gb_draw_check_window(m, p % GB_LINE_CYCLES);
}

// Before a change of what decides about the timing: draws everything shown by time t, and follows
// the line from here on.
HD_CALL void gb_draw_to(struct gb *m, int32_t t)
{
    gb_draw_pass(m, t);
    if (!(m->ppu.lcdc & GB_LCDC_ON) || m->ppu.drawn_line >= GB_LCD_HEIGHT) return;
    gb_draw_within_line(m, (t - m->ppu.frame_t) % GB_LINE_CYCLES, gb_draw_wanted(m));
}

// Before a change that only the eye can see: draws everything shown by time t, if anybody looks. Of
// the machine's state nothing changes but how much is drawn, so it does not depend on who looks.
HD_CALL void gb_draw_shown(struct gb *m, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    if (!(ppu->lcdc & GB_LCDC_ON) || ppu->drawn_line >= GB_LCD_HEIGHT || !gb_draw_wanted(m)) return;
    gb_draw_pass(m, t);
    if (ppu->drawn_line >= GB_LCD_HEIGHT) return;
    struct gb_ppu before = *ppu;
    gb_draw_within_line(m, (t - ppu->frame_t) % GB_LINE_CYCLES, true);
    before.drawn_x = ppu->drawn_x;
    *ppu = before;
}

// The frame is complete: it becomes the picture.
HD void gb_draw_show(struct gb *m, bool blank)
{
    m->picture = !m->picture;
    m->picture_blank = blank;
}

#endif
