// Rewind: a ring of exact states and their pictures.
#include "ui/play_rewind.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"

enum { PIXELS = GB_LCD_WIDTH * GB_LCD_HEIGHT, PICTURE_BYTES = PIXELS / 4 };

struct rewind {
    size_t state_bytes;
    int newest, n;   // places in use end at newest
    uint8_t *places; // [REWIND_PLACES] of state, then picture with four pixels a byte
};

struct rewind *rewind_new(const struct gb_rom *rom) {
    struct rewind *r = mem_alloc(sizeof *r);
    r->state_bytes = gb_state_size(rom);
    r->places = mem_alloc(REWIND_PLACES * (r->state_bytes + PICTURE_BYTES));
    return r;
}

void rewind_free(struct rewind *r) {
    if (r) free(r->places);
    free(r);
}

static uint8_t *newest_place(const struct rewind *r) {
    return r->places + (size_t)r->newest * (r->state_bytes + PICTURE_BYTES);
}

void rewind_push(struct rewind *r, const struct gb *m, const uint8_t *shades) {
    r->newest = (r->newest + 1) % REWIND_PLACES;
    if (r->n < REWIND_PLACES) r->n++;
    uint8_t *picture = newest_place(r) + gb_state_save(m, newest_place(r));
    for (int i = 0; i < PICTURE_BYTES; i++) {
        const uint8_t *s = shades + 4 * i;
        picture[i] = (uint8_t)(s[0] | s[1] << 2 | s[2] << 4 | s[3] << 6);
    }
}

bool rewind_pop(struct rewind *r, struct gb *m, uint8_t *shades) {
    char why[GB_MESSAGE_SIZE] = "";
    if (r->n == 0) return false;
    const uint8_t *place = newest_place(r), *picture = place + r->state_bytes;
    bool fine = gb_state_load(m, m->rom, place, r->state_bytes, why, sizeof why);
    CHECK(fine, "a state of the rewind ring: %s", why);
    for (int i = 0; i < PIXELS; i++) shades[i] = picture[i / 4] >> (2 * (i % 4)) & 3;
    r->newest = (r->newest + REWIND_PLACES - 1) % REWIND_PLACES;
    r->n--;
    return true;
}

int rewind_count(const struct rewind *r) { return r->n; }
