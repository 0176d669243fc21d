// gb_io.h - the registers FF00-FF7F and IE: who answers, and the plan of coming events.
#ifndef GB_IO_H
#define GB_IO_H

#include "gb_apu.h"
#include "gb_dma.h"
#include "gb_joypad.h"
#include "gb_serial.h"

// Works out when something happens next: next_t for the devices, event_t for the CPU loop, which
// must look up at once if an interrupt can be taken or the CPU is between two states.
HD_CALL void gb_plan(struct gb *m)
{
    int32_t next = gb_timer_event(m), event;
    if ((event = gb_ppu_event(m)) < next) next = event;
    if ((event = gb_dma_event(m)) < next) next = event;
    if (m->serial_event < next) next = m->serial_event;
    m->next_t = next;
    if (next > GB_FRAME_CYCLES) next = GB_FRAME_CYCLES;
    if (m->cpu.ei_delay || m->cpu.halt) next = GB_AT_ONCE;
    if ((m->irq_flag & m->irq_enable) && m->cpu.ime) next = GB_AT_ONCE;
    m->event_t = next;
}

HD_COLD void gb_handle_events(struct gb *m, int32_t t)
{
    if (gb_timer_event(m) <= t) gb_timer_sync(m, t);
    gb_serial_sync(m, t);
    if (gb_dma_event(m) <= t) gb_dma_sync(m, t);
    gb_ppu_sync(m, t);
    gb_plan(m);
}

// Handles all events up to and including time t.
HD void gb_catch_up(struct gb *m, int32_t t)
{
    if (GB_UNLIKELY(m->next_t <= t)) gb_handle_events(m, t);
}

HD_CALL uint8_t gb_io_read(struct gb *m, uint8_t reg, int32_t t)
{
    gb_catch_up(m, t);
    if (reg >= 0x40 && reg < 0x4c) return gb_ppu_read(m, reg, t);
    if (reg >= 0x10 && reg < 0x40) return gb_apu_read(m, reg, t);
    switch (reg) {
    case 0x00: return gb_joypad_read(m);
    case 0x01: return gb_serial_read(m, t);
    case 0x02: return m->sc | 0x7e;
    case 0x04: return (uint8_t)(gb_timer_divider(m, t) >> 8);
    case 0x05: gb_timer_sync(m, t); return m->timer.tima;
    case 0x06: return m->timer.tma;
    case 0x07: return m->timer.tac | 0xf8;
    case 0x0f: return m->irq_flag | 0xe0;
    default: return 0xff;
    }
}

HD_CALL void gb_io_write(struct gb *m, uint8_t reg, uint8_t value, int32_t t)
{
    gb_catch_up(m, t);
    if (reg == 0x46) gb_dma_write(m, value, t);
    else if (reg >= 0x40 && reg < 0x4c) gb_ppu_write(m, reg, value, t);
    else if (reg >= 0x10 && reg < 0x40) gb_apu_write(m, reg, value, t);
    else switch (reg) {
    case 0x00: gb_joypad_set(m, m->buttons, value); break;
    case 0x01: m->sb = value; break;
    case 0x02: gb_serial_write_control(m, value, t); break;
    case 0x04:
        gb_apu_write_div(m, t);
        gb_serial_write_div(m, t);
        gb_timer_write_div(m, t);
        break;
    case 0x05: gb_timer_write_tima(m, value, t); break;
    case 0x06: gb_timer_write_tma(m, value, t); break;
    case 0x07: gb_timer_write_tac(m, value, t); break;
    case 0x0f:
        gb_ppu_sync(m, t + 1); // what comes a dot later is overwritten too
        m->irq_flag = value & 0x1f;
        m->irq_t = t;
        break;
    default: break;
    }
    gb_plan(m);
}

#endif
