// Tests of the window under SDL's dummy driver: keys, zoom, frames, palette, saving, refusal
// without a display.
#include "support/test.h"

#include <png.h>
#include <SDL2/SDL.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "ui/window.h"
#include "ui/window_draw.h"
#include "ui/window_pictures.h"

static struct feed_pictures pictures;
static struct feed_status paused, training;
static char png_path[4200], start_folder[4096];

// ---- a person at the keyboard

static void type(const char *text) {
    for (; *text; text++) {
        SDL_Event e = {.text = {.type = SDL_TEXTINPUT, .text = {*text}}};
        assert_int_equal(SDL_PushEvent(&e), 1);
    }
}

static void press(SDL_Keycode key) {
    SDL_Event e = {.key = {.type = SDL_KEYDOWN, .state = SDL_PRESSED, .keysym = {.sym = key}}};
    assert_int_equal(SDL_PushEvent(&e), 1);
}

static SDL_Window *sdl_window(void) {
    for (Uint32 id = 1; id < 1000; id++)
        if (SDL_GetWindowFromID(id)) return SDL_GetWindowFromID(id);
    fail_msg("SDL has no window");
    return NULL;
}

static struct window *open_window(struct window_opts opts) {
    struct error e = {0};
    struct window *w = window_open(&opts, &e);
    if (!w) fail_msg("%s", e.message);
    return w;
}

// ---- what the window shows

static SDL_Surface *shown(struct window *w) {
    struct error e = {0};
    if (!window_save_png(w, png_path, &e)) fail_msg("%s", e.message);
    png_image im = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&im, png_path));
    im.format = PNG_FORMAT_RGB;
    SDL_Surface *s =
        SDL_CreateRGBSurfaceWithFormat(0, (int)im.width, (int)im.height, 24, SDL_PIXELFORMAT_RGB24);
    assert_non_null(s);
    assert_true(png_image_finish_read(&im, NULL, s->pixels, s->pitch, NULL));
    return s;
}

static bool is_drawing_of(const SDL_Surface *s, struct window_view view,
                          const struct feed_pictures *p, const struct feed_status *status) {
    int w, h;
    window_draw_size(view.zoom, &w, &h);
    if (s->w != w || s->h != h) return false;
    TTF_Font *font = TTF_OpenFont("/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
                                  window_draw_points(view.zoom));
    view.font = font;
    view.paused = status->phase == PHASE_PAUSED;
    SDL_Surface *expected = SDL_CreateRGBSurfaceWithFormat(0, w, h, 24, SDL_PIXELFORMAT_RGB24);
    window_draw(expected, &view, p, status);
    bool same = true;
    for (int y = 0; y < h && same; y++)
        same = memcmp((const char *)s->pixels + y * s->pitch,
                      (const char *)expected->pixels + y * expected->pitch, (size_t)w * 3) == 0;
    SDL_FreeSurface(expected);
    if (font) TTF_CloseFont(font);
    return same;
}

// One turn with a paused run, after which the window must show just this.
static void expect_view(struct window *w, int zoom, int frame, enum picture_palette palette) {
    assert_true(window_turn(w, &pictures, &paused));
    SDL_Surface *s = shown(w);
    struct window_view view = {.zoom = zoom, .frame = frame, .palette = palette};
    if (!is_drawing_of(s, view, &pictures, &paused))
        fail_msg("the window does not show zoom %d, frame %d, palette %d", zoom, frame,
                 (int)palette);
    SDL_FreeSurface(s);
}

static void it_opens_with_the_first_frame_at_zoom_3(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){0});
    expect_view(w, 3, 0, PALETTE_GREY);
    int width, height, expected_w, expected_h;
    SDL_GetWindowSize(sdl_window(), &width, &height);
    window_draw_size(3, &expected_w, &expected_h);
    assert_int_equal(width, expected_w);
    assert_int_equal(height, expected_h);
    assert_string_equal(SDL_GetWindowTitle(sdl_window()), "workbench: sprites, paused");
    window_close(w);
    window_close(NULL);
}

