// Text: a growable string for building files and messages.
#include "base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

static void reserve(struct text *t, size_t extra) {
    size_t need = t->n + extra + 1;
    CHECK(need > t->n, "text of %zu + %zu bytes", t->n, extra);
    if (need <= t->capacity) return;
    size_t capacity = t->capacity ? t->capacity : 256;
    while (capacity < need) capacity *= 2;
    t->data = mem_resize(t->data, capacity);
    t->capacity = capacity;
}

void text_add_bytes(struct text *t, const void *bytes, size_t n) {
    reserve(t, n);
    if (n) memcpy(t->data + t->n, bytes, n);
    t->n += n;
    t->data[t->n] = 0;
}

void text_add(struct text *t, const char *format, ...) {
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    CHECK(n >= 0, "cannot format \"%s\"", format);
    reserve(t, (size_t)n);
    vsnprintf(t->data + t->n, (size_t)n + 1, format, again);
    va_end(again);
    t->n += (size_t)n;
}

void text_add_json_string(struct text *t, const char *s) {
    static const char short_form[][2] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                         {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};
    text_add_bytes(t, "\"", 1);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        char escape = 0;
        for (size_t i = 0; i < sizeof short_form / sizeof short_form[0]; i++)
            if (*s == short_form[i][0]) escape = short_form[i][1];
        if (escape)
            text_add_bytes(t, (char[]){'\\', escape}, 2);
        else if (c < 0x20 || c == 0x7f)
            text_add(t, "\\u%04x", c);
        else
            text_add_bytes(t, s, 1);
    }
    text_add_bytes(t, "\"", 1);
}

static bool add_non_finite(struct text *t, double v) {
    if (isfinite(v)) return false;
    text_add(t, "%s", isnan(v) ? "\"NaN\"" : v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    return true;
}

// The locale's decimal separator (one to three bytes in glibc) becomes '.'.
static void add_number(struct text *t, const char *s) {
    bool separator = false;
    for (; *s; s++) {
        if (strchr("0123456789+-eE", *s)) {
            text_add_bytes(t, s, 1);
            separator = false;
        } else if (!separator) {
            text_add_bytes(t, ".", 1);
            separator = true;
        }
    }
}

void text_add_json_float(struct text *t, float v) {
    if (add_non_finite(t, (double)v)) return;
    char s[48];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, (double)v);
        if (strtof(s, NULL) == v) break;
    }
    add_number(t, s);
}

void text_add_json_double(struct text *t, double v) {
    if (add_non_finite(t, v)) return;
    char s[48];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, v);
        if (strtod(s, NULL) == v) break;
    }
    add_number(t, s);
}

void text_deinit(struct text *t) {
    free(t->data);
    *t = (struct text){0};
}
