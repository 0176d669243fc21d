// gb_ppu.h - LCD timing: LY, STAT, their interrupts and what they block, derived from time.
//
// Position p = t - frame_t; line = p / 456, dot = p % 456. A visible line as the CPU sees it:
//
//   dot  0    4                84                  254+x              456
//        | LY | mode 2 (OAM)   | mode 3 (drawing)  | mode 0 (HBlank)   |
//
// x: fine scroll, window and sprites stretch mode 3 (gb_line.h). Lines 144-153 are mode 1; LY reads
// 0 from dot 4 of line 153. Switching the LCD on starts at dot 4 of a line 0 that shows mode 0
// instead of mode 2. Accesses fall on dots 0, 4, 8, ...; interrupts are raised in between, and how
// long before the next access decides when a halted CPU wakes:
//
//   VBlank        line 144 dot 2           LYC = n    line n dot 2 (n = 0: line 153 dot 10)
//   mode 2        lines 1-144 dot 0, line 0 dot 2      mode 0     254+x
//
// An interrupt source that is still high hides the next one. Only events that somebody can notice
// are scheduled: VBlank, frame start, and those of enabled STAT sources.
// Facts: Pan Docs "Rendering" and "STAT"; exact dots as the mooneye, gambatte and GBMicrotest
// suites demand them of a DMG.
#ifndef GB_PPU_H
#define GB_PPU_H

#include "gb_draw.h"

enum {
    GB_DOT_MODE2 = 4,
    GB_DOT_MODE3 = 84,
    GB_DOT_VRAM_LOCK = 80, // reads of VRAM fail this early, writes of OAM work once more
    GB_DOTS_EARLY = 2, // the CPU sees mode 0 so long before the end of mode 3
    GB_VBLANK_DOT = 144 * GB_LINE_CYCLES + 2,
    GB_LY0_DOT = 153 * GB_LINE_CYCLES + 10, // LY = 0 is compared from here
    GB_STAT_LYC = 0x40,
    GB_STAT_OAM = 0x20,
    GB_STAT_VBLANK = 0x10,
    GB_STAT_HBLANK = 0x08
};

// An interrupt request at time t (exact to the dot). The first one that is enabled says when a
// halted CPU wakes.
HD void gb_raise(struct gb *m, uint8_t bit, int32_t t)
{
    if (!(m->irq_flag & m->irq_enable & 0x1f)) m->irq_t = t;
    m->irq_flag |= bit;
}

// No transfer under way or about to start: only then may pages be mapped.
HD bool gb_dma_idle(const struct gb *m)
{
    return !m->dma.active && m->dma.pending_t == GB_NEVER;
}

HD bool gb_ppu_on(const struct gb *m)
{
    return (m->ppu.lcdc & GB_LCDC_ON) != 0;
}

// Dot of visible line `line`, shown at time t, at which pixel `target` goes out.
HD int gb_ppu_dot_of(struct gb *m, int line, int target, int32_t t)
{
    if (m->ppu.drawn_line != line || (m->ppu.lcdc & GB_LCDC_WINDOW))
        gb_draw_pass(m, t); // lines before are over; was LY = WY?
    return gb_line_dot_of(m, line, target);
}

HD int gb_ppu_mode0(struct gb *m, int line, int32_t t)
{
    return gb_ppu_dot_of(m, line, GB_X_MODE0, t);
}

// Is a visible line's mode 3 still on at a dot after its start?
HD bool gb_ppu_draws(struct gb *m, int line, int dot, int32_t t)
{
    if (dot >= GB_LINE_SURELY_DONE) return false;
    return dot < gb_ppu_dot_of(m, line, GB_X_LAST, t) - GB_DOTS_EARLY;
}

// LY as STAT's comparison bit has it; -1 between lines.
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

