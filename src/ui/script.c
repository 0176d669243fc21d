// Script: parsing.
#include "ui/script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ui/keys.h"

static const struct {
    const char *word;
    enum script_verb verb;
} verbs[] = {
    {"type", SCRIPT_TYPE},           {"wait", SCRIPT_WAIT},
    {"wait-step", SCRIPT_WAIT_STEP}, {"wait-pictures", SCRIPT_WAIT_PICTURES},
    {"wait-end", SCRIPT_WAIT_END},   {"save", SCRIPT_SAVE},
    {"size", SCRIPT_SIZE},
};

static bool number(const char *text, long long *out) {
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && !*end && errno == 0 && *out >= 0;
}

static bool parse_line(char *text, struct script_line *line) {
    if (text[0] == ':' && text[1]) {
        line->verb = SCRIPT_COMMAND;
        line->text = mem_strdup(text + 1);
        return true;
    }
    size_t n = strcspn(text, " \t");
    char *rest = text + n + strspn(text + n, " \t");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strlen(verbs[i].word) != n || strncmp(text, verbs[i].word, n)) continue;
        line->verb = verbs[i].verb;
        char extra;
        switch (line->verb) {
        case SCRIPT_WAIT:
        case SCRIPT_WAIT_STEP:
            return number(rest, &line->a);
        case SCRIPT_SIZE:
            return sscanf(rest, "%lldx%lld%c", &line->a, &line->b, &extra) == 2 && line->a > 0 &&
                   line->b > 0 && line->a <= 1000 && line->b <= 1000;
        case SCRIPT_WAIT_PICTURES:
        case SCRIPT_WAIT_END:
            return !*rest;
        case SCRIPT_SAVE:
        case SCRIPT_TYPE:
            line->text = mem_strdup(rest);
            return *rest != 0;
        case SCRIPT_KEY:
        case SCRIPT_COMMAND:
            break;
        }
        return false;
    }
    line->verb = SCRIPT_KEY;
    line->a = keys_code(text);
    return line->a != 0;
}

bool script_load(const char *path, struct script *out, struct error *e) {
    *out = (struct script){0};
    FILE *f = fopen(path, "r");
    if (!f)
        return error_set(e, STATUS_USAGE, "cannot read the script %s: %s", path, strerror(errno));
    char text[512];
    bool ok = true;
    for (int n = 1; ok && fgets(text, sizeof text, f); n++) {
        text[strcspn(text, "\r\n")] = 0;
        char *start = text + strspn(text, " \t");
        if (!*start || *start == '#') continue;
        for (char *end = start + strlen(start); end > start && (end[-1] == ' ' || end[-1] == '\t');)
            *--end = 0;
        out->lines = mem_resize(out->lines, (size_t)(out->n + 1) * sizeof *out->lines);
        struct script_line *line = &out->lines[out->n++];
        *line = (struct script_line){.number = n};
        if (!parse_line(start, line))
            ok = error_set(e, STATUS_USAGE,
                           "script %s line %d: \"%s\" is neither a key nor a script command", path,
                           n, start);
    }
    fclose(f);
    if (!ok) script_free(out);
    return ok;
}

void script_free(struct script *s) {
    for (int i = 0; i < s->n; i++) free(s->lines[i].text);
    free(s->lines);
    *s = (struct script){0};
}
