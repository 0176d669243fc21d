// real: the engine's floating-point type: float, or double in a -DREAL=double build (gradient
// checks only).
#ifndef BASE_REAL_H
#define BASE_REAL_H

#ifdef REAL
typedef REAL real;
#else
#define REAL float
typedef float real;
#endif

#endif
