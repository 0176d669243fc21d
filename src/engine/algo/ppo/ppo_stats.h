// Small statistics of rollouts and evaluations (spec/ppo.md 4.2, 4.4). Pure: any thread.
#ifndef PPO_STATS_H
#define PPO_STATS_H

#include <stdint.h>

#include "base/real.h"

// Linear interpolation between the sorted neighbours at q (n - 1). x is sorted in place. n >= 1.
double stats_quantile(float *x, int64_t n, double q);
// sorted[(n - 1) / 2]; NaN for n = 0. x is sorted in place.
double stats_lower_median(double *x, int64_t n);
void stats_mean_std(const real *x, int64_t n, double *mean, double *std); // population std
// 1 - Var(returns - values) / Var(returns); 0 where the returns do not vary.
double stats_explained_variance(const real *values, const real *returns, int64_t n);

#endif
