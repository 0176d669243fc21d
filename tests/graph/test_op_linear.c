// Linear layers, LayerNorm and RMS norm: forward, gradient, memory, threads; groups of calls on the
// same weights.
#include "support/grad_check.h"

// ---- one layer: bias, addend, a part of the columns

enum { M = 5, K = 7, NOUT = 19, KTOTAL = 11, COLUMN = 3 };
static const struct leaf layer[] = {{"x", 2, {M, K}, -1, 1, false},
                                    {"w", 2, {NOUT, KTOTAL}, -1, 1, false},
                                    {"bias", 1, {NOUT}, -1, 1, false},
                                    {"addend", 2, {M, NOUT}, -1, 1, false}};

static struct tensor *layer_build(struct graph *g, struct tensor **leaf) {
    return g_linear(g, leaf[0], leaf[1], leaf[2], leaf[3], COLUMN);
}

static void layer_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < M; i++)
        for (int j = 0; j < NOUT; j++) {
            y[i * NOUT + j] = leaf[2][j] + leaf[3][i * NOUT + j];
            for (int k = 0; k < K; k++)
                y[i * NOUT + j] += leaf[0][i * K + k] * leaf[1][j * KTOTAL + COLUMN + k];
        }
}

static void linear_takes_columns_bias_and_addend(void **state) {
    (void)state;
    grad_check(&(struct grad_case){layer, 4, layer_build, layer_reference, 0, 0, false});
}

enum { BIG_M = 96, BIG_K = 130, BIG_N = 210 };
static struct tensor *big_build(struct graph *g, struct tensor **leaf) {
    return g_linear(g, leaf[0], leaf[1], leaf[2], NULL, 0);
}
static void big_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < BIG_M; i++)
        for (int j = 0; j < BIG_N; j++) {
            double sum = leaf[2][j];
            for (int k = 0; k < BIG_K; k++) sum += leaf[0][i * BIG_K + k] * leaf[1][j * BIG_K + k];
            y[i * BIG_N + j] = sum;
        }
}
static void big_layers_are_cut_into_shares(void **state) {
    (void)state;
    static const struct leaf big[] = {{"x", 2, {BIG_M, BIG_K}, -1, 1, false},
                                      {"w", 2, {BIG_N, BIG_K}, -1, 1, false},
                                      {"bias", 1, {BIG_N}, -1, 1, false}};
    grad_check(&(struct grad_case){big, 3, big_build, big_reference, 3e-6, 0, false});
}

// A layer on the concatenation [a, b]: two calls whose column blocks make up the matrix.
enum { KA = 6, KB = 5 };
static struct tensor *concat_build(struct graph *g, struct tensor **leaf) {
    struct tensor *first = g_linear(g, leaf[0], leaf[2], leaf[3], NULL, 0);
    return g_linear(g, leaf[1], leaf[2], NULL, first, KA);
}
static void concat_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < M; i++)
        for (int j = 0; j < NOUT; j++) {
            double sum = leaf[3][j];
            for (int k = 0; k < KA; k++) sum += leaf[0][i * KA + k] * leaf[2][j * (KA + KB) + k];
            for (int k = 0; k < KB; k++)
                sum += leaf[1][i * KB + k] * leaf[2][j * (KA + KB) + KA + k];
            y[i * NOUT + j] = sum;
        }
}
static const struct leaf concat[] = {{"a", 2, {M, KA}, -1, 1, false},
                                     {"b", 2, {M, KB}, -1, 1, false},
                                     {"w", 2, {NOUT, KA + KB}, -1, 1, false},
                                     {"bias", 1, {NOUT}, -1, 1, false}};
static void a_concatenation_is_two_calls(void **state) {
    (void)state;
    grad_check(&(struct grad_case){concat, 4, concat_build, concat_reference, 0, 0, false});
}

// Column blocks that overlap: the second call's gradient adds to columns of the first's and begins
// others.
static struct tensor *overlap_build(struct graph *g, struct tensor **leaf) {
    struct tensor *first = g_linear(g, leaf[0], leaf[2], leaf[3], NULL, 0);
    return g_linear(g, leaf[1], leaf[2], NULL, first, KA - 2);
}
static void overlapping_columns_add_up(void **state) {
    (void)state;
    grad_check(&(struct grad_case){concat, 4, overlap_build, NULL, 0, 0, false});
}

