// Optimiser: gradient norm, clipping, Adam and LaProp over a flat parameter set, spread over the
// pool.
//
//     struct optim_opts opts = {.learning_rate = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
//                               .max_norm = 1000};
//     double norm = optim_step(&params, pool, &opts, ++step);
//     if (!isfinite(norm)) stop();     // nothing was changed
//
// Formulas: spec/dreamer_v3.md 7.1 (sheeprl's Adam and clip_grad_norm) and 7.2 (the official code's
// LaProp: adaptive clipping tensor by tensor, RMS, momentum, a rate that grows linearly at first).
// Gradients are read, never changed: the clip factor is applied on the fly. The split over the pool
// is fixed, so the bits don't depend on the threads.
#ifndef NN_OPTIM_H
#define NN_OPTIM_H

#include <stdint.h>

#include "base/pool.h"
#include "base/real.h"
#include "engine/graph/params.h"

enum optim_kind { OPTIM_ADAM, OPTIM_LAPROP };
struct optim_opts {
    double learning_rate, beta1, beta2, eps;
    double max_norm; // of the whole gradient; 0: no clipping
    enum optim_kind kind;
    // A tensor's gradient is at most this share of the tensor in norm, which counts as
    // OPTIM_AGC_FLOOR at least; 0: no clipping tensor by tensor.
    double agc;
    int64_t
        warmup; // steps until the full rate: step k has rate * min(1, (k - 1) / warmup); 0: none
};
#define OPTIM_AGC_FLOOR 1e-3
#define OPTIM_LAPROP_EPS 1e-20

// sqrt(sum x^2) in double. Not finite where an element is not (or is beyond 1e154).
double optim_norm(const real *x, int64_t n, struct pool *pool);

// The factor for every gradient: min(1, max_norm / (norm + 1e-6)); 1 where max_norm is 0.
double optim_clip(double norm, double max_norm);

// The factor for the gradient of one tensor: norms of the gradient and of the tensor.
double optim_agc(double gradient_norm, double norm, double agc);
// The learning rate of step 1, 2, ...
double optim_rate(const struct optim_opts *opts, int64_t step);

// One step number `step` (1, 2, ...) on all of `p`. Returns the norm before clipping; where
// that is not finite, weights and moments stay as they are and the caller stops.
double optim_step(struct params *p, struct pool *pool, const struct optim_opts *opts, int64_t step);

// What the weights were before step number `step` of Adam, the last one made, into out [n_flat], to
// rounding. The moments before it cannot be had.
void optim_undo(const struct params *p, const struct optim_opts *opts, int64_t step, real *out);

// Moves a target network towards its source: target = tau source + (1 - tau) target, all weights;
// tau 1 copies them. The two sets have the same shapes in the same order (CHECK); moments and
// gradients are not touched (spec/dreamer_v3.md 5.6).
void optim_track(struct params *target, const struct params *source, double tau, struct pool *pool);

#endif
