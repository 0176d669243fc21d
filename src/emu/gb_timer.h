// gb_timer.h - DIV and TIMA, derived from time; nothing ticks.
//
// The divider is a 16-bit counter of T-cycles. TIMA counts falling edges of (one divider bit AND
// the enable bit), so clearing DIV or rewriting TAC can count too. When TIMA wraps it reads 0 for
// one M-cycle, then TMA is copied and the interrupt is raised (Pan Docs, "Timer obscure
// behaviour").
#ifndef GB_TIMER_H
#define GB_TIMER_H

#include "gb_ppu.h"

// Log2 of T-cycles per TIMA step, by TAC bits 1-0 (1024, 16, 64, 256).
HD int gb_timer_shift(const struct gb *m)
{
    return (0x864a >> ((m->timer.tac & 3) * 4)) & 15;
}

HD uint16_t gb_timer_divider(const struct gb *m, int32_t t)
{
    return (uint16_t)((uint32_t)t - m->timer.div_base);
}

// The signal whose falling edge steps TIMA.
HD bool gb_timer_signal(const struct gb *m, int32_t t)
{
    return (m->timer.tac & 4) && (gb_timer_divider(m, t) >> (gb_timer_shift(m) - 1) & 1);
}

// Works out when TIMA will wrap, from its value at tima_t.
HD void gb_timer_plan(struct gb *m)
{
    struct gb_timer *timer = &m->timer;
    if (!(timer->tac & 4)) {
        timer->overflow_t = GB_NEVER;
        return;
    }
    int shift = gb_timer_shift(m);
    int32_t phase = gb_timer_divider(m, timer->tima_t) & ((1 << shift) - 1);
    timer->overflow_t = timer->tima_t - phase + ((256 - timer->tima) << shift);
}

HD void gb_timer_wrap(struct gb *m, int32_t t)
{
    m->timer.tima = 0;
    m->timer.tima_t = t;
    m->timer.reload_t = t + 4;
    gb_timer_plan(m);
}

// Brings TIMA to time t, with every wrap and reload on the way.
HD_CALL void gb_timer_sync(struct gb *m, int32_t t)
{
    struct gb_timer *timer = &m->timer;
    for (;;) {
        if (timer->reload_t <= t) { // comes before the next wrap: that is 16 cycles away or more
            timer->tima = timer->tma;
            timer->reloaded_t = timer->reload_t;
            timer->reload_t = GB_NEVER;
            gb_raise(m, GB_INT_TIMER, timer->reloaded_t - 1);
            gb_timer_plan(m);
        }
        if (timer->overflow_t > t) break;
        gb_timer_wrap(m, timer->overflow_t);
    }
    if (timer->tac & 4) {
        int shift = gb_timer_shift(m);
        int32_t phase = gb_timer_divider(m, timer->tima_t) & ((1 << shift) - 1);
        timer->tima = (uint8_t)(timer->tima + ((phase + (t - timer->tima_t)) >> shift));
    }
    timer->tima_t = t;
}

HD int32_t gb_timer_event(const struct gb *m)
{
    return m->timer.reload_t < m->timer.overflow_t ? m->timer.reload_t : m->timer.overflow_t;
}

// One step out of turn: the signal fell because of a write.
HD void gb_timer_glitch(struct gb *m, int32_t t)
{
    if (++m->timer.tima == 0) gb_timer_wrap(m, t);
}

HD void gb_timer_write_div(struct gb *m, int32_t t)
{
    gb_timer_sync(m, t);
    bool before = gb_timer_signal(m, t);
    m->timer.div_base = (uint16_t)t;
    if (before) gb_timer_glitch(m, t);
    gb_timer_plan(m);
}

HD void gb_timer_write_tac(struct gb *m, uint8_t value, int32_t t)
{
    gb_timer_sync(m, t);
    bool before = gb_timer_signal(m, t);
    m->timer.tac = value & 7;
    if (before && !gb_timer_signal(m, t)) gb_timer_glitch(m, t);
    gb_timer_plan(m);
}

HD void gb_timer_write_tima(struct gb *m, uint8_t value, int32_t t)
{
    gb_timer_sync(m, t);
    if (t == m->timer.reloaded_t) return; // the copy from TMA wins
    m->timer.tima = value;
    m->timer.reload_t = GB_NEVER; // in the cycle before the copy, writing calls it off
    gb_timer_plan(m);
}

HD void gb_timer_write_tma(struct gb *m, uint8_t value, int32_t t)
{
    gb_timer_sync(m, t);
    m->timer.tma = value;
    if (t == m->timer.reloaded_t) m->timer.tima = value;
    gb_timer_plan(m);
}

#endif
