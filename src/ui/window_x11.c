// X11's manners: Xlib ends the program when the display server goes away; here only the window
// ends.
#define _GNU_SOURCE
#include "ui/window_x11.h"

#include <dlfcn.h>
#include <string.h>

#include <SDL2/SDL_syswm.h>

static bool lost;

bool window_x11_lost(void) { return lost; }

#ifdef SDL_VIDEO_DRIVER_X11
// Xlib's own handler would print over the dashboard.
static int say_nothing(Display *display) {
    (void)display;
    return 0;
}

// Returning from here makes Xlib's calls fail instead of ending the program (libX11 1.7 and later).
static void note_loss(Display *display, void *data) {
    (void)display;
    (void)data;
    lost = true;
}

typedef int (*io_handler)(Display *);
typedef void (*exit_handler)(Display *, void *);

void window_x11_guard(SDL_Window *window) {
    SDL_SysWMinfo info;
    SDL_VERSION(&info.version);
    if (!SDL_GetWindowWMInfo(window, &info) || info.subsystem != SDL_SYSWM_X11) return;
    // SDL has loaded the library; linking with it ourselves would make it a dependency where there
    // is no X at all.
    void *xlib = dlopen("libX11.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (!xlib) return;
    io_handler (*set_io)(io_handler);
    void (*set_exit)(Display *, exit_handler, void *);
    void *a = dlsym(xlib, "XSetIOErrorHandler"), *b = dlsym(xlib, "XSetIOErrorExitHandler");
    memcpy(&set_io, &a, sizeof a); // C has no conversion between data and function pointers
    memcpy(&set_exit, &b, sizeof b);
    if (a && b) {
        set_io(say_nothing);
        set_exit(info.info.x11.display, note_loss, NULL);
    }
    dlclose(xlib);
}
#else
void window_x11_guard(SDL_Window *window) { (void)window; }
#endif
