// gb_cart.h - cartridges: no mapper, MBC1 (and its multicarts), MBC2, MBC3 with clock, MBC5.
//
// A write below 8000 changes bank registers; gb_cart_map turns them into page pointers. What a page
// cannot express (RAM off, 2 KiB RAM, MBC2's nibbles, the clock) goes through
// gb_cart_ram_read/_write. Register layouts: Pan Docs, "MBCs".
#ifndef GB_CART_H
#define GB_CART_H

#include "gb_types.h"

enum { GB_RTC_SECOND = 4194304 };

// Bank bits of an MBC3: seven, or eight on cartridges over 2 MiB (MBC30).
HD uint8_t gb_cart_mbc3_bits(const struct gb *m)
{
    return m->rom->n_banks > 128 ? 0xff : 0x7f;
}

// Byte offset into the ROM of the bank seen at 0000 (high = 0) or 4000 (high = 1).
HD_CALL uint32_t gb_cart_rom_offset(const struct gb *m, int high)
{
    const struct gb_cart *cart = &m->cart;
    uint32_t bank = high;
    switch (m->rom->mapper) {
    case GB_MAPPER_MBC1: {
        int shift = m->rom->multicart ? 4 : 5;
        uint32_t upper = (uint32_t)(cart->ram_bank & 3) << shift;
        uint32_t lower = cart->rom_bank & 0x1f ? cart->rom_bank & 0x1f : 1;
        if (high) bank = upper | (lower & ((1u << shift) - 1));
        else bank = cart->mode ? upper : 0;
    } break;
    case GB_MAPPER_MBC2:
        if (high) bank = cart->rom_bank & 0x0f ? cart->rom_bank & 0x0f : 1;
        break;
    case GB_MAPPER_MBC3:
        bank = cart->rom_bank & gb_cart_mbc3_bits(m);
        if (!high || bank == 0) bank = (uint32_t)high;
        break;
    case GB_MAPPER_MBC5:
        if (high) bank = cart->rom_bank & 0x1ff;
        break;
    default:
        break;
    }
    return (bank & (m->rom->n_banks - 1)) << 14;
}

HD uint32_t gb_cart_ram_offset(const struct gb *m)
{
    uint32_t bank = m->cart.ram_bank;
    if (m->rom->mapper == GB_MAPPER_MBC1) bank = m->cart.mode ? bank & 3 : 0;
    return (bank << 13) & (GB_CART_RAM_MAX - 1) & (m->rom->ram_bytes - 1);
}

HD bool gb_cart_ram_plain(const struct gb *m)
{
    if (!m->cart.ram_on || m->rom->ram_bytes < 8192) return false;
    return m->rom->mapper != GB_MAPPER_MBC3 || m->cart.ram_bank < 8;
}

HD uint8_t gb_cart_rom_read(const struct gb *m, uint16_t addr)
{
    return m->rom->bytes[gb_cart_rom_offset(m, addr >> 14) + (addr & 0x3fff)];
}

HD_CALL uint8_t gb_cart_ram_read(const struct gb *m, uint16_t addr)
{
    if (!m->cart.ram_on) return 0xff;
    if (m->rom->mapper == GB_MAPPER_MBC2) return *gb_cart_byte(m, addr & 0x1ff) | 0xf0;
    if (m->rom->mapper == GB_MAPPER_MBC3 && m->cart.ram_bank >= 8) {
        unsigned reg = m->cart.ram_bank - 8u;
        return m->rom->has_rtc && reg < 5 ? m->cart.rtc_latched[reg] : 0xff;
    }
    if (m->rom->ram_bytes == 0) return 0xff;
    return *gb_cart_byte(m, gb_cart_ram_offset(m) + (addr & 0x1fff & (m->rom->ram_bytes - 1)));
}

HD void gb_cart_rtc_write(struct gb *m, unsigned reg, uint8_t value)
{
    const uint8_t masks[5] = {0x3f, 0x3f, 0x1f, 0xff, 0xc1};
    if (!m->rom->has_rtc || reg >= 5) return;
    m->cart.rtc[reg] = m->cart.rtc_latched[reg] = value & masks[reg];
    if (reg == 0) m->cart.rtc_cycles = -m->now; // writing seconds restarts the second
}

