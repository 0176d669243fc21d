// Benchmarks: the same code the product runs, timed. Medians, so that a busy moment does not count.
#ifndef RUN_BENCH_H
#define RUN_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { BENCH_MAX_THREADS = 64 };

struct bench_train_opts {
    const char *preset;                 // NULL: tiny
    int64_t n_threads;                  // 0: all
    int64_t updates;                    // 0: 40
    const char *const *settings;
    int n_settings;
};
struct bench_train_result {
    int updates, n_threads;
    int64_t n_weights, n_nodes_slab_bytes;
    double build_ms, median_ms, min_ms;          // one world-model update, random pictures and rewards
};
bool bench_train(const struct bench_train_opts *opts, struct bench_train_result *out, struct error *e);

struct bench_emu_opts {
    const char *rom_path, *task;        // both NULL: task sprites
    int64_t n_envs, n_threads;          // 0: 1
    int64_t steps;                      // per machine; 0: 250
    const char *draw;                   // "all", "last", "none"; NULL: last
};
struct bench_emu_result {
    int n_envs, n_threads;
    int64_t frames;
    double seconds, frames_per_second;  // best of 5 repetitions
};
// Protocol of spec/gameboy.md 1: 24 frames a step, a random button for frames 0-7.
bool bench_emu(const struct bench_emu_opts *opts, struct bench_emu_result *out, struct error *e);

#endif
