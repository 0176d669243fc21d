// Ops of the recurrent state: GRU gates, reset blend, unimix, sampling, mode.
#include "support/grad_check.h"

// ---- GRU gates: r = s(r^), c = tanh(r c^), u = s(u^ - 1), h' = u c + (1 - u) h

enum { B = 3, H = 21 };
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static void gru_of(const double *const *leaf, double *out, int rows, int width) {
    for (int i = 0; i < rows * width; i++) {
        const double *y = leaf[0] + i / width * 3 * width + i % width;
        double c = tanh(sigmoid(y[0]) * y[width]), u = sigmoid(y[2 * width] - 1);
        out[i] = u * c + (1 - u) * leaf[1][i];
    }
}
static void gru_reference(const double *const *leaf, double *out) { gru_of(leaf, out, B, H); }
static struct tensor *gru_build(struct graph *g, struct tensor **leaf) {
    return g_gru_gates(g, leaf[0], leaf[1]);
}
// The gates are read twice, and the state again behind the gates: contributions add.
static struct tensor *gru_twice_build(struct graph *g, struct tensor **leaf) {
    struct tensor *before = g_tanh(g, leaf[1]), *h = g_gru_gates(g, leaf[0], before);
    return g_mul(g, before, g_gru_gates(g, leaf[0], g_mul(g, h, leaf[1])));
}
static void gru_gates_match_their_formula_and_gradient(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"y", 2, {B, 3 * H}, -2, 2, false},
                                         {"h", 2, {B, H}, -1, 1, false}};
    grad_check(&(struct grad_case){leaves, 2, gru_build, gru_reference, 0, 0, false});
    grad_check(&(struct grad_case){leaves, 2, gru_twice_build, NULL, 0, 0, false});
}

enum { WIDE_B = 64, WIDE_H = 200 };
static void wide_gru_reference(const double *const *leaf, double *out) {
    gru_of(leaf, out, WIDE_B, WIDE_H);
}
static void wide_gru_gates_are_cut_by_rows(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"y", 2, {WIDE_B, 3 * WIDE_H}, -2, 2, false},
                                         {"h", 2, {WIDE_B, WIDE_H}, -1, 1, false}};
    grad_check(&(struct grad_case){leaves, 2, gru_build, wide_gru_reference, 0, 0, false});
}

static void gru_gates_need_no_gradient_to_a_constant_state(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"y", 2, {B, 3 * H}, -2, 2, false},
                                         {"h", 2, {B, H}, -1, 1, true}};
    static const struct leaf other[] = {{"y", 2, {B, 3 * H}, -2, 2, true},
                                        {"h", 2, {B, H}, -1, 1, false}};
    grad_check(&(struct grad_case){leaves, 2, gru_build, gru_reference, 0, 0, false});
    grad_check(&(struct grad_case){other, 2, gru_build, gru_reference, 0, 0, false});
}

// ---- blend

enum { ROWS = 4, WIDTH = 10 };
static struct tensor *blend_build(struct graph *g, struct tensor **leaf) {
    return g_blend(g, leaf[0], leaf[1], leaf[2]);
}
static struct tensor *mask_build(struct graph *g, struct tensor **leaf) {
    return g_blend(g, leaf[0], leaf[1], NULL);
}
static void blend_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS * WIDTH; i++) {
        double f = leaf[0][i / WIDTH];
        y[i] = (1 - f) * leaf[1][i] + f * leaf[2][i];
    }
}
static void one_row_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS * WIDTH; i++) {
        double f = leaf[0][i / WIDTH];
        y[i] = (1 - f) * leaf[1][i] + f * leaf[2][i % WIDTH];
    }
}
static void mask_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS * WIDTH; i++) y[i] = (1 - leaf[0][i / WIDTH]) * leaf[1][i];
}
static void blend_takes_rows_one_row_or_nothing(void **state) {
    (void)state;
    static const struct leaf rows[] = {{"f", 1, {ROWS}, 0, 1, true},
                                       {"a", 2, {ROWS, WIDTH}, -1, 1, false},
                                       {"b", 2, {ROWS, WIDTH}, -1, 1, false}};
    static const struct leaf row[] = {{"f", 1, {ROWS}, 0, 1, true},
                                      {"a", 2, {ROWS, WIDTH}, -1, 1, false},
                                      {"b", 2, {1, WIDTH}, -1, 1, false}};
    grad_check(&(struct grad_case){rows, 3, blend_build, blend_reference, 0, 0, false});
    grad_check(&(struct grad_case){row, 3, blend_build, one_row_reference, 0, 0, false});
    grad_check(&(struct grad_case){row, 2, mask_build, mask_reference, 0, 0, false});
}

