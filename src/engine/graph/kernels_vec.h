// Vector type of the instruction set kernels_isa.c is compiled for, and the few helpers all kernels
// share.
//
// gcc's and clang's vector extension with a handful of intrinsics where it lacks a word (minimum,
// maximum, square root). Never the approximate instructions (rcp, rsqrt): their bits differ between
// vendors.
#ifndef GRAPH_KERNELS_VEC_H
#define GRAPH_KERNELS_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/real.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VEC_BYTES 64
#elif defined(__AVX2__)
#define VEC_BYTES 32
#else
#define VEC_BYTES 16
#endif

// The size of a real for the preprocessor: REAL is the word float or double.
#define VEC_JOIN_(a, b) a##b
#define VEC_JOIN(a, b) VEC_JOIN_(a, b)
#define REAL_BYTES_float 4
#define REAL_BYTES_double 8
#define REAL_BYTES VEC_JOIN(REAL_BYTES_, REAL)
#define LANES (VEC_BYTES / REAL_BYTES)
#if LANES == 16 // the number as one word
#define LANES_WORD 16
#elif LANES == 8
#define LANES_WORD 8
#elif LANES == 4
#define LANES_WORD 4
#else
#define LANES_WORD 2
#endif
_Static_assert(REAL_BYTES == sizeof(real), "REAL is neither float nor double");

#if REAL_BYTES == 8
typedef int64_t vec_int __attribute__((vector_size(VEC_BYTES)));
#else
typedef int32_t vec_int __attribute__((vector_size(VEC_BYTES)));
#endif
typedef real vec __attribute__((vector_size(VEC_BYTES)));
typedef real vec_unaligned __attribute__((vector_size(VEC_BYTES), aligned(REAL_BYTES), may_alias));

#define ALWAYS_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#define VEC_EACH(i, n) UNROLL for (int i = 0; i < (n); i++) // n is a constant

ALWAYS_INLINE vec vec_load(const real *p) { return *(const vec_unaligned *)p; }
ALWAYS_INLINE void vec_store(real *p, vec v) { *(vec_unaligned *)p = v; }
// Asks for what lies `ahead` reals behind p, which may be past the end of everything.
ALWAYS_INLINE void vec_fetch(const real *p, int64_t ahead) {
    __builtin_prefetch((const void *)((uintptr_t)p + (uintptr_t)ahead * sizeof *p));
}
ALWAYS_INLINE vec vec_splat(real x) { return x - (vec){0}; } // x - 0 is x, also for -0
ALWAYS_INLINE vec vec_select(vec_int mask, vec a, vec b) {   // lanes of mask are 0 or -1
    return (vec)((mask & (vec_int)a) | (~mask & (vec_int)b));
}

// Lane i of the result is lane i ^ m.
#define VEC_XOR2(m) 0 ^ (m), 1 ^ (m)
#define VEC_XOR4(m) VEC_XOR2(m), 2 ^ (m), 3 ^ (m)
#define VEC_XOR8(m) VEC_XOR4(m), 4 ^ (m), 5 ^ (m), 6 ^ (m), 7 ^ (m)
#define VEC_XOR16(m)                                                                               \
    VEC_XOR8(m), 8 ^ (m), 9 ^ (m), 10 ^ (m), 11 ^ (m), 12 ^ (m), 13 ^ (m), 14 ^ (m), 15 ^ (m)
#if LANES == 16
#define VEC_XOR(v, m) __builtin_shufflevector(v, v, VEC_XOR16(m))
#elif LANES == 8
#define VEC_XOR(v, m) __builtin_shufflevector(v, v, VEC_XOR8(m))
#elif LANES == 4
#define VEC_XOR(v, m) __builtin_shufflevector(v, v, VEC_XOR4(m))
#else
#define VEC_XOR(v, m) __builtin_shufflevector(v, v, VEC_XOR2(m))
#endif

// The lower or upper halves of two vectors, lane by lane in turn: a0 b0 a1 b1 ...
#if LANES == 16
#define VEC_ZIP_LOW(a, b)                                                                          \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define VEC_ZIP_HIGH(a, b)                                                                         \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif LANES == 8
#define VEC_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define VEC_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif LANES == 4
#define VEC_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define VEC_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define VEC_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 2)
#define VEC_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

