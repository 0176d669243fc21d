// X11's manners: Xlib ends the program when the display server goes away; here only the window
// ends.
//
//     window_x11_guard(sdl_window);     // after the window is made; nothing on other drivers
//     if (window_x11_lost()) ...        // leave it: no call of SDL or Xlib for it again
//
// A training run of days must outlive an X server, a forwarded ssh connection or a desktop session.
// UI thread only. Once lost, always lost: what SDL holds of the dead connection cannot be closed
// and is left alone.
#ifndef UI_WINDOW_X11_H
#define UI_WINDOW_X11_H

#include <SDL2/SDL.h>
#include <stdbool.h>

void window_x11_guard(SDL_Window *window);
bool window_x11_lost(void);

#endif
