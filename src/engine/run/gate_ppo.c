// Gate, PPO's checks: the toy task is hard enough, and is learned.
#include "base/clock.h"
#include "base/philox.h"
#include "engine/env/toy.h"
#include "engine/run/gate_internal.h"

enum { RANDOM_EPISODES = 400, UPDATES = 60 };
static const double least_success = 0.9, most_by_chance = 0.3;

// Successes of uniformly random actions.
static int count_by_chance(struct env *env) {
    uint8_t obs[ENV_OBS_BYTES], *slot = obs, all = 1;
    struct env_step_result r;
    int successes = 0;
    uint64_t step = 0;
    for (int i = 0; i < RANDOM_EPISODES; i++) {
        env_reset(env, &all, &slot);
        do {
            const int32_t action =
                (int32_t)rng_below(1, RNG_EVAL_ACTION, step++, 0, (uint32_t)env->n_actions);
            env_step(env, &all, &action, &slot, &r);
        } while (!r.terminated && !r.truncated);
        successes += r.terminated;
    }
    return successes;
}

static void check_random(struct gate *g) {
    struct error e = {0};
    char detail[400];
    const int64_t t0 = clock_now_ns();
    struct env *env = env_toy_new(&(struct env_toy_opts){.n_envs = 1}, &e);
    const int n = env ? count_by_chance(env) : RANDOM_EPISODES;
    env_free(env);
    const double rate = (double)n / RANDOM_EPISODES;
    snprintf(detail, sizeof detail, "uniform actions: %.1f %% of %d episodes (bar: below %.0f %%)",
             100 * rate, RANDOM_EPISODES, 100 * most_by_chance);
    gate_add_result(g, "random", env && rate < most_by_chance, (double)(clock_now_ns() - t0) * 1e-9,
                    env ? detail : e.message);
}

// The run of the bar.
static struct run_opts toy_options(const struct gate *g) {
    static const char *const own[] = {"env.num_envs=32", "algo.rollout_steps=32", "eval.every=60",
                                      "eval.episodes=1"};
    struct run_opts o = gate_run_options_and(g, TOY_TASK_NAME, own, sizeof own / sizeof *own);
    o.updates = UPDATES;
    return o;
}

static void check_toy(struct gate *g, const struct run_opts *opts) {
    struct error e = {0};
    struct worker_summary s = {0};
    char detail[700];
    const int64_t t0 = clock_now_ns();
    struct feed *feed = feed_new(0);
    const bool ran = gate_run_once(opts, false, feed, &s, &e);
    const int64_t n = feed_n_records(feed);
    const struct record *last = n ? feed_record(feed, n - 1) : NULL;
    const double greedy = last ? (double)last->value[METRIC_EVAL_SUCCESS_RATE] : 0;
    // A rollout in which no episode ended has no rate, and NaN is not above the bar.
    const bool fine = ran && s.opt_steps == UPDATES && s.all_finite &&
                      s.last_success_rate >= least_success && greedy >= least_success;
    if (!ran)
        snprintf(detail, sizeof detail, "%s", e.message);
    else
        snprintf(
            detail, sizeof detail,
            "after %lld steps %.1f %% of the episodes reach the goal (bar %.0f %%), greedy %s, "
            "%.0f steps/s",
            (long long)s.env_steps, 100 * s.last_success_rate, 100 * least_success,
            greedy >= least_success ? "too" : "never", (double)s.env_steps / s.wall_s);
    gate_add_result(g, "toy", fine, (double)(clock_now_ns() - t0) * 1e-9, detail);
    feed_free(feed);
}

void gate_check_ppo(struct gate *g) {
    check_random(g);
    struct run_opts toy = toy_options(g);
    gate_check_smoke(g, toy);
    check_toy(g, &toy);
    gate_free_options(&toy);
}
