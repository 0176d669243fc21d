// Rewind: a ring of exact states and their pictures, one every few frames.
//
//     rewind_push(r, machine, shades);              // as the game goes on
//     if (rewind_pop(r, machine, shades)) ...       // one place back; false: the ring is empty
#ifndef UI_PLAY_REWIND_H
#define UI_PLAY_REWIND_H

#include "emu/gb.h"

enum { REWIND_EVERY = 4, REWIND_PLACES = 900 }; // frames between places: a minute in all

struct rewind;
struct rewind *rewind_new(const struct gb_rom *rom);
void rewind_free(struct rewind *r);                                            // NULL is fine
void rewind_push(struct rewind *r, const struct gb *m, const uint8_t *shades); // 160x144
// Takes the newest place off and loads it.
bool rewind_pop(struct rewind *r, struct gb *m, uint8_t *shades);
int rewind_count(const struct rewind *r);

#endif
