// criteria.c - the pass criteria of the public test suites.
#include "criteria.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "picture.h"

enum {
    MOONEYE_FRAMES = 60 * 60,
    BLARGG_FRAMES = 60 * 90,
    MICROTEST_FRAMES = 60,
    GAMBATTE_FRAMES = 16,
    PICTURE_FRAMES = 60,
    SCREEN_TEXT = 32 * 32
};

enum verdict judge_registers(struct trial *t) {
    static const uint8_t fibonacci[6] = {3, 5, 8, 13, 21, 34};
    const struct gb_cpu *cpu = &t->m->cpu;
    for (int frame = 0; frame < MOONEYE_FRAMES; frame++) {
        gb_run_frame(t->m, false);
        const uint8_t now[6] = {(uint8_t)(cpu->bc >> 8), (uint8_t)cpu->bc,
                                (uint8_t)(cpu->de >> 8), (uint8_t)cpu->de,
                                (uint8_t)(cpu->hl >> 8), (uint8_t)cpu->hl};
        bool all_42 = true;
        for (int i = 0; i < 6; i++) all_42 = all_42 && now[i] == 0x42;
        if (memcmp(now, fibonacci, 6) == 0) return VERDICT_PASS;
        if (all_42) return VERDICT_FAIL;
        if (gb_is_locked(t->m)) break;
    }
    snprintf(t->detail, sizeof t->detail, "B-L %04x %04x %04x", cpu->bc, cpu->de, cpu->hl);
    return VERDICT_FAIL;
}

// The background map as text, where tiles are drawn as ASCII.
static void screen_text(const struct gb *m, char text[SCREEN_TEXT + 1]) {
    for (int i = 0; i < SCREEN_TEXT; i++) {
        uint8_t tile = m->vram[0x1800 + i];
        text[i] = isprint(tile) ? (char)tile : ' ';
    }
    text[SCREEN_TEXT] = '\0';
}

// The words that end a test. Its text goes into detail.
static bool text_ends(struct trial *t, const char *text, enum verdict *verdict) {
    bool passed = strstr(text, "Passed") != NULL;
    bool failed = strstr(text, "Failed") != NULL || strstr(text, "Error") != NULL;
    if (!passed && !failed) return false;
    size_t used = 0, room = sizeof t->detail - 1;
    for (const char *c = text; *c && used < room; c++) {
        bool space = isspace((unsigned char)*c) != 0;
        if (space && (used == 0 || t->detail[used - 1] == ' ')) continue;
        t->detail[used++] = space ? ' ' : *c;
    }
    t->detail[used] = '\0';
    *verdict = failed ? VERDICT_FAIL : VERDICT_PASS;
    return true;
}

enum verdict judge_blargg(struct trial *t) {
    struct gb *m = t->m;
    char text[SCREEN_TEXT + 1];
    enum verdict verdict;
    bool settled = false; // text grows: judge it only when it stood for a second
    int seen_at = 0;
    for (int frame = 0; frame < BLARGG_FRAMES; frame++) {
        gb_run_frame(m, false);
        const uint8_t *ram = m->cart_ram;
        if (ram[1] == 0xde && ram[2] == 0xb0 && ram[3] == 0x61 && ram[0] != 0x80) {
            snprintf(text, sizeof text, "%.*s", SCREEN_TEXT - 1, (const char *)ram + 4);
            if (!text_ends(t, text, &verdict)) snprintf(t->detail, sizeof t->detail, "%.90s", text);
            return ram[0] == 0 ? VERDICT_PASS : VERDICT_FAIL;
        }
        screen_text(m, text);
        if (!settled && text_ends(t, text, &verdict)) settled = true, seen_at = frame;
        if (settled && frame == seen_at + 60) {
            text_ends(t, text, &verdict);
            return verdict;
        }
        if (gb_is_locked(m)) break;
    }
    snprintf(t->detail, sizeof t->detail, "no result after %d frames", BLARGG_FRAMES);
    return VERDICT_SILENT;
}

enum verdict judge_microtest(struct trial *t) {
    const uint8_t *high = t->m->hram;
    for (int frame = 0; frame < MICROTEST_FRAMES; frame++) {
        gb_run_frame(t->m, false);
        if (high[2] != 0x01 && high[2] != 0xff) continue;
        snprintf(t->detail, sizeof t->detail, "got %02x, expected %02x", high[0], high[1]);
        return high[2] == 0x01 ? VERDICT_PASS : VERDICT_FAIL;
    }
    return VERDICT_SILENT;
}

