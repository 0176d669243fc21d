// gb_bess.c - reads and writes BESS blocks.
#include "gb_bess.h"

#include <stdio.h>

#include "gb.h"
#include "gb_bus.h"
#include "gb_parts.h"

enum {
    FOOTER = 8,
    BLOCK_HEADER = 8,
    CORE_BYTES = 0xd0,
    INFO_BYTES = 0x12,
    RTC_BYTES = 0x30,
    MBC_MAX = 0x1000,
    CORE_IO = 0x18,
    CORE_BUFFERS = 0x98
};

static const char our_name[] = "workbench";

struct reader {
    const uint8_t *bytes;
    size_t n; // without the footer
    const uint8_t *core, *mbc, *rtc, *info, *name;
    size_t n_mbc, n_name;
    char *message;
    size_t message_size;
};

static uint32_t u16_at(const uint8_t *p) { return (uint32_t)(p[0] | p[1] << 8); }

static uint32_t u32_at(const uint8_t *p) { return u16_at(p) | u16_at(p + 2) << 16; }

bool gb_bess_is(const uint8_t *bytes, size_t n) {
    return n >= FOOTER && memcmp(bytes + n - 4, "BESS", 4) == 0;
}

#define REFUSE(r, ...)                                                                             \
    (snprintf((r)->message, (r)->message_size, "BESS state: " __VA_ARGS__), false)

static bool read_core(struct reader *r, const uint8_t *data, size_t n) {
    if (r->core) return REFUSE(r, "it has two CORE blocks");
    if (n < CORE_BYTES) return REFUSE(r, "its CORE block has %zu bytes, not %d", n, CORE_BYTES);
    if (u16_at(data) != 1)
        return REFUSE(r, "it is of version %u.%u, this program reads version 1", u16_at(data),
                      u16_at(data + 2));
    r->core = data;
    return true;
}

static bool read_mbc(struct reader *r, const uint8_t *data, size_t n) {
    if (n % 3 || n > MBC_MAX) return REFUSE(r, "its MBC block has %zu bytes", n);
    for (size_t i = 0; i < n; i += 3) {
        uint32_t addr = u16_at(data + i);
        if (addr >= 0x8000 && (addr < 0xa000 || addr >= 0xc000))
            return REFUSE(r, "its MBC block writes to %04X", addr);
    }
    r->mbc = data;
    r->n_mbc = n;
    return true;
}

static bool read_end(struct reader *r, const uint8_t *data, size_t n) {
    (void)data;
    return n == 0 || REFUSE(r, "its END block is not empty");
}

static bool read_info(struct reader *r, const uint8_t *data, size_t n) {
    if (n != INFO_BYTES) return REFUSE(r, "its INFO block has %zu bytes, not %d", n, INFO_BYTES);
    r->info = data;
    return true;
}

static bool read_rtc(struct reader *r, const uint8_t *data, size_t n) {
    if (n != RTC_BYTES) return REFUSE(r, "its RTC block has %zu bytes, not %d", n, RTC_BYTES);
    r->rtc = data;
    return true;
}

static bool read_name(struct reader *r, const uint8_t *data, size_t n) {
    r->name = data;
    r->n_name = n;
    return true;
}

static const struct block {
    char id[5];
    bool needs_core; // must come after CORE
    bool (*read)(struct reader *r, const uint8_t *data, size_t n);
} blocks[] = {
    {"NAME", false, read_name}, {"INFO", false, read_info}, {"CORE", false, read_core},
    {"MBC ", true, read_mbc},   {"RTC ", true, read_rtc},   {"END ", true, read_end},
};

static const struct block *find_block(const uint8_t *id) {
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (memcmp(blocks[i].id, id, 4) == 0) return &blocks[i];
    return NULL;
}

// All blocks up to END, in order.
static bool read_blocks(struct reader *r) {
    size_t at = u32_at(r->bytes + r->n);
    for (;;) {
        if (at > r->n || r->n - at < BLOCK_HEADER)
            return REFUSE(r, "it has no END block (cut, or its footer is damaged)");
        const uint8_t *header = r->bytes + at;
        size_t length = u32_at(header + 4);
        at += BLOCK_HEADER;
        if (length > r->n - at)
            return REFUSE(r, "a block claims %zu bytes, the file has %zu left", length, r->n - at);
        const struct block *known = find_block(header);
        if (known) {
            if (known->needs_core && !r->core) return REFUSE(r, "it has no CORE block");
            if (!known->read(r, header + BLOCK_HEADER, length)) return false;
            if (known->read == read_end) return true;
        }
        at += length;
    }
}

