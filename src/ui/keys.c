// Keys: look-ups in the table.
#include "ui/keys.h"

#include <string.h>
#include <strings.h>

#include "ui/canvas.h"

const struct key_entry keys_table[ACTION_COUNT] = {
#define X(id, key, key2, shown, label, command, contexts, help)                                    \
    [ACTION_##id] = {key, key2, shown, label, command, contexts, help},
    KEYS_TABLE(X)
#undef X
};

enum action keys_action(int code) {
    if (code == '\n') code = KEYCODE_ENTER;
    for (int a = ACTION_NONE + 1; a < ACTION_COUNT; a++)
        if (code && (keys_table[a].key == code || keys_table[a].key2 == code))
            return (enum action)a;
    return ACTION_NONE;
}

enum action keys_command(const char *word) {
    for (int a = ACTION_NONE + 1; a < ACTION_COUNT; a++)
        if (!strcmp(keys_table[a].command, word)) return (enum action)a;
    return ACTION_NONE;
}

int keys_code(const char *name) {
    static const struct {
        const char *name;
        int code;
    } names[] = {
        {"space", ' '},
        {"tab", KEYCODE_TAB},
        {"enter", KEYCODE_ENTER},
        {"escape", KEYCODE_ESCAPE},
        {"esc", KEYCODE_ESCAPE},
        {"left", KEYCODE_LEFT},
        {"right", KEYCODE_RIGHT},
        {"up", KEYCODE_UP},
        {"down", KEYCODE_DOWN},
        {"home", KEYCODE_HOME},
        {"end", KEYCODE_END},
        {"pgup", KEYCODE_PAGE_UP},
        {"pgdn", KEYCODE_PAGE_DOWN},
        {"backspace", KEYCODE_BACKSPACE},
        {"delete", KEYCODE_DELETE},
        {"s-tab", KEYCODE_BACK_TAB},
        {"s-left", KEYCODE_SHIFT_LEFT},
        {"s-right", KEYCODE_SHIFT_RIGHT},
        {"f1", KEYCODE_F1},
        {"ctrl-l", KEYCODE_CTRL_L},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcasecmp(names[i].name, name)) return names[i].code;
    uint32_t glyph = utf8_next(&name);
    return glyph && !*name && glyph != 0xFFFD ? (int)glyph : 0;
}

size_t keys_footer(enum key_context context, enum action out[ACTION_COUNT]) {
    static const enum action first[] = {ACTION_HELP, ACTION_QUIT, ACTION_TRAIN_PAUSE,
                                        ACTION_FOCUS_NEXT, ACTION_MAXIMISE};
    enum { N_FIRST = sizeof first / sizeof *first };
    size_t n = 0;
    for (; n < (context == KEYS_ROLLOUT || context == KEYS_TIME ? 3 : N_FIRST); n++)
        out[n] = first[n];               // one pane only: nothing to focus
    for (int pass = 0; pass < 2; pass++) // those of the focused pane before the general ones
        for (int a = ACTION_NONE + 1; a < ACTION_COUNT; a++) {
            const struct key_entry *k = &keys_table[a];
            bool special = k->contexts != KEYS_ALL, shown = false;
            for (size_t i = 0; i < N_FIRST; i++) shown |= first[i] == (enum action)a;
            if (!shown && *k->label && k->contexts & context && special == (pass == 0))
                out[n++] = (enum action)a;
        }
    return n;
}
