// gb_bus.h - the memory map: one test for a page pointer, then the slow way.
//
//   0000 ROM  4000 ROM bank  8000 VRAM  A000 cartridge RAM  C000 WRAM  E000 echo
//   FE00 OAM  FEA0 nothing  FF00 registers  FF80 HRAM  FFFF IE
//
// t is the exact time of the access; only the slow way needs it.
#ifndef GB_BUS_H
#define GB_BUS_H

#include "gb_io.h"

HD_CALL uint8_t gb_read_video(struct gb *m, uint16_t addr, int32_t t)
{
    gb_catch_up(m, t);
    if (addr < 0xa000) return gb_ppu_locks(m, t, false, false) ? 0xff : *gb_vram(m, addr & 0x1fff);
    if (m->dma.active || gb_ppu_locks(m, t, true, false)) return 0xff;
    return addr < 0xfea0 ? m->oam[addr - 0xfe00] : 0x00;
}

HD_CALL void gb_write_video(struct gb *m, uint16_t addr, uint8_t value, int32_t t)
{
    gb_catch_up(m, t);
    if (addr < 0xa000) {
        if (gb_ppu_locks(m, t, false, true)) return;
        gb_draw_shown(m, t);
        *gb_vram(m, addr & 0x1fff) = value;
    } else if (addr < 0xfea0 && !m->dma.active && !gb_ppu_locks(m, t, true, true)) {
        gb_dma_hides_oam(m, t);
        m->oam[addr - 0xfe00] = value;
    }
}

HD_COLD uint8_t gb_read_slow(struct gb *m, uint16_t addr, int32_t t)
{
    if (addr >= 0xff80) return addr == 0xffff ? m->irq_enable : m->hram[addr - 0xff80];
    if (addr >= 0xff00) return gb_io_read(m, (uint8_t)addr, t);
    if (m->dma.active || m->dma.pending_t <= t) {
        gb_catch_up(m, t);
        gb_dma_copy_until(m, t);
        if (m->dma.active && gb_dma_conflict(m, addr)) return m->oam[m->dma.n_done - 1];
    }
    if (addr >= 0xfe00) return gb_read_video(m, addr, t);
    if (addr >= 0xc000) return *gb_wram(m, addr & 0x1fff);
    if (addr >= 0xa000) return gb_cart_ram_read(m, addr);
    if (addr >= 0x8000) return gb_read_video(m, addr, t);
    return gb_cart_rom_read(m, addr);
}

HD_COLD void gb_write_slow(struct gb *m, uint16_t addr, uint8_t value, int32_t t)
{
    if (addr >= 0xff80) {
        if (addr < 0xffff) {
            m->hram[addr - 0xff80] = value;
        } else {
            m->irq_enable = value;
            gb_plan(m);
        }
        return;
    }
    if (addr >= 0xff00) {
        gb_io_write(m, (uint8_t)addr, value, t);
        return;
    }
    if (m->dma.active || m->dma.pending_t <= t) {
        gb_catch_up(m, t);
        gb_dma_copy_until(m, t);
        if (m->dma.active && gb_dma_conflict(m, addr)) {
            gb_dma_conflict_write(m, value);
            return;
        }
    }
    if (addr >= 0xfe00) {
        gb_write_video(m, addr, value, t);
    } else if (addr >= 0xc000) {
        *gb_wram(m, addr & 0x1fff) = value;
    } else if (addr >= 0xa000) {
        gb_cart_ram_write(m, addr, value);
    } else if (addr >= 0x8000) {
        gb_write_video(m, addr, value, t);
    } else {
        gb_cart_write(m, addr, value, t);
        if (gb_dma_idle(m)) gb_cart_map(m);
    }
}

HD uint8_t gb_read(struct gb *m, uint16_t addr, int32_t t)
{
#ifdef GB_INTERLEAVED
    const uint8_t *half = m->rom_half[addr >> 14 & 1];
    if (addr < 0x8000 && half) return half[addr & 0x3fff];
#else
    const uint8_t *page = m->read_page[addr >> 12];
    if (GB_LIKELY(page != 0)) return page[addr & 0xfff];
#endif
    return gb_read_slow(m, addr, t);
}

HD void gb_write(struct gb *m, uint16_t addr, uint8_t value, int32_t t)
{
#ifndef GB_INTERLEAVED
    uint8_t *page = m->write_page[addr >> 12];
    if (GB_LIKELY(page != 0)) {
        page[addr & 0xfff] = value;
        return;
    }
#endif
    gb_write_slow(m, addr, value, t);
}

#endif
