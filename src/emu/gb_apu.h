// gb_apu.h - the sound registers as a program can read them back; no sound is made.
//
// Kept as written, read through the masks of Pan Docs, "Audio registers". NR52 bit 7 gates the
// rest: off clears NR10-NR51 and refuses writes to them. Its status bits follow triggers and the
// DAC switches; length counters do not run.
#ifndef GB_APU_H
#define GB_APU_H

#include "gb_types.h"

// Bits that read as 1, FF10 to FF2F in four-byte rows.
HD uint8_t gb_apu_read_mask(unsigned i)
{
    const uint32_t rows[8] = {0xff003f80u, 0x003fffbfu, 0xff7fbfffu, 0xffbfff9fu,
                              0xbf0000ffu, 0xff700000u, 0xffffffffu, 0xffffffffu};
    return (uint8_t)(rows[i >> 2] >> (8 * (i & 3)));
}

enum { GB_NR52 = 0x16 }; // FF26, counted from FF10

HD uint8_t gb_apu_read(const struct gb *m, uint8_t reg)
{
    unsigned i = reg - 0x10u;
    if (i >= 0x20) return m->apu[i];
    return m->apu[i] | gb_apu_read_mask(i);
}

HD void gb_apu_write(struct gb *m, uint8_t reg, uint8_t value)
{
    unsigned i = reg - 0x10u;
    if (i >= 0x20) {
        m->apu[i] = value; // wave pattern
        return;
    }
    if (i == GB_NR52) {
        if (!(value & 0x80)) memset(m->apu, 0, GB_NR52);
        m->apu[i] = (value & 0x80) ? (uint8_t)((m->apu[i] & 0x0f) | 0x80) : 0;
        return;
    }
    if (i > GB_NR52 || !(m->apu[GB_NR52] & 0x80)) return;
    m->apu[i] = value;
    if (i >= 20) return; // NR50, NR51
    unsigned channel = i / 5, dac = channel == 2 ? 10 : channel * 5 + 2;
    bool dac_on = channel == 2 ? m->apu[dac] & 0x80 : m->apu[dac] & 0xf8;
    if (!dac_on) m->apu[GB_NR52] &= (uint8_t)~(1u << channel);
    else if (i == channel * 5 + 4 && (value & 0x80)) m->apu[GB_NR52] |= (uint8_t)(1u << channel);
}

#endif
