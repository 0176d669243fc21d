// Tests of the window on a real X server (Xvfb, started here): same pixels, real keys, and what
// happens when it dies.
//
// The X server chooses a free display and is ended by its process id. Keys are typed by xdotool,
// the screenshot is taken by xwd (Debian packages xvfb, xdotool, x11-apps); where one of them is
// missing the tests are skipped.
#include "support/test.h"

#include <png.h>
#include <SDL2/SDL.h>
#include <SDL2/SDL_syswm.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/run/files.h"
#include "ui/window.h"
#include "ui/window_draw.h"
#include "ui/window_pictures.h"

// Under AddressSanitizer: SDL's link to the desktop's message bus is not ours to close once its
// display has died.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libdbus-1"; }

static struct feed_pictures pictures;
static struct feed_status paused;
static char folder[4096], display[32];
static pid_t server;

// ---- the X server

static bool start_server(void) {
    int ends[2];
    char fd[16];
    if (pipe(ends) != 0) return false;
    snprintf(fd, sizeof fd, "%d", ends[1]);
    server = fork();
    if (server == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(ends[0]);
        // Without -noreset it would start anew, for a moment deaf, when the last window closes.
        execlp("Xvfb", "Xvfb", "-displayfd", fd, "-screen", "0", "2100x1700x24", "-nolisten", "tcp",
               "-noreset", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    // Its number and, in a second write, the end of the line: then it listens.
    char number[16] = "";
    size_t n = 0;
    while (n < sizeof number - 1 && !strchr(number, '\n') && read(ends[0], number + n, 1) == 1) n++;
    close(ends[0]);
    if (!strchr(number, '\n')) return false;
    snprintf(display, sizeof display, ":%d", atoi(number));
    return true;
}

static void end_server(void) {
    if (server <= 0) return;
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    server = 0;
}

static int server_needed(void **state) {
    (void)state;
    static const char *const programs[][2] = {
        {"Xvfb", "xvfb"}, {"xdotool", "xdotool"}, {"xwd", "x11-apps"}};
    for (size_t i = 0; i < 3; i++)
        if (!files_program_exists(programs[i][0])) {
            printf("skipped: no %s (package %s)\n", programs[i][0], programs[i][1]);
            return 0;
        }
    assert_true(start_server());
    setenv("DISPLAY", display, 1);
    unsetenv("SDL_VIDEODRIVER");
    unsetenv("WAYLAND_DISPLAY");
    return 0;
}

static int server_ended(void **state) {
    (void)state;
    end_server();
    return 0;
}

static struct window *open_window(struct window_opts opts) {
    if (server <= 0) skip();
    struct error e = {0};
    struct window *w = window_open(&opts, &e);
    if (!w) fail_msg("%s", e.message);
    assert_string_equal(SDL_GetCurrentVideoDriver(), "x11");
    return w;
}

static unsigned long x_window(void) {
    for (Uint32 id = 1; id < 1000; id++) {
        SDL_SysWMinfo info;
        SDL_VERSION(&info.version);
        SDL_Window *w = SDL_GetWindowFromID(id);
        if (!w) continue;
        assert_true(SDL_GetWindowWMInfo(w, &info));
        return (unsigned long)info.info.x11.window;
    }
    fail_msg("SDL has no window");
    return 0;
}

static void run_program(const char *format, ...) {
    char command[9000];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command) != 0) fail_msg("failed: %s", command);
}

static int64_t patience(void) { return clock_now_ns() + 30000000000; }

// Some turns, in which what the server has to say about a new window arrives.
static void turn_for(struct window *w, int ms) {
    for (int64_t end = clock_now_ns() + (int64_t)ms * 1000000; clock_now_ns() < end;) {
        assert_true(window_turn(w, &pictures, &paused));
        clock_sleep_ns(10000000);
    }
}

// A key of which nothing but the run hears: turns until `heard` says so.
static void type_command(struct window *w, const char *key, bool (*heard)(struct control *),
                         struct control *c) {
    run_program("xdotool key --window %lu %s", x_window(), key);
    for (int64_t end = patience(); !heard(c);) {
        assert_true(clock_now_ns() < end);
        turn_for(w, 10);
    }
}

static bool is_paused(struct control *c) { return control_is_paused(c); }
static bool update_was_asked_for(struct control *c) { return control_take_single_update(c); }

// ---- pictures

static uint32_t big_endian(const uint8_t *b) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

// The screenshot in the XWD format (X11/XWDFile.h): 25 big-endian words and a name, 12 bytes a
// colour, rows of 32-bit pixels, blue first on a little-endian server.
static void read_screenshot(const char *path, int w, int h, uint8_t *rgb) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t header[100];
    assert_int_equal(fread(header, 1, sizeof header, f), sizeof header);
    assert_int_equal(big_endian(header + 16), w);
    assert_int_equal(big_endian(header + 20), h);
    assert_int_equal(big_endian(header + 44), 32); // bits per pixel
    bool little = big_endian(header + 28) == 0;
    long row_bytes = big_endian(header + 48),
         start = (long)big_endian(header) + 12 * (long)big_endian(header + 76);
    uint8_t *row = malloc((size_t)row_bytes);
    assert_non_null(row);
    for (int y = 0; y < h; y++) {
        assert_int_equal(fseek(f, start + y * row_bytes, SEEK_SET), 0);
        assert_int_equal(fread(row, 1, (size_t)row_bytes, f), row_bytes);
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++)
                rgb[(y * w + x) * 3 + c] = row[x * 4 + (little ? 2 - c : c + 1)];
    }
    free(row);
    fclose(f);
}

