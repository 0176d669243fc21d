// A PPO agent on the toy environment, ready to play and learn: what several tests begin with.
#ifndef TESTS_ALGO_PPO_TOY_RUN_H
#define TESTS_ALGO_PPO_TOY_RUN_H

#include "base/pool.h"
#include "engine/algo/ppo/collect.h"
#include "engine/env/toy.h"
#include "support/test.h"

struct run {
    struct pool *pool;
    struct env *env;
    struct ppo_rollout *rollout;
    struct ppo *agent;
    struct collect *collect;
};

static inline struct ppo_opts defaults(int64_t n_envs, int64_t n_steps) {
    return (struct ppo_opts){.n_envs = n_envs,
                             .n_steps = n_steps,
                             .epochs = 2,
                             .minibatches = 4,
                             .dims = {4, 7},
                             .loss = {0.1, 0.5, 0.01, 0},
                             .gamma = 0.99,
                             .lambda = 0.95,
                             .bootstrap = true,
                             .init = PPO_INIT_ORTHOGONAL,
                             .adam_eps = 1e-5,
                             .max_norm = 0.5,
                             .seed = 7};
}

static inline void run_open(struct run *r, const struct ppo_opts *o, int n_threads, int max_steps) {
    struct error e = {0};
    struct goal_rules rules = toy_rules;
    rules.max_steps = max_steps;
    r->pool = pool_new(n_threads);
    r->env = env_toy_new(&(struct env_toy_opts){.n_envs = (int)o->n_envs, .rules = &rules}, &e);
    r->rollout =
        ppo_rollout_new(&(struct ppo_rollout_opts){o->n_steps, o->n_envs, (int)o->dims.stack});
    r->agent = ppo_new(o, r->pool);
    r->collect = collect_new(r->agent, r->env, r->rollout);
    collect_begin(r->collect);
}

static inline void run_close(struct run *r) {
    collect_free(r->collect);
    ppo_free(r->agent);
    ppo_rollout_free(r->rollout);
    env_free(r->env);
    pool_free(r->pool);
}

static inline void play(struct run *r) {
    while (!ppo_rollout_is_full(r->rollout)) collect_step(r->collect);
    collect_finish(r->collect);
}

static inline void update(struct run *r, double rate, struct ppo_learned *l) {
    play(r);
    assert_true(ppo_learn(r->agent, r->rollout, rate, l));
    ppo_rollout_carry(r->rollout);
}

#endif