HD int gb_ppu_mode(struct gb *m, int32_t t)
{
    if (!gb_ppu_on(m)) return 0;
    int p = t - m->ppu.frame_t, line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    if (line >= 144) return p < GB_VBLANK_DOT ? 0 : 1;
    if (dot < GB_DOT_MODE2) return 0;
    if (dot < GB_DOT_MODE3) return m->ppu.first_frame && line == 0 ? 0 : 2;
    return gb_ppu_draws(m, line, dot, t) ? 3 : 0;
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
HD_CALL bool gb_ppu_locks(struct gb *m, int32_t t, bool oam, bool writing)
{
    if (!gb_ppu_on(m)) return false;
    int p = t - m->ppu.frame_t, line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    if (line >= 144) return false;
    if (dot >= GB_DOT_MODE3) return gb_ppu_draws(m, line, dot, t);
    if (m->ppu.first_frame && line == 0) return false;
    if (!oam) return !writing && dot >= GB_DOT_VRAM_LOCK;
    return !writing || (dot >= GB_DOT_MODE2 && dot < GB_DOT_VRAM_LOCK);
}

// ---- STAT interrupts

HD bool gb_ppu_enabled(const struct gb *m, unsigned sources)
{
    return (m->ppu.stat & sources) != 0;
}

// LY as LYC interrupts compare it, and dots until the next one.
HD_CALL int gb_ppu_irq_line(int p, int *left)
{
    int line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    if (p >= GB_LY0_DOT) {
        *left = GB_FRAME_CYCLES + GB_LINE_CYCLES + 2 - p;
        return 0;
    }
    if (line == 153 && dot >= 2) {
        *left = GB_LY0_DOT - p;
        return 153;
    }
    if (line == 0) {
        *left = GB_LINE_CYCLES + 2 - dot;
        return 0;
    }
    *left = dot < 2 ? 2 - dot : GB_LINE_CYCLES + 2 - dot;
    return dot < 2 ? line - 1 : line;
}

HD void gb_ppu_mode2_event(struct gb *m, int line, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    bool hidden = line == 0 && gb_ppu_enabled(m, GB_STAT_VBLANK);
    if (gb_ppu_enabled(m, GB_STAT_LYC) && (line == 0 ? 0 : line - 1) == ppu->lyc_before)
        hidden = true;
    ppu->lyc_before = ppu->lyc;
    if (!hidden) gb_raise(m, GB_INT_STAT, t);
}

HD void gb_ppu_lyc_event(struct gb *m, int line, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    bool hidden = gb_ppu_enabled(m, line > 0 && line <= 144 ? GB_STAT_OAM : GB_STAT_VBLANK);
    if (ppu->lyc_compare == line && !hidden) gb_raise(m, GB_INT_STAT, t);
    ppu->lyc_compare = ppu->lyc;
}

HD void gb_ppu_mode0_event(struct gb *m, int line, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    bool hidden = gb_ppu_enabled(m, GB_STAT_LYC) && line == ppu->lyc_before;
    ppu->lyc_before = ppu->lyc;
    if (!hidden) gb_raise(m, GB_INT_STAT, t);
}

// Position of the next mode 2 interrupt after p.
HD int gb_ppu_next_mode2(const struct gb *m, int p)
{
    if (p < 2 && !m->ppu.first_frame) return 2;
    int next = (p / GB_LINE_CYCLES + 1) * GB_LINE_CYCLES;
    if (gb_ppu_enabled(m, GB_STAT_HBLANK) || next > 144 * GB_LINE_CYCLES)
        return GB_FRAME_CYCLES + 2; // mode 0 hides the others
    return next;
}

HD int gb_ppu_next_lyc(int lyc, int p)
{
    int at = lyc ? lyc * GB_LINE_CYCLES + 2 : GB_LY0_DOT;
    return at > p ? at : at + GB_FRAME_CYCLES;
}

// Position of the next mode 0 interrupt after p, or an earlier one from which to look again.
HD int gb_ppu_next_mode0(struct gb *m, int p)
{
    int line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    const int early = GB_LINE_START_DOT + 1 + GB_X_MODE0 - 1; // mode 0 never begins by then
    if (line >= 144) return GB_FRAME_CYCLES + early;
    if (dot < early) return line * GB_LINE_CYCLES + early;
    int at = dot < GB_LINE_SURELY_DONE ? gb_ppu_mode0(m, line, p + m->ppu.frame_t) : 0;
    if (at > dot) return line * GB_LINE_CYCLES + at;
    return line == 143 ? GB_FRAME_CYCLES + early : (line + 1) * GB_LINE_CYCLES + early;
}

// Plans the next STAT interrupt after time t.
HD_CALL void gb_ppu_plan_stat(struct gb *m, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    ppu->stat_event = GB_NEVER;
    if (!gb_ppu_on(m) || !gb_ppu_enabled(m, GB_STAT_LYC | GB_STAT_OAM | GB_STAT_HBLANK)) return;
    int p = t - ppu->frame_t, next = GB_NEVER / 2, at;
    if (gb_ppu_enabled(m, GB_STAT_OAM)) next = gb_ppu_next_mode2(m, p);
    if (gb_ppu_enabled(m, GB_STAT_LYC) && ppu->lyc < GB_N_LINES &&
        (at = gb_ppu_next_lyc(ppu->lyc, p)) < next)
        next = at;
    if (gb_ppu_enabled(m, GB_STAT_HBLANK) && (at = gb_ppu_next_mode0(m, p)) < next) next = at;
    if (next < GB_NEVER / 2) ppu->stat_event = ppu->frame_t + next;
}

// The planned position is reached: whatever is due exactly now.
HD_CALL void gb_ppu_stat_due(struct gb *m, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    int p = t - ppu->frame_t, line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    if (gb_ppu_enabled(m, GB_STAT_OAM)) {
        bool due = line == 0 ? dot == 2 : dot == 0 && line <= 144;
        if (line > 0 && gb_ppu_enabled(m, GB_STAT_HBLANK)) due = false; // mode 0 is still high
        if (due) gb_ppu_mode2_event(m, line, t);
    }
    if (gb_ppu_enabled(m, GB_STAT_LYC)) {
        if (dot == 2 && line > 0 && line == ppu->lyc) gb_ppu_lyc_event(m, line, t);
        if (p == GB_LY0_DOT && ppu->lyc == 0) gb_ppu_lyc_event(m, 0, t);
    }
    if (gb_ppu_enabled(m, GB_STAT_HBLANK) && line < 144 && dot >= GB_DOT_MODE3 &&
        dot == gb_ppu_mode0(m, line, t))
        gb_ppu_mode0_event(m, line, t);
    gb_ppu_plan_stat(m, t);
}

// Is the mode 0 source high: past mode 3 of a visible line?
HD bool gb_ppu_in_hblank(struct gb *m, int p)
{
    int line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    if (dot < 4) return line > 0; // of the line before
    if (dot < GB_DOT_MODE3) return false;
    return dot >= GB_LINE_SURELY_DONE || dot >= gb_ppu_mode0(m, line, p + m->ppu.frame_t);
}

// The DMG enables all sources for a moment while STAT is written: an interrupt where one of them is
// high and none of the enabled ones was.
HD bool gb_ppu_stat_glitch(struct gb *m, int32_t t)
{
    int p = t - m->ppu.frame_t, left;
    bool lyc_equal = gb_ppu_irq_line(p, &left) == m->ppu.lyc;
    bool lyc_high = lyc_equal && gb_ppu_enabled(m, GB_STAT_LYC);
    int line = (p >= 4 ? p - 4 : p + GB_FRAME_CYCLES - 4) / GB_LINE_CYCLES;
    if (line >= 144) return !gb_ppu_enabled(m, GB_STAT_VBLANK) && !lyc_high;
    if (gb_ppu_in_hblank(m, p)) return !gb_ppu_enabled(m, GB_STAT_HBLANK) && !lyc_high;
    return lyc_equal && !gb_ppu_enabled(m, GB_STAT_LYC);
}

HD void gb_ppu_write_stat(struct gb *m, uint8_t value, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    bool glitch = gb_ppu_on(m) ? gb_ppu_stat_glitch(m, t)
                               : ppu->lyc_flag && !gb_ppu_enabled(m, GB_STAT_LYC);
    if (glitch) gb_raise(m, GB_INT_STAT, t);
    ppu->stat = value & 0x78;
    ppu->lyc_compare = ppu->lyc;
    gb_ppu_plan_stat(m, t);
}

// Does the new LYC equal LY, so that the interrupt comes at once?
HD_CALL bool gb_ppu_lyc_hits(struct gb *m, uint8_t value, int32_t t)
{
    int p = t - m->ppu.frame_t, left, ly = gb_ppu_irq_line(p, &left);
    if (!gb_ppu_enabled(m, GB_STAT_LYC) || value >= GB_N_LINES) return false;
    int line = (p >= 4 ? p - 4 : p + GB_FRAME_CYCLES - 4) / GB_LINE_CYCLES;
    if (line >= 144 && gb_ppu_enabled(m, GB_STAT_VBLANK)) return false;
    if (line < 144 && gb_ppu_enabled(m, GB_STAT_HBLANK) && value == line && gb_ppu_in_hblank(m, p))
        return false;
    if (left <= 4) { // LY is about to change too
        if (m->ppu.lyc == ly) return false;
        ly = ly == 153 ? 0 : ly + 1;
    }
    return value == ly;
}

HD_CALL void gb_ppu_write_lyc(struct gb *m, uint8_t value, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    if (value == ppu->lyc) return;
    if (!gb_ppu_on(m)) {
        ppu->lyc = ppu->lyc_compare = ppu->lyc_before = value;
        return;
    }
    int p = t - ppu->frame_t, line = p / GB_LINE_CYCLES, dot = p % GB_LINE_CYCLES;
    bool hits = gb_ppu_lyc_hits(m, value, t);
    bool soon = false; // too late for the mode 0 interrupt a dot later?
    if (gb_ppu_enabled(m, GB_STAT_HBLANK) && line < 144 && dot < GB_LINE_SURELY_DONE)
        soon = gb_ppu_mode0(m, line, t) == dot + 1;
    ppu->lyc = value;
    if (!soon) ppu->lyc_before = value;
    if (!gb_ppu_enabled(m, GB_STAT_LYC) || gb_ppu_next_lyc(value, p) - p > 4)
        ppu->lyc_compare = value;
    if (hits) gb_raise(m, GB_INT_STAT, t);
    gb_ppu_plan_stat(m, t);
}

// ---- frames

HD int32_t gb_ppu_event(const struct gb *m)
{
    const struct gb_ppu *ppu = &m->ppu;
    int32_t next = ppu->vblank_event < ppu->frame_event ? ppu->vblank_event : ppu->frame_event;
    return ppu->stat_event < next ? ppu->stat_event : next;
}

// VRAM is free to the CPU without asking while the LCD is off or in VBlank (and DMA is idle).
HD void gb_ppu_map_vram(struct gb *m, bool vram_free)
{
#ifdef GB_INTERLEAVED
    (void)m, (void)vram_free;
#else
    if (!gb_dma_idle(m)) return;
    for (int i = 0; i < 2; i++) {
        m->read_page[8 + i] = vram_free ? m->vram + i * 0x1000 : 0;
        m->write_page[8 + i] = vram_free ? m->vram + i * 0x1000 : 0;
    }
#endif
}

HD bool gb_ppu_vram_is_free(const struct gb *m)
{
    return !gb_ppu_on(m) || m->ppu.vblank_event == GB_NEVER;
}

HD_CALL void gb_ppu_vblank(struct gb *m, int32_t t)
{
    gb_draw_pass(m, t);
    if (gb_draw_wanted(m)) gb_draw_show(m, m->ppu.first_frame);
    bool high = gb_ppu_enabled(m, GB_STAT_OAM | GB_STAT_HBLANK);
    gb_raise(m, GB_INT_VBLANK, t);
    if (gb_ppu_enabled(m, GB_STAT_VBLANK) && !high) gb_raise(m, GB_INT_STAT, t);
    m->ppu.first_frame = 0;
    m->ppu.vblank_event = GB_NEVER;
    gb_ppu_map_vram(m, true);
}

HD void gb_ppu_first_line(struct gb_ppu *ppu)
{
    ppu->frame_event = ppu->frame_t + GB_FRAME_CYCLES;
    ppu->vblank_event = ppu->frame_t + GB_VBLANK_DOT;
    ppu->win_line = 255;
    ppu->drawn_line = ppu->drawn_x = ppu->line_checks = 0;
    gb_line_forget(ppu);
}

HD void gb_ppu_frame_start(struct gb *m)
{
    m->ppu.frame_t += GB_FRAME_CYCLES;
    gb_ppu_first_line(&m->ppu);
    gb_ppu_map_vram(m, false);
}

// Handles every LCD event up to and including time t, in order.
HD_CALL void gb_ppu_sync(struct gb *m, int32_t t)
{
    for (;;) {
        int32_t next = gb_ppu_event(m);
        if (next > t) return;
        if (next == m->ppu.frame_event) gb_ppu_frame_start(m);
        else if (next == m->ppu.vblank_event) gb_ppu_vblank(m, next);
        if (m->ppu.stat_event <= next) gb_ppu_stat_due(m, next);
    }
}

HD_CALL void gb_ppu_switch_on(struct gb *m, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    ppu->frame_t = t - 4;
    gb_ppu_first_line(ppu);
    ppu->first_frame = 1;
    ppu->line_checks = 1;
    ppu->win_state = 0;
    ppu->wy_hit = (ppu->lcdc & GB_LCDC_WINDOW) && ppu->wy == 0;
    ppu->lyc_compare = ppu->lyc_before = ppu->lyc;
    if (gb_ppu_enabled(m, GB_STAT_LYC) && ppu->lyc == 0 && !ppu->lyc_flag)
        gb_raise(m, GB_INT_STAT, t);
    gb_ppu_map_vram(m, false);
}

HD void gb_ppu_switch_off(struct gb *m)
{
    m->ppu.frame_event = m->ppu.vblank_event = GB_NEVER;
    m->picture_blank = 1;
    gb_ppu_map_vram(m, true);
}

// ---- registers

// The window's bit of LCDC changes on a line it concerns.
HD void gb_ppu_window_bit(struct gb_ppu *ppu, bool on)
{
    if (!on) {
        if (ppu->win_state == GB_WIN_SHOWN || ppu->line.state == GB_LINE_OVER)
            ppu->win_state &= (uint8_t)~GB_WIN_SHOWN;
    } else if (ppu->win_state == GB_WIN_DUE) {
        ppu->win_state |= GB_WIN_SHOWN;
        ppu->win_line++;
    }
}

// The size of sprites changes two dots late.
HD void gb_ppu_sprite_size(struct gb *m, uint8_t value, int32_t t)
{
    gb_draw_to(m, t + 2);
    int p = t + 2 - m->ppu.frame_t, line = p / GB_LINE_CYCLES;
    if (line == m->ppu.drawn_line) gb_line_keep_scan(m, line, p % GB_LINE_CYCLES, true);
    m->ppu.lcdc = value;
}

HD_CALL void gb_ppu_write_lcdc(struct gb *m, uint8_t value, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    uint8_t before = ppu->lcdc, changed = before ^ value;
    if (changed & GB_LCDC_ON) {
        if (before & GB_LCDC_ON) gb_ppu_read_stat(m, t); // freezes the comparison bit
        ppu->lcdc = value;
        if (before & GB_LCDC_ON) gb_ppu_switch_off(m);
        else gb_ppu_switch_on(m, t);
    } else if (before & GB_LCDC_ON) {
        if (changed & GB_LCDC_WINDOW) gb_ppu_window_bit(ppu, value & GB_LCDC_WINDOW);
        ppu->lcdc = (uint8_t)((value & ~GB_LCDC_TALL) | (before & GB_LCDC_TALL));
        if (changed & GB_LCDC_TALL) gb_ppu_sprite_size(m, value, t);
    } else {
        ppu->lcdc = value;
    }
}

// SCX, WX, WY and LCDC decide how long mode 3 takes.
HD_CALL void gb_ppu_write_timing(struct gb *m, uint8_t reg, uint8_t value, int32_t t)
{
    struct gb_ppu *ppu = &m->ppu;
    gb_draw_to(m, t + (reg >= 0x4a ? 1 : 0)); // WY and WX take effect a dot later
    switch (reg) {
    case 0x40: gb_ppu_write_lcdc(m, value, t); break;
    case 0x43: ppu->scx = value; break;
    case 0x4a: // the pixels of one more dot still see the old one
        if (gb_ppu_on(m) && ppu->line.state == GB_LINE_FOLLOWED)
            gb_line_follow(m, ppu->drawn_line, (t - ppu->frame_t) % GB_LINE_CYCLES + 3);
        ppu->wy = value;
        break;
    default: ppu->wx = value; break;
    }
    if (ppu->stat) gb_ppu_plan_stat(m, t);
    else ppu->stat_event = GB_NEVER;
}

HD_CALL uint8_t *gb_ppu_register(struct gb_ppu *ppu, uint8_t reg)
{
    switch (reg) {
    case 0x40: return &ppu->lcdc;
    case 0x42: return &ppu->scy;
    case 0x43: return &ppu->scx;
    case 0x45: return &ppu->lyc;
    case 0x47: return &ppu->bgp;
    case 0x48: return &ppu->obp0;
    case 0x49: return &ppu->obp1;
    case 0x4a: return &ppu->wy;
    case 0x4b: return &ppu->wx;
    default: return 0;
    }
}

// Writes FF40-FF4B except DMA. What was due before the write is drawn first.
HD_CALL void gb_ppu_write(struct gb *m, uint8_t reg, uint8_t value, int32_t t)
{
    if (reg == 0x41) {
        gb_ppu_write_stat(m, value, t);
        return;
    }
    uint8_t *at = gb_ppu_register(&m->ppu, reg);
    if (!at || *at == value) return;
    const uint8_t timed = GB_LCDC_ON | GB_LCDC_WINDOW | GB_LCDC_SPRITES | GB_LCDC_TALL;
    if (reg == 0x45) {
        gb_ppu_write_lyc(m, value, t);
    } else if (reg == 0x43 || reg >= 0x4a || (reg == 0x40 && ((*at ^ value) & timed))) {
        gb_ppu_write_timing(m, reg, value, t);
    } else {
        gb_draw_shown(m, t);
        *at = value;
    }
}

HD_CALL uint8_t gb_ppu_read(struct gb *m, uint8_t reg, int32_t t)
{
    if (reg == 0x41) return gb_ppu_read_stat(m, t);
    if (reg == 0x44) return gb_ppu_ly(m, t);
    if (reg == 0x46) return m->dma.reg;
    const uint8_t *at = gb_ppu_register(&m->ppu, reg);
    return at ? *at : 0xff;
}

#endif
