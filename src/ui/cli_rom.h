// ROM and state files of the command line: read, parsed, told in one line what is wrong.
//
//     struct rom_file rom;
//     if (!rom_file_open(&rom, "red.gb", &e)) return cli_fail(&e);
//     if (!rom_file_start(&rom, machine, "lab.state", &e)) ...      // NULL: as switched on
//     rom_file_close(&rom);
#ifndef UI_CLI_ROM_H
#define UI_CLI_ROM_H

#include "base/error.h"
#include "base/hash.h"
#include "emu/gb.h"

enum { ROM_FILE_MAX = 8 << 20, STATE_FILE_MAX = 4 << 20 };

struct rom_file {
    struct gb_rom rom; // borrows bytes
    uint8_t *bytes;    // owned
    size_t n_bytes;
    char sha256[SHA256_HEX_SIZE];
};

// Messages begin with the file's name.
bool rom_file_open(struct rom_file *r, const char *path, struct error *e);
// One line on stderr for each checksum that is wrong: the ROM runs all the same.
void rom_file_warn(const struct rom_file *r, const char *path);
void rom_file_close(struct rom_file *r); // zeroed or opened
// Makes *m the machine of a state file in any format (emu/gb_import.h), or one just switched on.
bool rom_file_start(const struct rom_file *r, struct gb *m, const char *state_path,
                    struct error *e);
// Our own state of *m, replaced atomically; with_bess: other emulators can read it.
bool rom_file_save(const struct gb *m, const char *path, bool with_bess, struct error *e);

#endif
