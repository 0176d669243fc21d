// Canvas: clipping, text of any origin, dumps.
#include "ui/canvas.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/mem.h"

void canvas_init(struct canvas *c, int width, int height) {
    *c = (struct canvas){.colours = 256};
    canvas_resize(c, width, height);
}

void canvas_deinit(struct canvas *c) {
    free(c->cells);
    c->cells = NULL;
    c->width = c->height = 0;
}

void canvas_resize(struct canvas *c, int width, int height) {
    if (width < 1) width = 1;
    if (height < 1) height = 1;
    if (!c->cells || width != c->width || height != c->height) {
        free(c->cells);
        c->cells = mem_alloc((size_t)width * (size_t)height * sizeof *c->cells);
        c->width = width;
        c->height = height;
    }
    canvas_clear(c);
}

void canvas_clear(struct canvas *c) {
    const struct cell blank = {.glyph = ' ', .fg = ROLE_DEFAULT, .bg = ROLE_DEFAULT, .width = 1};
    for (int i = 0; i < c->width * c->height; i++) c->cells[i] = blank;
}

struct style style(enum role fg) {
    return (struct style){(uint8_t)fg, ROLE_DEFAULT, 0};
}
struct style style_on(enum role fg, enum role bg, int attrs) {
    return (struct style){(uint8_t)fg, (uint8_t)bg, (uint8_t)attrs};
}

const struct cell *canvas_at(const struct canvas *c, int x, int y) {
    if (x < 0 || y < 0 || x >= c->width || y >= c->height) return NULL;
    return &c->cells[y * c->width + x];
}

// What each of our own glyphs becomes where only ASCII can be shown.
static uint32_t ascii_of(uint32_t glyph) {
    static const struct {
        uint32_t from;
        char to;
    } table[] = {
        {0x2500, '-'}, {0x2501, '='}, {0x2502, '|'},  {0x2503, '|'}, {0x2504, '-'}, {0x2506, ':'},
        {0x250A, ':'}, {0x2524, '+'}, {0x252C, '+'},  {0x2534, '+'}, {0x253C, '+'}, {0x2514, '+'},
        {0x2518, '+'}, {0x250C, '+'}, {0x2510, '+'},  {0x256D, '+'}, {0x256E, '+'}, {0x256F, '+'},
        {0x2570, '+'}, {0x2588, '#'}, {0x2580, '\''}, {0x2584, '.'}, {0x2591, '.'}, {0x2592, ':'},
        {0x2593, '%'}, {0x258F, '|'}, {0x2595, '|'},  {0x258C, '|'}, {0x2590, '|'}, {0x25CF, '*'},
        {0x25CB, 'o'}, {0x00B7, '.'}, {0x2022, '*'},  {0x2026, '~'}, {0x00D7, 'x'}, {0x2190, '<'},
        {0x2192, '>'}, {0x2191, '^'}, {0x2193, 'v'},  {0x25B8, '>'}, {0x25C2, '<'}, {0x25BE, 'v'},
        {0x25B4, '^'}, {0x2713, 'v'}, {0x2717, 'x'},  {0x2013, '-'}, {0x2014, '-'}, {0x00B1, '~'},
        {0x2581, '_'}, {0x2582, '_'}, {0x2583, '.'},  {0x2585, ':'}, {0x2586, ':'}, {0x2587, '#'},
        {0x25A0, '#'}, {0x2016, '|'},
    };
    if (glyph < 127) return glyph;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].from == glyph) return (uint32_t)table[i].to;
    return '?';
}

// A write over half of a wide glyph blanks its other half, so a row never holds a torn one.
static void untear(struct canvas *c, int x, int y) {
    struct cell *row = &c->cells[y * c->width];
    if (row[x].width == 0 && x > 0) {
        row[x - 1].glyph = ' ';
        row[x - 1].width = 1;
    }
    if (row[x].width == 2 && x + 1 < c->width) {
        row[x + 1].glyph = ' ';
        row[x + 1].width = 1;
    }
}

void canvas_put(struct canvas *c, int x, int y, uint32_t glyph, struct style s) {
    if (x < 0 || y < 0 || x >= c->width || y >= c->height) return;
    struct cell *cell = &c->cells[y * c->width + x];
    if (cell->width != 1) untear(c, x, y);
    *cell = (struct cell){c->ascii ? ascii_of(glyph) : glyph, s.fg, s.bg, s.attrs, 1};
}

