// Evaluation statistics: a success rate with its confidence interval and what else a set of
// episodes says.
//
//     struct eval_stats s = eval_stats(episodes, n);
//
// Pure. Medians are lower medians, sorted[(n - 1) / 2] (spec/ppo.md 4.4). What has no episodes is
// NaN.
#ifndef RUN_EVAL_STATS_H
#define RUN_EVAL_STATS_H

#include <stdbool.h>
#include <stdint.h>

struct eval_episode {
    int start_frames; // frames without buttons before the first observation
    int steps;
    bool success, truncated;
    double total_reward, entropy;   // entropy of the policy, mean over the steps, nats
    float distance, least_distance; // to the goal: at the end, smallest
    // [steps][action_values]: each head's choice, or the values; owned by the list of episodes
    float *actions;
    struct eval_step {
        float reward, distance;
    } * taken; // [steps]; owned likewise
};

struct eval_stats {
    int64_t episodes, successes;
    double rate, low, high;         // share of successes, 95 % Wilson interval
    double median_steps, min_steps; // of the successes
    double mean_reward, mean_reward_success, mean_reward_fail;
    double mean_length, entropy; // entropy: mean over all steps
    double median_distance;      // at the end
    // of the returns: deviation (n - 1), 95 % interval of the mean (normal), lower median, extremes
    double return_std, return_low, return_high, median_return, min_return, max_return;
};

struct eval_stats eval_stats_of(const struct eval_episode *episodes, int64_t n);
// Wilson's score interval for k of n at 95 %: (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n)
void eval_wilson(int64_t k, int64_t n, double *low, double *high);
// The episode worth a look: the shortest success, else the highest return; the first of equals. n
// >= 1.
int64_t eval_best(const struct eval_episode *episodes, int64_t n);

#endif
