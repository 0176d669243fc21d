// Adam on the device against the CPU's: norm, clipping, moments, weights.
#include "gpu/parity.h"

#include "engine/nn/optim.h"

enum { N = 70001 }; // no multiple of anything

static struct params set_of(double size) {
    struct params p;
    params_init(&p);
    params_add(&p, "w", 1, (int64_t[]){N});
    params_allocate(&p);
    for (int64_t i = 0; i < N; i++) {
        p.weights[i] = (real)(grad_random(1, i) - 0.5);
        p.grads[i] = (real)(size * (grad_random(2, i) - 0.5));
        p.moment1[i] = (real)(0.01 * (grad_random(3, i) - 0.5));
        p.moment2[i] = (real)(1e-4 * grad_random(4, i));
    }
    return p;
}

static bool device_step(struct params *p, const struct optim_opts *o, int64_t step, double *norm) {
    struct backend_adam a = {.n = p->n_flat,
                             .weights = p->weights,
                             .moment1 = p->moment1,
                             .moment2 = p->moment2,
                             .grads = p->grads,
                             .learning_rate = o->learning_rate,
                             .beta1 = o->beta1,
                             .beta2 = o->beta2,
                             .eps = o->eps,
                             .max_norm = o->max_norm,
                             .correction1 = 1 - pow(o->beta1, (double)step),
                             .correction2 = 1 - pow(o->beta2, (double)step)};
    char message[BACKEND_MESSAGE_SIZE] = "";
    const bool fine = parity_backend()->adam(&a, message, sizeof message);
    if (!fine) fail_msg("%s", message);
    *norm = a.norm;
    return fine;
}

static void compare_steps(double size, double max_norm) {
    const struct optim_opts o = {
        .learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .max_norm = max_norm};
    struct params cpu = set_of(size), device = set_of(size);
    struct pool *pool = pool_new(1);
    double norm;
    for (int64_t step = 5; step < 7; step++) {
        const double expected = optim_step(&cpu, pool, &o, step);
        device_step(&device, &o, step, &norm);
        assert_true(fabs(norm - expected) <= 1e-12 * expected);
    }
    parity_compare("weights", device.weights, cpu.weights, N);
    parity_compare("moment1", device.moment1, cpu.moment1, N);
    for (int64_t i = 0; i < N; i++) // small numbers: compared one by one
        if (!(fabs((double)(device.moment2[i] - cpu.moment2[i])) <= 1e-6 * (double)cpu.moment2[i]))
            fail_msg("moment2[%lld]: %.9g, not %.9g", (long long)i, (double)device.moment2[i],
                     (double)cpu.moment2[i]);
    pool_free(pool);
    params_deinit(&cpu);
    params_deinit(&device);
}

static void adam_takes_the_steps_of_the_cpu(void **state) {
    (void)state;
    compare_steps(0.1, 0);
    compare_steps(0.1, 1000);
}

static void large_gradients_are_clipped(void **state) {
    (void)state;
    compare_steps(50, 10);
}

static void a_gradient_that_is_not_finite_changes_nothing(void **state) {
    (void)state;
    struct params p = set_of(1), before = set_of(1);
    const struct optim_opts o = {
        .learning_rate = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .max_norm = 1};
    double norm;
    p.grads[N / 2] = (real)INFINITY;
    device_step(&p, &o, 1, &norm);
    assert_false(isfinite(norm));
    assert_memory_equal(p.weights, before.weights, N * sizeof(real));
    assert_memory_equal(p.moment1, before.moment1, N * sizeof(real));
    assert_memory_equal(p.moment2, before.moment2, N * sizeof(real));
    params_deinit(&p);
    params_deinit(&before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_takes_the_steps_of_the_cpu),
        cmocka_unit_test(large_gradients_are_clipped),
        cmocka_unit_test(a_gradient_that_is_not_finite_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
