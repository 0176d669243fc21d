// Noise: uniforms of a Philox stream, or of a given source, written into a graph's input.
#include "engine/algo/dreamer_v3/noise.h"

#include "base/error.h"
#include "base/normal.h"

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

double noise_normal(uint64_t seed, enum rng_purpose purpose, int64_t step, uint32_t index) {
    return rng_normal(seed, (uint32_t)purpose, (uint64_t)step, index);
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
