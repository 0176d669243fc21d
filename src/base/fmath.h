// Elementary functions for kernels: branch-free, so that compilers vectorise loops over them.
// Valid C17 and CUDA C++.
//
//     for (int64_t i = 0; i < n; i++) y[i] = fast_sigmoid(x[i]);
//
// In float: own range reductions and polynomials, within 2e-7 relative of the true value wherever
// that is a normal number (tests/base/test_fmath.c measures each function). In a -DREAL=double
// build: libm, so gradient checks see no polynomial. NaN gives NaN; infinities, overflow and
// underflow end as the mathematical limits say. Must not be compiled with -ffast-math. Polynomials:
// interpolation at Chebyshev nodes of the reduced range.
#ifndef BASE_FMATH_H
#define BASE_FMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/hd.h"
#include "base/real.h"

// A call left in a loop would keep it scalar, so inlining is not left to the compiler's taste.
#if defined(__CUDACC__)
#define FMATH HD
#else
#define FMATH static inline __attribute__((always_inline, unused))
#endif

#define REAL_IS_DOUBLE                                                                             \
    (sizeof(real) == sizeof(double)) // a constant: one branch of each function remains

FMATH uint32_t fmath_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

FMATH float fmath_float(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

// x = k ln2 + *r with |*r| <= ln2 / 2; returns k as an integer in two's complement. |x| < 2^21.
FMATH uint32_t fmath_reduce(float x, float *r) {
    const float magic = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer
    const float shifted = x * 1.44269504f + magic, k = shifted - magic;
    *r = (x - k * 0.693359375f) - k * -2.12194440e-4f; // ln2 in two parts, the first exact times k
    return fmath_bits(shifted) - 0x4B400000u;
}

// (exp(r) - 1 - r) / r^2
FMATH float fmath_exp_tail(float r) {
    return 0.5f +
           r * (0.166665734f + r * (0.0416665501f + r * (0.00836377387f + r * 0.00139269266f)));
}

FMATH real fast_exp(real x) {
    if (REAL_IS_DOUBLE) return (real)exp((double)x);
    float t = (float)x, r;
    t = t > 89.0f ? 89.0f : t;
    t = t < -104.0f ? -104.0f : t;
    const uint32_t k = fmath_reduce(t, &r);
    const float p = 1.0f + (r + r * r * fmath_exp_tail(r));
    // 2^k in two factors: k from -150 to 128 does not fit one exponent.
    const uint32_t half = (uint32_t)((int32_t)k >> 1);
    return (real)(p * fmath_float((half + 127u) << 23) * fmath_float((k - half + 127u) << 23));
}

// exp(x) - 1 without cancellation.
FMATH real fast_expm1(real x) {
    if (REAL_IS_DOUBLE) return (real)expm1((double)x);
    float t = (float)x, r;
    t = t > 80.0f ? 80.0f : t;
    t = t < -30.0f ? -30.0f : t;
    const uint32_t k = fmath_reduce(t, &r);
    const float p = r + r * r * fmath_exp_tail(r), scale = fmath_float((k + 127u) << 23);
    const float y = scale * p + (scale - 1.0f);
    return x > (real)80 ? fast_exp(x) : (real)y;
}

FMATH real fast_log(real x) {
    if (REAL_IS_DOUBLE) return (real)log((double)x);
    const float v = (float)x, infinity = fmath_float(0x7F800000u);
    const float tiny = v < 1.17549435e-38f ? 1.0f : 0.0f; // subnormals are scaled up by 2^24
    const uint32_t bits = fmath_bits(v * (tiny > 0.0f ? 16777216.0f : 1.0f));
    const uint32_t offset =
        bits - 0x3F3504F3u; // sqrt(1/2): the mantissa lies in [sqrt(1/2), sqrt(2))
    const float e = (float)((int32_t)offset >> 23) - 24.0f * tiny;
    const float f = fmath_float((offset & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    const float tail =
        0.333333305f +
        f * (-0.250003188f +
             f * (0.200011126f +
                  f * (-0.16640593f +
                       f * (0.142116742f +
                            f * (-0.130043317f + f * (0.126508133f + f * -0.0792082068f))))));
    float y = e * -2.12194440e-4f + f * f * (f * tail - 0.5f);
    y = e * 0.693359375f + (f + y);
    y = v < infinity ? y : v; // infinity and NaN are their own logarithms
    y = v == 0.0f ? -infinity : y;
    return (real)(v < 0.0f ? fmath_float(0x7FC00000u) : y);
}

// log(1 + x) for x > -1, without loss for small x.
FMATH real fast_log1p(real x) {
    if (REAL_IS_DOUBLE) return (real)log1p((double)x);
    const real u = x + 1,
               lost = (x - (u - 1)) / u; // what rounding 1 + x dropped; NaN at -1 and infinity
    return fast_log(u) + (lost == lost ? lost : 0);
}

FMATH real fast_sigmoid(real x) { return 1 / (1 + fast_exp(-x)); }

FMATH real fast_tanh(real x) {
    if (REAL_IS_DOUBLE) return (real)tanh((double)x);
    const float v = (float)x, z = v * v, a = fabsf(v);
    const float near =
        v +
        v * z *
            (-0.333333289f +
             z * (0.133327697f + z * (-0.0538509096f + z * (0.0209971792f + z * -0.00609671436f))));
    const float far = 1.0f - 2.0f / ((float)fast_exp((real)(2.0f * a)) + 1.0f);
    return (real)(a < 0.625f ? near : v < 0.0f ? -far : far);
}

FMATH real fast_silu(real x) { return x / (1 + fast_exp(-x)); }

FMATH real fast_sqrt(real x) {
    return REAL_IS_DOUBLE ? (real)sqrt((double)x) : (real)sqrtf((float)x);
}
FMATH real fast_abs(real x) {
    return REAL_IS_DOUBLE ? (real)fabs((double)x) : (real)fabsf((float)x);
}

// log(1 + exp(x))
FMATH real fast_softplus(real x) {
    const real y = fast_log1p(fast_exp(-fast_abs(x)));
    return y + (x > 0 ? x : 0);
}

// sign(x) log(1 + |x|) and its inverse (spec/dreamer_v3.md 4)
FMATH real fast_symlog(real x) {
    const real y = fast_log1p(fast_abs(x));
    return x < 0 ? -y : y;
}

FMATH real fast_symexp(real x) {
    const real y = fast_expm1(fast_abs(x));
    return x < 0 ? -y : y;
}

#endif
