// Running a graph: same bits for any number of threads, no allocation, names, the first bad value,
// CHECK messages.
#include "support/expect_abort.h"
#include "support/grad_check.h"

// ---- no allocation during a run: malloc counts (sanitizers bring their own)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNT_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNT_ALLOCATIONS 0
#endif
#endif
#ifndef COUNT_ALLOCATIONS
#define COUNT_ALLOCATIONS 1
#endif

static _Atomic long n_allocations;
#if COUNT_ALLOCATIONS
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
void *malloc(size_t size) {
    n_allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
    n_allocations++;
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t size) {
    n_allocations++;
    return __libc_realloc(p, size);
}
#endif

// ---- a small world model: convolution, loop, heads; big enough that nodes are spread over threads

enum {
    T = 4,
    B = 6,
    H = 64,
    S = 8,
    D = 8,
    SD = S * D,
    CH = 8,
    SIDE = 16,
    E = CH * SIDE * SIDE / 4
};

struct model {
    struct params params;
    struct graph *g;
    struct tensor *packed, *first, *u, *target, *loss, *logits[T];
};

static void add_norm(struct params *p, const char *name, int64_t n) {
    char full[64];
    for (int i = 0; i < 2; i++) {
        snprintf(full, sizeof full, "%s.%s", name, i == 0 ? "gamma" : "beta");
        params_add(p, full, 1, (int64_t[]){n});
    }
}

static struct tensor *norm(struct model *m, const char *name, struct tensor *x,
                           enum activation act) {
    char full[2][64];
    snprintf(full[0], sizeof full[0], "%s.gamma", name);
    snprintf(full[1], sizeof full[1], "%s.beta", name);
    return g_layer_norm(m->g, x, g_param(m->g, &m->params, full[0]),
                        g_param(m->g, &m->params, full[1]), (real)1e-3, act);
}

static struct tensor *weight(struct model *m, const char *name) {
    return g_param(m->g, &m->params, name);
}

static void model_params(struct params *p) {
    params_init(p);
    params_add(p, "conv", 4, (int64_t[]){CH, 1, 4, 4});
    add_norm(p, "conv", CH);
    params_add(p, "gru", 2, (int64_t[]){3 * H, H + SD});
    add_norm(p, "gru", 3 * H);
    params_add(p, "post", 2, (int64_t[]){SD, H + E});
    params_add(p, "post.bias", 1, (int64_t[]){SD});
    params_add(p, "prior", 2, (int64_t[]){SD, H});
    params_add(p, "dec", 2, (int64_t[]){E, H + SD});
    params_add(p, "deconv", 4, (int64_t[]){CH, 1, 4, 4});
    params_add(p, "deconv.bias", 1, (int64_t[]){1});
    params_add(p, "w0", 1, (int64_t[]){H});
    params_allocate(p);
    for (int64_t i = 0; i < p->n_flat; i++)
        p->weights[i] = (real)(grad_random(5, i) - 0.5) * (real)0.2;
}

