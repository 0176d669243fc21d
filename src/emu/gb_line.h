// gb_line.h - mode 3 of one line: how long the picture processor draws, and where it is at a dot.
//
// Pixels are counted from 8 left of the screen: x = 0-167, the screen is 8-167. Mode 3 begins at
// dot 87 (89 on the first line after switching on) with throwing away SCX mod 8 pixels. Then a
// fetcher takes six dots for a tile; one pixel goes out each dot, but stands still
//   - at a sprite's x until the fetch under way has reached its sixth dot, and six dots more;
//   - for six dots when the window begins.
// The mode 0 interrupt comes when pixel 166 goes out, mode 3 ends at pixel 167. Sprites come from a
// scan of OAM in mode 2, two dots an entry. The formula and the step by step version agree (a test
// compares them). Facts: Pan Docs "Rendering overview", "Pixel FIFO"; exact dots as the tests of
// the gambatte suite and GBMicrotest demand them of a DMG.
#ifndef GB_LINE_H
#define GB_LINE_H

#include "gb_types.h"

enum {
    GB_LCDC_BG = 0x01,
    GB_LCDC_SPRITES = 0x02,
    GB_LCDC_TALL = 0x04,
    GB_LCDC_BG_MAP = 0x08,
    GB_LCDC_UNSIGNED = 0x10,
    GB_LCDC_WINDOW = 0x20,
    GB_LCDC_WIN_MAP = 0x40,
    GB_LCDC_ON = 0x80,
    GB_LINE_START_DOT = 87,
    GB_LINE_SURELY_DONE = 87 + 2 + 8 + 168 + 6 + 10 * 11 + 5, // no line is longer
    GB_X_MODE0 = 166, // pixel of the mode 0 interrupt
    GB_X_LAST = 167, // pixel that ends mode 3
    GB_X_END = 168
};

enum gb_line_state { GB_LINE_UNTOUCHED, GB_LINE_FOLLOWED, GB_LINE_OVER };
enum gb_line_phase { GB_PHASE_DISCARD, GB_PHASE_TILE, GB_PHASE_SPRITE, GB_PHASE_WINDOW };
enum gb_win_state { GB_WIN_DUE = 1, GB_WIN_SHOWN = 2 }; // to begin at the next fetch; being drawn

// The sprites of a line in the order of priority: by X, then by place in OAM.
struct gb_sprites {
    int n;
    uint8_t index[10], y[10], x[11]; // one more x, 255, ends searches
};

HD bool gb_line_covers(const struct gb *m, int line, int y)
{
    return (unsigned)(line + 16 - y) < (m->ppu.lcdc & GB_LCDC_TALL ? 16u : 8u);
}

// Scans OAM entries up to `end`. While a transfer runs the scan sees nothing.
HD_CALL void gb_line_scan(const struct gb *m, int line, struct gb_line *l, int end)
{
    bool hidden = m->dma.active || (m->ppu.first_frame && line == 0);
    if (hidden) {
        if (l->n_scanned < end) l->n_scanned = (uint8_t)end;
        return;
    }
    for (; l->n_scanned < end; l->n_scanned++) {
        const uint8_t *entry = m->oam + l->n_scanned * 4;
        if (l->n_found == 10 || !gb_line_covers(m, line, entry[0])) continue;
        l->found[l->n_found] = l->n_scanned;
        l->found_y[l->n_found] = entry[0];
        l->found_x[l->n_found++] = entry[1];
    }
}

HD void gb_sprites_add(struct gb_sprites *s, int index, int y, int x)
{
    int j = s->n++;
    for (; j > 0 && s->x[j - 1] > x; j--) {
        s->index[j] = s->index[j - 1];
        s->y[j] = s->y[j - 1];
        s->x[j] = s->x[j - 1];
    }
    s->index[j] = (uint8_t)index;
    s->y[j] = (uint8_t)y;
    s->x[j] = (uint8_t)x;
}

