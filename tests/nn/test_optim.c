// Optimiser: gradient norm, clip factors, Adam and LaProp against the formulas in double; bad
// gradients.
#include "engine/nn/optim.h"

#include <math.h>

#include "graph/kernels_check.h"

static const struct optim_opts world_model = {1e-4, 0.9, 0.999, 1e-8, 1000, OPTIM_ADAM, 0, 0};
static const struct optim_opts official = {1e-2, 0.9,          0.999, OPTIM_LAPROP_EPS,
                                           0,    OPTIM_LAPROP, 0.3,   4};

static struct params params_of(int64_t n) {
    struct params p;
    params_init(&p);
    params_add(&p, "w", 1, (int64_t[]){n});
    params_allocate(&p);
    for (int64_t i = 0; i < p.n_flat; i++)
        p.weights[i] = i < n ? 2 * (real)rng_uniform(7, RNG_TEST, 1, (uint32_t)i) - 1 : 0;
    return p;
}

static void gradients_of(struct params *p, int64_t step, double scale) {
    for (int64_t i = 0; i < p->list[0].n_elements; i++)
        p->grads[i] =
            (real)(scale *
                   (2 * (double)rng_uniform(7, RNG_TEST, 100 + (uint64_t)step, (uint32_t)i) - 1));
}

static void clip_is_the_one_of_the_specification(void **state) {
    (void)state;
    struct pool *pool = pool_new(1);
    real g[2] = {3000, 4000};
    double norm = optim_norm(g, 2, pool);
    assert_true(norm == 5000);
    assert_true(fabs(3000 * optim_clip(norm, 1000) - 599.99994) < 1e-4);
    assert_true(fabs(4000 * optim_clip(norm, 1000) - 799.99994) < 1e-4);
    assert_true(optim_clip(5, 1000) == 1 && optim_clip(5, 0) == 1 && optim_clip(0, 1000) == 1);
    pool_free(pool);
}

static void adam_follows_the_formula_for_many_steps(void **state) {
    (void)state;
    enum { N = 1003, STEPS = 20 };
    struct pool *pool = pool_new(1);
    for (int variant = 0; variant < 2; variant++) {
        struct params p = params_of(N);
        struct optim_opts o = world_model;
        o.eps = variant ? 1e-5 : 1e-8;
        o.max_norm = variant ? 1 : 1000; // the first clips every step
        double w[N], m[N] = {0}, v[N] = {0};
        for (int i = 0; i < N; i++) w[i] = (double)p.weights[i];
        for (int step = 1; step <= STEPS; step++) {
            gradients_of(&p, step, variant ? 0.3 : 1e-3);
            double norm = 0;
            for (int i = 0; i < N; i++) norm += (double)p.grads[i] * (double)p.grads[i];
            norm = sqrt(norm);
            double clip = o.max_norm / (norm + 1e-6) < 1 ? o.max_norm / (norm + 1e-6) : 1;
            for (int i = 0; i < N; i++) {
                double g = (double)p.grads[i] * clip;
                m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
                v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
                w[i] -= o.learning_rate * (m[i] / (1 - pow(o.beta1, step))) /
                        (sqrt(v[i]) / sqrt(1 - pow(o.beta2, step)) + o.eps);
            }
            double got = optim_step(&p, pool, &o, step);
            assert_true(fabs(got - norm) <= 1e-6 * norm);
        }
        // weights of size 1 round at 6e-8 each step
        for (int i = 0; i < N; i++) assert_true(fabs((double)p.weights[i] - w[i]) < STEPS * 1e-7);
        for (int i = 0; i < N; i++)
            assert_true(fabs((double)p.moment1[i] - m[i]) < 1e-6 * (fabs(m[i]) + 0.05));
        for (int64_t i = N; i < p.n_flat; i++) assert_true(p.weights[i] == 0);
        params_deinit(&p);
    }
    pool_free(pool);
}