// Transposes LANES x LANES: zipping row i with row i + LANES / 2 once per bit of the index.
ALWAYS_INLINE void vec_transpose(vec *rows) {
    UNROLL for (int bit = 1; bit < LANES; bit *= 2) {
        vec zipped[LANES];
        VEC_EACH(i, LANES / 2) {
            zipped[2 * i] = VEC_ZIP_LOW(rows[i], rows[i + LANES / 2]);
            zipped[2 * i + 1] = VEC_ZIP_HIGH(rows[i], rows[i + LANES / 2]);
        }
        VEC_EACH(i, LANES) rows[i] = zipped[i];
    }
}

// The functions on several vectors take one step for all of them, then the next: a core's window of
// waiting operations is shorter than such a chain, so chains one behind the other would leave it
// half idle. n is a constant.

// Every lane of v[0..n) gets the sum of the lanes of its group; groups of `width` lanes, a power of
// two.
ALWAYS_INLINE void vec_group_sums(vec *v, int n, int width) {
#if LANES >= 16
    if (width >= 16) VEC_EACH(i, n) v[i] += VEC_XOR(v[i], 8);
#endif
#if LANES >= 8
    if (width >= 8) VEC_EACH(i, n) v[i] += VEC_XOR(v[i], 4);
#endif
#if LANES >= 4
    if (width >= 4) VEC_EACH(i, n) v[i] += VEC_XOR(v[i], 2);
#endif
    if (width >= 2) VEC_EACH(i, n) v[i] += VEC_XOR(v[i], 1);
}

// Lane i of the first: of a where bit m of i is 0, else of b; of the second: the lane i ^ m of the
// same vector.
#define VEC_KEEP1(m, i) ((i) & (m) ? LANES + (i) : (i))
#define VEC_SWAP1(m, i) ((i) & (m) ? LANES + ((i) ^ (m)) : (i) ^ (m))
#define VEC_LIST2(f, m, i) f(m, i), f(m, (i) + 1)
#define VEC_LIST4(f, m, i) VEC_LIST2(f, m, i), VEC_LIST2(f, m, (i) + 2)
#define VEC_LIST8(f, m, i) VEC_LIST4(f, m, i), VEC_LIST4(f, m, (i) + 4)
#define VEC_LIST16(f, m, i) VEC_LIST8(f, m, i), VEC_LIST8(f, m, (i) + 8)
#define VEC_LIST(f, m) VEC_JOIN(VEC_LIST, LANES_WORD)(f, m, 0)
#define VEC_FOLD(a, b, m)                                                                          \
    (__builtin_shufflevector(a, b, VEC_LIST(VEC_KEEP1, m)) +                                       \
     __builtin_shufflevector(a, b, VEC_LIST(VEC_SWAP1, m)))

// v[0..width): vectors of LANES / width rows each, rows of `width` lanes, a power of two. Lane
// p * width + g of the result is the sum of row p of v[g], added up as vec_group_sums does.
ALWAYS_INLINE vec vec_sums_across(vec *v, int width) {
#if LANES >= 16
    if (width >= 16) VEC_EACH(i, 8) v[i] = VEC_FOLD(v[i], v[i + 8], 8);
#endif
#if LANES >= 8
    if (width >= 8) VEC_EACH(i, 4) v[i] = VEC_FOLD(v[i], v[i + 4], 4);
#endif
#if LANES >= 4
    if (width >= 4) VEC_EACH(i, 2) v[i] = VEC_FOLD(v[i], v[i + 2], 2);
#endif
    return width >= 2 ? VEC_FOLD(v[0], v[1], 1) : v[0];
}

