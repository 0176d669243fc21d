// LayerNorm and gates of a GRU as one pass: the same bits as apart, also for what lies between
// them.
#include "engine/graph/node.h"

#include <math.h>

#include "base/pool.h"
#include "support/grad_check.h"
#include "support/test.h"

enum { STEPS = 3, MAX_ROWS = 70, MAX_H = 48 };

struct scan {
    struct params params;
    struct graph *g;
    struct pool *pool;
    struct executor *ex;
    struct tensor *x, *h0, *h[STEPS + 1], *norm, *loss;
};

// STEPS of a GRU on `rows` rows. Apart: between norm and gates, and on the way back between their
// gradients, another node runs, so that nothing can be one pass; the numbers stay the same.
static void scan_make(struct scan *s, int64_t rows, int64_t width, int threads, bool apart) {
    *s = (struct scan){.g = graph_new(), .pool = pool_new(threads)};
    params_init(&s->params);
    params_add(&s->params, "w", 2, (int64_t[]){3 * width, width});
    params_add(&s->params, "gamma", 1, (int64_t[]){3 * width});
    params_add(&s->params, "beta", 1, (int64_t[]){3 * width});
    params_add(&s->params, "other", 1, (int64_t[]){8});
    params_allocate(&s->params);
    for (int64_t i = 0; i < s->params.n_flat; i++)
        s->params.weights[i] = (real)(grad_random(1, (int)i) - 0.5);
    struct graph *g = s->g;
    struct tensor *w = g_param(g, &s->params, "w"), *other = g_param(g, &s->params, "other");
    s->h0 = s->h[0] = g_input(g, "h0", DTYPE_REAL, 2, (int64_t[]){rows, width});
    s->x = g_input(g, "x", DTYPE_REAL, 2, (int64_t[]){rows, 3 * width});
    s->loss = NULL;
    for (int t = 0; t < STEPS; t++) {
        struct tensor *pre = g_linear(g, s->h[t], w, NULL, s->x, 0);
        s->norm = g_layer_norm(g, pre, g_param(g, &s->params, "gamma"),
                               g_param(g, &s->params, "beta"), (real)1e-3, ACT_NONE);
        struct tensor *between = apart ? g_mean(g, g_tanh(g, other)) : NULL;
        s->h[t + 1] = g_gru_gates(g, s->norm, s->h[t]);
        struct tensor *part = g_mean(g, g_mul(g, s->h[t + 1], s->h[t + 1]));
        s->loss = s->loss ? g_add(g, s->loss, part) : part;
        if (between) s->loss = g_add(g, s->loss, g_affine(g, between, 0, 0));
    }
    graph_keep(g, s->loss);
    graph_keep(g, s->h[STEPS]);
    graph_gradients(g, s->loss);
    graph_plan(g);
    s->ex = executor_new(g, s->pool);
    for (int64_t i = 0; i < s->x->n_elements; i++)
        reals(s->x)[i] = (real)(4 * grad_random(2, (int)i) - 2);
    for (int64_t i = 0; i < s->h0->n_elements; i++)
        reals(s->h0)[i] = (real)(2 * grad_random(3, (int)i) - 1);
}

static void scan_free(struct scan *s) {
    executor_free(s->ex);
    graph_free(s->g);
    params_deinit(&s->params);
    pool_free(s->pool);
}

static int n_inside(const struct scan *s, enum op_kind kind) {
    int n = 0;
    for (int i = 0; i < s->g->n_nodes; i++)
        n += s->g->nodes[i]->kind == kind && s->g->nodes[i]->inside;
    return n;
}

static void compare(int64_t rows, int64_t width, int threads) {
    struct scan one, two;
    scan_make(&one, rows, width, threads, false);
    scan_make(&two, rows, width, 1, true);
    assert_int_equal(n_inside(&one, OP_GRU_GATES), STEPS);
    assert_int_equal(n_inside(&one, OP_LAYER_NORM_DX), STEPS);
    assert_int_equal(n_inside(&two, OP_GRU_GATES), 0);
    for (int run = 0; run < 2; run++) {
        executor_run(one.ex);
        executor_run(two.ex);
    }
    assert_memory_equal(one.h[STEPS]->data, two.h[STEPS]->data,
                        (size_t)(rows * width) * sizeof(real));
    const size_t own = (size_t)(one.params.n_flat - 8);
    assert_memory_equal(one.params.grads, two.params.grads, own * sizeof(real));
    assert_true(one.params.grads[0] != 0 && isfinite((double)one.params.grads[0]));
    scan_free(&one);
    scan_free(&two);
}

static void one_pass_gives_the_bits_of_two(void **state) {
    (void)state;
    static const int64_t rows[] = {1, 3, 8, 33, MAX_ROWS}, widths[] = {5, 16, MAX_H};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            for (int threads = 1; threads <= 3; threads += 2) compare(rows[r], widths[w], threads);
    compare(256, 128, 3); // several shares
}

static void what_is_not_finite_between_them_is_named(void **state) {
    (void)state;
    struct scan s;
    scan_make(&s, 8, 16, 1, false);
    assert_null(executor_find_nonfinite(s.ex));
    params_weights(&s.params, &s.params.list[1])[2] =
        (real)(sizeof(real) == sizeof(float) ? 3e38 : 1.7e308); // gamma: y overflows, h does not
    reals(s.x)[2] = 1e6f;
    const struct tensor *bad = executor_find_nonfinite(s.ex);
    assert_non_null(bad);
    if (!strstr(bad->name, "layer_norm")) fail_msg("%s is named", bad->name);
    scan_free(&s);
}

static double work_of(const struct scan *s, enum op_kind kind, bool with_inside) {
    double bytes = 0, flop, all = 0;
    for (int i = 0; i < s->g->n_nodes; i++) {
        const struct node *n = s->g->nodes[i];
        char text[96];
        if (n->kind != kind || !node_runs(n)) continue;
        assert_int_equal(n->inside != NULL, with_inside);
        node_work(n, text, sizeof text, &bytes, &flop);
        assert_int_equal(strstr(text, " with ") != NULL, with_inside);
        all += bytes;
    }
    return all;
}

// What one pass moves is what two move, without what the second reads of the first.
static void one_pass_moves_what_two_move(void **state) {
    (void)state;
    enum { ROWS = 33, WIDTH = 16 };
    const double between = 3.0 * ROWS * WIDTH * STEPS * sizeof(real);
    struct scan one, two;
    scan_make(&one, ROWS, WIDTH, 1, false);
    scan_make(&two, ROWS, WIDTH, 1, true);
    assert_float_equal(
        work_of(&one, OP_GRU_GATES, true),
        work_of(&two, OP_GRU_GATES, false) + work_of(&two, OP_LAYER_NORM, false) - between, 0);
    assert_float_equal(work_of(&one, OP_LAYER_NORM_DX, true),
                       work_of(&two, OP_LAYER_NORM_DX, false) +
                           work_of(&two, OP_GRU_GATES_DX, false) - between,
                       0);
    scan_free(&one);
    scan_free(&two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_pass_gives_the_bits_of_two),
        cmocka_unit_test(what_is_not_finite_between_them_is_named),
        cmocka_unit_test(one_pass_moves_what_two_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