// The learnable initial state enters at every reset: its gradient is a sum over steps and rows.
static struct tensor *resets_build(struct graph *g, struct tensor **leaf) {
    struct tensor *first = g_reshape(g, g_tanh(g, leaf[2]), 2, (int64_t[]){1, WIDTH});
    struct tensor *a = g_tanh(g, leaf[1]), *h = g_blend(g, leaf[0], a, first);
    return g_mul(g, a, g_blend(g, leaf[0], g_tanh(g, h), first));
}
static void an_initial_state_collects_gradient_from_all_resets(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"f", 1, {ROWS}, 0, 1, true},
                                         {"a", 2, {ROWS, WIDTH}, -1, 1, false},
                                         {"w0", 1, {WIDTH}, -1, 1, false}};
    grad_check(&(struct grad_case){leaves, 3, resets_build, NULL, 0, 0, false});
}

// ---- categoricals

enum { S = 5, D = 20, N = 3 };
static void unimix_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < N * S; row++) {
        double sum = 0;
        for (int i = 0; i < D; i++) sum += exp(leaf[0][row * D + i]);
        for (int i = 0; i < D; i++)
            y[row * D + i] = 0.99 * exp(leaf[0][row * D + i]) / sum + 0.01 / D;
    }
}
static struct tensor *unimix_build(struct graph *g, struct tensor **leaf) {
    return g_unimix(g, leaf[0], D, (real)0.01);
}
static struct tensor *unimix_twice_build(struct graph *g, struct tensor **leaf) {
    struct tensor *m = g_unimix(g, leaf[0], D, (real)0.01), *n = g_unimix(g, leaf[0], D / 2, 0);
    return g_mul(g, m, n);
}
static const struct leaf logits[] = {{"logits", 2, {N, S *D}, -4, 4, false}};
static void unimix_matches_its_formula_and_gradient(void **state) {
    (void)state;
    grad_check(&(struct grad_case){logits, 1, unimix_build, unimix_reference, 0, 0, false});
    grad_check(&(struct grad_case){logits, 1, unimix_twice_build, NULL, 0, 0, false});
}

static void unimix_survives_extreme_logits(void **state) {
    (void)state;
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 2, (int64_t[]){2, 3}),
                  *m = g_unimix(g, x, 3, (real)0.01);
    graph_keep(g, m);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    const real values[6] = {(real)3e4, (real)-3e4, 0, (real)-3e4, (real)-3e4, (real)-3e4};
    memcpy(x->data, values, sizeof values);
    executor_run(ex);
    const real *got = m->data;
    assert_true(fabs((double)got[0] - (0.99 + 0.01 / 3)) < 1e-6 &&
                fabs((double)got[1] - 0.01 / 3) < 1e-8);
    for (int i = 3; i < 6; i++) assert_true(fabs((double)got[i] - 1.0 / 3) < 1e-6);
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
}

