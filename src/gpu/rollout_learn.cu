// PPO's full rollout on the device: values of last frames, advantages (engine/algo/ppo/gae.c),
// statistics, minibatches.
#include "gpu/block_sum.h"
#include "gpu/rollout.h"

enum { TERMS_AT = 0, FIRST_AT = PPO_N_TERMS, NORM_AT = 2 * PPO_N_TERMS, STEPS_AT, N_LEARNED };

// ---- values beyond the last step

__global__ void take_last_kernel(struct rollout_arrays a, buf<const real> values) {
    EACH(i, a.n_envs) a.last_values[i] = values[i];
}

void rollout_take_last(struct device_rollout *r, struct gpu *g) {
    LAUNCH(g, take_last_kernel, blocks_for(r->a.n_envs), THREADS, r->a, r->g.values);
}

// Where an environment has no such episode its row is empty; nobody takes its value.
__global__ void look_final_kernel(struct rollout_arrays a, int64_t which, buf<uint32_t> stacks) {
    EACH(c, stacks.n) {
        const int64_t w = c % OBS_WORDS, k = c / OBS_WORDS % a.stack, i = c / OBS_WORDS / a.stack;
        const int64_t cell = which * a.n_envs + i, t = a.finals_t[cell];
        uint32_t four = 0;
        if (t >= 0 && k == a.stack - 1)
            four = a.finals[cell * OBS_WORDS + w];
        else if (t >= 0)
            four = rollout_word(&a, t, i, k + 1, w); // it follows the stack of step t
        stacks[c] = four;
    }
}

void rollout_look_final(struct device_rollout *r, struct gpu *g, int which) {
    LAUNCH(g, look_final_kernel, blocks_for(r->g.act_stacks.n), THREADS, r->a, (int64_t)which,
           r->g.act_stacks);
}

__global__ void take_final_kernel(struct rollout_arrays a, int64_t which, buf<const real> values) {
    EACH(i, a.n_envs) {
        const int64_t t = a.finals_t[which * a.n_envs + i];
        if (t >= 0) a.final_values[t * a.n_envs + i] = values[i];
    }
}

void rollout_take_final(struct device_rollout *r, struct gpu *g, int which) {
    LAUNCH(g, take_final_kernel, blocks_for(r->a.n_envs), THREADS, r->a, (int64_t)which,
           r->g.values);
}

// ---- advantages: a thread an environment, backwards

__global__ void gae_kernel(struct rollout_arrays a, real gamma, real decay, bool bootstrap) {
    EACH(i, a.n_envs) {
        real next_value = a.last_values[i], next_advantage = 0;
        for (int64_t t = a.n_steps - 1; t >= 0; t--) {
            const int64_t c = t * a.n_envs + i;
            const uint32_t f = a.flags[c];
            const bool ended = (f & (FLAG_TERMINATED | FLAG_TRUNCATED)) != 0;
            real after = ended ? 0 : next_value;
            if (bootstrap && ended && !(f & FLAG_TERMINATED)) after = a.final_values[c];
            const real value = a.values[c], delta = a.rewards[c] + gamma * after - value;
            const real advantage = delta + (ended ? 0 : decay * next_advantage);
            a.advantages[c] = advantage;
            a.returns[c] = advantage + value;
            next_value = value;
            next_advantage = advantage;
        }
    }
}

// ---- statistics: a block a number

DEVICE_FUNCTION double quantity_of(const struct rollout_arrays *a, int which, int64_t c) {
    if (which == OF_ADVANTAGES) return (double)a->advantages[c];
    if (which == OF_VALUES) return (double)a->values[c];
    if (which == OF_RETURNS) return (double)a->returns[c];
    if (which == OF_REWARDS) return (double)a->rewards[c];
    return (double)a->returns[c] - (double)a->values[c];
}

__global__ void sums_kernel(struct rollout_arrays a, buf<double> sums) {
    double sum = 0;
    for (int64_t c = threadIdx.x; c < a.advantages.n; c += blockDim.x)
        sum += quantity_of(&a, (int)blockIdx.x, c);
    block_sum_to(sum, sums);
}

