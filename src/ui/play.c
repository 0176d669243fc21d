// Play: the game's side of the window: keys, frames, saving and recording.
#include "ui/play.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "emu/gb_action.h"
#include "emu/gb_obs.h"
#include "engine/data/image.h"
#include "engine/env/goal_file.h"
#include "ui/cli_actions.h"
#include "ui/cli_rom.h"
#include "ui/play_rewind.h"
#include "ui/play_screen.h"

enum {
    PIXELS = GB_LCD_WIDTH * GB_LCD_HEIGHT,
    FRAME_NS = 16742706, // 70,224 cycles of 4,194,304 Hz
    MAX_LATE_FRAMES = 4, // a slow machine plays slower instead of ever later
    FAST_FRAMES = 8,
    PAUSED_SLEEP_NS = 10000000,
    MAX_NUMBER = 999,
    MESSAGE_SIZE = 160
};

const struct play_key play_keys[] = {
    {SDLK_UP, PLAY_BUTTON, GB_BUTTON_UP, "arrows", "directions"},
    {SDLK_DOWN, PLAY_BUTTON, GB_BUTTON_DOWN, NULL, NULL},
    {SDLK_LEFT, PLAY_BUTTON, GB_BUTTON_LEFT, NULL, NULL},
    {SDLK_RIGHT, PLAY_BUTTON, GB_BUTTON_RIGHT, NULL, NULL},
    {SDLK_z, PLAY_BUTTON, GB_BUTTON_A, "Z", "A"},
    {SDLK_x, PLAY_BUTTON, GB_BUTTON_B, "X", "B"},
    {SDLK_RETURN, PLAY_BUTTON, GB_BUTTON_START, "Enter", "Start"},
    {SDLK_KP_ENTER, PLAY_BUTTON, GB_BUTTON_START, NULL, NULL},
    {SDLK_LSHIFT, PLAY_BUTTON, GB_BUTTON_SELECT, "Shift", "Select"},
    {SDLK_RSHIFT, PLAY_BUTTON, GB_BUTTON_SELECT, NULL, NULL},
    {SDLK_SPACE, PLAY_PAUSE, 0, "space", "pause, go on"},
    {SDLK_PERIOD, PLAY_FRAME, 0, ".", "one frame, then pause"},
    {SDLK_TAB, PLAY_FAST, 0, "Tab", "eight times as fast while held"},
    {SDLK_BACKSPACE, PLAY_REWIND, 0, "Backspace", "back in time while held, up to a minute"},
    {SDLK_s, PLAY_SAVE, 0, "S", "save a state beside the ROM"},
    {SDLK_g, PLAY_GOAL, 0, "G", "save the picture as a goal template beside the ROM"},
    {SDLK_r, PLAY_RECORD, 0, "R", "record actions in steps of 24 frames; again: write them"},
    {SDLK_p, PLAY_PICTURE, 0, "P", "save the picture as PNG beside the ROM"},
    {SDLK_PLUS, PLAY_ZOOM, 1, "+ -", "zoom"},
    {SDLK_EQUALS, PLAY_ZOOM, 1, NULL, NULL},
    {SDLK_KP_PLUS, PLAY_ZOOM, 1, NULL, NULL},
    {SDLK_MINUS, PLAY_ZOOM, -1, NULL, NULL},
    {SDLK_KP_MINUS, PLAY_ZOOM, -1, NULL, NULL},
    {SDLK_q, PLAY_QUIT, 0, "Q Esc", "leave"},
    {SDLK_ESCAPE, PLAY_QUIT, 0, NULL, NULL},
    {0, PLAY_QUIT, 0, NULL, NULL},
};

struct play {
    struct play_opts opts;
    struct rom_file rom;
    struct gb machine;
    uint8_t lcd[2 * PIXELS], shown[PIXELS];
    struct play_screen *screen;
    struct rewind *rewind;
    bool open, paused, fast, rewinding;
    uint8_t held, tapped; // buttons down now; the last one that went down, for the next step
    int n_wanted;         // frames asked for one by one
    int64_t n_frames, next_frame_ns;
    bool recording;
    int number, frame_in_step;
    uint8_t step_buttons;
    struct actions actions;
    char message[MESSAGE_SIZE];
};

