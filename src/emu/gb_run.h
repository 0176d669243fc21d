// gb_run.h - runs a machine for a frame or for a step of an agent (the same code on CPU and GPU).
#ifndef GB_RUN_H
#define GB_RUN_H

#include "gb_cpu.h"

HD void gb_shift_time(int32_t *t)
{
    if (*t != GB_NEVER) *t -= GB_FRAME_CYCLES;
}

// Ends a frame: moves the origin of time, so that what is left over counts for the next frame.
HD_CALL void gb_end_frame(struct gb *m)
{
    gb_timer_sync(m, m->now);
    gb_dma_sync(m, m->now);
    gb_apu_shift(m);
    gb_draw_pass(m, m->now);
    gb_cart_rtc_sync(m, m->now);
    m->cart.rtc_cycles += GB_FRAME_CYCLES;
    m->now -= GB_FRAME_CYCLES;
    m->irq_t -= m->irq_t > -GB_FRAME_CYCLES ? GB_FRAME_CYCLES : 0;
    m->timer.div_base = (uint16_t)(m->timer.div_base - GB_FRAME_CYCLES);
    m->timer.tima_t = m->now;
    m->timer.reloaded_t = -1; // no access can meet it any more
    gb_shift_time(&m->timer.overflow_t);
    gb_shift_time(&m->timer.reload_t);
    gb_shift_time(&m->serial_event);
    gb_shift_time(&m->dma.pending_t);
    if (m->dma.active) m->dma.start_t -= GB_FRAME_CYCLES;
    if (gb_ppu_on(m)) m->ppu.frame_t -= GB_FRAME_CYCLES;
    gb_shift_time(&m->ppu.vblank_event);
    gb_shift_time(&m->ppu.frame_event);
    gb_shift_time(&m->ppu.stat_event);
    if (m->draw_from != GB_NEVER) m->draw_from -= GB_FRAME_CYCLES;
}

// STOP cuts a frame off: what was drawn of it must not decide the state, and the LCD is blank.
HD void gb_fall_asleep(struct gb *m)
{
    gb_draw_pass(m, m->now);
    m->picture_blank = 1;
}

// Runs 70,224 T-cycles. In STOP no time passes.
HD_CALL void gb_machine_run_frame(struct gb *m)
{
    if (m->cpu.halt == GB_ASLEEP) return;
    gb_plan(m);
    m->event_t = GB_AT_ONCE;
    gb_cpu_run(m);
    if (m->cpu.halt == GB_ASLEEP) gb_fall_asleep(m);
    else gb_end_frame(m);
}

HD void gb_machine_buttons(struct gb *m, uint8_t pressed)
{
    gb_joypad_set(m, pressed, m->p1_select);
    if (m->cpu.halt == GB_ASLEEP && gb_joypad_lines(m) != 0x0f) m->cpu.halt = GB_RUNNING;
}

// The last complete picture; all shade 0 when the LCD is off or was only just switched on.
HD void gb_machine_observe(const struct gb *m, uint8_t packed2[GB_OBS_BYTES])
{
    if (m->picture_blank) memset(packed2, 0, GB_OBS_BYTES);
    else memcpy(packed2, m->obs[m->picture], GB_OBS_BYTES);
}

// One agent step without its observation. Only frames that can still be the last complete one at its
// end are drawn.
HD void gb_machine_frames(struct gb *m, uint8_t pressed, int n_frames, int release_after)
{
    m->draw_from = (n_frames - 1) * GB_FRAME_CYCLES;
    for (int frame = 0; frame < n_frames; frame++) {
        gb_machine_buttons(m, frame < release_after ? pressed : 0);
        gb_machine_run_frame(m);
    }
}

HD void gb_machine_step(struct gb *m, uint8_t pressed, int n_frames, int release_after,
                        uint8_t packed2[GB_OBS_BYTES])
{
    gb_machine_frames(m, pressed, n_frames, release_after);
    gb_machine_observe(m, packed2);
}

#endif
