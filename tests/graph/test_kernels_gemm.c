// Matrix product kernels against a plain loop in double: packings, strides, epilogues.
#include "graph/kernels_check.h"

PHASE(gemm_pack, gemm_pack_job)
PHASE(gemm, gemm_job)

struct product {
    int64_t m, k, n;
    bool a_transposed, b_transposed; // a [k][m], b [n][k] with extra columns around
    bool bias, addend, accumulate;
};

static double element(const double *p, int64_t i, int64_t j, bool transposed, int64_t ld) {
    return transposed ? p[j * ld + i] : p[i * ld + j];
}

// The bits must be those of `same` where it is not NULL; made there if there are none yet.
static void check_product(const struct product *p, real **same) {
    const int64_t extra = 5, column = 3,
                  packed_reals = gemm_pack_reals(in_bf16 ? (p->k + 1) / 2 : p->k, p->n);
    int64_t lda = (p->a_transposed ? p->m : p->k) + extra,
            ldb = (p->b_transposed ? p->k : p->n) + extra;
    int64_t a_size = (p->a_transposed ? p->k : p->m) * lda,
            b_size = (p->b_transposed ? p->n : p->k) * ldb;
    int64_t ldc = p->n + 2, c_size = (p->m - 1) * ldc + p->n;
    real *a = random_new(a_size, 1), *b = random_new(b_size, 2), *bias = random_new(p->n, 3);
    real *addend = random_new(p->m * p->n, 4), *start = random_new(c_size, 5), *first = NULL;
    double *want = calloc((size_t)c_size, sizeof *want), *wide_a = operands(a, a_size),
           *wide_b = operands(b, b_size);
    for (int64_t e = 0; e < c_size; e++) want[e] = (double)start[e];
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < p->k; k++)
                sum += element(wide_a, i, k, p->a_transposed, lda) *
                       element(wide_b + column, k, j, p->b_transposed, ldb);
            if (p->bias) sum += (double)bias[j];
            if (p->addend) sum += (double)addend[i * p->n + j];
            want[i * ldc + j] = p->accumulate ? want[i * ldc + j] + sum : sum;
        }
    // B packed before, then, where its rows are contiguous, packed on the way: the bits are the
    // same.
    for (int pass = 0; pass < (p->b_transposed ? 1 : 2) * N_ORDERS; pass++) {
        const enum order order = pass % N_ORDERS;
        real *packed = guarded_new(packed_reals), *c = copy_new(start, c_size);
        struct gemm_pack_job pack = {.k = p->k,
                                     .n = p->n,
                                     .src = b + column,
                                     .packed = packed,
                                     .k_stride = p->b_transposed ? 1 : ldb,
                                     .n_stride = p->b_transposed ? ldb : 1};
        run_phase(phase_gemm_pack, &pack, gemm_pack_shares(&pack), order);
        struct gemm_job job = {.m = p->m,
                               .k = p->k,
                               .n = p->n,
                               .a = a,
                               .a_row = p->a_transposed ? 1 : lda,
                               .a_k = p->a_transposed ? lda : 1,
                               .b = pass < N_ORDERS ? packed : NULL,
                               .b_rows = b + column,
                               .b_row = ldb,
                               .c = c,
                               .c_row = ldc,
                               .bias = p->bias ? bias : NULL,
                               .addend = p->addend ? addend : NULL,
                               .addend_row = p->n,
                               .accumulate = p->accumulate,
                               .bf16 = in_bf16};
        run_phase(phase_gemm, &job, gemm_shares(&job), order);
        assert_close("product", c, want, c_size, tolerance((double)p->k));
        if (first)
            assert_memory_equal(c, first, (size_t)c_size * sizeof *c);
        else
            first = copy_new(c, c_size);
        guarded_free(c, c_size);
        guarded_free(packed, packed_reals);
    }
    if (same) keep_same(same, first, c_size);
    guarded_free(first, c_size);
    guarded_free(a, a_size), guarded_free(b, b_size), guarded_free(bias, p->n);
    guarded_free(addend, p->m * p->n), guarded_free(start, c_size);
    free(want), free(wide_a), free(wide_b);
}

// In bf16 every table, emulated or not, gives the same bits.
static void check_tables(const struct product *p) {
    real *same = NULL;
    FOR_EACH_TABLE(check_product(p, in_bf16 ? &same : NULL));
    free(same);
}

static void every_small_shape_is_right(void **state) {
    (void)state;
    const int64_t ms[] = {1, 2, 3, 5, 6, 7, 8, 9, 13, 17},
                  ns[] = {1, 2, 15, 16, 17, 31, 33, 48, 49, 64, 100};
    const int64_t ks[] = {1, 2, 7, 33};
    int turn = 0;
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i++)
        for (size_t j = 0; j < sizeof ns / sizeof *ns; j++)
            for (size_t k = 0; k < sizeof ks / sizeof *ks; k++, turn++) {
                struct product p = {ms[i],    ks[k],    ns[j],    turn & 1,
                                    turn & 2, turn & 4, turn & 8, turn % 3 == 0};
                check_tables(&p);
            }
}

