// gb_pyboy.c - PyBoy's save states: one table of fields with the versions that have them.
#include "gb_pyboy.h"

#include <stdio.h>

#include "gb.h"
#include "gb_bus.h"
#include "gb_parts.h"

enum field {
    SKIP,
    BOOT_ROM,
    COLOR,
    REGISTERS,
    IME,
    EI_DELAY,
    HALT,
    IE,
    IF,
    CPU_CYCLES,
    DMA,
    VRAM,
    OAM,
    VIDEO,
    FIRST_FRAME,
    RESET,
    LCD_CYCLES,
    LCD_CLOCK,
    LCD_TARGET,
    SAMPLES,
    SAMPLE_BUFFER,
    SOUND_POWER,
    PAN,
    NR50,
    TONE1,
    SWEEP,
    TONE2,
    WAVE,
    NOISE,
    WRAM,
    IO,
    HRAM,
    TIMER,
    TIMER_CYCLES,
    CART,
    CART_RAM,
    CLOCK,
    MAPPER,
    JOYPAD,
    SERIAL,
    SERIAL_CLOCK,
    N_FIELDS
};

enum {
    LAST = 255,    // has no end yet
    NR50_OLD = 15, // PyBoy 2.7.0 added NR50 and left the version at 15: its files are a byte longer
    OAM_ENTRIES = 160,
    MAX_SAMPLES = 1 << 20
};

static const uint8_t versions[] = {9, 10, 11, 12, 14, 15, 17, 21, 29};
enum { N_VERSIONS = sizeof versions };

