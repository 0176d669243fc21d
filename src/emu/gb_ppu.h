// gb_ppu.h - LCD timing: LY, STAT, their interrupts and what they block, derived from time.
//
// Position p = t - frame_t; line = p / 456, dot = p % 456. A visible line as the CPU sees it:
//
//   dot  0    4                84                  256+x              456
//        | LY | mode 2 (OAM)   | mode 3 (drawing)  | mode 0 (HBlank)   |
//
// x: fine scroll, window and sprites stretch mode 3 (gb_ppu_mode3_end). Lines 144-153 are mode 1;
// VBlank is raised at line 144, dot 4; LY reads 0 from dot 4 of line 153. Switching the LCD on
// starts at dot 4 of a line 0 that shows mode 0 for mode 2. Only events that somebody can notice
// are scheduled: VBlank, frame start, and changes of an enabled STAT source.
// Facts: Pan Docs "Rendering" and "STAT"; edges as the mooneye acceptance tests demand them.
#ifndef GB_PPU_H
#define GB_PPU_H

#include "gb_draw.h"

enum {
    GB_DOT_MODE2 = 4,
    GB_DOT_MODE3 = 84,
    GB_DOT_VRAM_LOCK = 80, // reads of VRAM fail this early, writes of OAM work once more
    GB_DOTS_EARLY = 3, // the CPU sees mode 0 so long before its interrupt
    GB_VBLANK_DOT = 144 * GB_LINE_CYCLES + 4,
    GB_STAT_LYC = 0x40,
    GB_STAT_OAM = 0x20,
    GB_STAT_VBLANK = 0x10,
    GB_STAT_HBLANK = 0x08
};

// No transfer under way or about to start: only then may pages be mapped.
HD bool gb_dma_idle(const struct gb *m)
{
    return !m->dma.active && m->dma.pending_t == GB_NEVER;
}

HD bool gb_ppu_on(const struct gb *m)
{
    return (m->ppu.lcdc & GB_LCDC_ON) != 0;
}

// Sprites of a line stretch mode 3 by 6 dots each, and by up to 5 more for the first one that
// touches a background tile (mooneye intr_2_mode0_timing_sprites; Pan Docs "Mode 3 length").
HD int gb_ppu_sprite_dots(const struct gb *m, int line)
{
    uint8_t index[10];
    int n = gb_draw_find_sprites(m, line, index), dots = 0;
    uint64_t seen = 0; // tiles that already paid
    gb_draw_sort_sprites(m, index, n);
    for (int i = 0; i < n; i++) {
        int x = m->oam[index[i] * 4 + 1];
        if (x >= 168) continue;
        int shifted = x + (m->ppu.scx & 7), tile = shifted >> 3, extra = 5 - (shifted & 7);
        if (!(seen >> tile & 1) && extra > 0) dots += extra;
        seen |= (uint64_t)1 << tile;
        dots += 6;
    }
    return dots;
}

// Dot at which mode 3 of a visible line ends, with the registers as they are now.
HD int gb_ppu_mode3_end(const struct gb *m, int line)
{
    int dots = GB_DOT_MODE3 + 172 + (m->ppu.scx & 7);
    if (gb_draw_window_on(m)) dots += 6;
    if (m->ppu.lcdc & GB_LCDC_SPRITES) dots += gb_ppu_sprite_dots(m, line);
    return dots;
}

// LY as compared with LYC; -1 between lines.
HD int gb_ppu_compared_line(int line, int dot)
{
    if (line == 153) return dot < 4 ? -1 : dot < 8 ? 153 : dot < 12 ? -1 : 0;
    if (dot < 4) return line == 0 ? 0 : -1;
    return line;
}

HD uint8_t gb_ppu_ly(const struct gb *m, int32_t t)
{
    if (!gb_ppu_on(m)) return 0;
    int p = t - m->ppu.frame_t, line = p / GB_LINE_CYCLES;
    return (uint8_t)(line == 153 && p % GB_LINE_CYCLES >= 4 ? 0 : line);
}

HD int gb_ppu_mode(const struct gb *m, int32_t t)
{
    if (!gb_ppu_on(m)) return 0;
    int p = t - m->ppu.frame_t, line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    if (line >= 144) return p < GB_VBLANK_DOT ? 0 : 1;
    if (dot < GB_DOT_MODE2) return 0;
    if (dot < GB_DOT_MODE3) return m->ppu.first_frame && line == 0 ? 0 : 2;
    return dot < gb_ppu_mode3_end(m, line) - GB_DOTS_EARLY ? 3 : 0;
}

