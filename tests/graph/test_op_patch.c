// Convolution without a border, ReLU and stacks of packed2 frames (the PPO network's ops).
#include "base/philox.h"
#include "engine/graph/backend.h"
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

// The CPU computes these with their ReLU inside (fuse.c). Biases of either sign that weights are
// small beside keep the outputs away from 0, where differences mean nothing.
#define RELU_CASE(name, N, HEIGHT, WIDTH, CI, CO, K, S)                                            \
    static const struct conv_case name##_case = {N, HEIGHT, WIDTH, CI, CO, K, S};                  \
    static void name##_reference(const double *const *leaf, double *y) {                           \
        const int hs = (HEIGHT - K) / S + 1, ws = (WIDTH - K) / S + 1;                             \
        double b[CO];                                                                              \
        for (int i = 0; i < CO; i++) b[i] = leaf[2][i] + tanh(1000 * leaf[3][i]);                  \
        conv(&name##_case, leaf[0], leaf[1], b, y);                                                \
        for (int i = 0; i < N * hs * ws * CO; i++) y[i] = y[i] > 0 ? y[i] : 0;                     \
    }                                                                                              \
    static struct tensor *name##_build(struct graph *g, struct tensor **leaf) {                    \
        struct tensor *sign = g_tanh(g, g_affine(g, leaf[3], 1000, 0));                            \
        struct tensor *b = g_add(g, leaf[2], sign);                                                \
        return g_relu(g, g_conv_valid(g, leaf[0], leaf[1], b, S));                                 \
    }                                                                                              \
    static const struct leaf name##_leaves[] = {{"x", 4, {N, HEIGHT, WIDTH, CI}, -1, 1, false},    \
                                                {"w", 4, {CO, CI, K, K}, -0.02, 0.02, false},      \
                                                {"b", 1, {CO}, -0.5, 0.5, false},                  \
                                                {"sign", 1, {CO}, -1, 1, true}};
RELU_CASE(relu_two, 18, 9, 11, 8, 64, 4, 2)
RELU_CASE(relu_three, 5, 6, 5, 16, 32, 3, 1)

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

