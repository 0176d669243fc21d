// Gradients through structure: several readers, slices with gaps, stacks, reshapes, parts the loss
// does not reach.
#include "support/grad_check.h"

enum { R = 6, C = 5 };
static const struct leaf x1[] = {{"x", 2, {R, C}, -1, 1, false}};
static const struct leaf x2[] = {{"x", 2, {R, C}, -1, 1, false}, {"z", 2, {R, C}, -1, 1, false}};

static void check(grad_build *build) {
    grad_check(&(struct grad_case){x1, 1, build, NULL, 0, 0, false});
}

// ---- several readers

static struct tensor *readers_build(struct graph *g, struct tensor **leaf) {
    struct tensor *x = g_tanh(g, leaf[0]);
    return g_add(g, g_add(g, x, g_mul(g, x, leaf[0])), g_add(g, x, g_sigmoid(g, x)));
}
static void contributions_of_all_readers_add_up(void **state) {
    (void)state;
    check(readers_build);
}

static struct tensor *self_build(struct graph *g, struct tensor **leaf) {
    struct tensor *x = g_tanh(g, leaf[0]);
    return g_add(g, g_mul(g, x, x), g_add(g, x, x));
}
static void a_node_may_read_one_tensor_twice(void **state) {
    (void)state;
    check(self_build);
}

// ---- slices

static struct tensor *gap_build(struct graph *g,
                                struct tensor **leaf) { // rows 0 and 3 get no gradient
    struct tensor *x = g_tanh(g, leaf[0]);
    struct tensor *a = g_slice(g, x, 1, 2), *b = g_slice(g, x, 4, 2);
    return g_mul(g, a, b);
}
static void rows_that_nobody_reads_get_zero_gradient(void **state) {
    (void)state;
    check(gap_build);
}

static struct tensor *overlap_build(struct graph *g, struct tensor **leaf) {
    struct tensor *x = g_tanh(g, leaf[0]);
    struct tensor *a = g_slice(g, x, 0, 4), *b = g_slice(g, x, 2, 4), *inner = g_slice(g, b, 1, 2);
    return g_add(g, g_mean(g, g_mul(g, a, b)), g_mean(g, g_mul(g, inner, inner)));
}
static void overlapping_slices_add_up(void **state) {
    (void)state;
    check(overlap_build);
}

static struct tensor *whole_and_part_build(struct graph *g, struct tensor **leaf) {
    struct tensor *x = g_tanh(g, leaf[0]), *part = g_slice(g, x, 2, 1);
    return g_add(g, g_mean(g, g_sigmoid(g, x)), g_mean(g, g_tanh(g, part)));
}
static struct tensor *part_and_whole_build(struct graph *g, struct tensor **leaf) {
    struct tensor *x = g_tanh(g, leaf[0]), *part = g_slice(g, x, 2, 1);
    struct tensor *late = g_mean(g, g_tanh(g, part));
    return g_add(g, late, g_mean(g, g_sigmoid(g, x)));
}
static void a_slice_and_its_whole_may_both_be_read(void **state) {
    (void)state;
    check(whole_and_part_build);
    check(part_and_whole_build);
}

static struct tensor *leaf_slice_build(struct graph *g,
                                       struct tensor **leaf) { // slices of a parameter itself
    return g_mul(g, g_slice(g, leaf[0], 0, 2), g_slice(g, leaf[0], 3, 2));
}
static void a_parameter_may_be_sliced(void **state) {
    (void)state;
    check(leaf_slice_build);
}

static struct tensor *reshape_build(struct graph *g, struct tensor **leaf) {
    struct tensor *x = g_tanh(g, g_reshape(g, leaf[0], 3, (int64_t[]){2, 3, C}));
    struct tensor *flat = g_reshape(g, x, 2, (int64_t[]){C, R});
    return g_add(g, g_mean(g, g_mul(g, flat, flat)), g_mean(g, g_slice(g, x, 1, 1)));
}
static void reshapes_share_their_gradient(void **state) {
    (void)state;
    check(reshape_build);
}

// ---- stacks

enum { T = 4 };
// Steps read each other and the whole is read afterwards, and its slices are.
static struct tensor *stack_build(struct graph *g, struct tensor **leaf) {
    struct tensor *step[T], *h = leaf[0];
    for (int t = 0; t < T; t++) h = step[t] = g_tanh(g, g_mul(g, h, leaf[1]));
    struct tensor *all = g_stack(g, step, T);
    struct tensor *two = g_slice(g, all, R, 2 * R), *one = g_slice(g, all, 2 * R, R);
    struct tensor *early = g_mul(g, step[1], step[3]);
    return g_add(g, g_add(g, g_mean(g, g_sigmoid(g, all)), g_mean(g, g_mul(g, two, two))),
                 g_mean(g, g_mul(g, one, early)));
}
static void a_stack_shares_memory_and_gradient_with_its_sources(void **state) {
    (void)state;
    grad_check(&(struct grad_case){x2, 2, stack_build, NULL, 0, 0, false});
}