#if defined(__x86_64__) && REAL_BYTES == 4 && VEC_BYTES == 64
#define VEC_INTRINSIC(name) _mm512_##name##_ps
#elif defined(__x86_64__) && REAL_BYTES == 4 && VEC_BYTES == 32
#define VEC_INTRINSIC(name) _mm256_##name##_ps
#elif defined(__x86_64__) && REAL_BYTES == 4
#define VEC_INTRINSIC(name) _mm_##name##_ps
#endif
#if defined(VEC_INTRINSIC) // where a lane of either is NaN, the second argument is taken
ALWAYS_INLINE vec vec_min(vec a, vec b) { return (vec)VEC_INTRINSIC(min)(a, b); }
ALWAYS_INLINE vec vec_max(vec a, vec b) { return (vec)VEC_INTRINSIC(max)(a, b); }
ALWAYS_INLINE vec vec_sqrt(vec v) { return (vec)VEC_INTRINSIC(sqrt)(v); }
#else
ALWAYS_INLINE vec vec_min(vec a, vec b) { return vec_select(a < b, a, b); }
ALWAYS_INLINE vec vec_max(vec a, vec b) { return vec_select(a > b, a, b); }
ALWAYS_INLINE vec vec_sqrt(vec v) {
    vec r;
    for (int i = 0; i < LANES; i++)
        r[i] = REAL_BYTES == 8 ? (real)sqrt((double)v[i]) : (real)sqrtf((float)v[i]);
    return r;
}
#endif

// v, rounded: no compiler makes one multiply-add of the product v and a sum it is used in. Where
// the sum stands behind a branch, that would depend on how the loop around it is unrolled.
ALWAYS_INLINE vec vec_rounded(vec v) {
#if defined(VEC_INTRINSIC)
    __asm__("" : "+v"(v));
#endif
    return v;
}

#if defined(VEC_INTRINSIC) && VEC_BYTES == 64
#define VEC_LOOKUP(v, index) ((vec)_mm512_permutexvar_ps((__m512i)(index), (__m512)(v)))
#endif

// Bit i: lane i is not zero.
ALWAYS_INLINE uint32_t vec_nonzero(vec v) {
#if defined(VEC_INTRINSIC) && VEC_BYTES == 64
    return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
#elif defined(VEC_INTRINSIC) && VEC_BYTES == 32
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_setzero_ps(), _CMP_NEQ_UQ));
#else
    uint32_t bits = 0;
    for (int l = 0; l < LANES; l++) bits |= (uint32_t)(v[l] != 0) << l;
    return bits;
#endif
}

enum { VEC_MANY = 4 };

// y = 1 / (1 + exp(-x)) within 2e-7 of itself for x > -87; below that it stays at its value there
// (about 1e-38).
ALWAYS_INLINE void vec_sigmoids(vec *y, const vec *x, int n) {
#if REAL_BYTES == 8
    VEC_EACH(i, n) for (int l = 0; l < LANES; l++) y[i][l] = 1 / (1 + exp(-x[i][l]));
#else
    // exp as in base/fmath.h, on a range whose powers of two are all normal numbers.
    static const float factors[] = {0.00837377387f, 0.0416665501f, 0.166665734f, 0.5f, 1.0f, 1.0f};
    const float limit = 87.0f, magic = 12582912.0f;
    vec r[VEC_MANY], p[VEC_MANY], shifted[VEC_MANY];
    VEC_EACH(i, n) r[i] = vec_max(vec_min(x[i], vec_splat(limit)), vec_splat(-limit));
    VEC_EACH(i, n) shifted[i] = r[i] * -1.44269504f + magic;
    VEC_EACH(i, n) p[i] = shifted[i] - magic;
    VEC_EACH(i, n) r[i] = -p[i] * 0.693359375f - r[i];
    VEC_EACH(i, n) r[i] = r[i] - p[i] * -2.12194440e-4f;
    VEC_EACH(i, n) p[i] = vec_splat(0.00139269266f);
    UNROLL for (int f = 0; f < 6; f++) VEC_EACH(i, n) p[i] = factors[f] + r[i] * p[i];
    VEC_EACH(i, n) y[i] = 1 / (1 + (vec)((vec_int)p[i] + ((vec_int)shifted[i] << 23)));
#endif
}

// Fetches part `part` of `parts` of n reals that are needed soon, while others are computed;
// nothing where they lie past the end.
ALWAYS_INLINE void prefetch_part(const real *next, const real *end, int64_t n, int64_t part,
                                 int64_t parts) {
    if (next >= end) return;
    for (int64_t i = n * part / parts; i < n * (part + 1) / parts; i += 64 / REAL_BYTES)
        __builtin_prefetch(next + i, 0, 2);
}

ALWAYS_INLINE int64_t kmin(int64_t a, int64_t b) { return a < b ? a : b; }
ALWAYS_INLINE int64_t kmax(int64_t a, int64_t b) { return a > b ? a : b; }
ALWAYS_INLINE int64_t kround_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

#endif
