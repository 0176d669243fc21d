// What is computed twice to save memory gives the same bits, and memory is saved.
#include "support/grad_check.h"

// Two convolutions with norms behind them, read again by their weights' gradients long after a
// layer that needs much memory; the second norm is read through a slice of another shape.
enum { N = 2, SIDE = 16, CHANNELS = 8, WIDE = 300, ROWS = N * SIDE / 4 * (SIDE / 4) };

static const struct leaf leaves[] = {
    {"x", 4, {N, SIDE, SIDE, 1}, -1, 1, true},
    {"w0", 4, {CHANNELS, 1, 4, 4}, -1, 1, false},
    {"gamma", 1, {CHANNELS}, 0.5, 1.5, false},
    {"beta", 1, {CHANNELS}, -1, 1, false},
    {"w1", 4, {CHANNELS, CHANNELS, 4, 4}, -1, 1, false},
    {"w2", 2, {WIDE, CHANNELS}, -0.2, 0.2, false},
};
enum { N_LEAVES = sizeof leaves / sizeof *leaves };

static size_t least_bytes; // of what is computed twice; 0: nothing
static struct tensor *first_norm;
static bool keep_norm;

static struct tensor *build(struct graph *g, struct tensor **leaf) {
    struct tensor *y = g_conv(g, leaf[0], leaf[1]);
    y = first_norm = g_layer_norm(g, y, leaf[2], leaf[3], (real)1e-3, ACT_SILU);
    if (keep_norm) graph_keep(g, y);
    y = g_layer_norm(g, g_conv(g, y, leaf[4]), leaf[2], leaf[3], (real)1e-3, ACT_SILU);
    y = g_slice(g, g_reshape(g, y, 2, (int64_t[]){ROWS, CHANNELS}), ROWS / 4, ROWS / 2);
    y = g_linear(g, y, leaf[5], NULL, NULL, 0);
    for (int i = 0; i < 3; i++) y = g_tanh(g, y);
    graph_recompute(g, least_bytes);
    return y;
}

static const struct grad_case test_case = {
    .leaves = leaves, .n_leaves = N_LEAVES, .build = build, .forward_tolerance = 1e-5};

static int n_again(const struct graph *g) {
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        assert_int_equal(g->nodes[i]->index, i);
        n += strstr(g->nodes[i]->name, ":again") != NULL;
    }
    return n;
}

// Any plan, any number of threads and any table of kernels, and against differences.
static void gradients_are_right_when_norms_are_computed_twice(void **state) {
    (void)state;
    least_bytes = 1;
    grad_check(&test_case);
}

static void nothing_changes_but_the_memory(void **state) {
    (void)state;
    struct grad_graph s[2];
    size_t bytes[2];
    for (int i = 0; i < 2; i++) {
        least_bytes = (size_t)i;
        s[i] = grad_graph_new(&test_case, false, 2);
        bytes[i] = graph_slab_bytes(s[i].g);
        assert_int_equal(n_again(s[i].g), 2 * i);
        for (int run = 0; run < 2; run++) {
            grad_poison(&s[i]);
            grad_loss(&s[i]);
        }
    }
    grad_assert_same(&test_case, &s[0], &s[1], "what is computed twice");
    const size_t first = (size_t)N * SIDE / 2 * SIDE / 2 * CHANNELS * sizeof(real),
                 second = first / 4;
    assert_true(bytes[1] <= bytes[0] - first - second);
    for (int i = 0; i < 2; i++) grad_graph_free(&s[i]);
}

static void small_outputs_are_kept(void **state) {
    (void)state;
    const size_t first = (size_t)N * SIDE / 2 * SIDE / 2 * CHANNELS * sizeof(real);
    const struct {
        size_t least;
        int n;
    } cases[] = {{first / 4, 2}, {first / 4 + 1, 1}, {first, 1}, {first + 1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        least_bytes = cases[i].least;
        struct grad_graph s = grad_graph_new(&test_case, false, 1);
        assert_int_equal(n_again(s.g), cases[i].n);
        grad_graph_free(&s);
    }
}

// Whoever keeps a norm reads it after the run; its memory could not be given away.
static void what_is_kept_is_not_computed_twice(void **state) {
    (void)state;
    least_bytes = 1;
    keep_norm = true;
    struct grad_graph s = grad_graph_new(&test_case, false, 1);
    assert_int_equal(n_again(s.g), 1);
    grad_poison(&s);
    grad_loss(&s);
    for (int64_t i = 0; i < first_norm->n_elements; i++)
        assert_true(isfinite((double)reals(first_norm)[i]));
    grad_graph_free(&s);
    keep_norm = false;
}

// Behind a convolution that learns nothing, nobody needs what the first norm reads: it is not there
// when the norm's output is needed again.
static void a_norm_whose_source_is_gone_is_not_computed_twice(void **state) {
    (void)state;
    struct leaf frozen[N_LEAVES];
    struct grad_case c = test_case;
    memcpy(frozen, leaves, sizeof frozen);
    for (int i = 0; i < 4; i++) frozen[i].constant = true;
    c.leaves = frozen;
    least_bytes = 1;
    struct grad_graph s = grad_graph_new(&c, false, 1);
    assert_int_equal(n_again(s.g), 1);
    grad_graph_free(&s);
    grad_check(&c);
}

// A norm that overflows is named by its first computation, not by its second.
static void the_first_bad_node_is_the_first_of_both(void **state) {
    (void)state;
    least_bytes = 1;
    struct grad_graph s = grad_graph_new(&test_case, false, 1);
    const real huge = sizeof(real) == sizeof(float) ? (real)3e38 : (real)1.7e308;
    params_weights(s.params, params_find(s.params, "gamma"))[0] = huge;
    params_weights(s.params, params_find(s.params, "beta"))[0] = huge;
    assert_int_equal(n_again(s.g), 2);
    assert_ptr_equal(executor_find_nonfinite(s.ex), first_norm);
    grad_graph_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_right_when_norms_are_computed_twice),
        cmocka_unit_test(nothing_changes_but_the_memory),
        cmocka_unit_test(small_outputs_are_kept),
        cmocka_unit_test(what_is_kept_is_not_computed_twice),
        cmocka_unit_test(a_norm_whose_source_is_gone_is_not_computed_twice),
        cmocka_unit_test(the_first_bad_node_is_the_first_of_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
