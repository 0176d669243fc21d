// Script: keys and waits from a file, so that a test or a demonstration drives the dashboard.
//
//     # comment                          one command per line, blank lines are fine
//     space                              a key: a character or a name (tab, pgup, f1 ...)
//     type save me                       the characters of the rest of the line, one by one
//     :zoom-in                           a command of the `:` prompt
//     wait 250                           milliseconds
//     wait-step 100                      until that gradient step, or the end of the run
//     wait-pictures                      until the first pictures are there, or the run has ended
//     wait-end                           until the run is done or failed
//     save FILE                          the screen as text; FILE.ansi: with colours
//     size 80x24                         as if the terminal had this size
#ifndef UI_SCRIPT_H
#define UI_SCRIPT_H

#include <stdbool.h>

#include "base/error.h"

enum script_verb {
    SCRIPT_KEY, SCRIPT_TYPE, SCRIPT_COMMAND, SCRIPT_WAIT, SCRIPT_WAIT_STEP, SCRIPT_WAIT_PICTURES,
    SCRIPT_WAIT_END, SCRIPT_SAVE, SCRIPT_SIZE
};

struct script_line {
    enum script_verb verb;
    int number;                                // line in the file
    long long a, b;                            // key code; milliseconds; step; width and height
    char *text;
};

struct script { struct script_line *lines; int n; };

// every line is checked here
bool script_load(const char *path, struct script *out, struct error *e);
void script_free(struct script *s);

#endif