HD uint8_t gb_ppu_read_stat(struct gb *m, int32_t t)
{
    if (gb_ppu_on(m)) {
        int p = t - m->ppu.frame_t;
        int ly = gb_ppu_compared_line(p / GB_LINE_CYCLES, p % GB_LINE_CYCLES);
        m->ppu.lyc_flag = ly == m->ppu.lyc;
    }
    return (uint8_t)(0x80 | m->ppu.stat | m->ppu.lyc_flag << 2 | gb_ppu_mode(m, t));
}

// What the PPU keeps from the CPU at time t: mode 3 for VRAM, modes 2 and 3 for OAM, with the
// ragged edges of mooneye lcdon_timing and lcdon_write_timing.
HD bool gb_ppu_locks(const struct gb *m, int32_t t, bool oam, bool writing)
{
    if (!gb_ppu_on(m)) return false;
    int p = t - m->ppu.frame_t, line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    if (line >= 144) return false;
    if (dot >= GB_DOT_MODE3) return dot < gb_ppu_mode3_end(m, line) - GB_DOTS_EARLY;
    if (m->ppu.first_frame && line == 0) return false;
    if (!oam) return !writing && dot >= GB_DOT_VRAM_LOCK;
    return !writing || (dot >= GB_DOT_MODE2 && dot < GB_DOT_VRAM_LOCK);
}

// Level of the STAT interrupt line at position p for a set of enabled sources.
HD bool gb_ppu_stat_level(const struct gb *m, int p, unsigned sources)
{
    int line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    if ((sources & GB_STAT_LYC) && gb_ppu_compared_line(line, dot) == m->ppu.lyc) return true;
    if (dot < GB_DOT_MODE2 && line <= 144) { // still the mode of the line before
        if (line == 0) return !m->ppu.first_frame && (sources & GB_STAT_VBLANK);
        return (sources & GB_STAT_HBLANK) != 0;
    }
    if ((sources & GB_STAT_VBLANK) && p >= GB_VBLANK_DOT) return true;
    if ((sources & GB_STAT_OAM) && line <= 144 && dot >= GB_DOT_MODE2 && dot < GB_DOT_MODE2 + 4)
        return !m->ppu.first_frame || line > 0; // a pulse only; also at the start of VBlank
    if ((sources & GB_STAT_HBLANK) && line < 144 && dot >= GB_DOT_MODE3)
        return dot >= gb_ppu_mode3_end(m, line);
    return false;
}

// The next position after p at which an enabled source may change.
HD int gb_ppu_next_stat_change(const struct gb *m, int p)
{
    unsigned sources = m->ppu.stat;
    int line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    for (; line < GB_N_LINES; line++, dot = -1) {
        bool visible = line < 144 && (sources & (GB_STAT_OAM | GB_STAT_HBLANK));
        bool edge = line == 0 || line == 144 || line == 153 ||
                    ((sources & GB_STAT_LYC) && (line == m->ppu.lyc || line == m->ppu.lyc + 1));
        if (!visible && !edge) continue;
        for (int d = 0; d <= 12; d += 4)
            if (d > dot) return line * GB_LINE_CYCLES + d;
        if (line < 144 && (sources & GB_STAT_HBLANK)) {
            int end = gb_ppu_mode3_end(m, line);
            if (end > dot) return line * GB_LINE_CYCLES + end;
        }
    }
    return GB_FRAME_CYCLES;
}

// Looks at the STAT line at time t: a rising edge raises the interrupt. Then plans the next look.
HD void gb_ppu_stat_update(struct gb *m, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    bool on = gb_ppu_on(m), level = (ppu->stat & GB_STAT_LYC) && ppu->lyc_flag; // frozen while off
    ppu->stat_event = GB_NEVER;
    if (on) level = ppu->stat && gb_ppu_stat_level(m, t - ppu->frame_t, ppu->stat);
    if (level && !ppu->stat_line) m->irq_flag |= GB_INT_STAT;
    ppu->stat_line = level;
    if (on && ppu->stat)
        ppu->stat_event = ppu->frame_t + gb_ppu_next_stat_change(m, t - ppu->frame_t);
}

HD int32_t gb_ppu_event(const struct gb *m)
{
    const struct gb_ppu *ppu = &m->ppu;
    int32_t next = ppu->vblank_event < ppu->frame_event ? ppu->vblank_event : ppu->frame_event;
    return ppu->stat_event < next ? ppu->stat_event : next;
}

// VRAM is free to the CPU without asking while the LCD is off or in VBlank (and DMA is idle).
HD void gb_ppu_map_vram(struct gb *m, bool vram_free)
{
    if (!gb_dma_idle(m)) return;
    for (int i = 0; i < 2; i++) {
        m->read_page[8 + i] = vram_free ? m->vram + i * 0x1000 : 0;
        m->write_page[8 + i] = vram_free ? m->vram + i * 0x1000 : 0;
    }
}

HD bool gb_ppu_vram_is_free(const struct gb *m)
{
    return !gb_ppu_on(m) || m->ppu.vblank_event == GB_NEVER;
}

