// Elements of a product's operands: reals, or (KERNELS_BF16) pairs of neighbours in k, rounded to
// bf16.
//
//     k =      0   1   2   3          one elem: the number at an even k in the lower half, its
//            [ lo  hi ][ lo  hi ]     neighbour in the upper; an odd end is filled with 0
//
// The kernels of kernels_gemm.h and kernels_conv.h are written in elems, so that one source serves
// both: the strides of an operand are counted in elems, its packed form has one row per elem of k.
//
// vdpbf16ps adds a pair's products to a float32 sum one after the other, the upper first, each
// rounded to nearest even like a fused multiply-add. A product of two bf16 numbers has at most 16
// bits and is exact in float32, so two ordinary multiply-adds in that order give the same bits on
// any instruction set, as long as nothing is smaller than 1.2e-38, which the instruction flushes
// to 0. Rounding is to nearest even; what is subnormal becomes 0, a NaN stays one, what is too
// large becomes infinite.
#ifndef GRAPH_KERNELS_ELEM_H
#define GRAPH_KERNELS_ELEM_H

#include "engine/graph/kernels_vec.h"

#ifndef KERNELS_BF16

enum { PER_ELEM = 1 };
typedef real elem;
typedef vec evec;
#define MAC(sum, a, b) ((sum) += (a) * (b))

ALWAYS_INLINE evec evec_load(const elem *p) { return vec_load(p); }
ALWAYS_INLINE void evec_store(elem *p, evec v) { vec_store(p, v); }
ALWAYS_INLINE elem elem_make(real lo, real hi) {
    (void)hi;
    return lo;
}
ALWAYS_INLINE void value_put(elem *out, int64_t at, real x) { out[at] = x; }
ALWAYS_INLINE evec evec_along(const real *x) { return vec_load(x); }
ALWAYS_INLINE void values_copy(elem *out, int64_t at, const real *x, int64_t n) {
    memcpy(out + at, x, (size_t)n * sizeof(real));
}
ALWAYS_INLINE void elems_zip(elem *out, const real *lo, const real *hi, int64_t n) {
    (void)hi;
    memcpy(out, lo, (size_t)n * sizeof(real));
}

#else

enum { PER_ELEM = 2 };
typedef uint32_t elem;
typedef uint32_t evec __attribute__((vector_size(VEC_BYTES)));
typedef uint32_t evec_unaligned __attribute__((vector_size(VEC_BYTES), aligned(2), may_alias));
typedef uint16_t bf16 __attribute__((may_alias));
#define MAC(sum, a, b) ((sum) = elem_dot((sum), (a), (b)))

ALWAYS_INLINE evec evec_load(const void *p) { return *(const evec_unaligned *)p; }
ALWAYS_INLINE void evec_store(void *p, evec v) { *(evec_unaligned *)p = v; }

ALWAYS_INLINE uint32_t bf16_bits(real x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7f800000) == 0) return u >> 16 & 0x8000;
    if ((u & 0x7fffffff) > 0x7f800000) return u >> 16 | 0x40;
    return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

ALWAYS_INLINE elem elem_make(real lo, real hi) { return bf16_bits(lo) | bf16_bits(hi) << 16; }
ALWAYS_INLINE void value_put(elem *out, int64_t at, real x) {
    ((bf16 *)out)[at] = (uint16_t)bf16_bits(x);
}

#if defined(__AVX512BF16__)

ALWAYS_INLINE vec elem_dot(vec sum, elem a, evec b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}

// x[0], x[1], ...
ALWAYS_INLINE evec evec_along(const real *x) {
    return (evec)_mm512_cvtne2ps_pbh((__m512)vec_load(x + LANES), (__m512)vec_load(x));
}

// (lo[0], hi[0]), (lo[1], hi[1]), ...
ALWAYS_INLINE evec evec_zip(vec lo, vec hi) {
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i joined = (__m512i)_mm512_cvtne2ps_pbh((__m512)hi, (__m512)lo);
    return (evec)_mm512_permutexvar_epi16(order, joined);
}

#else

ALWAYS_INLINE vec elem_dot(vec sum, elem a, evec b) {
    const evec all = a - (evec){0};
    sum += (vec)(all & 0xffff0000) * (vec)(b & 0xffff0000);
    sum += (vec)(all << 16) * (vec)(b << 16);
    return sum;
}

// bf16_bits of every lane
ALWAYS_INLINE evec bf16_vec(vec x) {
    const evec u = (evec)x;
    const evec nan = (evec)((u & 0x7fffffff) > 0x7f800000), zero = (evec)((u & 0x7f800000) == 0);
    const evec rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (~(nan | zero) & rounded) | (nan & (u >> 16 | 0x40)) | (zero & (u >> 16 & 0x8000));
}

ALWAYS_INLINE evec evec_zip(vec lo, vec hi) { return bf16_vec(lo) | bf16_vec(hi) << 16; }

ALWAYS_INLINE evec evec_along(const real *x) {
    vec lo, hi;
    for (int l = 0; l < LANES; l++) lo[l] = x[2 * l], hi[l] = x[2 * l + 1];
    return evec_zip(lo, hi);
}

#endif

// n values into the bf16 numbers at, at + 1, ... of `out`.
ALWAYS_INLINE void values_copy(elem *out, int64_t at, const real *x, int64_t n) {
    bf16 *to = (bf16 *)out + at;
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) evec_store(to + i, evec_along(x + i));
    for (; i < n; i++) to[i] = (uint16_t)bf16_bits(x[i]);
}

// out[i] = (lo[i], hi[i]); hi NULL: (lo[i], 0)
ALWAYS_INLINE void elems_zip(elem *out, const real *lo, const real *hi, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        evec_store(out + i, evec_zip(vec_load(lo + i), hi ? vec_load(hi + i) : (vec){0}));
    for (; i < n; i++) out[i] = elem_make(lo[i], hi ? hi[i] : 0);
}

#endif

// Elems that hold n values.
ALWAYS_INLINE int64_t elems(int64_t n) { return (n + PER_ELEM - 1) / PER_ELEM; }

// n values as elems(n) elems.
ALWAYS_INLINE void elems_row(elem *out, const real *x, int64_t n) {
    values_copy(out, 0, x, n);
    if (n % PER_ELEM) value_put(out, n, 0);
}

#endif
