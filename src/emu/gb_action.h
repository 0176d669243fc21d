// gb_action.h - action codecs: what action number n of an agent presses. One table.
//
// A step is 24 frames; the buttons of the action are down for frames 0-7 and up for 8-23.
// Orders and names: spec of the environment, section 7 (gbxcule's codecs). Ids are part of file
// formats.
#ifndef GB_ACTION_H
#define GB_ACTION_H

#include "gb_types.h"

enum { GB_FRAMES_PER_STEP = 24, GB_RELEASE_AFTER = 8, GB_MAX_ACTIONS = 9, GB_N_CODECS = 3 };

struct gb_action_codec {
    const char *id;
    int n_actions;
    const char *names[GB_MAX_ACTIONS];
    uint8_t buttons[GB_MAX_ACTIONS]; // enum gb_button bits
};

// The table; i in 0..GB_N_CODECS-1.
static inline const struct gb_action_codec *gb_action_codec(int i)
{
    static const struct gb_action_codec table[GB_N_CODECS] = {
        {"pokemonred_puffer_v1",
         8,
         {"NOOP", "A", "B", "START", "UP", "DOWN", "LEFT", "RIGHT"},
         {0, GB_BUTTON_A, GB_BUTTON_B, GB_BUTTON_START, GB_BUTTON_UP, GB_BUTTON_DOWN,
          GB_BUTTON_LEFT, GB_BUTTON_RIGHT}},
        {"pokemonred_puffer_v0",
         7,
         {"A", "B", "START", "UP", "DOWN", "LEFT", "RIGHT"},
         {GB_BUTTON_A, GB_BUTTON_B, GB_BUTTON_START, GB_BUTTON_UP, GB_BUTTON_DOWN, GB_BUTTON_LEFT,
          GB_BUTTON_RIGHT}},
        {"legacy_v0",
         9,
         {"NOOP", "UP", "DOWN", "LEFT", "RIGHT", "A", "B", "START", "SELECT"},
         {0, GB_BUTTON_UP, GB_BUTTON_DOWN, GB_BUTTON_LEFT, GB_BUTTON_RIGHT, GB_BUTTON_A,
          GB_BUTTON_B, GB_BUTTON_START, GB_BUTTON_SELECT}},
    };
    return &table[i];
}

// The codec of that id, or NULL.
static inline const struct gb_action_codec *gb_action_codec_find(const char *id)
{
    for (int i = 0; i < GB_N_CODECS; i++)
        if (strcmp(gb_action_codec(i)->id, id) == 0) return gb_action_codec(i);
    return NULL;
}

#endif
