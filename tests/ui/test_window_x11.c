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
        execlp("Xvfb", "Xvfb", "-displayfd", fd, "-screen", "0", "2100x1700x24", "-nolisten", "tcp",
               (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    char number[16];
    ssize_t n = read(ends[0], number, sizeof number - 1); // a line once it listens
    close(ends[0]);
    if (n <= 0) return false;
    number[n] = 0;
    snprintf(display, sizeof display, ":%d", atoi(number));
    return true;
}

static void end_server(void) {
    if (server <= 0) return;
    kill(server, SIGKILL);
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

// Turns until the window has had time to draw and to hear of keys.
static void turn_for(struct window *w, int ms) {
    for (int64_t end = clock_now_ns() + (int64_t)ms * 1000000; clock_now_ns() < end;) {
        assert_true(window_turn(w, &pictures, &paused));
        clock_sleep_ns(10000000);
    }
}

static void run_program(const char *format, ...) {
    char command[9000];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command) != 0) fail_msg("failed: %s", command);
}

static void type_key(struct window *w, const char *key) {
    run_program("xdotool key --window %lu %s", x_window(), key);
    turn_for(w, 200);
}

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

// What the server shows is what the window says it shows; returns that, to be freed.
static uint8_t *seen(struct window *w, int zoom) {
    char path[4200];
    struct error e = {0};
    int width, height;
    window_draw_size(zoom, &width, &height);
    size_t n = (size_t)width * (size_t)height * 3;
    uint8_t *said = malloc(n), *shown = malloc(n);
    snprintf(path, sizeof path, "%s/said.png", folder);
    if (!window_save_png(w, path, &e)) fail_msg("%s", e.message);
    png_image im = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&im, path));
    assert_int_equal(im.width, width);
    assert_int_equal(im.height, height);
    im.format = PNG_FORMAT_RGB;
    assert_true(png_image_finish_read(&im, NULL, said, 0, NULL));
    snprintf(path, sizeof path, "%s/shown.xwd", folder);
    run_program("xwd -silent -id %lu -out '%s'", x_window(), path);
    read_screenshot(path, width, height, shown);
    assert_memory_equal(shown, said, n);
    free(said);
    return shown;
}

static void the_server_shows_the_drawing_pixel_by_pixel(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 3});
    turn_for(w, 300);
    uint8_t *a = seen(w, 3), rgb[3];
    struct window_layout l;
    window_draw_layout(3, &l);
    for (int i = 0; i < FEED_PIXELS; i++) { // and the drawing is the picture
        int x = l.now[0].x + i % FEED_WIDTH * 3, y = l.now[0].y + i / FEED_WIDTH * 3;
        image_rgb(IMAGE_SHADES, PALETTE_GREY, pictures.real[i], rgb);
        assert_memory_equal(a + (y * l.width + x) * 3, rgb, 3);
    }
    free(a);
    window_close(w);
}

static void real_keys_step_frames_change_the_zoom_and_pause(void **state) {
    (void)state;
    struct feed *feed = feed_new(1);
    struct control *c = feed_control(feed);
    struct window *w = open_window((struct window_opts){.zoom = 2, .control = c});
    turn_for(w, 300);
    uint8_t *first = seen(w, 2);
    type_key(w, "period");
    uint8_t *second = seen(w, 2);
    int width, height;
    window_draw_size(2, &width, &height);
    assert_memory_not_equal(first, second, (size_t)width * (size_t)height * 3);
    type_key(w, "Left");
    free(second);
    second = seen(w, 2);
    assert_memory_equal(first, second, (size_t)width * (size_t)height * 3);
    free(first);
    free(second);
    type_key(w, "plus");
    free(seen(w, 3)); // a larger window, drawn anew
    type_key(w, "minus");
    free(seen(w, 2));
    assert_false(control_is_paused(c));
    type_key(w, "space");
    assert_true(control_is_paused(c));
    type_key(w, "u");
    assert_true(control_take_single_update(c));
    run_program("xdotool key --window %lu q", x_window());
    bool open = true;
    for (int i = 0; i < 300 && open; i++, clock_sleep_ns(10000000))
        open = window_turn(w, &pictures, &paused);
    assert_false(open);
    window_close(w);
    feed_free(feed);
}

static void a_resized_window_shows_the_zoom_that_fits(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 1});
    int width, height;
    turn_for(w, 200);
    window_draw_size(4, &width, &height);
    run_program("xdotool windowsize %lu %d %d", x_window(), width, height);
    turn_for(w, 400);
    free(seen(w, 4));
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