// What the window says it shows, to be freed.
static uint8_t *said(struct window *w, int *width, int *height) {
    char path[4200];
    struct error e = {0};
    snprintf(path, sizeof path, "%s/said.png", folder);
    if (!window_save_png(w, path, &e)) fail_msg("%s", e.message);
    png_image im = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&im, path));
    im.format = PNG_FORMAT_RGB;
    *width = (int)im.width;
    *height = (int)im.height;
    uint8_t *rgb = malloc(PNG_IMAGE_SIZE(im));
    assert_true(png_image_finish_read(&im, NULL, rgb, 0, NULL));
    return rgb;
}

static bool is_drawing(const uint8_t *rgb, int width, int height, int zoom, int frame) {
    struct window_view view = {.zoom = zoom, .frame = frame, .paused = true};
    int w, h;
    window_draw_size(zoom, &w, &h);
    if (w != width || h != height) return false;
    view.font = TTF_OpenFont("/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
                             window_draw_points(zoom));
    SDL_Surface *s = SDL_CreateRGBSurfaceWithFormat(0, w, h, 24, SDL_PIXELFORMAT_RGB24);
    window_draw(s, &view, &pictures, &paused);
    bool same = true;
    for (int y = 0; y < h && same; y++)
        same = memcmp((const char *)s->pixels + y * s->pitch, rgb + (size_t)y * (size_t)w * 3,
                      (size_t)w * 3) == 0;
    SDL_FreeSurface(s);
    if (view.font) TTF_CloseFont(view.font);
    return same;
}

// Turns until the window says that it shows this view; then the server's own screenshot must be
// the same, byte by byte.
static void expect_on_screen(struct window *w, int zoom, int frame) {
    int width = 0, height = 0;
    uint8_t *rgb = NULL;
    bool there = false;
    for (int64_t end = patience(); !there && clock_now_ns() < end;) {
        turn_for(w, 20);
        free(rgb);
        rgb = said(w, &width, &height);
        there = is_drawing(rgb, width, height, zoom, frame);
    }
    if (!there) fail_msg("zoom %d, frame %d never came", zoom, frame);
    char path[4200];
    size_t n = (size_t)width * (size_t)height * 3;
    uint8_t *shown = malloc(n);
    snprintf(path, sizeof path, "%s/shown.xwd", folder);
    run_program("xwd -silent -id %lu -out '%s'", x_window(), path);
    read_screenshot(path, width, height, shown);
    assert_memory_equal(shown, rgb, n);
    free(shown);
    free(rgb);
}

static void the_server_shows_the_drawing_pixel_by_pixel(void **state) {
    (void)state;
    for (int zoom = 1; zoom <= 5; zoom += 2) {
        struct window *w = open_window((struct window_opts){.zoom = zoom});
        expect_on_screen(w, zoom, 0);
        window_close(w);
    }
}

static void real_keys_step_frames_change_the_zoom_and_pause(void **state) {
    (void)state;
    static const struct {
        const char *key;
        int zoom, frame;
    } steps[] = {{"period", 2, 1}, {"Right", 2, 2},    {"Left", 2, 1},  {"comma", 2, 0},
                 {"plus", 3, 0},   {"greater", 3, 19}, {"minus", 2, 19}};
    struct feed *feed = feed_new(1);
    struct control *c = feed_control(feed);
    struct window *w = open_window((struct window_opts){.zoom = 2, .control = c});
    expect_on_screen(w, 2, 0);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        run_program("xdotool key --window %lu %s", x_window(), steps[i].key);
        expect_on_screen(w, steps[i].zoom, steps[i].frame);
    }
    type_command(w, "space", is_paused, c);
    type_command(w, "u", update_was_asked_for, c);
    run_program("xdotool key --window %lu q", x_window());
    bool open = true;
    for (int64_t end = patience(); open && clock_now_ns() < end; clock_sleep_ns(10000000))
        open = window_turn(w, &pictures, &paused);
    assert_false(open);
    window_close(w);
    feed_free(feed);
}

static void a_resized_window_shows_the_zoom_that_fits(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 1});
    int width, height;
    expect_on_screen(w, 1, 0);
    window_draw_size(4, &width, &height);
    run_program("xdotool windowsize %lu %d %d", x_window(), width, height);
    expect_on_screen(w, 4, 0);
    window_close(w);
}

// The last test: its server is gone afterwards. Xlib alone would end this very program.
static void when_the_server_dies_the_window_ends_and_the_program_goes_on(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 2});
    struct error e = {0};
    turn_for(w, 200);
    end_server();
    int turns = 0;
    while (turns < 500 && window_turn(w, &pictures, &paused)) {
        pictures.env_steps++; // something to draw
        turns++;
        clock_sleep_ns(10000000);
    }
    assert_true(turns < 500);
    assert_false(window_turn(w, &pictures, &paused));
    struct log_line line;
    assert_true(log_read(log_count() - 1, &line));
    assert_string_equal(line.text,
                        "window: the display went away; the terminal shows the pictures");
    window_close(w);
    assert_null(window_open(&(struct window_opts){0}, &e));
    assert_non_null(strstr(e.message, "the display went away"));
    server = -1;
}

int main(void) {
    snprintf(folder, sizeof folder, "%s", test_folder());
    window_test_pictures(&pictures);
    paused = window_test_status(PHASE_PAUSED);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_shows_the_drawing_pixel_by_pixel),
        cmocka_unit_test(real_keys_step_frames_change_the_zoom_and_pause),
        cmocka_unit_test(a_resized_window_shows_the_zoom_that_fits),
        cmocka_unit_test(when_the_server_dies_the_window_ends_and_the_program_goes_on),
    };
    return cmocka_run_group_tests(tests, server_needed, server_ended);
}
