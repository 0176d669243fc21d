// Gate, PPO's checks: the toy task is hard enough, and is learned.
#include <string.h>

#include "base/clock.h"
#include "base/philox.h"
#include "engine/env/toy.h"
#include "engine/run/gate/gate_internal.h"

enum { RANDOM_EPISODES = 400, UPDATES = 60, LAST = 10 };
static const double most_by_chance = 0.3;

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

// ---- the run

// The reason of the first bar that is missed is the most telling one.
bool gate_judge_toy(const struct gate_toy *t, const char **why) {
    const struct {
        double value, least, most; // NaN is within nothing
        const char *why;
    } bars[] = {
        // 0 but for what another order of sums may round
        {t->first_k3, 0, 1e-9,
         "before an update's first step its policy is not the one that played"},
        // about 0.002; without clipping 0.015
        {t->k3, 0, 0.008, "an update leaves its policy too far behind"},
        {t->success, 0.9, 1, "too few episodes reach the goal"},
        {t->greedy, 0.9, 1, "the greedy policy does not reach the goal"},
        {t->explained, 0.5, 1, "the values do not explain the returns"},
    };
    for (size_t i = 0; i < sizeof bars / sizeof *bars; i++) {
        if (bars[i].value >= bars[i].least && bars[i].value <= bars[i].most) continue;
        *why = bars[i].why;
        return false;
    }
    return true;
}

static struct gate_toy toy_of(const struct feed *feed, const struct worker_summary *s) {
    const int64_t n = feed_n_records(feed);
    struct gate_toy t = {.success = s->last_success_rate, .first_k3 = s->worst_first_k3};
    for (int64_t i = 0; i < n; i++) {
        const float *value = feed_record(feed, i)->value;
        t.greedy = (double)value[METRIC_EVAL_SUCCESS_RATE];
        if (i >= n - LAST) t.explained += (double)value[METRIC_EXPLAINED_VARIANCE] / LAST;
        t.k3 += (double)value[METRIC_KL_K3] / (double)n;
    }
    return t;
}

static void check_toy(struct gate *g, const struct run_opts *opts) {
    struct error e = {0};
    struct worker_summary s = {0};
    char detail[700];
    const char *why = NULL;
    const int64_t t0 = clock_now_ns();
    struct feed *feed = feed_new(0);
    const bool ran = gate_run_once(opts, false, feed, &s, &e);
    const struct gate_toy t = toy_of(feed, &s);
    const bool fine = gate_judge_toy(&t, &why) && ran && s.opt_steps == UPDATES && s.all_finite;
    if (!ran)
        snprintf(detail, sizeof detail, "%s", e.message);
    else
        snprintf(detail, sizeof detail,
                 "after %lld steps %.1f %% of the episodes reach the goal, greedy %.0f %%; "
                 "explained variance %.2f, KL %.4f, before the first step %.0e; %.0f steps/s%s%s",
                 (long long)s.env_steps, 100 * t.success, 100 * t.greedy, t.explained, t.k3,
                 t.first_k3, (double)s.env_steps / s.wall_s, why ? "; " : "", why ? why : "");
    gate_add_result(g, "toy", fine, (double)(clock_now_ns() - t0) * 1e-9, detail);
    feed_free(feed);
}

void gate_check_ppo(struct gate *g) {
    check_random(g);
    struct run_opts toy = toy_options(g);
    gate_check_smoke(g, toy);
    check_toy(g, &toy);
    gate_free_options(&toy);
    if (strcmp(g->opts->kind, "gpu") == 0) gate_check_ppo_on_gpu(g, GATE_PPO_UPDATES);
}
