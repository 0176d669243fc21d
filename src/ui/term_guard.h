// Term guard: what must happen to the terminal when the process is signalled, crashes or stops, and
// the capture of what libraries print. Only ui/term.c uses it; one per process.
#ifndef UI_TERM_GUARD_H
#define UI_TERM_GUARD_H

#include <stdbool.h>

#include "ui/term.h"

// Before newterm: remembers the modes of the terminal at fd, and takes over Ctrl-Z. Before, because
// ncurses ignores (and so loses) every SIGTSTP that arrives while it writes, unless the signal has
// a handler already when it starts.
void guard_save_terminal(int fd);
void guard_forget_terminal(void); // after endwin
// after newterm: handlers, escape sequences of this terminal, capture of 1 and 2
void guard_on(void);
void guard_off(void); // undoes guard_on; what was captured is in the log
struct term_signals guard_signals(void);
bool guard_stop_asked(void); // Ctrl-Z was pressed
// stops the process; returns after SIGCONT. The screen must be left before.
void guard_stop_now(void);
int guard_wake_fd(void); // readable after a signal
void guard_wake_drain(void);
int guard_capture_fd(void);     // readable when something was printed
void guard_capture_drain(void); // moves complete lines to the log

#endif
