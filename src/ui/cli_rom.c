// ROM and state files of the command line.
#include "ui/cli_rom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "emu/gb_bess.h"
#include "emu/gb_import.h"

bool rom_file_open(struct rom_file *r, const char *path, struct error *e) {
    char why[GB_MESSAGE_SIZE];
    memset(r, 0, sizeof *r);
    if (!file_read(path, ROM_FILE_MAX, &r->bytes, &r->n_bytes, e)) return false;
    sha256_hex(r->bytes, r->n_bytes, r->sha256);
    if (gb_rom_parse(&r->rom, r->bytes, r->n_bytes, why, sizeof why)) return true;
    rom_file_close(r);
    return error_set(e, STATUS_FAILED, "%s: %s", path, why);
}

void rom_file_warn(const struct rom_file *r, const char *path) {
    if (!r->rom.header_checksum_ok)
        fprintf(stderr,
                "workbench: warning: %s: wrong header checksum %02X; it runs all the same\n",
                path_base(path), r->bytes[0x14d]);
    if (!r->rom.global_checksum_ok)
        fprintf(stderr,
                "workbench: warning: %s: wrong global checksum %04X; it runs all the same\n",
                path_base(path), r->rom.global_checksum);
}

void rom_file_close(struct rom_file *r) {
    free(r->bytes);
    r->bytes = NULL;
}

bool rom_file_start(const struct rom_file *r, struct gb *m, const char *state_path,
                    struct error *e) {
    char why[GB_MESSAGE_SIZE];
    uint8_t *bytes;
    size_t n;
    if (!state_path) {
        uint8_t *lcd = m->lcd;
        gb_reset(m, &r->rom);
        gb_set_lcd(m, lcd);
        return true;
    }
    if (!file_read(state_path, STATE_FILE_MAX, &bytes, &n, e)) return false;
    bool fine = gb_import(m, &r->rom, bytes, n, why, sizeof why);
    free(bytes);
    return fine || error_set(e, STATUS_FAILED, "%s: %s", state_path, why);
}

bool rom_file_save(const struct gb *m, const char *path, bool with_bess, struct error *e) {
    uint8_t *bytes = mem_alloc(gb_bess_size(m->rom));
    size_t n = with_bess ? gb_bess_save(m, bytes, (int64_t)time(NULL)) : gb_state_save(m, bytes);
    bool fine = file_write_atomic(path, bytes, n, e);
    free(bytes);
    return fine;
}
