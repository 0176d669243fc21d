// Video: greyscale pictures as an animated GIF through giflib.
#include "engine/data/video.h"

#include <gif_lib.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

enum { N_GREYS = 16 };

static int take_bytes(GifFileType *gif, const GifByteType *data, int n) {
    text_add_bytes(gif->UserData, data, (size_t)n);
    return n;
}

// Four shades (0, 85, 170, 255) hit greys exactly; level 0 is white.
static GifPixelType grey_of(uint8_t level) {
    return (GifPixelType)((level * (N_GREYS - 1) + 127) / 255);
}

static ColorMapObject *make_palette(void) {
    GifColorType colours[N_GREYS];
    for (int i = 0; i < N_GREYS; i++) {
        GifByteType v = (GifByteType)(255 - i * 255 / (N_GREYS - 1));
        colours[i] = (GifColorType){v, v, v};
    }
    ColorMapObject *palette = GifMakeMapObject(N_GREYS, colours);
    if (!palette) out_of_memory(0);
    return palette;
}

static bool put_loop(GifFileType *gif) {
    const GifByteType forever[3] = {1, 0, 0};
    return EGifPutExtensionLeader(gif, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
           EGifPutExtensionBlock(gif, 11, "NETSCAPE2.0") == GIF_OK &&
           EGifPutExtensionBlock(gif, 3, forever) == GIF_OK &&
           EGifPutExtensionTrailer(gif) == GIF_OK;
}

static bool put_frame(GifFileType *gif, const struct video_frames *v, int frame, int scale,
                      GifPixelType *line) {
    GraphicsControlBlock control = {.DisposalMode = DISPOSE_DO_NOT,
                                    .DelayTime =
                                        (100 + v->frames_per_second / 2) / v->frames_per_second,
                                    .TransparentColor = NO_TRANSPARENT_COLOR};
    GifByteType bytes[4];
    size_t n = EGifGCBToExtension(&control, bytes);
    if (EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, (int)n, bytes) != GIF_OK) return false;
    int width = v->width * scale, height = v->height * scale;
    if (EGifPutImageDesc(gif, 0, 0, width, height, false, NULL) != GIF_OK) return false;
    const uint8_t *pixels = v->pixels + (size_t)frame * (size_t)v->width * (size_t)v->height;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) // EGifPutLine changes the line: fill it anew each time
            line[x] = grey_of(pixels[(size_t)(y / scale) * (size_t)v->width + (size_t)(x / scale)]);
        if (EGifPutLine(gif, line, width) != GIF_OK) return false;
    }
    return true;
}

static bool compose(GifFileType *gif, const struct video_frames *v, const ColorMapObject *palette) {
    int scale = v->scale > 0 ? v->scale : 1;
    GifPixelType *line = mem_alloc((size_t)v->width * (size_t)scale);
    EGifSetGifVersion(gif, true); // GIF89a: delays and loop
    bool ok =
        EGifPutScreenDesc(gif, v->width * scale, v->height * scale, 4, 0, palette) == GIF_OK &&
        put_loop(gif);
    for (int i = 0; ok && i < v->n; i++) ok = put_frame(gif, v, i, scale, line);
    free(line);
    return ok;
}

bool video_write_gif(const char *path, const struct video_frames *v, struct error *e) {
    CHECK(v->n >= 1 && v->width >= 1 && v->height >= 1 && v->frames_per_second >= 1 &&
              v->frames_per_second <= 50,
          "a video of %d frames of %dx%d", v->n, v->width, v->height);
    struct text out = {0};
    int code = 0;
    GifFileType *gif = EGifOpen(&out, take_bytes, &code);
    if (!gif)
        return error_set(e, STATUS_FAILED, "%s: cannot make a GIF: %s", path, GifErrorString(code));
    ColorMapObject *palette = make_palette();
    bool ok = compose(gif, v, palette);
    code = gif->Error;
    GifFreeMapObject(palette);
    int close_code = 0;
    if (EGifCloseFile(gif, &close_code) != GIF_OK) {
        ok = false;
        code = close_code;
    }
    if (ok) {
        ok = file_write_atomic(path, out.data, out.n, e);
    } else {
        const char *why = GifErrorString(code);
        error_set(e, STATUS_FAILED, "%s: cannot make a GIF: %s", path, why ? why : "unknown cause");
    }
    text_deinit(&out);
    return ok;
}