static void put_wide(struct canvas *c, int x, int y, uint32_t glyph, struct style s) {
    canvas_put(c, x, y, ' ', s);
    canvas_put(c, x + 1, y, ' ', s);
    if (y < 0 || y >= c->height || x < 0 || x + 1 >= c->width) return;
    struct cell *cell = &c->cells[y * c->width + x];
    cell[0].glyph = glyph;
    cell[0].width = 2;
    cell[1].glyph = 0;
    cell[1].width = 0;
}

void canvas_fill(struct canvas *c, struct rect r, uint32_t glyph, struct style s) {
    for (int y = r.y; y < r.y + r.h; y++)
        for (int x = r.x; x < r.x + r.w; x++) canvas_put(c, x, y, glyph, s);
}

void canvas_tint(struct canvas *c, struct rect r, enum role bg) {
    for (int y = r.y < 0 ? 0 : r.y; y < r.y + r.h && y < c->height; y++)
        for (int x = r.x < 0 ? 0 : r.x; x < r.x + r.w && x < c->width; x++)
            c->cells[y * c->width + x].bg = (uint8_t)bg;
}

// ---- text

uint32_t utf8_next(const char **text) {
    const unsigned char *p = (const unsigned char *)*text;
    if (!*p) return 0;
    int extra = *p < 0x80                 ? 0
                : *p >= 0xC2 && *p < 0xE0 ? 1
                : *p >= 0xE0 && *p < 0xF0 ? 2
                : *p >= 0xF0 && *p < 0xF5 ? 3
                                          : -1;
    static const uint8_t mask[4] = {0x7F, 0x1F, 0x0F, 0x07};
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    *text += 1;
    if (extra < 0) return 0xFFFD;
    uint32_t glyph = *p & mask[extra];
    for (int i = 1; i <= extra; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0xFFFD;
        glyph = glyph << 6 | (p[i] & 0x3F);
    }
    if (glyph < least[extra] || glyph > 0x10FFFF || (glyph >= 0xD800 && glyph < 0xE000))
        return 0xFFFD;
    *text += extra;
    return glyph;
}

int utf8_put(uint32_t g, char out[5]) {
    int n = 0;
    if (g < 0x80) {
        out[n++] = (char)g;
    } else if (g < 0x800) {
        out[n++] = (char)(0xC0 | g >> 6);
        out[n++] = (char)(0x80 | (g & 63));
    } else if (g < 0x10000) {
        out[n++] = (char)(0xE0 | g >> 12);
        out[n++] = (char)(0x80 | (g >> 6 & 63));
        out[n++] = (char)(0x80 | (g & 63));
    } else {
        out[n++] = (char)(0xF0 | g >> 18);
        out[n++] = (char)(0x80 | (g >> 12 & 63));
        out[n++] = (char)(0x80 | (g >> 6 & 63));
        out[n++] = (char)(0x80 | (g & 63));
    }
    out[n] = 0;
    return n;
}

// Columns of a glyph: 0 for what must not be written (control characters, zero-width marks), else 1
// or 2.
static int glyph_width(uint32_t glyph) {
    if (glyph < 32 || (glyph >= 127 && glyph < 160)) return 0;
    if (glyph < 127) return 1;
    // Direction overrides and other invisible format characters would reorder or hide the rest of
    // the row.
    if ((glyph >= 0x200B && glyph <= 0x200F) || (glyph >= 0x2028 && glyph <= 0x202E) ||
        (glyph >= 0x2060 && glyph <= 0x206F) || glyph == 0xFEFF)
        return 0;
    int width = wcwidth((wchar_t)glyph);
    return width < 0 ? 1 : width > 2 ? 1 : width;
}

int canvas_text_width(const char *utf8) {
    int columns = 0;
    for (uint32_t g; (g = utf8_next(&utf8)) != 0;) columns += glyph_width(g);
    return columns;
}

int canvas_text(struct canvas *c, struct rect r, struct style s, const char *utf8) {
    if (r.w <= 0 || r.h <= 0) return 0;
    bool cut = canvas_text_width(utf8) > r.w;
    int room = cut ? r.w - 1 : r.w, used = 0;
    for (uint32_t g; (g = utf8_next(&utf8)) != 0;) {
        int width = glyph_width(g);
        if (width == 0) continue;
        if (used + width > room) break;
        if (width == 2 && !c->ascii)
            put_wide(c, r.x + used, r.y, g, s);
        else
            for (int i = 0; i < width; i++) canvas_put(c, r.x + used + i, r.y, g, s);
        used += width;
    }
    if (cut) canvas_put(c, r.x + used++, r.y, 0x2026, s);
    return used;
}

