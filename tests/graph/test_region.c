// Slices of rows that go through several nodes: the same bits as node by node, for any number of
// threads; what reads other rows ends a region; memory that a region touches is nobody else's.
#include "engine/graph/node.h"

#include "base/pool.h"
#include "support/grad_check.h"
#include "support/test.h"

enum { STEPS = 3, CLASSES = 8, GROUPS = 4, LATENT = CLASSES * GROUPS, H = 96 };

// How the state of a step is read by the next one.
enum between { NOTHING, ROWS_IN_PAIRS, SHIFTED };

struct loop {
    struct params params;
    struct graph *g;
    struct pool *pool;
    struct executor *ex;
    struct tensor *h, *z;
};

static struct tensor *par(struct loop *s, const char *name) {
    return g_param(s->g, &s->params, name);
}

static struct tensor *input(struct loop *s, const char *name, int64_t rows, int64_t columns,
                            bool zero_one) {
    struct tensor *t = g_input(s->g, name, DTYPE_REAL, 2, (int64_t[]){rows, columns});
    for (int64_t i = 0; i < t->n_elements; i++) {
        const double u = grad_random(name[0], i);
        reals(t)[i] = (real)(zero_one ? u > 0.8 : u);
    }
    return t;
}

// The rows of x in another order or cut: what a region must not be cut in the middle of.
static struct tensor *moved(struct loop *s, struct tensor *x, struct tensor *first,
                            enum between between) {
    const int64_t rows = x->shape[0], width = x->shape[1];
    if (between == NOTHING) return x;
    struct tensor *wide = par(s, "wide");
    if (between == ROWS_IN_PAIRS) { // each row of the pairs has two rows of x
        struct tensor *pairs = g_reshape(s->g, x, 2, (int64_t[]){rows / 2, 2 * width});
        struct tensor *y = g_linear(s->g, pairs, wide, NULL, NULL, 0);
        return g_reshape(s->g, y, 2, (int64_t[]){rows, width});
    }
    struct tensor *both[] = {g_blend(s->g, first, x, NULL), g_blend(s->g, first, x, par(s, "h0"))};
    struct tensor *stack = g_reshape(s->g, g_stack(s->g, both, 2), 2, (int64_t[]){2 * rows, width});
    return g_slice(s->g, stack, rows / 2, rows);
}

static struct tensor *normed(struct loop *s, struct tensor *x, const char *gamma, const char *beta,
                             enum activation act) {
    return g_layer_norm(s->g, x, par(s, gamma), par(s, beta), (real)1e-3, act);
}

static void step(struct loop *s, int t, int64_t rows, enum between between) {
    char name[16];
    struct graph *g = s->g;
    snprintf(name, sizeof name, "first%d", t);
    struct tensor *first = g_reshape(g, input(s, name, rows, 1, true), 1, (int64_t[]){rows});
    snprintf(name, sizeof name, "u%d", t);
    struct tensor *u = input(s, name, rows, GROUPS, false);
    struct tensor *h = g_blend(g, first, moved(s, s->h, first, between), par(s, "h0"));
    struct tensor *z = g_blend(g, first, s->z, NULL);
    struct tensor *x = g_linear(g, z, par(s, "in"), par(s, "in.b"), NULL, 0);
    x = normed(s, x, "gamma", "beta", ACT_SILU);
    struct tensor *part = g_linear(g, h, par(s, "gates"), NULL, NULL, H);
    struct tensor *pre = g_linear(g, x, par(s, "gates"), NULL, part, 0);
    s->h = g_gru_gates(g, normed(s, pre, "gamma3", "beta3", ACT_NONE), h);
    struct tensor *logits = g_linear(g, s->h, par(s, "out"), NULL, NULL, 0);
    s->z = g_sample(g, g_unimix(g, logits, CLASSES, (real)0.01), u, CLASSES);
}

static void loop_params(struct params *p) {
    static const struct {
        const char *name;
        int n_dims;
        int64_t shape[2];
    } list[] = {{"in", 2, {H, LATENT}},
                {"in.b", 1, {H}},
                {"gates", 2, {3 * H, 2 * H}},
                {"out", 2, {LATENT, H}},
                {"wide", 2, {2 * H, 2 * H}},
                {"gamma", 1, {H}},
                {"beta", 1, {H}},
                {"gamma3", 1, {3 * H}},
                {"beta3", 1, {3 * H}},
                {"h0", 1, {H}}};
    params_init(p);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        params_add(p, list[i].name, list[i].n_dims, list[i].shape);
    params_allocate(p);
    for (int64_t i = 0; i < p->n_flat; i++) p->weights[i] = (real)(grad_random(1, i) - 0.5);
}

static void loop_make(struct loop *s, int64_t rows, int threads, enum between between,
                      bool guarded) {
    *s = (struct loop){.g = graph_new(), .pool = pool_new(threads)};
    loop_params(&s->params);
    s->h = input(s, "h", rows, H, false);
    s->z = input(s, "z", rows, LATENT, true);
    for (int t = 0; t < STEPS; t++) step(s, t, rows, between);
    graph_keep(s->g, s->h);
    graph_keep(s->g, s->z);
    if (guarded)
        graph_plan_guarded(s->g, 64);
    else
        graph_plan(s->g);
    s->ex = executor_new(s->g, s->pool);
}

static void loop_free(struct loop *s) {
    executor_free(s->ex);
    graph_free(s->g);
    params_deinit(&s->params);
    pool_free(s->pool);
}

static void assert_same(const struct tensor *a, const struct tensor *b) {
    assert_memory_equal(a->data, b->data, (size_t)a->n_elements * sizeof(real));
}

