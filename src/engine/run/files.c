// Where the program finds its own files: the source tree, or share/workbench after `make install`.
#define _GNU_SOURCE
#include "engine/run/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

bool files_find_golden(char *out, size_t size) {
    // Relative to the program: build/workbench or build/<variant>/workbench in the source tree, bin/workbench installed.
    static const char *const places[] = {"../tests/golden/dreamer_v3", "../../tests/golden/dreamer_v3",
                                         "../share/workbench/golden"};
    char folder[1024], manifest[1200];
    if (program_folder(folder, sizeof folder))
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            snprintf(out, size, "%s/%s", folder, places[i]);
            snprintf(manifest, sizeof manifest, "%.900s/%s/manifest.json", folder, places[i]);
            if (access(manifest, R_OK) == 0) return true;
        }
    snprintf(out, size, "tests/golden/dreamer_v3");
    return access("tests/golden/dreamer_v3/manifest.json", R_OK) == 0;
}

bool files_program_exists(const char *name) {
    const char *path = getenv("PATH");
    for (const char *at = path ? path : ""; *at;) {
        size_t n = strcspn(at, ":");
        char candidate[1200];
        snprintf(candidate, sizeof candidate, "%.*s/%s", (int)(n < 1000 ? n : 1000), at, name);
        if (n > 0 && access(candidate, X_OK) == 0) return true;
        at += n + (at[n] == ':');
    }
    return false;
}
