// Diagnostics: update-to-weight ratio and use of the latent's classes.
#include "engine/run/worker/diagnostics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void update_probe_init(struct update_probe *p, const struct params *params) {
    int64_t all = params->n_flat;
    p->params = params;
    // Odd, so that the sample does not stay in a few columns of the matrices.
    p->stride = ((all + UPDATE_PROBE_SAMPLES - 1) / UPDATE_PROBE_SAMPLES) | 1;
    p->n = (all + p->stride - 1) / p->stride;
    p->before = mem_alloc((size_t)p->n * sizeof *p->before);
}

void update_probe_deinit(struct update_probe *p) {
    free(p->before);
    *p = (struct update_probe){0};
}

void update_probe_before(struct update_probe *p) {
    for (int64_t i = 0; i < p->n; i++) p->before[i] = p->params->weights[i * p->stride];
}

double update_probe_ratio(const struct update_probe *p) {
    double moved = 0, size = 0;
    for (int64_t i = 0; i < p->n; i++) {
        double w = (double)p->params->weights[i * p->stride], d = w - (double)p->before[i];
        moved += d * d;
        size += w * w;
    }
    return size > 0 ? sqrt(moved / size) : 0;
}

struct latent_usage latent_usage(const real *z, int64_t rows, int64_t stochastic, int64_t discrete,
                                 int64_t *counts) {
    struct latent_usage u = {0};
    for (int64_t s = 0; s < stochastic; s++) {
        memset(counts, 0, (size_t)discrete * sizeof *counts);
        for (int64_t r = 0; r < rows; r++) {
            const real *one_hot = z + (r * stochastic + s) * discrete;
            for (int64_t k = 0; k < discrete; k++) counts[k] += one_hot[k] != 0;
        }
        double entropy = 0;
        int64_t used = 0;
        for (int64_t k = 0; k < discrete; k++) {
            double share = (double)counts[k] / (double)rows;
            if (counts[k] == 0) continue;
            used++;
            entropy -= share * log(share);
        }
        u.classes += (double)used / (double)discrete;
        u.perplexity += exp(entropy);
    }
    u.classes /= (double)stochastic;
    u.perplexity /= (double)stochastic;
    return u;
}
