// PPO's steps on the device: what the network sees, which action it takes, what the machines made
// of it (engine/algo/ppo/collect.c does the same on the CPU).
#include "base/fmath.h"
#include "base/philox.h"
#include "gpu/rollout.h"

// ---- stacks

DEVICE_FUNCTION int64_t step_of(const struct rollout_arrays *a, buf<const int64_t> state) {
    return state[STATE_STEP] % a->n_steps;
}

// Before a rollout's first step: the newest frames become its first ones, its sums are empty. Rows
// go in their order: with few steps they overlap.
__global__ void open_kernel(struct rollout_arrays a, buf<const int64_t> state) {
    if (step_of(&a, state) != 0) return;
    EACH(c, a.n_envs * OBS_WORDS) {
        for (int64_t k = 0; k < a.stack; k++)
            a.frames[k * a.n_envs * OBS_WORDS + c] =
                (uint32_t)a.frames[(k + a.n_steps) * a.n_envs * OBS_WORDS + c];
    }
    EACH(i, a.n_envs) {
        for (int64_t k = 0; k < a.stack; k++)
            a.ages[k * a.n_envs + i] = (int32_t)a.ages[(k + a.n_steps) * a.n_envs + i];
        for (int64_t k = 0; k < N_ROLLOUT_TALLIES; k++) a.tallies[k * a.n_envs + i] = 0;
        for (int64_t k = 0; k < a.n_finals; k++) a.finals_t[k * a.n_envs + i] = -1;
        a.n_cut[i] = 0;
    }
}

#ifndef STEP_SEEN // the tests break it
#define STEP_SEEN(t) (t)
#endif

// t < 0: the program's step.
__global__ void look_kernel(struct rollout_arrays a, int64_t t, buf<const int64_t> state,
                            buf<uint32_t> stacks) {
    const int64_t now = t < 0 ? step_of(&a, state) : t;
    EACH(c, stacks.n) {
        const int64_t w = c % OBS_WORDS, k = c / OBS_WORDS % a.stack, i = c / OBS_WORDS / a.stack;
        stacks[c] = rollout_word(&a, STEP_SEEN(now), i, k, w);
    }
}

void rollout_look(struct device_rollout *r, struct gpu *g, buf<const int64_t> state) {
    LAUNCH(g, open_kernel, blocks_for(r->a.n_envs * OBS_WORDS), THREADS, r->a, state);
    LAUNCH(g, look_kernel, blocks_for(r->g.act_stacks.n), THREADS, r->a, (int64_t)-1, state,
           r->g.act_stacks);
}

void rollout_look_at(struct device_rollout *r, struct gpu *g, int64_t t) {
    LAUNCH(g, look_kernel, blocks_for(r->g.act_stacks.n), THREADS, r->a, t,
           buf_make((const int64_t *)0, 0), r->g.act_stacks);
}

// ---- actions: a thread an environment

// The first index whose cumulative probability exceeds u; the last where rounding leaves none.
DEVICE_FUNCTION int32_t sample_of(buf<const real> logits, int64_t first, int64_t n, real shift,
                                  float u, double *entropy) {
    double sum = 0;
    int32_t chosen = -1;
    for (int64_t k = 0; k < n; k++) {
        const double log_p = (double)(real)(logits[first + k] - shift), p = exp(log_p);
        *entropy -= p * log_p;
        sum += p;
        if (chosen < 0 && sum > (double)u) chosen = (int32_t)k;
    }
    return chosen < 0 ? (int32_t)n - 1 : chosen;
}

__global__ void choose_kernel(struct rollout_arrays a, buf<const real> logits,
                              buf<const real> values, uint64_t seed, buf<const int64_t> state,
                              buf<int32_t> orders) {
    const int64_t t = step_of(&a, state);
    EACH(i, a.n_envs) {
        const int64_t first = i * a.n_actions, cell = t * a.n_envs + i;
        real largest = logits[first], sum = 0;
        for (int64_t k = 1; k < a.n_actions; k++) {
            const real v = logits[first + k];
            largest = v > largest ? v : largest;
        }
        for (int64_t k = 0; k < a.n_actions; k++) sum += fast_exp(logits[first + k] - largest);
        const real shift = largest + fast_log(sum);
        const float u =
            rng_uniform(seed, RNG_PPO_ACTION, (uint64_t)(int64_t)state[STATE_STEP], (uint32_t)i);
        double entropy = 0;
        const int32_t action = sample_of(logits, first, a.n_actions, shift, u, &entropy);
        a.actions[cell] = action;
        a.log_probs[cell] = logits[first + action] - shift;
        a.values[cell] = values[i];
        a.tallies[ENTROPIES * a.n_envs + i] += entropy;
        orders[i] = action;
    }
}