// In file order. A field stands in versions from..to; 0 bytes: computed (see field_bytes).
static const struct {
    uint8_t field, from, to;
    uint32_t bytes;
} fields[] = {
    {SKIP, 9, LAST, 1}, // version
    {BOOT_ROM, 9, LAST, 1},
    {SKIP, 16, LAST, 1}, // KEY0
    {SKIP, 9, LAST, 2},  // KEY1, double speed
    {COLOR, 9, LAST, 1},
    {REGISTERS, 9, LAST, 12}, // A F B C D E, HL SP PC
    {IME, 9, LAST, 1},
    {EI_DELAY, 19, LAST, 1},
    {HALT, 9, LAST, 2}, // halted, stopped
    {IE, 9, LAST, 1},
    {SKIP, 9, LAST, 1}, // interrupt queued
    {IF, 9, LAST, 1},
    {CPU_CYCLES, 12, LAST, 8},
    {DMA, 19, LAST, 12}, // active, reading, source, index, start
    {VRAM, 9, LAST, 8192},
    {OAM, 9, LAST, OAM_ENTRIES},
    {VIDEO, 9, LAST, 11},  // LCDC BGP OBP0 OBP1 STAT LY LYC SCY SCX WY WX
    {SKIP, 16, LAST, 1},   // object priority
    {SKIP, 11, LAST, 720}, // scanline parameters
    {SKIP, 9, LAST, 1},    // colour, again
    {SKIP, 17, LAST, 1},   // downgraded to DMG
    {SKIP, 9, LAST, 1},    // speed
    {SKIP, 13, LAST, 1},   // frame done
    {FIRST_FRAME, 13, LAST, 1},
    {RESET, 13, LAST, 1},
    {LCD_CYCLES, 12, LAST, 8},
    {LCD_CLOCK, 9, LAST, 8},
    {LCD_TARGET, 9, LAST, 8},
    {SKIP, 9, LAST, 1},  // next STAT mode
    {SKIP, 29, LAST, 1}, // STAT transition
    {SKIP, 14, LAST, 8}, // audio buffer head
    {SAMPLES, 14, LAST, 8},
    {SKIP, 14, LAST, 8}, // cycles per sample
    {SAMPLE_BUFFER, 14, LAST, 0},
    {SKIP, 29, LAST, 1},  // power on after DIV write
    {SKIP, 14, LAST, 57}, // speed, targets, cycles, dividers
    {SOUND_POWER, 14, LAST, 1},
    {SKIP, 14, LAST, 1}, // sampling disabled
    {PAN, 14, LAST, 8},  // left: noise wave tone sweep, right: the same
    {NR50, 15, LAST, 0},
    {TONE1, 14, LAST, 57},
    {SKIP, 29, LAST, 3},
    {SWEEP, 14, LAST, 11}, // pace, direction, magnitude, timer
    {SKIP, 19, LAST, 9},   // check timer, negate used
    {SKIP, 29, LAST, 16},  // calculation timer, restart hold
    {SKIP, 14, LAST, 9},   // enabled, shadow
    {TONE2, 14, LAST, 57},
    {SKIP, 29, LAST, 3},
    {WAVE, 14, LAST, 55}, // table, DAC, length, volume, period, length on, enabled, timers
    {SKIP, 19, LAST, 1},  // sample suppressed
    {SKIP, 14, LAST, 8},  // volume shift
    {SKIP, 19, LAST, 1},  // wave access
    {SKIP, 29, LAST, 9},  // restart pending, sample frame
    {NOISE, 14, LAST, 65},
    {SKIP, 29, LAST, 25},            // counter, countdown, alignment, running
    {SKIP, 9, 10, 720},              // scanline parameters
    {SKIP, 9, 9, 160 * 144 * 4},     // screen
    {SKIP, 10, LAST, 160 * 144 * 5}, // screen with attributes
    {SKIP, 18, LAST, 1},             // WY activated
    {WRAM, 9, LAST, 8192},
    {SKIP, 9, LAST, 96}, // FEA0-FEFF
    {IO, 9, LAST, 76},   // FF00-FF4B
    {HRAM, 9, LAST, 127},
    {SKIP, 9, 15, 52},   // FF4C-FF7F
    {SKIP, 16, LAST, 1}, // WRAM bank
    {TIMER, 9, LAST, 8}, // DIV TIMA, their counters u16, TMA TAC
    {SKIP, 20, LAST, 1}, // TIMA reload
    {TIMER_CYCLES, 12, LAST, 8},
    {SKIP, 13, LAST, 8}, // cycles to interrupt
    {CART, 9, LAST, 4},  // ROM bank, RAM bank, RAM on, MBC1 mode
    {CART_RAM, 9, LAST, 0},
    {CLOCK, 9, LAST, 0},
    {MAPPER, 9, LAST, 0},                  // MBC1: its two bank registers
    {JOYPAD, 9, LAST, 2},                  // directions, buttons; 0: pressed
    {SERIAL, 15, LAST, 4},                 // SB, SC, transfer, internal clock
    {SKIP, 15, LAST, 16},                  // last cycles, cycles to interrupt
    {SERIAL_CLOCK, 15, LAST, 16},          // clock, target
    {SKIP, 23, LAST, 11 + 0x2080 + 0x800}, // Super Game Boy: flags, border
};

// What the length depends on beside the version.
struct cartridge {
    uint32_t ram_bytes;
    uint32_t mapper_bytes; // MBC1: 2; MBC5 from version 22 on: 1, with rumble 2
    bool rtc;
};

struct layout {
    const uint8_t *at[N_FIELDS]; // NULL: not in this version
    size_t total;
};

struct reader {
    const uint8_t *bytes;
    size_t n;
    int version;
    struct layout layout;
    char *message;
    size_t message_size;
};

#define REFUSE(r, ...)                                                                             \
    (snprintf((r)->message, (r)->message_size, "PyBoy state: " __VA_ARGS__), false)

static uint16_t u16_at(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static uint64_t u64_at(const uint8_t *p) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | p[i];
    return value;
}

static bool is_known(int version) { return memchr(versions, version, N_VERSIONS) != NULL; }

