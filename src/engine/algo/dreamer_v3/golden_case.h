// One parity check in the making: a graph fed from a golden fixture, whose values and gradients are
// compared with it.
//
//     static void layer_norm(struct golden_case *c) {
//         case_param(c, "weight", "norm.weight");                     // all parameters first
//         case_param(c, "bias", "norm.bias");
//         case_begin(c);
//         struct tensor *x = case_input(c, "x", 2, (int64_t[]){7, 12});
//         struct tensor *y = nn_norm(&c->nn, "norm", x, 1e-3, ACT_NONE);
//         case_value(c, "y", y);
//         case_upstream(c, y, "dy");                                  // loss += sum(y * dy)
//         case_gradient(c, "dx", x);
//         case_param_gradient(c, "dweight", "norm.weight");
//         case_run(c); // fills, runs, compares everything
//     }
//
// The first difference or missing tensor is kept in c->error and everything after it does nothing.
// A case may be begun again for the next part of a fixture. Formats: tests/golden/README.md.
#ifndef ALGO_DREAMER_V3_GOLDEN_CASE_H
#define ALGO_DREAMER_V3_GOLDEN_CASE_H

#include "engine/algo/dreamer_v3/wm_net.h"
#include "engine/data/golden.h"
#include "engine/nn/optim.h"

enum { CASE_MAX_FILLS = 64, CASE_MAX_CHECKS = 512 };

enum case_kind { CASE_VALUE, CASE_GRADIENT, CASE_CLASS, CASE_PAIRS };
struct case_check {
    char name[ST_NAME_SIZE]; // fixture tensor
    enum case_kind kind;
    struct tensor **tensors; // their values one after the other
    int n_tensors;
    int64_t n_classes;    // CASE_CLASS
    struct tensor *right; // CASE_PAIRS
};

struct golden_case {
    struct golden_fixture *fixture;
    const struct golden *golden; // for other fixtures (the bins of F05)
    const char *code;
    struct error error;
    bool failed;
    struct params params;
    struct graph *graph;
    struct executor *executor;
    // on graph and params; its probe compares "layer.<submodule>"
    struct nn nn;
    struct tensor *loss;
    struct {
        struct tensor *tensor;
        const struct golden_tensor *from;
    } fills[CASE_MAX_FILLS];
    int n_fills, n_checks;
    bool *compared; // [golden_tensor_count(fixture)]
    struct case_check checks[CASE_MAX_CHECKS];
    struct pool *pool;
};

void case_fail(struct golden_case *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// NULL and failed if absent
const struct golden_tensor *case_tensor(struct golden_case *c, const char *name);
// the same; n elements
const real *case_reals(struct golden_case *c, const char *name, int64_t n);
// 1 where there is no such
int64_t case_dim(struct golden_case *c, const char *name, int dim);

// ---- parameters: before case_begin
// shape and values of the fixture
void case_param(struct golden_case *c, const char *from, const char *name);
// all "<prefix>X" as X
void case_params(struct golden_case *c, const char *prefix);
// values for all that are registered: exactly these must be there
void case_load_params(struct golden_case *c, const char *prefix);
// params are allocated; a new graph
void case_begin(struct golden_case *c);

// ---- building
// wants a gradient
struct tensor *case_input(struct golden_case *c, const char *name, int n_dims,
                          const int64_t *shape);
struct tensor *case_image(struct golden_case *c, const char *name, int64_t n, int64_t channels,
                          int64_t height,
                          // [n][c][y][x] as NHWC
                          int64_t width);
// NHWC as [n][c*y*x]
struct tensor *case_flat(struct golden_case *c, struct tensor *image);
// the reference's, F05
void case_bins(struct golden_case *c, struct tensor *bins);
void case_value(struct golden_case *c, const char *name, struct tensor *t);
void case_values(struct golden_case *c, const char *name, struct tensor *const *t, int n);
// arg-max
void case_classes(struct golden_case *c, const char *name, struct tensor *const *z, int n,
                  int64_t n_classes);
// [left, right] row by row, left being n tensors one after the other.
void case_pairs(struct golden_case *c, const char *name, struct tensor *const *left, int n,
                struct tensor *right);
void case_gradient(struct golden_case *c, const char *name, struct tensor *input);
void case_param_gradient(struct golden_case *c, const char *name, const char *param);
// "<prefix>X" for every parameter X
void case_param_gradients(struct golden_case *c, const char *prefix);
// loss += sum(y * name)
void case_upstream(struct golden_case *c, struct tensor *y, const char *name);
void case_upstream_tensor(struct golden_case *c, struct tensor *y, struct tensor *dy);
void case_add_loss(struct golden_case *c, struct tensor *loss); // [1]

// ---- running. case_run is the three together.
// gradients, plan, fill the inputs
void case_plan(struct golden_case *c);
void case_execute(struct golden_case *c);
void case_compare(struct golden_case *c);
void case_run(struct golden_case *c);
// a value made outside the graph
void case_match(struct golden_case *c, const char *name, const real *x, int64_t n);
void case_match_f64(struct golden_case *c, const char *name, const double *x, int64_t n);
// ---- parameter sets of the check's own (names are the fixture's behind the prefix)
// Values of those that the fixture has; with `all` a missing one is a failure. Returns how many.
int case_load_set(struct golden_case *c, struct params *p, const char *prefix, bool all);
void case_gradients(struct golden_case *c, const struct params *p, const char *prefix);
// After a run: "grad.X", the norm and clip_coefficient; then Adam's first step and "after.X" where
// the gradient is not rounding noise (spec 10.2, G37).
void case_update(struct golden_case *c, struct params *p, const struct optim_opts *adam,
                 const char *norm_name);

// frees graph and parameters
void case_end(struct golden_case *c);

#endif
