// Packed frames, two bits a pixel, made into reals: shades between -0.5 and 0.5, and stacks of
// levels.
#ifndef GRAPH_KERNELS_FRAMES_H
#define GRAPH_KERNELS_FRAMES_H

#include "engine/graph/kernels_vec.h"

// A byte holds four pixels, the first in the lowest bits; a shade becomes shade / 3 - 0.5
// (spec 1.1).
#define SHADE(s) ((real)(s) / (real)3 - (real)0.5)
#define BYTE_1(b)                                                                                  \
    { SHADE((b)&3), SHADE((b) >> 2 & 3), SHADE((b) >> 4 & 3), SHADE((b) >> 6 & 3) }
#define BYTE_4(b) BYTE_1(b), BYTE_1((b) + 1), BYTE_1((b) + 2), BYTE_1((b) + 3)
#define BYTE_16(b) BYTE_4(b), BYTE_4((b) + 4), BYTE_4((b) + 8), BYTE_4((b) + 12)
#define BYTE_64(b) BYTE_16(b), BYTE_16((b) + 16), BYTE_16((b) + 32), BYTE_16((b) + 48)
static const real unpack2_table[256][4] = {BYTE_64(0), BYTE_64(64), BYTE_64(128), BYTE_64(192)};

// LANES pixels of a word of 16, the lowest first.
#if defined(VEC_INTRINSIC) && VEC_BYTES >= 32
ALWAYS_INLINE vec unpack2_vec(uint32_t word, int first) {
    vec shade;
    vec_int shift;
    VEC_EACH(l, LANES) shade[l] = SHADE(l & 3), shift[l] = 2 * (first + l);
    const vec_int levels = ((int32_t)word - (vec_int){0}) >> shift; // of which two bits are read
#if VEC_BYTES == 64
    return (vec)_mm512_permutevar_ps((__m512)shade, (__m512i)levels);
#else
    return (vec)_mm256_permutevar_ps((__m256)shade, (__m256i)levels);
#endif
}
#endif

static void rows_unpack2(int64_t n_bytes, const uint8_t *restrict packed, real *restrict out) {
    int64_t i = 0;
#if defined(VEC_INTRINSIC) && VEC_BYTES >= 32
    for (; i + 4 <= n_bytes; i += 4) {
        uint32_t word;
        memcpy(&word, packed + i, sizeof word);
        VEC_EACH(v, 16 / LANES)
        vec_store(out + 4 * i + v * LANES, unpack2_vec(word, v * LANES));
    }
#endif
    for (; i < n_bytes; i++) memcpy(out + 4 * i, unpack2_table[packed[i]], 4 * sizeof(real));
}

// Four frames: the four bytes of a place are one word, whose 16 pixels are shifted out at once.
// Words are made some at a time, so that bytes are read as vectors.
enum { UNPACK_WORDS = 32 };
typedef int32_t shades16 __attribute__((vector_size(64)));
typedef real reals16
    __attribute__((vector_size(16 * sizeof(real)), aligned(REAL_BYTES), may_alias));

static void unpack_words(const int32_t *words, int64_t n, real *out) {
    const shades16 shift = {0, 8, 16, 24, 2, 10, 18, 26, 4, 12, 20, 28, 6, 14, 22, 30};
    for (int64_t b = 0; b < n; b++)
        *(reals16 *)(out + 16 * b) =
            __builtin_convertvector((words[b] - (shades16){0}) >> shift & 3, reals16);
}

static void unpack_four(int64_t n_bytes, const uint8_t *restrict packed, real *restrict out) {
    int32_t words[UNPACK_WORDS];
    for (int64_t b = 0; b < n_bytes; b += UNPACK_WORDS) {
        const int64_t n = kmin(UNPACK_WORDS, n_bytes - b);
        const uint8_t *from = packed + b;
        for (int64_t i = 0; i < n; i++)
            words[i] = (int32_t)(from[i] | (uint32_t)from[n_bytes + i] << 8 |
                                 (uint32_t)from[2 * n_bytes + i] << 16 |
                                 (uint32_t)from[3 * n_bytes + i] << 24);
        unpack_words(words, n, out + 16 * b);
    }
}

static void rows_unpack_stack(int64_t depth, int64_t n_bytes, const uint8_t *restrict packed,
                              real *restrict out) {
    if (depth == 4) {
        unpack_four(n_bytes, packed, out);
        return;
    }
    for (int64_t k = 0; k < depth; k++)
        for (int64_t i = 0; i < 4 * n_bytes; i++)
            out[i * depth + k] = (real)(packed[k * n_bytes + i / 4] >> i % 4 * 2 & 3);
}

#endif