static uint32_t clock_bytes(int version) {
    if (version <= 12) return 6;   // time zero as float, halt, carry
    return version < 21 ? 10 : 33; // as double; then also the registers and the time
}

static size_t field_bytes(const struct reader *r, int i, const struct cartridge *c, bool old_nr50) {
    switch (fields[i].field) {
    case SAMPLE_BUFFER: {
        uint64_t samples = u64_at(r->layout.at[SAMPLES]);
        return samples <= MAX_SAMPLES ? (size_t)(samples + 1) * 2 : SIZE_MAX / 4;
    }
    case NR50:
        return r->version > NR50_OLD || old_nr50;
    case CART_RAM:
        return c->ram_bytes;
    case CLOCK:
        return c->rtc ? clock_bytes(r->version) : 0;
    case MAPPER:
        return c->mapper_bytes;
    default:
        return fields[i].bytes;
    }
}

// Places every field; false when the file is too short on the way.
static bool lay_out(struct reader *r, const struct cartridge *c, bool old_nr50) {
    size_t at = 0;
    memset(&r->layout, 0, sizeof r->layout);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (r->version < fields[i].from || r->version > fields[i].to) continue;
        size_t n = field_bytes(r, (int)i, c, old_nr50);
        if (n > r->n - at) {
            r->layout.total = 0;
            return false;
        }
        if (n > 0) r->layout.at[fields[i].field] = r->bytes + at;
        at += n;
    }
    r->layout.total = at;
    return true;
}

