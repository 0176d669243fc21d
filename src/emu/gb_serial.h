// gb_serial.h - the link port with nothing plugged in: transfers by the internal clock end after
// eight bits of ones, transfers by an external clock never do.
#ifndef GB_SERIAL_H
#define GB_SERIAL_H

#include "gb_timer.h"

HD void gb_serial_sync(struct gb *m, int32_t t)
{
    if (m->serial_event > t) return;
    gb_raise(m, GB_INT_SERIAL, m->serial_event);
    m->serial_event = GB_NEVER;
    m->sb = 0xff;
    m->sc &= 0x7f;
}

// SB while a transfer runs: the bits that came in so far are ones.
HD uint8_t gb_serial_read(const struct gb *m, int32_t t)
{
    if (m->serial_event == GB_NEVER) return m->sb;
    int left = (m->serial_event - t + 511) >> 9;
    return (uint8_t)(((m->sb + 1) << (8 - left)) - 1);
}

// Writing DIV also clears the clock that transfers follow.
HD void gb_serial_write_div(struct gb *m, int32_t t)
{
    if (m->serial_event == GB_NEVER) return;
    uint32_t ago = (uint32_t)t - (uint32_t)m->serial_event;
    int32_t next = m->serial_event + (int32_t)(ago & 255) - 2 * (int32_t)(ago & 128);
    m->serial_event = next > t ? next : t;
}

// A bit every 512 cycles, in step with DIV.
HD void gb_serial_write_control(struct gb *m, uint8_t value, int32_t t)
{
    gb_serial_sync(m, t);
    m->sc = value;
    m->serial_event = GB_NEVER;
    if ((value & 0x81) == 0x81) {
        int32_t phase = gb_timer_divider(m, t) & 255;
        m->serial_event = t - phase + 8 * 512;
    }
}

#endif
