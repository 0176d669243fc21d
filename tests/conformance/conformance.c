// conformance.c - runs the public test ROMs found under a folder and prints what they say.
//
// A ROM is known by its path (suites.c). ROMs with equal bytes count once in a suite. Exit code 0
// when every ROM of the suites that must pass did, 1 otherwise, 2 for wrong usage, 3 when no ROM
// was found.
#define _GNU_SOURCE
#include <dirent.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "suites.h"

enum { MAX_ROM = 8 << 20, MAX_ROMS = 8192, MAX_PATH_BYTES = 4096, MAX_DEPTH = 16 };

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_TSV };

struct row {
    char *path;       // as found
    const char *name; // the part below the folder given
    const struct suite *suite;
    enum verdict verdict;
    char detail[96];
    char sha256[SHA256_DIGEST_STRING_LENGTH];
};

static struct row rows[MAX_ROMS];
static int n_rows;
static const char *const verdict_names[] = {"pass", "FAIL", "silent", "skipped"};

static bool is_rom_name(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".gb") == 0 || strcmp(dot, ".gbc") == 0);
}

static int compare_names(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void find_roms(const char *folder, size_t root_length, int depth) {
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, compare_names);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char *path = NULL;
        struct stat info;
        bool dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, ".git") == 0;
        if (!dots && asprintf(&path, "%s/%s", folder, name) > 0 && stat(path, &info) == 0) {
            if (S_ISDIR(info.st_mode) && depth < MAX_DEPTH) find_roms(path, root_length, depth + 1);
            const struct suite *suite = is_rom_name(name) ? suite_of(path) : NULL;
            if (S_ISREG(info.st_mode) && suite && n_rows < MAX_ROMS) {
                rows[n_rows++] =
                    (struct row){.path = path, .name = path + root_length, .suite = suite};
                path = NULL;
            }
        }
        free(path);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

static size_t read_rom(const char *path, uint8_t *bytes) {
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(bytes, 1, MAX_ROM, file) : 0;
    if (file) fclose(file);
    return n;
}

static void run_rom(struct row *row, struct gb *m, uint8_t *bytes) {
    static uint8_t lcd[2 * GB_LCD_WIDTH * GB_LCD_HEIGHT];
    struct gb_rom rom;
    size_t n = read_rom(row->path, bytes);
    SHA256Data(bytes, n, row->sha256);
    char why[GB_MESSAGE_SIZE];
    if (!gb_rom_parse(&rom, bytes, n, why, sizeof why)) {
        row->verdict = VERDICT_FAIL;
        snprintf(row->detail, sizeof row->detail, "%.90s", why);
        return;
    }
    m->lcd = NULL;
    gb_reset(m, &rom);
    memset(lcd, 0, sizeof lcd);
    gb_set_lcd(m, lcd);
    struct trial trial = {.m = m, .path = row->path, .lcd = lcd};
    row->verdict = row->suite->judge(&trial);
    memcpy(row->detail, trial.detail, sizeof row->detail);
}

// Two folders often hold the same ROM. The gambatte suite itself has two pairs of equal ones, and
// its authors count each.
static bool was_seen(int i) {
    if (strcmp(rows[i].suite->name, "gambatte hex") == 0) return false;
    for (int k = 0; k < i; k++)
        if (rows[k].suite == rows[i].suite && strcmp(rows[k].sha256, rows[i].sha256) == 0 &&
            rows[k].verdict == rows[i].verdict)
            return true;
    return false;
}

struct count {
    int n[4];
};

static void print_string(const char *text) {
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_row(const struct row *row, enum format format) {
    const char *verdict = verdict_names[row->verdict];
    if (format == FORMAT_TABLE) {
        printf("%-7s %-22s %-60s %s\n", verdict, row->suite->name, row->name, row->detail);
    } else if (format == FORMAT_TSV) {
        printf("%s\t%s\t%s\t%s\n", row->suite->name, row->name, verdict, row->sha256);
    } else {
        printf("{\"suite\": ");
        print_string(row->suite->name);
        printf(", \"rom\": ");
        print_string(row->name);
        printf(", \"verdict\": ");
        print_string(verdict);
        printf(", \"detail\": ");
        print_string(row->detail);
        printf(", \"sha256\": \"%s\"}", row->sha256);
    }
}

static bool print_counts(const struct count *counts, enum format format) {
    bool all = true, first = true;
    for (int i = 0; i < suite_count(); i++) {
        const struct suite *suite = suite_at(i);
        const int *n = counts[i].n;
        int total = n[VERDICT_PASS] + n[VERDICT_FAIL];
        if (total + n[VERDICT_SILENT] == 0) continue;
        bool must = strcmp(suite->bar, "must") == 0;
        if (must && n[VERDICT_PASS] < total + n[VERDICT_SILENT]) all = false;
        if (format == FORMAT_TABLE)
            printf("%-24s %4d of %4d pass, %d silent (%s)\n", suite->name, n[VERDICT_PASS], total,
                   n[VERDICT_SILENT], suite->bar);
        if (format == FORMAT_JSON)
            printf("%s\n  {\"suite\": \"%s\", \"bar\": \"%s\", \"pass\": %d, \"fail\": %d, "
                   "\"silent\": %d}",
                   first ? "" : ",", suite->name, suite->bar, n[VERDICT_PASS], n[VERDICT_FAIL],
                   n[VERDICT_SILENT]);
        first = false;
    }
    return all;
}

static int usage(void) {
    fprintf(stderr,
            "usage: conformance [--json|--tsv] [--failures] DIR...\n"
            "runs the public test ROMs found under DIR; suites are known by folder names\n");
    return 2;
}

int main(int argc, char **argv) {
    enum format format = FORMAT_TABLE;
    bool failures = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            format = FORMAT_JSON;
        else if (strcmp(argv[i], "--tsv") == 0)
            format = FORMAT_TSV;
        else if (strcmp(argv[i], "--failures") == 0)
            failures = true;
        else if (argv[i][0] == '-')
            return usage();
        else
            find_roms(argv[i], strlen(argv[i]) + 1, 0);
    }
    if (argc < 2) return usage();
    struct gb *m = calloc(1, sizeof *m);
    uint8_t *bytes = malloc(MAX_ROM);
    if (!m || !bytes) return 1;
    struct count *counts = calloc((size_t)suite_count(), sizeof *counts);
    if (!counts) return 1;
    bool first = true;
    if (format == FORMAT_JSON) printf("{\"roms\": [");
    for (int i = 0; i < n_rows; i++) {
        run_rom(&rows[i], m, bytes);
        if (was_seen(i)) continue;
        counts[rows[i].suite - suite_at(0)].n[rows[i].verdict]++;
        if (rows[i].verdict == VERDICT_SKIPPED) continue;
        if (failures && rows[i].verdict != VERDICT_FAIL) continue;
        if (format == FORMAT_JSON) fputs(first ? "\n  " : ",\n  ", stdout);
        print_row(&rows[i], format);
        first = false;
    }
    if (format == FORMAT_JSON) printf("\n], \"suites\": [");
    if (format == FORMAT_TABLE) printf("\n");
    bool all = print_counts(counts, format);
    if (format == FORMAT_JSON) printf("\n]}\n");
    for (int i = 0; i < n_rows; i++) free(rows[i].path);
    free(m);
    free(bytes);
    free(counts);
    if (n_rows == 0)
        fprintf(stderr, "conformance: no test ROM known by its path under the given folders\n");
    return n_rows == 0 ? 3 : !all;
}
