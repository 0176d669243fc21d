// Noise: where the uniforms of a run come from.
//
//     noise_fill(NULL, u, seed, RNG_ACTOR, opt_steps); // Philox: element i is stream element i
//
// Without a source the numbers are those of (seed, purpose, step, index): the same whatever the
// thread count and the backend (base/philox.h). A source replaces them: parity checks give the
// recorded ones.
#ifndef ALGO_DREAMER_V3_NOISE_H
#define ALGO_DREAMER_V3_NOISE_H

#include "base/philox.h"
#include "engine/graph/graph.h"

struct noise_source {
    void (*fill)(void *ctx, struct tensor *u, enum rng_purpose purpose, int64_t step);
    void *ctx;
};

// A share of a batch whose rows [.., all] are spread over ranks: training's numbers are those that
// the whole batch's rows have. Sequences [first, first + n) of `all`; the rows of a tensor count
// them fastest. The same for a player: environments [first, first + n).
struct noise_share {
    struct noise_source source; // for the above
    uint64_t seed;
    int64_t first, n, all;
};
void noise_share_init(struct noise_share *s, uint64_t seed, int64_t first, int64_t n, int64_t all);

// Writes all of t, uniforms in [0, 1).
void noise_fill(const struct noise_source *source, struct tensor *t, uint64_t seed,
                enum rng_purpose purpose, int64_t step);
// The same with normal numbers; a source must give those for a purpose that is called normal.
void noise_fill_normal(const struct noise_source *source, struct tensor *t, uint64_t seed,
                       enum rng_purpose purpose, int64_t step);
// Element `index` of such a stream: Box-Muller on two uniforms of one Philox block.
double noise_normal(uint64_t seed, enum rng_purpose purpose, int64_t step, uint32_t index);

#endif
