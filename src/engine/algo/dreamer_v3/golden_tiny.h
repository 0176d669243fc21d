// The sizes of the whole-model fixtures (tests/golden/README.md, "Tiny sizes"), and their layouts.
#ifndef ALGO_DREAMER_V3_GOLDEN_TINY_H
#define ALGO_DREAMER_V3_GOLDEN_TINY_H

#include "engine/algo/dreamer_v3/actor_critic.h"
#include "engine/nn/optim.h"

struct golden_tiny {
    struct config config;
    struct wm_dims world;
    struct action_space actions; // heads [5, 3]
    struct ac_dims nets;
    struct optim_opts adam; // of actor and critic
};
struct golden_tiny golden_tiny(void);
struct golden_tiny golden_tiny_taking(const struct action_space *actions); // others than [5, 3]

// Uniforms [rows][heads], as the fixtures have them, to [heads][rows], as our graphs take them.
void golden_tiny_heads(const real *from, real *to, int64_t n, int n_heads);
// Class of each of `rows` one-hot rows, written to out[i * stride].
void golden_tiny_classes(const real *one_hot, int64_t rows, int64_t classes, real *out, int stride);

#endif