// The line's sprites: as scanned if OAM changed since, else as OAM stands.
HD_CALL void gb_line_sprites(const struct gb *m, int line, struct gb_sprites *s)
{
    const struct gb_line *l = &m->ppu.line;
    s->n = 0;
    if (l->scan_kept) {
        struct gb_line rest = *l;
        gb_line_scan(m, line, &rest, 40);
        for (int i = 0; i < rest.n_found; i++)
            gb_sprites_add(s, rest.found[i], rest.found_y[i], rest.found_x[i]);
    } else if (!m->dma.active && !(m->ppu.first_frame && line == 0)) {
        unsigned height = m->ppu.lcdc & GB_LCDC_TALL ? 16 : 8;
        for (int i = 0; i < 40; i += 4) { // most groups of four have none
            const uint8_t *e = m->oam + i * 4;
            unsigned y = (unsigned)line + 16;
            if (!((y - e[0] < height) | (y - e[4] < height) | (y - e[8] < height) |
                  (y - e[12] < height)))
                continue;
            for (int k = i; k < i + 4 && s->n < 10; k++)
                if (y - m->oam[k * 4] < height)
                    gb_sprites_add(s, k, m->oam[k * 4], m->oam[k * 4 + 1]);
        }
    }
    s->x[s->n] = 255;
}

HD int gb_line_start(const struct gb *m, int line)
{
    return GB_LINE_START_DOT + (m->ppu.first_frame && line == 0 ? 2 : 0);
}

// May the window begin on this line, apart from WX?
HD bool gb_line_window_allowed(const struct gb *m, int line)
{
    return (m->ppu.lcdc & GB_LCDC_WINDOW) && (m->ppu.wy_hit || m->ppu.wy == line);
}

// Dots that the sprites with x up to max_x cost, the tile grid beginning at first_tile.
HD int gb_line_sprite_dots(const struct gb_sprites *s, int *i, int max_x, int first_tile, int tile)
{
    int dots = 0;
    for (; *i < s->n && s->x[*i] <= max_x; (*i)++) {
        int offset = (s->x[*i] - first_tile) & 7, its_tile = (s->x[*i] - first_tile) & ~7;
        dots += offset < 5 && its_tile != tile ? 11 - offset : 6;
        tile = its_tile;
    }
    return dots;
}

// Dot at which pixel `target` (166 or 167) goes out on a line nothing happens to, with the
// registers as they are.
HD_CALL int gb_line_formula(const struct gb *m, int line, int target)
{
    const struct gb_ppu *ppu = &m->ppu;
    int fine = ppu->scx & 7, dots = gb_line_start(m, line) + fine + 1 + target;
    bool due = (ppu->win_state & GB_WIN_DUE) && (ppu->lcdc & GB_LCDC_WINDOW);
    int window_x = 255;
    if (!due && ppu->wx < GB_X_MODE0 && gb_line_window_allowed(m, line)) {
        window_x = ppu->wx;
        dots += 6;
    }
    if (!(ppu->lcdc & GB_LCDC_SPRITES)) return dots;
    struct gb_sprites s;
    gb_line_sprites(m, line, &s);
    if (s.n == 0) return dots;
    int i = 0, step = fine < 5 ? fine : 5, first_tile = (8 - fine) & 7;
    int tile = (0 - first_tile) & ~7;
    if (s.x[0] == 0) dots += step;
    if (step + s.x[0] < 5 && s.x[0] <= window_x) {
        dots += 11 - (step + s.x[0]);
        i = 1;
    }
    if (window_x < GB_X_MODE0) {
        dots += gb_line_sprite_dots(&s, &i, window_x, first_tile, tile);
        first_tile = window_x + 1;
        tile = 1; // no tile
    }
    return dots + gb_line_sprite_dots(&s, &i, target, first_tile, tile);
}

// ---- step by step

struct gb_walk { // one line being followed: what it changes is written back by gb_line_follow
    struct gb_sprites sprites;
    int line;
};

// The window's turn at a fetch: true when it begins now. At the right end it waits for the next
// line.
HD bool gb_line_window_begins(struct gb *m)
{
    struct gb_ppu *ppu = &m->ppu;
    bool begins = false;
    if (ppu->line.x < GB_X_MODE0 + 1) begins = (ppu->win_state &= GB_WIN_SHOWN) != 0;
    if (!(ppu->lcdc & GB_LCDC_WINDOW)) ppu->win_state &= (uint8_t)~GB_WIN_SHOWN;
    return begins;
}