// The matrix is also read by something that is no linear layer.
static struct tensor *mixed_build(struct graph *g, struct tensor **leaf) {
    struct tensor *y = g_linear(g, leaf[0], leaf[2], leaf[3], NULL, 0);
    struct tensor *w = g_reshape(g, leaf[2], 1, (int64_t[]){NOUT * (KA + KB)});
    return g_add(g, g_mean(g, y), g_mean(g, g_mul(g, w, w)));
}
static void weights_may_have_other_readers(void **state) {
    (void)state;
    grad_check(&(struct grad_case){concat, 4, mixed_build, NULL, 0, 0, false});
}

// ---- the same weights at every step

enum { T = 5, B = 2, H = 6 };
static const struct leaf loop[] = {
    {"h", 2, {B, H}, -1, 1, false},     {"w", 2, {H, 2 * H}, -1, 1, false},
    {"bias", 1, {H}, -1, 1, false},     {"x", 2, {T * B, H}, -1, 1, false},
    {"gamma", 1, {H}, 0.5, 1.5, false}, {"beta", 1, {H}, -1, 1, false}};

// h_t = tanh(LN(w [h_{t-1}; x_t])); step 0's h is a parameter, so the rows of that side are copied
// together.
static struct tensor *loop_build(struct graph *g, struct tensor **leaf) {
    struct tensor *h = leaf[0], *all[T];
    for (int t = 0; t < T; t++) {
        graph_scope_push(g, "t%02d", t);
        struct tensor *y = g_linear(g, h, leaf[1], leaf[2], NULL, 0);
        y = g_linear(g, g_slice(g, leaf[3], t * B, B), leaf[1], NULL, y, H);
        h = all[t] = g_tanh(g, g_layer_norm(g, y, leaf[4], leaf[5], (real)1e-3, ACT_NONE));
        graph_scope_pop(g);
    }
    return g_stack(g, all, T);
}

static int count_kind(const struct graph *g, enum op_kind kind) {
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) n += g->nodes[i]->kind == kind;
    return n;
}

static void a_time_loop_has_one_weight_product_per_side(void **state) {
    (void)state;
    struct grad_case c = {loop, 6, loop_build, NULL, 0, 0, false};
    grad_check(&c);
    struct grad_graph s = grad_graph_new(&c, false, 1);
    assert_int_equal(count_kind(s.g, OP_LINEAR), 2 * T);
    assert_int_equal(count_kind(s.g, OP_LINEAR_DW), 2);
    assert_int_equal(count_kind(s.g, OP_COLUMN_SUM), 1);
    assert_int_equal(count_kind(s.g, OP_PACK), 4); // each side forward and for its data gradient
    grad_graph_free(&s);
}

// As a model does it: the first state is an op's output, so nothing is copied.
static struct tensor *blend_loop_build(struct graph *g, struct tensor **leaf) {
    struct tensor *h = NULL, *all[T];
    struct tensor *first = g_reshape(g, g_tanh(g, leaf[2]), 2, (int64_t[]){1, H});
    for (int t = 0; t < T; t++) {
        struct tensor *f = g_slice(g, leaf[4], t * B, B);
        struct tensor *before = g_blend(g, f, t == 0 ? leaf[0] : h, first);
        struct tensor *y = g_linear(g, before, leaf[1], NULL, NULL, 0);
        y = g_linear(g, g_affine(g, before, 2, 1), leaf[1], NULL, y, H);
        h = all[t] = g_tanh(g, y);
    }
    struct tensor *stack = g_stack(g, all, T);
    return g_add(g, g_mul(g, stack, stack), g_linear(g, stack, leaf[3], NULL, NULL, 0));
}
static const struct leaf blend_loop[] = {{"h", 2, {B, H}, -1, 1, false},
                                         {"w", 2, {H, 2 * H}, -1, 1, false},
                                         {"w0", 1, {H}, -1, 1, false},
                                         {"v", 2, {H, H}, -1, 1, false},
                                         {"f", 1, {T * B}, 0, 1, true}};

