// gb_state.c - the saved form of a machine: one walk over the fields serves saving and loading.
#include "gb_state.h"

#include <stdio.h>

#include "gb_io.h"

enum { HEADER_BYTES = 4 + 4 + 8 + 4 + 2 + 4, CRC_BYTES = 4 };

// Writes when `out` is set, reads when `in` is, counts in any case.
struct cursor {
    uint8_t *out;
    const uint8_t *in;
    size_t at;
};

static void put(uint8_t *to, uint64_t value, int n)
{
    for (int i = 0; i < n; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *from, int n)
{
    uint64_t value = 0;
    for (int i = 0; i < n; i++) value |= (uint64_t)from[i] << (8 * i);
    return value;
}

static void block(struct cursor *c, uint8_t *bytes, size_t n)
{
    if (c->out) memcpy(c->out + c->at, bytes, n);
    if (c->in) memcpy(bytes, c->in + c->at, n);
    c->at += n;
}

static void u8(struct cursor *c, uint8_t *field)
{
    block(c, field, 1);
}

static void u16(struct cursor *c, uint16_t *field)
{
    if (c->out) put(c->out + c->at, *field, 2);
    if (c->in) *field = (uint16_t)get(c->in + c->at, 2);
    c->at += 2;
}

static void i16(struct cursor *c, int16_t *field)
{
    if (c->out) put(c->out + c->at, (uint16_t)*field, 2);
    if (c->in) *field = (int16_t)(uint16_t)get(c->in + c->at, 2);
    c->at += 2;
}

static void i32(struct cursor *c, int32_t *field)
{
    if (c->out) put(c->out + c->at, (uint32_t)*field, 4);
    if (c->in) *field = (int32_t)(uint32_t)get(c->in + c->at, 4);
    c->at += 4;
}

static void walk_cpu(struct cursor *c, struct gb *m)
{
    struct gb_cpu *cpu = &m->cpu;
    u16(c, &cpu->pc), u16(c, &cpu->sp);
    u16(c, &cpu->bc), u16(c, &cpu->de), u16(c, &cpu->hl);
    u8(c, &cpu->a), u8(c, &cpu->f);
    u8(c, &cpu->ime), u8(c, &cpu->ei_delay), u8(c, &cpu->halt), u8(c, &cpu->halt_bug);
    i32(c, &m->now);
    u8(c, &m->irq_flag), u8(c, &m->irq_enable), i32(c, &m->irq_t);
}

static void walk_line(struct cursor *c, struct gb_line *line)
{
    u8(c, &line->state), u8(c, &line->phase), u8(c, &line->step), u8(c, &line->x);
    u8(c, &line->fetch_x), u8(c, &line->sprite), i16(c, &line->dot);
    i16(c, &line->mode0), i16(c, &line->end);
    u8(c, &line->n_scanned), u8(c, &line->scan_kept), u8(c, &line->n_found);
    block(c, line->found, 10), block(c, line->found_y, 10), block(c, line->found_x, 10);
}

static void walk_apu(struct cursor *c, struct gb_apu *apu)
{
    block(c, apu->regs, sizeof apu->regs);
    for (int i = 0; i < 4; i++) u16(c, &apu->length[i]);
    u8(c, &apu->sequencer), u8(c, &apu->sweep_timer), u8(c, &apu->sweep_on);
    u8(c, &apu->sweep_negated), u8(c, &apu->sweep_due), u16(c, &apu->sweep_frequency);
    u8(c, &apu->wave_pos), i32(c, &apu->step_t), i32(c, &apu->wave_t), i32(c, &apu->wave_read_t);
}

static void walk_ports(struct cursor *c, struct gb *m)
{
    struct gb_timer *timer = &m->timer;
    u8(c, &m->buttons), u8(c, &m->p1_select);
    u8(c, &m->sb), u8(c, &m->sc), i32(c, &m->serial_event);
    u16(c, &timer->div_base);
    u8(c, &timer->tima), u8(c, &timer->tma), u8(c, &timer->tac);
    i32(c, &timer->tima_t), i32(c, &timer->reload_t);
    walk_apu(c, &m->apu);
}

static void walk_ppu(struct cursor *c, struct gb_ppu *ppu)
{
    u8(c, &ppu->lcdc), u8(c, &ppu->stat), u8(c, &ppu->scy), u8(c, &ppu->scx), u8(c, &ppu->lyc);
    u8(c, &ppu->bgp), u8(c, &ppu->obp0), u8(c, &ppu->obp1), u8(c, &ppu->wy), u8(c, &ppu->wx);
    u8(c, &ppu->lyc_compare), u8(c, &ppu->lyc_before), u8(c, &ppu->lyc_flag);
    u8(c, &ppu->wy_hit), u8(c, &ppu->win_line), u8(c, &ppu->win_state), u8(c, &ppu->win_from);
    u8(c, &ppu->first_frame), u8(c, &ppu->drawn_line);
    u8(c, &ppu->line_checks);
    walk_line(c, &ppu->line);
    i32(c, &ppu->frame_t), i32(c, &ppu->stat_event);
}

static void walk_dma_and_cart(struct cursor *c, struct gb *m)
{
    struct gb_dma *dma = &m->dma;
    struct gb_cart *cart = &m->cart;
    u8(c, &dma->reg), u8(c, &dma->active), u8(c, &dma->n_done), u16(c, &dma->source);
    i32(c, &dma->start_t), i32(c, &dma->pending_t), u16(c, &dma->pending_source);
    u8(c, &cart->ram_on), u8(c, &cart->mode), u16(c, &cart->rom_bank), u8(c, &cart->ram_bank);
    block(c, cart->rtc, 5), block(c, cart->rtc_latched, 5), u8(c, &cart->rtc_latch);
    i32(c, &cart->rtc_cycles);
}

static void walk(struct cursor *c, struct gb *m, size_t ram_bytes)
{
    walk_cpu(c, m);
    walk_ports(c, m);
    walk_ppu(c, &m->ppu);
    walk_dma_and_cart(c, m);
    block(c, m->hram, 127);
    block(c, m->oam, sizeof m->oam);
    block(c, m->wram, sizeof m->wram);
    block(c, m->vram, sizeof m->vram);
    block(c, m->cart_ram, ram_bytes);
}

static uint32_t crc32_of(const uint8_t *bytes, size_t n)
{
    static const uint32_t nibbles[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ nibbles[crc & 15];
        crc = crc >> 4 ^ nibbles[crc & 15];
    }
    return ~crc;
}

size_t gb_state_size(const struct gb_rom *rom)
{
    struct cursor c = {NULL, NULL, 0};
    static struct gb none; // only its address is used: nothing is read or written without in or out
    walk(&c, &none, rom->ram_bytes);
    return HEADER_BYTES + c.at + CRC_BYTES;
}

size_t gb_state_save(const struct gb *m, uint8_t *out)
{
    size_t n = gb_state_size(m->rom);
    memcpy(out, "WGBS", 4);
    put(out + 4, GB_STATE_VERSION, 4);
    put(out + 8, m->rom->hash, 8);
    put(out + 16, m->rom->n_bytes, 4);
    put(out + 20, m->rom->global_checksum, 2);
    put(out + 22, n, 4);
    struct cursor c = {out, NULL, HEADER_BYTES};
    walk(&c, (struct gb *)m, m->rom->ram_bytes); // a saving walk only reads the machine
    put(out + c.at, crc32_of(out, c.at), CRC_BYTES);
    return n;
}

static bool check_header(const struct gb_rom *rom, const uint8_t *bytes, size_t n, char *message,
                         size_t size)
{
    if (n < HEADER_BYTES + CRC_BYTES || memcmp(bytes, "WGBS", 4) != 0) {
        snprintf(message, size, "this is no saved Game Boy state (%zu bytes, no WGBS at the start)",
                 n);
        return false;
    }
    uint32_t version = (uint32_t)get(bytes + 4, 4), length = (uint32_t)get(bytes + 22, 4);
    if (version != GB_STATE_VERSION) {
        snprintf(message, size, "the state is of version %u, this program reads version %d",
                 version, GB_STATE_VERSION);
        return false;
    }
    if (length != n) {
        snprintf(message, size, "the state is cut or has grown: %zu bytes, it says %u", n, length);
        return false;
    }
    if (crc32_of(bytes, n - CRC_BYTES) != (uint32_t)get(bytes + n - CRC_BYTES, CRC_BYTES)) {
        snprintf(message, size, "the state is damaged: its checksum does not match");
        return false;
    }
    uint64_t hash = get(bytes + 8, 8);
    if (hash != rom->hash || get(bytes + 16, 4) != rom->n_bytes) {
        snprintf(message, size,
                 "the state is for another ROM (hash %016llx, this ROM has %016llx)",
                 (unsigned long long)hash, (unsigned long long)rom->hash);
        return false;
    }
    if (n != gb_state_size(rom)) {
        snprintf(message, size, "the state has %zu bytes, one for this ROM has %zu", n,
                 gb_state_size(rom));
        return false;
    }
    return true;
}

// NEVER, or after now by at most `reach`.
static bool is_soon(const struct gb *m, int32_t event, int32_t reach)
{
    return event == GB_NEVER || (event > m->now && event - m->now <= reach);
}

static bool are_flags(const uint8_t *flags, int n)
{
    for (int i = 0; i < n; i++)
        if (flags[i] > 1) return false;
    return true;
}

static bool is_possible_line(const struct gb_line *line)
{
    if (line->state > GB_LINE_OVER || line->phase > GB_PHASE_WINDOW) return false;
    if (line->step > 80) return false;
    if (line->x > GB_X_END || line->fetch_x > GB_X_END || line->sprite > 10) return false;
    if (line->dot < 0 || line->dot > 1000 || line->mode0 < 0 || line->mode0 > 1000) return false;
    if (line->end < 0 || line->end > 1000) return false;
    if (line->n_scanned > 40 || line->n_found > 10) return false;
    for (int i = 0; i < line->n_found; i++)
        if (line->found[i] >= 40) return false;
    return true;
}

static bool is_near(const struct gb *m, int32_t t)
{
    return t >= m->now - 3 * GB_FRAME_CYCLES && t <= m->now + 3 * GB_FRAME_CYCLES;
}

static bool is_possible_apu(const struct gb *m)
{
    const struct gb_apu *a = &m->apu;
    for (int i = 0; i < 4; i++)
        if (a->length[i] > gb_apu_length_max(i)) return false;
    if (a->sequencer > 7 || a->sweep_on > 1 || a->sweep_due > 1 || a->wave_pos > 31) return false;
    if (!is_near(m, a->step_t) || a->step_t > m->now) return false;
    return a->wave_t == GB_NEVER || (is_near(m, a->wave_t) && is_near(m, a->wave_read_t));
}

// Values that running code relies on; a file with a right checksum may still have been forged.
static bool is_possible(const struct gb *m)
{
    const struct gb_ppu *ppu = &m->ppu;
    const struct gb_dma *dma = &m->dma;
    const uint8_t flags[] = {m->cpu.ime,      m->cpu.halt_bug,  ppu->lyc_flag,
                             ppu->wy_hit,     ppu->first_frame, ppu->line.scan_kept,
                             dma->active,     m->cart.ram_on,   m->cart.mode};
    if (!are_flags(flags, (int)sizeof flags)) return false;
    if (m->now < 0 || m->now > GB_FRAME_CYCLES + 64) return false;
    if (m->cpu.ei_delay > 2 || m->cpu.halt > GB_LOCKED || (m->cpu.f & 0x0f)) return false;
    if (m->irq_flag > 0x1f || (m->p1_select & 0xcf) || (ppu->stat & 0x87)) return false;
    if (m->timer.tac > 7 || m->timer.tima_t > m->now || m->now - m->timer.tima_t > GB_FRAME_CYCLES)
        return false;
    if (!is_soon(m, m->timer.reload_t, 4) || !is_soon(m, m->serial_event, 8 * 512)) return false;
    if (!is_soon(m, dma->pending_t, 8) || dma->n_done > GB_DMA_BYTES) return false;
    if (dma->active && (dma->start_t > m->now || m->now - dma->start_t > GB_DMA_BYTES * 4))
        return false;
    if (ppu->drawn_line > GB_LCD_HEIGHT || ppu->drawn_x > GB_LCD_WIDTH) return false;
    if (!is_soon(m, ppu->stat_event, 2 * GB_FRAME_CYCLES)) return false;
    if (ppu->win_state > 3 || ppu->win_from > GB_X_END || ppu->line_checks > 2) return false;
    if (!is_possible_line(&ppu->line) || !is_possible_apu(m) || !is_near(m, m->irq_t)) return false;
    if (m->cart.rtc_cycles < -GB_FRAME_CYCLES * 2 || m->cart.rtc_cycles > GB_RTC_SECOND)
        return false;
    int64_t position = (int64_t)m->now - ppu->frame_t;
    return !gb_ppu_on(m) || (position >= 0 && position < GB_FRAME_CYCLES);
}

// What is not stored because it follows from the rest.
static void derive(struct gb *m)
{
    struct gb_ppu *ppu = &m->ppu;
    ppu->frame_event = ppu->vblank_event = GB_NEVER;
    if (gb_ppu_on(m)) {
        ppu->frame_event = ppu->frame_t + GB_FRAME_CYCLES;
        if (m->now - ppu->frame_t < GB_VBLANK_DOT) ppu->vblank_event = ppu->frame_t + GB_VBLANK_DOT;
    }
    m->timer.reloaded_t = -1;
    gb_timer_plan(m);
    m->picture_blank = 1;
    m->draw_from = GB_NEVER;
    gb_map(m);
    gb_plan(m);
}

bool gb_state_load(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n_bytes,
                   char *message, size_t message_size)
{
    if (!check_header(rom, bytes, n_bytes, message, message_size)) return false;
    struct gb loaded;
    memset(&loaded, 0, sizeof loaded);
    struct cursor c = {NULL, bytes, HEADER_BYTES};
    walk(&c, &loaded, rom->ram_bytes);
    if (!is_possible(&loaded)) {
        snprintf(message, message_size, "the state holds values that no machine can have");
        return false;
    }
    uint8_t *lcd = m->lcd;
    *m = loaded;
    m->rom = rom;
    m->lcd = lcd;
    derive(m);
    return true;
}
