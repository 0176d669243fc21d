// The gate in the calling process, for its tests: its verdict and its lines.
#ifndef TESTS_SUPPORT_GATE_H
#define TESTS_SUPPORT_GATE_H

#include "engine/run/gate/gate.h"
#include "support/test.h"

struct outcome {
    enum status status;
    char text[16384];
};

static inline __attribute__((unused)) struct outcome run_gate(const struct gate_opts *opts) {
    struct outcome o = {0};
    struct error e = {0};
    FILE *out = tmpfile();
    assert_non_null(out);
    o.status = gate_run(opts, out, &e);
    rewind(out);
    size_t n = fread(o.text, 1, sizeof o.text - 1, out);
    o.text[n] = 0;
    fclose(out);
    return o;
}

// The line of the check `name`; must begin with `verdict`.
static inline __attribute__((unused)) void assert_check(const struct outcome *o,
                                                        const char *verdict, const char *name) {
    const char *line = o->text;
    for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line + 6, name, strlen(name)) != 0) continue;
        if (strncmp(line, verdict, strlen(verdict)) != 0)
            fail_msg("%s is not %s:\n%s", name, verdict, o->text);
        return;
    }
    fail_msg("no line for %s:\n%s", name, o->text);
}

#endif
