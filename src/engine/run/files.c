// Where the program finds its own files: the source tree, or share/workbench after `make install`.
#define _GNU_SOURCE
#include "engine/run/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

// Folder of the running program, without the last slash.
static bool program_folder(char *out, size_t size) {
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0) return false;
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (!slash) return false;
    *slash = 0;
    return true;
}

// True when folder/manifest.json can be read; a path that does not fit is not one.
static bool holds_fixtures(const char *folder) {
    char manifest[PATH_SIZE];
    return path_join(manifest, folder, "manifest.json", NULL) && access(manifest, R_OK) == 0;
}

bool files_find_golden(char *out, size_t size) {
    // Relative to the program: build/workbench or build/<variant>/workbench in the source tree,
    // bin/workbench installed.
    static const char *const places[] = {
        "../tests/golden/dreamer_v3", "../../tests/golden/dreamer_v3", "../share/workbench/golden"};
    char folder[PATH_SIZE];
    if (program_folder(folder, sizeof folder))
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            int n = snprintf(out, size, "%s/%s", folder, places[i]);
            if (n > 0 && (size_t)n < size && holds_fixtures(out)) return true;
        }
    snprintf(out, size, "tests/golden/dreamer_v3");
    return holds_fixtures(out);
}

bool files_program_exists(const char *name) {
    const char *path = getenv("PATH");
    for (const char *at = path ? path : ""; *at;) {
        size_t n = strcspn(at, ":");
        char candidate[PATH_SIZE];
        struct stat status;
        int length = snprintf(candidate, sizeof candidate, "%.*s/%s", (int)n, at, name);
        // A folder may be "executable" too, and an empty part of PATH would mean wherever we were
        // started.
        if (n > 0 && length > 0 && (size_t)length < sizeof candidate &&
            access(candidate, X_OK) == 0 && stat(candidate, &status) == 0 &&
            S_ISREG(status.st_mode))
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}