static void the_shapes_of_the_model_are_right(void **state) {
    (void)state;
    static const struct product shapes[] = {
        {8, 256, 384, false, true, false, false, false}, // tiny GRU
        {8, 128, 256, false, true, true, true, false},
        {8, 384, 256, false, false, false, false, true},   // its data gradient
        {128, 2880, 128, false, true, false, true, false}, // embedding into the posterior
        {128, 384, 2880, false, true, true, false, false}, // decoder's linear layer
        {384, 128, 256, true, false, false, false, true},  // weight gradients over T*B rows
        {255, 128, 128, true, false, false, false, true},
        {16, 1024, 1536, false, true, false, false, false}, // S
        {128, 1, 2880, false, true, false, false, false},
        {1, 128, 1, false, true, true, false, false},    // continue head
        {201, 700, 211, false, true, true, true, false}, // several blocks each way
        {530, 300, 230, true, false, false, false,
         true}, // rows of A so far apart that they are copied
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_tables(&shapes[i]);
}

static void products_of_rounded_operands_are_right_and_alike_everywhere(void **state) {
    if (!cpu_kernels_bf16_name()) skip();
    in_bf16 = true;
    every_small_shape_is_right(state);
    the_shapes_of_the_model_are_right(state);
    in_bf16 = false;
}

static void shares_cover_a_product_once(void **state) {
    (void)state;
    for (int64_t m = 1; m < 400; m += 37)
        for (int64_t n = 1; n < 3000; n += 451) {
            struct gemm_job job = {.m = m, .k = 700, .n = n};
            int64_t area = 0;
            for (int share = 0; share < gemm_shares(&job); share++) {
                struct range rows, panels;
                gemm_share(&job, share, &rows, &panels);
                assert_true(rows.first % 8 == 0 && rows.end <= m && panels.end <= gemm_panels(n));
                area += (rows.end - rows.first) * (panels.end - panels.first);
            }
            assert_int_equal(area, m * gemm_panels(n));
        }
}

static void non_finite_values_pass_through(void **state) {
    (void)state;
    real a[2] = {1, (real)INFINITY}, b[2] = {2, 3}, packed[32], c[1];
    struct gemm_pack_job pack = {
        .k = 2, .n = 1, .src = b, .k_stride = 1, .n_stride = 2, .packed = packed};
    struct gemm_job job = {
        .m = 1, .k = 2, .n = 1, .a = a, .a_row = 2, .a_k = 1, .b = packed, .c = c, .c_row = 1};
    FOR_EACH_TABLE((run_phase(phase_gemm_pack, &pack, 1, IN_ORDER),
                    run_phase(phase_gemm, &job, 1, IN_ORDER), assert_true(isinf(c[0]))));
}

// 1 + 2^-8 lies between two bf16 numbers: to the even one; a little more goes up. Too large is
// infinite, subnormal 0, NaN stays.
static void operands_are_rounded_to_the_nearest_even(void **state) {
    (void)state;
    if (!cpu_kernels_bf16_name()) skip();
    const real x[] = {1 + 0x1p-8f,     1 + 0x3p-8f, 1 + 0x1.01p-8f, -1 - 0x1p-8f,
                      0x1.fffffep127f, 0x1p-130f,   -0x1p-130f,     (real)NAN},
               want[] = {1, 1 + 0x1p-6f, 1 + 0x1p-7f, -1, (real)INFINITY, 0, 0, (real)NAN};
    enum { N = 8 };
    real packed[GEMM_UNIT * N], c[N * N];
    const real one[N * N] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
    in_bf16 = true;
    // Rounded as A along k, as A across k and as B: one number at a time, by 1.
    for (int i = 0; i < N; i++)
        for (int way = 0; way < 2; way++) {
            const real *b = way ? &x[i] : one, *a = way ? one : &x[i];
            struct gemm_pack_job pack = {
                .k = 1, .n = 1, .src = b, .k_stride = 1, .n_stride = 1, .packed = packed};
            struct gemm_job job = {.m = 1,
                                   .k = 1,
                                   .n = 1,
                                   .a = a,
                                   .a_row = 1,
                                   .a_k = 1,
                                   .b = packed,
                                   .c = c,
                                   .c_row = 1,
                                   .bf16 = true};
            FOR_EACH_TABLE((run_phase(phase_gemm_pack, &pack, 1, IN_ORDER),
                            run_phase(phase_gemm, &job, 1, IN_ORDER),
                            assert_true(isnan(want[i]) ? isnan(c[0]) : c[0] == want[i])));
        }
    in_bf16 = false;
}

static void an_unknown_table_is_refused(void **state) {
    (void)state;
    assert_false(cpu_kernels_choose("sse9"));
    assert_true(cpu_kernels_choose("generic"));
    assert_string_equal(cpu_kernels_name(), "generic");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_small_shape_is_right),
        cmocka_unit_test(the_shapes_of_the_model_are_right),
        cmocka_unit_test(products_of_rounded_operands_are_right_and_alike_everywhere),
        cmocka_unit_test(operands_are_rounded_to_the_nearest_even),
        cmocka_unit_test(shares_cover_a_product_once),
        cmocka_unit_test(non_finite_values_pass_through),
        cmocka_unit_test(an_unknown_table_is_refused),
    };
    return cmocka_run_group_tests(tests, pool_setup, pool_teardown);
}
