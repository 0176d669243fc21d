// Layers on one-hot rows: the same bits as the whole product, whatever the rows hold.
#include "base/philox.h"
#include "base/pool.h"
#include "engine/graph/graph.h"
#include "support/test.h"

enum { ROWS = 37, CLASSES = 16, GROUPS = 3, WIDTH = 5, STEPS = 3, COLUMN = 2 };
enum { K = CLASSES * GROUPS + WIDTH, K_HOT = CLASSES * GROUPS };

static real number(uint32_t stream, int64_t i) {
    return 2 * (real)rng_uniform(3, RNG_TEST, stream, (uint32_t)i) - 1;
}

enum rows { ALL_ONE_HOT, SOME_ZERO, SOME_ODD, N_ROWS_KINDS };

// One-hot groups; by kind also rows of zeros, and rows with another value or with one 1 too many.
static void fill_rows(real *x, enum rows kind, uint32_t stream) {
    memset(x, 0, sizeof(real) * ROWS * K_HOT);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t s = 0; s < GROUPS; s++)
            x[row * K_HOT + s * CLASSES +
              rng_below(5, RNG_TEST, stream, row * GROUPS + s, CLASSES)] = 1;
    for (int64_t row = 0; row < ROWS && kind == SOME_ZERO; row += 3)
        memset(x + row * K_HOT, 0, sizeof(real) * K_HOT);
    for (int64_t row = 0; row < ROWS && kind == SOME_ODD; row += 3) {
        real *r = x + row * K_HOT;
        if (row % 2)
            r[row % K_HOT] += (real)0.5;
        else
            for (int64_t i = 0; i < K_HOT; i += 4) r[i] = 1;
    }
}

struct model {
    struct params params;
    struct graph *graph;
    struct tensor *hot[STEPS], *rest[STEPS], *out;
    struct executor *run;
};

// y_t = [hot_t; rest_t] w^T + bias, the one-hot part in columns of its own; the loss reads every y.
// Once through step tensors, once through all of them in a stack.
static void model_make(struct model *m, int64_t n_out, bool marked, bool stacked,
                       struct pool *pool) {
    params_init(&m->params);
    params_add(&m->params, "w", 2, (int64_t[]){n_out, K + COLUMN});
    params_add(&m->params, "bias", 1, &n_out);
    params_allocate(&m->params);
    for (int64_t i = 0; i < m->params.n_flat; i++) m->params.weights[i] = number(1, i);
    struct graph *g = m->graph = graph_new();
    struct tensor *w = g_param(g, &m->params, "w"), *bias = g_param(g, &m->params, "bias"),
                  *y[STEPS], *hot[STEPS];
    for (int t = 0; t < STEPS; t++) {
        m->hot[t] = g_input(g, "hot", DTYPE_REAL, 2, (int64_t[]){ROWS, K_HOT});
        m->rest[t] = g_input(g, "rest", DTYPE_REAL, 2, (int64_t[]){ROWS, WIDTH});
        graph_want_gradient(g, m->hot[t]);
        if (marked) graph_one_hot(g, m->hot[t], CLASSES);
        hot[t] = stacked ? g_affine(g, m->hot[t], 1, 0) : m->hot[t];
        struct tensor *part = stacked ? NULL : g_linear(g, hot[t], w, bias, NULL, COLUMN);
        y[t] = part ? g_linear(g, m->rest[t], w, NULL, part, COLUMN + K_HOT) : NULL;
    }
    if (stacked)
        m->out = g_linear(g, g_stack(g, hot, STEPS), w, bias, NULL, COLUMN);
    else
        m->out = g_stack(g, y, STEPS);
    graph_keep(g, m->out);
    for (int t = 0; t < STEPS; t++) graph_keep(g, m->hot[t]);
    graph_gradients(g, g_mean(g, g_mul(g, m->out, g_tanh(g, m->out))));
    graph_plan(g);
    m->run = cpu_executor_new(g, pool);
}

