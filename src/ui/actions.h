// Actions: what each key and command does to the view and the run. No terminal; one handler per
// entry of ui/keys.h.
#ifndef UI_ACTIONS_H
#define UI_ACTIONS_H

#include "ui/view.h"

void actions_do(struct view *v, enum action action);
// also while the prompt or the help screen is open
void actions_key(struct view *v, int code);
// A line of the `:` prompt: the command word of any key, `save-screen FILE` (FILE.ansi keeps
// colours), `go STEP`. false: unknown or wrong; the reason stands in the notice.
bool actions_command(struct view *v, const char *line);
bool actions_have_handler(enum action action);           // for a test: every key does something

#endif
