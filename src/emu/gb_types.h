// gb_types.h - the whole Game Boy as one plain struct, and the constants every part of it shares.
//
// Time. All times are T-cycles (4,194,304 a second) as int32_t, counted from the start of the frame
// that is being run. A bus access happens at a multiple of 4; the CPU then moves on by 4. At the
// end of a frame 70,224 is taken from every time in the struct, so times stay small and never wrap.
// A device keeps no running counters: it keeps the time of its last change and derives the rest
// when somebody looks (DIV, TIMA, LY, STAT), and it says when it next needs attention (..._event).
//
// The struct holds no allocation. Pointers (ROM, pages, picture) are not part of a saved state.
// The headers of this folder are valid C17 and CUDA C++17: what runs a machine is HD functions.
#ifndef GB_TYPES_H
#define GB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define HD_COLD static __host__ __device__ __noinline__ __attribute__((unused))
#else
#define HD_COLD static __attribute__((noinline, unused))
#endif
// Larger functions: the compiler's choice on the CPU, calls on a GPU (all of it inlined would take
// the CUDA compiler hours).
#ifdef __CUDACC__
#define HD_CALL HD_COLD
#else
#define HD_CALL HD
#endif
#ifndef HD // base/hd.h may have said it already
#ifdef __CUDACC__
#define HD static __host__ __device__ inline
#else
#define HD static inline
#endif
#endif

#if defined(__GNUC__)
#define GB_LIKELY(x) __builtin_expect(!!(x), 1)
#define GB_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define GB_LIKELY(x) (x)
#define GB_UNLIKELY(x) (x)
#endif

enum {
    GB_FRAME_CYCLES = 70224, // T-cycles of a frame: 154 lines of 456
    GB_LINE_CYCLES = 456,
    GB_N_LINES = 154,
    GB_LCD_WIDTH = 160,
    GB_LCD_HEIGHT = 144,
    GB_OBS_WIDTH = 80,
    GB_OBS_HEIGHT = 72,
    GB_OBS_BYTES = 1440, // 72 rows of 20 bytes, four pixels a byte
    GB_CART_RAM_MAX = 32768,
    GB_NEVER = INT32_MAX, // an event that is not scheduled
    GB_AT_ONCE = INT32_MIN
};

// Bits of gb_set_buttons: set = pressed.
enum gb_button {
    GB_BUTTON_RIGHT = 0x01,
    GB_BUTTON_LEFT = 0x02,
    GB_BUTTON_UP = 0x04,
    GB_BUTTON_DOWN = 0x08,
    GB_BUTTON_A = 0x10,
    GB_BUTTON_B = 0x20,
    GB_BUTTON_SELECT = 0x40,
    GB_BUTTON_START = 0x80
};

// Bits of IF and IE.
enum gb_interrupt {
    GB_INT_VBLANK = 0x01,
    GB_INT_STAT = 0x02,
    GB_INT_TIMER = 0x04,
    GB_INT_SERIAL = 0x08,
    GB_INT_JOYPAD = 0x10
};

enum gb_mapper { GB_MAPPER_NONE, GB_MAPPER_MBC1, GB_MAPPER_MBC2, GB_MAPPER_MBC3, GB_MAPPER_MBC5 };

// A cartridge as gb_rom_parse understood it. Borrows the bytes: they must outlive every machine.
struct gb_rom {
    const uint8_t *bytes;
    uint32_t n_bytes; // a power of two, 32 KiB or more
    uint32_t n_banks; // of 16 KiB
    uint32_t ram_bytes; // 0 to 32,768
    uint64_t hash; // FNV-1a over the bytes: says whether a state belongs to this ROM
    uint16_t global_checksum; // as written in the header (not verified by hardware)
    uint8_t global_checksum_ok; // wrong checksums run: the caller may warn
    uint8_t header_checksum_ok;
    uint8_t type; // header byte 0147
    uint8_t mapper; // enum gb_mapper
    uint8_t has_rtc;
    uint8_t multicart; // MBC1 with the two-bit register wired for 256 KiB games
    char title[17];
};

enum gb_halt_state { GB_RUNNING, GB_HALTED, GB_HALT_JUST, GB_STOPPED, GB_ASLEEP, GB_LOCKED };

