// Optimiser kernels of the device library: gradient norm, clipping, Adam, following a target.
//
//     optim_norm(g, grads, max_norm, scalars);
//     optim_adam(g, &adam, grads, m, v, w, scalars, state);
//
// `scalars` [OPTIM_SCALARS] doubles of device memory: the norm, the clip factor, Adam's numbers of
// this step, and behind them the partial sums. `state` [STATE_SIZE] integers: the program's step,
// and whether it has failed; n 0: no program, the numbers come from struct optim_adam.
#ifndef GPU_OPTIM_H
#define GPU_OPTIM_H

#include "gpu/gpu.h"

enum { OPTIM_NORM, OPTIM_CLIP, OPTIM_STEP, OPTIM_ROOT, OPTIM_FIRST_SLICE };
static const int64_t optim_scalars = sum_slices_max + OPTIM_FIRST_SLICE;
enum { STATE_STEP, STATE_FAILED, STATE_SIZE }; // failed: 1 + the command's place; 0: fine

void optim_set(struct gpu *g, buf<double> to, double value); // all of it
void optim_norm(struct gpu *g, buf<const real> grads, double max_norm, buf<double> scalars);
struct optim_adam {
    double learning_rate, beta1, beta2, eps;
    double correction1, correction2; // where there is no state
    buf<const double> scale;         // [1] times the learning rate; n 0: nothing
};
void optim_adam(struct gpu *g, const struct optim_adam *o, buf<const real> grads, buf<real> moment1,
                buf<real> moment2, buf<real> weights, buf<double> scalars,
                buf<const int64_t> state);
// LaProp (spec/dreamer_v3.md 7.2; the formulas of src/engine/nn/optim.h): the set in pieces that
// lie in one tensor each. `sums` [2 n_pieces].
struct optim_piece {
    int64_t first, n;
    int32_t tensor_first, tensor_n; // the tensor's pieces
};
enum { OPTIM_PIECE = 16384 };
struct optim_laprop {
    double learning_rate, beta1, beta2, eps, agc;
    int64_t warmup;
};
void optim_laprop(struct gpu *g, const struct optim_laprop *o, buf<const struct optim_piece> pieces,
                  buf<double> sums, buf<const real> grads, buf<real> moment1, buf<real> moment2,
                  buf<real> weights, buf<double> scalars, buf<const int64_t> state);
// target = tau source + (1 - tau) target where the step is a multiple of `every`; a copy at step 0
void optim_track(struct gpu *g, buf<const real> source, double tau, int64_t every, buf<real> target,
                 buf<const int64_t> state);

// One Adam step on arrays of the host as engine/nn/optim.h has it: everything to the device and
// back. False: message says why.
bool gpu_adam(struct backend_adam *a, char *message, size_t size);

#endif