static void model_build(struct model *m) {
    model_params(&m->params);
    struct graph *g = m->g = graph_new();
    m->packed = g_input(g, "packed", DTYPE_U8, 2, (int64_t[]){T * B, SIDE * SIDE / 4});
    m->first = g_input(g, "is_first", DTYPE_REAL, 1, (int64_t[]){T * B});
    m->u = g_input(g, "u", DTYPE_REAL, 2, (int64_t[]){T * B, S});
    struct tensor *x = g_unpack2(g, m->packed, SIDE, SIDE);
    graph_scope_push(g, "encoder");
    struct tensor *e = g_hwc_to_chw(g, norm(m, "conv", g_conv(g, x, weight(m, "conv")), ACT_SILU));
    graph_scope_pop(g);
    graph_scope_push(g, "rssm");
    struct tensor *e_post = g_linear(g, e, weight(m, "post"), weight(m, "post.bias"), NULL, H);
    struct tensor *h0 = g_reshape(g, g_tanh(g, weight(m, "w0")), 2, (int64_t[]){1, H});
    struct tensor *h = g_input(g, "h", DTYPE_REAL, 2, (int64_t[]){B, H}),
                  *z = g_input(g, "z", DTYPE_REAL, 2, (int64_t[]){B, SD});
    struct tensor *all_h[T], *all_z[T], *all_post[T];
    for (int t = 0; t < T; t++) {
        graph_scope_push(g, "t%02d", t);
        struct tensor *f = g_slice(g, m->first, t * B, B);
        struct tensor *h_before = g_blend(g, f, h, h0), *z_before = g_blend(g, f, z, NULL);
        struct tensor *y = g_linear(g, h_before, weight(m, "gru"), NULL, NULL, 0);
        y = norm(m, "gru", g_linear(g, z_before, weight(m, "gru"), NULL, y, H), ACT_NONE);
        h = all_h[t] = g_gru_gates(g, y, h_before);
        m->logits[t] = g_linear(g, h, weight(m, "post"), NULL, g_slice(g, e_post, t * B, B), 0);
        graph_name(g, m->logits[t], "logits");
        all_post[t] = g_unimix(g, m->logits[t], D, (real)0.01);
        z = all_z[t] = g_sample(g, all_post[t], g_slice(g, m->u, t * B, B), D);
        graph_scope_pop(g);
    }
    graph_scope_pop(g);
    struct tensor *hs = g_stack(g, all_h, T), *zs = g_stack(g, all_z, T),
                  *post = g_stack(g, all_post, T);
    struct tensor *prior =
        g_unimix(g, g_linear(g, hs, weight(m, "prior"), NULL, NULL, 0), D, (real)0.01);
    struct tensor *dec = g_linear(g, zs, weight(m, "dec"), NULL, NULL, 0);
    dec = g_chw_to_hwc(g, g_linear(g, hs, weight(m, "dec"), NULL, dec, SD), SIDE / 2, SIDE / 2, CH);
    struct tensor *image = g_deconv(g, dec, weight(m, "deconv"), weight(m, "deconv.bias"));
    struct tensor *kl = g_kl_balanced(g, post, prior, D, (real)0.5, (real)0.1, (real)0.01);
    m->loss = g_add(g, g_mean(g, g_square_error(g, image, x)), g_mean(g, kl));
    graph_keep(g, m->loss);
    graph_gradients(g, m->loss);
    graph_plan(g);
    for (int64_t i = 0; i < m->packed->n_elements; i++)
        ((uint8_t *)m->packed->data)[i] = (uint8_t)(i * 7 + i / 64);
    for (int64_t i = 0; i < m->u->n_elements; i++)
        ((real *)m->u->data)[i] = (real)grad_random(6, i);
    for (int64_t i = 0; i < T * B; i++) ((real *)m->first->data)[i] = i < B || i == 2 * B + 1;
}

static void model_free(struct model *m) {
    graph_free(m->g);
    params_deinit(&m->params);
}

static void results_are_the_same_bits_for_any_number_of_threads(void **state) {
    (void)state;
    real *expect = NULL, loss = 0;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        struct model m;
        model_build(&m);
        struct pool *pool = pool_new(n_threads);
        struct executor *ex = cpu_executor_new(m.g, pool);
        for (int run = 0; run < 3; run++) {
            executor_run(ex);
            if (!expect) {
                expect = mem_alloc((size_t)m.params.n_flat * sizeof(real));
                memcpy(expect, m.params.grads, (size_t)m.params.n_flat * sizeof(real));
                loss = *reals(m.loss);
                assert_true(isfinite((double)loss) && loss > 0);
            }
            assert_memory_equal(m.params.grads, expect, (size_t)m.params.n_flat * sizeof(real));
            assert_memory_equal(m.loss->data, &loss, sizeof loss);
        }
        executor_free(ex);
        pool_free(pool);
        model_free(&m);
    }
    free(expect);
}

static void a_run_allocates_nothing(void **state) {
    (void)state;
    if (!COUNT_ALLOCATIONS) skip();
    struct model m;
    model_build(&m);
    struct pool *pool = pool_new(2);
    struct executor *ex = cpu_executor_new(m.g, pool);
    executor_run(ex);
    long before = n_allocations;
    for (int i = 0; i < 3; i++) executor_run(ex);
    assert_int_equal(n_allocations, before);
    free(mem_alloc(1));
    assert_true(n_allocations > before); // the count works
    executor_free(ex);
    pool_free(pool);
    model_free(&m);
}

