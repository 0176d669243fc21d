// gb.c - compiles the machine once and offers it as plain functions.
#include "gb.h"

#include "gb_reset.h"
#include "gb_run.h"

void gb_reset(struct gb *m, const struct gb_rom *rom)
{
    gb_machine_reset(m, rom);
}

void gb_copy(struct gb *to, const struct gb *from)
{
    uint8_t *lcd = to->lcd;
    memcpy(to, from, sizeof *to);
    to->lcd = lcd;
    gb_map(to);
}

void gb_run_frame(struct gb *m, bool draw)
{
    m->draw_from = draw ? -GB_FRAME_CYCLES : GB_NEVER;
    gb_machine_run_frame(m);
}

void gb_set_buttons(struct gb *m, uint8_t pressed)
{
    gb_machine_buttons(m, pressed);
}

void gb_step(struct gb *m, uint8_t pressed, int n_frames, int release_after,
             uint8_t packed2[GB_OBS_BYTES])
{
    gb_machine_step(m, pressed, n_frames, release_after, packed2);
}

void gb_observe(const struct gb *m, uint8_t packed2[GB_OBS_BYTES])
{
    gb_machine_observe(m, packed2);
}

void gb_set_lcd(struct gb *m, uint8_t *shades)
{
    m->lcd = shades;
}

const uint8_t *gb_lcd(const struct gb *m)
{
    if (!m->lcd || m->picture_blank) return NULL;
    return m->lcd + m->picture * GB_LCD_WIDTH * GB_LCD_HEIGHT;
}

bool gb_is_locked(const struct gb *m)
{
    return m->cpu.halt == GB_LOCKED;
}

uint8_t gb_peek(const struct gb *m, uint16_t addr)
{
    if (addr < 0xfe00) return gb_dma_source_byte(m, addr);
    if (addr < 0xfea0) return m->oam[addr - 0xfe00];
    if (addr >= 0xff80) return addr == 0xffff ? m->irq_enable : m->hram[addr - 0xff80];
    return 0xff;
}