// Three tensors whose gradients lie above, below and (a tensor of zeros) far above their share.
static struct params tensors_of(const int64_t *sizes) {
    struct params p;
    params_init(&p);
    for (int k = 0; k < 3; k++) params_add(&p, (const char *[]){"a", "b", "c"}[k], 1, &sizes[k]);
    params_allocate(&p);
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < sizes[k]; i++)
            params_weights(&p, &p.list[k])[i] =
                k == 2 ? 0 : 2 * (real)rng_uniform(7, RNG_TEST, (uint64_t)k, (uint32_t)i) - 1;
    return p;
}

static void tensor_gradients(struct params *p, int64_t step) {
    static const double scales[] = {10, 1e-3, 1};
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < p->list[k].n_elements; i++)
            params_grads(p, &p->list[k])[i] =
                (real)(scales[k] *
                       (2 * (double)rng_uniform(7, RNG_TEST, (uint64_t)(10 * step + k + 100),
                                                (uint32_t)i) -
                        1));
}

static double norm_of(const real *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void laprop_with_clipping_by_tensor_follows_the_formula(void **state) {
    (void)state;
    enum { STEPS = 12 };
    static const int64_t sizes[] = {70003, 501, 40};
    struct pool *pool = pool_new(2);
    struct params p = tensors_of(sizes);
    double *w = calloc(3 * (size_t)p.n_flat, sizeof *w), *m = w + p.n_flat, *v = m + p.n_flat;
    int clipped[3] = {0};
    for (int64_t i = 0; i < p.n_flat; i++) w[i] = (double)p.weights[i];
    for (int step = 1; step <= STEPS; step++) {
        const double rate = 1e-2 * fmin(1, (step - 1) / 4.0);
        tensor_gradients(&p, step);
        assert_true(fabs(optim_rate(&official, step) - rate) < 1e-9);
        for (int k = 0; k < 3; k++) {
            const struct param *q = &p.list[k];
            const real *g = params_grads(&p, q);
            double size = norm_of(params_weights(&p, q), q->n_elements);
            double share = norm_of(g, q->n_elements) / (0.3 * (size > 1e-3 ? size : 1e-3));
            clipped[k] += share > 1;
            for (int64_t i = 0, at = q->offset; i < q->n_elements; i++, at++) {
                double u = (double)g[i] / (share > 1 ? share : 1);
                v[at] = 0.999 * v[at] + 0.001 * u * u;
                m[at] = 0.9 * m[at] + 0.1 * u / (sqrt(v[at] / (1 - pow(0.999, step))) + 1e-20);
                w[at] -= rate * m[at] / (1 - pow(0.9, step));
            }
        }
        optim_step(&p, pool, &official, step);
        if (step == 1) // the rate grows from 0
            for (int64_t i = 0; i < p.n_flat; i++) assert_true((double)p.weights[i] == w[i]);
    }
    assert_true(clipped[0] == STEPS && clipped[1] == 0 && clipped[2] >= 1);
    for (int64_t i = 0; i < p.n_flat; i++) {
        assert_true(fabs((double)p.weights[i] - w[i]) < STEPS * 2e-7);
        assert_true(fabs((double)p.moment1[i] - m[i]) < 1e-5);
        assert_true(fabs((double)p.moment2[i] - v[i]) <= 1e-5 * v[i]);
    }
    free(w);
    params_deinit(&p);
    pool_free(pool);
}

static void laprops_bits_do_not_depend_on_the_number_of_threads(void **state) {
    (void)state;
    static const int64_t sizes[] = {150007, 70001, 3};
    FOR_EACH_TABLE({
        struct params reference = tensors_of(sizes);
        for (int threads = 1; threads <= 3; threads++) {
            struct pool *pool = pool_new(threads);
            struct params p = tensors_of(sizes);
            for (int step = 1; step <= 3; step++) {
                tensor_gradients(&p, step);
                optim_step(&p, pool, &official, step);
            }
            if (threads == 1) memcpy(reference.weights, p.weights, (size_t)p.n_flat * sizeof(real));
            assert_memory_equal(reference.weights, p.weights, (size_t)p.n_flat * sizeof(real));
            params_deinit(&p);
            pool_free(pool);
        }
        params_deinit(&reference);
    });
}

static void bits_do_not_depend_on_the_number_of_threads(void **state) {
    (void)state;
    enum { N = 300007 };
    FOR_EACH_TABLE({
        struct params reference = params_of(N);
        for (int threads = 1; threads <= 3; threads++) {
            struct pool *pool = pool_new(threads);
            struct params p = params_of(N);
            double norm = 0;
            for (int step = 1; step <= 3; step++) {
                gradients_of(&p, step, 10);
                norm += optim_step(&p, pool, &world_model, step);
            }
            if (threads == 1) memcpy(reference.weights, p.weights, (size_t)p.n_flat * sizeof(real));
            if (threads == 1) reference.grads[0] = (real)norm;
            assert_memory_equal(reference.weights, p.weights, (size_t)p.n_flat * sizeof(real));
            assert_true(reference.grads[0] == (real)norm);
            params_deinit(&p);
            pool_free(pool);
        }
        params_deinit(&reference);
    });
}

static void adams_last_step_is_undone_to_rounding(void **state) {
    (void)state;
    enum { N = 1003 };
    struct pool *pool = pool_new(1);
    struct params p = params_of(N);
    real before[N], *undone = malloc((size_t)p.n_flat * sizeof *undone);
    for (int step = 1; step <= 5; step++) {
        memcpy(before, p.weights, sizeof before);
        gradients_of(&p, step, step == 3 ? 0 : 1e-3);
        optim_step(&p, pool, &world_model, step);
        optim_undo(&p, &world_model, step, undone);
        for (int i = 0; i < N; i++)
            assert_true(fabs((double)undone[i] - (double)before[i]) <= 3e-7);
    }
    free(undone);
    params_deinit(&p);
    pool_free(pool);
}

static void a_non_finite_gradient_changes_nothing(void **state) {
    (void)state;
    struct pool *pool = pool_new(1);
    struct params p = params_of(1000), before = params_of(1000);
    const real bad[] = {(real)NAN, (real)INFINITY};
    for (int i = 0; i < 4; i++) {
        gradients_of(&p, 1, 1);
        p.grads[777] = bad[i % 2];
        assert_false(isfinite(optim_step(&p, pool, i < 2 ? &world_model : &official, 2)));
        assert_memory_equal(p.weights, before.weights, (size_t)p.n_flat * sizeof(real));
        assert_memory_equal(p.moment1, before.moment1, (size_t)p.n_flat * sizeof(real));
    }
    params_deinit(&p), params_deinit(&before);
    pool_free(pool);
}

static void the_norm_survives_huge_gradients(void **state) {
    (void)state;
    struct pool *pool = pool_new(1);
    real g[100];
    for (int i = 0; i < 100; i++) g[i] = (real)1e30; // their squares overflow a float
    assert_true(fabs(optim_norm(g, 100, pool) / 1e31 - 1) < 1e-6);
    pool_free(pool);
}

static void a_target_moves_by_its_share_and_one_copies(void **state) {
    (void)state;
    enum { N = 100003 };
    for (int threads = 1; threads <= 3; threads += 2) {
        struct pool *pool = pool_new(threads);
        struct params source = params_of(N), target = params_of(N);
        for (int64_t i = 0; i < target.n_flat; i++) target.weights[i] = source.weights[i] + 1;
        real moment = target.moment1[5];
        optim_track(&target, &source, 0.25, pool);
        for (int64_t i = 0; i < N; i++)
            assert_true(fabs((double)(target.weights[i] - source.weights[i]) - 0.75) < 1e-6);
        assert_true(target.moment1[5] == moment);
        optim_track(&target, &source, 1, pool);
        assert_memory_equal(target.weights, source.weights, (size_t)N * sizeof(real));
        params_deinit(&source), params_deinit(&target);
        pool_free(pool);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_is_the_one_of_the_specification),
        cmocka_unit_test(adam_follows_the_formula_for_many_steps),
        cmocka_unit_test(laprop_with_clipping_by_tensor_follows_the_formula),
        cmocka_unit_test(laprops_bits_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(bits_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(adams_last_step_is_undone_to_rounding),
        cmocka_unit_test(a_non_finite_gradient_changes_nothing),
        cmocka_unit_test(the_norm_survives_huge_gradients),
        cmocka_unit_test(a_target_moves_by_its_share_and_one_copies),
    };
    return cmocka_run_group_tests(tests, pool_setup, pool_teardown);
}