static void a_loop_over_op_outputs_copies_nothing(void **state) {
    (void)state;
    struct grad_case c = {blend_loop, 5, blend_loop_build, NULL, 0, 0, false};
    grad_check(&c);
    struct grad_graph s = grad_graph_new(&c, false, 1);
    assert_int_equal(count_kind(s.g, OP_LINEAR_DW), 3);
    for (int i = 0; i < s.g->n_nodes; i++) {
        const struct node *n = s.g->nodes[i];
        if (n->kind == OP_COPY) assert_null(strstr(n->name, "_row"));
    }
    grad_graph_free(&s);
}

// Calls with many rows on leaves: each adds its own product.
enum { ROWS = 150 };
static struct tensor *each_build(struct graph *g, struct tensor **leaf) {
    return g_add(g, g_linear(g, leaf[0], leaf[2], leaf[3], NULL, 0),
                 g_linear(g, leaf[1], leaf[2], leaf[3], NULL, 0));
}
static void large_calls_that_cannot_be_stacked_add_up(void **state) {
    (void)state;
    static const struct leaf each[] = {{"a", 2, {ROWS, 3}, -1, 1, false},
                                       {"b", 2, {ROWS, 3}, -1, 1, false},
                                       {"w", 2, {4, 3}, -1, 1, false},
                                       {"bias", 1, {4}, -1, 1, false}};
    struct grad_case c = {each, 4, each_build, NULL, 0, 0, false};
    grad_check(&c);
    struct grad_graph s = grad_graph_new(&c, false, 1);
    assert_int_equal(count_kind(s.g, OP_LINEAR_DW), 2);
    grad_graph_free(&s);
}

// One tensor through the same layer twice, and a call the loss does not reach.
static struct tensor *twice_build(struct graph *g, struct tensor **leaf) {
    struct tensor *x = g_tanh(g, leaf[0]);
    struct tensor *once = g_linear(g, x, leaf[1], leaf[2], NULL, 0),
                  *again = g_linear(g, x, leaf[1], NULL, NULL, 0);
    g_linear(g, g_tanh(g, x), leaf[1], NULL, NULL, 0);
    struct tensor *hidden = g_linear(g, g_sigmoid(g, x), leaf[1], NULL, NULL, 0);
    return g_add(g, g_mul(g, once, again), g_stop_gradient(g, hidden));
}
static void a_layer_may_see_the_same_input_twice(void **state) {
    (void)state;
    static const struct leaf twice[] = {{"x", 2, {3, 4}, -1, 1, false},
                                        {"w", 2, {5, 4}, -1, 1, false},
                                        {"bias", 1, {5}, -1, 1, false}};
    grad_check(&(struct grad_case){twice, 3, twice_build, NULL, 0, 0, true});
}

// ---- LayerNorm

enum { LN_ROWS = 9, LN_N = 21 };
static void norm_of(const double *const *leaf, double *y, int rows, int n, bool silu) {
    for (int i = 0; i < rows; i++) {
        double mean = 0, var = 0;
        for (int j = 0; j < n; j++) mean += leaf[0][i * n + j] / n;
        for (int j = 0; j < n; j++) var += pow(leaf[0][i * n + j] - mean, 2) / n;
        for (int j = 0; j < n; j++) {
            double z = (leaf[0][i * n + j] - mean) / sqrt(var + 1e-3) * leaf[1][j] + leaf[2][j];
            y[i * n + j] = silu ? z / (1 + exp(-z)) : z;
        }
    }
}
static const struct leaf norm[] = {{"x", 3, {3, 3, LN_N}, -2, 2, false},
                                   {"gamma", 1, {LN_N}, 0.5, 1.5, false},
                                   {"beta", 1, {LN_N}, -1, 1, false}};