static void frames_are_stepped_while_paused(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 1});
    expect_view(w, 1, 0, PALETTE_GREY);
    static const struct {
        const char *keys;
        int frame;
    } steps[] = {{".", 1},   {"..", 3}, {",", 2}, {",,,,,", 0}, {">", 19},
                 {"..", 19}, {",", 18}, {"<", 0}, {">,,r", 0}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        type(steps[i].keys);
        expect_view(w, 1, steps[i].frame, PALETTE_GREY);
    }
    type("<");
    press(SDLK_RIGHT);
    press(SDLK_RIGHT);
    expect_view(w, 1, 2, PALETTE_GREY);
    press(SDLK_LEFT);
    expect_view(w, 1, 1, PALETTE_GREY);
    clock_sleep_ns(300000000); // longer than a frame lasts: it stays
    expect_view(w, 1, 1, PALETTE_GREY);
    window_close(w);
}

static void the_zoom_follows_keys_and_window_size(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 2});
    expect_view(w, 2, 0, PALETTE_GREY);
    type("+");
    expect_view(w, 3, 0, PALETTE_GREY);
    type("=");
    expect_view(w, 4, 0, PALETTE_GREY);
    type("--");
    expect_view(w, 2, 0, PALETTE_GREY);
    type("----");
    expect_view(w, 1, 0, PALETTE_GREY);
    type("++++++++++++");
    expect_view(w, 8, 0, PALETTE_GREY);
    for (int zoom = 1; zoom <= WINDOW_MAX_ZOOM;
         zoom++) { // by its frame, as a person pulls it: the largest that fits
        int width, height;
        window_draw_size(zoom, &width, &height);
        SDL_SetWindowSize(sdl_window(), width, height);
        expect_view(w, zoom, 0, PALETTE_GREY);
        SDL_SetWindowSize(sdl_window(), width + 5, height + 40);
        expect_view(w, zoom, 0, PALETTE_GREY);
        SDL_SetWindowSize(sdl_window(), width - 1, height + 500);
        expect_view(w, zoom > 1 ? zoom - 1 : 1, 0, PALETTE_GREY);
    }
    window_close(w);
}

static void a_zoom_out_of_range_is_brought_into_it(void **state) {
    (void)state;
    static const int zooms[][2] = {{1, 1}, {8, 8}, {9, 8}, {1000000, 8}, {0, 3}, {-5, 3}};
    for (size_t i = 0; i < sizeof zooms / sizeof *zooms; i++) {
        struct window *w = open_window((struct window_opts){.zoom = zooms[i][0]});
        expect_view(w, zooms[i][1], 0, PALETTE_GREY);
        window_close(w);
    }
}

static void the_palette_key_goes_round(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 1});
    for (int i = 0; i < PALETTE_COUNT; i++) {
        expect_view(w, 1, 0, (enum picture_palette)i);
        type("p");
    }
    expect_view(w, 1, 0, PALETTE_GREY);
    type("xyz\x7f!"); // no such keys
    press(SDLK_F1);
    expect_view(w, 1, 0, PALETTE_GREY);
    window_close(w);
}

static void three_ways_to_close_end_the_turns(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct window *w = open_window((struct window_opts){.zoom = 1});
        assert_true(window_turn(w, &pictures, &paused));
        SDL_Event quit = {.type = SDL_QUIT};
        if (way == 0) type("q");
        if (way == 1) press(SDLK_ESCAPE);
        if (way == 2) SDL_PushEvent(&quit);
        assert_false(window_turn(w, &pictures, &paused));
        assert_false(window_turn(w, &pictures, &paused));
        window_close(w);
    }
}

// ---- commands

static void space_pauses_and_u_asks_for_one_update(void **state) {
    (void)state;
    struct feed *feed = feed_new(1);
    struct control *c = feed_control(feed);
    struct window *w = open_window((struct window_opts){.zoom = 1, .control = c});
    type("u");
    assert_true(window_turn(w, &pictures, &training));
    assert_false(control_take_single_update(c)); // it runs anyway
    type(" ");
    assert_true(window_turn(w, &pictures, &training));
    assert_true(control_is_paused(c));
    type("uu");
    assert_true(window_turn(w, &pictures, &paused));
    assert_true(control_take_single_update(c));
    assert_true(control_take_single_update(c));
    assert_false(control_take_single_update(c));
    type(" ");
    assert_true(window_turn(w, &pictures, &paused));
    assert_false(control_is_paused(c));
    type("q");
    assert_false(window_turn(w, &pictures, &training));
    assert_false(control_stop_requested(c)); // closing the window ends the window, not the run
    window_close(w);
    feed_free(feed);
}

