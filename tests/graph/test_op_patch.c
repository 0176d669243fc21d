// Convolution without a border, ReLU and stacks of packed2 frames (the PPO network's ops).
#include "base/philox.h"
#include "support/grad_check.h"

struct conv_case {
    int n, height, width, ci, co, kernel, stride;
};

// y[n, Y, X, o] = b[o] + sum_c,ky,kx w[o, c, ky, kx] x[n, s Y + ky, s X + kx, c]
static void conv(const struct conv_case *c, const double *x, const double *w, const double *b,
                 double *y) {
    int hs = (c->height - c->kernel) / c->stride + 1, ws = (c->width - c->kernel) / c->stride + 1;
    int taps = c->kernel * c->kernel;
    for (int i = 0; i < c->n * hs * ws * c->co; i++) {
        int o = i % c->co, left = i / c->co % ws, top = i / c->co / ws % hs,
            image = i / c->co / ws / hs;
        y[i] = b[o];
        for (int k = 0; k < c->ci * taps; k++) {
            int yy = c->stride * top + k % taps / c->kernel, xx = c->stride * left + k % c->kernel;
            y[i] += w[o * c->ci * taps + k] *
                    x[((image * c->height + yy) * c->width + xx) * c->ci + k / taps];
        }
    }
}

#define CONV_CASE(name, N, HEIGHT, WIDTH, CI, CO, K, S)                                            \
    static const struct conv_case name##_case = {N, HEIGHT, WIDTH, CI, CO, K, S};                  \
    static void name##_reference(const double *const *leaf, double *y) {                           \
        conv(&name##_case, leaf[0], leaf[1], leaf[2], y);                                          \
    }                                                                                              \
    static struct tensor *name##_build(struct graph *g, struct tensor **leaf) {                    \
        return g_conv_valid(g, leaf[0], leaf[1], leaf[2], S);                                      \
    }                                                                                              \
    static const struct leaf name##_leaves[] = {{"x", 4, {N, HEIGHT, WIDTH, CI}, -1, 1, false},    \
                                                {"w", 4, {CO, CI, K, K}, -1, 1, false},            \
                                                {"b", 1, {CO}, -1, 1, false}};
CONV_CASE(first, 2, 16, 20, 4, 32, 8, 4) // conv1's kernel; 17 and 19 are tested by the fixture
CONV_CASE(second, 3, 9, 11, 8, 64, 4, 2) // an odd row and column are left out
CONV_CASE(third, 20, 5, 6, 16, 16, 3, 1) // more images than slices, overlapping patches
CONV_CASE(odd, 1, 7, 5, 4, 48, 2, 3)     // gaps between patches: their gradient is zero
CONV_CASE(one, 2, 9, 8, 1, 16, 8, 4)     // one channel

#define CONV_TEST(name)                                                                            \
    grad_check(                                                                                    \
        &(struct grad_case){name##_leaves, 3, name##_build, name##_reference, 3e-6, 0, false})

static void convolutions_without_border_match_their_formula_and_gradient(void **state) {
    (void)state;
    CONV_TEST(first);
    CONV_TEST(second);
    CONV_TEST(third);
    CONV_TEST(odd);
    CONV_TEST(one);
}

// One convolution used twice, its input read by others too: contributions add.
static struct tensor *shared_build(struct graph *g, struct tensor **leaf) {
    struct tensor *y = g_conv_valid(g, leaf[0], leaf[1], leaf[2], 1);
    return g_add(g, y, g_conv_valid(g, g_tanh(g, leaf[0]), leaf[1], leaf[2], 1));
}

static void gradients_of_shared_weights_and_images_add_up(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"x", 4, {3, 5, 6, 4}, -1, 1, false},
                                         {"w", 4, {16, 4, 3, 3}, -1, 1, false},
                                         {"b", 1, {16}, -1, 1, false}};
    grad_check(&(struct grad_case){leaves, 3, shared_build, NULL, 0, 0, false});
}

