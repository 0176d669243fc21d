// gb_apu.h - the sound registers as a program can read them back; no sound is made.
//
// Registers are kept as written and read through the masks of Pan Docs, "Audio registers". What a
// program can see of the four channels besides is their status in NR52: a trigger sets it, the DAC
// switch, the length counter or the sweep clears it; and the wave channel's grip on its RAM. The
// frame sequencer counts falling edges of divider bit 12; every second edge clocks the lengths,
// every fourth the sweep. Nothing ticks: gb_apu_sync catches up with the time.
// Details as blargg's dmg_sound and the gambatte suite demand them of a DMG.
#ifndef GB_APU_H
#define GB_APU_H

#include "gb_timer.h"

// Registers, counted from FF10.
enum {
    GB_NR10 = 0x00, GB_NR12 = 0x02, GB_NR13 = 0x03, GB_NR14 = 0x04, GB_NR30 = 0x0a, GB_NR33 = 0x0d,
    GB_NR34 = 0x0e, GB_NR50 = 0x14, GB_NR52 = 0x16, GB_WAVE_RAM = 0x20,
    GB_APU_STEP_SHIFT = 13 // log2 of T-cycles a sequencer step
};

// Bits that read as 1, FF10 to FF2F in four-byte rows.
HD uint8_t gb_apu_read_mask(unsigned i)
{
    const uint32_t rows[8] = {0xff003f80u, 0x003fffbfu, 0xff7fbfffu, 0xffbfff9fu,
                              0xbf0000ffu, 0xff700000u, 0xffffffffu, 0xffffffffu};
    return (uint8_t)(rows[i >> 2] >> (8 * (i & 3)));
}

// What was written to a register FF10-FF3F last (NR52: with the status bits): for saved states.
HD uint8_t gb_apu_written(const struct gb *m, uint8_t reg)
{
    return m->apu.regs[reg - 0x10];
}

HD void gb_apu_stop(struct gb_apu *a, int channel)
{
    a->regs[GB_NR52] &= (uint8_t)~(1u << channel);
    if (channel == 2) a->wave_t = GB_NEVER;
}

HD int gb_apu_length_max(int channel)
{
    return channel == 2 ? 256 : 64;
}

HD void gb_apu_clock_lengths(struct gb_apu *a)
{
    for (int c = 0; c < 4; c++)
        if ((a->regs[c * 5 + 4] & 0x40) && a->length[c] && --a->length[c] == 0) gb_apu_stop(a, c);
}

// ---- sweep of channel 0

HD unsigned gb_apu_sweep_next(struct gb_apu *a)
{
    unsigned f = a->sweep_frequency, step = f >> (a->regs[GB_NR10] & 7);
    if (a->regs[GB_NR10] & 8) {
        a->sweep_negated = 1;
        f -= step;
    } else {
        f += step;
    }
    if (f & 2048) gb_apu_stop(a, 0);
    return f;
}

HD_CALL void gb_apu_clock_sweep(struct gb_apu *a)
{
    unsigned period = a->regs[GB_NR10] >> 4 & 7;
    if (!a->sweep_on || --a->sweep_timer) return;
    a->sweep_timer = (uint8_t)(period ? period : 8);
    if (!period) return;
    unsigned f = gb_apu_sweep_next(a);
    if ((f & 2048) || !(a->regs[GB_NR10] & 7)) return;
    a->sweep_frequency = (uint16_t)f;
    a->regs[GB_NR13] = (uint8_t)f;
    a->regs[GB_NR14] = (uint8_t)((a->regs[GB_NR14] & ~7u) | f >> 8);
    gb_apu_sweep_next(a);
}

// ---- time

HD void gb_apu_step(struct gb_apu *a)
{
    a->sequencer = (a->sequencer + 1) & 7;
    if (!(a->sequencer & 1)) gb_apu_clock_lengths(a);
    if (!(a->sequencer & 3)) a->sweep_due = 1; // an M-cycle later
}

HD int32_t gb_apu_wave_period(const struct gb_apu *a)
{
    return 2 * (2048 - ((a->regs[GB_NR34] & 7) << 8 | a->regs[GB_NR33]));
}

