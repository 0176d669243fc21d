// gb_joypad.h - P1: live buttons behind two select lines, and the interrupt on a falling line.
#ifndef GB_JOYPAD_H
#define GB_JOYPAD_H

#include "gb_ppu.h"

// The four input lines, 0 = pressed (P1 bits 3-0).
HD uint8_t gb_joypad_lines(const struct gb *m)
{
    unsigned pressed = 0;
    if (!(m->p1_select & 0x10)) pressed |= m->buttons & 0x0fu;
    if (!(m->p1_select & 0x20)) pressed |= m->buttons >> 4;
    return (uint8_t)(~pressed & 0x0f);
}

HD uint8_t gb_joypad_read(const struct gb *m)
{
    return (uint8_t)(0xc0 | m->p1_select | gb_joypad_lines(m));
}

// Sets buttons and select lines at once; any line that falls raises the interrupt.
HD_CALL void gb_joypad_set(struct gb *m, uint8_t buttons, uint8_t select)
{
    uint8_t before = gb_joypad_lines(m);
    m->buttons = buttons;
    m->p1_select = select & 0x30;
    if (before & ~gb_joypad_lines(m)) gb_raise(m, GB_INT_JOYPAD, m->now);
}

#endif
