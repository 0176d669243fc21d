// Convolution, transposed convolution, image layouts and packed2 frames.
#include "support/grad_check.h"

// y[n, Y, X, o] = sum_c,ky,kx w[o, c, ky, kx] x[n, 2Y - 1 + ky, 2X - 1 + kx, c]
static void conv(const double *x, const double *w, double *y, int n, int height, int width, int ci,
                 int co) {
    int hs = height / 2, ws = width / 2;
    for (int i = 0; i < n * hs * ws * co; i++) {
        int o = i % co, c_x = i / co % ws, c_y = i / co / ws % hs, image = i / co / ws / hs;
        y[i] = 0;
        for (int k = 0; k < ci * 16; k++) {
            int c = k / 16, yy = 2 * c_y - 1 + k % 16 / 4, xx = 2 * c_x - 1 + k % 4;
            if (yy < 0 || xx < 0 || yy >= height || xx >= width) continue;
            y[i] += w[o * ci * 16 + k] * x[((image * height + yy) * width + xx) * ci + c];
        }
    }
}

// Each source pixel spreads over the 4 x 4 pixels its kernel covers.
static void deconv(const double *x, const double *w, const double *bias, double *y, int n,
                   int height, int width, int ci, int co) {
    for (int i = 0; i < n * 4 * height * width * co; i++) y[i] = bias ? bias[i % co] : 0;
    for (int i = 0; i < n * height * width * ci; i++) {
        int c = i % ci, j = i / ci % width, k = i / ci / width % height,
            image = i / ci / width / height;
        for (int t = 0; t < co * 16; t++) {
            int o = t / 16, yy = 2 * k - 1 + t % 16 / 4, xx = 2 * j - 1 + t % 4;
            if (yy < 0 || xx < 0 || yy >= 2 * height || xx >= 2 * width) continue;
            y[((image * 2 * height + yy) * 2 * width + xx) * co + o] += w[c * co * 16 + t] * x[i];
        }
    }
}

static struct tensor *conv_build(struct graph *g, struct tensor **leaf) {
    return g_conv(g, leaf[0], leaf[1]);
}
static struct tensor *deconv_build(struct graph *g, struct tensor **leaf) {
    return g_deconv(g, leaf[0], leaf[1], leaf[2]);
}
static struct tensor *deconv_plain_build(struct graph *g, struct tensor **leaf) {
    return g_deconv(g, leaf[0], leaf[1], NULL);
}

#define CONV_CASE(name, N, HEIGHT, WIDTH, CI, CO)                                                  \
    static void name##_reference(const double *const *leaf, double *y) {                           \
        conv(leaf[0], leaf[1], y, N, HEIGHT, WIDTH, CI, CO);                                       \
    }                                                                                              \
    static const struct leaf name[] = {{"x", 4, {N, HEIGHT, WIDTH, CI}, -1, 1, false},             \
                                       {"w", 4, {CO, CI, 4, 4}, -1, 1, false}};
#define DECONV_CASE(name, N, HEIGHT, WIDTH, CI, CO)                                                \
    static void name##_reference(const double *const *leaf, double *y) {                           \
        deconv(leaf[0], leaf[1], leaf[2], y, N, HEIGHT, WIDTH, CI, CO);                            \
    }                                                                                              \
    static void name##_plain_reference(const double *const *leaf, double *y) {                     \
        deconv(leaf[0], leaf[1], NULL, y, N, HEIGHT, WIDTH, CI, CO);                               \
    }                                                                                              \
    static const struct leaf name[] = {{"x", 4, {N, HEIGHT, WIDTH, CI}, -1, 1, false},             \
                                       {"w", 4, {CI, CO, 4, 4}, -1, 1, false},                     \
                                       {"bias", 1, {CO}, -1, 1, false}};

CONV_CASE(one_channel, 3, 8, 6, 1, 8)
CONV_CASE(odd, 2, 9, 7, 3, 5)
CONV_CASE(wide, 20, 18, 20, 8, 16)
CONV_CASE(tiled, 2, 9, 8, 24, 16)
DECONV_CASE(to_one, 3, 4, 5, 8, 1)
DECONV_CASE(small, 2, 3, 4, 5, 3)
DECONV_CASE(to_many, 20, 9, 10, 16, 8)
DECONV_CASE(from_tiles, 2, 3, 5, 16, 24)

