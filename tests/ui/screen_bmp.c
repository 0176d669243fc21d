// Screen picture: renders a screen saved as .ansi (`:save-screen x.ansi`) into a BMP, to look at it
// and for the README.
//
//     screen_bmp IN.ansi OUT.bmp [FONT.ttf] [PIXELS]        then: convert OUT.bmp OUT.png
// A development tool: not part of the product, not installed.
#include <SDL2/SDL.h>
#include <SDL2/SDL_ttf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/canvas.h"

struct look {
    int fg, bg;
    bool bold, reverse;
};

static SDL_Color colour(int index, bool background) {
    uint8_t rgb[3];
    if (index < 0)
        return background ? (SDL_Color){18, 18, 20, 255} : (SDL_Color){204, 204, 204, 255};
    role_rgb(index, rgb);
    return (SDL_Color){rgb[0], rgb[1], rgb[2], 255};
}

static void escape(const char **p, struct look *l) {
    int values[16], n = 0;
    for (*p += 1; **p && **p != 'm';) {
        values[n < 15 ? n++ : n] = (int)strtol(*p, (char **)p, 10);
        if (**p == ';') *p += 1;
    }
    if (**p) *p += 1;
    for (int i = 0; i < n; i++) {
        if (values[i] == 0) *l = (struct look){-1, -1, false, false};
        if (values[i] == 1) l->bold = true;
        if (values[i] == 7) l->reverse = true;
        if (values[i] == 38)
            l->fg = values[i + 2], i += 2;
        else if (values[i] == 48)
            l->bg = values[i + 2], i += 2;
    }
}

static void draw_glyph(SDL_Surface *s, TTF_Font *font, uint32_t glyph, SDL_Rect cell, SDL_Color fg,
                       SDL_Color bg) {
    SDL_FillRect(s, &cell, SDL_MapRGB(s->format, bg.r, bg.g, bg.b));
    Uint32 ink = SDL_MapRGB(s->format, fg.r, fg.g, fg.b);
    if (glyph >= 0x2580 && glyph <= 0x2588) { // blocks as terminals draw them: without a seam
        SDL_Rect part = cell;
        if (glyph == 0x2580)
            part.h = cell.h / 2;
        else {
            part.h = cell.h * (int)(glyph - 0x2580) / 8;
            part.y += cell.h - part.h;
        }
        SDL_FillRect(s, &part, ink);
    } else if (glyph == 0x258C || glyph == 0x2590 || (glyph >= 0x2596 && glyph <= 0x259F)) {
        static const uint8_t quarters[10] = {4, 8, 1, 13, 9, 7, 11, 2, 6, 14};
        int set = glyph == 0x258C ? 5 : glyph == 0x2590 ? 10 : quarters[glyph - 0x2596];
        for (int i = 0; i < 4; i++) {
            int left = cell.w / 2, top = cell.h / 2;
            SDL_Rect part = {cell.x + (i & 1 ? left : 0), cell.y + (i / 2 ? top : 0),
                             i & 1 ? cell.w - left : left, i / 2 ? cell.h - top : top};
            if (set >> i & 1) SDL_FillRect(s, &part, ink);
        }
    } else if (glyph >= 0x2800 && glyph < 0x2900) {
        static const int at[8][2] = {{0, 0}, {0, 1}, {0, 2}, {1, 0},
                                     {1, 1}, {1, 2}, {0, 3}, {1, 3}};
        for (int i = 0; i < 8; i++) {
            if (!(glyph >> i & 1)) continue;
            SDL_Rect dot = {cell.x + cell.w / 8 + at[i][0] * cell.w / 2,
                            cell.y + cell.h / 16 + at[i][1] * cell.h / 4, cell.w / 4, cell.w / 4};
            SDL_FillRect(s, &dot, ink);
        }
    } else if (glyph > ' ') {
        char text[5];
        utf8_put(glyph, text);
        SDL_Surface *t = TTF_RenderUTF8_Blended(font, text, fg);
        if (t) SDL_BlitSurface(t, NULL, s, &(SDL_Rect){cell.x, cell.y, cell.w, cell.h});
        SDL_FreeSurface(t);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    FILE *f = fopen(argv[1], "r");
    static char text[1 << 20];
    if (!f) return 2;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    TTF_Init();
    TTF_Font *font =
        TTF_OpenFont(argc > 3 ? argv[3] : "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
                     argc > 4 ? atoi(argv[4]) : 15);
    if (!font) return 1;
    int w, h = TTF_FontLineSkip(font), columns = 0, rows = 0, x = 0;
    TTF_SizeUTF8(font, "M", &w, NULL);
    for (const char *p = text; *p;) {
        if (*p == '\033')
            while (*p && *p++ != 'm') continue;
        else if (*p == '\n')
            p++, rows++, x = 0;
        else
            utf8_next(&p), x++;
        if (x > columns) columns = x;
    }
    SDL_Surface *s =
        SDL_CreateRGBSurfaceWithFormat(0, columns * w + 8, rows * h + 8, 24, SDL_PIXELFORMAT_RGB24);
    SDL_Color ground = colour(-1, true);
    SDL_FillRect(s, NULL, SDL_MapRGB(s->format, ground.r, ground.g, ground.b));
    struct look l = {-1, -1, false, false};
    int y = x = 0;
    for (const char *p = text; *p;) {
        if (*p == '\033') {
            p++;
            escape(&p, &l);
        } else if (*p == '\n') {
            p++, y++, x = 0;
        } else {
            uint32_t g = utf8_next(&p);
            SDL_Color fg = colour(l.reverse ? l.bg : l.fg, l.reverse),
                      bg = colour(l.reverse ? l.fg : l.bg, !l.reverse);
            TTF_SetFontStyle(font, l.bold ? TTF_STYLE_BOLD : TTF_STYLE_NORMAL);
            draw_glyph(s, font, g, (SDL_Rect){4 + x++ * w, 4 + y * h, w, h}, fg, bg);
        }
    }
    return SDL_SaveBMP(s, argv[2]) == 0 ? 0 : 1;
}