// gambatte's digits: seven rows of seven pixels, below and right of an empty row and column.
static const uint8_t glyphs[16][7] = {
    {0x7f, 0x41, 0x41, 0x41, 0x41, 0x41, 0x7f}, {0x08, 0x08, 0x08, 0x08, 0x08, 0x08, 0x08},
    {0x7f, 0x01, 0x01, 0x7f, 0x40, 0x40, 0x7f}, {0x7f, 0x01, 0x01, 0x3f, 0x01, 0x01, 0x7f},
    {0x41, 0x41, 0x41, 0x7f, 0x01, 0x01, 0x01}, {0x7f, 0x40, 0x40, 0x7e, 0x01, 0x01, 0x7e},
    {0x7f, 0x40, 0x40, 0x7f, 0x41, 0x41, 0x7f}, {0x7f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x10},
    {0x3e, 0x41, 0x41, 0x3e, 0x41, 0x41, 0x3e}, {0x7f, 0x41, 0x41, 0x7f, 0x01, 0x01, 0x7f},
    {0x08, 0x22, 0x41, 0x7f, 0x41, 0x41, 0x41}, {0x7e, 0x41, 0x41, 0x7e, 0x41, 0x41, 0x7e},
    {0x3e, 0x41, 0x40, 0x40, 0x40, 0x41, 0x3e}, {0x7e, 0x41, 0x41, 0x41, 0x41, 0x41, 0x7e},
    {0x7f, 0x40, 0x40, 0x7f, 0x40, 0x40, 0x7f}, {0x7f, 0x40, 0x40, 0x7f, 0x40, 0x40, 0x40}};

// The digit drawn at column `place` of the first tile row; '?' if it is none, ' ' if it is empty.
static char digit_at(const uint8_t *shades, int place) {
    uint8_t rows[8] = {0};
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 8; x++) {
            uint8_t shade = shades[y * GB_LCD_WIDTH + place * 8 + x];
            if (shade == 1 || shade == 2) return '?';
            if (shade) rows[y] |= (uint8_t)(0x80 >> x);
        }
    static const uint8_t empty[8];
    if (memcmp(rows, empty, 8) == 0) return ' ';
    for (int digit = 0; digit < 16; digit++)
        if (rows[0] == 0 && memcmp(rows + 1, glyphs[digit], 7) == 0)
            return "0123456789ABCDEF"[digit];
    return '?';
}

// What the file name expects of a DMG: the digits after "dmg08_out" or "dmg08_cgb04c_out", or NULL.
static const char *expected_digits(const char *path) {
    static const char *const marks[] = {"dmg08_cgb04c_out", "dmg08_out"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        const char *found = strstr(path, marks[i]);
        if (found) return found + strlen(marks[i]);
    }
    return NULL;
}

enum verdict judge_hex_digits(struct trial *t) {
    const char *expected = expected_digits(t->path);
    if (!expected) return VERDICT_SKIPPED;
    if (strncmp(expected, "audio", 5) == 0) {
        snprintf(t->detail, sizeof t->detail, "judged by sound");
        return VERDICT_SKIPPED;
    }
    for (int frame = 0; frame < GAMBATTE_FRAMES; frame++) gb_run_frame(t->m, true);
    const uint8_t *shades = gb_lcd(t->m);
    int n = (int)strspn(expected, "0123456789ABCDEFabcdef");
    char shown[21] = "";
    for (int i = 0; i < n && i < 20; i++) shown[i] = shades ? digit_at(shades, i) : '?';
    bool equal = true;
    for (int i = 0; i < n && i < 20; i++) equal = equal && shown[i] == toupper(expected[i]);
    snprintf(t->detail, sizeof t->detail, "shows %s, expected %.*s", shown, n, expected);
    return equal ? VERDICT_PASS : VERDICT_FAIL;
}

enum verdict judge_picture(struct trial *t) {
    static uint8_t wanted[GB_LCD_WIDTH * GB_LCD_HEIGHT];
    if (!picture_expected(t->path, wanted)) return VERDICT_SKIPPED;
    bool gambatte = strstr(t->path, "hwtests") != NULL;
    int n_frames = gambatte ? GAMBATTE_FRAMES : PICTURE_FRAMES, n_different = 0;
    for (int frame = 0; frame < n_frames; frame++) gb_run_frame(t->m, true);
    const uint8_t *shades = gb_lcd(t->m);
    for (int i = 0; i < GB_LCD_WIDTH * GB_LCD_HEIGHT; i++)
        n_different += (shades ? shades[i] : 0) != wanted[i];
    snprintf(t->detail, sizeof t->detail, "%d pixels differ", n_different);
    return n_different == 0 ? VERDICT_PASS : VERDICT_FAIL;
}
