// worse: the larger of two measured numbers, for everything that a bar is put to.
//
//     double worst = 0;
//     for (...) worst = worse(worst, fabs(a[i] - b[i]));
//
// NaN once one of them is: fmax, and `if (x > worst) worst = x`, would drop it, and a comparison
// that went wrong would look fine.
#ifndef BASE_WORSE_H
#define BASE_WORSE_H

static inline double worse(double a, double b) { return a >= b || a != a ? a : b; }

#endif
