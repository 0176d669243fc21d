// Runs the CPU's op tests on a device: include this, then the tests of a floor.
//
//     #include "gpu/parity.h"
//     #include "graph/test_op_math.c"
//
// Every grad_check of that file becomes: the same graph on the CPU and on the device, with its
// memory planned and apart, outputs and all gradients compared. Every executor that the file makes
// itself runs on the device. The device is the harness (the kernels' own source on the CPU), or
// with WORKBENCH_CUDA_LIBRARY the library of that name (make gpu-check).
#ifndef TESTS_GPU_PARITY_H
#define TESTS_GPU_PARITY_H

#include "gpu/which.h"
#include "support/grad_check.h"

enum { PARITY_TWICE = 10000, PARITY_LARGE = 100000 }; // elements

static inline struct executor *parity_executor_new(struct graph *g, struct pool *pool) {
    parity_backend();
    return executor_new(g, pool);
}

// |a - b| relative to the largest |b| of its tensor: sums run in another order on the device. The
// cases' numbers are of size 1, so what cancels to less than 0.01 still carries their rounding.
static inline void parity_compare(const char *name, const real *a, const real *b, int64_t n) {
    double largest = 1e-2;
    for (int64_t i = 0; i < n; i++)
        if (fabs((double)b[i]) > largest) largest = fabs((double)b[i]);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= 2e-5 * largest))
            fail_msg("%s[%lld]: %.9g on the device, %.9g on the CPU", name, (long long)i,
                     (double)a[i], (double)b[i]);
}

static inline void parity_check_plan(const struct grad_case *c, bool guarded) {
    struct grad_graph cpu = grad_graph_new(c, guarded, 1), device = grad_graph_new(c, guarded, 1);
    executor_free(device.ex);
    device.ex = parity_executor_new(device.g, device.pool);
    grad_poison(&cpu);
    grad_loss(&cpu);
    const int n_runs =
        device.y->n_elements < PARITY_TWICE ? 2 : 1; // the second must not see the first
    for (int run = 0; run < n_runs; run++) {
        // First as a whole, where neighbours may be one launch; at last node by node.
        executor_profile(device.ex, run == n_runs - 1);
        grad_poison(&device);
        grad_loss(&device);
        parity_compare(device.y->name, reals(device.y), reals(cpu.y), device.y->n_elements);
        for (int i = 0; i < device.params->n; i++) {
            const struct param *p = &device.params->list[i];
            parity_compare(p->name, params_grads(device.params, p), params_grads(cpu.params, p),
                           p->n_elements);
        }
    }
    grad_graph_free(&cpu);
    grad_graph_free(&device);
}

static inline __attribute__((unused)) void parity_check(const struct grad_case *c) {
    if (leaf_size(&c->leaves[0]) < PARITY_LARGE) parity_check_plan(c, true);
    parity_check_plan(c, false);
}

#define grad_check parity_check
#define cpu_executor_new parity_executor_new

#endif
