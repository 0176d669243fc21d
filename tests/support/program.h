// The program itself in tests: runs its command line in a shell ($T: the folder of the test) and
// looks at what it says.
#ifndef TESTS_SUPPORT_PROGRAM_H
#define TESTS_SUPPORT_PROGRAM_H

#include <cjson/cJSON.h>
#include <sys/wait.h>

#include "support/files.h"

enum { OUTPUT_SIZE = 1 << 16 };

static char folder[4096], out[OUTPUT_SIZE];

// Before the first one: a fresh folder, no display.
static inline void program_setup(void) {
    snprintf(folder, sizeof folder, "%s", test_folder());
    setenv("T", folder, 1);
    unsetenv("DISPLAY");
}

// Output of both streams in `out`.
static inline int workbench(const char *arguments) {
    char command[8192];
    const char *build = getenv("WORKBENCH_BUILD");
    snprintf(command, sizeof command, "{ \"%s/workbench\" %s; } 2>&1 </dev/null",
             build ? build : "build", arguments);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, OUTPUT_SIZE - 1, p);
    out[n] = 0;
    int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void fine(const char *arguments) {
    if (workbench(arguments) != 0) fail_msg("workbench %s: %s", arguments, out);
}

static inline __attribute__((unused)) void says(const char *part) {
    if (!strstr(out, part)) fail_msg("\"%s\" is missing in: %s", part, out);
}

// One line, that exit code.
static inline void refused(int exit_code, const char *arguments, const char *part) {
    int code = workbench(arguments);
    size_t lines = 0;
    for (const char *c = out; *c; c++) lines += *c == '\n';
    if (code != exit_code || lines != 1 || !strstr(out, part))
        fail_msg("workbench %s: exit %d (%d), %zu lines (1), \"%s\" in: %s", arguments, code,
                 exit_code, lines, part, out);
}

static inline __attribute__((unused)) cJSON *json(const char *arguments) {
    fine(arguments);
    cJSON *o = cJSON_Parse(out);
    if (!o) fail_msg("no JSON: %s", out);
    return o;
}

static inline __attribute__((unused)) const char *text_of(const cJSON *o, const char *key) {
    const cJSON *item = cJSON_GetObjectItem(o, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

#endif