__global__ void squares_kernel(struct rollout_arrays a, buf<const double> sums,
                               buf<double> squares) {
    const double mean = sums[blockIdx.x] / (double)a.advantages.n;
    double sum = 0;
    for (int64_t c = threadIdx.x; c < a.advantages.n; c += blockDim.x) {
        const double d = quantity_of(&a, (int)blockIdx.x, c) - mean;
        sum += d * d;
    }
    block_sum_to(sum, squares);
}

DEVICE_FUNCTION bool is_counted(const struct rollout_arrays *a, int which, int64_t c) {
    const uint32_t f = a->flags[c];
    if (which >= N_ROLLOUT_COUNTS) return a->actions[c] == which - N_ROLLOUT_COUNTS;
    if (which == COUNT_DONE) return (f & FLAG_TERMINATED) != 0;
    if (which == COUNT_TRUNCATED) return (f & FLAG_TRUNCATED) != 0;
    if (which == COUNT_LOCKED) return (f & FLAG_LOCKED) != 0;
    return (f & (FLAG_TERMINATED | FLAG_TRUNCATED)) != 0;
}

__global__ void counts_kernel(struct rollout_arrays a, buf<double> counts) {
    double n = 0;
    for (int64_t c = threadIdx.x; c < a.flags.n; c += blockDim.x)
        n += is_counted(&a, (int)blockIdx.x, c) ? 1 : 0;
    block_sum_to(n, counts);
}

__global__ void tallies_kernel(struct rollout_arrays a, buf<double> tallies) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < a.n_envs; i += blockDim.x)
        sum += a.tallies[blockIdx.x * a.n_envs + i];
    block_sum_to(sum, tallies);
}

// What is told as it is; what the optimiser steps add to begins.
__global__ void tell_kernel(struct rollout_arrays a, struct rollout_graphs g) {
    EACH(i, a.n_envs) g.distances[i] = (float)a.distances[(a.n_steps - 1) * a.n_envs + i];
    EACH(w, OBS_WORDS)
    g.frame[w] = (uint32_t)a.frames[(a.stack - 1 + a.n_steps) * a.n_envs * OBS_WORDS + w];
    EACH(k, N_LEARNED) g.learned[k] = 0;
}

// (x - mean) / (std + 1e-8)
__global__ void normalize_kernel(buf<real> x, buf<const double> sum, buf<const double> squares,
                                 double divisor) {
    const double mean = sum[0] / (double)x.n, scale = 1 / (sqrt(squares[0] / divisor) + 1e-8);
    EACH(c, x.n) x[c] = (real)(((double)x[c] - mean) * scale);
}

static buf<const double> reading(buf<double> b) { return buf_make((const double *)b.at, b.n); }

void rollout_advantages(struct device_rollout *r, struct gpu *g) {
    const struct rollout_arrays *a = &r->a;
    const double gamma = r->opts.gamma;
    LAUNCH(g, gae_kernel, blocks_for(a->n_envs), THREADS, *a, (real)gamma,
           (real)(gamma * r->opts.lambda), r->opts.n_finals > 0);
    LAUNCH(g, sums_kernel, N_ROLLOUT_QUANTITIES, THREADS, *a, r->g.sums);
    LAUNCH(g, squares_kernel, N_ROLLOUT_QUANTITIES, THREADS, *a, reading(r->g.sums), r->g.squares);
    LAUNCH(g, counts_kernel, (int)(N_ROLLOUT_COUNTS + a->n_actions), THREADS, *a, r->g.counts);
    LAUNCH(g, tallies_kernel, N_ROLLOUT_TALLIES, THREADS, *a, r->g.tallies);
    LAUNCH(g, tell_kernel, blocks_for(a->n_envs), THREADS, *a, r->g);
    if (r->opts.normalize_batch)
        LAUNCH(g, normalize_kernel, blocks_for(a->advantages.n), THREADS, a->advantages,
               buf_make((const double *)r->g.sums.at + OF_ADVANTAGES, 1),
               buf_make((const double *)r->g.squares.at + OF_ADVANTAGES, 1),
               (double)a->advantages.n);
}

