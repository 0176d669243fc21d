// TF32 and bf16 products: as far from float32 as their fractions say, and bf16 as the CPU's bf16.
#include "gpu/parity.h"

enum { ROWS = 24, INPUTS = 96, OUTPUTS = 40 };
enum precision { FLOAT32, TF32, BF16 };

struct layer {
    struct params params;
    struct graph *g;
    struct pool *pool;
    struct executor *ex;
    struct tensor *y;
};

// A layer, its squared error and their gradients, once.
static void run_layer(struct layer *l, const struct backend *b, enum precision p) {
    backend_choose(b);
    if (b) b->allow_tf32(p == TF32);
    params_init(&l->params);
    params_add(&l->params, "w", 2, (int64_t[]){OUTPUTS, INPUTS});
    params_allocate(&l->params);
    for (int i = 0; i < OUTPUTS * INPUTS; i++)
        l->params.weights[i] = (real)(grad_random(1, i) - 0.5);
    l->g = graph_new();
    graph_bf16(l->g, p == BF16);
    struct tensor *x = g_input(l->g, "x", DTYPE_REAL, 2, (int64_t[]){ROWS, INPUTS}),
                  *target = g_input(l->g, "target", DTYPE_REAL, 2, (int64_t[]){ROWS, OUTPUTS});
    for (int i = 0; i < ROWS * INPUTS; i++) reals(x)[i] = (real)(grad_random(2, i) - 0.5);
    for (int i = 0; i < ROWS * OUTPUTS; i++) reals(target)[i] = (real)(grad_random(3, i) - 0.5);
    l->y = g_linear(l->g, x, g_param(l->g, &l->params, "w"), NULL, NULL, 0);
    graph_keep(l->g, l->y);
    graph_gradients(l->g, g_mean(l->g, g_square_error(l->g, l->y, target)));
    graph_plan(l->g);
    l->pool = pool_new(1);
    l->ex = executor_new(l->g, l->pool);
    executor_run(l->ex);
    if (b) b->allow_tf32(false);
}

static void layer_free(struct layer *l) {
    executor_free(l->ex);
    graph_free(l->g);
    pool_free(l->pool);
    params_deinit(&l->params);
}

// Largest difference over the largest value.
static double apart(const real *a, const real *b, int64_t n) {
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)b[i]));
        worst = worse(worst, fabs((double)a[i] - (double)b[i]));
    }
    return worst / largest;
}

// Half a unit of the last place of an operand is 2^-11 in TF32, 2^-9 in bf16; a sum of 96 products
// of both signs keeps it within a few of them.
static void precisions_differ_from_float32_as_their_fractions_say(void **state) {
    (void)state;
    static const struct {
        enum precision p;
        double least, most;
    } cases[] = {{FLOAT32, 0, 1e-6}, {TF32, 2e-5, 2e-3}, {BF16, 2e-4, 1.6e-2}};
    struct layer exact;
    run_layer(&exact, NULL, FLOAT32);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct layer l;
        run_layer(&l, parity_backend(), cases[i].p);
        const double y = apart(reals(l.y), reals(exact.y), l.y->n_elements),
                     dw = apart(l.params.grads, exact.params.grads, OUTPUTS * INPUTS);
        if (!(y >= cases[i].least && y <= cases[i].most && dw >= cases[i].least &&
              dw <= cases[i].most))
            fail_msg("precision %d: y apart by %g, dw by %g; expected %g to %g", cases[i].p, y, dw,
                     cases[i].least, cases[i].most);
        layer_free(&l);
    }
    layer_free(&exact);
}

static void bf16_is_that_of_the_cpu(void **state) {
    (void)state;
    struct layer cpu, device;
    run_layer(&cpu, NULL, BF16);
    run_layer(&device, parity_backend(), BF16);
    parity_compare("y", reals(device.y), reals(cpu.y), cpu.y->n_elements);
    parity_compare("dw", device.params.grads, cpu.params.grads, OUTPUTS * INPUTS);
    layer_free(&cpu);
    layer_free(&device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precisions_differ_from_float32_as_their_fractions_say),
        cmocka_unit_test(bf16_is_that_of_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