static struct tensor *unread_build(struct graph *g,
                                   struct tensor **leaf) { // only one source matters to the loss
    struct tensor *step[T];
    for (int t = 0; t < T; t++) step[t] = g_affine(g, leaf[0], (real)t, 1);
    struct tensor *all = g_stack(g, step, T), *one = g_slice(g, all, 2 * R, R);
    return g_mul(g, one, one);
}
static void sources_that_nobody_reads_cost_nothing(void **state) {
    (void)state;
    check(unread_build);
    struct grad_case c = {x1, 1, unread_build, NULL, 0, 0, false};
    struct grad_graph s = grad_graph_new(&c, false, 1);
    int n = 0;
    for (int i = 0; i < s.g->n_nodes; i++) n += s.g->nodes[i]->kind == OP_AFFINE_DX;
    assert_int_equal(n, 2); // step 2 and the loss
    grad_graph_free(&s);
}

static struct tensor *reshaped_source_build(struct graph *g, struct tensor **leaf) {
    struct tensor *step[2];
    step[0] = g_reshape(g, g_tanh(g, leaf[0]), 2, (int64_t[]){C, R});
    step[1] = g_reshape(g, g_sigmoid(g, leaf[0]), 2, (int64_t[]){C, R});
    struct tensor *all = g_stack(g, step, 2);
    return g_mul(g, all, all);
}
static void another_shape_of_an_output_may_be_stacked(void **state) {
    (void)state;
    check(reshaped_source_build);
}

// ---- stop_gradient and what the loss does not reach

static struct tensor *stopped_build(struct graph *g, struct tensor **leaf) {
    return g_mul(g, leaf[1], g_stop_gradient(g, g_tanh(g, leaf[0])));
}
static void a_stopped_branch_gets_no_gradient(void **state) {
    (void)state;
    struct grad_case c = {x2, 2, stopped_build, NULL, 0, 0, true};
    grad_check(&c);
    struct grad_graph s = grad_graph_new(&c, false, 1);
    grad_poison(&s);
    grad_loss(&s);
    const struct param *x = params_find(s.params, "x"), *z = params_find(s.params, "z");
    double norm = 0;
    for (int64_t i = 0; i < x->n_elements; i++) {
        assert_true(params_grads(s.params, x)[i] == 0); // zero, not what was there
        norm += fabs((double)params_grads(s.params, z)[i]);
    }
    assert_true(norm > 0.1);
    grad_graph_free(&s);
}

static struct tensor *dead_end_build(struct graph *g, struct tensor **leaf) {
    struct tensor *x = g_tanh(g, leaf[0]);
    g_mean(g, g_sigmoid(g, x)); // a metric
    g_entropy(g, g_unimix(g, x, C, (real)0.01));
    return g_mul(g, x, leaf[0]);
}
static void metrics_off_the_loss_change_no_gradient(void **state) {
    (void)state;
    check(dead_end_build);
}

// The frozen set's gradients are not touched, the others' are what they were.
static void frozen_parameters_get_no_gradient_and_change_no_other(void **state) {
    (void)state;
    double dw[2];
    struct pool *pool = pool_new(1);
    for (int freeze = 0; freeze < 2; freeze++) {
        struct params live, frozen;
        params_init(&live);
        params_init(&frozen);
        params_add(&live, "w", 1, (int64_t[]){1});
        params_add(&frozen, "v", 1, (int64_t[]){1});
        params_allocate(&live);
        params_allocate(&frozen);
        live.weights[0] = 3;
        frozen.weights[0] = 5;
        frozen.grads[0] = 77;
        struct graph *g = graph_new();
        struct tensor *w = g_param(g, &live, "w"), *v = g_param(g, &frozen, "v");
        struct tensor *loss = g_mean(g, g_mul(g, g_mul(g, w, v), w));
        if (freeze) graph_freeze(g, &frozen);
        graph_gradients(g, loss);
        graph_plan(g);
        struct executor *ex = cpu_executor_new(g, pool);
        executor_run(ex);
        dw[freeze] = (double)live.grads[0];
        assert_true(frozen.grads[0] == (freeze ? 77 : 9));
        executor_free(ex);
        graph_free(g);
        params_deinit(&live);
        params_deinit(&frozen);
    }
    assert_true(dw[0] == 30 && dw[1] == 30);
    pool_free(pool);
}

// ---- reading gradients of inputs and inner tensors

