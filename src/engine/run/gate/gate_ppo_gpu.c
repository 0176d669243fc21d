// Gate, PPO on a GPU: rollouts of 256 environments x 128 steps without the host, the policy that
// played is the one that learns, and it gets better.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/run/gate/gate_internal.h"

// Enough optimiser steps for so few rollouts: on the CPU 5 % of the first one's episodes succeed,
// and 33 % of the fifth's, 88 % of the eighth's (seed 42).
static const char *const own[] = {"env.num_envs=256", "algo.rollout_steps=128",
                                  "algo.minibatches=64", "algo.normalize_advantages=none"};
// 0 but for what another order of sums rounds: so small a mean leaves no ratio outside the clip.
static const double most_first_k3 = 1e-9;

bool gate_judge_lab(const struct gate_lab *l, const char **why) {
    const bool better = l->last >= 2 * l->first && l->last >= 0.2;
    *why = better ? "" : "; the policy does not get better";
    return better;
}

static double success_of(const struct feed *feed, int64_t i) {
    const struct record *r = feed_record(feed, i);
    return r->present & METRIC_BIT(METRIC_SUCCESS_RATE) ? (double)r->value[METRIC_SUCCESS_RATE] : 0;
}

static void add_rollout(struct gate *g, bool ran, const struct worker_summary *s, double seconds) {
    char detail[400];
    const bool fine = ran && s->all_finite && s->rollout_transfers == 0 && s->worst_first_k3 >= 0 &&
                      s->worst_first_k3 <= most_first_k3;
    snprintf(detail, sizeof detail,
             "%lld transfers inside %lld rollouts (bar 0)%s; before the first step KL %.0e (bar "
             "%.0e), %s; %.2f ms a step of the machines, %.2f of the policy, %.0f an update",
             (long long)s->rollout_transfers, (long long)s->opt_steps,
             s->rollout_transfers < 0 ? ": the host played" : "", s->worst_first_k3, most_first_k3,
             s->all_finite ? "all finite" : "NOT all finite", s->env_ms, s->policy_ms,
             s->update_ms);
    gate_add_result(g, "ppo rollout", fine, seconds, detail);
}

static void add_lab(struct gate *g, const struct feed *feed, const struct worker_summary *s) {
    char detail[400];
    const char *why;
    const int64_t n = feed_n_records(feed);
    const struct gate_lab l = {success_of(feed, 0), success_of(feed, n - 1)};
    const bool fine = gate_judge_lab(&l, &why);
    snprintf(detail, sizeof detail,
             "successes of the first rollout %.1f %%, of the last %.1f %% of its episodes (bar: "
             "doubled, and 20 %%); %lld updates, %lld steps, %.0f steps/s%s",
             100 * l.first, 100 * l.last, (long long)s->opt_steps, (long long)s->env_steps,
             (double)s->env_steps / s->wall_s, why);
    gate_add_result(g, "ppo exit_lab", fine, 0, detail);
}

// Settings of a gate of another algorithm mean nothing here.
void gate_check_ppo_on_gpu(struct gate *g, int64_t updates) {
    struct error e = {0};
    struct worker_summary s = {0};
    struct gate_opts of_ppo = *g->opts;
    const bool is_ppo = of_ppo.algo && strcmp(of_ppo.algo, "ppo") == 0;
    if (!is_ppo) of_ppo.settings = NULL, of_ppo.n_settings = 0;
    of_ppo.algo = "ppo";
    of_ppo.zero_latent = false;
    const struct gate view = {.opts = &of_ppo};
    struct run_opts opts =
        gate_run_options_and(&view, "exit_lab", own, (int)(sizeof own / sizeof *own));
    opts.updates = updates;
    const int64_t t0 = clock_now_ns();
    struct feed *feed = feed_new(0);
    const bool ran = gate_run_once(&opts, false, feed, &s, &e);
    const double seconds = (double)(clock_now_ns() - t0) * 1e-9;
    if (ran && feed_n_records(feed) > 0) {
        add_rollout(g, ran, &s, seconds);
        add_lab(g, feed, &s);
    } else {
        gate_add_result(g, "ppo rollout", false, seconds, e.message);
    }
    feed_free(feed);
    gate_free_options(&opts);
}
