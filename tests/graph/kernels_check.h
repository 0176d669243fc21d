// Helpers of the kernel tests: guarded buffers, random fills, every table, orders of shares.
#ifndef TESTS_GRAPH_KERNELS_CHECK_H
#define TESTS_GRAPH_KERNELS_CHECK_H

#include <math.h>

#include "base/philox.h"
#include "base/pool.h"
#include "engine/graph/graph.h"
#include "engine/graph/kernels.h"
#include "support/test.h"

#define LOCAL static inline __attribute__((unused))

// Relative tolerance of a sum of k products of numbers of size 1: rounding grows like the square
// root of k.
LOCAL double tolerance(double k) { return (sizeof(real) == 8 ? 4e-15 : 1.5e-6) * sqrt(k + 16); }

enum { GUARD = 32 };
static const real guard_word = (real)-12345.678;

// n reals between two walls of guard words, filled with NaN: a value that no kernel wrote shows up.
LOCAL real *guarded_new(int64_t n) {
    real *p = malloc((size_t)(n + 2 * GUARD) * sizeof(real));
    assert_non_null(p);
    for (int64_t i = 0; i < n + 2 * GUARD; i++)
        p[i] = i < GUARD || i >= n + GUARD ? guard_word : (real)NAN;
    return p + GUARD;
}

LOCAL void guarded_free(real *p, int64_t n) {
    for (int i = 0; i < GUARD; i++)
        if (p[-1 - i] != guard_word || p[n + i] != guard_word)
            fail_msg("a kernel wrote outside its buffer");
    free(p - GUARD);
}

LOCAL real *random_new(int64_t n, uint32_t stream) {
    real *p = guarded_new(n);
    for (int64_t i = 0; i < n; i++)
        p[i] = 2 * (real)rng_uniform(7, RNG_TEST, stream, (uint32_t)i) - 1;
    return p;
}

LOCAL real *copy_new(const real *x, int64_t n) {
    real *p = guarded_new(n);
    memcpy(p, x, (size_t)n * sizeof(real));
    return p;
}

LOCAL void assert_close(const char *what, const real *got, const double *want, int64_t n,
                        double bound) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= bound * (1 + fabs(want[i]))))
            fail_msg("%s (%s): element %lld of %lld is %.9g, not %.9g", what, cpu_kernels_name(),
                     (long long)i, (long long)n, (double)got[i], want[i]);
}

// Same bits as before, or the first to be kept; free(*same).
LOCAL void keep_same(real **same, const real *x, int64_t n) {
    const size_t bytes = (size_t)n * sizeof *x;
    if (*same)
        assert_memory_equal(x, *same, bytes);
    else
        *same = memcpy(malloc(bytes), x, bytes);
}

// The shares of one phase. The orders must all give the same bits.
enum order { IN_ORDER, BACKWARDS, ON_THREE_THREADS, N_ORDERS };
typedef void any_kernel(const void *job, int share);
struct phase {
    any_kernel *kernel;
    const void *job;
};

LOCAL void phase_task(void *ctx, int share) {
    struct phase *p = ctx;
    p->kernel(p->job, share);
}

static struct pool *three_threads;

LOCAL int pool_setup(void **state) {
    (void)state;
    three_threads = pool_new(3);
    return 0;
}

LOCAL int pool_teardown(void **state) {
    (void)state;
    pool_free(three_threads);
    return 0;
}

LOCAL void run_phase(any_kernel *kernel, const void *job, int n, enum order order) {
    struct phase p = {kernel, job};
    if (order == ON_THREE_THREADS) pool_run(three_threads, n, phase_task, &p);
    for (int i = 0; order == IN_ORDER && i < n; i++) kernel(job, i);
    for (int i = n - 1; order == BACKWARDS && i >= 0; i--) kernel(job, i);
}

static bool in_bf16; // PHASEs run the tables of kernels_bf16_get

// Defines `name`, a phase's kernel behind a pointer to void.
#define PHASE(name, job_type)                                                                      \
    static void phase_##name(const void *job, int share) {                                         \
        const struct kernels *k = in_bf16 ? kernels_bf16_get() : kernels_get();                    \
        k->name((const struct job_type *)job, share);                                              \
    }

static const char *const table_names[] = {"generic", "avx2", "avx512", "avx512bf16"};

// Runs `check` with each table this CPU has.
#define FOR_EACH_TABLE(statement)                                                                  \
    do {                                                                                           \
        for (int table_i = 0; table_i < 4; table_i++)                                              \
            if (in_bf16 ? kernels_bf16_choose(table_names[table_i])                                \
                        : cpu_kernels_choose(table_names[table_i]))                                \
                statement;                                                                         \
    } while (0)

// x rounded to bf16, as a real: to the nearest, ties to even, by arithmetic instead of bits.
LOCAL real rounded(real x) {
    int exponent;
    if (x == 0 || !isfinite((double)x)) return x;
    const double m = frexp((double)x, &exponent); // in [0.5, 1): 8 bits are whole in m 2^8
    return (real)ldexp(nearbyint(ldexp(m, 8)), exponent - 8);
}

// What a product's operands count as; free() it.
LOCAL double *operands(const real *x, int64_t n) {
    double *p = malloc((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++) p[i] = (double)(in_bf16 ? rounded(x[i]) : x[i]);
    return p;
}

#endif