static void a_wanted_input_and_a_kept_tensor_have_readable_gradients(void **state) {
    (void)state;
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 2, (int64_t[]){2, 3}),
                  *y = g_input(g, "y", DTYPE_REAL, 2, (int64_t[]){2, 3});
    graph_want_gradient(g, x);
    struct tensor *h = g_affine(g, x, 2, 0), *row = g_slice(g, h, 1, 1);
    struct tensor *loss = g_affine(g, g_mean(g, g_mul(g, row, g_slice(g, y, 0, 1))), 3, 0);
    graph_keep(g, x);
    graph_keep(g, h);
    graph_gradients(g, loss);
    assert_null(y->grad);
    assert_non_null(x->grad);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    for (int i = 0; i < 6; i++) ((real *)x->data)[i] = 1, ((real *)y->data)[i] = (real)(i + 1);
    for (int run = 0; run < 2; run++) executor_run(ex);
    for (int i = 0; i < 6; i++) {
        double expect = i < 3 ? 0 : i - 2;
        assert_true(fabs((double)((real *)h->grad->data)[i] - expect) <
                    1e-6); // also where nothing arrives
        assert_true(fabs((double)((real *)x->grad->data)[i] - 2 * expect) < 1e-6);
    }
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
}

// ---- two graphs on one set of weights

static void a_second_graph_shares_the_weights(void **state) {
    (void)state;
    struct params p;
    params_init(&p);
    params_add(&p, "w", 2, (int64_t[]){4, 3});
    params_add(&p, "unused", 1, (int64_t[]){7});
    params_allocate(&p);
    struct graph *train = graph_new(), *act = graph_new();
    struct tensor *x = g_input(train, "x", DTYPE_REAL, 2, (int64_t[]){2, 3}),
                  *x_act = g_input(act, "x", DTYPE_REAL, 2, (int64_t[]){5, 3});
    struct tensor *y = g_linear(train, x, g_param(train, &p, "w"), NULL, NULL, 0);
    struct tensor *y_act = g_linear(act, x_act, g_param(act, &p, "w"), NULL, NULL, 0);
    graph_gradients(train, g_mean(train, g_mul(train, y, y)));
    graph_keep(train, y);
    graph_keep(act, y_act);
    graph_plan(train);
    graph_plan(act);
    struct pool *pool = pool_new(2);
    struct executor *a = cpu_executor_new(train, pool), *b = cpu_executor_new(act, pool);
    for (int i = 0; i < 6; i++) ((real *)x->data)[i] = ((real *)x_act->data)[i] = (real)(i + 1);
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < 12; i++) p.weights[i] = (real)(i * (step + 1));
        memset(p.grads, 0xFF, (size_t)p.n_flat * sizeof(real));
        executor_run(a);
        executor_run(b);
        assert_memory_equal(y->data, y_act->data, 8 * sizeof(real));
        const struct param *unused = params_find(&p, "unused");
        for (int i = 0; i < 7; i++)
            assert_true(params_grads(&p, unused)[i] == 0); // zeroed though no node knows it
        assert_true((double)p.grads[0] == (double)p.grads[0]);
    }
    executor_free(a);
    executor_free(b);
    graph_free(train);
    graph_free(act);
    params_deinit(&p);
    pool_free(pool);
}

// ---- spans

static void spans_merge_and_know_what_they_cover(void **state) {
    (void)state;
    enum { CELLS = 64 };
    for (int round = 0; round < 200; round++) {
        struct spans s = {0};
        bool cell[CELLS] = {false};
        for (int i = 0; i < 12; i++) {
            int64_t a = (int64_t)(grad_random((uint64_t)round, 2 * i) * CELLS),
                    n = 1 + (int64_t)(grad_random((uint64_t)round, 2 * i + 1) * 9);
            int64_t b = a + n > CELLS ? CELLS : a + n;
            bool all = true, any = false;
            for (int64_t k = a; k < b; k++) all &= cell[k], any |= cell[k];
            assert_int_equal(spans_cover(&s, a, b), all);
            assert_int_equal(spans_touch(&s, a, b), any);
            spans_add(&s, a, b);
            for (int64_t k = a; k < b; k++) cell[k] = true;
            for (int k = 1; k < s.n; k++) assert_true(s.list[k - 1].end < s.list[k].first);
        }
        free(s.list);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contributions_of_all_readers_add_up),
        cmocka_unit_test(a_node_may_read_one_tensor_twice),
        cmocka_unit_test(rows_that_nobody_reads_get_zero_gradient),
        cmocka_unit_test(overlapping_slices_add_up),
        cmocka_unit_test(a_slice_and_its_whole_may_both_be_read),
        cmocka_unit_test(a_parameter_may_be_sliced),
        cmocka_unit_test(reshapes_share_their_gradient),
        cmocka_unit_test(a_stack_shares_memory_and_gradient_with_its_sources),
        cmocka_unit_test(sources_that_nobody_reads_cost_nothing),
        cmocka_unit_test(another_shape_of_an_output_may_be_stacked),
        cmocka_unit_test(a_stopped_branch_gets_no_gradient),
        cmocka_unit_test(metrics_off_the_loss_change_no_gradient),
        cmocka_unit_test(frozen_parameters_get_no_gradient_and_change_no_other),
        cmocka_unit_test(a_wanted_input_and_a_kept_tensor_have_readable_gradients),
        cmocka_unit_test(a_second_graph_shares_the_weights),
        cmocka_unit_test(spans_merge_and_know_what_they_cover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
