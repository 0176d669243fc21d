// What the emulator's benchmarks on CPU and device share: the ROM, and who presses what when.
#ifndef RUN_BENCH_EMU_H
#define RUN_BENCH_EMU_H

#include "base/philox.h"
#include "emu/gb.h"
#include "engine/run/bench/bench.h"

#define BENCH_CODEC "pokemonred_puffer_v0"

// *owned: bytes to free, also where it fails.
bool bench_open_rom(const struct bench_emu_opts *o, struct gb_rom *rom, uint8_t **owned,
                    struct error *e);

// What machine n does in its step `step`.
static inline int bench_action(const struct gb_action_codec *codec, int64_t step, int n) {
    return (int)rng_below(1, RNG_TEST, (uint64_t)step, (uint32_t)n, (uint32_t)codec->n_actions);
}

#endif
