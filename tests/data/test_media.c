// Exported pictures: PNG, plots, strips, GIF read back; MP4 with good, bad and no ffmpeg.
#define _GNU_SOURCE
#include "support/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <gif_lib.h>
#include <math.h>
#include <png.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/data/image.h"
#include "engine/data/plot.h"
#include "engine/data/video.h"

static const char *file_in(const char *folder, const char *name) {
    static char path[PATH_SIZE];
    struct error e = {0};
    assert_true(path_join(path, folder, name, &e));
    return path;
}

// Decoded as RGB; caller frees.
static uint8_t *read_png(const char *path, int *width, int *height) {
    png_image im = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&im, path)) fail_msg("%s: %s", path, im.message);
    im.format = PNG_FORMAT_RGB;
    uint8_t *pixels = mem_alloc(PNG_IMAGE_SIZE(im));
    assert_true(png_image_finish_read(&im, NULL, pixels, 0, NULL));
    *width = (int)im.width;
    *height = (int)im.height;
    return pixels;
}

static bool holds(const char *path, const char *bytes) {
    uint8_t *data;
    size_t n;
    struct error e = {0};
    assert_true(file_read(path, 1 << 24, &data, &n, &e));
    bool found = memmem(data, n, bytes, strlen(bytes)) != NULL;
    free(data);
    return found;
}

static void a_png_holds_the_pixels_and_the_notes(void **state) {
    (void)state;
    struct image im;
    struct error e = {0};
    const char *path = file_in(test_folder(), "x.png");
    image_init(&im, 31, 17, 0x102030);
    image_box(&im, 3, 4, 5, 6, 0xff8000);
    image_line(&im, 0, 16, 30, 16, 0x00ff00);
    const struct image_note note = {"Title", "hello there"};
    if (!image_write_png(&im, path, &note, 1, &e)) fail_msg("%s", e.message);
    int width, height;
    uint8_t *back = read_png(path, &width, &height);
    assert_int_equal(width, 31);
    assert_int_equal(height, 17);
    assert_memory_equal(back, im.pixels, 31 * 17 * 3);
    assert_true(holds(path, "hello there"));
    free(back);
    image_deinit(&im);
    uint8_t grey[6] = {0, 50, 100, 150, 200, 255};
    assert_true(png_write_grey(path, grey, 3, 2, NULL, 0, &e));
    back = read_png(path, &width, &height);
    for (int i = 0; i < 6; i++) assert_int_equal(back[3 * i], grey[i]);
    free(back);
}

static void drawing_outside_the_canvas_is_clipped(void **state) {
    (void)state;
    struct image im; // the sanitizer sees any write beside it
    image_init(&im, 20, 10, 0);
    image_box(&im, -50, -50, 1000, 1000, 0x111111);
    image_line(&im, -300, 7, 300, -9, 0x222222);
    image_text(&im, -7, -3, "clipped \xc3\xa9\xff\x01", 3, 0x333333);
    const uint8_t levels[4] = {0, 85, 170, 255};
    image_picture(&im, 18, 8, levels, 2, 2, 3, false);
    image_picture(&im, -4, -4, levels, 2, 2, 3, true);
    image_deinit(&im);
}

static void letters_differ_from_each_other(void **state) {
    (void)state;
    enum { N = 127 - 33 };
    static uint8_t seen[N][9 * 6 * 3];
    for (int c = 0; c < N; c++) {
        struct image im;
        image_init(&im, 6, 9, 0);
        image_text(&im, 0, 0, (char[]){(char)(33 + c), 0}, 1, 0xffffff);
        memcpy(seen[c], im.pixels, sizeof seen[c]);
        image_deinit(&im);
        for (int d = 0; d < c; d++)
            if (memcmp(seen[c], seen[d], sizeof seen[c]) == 0)
                fail_msg("'%c' looks like '%c'", 33 + c, 33 + d);
    }
}

static void an_unwritable_picture_is_one_line(void **state) {
    (void)state;
    struct error e = {0};
    const uint8_t grey[4] = {0};
    assert_false(png_write_grey("/no/such/folder/x.png", grey, 2, 2, NULL, 0, &e));
    assert_non_null(strstr(e.message, "/no/such/folder/"));
    struct video_frames v = {
        .width = 2, .height = 2, .n = 1, .pixels = grey, .frames_per_second = 10};
    assert_false(video_write_gif("/no/such/folder/x.gif", &v, &e));
    assert_non_null(strstr(e.message, "/no/such/folder/"));
}

