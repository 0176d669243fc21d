// Small statistics of rollouts and evaluations.
#include "engine/algo/ppo/ppo_stats.h"

#include <math.h>
#include <stdlib.h>

static int floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double stats_quantile(float *x, int64_t n, double q) {
    qsort(x, (size_t)n, sizeof *x, floats);
    const double at = q * (double)(n - 1);
    const int64_t low = (int64_t)at, high = low + 1 < n ? low + 1 : low;
    return (double)x[low] + (at - (double)low) * ((double)x[high] - (double)x[low]);
}

double stats_lower_median(double *x, int64_t n) {
    if (n < 1) return NAN;
    qsort(x, (size_t)n, sizeof *x, doubles);
    return x[(n - 1) / 2];
}

void stats_mean_std(const real *x, int64_t n, double *mean, double *std) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += ((double)x[i] - *mean) * ((double)x[i] - *mean);
    *std = sqrt(squares / (double)n);
}

static double variance_of_difference(const real *a, const real *b, int64_t n) {
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) mean += (double)a[i] - (b ? (double)b[i] : 0);
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (b ? (double)b[i] : 0) - mean;
        squares += d * d;
    }
    return squares / (double)n;
}

double stats_explained_variance(const real *values, const real *returns, int64_t n) {
    const double all = variance_of_difference(returns, NULL, n);
    return all > 0 ? 1 - variance_of_difference(returns, values, n) / all : 0;
}
