// Recorded actions: reads and writes the text file.
#include "ui/cli_actions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

enum { MAX_BYTES = 64 << 20, N_HEAD = 4 };

static const char first_line[] = "workbench-actions 1";

void actions_add(struct actions *a, int action) {
    if (a->n == a->capacity) {
        a->capacity = a->capacity ? a->capacity * 2 : 256;
        a->list = mem_resize(a->list, a->capacity);
    }
    a->list[a->n++] = (uint8_t)action;
}

void actions_deinit(struct actions *a) {
    free(a->list);
    memset(a, 0, sizeof *a);
}

bool actions_write(const struct actions *a, const char *path, struct error *e) {
    struct text t = {0};
    text_add(&t, "%s\nrom %s\nstate %s\ncodec %s\n", first_line, a->rom_sha256, a->state_sha256,
             a->codec->id);
    for (size_t i = 0; i < a->n; i++) text_add(&t, "%s\n", a->codec->names[a->list[i]]);
    bool fine = file_write_atomic(path, t.data, t.n, e);
    text_deinit(&t);
    return fine;
}

static int find_action(const struct gb_action_codec *codec, const char *name) {
    for (int i = 0; i < codec->n_actions; i++)
        if (strcmp(codec->names[i], name) == 0) return i;
    return -1;
}

static bool read_sha256(char out[SHA256_HEX_SIZE], const char *word, bool may_be_none) {
    size_t n = strlen(word);
    if (!(may_be_none && strcmp(word, "-") == 0) &&
        (n != SHA256_HEX_SIZE - 1 || strspn(word, "0123456789abcdef") != n))
        return false;
    memcpy(out, word, n + 1);
    return true;
}

// Line `number` (1 is the first) without its end.
static bool read_line(struct actions *a, const char *path, int number, const char *line,
                      struct error *e) {
    bool fine = true;
    if (number == 1) {
        fine = strcmp(line, first_line) == 0;
        if (!fine)
            return error_set(e, STATUS_FAILED, "%s: no recorded actions (line 1 must be \"%s\")",
                             path, first_line);
    } else if (number == 2) {
        fine = strncmp(line, "rom ", 4) == 0 && read_sha256(a->rom_sha256, line + 4, false);
    } else if (number == 3) {
        fine = strncmp(line, "state ", 6) == 0 && read_sha256(a->state_sha256, line + 6, true);
    } else if (number == N_HEAD) {
        a->codec = strncmp(line, "codec ", 6) == 0 ? gb_action_codec_find(line + 6) : NULL;
        fine = a->codec != NULL;
    } else {
        int action = find_action(a->codec, line);
        fine = action >= 0;
        if (fine) actions_add(a, action);
    }
    return fine ||
           error_set(e, STATUS_FAILED, "%s:%d: \"%.40s\" is not understood", path, number, line);
}

bool actions_read(struct actions *a, const char *path, struct error *e) {
    uint8_t *bytes;
    size_t n;
    memset(a, 0, sizeof *a);
    if (!file_read(path, MAX_BYTES, &bytes, &n, e)) return false;
    int number = 0;
    bool fine = true;
    for (char *line = (char *)bytes, *next; fine && line < (char *)bytes + n; line = next) {
        size_t length = strcspn(line, "\n");
        next = line + length + 1;
        line[length] = 0;
        fine = read_line(a, path, ++number, line, e);
    }
    free(bytes);
    if (fine && number < N_HEAD)
        fine =
            error_set(e, STATUS_FAILED, "%s: recorded actions are cut after line %d", path, number);
    if (!fine) actions_deinit(a);
    return fine;
}

bool actions_fit(const struct actions *a, const char *path, const char *rom_sha256,
                 const char *rom_path, const char *state_path, struct error *e) {
    if (strcmp(a->rom_sha256, rom_sha256) != 0)
        return error_set(e, STATUS_FAILED,
                         "%s: recorded with another ROM (sha256 %.12s..., %s has %.12s...)", path,
                         a->rom_sha256, path_base(rom_path), rom_sha256);
    char state_sha256[SHA256_HEX_SIZE] = "-";
    if (state_path && !sha256_file_hex(state_path, state_sha256, e)) return false;
    if (strcmp(a->state_sha256, state_sha256) != 0)
        return error_set(e, STATUS_FAILED,
                         "%s: recorded from another start (state %.12s, given is %.12s)", path,
                         a->state_sha256, state_sha256);
    return a->n > 0 || error_set(e, STATUS_FAILED, "%s: holds no actions", path);
}