void play_print_keys(void) {
    for (const struct play_key *k = play_keys; k->key; k++)
        if (k->help) printf("  %-10s %s\n", k->written, k->help);
    fflush(stdout);
}

const struct gb *play_machine(const struct play *p) { return &p->machine; }
const uint8_t *play_picture(const struct play *p) { return p->shown; }
const char *play_message(const struct play *p) { return p->message; }
bool play_is_paused(const struct play *p) { return p->paused; }
int play_zoom(const struct play *p) { return play_screen_zoom(p->screen); }

static void say(struct play *p, const char *what, const char *object) {
    snprintf(p->message, sizeof p->message, "%s%.120s", what, object);
    printf("%s\n", p->message);
    fflush(stdout);
}

// ---- files beside the ROM: red.gb -> red-001.state

static bool file_name(const struct play *p, int number, const char *ending, char out[PATH_SIZE]) {
    const char *path = p->opts.rom_path, *dot = strrchr(path_base(path), '.');
    int stem = dot && dot != path_base(path) ? (int)(dot - path) : (int)strlen(path);
    int n = snprintf(out, PATH_SIZE, "%.*s-%03d.%s", stem, path, number, ending);
    return n > 0 && n < PATH_SIZE;
}

// The first number that no file of ours has.
static int free_number(const struct play *p) {
    static const char *const endings[] = {"state", "png", "actions", "goal"};
    char path[PATH_SIZE];
    for (int number = 1; number <= MAX_NUMBER; number++) {
        bool taken = false;
        for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
            taken |= !file_name(p, number, endings[i], path) || file_exists(path);
        if (!taken) return number;
    }
    return MAX_NUMBER; // the last one is replaced then
}

static bool save_state(struct play *p, int number, char path[PATH_SIZE]) {
    struct error e = {0};
    if (file_name(p, number, "state", path) && rom_file_save(&p->machine, path, false, &e))
        return true;
    say(p, "not saved: ", e.message[0] ? e.message : "the path is too long");
    return false;
}

static void save_picture(struct play *p) {
    char path[PATH_SIZE];
    uint8_t grey[PIXELS];
    struct error e = {0};
    for (int i = 0; i < PIXELS; i++) grey[i] = (uint8_t)(255 - 85 * p->shown[i]);
    const struct image_note notes[] = {{"Software", "workbench"}, {"Title", p->rom.rom.title}};
    if (file_name(p, free_number(p), "png", path) &&
        png_write_grey(path, grey, GB_LCD_WIDTH, GB_LCD_HEIGHT, notes, 2, &e))
        say(p, "saved ", path_base(path));
    else
        say(p, "not saved: ", e.message);
}

// What is shown, decimated as an agent sees it, with the state it belongs to: red-001.goal/.
static bool write_goal(const struct play *p, const char *folder, struct error *e) {
    char state_path[PATH_SIZE], sha256[SHA256_HEX_SIZE];
    struct goal goal = {.n_frames = 1};
    struct goal_template t;
    for (int row = 0; row < GB_OBS_HEIGHT; row++)
        gb_obs_pack_row(p->shown + 2 * row * GB_LCD_WIDTH, goal.packed[0] + row * GB_OBS_WIDTH / 4);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return error_set(e, STATUS_FAILED, "cannot make %s: %s", folder, strerror(errno));
    if (!path_join(state_path, folder, "source.state", e) ||
        !rom_file_save(&p->machine, state_path, false, e) ||
        !sha256_file_hex(state_path, sha256, e))
        return false;
    goal_make(&(struct goal_source){.action_codec_id = gb_action_codec(0)->id,
                                    .rom_path = path_base(p->opts.rom_path),
                                    .rom_sha256 = p->rom.sha256,
                                    .state_path = "source.state",
                                    .state_sha256 = sha256},
              &goal, &t);
    return goal_write(folder, &t, GOAL_REPLACE | GOAL_PICTURE, e);
}

static void save_goal(struct play *p) {
    char folder[PATH_SIZE];
    struct error e = {0};
    if (!file_name(p, free_number(p), "goal", folder))
        say(p, "not saved: ", "the path is too long");
    else if (write_goal(p, folder, &e))
        say(p, "goal ", path_base(folder));
    else
        say(p, "not saved: ", e.message);
}