#define CONV_TEST(name, leaves)                                                                    \
    grad_check(&(struct grad_case){leaves, 2, conv_build, name##_reference, 3e-6, 0, false})
#define DECONV_TEST(name)                                                                          \
    grad_check(&(struct grad_case){name, 3, deconv_build, name##_reference, 3e-6, 0, false});      \
    grad_check(                                                                                    \
        &(struct grad_case){name, 2, deconv_plain_build, name##_plain_reference, 3e-6, 0, false})

static void conv_matches_its_formula_and_gradient(void **state) {
    (void)state;
    CONV_TEST(one_channel, one_channel);
    CONV_TEST(odd, odd);
    CONV_TEST(wide, wide);
    CONV_TEST(tiled, tiled);
}

static void deconv_matches_its_formula_and_gradient(void **state) {
    (void)state;
    DECONV_TEST(to_one);
    DECONV_TEST(small);
    DECONV_TEST(to_many);
    DECONV_TEST(from_tiles);
}

// Two convolutions with the same weights, and x read twice: contributions add.
static struct tensor *shared_build(struct graph *g, struct tensor **leaf) {
    struct tensor *y = g_conv(g, leaf[0], leaf[1]), *z = g_conv(g, g_tanh(g, leaf[0]), leaf[1]);
    struct tensor *back = g_deconv(g, g_mul(g, y, z), leaf[1], NULL);
    return g_conv(g, g_add(g, back, leaf[0]), leaf[1]);
}
static void shared_kernels_add_up(void **state) {
    (void)state;
    static const struct leaf shared[] = {{"x", 4, {2, 6, 8, 3}, -1, 1, false},
                                         {"w", 4, {5, 3, 4, 4}, -0.3, 0.3, false}};
    grad_check(&(struct grad_case){shared, 2, shared_build, NULL, 0, 1e-6, false});
}

// ---- layouts

enum { LN = 3, LH = 2, LW = 5, LC = 4 };
static struct tensor *chw_build(struct graph *g, struct tensor **leaf) {
    return g_hwc_to_chw(g, leaf[0]);
}
static struct tensor *hwc_build(struct graph *g, struct tensor **leaf) {
    return g_chw_to_hwc(g, leaf[0], LH, LW, LC);
}
static struct tensor *both_build(struct graph *g,
                                 struct tensor **leaf) { // leaf gets two contributions
    struct tensor *there = g_hwc_to_chw(g, leaf[0]);
    struct tensor *back = g_chw_to_hwc(g, g_mul(g, there, there), LH, LW, LC);
    return g_add(g, g_hwc_to_chw(g, g_mul(g, back, leaf[0])), g_hwc_to_chw(g, leaf[0]));
}
static void chw_reference(const double *const *leaf, double *y) {
    for (int n = 0; n < LN; n++)
        for (int p = 0; p < LH * LW; p++)
            for (int c = 0; c < LC; c++)
                y[(n * LC + c) * LH * LW + p] = leaf[0][(n * LH * LW + p) * LC + c];
}
static void hwc_reference(const double *const *leaf, double *y) {
    for (int n = 0; n < LN; n++)
        for (int p = 0; p < LH * LW; p++)
            for (int c = 0; c < LC; c++)
                y[(n * LH * LW + p) * LC + c] = leaf[0][(n * LC + c) * LH * LW + p];
}
static void layouts_are_transposed_there_and_back(void **state) {
    (void)state;
    static const struct leaf image[] = {{"x", 4, {LN, LH, LW, LC}, -1, 1, false}};
    static const struct leaf flat[] = {{"x", 2, {LN, LC * LH * LW}, -1, 1, false}};
    grad_check(&(struct grad_case){image, 1, chw_build, chw_reference, 0, 0, false});
    grad_check(&(struct grad_case){flat, 1, hwc_build, hwc_reference, 0, 0, false});
    grad_check(&(struct grad_case){image, 1, both_build, NULL, 0, 0, false});
}

// ---- packed2

static void packed_frames_become_four_levels_first_pixel_in_the_low_bits(void **state) {
    (void)state;
    enum { FRAMES = 3, HEIGHT = 72, WIDTH = 80, BYTES = HEIGHT * WIDTH / 4 };
    struct graph *g = graph_new();
    struct tensor *packed =
        g_input(g, "packed", DTYPE_U8, 4, (int64_t[]){FRAMES, 1, HEIGHT, WIDTH / 4});
    struct tensor *x = g_unpack2(g, packed, HEIGHT, WIDTH);
    assert_int_equal(x->n_dims, 4);
    assert_int_equal(x->shape[3], 1);
    graph_keep(g, x);
    graph_plan(g);
    struct pool *pool = pool_new(2);
    struct executor *ex = cpu_executor_new(g, pool);
    uint8_t *bytes = packed->data;
    for (int i = 0; i < FRAMES * BYTES; i++) bytes[i] = (uint8_t)(i * 37);
    executor_run(ex);
    static const uint32_t bits[4] = {0xBF000000, 0xBE2AAAAA, 0x3E2AAAAC, 0x3F000000}; // spec 1.1
    for (int i = 0; i < FRAMES * BYTES * 4; i++) {
        int shade = bytes[i / 4] >> 2 * (i % 4) & 3;
        real got = ((real *)x->data)[i];
        if (sizeof(real) == sizeof(float))
            assert_memory_equal(&got, &bits[shade], sizeof(float));
        else
            assert_true(fabs((double)got - (shade / 3.0 - 0.5)) < 1e-15);
    }
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_matches_its_formula_and_gradient),
        cmocka_unit_test(deconv_matches_its_formula_and_gradient),
        cmocka_unit_test(shared_kernels_add_up),
        cmocka_unit_test(layouts_are_transposed_there_and_back),
        cmocka_unit_test(packed_frames_become_four_levels_first_pixel_in_the_low_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
