// LayerNorm and column sum kernels against plain loops in double: row widths, SiLU, slices.
#include "graph/kernels_check.h"

PHASE(norm_forward, norm_job)
PHASE(norm_backward, norm_job)
PHASE(norm_backward_reduce, norm_job)
PHASE(column_sum, column_sum_job)
PHASE(column_sum_reduce, column_sum_job)

struct case_of_norm {
    int64_t rows, n;
    bool silu, accumulate;
    double scale, shift;
};

struct reference {
    double *y, *dx, *dgamma, *dbeta;
};

static void reference_row(const struct case_of_norm *t, const real *x, const real *gamma,
                          const real *beta, const real *dy, struct reference *r, int64_t row) {
    const double eps = (double)(real)1e-3, n = (double)t->n;
    double mean = 0, var = 0, mean_g = 0, mean_gx = 0;
    x += row * t->n, dy += row * t->n;
    for (int64_t c = 0; c < t->n; c++) mean += (double)x[c] / n;
    for (int64_t c = 0; c < t->n; c++) var += ((double)x[c] - mean) * ((double)x[c] - mean) / n;
    const double scale = 1 / sqrt(var + eps);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t c = 0; c < t->n; c++) {
            double xhat = ((double)x[c] - mean) * scale,
                   z = (double)gamma[c] * xhat + (double)beta[c];
            double s = 1 / (1 + exp(-z)), d = (double)dy[c] * (t->silu ? s * (1 + z * (1 - s)) : 1);
            double g = d * (double)gamma[c];
            if (pass == 0) {
                r->y[row * t->n + c] = t->silu ? z * s : z;
                r->dgamma[c] += d * xhat, r->dbeta[c] += d;
                mean_g += g / n, mean_gx += g * xhat / n;
            } else {
                r->dx[row * t->n + c] += (g - mean_g - xhat * mean_gx) * scale;
            }
        }
}

static double *doubles_of(const real *x, int64_t n) {
    assert_in_range(n, 1, 1 << 28);
    double *p = calloc((size_t)(uint32_t)n, sizeof *p);
    for (int64_t i = 0; x && i < n; i++) p[i] = (double)x[i];
    return p;
}

static void check_norm(const struct case_of_norm *t) {
    int64_t size = t->rows * t->n, n = t->n;
    real *x = random_new(size, 1), *dy = random_new(size, 2), *start = random_new(size, 3);
    real *gamma = random_new(n, 4), *beta = random_new(n, 5), *base = random_new(n, 6),
         *first[4] = {0};
    for (int64_t i = 0; i < size; i++) x[i] = x[i] * (real)t->scale + (real)t->shift;
    struct reference r = {doubles_of(NULL, size), doubles_of(t->accumulate ? start : NULL, size),
                          doubles_of(base, n), doubles_of(base, n)};
    for (int64_t row = 0; row < t->rows; row++) reference_row(t, x, gamma, beta, dy, &r, row);
    // x / sqrt(var + eps) loses what x - mean cancels.
    const double bound = tolerance(4) * (1 + fabs(t->shift) / sqrt(t->scale * t->scale / 3 + 1e-3));
    for (enum order order = IN_ORDER; order < N_ORDERS; order++) {
        real *y = guarded_new(size),
             *dx = t->accumulate ? copy_new(start, size) : guarded_new(size);
        real *dgamma = copy_new(base, n), *dbeta = copy_new(base, n);
        struct norm_job job = {.rows = t->rows,
                               .n = n,
                               .eps = (real)1e-3,
                               .silu = t->silu,
                               .x = x,
                               .gamma = gamma,
                               .beta = beta,
                               .y = y,
                               .dy = dy,
                               .dx = dx,
                               .accumulate = t->accumulate,
                               .dgamma = dgamma,
                               .dbeta = dbeta};
        int64_t partials = norm_partial_reals(&job);
        job.partials = guarded_new(partials);
        run_phase(phase_norm_forward, &job, norm_shares(&job), order);
        run_phase(phase_norm_backward, &job, norm_backward_shares(&job), order);
        run_phase(phase_norm_backward_reduce, &job, norm_backward_reduce_shares(&job), order);
        assert_close("y", y, r.y, size, bound);
        // 1 / sqrt(var + eps) reaches 31 where a row is nearly constant
        assert_close("dx", dx, r.dx, size, bound * 32);
        assert_close("dgamma", dgamma, r.dgamma, n, bound * sqrt((double)t->rows));
        assert_close("dbeta", dbeta, r.dbeta, n, bound * sqrt((double)t->rows));
        real *all[4] = {y, dx, dgamma, dbeta};
        for (int i = 0; i < 4; i++) {
            int64_t count = i < 2 ? size : n;
            if (first[i])
                assert_memory_equal(all[i], first[i], (size_t)count * sizeof(real));
            else
                first[i] = copy_new(all[i], count);
            guarded_free(all[i], count);
        }
        guarded_free(job.partials, partials);
    }
    for (int i = 0; i < 4; i++) guarded_free(first[i], i < 2 ? size : n);
    guarded_free(x, size), guarded_free(dy, size), guarded_free(start, size);
    guarded_free(gamma, n), guarded_free(beta, n), guarded_free(base, n);
    free(r.y), free(r.dx), free(r.dgamma), free(r.dbeta);
}