HD_CALL void gb_line_pixel(struct gb *m, int line)
{
    struct gb_ppu *ppu = &m->ppu;
    struct gb_line *l = &ppu->line;
    if (l->x == ppu->wx && l->x < GB_X_MODE0 + 1 &&
        (ppu->wy_hit || gb_line_window_allowed(m, line))) {
        if (ppu->win_state == 0 && (ppu->lcdc & GB_LCDC_WINDOW)) {
            ppu->win_state = GB_WIN_DUE | GB_WIN_SHOWN;
            ppu->win_line++;
            ppu->win_from = (uint8_t)(l->x + 1);
        } else if (ppu->win_state == 0 || l->x == GB_X_MODE0) {
            ppu->win_state |= GB_WIN_DUE;
        }
    }
    if (l->x == GB_X_MODE0) l->mode0 = l->dot;
    if (l->x == GB_X_LAST) l->end = l->dot;
    l->x++;
}

// The next pixel, unless a sprite holds it.
HD void gb_line_pixel_or_sprite(struct gb *m, const struct gb_walk *w)
{
    struct gb_line *l = &m->ppu.line;
    if (w->sprites.x[l->sprite] == l->x) {
        if (m->ppu.lcdc & GB_LCDC_SPRITES) return;
        while (w->sprites.x[l->sprite] == l->x) l->sprite++;
    }
    gb_line_pixel(m, w->line);
}

HD_CALL void gb_line_begin(struct gb *m, const struct gb_walk *w)
{
    struct gb_ppu *ppu = &m->ppu;
    struct gb_line *l = &ppu->line;
    bool due = (ppu->win_state & GB_WIN_DUE) && (ppu->lcdc & GB_LCDC_WINDOW);
    ppu->win_state = due ? GB_WIN_SHOWN : 0;
    ppu->win_line = (uint8_t)(ppu->win_line + due);
    ppu->win_from = due ? 8 : 0;
    l->state = GB_LINE_FOLLOWED;
    l->phase = GB_PHASE_DISCARD;
    l->step = l->x = l->sprite = 0;
    l->mode0 = l->end = GB_LINE_CYCLES;
    l->dot = (int16_t)gb_line_start(m, w->line);
}

// Throwing away pixels until their number fits SCX.
HD_CALL void gb_line_discard(struct gb *m, const struct gb_walk *w)
{
    struct gb_line *l = &m->ppu.line;
    int fine = m->ppu.scx & 7;
    if ((l->step & 7) != fine && l->step < 80) {
        l->step++;
        l->dot++;
        return;
    }
    l->phase = GB_PHASE_TILE;
    l->step = (uint8_t)(fine < 5 ? fine : 5);
    l->fetch_x = (uint8_t)(8 - fine);
    bool at_zero = w->sprites.x[0] == 0 && (m->ppu.lcdc & GB_LCDC_SPRITES);
    l->dot = (int16_t)(l->dot + 1 + (at_zero ? l->step : 0));
}

HD void gb_line_to(struct gb_line *l, int phase, int step, int dots)
{
    l->phase = (uint8_t)phase;
    l->step = (uint8_t)step;
    l->dot = (int16_t)(l->dot + dots);
}

// After a dot: on to the next step, or to the next tile, or the line is over.
HD void gb_line_next(struct gb_line *l, int phase, int step, bool at_fetch)
{
    if (l->x == GB_X_END) l->state = GB_LINE_OVER;
    else if (at_fetch && l->x == l->fetch_x) gb_line_to(l, GB_PHASE_TILE, 0, 1);
    else gb_line_to(l, phase, step, 1);
}

HD_CALL void gb_line_tile(struct gb *m, const struct gb_walk *w)
{
    struct gb_line *l = &m->ppu.line;
    if (l->step == 0) l->fetch_x = (uint8_t)(l->x + 8 < GB_X_END ? l->x + 8 : GB_X_END);
    if (l->step < 5) {
        gb_line_pixel_or_sprite(m, w);
        gb_line_next(l, GB_PHASE_TILE, l->step + 1, false);
        return;
    }
    if (w->sprites.x[l->sprite] == l->x) {
        if (m->ppu.lcdc & GB_LCDC_SPRITES) {
            gb_line_to(l, GB_PHASE_SPRITE, 1, 1);
            return;
        }
        while (w->sprites.x[l->sprite] == l->x) l->sprite++;
    }
    gb_line_pixel(m, w->line);
    gb_line_next(l, GB_PHASE_TILE, 5, true);
}

HD void gb_line_sprite(struct gb *m, const struct gb_walk *w)
{
    struct gb_line *l = &m->ppu.line;
    uint8_t current = l->sprite;
    gb_line_pixel_or_sprite(m, w);
    if (l->step < 5) {
        gb_line_next(l, GB_PHASE_SPRITE, l->step + 1, true);
        return;
    }
    if (l->sprite == current && w->sprites.x[current] == l->x) l->sprite++;
    gb_line_next(l, GB_PHASE_TILE, 5, true);
}

