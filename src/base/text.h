// Text: a growable string for building files and messages.
//
//     struct text t = {0};
//     text_add(&t, "{\"step\":%d", 3);
//     text_add_json_string(&t, name);
//     ... use t.data, t.n ...
//     text_deinit(&t);
//
// Always NUL-terminated once something was added. Running out of memory ends the program (error.h).
// One thread at a time.
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stddef.h>

struct text {
    char *data;         // NULL until something was added; owned
    size_t n, capacity; // n without the NUL
};

void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(struct text *t, const void *bytes, size_t n);
// A quoted JSON string; control characters are escaped, bytes >= 0x80 pass as they are (UTF-8).
void text_add_json_string(struct text *t, const char *s);
// Shortest decimal that reads back as the same float, always with '.'; non-finite as "NaN",
// "Infinity",
// "-Infinity" in quotes. Same bits give the same text in every locale.
void text_add_json_float(struct text *t, float v);
void text_add_json_double(struct text *t, double v);
void text_deinit(struct text *t);

#endif
