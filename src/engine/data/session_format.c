// Session lines and names: pure functions from a record to a line of metrics.jsonl or timing.jsonl.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/data/session.h"

static bool is_present(const struct record *r, int metric) { return r->present >> metric & 1; }

static void add_metrics(const struct record *r, bool timed, struct text *out) {
    for (int m = 0; m < METRIC_COUNT; m++) {
        if (!is_present(r, m) || metric_info[m].timed != timed) continue;
        text_add(out, ",\"%s\":", metric_info[m].name);
        text_add_json_float(out, r->value[m]);
    }
    for (int a = 0; !timed && a < r->n_actions; a++)
        text_add(out, "%s%" PRId64 "%s", a ? "," : ",\"action_hist\":[", r->action_hist[a],
                 a + 1 == r->n_actions ? "]" : "");
    text_add(out, "}\n");
}

void session_format_metrics(const struct record *r, struct text *out) {
    text_add(out, "{\"opt_steps\":%" PRId64 ",\"env_steps\":%" PRId64, r->opt_steps, r->env_steps);
    add_metrics(r, false, out);
}

bool session_format_timing(const struct record *r, struct text *out) {
    bool any = false;
    for (int m = 0; m < METRIC_COUNT; m++) any |= is_present(r, m) && metric_info[m].timed;
    if (!any) return false;
    text_add(out, "{\"opt_steps\":%" PRId64, r->opt_steps);
    add_metrics(r, true, out);
    return true;
}

// Not sscanf: it looks for the end of the whole text first, at every line.
bool session_line_step(const char *line, int64_t *step) {
    static const char head[] = "{\"opt_steps\":";
    char *end;
    if (strncmp(line, head, sizeof head - 1) != 0) return false;
    line += sizeof head - 1;
    *step = strtoll(line, &end, 10);
    return end != line;
}

int64_t session_lines_until(const char *text, size_t n, int64_t opt_steps) {
    size_t at = 0;
    while (at < n) {
        const char *end = memchr(text + at, '\n', n - at);
        int64_t step;
        if (!end || !session_line_step(text + at, &step) || step > opt_steps) break;
        at = (size_t)(end - text) + 1;
    }
    return (int64_t)at;
}

void session_clean_name(const char *in, char *out, size_t size) {
    size_t n = 0;
    for (; *in && n + 1 < size; in++) {
        char c = *in;
        bool fine = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                    c == '-' || (c == '.' && n > 0) || // no leading dot: hidden folders, ".."
                    (c == '_' && n > 0 &&
                     out[n - 1] != '_'); // "__" separates the parts of a session's name
        if (!fine && n > 0 && (out[n - 1] == '-' || c == '_')) continue;
        out[n++] = fine ? c : '-';
    }
    while (n > 1 && out[n - 1] == '_') n--;
    out[n] = 0;
    if (n == 0 && size > 1) snprintf(out, size, "x");
}