// Buffer i of CORE: RAM, VRAM, MBC RAM, OAM, HRAM, two kinds of palettes.
static struct gb_parts_memory core_buffer(const struct reader *r, int i) {
    const uint8_t *pair = r->core + CORE_BUFFERS + 8 * i;
    return (struct gb_parts_memory){r->bytes + u32_at(pair + 4), u32_at(pair)};
}

static bool check_buffers(struct reader *r) {
    for (int i = 0; i < 7; i++) {
        const uint8_t *pair = r->core + CORE_BUFFERS + 8 * i;
        size_t size = u32_at(pair), offset = u32_at(pair + 4);
        if (size > 0 && (offset > r->n || size > r->n - offset))
            return REFUSE(r, "a memory of %zu bytes at %zu lies outside the file", size, offset);
    }
    return true;
}

static bool check_model(struct reader *r) {
    const uint8_t *model = r->core + 4;
    if (model[0] == 'G') return true;
    const char *what = model[0] == 'C'   ? "a Game Boy Color"
                       : model[0] == 'S' ? "a Super Game Boy"
                                         : "an unknown model";
    return REFUSE(r, "it is of %s, this emulator is a DMG", what);
}

static bool read_file(struct reader *r) {
    if (!gb_bess_is(r->bytes, r->n)) return REFUSE(r, "there is no BESS footer at its end");
    r->n -= FOOTER;
    return read_blocks(r) && check_buffers(r) && check_model(r);
}

// Printable text; a hostile name cannot write to the terminal.
static void copy_text(char *to, size_t size, const uint8_t *from, size_t n) {
    size_t i = 0;
    for (; i < n && i + 1 < size && from[i]; i++)
        to[i] = from[i] >= 0x20 && from[i] <= 0x7e ? (char)from[i] : '?';
    to[i] = 0;
}

bool gb_bess_info(const uint8_t *bytes, size_t n, struct gb_bess_info *info, char *message,
                  size_t message_size) {
    struct reader r = {.bytes = bytes, .n = n, .message = message, .message_size = message_size};
    memset(info, 0, sizeof *info);
    if (!read_file(&r)) return false;
    copy_text(info->emulator, sizeof info->emulator, r.name, r.n_name);
    if (r.info) {
        info->names_rom = true;
        gb_parts_title(info->title, r.info);
        info->global_checksum = (uint16_t)(r.info[16] << 8 | r.info[17]);
    }
    copy_text(info->model, sizeof info->model, r.core + 4, 4);
    info->minor = (uint16_t)u16_at(r.core + 2);
    info->cart_ram_bytes = (uint32_t)core_buffer(&r, 2).n;
    info->has_rtc = r.rtc != NULL;
    return true;
}

static bool check_rom(struct reader *r, const struct gb_rom *rom) {
    if (!r->info) return true;
    char theirs[17];
    gb_parts_title(theirs, r->info);
    uint16_t checksum = (uint16_t)(r->info[16] << 8 | r->info[17]);
    if (memcmp(r->info, rom->bytes + 0x134, 16) == 0 && checksum == rom->global_checksum)
        return true;
    return REFUSE(r, "it is for another ROM (\"%s\" %04X; this one is \"%s\" %04X)", theirs,
                  checksum, rom->title, rom->global_checksum);
}

// BESS says the line and the mode; the dot is a guess within it.
static int32_t lcd_position(const uint8_t *io) {
    static const uint16_t dots[4] = {300, 4, 8, 100};
    int line = io[0x44] < GB_N_LINES ? io[0x44] : 0, mode = io[0x41] & 3;
    if (mode == 1 && line < 144) return 153 * GB_LINE_CYCLES + 8; // LY is 0 early
    if (line >= 144) mode = 1;
    return line * GB_LINE_CYCLES + dots[mode];
}