HD void gb_ppu_vblank(struct gb *m, int32_t t)
{
    gb_draw_to(m, t);
    if (gb_draw_wanted(m)) gb_draw_show(m, m->ppu.first_frame);
    m->irq_flag |= GB_INT_VBLANK;
    m->ppu.first_frame = 0;
    m->ppu.vblank_event = GB_NEVER;
    gb_ppu_map_vram(m, true);
}

HD void gb_ppu_frame_start(struct gb *m)
{
    struct gb_ppu *ppu = &m->ppu;
    ppu->frame_t += GB_FRAME_CYCLES;
    ppu->frame_event = ppu->frame_t + GB_FRAME_CYCLES;
    ppu->vblank_event = ppu->frame_t + GB_VBLANK_DOT;
    ppu->wy_hit = ppu->win_line = ppu->win_used = 0;
    ppu->drawn_line = ppu->drawn_x = ppu->line_begun = 0;
    gb_ppu_map_vram(m, false);
}

// Handles every LCD event up to and including time t, in order.
HD void gb_ppu_sync(struct gb *m, int32_t t)
{
    for (;;) {
        int32_t next = gb_ppu_event(m);
        if (next > t) return;
        if (next == m->ppu.frame_event) gb_ppu_frame_start(m);
        else if (next == m->ppu.vblank_event) gb_ppu_vblank(m, next);
        if (m->ppu.stat_event <= next) gb_ppu_stat_update(m, next);
    }
}

HD void gb_ppu_switch_on(struct gb *m, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    ppu->frame_t = t - 4;
    ppu->frame_event = ppu->frame_t + GB_FRAME_CYCLES;
    ppu->vblank_event = ppu->frame_t + GB_VBLANK_DOT;
    ppu->wy_hit = ppu->win_line = ppu->win_used = 0;
    ppu->drawn_line = ppu->drawn_x = ppu->line_begun = 0;
    ppu->first_frame = 1;
    gb_ppu_map_vram(m, false);
}

HD void gb_ppu_switch_off(struct gb *m)
{
    m->ppu.frame_event = m->ppu.vblank_event = GB_NEVER;
    m->picture_blank = 1;
    gb_ppu_map_vram(m, true);
}

// Writes FF40-FF4B except DMA. What was due before the write is drawn first.
HD void gb_ppu_write(struct gb *m, uint8_t reg, uint8_t value, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    gb_draw_to(m, t);
    switch (reg) {
    case 0x40: {
        uint8_t before = ppu->lcdc;
        if ((before & GB_LCDC_ON) && !(value & GB_LCDC_ON)) {
            gb_ppu_read_stat(m, t); // freezes the comparison bit
            ppu->lcdc = value;
            gb_ppu_switch_off(m);
        } else {
            ppu->lcdc = value;
            if (!(before & GB_LCDC_ON) && (value & GB_LCDC_ON)) gb_ppu_switch_on(m, t);
        }
    } break;
    case 0x41: // hardware (DMG) has all sources enabled for a moment while STAT is written
        if (gb_ppu_on(m) && !ppu->stat_line && gb_ppu_stat_level(m, t - ppu->frame_t, 0x78)) {
            m->irq_flag |= GB_INT_STAT;
            ppu->stat_line = 1;
        }
        ppu->stat = value & 0x78;
        break;
    case 0x42: ppu->scy = value; break;
    case 0x43: ppu->scx = value; break;
    case 0x44: break;
    case 0x45: ppu->lyc = value; break;
    case 0x47: ppu->bgp = value; break;
    case 0x48: ppu->obp0 = value; break;
    case 0x49: ppu->obp1 = value; break;
    case 0x4a: ppu->wy = value; break;
    case 0x4b: ppu->wx = value; break;
    default: break;
    }
    if (gb_ppu_on(m) && (reg == 0x40 || reg == 0x4a)) gb_draw_check_window(m, t);
    if (ppu->stat || reg == 0x41) gb_ppu_stat_update(m, t);
}

HD uint8_t gb_ppu_read(struct gb *m, uint8_t reg, int32_t t)
{
    switch (reg) {
    case 0x40: return m->ppu.lcdc;
    case 0x41: return gb_ppu_read_stat(m, t);
    case 0x42: return m->ppu.scy;
    case 0x43: return m->ppu.scx;
    case 0x44: return gb_ppu_ly(m, t);
    case 0x45: return m->ppu.lyc;
    case 0x46: return m->dma.reg;
    case 0x47: return m->ppu.bgp;
    case 0x48: return m->ppu.obp0;
    case 0x49: return m->ppu.obp1;
    case 0x4a: return m->ppu.wy;
    case 0x4b: return m->ppu.wx;
    default: return 0xff;
    }
}

#endif
