// What the benchmarks of the replay ring on CPU and device share: sizes, rows, the host's ring.
//
//     struct replay_bench b;
//     if (replay_bench_open(&opts, n_envs_if_none_is_said, &b, &e)) {
//         replay_bench_row(&b, t, &row);      // of all environments, the same for every ring
//         replay_bench_write(&b);             // into the host's ring
//     }
//     replay_bench_close(&b);                 // also where it was not opened
//
// Episodes have 256 rows, the last one terminated. Thread: one.
#ifndef RUN_BENCH_REPLAY_H
#define RUN_BENCH_REPLAY_H

#include "engine/algo/config.h"
#include "engine/data/replay.h"
#include "engine/env/device_play.h"
#include "engine/graph/graph.h"
#include "engine/run/bench/bench.h"

enum { REPLAY_BENCH_ACTIONS = 8 };

struct replay_bench {
    struct config config;
    int length, batch, n_envs, n_terminal; // of a batch, T x B
    int64_t rows;                          // of the ring, of each environment
    uint8_t *pictures;                     // a few, which rows show in turn
    struct replay *ring;
    struct replay_start *starts; // [batch]
    struct replay_batch out;     // [length][batch], owned
    uint64_t step;               // of the next batch
    // of a row, [n_envs]
    uint8_t *obs;
    float *reward;
    uint8_t *first, *terminated, *never;
    int32_t *actions;
};

bool replay_bench_open(const struct bench_replay_opts *o, int n_envs, struct replay_bench *b,
                       struct error *e);
void replay_bench_close(struct replay_bench *b);
// Row t of all environments in b's own arrays; where an episode ends the action is ignored.
struct device_row replay_bench_row(struct replay_bench *b, int64_t t);
void replay_bench_write(struct replay_bench *b);
bool replay_bench_draw(struct replay_bench *b, struct error *e);

// Bytes read and written for one row.
double replay_bench_written(void), replay_bench_gathered(void), replay_bench_unpacked(void);

// A graph that unpacks the pictures of a batch; its input is `packed`.
struct graph *replay_bench_unpack(const struct replay_bench *b, struct tensor **packed);

// Adds a part: `turn` deals with `rows` rows a call. The median of five times several turns:
// `turns` in all, or as many as take four tenths of a second. wait: what a device ends them with,
// or NULL.
typedef bool replay_turn(void *ctx, struct error *e);
bool replay_bench_time(struct bench_replay_result *r, const char *name, int64_t turns, double rows,
                       double bytes, replay_turn *turn, replay_turn *wait, void *ctx,
                       struct error *e);

#endif