static void without_a_control_the_command_keys_do_nothing(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 1});
    type(" u ");
    expect_view(w, 1, 0, PALETTE_GREY);
    window_close(w);
}

static void the_help_names_every_key_that_does_something(void **state) {
    (void)state;
    for (const char *key = ",.<>ru+-psq"; *key; key++)
        assert_non_null(strchr(window_keys_help, *key));
    int n_lines = 0;
    for (const char *line = window_keys_help; *line; line = strchr(line, '\n') + 1, n_lines++)
        assert_true(memchr(line, '\t', strcspn(line, "\n")) != NULL); // "keys<TAB>what they do"
    assert_int_equal(n_lines, 9);
}

// ---- saving

static void the_save_key_writes_a_png_named_after_update_and_frame(void **state) {
    (void)state;
    assert_int_equal(chdir(test_folder()), 0);
    struct window *w = open_window((struct window_opts){.zoom = 1});
    expect_view(w, 1, 0, PALETTE_GREY);
    type("...s");
    assert_true(window_turn(w, &pictures, &paused));
    assert_int_equal(access("workbench-000001500-frame-04.png", R_OK), 0);
    struct log_line line;
    assert_true(log_read(log_count() - 1, &line));
    assert_string_equal(line.text, "window: saved workbench-000001500-frame-04.png");
    window_close(w);
    assert_int_equal(chdir(start_folder), 0);
}

static void saving_where_one_cannot_is_one_line_and_no_file(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 1});
    struct error e = {0};
    assert_true(window_turn(w, &pictures, &paused));
    assert_false(window_save_png(w, "/nowhere/at/all.png", &e));
    assert_non_null(strstr(e.message, "/nowhere/at/all.png"));
    assert_null(strchr(e.message, '\n'));
    window_close(w);
}

// ---- a run that goes on

static void while_training_the_rollout_plays_and_begins_again(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 1});
    bool seen[FEED_ROLLOUT] = {false};
    int n_seen = 0, last = -1;
    int64_t end = clock_now_ns() + 20000000000;
    while (n_seen < 3 && clock_now_ns() < end) {
        assert_true(window_turn(w, &pictures, &training));
        SDL_Surface *s = shown(w);
        for (int f = 0; f < FEED_ROLLOUT; f++) {
            struct window_view view = {.zoom = 1, .frame = f};
            if (f == last || !is_drawing_of(s, view, &pictures, &training)) continue;
            assert_false(seen[f]);
            seen[f] = true;
            last = f;
            n_seen++;
        }
        SDL_FreeSurface(s);
        clock_sleep_ns(20000000);
    }
    assert_int_equal(n_seen, 3);
    window_close(w);
}

// New pictures are drawn a few times a second only, so it may take a moment.
static bool turns_until_shown(struct window *w, const struct feed_pictures *p,
                              const struct feed_status *status) {
    bool there = false;
    for (int64_t end = clock_now_ns() + 20000000000; !there && clock_now_ns() < end;) {
        assert_true(window_turn(w, p, status));
        SDL_Surface *s = shown(w);
        there = is_drawing_of(s, (struct window_view){.zoom = 1}, p, status);
        SDL_FreeSurface(s);
        clock_sleep_ns(10000000);
    }
    return there;
}

static void new_pictures_are_shown_even_before_the_first_update(void **state) {
    (void)state;
    struct feed_pictures *p = malloc(sizeof *p);
    struct feed_status prefill = window_test_status(PHASE_PREFILL);
    assert_non_null(p);
    *p = pictures;
    p->opt_steps = 0;
    p->n_rollout = 0;
    struct window *w = open_window((struct window_opts){.zoom = 1});
    assert_true(window_turn(w, NULL, &prefill));
    SDL_Surface *s = shown(w);
    assert_true(is_drawing_of(s, (struct window_view){.zoom = 1}, NULL, &prefill));
    SDL_FreeSurface(s);
    for (int64_t env_steps = 10; env_steps <= 30; env_steps += 10) {
        p->env_steps = env_steps; // prefill: no update yet, but the scene moves on
        window_test_picture(p->real, (int)env_steps);
        assert_true(turns_until_shown(w, p, &prefill));
    }
    window_close(w);
    free(p);
}

