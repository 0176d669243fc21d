// gb_serial.h - the link port with nothing plugged in: transfers by the internal clock end after
// eight bits of ones, transfers by an external clock never do.
#ifndef GB_SERIAL_H
#define GB_SERIAL_H

#include "gb_timer.h"

HD void gb_serial_sync(struct gb *m, int32_t t)
{
    if (m->serial_event > t) return;
    m->serial_event = GB_NEVER;
    m->sb = 0xff;
    m->sc &= 0x7f;
    m->irq_flag |= GB_INT_SERIAL;
}

// The bit clock is divider bit 8: one bit every 512 cycles, in step with DIV.
HD void gb_serial_write_control(struct gb *m, uint8_t value, int32_t t)
{
    gb_serial_sync(m, t);
    m->sc = value;
    m->serial_event = GB_NEVER;
    if ((value & 0x81) == 0x81) {
        int32_t phase = gb_timer_divider(m, t) & 511;
        m->serial_event = t - phase + 8 * 512;
    }
}

#endif
