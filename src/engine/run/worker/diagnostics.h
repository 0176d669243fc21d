// Diagnostics: numbers that show a sick run early: how far an update moves the weights, and how
// many classes the latent uses.
//
//     struct update_probe probe;
//     update_probe_init(&probe, params);
//     update_probe_before(&probe);  ... one update ...  double ratio = update_probe_ratio(&probe);
//     struct latent_usage u = latent_usage(states.z, states.rows, S, D, counts);
//     update_probe_deinit(&probe);
//
// The ratio is |w_after - w_before| / |w_after| over a fixed, evenly spread sample of the weights,
// so it holds for every optimiser and costs nothing beside an update. About 1e-3 is healthy; 1e-1
// tears the weights apart, 1e-6 does not learn. Nothing here allocates but init. Deterministic.
#ifndef RUN_DIAGNOSTICS_H
#define RUN_DIAGNOSTICS_H

#include "engine/graph/params.h"

enum { UPDATE_PROBE_SAMPLES = 8192 };

struct update_probe {
    const struct params *params; // borrowed
    int64_t n, stride;
    real *before; // [n]
};
void update_probe_init(struct update_probe *p, const struct params *params); // allocated ones
void update_probe_deinit(struct update_probe *p);                            // zeroed is fine
void update_probe_before(struct update_probe *p);
// 0 where all sampled weights are 0.
double update_probe_ratio(const struct update_probe *p);

// Of sampled latents z [rows, stochastic * discrete], one-hot per categorical; means over the
// categoricals. `counts` is scratch, [discrete].
struct latent_usage {
    double classes;    // share of the classes that were drawn at all, 0..1
    double perplexity; // exp(entropy) of how often each was drawn, 1 (one class) .. discrete
};
struct latent_usage latent_usage(const real *z, int64_t rows, int64_t stochastic, int64_t discrete,
                                 int64_t *counts);

#endif
