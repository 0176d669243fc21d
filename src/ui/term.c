// Term: ncurses, colours, keys.
#include "ui/term.h"

#include <curses.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "ui/keys.h"
#include "ui/term_guard.h"

enum { MAX_PAIRS = 32767, COLOUR_KEYS = 258 };

struct terminal {
    SCREEN *screen;
    FILE *in, *out;
    int fd_in;
    bool own_in, own_out, ascii, default_colours, gone, repaint, saved, guarded;
    int colours, n_pairs;
    int16_t pair_of[COLOUR_KEYS * COLOUR_KEYS]; // by (foreground + 1, background + 1); 0: none yet
    struct canvas shown;
    int fruitless_reads; // readable, yet no key: the end of file of a dead terminal
};

// ---- locale

static bool mentions_utf8(const char *s) {
    for (; s && *s; s++)
        if (!strncasecmp(s, "utf-8", 5) || !strncasecmp(s, "utf8", 4)) return true;
    return false;
}

bool term_locale(void) {
    if (setlocale(LC_CTYPE, "") && !strcmp(nl_langinfo(CODESET), "UTF-8")) return true;
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *wanted = NULL;
    for (int i = 0; i < 3 && !wanted; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) wanted = value;
    }
    // Nothing said at all (a bare container): terminals are UTF-8 these days, those that aren't
    // have old names.
    const char *term = getenv("TERM");
    bool old = !term || !strncmp(term, "vt", 2) || !strcmp(term, "ansi") || !strcmp(term, "dumb");
    if ((wanted ? mentions_utf8(wanted) : !old) && setlocale(LC_CTYPE, "C.UTF-8")) return true;
    setlocale(LC_CTYPE, "C");
    return false;
}

// ---- open and close

static SCREEN *open_screen(FILE *out, FILE *in, struct error *e) {
    const char *name = getenv("TERM");
    const char *const tries[] = {name && *name ? name : NULL, "xterm-256color", "vt100"};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        if (!tries[i]) continue;
        SCREEN *screen = newterm(tries[i], out, in);
        if (!screen) continue;
        const char *move = tigetstr("cup");
        if (!move || move == (char *)-1) { // "dumb": everything would land in one line
            endwin();
            delscreen(screen);
            error_set(e, STATUS_FAILED,
                      "terminal type \"%s\" cannot place its cursor: use another terminal or "
                      "--headless",
                      tries[i]);
            return NULL;
        }
        if (i > 0)
            log_write(LOG_WARN, "terminal type \"%s\" is unknown here: using %s", name ? name : "",
                      tries[i]);
        return screen;
    }
    error_set(e, STATUS_FAILED,
              "terminal type \"%s\" is unknown, and so are xterm-256color and vt100: install "
              "ncurses-base or use --headless",
              name ? name : "");
    return NULL;
}

// Own descriptors for the terminal, so that 1 and 2 can be captured.
static bool open_streams(struct terminal *t, const struct term_opts *opts, struct error *e) {
    t->in = opts->in, t->out = opts->out;
    if (!t->out) {
        int fd = dup(STDOUT_FILENO);
        if (fd < 0 || !(t->out = fdopen(fd, "w")))
            return error_set(e, STATUS_FAILED, "cannot use standard output: %s", strerror(errno));
        t->own_out = true;
    }
    if (!t->in) {
        t->in = isatty(STDIN_FILENO) ? fdopen(dup(STDIN_FILENO), "r") : fopen("/dev/tty", "r");
        if (!t->in)
            return error_set(e, STATUS_FAILED, "no terminal to read keys from: use --headless");
        t->own_in = true;
    }
    t->fd_in = fileno(t->in);
    return true;
}

static void start_colours(struct terminal *t, const struct term_opts *opts) {
    const char *no_color = getenv("NO_COLOR");
    if (opts->no_color || (no_color && *no_color) || !has_colors()) return;
    start_color();
    t->default_colours = use_default_colors() == OK;
    t->colours = COLORS >= 256 ? 256 : COLORS >= 16 ? 16 : COLORS >= 8 ? 8 : 0;
}