HD_CALL void gb_line_step(struct gb *m, const struct gb_walk *w)
{
    struct gb_line *l = &m->ppu.line;
    if (l->phase == GB_PHASE_DISCARD) {
        gb_line_discard(m, w);
        return;
    }
    if (l->phase != GB_PHASE_WINDOW && (m->ppu.win_state & GB_WIN_DUE) && gb_line_window_begins(m))
        gb_line_to(l, GB_PHASE_WINDOW, 0, 0);
    if (l->phase == GB_PHASE_WINDOW) {
        if (l->step < 5) gb_line_to(l, GB_PHASE_WINDOW, l->step + 1, 1);
        else gb_line_to(l, GB_PHASE_TILE, 0, 1);
    } else if (l->phase == GB_PHASE_SPRITE) {
        gb_line_sprite(m, w);
    } else {
        gb_line_tile(m, w);
    }
}

// Follows the line through every step before `dot`.
HD_CALL void gb_line_follow(struct gb *m, int line, int dot)
{
    struct gb_line *l = &m->ppu.line;
    if (l->state == GB_LINE_OVER || dot <= GB_LINE_START_DOT) return;
    struct gb_walk w;
    w.line = line;
    gb_line_sprites(m, line, &w.sprites);
    if (l->state == GB_LINE_UNTOUCHED) gb_line_begin(m, &w);
    while (l->state == GB_LINE_FOLLOWED && l->dot < dot) gb_line_step(m, &w);
}

// The same for the line being shown, whatever has happened to it.
HD int gb_line_dot_of(struct gb *m, int line, int target)
{
    struct gb_line *l = &m->ppu.line;
    if (l->state == GB_LINE_UNTOUCHED) return gb_line_formula(m, line, target);
    bool known = l->state == GB_LINE_OVER || l->x > target;
    struct gb_ppu before = m->ppu; // if not: tried out, then everything is put back
    if (!known) gb_line_follow(m, line, GB_LINE_CYCLES);
    int dot = target == GB_X_LAST ? l->end : l->mode0;
    if (!known) m->ppu = before;
    return dot;
}

// A line that nothing happened to is over: what it leaves for the next one.
HD_CALL void gb_line_finish(struct gb *m, int line)
{
    struct gb_ppu *ppu = &m->ppu;
    if (ppu->line.state == GB_LINE_UNTOUCHED) {
        bool due = (ppu->win_state & GB_WIN_DUE) && (ppu->lcdc & GB_LCDC_WINDOW);
        bool at_wx = ppu->wx <= GB_X_MODE0 &&
                     (ppu->wy_hit || gb_line_window_allowed(m, line));
        ppu->win_state = due ? GB_WIN_SHOWN : 0;
        ppu->win_line = (uint8_t)(ppu->win_line + due);
        ppu->win_from = due ? 8 : 0;
        if (at_wx && !due && (ppu->lcdc & GB_LCDC_WINDOW)) {
            ppu->win_line++;
            ppu->win_state = GB_WIN_SHOWN;
            ppu->win_from = (uint8_t)(ppu->wx + 1);
        }
        if (at_wx && ppu->wx == GB_X_MODE0) ppu->win_state |= GB_WIN_DUE;
        ppu->line.state = GB_LINE_OVER;
    } else if (ppu->line.state == GB_LINE_FOLLOWED) {
        gb_line_follow(m, line, GB_LINE_CYCLES);
    }
}

// The next line begins.
HD void gb_line_forget(struct gb_ppu *ppu)
{
    ppu->line.state = GB_LINE_UNTOUCHED;
    ppu->line.scan_kept = ppu->line.n_scanned = ppu->line.n_found = 0;
    ppu->win_from = 0;
}

// OAM, the sprite size or their visibility to the scan changes at this dot of the line: what was
// scanned is kept. An entry's size is read a dot after its place.
HD void gb_line_keep_scan(struct gb *m, int line, int dot, bool size)
{
    struct gb_line *l = &m->ppu.line;
    int end = (dot - 3 + (size ? 0 : 1)) / 2;
    if (dot < 3 + size) end = 0;
    gb_line_scan(m, line, l, end < 40 ? end : 40);
    l->scan_kept = 1;
}

#endif
