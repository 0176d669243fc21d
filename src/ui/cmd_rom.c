// workbench rom: what a cartridge is, a run of it without a screen, and playing it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/data/image.h"
#include "ui/cli.h"
#include "ui/cli_actions.h"
#include "ui/cli_rom.h"
#ifndef WORKBENCH_HEADLESS
#include "ui/play.h"
#endif

enum { DEFAULT_STEPS = 60, MAX_LINES = 100 };

// ---- info

static const char *colour_text(const struct rom_file *r) {
    uint8_t flag = r->bytes[0x143];
    if (flag == 0xc0) return "made for the Game Boy Color only; this emulator is a DMG";
    return flag == 0x80 ? "also for the Game Boy Color; runs as on a DMG" : "Game Boy";
}

// JSON for a script even when the cartridge cannot be played.
static int refuse_as_json(const char *path, const struct error *e) {
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "file", path);
    json_add_bool(o, "supported", false);
    json_add_string(o, "why", e->message);
    json_print_and_free(stdout, o);
    return (int)e->status;
}

static void print_info_json(const char *path, const struct rom_file *r) {
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "file", path);
    json_add_bool(o, "supported", true);
    json_add_string(o, "title", r->rom.title);
    json_add_count(o, "type", r->rom.type);
    json_add_string(o, "type_name", gb_rom_type_name(r->rom.type));
    json_add_bool(o, "multicart", r->rom.multicart);
    json_add_bool(o, "clock", r->rom.has_rtc);
    json_add_count(o, "file_bytes", (int64_t)r->n_bytes);
    json_add_count(o, "rom_bytes", r->rom.n_bytes);
    json_add_count(o, "ram_bytes", r->rom.ram_bytes);
    json_add_count(o, "header_checksum", r->bytes[0x14d]);
    json_add_bool(o, "header_checksum_ok", r->rom.header_checksum_ok);
    json_add_count(o, "global_checksum", r->rom.global_checksum);
    json_add_bool(o, "global_checksum_ok", r->rom.global_checksum_ok);
    json_add_string(o, "sha256", r->sha256);
    json_add_u64(o, "hash", r->rom.hash);
    json_add_string(o, "made_for", colour_text(r));
    json_print_and_free(stdout, o);
}

static void print_info_text(const char *path, const struct rom_file *r) {
    printf("%s\n", path);
    printf("title      %s\n", r->rom.title[0] ? r->rom.title : "(none)");
    printf("type       %s (%02X)%s\n", gb_rom_type_name(r->rom.type), r->rom.type,
           r->rom.multicart ? ", multicart" : "");
    printf("ROM        %u bytes, %u banks%s\n", r->rom.n_bytes, r->rom.n_banks,
           r->n_bytes > (size_t)32768 << r->bytes[0x148] ? " (more than the header says)" : "");
    printf("RAM        %u bytes\n", r->rom.ram_bytes);
    printf("checksums  header %02X %s, global %04X %s\n", r->bytes[0x14d],
           r->rom.header_checksum_ok ? "ok"
                                     : "wrong (a real machine would not start it; it runs here)",
           r->rom.global_checksum,
           r->rom.global_checksum_ok ? "ok" : "wrong (hardware ignores it: it runs)");
    printf("sha256     %s\n", r->sha256);
    printf("made for   %s\n", colour_text(r));
    printf("supported  yes\n");
}

static int info_command(const struct cli *cli, const char *path) {
    struct rom_file r;
    struct error e = {0};
    if (!rom_file_open(&r, path, &e)) return cli->json ? refuse_as_json(path, &e) : cli_fail(&e);
    if (cli->json)
        print_info_json(path, &r);
    else
        print_info_text(path, &r);
    rom_file_close(&r);
    return 0;
}

// ---- run

struct run {
    struct rom_file rom;
    struct gb machine;
    struct actions actions; // n 0: no buttons
    uint8_t lcd[2 * GB_LCD_WIDTH * GB_LCD_HEIGHT];
    int64_t steps;
};

// First 16 digits of the SHA-256 of the exact state, and of the picture.
static void hash_state(const struct gb *m, char out[17]) {
    char hex[SHA256_HEX_SIZE];
    uint8_t *bytes = mem_alloc(gb_state_size(m->rom));
    sha256_hex(bytes, gb_state_save(m, bytes), hex);
    free(bytes);
    memcpy(out, hex, 16);
    out[16] = 0;
}

static void hash_picture(const struct gb *m, char out[17]) {
    static const uint8_t blank[GB_LCD_WIDTH * GB_LCD_HEIGHT];
    char hex[SHA256_HEX_SIZE];
    const uint8_t *lcd = gb_lcd(m);
    sha256_hex(lcd ? lcd : blank, sizeof blank, hex);
    memcpy(out, hex, 16);
    out[16] = 0;
}

