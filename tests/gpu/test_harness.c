// The harness itself: right kernels pass, and each way of breaking one is noticed and named.
#include <dlfcn.h>

#include "gpu/parity.h"

// A small graph with an elementwise op, a LayerNorm, a layer and a mean; its nodes run until one
// fails.
struct case_graph {
    struct params params;
    struct graph *g;
    struct tensor *out;
};

static void case_make(struct case_graph *c) {
    const int64_t width = 40, rows = 13;
    params_init(&c->params);
    params_add(&c->params, "gamma", 1, &width);
    params_add(&c->params, "beta", 1, &width);
    params_add(&c->params, "w", 2, (int64_t[]){3, width});
    params_allocate(&c->params);
    c->g = graph_new();
    struct tensor *x = g_input(c->g, "x", DTYPE_REAL, 2, (int64_t[]){rows, width});
    for (int64_t i = 0; i < rows * width; i++) reals(x)[i] = (real)(grad_random(1, i) - 0.5);
    struct tensor *gamma = g_param(c->g, &c->params, "gamma"),
                  *beta = g_param(c->g, &c->params, "beta");
    struct tensor *h = g_layer_norm(c->g, g_tanh(c->g, x), gamma, beta, (real)1e-3, ACT_SILU);
    c->out = g_mean(c->g, g_linear(c->g, h, g_param(c->g, &c->params, "w"), NULL, NULL, 0));
    graph_keep(c->g, c->out);
    graph_plan(c->g);
}

static void case_free(struct case_graph *c) {
    graph_free(c->g);
    params_deinit(&c->params);
}

// Runs the graph on a library; false: `message` says what the harness noticed.
static bool run_on(const char *library, char *message, size_t size) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    const struct backend *b = backend_open(harness_path(library), why, sizeof why);
    if (!b) fail_msg("%s", why);
    struct case_graph c;
    case_make(&c);
    struct backend_graph *d = b->graph_new(c.g, message, size);
    if (!d) {
        case_free(&c);
        return false;
    }
    bool fine = b->begin(d);
    for (int i = 0; i < c.g->n_nodes && fine; i++)
        if (op_table[c.g->nodes[i]->kind].run) fine = b->run(d, c.g->nodes[i]);
    fine = fine && b->wait(d) && b->fetch(d, c.out);
    snprintf(message, size, "%s", b->message(d));
    b->graph_free(d);
    case_free(&c);
    return fine;
}

static void expect(const char *library, const char *kernel, const char *what) {
    char message[BACKEND_MESSAGE_SIZE];
    if (run_on(library, message, sizeof message)) fail_msg("%s: nobody noticed", library);
    if (!strstr(message, kernel) || !strstr(message, what))
        fail_msg("%s: \"%s\" does not name %s and \"%s\"", library, message, kernel, what);
}

static void right_kernels_pass(void **state) {
    (void)state;
    char message[BACKEND_MESSAGE_SIZE];
    if (!run_on("harness", message, sizeof message)) fail_msg("%s", message);
}

static void a_missing_barrier_is_a_race(void **state) {
    (void)state;
    expect("broken_no_barrier", "sum_slices_kernel", "race: reads element");
}

static void a_wrong_bound_is_out_of_bounds(void **state) {
    (void)state;
    expect("broken_off_by_one", "tanh_kernel", "element 520 of a buffer of 520");
}

static void an_element_that_nobody_wrote_is_missed(void **state) {
    (void)state;
    expect("broken_one_short", "norm_kernel", "reads element 519, which nothing has written");
}

static void a_barrier_that_one_thread_misses_is_reported(void **state) {
    (void)state;
    expect("broken_divergent_barrier", "sum_slices_kernel", "waits at the barrier");
}

static void a_lane_that_leaves_its_warp_is_reported(void **state) {
    (void)state;
    expect("broken_stale_lane", "norm_kernel", "waits in the warp function");
}

static void a_block_that_no_chip_takes_is_refused(void **state) {
    (void)state;
    expect("broken_large_block", "tanh_kernel", "2048 threads is impossible");
}

static void memory_of_the_host_is_none_of_a_kernels(void **state) {
    (void)state;
    expect("broken_host_memory", "tanh_kernel", "is not in device memory");
}

static void an_address_between_two_elements_is_refused(void **state) {
    (void)state;
    expect("broken_unaligned", "sum_slices_kernel", "is not aligned");
}

static void a_product_that_cublas_would_refuse_is_refused(void **state) {
    (void)state;
    expect("broken_short_row", "a product of", "is impossible");
}

static void an_array_of_no_bytes_is_refused(void **state) {
    (void)state;
    expect("broken_no_bytes", "0 bytes of device memory", "no address");
}

static void blocks_run_in_no_order_each_of_them_once(void **state) {
    (void)state;
    void *library = dlopen(harness_path("harness"), RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    int64_t (*block)(int64_t k, int64_t grid);
    *(void **)&block = dlsym(library, "harness_block");
    assert_non_null(block);
    static const int64_t grids[] = {1, 2, 7, 64, 2 * 7919, 65536};
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        const int64_t n = grids[i];
        char *ran = calloc((size_t)n, 1);
        int64_t in_order = 0;
        for (int64_t k = 0; k < n; k++) {
            assert_in_range(block(k, n), 0, n - 1);
            assert_int_equal(ran[block(k, n)]++, 0);
            in_order += k > 0 && block(k, n) == block(k - 1, n) + 1;
        }
        if (in_order > n / 4) fail_msg("%d of %d blocks follow each other", (int)in_order, (int)n);
        free(ran);
    }
    dlclose(library);
}

static void every_op_of_the_table_has_a_kernel(void **state) {
    (void)state;
    for (int kind = 0; kind < N_OPS; kind++)
        if (!parity_backend()->has(kind)) fail_msg("%s has no kernel", op_table[kind].name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_of_the_table_has_a_kernel),
        cmocka_unit_test(right_kernels_pass),
        cmocka_unit_test(a_missing_barrier_is_a_race),
        cmocka_unit_test(a_wrong_bound_is_out_of_bounds),
        cmocka_unit_test(an_element_that_nobody_wrote_is_missed),
        cmocka_unit_test(a_barrier_that_one_thread_misses_is_reported),
        cmocka_unit_test(a_lane_that_leaves_its_warp_is_reported),
        cmocka_unit_test(a_block_that_no_chip_takes_is_refused),
        cmocka_unit_test(memory_of_the_host_is_none_of_a_kernels),
        cmocka_unit_test(an_address_between_two_elements_is_refused),
        cmocka_unit_test(a_product_that_cublas_would_refuse_is_refused),
        cmocka_unit_test(an_array_of_no_bytes_is_refused),
        cmocka_unit_test(blocks_run_in_no_order_each_of_them_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
