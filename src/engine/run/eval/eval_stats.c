// Evaluation statistics.
#include "engine/run/eval/eval_stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/algo/ppo/ppo_stats.h"

void eval_wilson(int64_t k, int64_t n, double *low, double *high) {
    const double z = 1.959963984540054;
    *low = *high = NAN;
    if (n <= 0) return;
    double p = (double)k / (double)n, z2 = z * z / (double)n;
    double centre = p + z2 / 2, half = z * sqrt(p * (1 - p) / (double)n + z2 / (4 * (double)n));
    *low = k == 0 ? 0 : (centre - half) / (1 + z2);
    *high = k == n ? 1 : (centre + half) / (1 + z2);
}

// returns: [n], sorted here.
static void sum_up_returns(struct eval_stats *s, double *returns, int64_t n) {
    double squares = 0;
    for (int64_t i = 0; i < n; i++)
        squares += (returns[i] - s->mean_reward) * (returns[i] - s->mean_reward);
    s->return_std = sqrt(squares / (double)(n - 1)); // of one: not a number
    const double half = 1.959963984540054 * s->return_std / sqrt((double)n);
    s->return_low = s->mean_reward - half;
    s->return_high = s->mean_reward + half;
    s->median_return = stats_lower_median(returns, n); // sorts them
    s->min_return = returns[0];
    s->max_return = returns[n - 1];
}

struct eval_stats eval_stats_of(const struct eval_episode *episodes, int64_t n) {
    struct eval_stats s = {.episodes = n};
    double *steps = mem_alloc(2 * (size_t)(n + 1) * sizeof *steps), *distances = steps + n + 1;
    double reward = 0, reward_success = 0, length = 0, entropy = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct eval_episode *p = &episodes[i];
        reward += p->total_reward;
        length += p->steps;
        entropy += p->entropy * p->steps;
        distances[i] = (double)p->distance;
        if (!p->success) continue;
        reward_success += p->total_reward;
        steps[s.successes++] = p->steps;
    }
    s.rate = (double)s.successes / (double)n;
    eval_wilson(s.successes, n, &s.low, &s.high);
    s.median_steps = stats_lower_median(steps, s.successes);
    s.min_steps = s.successes ? steps[0] : NAN;
    s.mean_reward = reward / (double)n;
    s.mean_reward_success = reward_success / (double)s.successes;
    s.mean_reward_fail = (reward - reward_success) / (double)(n - s.successes);
    s.mean_length = length / (double)n;
    s.entropy = entropy / length;
    s.median_distance = stats_lower_median(distances, n);
    for (int64_t i = 0; i < n; i++) steps[i] = episodes[i].total_reward;
    sum_up_returns(&s, steps, n);
    free(steps);
    return s;
}

static bool better(const struct eval_episode *a, const struct eval_episode *b) {
    if (a->success != b->success) return a->success;
    return a->success ? a->steps < b->steps : a->total_reward > b->total_reward;
}

int64_t eval_best(const struct eval_episode *episodes, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (better(&episodes[i], &episodes[best])) best = i;
    return best;
}
