// gb_parts.h - builds a machine from what other emulators' states hold: registers as a program
// reads them, memories, and where the LCD is. Used by the importers (gb_bess.h, gb_pyboy.h).
//
//   struct gb_parts parts = {.pc = 0x0150, ..., .vram = {bytes, 8192}};
//   gb_parts_build(m, rom, &parts);
//
// Everything is written through the machine's own registers, as a program would, so whatever the
// bytes are the result is a machine that could exist. Not restored, because such states do not
// hold it: pixels of the line under way, sound under way, a running OAM DMA. The LCD stands at a
// multiple of 4 dots. No allocation; any thread.
#ifndef GB_PARTS_H
#define GB_PARTS_H

#include "gb_types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gb_parts_memory { // borrowed; what is missing is zero, what is too much is left out
    const uint8_t *bytes;
    size_t n;
};

struct gb_parts {
    uint16_t pc, sp, af, bc, de, hl; // pc: after the HALT when halted
    uint8_t ime;
    uint8_t ei_pending; // EI was the last instruction
    uint8_t halt;       // GB_RUNNING, GB_HALTED or GB_ASLEEP
    uint8_t irq_enable;
    uint8_t buttons;      // enum gb_button bits
    uint8_t io[128];      // FF00-FF7F; NRx4 without their trigger
    uint16_t divider;     // all 16 bits; io[4] is not looked at
    int32_t lcd_position; // T-cycles since dot 0 of line 0 (gb_ppu.h); ignored while the LCD is off
    uint8_t lcd_first_frame; // the LCD was only just switched on: this frame stays blank
    int32_t serial_cycles;   // until the running transfer ends; 0: none runs
    struct gb_parts_memory vram, wram, cart_ram, oam, hram;
    const uint8_t *bank_writes; // triples address low, high, value, in order; borrowed
    size_t n_bank_writes;       // addresses outside 0000-7FFF are left out
    uint8_t rtc[5], rtc_latched[5];
};

// The title of a cartridge as text: up to 16 printable characters and the NUL.
void gb_parts_title(char title[17], const uint8_t bytes[16]);

// Makes *m (zeroed or reset before) that machine. A lent LCD stays.
void gb_parts_build(struct gb *m, const struct gb_rom *rom, const struct gb_parts *parts);

#ifdef __cplusplus
}
#endif
#endif
