// workbench state: what a saved Game Boy state is, from other emulators to ours, and back.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "emu/gb_import.h"
#include "ui/cli.h"
#include "ui/cli_rom.h"

struct state_words { // what every subcommand was given
    const struct cli *cli;
    const char *path;
    struct rom_file rom; // when --rom was given
};

static void print_json(const struct state_words *w, const struct gb_import_info *info, size_t n) {
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "file", w->path);
    json_add_string(o, "format", info->format_name);
    json_add_count(o, "version", info->version);
    json_add_count(o, "bytes", (int64_t)n);
    json_add_bool(o, "exact", info->is_exact);
    json_add_bool(o, "bess", info->has_bess || info->format == GB_FORMAT_BESS);
    json_add_string(o, "emulator", info->emulator);
    json_add_string(o, "title", info->title);
    if (info->global_checksum >= 0) json_add_count(o, "global_checksum", info->global_checksum);
    if (info->rom_hash) json_add_u64(o, "rom_hash", info->rom_hash);
    if (info->cart_ram_bytes >= 0) json_add_count(o, "cart_ram_bytes", info->cart_ram_bytes);
    if (w->cli->rom) {
        cJSON *rom = json_add_object(o, "rom");
        json_add_string(rom, "file", w->cli->rom);
        json_add_string(rom, "title", w->rom.rom.title);
        json_add_string(rom, "sha256", w->rom.sha256);
        json_add_bool(rom, "fits", true);
    }
    json_print_and_free(stdout, o);
}

static void print_text(const struct state_words *w, const struct gb_import_info *info, size_t n) {
    printf("%s: %s state, version %d, %zu bytes%s%s\n", path_base(w->path), info->format_name,
           info->version, n, info->has_bess ? ", with BESS blocks" : "",
           info->is_exact ? "; exact" : "; restored to the frame, not to the cycle");
    if (info->emulator[0]) printf("written by     %s\n", info->emulator);
    if (info->title[0]) printf("title          %s\n", info->title);
    if (info->global_checksum >= 0)
        printf("ROM checksum   %04X\n", (unsigned)info->global_checksum);
    if (info->rom_hash) printf("ROM hash       %016" PRIx64 "\n", info->rom_hash);
    if (info->format == GB_FORMAT_PYBOY) printf("ROM            the format does not say\n");
    if (info->cart_ram_bytes >= 0) printf("cartridge RAM  %d bytes\n", (int)info->cart_ram_bytes);
    if (w->cli->rom) printf("fits           %s (%s)\n", path_base(w->cli->rom), w->rom.rom.title);
}

static bool info_command(struct state_words *w, struct error *e) {
    struct gb_import_info info;
    char why[GB_MESSAGE_SIZE];
    uint8_t *bytes;
    size_t n;
    static struct gb machine;
    if (!file_read(w->path, STATE_FILE_MAX, &bytes, &n, e)) return false;
    bool fine = gb_import_info(bytes, n, &info, why, sizeof why);
    free(bytes);
    if (!fine) return error_set(e, STATUS_FAILED, "%s: %s", w->path, why);
    if (w->cli->rom && !rom_file_start(&w->rom, &machine, w->path, e)) return false;
    if (w->cli->json)
        print_json(w, &info, n);
    else
        print_text(w, &info, n);
    return true;
}

static bool convert(struct state_words *w, bool with_bess, struct error *e) {
    static struct gb machine;
    if (!rom_file_start(&w->rom, &machine, w->path, e)) return false;
    if (!rom_file_save(&machine, w->cli->out, with_bess, e)) return false;
    printf("%s\n", w->cli->out);
    return true;
}

static bool import_command(struct state_words *w, struct error *e) { return convert(w, false, e); }

static bool export_command(struct state_words *w, struct error *e) { return convert(w, true, e); }

static const struct subcommand {
    const char *name;
    bool needs_files; // --rom and --out
    bool (*run)(struct state_words *w, struct error *e);
} subcommands[] = {{"info", false, info_command},
                   {"import", true, import_command},
                   {"export", true, export_command}};

int cmd_state(const struct cli *cli) {
    struct error e = {0};
    struct state_words w = {.cli = cli, .path = cli->n_words == 2 ? cli->words[1] : NULL};
    const struct subcommand *found = NULL;
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++)
        if (cli->n_words > 0 && strcmp(cli->words[0], subcommands[i].name) == 0)
            found = &subcommands[i];
    if (!found || !w.path) {
        error_set(&e, STATUS_USAGE, "state%s%s: write workbench state info|import|export FILE",
                  cli->n_words ? " " : "", cli->n_words ? cli->words[0] : "");
        return cli_fail(&e);
    }
    if (found->needs_files && (!cli->rom || !cli->out)) {
        error_set(&e, STATUS_USAGE, "state %s: needs --rom FILE and --out FILE", found->name);
        return cli_fail(&e);
    }
    if (cli->rom && !rom_file_open(&w.rom, cli->rom, &e)) return cli_fail(&e);
    bool fine = found->run(&w, &e);
    rom_file_close(&w.rom);
    return fine ? 0 : cli_fail(&e);
}
