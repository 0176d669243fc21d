// Layers: names and shapes of the parameters, concatenation without a copy, two-hot bins.
#include "support/test.h"

#include <math.h>

#include "engine/nn/init.h"
#include "engine/nn/layers.h"

static void names_and_shapes_are_sheeprls(void **state) {
    (void)state;
    // clang-format off
    static const struct { const char *name; int n_dims; int64_t shape[4]; } expected[] = {
        {"reward_model._model.0.weight", 2, {6, 28}}, {"reward_model._model.1.weight", 1, {6}},
        {"reward_model._model.1.bias", 1, {6}},       {"reward_model._model.3.weight", 2, {6, 6}},
        {"reward_model._model.4.weight", 1, {6}},     {"reward_model._model.4.bias", 1, {6}},
        {"reward_model._model.6.weight", 2, {255, 6}}, {"reward_model._model.6.bias", 1, {255}},
        {"enc.0.weight", 4, {2, 1, 4, 4}}, {"enc.1.weight", 1, {2}}, {"enc.1.bias", 1, {2}},
        {"enc.3.weight", 4, {4, 2, 4, 4}}, {"enc.4.weight", 1, {4}}, {"enc.4.bias", 1, {4}},
        {"enc.6.weight", 4, {8, 4, 4, 4}}, {"enc.7.weight", 1, {8}}, {"enc.7.bias", 1, {8}},
        {"dec.0.weight", 4, {8, 4, 4, 4}}, {"dec.1.weight", 1, {4}}, {"dec.1.bias", 1, {4}},
        {"dec.3.weight", 4, {4, 2, 4, 4}}, {"dec.4.weight", 1, {2}}, {"dec.4.bias", 1, {2}},
        {"dec.6.weight", 4, {2, 1, 4, 4}}, {"dec.6.bias", 1, {1}},
    };
    // clang-format on
    struct params p;
    params_init(&p);
    nn_add_mlp(&p, NN_LAYER_NORM, "reward_model._model", 28, 6, 2, 255);
    nn_add_conv_encoder(&p, "enc", 1, 2);
    nn_add_conv_decoder(&p, "dec", 2, 1);
    int n = (int)(sizeof expected / sizeof expected[0]);
    assert_int_equal(p.n, n);
    for (int i = 0; i < n; i++) {
        assert_string_equal(p.list[i].name, expected[i].name);
        assert_int_equal(p.list[i].n_dims, expected[i].n_dims);
        for (int d = 0; d < expected[i].n_dims; d++)
            assert_int_equal(p.list[i].shape[d], expected[i].shape[d]);
    }
    params_deinit(&p);
}

static double silu(double x) { return x / (1 + exp(-x)); }

// A model of one hidden and one output layer, written out.
static void reference(const struct params *p, const double *x, int in, int units, int out,
                      double *y) {
    const real *w = params_weights(p, params_find(p, "m.0.weight")),
               *gamma = params_weights(p, params_find(p, "m.1.weight"));
    const real *beta = params_weights(p, params_find(p, "m.1.bias")),
               *w2 = params_weights(p, params_find(p, "m.3.weight"));
    const real *b2 = params_weights(p, params_find(p, "m.3.bias"));
    double hidden[32], mean = 0, variance = 0;
    for (int j = 0; j < units; j++) {
        hidden[j] = 0;
        for (int i = 0; i < in; i++) hidden[j] += x[i] * (double)w[j * in + i];
        mean += hidden[j] / units;
    }
    for (int j = 0; j < units; j++) variance += (hidden[j] - mean) * (hidden[j] - mean) / units;
    for (int j = 0; j < units; j++)
        hidden[j] =
            silu((hidden[j] - mean) / sqrt(variance + 1e-3) * (double)gamma[j] + (double)beta[j]);
    for (int k = 0; k < out; k++) {
        y[k] = (double)b2[k];
        for (int j = 0; j < units; j++) y[k] += hidden[j] * (double)w2[k * units + j];
    }
}

static int probed;
static void count_probe(void *ctx, const char *submodule, struct tensor *output) {
    static const char *const expected[] = {"m.0", "m.2", "m.3"};
    (void)ctx;
    assert_non_null(output);
    assert_string_equal(submodule, expected[probed]);
    probed++;
}

static void a_list_of_parts_is_their_concatenation(void **state) {
    (void)state;
    enum { ROWS = 3, LEFT = 5, RIGHT = 4, UNITS = 7, OUT = 2 };
    struct params p;
    params_init(&p);
    nn_add_mlp(&p, NN_LAYER_NORM, "m", LEFT + RIGHT, UNITS, 1, OUT);
    params_allocate(&p);
    init_params(&p, 1, NULL, NULL);
    for (int64_t i = 0; i < p.n_flat; i++)
        p.weights[i] += (real)(0.1 * sin((double)i)); // no zero bias, no unit scale
    struct pool *pool = pool_new(1);
    struct graph *g = graph_new();
    struct nn nn = {.graph = g,
                    .params = &p,
                    .dense_eps = (real)1e-3,
                    .conv_eps = (real)1e-3,
                    .probe = count_probe};
    struct tensor *a = g_input(g, "a", DTYPE_REAL, 2, (int64_t[]){ROWS, LEFT});
    struct tensor *b = g_input(g, "b", DTYPE_REAL, 2, (int64_t[]){ROWS, RIGHT});
    struct tensor *y = nn_mlp(&nn, "m", (struct tensor *[]){a, b}, 2, 1, true);
    assert_int_equal(probed, 3);
    graph_keep(g, y);
    graph_plan(g);
    struct executor *ex = cpu_executor_new(g, pool);
    for (int i = 0; i < ROWS * LEFT; i++) ((real *)a->data)[i] = (real)cos(i);
    for (int i = 0; i < ROWS * RIGHT; i++) ((real *)b->data)[i] = (real)sin(3 * i);
    executor_run(ex);
    for (int r = 0; r < ROWS; r++) {
        double x[LEFT + RIGHT], expected[OUT];
        for (int i = 0; i < LEFT; i++) x[i] = (double)((real *)a->data)[r * LEFT + i];
        for (int i = 0; i < RIGHT; i++) x[LEFT + i] = (double)((real *)b->data)[r * RIGHT + i];
        reference(&p, x, LEFT + RIGHT, UNITS, OUT, expected);
        for (int k = 0; k < OUT; k++)
            assert_true(fabs((double)((real *)y->data)[r * OUT + k] - expected[k]) < 1e-5);
    }
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
    params_deinit(&p);
}

static void bins_are_evenly_spaced_and_antisymmetric(void **state) {
    (void)state;
    for (int64_t n = 2; n <= 255; n++) {
        real bins[255];
        nn_twohot_bins(bins, n);
        assert_true(bins[0] == -20 && bins[n - 1] == 20);
        for (int64_t i = 0; i < n; i++) assert_true(bins[i] == -bins[n - 1 - i]);
        for (int64_t i = 1; i < n; i++)
            assert_true(fabs((double)(bins[i] - bins[i - 1]) - 40.0 / (double)(n - 1)) < 1e-5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_shapes_are_sheeprls),
        cmocka_unit_test(a_list_of_parts_is_their_concatenation),
        cmocka_unit_test(bins_are_evenly_spaced_and_antisymmetric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
