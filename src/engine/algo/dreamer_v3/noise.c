// Noise: uniforms of a Philox stream, or of a given source, written into a graph's input.
#include "engine/algo/dreamer_v3/noise.h"

#include <math.h>

#include "base/error.h"

void noise_fill(const struct noise_source *source, struct tensor *t, uint64_t seed,
                enum rng_purpose purpose, int64_t step) {
    real *u = t->data;
    if (source) {
        source->fill(source->ctx, t, purpose, step);
        return;
    }
    CHECK(t->n_elements <= UINT32_MAX, "%s: too many uniforms for one step", t->name);
    for (int64_t i = 0; i < t->n_elements; i += 4) {
        struct philox block =
            rng_block(seed, (uint32_t)purpose, (uint64_t)step, (uint32_t)(i >> 2));
        for (int64_t k = 0; k < 4 && i + k < t->n_elements; k++)
            u[i + k] = (real)rng_to_uniform(block.v[k]);
    }
}

// One block gives two pairs, so elements 2i and 2i + 1 share one.
double noise_normal(uint64_t seed, enum rng_purpose purpose, int64_t step, uint32_t index) {
    static const double two_pi = 6.283185307179586;
    struct philox r = rng_block(seed, (uint32_t)purpose, (uint64_t)step, index >> 1);
    const int pair = 2 * (index & 1);
    const double u = (r.v[pair] + 0.5) * 0x1p-32, angle = two_pi * (r.v[pair + 1] * 0x1p-32);
    return sqrt(-2 * log(u)) * cos(angle);
}

void noise_fill_normal(const struct noise_source *source, struct tensor *t, uint64_t seed,
                       enum rng_purpose purpose, int64_t step) {
    real *x = t->data;
    if (source) {
        source->fill(source->ctx, t, purpose, step);
        return;
    }
    CHECK(t->n_elements <= UINT32_MAX, "%s: too many numbers for one step", t->name);
    for (int64_t i = 0; i < t->n_elements; i++)
        x[i] = (real)noise_normal(seed, purpose, step, (uint32_t)i);
}