static void every_phase_is_told_in_the_title(void **state) {
    (void)state;
    struct window *w = open_window((struct window_opts){.zoom = 1});
    for (int phase = PHASE_STARTING; phase <= PHASE_FAILED; phase++) {
        struct feed_status status = window_test_status((enum feed_phase)phase);
        char title[100];
        assert_true(window_turn(w, &pictures, &status));
        snprintf(title, sizeof title, "workbench: sprites, %s", feed_phase_names[phase]);
        assert_string_equal(SDL_GetWindowTitle(sdl_window()), title);
    }
    window_close(w);
}

// ---- no display

static void assert_refused(const char *driver, const char *display, const char *part) {
    struct error e = {0};
    if (driver)
        setenv("SDL_VIDEODRIVER", driver, 1);
    else
        unsetenv("SDL_VIDEODRIVER");
    if (display)
        setenv("DISPLAY", display, 1);
    else
        unsetenv("DISPLAY");
    struct window *w = window_open(&(struct window_opts){.zoom = 1}, &e);
    bool refused = w == NULL;
    window_close(w);
    setenv("SDL_VIDEODRIVER", "dummy", 1);
    unsetenv("DISPLAY");
    assert_true(refused);
    assert_int_equal(e.status, STATUS_FAILED);
    assert_null(strchr(e.message, '\n'));
    assert_non_null(strstr(e.message, "no window: "));
    assert_non_null(strstr(e.message, "the terminal shows the pictures"));
    if (!strstr(e.message, part)) fail_msg("\"%s\" is missing in: %s", part, e.message);
}

static void without_a_display_the_window_is_refused_in_one_line(void **state) {
    (void)state;
    unsetenv("WAYLAND_DISPLAY");
    unsetenv("XDG_RUNTIME_DIR");
    assert_refused(NULL, NULL, "no display");
    assert_refused("", NULL, "no display");
    assert_refused(NULL, "", "no display");
    assert_refused(NULL, ":987", "DISPLAY=:987");
    assert_refused("x11", ":987", "DISPLAY=:987");
    assert_refused("x11", NULL, "x11");
    assert_refused("nonsense", NULL, "nonsense");
    setenv("WAYLAND_DISPLAY", "nowhere", 1);
    assert_refused(NULL, NULL, "no window");
    unsetenv("WAYLAND_DISPLAY");
    struct window *w =
        open_window((struct window_opts){.zoom = 1}); // the dummy works again after all that
    expect_view(w, 1, 0, PALETTE_GREY);
    window_close(w);
}

int main(void) {
    setenv("SDL_VIDEODRIVER", "dummy", 1);
    assert_non_null(getcwd(start_folder, sizeof start_folder));
    snprintf(png_path, sizeof png_path, "%s/shown.png", test_folder());
    window_test_pictures(&pictures);
    paused = window_test_status(PHASE_PAUSED);
    training = window_test_status(PHASE_TRAINING);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_with_the_first_frame_at_zoom_3),
        cmocka_unit_test(frames_are_stepped_while_paused),
        cmocka_unit_test(the_zoom_follows_keys_and_window_size),
        cmocka_unit_test(a_zoom_out_of_range_is_brought_into_it),
        cmocka_unit_test(the_palette_key_goes_round),
        cmocka_unit_test(three_ways_to_close_end_the_turns),
        cmocka_unit_test(space_pauses_and_u_asks_for_one_update),
        cmocka_unit_test(without_a_control_the_command_keys_do_nothing),
        cmocka_unit_test(the_help_names_every_key_that_does_something),
        cmocka_unit_test(the_save_key_writes_a_png_named_after_update_and_frame),
        cmocka_unit_test(saving_where_one_cannot_is_one_line_and_no_file),
        cmocka_unit_test(while_training_the_rollout_plays_and_begins_again),
        cmocka_unit_test(new_pictures_are_shown_even_before_the_first_update),
        cmocka_unit_test(every_phase_is_told_in_the_title),
        cmocka_unit_test(without_a_display_the_window_is_refused_in_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