HD void gb_apu_sync_wave(struct gb_apu *a, int32_t t)
{
    if (a->wave_t > t) return;
    int32_t period = gb_apu_wave_period(a), n = (t - a->wave_t) / period;
    a->wave_read_t = a->wave_t + n * period;
    a->wave_t = a->wave_read_t + period;
    a->wave_pos = (uint8_t)((a->wave_pos + n + 1) & 31);
}

// Brings the sequencer and the channels to time t.
HD_CALL void gb_apu_sync(struct gb *m, int32_t t)
{
    struct gb_apu *a = &m->apu;
    const int32_t step = 1 << GB_APU_STEP_SHIFT;
    int32_t phase = gb_timer_divider(m, a->step_t) & (step - 1);
    for (int32_t edge = a->step_t - phase + step; edge <= t; edge += step) {
        if (!(a->regs[GB_NR52] & 0x80)) continue;
        gb_apu_sync_wave(a, edge); // before its length can end it
        if (a->sweep_due) gb_apu_clock_sweep(a);
        a->sweep_due = 0;
        gb_apu_step(a);
        a->step_t = edge;
    }
    if (a->sweep_due && t >= a->step_t + 4) {
        a->sweep_due = 0;
        gb_apu_clock_sweep(a);
    }
    if (!a->sweep_due) a->step_t = t;
    gb_apu_sync_wave(a, t);
}

// Clearing the divider can be an edge. Call it before the divider is cleared.
HD void gb_apu_write_div(struct gb *m, int32_t t)
{
    gb_apu_sync(m, t);
    bool high = gb_timer_divider(m, t) >> (GB_APU_STEP_SHIFT - 1) & 1;
    if (high && (m->apu.regs[GB_NR52] & 0x80)) gb_apu_step(&m->apu);
}

// ---- registers

HD_CALL void gb_apu_trigger_sweep(struct gb *m, int32_t t)
{
    struct gb_apu *a = &m->apu;
    unsigned period = a->regs[GB_NR10] >> 4 & 7, shift = a->regs[GB_NR10] & 7;
    a->sweep_negated = 0;
    a->sweep_frequency = (uint16_t)((a->regs[GB_NR14] & 7) << 8 | a->regs[GB_NR13]);
    a->sweep_on = (period | shift) != 0;
    a->sweep_timer = (uint8_t)(period ? period : 8);
    a->sweep_due = 0;
    const int32_t step = 1 << GB_APU_STEP_SHIFT;
    bool edge_comes = (gb_timer_divider(m, t) & (step - 1)) >= step - 4;
    if (edge_comes && (a->sequencer & 3) == 3) a->sweep_timer++; // too late for that one
    if (shift) gb_apu_sweep_next(a);
}

// A trigger while the wave channel is just reading overwrites the first bytes of its RAM.
HD void gb_apu_trigger_wave(struct gb_apu *a, int32_t t)
{
    uint8_t *ram = a->regs + GB_WAVE_RAM;
    if (a->wave_t == t + 2) {
        int pos = ((a->wave_pos + 1) & 31) >> 1;
        if (pos < 4) ram[0] = ram[pos];
        else for (int i = 0; i < 4; i++) ram[i] = ram[(pos & ~3) + i];
    }
    a->wave_pos = 0;
    a->wave_t = t + gb_apu_wave_period(a) + 6;
    a->wave_read_t = a->wave_t;
}

// NRx4: length enable, trigger. Enabling the length between two clocks can clock it at once.
HD_CALL void gb_apu_write_control(struct gb *m, int c, uint8_t value, int32_t t)
{
    struct gb_apu *a = &m->apu;
    uint8_t *control = &a->regs[c * 5 + 4], before = *control;
    bool clocks_now = (value & 0x40) && !(a->sequencer & 1);
    bool dac = c == 2 ? a->regs[GB_NR30] & 0x80 : a->regs[c * 5 + 2] & 0xf8;
    if (clocks_now && !(before & 0x40) && a->length[c] && --a->length[c] == 0) gb_apu_stop(a, c);
    *control = value & 0x7f;
    if (!(value & 0x80)) return;
    if (a->length[c] == 0) a->length[c] = (uint16_t)(gb_apu_length_max(c) - clocks_now);
    if (dac) a->regs[GB_NR52] |= (uint8_t)(1u << c);
    if (c == 0) gb_apu_trigger_sweep(m, t);
    if (c == 2 && dac) gb_apu_trigger_wave(a, t);
}

