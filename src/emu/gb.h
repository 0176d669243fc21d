// gb.h - a Game Boy (DMG) for learning agents: what the rest of the program calls.
//
//   struct gb_rom rom; char why[GB_MESSAGE_SIZE];
//   if (!gb_rom_parse(&rom, bytes, n_bytes, why, sizeof why)) ...;
//   struct gb *m = malloc(sizeof *m);
//   gb_reset(m, &rom);
//   uint8_t obs[GB_OBS_BYTES];
//   gb_step(m, GB_BUTTON_A, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, obs);
//
// Ownership: the caller owns machine, ROM bytes and struct gb_rom; both must outlive the machine's
// use. A machine holds no allocation and no lock: one thread at a time, any number of machines.
// Never copy a struct gb by assignment, its page pointers point into itself: gb_copy.
// Same ROM, same inputs: the same state to the byte, whatever was drawn.
#ifndef GB_H
#define GB_H

#include "gb_action.h"
#include "gb_obs.h"
#include "gb_rom.h"
#include "gb_state.h"
#include "gb_types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GB_MESSAGE_SIZE = 192 };

// The machine as the boot ROM leaves it: PC 0100, RAM zero, the logo in VRAM. Forgets a lent LCD.
void gb_reset(struct gb *m, const struct gb_rom *rom);

// *to becomes an equal machine, its last picture included: for resets from a cached start state.
// *to must have been zeroed or reset once; its lent LCD stays as it is.
void gb_copy(struct gb *to, const struct gb *from);

// Runs exactly 70,224 T-cycles, LCD on or off; the instruction under way at the end is finished and
// counts for the next frame. Without `draw` no picture is made. The picture that gb_observe and
// gb_lcd give is complete after the second drawn frame in a row.
void gb_run_frame(struct gb *m, bool draw);

// Buttons that are down from now on (enum gb_button bits); raises the joypad interrupt as hardware.
void gb_set_buttons(struct gb *m, uint8_t pressed);

// One agent step: `pressed` is down for frames 0..release_after-1, nothing after that; n_frames in
// all (1 or more). packed2 gets the last picture that was complete by the end, 80x72 of it
// (gb_obs.h); shade 0 everywhere if the LCD is off. Only what that needs is drawn. With n_frames 1
// the picture is complete from the second such call on.
void gb_step(struct gb *m, uint8_t pressed, int n_frames, int release_after,
             uint8_t packed2[GB_OBS_BYTES]);

// The last complete picture without running.
void gb_observe(const struct gb *m, uint8_t packed2[GB_OBS_BYTES]);

// Lends 2 * 160 * 144 bytes for full pictures (NULL takes them back); they stay the caller's.
void gb_set_lcd(struct gb *m, uint8_t *shades);

// The last complete picture in the lent buffer, 160x144 shades 0-3 row by row; NULL when none is
// lent or the LCD is blank (show shade 0).
const uint8_t *gb_lcd(const struct gb *m);

// True when an opcode that does not exist has stopped the CPU for good.
bool gb_is_locked(const struct gb *m);

// A byte of ROM, RAM, OAM, HRAM or IE without side effects, nothing blocked; FF for FF00-FF7F.
uint8_t gb_peek(const struct gb *m, uint16_t addr);

#ifdef __cplusplus
}
#endif
#endif
