// A layer over rows that steps have computed before is not run again, and nothing else changes.
#include "base/philox.h"
#include "base/pool.h"
#include "engine/graph/graph.h"
#include "support/test.h"

enum { STEPS = 4, ROWS = 6, IN = 10, UNITS = 32, CLASSES = 8 };

struct build {
    bool apart;    // the steps see copies of their own: nothing can be reused
    bool gradient; // the loss also reads what step 0 has computed
    bool short_by; // one step is missing
};

struct model {
    struct params params;
    struct graph *graph;
    struct tensor *x[STEPS], *u, *probs;
    struct executor *run;
};

static struct tensor *policy(struct model *m, struct tensor *x, struct tensor *half) {
    struct graph *g = m->graph;
    struct tensor *y = g_linear(g, x, g_param(g, &m->params, "w1"), NULL, half, 0);
    y = g_layer_norm(g, y, g_param(g, &m->params, "gamma"), g_param(g, &m->params, "beta"),
                     (real)1e-3, ACT_SILU);
    y = g_linear(g, y, g_param(g, &m->params, "w2"), g_param(g, &m->params, "bias"), NULL, 0);
    return g_unimix(g, y, CLASSES, (real)0.01);
}

static struct tensor *whole_policy(struct model *m, struct tensor *x) {
    return policy(m, x, g_linear(m->graph, x, g_param(m->graph, &m->params, "w0"), NULL, NULL, 0));
}

static void model_make(struct model *m, const struct build *b, struct pool *pool) {
    params_init(&m->params);
    params_add(&m->params, "w0", 2, (int64_t[]){UNITS, IN});
    params_add(&m->params, "w1", 2, (int64_t[]){UNITS, IN});
    params_add(&m->params, "gamma", 1, (int64_t[]){UNITS});
    params_add(&m->params, "beta", 1, (int64_t[]){UNITS});
    params_add(&m->params, "w2", 2, (int64_t[]){CLASSES, UNITS});
    params_add(&m->params, "bias", 1, (int64_t[]){CLASSES});
    params_allocate(&m->params);
    for (uint32_t i = 0; i < m->params.n_flat; i++)
        m->params.weights[i] = 2 * (real)rng_uniform(1, RNG_TEST, 1, i) - 1;
    struct graph *g = m->graph = graph_new();
    struct tensor *copies[STEPS], *actions[STEPS], *first = NULL;
    m->u = g_input(g, "u", DTYPE_REAL, 2, (int64_t[]){STEPS * ROWS, 1});
    for (int t = 0; t < STEPS; t++) {
        m->x[t] = g_input(g, "x", DTYPE_REAL, 2, (int64_t[]){ROWS, IN});
        copies[t] = g_affine(g, m->x[t], 1, 0);
    }
    for (int t = 0; t < STEPS; t++) {
        const bool missing = b->short_by && t == 1;
        struct tensor *p =
            whole_policy(m, b->apart || missing ? g_affine(g, m->x[t], 1, 0) : copies[t]);
        if (t == 0) first = p;
        actions[t] = g_sample(g, g_stop_gradient(g, p), g_slice(g, m->u, t * ROWS, ROWS), CLASSES);
    }
    m->probs = whole_policy(m, g_stop_gradient(g, g_stack(g, copies, STEPS)));
    graph_keep(g, m->probs);
    struct tensor *loss = g_mean(g, g_log_prob(g, m->probs, g_stack(g, actions, STEPS)));
    if (b->gradient) loss = g_add(g, loss, g_mean(g, g_entropy(g, first)));
    graph_gradients(g, loss);
    graph_plan(g);
    m->run = cpu_executor_new(g, pool);
    for (uint32_t i = 0; i < STEPS * ROWS; i++)
        ((real *)m->u->data)[i] = (real)rng_uniform(1, RNG_TEST, 2, i);
    for (uint32_t t = 0; t < STEPS; t++)
        for (uint32_t i = 0; i < ROWS * IN; i++)
            ((real *)m->x[t]->data)[i] = 2 * (real)rng_uniform(1, RNG_TEST, 3 + t, i) - 1;
    executor_run(m->run);
    executor_run(m->run);
}

static void model_free(struct model *m) {
    executor_free(m->run);
    graph_free(m->graph);
    params_deinit(&m->params);
}

static void count_layer(void *ctx, const struct node_time *t) {
    *(int *)ctx += strcmp(t->op, "linear") == 0 || strcmp(t->op, "layer_norm") == 0 ||
                   strcmp(t->op, "unimix") == 0;
}

static int layers_run(const struct model *m) {
    int n = 0;
    executor_node_times(m->run, count_layer, &n);
    return n;
}

// Builds `b` and the same with steps apart; returns how many layers fewer run. All results have the
// same bits.
static int saved(struct build b) {
    struct pool *pool = pool_new(2);
    struct model reused, apart;
    model_make(&reused, &b, pool);
    b.apart = true;
    model_make(&apart, &b, pool);
    assert_memory_equal(reused.probs->data, apart.probs->data,
                        (size_t)apart.probs->n_elements * sizeof(real));
    assert_memory_equal(reused.params.grads, apart.params.grads,
                        (size_t)apart.params.n_flat * sizeof(real));
    int n = layers_run(&apart) - layers_run(&reused);
    model_free(&reused);
    model_free(&apart);
    pool_free(pool);
    return n;
}

static void what_the_steps_have_computed_is_not_run_again(void **state) {
    (void)state;
    assert_int_equal(saved((struct build){0}), 5); // three products, the norm, the probabilities
}

static void steps_that_get_a_gradient_of_their_own_are_left_alone(void **state) {
    (void)state;
    assert_int_equal(saved((struct build){.gradient = true}), 0);
}

static void rows_that_no_step_has_computed_are_run(void **state) {
    (void)state;
    assert_int_equal(saved((struct build){.short_by = true}), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_steps_have_computed_is_not_run_again),
        cmocka_unit_test(steps_that_get_a_gradient_of_their_own_are_left_alone),
        cmocka_unit_test(rows_that_no_step_has_computed_are_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