// Straight-through samples and the one-sided KL are no derivatives of the loss; the decoder's are.
static void the_decoders_gradient_inside_the_model_matches_central_differences(void **state) {
    (void)state;
    static const char *const exact[] = {"deconv", "deconv.bias", "dec"};
    const bool is_double = sizeof(real) == sizeof(double);
    const real step = (real)(is_double ? 1e-5 : 3e-2);
    struct model m;
    model_build(&m);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(m.g, pool);
    for (int k = 0; k < 3; k++) {
        const struct param *p = params_find(&m.params, exact[k]);
        double error = 0, norm = 0;
        for (int64_t i = 0; i < p->n_elements; i += 1 + p->n_elements / 40) {
            real *w = params_weights(&m.params, p) + i, before = *w;
            executor_run(ex);
            double gradient = (double)params_grads(&m.params, p)[i];
            *w = before + step;
            executor_run(ex);
            double up = (double)*reals(m.loss);
            *w = before - step;
            executor_run(ex);
            double difference = (up - (double)*reals(m.loss)) / (2 * (double)step);
            *w = before;
            error += (difference - gradient) * (difference - gradient);
            norm += difference * difference;
        }
        if (!(sqrt(error / norm) < (is_double ? 1e-7 : 3e-2)))
            fail_msg("%s: relative error %.3g", exact[k], sqrt(error / norm));
    }
    executor_free(ex);
    pool_free(pool);
    model_free(&m);
}

// ---- the first bad value

static const char *bad_name(struct model *m) {
    static char name[TENSOR_NAME_SIZE];
    struct pool *pool = pool_new(2);
    struct executor *ex = cpu_executor_new(m->g, pool);
    const struct tensor *t = executor_find_nonfinite(ex);
    snprintf(name, sizeof name, "%s", t ? t->name : "");
    executor_free(ex);
    pool_free(pool);
    return name;
}

static void the_first_non_finite_node_is_named(void **state) {
    (void)state;
    struct model m;
    model_build(&m);
    assert_string_equal(bad_name(&m), "");
    ((real *)m.u->data)[3] = (real)NAN;
    assert_string_equal(bad_name(&m), "u");
    ((real *)m.u->data)[3] = (real)0.5;
    real *w = params_weights(&m.params, params_find(&m.params, "gru")), before = *w;
    *w = (real)INFINITY;
    assert_string_equal(bad_name(&m), "gru");
    *w = before;
    // Finite weights whose product overflows: the posterior's logits at step 0, since all steps
    // share them.
    w = params_weights(&m.params, params_find(&m.params, "post"));
    const struct param *p = params_find(&m.params, "post");
    const real huge = sizeof(real) == sizeof(float) ? (real)1e38 : (real)1e308;
    for (int64_t i = 0; i < SD; i++)
        for (int64_t k = 0; k < H; k++) w[i * p->shape[1] + k] = k % 2 ? huge : huge / 2;
    for (int64_t i = 0; i < m.packed->n_elements; i++) ((uint8_t *)m.packed->data)[i] = 0x1B;
    real *gru = params_weights(&m.params, params_find(&m.params, "gru.beta"));
    for (int i = 0; i < 3 * H; i++) gru[i] = 5;
    assert_string_equal(bad_name(&m), "rssm/t00/logits");
    model_free(&m);
}

// The forward pass stays small because the weight is; the derivative is the product of both
// factors.
static void a_bad_gradient_is_named_after_its_node(void **state) {
    (void)state;
    const real huge = sizeof(real) == sizeof(float) ? (real)1e30 : (real)1e200;
    struct params p;
    params_init(&p);
    params_add(&p, "w", 1, (int64_t[]){2});
    params_allocate(&p);
    p.weights[0] = p.weights[1] = 1 / huge;
    struct graph *g = graph_new();
    graph_scope_push(g, "wm");
    graph_scope_push(g, "head%d", 1);
    struct tensor *y = g_affine(g, g_param(g, &p, "w"), huge, 0);
    graph_name(g, y, "blow");
    graph_scope_pop(g);
    struct tensor *loss = g_mean(g, g_affine(g, y, huge, 0));
    graph_scope_pop(g);
    graph_gradients(g, loss);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    const struct tensor *bad = executor_find_nonfinite(ex);
    assert_non_null(bad);
    assert_string_equal(bad->name, "wm/head1/blow:dx");
    executor_free(ex);
    graph_free(g);
    params_deinit(&p);
    pool_free(pool);
}

