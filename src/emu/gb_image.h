// gb_image.h - a whole machine as bytes that are the same in both layouts of its memories: how one
// gets from the CPU to a GPU and back.
//
//   struct gb_image *image = malloc(sizeof *image);
//   gb_image_take(image, m);            // every bit that decides how it goes on, and its pictures
//   gb_image_give(other, image, &rom);  // *other must have been zeroed or reset once
//
// For machines of one program or of two that were built from the same source; on the disk machines
// are in gb_state.h's format. The ROM, a lent LCD and lent memories are not part of it. Plain
// functions: any thread. What an image says is not checked.
#ifndef GB_IMAGE_H
#define GB_IMAGE_H

#include "gb_dma.h"
#include "gb_io.h"

// What stands before the memories has the same place in both layouts.
enum { GB_COMMON_BYTES = offsetof(struct gb, hram) + 128 };

// The parts of a machine outside its memories and pictures; a multiple of 16 bytes.
struct gb_registers {
    // As they stand in struct gb; aligned, or a GPU would copy it byte by byte.
    uint8_t common[(GB_COMMON_BYTES + 15) / 16 * 16] __attribute__((aligned(16)));
    uint8_t line[GB_LCD_WIDTH];
    uint8_t picture, picture_blank, unused[14];
};

struct gb_image {
    uint8_t memory[GB_MEMORY_BYTES]; // WRAM, VRAM, cartridge RAM
    uint8_t obs[2][GB_OBS_BYTES];
    struct gb_registers registers;
};

HD void gb_registers_take(struct gb_registers *to, const struct gb *m)
{
    memset(to->common, 0, sizeof to->common);
    memcpy(to->common, m, GB_COMMON_BYTES);
    memcpy(to->line, m->line, sizeof to->line);
    memset(to->unused, 0, sizeof to->unused);
    to->picture = m->picture;
    to->picture_blank = m->picture_blank;
}

// Memories and pictures come on their own: nothing here looks at them.
HD void gb_registers_give(struct gb *m, const struct gb_registers *from, const struct gb_rom *rom)
{
    memcpy((void *)m, from->common, GB_COMMON_BYTES);
    memcpy(m->line, from->line, sizeof m->line);
    m->picture = from->picture;
    m->picture_blank = from->picture_blank;
    m->draw_from = GB_NEVER;
    m->rom = rom;
    gb_map(m);
    gb_plan(m);
}

// Byte i of the memories, in the image's order.
HD uint8_t *gb_image_byte(const struct gb *m, unsigned i)
{
    if (i < 8192) return gb_wram(m, i);
    return i < 2 * 8192 ? gb_vram(m, i - 8192) : gb_cart_byte(m, i - 2 * 8192);
}

HD void gb_image_take(struct gb_image *to, const struct gb *m)
{
    for (unsigned i = 0; i < GB_MEMORY_BYTES; i++) to->memory[i] = *gb_image_byte(m, i);
    for (int k = 0; k < 2; k++) memcpy(to->obs[k], m->obs[k], GB_OBS_BYTES);
    gb_registers_take(&to->registers, m);
}

HD void gb_image_give(struct gb *m, const struct gb_image *from, const struct gb_rom *rom)
{
    for (unsigned i = 0; i < GB_MEMORY_BYTES; i++) *gb_image_byte(m, i) = from->memory[i];
    for (int k = 0; k < 2; k++) memcpy(m->obs[k], from->obs[k], GB_OBS_BYTES);
    gb_registers_give(m, &from->registers, rom);
}

#endif