struct gb_cpu {
    uint16_t pc, sp, bc, de, hl;
    uint8_t a, f;
    uint8_t ime;
    uint8_t ei_delay; // 1: EI was the last instruction, 2: it was the one before
    uint8_t halt; // enum gb_halt_state
    uint8_t halt_bug; // the next opcode fetch does not move PC
};

struct gb_timer {
    uint16_t div_base; // 16-bit divider = (uint16_t)(time - div_base)
    uint8_t tima, tma, tac;
    int32_t tima_t; // TIMA's value was right at this time
    int32_t overflow_t; // TIMA wraps to 0 here (GB_NEVER when stopped)
    int32_t reload_t; // TMA is copied here, 4 after the wrap (GB_NEVER when none is pending)
    int32_t reloaded_t; // the last time that happened
};

// How far the line being shown has got in mode 3. Followed dot by dot only when a register changes
// in the middle of it; otherwise a formula knows the end (gb_line.h).
struct gb_line {
    uint8_t state; // enum gb_line_state
    uint8_t phase, step; // what the fetcher is doing, and how far it is with it
    uint8_t x; // next pixel, counted from 8 left of the screen
    uint8_t fetch_x; // the pixel at which the next fetch begins
    uint8_t sprite; // next in the line's sorted list
    int16_t dot; // when the next step happens
    int16_t mode0; // dot of the mode 0 interrupt, once known
    int16_t end; // and of the end of mode 3, a pixel later
    uint8_t n_scanned; // OAM entries looked at so far, 0-40, when the scan was interrupted
    uint8_t scan_kept; // this line's sprites are those below, not what OAM says now
    uint8_t n_found;
    uint8_t found[10]; // their places in OAM, and coordinates as they were
    uint8_t found_y[10], found_x[10];
};

struct gb_ppu {
    uint8_t lcdc, stat, scy, scx, lyc, bgp, obp0, obp1, wy, wx; // stat: only the enable bits 3-6
    uint8_t lyc_compare, lyc_before; // LYC as the LYC interrupt, and as the others, will see it
    uint8_t lyc_flag; // comparison bit while the LCD is off (frozen)
    uint8_t wy_hit; // LY = WY was seen in this frame
    uint8_t win_line; // line of the window shown last; 255 before the first
    uint8_t win_state; // enum gb_win_state
    uint8_t win_from; // pixel, from 8 left of the screen, at which the window begins; 0: none
    uint8_t first_frame; // since switching on: line 0 has no mode 2, the picture stays blank
    uint8_t drawn_line; // lines below this one are done in this frame
    uint8_t drawn_x; // and so many pixels of that line
    uint8_t line_checks; // looks at LY = WY that this line has had, 0-2
    struct gb_line line;
    int32_t frame_t; // time of line 0, dot 0 of the frame that is being shown
    int32_t vblank_event, frame_event, stat_event;
};

struct gb_dma {
    uint8_t reg; // last value written to FF46
    uint8_t active; // 1 while bytes are being copied
    uint8_t n_done;
    uint16_t source;
    int32_t start_t; // byte i is copied at start_t + 4 i
    int32_t pending_t; // a transfer starts here (GB_NEVER when none)
    uint16_t pending_source;
};

// The four channels 0-3: pulse with sweep, pulse, wave, noise.
struct gb_apu {
    uint8_t regs[0x30]; // FF10-FF3F as written
    uint16_t length[4]; // clocks left
    uint8_t sequencer; // steps done, 0-7
    uint8_t sweep_timer, sweep_on, sweep_negated, sweep_due;
    uint16_t sweep_frequency;
    uint8_t wave_pos; // 0-31
    int32_t step_t; // the sequencer was brought up to this time
    int32_t wave_t; // the wave channel reads its next byte here (GB_NEVER when silent)
    int32_t wave_read_t; // and read its last one there
};

struct gb_cart {
    uint8_t ram_on, mode;
    uint16_t rom_bank; // as written; masks are applied when mapping
    uint8_t ram_bank;
    uint8_t rtc[5], rtc_latched[5], rtc_latch; // S M H DL DH; the clock counts machine time
    int32_t rtc_cycles; // T-cycles into the current RTC second, at the start of the frame
};