// ---- names and profile

static void names_carry_their_scope_and_tell_nodes_apart(void **state) {
    (void)state;
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 1, (int64_t[]){3});
    graph_scope_push(g, "wm");
    graph_scope_push(g, "t%02d", 7);
    struct tensor *a = g_tanh(g, x), *b = g_tanh(g, a), *c = g_tanh(g, b);
    graph_name(g, c, "gate");
    graph_scope_pop(g);
    struct tensor *d = g_tanh(g, c);
    graph_scope_pop(g);
    assert_string_equal(x->name, "x");
    assert_string_equal(a->name, "wm/t07/tanh");
    assert_string_equal(b->name, "wm/t07/tanh_2");
    assert_string_equal(c->name, "wm/t07/gate");
    assert_string_equal(d->name, "wm/tanh");
    graph_free(g);
}

static void backward_nodes_are_named_after_their_forward_node(void **state) {
    (void)state;
    struct model m;
    model_build(&m);
    bool found = false;
    for (int i = 0; i < m.g->n_nodes; i++)
        found |= strcmp(m.g->nodes[i]->out[0] ? m.g->nodes[i]->out[0]->name : "",
                        "rssm/t02/logits:dx") == 0;
    assert_true(found);
    model_free(&m);
}

static void a_profile_counts_runs_of_each_kind(void **state) {
    (void)state;
    struct model m;
    model_build(&m);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(m.g, pool);
    struct op_time times[N_OPS];
    executor_run(ex);
    assert_int_equal(executor_times(ex, times, N_OPS), 0);
    executor_profile(ex, true);
    executor_run(ex);
    executor_run(ex);
    int n = executor_times(ex, times, N_OPS);
    int64_t gates = 0;
    for (int i = 0; i < n; i++) {
        assert_true(i == 0 || times[i].ns <= times[i - 1].ns);
        if (strcmp(times[i].op, "gru_gates") == 0) gates = times[i].n_runs;
    }
    assert_int_equal(gates, 2 * T);
    executor_free(ex);
    pool_free(pool);
    model_free(&m);
}

// ---- broken invariants

static struct graph *broken;
static struct tensor *matrix(const char *name, int64_t rows, int64_t columns) {
    return g_input(broken, name, DTYPE_REAL, 2, (int64_t[]){rows, columns});
}
static void add_shapes(void) { g_add(broken, matrix("left", 2, 3), matrix("right", 3, 2)); }
static void linear_columns(void) {
    graph_scope_push(broken, "wm");
    g_linear(broken, matrix("x", 2, 3), matrix("w", 4, 5), NULL, NULL, 3);
}
static void stack_leaf(void) { g_stack(broken, (struct tensor *[]){matrix("leaf", 2, 3)}, 1); }
static void stack_twice(void) {
    struct tensor *y = g_tanh(broken, matrix("x", 2, 3));
    g_stack(broken, &y, 1);
    g_stack(broken, &y, 1);
}
static void slice_beyond(void) { g_slice(broken, matrix("x", 2, 3), 1, 2); }
static void reshape_count(void) { g_reshape(broken, matrix("x", 2, 3), 1, (int64_t[]){7}); }
static void conv_channels(void) {
    struct tensor *w = g_input(broken, "w", DTYPE_REAL, 4, (int64_t[]){4, 3, 4, 4});
    g_conv(broken, g_input(broken, "image", DTYPE_REAL, 4, (int64_t[]){1, 8, 8, 2}), w);
}
static void loss_of_many(void) { graph_gradients(broken, g_tanh(broken, matrix("x", 2, 3))); }
static void loss_of_nothing(void) { graph_gradients(broken, g_mean(broken, matrix("x", 2, 3))); }
static void node_after_plan(void) {
    struct tensor *x = matrix("x", 2, 3);
    graph_plan(broken);
    g_tanh(broken, x);
}
static void unplanned(void) { cpu_executor_new(broken, NULL); }
static void scope_left(void) { graph_scope_pop(broken); }
static void no_parameter(void) {
    struct params p;
    params_init(&p);
    g_param(broken, &p, "rssm.weight");
}

