// gb_boundary.h - what happens between two instructions: events, EI's delay, HALT, interrupts.
#ifndef GB_BOUNDARY_H
#define GB_BOUNDARY_H

#include "gb_bus.h"
#include "gb_cpu_verdict.h"

// Takes the most urgent interrupt: five M-cycles. IE and IF are looked at after the first push,
// which may hit IE itself; if nothing is left then, the CPU goes to 0000 (mooneye ie_push).
HD_CALL void gb_dispatch(struct gb *m)
{
    struct gb_cpu *cpu = &m->cpu;
    cpu->ime = 0;
    gb_write(m, --cpu->sp, (uint8_t)(cpu->pc >> 8), m->now + 12);
    gb_catch_up(m, m->now + 16);
    uint8_t pending = m->irq_enable & m->irq_flag & 0x1f;
    gb_write(m, --cpu->sp, (uint8_t)cpu->pc, m->now + 16);
    gb_ppu_sync(m, m->now + 18); // what comes now is acknowledged along with it
    cpu->pc = 0;
    for (int i = 0; i < 5; i++) {
        if (!(pending >> i & 1)) continue;
        m->irq_flag &= (uint8_t)~(1u << i);
        cpu->pc = (uint16_t)(0x40 + 8 * i);
        break;
    }
    m->now += 20;
}

// Halted without a pending interrupt: on to the next event, or the end of the frame. A transfer to
// OAM stands still meanwhile.
HD_CALL void gb_sleep(struct gb *m)
{
    int32_t next = m->next_t < GB_FRAME_CYCLES ? m->next_t : GB_FRAME_CYCLES;
    int32_t slept = (next - m->now + 3) & ~3; // the CPU wakes on its own four-cycle grid
    m->now += slept;
    if (gb_dma_idle(m)) return;
    gb_dma_delay(m, slept);
    gb_plan(m);
}

// An interrupt ends HALT; one that came less than two dots ago is noticed an M-cycle later.
HD_CALL void gb_wake(struct gb *m)
{
    m->cpu.halt = GB_RUNNING;
    if (m->now - m->irq_t < 2) {
        m->now += 4;
        gb_dma_delay(m, 4);
    }
    gb_catch_up(m, m->now);
}

HD_CALL void gb_halt_begins(struct gb *m, bool pending)
{
    m->cpu.halt = GB_HALTED;
    if (!pending) {
        gb_catch_up(m, m->now + 4);
        gb_dma_copy_until(m, m->now + 4);
        m->now += 8; // never shorter
        gb_dma_delay(m, 4);
        gb_plan(m);
        return;
    }
    m->cpu.halt = GB_RUNNING;
    if (m->cpu.ime) m->cpu.pc--; // the interrupt returns to the HALT
    else m->cpu.halt_bug = 1;
}

// STOP takes the byte after it along unless an interrupt is pending. With a selected button down it
// is no more than HALT, or nothing at all (Pan Docs, "Reducing power consumption", the chart of
// STOP).
HD void gb_stop_begins(struct gb *m, bool pending)
{
    if (!pending) m->cpu.pc++;
    if (gb_joypad_lines(m) != 0x0f) {
        m->cpu.halt = pending ? GB_RUNNING : GB_HALT_JUST;
        return;
    }
    gb_timer_write_div(m, m->now);
    gb_plan(m);
    m->cpu.halt = GB_ASLEEP;
}

HD_CALL int gb_boundary(struct gb *m)
{
    struct gb_cpu *cpu = &m->cpu;
    for (;;) {
        gb_catch_up(m, m->now);
        if (m->now >= GB_FRAME_CYCLES) return GB_CPU_LEAVE;
        bool pending = (m->irq_flag & m->irq_enable & 0x1f) != 0;
        if (cpu->ime) cpu->ei_delay = 0; // EI changes nothing then
        bool after_ei = cpu->ei_delay == 2;
        if (after_ei) {
            cpu->ime = 1;
            cpu->ei_delay = 0;
        } else if (cpu->ei_delay) {
            cpu->ei_delay = 2;
        }
        if (cpu->halt) {
            if (cpu->halt == GB_STOPPED) gb_stop_begins(m, pending);
            if (cpu->halt == GB_ASLEEP) return GB_CPU_LEAVE;
            if (cpu->halt == GB_HALT_JUST) gb_halt_begins(m, pending);
            if (cpu->halt == GB_HALTED && pending) gb_wake(m);
            if (cpu->halt) {
                gb_catch_up(m, m->now);
                bool still = !(m->irq_flag & m->irq_enable & 0x1f);
                if ((still || cpu->halt == GB_LOCKED) && m->now < GB_FRAME_CYCLES) gb_sleep(m);
                continue;
            }
        }
        if (!pending || !cpu->ime) break;
        gb_dispatch(m);
    }
    gb_plan(m);
    if (!cpu->halt_bug) return GB_CPU_GO;
    cpu->halt_bug = 0;
    return GB_CPU_GO_AGAIN;
}

#endif