static void name_versions(char *out, size_t size) {
    size_t at = 0;
    for (int i = 0; i < N_VERSIONS && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%d", i ? ", " : "", versions[i]);
}

static bool check_version(struct reader *r) {
    char known[64];
    name_versions(known, sizeof known);
    if (is_known(r->version)) return true;
    return REFUSE(r, "it is of version %d, this program reads versions %s", r->version, known);
}

// Lays the fields out so that they fill the file exactly.
static bool fits(struct reader *r, const struct cartridge *c) {
    if (lay_out(r, c, false) && r->layout.total == r->n) return true;
    return r->version == NR50_OLD && lay_out(r, c, true) && r->layout.total == r->n;
}

static bool check_kind(struct reader *r) {
    if (*r->layout.at[COLOR]) return REFUSE(r, "it is of a Game Boy Color, this emulator is a DMG");
    if (*r->layout.at[BOOT_ROM])
        return REFUSE(r, "it was taken inside the boot ROM, which this emulator lacks");
    return true;
}

bool gb_pyboy_is(const uint8_t *bytes, size_t n) {
    return n > 100000 && bytes[0] >= 1 && bytes[0] < 64;
}

bool gb_pyboy_info(const uint8_t *bytes, size_t n, struct gb_pyboy_info *info, char *message,
                   size_t message_size) {
    struct reader r = {.bytes = bytes,
                       .n = n,
                       .version = n ? bytes[0] : 0,
                       .message = message,
                       .message_size = message_size};
    memset(info, 0, sizeof *info);
    if (!check_version(&r)) return false;
    for (uint32_t ram = 8192; ram <= 32768; ram *= 4)
        for (int kind = 0; kind < 4; kind++) { // nothing more, one byte, two, a clock
            struct cartridge c = {ram, kind < 3 ? (uint32_t)kind : 0, kind == 3};
            if (!fits(&r, &c)) continue;
            if (!check_kind(&r)) return false;
            info->version = r.version;
            info->cart_ram_bytes = ram;
            return true;
        }
    return REFUSE(&r, "%zu bytes fit no version %d file: cut, or of a Game Boy Color", n,
                  r.version);
}

// ---- from fields to parts

static uint32_t pyboy_ram_bytes(const struct gb_rom *rom) {
    return rom->bytes[0x149] == 3 ? 4 * 8192 : 8192; // never less than a bank
}

static struct cartridge describe(const struct gb_rom *rom, int version) {
    struct cartridge c = {.ram_bytes = pyboy_ram_bytes(rom), .rtc = rom->has_rtc};
    if (rom->mapper == GB_MAPPER_MBC1) c.mapper_bytes = 2;
    if (rom->mapper == GB_MAPPER_MBC5 && version >= 22) c.mapper_bytes = rom->type >= 0x1c ? 2 : 1;
    return c;
}

// Where the LCD is. PyBoy knows the line, the mode and when the next mode comes; both its clocks
// count dots. Its modes begin where hardware's do, as seen by the CPU: at our dot 4.
static int32_t lcd_position(const struct layout *l) {
    static const int16_t mode_end[4] = {456, 456, 80, 250}, mode_dots[4] = {206, 456, 80, 170};
    const uint8_t *video = l->at[VIDEO];
    int mode = video[4] & 3, line = video[5] < GB_N_LINES ? video[5] : 0;
    if (l->at[RESET] && *l->at[RESET]) return 4;
    uint64_t clock = u64_at(l->at[LCD_CLOCK]), target = u64_at(l->at[LCD_TARGET]), left = 0;
    if (l->at[LCD_CYCLES]) clock += u64_at(l->at[CPU_CYCLES]) - u64_at(l->at[LCD_CYCLES]);
    if (target > clock) left = target - clock;
    if (left > (uint64_t)mode_dots[mode]) left = (uint64_t)mode_dots[mode];
    return (line * GB_LINE_CYCLES + mode_end[mode] - (int32_t)left + 4) % GB_FRAME_CYCLES;
}

// DIV's lower half is PyBoy's counter. TIMA has a counter of its own there; on hardware it is the
// divider's low bits, so a running timer decides over them.
static uint16_t divider(const struct layout *l) {
    const uint8_t *timer = l->at[TIMER];
    uint8_t low = timer[2], tac = timer[7];
    int shift = (0x864a >> ((tac & 3) * 4)) & 15;
    if ((tac & 4) && shift <= 8) {
        uint8_t mask = (uint8_t)((1u << shift) - 1);
        low = (uint8_t)((low & ~mask) | (timer[4] & mask));
    }
    uint32_t value = (uint32_t)(timer[0] << 8 | low);
    if (l->at[TIMER_CYCLES])
        value += (uint32_t)(u64_at(l->at[CPU_CYCLES]) - u64_at(l->at[TIMER_CYCLES]));
    return (uint16_t)value;
}

// A tone channel's five registers from its fields: duty, length, volume, direction, pace, period,
// length enable.
static void tone_registers(const uint8_t *f, uint8_t *regs) {
    uint16_t period = u16_at(f + 5);
    regs[1] = (uint8_t)(f[0] << 6 | (f[1] & 0x3f));
    regs[2] = (uint8_t)(f[2] << 4 | (f[3] & 1) << 3 | (f[4] & 7));
    regs[3] = (uint8_t)period;
    regs[4] = (uint8_t)((f[7] & 1) << 6 | (period >> 8 & 7));
}

static void sound_registers(const struct layout *l, uint8_t *io) {
    if (!l->at[SOUND_POWER]) { // PyBoy saved no sound then: on, as nearly every game leaves it
        io[0x26] = 0x80;
        io[0x24] = 0x77;
        io[0x25] = 0xff;
        return;
    }
    const uint8_t *sweep = l->at[SWEEP], *wave = l->at[WAVE], *noise = l->at[NOISE];
    io[0x26] = *l->at[SOUND_POWER] ? 0x80 : 0;
    io[0x24] = l->at[NR50] ? *l->at[NR50] : 0x77;
    io[0x25] = 0;
    for (int i = 0; i < 8; i++) io[0x25] |= (uint8_t)((l->at[PAN][i] & 1) << (7 - i));
    io[0x10] = (uint8_t)((sweep[0] & 7) << 4 | (sweep[1] & 1) << 3 | (sweep[2] & 7));
    tone_registers(l->at[TONE1], io + 0x10);
    tone_registers(l->at[TONE2], io + 0x15);
    memcpy(io + 0x30, wave, 16);
    uint16_t period = u16_at(wave + 19);
    io[0x1a] = wave[16] ? 0x80 : 0;
    io[0x1b] = wave[17];
    io[0x1c] = (uint8_t)((wave[18] & 3) << 5);
    io[0x1d] = (uint8_t)period;
    io[0x1e] = (uint8_t)((wave[21] & 1) << 6 | (period >> 8 & 7));
    io[0x20] = noise[0] & 0x3f;
    io[0x21] = (uint8_t)(noise[1] << 4 | (noise[2] & 1) << 3 | (noise[3] & 7));
    io[0x22] = (uint8_t)(noise[4] << 4 | (noise[5] & 1) << 3 | (noise[6] & 7));
    io[0x23] = (uint8_t)((noise[7] & 1) << 6);
}

static void io_registers(const struct reader *r, uint8_t *io) {
    static const struct {
        uint8_t reg, index;
    } video[] = {{0x40, 0}, {0x47, 1}, {0x48, 2}, {0x49, 3}, {0x41, 4}, {0x44, 5},
                 {0x45, 6}, {0x42, 7}, {0x43, 8}, {0x4a, 9}, {0x4b, 10}};
    const struct layout *l = &r->layout;
    memset(io, 0, 128);
    memcpy(io, l->at[IO], 76);
    sound_registers(l, io);
    // From version 10 on P1 is kept as 0F for "none selected".
    if (r->version >= 10 && !(io[0x00] & 0x30)) io[0x00] = 0x30;
    if (l->at[SERIAL]) memcpy(io + 1, l->at[SERIAL], 2);
    const uint8_t *timer = l->at[TIMER];
    io[0x05] = timer[1];
    io[0x06] = timer[6];
    io[0x07] = timer[7];
    io[0x0f] = *l->at[IF];
    for (size_t i = 0; i < sizeof video / sizeof *video; i++)
        io[video[i].reg] = l->at[VIDEO][video[i].index];
}

static int32_t serial_left(const struct layout *l) {
    if (!l->at[SERIAL] || !l->at[SERIAL][2] || !l->at[SERIAL][3]) return 0;
    uint64_t clock = u64_at(l->at[SERIAL_CLOCK]), target = u64_at(l->at[SERIAL_CLOCK] + 8);
    return target > clock && target - clock < 4096 ? (int32_t)(target - clock) : 4096;
}

// Bank registers as the writes that set them. Returns how many.
static size_t bank_writes(const struct gb_rom *rom, const struct layout *l, uint8_t out[12]) {
    const uint8_t *cart = l->at[CART], *mbc1 = l->at[MAPPER];
    uint8_t ram_on = cart[2] ? 0x0a : 0;
    switch (rom->mapper) {
    case GB_MAPPER_MBC1:
        memcpy(
            out,
            (const uint8_t[]){0, 0, ram_on, 0, 0x20, mbc1[0], 0, 0x40, mbc1[1], 0, 0x60, cart[3]},
            12);
        return 4;
    case GB_MAPPER_MBC2:
        memcpy(out, (const uint8_t[]){0, 0, ram_on, 0, 0x21, cart[0]}, 6);
        return 2;
    case GB_MAPPER_MBC3:
        memcpy(out, (const uint8_t[]){0, 0, ram_on, 0, 0x20, cart[0], 0, 0x40, cart[1]}, 9);
        return 3;
    case GB_MAPPER_MBC5: // PyBoy keeps eight bits of the ROM bank only
        memcpy(out, (const uint8_t[]){0, 0, ram_on, 0, 0x20, cart[0], 0, 0x30, 0, 0, 0x40, cart[1]},
               12);
        return 4;
    default:
        return 0;
    }
}

// Before version 21 only the moment at which the clock was zero is kept, and not that of saving:
// the clock starts at zero then.
static void clock_registers(const struct reader *r, struct gb_parts *parts) {
    const uint8_t *clock = r->layout.at[CLOCK];
    if (!clock) return;
    const uint8_t *flags = clock + (r->version <= 12 ? 4 : 8);
    if (r->version >= 21) {
        memcpy(parts->rtc, clock + 10, 4);
        parts->rtc[4] = clock[14] & 1;
    }
    parts->rtc[4] |= (uint8_t)((flags[0] & 1) << 6 | (flags[1] & 1) << 7);
    memcpy(parts->rtc_latched, parts->rtc, 5);
}

// A transfer under way is finished at once.
static void finish_dma(struct gb *m, const struct layout *l) {
    if (!l->at[DMA] || !l->at[DMA][0]) return;
    for (int i = 0; i < OAM_ENTRIES; i++)
        m->oam[i] = gb_dma_source_byte(m, (uint16_t)(l->at[DMA][2] << 8 | i));
}

static void build(struct gb *m, const struct gb_rom *rom, const struct reader *r) {
    const struct layout *l = &r->layout;
    const uint8_t *cpu = l->at[REGISTERS], *joypad = l->at[JOYPAD];
    bool halted = l->at[HALT][0] != 0;
    uint8_t writes[12];
    struct gb_parts parts = {.af = (uint16_t)(cpu[0] << 8 | cpu[1]),
                             .bc = (uint16_t)(cpu[2] << 8 | cpu[3]),
                             .de = (uint16_t)(cpu[4] << 8 | cpu[5]),
                             .hl = u16_at(cpu + 6),
                             .sp = u16_at(cpu + 8),
                             .pc = (uint16_t)(u16_at(cpu + 10) + halted), // PyBoy stays on the HALT
                             .ime = *l->at[IME],
                             .ei_pending = l->at[EI_DELAY] && *l->at[EI_DELAY],
                             .halt = halted ? GB_HALTED : GB_RUNNING,
                             .irq_enable = *l->at[IE],
                             .buttons = (uint8_t)((~joypad[0] & 0x0f) | (~joypad[1] & 0x0f) << 4),
                             .divider = divider(l),
                             .lcd_position = lcd_position(l),
                             .lcd_first_frame = l->at[FIRST_FRAME] ? *l->at[FIRST_FRAME] : 0,
                             .serial_cycles = serial_left(l),
                             .vram = {l->at[VRAM], 8192},
                             .wram = {l->at[WRAM], 8192},
                             .oam = {l->at[OAM], OAM_ENTRIES},
                             .hram = {l->at[HRAM], 127},
                             .cart_ram = {l->at[CART_RAM], pyboy_ram_bytes(rom)},
                             .bank_writes = writes,
                             .n_bank_writes = bank_writes(rom, l, writes)};
    io_registers(r, parts.io);
    clock_registers(r, &parts);
    gb_parts_build(m, rom, &parts);
    finish_dma(m, l);
}

bool gb_pyboy_load(struct gb *m, const struct gb_rom *rom, const uint8_t *bytes, size_t n,
                   char *message, size_t message_size) {
    struct reader r = {.bytes = bytes,
                       .n = n,
                       .version = n ? bytes[0] : 0,
                       .message = message,
                       .message_size = message_size};
    if (!check_version(&r)) return false;
    struct cartridge c = describe(rom, r.version);
    if (!fits(&r, &c)) {
        struct gb_pyboy_info info;
        if (!gb_pyboy_info(bytes, n, &info, message, message_size)) return false;
        return REFUSE(&r,
                      "it is for another ROM: it holds another cartridge than \"%s\" (%s, %u bytes"
                      " of RAM)",
                      rom->title, gb_rom_type_name(rom->type), (unsigned)rom->ram_bytes);
    }
    if (!check_kind(&r)) return false;
    build(m, rom, &r);
    return true;
}
