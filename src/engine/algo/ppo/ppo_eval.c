// Evaluation of a PPO agent: whole episodes with fixed quotas, and what they say.
#include "engine/algo/ppo/ppo_eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/algo/ppo/ppo_stats.h"

struct play {
    const struct ppo_eval_opts *o;
    struct ppo_eval_episode *episodes;
    size_t stack_bytes;
    uint8_t *frames, *fresh, *active; // newest frame, episode begins, still has episodes
    uint8_t **slots;
    int32_t *actions;
    int64_t *current; // episode that each environment plays
    struct env_step_result *results;
    uint64_t tick;
};

// The stack of environment i takes its newest frame.
static void show(struct play *p, int i) {
    uint8_t *stack = ppo_stacks(p->o->agent) + (size_t)i * p->stack_bytes;
    const size_t n = ENV_OBS_BYTES;
    if (p->fresh[i])
        for (size_t at = 0; at < p->stack_bytes; at += n) memcpy(stack + at, p->slots[i], n);
    else
        memmove(stack, stack + n, p->stack_bytes - n);
    memcpy(stack + p->stack_bytes - n, p->slots[i], n);
}

static void choose(struct play *p) {
    const int64_t n = ppo_options(p->o->agent)->dims.n_actions;
    real log_probs[PPO_MAX_ACTIONS];
    ppo_evaluate(p->o->agent);
    for (int i = 0; i < p->o->env->n_envs; i++) {
        const real *logits = ppo_logits(p->o->agent) + i * n;
        ppo_log_softmax(logits, n, log_probs);
        const float u = rng_uniform(p->o->seed, RNG_EVAL_ACTION, p->tick, (uint32_t)i);
        p->actions[i] = p->o->greedy ? ppo_greedy(logits, n) : ppo_sample(log_probs, n, u);
    }
    p->tick++;
}

static void take(struct play *p, int i) {
    struct ppo_eval_episode *e = &p->episodes[p->current[i]];
    const struct env_step_result *r = &p->results[i];
    e->total_reward += (double)r->reward;
    e->steps++;
    e->distance = r->distance;
    e->success = r->terminated;
    p->fresh[i] = r->terminated || r->truncated;
    if (!p->fresh[i]) return;
    p->current[i] += p->o->env->n_envs;
    p->active[i] = p->current[i] < p->o->n_episodes;
    p->fresh[i] = p->active[i];
}

static bool any(const uint8_t *x, int n) { return memchr(x, 1, (size_t)n) != NULL; }

void ppo_eval_play(const struct ppo_eval_opts *o, struct ppo_eval_episode *episodes) {
    const int n = o->env->n_envs;
    CHECK(n <= ppo_options(o->agent)->n_envs, "%d environments, the agent acts in %lld", n,
          (long long)ppo_options(o->agent)->n_envs);
    struct play p = {.o = o,
                     .episodes = episodes,
                     .stack_bytes = (size_t)ppo_options(o->agent)->dims.stack * ENV_OBS_BYTES};
    p.frames = mem_alloc((size_t)n * ENV_OBS_BYTES);
    p.fresh = mem_alloc((size_t)n);
    p.active = mem_alloc((size_t)n);
    p.slots = mem_alloc((size_t)n * sizeof *p.slots);
    p.actions = mem_alloc((size_t)n * sizeof *p.actions);
    p.current = mem_alloc((size_t)n * sizeof *p.current);
    p.results = mem_alloc((size_t)n * sizeof *p.results);
    memset(episodes, 0, (size_t)o->n_episodes * sizeof *episodes);
    for (int i = 0; i < n; i++) {
        p.slots[i] = p.frames + (size_t)i * ENV_OBS_BYTES;
        p.current[i] = i;
        p.fresh[i] = p.active[i] = i < o->n_episodes;
    }
    while (any(p.active, n)) {
        env_reset(o->env, p.fresh, p.slots);
        for (int i = 0; i < n; i++) show(&p, i);
        memset(p.fresh, 0, (size_t)n);
        choose(&p);
        env_step(o->env, p.active, p.actions, p.slots, p.results);
        for (int i = 0; i < n; i++)
            if (p.active[i]) take(&p, i);
    }
    void *const owned[] = {p.frames, p.fresh, p.active, p.slots, p.actions, p.current, p.results};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

struct ppo_eval_report ppo_eval_report(const struct ppo_eval_episode *episodes, int64_t n) {
    double *steps = mem_alloc((size_t)(n + 1) * sizeof *steps),
           *distances = mem_alloc((size_t)(n + 1) * sizeof *distances);
    double good = 0, bad = 0;
    struct ppo_eval_report r = {.episodes = n};
    for (int64_t i = 0; i < n; i++) {
        if (episodes[i].success) steps[r.successes++] = (double)episodes[i].steps;
        *(episodes[i].success ? &good : &bad) += episodes[i].total_reward;
        distances[i] = (double)episodes[i].distance;
    }
    r.success_rate = n ? (double)r.successes / (double)n : NAN;
    r.median_steps = stats_lower_median(steps, r.successes);
    r.mean_return = n ? (good + bad) / (double)n : NAN;
    r.return_mean_success = r.successes ? good / (double)r.successes : NAN;
    r.return_mean_fail = n > r.successes ? bad / (double)(n - r.successes) : NAN;
    r.distance_p50 = stats_lower_median(distances, n);
    free(steps);
    free(distances);
    return r;
}
