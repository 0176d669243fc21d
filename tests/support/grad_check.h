// Checks one op or subgraph: forward against a plain reference, gradients against central
// differences, and the engine around it (memory that is read before it is written, writes past an
// end, memory plan, threads, kernel tables).
//
//     static const struct leaf leaves[] = {{"x", 2, {3, 5}, -2, 2}, {"w", 2, {4, 5}, -1, 1}};
//     static struct tensor *build(struct graph *g, struct tensor **leaf) {
//         return g_linear(g, leaf[0], leaf[1], NULL, NULL, 0);
//     }
//     static void reference(const double *const *leaf, double *y) { ... }
//     grad_check(&(struct grad_case){leaves, 2, build, reference});
//
// The loss is sum(c * y) with fixed random c. Central differences mean little in float: a float
// build compares them loosely, a -DREAL=double build closely.
#ifndef TESTS_SUPPORT_GRAD_CHECK_H
#define TESTS_SUPPORT_GRAD_CHECK_H

#include <math.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/graph/node.h"
#include "support/test.h"

enum { GRAD_MAX_LEAVES = 8, GRAD_GUARD_BYTES = 256, GRAD_MAX_PROBES = 200 };

struct leaf {
    const char *name;
    int n_dims;
    int64_t shape[PARAM_MAX_DIMS];
    double low, high; // values are uniform in [low, high)
    bool constant;    // an input: no gradient
};

typedef struct tensor *grad_build(struct graph *g, struct tensor **leaf);
typedef void grad_reference(const double *const *leaf, double *y);

struct grad_case {
    const struct leaf *leaves;
    int n_leaves;
    grad_build *build;
    grad_reference *reference; // NULL: no forward check
    double forward_tolerance;  // relative to the largest |y|; 0: 1e-6 in float, 1e-12 in double
    double gradient_tolerance; // relative L2 error per leaf; 0: 1e-7 in double, 3e-2 in float
    bool no_differences;       // gradients are not those of the forward function
};

// One graph of a case.
struct grad_graph {
    struct params *params; // the graph points to it
    struct graph *g;
    struct tensor *leaf[GRAD_MAX_LEAVES], *y, *loss;
    struct pool *pool;
    struct executor *ex;
};

static inline double grad_random(uint64_t stream, int64_t index) {
    return (double)rng_uniform(7, RNG_TEST, stream, (uint32_t)index);
}

static inline int64_t leaf_size(const struct leaf *l) {
    int64_t n = 1;
    for (int i = 0; i < l->n_dims; i++) n *= l->shape[i];
    return n;
}

// Values must not depend on the build's precision, so that both see the same case.
static inline void leaf_fill(const struct leaf *l, int index, real *out) {
    for (int64_t i = 0; i < leaf_size(l); i++)
        out[i] = (real)(float)(l->low + (l->high - l->low) * grad_random((uint64_t)index, i));
}

static inline struct grad_graph grad_graph_new(const struct grad_case *c, bool guarded,
                                               int n_threads) {
    struct grad_graph s = {
        .g = graph_new(), .pool = pool_new(n_threads), .params = mem_alloc(sizeof *s.params)};
    params_init(s.params);
    for (int i = 0; i < c->n_leaves; i++)
        if (!c->leaves[i].constant)
            params_add(s.params, c->leaves[i].name, c->leaves[i].n_dims, c->leaves[i].shape);
    params_allocate(s.params);
    for (int i = 0; i < c->n_leaves; i++) {
        const struct leaf *l = &c->leaves[i];
        if (l->constant) {
            s.leaf[i] = g_input(s.g, l->name, DTYPE_REAL, l->n_dims, l->shape);
            leaf_fill(l, i, s.leaf[i]->data);
        } else {
            s.leaf[i] = g_param(s.g, s.params, l->name);
            leaf_fill(l, i, params_weights(s.params, params_find(s.params, l->name)));
        }
    }
    s.y = c->build(s.g, s.leaf);
    graph_keep(s.g, s.y);
    struct tensor *weight = g_input(s.g, "c", DTYPE_REAL, s.y->n_dims, s.y->shape);
    for (int64_t i = 0; i < s.y->n_elements; i++)
        ((real *)weight->data)[i] = (real)(grad_random(99, i) * 2 - 1);
    s.loss = g_affine(s.g, g_mean(s.g, g_mul(s.g, s.y, weight)), (real)s.y->n_elements, 0);
    graph_keep(s.g, s.loss);
    bool any = false;
    for (int i = 0; i < c->n_leaves; i++) any |= !c->leaves[i].constant;
    if (any) graph_gradients(s.g, s.loss);
    if (guarded)
        graph_plan_guarded(s.g, GRAD_GUARD_BYTES);
    else
        graph_plan(s.g);
    s.ex = cpu_executor_new(s.g, s.pool);
    return s;
}

static inline void grad_graph_free(struct grad_graph *s) {
    executor_free(s->ex);
    graph_free(s->g);
    params_deinit(s->params);
    free(s->params);
    pool_free(s->pool);
}

// NaN everywhere: what is read before it is written shows. In the guards it stands for itself.
static inline void grad_poison(struct grad_graph *s) {
    memset(s->g->slab, 0xFF, s->g->slab_bytes);
    memset(s->params->grads, 0xFF, (size_t)s->params->n_flat * sizeof(real));
}