HD_CALL void gb_cart_ram_write(struct gb *m, uint16_t addr, uint8_t value)
{
    if (!m->cart.ram_on) return;
    if (m->rom->mapper == GB_MAPPER_MBC2) {
        *gb_cart_byte(m, addr & 0x1ff) = value & 0x0f;
    } else if (m->rom->mapper == GB_MAPPER_MBC3 && m->cart.ram_bank >= 8) {
        gb_cart_rtc_write(m, m->cart.ram_bank - 8u, value);
    } else if (m->rom->ram_bytes) {
        *gb_cart_byte(m, gb_cart_ram_offset(m) + (addr & 0x1fff & (m->rom->ram_bytes - 1))) = value;
    }
}

// One second passes in the clock. Out-of-range values count on to their bit width, as hardware
// does.
HD_CALL void gb_cart_rtc_tick(uint8_t rtc[5])
{
    rtc[0] = (rtc[0] + 1) & 0x3f;
    if (rtc[0] != 60) return;
    rtc[0] = 0;
    rtc[1] = (rtc[1] + 1) & 0x3f;
    if (rtc[1] != 60) return;
    rtc[1] = 0;
    rtc[2] = (rtc[2] + 1) & 0x1f;
    if (rtc[2] != 24) return;
    rtc[2] = 0;
    if (++rtc[3]) return;
    if (rtc[4] & 1) rtc[4] |= 0x80; // day 511 overflowed
    rtc[4] ^= 1;
}

// Brings the clock to time t.
HD void gb_cart_rtc_sync(struct gb *m, int32_t t)
{
    if (m->cart.rtc[4] & 0x40) { // halted: the fraction of a second stands still
        m->cart.rtc_cycles = -t;
        return;
    }
    while (m->cart.rtc_cycles + t >= GB_RTC_SECOND) {
        m->cart.rtc_cycles -= GB_RTC_SECOND;
        gb_cart_rtc_tick(m->cart.rtc);
    }
}

// A write to 0000-7FFF. The caller maps afterwards.
HD_CALL void gb_cart_write(struct gb *m, uint16_t addr, uint8_t value, int32_t t)
{
    struct gb_cart *cart = &m->cart;
    int region = addr >> 13;
    switch (m->rom->mapper) {
    case GB_MAPPER_MBC1:
        if (region == 0) cart->ram_on = (value & 0x0f) == 0x0a;
        else if (region == 1) cart->rom_bank = value & 0x1f;
        else if (region == 2) cart->ram_bank = value & 3;
        else cart->mode = value & 1;
        break;
    case GB_MAPPER_MBC2:
        if (addr >= 0x4000) break;
        if (addr & 0x100) cart->rom_bank = value & 0x0f;
        else cart->ram_on = (value & 0x0f) == 0x0a;
        break;
    case GB_MAPPER_MBC3:
        if (region == 0) cart->ram_on = (value & 0x0f) == 0x0a;
        else if (region == 1) cart->rom_bank = value & gb_cart_mbc3_bits(m);
        else if (region == 2) cart->ram_bank = value & 0x0f;
        else {
            if (m->rom->has_rtc && !cart->rtc_latch && value == 1) {
                gb_cart_rtc_sync(m, t);
                memcpy(cart->rtc_latched, cart->rtc, sizeof cart->rtc);
            }
            cart->rtc_latch = value;
        }
        break;
    case GB_MAPPER_MBC5:
        if (region == 0) cart->ram_on = value == 0x0a;
        else if (addr < 0x3000) cart->rom_bank = (uint16_t)((cart->rom_bank & 0x100) | value);
        else if (region == 1)
            cart->rom_bank = (uint16_t)((cart->rom_bank & 0xff) | (value & 1) << 8);
        else if (region == 2) cart->ram_bank = value & 0x0f;
        break;
    default:
        break;
    }
}

// Page pointers of the cartridge from the bank registers.
HD_CALL void gb_cart_map(struct gb *m)
{
#ifdef GB_INTERLEAVED
    for (int i = 0; i < 2; i++) m->rom_half[i] = m->rom->bytes + gb_cart_rom_offset(m, i);
#else
    const uint8_t *low = m->rom->bytes + gb_cart_rom_offset(m, 0);
    const uint8_t *high = m->rom->bytes + gb_cart_rom_offset(m, 1);
    for (int i = 0; i < 4; i++) {
        m->read_page[i] = low + i * 0x1000;
        m->read_page[4 + i] = high + i * 0x1000;
    }
    uint8_t *ram = gb_cart_ram_plain(m) ? m->cart_ram + gb_cart_ram_offset(m) : 0;
    for (int i = 0; i < 2; i++) {
        m->read_page[10 + i] = ram ? ram + i * 0x1000 : 0;
        m->write_page[10 + i] = ram ? ram + i * 0x1000 : 0;
    }
#endif
}

#endif
