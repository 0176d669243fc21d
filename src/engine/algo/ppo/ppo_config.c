// PPO's configuration: table, rules between keys, the options of the agent.
#include "engine/algo/ppo/ppo_config.h"

#include <string.h>

// clang-format off
static const struct config_key keys[] = {
#define INTEGER(field, key, value, range, help) {key, range, help, CONFIG_INTEGER, offsetof(struct ppo_config, field)},
#define DECIMAL(field, key, value, range, help) {key, range, help, CONFIG_DECIMAL, offsetof(struct ppo_config, field)},
#define SWITCH(field, key, value, allowed, help) {key, allowed, help, CONFIG_SWITCH, offsetof(struct ppo_config, field)},
#define CHOICE(field, key, value, allowed, help) {key, allowed, help, CONFIG_CHOICE, offsetof(struct ppo_config, field)},
    PPO_CONFIG_TABLE(INTEGER, DECIMAL, SWITCH, CHOICE)
#undef INTEGER
#undef DECIMAL
#undef SWITCH
#undef CHOICE
};
_Static_assert(sizeof keys / sizeof *keys <= 64, "given has one bit per key");
const struct config_schema ppo_config_schema = {keys, sizeof keys / sizeof *keys};

static const struct ppo_config defaults = {
#define INTEGER(field, key, value, range, help) .field = value,
#define DECIMAL(field, key, value, range, help) .field = value,
#define SWITCH(field, key, value, allowed, help) .field = value,
#define CHOICE(field, key, value, allowed, help) .field = value,
    PPO_CONFIG_TABLE(INTEGER, DECIMAL, SWITCH, CHOICE)
#undef INTEGER
#undef DECIMAL
#undef SWITCH
#undef CHOICE
};
// clang-format on

void ppo_config_init(struct ppo_config *c) { *c = defaults; }

bool ppo_config_set(struct ppo_config *c, const char *assignment, struct error *e) {
    int index;
    if (!config_schema_set(&ppo_config_schema, c, assignment, &index, e)) return false;
    c->given |= (uint64_t)1 << index;
    return true;
}

bool ppo_config_given(const struct ppo_config *c, const char *key) {
    return c->given >> config_schema_find(&ppo_config_schema, key) & 1;
}

static bool set(void *fields, const char *assignment, struct error *e) {
    return ppo_config_set(fields, assignment, e);
}

bool ppo_config_from_json(struct ppo_config *c, const char *text, size_t bytes, const char *source,
                          struct error *e) {
    struct ppo_config copy = *c;
    if (!config_schema_from_json(&ppo_config_schema, &copy, set, text, bytes, source, e))
        return false;
    copy.given = c->given;
    *c = copy;
    return true;
}

bool ppo_config_check(const struct ppo_config *c, struct error *e) {
    const int64_t samples = c->num_envs * c->rollout_steps;
    if (samples > INT32_MAX / 2)
        return error_set(e, STATUS_USAGE,
                         "env.num_envs=%lld x algo.rollout_steps=%lld are %lld samples: at most %d",
                         (long long)c->num_envs, (long long)c->rollout_steps, (long long)samples,
                         INT32_MAX / 2);
    if (samples % c->minibatches != 0)
        return error_set(e, STATUS_USAGE,
                         "algo.minibatches=%lld does not divide env.num_envs=%lld x "
                         "algo.rollout_steps=%lld = %lld "
                         "samples; choose one that does",
                         (long long)c->minibatches, (long long)c->num_envs,
                         (long long)c->rollout_steps, (long long)samples);
    if (samples == c->minibatches && strcmp(c->advantages, "minibatch") == 0)
        return error_set(
            e, STATUS_USAGE,
            "algo.normalize_advantages=minibatch: a minibatch of one sample has no spread");
    return true;
}

void ppo_config_opts(const struct ppo_config *c, int64_t n_actions, struct ppo_opts *out) {
    *out = (struct ppo_opts){
        .n_envs = c->num_envs,
        .n_steps = c->rollout_steps,
        .epochs = c->update_epochs,
        .minibatches = c->minibatches,
        .dims = {c->frame_stack, n_actions},
        .loss = {c->clip_coef, c->vf_coef, c->ent_coef, c->clip_vloss ? c->value_clip : 0},
        .gamma = c->gamma,
        .lambda = c->gae_lambda,
        .bootstrap = strcmp(c->truncation, "bootstrap") == 0,
        .advantages = strcmp(c->advantages, "batch") == 0       ? PPO_ADVANTAGES_BATCH
                      : strcmp(c->advantages, "minibatch") == 0 ? PPO_ADVANTAGES_MINIBATCH
                                                                : PPO_ADVANTAGES_RAW,
        .init = strcmp(c->init, "orthogonal") == 0 ? PPO_INIT_ORTHOGONAL : PPO_INIT_UNIFORM,
        .adam_eps = c->adam_eps,
        .max_norm = c->max_grad_norm,
        .target_kl = c->target_kl,
        .seed = (uint64_t)c->seed,
    };
}

double ppo_config_rate(const struct ppo_config *c, int64_t update, int64_t n_updates) {
    if (!c->anneal_lr || n_updates <= 0) return c->learning_rate;
    const double left = 1 - (double)update / (double)n_updates;
    return c->learning_rate * (left > 0 ? left : 0);
}
