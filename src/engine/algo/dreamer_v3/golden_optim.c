// Parity checks of the optimisers: Adam and clipping (F30), LaProp with clipping tensor by tensor
// (F50).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/algo/dreamer_v3/golden_case.h"
#include "engine/algo/dreamer_v3/golden_checks.h"
#include "engine/nn/optim.h"

enum { STEPS = 5, MAX_TENSORS = 4, MAX_VALUES = 28, RATES = 9 };
enum { THETA, MU, NU, UPDATE, HISTORIES };
static const char *const histories[HISTORIES] = {"theta", "mu", "nu", "update"};

struct optim_case {
    int n_tensors, n_values; // of all tensors together
    int64_t sizes[MAX_TENSORS];
};
static const struct optim_case adam_case = {3, 24, {7, 12, 5}},
                               laprop_case = {4, 28, {7, 12, 5, 4}};

// Values of all tensors to or from the slices of a flat buffer of the parameter set.
static void spread(const struct params *p, real *flat, const real *values) {
    for (int i = 0; i < p->n; values += p->list[i++].n_elements)
        memcpy(flat + p->list[i].offset, values, (size_t)p->list[i].n_elements * sizeof *values);
}
static void gather(const struct params *p, const real *flat, real *values) {
    for (int i = 0; i < p->n; values += p->list[i++].n_elements)
        memcpy(values, flat + p->list[i].offset, (size_t)p->list[i].n_elements * sizeof *values);
}

// Five steps; of the histories those are compared that `compared` names by bit.
static void match_optim(struct golden_case *c, const struct optim_case *o, const char *prefix,
                        const struct optim_opts *opts, unsigned compared) {
    const int n = o->n_values;
    const real *start = case_reals(c, "theta0", n), *grads = case_reals(c, "grad", STEPS * n);
    if (c->failed) return;
    real history[HISTORIES][STEPS * MAX_VALUES];
    for (int i = 0; i < o->n_tensors; i++)
        params_add(&c->params, (const char *[]){"a", "b", "c", "d"}[i], 1, &o->sizes[i]);
    params_allocate(&c->params);
    spread(&c->params, c->params.weights, start);
    for (int step = 0; step < STEPS; step++) {
        spread(&c->params, c->params.grads, grads + step * n);
        optim_step(&c->params, c->pool, opts, step + 1);
        gather(&c->params, c->params.weights, history[THETA] + step * n);
        gather(&c->params, c->params.moment1, history[MU] + step * n);
        gather(&c->params, c->params.moment2, history[NU] + step * n);
        // What is added: the weights themselves round far above it.
        const double rate = optim_rate(opts, step + 1) / (1 - pow(opts->beta1, step + 1));
        for (int i = step * n; i < (step + 1) * n; i++)
            history[UPDATE][i] = (real)(-rate * (double)history[MU][i]);
    }
    for (int i = 0; i < HISTORIES; i++) {
        char name[ST_NAME_SIZE];
        snprintf(name, sizeof name, "%s.%s", prefix, histories[i]);
        if (compared >> i & 1) case_match(c, name, history[i], STEPS * n);
    }
    case_end(c);
}

// ---- Adam

static void match_adam(struct golden_case *c, const char *prefix, double rate, double eps) {
    const struct optim_opts adam = {
        .learning_rate = rate, .beta1 = 0.9, .beta2 = 0.999, .eps = eps};
    match_optim(c, &adam_case, prefix, &adam, 1u << THETA | 1u << MU | 1u << NU);
}

static void match_clip(struct golden_case *c, const char *grad, const char *norm_name,
                       const char *clipped) {
    const real *g = case_reals(c, grad, 2);
    if (!g) return;
    double norm = optim_norm(g, 2, c->pool), clip = optim_clip(norm, 1000);
    case_match(c, norm_name, &(real){(real)norm}, 1);
    case_match(c, clipped, (real[]){(real)(g[0] * clip), (real)(g[1] * clip)}, 2);
}

void golden_adam(struct golden_case *c) {
    match_adam(c, "world", 1e-4, 1e-8);
    match_adam(c, "actor", 8e-5, 1e-5);
    match_clip(c, "clip_above.grad", "clip_above.norm", "clip_above.clipped");
    match_clip(c, "clip_below.grad", "clip_below.norm", "clip_below.clipped");
}

// ---- LaProp

static void match_laprop(struct golden_case *c, const char *prefix, double rate, int64_t warmup,
                         unsigned compared) {
    const struct optim_opts laprop = {.kind = OPTIM_LAPROP,
                                      .learning_rate = rate,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .eps = OPTIM_LAPROP_EPS,
                                      .agc = 0.3,
                                      .warmup = warmup};
    const struct golden_tensor *steps = case_tensor(c, "lr_step");
    match_optim(c, &laprop_case, prefix, &laprop, compared);
    if (!steps || c->failed) return;
    char name[ST_NAME_SIZE];
    real rates[RATES];
    for (int i = 0; i < RATES; i++)
        rates[i] = (real)optim_rate(&laprop, ((const int32_t *)steps->t->data)[i]);
    snprintf(name, sizeof name, "%s.lr", prefix);
    case_match(c, name, rates, RATES);
}

void golden_laprop_agc(struct golden_case *c) {
    match_laprop(c, "default", 4e-5, 1000, 1u << THETA | 1u << UPDATE);
    match_laprop(c, "fast", 1e-2, 2, 1u << THETA | 1u << UPDATE | 1u << MU | 1u << NU);
}