static inline void grad_check_guards(const struct grad_graph *s) {
    for (int i = 0; i < s->g->n_tensors; i++) {
        const struct tensor *t = s->g->tensors[i];
        if (!t->root || t->base || t->storage != STORE_SLAB || t->root->first_use < 0) continue;
        const unsigned char *guard =
            (const unsigned char *)s->g->slab + t->root->slab_offset + t->root->bytes;
        for (int k = 0; k < GRAD_GUARD_BYTES; k++)
            if (guard[k] != 0xFF) fail_msg("%s: written %d bytes behind its end", t->name, k);
    }
}

static inline double grad_loss(struct grad_graph *s) {
    executor_run(s->ex);
    return (double)*reals(s->loss);
}

static inline void grad_compare_forward(const struct grad_case *c, const struct grad_graph *s) {
    double *in[GRAD_MAX_LEAVES], *y = mem_alloc((size_t)s->y->n_elements * sizeof *y),
                                 largest = 1e-3;
    for (int i = 0; i < c->n_leaves; i++) {
        in[i] = mem_alloc((size_t)leaf_size(&c->leaves[i]) * sizeof(double));
        for (int64_t k = 0; k < leaf_size(&c->leaves[i]); k++)
            in[i][k] = (double)reals(s->leaf[i])[k];
    }
    c->reference((const double *const *)in, y);
    for (int64_t i = 0; i < s->y->n_elements; i++) largest = fmax(largest, fabs(y[i]));
    double tolerance = c->forward_tolerance > 0 && sizeof(real) == sizeof(float)
                           ? c->forward_tolerance
                       : sizeof(real) == sizeof(float) ? 1e-6
                                                       : 1e-12;
    for (int64_t i = 0; i < s->y->n_elements; i++) {
        double got = (double)reals(s->y)[i];
        if (!(fabs(got - y[i]) <= tolerance * largest))
            fail_msg("%s[%lld]: %.9g, the reference gives %.9g (%s)", s->y->name, (long long)i, got,
                     y[i], cpu_kernels_name());
    }
    for (int i = 0; i < c->n_leaves; i++) free(in[i]);
    free(y);
}

// Central differences on at most GRAD_MAX_PROBES elements of each leaf.
static inline void grad_compare_differences(const struct grad_case *c, struct grad_graph *s) {
    const bool is_double = sizeof(real) == sizeof(double);
    double tolerance =
        is_double ? (c->gradient_tolerance > 0 ? c->gradient_tolerance : 1e-7) : 3e-2;
    double step = is_double ? 1e-5 : 1e-2;
    real *grads = mem_alloc((size_t)s->params->n_flat * sizeof(real));
    grad_loss(s);
    memcpy(grads, s->params->grads, (size_t)s->params->n_flat * sizeof(real));
    for (int i = 0; i < c->n_leaves; i++) {
        if (c->leaves[i].constant) continue;
        const struct param *p = params_find(s->params, c->leaves[i].name);
        real *w = params_weights(s->params, p);
        int64_t stride = 1 + p->n_elements / GRAD_MAX_PROBES;
        double error = 0, norm = 1e-12;
        for (int64_t k = 0; k < p->n_elements; k += stride) {
            real before = w[k];
            w[k] = before + (real)step;
            double up = grad_loss(s), above = (double)w[k];
            w[k] = before - (real)step;
            double down = grad_loss(s), difference = (up - down) / (above - (double)w[k]);
            w[k] = before;
            error += pow((double)grads[p->offset + k] - difference, 2);
            norm += difference * difference;
        }
        if (!(sqrt(error / norm) <= tolerance))
            fail_msg(
                "gradient of %s: relative error %.3g against central differences, allowed %.3g",
                p->name, sqrt(error / norm), tolerance);
    }
    free(grads);
}

static inline void grad_assert_same(const struct grad_case *c, const struct grad_graph *a,
                                    const struct grad_graph *b, const char *what) {
    (void)c;
    if (memcmp(reals(a->y), reals(b->y), (size_t)a->y->n_elements * sizeof(real)) != 0)
        fail_msg("%s: the result depends on %s", a->y->name, what);
    if (memcmp(a->params->grads, b->params->grads, (size_t)a->params->n_flat * sizeof(real)) != 0)
        fail_msg("%s: a gradient depends on %s", a->y->name, what);
}

static inline void grad_check_table(const struct grad_case *c, bool differences) {
    struct grad_graph guarded = grad_graph_new(c, true, 1), planned = grad_graph_new(c, false, 1),
                      threads = grad_graph_new(c, false, 3);
    struct grad_graph *all[] = {&guarded, &planned, &threads};
    for (int i = 0; i < 3; i++) {
        for (int run = 0; run < 2; run++) { // the second run must not see the first
            grad_poison(all[i]);
            grad_loss(all[i]);
        }
        for (int64_t k = 0; k < all[i]->params->n_flat; k++)
            if (!isfinite((double)all[i]->params->grads[k]))
                fail_msg("%s: a gradient is not finite", all[i]->y->name);
    }
    grad_check_guards(&guarded);
    grad_assert_same(c, &guarded, &planned, "the memory plan");
    grad_assert_same(c, &planned, &threads, "the number of threads");
    if (c->reference) grad_compare_forward(c, &guarded);
    if (differences && !c->no_differences) grad_compare_differences(c, &planned);
    for (int i = 0; i < 3; i++) grad_graph_free(all[i]);
}

static inline __attribute__((unused)) void grad_check(const struct grad_case *c) {
    static const char *const tables[] = {"generic", "avx2", "avx512"};
    const char *before = cpu_kernels_name();
    for (int i = 0; i < 3; i++)
        if (cpu_kernels_choose(tables[i])) grad_check_table(c, strcmp(tables[i], before) == 0);
    cpu_kernels_choose(before);
}

#endif
