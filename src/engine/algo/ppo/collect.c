// Collector: plays the agent in N environments and fills a rollout, with autoreset.
#include "engine/algo/ppo/collect.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/algo/ppo/ppo_stats.h"

struct collect {
    struct ppo *agent;
    struct env *env;
    struct ppo_rollout *rollout;
    struct collect_hooks hooks;
    struct collect_stats stats;
    struct collect_times times;
    int64_t tick; // steps of each environment so far
    int32_t *actions;
    real *log_probs, *values, *rewards;
    uint8_t *dones, *truncs, *all, *ended;
    float *distances;
    uint8_t **slots;
    struct env_step_result *results;
    double *episode_return;
    int64_t *episode_length;
    // Stacks whose value is still to be asked for, and the cells that wait for it.
    uint8_t *pending; // [n_envs][stack][1440]
    int64_t *pending_cells;
    int64_t n_pending;
};

static size_t stack_bytes(const struct collect *c) {
    return (size_t)c->rollout->opts.stack * ROLLOUT_FRAME_BYTES;
}

struct collect *collect_new(struct ppo *agent, struct env *env, struct ppo_rollout *rollout) {
    struct collect *c = mem_alloc(sizeof *c);
    const size_t n = (size_t)env->n_envs;
    CHECK(rollout->opts.n_envs == env->n_envs && ppo_options(agent)->n_envs == env->n_envs,
          "%d environments", env->n_envs);
    c->agent = agent;
    c->env = env;
    c->rollout = rollout;
    c->actions = mem_alloc(n * sizeof *c->actions);
    c->log_probs = mem_alloc(n * sizeof(real));
    c->values = mem_alloc(n * sizeof(real));
    c->rewards = mem_alloc(n * sizeof(real));
    c->dones = mem_alloc(n);
    c->truncs = mem_alloc(n);
    c->all = mem_alloc(n);
    memset(c->all, 1, n);
    c->ended = mem_alloc(n);
    c->distances = mem_alloc(n * sizeof *c->distances);
    c->slots = mem_alloc(n * sizeof *c->slots);
    c->results = mem_alloc(n * sizeof *c->results);
    c->episode_return = mem_alloc(n * sizeof *c->episode_return);
    c->episode_length = mem_alloc(n * sizeof *c->episode_length);
    c->pending = mem_alloc(n * stack_bytes(c));
    c->pending_cells = mem_alloc(n * sizeof *c->pending_cells);
    return c;
}

