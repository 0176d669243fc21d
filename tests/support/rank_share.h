// Batches for tests of ranks: a share of a batch, the same rows whoever fills them in.
#ifndef TESTS_SUPPORT_RANK_SHARE_H
#define TESTS_SUPPORT_RANK_SHARE_H

#include <string.h>

#include "base/philox.h"
#include "engine/algo/dreamer_v3/world_model.h"

// Sequences [first, first + b->batch) of update `step`'s batch of `whole` sequences; some begin
// anew in the middle, some steps end an episode.
static inline void fill_share(const struct wm_batch *b, uint64_t step, int first, int whole) {
    memset(b->prev_actions, 0, (size_t)(b->length * b->batch * b->n_actions) * sizeof(real));
    for (int t = 0; t < b->length; t++)
        for (int i = 0; i < b->batch; i++) {
            const int row = t * b->batch + i;
            const uint32_t there = (uint32_t)(t * whole + first + i);
            const uint32_t action = rng_below(5, RNG_TEST, step, there, (uint32_t)b->n_actions);
            if (t) b->prev_actions[row * b->n_actions + (int)action] = 1;
            for (int k = 0; k < WM_PACKED_BYTES; k++)
                b->packed[row * WM_PACKED_BYTES + k] =
                    (uint8_t)(rng_u32(6, RNG_TEST, step, there * 8 + (uint32_t)k / 200) >> 9);
            b->is_first[row] = t == 0 || (t == (b->length + 1) / 2 && there % 3 == 1);
            b->rewards[row] = (real)rng_uniform(6, RNG_TEST, step, there);
            b->continues[row] = there % 7 != 6;
        }
}

#endif
