// Curves: a min/max pyramid over a feed's records, so that any stretch of a run of any length is
// drawn at once.
//
// takes in what is new: O(new records)
//     curves_update(curves);
// O(log records): smallest, largest, how many bad
//     struct span s = curves_span(curves, METRIC_OBS_NLL, a, b);
//
//     records  . . . . . . . . . . . . . . . .      the feed's, not copied
//     level 0  [ 32 records ][ 32 records ] ...     smallest, largest, counts; smoothing state
//     level 1  [        32 blocks         ] ...
//
// Smoothing is an exponential moving average with bias correction over every measured finite value
// (never over decimated ones), so a constant stays that constant from its first value on. Values
// that were not measured are skipped. One thread. The feed must outlive the curves.
#ifndef UI_CURVES_H
#define UI_CURVES_H

#include <stdint.h>

#include "engine/run/feed.h"

enum { CURVES_SMOOTHINGS = 4 };                       // 0: none
// weight of the past, as in other tools: 0, 0.6, 0.9, 0.99
extern const float curves_smoothing[CURVES_SMOOTHINGS];

enum curves_axis { AXIS_STEP, AXIS_ENV_STEP, AXIS_RELATIVE, AXIS_WALL, AXIS_COUNT };
extern const char *const curves_axis_names[AXIS_COUNT];   // "step", "env step", "elapsed", "clock"

struct span {
    // over the finite values; unset when n_finite is 0
    float min, max;
    int64_t n_finite, n_bad;                          // bad: measured, but NaN or infinite
};

struct curves;
struct curves *curves_new(struct feed *feed);
void curves_free(struct curves *c);                   // NULL is fine
void curves_update(struct curves *c);
int64_t curves_count(const struct curves *c);         // records taken in so far

// records [begin, end)
struct span curves_span(const struct curves *c, int metric, int64_t begin, int64_t end);
// NaN when not measured
float curves_value(const struct curves *c, int metric, int64_t record);
bool curves_measured(const struct curves *c, int metric, int64_t record);
bool curves_known(const struct curves *c, int metric); // measured in any record so far
// Smoothed value after `record` (smoothing: index into curves_smoothing; 0 gives the last finite
// value of that block or NaN). NaN before the first finite value.
float curves_smoothed(const struct curves *c, int metric, int smoothing, int64_t record);

// clock: seconds since the run began too
double curves_x(const struct curves *c, enum curves_axis axis, int64_t record);
// first of n records with x or more
int64_t curves_find(const struct curves *c, enum curves_axis axis, double x, int64_t n);
// The next (direction 1) or previous (-1) record in which any metric is not finite, of the first n;
// -1: none.
int64_t curves_next_bad(const struct curves *c, int64_t record, int direction, int64_t n);

#endif