void rollout_choose(struct device_rollout *r, struct gpu *g, buf<const int64_t> state) {
    LAUNCH(g, choose_kernel, blocks_for(r->a.n_envs), THREADS, r->a, r->g.logits, r->g.values,
           r->opts.seed, state, r->opts.machines->orders);
}

// ---- what the machines made of them

// The last frame of an episode that only the time limit ended, for its value.
__global__ void keep_kernel(struct rollout_arrays a, struct machine_results m) {
    EACH(c, a.n_envs * OBS_WORDS) {
        const int64_t i = c / OBS_WORDS, k = a.n_cut[i];
        const uint32_t f = m.flags[i];
        if (!(f & FLAG_TRUNCATED) || (f & FLAG_TERMINATED) || k >= a.n_finals) continue;
        a.finals[k * a.n_envs * OBS_WORDS + c] = (uint32_t)m.frames[c];
    }
}

DEVICE_FUNCTION void end_episode(const struct rollout_arrays *a, int64_t i, int64_t t, uint32_t f) {
    const int64_t n = a->n_envs, k = a->n_cut[i];
    a->tallies[EPISODES * n + i] += 1;
    a->tallies[SUCCESSES * n + i] += f & FLAG_TERMINATED ? 1 : 0;
    a->tallies[RETURNS * n + i] += (double)a->episode[i];
    a->tallies[LENGTHS * n + i] += (double)a->episode[n + i];
    a->episode[i] = 0;
    a->episode[n + i] = 0;
    if ((f & FLAG_TERMINATED) || k >= a->n_finals) return;
    a->finals_t[k * n + i] = (int32_t)t;
    a->n_cut[i] = (int32_t)(k + 1);
}

// Row t; the machines' next orders.
__global__ void book_kernel(struct rollout_arrays a, struct machine_results m,
                            buf<const int64_t> state, buf<int32_t> orders) {
    const int64_t t = step_of(&a, state);
    EACH(i, a.n_envs) {
        const int64_t cell = t * a.n_envs + i;
        const uint32_t f = m.flags[i];
        const bool ended = (f & (FLAG_TERMINATED | FLAG_TRUNCATED)) != 0;
        const float reward = m.reward[i];
        a.rewards[cell] = reward;
        a.flags[cell] = f;
        a.distances[cell] = (float)m.distance[i];
        a.episode[i] += (double)reward;
        a.episode[a.n_envs + i] += 1;
        if (ended) end_episode(&a, i, t, f);
        orders[i] = ended ? (int32_t)DEVICE_RESET : (int32_t)DEVICE_REST;
    }
}

// The frames that step t + 1 sees.
__global__ void land_kernel(struct rollout_arrays a, buf<const uint32_t> frames,
                            buf<const int32_t> orders, buf<const int64_t> state) {
    const int64_t row = a.stack + step_of(&a, state);
    EACH(c, a.n_envs * OBS_WORDS) a.frames[row * a.n_envs * OBS_WORDS + c] = frames[c];
    EACH(i, a.n_envs) {
        int32_t age = 0;
        if (orders[i] != DEVICE_RESET) {
            age = a.ages[(row - 1) * a.n_envs + i] + 1;
            if (age > a.stack - 1) age = (int32_t)(a.stack - 1);
        }
        a.ages[row * a.n_envs + i] = age;
    }
}

void rollout_play(struct device_rollout *r, struct gpu *g, buf<const int64_t> state) {
    struct device_machines *m = r->opts.machines;
    machines_play(m, g);
    LAUNCH(g, keep_kernel, blocks_for(r->a.n_envs * OBS_WORDS), THREADS, r->a, m->results);
    LAUNCH(g, book_kernel, blocks_for(r->a.n_envs), THREADS, r->a, m->results, state, m->orders);
    machines_play(m, g);
    LAUNCH(g, land_kernel, blocks_for(r->a.n_envs * OBS_WORDS), THREADS, r->a,
           buf_make((const uint32_t *)m->results.frames.at, m->results.frames.n),
           buf_make((const int32_t *)m->orders.at, m->orders.n), state);
}