int canvas_text_right(struct canvas *c, struct rect r, struct style s, const char *utf8) {
    int width = canvas_text_width(utf8);
    if (width < r.w) {
        r.x += r.w - width;
        r.w = width;
    }
    return canvas_text(c, r, s, utf8);
}

int canvas_printf(struct canvas *c, struct rect r, struct style s, const char *format, ...) {
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return canvas_text(c, r, s, text);
}

int canvas_paragraph(struct canvas *c, struct rect r, struct style s, const char *utf8) {
    int row = 0;
    while (*utf8 && row < r.h && r.w > 0) {
        const char *p = utf8, *end = utf8, *blank = NULL;
        int columns = 0;
        for (uint32_t g; (g = utf8_next(&p)) != 0 && g != '\n'; end = p) {
            if (columns + glyph_width(g) > r.w) break;
            columns += glyph_width(g);
            if (g == ' ') blank = p;
        }
        if (*end && *end != '\n' && *end != ' ' && blank) end = blank;
        if (end == utf8 && *end != '\n')
            utf8_next(&end); // a glyph wider than r: skip it, never stand still
        char line[512];
        size_t bytes = (size_t)(end - utf8);
        if (bytes >= sizeof line) bytes = sizeof line - 1;
        memcpy(line, utf8, bytes);
        line[bytes] = 0;
        canvas_text(c, (struct rect){r.x, r.y + row++, r.w, 1}, s, line);
        utf8 = end;
        while (*utf8 == ' ') utf8++;
        if (*utf8 == '\n') utf8++;
    }
    return row;
}

// ---- dumps

struct text {
    char *bytes;
    size_t n, room;
};

static void text_add(struct text *t, const char *s, size_t n) {
    if (t->n + n + 1 > t->room) {
        t->room = (t->n + n + 1) * 2;
        t->bytes = mem_resize(t->bytes, t->room);
    }
    memcpy(t->bytes + t->n, s, n);
    t->n += n;
    t->bytes[t->n] = 0;
}

static bool is_blank(const struct cell *cell, bool colour) {
    return cell->glyph == ' ' &&
           (!colour || (cell->bg == ROLE_DEFAULT && !(cell->attrs & ATTR_REVERSE)));
}

static void add_colours(struct text *t, const struct cell *cell) {
    char buf[64];
    int fg = role_colour(cell->fg)->c256, bg = role_colour(cell->bg)->c256, n = 0;
    n += snprintf(buf + n, sizeof buf - (size_t)n, "\033[0");
    if (cell->attrs & ATTR_BOLD) n += snprintf(buf + n, sizeof buf - (size_t)n, ";1");
    if (cell->attrs & ATTR_UNDERLINE) n += snprintf(buf + n, sizeof buf - (size_t)n, ";4");
    if (cell->attrs & ATTR_REVERSE) n += snprintf(buf + n, sizeof buf - (size_t)n, ";7");
    if (fg >= 0) n += snprintf(buf + n, sizeof buf - (size_t)n, ";38;5;%d", fg);
    if (bg >= 0) n += snprintf(buf + n, sizeof buf - (size_t)n, ";48;5;%d", bg);
    n += snprintf(buf + n, sizeof buf - (size_t)n, "m");
    text_add(t, buf, (size_t)n);
}

static char *dump(const struct canvas *c, bool colour) {
    struct text t = {0};
    text_add(&t, "", 0);
    for (int y = 0; y < c->height; y++) {
        const struct cell *row = &c->cells[y * c->width], *last = NULL;
        int end = c->width;
        while (end > 0 && is_blank(&row[end - 1], colour)) end--;
        for (int x = 0; x < end; x++) {
            if (row[x].width == 0) continue;
            if (colour && (!last || last->fg != row[x].fg || last->bg != row[x].bg ||
                           last->attrs != row[x].attrs))
                add_colours(&t, &row[x]);
            last = &row[x];
            char bytes[5];
            text_add(&t, bytes, (size_t)utf8_put(row[x].glyph, bytes));
        }
        if (colour && last) text_add(&t, "\033[0m", 4);
        text_add(&t, "\n", 1);
    }
    return t.bytes;
}

char *canvas_dump(const struct canvas *c) { return dump(c, false); }
char *canvas_dump_colour(const struct canvas *c) { return dump(c, true); }