// ---- plots

static int count_colour(const uint8_t *pixels, int n, uint32_t colour) {
    int found = 0;
    for (int i = 0; i < n; i++)
        found +=
            (uint32_t)(pixels[3 * i] << 16 | pixels[3 * i + 1] << 8 | pixels[3 * i + 2]) == colour;
    return found;
}

static struct record *sample_records(int n, bool with_nan) {
    struct record *r = mem_alloc((size_t)n * sizeof *r);
    for (int i = 0; i < n; i++) {
        r[i].opt_steps = i + 1;
        r[i].present = METRIC_BIT(METRIC_COUNT) - 1;
        for (int m = 0; m < METRIC_COUNT; m++)
            r[i].value[m] = (100 * expf(-(float)i / 50) + 1) * (1 + 0.3f * (float)m);
        if (with_nan && i == n / 2) r[i].value[METRIC_GRAD_NORM_MODEL] = NAN;
    }
    return r;
}

static void a_plot_shows_curves_and_marks_what_is_not_finite(void **state) {
    (void)state;
    struct error e = {0};
    const char *path = file_in(test_folder(), "plot.png");
    int n_alarm[2], n_curve[2];
    for (int bad = 0; bad < 2; bad++) {
        struct record *r = sample_records(300, bad);
        if (!plot_metrics_png(path, "static, tiny, seed 42", r, 300, &e)) fail_msg("%s", e.message);
        int width, height;
        uint8_t *pixels = read_png(path, &width, &height);
        assert_true(width >= 800 && height >= 600);
        n_alarm[bad] = count_colour(pixels, width * height, 0xd02020);
        n_curve[bad] = count_colour(pixels, width * height, 0x1f5fa8);
        free(pixels);
        free(r);
    }
    assert_int_equal(n_alarm[0], 0);
    assert_true(n_alarm[1] >= 10);
    assert_true(n_curve[0] > 3000);
}

static void bands_are_drawn_around_their_curve_in_colours_of_their_own(void **state) {
    (void)state;
    enum { N = 50 };
    struct error e = {0};
    const char *path = file_in(test_folder(), "bands.png");
    double x[N], low[N], mean[2][N], high[N];
    for (int i = 0; i < N; i++) {
        x[i] = 1000 * (i + 1);
        low[i] = 0.2, high[i] = 0.6;
        mean[0][i] = 0.4;
        mean[1][i] = i < 20 || i >= 30 ? 0.9 : NAN; // a gap
    }
    const struct plot_band bands[2] = {{"with", N, x, mean[0], low, high},
                                       {"without", N, x, mean[1], NULL, NULL}};
    int curve[3], tint[3], other[3]; // the third: two panels beside each other
    for (int k = 0; k < 3; k++) {
        int width, height;
        const struct plot_bands one = {"share", "step", bands, k == 1 ? 2 : 1},
                                panels[2] = {one, one};
        if (!plot_bands_png(path, "two", panels, k == 2 ? 2 : 1, &e)) fail_msg("%s", e.message);
        uint8_t *pixels = read_png(path, &width, &height);
        curve[k] = count_colour(pixels, width * height, 0x1f5fa8);
        tint[k] = count_colour(pixels, width * height, 0xcddbeb); // 22 % of it on white
        other[k] = count_colour(pixels, width * height, 0xd2691e);
        assert_int_equal(width, k == 2 ? 960 : 480);
        free(pixels);
    }
    // A curve is two pixels thick and 398 of 406 columns long; the band a third of 164 rows and
    // more.
    assert_in_range(curve[0], 796, 900);
    assert_in_range(tint[0], 398 * 50, 398 * 110);
    assert_int_equal(other[0], 0);
    assert_in_range(other[1], 2 * 300, 2 * 350);
    assert_true(curve[2] == 2 * curve[0] && tint[2] == 2 * tint[0]);
}

static void plots_of_nothing_of_one_record_and_of_extreme_values_are_fine(void **state) {
    (void)state;
    struct error e = {0};
    const char *path = file_in(test_folder(), "plot.png");
    assert_true(plot_metrics_png(path, "", NULL, 0, &e));
    const float values[] = {0, -1, 1e-45f, 3e38f, -3e38f, NAN, INFINITY, -INFINITY, 1};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        for (int n = 1; n <= 2; n++) {
            struct record r[2] = {{.opt_steps = 0}, {.opt_steps = INT64_MAX / 2}};
            for (int k = 0; k < 2; k++) {
                r[k].present = METRIC_BIT(METRIC_COUNT) - 1;
                for (int m = 0; m < METRIC_COUNT; m++) r[k].value[m] = k ? 1 : values[i];
            }
            if (!plot_metrics_png(path, "extreme", r, n, &e)) fail_msg("%s", e.message);
        }
}

