// Benchmarks: the same code the product runs, timed. Medians, so that a busy moment does not count.
#ifndef RUN_BENCH_H
#define RUN_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"
#include "engine/graph/backend.h"

enum { BENCH_MAX_THREADS = 64, BENCH_MAX_ENVS = 65536 };
bool bench_check_limit(const char *option, int64_t given, int64_t limit, struct error *e);

struct bench_train_opts {
    const char *preset; // NULL: tiny
    const char *device; // NULL: cpu
    int64_t n_threads;  // 0: all
    int64_t updates;    // 0: 40
    bool profile;       // also where the time goes; costs a clock read per node
    bool kernels;       // on a device: also each kind and shape of node, with its floor
    bool shapes;        // the same, on the CPU too (bench engine); there it implies `profile`
    bool quick;         // tests: blocks of two updates on a device, kernels timed once and rates
                        // measured at small sizes
    const char *const *settings;
    int n_settings;
};
struct bench_timing {
    double median_ms, min_ms, mean_ms;
};
// A part of the update: the nodes of one scope, with their gradients. Products and convolutions
// count as GFLOP.
struct bench_part {
    const char *name;
    double ms, gflop, product_ms; // of one update; product_ms: of the nodes that count
};
// What an update on a device enqueues of one kind and shape. Its floor is the larger of bytes over
// the copy's rate and FLOP over the rate of its precision; where the tensors lie in the cache it
// can be undercut.
struct bench_kernel {
    char text[96]; // "linear 16x1024 > 16x1536"
    int count, launches;
    double ms, floor_ms, bytes, flop; // of all of them, in one update
};
struct bench_kernels {
    struct bench_kernel *list; // the most expensive first; bench_kernels_free
    int n, launches;           // in all
    int64_t graph_nodes;       // of the captured graph
    double ms, floor_ms;       // sums
    struct backend_rates rates;
};
enum { BENCH_MAX_PARTS = 16, BENCH_MAX_OPS = 96 };
struct bench_op {
    const char *op;
    double ms;
};
struct bench_train_result {
    int updates, n_threads;
    int64_t n_weights, n_nodes_slab_bytes;
    double build_ms;
    // one update, random pictures and rewards; of a joint profile, which has no halves, `full`
    // alone
    struct bench_timing world_model, behaviour, full;
    struct bench_part parts[BENCH_MAX_PARTS]; // with `profile`
    struct bench_op ops[BENCH_MAX_OPS];       // longest first
    int n_parts, n_ops;
    double replay_ms,   // beside the updates: a batch drawn and gathered (bench_replay_batch);
        emulator_ms;    // a policy step of one machine
    double peak_gflops; // of this machine, measured on as many threads (peak.h)
    int64_t launches;   // nodes of the captured graph, on a device
    struct bench_kernels kernels; // with `kernels` or `shapes`
};
bool bench_train(const struct bench_train_opts *opts, struct bench_train_result *out,
                 struct error *e);

// Of a dreamer whose updates are a device's program and that has made one. Makes updates.
struct dreamer;
bool bench_kernels(struct dreamer *d, bool tf32, bool quick, struct bench_kernels *out,
                   struct error *e);
// Of a dreamer on the CPU whose executors were profiled over so many updates: no launches, the
// rates are multiply-adds and reads of memory.
void bench_shapes(struct dreamer *d, int updates, double peak_gflops, double memory_gbytes,
                  struct bench_kernels *out);
void bench_kernels_free(struct bench_kernels *k);
struct backend_rates bench_probes(bool quick); // what a device's rates are asked to be measured at

struct bench_emu_opts {
    const char *rom_path, *task; // both NULL: task sprites
    int64_t n_envs, n_threads;   // 0: 1
    int64_t steps;               // per machine; 0: 250, on a device as many as take 2 seconds
    const char *draw;            // "all", "last", "none"; NULL: last
};
struct bench_emu_result {
    int n_envs, n_threads;
    int64_t frames;
    double seconds, frames_per_second; // best of 5 repetitions
};
// Protocol of spec/gameboy.md 1: 24 frames a step, a random button for frames 0-7.
bool bench_emu(const struct bench_emu_opts *opts, struct bench_emu_result *out, struct error *e);

