// Vector type of the instruction set kernels_isa.c is compiled for, and the few helpers all kernels share.
#ifndef GRAPH_KERNELS_VEC_H
#define GRAPH_KERNELS_VEC_H

#include <stdint.h>
#include <string.h>

#include "base/real.h"

#if defined(__AVX512F__)
#define VEC_BYTES 64
#elif defined(__AVX2__)
#define VEC_BYTES 32
#else
#define VEC_BYTES 16
#endif

enum { LANES = VEC_BYTES / sizeof(real) };

typedef real vec __attribute__((vector_size(VEC_BYTES)));
typedef real vec_unaligned __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));

#define ALWAYS_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

ALWAYS_INLINE vec vec_load(const real *p) { return *(const vec_unaligned *)p; }
ALWAYS_INLINE void vec_store(real *p, vec v) { *(vec_unaligned *)p = v; }
ALWAYS_INLINE vec vec_splat(real x) { return x - (vec){0}; }   // x - 0 is x, also for -0

ALWAYS_INLINE int64_t kmin(int64_t a, int64_t b) { return a < b ? a : b; }
ALWAYS_INLINE int64_t kmax(int64_t a, int64_t b) { return a > b ? a : b; }
ALWAYS_INLINE int64_t kround_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

#endif
