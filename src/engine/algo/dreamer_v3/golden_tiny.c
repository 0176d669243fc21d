// The sizes of the whole-model fixtures, and their layouts.
#include "engine/algo/dreamer_v3/golden_tiny.h"

#include "base/error.h"

struct golden_tiny golden_tiny(void) {
    return golden_tiny_taking(&(struct action_space){.n_heads = 2, .classes = {5, 3}});
}

struct golden_tiny golden_tiny_taking(const struct action_space *actions) {
    struct golden_tiny t = {.actions = *actions};
    struct config *c = &t.config;
    CHECK(config_init(c, "micro", NULL), "the preset exists");
    c->stochastic_size = 4;
    c->discrete_size = 5;
    c->recurrent_size = 8;
    c->dense_units = c->recurrent_units = 6;
    c->transition_hidden = c->representation_hidden = 7;
    c->mlp_layers = 2;
    c->cnn_multiplier = 2;
    c->sequence_length = 6;
    c->batch_size = 3;
    c->horizon = 5;
    t.world = wm_dims_from_config(c, action_width(&t.actions));
    t.nets = ac_dims_from_config(c, &t.world, &t.actions);
    t.adam = (struct optim_opts){.learning_rate = c->actor_lr,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = c->actor_eps,
                                 .max_norm = c->actor_clip};
    return t;
}

void golden_tiny_heads(const real *from, real *to, int64_t n, int n_heads) {
    int64_t rows = n / n_heads;
    for (int64_t i = 0; i < n; i++) to[i % n_heads * rows + i / n_heads] = from[i];
}

void golden_tiny_classes(const real *one_hot, int64_t rows, int64_t classes, real *out,
                         int stride) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < classes; k++)
            if (one_hot[i * classes + k] == 1) out[i * stride] = (real)k;
}