static struct tensor *norm_build(struct graph *g, struct tensor **leaf) {
    return g_layer_norm(g, leaf[0], leaf[1], leaf[2], (real)1e-3, ACT_NONE);
}
static struct tensor *norm_silu_build(struct graph *g, struct tensor **leaf) {
    return g_layer_norm(g, leaf[0], leaf[1], leaf[2], (real)1e-3, ACT_SILU);
}
static void norm_reference(const double *const *leaf, double *y) {
    norm_of(leaf, y, LN_ROWS, LN_N, false);
}
static void norm_silu_reference(const double *const *leaf, double *y) {
    norm_of(leaf, y, LN_ROWS, LN_N, true);
}

static void layer_norm_matches_its_formula_and_gradient(void **state) {
    (void)state;
    grad_check(&(struct grad_case){norm, 3, norm_build, norm_reference, 2e-6, 0, false});
    grad_check(&(struct grad_case){norm, 3, norm_silu_build, norm_silu_reference, 2e-6, 0, false});
}

enum { WIDE_ROWS = 700, WIDE_N = 96 };
static void wide_reference(const double *const *leaf, double *y) {
    norm_of(leaf, y, WIDE_ROWS, WIDE_N, true);
}
static void large_layer_norm_is_cut_into_slices(void **state) {
    (void)state;
    static const struct leaf wide[] = {{"x", 2, {WIDE_ROWS, WIDE_N}, -2, 2, false},
                                       {"gamma", 1, {WIDE_N}, 0.5, 1.5, false},
                                       {"beta", 1, {WIDE_N}, -1, 1, false}};
    grad_check(&(struct grad_case){wide, 3, norm_silu_build, wide_reference, 3e-6, 0, false});
}

// ---- RMS norm: neither mean nor shift; every form of the kernel

static int64_t rms_rows, rms_n;
static bool rms_silu;
static void rms_reference(const double *const *leaf, double *y) {
    for (int64_t i = 0; i < rms_rows; i++) {
        double square = 0;
        for (int64_t j = 0; j < rms_n; j++)
            square += leaf[0][i * rms_n + j] * leaf[0][i * rms_n + j] / (double)rms_n;
        for (int64_t j = 0; j < rms_n; j++) {
            double z = leaf[0][i * rms_n + j] / sqrt(square + 1e-4) * leaf[1][j];
            y[i * rms_n + j] = rms_silu ? z / (1 + exp(-z)) : z;
        }
    }
}
static struct tensor *rms_build(struct graph *g, struct tensor **leaf) {
    return g_layer_norm(g, leaf[0], leaf[1], NULL, (real)1e-4, rms_silu ? ACT_SILU : ACT_NONE);
}
static void rms_norm_matches_its_formula_and_gradient(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 2, 3, 4, 8, 16, 21, 32, 64, 96, 130};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        rms_n = widths[i], rms_rows = i % 2 ? 37 : 5, rms_silu = i % 3 > 0;
        // values away from 0: one alone is divided by its own size
        const struct leaf rms[] = {{"x", 2, {rms_rows, rms_n}, 0.3, 2, false},
                                   {"gamma", 1, {rms_n}, 0.5, 1.5, false}};
        grad_check(&(struct grad_case){rms, 2, rms_build, rms_reference, 2e-6, 0, false});
    }
    const struct leaf frozen[] = {{"x", 2, {rms_rows, rms_n}, -2, 2, false},
                                  {"gamma", 1, {rms_n}, 0.5, 1.5, true}};
    grad_check(&(struct grad_case){frozen, 2, rms_build, rms_reference, 2e-6, 0, false});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_takes_columns_bias_and_addend),
        cmocka_unit_test(big_layers_are_cut_into_shares),
        cmocka_unit_test(a_concatenation_is_two_calls),
        cmocka_unit_test(overlapping_columns_add_up),
        cmocka_unit_test(weights_may_have_other_readers),
        cmocka_unit_test(a_time_loop_has_one_weight_product_per_side),
        cmocka_unit_test(a_loop_over_op_outputs_copies_nothing),
        cmocka_unit_test(large_calls_that_cannot_be_stacked_add_up),
        cmocka_unit_test(a_layer_may_see_the_same_input_twice),
        cmocka_unit_test(layer_norm_matches_its_formula_and_gradient),
        cmocka_unit_test(large_layer_norm_is_cut_into_slices),
        cmocka_unit_test(rms_norm_matches_its_formula_and_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
