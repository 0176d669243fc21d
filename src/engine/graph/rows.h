// Row kernels: elementwise functions, categoricals and losses, one table per instruction set
// (kernels.h: kernels.rows).
//
// A kernel does its rows on the calling thread; callers cut long inputs by shape. `add` true: adds
// to the output, else writes it. Formulas: spec/dreamer_v3.md 1.1, 3, 4 and Appendix A.
#ifndef GRAPH_ROWS_H
#define GRAPH_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/real.h"

struct gru_dx {
    const real *y, *h, *dout;
    real *dy, *dh;
    bool add_dy, add_dh;
};             // dy, dh may be NULL
struct kl_dx { // d_* may be NULL
    const real *post, *prior, *dy;
    real *d_post, *d_prior;
    bool add_post, add_prior;
    real w_dyn, w_rep, free_nats;
};

struct kernels_rows {
    // ---- n elements
    void (*add)(int64_t n, const real *a, const real *b, real *y);
    void (*mul)(int64_t n, const real *a, const real *b, real *y, bool add);
    void (*affine)(int64_t n, const real *x, real scale, real shift, real *y, bool add);
    void (*tanh)(int64_t n, const real *x, real *y);
    void (*tanh_dx)(int64_t n, const real *y, const real *dy, real *dx, bool add);
    void (*sigmoid)(int64_t n, const real *x, real *y);
    void (*sigmoid_dx)(int64_t n, const real *y, const real *dy, real *dx, bool add);
    void (*symlog)(int64_t n, const real *x, real *y);
    void (*symlog_dx)(int64_t n, const real *x, const real *dy, real *dx, bool add);
    void (*less)(int64_t n, const real *x, real threshold, real *y);
    void (*log_clamped)(int64_t n, const real *m, real *y);
    real (*sum)(int64_t n, const real *x);
    void (*bce)(int64_t n, const real *logits, const real *target, real *y);
    void (*bce_dx)(int64_t n, const real *logits, const real *target, const real *dy, real *dx,
                   bool add);
    void (*unpack2)(int64_t n_bytes, const uint8_t *packed, real *out);
    // packed [depth][n_bytes] -> out [4 n_bytes][depth]
    void (*unpack_stack)(int64_t depth, int64_t n_bytes, const uint8_t *packed, real *out);
    // ---- rows of the recurrent state; y [rows, 3 * width], h and out [rows, width]
    void (*gru_gates)(int64_t rows, int64_t width, const real *y, const real *h, real *out);
    void (*gru_gates_dx)(int64_t rows, int64_t width, const struct gru_dx *d);
    // out = (1 - f) a + f b, b_row 0: one row of b for all; b NULL: zero
    void (*blend)(int64_t rows, int64_t width, const real *f, const real *a, const real *b,
                  int64_t b_row, real *out);
    // dx_i (+)= (f_i or 1 - f_i) dy_i
    void (*blend_dx)(int64_t rows, int64_t width, const real *f, bool one_minus, const real *dy,
                     real *dx, bool add);
    // dx[width] (+)= sum_i f_i dy_i
    void (*blend_sum)(int64_t rows, int64_t width, const real *f, const real *dy, real *dx,
                      bool add);
    // ---- rows are categoricals of n classes
    void (*unimix)(int64_t rows, int64_t n, const real *logits, real mix, real *m);
    void (*unimix_dx)(int64_t rows, int64_t n, const real *m, real mix, const real *dm, real *dx,
                      bool add);
    void (*sample)(int64_t rows, int64_t n, const real *m, const real *u, real *z);
    void (*mode)(int64_t rows, int64_t n, const real *m, real *z);
    // ---- where rows of n elements are 1: index [rows][limit + 1], the number of ones, then their
    // places in order. limit + 1 stands in place of the number where there are more, or one is
    // neither 0 nor 1; the places are then not all set.
    void (*ones)(int64_t rows, int64_t n, int64_t limit, const real *x, int32_t *index);
    // ---- y [columns, rows] (+)= x [rows, columns] transposed
    void (*transpose)(int64_t rows, int64_t columns, const real *x, real *y, bool add);
    // ---- one number per row of n elements
    void (*square_error)(int64_t rows, int64_t n, const real *x, const real *target, real *y);
    void (*square_error_dx)(int64_t rows, int64_t n, const real *x, const real *target,
                            const real *dy, real *dx, bool add);
    // real_space: the bins lie there, else in symlog space
    void (*twohot_nll)(int64_t rows, int64_t n, const real *logits, const real *target,
                       const real *bins, bool real_space, real *y);
    void (*twohot_nll_dx)(int64_t rows, int64_t n, const real *logits, const real *target,
                          const real *bins, bool real_space, const real *dy, real *dx, bool add);
    void (*twohot_mean)(int64_t rows, int64_t n, const real *logits, const real *bins,
                        bool real_space, real *y);
    void (*twohot_mean_dx)(int64_t rows, int64_t n, const real *logits, const real *bins,
                           bool real_space, const real *dy, real *dx, bool add);
    void (*kl)(int64_t rows, int64_t n, const real *post, const real *prior, real *y);
    void (*kl_balanced_dx)(int64_t rows, int64_t n, const struct kl_dx *d);
    void (*entropy)(int64_t rows, int64_t n, const real *m, real *y);
    void (*entropy_dx)(int64_t rows, int64_t n, const real *m, const real *dy, real *dx, bool add);
    void (*log_prob)(int64_t rows, int64_t n, const real *m, const real *z, real *y);
    void (*log_prob_dx)(int64_t rows, int64_t n, const real *m, const real *z, const real *dy,
                        real *dx, bool add);
};

#endif