static void sample_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < N * S; row++) {
        int index = 0;
        real cdf = 0;
        for (int k = 0; k < D; k++) {
            cdf += (real)leaf[0][row * D + k];
            index += cdf <= (real)leaf[1][row];
        }
        if (index > D - 1) index = D - 1;
        for (int i = 0; i < D; i++) y[row * D + i] = i == index;
    }
}
static struct tensor *sample_build(struct graph *g, struct tensor **leaf) {
    return g_sample(g, leaf[0], leaf[1], D);
}
static const struct leaf masses[] = {{"m", 2, {N, S *D}, 0.01, 0.09, false},
                                     {"u", 2, {N, S}, 0, 1, true}};

static void samples_are_one_hot_by_the_inverse_cdf(void **state) {
    (void)state;
    grad_check(&(struct grad_case){masses, 2, sample_build, sample_reference, 1e-30, 0, true});
}

static void the_gradient_passes_straight_through_a_sample(void **state) {
    (void)state;
    struct grad_case c = {masses, 2, sample_build, NULL, 0, 0, true};
    struct grad_graph s = grad_graph_new(&c, false, 1);
    grad_loss(&s);
    for (int64_t i = 0; i < s.y->n_elements; i++) // d loss / d y = c
        assert_true(fabs((double)s.params->grads[i] - (grad_random(99, i) * 2 - 1)) < 1e-6);
    grad_graph_free(&s);
}

static void sampling_clamps_at_the_last_class_and_survives_nan(void **state) {
    (void)state;
    struct graph *g = graph_new();
    struct tensor *m = g_input(g, "m", DTYPE_REAL, 2, (int64_t[]){4, 3}),
                  *u = g_input(g, "u", DTYPE_REAL, 2, (int64_t[]){4, 1});
    struct tensor *z = g_sample(g, m, u, 3), *top = g_mode(g, m, 3);
    graph_keep(g, z);
    graph_keep(g, top);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    const real nan = (real)NAN,
               masses3[12] = {(real)0.5, (real)0.25, (real)0.25, (real)0.2, (real)0.2, (real)0.2,
                              nan,       nan,        nan,        (real)0.3, (real)0.4, (real)0.4};
    const real uniforms[4] = {(real)0.5, (real)0.99999994, (real)0.3, 0};
    memcpy(m->data, masses3, sizeof masses3);
    memcpy(u->data, uniforms, sizeof uniforms);
    executor_run(ex);
    const real expect[12] = {0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0},
               modes[12] = {1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0};
    assert_memory_equal(z->data, expect,
                        sizeof expect); // u equal to a cdf goes on to the next class
    assert_memory_equal(top->data, modes, sizeof modes); // ties: the lowest index
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
}

static void log_clamped_reference(const double *const *leaf, double *y) {
    const double eps = 1.1920928955078125e-07;
    for (int i = 0; i < N * S * D; i++) y[i] = log(fmin(fmax(leaf[0][i], eps), 1 - eps));
}
static struct tensor *log_clamped_build(struct graph *g, struct tensor **leaf) {
    return g_log_clamped(g, leaf[0]);
}
static void log_clamped_stays_between_its_bounds(void **state) {
    (void)state;
    static const struct leaf wide[] = {{"m", 2, {N, S * D}, -0.2, 1.2, true}};
    grad_check(&(struct grad_case){wide, 1, log_clamped_build, log_clamped_reference, 0, 0, true});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gru_gates_match_their_formula_and_gradient),
        cmocka_unit_test(wide_gru_gates_are_cut_by_rows),
        cmocka_unit_test(gru_gates_need_no_gradient_to_a_constant_state),
        cmocka_unit_test(blend_takes_rows_one_row_or_nothing),
        cmocka_unit_test(an_initial_state_collects_gradient_from_all_resets),
        cmocka_unit_test(unimix_matches_its_formula_and_gradient),
        cmocka_unit_test(unimix_survives_extreme_logits),
        cmocka_unit_test(samples_are_one_hot_by_the_inverse_cdf),
        cmocka_unit_test(the_gradient_passes_straight_through_a_sample),
        cmocka_unit_test(sampling_clamps_at_the_last_class_and_survives_nan),
        cmocka_unit_test(log_clamped_stays_between_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
