// Convolution kernels against the formulas of spec 2.1 in double: channel counts, odd sizes.
#include "graph/kernels_check.h"

PHASE(conv_pack_down, conv_job)
PHASE(conv_pack_up, conv_job)
PHASE(conv_down, conv_job)
PHASE(conv_up, conv_job)
PHASE(conv_weight, conv_job)
PHASE(conv_weight_reduce, conv_job)

struct sizes {
    int64_t big, small, weights;
};

static struct sizes sizes_of(const struct conv_shape *s) {
    return (struct sizes){s->n * s->height * s->width * s->n_big,
                          s->n * (s->height / 2) * (s->width / 2) * s->n_small,
                          s->n_small * s->n_big * 16};
}

// Calls visit for each (big, small, weight) triple of the sum that defines all three kernels.
typedef void visit_fn(double *out, const double *x, const double *y, int64_t big, int64_t small,
                      int64_t weight);

static void visit_all(const struct conv_shape *s, visit_fn *visit, double *out, const double *x,
                      const double *y) {
    int64_t hs = s->height / 2, ws = s->width / 2;
    for (int64_t p = 0; p < s->n * hs * ws * 16; p++) {
        int64_t ky = p % 16 / 4, kx = p % 4, pixel = p / 16;
        int64_t row = pixel / ws % hs * 2 - 1 + ky, column = pixel % ws * 2 - 1 + kx,
                n = pixel / ws / hs;
        if (row < 0 || column < 0 || row >= s->height || column >= s->width) continue;
        int64_t big = ((n * s->height + row) * s->width + column) * s->n_big;
        for (int64_t o = 0; o < s->n_small; o++)
            for (int64_t c = 0; c < s->n_big; c++)
                visit(out, x, y, big + c, pixel * s->n_small + o,
                      (o * s->n_big + c) * 16 + ky * 4 + kx);
    }
}

static void visit_down(double *out, const double *x, const double *y, int64_t big, int64_t small,
                       int64_t weight) {
    out[small] += x[big] * y[weight];
}

static void visit_up(double *out, const double *x, const double *y, int64_t big, int64_t small,
                     int64_t weight) {
    out[big] += x[small] * y[weight];
}

static void visit_weight(double *out, const double *x, const double *y, int64_t big, int64_t small,
                         int64_t weight) {
    out[weight] += x[big] * y[small];
}

enum kind { DOWN, UP, WEIGHT };

static void run_conv(enum kind kind, struct conv_job *job, enum order order) {
    int64_t packed = conv_pack_reals(&job->shape);
    int64_t scratch =
        kind == WEIGHT ? conv_weight_scratch_reals(&job->shape) : conv_scratch_reals(&job->shape);
    job->packed = guarded_new(packed);
    job->scratch = guarded_new(scratch);
    if (kind == DOWN) run_phase(phase_conv_pack_down, job, conv_pack_shares(job), order);
    if (kind == UP) run_phase(phase_conv_pack_up, job, conv_pack_shares(job), order);
    any_kernel *const kernel[] = {phase_conv_down, phase_conv_up, phase_conv_weight};
    run_phase(kernel[kind], job, conv_shares(job), order);
    if (kind == WEIGHT)
        run_phase(phase_conv_weight_reduce, job, conv_weight_reduce_shares(job), order);
    guarded_free(job->packed, packed);
    guarded_free(job->scratch, scratch);
}

// One table: every order of shares is right and has the same bits; in bf16, those of all tables.
static void check_table(enum kind kind, const struct conv_job *inputs, const real *start, int64_t n,
                        const double *want, double terms, real **same) {
    static const char *const names[] = {"down", "up", "weight gradient"};
    real *first = in_bf16 ? *same : NULL;
    for (enum order order = IN_ORDER; order < N_ORDERS; order++) {
        struct conv_job job = *inputs;
        job.out = job.accumulate ? copy_new(start, n) : guarded_new(n);
        run_conv(kind, &job, order);
        assert_close(names[kind], job.out, want, n, tolerance(terms));
        if (first)
            assert_memory_equal(job.out, first, (size_t)n * sizeof *first);
        else
            first = copy_new(job.out, n);
        guarded_free(job.out, n);
    }
    if (in_bf16)
        *same = first;
    else
        guarded_free(first, n);
}