static void every_row_width_is_right(void **state) {
    (void)state;
    const int64_t widths[] = {1,  2,  3,  4,  5,  7,  8,   9,   15,  16,  17,  24,
                              31, 32, 33, 48, 64, 96, 100, 128, 255, 384, 1000};
    const int64_t rows[] = {1, 2, 3, 7, 16, 33, 130};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
            struct case_of_norm t = {rows[j], widths[i], (i + j) % 3 != 0, (i + j) % 2, 2, 0.3};
            FOR_EACH_TABLE(check_norm(&t));
        }
}

static void the_norms_of_the_model_are_right(void **state) {
    (void)state;
    const struct case_of_norm cases[] = {
        {7200, 8, true, false, 1, 0},    {3600, 16, true, true, 1, 0},
        {1800, 32, true, false, 1, 0},   {8, 384, false, false, 1, 0},
        {128, 128, true, false, 1, 0},   {1441, 8, false, true, 1, 0},
        {5000, 32, true, true, 1e-3, 0}, {3000, 8, true, false, 1e3, 0},
        {3000, 16, true, false, 1, 100}, {14403, 2, true, false, 1, 0},
        {7201, 4, true, true, 1, 0}, // micro's channels
        {77, 2, false, true, 1e-3, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) FOR_EACH_TABLE(check_norm(&cases[i]));
}

static void large_activations_do_not_overflow(void **state) {
    (void)state;
    const int64_t n = 16;
    real x[16], gamma[16], beta[16], y[16], dy[16], dx[16], dgamma[16] = {0}, dbeta[16] = {0},
                                                            partials[96];
    for (int i = 0; i < 16; i++)
        x[i] = (real)i, gamma[i] = 0, beta[i] = (real)(i < 8 ? -200 - i : 200 + i), dy[i] = 1;
    struct norm_job job = {.rows = 1,
                           .n = n,
                           .eps = (real)1e-3,
                           .silu = true,
                           .x = x,
                           .gamma = gamma,
                           .beta = beta,
                           .y = y,
                           .dy = dy,
                           .dx = dx,
                           .dgamma = dgamma,
                           .dbeta = dbeta,
                           .partials = partials};
    assert_true(norm_partial_reals(&job) <= 96);
    FOR_EACH_TABLE({
        memset(dbeta, 0, sizeof dbeta);
        kernels_get()->norm_forward(&job, 0);
        kernels_get()->norm_backward(&job, 0);
        kernels_get()->norm_backward_reduce(&job, 0);
        for (int i = 0; i < 16; i++) {
            assert_true(i < 8 ? y[i] <= 0 && y[i] > (real)-1e-30 : y[i] == beta[i]);
            assert_true(isfinite(dx[i]) && dbeta[i] == (i < 8 ? dbeta[i] : 1) &&
                        fabs((double)dbeta[i]) <= 1);
        }
    });
}

static void check_column_sum(int64_t rows, int64_t n, bool accumulate) {
    const int64_t stride = n + 3;
    real *x = random_new(rows * stride, 1), *start = random_new(n, 2), *first = NULL;
    double *want = doubles_of(accumulate ? start : NULL, n);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < n; c++) want[c] += (double)x[r * stride + c];
    for (enum order order = IN_ORDER; order < N_ORDERS; order++) {
        real *out = accumulate ? copy_new(start, n) : guarded_new(n);
        struct column_sum_job job = {.rows = rows,
                                     .n = n,
                                     .row_stride = stride,
                                     .x = x,
                                     .out = out,
                                     .accumulate = accumulate};
        int64_t partials = column_sum_partial_reals(&job);
        job.partials = guarded_new(partials);
        run_phase(phase_column_sum, &job, column_sum_shares(&job), order);
        run_phase(phase_column_sum_reduce, &job, column_sum_reduce_shares(&job), order);
        assert_close("column sum", out, want, n, tolerance((double)rows));
        if (first)
            assert_memory_equal(out, first, (size_t)n * sizeof *out);
        else
            first = copy_new(out, n);
        guarded_free(out, n);
        guarded_free(job.partials, partials);
    }
    guarded_free(first, n), guarded_free(x, rows * stride), guarded_free(start, n);
    free(want);
}

static void column_sums_are_right(void **state) {
    (void)state;
    const int64_t shapes[][2] = {{1, 1},     {100000, 1}, {737, 3},  {128, 2880},
                                 {128, 255}, {8, 16},     {1000, 40}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        FOR_EACH_TABLE(check_column_sum(shapes[i][0], shapes[i][1], i % 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_width_is_right),
        cmocka_unit_test(the_norms_of_the_model_are_right),
        cmocka_unit_test(large_activations_do_not_overflow),
        cmocka_unit_test(column_sums_are_right),
    };
    return cmocka_run_group_tests(tests, pool_setup, pool_teardown);
}
