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

// ---- a share of a batch

// Of the batch's rows, or of the environments'.
static bool is_of_the_rows(enum rng_purpose purpose) {
    return purpose == RNG_POSTERIOR || purpose == RNG_PRIOR || purpose == RNG_ACTOR ||
           purpose == RNG_ACTOR_NORMAL || purpose == RNG_PLAYER_POSTERIOR ||
           purpose == RNG_PLAYER_ACTION || purpose == RNG_PLAYER_NORMAL;
}

static void fill_share(void *ctx, struct tensor *t, enum rng_purpose purpose, int64_t step) {
    const struct noise_share *s = ctx;
    const int64_t width = t->n_elements / t->shape[0];
    const bool whole = !is_of_the_rows(purpose); // the same on all ranks
    const bool normal = purpose == RNG_ACTOR_NORMAL || purpose == RNG_PLAYER_NORMAL;
    CHECK(whole || t->shape[0] % s->n == 0, "%s: no rows of %lld sequences", t->name,
          (long long)s->n);
    real *u = t->data;
    for (int64_t row = 0; row < t->shape[0]; row++) {
        const int64_t there = whole ? row : row / s->n * s->all + s->first + row % s->n;
        CHECK((there + 1) * width <= UINT32_MAX, "%s: too many numbers for one step", t->name);
        for (int64_t k = 0; k < width; k++) {
            const uint32_t index = (uint32_t)(there * width + k);
            u[row * width + k] =
                normal ? (real)noise_normal(s->seed, purpose, step, index)
                       : (real)rng_uniform(s->seed, (uint32_t)purpose, (uint64_t)step, index);
        }
    }
}

void noise_share_init(struct noise_share *s, uint64_t seed, int64_t first, int64_t n, int64_t all) {
    *s = (struct noise_share){{fill_share, s}, seed, first, n, all};
}