#define RELU_TEST(name)                                                                            \
    grad_check(                                                                                    \
        &(struct grad_case){name##_leaves, 4, name##_build, name##_reference, 3e-6, 0, false})

static void convolutions_with_their_relu_match_their_formula_and_gradient(void **state) {
    (void)state;
    RELU_TEST(relu_two);
    RELU_TEST(relu_three);
}

// Two graphs of stacks -> image -> convolution -> ReLU and all gradients: one that may be fused,
// one in which image and convolution are kept and so made.
static void fused_convolutions_give_what_their_nodes_give(void **state) {
    (void)state;
    enum { N = 21, K = 4, H = 20, W = 24, CO = 32, PIXELS = H * W };
    struct params sets[2];
    struct graph *g[2];
    struct tensor *y[2];
    struct pool *pool = pool_new(2);
    for (int i = 0; i < 2; i++) {
        params_init(&sets[i]);
        params_add(&sets[i], "w", 4, (int64_t[]){CO, K, 8, 8});
        params_add(&sets[i], "b", 1, (int64_t[]){CO});
        params_allocate(&sets[i]);
        for (int64_t k = 0; k < sets[i].n_flat; k++)
            sets[i].weights[k] = (real)rng_uniform(3, RNG_TEST, 0, (uint32_t)k) - (real)0.5;
        g[i] = graph_new();
        struct tensor *stacks = g_input(g[i], "stacks", DTYPE_U8, 3, (int64_t[]){N, K, PIXELS / 4});
        struct tensor *x = g_unpack_stack(g[i], stacks, H, W);
        struct tensor *c =
            g_conv_valid(g[i], x, g_param(g[i], &sets[i], "w"), g_param(g[i], &sets[i], "b"), 4);
        y[i] = g_relu(g[i], c);
        struct tensor *loss = g_mean(g[i], g_mul(g[i], y[i], y[i]));
        graph_keep(g[i], y[i]);
        if (i == 1) graph_keep(g[i], x);
        if (i == 1) graph_keep(g[i], c);
        graph_gradients(g[i], loss);
        graph_plan(g[i]);
        for (int64_t k = 0; k < stacks->n_elements; k++)
            ((uint8_t *)stacks->data)[k] = (uint8_t)(k * 2654435761u >> 13);
        assert_true(i == 1 || backend_chosen() || (!x->data && !c->data)); // never made
        struct executor *ex = executor_new(g[i], pool);
        executor_run(ex);
        executor_free(ex);
    }
    const struct param *w = params_find(&sets[0], "w"), *b = params_find(&sets[0], "b");
    assert_memory_equal(y[0]->data, y[1]->data, (size_t)y[0]->n_elements * sizeof(real));
    assert_memory_equal(params_grads(&sets[0], w), params_grads(&sets[1], w),
                        (size_t)w->n_elements * sizeof(real));
    for (int64_t k = 0; k < CO; k++) { // summed in another order
        const double one = (double)params_grads(&sets[0], b)[k],
                     other = (double)params_grads(&sets[1], b)[k];
        assert_true(fabs(one - other) <= 1e-5 * (fabs(other) + 1e-3));
        assert_true(other != 0);
    }
    for (int i = 0; i < 2; i++) {
        graph_free(g[i]);
        params_deinit(&sets[i]);
    }
    pool_free(pool);
}

// What a second ReLU reads, or what lies in a stack, is made: no convolution may take it in.
static void what_others_read_is_made_where_it_lies(void **state) {
    (void)state;
    enum { N = 2, K = 4, H = 16, W = 16, CO = 16, BYTES = H * W / 4 };
    struct params set;
    params_init(&set);
    params_add(&set, "w", 4, (int64_t[]){CO, K, 8, 8});
    params_add(&set, "b", 1, (int64_t[]){CO});
    params_allocate(&set);
    for (int64_t k = 0; k < set.n_flat; k++)
        set.weights[k] = (real)rng_uniform(3, RNG_TEST, 1, (uint32_t)k) - (real)0.5;
    struct graph *g = graph_new();
    struct tensor *w = g_param(g, &set, "w"), *b = g_param(g, &set, "b"), *part[2], *y[4];
    struct tensor *stacks = g_input(g, "stacks", DTYPE_U8, 3, (int64_t[]){2 * N, K, BYTES});
    struct tensor *c = g_conv_valid(g, g_unpack_stack(g, stacks, H, W), w, b, 4);
    for (int i = 0; i < 2; i++) y[i] = g_relu(g, c);
    for (int i = 0; i < 2; i++) part[i] = g_unpack_stack(g, g_slice(g, stacks, i * N, N), H, W);
    y[2] = g_relu(g, g_conv_valid(g, g_stack(g, part, 2), w, b, 4));
    y[3] = g_relu(g, g_conv_valid(g, part[0], w, b, 4));
    for (int i = 0; i < 4; i++) graph_keep(g, y[i]);
    graph_plan(g);
    for (int64_t k = 0; k < stacks->n_elements; k++)
        ((uint8_t *)stacks->data)[k] = (uint8_t)(k * 2654435761u >> 13);
    struct pool *pool = pool_new(1);
    struct executor *ex = executor_new(g, pool);
    executor_run(ex);
    int positive = 0;
    for (int64_t k = 0; k < y[0]->n_elements; k++) positive += reals(y[0])[k] > 0;
    assert_in_range(positive, 100, y[0]->n_elements - 100);
    for (int i = 1; i < 4; i++)
        assert_memory_equal(y[i]->data, y[0]->data, (size_t)y[i]->n_elements * sizeof(real));
    executor_free(ex);
    pool_free(pool);
    graph_free(g);
    params_deinit(&set);
}

// As on a device, which runs the two one by one.
static void a_bad_number_is_the_convolutions_not_its_relus(void **state) {
    (void)state;
    const int64_t shape[] = {16, 4, 8, 8}, channels = 16;
    struct params set;
    params_init(&set);
    params_add(&set, "w", 4, shape);
    params_add(&set, "b", 1, &channels);
    params_allocate(&set);
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 4, (int64_t[]){2, 16, 16, 4});
    struct tensor *c = g_conv_valid(g, x, g_param(g, &set, "w"), g_param(g, &set, "b"), 4);
    struct tensor *y = g_relu(g, c);
    graph_keep(g, y);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = executor_new(g, pool);
    assert_null(executor_find_nonfinite(ex));
    for (int64_t i = 0; i < x->n_elements; i++) reals(x)[i] = 1;
    const real huge = sizeof(real) == sizeof(float) ? (real)1e37 : (real)1e307;
    for (int64_t i = 0; i < 4 * 64; i++) set.weights[i] = i < 128 ? huge : -huge / 2;
    assert_ptr_equal(executor_find_nonfinite(ex), c);
    executor_free(ex);
    pool_free(pool);
    graph_free(g);
    params_deinit(&set);
}

// One kernel with two strides: the one is packed for tiles, the other is not.
enum { TWO_CO = 16, TWO_SIZE = 2 * 4 * 4 * TWO_CO }; // of what comes out of each
static const struct conv_case fast_case = {2, 10, 10, 8, TWO_CO, 4, 2},
                              slow_case = {2, 7, 7, 8, TWO_CO, 4, 1};

static struct tensor *strides_build(struct graph *g, struct tensor **leaf) {
    struct tensor *y[] = {g_conv_valid(g, leaf[0], leaf[2], leaf[3], 2),
                          g_conv_valid(g, leaf[1], leaf[2], leaf[3], 1)};
    return g_stack(g, y, 2);
}

static void strides_reference(const double *const *leaf, double *y) {
    conv(&fast_case, leaf[0], leaf[2], leaf[3], y);
    conv(&slow_case, leaf[1], leaf[2], leaf[3], y + TWO_SIZE);
}

static void a_kernel_with_two_strides_is_packed_for_each(void **state) {
    (void)state;
    static const struct leaf two[] = {{"fast", 4, {2, 10, 10, 8}, -1, 1, false},
                                      {"slow", 4, {2, 7, 7, 8}, -1, 1, false},
                                      {"w", 4, {TWO_CO, 8, 4, 4}, -1, 1, false},
                                      {"b", 1, {TWO_CO}, -1, 1, false}};
    grad_check(&(struct grad_case){two, 4, strides_build, strides_reference, 3e-6, 0, false});
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
        cmocka_unit_test(convolutions_with_their_relu_match_their_formula_and_gradient),
        cmocka_unit_test(fused_convolutions_give_what_their_nodes_give),
        cmocka_unit_test(what_others_read_is_made_where_it_lies),
        cmocka_unit_test(a_bad_number_is_the_convolutions_not_its_relus),
        cmocka_unit_test(a_kernel_with_two_strides_is_packed_for_each),
        cmocka_unit_test(gradients_of_shared_weights_and_images_add_up),
        cmocka_unit_test(relu_matches_its_formula_and_gradient),
        cmocka_unit_test(relu_keeps_a_nan_and_stops_the_gradient_at_zero),
        cmocka_unit_test(stacks_become_images_with_one_channel_per_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