// Nodes of the longest region.
static int longest(const struct loop *s) {
    int most = 0;
    for (int k = 0; k < s->g->n_regions; k++) {
        const struct region *r = &s->g->regions[k];
        int n = 0;
        for (int i = r->first; i <= r->last; i++) n += node_runs(s->g->nodes[i]);
        if (n > most) most = n;
    }
    return most;
}

// Nodes of a step: two blends, ones and their product, a norm, two products, norm and gates (one),
// a product, mixing, drawing.
enum { STEP_NODES = 11 };

// Against one thread, which knows no regions, with memory that is used once only.
static void compare(int64_t rows, int threads, enum between between) {
    struct loop one, many;
    loop_make(&one, rows, 1, between, true);
    loop_make(&many, rows, threads, between, false);
    // Weights are packed in the first step, between its nodes.
    if (between == NOTHING)
        assert_in_range(longest(&many), STEP_NODES * (STEPS - 1), STEP_NODES * STEPS - 1);
    else
        assert_in_range(longest(&many), 2, STEP_NODES + 2);
    executor_run(one.ex);
    for (int run = 0; run < 20; run++) {
        for (int64_t i = 0; i < many.h->n_elements; i++) reals(many.h)[i] = -1;
        executor_run(many.ex);
        assert_same(one.h, many.h);
        assert_same(one.z, many.z);
    }
    loop_free(&one);
    loop_free(&many);
}

static void slices_of_rows_give_the_bits_of_whole_nodes(void **state) {
    (void)state;
    static const int64_t rows[] = {9, 16, 63, 64, 70, 131};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int threads = 2; threads <= 5; threads++) compare(rows[i], threads, NOTHING);
}

static void a_row_that_reads_other_rows_ends_a_region(void **state) {
    (void)state;
    compare(64, 3, ROWS_IN_PAIRS);
    compare(64, 3, SHIFTED);
}

static void what_cannot_be_cut_is_no_region(void **state) {
    (void)state;
    struct loop s;
    loop_make(&s, 64, 2, NOTHING, false);
    const struct region *last = &s.g->regions[s.g->n_regions - 1];
    assert_int_equal(last->rows, 64);
    assert_int_equal(last->shares_max, 4); // of 16 rows at least
    loop_free(&s);
    loop_make(&s, 1, 2, NOTHING, false); // a row cannot be cut
    assert_int_equal(s.g->n_regions, 0);
    loop_free(&s);
    loop_make(&s, 16384, 2, NOTHING, false); // each node is much by itself
    assert_int_equal(s.g->n_regions, 0);
    loop_free(&s);
}

// What two threads may have in use at the same time lies apart.
static void memory_of_a_region_is_used_once(void **state) {
    (void)state;
    struct loop s;
    loop_make(&s, 64, 2, NOTHING, false);
    const struct region *of = &s.g->regions[s.g->n_regions - 1];
    for (int i = 0; i < s.g->n_tensors; i++) {
        const struct root *a = s.g->tensors[i]->root;
        for (int k = 0; k < i && a; k++) {
            const struct root *b = s.g->tensors[k]->root;
            if (!b || !plan_has(s.g->tensors[i]) || !plan_has(s.g->tensors[k])) continue;
            if (a->last_use < of->first || b->last_use < of->first) continue;
            if (a->first_use > of->last || b->first_use > of->last) continue;
            assert_true(a->slab_offset + a->bytes <= b->slab_offset ||
                        b->slab_offset + b->bytes <= a->slab_offset);
        }
    }
    loop_free(&s);
}

static void the_time_of_a_region_is_that_of_its_nodes(void **state) {
    (void)state;
    struct loop s;
    loop_make(&s, 64, 2, NOTHING, false);
    executor_profile(s.ex, true);
    for (int i = 0; i < 3; i++) executor_run(s.ex);
    struct op_time times[32];
    const int n = executor_times(s.ex, times, 32);
    int linear = -1;
    for (int i = 0; i < n; i++) {
        assert_true(times[i].ns >= 0);
        if (!strcmp(times[i].op, "linear")) linear = i;
    }
    assert_true(linear >= 0 && times[linear].ns > 0);
    assert_int_equal(times[linear].n_runs, 3 * 4 * STEPS);
    loop_free(&s);
}

// The only row of a list is the list: as many columns as a matrix has rows.
static void a_list_is_one_row_and_not_cut(void **state) {
    (void)state;
    enum { LONG = 32768 };
    struct loop s = {.g = graph_new(), .pool = pool_new(2)};
    params_init(&s.params);
    params_add(&s.params, "gamma", 1, (int64_t[]){LONG});
    params_add(&s.params, "beta", 1, (int64_t[]){LONG});
    params_allocate(&s.params);
    for (int64_t i = 0; i < s.params.n_flat; i++) s.params.weights[i] = 1;
    struct tensor *x = g_input(s.g, "x", DTYPE_REAL, 1, (int64_t[]){LONG});
    for (int64_t i = 0; i < LONG; i++) reals(x)[i] = (real)(i % 2);
    for (int i = 0; i < 2; i++) x = normed(&s, x, "gamma", "beta", ACT_NONE);
    graph_keep(s.g, x);
    graph_plan(s.g);
    s.ex = executor_new(s.g, s.pool);
    executor_run(s.ex);
    for (int64_t i = 0; i < LONG; i++)
        assert_float_equal((float)reals(x)[i], (float)(i & 1) * 2, 0.01f);
    loop_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_of_rows_give_the_bits_of_whole_nodes),
        cmocka_unit_test(a_row_that_reads_other_rows_ends_a_region),
        cmocka_unit_test(what_cannot_be_cut_is_no_region),
        cmocka_unit_test(a_list_is_one_row_and_not_cut),
        cmocka_unit_test(memory_of_a_region_is_used_once),
        cmocka_unit_test(the_time_of_a_region_is_that_of_its_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