struct gb {
    // --- saved state ---
    struct gb_cpu cpu;
    int32_t now;
    uint8_t irq_flag, irq_enable; // FF0F (low five bits), FFFF
    int32_t irq_t; // when the interrupt that ends HALT was raised, to the dot
    uint8_t buttons; // enum gb_button bits, set = pressed
    uint8_t p1_select; // bits 4-5 of P1 as written
    uint8_t sb, sc;
    int32_t serial_event;
    struct gb_timer timer;
    struct gb_ppu ppu;
    struct gb_dma dma;
    struct gb_cart cart;
    struct gb_apu apu;
    uint8_t oam[160];
    uint8_t hram[128]; // FF80-FFFE
#ifdef GB_INTERLEAVED
    uint8_t *memory; // of this machine: see gb_memory; the caller sets it before the reset
#else
    uint8_t wram[8192];
    uint8_t vram[8192];
    uint8_t cart_ram[GB_CART_RAM_MAX];
#endif
    // --- derived or lent, rebuilt after a load ---
    int32_t event_t; // the CPU loop looks up when it gets here
    int32_t next_t; // and no device has anything to do before this
    int32_t draw_from; // frames whose VBlank comes after this are drawn
    const struct gb_rom *rom;
#ifdef GB_INTERLEAVED
    const uint8_t *rom_half[2]; // what 0000 and 4000 show; NULL while a transfer to OAM is on
#else
    const uint8_t *read_page[16]; // 4 KiB pages that need no thought; NULL = ask gb_read_slow
    uint8_t *write_page[16];
#endif
    uint8_t *lcd; // two pictures of 160x144 shades, lent by the caller, or NULL
    uint8_t picture; // which of obs[] is complete
    uint8_t picture_blank; // LCD off, or the first frame after switching on: shade 0 everywhere
    uint8_t line[GB_LCD_WIDTH]; // the line being drawn, in shades
    // Complete picture, and the one being drawn.
#ifdef GB_INTERLEAVED
    uint8_t (*obs)[GB_OBS_BYTES]; // two, lent: the caller sets it before the reset
#else
    uint8_t obs[2][GB_OBS_BYTES];
#endif
};

// Two layouts of the memories, chosen when compiling. By default they stand in the machine, one
// after the other, and page pointers reach them (CPU). With GB_INTERLEAVED = number of lanes, that
// many machines share one block, sixteen bytes of each in turn, and every access computes its place
// (GPU: neighbouring lanes that read the same address touch neighbouring bytes):
//
//   | lane 0: 0-15 | lane 1: 0-15 | ... | lane 0: 16-31 | lane 1: 16-31 | ...
//
// `memory` of lane l points 16 * l bytes into the block of GB_MEMORY_BYTES * lanes.
enum { GB_MEMORY_BYTES = 2 * 8192 + GB_CART_RAM_MAX, GB_GRANULE = 16 };

#ifdef GB_INTERLEAVED
HD uint8_t *gb_memory(const struct gb *m, unsigned offset)
{
    const size_t stride = (size_t)GB_GRANULE * (GB_INTERLEAVED);
#ifdef GB_WATCH_MEMORY // tests look at every access
    GB_WATCH_MEMORY(offset);
#endif
    return m->memory + offset / GB_GRANULE * stride + offset % GB_GRANULE;
}

HD uint8_t *gb_wram(const struct gb *m, unsigned at)
{
    return gb_memory(m, at);
}

HD uint8_t *gb_vram(const struct gb *m, unsigned at)
{
    return gb_memory(m, 8192 + at);
}

HD uint8_t *gb_cart_byte(const struct gb *m, unsigned at)
{
    return gb_memory(m, 2 * 8192 + at);
}
#else
HD uint8_t *gb_wram(const struct gb *m, unsigned at)
{
    return (uint8_t *)m->wram + at;
}

HD uint8_t *gb_vram(const struct gb *m, unsigned at)
{
    return (uint8_t *)m->vram + at;
}

HD uint8_t *gb_cart_byte(const struct gb *m, unsigned at)
{
    return (uint8_t *)m->cart_ram + at;
}
#endif

#endif
