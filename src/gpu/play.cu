// The table of machines and ring that the library gives away.
#include "gpu/emu.h"

const struct device_play *gpu_play(void) {
    static struct device_play table;
    table.version = DEVICE_PLAY_VERSION;
    table.image_bytes = sizeof(struct gb_image);
    table.rom_bytes = sizeof(struct gb_rom);
    machines_fill_table(&table);
    ring_fill_table(&table);
    return &table;
}