static void broken_shapes_name_the_node(void **state) {
    (void)state;
    static const struct {
        void (*function)(void);
        const char *text;
    } cases[] = {
        {add_shapes, "node add: left and right have different shapes"},
        {linear_columns, "node wm/linear: columns 3..6 of a matrix with 5"},
        {stack_leaf, "node stack: leaf is a leaf"},
        {stack_twice, "node stack_2: tanh is a leaf, a part of something, or stacked already"},
        {slice_beyond, "node slice: rows 1..3 of x with 2"},
        {reshape_count, "node reshape: x has 6 elements, the new shape 7"},
        {conv_channels, "node conv: image has 2 channels, w takes 3"},
        {loss_of_many, "tanh: the loss is a node with one element"},
        {loss_of_nothing, "mean: the loss depends on no parameter"},
        {node_after_plan, "the graph is planned already"},
        {unplanned, "graph_plan comes before cpu_executor_new"},
        {scope_left, "graph_scope_pop without a push"},
        {no_parameter, "no parameter is named rssm.weight"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        broken = graph_new();
        expect_abort(cases[i].function, cases[i].text);
        graph_free(broken);
    }
}

// Two layers, so that the first one's memory could be had by the second.
static void weights_that_rest_are_packed_again_only_when_told(void **state) {
    (void)state;
    enum { ROWS = 40, WIDTH = 64 };
    struct params params;
    params_init(&params);
    params_add(&params, "a", 2, (int64_t[]){WIDTH, WIDTH});
    params_add(&params, "b", 2, (int64_t[]){WIDTH, WIDTH});
    params_allocate(&params);
    for (int64_t i = 0; i < params.n_flat; i++) params.weights[i] = (real)(i % 7 - 3) / 8;
    struct graph *g[2];
    struct executor *ex[2];
    struct tensor *x[2], *y[2];
    struct pool *pool = pool_new(1);
    for (int k = 0; k < 2; k++) { // the second packs at every run
        g[k] = graph_new();
        x[k] = g_input(g[k], "x", DTYPE_REAL, 2, (int64_t[]){ROWS, WIDTH});
        struct tensor *h = g_linear(g[k], x[k], g_param(g[k], &params, "a"), NULL, NULL, 0);
        y[k] = g_linear(g[k], g_tanh(g[k], h), g_param(g[k], &params, "b"), NULL, NULL, 0);
        graph_keep(g[k], y[k]);
        if (k == 0) graph_rest_weights(g[k]);
        graph_plan(g[k]);
        ex[k] = cpu_executor_new(g[k], pool);
        for (int64_t i = 0; i < ROWS * WIDTH; i++) reals(x[k])[i] = (real)(i % 11 - 5) / 4;
    }
    const size_t bytes = ROWS * WIDTH * sizeof(real);
    for (int turn = 0; turn < 4; turn++) {
        for (int k = 0; k < 2; k++) executor_run(ex[k]);
        if (turn == 2) // not told
            assert_memory_not_equal(y[0]->data, y[1]->data, bytes);
        else
            assert_memory_equal(y[0]->data, y[1]->data, bytes);
        if (turn == 1) params.weights[5] += 1;
        if (turn == 2) executor_weights_changed(ex[0]);
    }
    for (int k = 0; k < 2; k++) {
        executor_free(ex[k]);
        graph_free(g[k]);
    }
    pool_free(pool);
    params_deinit(&params);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(a_run_allocates_nothing),
        cmocka_unit_test(the_decoders_gradient_inside_the_model_matches_central_differences),
        cmocka_unit_test(the_first_non_finite_node_is_named),
        cmocka_unit_test(a_bad_gradient_is_named_after_its_node),
        cmocka_unit_test(names_carry_their_scope_and_tell_nodes_apart),
        cmocka_unit_test(backward_nodes_are_named_after_their_forward_node),
        cmocka_unit_test(a_profile_counts_runs_of_each_kind),
        cmocka_unit_test(broken_shapes_name_the_node),
        cmocka_unit_test(weights_that_rest_are_packed_again_only_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