// The same machines on a device (env/device_play.h): a random button per machine and step, the
// observation of every step written on the device. A sample of the machines is played again on
// the CPU: their states and last pictures must be the same bytes.
enum { BENCH_MAX_SIZES = 4 };
struct bench_emu_size {
    int n_envs, n_checked;
    int64_t steps;                                       // of each machine that were timed
    double seconds, frames_per_second, steps_per_second; // median of 5 repetitions
    char hash[SHA256_HEX_SIZE]; // of the sample: states and pictures, on device and CPU
};
struct bench_emu_device_result {
    int n_sizes;
    struct bench_emu_size size[BENCH_MAX_SIZES]; // n_envs, or 1,024, 4,096, 16,384 and 65,536
};
// The chosen backend's (run/device.h). STATUS_FAILED also where a machine differs from the CPU's:
// the message names it. n_threads: of the CPU's part; `draw` is not looked at.
bool bench_emu_device(const struct bench_emu_opts *opts, struct bench_emu_device_result *out,
                      struct error *e);

// The environments of a task, as training steps them: 24 frames and a packed picture each, the
// action codec, rewards, and for each episode's end a tick in which it is reset. Actions are random
// and were drawn before.
struct bench_env_opts {
    const char *rom_path, *task; // both NULL: task exit_lab; a scene, goal, control task or toy
    int64_t n_envs, n_threads;   // 0: env.num_envs where it is set, else 16; all
    int64_t steps;               // of every environment; 0: as many as take 2 seconds
    const char *const *settings; // keys env.*
    int n_settings;
};
struct bench_env_size {
    int n_envs, n_checked;   // n_checked: on a device, played again on the CPU
    int64_t ticks, steps;    // timed; steps: of all environments, without resets
    int64_t episodes;        // that ended while it was timed
    double seconds;          // median of 5 repetitions, each a fifth of the ticks
    double steps_per_second; // the same
};
struct bench_env_result {
    char task[64];
    int n_threads, n_sizes, frames_per_step; // frames: 0 where there is no machine
    int64_t obs_bytes;
    struct bench_env_size size[BENCH_MAX_SIZES]; // on a device n_envs, or 1,024 to 65,536
};
bool bench_env(const struct bench_env_opts *opts, struct bench_env_result *out, struct error *e);
// Machines, rewards, resets and pictures on the chosen backend's device, in the rows of its replay
// ring; the actions come from the host. The last rows of a sample must be the CPU's:
// STATUS_FAILED where they are not. n_threads: of the CPU's part.
bool bench_env_device(const struct bench_env_opts *opts, struct bench_env_result *out,
                      struct error *e);

// The replay ring, with the sizes of a preset's batches: rows written (one of each environment at
// a time), drawn, drawn and gathered, their pictures unpacked to floats.
struct bench_replay_opts {
    const char *preset;          // NULL: tiny
    int64_t n_envs, n_threads;   // 0: env.num_envs where it is set, else 1 (on a device 256); all
    int64_t steps;               // rows of an environment, and batches; 0: by time
    const char *const *settings; // keys: sizes, buffer.size, the share of terminal sequences
    int n_settings;
};
struct bench_replay_part {
    const char *name;
    double rows_per_second, bytes_per_second; // read and written; 0: none worth counting
};
enum { BENCH_REPLAY_PARTS = 4 };
struct bench_replay_result {
    int n_envs, n_threads, length, batch, n_parts; // threads: of the unpacking alone
    int64_t rows;                                  // of the ring, of each environment
    double memory_bytes_per_s;                     // reads (peak.h); of a device a copy's
    struct bench_replay_part part[BENCH_REPLAY_PARTS];
};
bool bench_replay(const struct bench_replay_opts *opts, struct bench_replay_result *out,
                  struct error *e);
// Its part "drawn, gathered" alone, with one environment: milliseconds of a batch.
struct config;
bool bench_replay_batch(const struct config *config, double *ms, struct error *e);
// On the chosen backend's device, the rows coming from the host. A batch of both rings is compared:
// STATUS_FAILED where it is not the CPU's.
bool bench_replay_device(const struct bench_replay_opts *opts, struct bench_replay_result *out,
                         struct error *e);

#endif
