// Ops of continuous actions: columns, the clip, the entropy of a normal, the normaliser's gradient.
#include "support/grad_check.h"

enum { ROWS = 5, WIDTH = 14, FIRST = 3, COUNT = 7 };

#define BUILD(name, call)                                                                          \
    static struct tensor *name##_build(struct graph *g, struct tensor **leaf) { return call; }

BUILD(columns, g_columns(g, leaf[0], FIRST, COUNT))
static void columns_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < COUNT; k++) y[i * COUNT + k] = leaf[0][i * WIDTH + FIRST + k];
}

static void columns_are_copied_and_their_gradient_returns_to_its_place(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"x", 2, {ROWS, WIDTH}, -3, 3, false}};
    grad_check(&(struct grad_case){leaves, 1, columns_build, columns_reference, 0, 0, false});
}

// Both halves of one matrix, as mean and deviation are read.
BUILD(halves, g_mul(g, g_columns(g, leaf[0], 0, COUNT), g_columns(g, leaf[0], COUNT, COUNT)))
static void halves_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < COUNT; k++)
            y[i * COUNT + k] = leaf[0][i * WIDTH + k] * leaf[0][i * WIDTH + COUNT + k];
}

static void two_readers_of_one_matrix_share_its_gradient(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"x", 2, {ROWS, WIDTH}, -3, 3, false}};
    grad_check(&(struct grad_case){leaves, 1, halves_build, halves_reference, 0, 0, false});
}

BUILD(limit, g_limit(g, leaf[0], (real)1.5))
static void limit_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS * WIDTH; i++) y[i] = leaf[0][i] * (1.5 / fmax(1.5, fabs(leaf[0][i])));
}

static void the_clip_keeps_the_sign_and_bounds_the_size(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"x", 2, {ROWS, WIDTH}, -4, 4, true}};
    grad_check(&(struct grad_case){leaves, 1, limit_build, limit_reference, 0, 0, true});
}

static void inside_its_bound_the_clip_changes_nothing(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"x", 2, {ROWS, WIDTH}, -1, 1, false}};
    grad_check(&(struct grad_case){leaves, 1, limit_build, limit_reference, 0, 0, false});
}

// Beyond the bound the factor counts as a constant, so the gradient is not 0 but bound / |x|.
static void beyond_its_bound_the_clip_passes_the_gradient_on_by_its_factor(void **state) {
    (void)state;
    struct graph *g = graph_new();
    struct tensor *x = g_input(g, "x", DTYPE_REAL, 1, (int64_t[]){3});
    graph_want_gradient(g, x);
    graph_gradients(g, g_affine(g, g_mean(g, g_limit(g, x, 2)), 3, 0));
    graph_keep(g, x);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    memcpy(x->data, (real[]){1, -4, 8}, 3 * sizeof(real));
    executor_run(ex);
    const real *dx = x->grad->data;
    assert_true(fabs((double)dx[0] - 1) < 1e-6);
    assert_true(fabs((double)dx[1] - 0.5) < 1e-6);
    assert_true(fabs((double)dx[2] - 0.25) < 1e-6);
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
}

BUILD(entropy, g_normal_entropy(g, leaf[0]))
static void entropy_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS; i++) {
        y[i] = 0;
        for (int k = 0; k < WIDTH; k++)
            y[i] += 0.5 + 0.5 * log(2 * acos(-1)) + log(leaf[0][i * WIDTH + k]);
    }
}

static void the_entropy_of_normals_is_the_sum_over_the_row(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"std", 2, {ROWS, WIDTH}, 0.1, 1, false}};
    grad_check(&(struct grad_case){leaves, 1, entropy_build, entropy_reference, 0, 0, false});
}

// The range is a constant: a wide one divides by its width, a narrow one by the least scale.
BUILD(wide, g_normalize(g, leaf[0], leaf[1], (real)0.001))
BUILD(narrow, g_normalize(g, leaf[0], leaf[1], 50))
static void wide_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS * WIDTH; i++)
        y[i] = (leaf[0][i] - leaf[1][0]) / fmax(0.001, leaf[1][1] - leaf[1][0]);
}
static void narrow_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS * WIDTH; i++) y[i] = (leaf[0][i] - leaf[1][0]) / 50;
}

static void the_normaliser_passes_its_gradient_on_to_the_values(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"x", 2, {ROWS, WIDTH}, -3, 3, false},
                                         {"range", 1, {2}, -5, 7, true}};
    grad_check(&(struct grad_case){leaves, 2, wide_build, wide_reference, 1e-5, 0, false});
    grad_check(&(struct grad_case){leaves, 2, narrow_build, narrow_reference, 1e-5, 0, false});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_copied_and_their_gradient_returns_to_its_place),
        cmocka_unit_test(two_readers_of_one_matrix_share_its_gradient),
        cmocka_unit_test(the_clip_keeps_the_sign_and_bounds_the_size),
        cmocka_unit_test(inside_its_bound_the_clip_changes_nothing),
        cmocka_unit_test(beyond_its_bound_the_clip_passes_the_gradient_on_by_its_factor),
        cmocka_unit_test(the_entropy_of_normals_is_the_sum_over_the_row),
        cmocka_unit_test(the_normaliser_passes_its_gradient_on_to_the_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
