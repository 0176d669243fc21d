// gb_dma.h - OAM DMA: 160 bytes, one each M-cycle, from two M-cycles after the write to FF46.
//
// While bytes move the CPU has only FF00-FFFF to itself: OAM reads FF, and a read on the bus that
// DMA is using returns DMA's byte. So all page pointers are taken away for that time, and the bytes
// are copied up to the present before anything is read or written.
#ifndef GB_DMA_H
#define GB_DMA_H

#include "gb_cart.h"
#include "gb_ppu.h"

enum { GB_DMA_BYTES = 160 };

// All page pointers from the state: the one place that knows who is mapped.
HD_CALL void gb_map(struct gb *m)
{
#ifdef GB_INTERLEAVED
    m->rom_half[0] = m->rom_half[1] = 0;
    if (gb_dma_idle(m)) gb_cart_map(m);
#else
    memset(m->read_page, 0, sizeof m->read_page);
    memset(m->write_page, 0, sizeof m->write_page);
    if (!gb_dma_idle(m)) return;
    gb_cart_map(m);
    gb_ppu_map_vram(m, gb_ppu_vram_is_free(m));
    for (int i = 0; i < 2; i++) m->read_page[12 + i] = m->write_page[12 + i] = m->wram + i * 0x1000;
    m->read_page[14] = m->write_page[14] = m->wram; // echo; F000-FDFF goes the slow way
#endif
}

// A byte as DMA sees it: nothing is blocked, and E000-FFFF is all echo.
HD_CALL uint8_t gb_dma_source_byte(const struct gb *m, uint16_t addr)
{
    if (addr < 0x8000) return gb_cart_rom_read(m, addr);
    if (addr < 0xa000) return *gb_vram(m, addr & 0x1fff);
    if (addr < 0xc000) return gb_cart_ram_read(m, addr);
    return *gb_wram(m, addr & 0x1fff);
}

HD_CALL void gb_dma_copy_until(struct gb *m, int32_t t)
{
    struct gb_dma *dma = &m->dma;
    if (!dma->active || dma->start_t > t) return;
    int32_t due = (t - dma->start_t) / 4 + 1;
    gb_draw_shown(m, t);
    for (; dma->n_done < GB_DMA_BYTES && dma->n_done < due; dma->n_done++)
        m->oam[dma->n_done] = gb_dma_source_byte(m, (uint16_t)(dma->source + dma->n_done));
}

HD int32_t gb_dma_event(const struct gb *m)
{
    int32_t end = m->dma.active ? m->dma.start_t + GB_DMA_BYTES * 4 : GB_NEVER;
    return end < m->dma.pending_t ? end : m->dma.pending_t;
}

// The scan of OAM for the line being shown sees nothing while a transfer runs: here that changes.
HD_CALL void gb_dma_hides_oam(struct gb *m, int32_t t)
{
    gb_draw_shown(m, t);
    gb_draw_pass(m, t);
    int p = t - m->ppu.frame_t, line = p / GB_LINE_CYCLES;
    if (gb_ppu_on(m) && line == m->ppu.drawn_line)
        gb_line_keep_scan(m, line, p % GB_LINE_CYCLES, false);
}

// The CPU is halted, and transfers stand still, for so many cycles.
HD void gb_dma_delay(struct gb *m, int32_t cycles)
{
    if (m->dma.active) m->dma.start_t += cycles;
    if (m->dma.pending_t != GB_NEVER) m->dma.pending_t += cycles;
}

// Handles start and end of transfers up to time t.
HD_CALL void gb_dma_sync(struct gb *m, int32_t t)
{
    struct gb_dma *dma = &m->dma;
    for (int32_t next; (next = gb_dma_event(m)) <= t;) {
        gb_dma_hides_oam(m, next);
        if (next == dma->pending_t) { // starts, or starts over
            gb_dma_copy_until(m, next - 4);
            dma->active = 1;
            dma->n_done = 0;
            dma->source = dma->pending_source;
            dma->start_t = next;
            dma->pending_t = GB_NEVER;
        } else {
            gb_dma_copy_until(m, next - 4);
            dma->active = 0;
        }
        gb_map(m);
    }
    gb_dma_copy_until(m, t);
}

HD_CALL void gb_dma_write(struct gb *m, uint8_t value, int32_t t)
{
    gb_dma_sync(m, t);
    m->dma.reg = value;
    m->dma.pending_source = (uint16_t)((value >= 0xe0 ? value - 0x20 : value) << 8);
    m->dma.source = m->dma.pending_source; // a running transfer goes on from there
    m->dma.pending_t = t + 8;
    gb_map(m);
}

// A write of the CPU on the transfer's bus lands in the byte being copied.
HD void gb_dma_conflict_write(struct gb *m, uint8_t value)
{
    uint8_t *byte = &m->oam[m->dma.n_done - 1];
    *byte = m->dma.source >= 0xc000 ? *byte & value : value;
}

// Does an access at addr meet the transfer on its bus? VRAM is one bus, ROM, cartridge and WRAM the
// other.
HD bool gb_dma_conflict(const struct gb *m, uint16_t addr)
{
    if (addr >= 0xfe00) return false;
    return ((addr & 0xe000) == 0x8000) == ((m->dma.source & 0xe000) == 0x8000);
}

#endif
