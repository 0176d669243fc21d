// Profiles: the table, and each profile's optimiser.
#include "engine/algo/dreamer_v3/profile.h"

#include <string.h>

#include "base/error.h"

static const struct profile profiles[] = {
    {.name = "sheeprl"},
    {.name = "official",
     .norm = NN_RMS_NORM,
     .more_prior_layers = 1,
     .head_layers = 1,
     .block_core = true,
     .real_bins = true,
     .bounded_pixels = true,
     .zero_start = true,
     .plain_policy = true,
     .fan_in = true,
     .discounted_continues = true,
     .joint = true,
     .optim = OPTIM_LAPROP},
};

const struct profile *profile_of(const struct config *cfg) {
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
        if (strcmp(profiles[i].name, cfg->profile) == 0) return &profiles[i];
    CHECK(false, "no profile is named %s", cfg->profile);
    return NULL;
}

struct optim_opts profile_optim(const struct config *cfg, double learning_rate, double eps,
                                double max_norm) {
    const bool by_tensor = profile_of(cfg)->optim == OPTIM_LAPROP;
    return (struct optim_opts){.kind = profile_of(cfg)->optim,
                               .learning_rate = learning_rate,
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .eps = eps,
                               .max_norm = by_tensor ? 0 : max_norm,
                               .agc = cfg->agc,
                               .warmup = cfg->warmup};
}

struct program_adam profile_program(const struct optim_opts *o) {
    return (struct program_adam){.learning_rate = o->learning_rate,
                                 .beta1 = o->beta1,
                                 .beta2 = o->beta2,
                                 .eps = o->eps,
                                 .laprop = o->kind == OPTIM_LAPROP,
                                 .agc = o->agc,
                                 .warmup = o->warmup};
}
