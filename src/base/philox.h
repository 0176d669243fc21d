// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC'11). No state, no global
// generator.
//
//     float u = rng_uniform(seed, RNG_REPLAY, step, index);
//
// A stream is (seed, purpose, step, index): the same four numbers give the same bits on every
// machine, on CPU and GPU, whatever the order or the number of threads.
#ifndef BASE_PHILOX_H
#define BASE_PHILOX_H

#include <stdint.h>

#include "base/hd.h"

enum rng_purpose { // recorded in checkpoints' meaning: append only
    RNG_INIT = 1,
    RNG_REPLAY_ENV,
    RNG_REPLAY_START,
    RNG_POSTERIOR,
    RNG_PRIOR,
    RNG_ACTOR,
    RNG_PREFILL,
    RNG_RESET,
    RNG_ROLLOUT_POSTERIOR,
    RNG_ROLLOUT_PRIOR,
    RNG_TEST,
    RNG_PLAYER_POSTERIOR,
    RNG_PLAYER_ACTION,
    RNG_EVAL_START,
    RNG_EVAL_ACTION,
    RNG_PPO_ACTION,
    RNG_PPO_SHUFFLE,
    RNG_ACTOR_NORMAL,
    RNG_PLAYER_NORMAL,
    RNG_CONTROL_START,
    RNG_PREFILL_VALUES
};

struct philox {
    uint32_t v[4];
};

HD struct philox philox4x32_10(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
                               uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    struct philox r;
    r.v[0] = c0;
    r.v[1] = c1;
    r.v[2] = c2;
    r.v[3] = c3;
    return r;
}

// Four random words of block `block` of the stream (seed, purpose, step). step < 2^32, purpose <
// 2^32.
HD struct philox rng_block(uint64_t seed, uint32_t purpose, uint64_t step, uint32_t block) {
    return philox4x32_10(block, (uint32_t)step, (uint32_t)(step >> 32), purpose, (uint32_t)seed,
                         (uint32_t)(seed >> 32));
}

HD uint32_t rng_u32(uint64_t seed, uint32_t purpose, uint64_t step, uint32_t index) {
    return rng_block(seed, purpose, step, index >> 2).v[index & 3];
}

// 24 random bits as a float in [0, 1).
HD float rng_to_uniform(uint32_t word) { return (float)(word >> 8) * (1.0f / 16777216.0f); }

HD float rng_uniform(uint64_t seed, uint32_t purpose, uint64_t step, uint32_t index) {
    return rng_to_uniform(rng_u32(seed, purpose, step, index));
}

// Integer in [0, n) by the high half of a product (bias < n / 2^32). n >= 1.
HD uint32_t rng_below(uint64_t seed, uint32_t purpose, uint64_t step, uint32_t index, uint32_t n) {
    return (uint32_t)(((uint64_t)rng_u32(seed, purpose, step, index) * n) >> 32);
}

#endif