static struct tensor *relu_build(struct graph *g, struct tensor **leaf) {
    return g_relu(g, leaf[0]);
}
static struct tensor *relu_shared_build(struct graph *g, struct tensor **leaf) {
    return g_mul(g, leaf[0], g_relu(g, leaf[0]));
}

static void relu_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < 150; i++) y[i] = leaf[0][i] > 0 ? leaf[0][i] : 0;
}

static void relu_matches_its_formula_and_gradient(void **state) {
    (void)state;
    // Away from 0, where central differences mean nothing.
    static const struct leaf above[] = {{"x", 2, {5, 30}, 0.1, 1, false}};
    static const struct leaf below[] = {{"x", 2, {5, 30}, -1, -0.1, false}};
    static const struct leaf mixed[] = {{"x", 2, {5, 30}, -1, 1, false}};
    grad_check(&(struct grad_case){above, 1, relu_build, relu_reference, 0, 0, false});
    grad_check(&(struct grad_case){below, 1, relu_build, relu_reference, 0, 0, false});
    grad_check(&(struct grad_case){mixed, 1, relu_build, relu_reference, 0, 0, true});
    grad_check(&(struct grad_case){above, 1, relu_shared_build, NULL, 0, 0, false});
}

static void relu_keeps_a_nan_and_stops_the_gradient_at_zero(void **state) {
    (void)state;
    real x[] = {(real)NAN, 0, -1, 2}, y[4], dx[4], dy[] = {1, 1, 1, 1};
    kernels_get()->relu(4, x, y);
    assert_true(isnan((double)y[0]) && y[1] == 0 && y[2] == 0 && y[3] == 2);
    kernels_get()->relu_dx(3, y + 1, dy, dx, false);
    assert_true(dx[0] == 0 && dx[1] == 0 && dx[2] == 1);
}

// Random frames, every depth that a run may have: what the pixels are packed from comes out again.
static void stacks_become_images_with_one_channel_per_frame(void **state) {
    (void)state;
    enum { N = 3, MAX_K = 8, H = 6, W = 20, PIXELS = H * W };
    static uint8_t shades[N][MAX_K][PIXELS];
    for (int64_t depth = 1; depth <= MAX_K; depth++) {
        struct graph *g = graph_new();
        struct tensor *packed =
            g_input(g, "stacks", DTYPE_U8, 3, (int64_t[]){N, depth, PIXELS / 4});
        struct tensor *y = g_unpack_stack(g, packed, H, W);
        graph_keep(g, y);
        graph_plan(g);
        struct pool *pool = pool_new(1);
        struct executor *ex = cpu_executor_new(g, pool);
        uint8_t *bytes = packed->data;
        memset(bytes, 0, (size_t)packed->n_elements);
        for (int64_t i = 0; i < N * depth * PIXELS; i++) {
            const uint8_t shade = (uint8_t)rng_below(1, RNG_TEST, (uint64_t)i, (uint32_t)depth, 4);
            shades[i / (depth * PIXELS)][i / PIXELS % depth][i % PIXELS] = shade;
            bytes[i / 4] |= (uint8_t)(shade << i % 4 * 2);
        }
        executor_run(ex);
        for (int n = 0; n < N; n++)
            for (int p = 0; p < PIXELS; p++)
                for (int k = 0; k < depth; k++)
                    assert_true(reals(y)[(n * PIXELS + p) * depth + k] == (real)shades[n][k][p]);
        executor_free(ex);
        pool_free(pool);
        graph_free(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_without_border_match_their_formula_and_gradient),
        cmocka_unit_test(gradients_of_shared_weights_and_images_add_up),
        cmocka_unit_test(relu_matches_its_formula_and_gradient),
        cmocka_unit_test(relu_keeps_a_nan_and_stops_the_gradient_at_zero),
        cmocka_unit_test(stacks_become_images_with_one_channel_per_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