static bool write_picture(const struct gb *m, const char *path, struct error *e) {
    uint8_t grey[GB_LCD_WIDTH * GB_LCD_HEIGHT];
    const uint8_t *lcd = gb_lcd(m);
    for (size_t i = 0; i < sizeof grey; i++) grey[i] = lcd ? (uint8_t)(255 - 85 * lcd[i]) : 255;
    const struct image_note notes[] = {{"Software", "workbench"}, {"Title", m->rom->title}};
    return png_write_grey(path, grey, GB_LCD_WIDTH, GB_LCD_HEIGHT, notes, 2, e);
}

static void one_step(struct run *r, int64_t step) {
    uint8_t obs[GB_OBS_BYTES], pressed = 0;
    if (r->actions.n) pressed = r->actions.codec->buttons[r->actions.list[step]];
    gb_step(&r->machine, pressed, GB_FRAMES_PER_STEP, GB_RELEASE_AFTER, obs);
}

static void run_steps(struct run *r, const struct cli *cli, cJSON *lines) {
    int64_t every = (r->steps + MAX_LINES - 1) / MAX_LINES;
    bool locked = false;
    for (int64_t step = 0; step < r->steps; step++) {
        one_step(r, step);
        bool locks = gb_is_locked(&r->machine) && !locked;
        locked |= locks;
        if (!locks && (step + 1) % every != 0 && step + 1 != r->steps) continue;
        char state[17], picture[17];
        hash_state(&r->machine, state);
        hash_picture(&r->machine, picture);
        if (cli->json) {
            cJSON *line = cJSON_CreateObject();
            json_add_count(line, "step", step + 1);
            json_add_string(line, "state", state);
            json_add_string(line, "picture", picture);
            json_add_bool(line, "locked", locked);
            cJSON_AddItemToArray(lines, line);
        } else {
            printf("step %-6" PRId64 " frame %-8" PRId64 " state %s picture %s%s\n", step + 1,
                   (step + 1) * GB_FRAMES_PER_STEP, state, picture,
                   locks ? "  locked up: an opcode that does not exist" : "");
        }
    }
}

static bool prepare(struct run *r, const struct cli *cli, const char *path, struct error *e) {
    if (!rom_file_open(&r->rom, path, e) || !rom_file_start(&r->rom, &r->machine, cli->state, e))
        return false;
    rom_file_warn(&r->rom, path);
    gb_set_lcd(&r->machine, r->lcd);
    r->steps = cli->steps ? cli->steps : DEFAULT_STEPS;
    if (!cli->actions) return true;
    if (!actions_read(&r->actions, cli->actions, e) ||
        !actions_fit(&r->actions, cli->actions, r->rom.sha256, path, cli->state, e))
        return false;
    if (!cli->steps || r->steps > (int64_t)r->actions.n) r->steps = (int64_t)r->actions.n;
    return true;
}

static int run_command(const struct cli *cli, const char *path) {
    static struct run r;
    struct error e = {0};
    bool fine = prepare(&r, cli, path, &e);
    if (fine) {
        cJSON *o = cJSON_CreateObject(), *lines = cJSON_AddArrayToObject(o, "steps");
        run_steps(&r, cli, lines);
        fine = !cli->out || write_picture(&r.machine, cli->out, &e);
        if (fine && cli->json)
            json_print_and_free(stdout, o);
        else
            cJSON_Delete(o);
    }
    actions_deinit(&r.actions);
    rom_file_close(&r.rom);
    return fine ? 0 : cli_fail(&e);
}

// ---- play

static int play_command(const struct cli *cli, const char *path) {
    struct error e = {0};
#ifdef WORKBENCH_HEADLESS
    (void)path;
    (void)cli;
    error_set(&e, STATUS_FAILED, "rom play: this build has no window (HEADLESS=1); rom run works");
    return cli_fail(&e);
#else
    struct play *play =
        play_open(&(struct play_opts){.rom_path = path, .state_path = cli->state}, &e);
    if (!play) return cli_fail(&e);
    play_print_keys();
    while (play_turn(play)) {
    }
    play_close(play);
    return 0;
#endif
}

int cmd_rom(const struct cli *cli) {
    static const struct {
        const char *name;
        int (*run)(const struct cli *cli, const char *path);
    } subcommands[] = {{"info", info_command}, {"run", run_command}, {"play", play_command}};
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++)
        if (cli->n_words == 2 && strcmp(cli->words[0], subcommands[i].name) == 0)
            return subcommands[i].run(cli, cli->words[1]);
    struct error e = {0};
    error_set(&e, STATUS_USAGE, "rom%s%s: write workbench rom info|run|play FILE",
              cli->n_words ? " " : "", cli->n_words ? cli->words[0] : "");
    return cli_fail(&e);
}