static void equal_runs_give_equal_plots(void **state) {
    (void)state;
    struct error e = {0};
    struct record *r = sample_records(50, false);
    uint8_t *data[2];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        const char *path = file_in(test_folder(), "plot.png");
        assert_true(plot_metrics_png(path, "t", r, 50, &e));
        assert_true(file_read(path, 1 << 24, &data[i], &n[i], &e));
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(data[0], data[1], n[0]);
    free(data[0]);
    free(data[1]);
    free(r);
}

static void a_strip_shows_every_picture_unchanged(void **state) {
    (void)state;
    struct error e = {0};
    const char *path = file_in(test_folder(), "strip.png");
    uint8_t real[80 * 72], other[80 * 72], error[80 * 72];
    memset(real, 85, sizeof real);    // grey 170
    memset(other, 170, sizeof other); // grey 85
    memset(error, 0, sizeof error);   // black
    struct plot_column columns[3] = {
        {0, real, other, error}, {100, real, other, error}, {300, real, other, error}};
    if (!plot_strip_png(path, "static", columns, 3, 80, 72, 2, &e)) fail_msg("%s", e.message);
    int width, height;
    uint8_t *pixels = read_png(path, &width, &height);
    assert_int_equal(count_colour(pixels, width * height, 0xaaaaaa), 3 * 80 * 72 * 4);
    assert_int_equal(count_colour(pixels, width * height, 0x555555), 3 * 80 * 72 * 4);
    assert_int_equal(count_colour(pixels, width * height, 0x000000), 3 * 80 * 72 * 4);
    free(pixels);
}

// ---- video

static uint8_t *sample_frames(int n, int width, int height) {
    uint8_t *p = mem_alloc((size_t)(n * width * height));
    for (int f = 0; f < n; f++)
        for (int i = 0; i < width * height; i++)
            p[f * width * height + i] = (uint8_t)((i / 3 + f) % 4 * 85);
    return p;
}

static void a_gif_holds_every_frame_in_its_shades(void **state) {
    (void)state;
    enum { N = 7, W = 80, H = 72 };
    struct error e = {0};
    const char *path = file_in(test_folder(), "x.gif");
    uint8_t *pixels = sample_frames(N, W, H);
    struct video_frames v = {
        .width = W, .height = H, .n = N, .pixels = pixels, .frames_per_second = 10, .scale = 2};
    umask(022);
    if (!video_write_gif(path, &v, &e)) fail_msg("%s", e.message);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    int code;
    GifFileType *gif = DGifOpenFileName(path, &code);
    assert_non_null(gif);
    assert_int_equal(DGifSlurp(gif), GIF_OK);
    assert_int_equal(gif->ImageCount, N);
    assert_int_equal(gif->SWidth, W * 2);
    for (int f = 0; f < N; f++) {
        const SavedImage *s = &gif->SavedImages[f];
        for (int y = 0; y < H * 2; y++)
            for (int x = 0; x < W * 2; x++) {
                GifColorType c = gif->SColorMap->Colors[s->RasterBits[y * W * 2 + x]];
                assert_int_equal(c.Red, 255 - pixels[f * W * H + y / 2 * W + x / 2]);
            }
        GraphicsControlBlock control;
        assert_int_equal(DGifSavedExtensionToGCB(gif, f, &control), GIF_OK);
        assert_int_equal(control.DelayTime, 10);
    }
    DGifCloseFile(gif, &code);
    free(pixels);
}

// A program `ffmpeg` of our own as the only thing in PATH.
static void fake_ffmpeg(const char *folder, const char *script) {
    char path[PATH_SIZE], text[400];
    struct error e = {0};
    snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
    assert_true(path_join(path, folder, "ffmpeg", &e));
    put_file(path, text, strlen(text));
    assert_int_equal(chmod(path, 0755), 0);
}