struct terminal *term_open(const struct term_opts *opts, struct error *e) {
    struct terminal *t = mem_alloc(sizeof *t);
    bool utf8 = term_locale();
    t->ascii = opts->ascii || !utf8;
    if (!open_streams(t, opts, e)) goto fail;
    bool real = !opts->in && !opts->out;
    if (real) guard_save_terminal(fileno(t->out));
    t->saved = real;
    t->screen = open_screen(t->out, t->in, e);
    if (!t->screen) goto fail;
    set_term(t->screen);
    start_colours(t, opts);
    cbreak();
    noecho();
    nonl();
    set_escdelay(25);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    leaveok(stdscr, TRUE);
    curs_set(0);
    if (real) {
        guard_on();
        t->guarded = true;
    }
    canvas_init(&t->shown, 1, 1);
    t->repaint = true;
    return t;
fail:
    term_close(t);
    return NULL;
}

void term_close(struct terminal *t) {
    if (!t) return;
    if (t->screen) {
        set_term(t->screen);
        curs_set(1);
        endwin();
        if (t->guarded) guard_off();
        delscreen(t->screen);
    }
    if (t->saved) guard_forget_terminal();
    if (t->own_in && t->in) fclose(t->in);
    if (t->own_out && t->out) fclose(t->out);
    canvas_deinit(&t->shown);
    free(t);
}

bool term_ascii(const struct terminal *t) { return t->ascii; }
int term_colours(const struct terminal *t) { return t->colours; }
void term_repaint(struct terminal *t) { t->repaint = true; }
struct term_signals term_signals(const struct terminal *t) {
    return t->guarded ? guard_signals() : (struct term_signals){0};
}

void term_size(const struct terminal *t, int *width, int *height) {
    set_term(t->screen);
    getmaxyx(stdscr, *height, *width);
}

void term_force_size(struct terminal *t, int width, int height) {
    set_term(t->screen);
    resizeterm(height, width);
    t->repaint = true;
}

// ---- show

static int colour_of(const struct terminal *t, const struct role_colour *r, bool background) {
    int colour = t->colours >= 256 ? r->c256 : t->colours >= 16 ? r->c16 : r->c8;
    if (colour < 0 && !t->default_colours) colour = background ? 0 : 7;
    return colour;
}

static int pair_for(struct terminal *t, int fg, int bg) {
    int16_t *slot = &t->pair_of[(fg + 1) * COLOUR_KEYS + bg + 1];
    if (*slot) return *slot;
    int limit = COLOR_PAIRS < MAX_PAIRS ? COLOR_PAIRS : MAX_PAIRS;
    if (t->n_pairs + 1 >= limit || init_pair((short)(t->n_pairs + 1), (short)fg, (short)bg) != OK)
        return 0;
    return *slot = (int16_t)++t->n_pairs;
}

static void show_cell(struct terminal *t, int x, int y, const struct cell *cell) {
    const struct role_colour *fg = role_colour(cell->fg), *bg = role_colour(cell->bg);
    attr_t attrs = 0;
    int marks = cell->attrs, pair = 0;
    if (t->colours)
        pair = pair_for(t, colour_of(t, fg, false), colour_of(t, bg, true));
    else
        marks |= fg->mono_fg | bg->mono_bg;
    if (marks & ATTR_BOLD) attrs |= A_BOLD;
    if (marks & ATTR_DIM) attrs |= A_DIM;
    if (marks & ATTR_REVERSE) attrs |= A_REVERSE;
    if (marks & ATTR_UNDERLINE) attrs |= A_UNDERLINE;
    wchar_t text[2] = {(wchar_t)cell->glyph, 0};
    cchar_t cc;
    setcchar(&cc, text, attrs, (short)pair, NULL);
    mvadd_wch(y, x, &cc); // ERR in the last cell, which is written all the same
}