static void read_rtc_values(const struct reader *r, struct gb_parts *parts) {
    if (!r->rtc) return;
    for (int i = 0; i < 5; i++) {
        parts->rtc[i] = r->rtc[4 * i];
        parts->rtc_latched[i] = r->rtc[20 + 4 * i];
    }
}

bool gb_bess_load(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n,
                  char *message, size_t message_size) {
    struct reader r = {.bytes = bytes, .n = n, .message = message, .message_size = message_size};
    if (!read_file(&r) || !check_rom(&r, rom)) return false;
    static const uint8_t halts[4] = {GB_RUNNING, GB_HALTED, GB_ASLEEP, GB_RUNNING};
    const uint8_t *core = r.core, *io = core + CORE_IO;
    if (io[0x50] == 0)
        return REFUSE(&r, "it was taken inside the boot ROM, which this emulator lacks");
    if (core[0x16] > 2) return REFUSE(&r, "its execution state %d is unknown", core[0x16]);
    struct gb_parts parts = {.pc = (uint16_t)u16_at(core + 0x08),
                             .af = (uint16_t)u16_at(core + 0x0a),
                             .bc = (uint16_t)u16_at(core + 0x0c),
                             .de = (uint16_t)u16_at(core + 0x0e),
                             .hl = (uint16_t)u16_at(core + 0x10),
                             .sp = (uint16_t)u16_at(core + 0x12),
                             .ime = core[0x14],
                             .irq_enable = core[0x15],
                             .halt = halts[core[0x16]],
                             .divider = (uint16_t)(io[0x04] << 8),
                             .lcd_position = lcd_position(io),
                             .wram = core_buffer(&r, 0),
                             .vram = core_buffer(&r, 1),
                             .cart_ram = core_buffer(&r, 2),
                             .oam = core_buffer(&r, 3),
                             .hram = core_buffer(&r, 4),
                             .bank_writes = r.mbc,
                             .n_bank_writes = r.n_mbc / 3};
    memcpy(parts.io, io, sizeof parts.io);
    read_rtc_values(&r, &parts);
    gb_parts_build(m, rom, &parts);
    return true;
}

// ---- writing

struct writer {
    uint8_t *out; // NULL: only counts
    size_t at;
};

static void put_bytes(struct writer *w, const void *bytes, size_t n) {
    if (w->out && n) memcpy(w->out + w->at, bytes, n);
    w->at += n;
}

static void put(struct writer *w, uint64_t value, int n_bytes) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    put_bytes(w, bytes, (size_t)n_bytes);
}

static void put_header(struct writer *w, const char *id, size_t length) {
    put_bytes(w, id, 4);
    put(w, length, 4);
}

static void put_info(struct writer *w, const struct gb_rom *rom) {
    put_header(w, "NAME", sizeof our_name - 1);
    put_bytes(w, our_name, sizeof our_name - 1);
    put_header(w, "INFO", INFO_BYTES);
    put_bytes(w, rom->bytes + 0x134, 16);
    put_bytes(w, rom->bytes + 0x14e, 2);
}

// The registers as a program reads them, and those that cannot be read as they were written.
static void put_io(struct writer *w, const struct gb *m) {
    struct gb copy;
    uint8_t io[128];
    const uint8_t *sound = (const uint8_t *)&m->apu; // begins with FF10-FF3F as written
    memset(&copy, 0, sizeof copy);
    gb_copy(&copy, m);
    for (int reg = 0; reg < 128; reg++) io[reg] = gb_io_read(&copy, (uint8_t)reg, copy.now);
    for (int reg = 0x10; reg < 0x40; reg++)
        if (reg != 0x26) io[reg] = sound[reg - 0x10];
    io[0x50] = 1;
    put_bytes(w, io, sizeof io);
}