// ---- minibatches. Where the program has failed they stay those of the failing step.

DEVICE_FUNCTION bool has_failed(buf<const int64_t> state) { return state[STATE_FAILED] != 0; }

__global__ void deal_stacks_kernel(struct rollout_arrays a, struct rollout_graphs g,
                                   buf<const int64_t> state) {
    if (has_failed(state)) return;
    EACH(c, g.stacks.n) {
        const int64_t w = c % OBS_WORDS, k = c / OBS_WORDS % a.stack;
        const int64_t cell = g.samples[c / OBS_WORDS / a.stack];
        g.stacks[c] = rollout_word(&a, cell / a.n_envs, cell % a.n_envs, k, w);
    }
}

__global__ void deal_rows_kernel(struct rollout_arrays a, struct rollout_graphs g,
                                 buf<const int64_t> state) {
    if (has_failed(state)) return;
    EACH(k, g.samples.n) {
        const int64_t cell = g.samples[k];
        g.actions[k] = (int32_t)a.actions[cell];
        g.old_log_probs[k] = (real)a.log_probs[cell];
        g.advantages[k] = (real)a.advantages[cell];
        g.returns[k] = (real)a.returns[cell];
        g.old_values[k] = (real)a.values[cell];
    }
}

// One block: over a minibatch, with the sample's standard deviation.
__global__ void normalize_minibatch_kernel(buf<real> x, buf<const int64_t> state) {
    SHARED(double, part, 2 * THREADS);
    const int t = (int)threadIdx.x;
    double sum = 0, squares = 0;
    if (has_failed(state)) return;
    for (int64_t k = t; k < x.n; k += THREADS) sum += (double)x[k];
    part[t] = sum;
    BARRIER();
    sum = 0;
    for (int k = 0; k < THREADS; k++) sum += part[k];
    const double mean = sum / (double)x.n;
    for (int64_t k = t; k < x.n; k += THREADS)
        squares += ((double)x[k] - mean) * ((double)x[k] - mean);
    part[THREADS + t] = squares;
    BARRIER();
    squares = 0;
    for (int k = 0; k < THREADS; k++) squares += part[THREADS + k];
    const double divisor = x.n > 1 ? (double)(x.n - 1) : (double)x.n;
    const double scale = 1 / (sqrt(squares / divisor) + 1e-8);
    for (int64_t k = t; k < x.n; k += THREADS) x[k] = (real)(((double)x[k] - mean) * scale);
}

void rollout_deal(struct device_rollout *r, struct gpu *g, buf<const int64_t> state) {
    LAUNCH(g, deal_stacks_kernel, blocks_for(r->g.stacks.n), THREADS, r->a, r->g, state);
    LAUNCH(g, deal_rows_kernel, blocks_for(r->g.samples.n), THREADS, r->a, r->g, state);
    if (r->opts.normalize_minibatch)
        LAUNCH(g, normalize_minibatch_kernel, 1, THREADS, r->g.advantages, state);
}

__global__ void note_kernel(buf<const real> terms, buf<const double> norm, buf<double> learned,
                            buf<const int64_t> state) {
    const int k = (int)threadIdx.x;
    if (has_failed(state) || k >= PPO_N_TERMS) return;
    const double term = (double)terms[k];
    learned[TERMS_AT + k] += term;
    if (k == 0) {
        const bool is_first = learned[STEPS_AT] == 0;
        for (int i = 0; i < PPO_N_TERMS && is_first; i++) learned[FIRST_AT + i] = (double)terms[i];
        learned[NORM_AT] += norm[0];
        learned[STEPS_AT] += 1;
    }
}

void rollout_note(struct device_rollout *r, struct gpu *g, buf<const int64_t> state,
                  buf<const double> norm) {
    LAUNCH(g, note_kernel, 1, WARP, r->g.terms, norm, r->g.learned, state);
}
