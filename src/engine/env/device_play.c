// Machines and a replay ring on a device: is the library's version this program's?
#include "engine/env/device_play.h"

#include <stdio.h>

#include "engine/graph/backend.h"

const struct device_play *device_play_of(const struct backend *b, char *why, size_t size) {
    const struct device_play *p = b->play;
    if (p && p->version == DEVICE_PLAY_VERSION && p->image_bytes == sizeof(struct gb_image) &&
        p->rom_bytes == sizeof(struct gb_rom))
        return p;
    snprintf(why, size, "the device library was built from another version; run make again");
    return NULL;
}