static void put_core(struct writer *w, const struct gb *m, const struct gb_rom *rom) {
    // The memories stand at the end of our own state, before its checksum (gb_state.h).
    size_t end = gb_state_size(rom) - 4;
    size_t cart = end - rom->ram_bytes, vram = cart - 8192, wram = vram - 8192, oam = wram - 160;
    size_t hram = oam - 127;
    const size_t pairs[7][2] = {{8192, wram}, {8192, vram}, {rom->ram_bytes, cart},
                                {160, oam},   {127, hram},  {0, 0},
                                {0, 0}};
    put_header(w, "CORE", CORE_BYTES);
    put(w, 1, 2);
    put(w, 1, 2);
    put_bytes(w, "GD  ", 4);
    if (w->out) {
        const struct gb_cpu *cpu = &m->cpu;
        bool locked = cpu->halt == GB_LOCKED; // meets the same opcode again
        put(w, cpu->pc - (locked ? 1u : 0u), 2);
        put(w, (uint64_t)(cpu->a << 8 | cpu->f), 2);
        put(w, cpu->bc, 2), put(w, cpu->de, 2), put(w, cpu->hl, 2), put(w, cpu->sp, 2);
        put(w, cpu->ime || cpu->ei_delay, 1); // better one instruction early than never
        put(w, m->irq_enable, 1);
        bool halted = cpu->halt == GB_HALTED || cpu->halt == GB_HALT_JUST;
        bool stopped = cpu->halt == GB_STOPPED || cpu->halt == GB_ASLEEP;
        put(w, halted ? 1 : stopped ? 2 : 0, 1);
        put(w, 0, 1);
        put_io(w, m);
    } else {
        w->at += CORE_BUFFERS - 8;
    }
    for (int i = 0; i < 7; i++) put(w, pairs[i][0], 4), put(w, pairs[i][1], 4);
}

static void put_banks(struct writer *w, const struct gb *m, const struct gb_rom *rom) {
    static const struct {
        uint16_t addr[4];
        int n;
    } registers[] = {[GB_MAPPER_NONE] = {{0}, 0},
                     [GB_MAPPER_MBC1] = {{0x0000, 0x2000, 0x4000, 0x6000}, 4},
                     [GB_MAPPER_MBC2] = {{0x0000, 0x2100}, 2},
                     [GB_MAPPER_MBC3] = {{0x0000, 0x2000, 0x4000}, 3},
                     [GB_MAPPER_MBC5] = {{0x0000, 0x2000, 0x3000, 0x4000}, 4}};
    int n = registers[rom->mapper].n;
    if (n == 0) return;
    put_header(w, "MBC ", (size_t)n * 3);
    for (int i = 0; i < n; i++) {
        uint16_t addr = registers[rom->mapper].addr[i];
        uint8_t value = 0;
        if (w->out) {
            const struct gb_cart *cart = &m->cart;
            if (addr == 0x0000) value = cart->ram_on ? 0x0a : 0;
            if (addr == 0x2000 || addr == 0x2100) value = (uint8_t)cart->rom_bank;
            if (addr == 0x3000) value = (uint8_t)(cart->rom_bank >> 8);
            if (addr == 0x4000) value = cart->ram_bank;
            if (addr == 0x6000) value = cart->mode;
        }
        put(w, addr, 2);
        put(w, value, 1);
    }
}

static void put_clock(struct writer *w, const struct gb *m, const struct gb_rom *rom,
                      int64_t unix_time) {
    if (!rom->has_rtc) return;
    put_header(w, "RTC ", RTC_BYTES);
    for (int i = 0; i < 5; i++) put(w, m ? m->cart.rtc[i] : 0, 4);
    for (int i = 0; i < 5; i++) put(w, m ? m->cart.rtc_latched[i] : 0, 4);
    put(w, (uint64_t)unix_time, 8);
}

static size_t put_file(struct writer *w, const struct gb *m, const struct gb_rom *rom,
                       int64_t unix_time) {
    w->at = gb_state_size(rom);
    size_t first = w->at;
    put_info(w, rom);
    put_core(w, m, rom);
    put_banks(w, m, rom);
    put_clock(w, m, rom, unix_time);
    put_header(w, "END ", 0);
    put(w, first, 4);
    put_bytes(w, "BESS", 4);
    return w->at;
}

size_t gb_bess_size(const struct gb_rom *rom) {
    struct writer counter = {NULL, 0};
    return put_file(&counter, NULL, rom, 0);
}

size_t gb_bess_save(const struct gb *m, uint8_t *out, int64_t unix_time) {
    struct writer w = {out, 0};
    gb_state_save(m, out);
    return put_file(&w, m, m->rom, unix_time);
}
