// gb_reset.h - the DMG as its boot ROM leaves it at 0100.
//
// Register values: Pan Docs, "Power Up Sequence". The divider phase and the LCD position are those
// that the mooneye boot tests demand of a DMG (boot_div, boot_hwio).
#ifndef GB_RESET_H
#define GB_RESET_H

#include "gb_io.h"

enum {
    GB_BOOT_DIVIDER = 0xabcc,
    GB_BOOT_LCD_POSITION = 153 * GB_LINE_CYCLES + 400 // T-cycles into the frame
};

// Four bits to eight, each doubled: the boot ROM draws the logo at twice its size.
HD uint8_t gb_reset_double(unsigned bits)
{
    unsigned wide = 0;
    for (unsigned i = 0; i < 4; i++)
        if (bits >> i & 1) wide |= 3u << (2 * i);
    return (uint8_t)wide;
}

// The logo of the header in tiles 1-24, the (R) sign in tile 25, both on the map.
HD_CALL void gb_reset_logo(struct gb *m)
{
    const uint8_t registered[8] = {0x3c, 0x42, 0xb9, 0xa5, 0xb9, 0xa5, 0x42, 0x3c};
    unsigned tile = 16;
    for (int i = 0; i < 48; i++) {
        uint8_t byte = m->rom->bytes[0x104 + i];
        uint8_t rows[2] = {gb_reset_double(byte >> 4), gb_reset_double(byte & 15)};
        for (int r = 0; r < 2; r++, tile += 4)
            *gb_vram(m, tile) = *gb_vram(m, tile + 2) = rows[r];
    }
    for (int i = 0; i < 8; i++) *gb_vram(m, tile + (unsigned)i * 2) = registered[i];
    for (unsigned i = 0; i < 12; i++) {
        *gb_vram(m, 0x1904 + i) = (uint8_t)(1 + i);
        *gb_vram(m, 0x1924 + i) = (uint8_t)(13 + i);
    }
    *gb_vram(m, 0x1910) = 25;
}

HD_CALL void gb_machine_reset(struct gb *m, const struct gb_rom *rom)
{
#ifdef GB_INTERLEAVED
    uint8_t *memory = m->memory, (*obs)[GB_OBS_BYTES] = m->obs;
    memset(m, 0, sizeof *m);
    m->memory = memory;
    m->obs = obs;
    for (unsigned i = 0; i < GB_MEMORY_BYTES; i++) *gb_memory(m, i) = 0;
#else
    memset(m, 0, sizeof *m);
#endif
    m->rom = rom;
    m->cpu.pc = 0x0100;
    m->cpu.sp = 0xfffe;
    m->cpu.bc = 0x0013;
    m->cpu.de = 0x00d8;
    m->cpu.hl = 0x014d;
    m->cpu.a = 0x01;
    m->cpu.f = rom->bytes[0x14d] ? 0xb0 : 0x80; // H and C are left over from the header checksum
    m->irq_flag = GB_INT_VBLANK;
    m->serial_event = GB_NEVER;
    m->timer.div_base = (uint16_t)(0 - GB_BOOT_DIVIDER);
    m->timer.overflow_t = m->timer.reload_t = GB_NEVER;
    m->timer.reloaded_t = -1;
    m->dma.reg = 0xff;
    m->dma.pending_t = GB_NEVER;
    m->cart.rom_bank = 1;
    m->ppu.lcdc = 0x91;
    m->ppu.bgp = 0xfc;
    m->ppu.obp0 = m->ppu.obp1 = 0xff;
    m->ppu.frame_t = -GB_BOOT_LCD_POSITION;
    m->ppu.frame_event = m->ppu.frame_t + GB_FRAME_CYCLES;
    m->ppu.vblank_event = m->ppu.stat_event = GB_NEVER;
    m->ppu.drawn_line = GB_LCD_HEIGHT;
    m->ppu.win_line = 255;
    m->picture_blank = 1;
    m->draw_from = GB_NEVER;
    const uint8_t apu[23] = {0x80, 0xbf, 0xf3, 0xff, 0xbf, 0xff, 0x3f, 0x00, 0xff, 0xbf, 0x7f, 0xff,
                             0x9f, 0xff, 0xbf, 0xff, 0xff, 0x00, 0x00, 0xbf, 0x77, 0xf3, 0x81};
    memcpy(m->apu.regs, apu, sizeof apu);
    gb_apu_reset(m);
    gb_reset_logo(m);
    gb_map(m);
    gb_plan(m);
}

#endif
