// Graphs that use one memory in turn: what is kept survives the others, all else is shared.
#include "base/mem.h"
#include "engine/graph/node.h"
#include "support/expect_abort.h"

enum { N = 1000, STEPS = 12 };

struct chain { // x + 1, + 2, .. : `middle` and `last` are kept, `lost` is not
    struct graph *graph;
    struct tensor *x, *middle, *lost, *last;
    struct executor *run;
};

static struct pool *pool;

static struct chain chain_new(struct slab *slab, int64_t n) {
    struct chain c = {.graph = graph_new()};
    struct tensor *t = c.x = g_input(c.graph, "x", DTYPE_REAL, 1, &n);
    for (int i = 0; i < STEPS; i++) {
        t = g_affine(c.graph, t, 1, 1);
        if (i == 2) c.middle = t;
        if (i == 3) c.lost = t;
    }
    c.last = t;
    graph_keep(c.graph, c.middle);
    graph_keep(c.graph, c.last);
    graph_plan_shared(c.graph, slab);
    c.run = cpu_executor_new(c.graph, pool);
    return c;
}

static void chain_run(struct chain *c, double x) {
    for (int64_t i = 0; i < c->x->n_elements; i++) reals(c->x)[i] = (real)x;
    executor_run(c->run);
}

static void chain_free(struct chain *c) {
    executor_free(c->run);
    graph_free(c->graph);
}

static void assert_all(const struct tensor *t, double value) {
    for (int64_t i = 0; i < t->n_elements; i++) assert_true((double)reals(t)[i] == value);
}

static bool inside(const void *p, const void *memory, size_t bytes) {
    return (const char *)p >= (const char *)memory &&
           (const char *)p < (const char *)memory + bytes;
}

static void what_is_kept_survives_another_graphs_run(void **state) {
    (void)state;
    struct slab *slab = slab_new();
    struct chain a = chain_new(slab, N), b = chain_new(slab, N);
    chain_run(&a, 100);
    assert_all(a.middle, 103);
    assert_all(a.last, 100 + STEPS);
    chain_run(&b, 200);
    memset(slab_take(slab, 0), 0xFF, slab_bytes(slab));
    assert_all(a.middle, 103);
    assert_all(a.last, 100 + STEPS);
    assert_all(b.middle, 203);
    assert_all(b.last, 200 + STEPS);
    chain_run(&a, 300); // and a graph needs nothing that it has left there
    assert_all(a.last, 300 + STEPS);
    assert_all(b.last, 200 + STEPS);
    chain_free(&a);
    chain_free(&b);
    slab_free(slab);
}

static void all_else_lies_in_the_same_memory(void **state) {
    (void)state;
    struct slab *slab = slab_new();
    struct chain alone = chain_new(NULL, N), a = chain_new(slab, N), b = chain_new(slab, N / 2);
    const size_t one = (N * sizeof(real) + 63) / 64 * 64, kept = 2 * one;
    assert_int_equal(slab_bytes(slab), 2 * one); // what a step reads and what it makes
    assert_int_equal(graph_slab_bytes(a.graph), kept);
    assert_true(graph_slab_bytes(alone.graph) >= 3 * one &&
                graph_slab_bytes(alone.graph) <= 4 * one);
    assert_ptr_equal(a.graph->slab, b.graph->slab);
    const struct chain *chains[] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        const struct chain *c = chains[i];
        assert_true(inside(c->lost->data, slab_take(slab, 0), slab_bytes(slab)));
        assert_true(inside(c->middle->data, c->graph->kept, c->graph->kept_bytes));
        assert_true(inside(c->last->data, c->graph->kept, c->graph->kept_bytes));
    }
    chain_free(&alone);
    chain_free(&a);
    chain_free(&b);
    slab_free(slab);
}

// Executors and callers hold addresses.
static void a_graph_that_needs_more_moves_nobody(void **state) {
    (void)state;
    struct slab *slab = slab_new();
    struct chain a = chain_new(slab, N);
    const void *before = a.lost->data;
    const size_t bytes = slab_bytes(slab);
    struct chain b = chain_new(slab, 4 * N), c = chain_new(slab, 3 * N);
    assert_ptr_equal(a.lost->data, before);
    assert_true(slab_bytes(slab) >= 5 * bytes - 1024 && slab_bytes(slab) <= 5 * bytes + 1024);
    assert_ptr_equal(b.graph->slab, c.graph->slab);
    chain_run(&b, 1);
    chain_run(&a, 2);
    chain_run(&c, 3);
    assert_all(b.last, 1 + STEPS);
    assert_all(a.last, 2 + STEPS);
    assert_all(c.last, 3 + STEPS);
    chain_free(&a);
    chain_free(&b);
    chain_free(&c);
    slab_free(slab);
}

// One layer, whose packed weights rest.
static struct graph *resting_graph(struct params *params, struct slab *slab) {
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 2, (int64_t[]){40, 64});
    params_init(params);
    params_add(params, "w", 2, (int64_t[]){64, 64});
    params_allocate(params);
    for (int64_t i = 0; i < params->n_flat; i++) params->weights[i] = 1;
    for (int64_t i = 0; i < x->n_elements; i++) reals(x)[i] = 1;
    struct tensor *y = g_linear(g, x, g_param(g, params, "w"), NULL, NULL, 0);
    graph_keep(g, y);
    graph_rest_weights(g);
    graph_plan_shared(g, slab);
    return g;
}

static void weights_rest_where_no_slab_is_shared(void **state) {
    (void)state;
    struct params params;
    struct graph *g = resting_graph(&params, NULL);
    struct executor *run = cpu_executor_new(g, pool);
    executor_run(run);
    params.weights[0] = 3;
    executor_run(run);
    const struct tensor *y = g->nodes[g->n_nodes - 1]->out[0];
    assert_int_equal(y->n_elements, 40 * 64);
    assert_all(y, 64); // not told
    executor_weights_changed(run);
    executor_run(run);
    assert_true((double)reals(y)[0] == 66);
    executor_free(run);
    graph_free(g);
    params_deinit(&params);
}

static void rest_in_shared_memory(void) {
    struct params params;
    resting_graph(&params, slab_new());
}

static void weights_that_would_rest_in_a_shared_slab_are_refused(void **state) {
    (void)state;
    expect_abort(rest_in_shared_memory, "packed weights cannot rest in memory that others use");
}

int main(void) {
    pool = pool_new(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_survives_another_graphs_run),
        cmocka_unit_test(all_else_lies_in_the_same_memory),
        cmocka_unit_test(a_graph_that_needs_more_moves_nobody),
        cmocka_unit_test(weights_rest_where_no_slab_is_shared),
        cmocka_unit_test(weights_that_would_rest_in_a_shared_slab_are_refused),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}