void term_show(struct terminal *t, const struct canvas *c) {
    set_term(t->screen);
    if (t->repaint || c->width != t->shown.width || c->height != t->shown.height) {
        canvas_resize(&t->shown, c->width, c->height);
        for (int i = 0; i < c->width * c->height; i++)
            t->shown.cells[i].glyph = 1; // unlike anything
        erase();
        if (t->repaint) clearok(curscr, TRUE);
        t->repaint = false;
    }
    int width, height;
    getmaxyx(stdscr, height, width);
    for (int y = 0; y < c->height && y < height; y++)
        for (int x = 0; x < c->width && x < width; x++) {
            const struct cell *cell = &c->cells[y * c->width + x];
            struct cell *shown = &t->shown.cells[y * c->width + x];
            if (!memcmp(cell, shown, sizeof *cell)) continue;
            *shown = *cell;
            if (cell->width) show_cell(t, x, y, cell);
        }
    refresh();
}

// ---- keys

static int from_curses(int key) {
    static const struct {
        int curses, code;
    } table[] = {
        {KEY_LEFT, KEYCODE_LEFT},
        {KEY_RIGHT, KEYCODE_RIGHT},
        {KEY_UP, KEYCODE_UP},
        {KEY_DOWN, KEYCODE_DOWN},
        {KEY_HOME, KEYCODE_HOME},
        {KEY_END, KEYCODE_END},
        {KEY_PPAGE, KEYCODE_PAGE_UP},
        {KEY_NPAGE, KEYCODE_PAGE_DOWN},
        {KEY_BACKSPACE, KEYCODE_BACKSPACE},
        {KEY_DC, KEYCODE_DELETE},
        {KEY_BTAB, KEYCODE_BACK_TAB},
        {KEY_SLEFT, KEYCODE_SHIFT_LEFT},
        {KEY_SRIGHT, KEYCODE_SHIFT_RIGHT},
        {KEY_F(1), KEYCODE_F1},
        {KEY_RESIZE, KEYCODE_RESIZE},
        {KEY_ENTER, KEYCODE_ENTER},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].curses == key) return table[i].code;
    return KEYCODE_NONE;
}

int term_key(struct terminal *t) {
    set_term(t->screen);
    for (;;) {
        wint_t key;
        int rc = get_wch(&key);
        if (rc == ERR) return KEYCODE_NONE;
        t->fruitless_reads = 0;
        int code = rc == KEY_CODE_YES ? from_curses((int)key) : (int)key;
        if (code) return code; // keys without meaning to us are skipped
    }
}

bool term_wait(struct terminal *t, int ms) {
    set_term(t->screen);
    if (t->guarded && guard_stop_asked()) {
        def_prog_mode();
        endwin();
        guard_stop_now();
        reset_prog_mode();
        t->repaint = true;
    }
    struct pollfd fds[3] = {{.fd = t->fd_in, .events = POLLIN},
                            {.fd = -1, .events = POLLIN},
                            {.fd = -1, .events = POLLIN}};
    if (t->guarded) {
        fds[1].fd = guard_wake_fd();
        fds[2].fd = guard_capture_fd();
    }
    int n = poll(fds, 3, ms);
    if (n < 0) return !t->gone; // EINTR: a signal
    if (fds[1].revents & POLLIN) guard_wake_drain();
    if (fds[2].revents & POLLIN) guard_capture_drain();
    if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) t->gone = true;
    struct termios mode;
    if (fds[0].revents & POLLIN) {
        // Counts up here, falls to 0 with each key read: an end of file stays readable and never
        // gives one.
        if (++t->fruitless_reads > 3 || (isatty(t->fd_in) && tcgetattr(t->fd_in, &mode) != 0))
            t->gone = true;
    }
    return !t->gone;
}