// ---- recording

static void start_recording(struct play *p) {
    char path[PATH_SIZE];
    struct error e = {0};
    p->number = free_number(p);
    if (!save_state(p, p->number, path)) return;
    memset(&p->actions, 0, sizeof p->actions);
    p->actions.codec = gb_action_codec(0);
    memcpy(p->actions.rom_sha256, p->rom.sha256, sizeof p->rom.sha256);
    if (!sha256_file_hex(path, p->actions.state_sha256, &e)) {
        say(p, "not recording: ", e.message);
        return;
    }
    p->recording = true;
    p->frame_in_step = p->tapped = 0;
    say(p, "recording from ", path_base(path));
}

// Only whole steps are written; one that has begun is left out.
static void stop_recording(struct play *p) {
    char path[PATH_SIZE];
    struct error e = {0};
    p->recording = false;
    if (p->frame_in_step > 0 && p->actions.n > 0) p->actions.n--;
    if (file_name(p, p->number, "actions", path) && actions_write(&p->actions, path, &e))
        say(p, "recorded ", path_base(path));
    else
        say(p, "not recorded: ", e.message);
    actions_deinit(&p->actions);
}

// The codec's action for buttons of which it knows one at a time; NOOP (0) for none.
static int choose_action(const struct play *p) {
    const struct gb_action_codec *codec = p->actions.codec;
    for (int i = 1; i < codec->n_actions; i++)
        if (p->tapped && codec->buttons[i] == p->tapped) return i;
    for (int i = 1; i < codec->n_actions; i++)
        if (codec->buttons[i] & p->held) return i;
    return 0;
}

// Buttons of the coming frame.
static uint8_t recorded_buttons(struct play *p) {
    if (p->frame_in_step == 0) {
        int action = choose_action(p);
        p->tapped = 0;
        p->step_buttons = p->actions.codec->buttons[action];
        actions_add(&p->actions, action);
    }
    uint8_t pressed = p->frame_in_step < GB_RELEASE_AFTER ? p->step_buttons : 0;
    p->frame_in_step = (p->frame_in_step + 1) % GB_FRAMES_PER_STEP;
    return pressed;
}

// ---- frames

static void run_frame(struct play *p) {
    if (!p->recording && p->n_frames % REWIND_EVERY == 0)
        rewind_push(p->rewind, &p->machine, p->shown);
    gb_set_buttons(&p->machine, p->recording ? recorded_buttons(p) : p->held);
    bool was_locked = gb_is_locked(&p->machine);
    gb_run_frame(&p->machine, true);
    if (gb_is_locked(&p->machine) && !was_locked)
        say(p, "the game has locked up: no such opcode", "");
    p->n_frames++;
    const uint8_t *lcd = gb_lcd(&p->machine);
    if (lcd)
        memcpy(p->shown, lcd, PIXELS);
    else if (!(p->machine.ppu.lcdc & 0x80))
        memset(p->shown, 0, PIXELS);
}

static void go_back(struct play *p) {
    if (p->recording)
        say(p, "recording: no way back (R ends it)", "");
    else if (!rewind_pop(p->rewind, &p->machine, p->shown))
        say(p, "no further back", "");
    p->n_frames = 0;
}

static int due_frames(struct play *p) {
    if (p->opts.unpaced) return 1;
    int64_t now = clock_now_ns();
    if (now < p->next_frame_ns) return 0;
    int n = 1 + (int)((now - p->next_frame_ns) / FRAME_NS);
    p->next_frame_ns += (int64_t)n * FRAME_NS;
    return n < MAX_LATE_FRAMES ? n : MAX_LATE_FRAMES;
}

static void advance(struct play *p) {
    int n = due_frames(p);
    if (n == 0) return;
    if (p->rewinding) {
        go_back(p);
        return;
    }
    if (p->paused) {
        for (; p->n_wanted > 0; p->n_wanted--) run_frame(p);
        return;
    }
    if (p->fast) n *= FAST_FRAMES;
    for (int i = 0; i < n; i++) run_frame(p);
}

// ---- keys