HD_CALL void gb_apu_power(struct gb *m, bool on, int32_t t)
{
    struct gb_apu *a = &m->apu;
    if (on == ((a->regs[GB_NR52] & 0x80) != 0)) return;
    memset(a->regs, 0, GB_NR52);
    a->regs[GB_NR52] = on ? 0x80 : 0;
    a->sweep_on = a->sweep_due = a->sweep_negated = 0;
    a->wave_t = GB_NEVER;
    a->wave_pos = 0;
    // the first edge is skipped when the divider bit is high now
    bool high = (gb_timer_divider(m, t) + 4) >> (GB_APU_STEP_SHIFT - 1) & 1;
    a->sequencer = high ? 0 : 1;
}

HD_CALL uint8_t gb_apu_read(struct gb *m, uint8_t reg, int32_t t)
{
    struct gb_apu *a = &m->apu;
    unsigned i = reg - 0x10u;
    if (i == GB_NR52) gb_apu_sync(m, t);
    if (i < GB_WAVE_RAM) return a->regs[i] | gb_apu_read_mask(i);
    if (!(a->regs[GB_NR52] & 4)) return a->regs[i];
    gb_apu_sync(m, t);
    if (!(a->regs[GB_NR52] & 4)) return a->regs[i];
    return a->wave_read_t == t ? a->regs[GB_WAVE_RAM + (a->wave_pos >> 1)] : 0xff;
}

HD void gb_apu_write_wave(struct gb_apu *a, unsigned i, uint8_t value, int32_t t)
{
    if (!(a->regs[GB_NR52] & 4)) a->regs[i] = value;
    else if (a->wave_read_t == t) a->regs[GB_WAVE_RAM + (a->wave_pos >> 1)] = value;
}

HD_CALL void gb_apu_write(struct gb *m, uint8_t reg, uint8_t value, int32_t t)
{
    struct gb_apu *a = &m->apu;
    unsigned i = reg - 0x10u;
    gb_apu_sync(m, t);
    if (i >= GB_WAVE_RAM) {
        gb_apu_write_wave(a, i, value, t);
        return;
    }
    if (i == GB_NR52) {
        gb_apu_power(m, value & 0x80, t);
        return;
    }
    int c = (int)i / 5;
    bool on = (a->regs[GB_NR52] & 0x80) != 0, length = i < GB_NR50 && i % 5 == 1;
    if (i > GB_NR52 || (!on && !length)) return;
    int max = gb_apu_length_max(c);
    if (length) a->length[c] = (uint16_t)(max - (value & (max - 1)));
    if (!on) return; // only the length itself takes a write then
    if (i < GB_NR50 && i % 5 == 4) {
        gb_apu_write_control(m, c, value, t);
        return;
    }
    a->regs[i] = value;
    if (i == GB_NR10 && a->sweep_negated && !(value & 8)) gb_apu_stop(a, 0);
    bool dac_off = c == 2 ? i == GB_NR30 && !(value & 0x80) : i % 5 == 2 && !(value & 0xf8);
    if (i < GB_NR50 && dac_off) gb_apu_stop(a, c);
}

// As the boot ROM leaves it: channel 0 has played its jingle.
HD_CALL void gb_apu_reset(struct gb *m)
{
    struct gb_apu *a = &m->apu;
    a->regs[GB_NR14] &= 0x7f;
    for (int c = 0; c < 4; c++) a->length[c] = (uint16_t)gb_apu_length_max(c);
    a->sequencer = 2;
    a->wave_t = GB_NEVER;
    a->step_t = m->now;
}

// The origin of time moves by one frame.
HD void gb_apu_shift(struct gb *m)
{
    struct gb_apu *a = &m->apu;
    gb_apu_sync(m, m->now);
    a->step_t -= GB_FRAME_CYCLES;
    if (a->wave_t == GB_NEVER) return;
    a->wave_t -= GB_FRAME_CYCLES;
    a->wave_read_t -= GB_FRAME_CYCLES;
}

#endif
