// NumPy files of bytes: the header's dictionary, read strictly and written as NumPy does.
#include "engine/data/npy.h"

#include <stdio.h>
#include <string.h>

static const uint8_t magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

// The header's text; reading past its end gives NUL.
struct cursor {
    const char *at, *end;
};

static char peek(const struct cursor *c) { return c->at < c->end ? *c->at : 0; }

static void skip_blanks(struct cursor *c) {
    while (peek(c) == ' ' || peek(c) == '\t' || peek(c) == '\n') c->at++;
}

static bool take(struct cursor *c, char wanted) {
    skip_blanks(c);
    if (peek(c) != wanted || wanted == 0) return false;
    c->at++;
    return true;
}

static bool take_word(struct cursor *c, const char *word) {
    size_t n = strlen(word);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

// 'text' or "text" without escapes.
static bool take_string(struct cursor *c, char *out, size_t size) {
    skip_blanks(c);
    char quote = peek(c);
    if (quote != '\'' && quote != '"') return false;
    c->at++;
    size_t n = 0;
    for (; peek(c) && peek(c) != quote; c->at++) {
        if (peek(c) == '\\' || n + 1 >= size) return false;
        out[n++] = *c->at;
    }
    out[n] = 0;
    return take(c, quote);
}

static bool take_size(struct cursor *c, size_t *out) {
    skip_blanks(c);
    const char *begin = c->at;
    size_t v = 0;
    for (; peek(c) >= '0' && peek(c) <= '9'; c->at++) {
        if (v > (SIZE_MAX >> 8) / 10) return false;
        v = v * 10 + (size_t)(*c->at - '0');
    }
    *out = v;
    return c->at > begin;
}

// (72, 80) or (5,) or ()
static bool take_shape(struct cursor *c, struct npy_u8 *a) {
    if (!take(c, '(')) return false;
    for (a->n_dims = 0; !take(c, ')'); a->n_dims++) {
        if (a->n_dims == NPY_MAX_DIMS || !take_size(c, &a->shape[a->n_dims])) return false;
        if (take(c, ',')) continue;
        if (a->n_dims == 0) return false; // (5) is a number in Python, not a tuple
        a->n_dims++;
        return take(c, ')');
    }
    return true;
}

struct header {
    char dtype[32];
    bool has_dtype, has_order, has_shape, fortran_order;
};

static bool take_member(struct cursor *c, struct header *h, struct npy_u8 *a) {
    char key[32];
    if (!take_string(c, key, sizeof key) || !take(c, ':')) return false;
    if (strcmp(key, "descr") == 0 && !h->has_dtype) {
        h->has_dtype = true;
        return take_string(c, h->dtype, sizeof h->dtype);
    }
    if (strcmp(key, "fortran_order") == 0 && !h->has_order) {
        h->has_order = true;
        h->fortran_order = take_word(c, "True");
        return h->fortran_order || take_word(c, "False");
    }
    if (strcmp(key, "shape") == 0 && !h->has_shape) {
        h->has_shape = true;
        return take_shape(c, a);
    }
    return false;
}

static bool parse_header(struct cursor c, struct header *h, struct npy_u8 *a) {
    if (!take(&c, '{')) return false;
    while (!take(&c, '}')) {
        if (!take_member(&c, h, a)) return false;
        if (take(&c, ',')) continue;
        if (!take(&c, '}')) return false;
        break;
    }
    skip_blanks(&c);
    return c.at == c.end && h->has_dtype && h->has_order && h->has_shape;
}

bool npy_parse(const uint8_t *bytes, size_t n, const char *where, struct npy_u8 *out,
               struct error *e) {
    if (n < 10 || memcmp(bytes, magic, sizeof magic) != 0)
        return error_set(e, STATUS_FAILED, "%s: not a NumPy file (%zu bytes, wrong first bytes)",
                         where, n);
    unsigned major = bytes[6], minor = bytes[7];
    if ((major != 1 && major != 2) || minor != 0)
        return error_set(e, STATUS_FAILED, "%s: NumPy format %u.%u; this program reads 1.0 and 2.0",
                         where, major, minor);
    size_t begin = major == 1 ? 10 : 12;
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (major == 2 && n >= begin) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (n < begin || length > n - begin)
        return error_set(e, STATUS_FAILED, "%s: cut inside its header (%zu bytes)", where, n);
    struct header h = {0};
    struct npy_u8 a = {0};
    const char *text = (const char *)bytes + begin;
    if (!parse_header((struct cursor){text, text + length}, &h, &a))
        return error_set(e, STATUS_FAILED, "%s: its NumPy header cannot be read", where);
    if (strcmp(h.dtype, "|u1") != 0 && strcmp(h.dtype, "u1") != 0)
        return error_set(e, STATUS_FAILED, "%s: dtype %s, must be |u1 (uint8)", where, h.dtype);
    if (h.fortran_order)
        return error_set(e, STATUS_FAILED, "%s: Fortran order; save it in C order", where);
    size_t have = n - begin - length;
    a.n_bytes = 1;
    for (int i = 0; i < a.n_dims; i++) {
        if (a.shape[i] && a.n_bytes > SIZE_MAX / a.shape[i])
            return error_set(e, STATUS_FAILED, "%s: a shape too large for any file", where);
        a.n_bytes *= a.shape[i];
    }
    if (a.n_bytes != have)
        return error_set(e, STATUS_FAILED,
                         "%s: %zu bytes of data, the shape in its header says %zu", where, have,
                         a.n_bytes);
    a.data = bytes + begin + length;
    *out = a;
    return true;
}

bool npy_header(const size_t *shape, int n_dims, uint8_t header[NPY_HEADER_BYTES]) {
    char text[NPY_HEADER_BYTES];
    int at = snprintf(text, sizeof text, "{'descr': '|u1', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < n_dims; i++) {
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%zu%s", i ? " " : "", shape[i],
                       i + 1 < n_dims || n_dims == 1 ? "," : "");
        if (at >= (int)sizeof text) return false;
    }
    at += snprintf(text + at, sizeof text - (size_t)at, "), }");
    if (at > NPY_HEADER_BYTES - 11) return false;
    memset(header, ' ', NPY_HEADER_BYTES);
    memcpy(header, magic, sizeof magic);
    const uint8_t rest[4] = {1, 0, NPY_HEADER_BYTES - 10, 0};
    memcpy(header + 6, rest, sizeof rest);
    memcpy(header + 10, text, (size_t)at);
    header[NPY_HEADER_BYTES - 1] = '\n';
    return true;
}