static void model_run(struct model *m, enum rows kind) {
    for (int t = 0; t < STEPS; t++) {
        fill_rows(m->hot[t]->data, kind, (uint32_t)t);
        for (int64_t i = 0; i < ROWS * WIDTH; i++)
            ((real *)m->rest[t]->data)[i] = number(7 + (uint32_t)t, i);
    }
    executor_run(m->run);
}

static void model_free(struct model *m) {
    executor_free(m->run);
    graph_free(m->graph);
    params_deinit(&m->params);
}

static void compare(const char *table, int64_t n_out, bool stacked) {
    if (!cpu_kernels_choose(table)) return;
    struct pool *one = pool_new(1), *three = pool_new(3);
    struct model product, gathered;
    model_make(&product, n_out, false, stacked, one);
    model_make(&gathered, n_out, true, stacked, three);
    for (enum rows kind = ALL_ONE_HOT; kind < N_ROWS_KINDS; kind++) {
        model_run(&product, kind);
        model_run(&gathered, kind);
        assert_memory_equal(product.out->data, gathered.out->data,
                            (size_t)product.out->n_elements * sizeof(real));
        assert_memory_equal(product.params.grads, gathered.params.grads,
                            (size_t)product.params.n_flat * sizeof(real));
        for (int t = 0; t < STEPS; t++)
            assert_memory_equal(product.hot[t]->grad->data, gathered.hot[t]->grad->data,
                                ROWS * K_HOT * sizeof(real));
    }
    model_free(&product);
    model_free(&gathered);
    pool_free(one);
    pool_free(three);
}

static void one_hot_rows_give_the_bits_of_the_product(void **state) {
    (void)state;
    static const char *const tables[] = {"generic", "avx2", "avx512"};
    static const int64_t widths[] = {1, 16, 23, 48, 130};
    for (int t = 0; t < 3; t++)
        for (int w = 0; w < 5; w++)
            for (int stacked = 0; stacked < 2; stacked++) compare(tables[t], widths[w], stacked);
}

// The gathered model must be faster to be worth its nodes: it has them where a latent is drawn, and
// nowhere else.
static int count_ones;
static void count_node(void *ctx, const struct node_time *t) {
    (void)ctx;
    count_ones += strcmp(t->op, "ones") == 0;
}

static void drawn_states_are_known_to_be_one_hot(void **state) {
    (void)state;
    struct params params;
    params_init(&params);
    params_add(&params, "w", 2, (int64_t[]){8, 32});
    params_allocate(&params);
    struct pool *pool = pool_new(1);
    struct graph *g = graph_new();
    struct tensor *logits = g_input(g, "logits", DTYPE_REAL, 2, (int64_t[]){4, 32}),
                  *w = g_param(g, &params, "w");
    struct tensor *u = g_input(g, "u", DTYPE_REAL, 2, (int64_t[]){4, 2}),
                  *f = g_input(g, "f", DTYPE_REAL, 1, (int64_t[]){4});
    struct tensor *z = g_sample(g, g_unimix(g, logits, 16, (real)0.01), u, 16);
    struct tensor *kept[] = {g_linear(g, z, w, NULL, NULL, 0),
                             g_linear(g, z, w, NULL, NULL, 0),
                             g_linear(g, g_blend(g, f, z, NULL), w, NULL, NULL, 0),
                             g_linear(g, g_slice(g, z, 1, 2), w, NULL, NULL, 0),
                             g_linear(g, g_affine(g, z, 2, 0), w, NULL, NULL, 0), // no longer ones
                             g_linear(g, logits, w, NULL, NULL, 0)};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) graph_keep(g, kept[i]);
    graph_plan(g);
    struct executor *run = cpu_executor_new(g, pool);
    count_ones = 0;
    executor_node_times(run, count_node, NULL);
    assert_int_equal(count_ones, 3); // z once for both layers, the blend, the slice
    executor_free(run);
    graph_free(g);
    pool_free(pool);
    params_deinit(&params);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_hot_rows_give_the_bits_of_the_product),
        cmocka_unit_test(drawn_states_are_known_to_be_one_hot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