static void check_kind(enum kind kind, const struct conv_shape *s, bool accumulate,
                       bool with_bias) {
    static visit_fn *const visits[] = {visit_down, visit_up, visit_weight};
    struct sizes z = sizes_of(s);
    int64_t n = kind == DOWN ? z.small : kind == UP ? z.big : z.weights;
    real *big = random_new(z.big, 1), *small = random_new(z.small, 2),
         *weights = random_new(z.weights, 3);
    real *bias = random_new(s->n_big, 4), *start = random_new(n, 5), *same = NULL;
    double *want = calloc((size_t)n, sizeof *want);
    for (int64_t i = 0; i < n; i++)
        want[i] = (accumulate ? (double)start[i] : 0) +
                  (kind == UP && with_bias ? (double)bias[i % s->n_big] : 0);
    double *x = operands(kind == UP ? small : big, kind == UP ? z.small : z.big),
           *y = operands(kind == WEIGHT ? small : weights, kind == WEIGHT ? z.small : z.weights);
    visit_all(s, visits[kind], want, x, y);
    double terms = kind == DOWN ? 16.0 * (double)s->n_big
                   : kind == UP ? 4.0 * (double)s->n_small
                                : (double)(z.small / s->n_small);
    const struct conv_job job = {.shape = *s,
                                 .weights = weights,
                                 .big = big,
                                 .small = small,
                                 .bias = with_bias ? bias : NULL,
                                 .accumulate = accumulate};
    FOR_EACH_TABLE(check_table(kind, &job, start, n, want, terms, &same));
    if (same) guarded_free(same, n);
    guarded_free(big, z.big), guarded_free(small, z.small), guarded_free(weights, z.weights);
    guarded_free(bias, s->n_big), guarded_free(start, n);
    free(want), free(x), free(y);
}

// Directly, and in tiles where they fit.
static void check_shape(struct conv_shape s, bool accumulate) {
    s.bf16 = in_bf16;
    if (in_bf16 && !conv_in_bf16(&s)) return;
    const int n_ways = !in_bf16 && conv_tiles_fit(&s) ? 2 : 1;
    for (int way = 0; way < n_ways; way++) {
        s.tiles = way > 0;
        check_kind(DOWN, &s, accumulate, false);
        check_kind(UP, &s, accumulate, accumulate);
        check_kind(WEIGHT, &s, accumulate, false);
    }
}

static void every_channel_count_is_right(void **state) {
    (void)state;
    const int64_t channels[] = {1, 2, 3, 4, 5, 8, 12, 16, 24, 32, 40};
    enum { N = sizeof channels / sizeof *channels };
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            struct conv_shape s = {3, 8, 12, channels[i], channels[j], false, false};
            check_shape(s, (i + j) % 2);
        }
}

static void every_image_size_is_right(void **state) {
    (void)state;
    for (int64_t height = 2; height <= 11; height++)
        for (int64_t width = 2; width <= 19; width += 1 + (width > 8)) {
            check_shape((struct conv_shape){2, height, width, 1, 8, false, false}, width % 2);
            check_shape((struct conv_shape){2, height, width, 8, 16, false, false}, height % 2);
        }
}

static void the_layers_of_the_model_are_right(void **state) {
    (void)state;
    const struct conv_shape shapes[] = {
        {20, 72, 80, 1, 8, false, false},   {20, 36, 40, 8, 16, false, false},
        {20, 18, 20, 16, 32, false, false}, {3, 72, 80, 1, 2, false, false},
        {3, 36, 40, 2, 4, false, false},    {2, 72, 80, 1, 32, false, false},
        {2, 36, 40, 32, 64, false, false},  {17, 18, 20, 64, 128, false, false},
        {2, 18, 20, 48, 96, false, false},  {1, 9, 10, 16, 32, false, false},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_shape(shapes[i], i % 2);
}

static void convolutions_of_rounded_operands_are_right_and_alike_everywhere(void **state) {
    if (!cpu_kernels_bf16_name()) skip();
    in_bf16 = true;
    every_channel_count_is_right(state);
    every_image_size_is_right(state);
    the_layers_of_the_model_are_right(state);
    in_bf16 = false;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_channel_count_is_right),
        cmocka_unit_test(every_image_size_is_right),
        cmocka_unit_test(the_layers_of_the_model_are_right),
        cmocka_unit_test(convolutions_of_rounded_operands_are_right_and_alike_everywhere),
    };
    return cmocka_run_group_tests(tests, pool_setup, pool_teardown);
}