static int count_files(const char *folder) {
    int n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *d; (d = readdir(dir));) n += d->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void an_ffmpeg_that_is_missing_fails_or_dies_is_only_a_notice(void **state) {
    (void)state;
    char *old_path = mem_strdup(getenv("PATH"));
    uint8_t *pixels = sample_frames(200, 81, 71);
    struct video_frames v = {
        .width = 81, .height = 71, .n = 200, .pixels = pixels, .frames_per_second = 10, .scale = 2};
    static const struct {
        const char *script, *message;
    } cases[] = {
        {NULL, "there is no ffmpeg in PATH"},
        {"exit 1", "ffmpeg failed"},
        {"exec <&-; exit 0", "ffmpeg failed"}, // closes the pipe at once: we get SIGPIPE
        {"read x; kill -9 $$", "ffmpeg failed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char bin[PATH_SIZE], out[PATH_SIZE];
        struct error e = {0};
        snprintf(bin, sizeof bin, "%s", test_folder());
        snprintf(out, sizeof out, "%s", test_folder());
        if (cases[i].script) fake_ffmpeg(bin, cases[i].script);
        setenv("PATH", bin, 1);
        bool fine = video_write_mp4(file_in(out, "x.mp4"), &v, &e);
        setenv("PATH", old_path, 1);
        assert_false(fine);
        assert_int_equal(e.status, STATUS_SKIPPED);
        if (!strstr(e.message, cases[i].message)) fail_msg("case %zu: %s", i, e.message);
        assert_int_equal(count_files(out), 0);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); // no child is left behind
    }
    sigset_t pending;
    sigpending(&pending);
    assert_false(sigismember(&pending, SIGPIPE));
    free(old_path);
    free(pixels);
}

static void ffmpeg_gets_every_frame_padded_to_even_sides(void **state) {
    (void)state;
    char *old_path = mem_strdup(getenv("PATH")), bin[PATH_SIZE];
    uint8_t *pixels = sample_frames(30, 81, 71), *data;
    size_t n;
    struct error e = {0};
    snprintf(bin, sizeof bin, "%s", test_folder());
    fake_ffmpeg(bin, "for last; do :; done; exec /bin/cat > \"${last#file:}\"");
    setenv("PATH", bin, 1);
    const char *path = file_in(test_folder(), "x.mp4");
    struct video_frames v = {
        .width = 81, .height = 71, .n = 30, .pixels = pixels, .frames_per_second = 10};
    bool fine = video_write_mp4(path, &v, &e);
    setenv("PATH", old_path, 1);
    if (!fine) fail_msg("%s", e.message);
    assert_true(file_read(path, 1 << 24, &data, &n, &e));
    assert_int_equal(n, 30 * 82 * 72);
    assert_int_equal(data[82], 255 - pixels[81]); // second row, first pixel
    assert_int_equal(data[29 * 82 * 72 + 81], data[29 * 82 * 72 + 80]);
    free(data);
    free(pixels);
    free(old_path);
}

static void the_real_ffmpeg_makes_a_movie(void **state) {
    (void)state;
    uint8_t *pixels = sample_frames(20, 80, 72);
    struct error e = {0};
    const char *path = file_in(test_folder(), "x.mp4");
    struct video_frames v = {
        .width = 80, .height = 72, .n = 20, .pixels = pixels, .frames_per_second = 10, .scale = 3};
    bool fine = video_write_mp4(path, &v, &e);
    free(pixels);
    if (!fine) {
        printf("skipped: %s\n", e.message);
        skip();
    }
    assert_true(holds(path, "ftyp"));
    assert_true(holds(path, "moov"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_png_holds_the_pixels_and_the_notes),
        cmocka_unit_test(drawing_outside_the_canvas_is_clipped),
        cmocka_unit_test(letters_differ_from_each_other),
        cmocka_unit_test(an_unwritable_picture_is_one_line),
        cmocka_unit_test(a_plot_shows_curves_and_marks_what_is_not_finite),
        cmocka_unit_test(bands_are_drawn_around_their_curve_in_colours_of_their_own),
        cmocka_unit_test(plots_of_nothing_of_one_record_and_of_extreme_values_are_fine),
        cmocka_unit_test(equal_runs_give_equal_plots),
        cmocka_unit_test(a_strip_shows_every_picture_unchanged),
        cmocka_unit_test(a_gif_holds_every_frame_in_its_shades),
        cmocka_unit_test(an_ffmpeg_that_is_missing_fails_or_dies_is_only_a_notice),
        cmocka_unit_test(ffmpeg_gets_every_frame_padded_to_even_sides),
        cmocka_unit_test(the_real_ffmpeg_makes_a_movie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