void collect_free(struct collect *c) {
    if (!c) return;
    void *const owned[] = {c->actions,        c->log_probs, c->values,        c->rewards,
                           c->dones,          c->truncs,    c->all,           c->ended,
                           c->distances,      c->slots,     c->results,       c->episode_return,
                           c->episode_length, c->pending,   c->pending_cells, c};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

void collect_set_hooks(struct collect *c, const struct collect_hooks *hooks) { c->hooks = *hooks; }
const struct collect_stats *collect_stats(const struct collect *c) { return &c->stats; }
const struct collect_times *collect_times(const struct collect *c) { return &c->times; }

void collect_clear(struct collect *c) {
    c->stats = (struct collect_stats){0};
    c->times = (struct collect_times){0};
}

int64_t collect_env_steps(const struct collect *c) { return c->tick * c->env->n_envs; }

static void point_at(struct collect *c, int64_t t) {
    for (int i = 0; i < c->env->n_envs; i++) c->slots[i] = ppo_rollout_frame(c->rollout, t, i);
}

void collect_begin(struct collect *c) {
    point_at(c, 0);
    env_reset(c->env, c->all, c->slots);
    for (int i = 0; i < c->env->n_envs; i++) ppo_rollout_restart(c->rollout, 0, i);
}

// ---- values of last pictures

static void flush(struct collect *c) {
    if (c->n_pending == 0) return;
    memcpy(ppo_stacks(c->agent), c->pending, (size_t)c->n_pending * stack_bytes(c));
    ppo_evaluate(c->agent);
    for (int64_t k = 0; k < c->n_pending; k++)
        c->rollout->final_values[c->pending_cells[k]] = ppo_values(c->agent)[k];
    c->n_pending = 0;
}

static void want_final_value(struct collect *c, int64_t t, int i) {
    ppo_rollout_final_stack(c->rollout, t, i, c->slots[i],
                            c->pending + (size_t)c->n_pending * stack_bytes(c));
    c->pending_cells[c->n_pending++] = t * c->env->n_envs + i;
    if (c->n_pending == c->env->n_envs) flush(c);
}

// ---- one step

static void choose(struct collect *c, int64_t t) {
    for (int i = 0; i < c->env->n_envs; i++)
        ppo_rollout_stack(c->rollout, t, i, ppo_stacks(c->agent) + (size_t)i * stack_bytes(c));
    double entropy;
    const struct ppo_acted out = {c->actions, c->log_probs, c->values, &entropy};
    ppo_act(c->agent, (uint64_t)c->tick, &out);
    c->stats.entropy_sum += entropy;
}

static void end_episode(struct collect *c, int64_t t, int i) {
    const struct env_step_result *r = &c->results[i];
    if (r->truncated && !r->terminated && ppo_options(c->agent)->bootstrap)
        want_final_value(c, t, i);
    if (c->hooks.ended)
        c->hooks.ended(c->hooks.ctx, i, c->episode_return[i], c->episode_length[i], r->terminated);
    c->stats.episodes++;
    c->stats.successes += r->terminated;
    c->stats.return_sum += c->episode_return[i];
    c->stats.length_sum += (double)c->episode_length[i];
    c->episode_return[i] = 0;
    c->episode_length[i] = 0;
}

static void take_results(struct collect *c, int64_t t) {
    for (int i = 0; i < c->env->n_envs; i++) {
        const struct env_step_result *r = &c->results[i];
        c->rewards[i] = (real)r->reward;
        c->dones[i] = r->terminated;
        c->truncs[i] = r->truncated;
        c->ended[i] = r->terminated || r->truncated;
        c->distances[i] = r->distance;
        c->episode_return[i] += (double)r->reward;
        c->episode_length[i]++;
        c->stats.reward_sum += (double)r->reward;
        c->stats.dones += r->terminated;
        c->stats.truncs += r->truncated;
        c->stats.resets += c->ended[i];
        c->stats.action_counts[c->actions[i]]++;
        if (c->ended[i]) end_episode(c, t, i);
    }
    c->stats.n_steps += c->env->n_envs;
}

void collect_step(struct collect *c) {
    const int64_t t = c->rollout->n_added, t0 = clock_now_ns();
    choose(c, t);
    const int64_t t1 = clock_now_ns();
    point_at(c, t + 1);
    env_step(c->env, c->all, c->actions, c->slots, c->results);
    c->times.policy_ns += t1 - t0;
    c->times.env_ns += clock_now_ns() - t1;
    c->tick++;
    if (c->hooks.stepped)
        c->hooks.stepped(c->hooks.ctx, c->slots[0], c->actions[0], &c->results[0]);
    take_results(c, t);
    env_reset(c->env, c->ended, c->slots);
    for (int i = 0; i < c->env->n_envs; i++)
        (c->ended[i] ? ppo_rollout_restart : ppo_rollout_continue)(c->rollout, t + 1, i);
    const struct ppo_rollout_row row = {c->actions, c->log_probs, c->values,   c->rewards,
                                        c->dones,   c->truncs,    c->distances};
    ppo_rollout_add(c->rollout, &row, c->env->n_actions);
}

void collect_set_distances(struct collect_stats *stats, const float *distances, int64_t n) {
    float *sorted = mem_alloc((size_t)n * sizeof *sorted);
    memcpy(sorted, distances, (size_t)n * sizeof *sorted);
    stats->dist_p10 = stats_quantile(sorted, n, 0.1);
    stats->dist_p50 = stats_quantile(sorted, n, 0.5);
    stats->dist_p90 = stats_quantile(sorted, n, 0.9);
    free(sorted);
}

void collect_finish(struct collect *c) {
    const struct ppo_rollout *r = c->rollout;
    const int64_t n_envs = r->opts.n_envs, n = r->opts.n_steps * n_envs;
    flush(c);
    stats_mean_std(r->values, n, &c->stats.value_mean, &c->stats.value_std);
    collect_set_distances(&c->stats, r->distances + n - n_envs, n_envs);
}

// ---- where a device plays

int64_t collect_ticks(const struct collect *c) { return c->tick; }
void collect_advance(struct collect *c, int64_t n_steps) { c->tick += n_steps; }
void collect_take_stats(struct collect *c, const struct collect_stats *stats,
                        const struct collect_times *times) {
    c->stats = *stats;
    c->times = *times;
}

void collect_episodes(const struct collect *c, double *returns, double *lengths) {
    for (int i = 0; i < c->env->n_envs; i++) {
        returns[i] = c->episode_return[i];
        lengths[i] = (double)c->episode_length[i];
    }
}

void collect_set_episodes(struct collect *c, const double *returns, const double *lengths) {
    for (int i = 0; i < c->env->n_envs; i++) {
        c->episode_return[i] = returns[i];
        c->episode_length[i] = (int64_t)lengths[i];
    }
}

// ---- state between rollouts

size_t collect_state_bytes(const struct collect *c) {
    return sizeof c->tick +
           (size_t)c->env->n_envs * (sizeof *c->episode_return + sizeof *c->episode_length);
}

void collect_save(const struct collect *c, void *out) {
    const size_t n = (size_t)c->env->n_envs;
    uint8_t *to = out;
    memcpy(to, &c->tick, sizeof c->tick);
    memcpy(to + sizeof c->tick, c->episode_return, n * sizeof *c->episode_return);
    memcpy(to + sizeof c->tick + n * sizeof *c->episode_return, c->episode_length,
           n * sizeof *c->episode_length);
}

void collect_load(struct collect *c, const void *in) {
    const size_t n = (size_t)c->env->n_envs;
    const uint8_t *from = in;
    memcpy(&c->tick, from, sizeof c->tick);
    memcpy(c->episode_return, from + sizeof c->tick, n * sizeof *c->episode_return);
    memcpy(c->episode_length, from + sizeof c->tick + n * sizeof *c->episode_return,
           n * sizeof *c->episode_length);
}
