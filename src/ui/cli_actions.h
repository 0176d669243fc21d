// Recorded actions of an agent or a player: a text file, one action name a line.
//
//     workbench-actions 1
//     rom <SHA-256 of the ROM file>
//     state <SHA-256 of the state file it starts from, or - for a machine just switched on>
//     codec pokemonred_puffer_v1
//     UP
//     UP
//     A
//
// Each is one step: 24 frames, the button down for the first 8 (emu/gb_action.h).
#ifndef UI_CLI_ACTIONS_H
#define UI_CLI_ACTIONS_H

#include <stddef.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "emu/gb_action.h"

struct actions {
    char rom_sha256[SHA256_HEX_SIZE], state_sha256[SHA256_HEX_SIZE]; // state: "-" for none
    const struct gb_action_codec *codec;
    uint8_t *list; // [n], indices of the codec; owned
    size_t n, capacity;
};

void actions_add(struct actions *a, int action);
void actions_deinit(struct actions *a); // zeroed or filled
bool actions_write(const struct actions *a, const char *path, struct error *e);
// Refuses, with FILE:LINE, what is no such file, another version, an unknown codec or action.
bool actions_read(struct actions *a, const char *path, struct error *e);
// Were they recorded on this ROM from this state (NULL: a machine just switched on)? False and a
// line that names both values; also when there are none. `path` is their file.
bool actions_fit(const struct actions *a, const char *path, const char *rom_sha256,
                 const char *rom_path, const char *state_path, struct error *e);

#endif