static void on_button(struct play *p, uint8_t button, bool down) {
    if (down)
        p->held |= button, p->tapped = button;
    else
        p->held &= (uint8_t)~button;
}

static void on_key_down(struct play *p, const struct play_key *k) {
    char path[PATH_SIZE];
    switch (k->action) {
    case PLAY_PAUSE:
        p->paused = !p->paused;
        break;
    case PLAY_FRAME:
        p->n_wanted += p->paused;
        p->paused = true;
        break;
    case PLAY_SAVE:
        if (save_state(p, free_number(p), path)) say(p, "saved ", path_base(path));
        break;
    case PLAY_GOAL:
        save_goal(p);
        break;
    case PLAY_RECORD:
        if (p->recording)
            stop_recording(p);
        else
            start_recording(p);
        break;
    case PLAY_PICTURE:
        save_picture(p);
        break;
    case PLAY_ZOOM:
        play_screen_set_zoom(p->screen, play_screen_zoom(p->screen) + k->argument);
        break;
    case PLAY_QUIT:
        p->open = false;
        break;
    default:
        break;
    }
}

static void on_key(struct play *p, const SDL_KeyboardEvent *event) {
    bool down = event->type == SDL_KEYDOWN;
    for (const struct play_key *k = play_keys; k->key; k++) {
        if (k->key != event->keysym.sym) continue;
        bool repeats = event->repeat && k->action != PLAY_FRAME && k->action != PLAY_ZOOM;
        if (k->action == PLAY_BUTTON && !event->repeat)
            on_button(p, (uint8_t)k->argument, down);
        else if (k->action == PLAY_FAST)
            p->fast = down;
        else if (k->action == PLAY_REWIND)
            p->rewinding = down;
        else if (down && !repeats)
            on_key_down(p, k);
        return;
    }
}

static void poll_events(struct play *p) {
    SDL_Event event;
    while (SDL_PollEvent(&event)) {
        switch (event.type) {
        case SDL_QUIT:
            p->open = false;
            break;
        case SDL_KEYDOWN:
        case SDL_KEYUP:
            on_key(p, &event.key);
            break;
        case SDL_WINDOWEVENT:
            if (event.window.event == SDL_WINDOWEVENT_FOCUS_LOST)
                p->held = p->fast = p->rewinding = 0; // their key-up goes to another window
            break;
        default:
            break;
        }
    }
}

// ---- life

struct play *play_open(const struct play_opts *opts, struct error *e) {
    struct play *p = mem_alloc(sizeof *p);
    p->opts = *opts;
    gb_set_lcd(&p->machine, p->lcd);
    if (!rom_file_open(&p->rom, opts->rom_path, e) ||
        !rom_file_start(&p->rom, &p->machine, opts->state_path, e))
        goto fail;
    rom_file_warn(&p->rom, opts->rom_path);
    p->screen = play_screen_open(opts->zoom, e);
    if (!p->screen) goto fail;
    p->rewind = rewind_new(&p->rom.rom);
    p->open = true;
    p->next_frame_ns = clock_now_ns();
    return p;
fail:
    play_close(p);
    return NULL;
}

static const char *mode_of(const struct play *p) {
    return p->rewinding   ? "back"
           : p->paused    ? "paused"
           : p->recording ? "recording"
           : p->fast      ? "fast"
                          : "";
}

bool play_turn(struct play *p) {
    poll_events(p);
    if (!p->open) return false;
    advance(p);
    char title[MESSAGE_SIZE + 64];
    snprintf(title, sizeof title, "%s%s%s%s%s", p->rom.rom.title, *mode_of(p) ? ": " : "",
             mode_of(p), p->message[0] ? " - " : "", p->message);
    if (!play_screen_show(p->screen, p->shown, title)) return false;
    int64_t wait = p->next_frame_ns - clock_now_ns();
    if (!p->opts.unpaced && wait > 0)
        clock_sleep_ns(wait < PAUSED_SLEEP_NS ? wait : PAUSED_SLEEP_NS);
    return true;
}

void play_close(struct play *p) {
    if (!p) return;
    if (p->recording) stop_recording(p);
    play_screen_close(p->screen);
    rewind_free(p->rewind);
    rom_file_close(&p->rom);
    free(p);
}
