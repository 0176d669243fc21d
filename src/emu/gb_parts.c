// gb_parts.c - builds a machine from registers and memories, by writing them as a program would.
#include "gb_parts.h"

#include "gb.h"
#include "gb_bus.h"
#include "gb_run.h"

enum { NR52 = 0x26, LCDC = 0x40, STAT = 0x41, SWITCHED_ON_AT = 4 };

void gb_parts_title(char title[17], const uint8_t bytes[16]) {
    int n = 0;
    while (n < 16 && bytes[n] >= 0x20 && bytes[n] <= 0x7e) {
        title[n] = (char)bytes[n];
        n++;
    }
    while (n > 0 && title[n - 1] == ' ') n--;
    title[n] = 0;
}

static void fill(uint8_t *to, size_t size, const struct gb_parts_memory *from) {
    size_t n = from->n < size ? from->n : size;
    memset(to, 0, size);
    if (n > 0) memcpy(to, from->bytes, n);
}

static void fill_memories(struct gb *m, const struct gb_parts *p) {
    fill(m->vram, sizeof m->vram, &p->vram);
    fill(m->wram, sizeof m->wram, &p->wram);
    fill(m->oam, sizeof m->oam, &p->oam);
    fill(m->hram, 127, &p->hram);
    fill(m->cart_ram, m->rom->ram_bytes, &p->cart_ram);
    if (m->rom->mapper == GB_MAPPER_MBC2) // half bytes: the upper halves do not exist
        for (size_t i = 0; i < m->rom->ram_bytes; i++) m->cart_ram[i] &= 0x0f;
}

static void set_cartridge(struct gb *m, const struct gb_parts *p) {
    const uint8_t masks[5] = {0x3f, 0x3f, 0x1f, 0xff, 0xc1};
    for (size_t i = 0; i < p->n_bank_writes; i++) {
        const uint8_t *write = p->bank_writes + 3 * i;
        uint16_t addr = (uint16_t)(write[0] | write[1] << 8);
        if (addr < 0x8000) gb_cart_write(m, addr, write[2], 0);
    }
    if (!m->rom->has_rtc) return;
    for (int i = 0; i < 5; i++) {
        m->cart.rtc[i] = p->rtc[i] & masks[i];
        m->cart.rtc_latched[i] = p->rtc_latched[i] & masks[i];
    }
}

// Switches the LCD on so long before the end of a frame that it gets to its position by then, and
// lets it run: time is 0 afterwards.
static void set_lcd(struct gb *m, const struct gb_parts *p) {
    static const uint8_t plain[] = {0x42, 0x43, 0x45, 0x47, 0x48, 0x49, 0x4a, 0x4b};
    bool on = p->io[LCDC] & 0x80;
    int32_t run = 0;
    if (on && p->lcd_position > SWITCHED_ON_AT)
        run = (p->lcd_position % GB_FRAME_CYCLES - SWITCHED_ON_AT) & ~3;
    int32_t t = GB_FRAME_CYCLES - run;
    for (size_t i = 0; i < sizeof plain; i++) gb_io_write(m, plain[i], p->io[plain[i]], t);
    m->dma.reg = p->io[0x46];
    gb_io_write(m, LCDC, p->io[LCDC], t);
    if (on)
        m->ppu.first_frame = p->lcd_first_frame != 0;
    else
        m->ppu.lyc_flag = p->io[STAT] >> 2 & 1;
    gb_io_write(m, STAT, p->io[STAT], t);
    m->draw_from = -GB_FRAME_CYCLES; // if VBlank has begun, its picture can be made
    gb_catch_up(m, GB_FRAME_CYCLES);
    m->draw_from = GB_NEVER;
    m->now = GB_FRAME_CYCLES;
    gb_end_frame(m);
}

static void set_timer(struct gb *m, const struct gb_parts *p) {
    gb_io_write(m, 0x07, 0, 0);
    m->timer.div_base = (uint16_t)(0u - p->divider);
    gb_io_write(m, 0x05, p->io[0x05], 0);
    gb_io_write(m, 0x06, p->io[0x06], 0);
    gb_io_write(m, 0x07, p->io[0x07], 0);
}

// NR52 first: while it is off the others cannot be written.
static void set_sound(struct gb *m, const struct gb_parts *p) {
    gb_io_write(m, NR52, p->io[NR52] & 0x80, 0);
    for (uint8_t reg = 0x10; reg < NR52; reg++) {
        bool triggers = reg == 0x14 || reg == 0x19 || reg == 0x1e || reg == 0x23;
        gb_io_write(m, reg, p->io[reg] & (triggers ? 0x7f : 0xff), 0);
    }
    for (uint8_t reg = 0x30; reg < 0x40; reg++) gb_io_write(m, reg, p->io[reg], 0);
}

static void set_cpu(struct gb *m, const struct gb_parts *p) {
    struct gb_cpu *cpu = &m->cpu;
    cpu->pc = p->pc;
    cpu->sp = p->sp;
    cpu->a = (uint8_t)(p->af >> 8);
    cpu->f = p->af & 0xf0;
    cpu->bc = p->bc;
    cpu->de = p->de;
    cpu->hl = p->hl;
    cpu->ime = p->ime != 0;
    cpu->ei_delay = p->ei_pending && !p->ime;
    cpu->halt = p->halt;
}

void gb_parts_build(struct gb *m, const struct gb_rom *rom, const struct gb_parts *parts) {
    uint8_t *lcd = m->lcd;
    gb_reset(m, rom);
    gb_io_write(m, LCDC, 0, 0); // off, so that nothing of the reset's picture is left
    gb_io_write(m, NR52, 0, 0);
    m->lcd = lcd;
    fill_memories(m, parts);
    set_cartridge(m, parts);
    set_lcd(m, parts);
    set_timer(m, parts);
    set_sound(m, parts);
    m->buttons = parts->buttons;
    m->p1_select = parts->io[0x00] & 0x30;
    m->sb = parts->io[0x01];
    m->sc = parts->io[0x02];
    m->serial_event = GB_NEVER;
    if (parts->serial_cycles > 0)
        m->serial_event = (parts->serial_cycles < 8 * 512 ? parts->serial_cycles : 8 * 512);
    set_cpu(m, parts);
    m->irq_enable = parts->irq_enable;
    m->irq_flag = parts->io[0x0f] & 0x1f; // last: what the writes above raised is forgotten
    gb_map(m);
    gb_plan(m);
}
