// Replay ring: rows of N environments in sheeprl's alignment; sampled sequences for the learner.
//
//     struct replay_opts o = {.rows = 10000, .n_envs = 1, .n_actions = 8};
//     struct replay *r = replay_new(&o, &e);
//     // each tick, for every environment n:
//     render_into(replay_slot(r, n));  // the frame, straight into its row
//     replay_write_arrival(r, n, reward, is_first, terminated, truncated);
//     replay_write_action(r, n, action);  // chosen at that frame; -1 on a terminal row
//     replay_commit(r);  // all environments are in: the row counts
//     // the learner:
//     if (replay_can_sample(r, T)) replay_sample(r, seed, opt_steps, T, B, &batch, &e);
//
// Row i of an environment: o_i, a_i (chosen after seeing o_i), r_i and the flags of *arriving* at
// o_i (spec/dreamer_v3.md 3.5 SA, 8.5). A terminal row holds the final frame, no action, its reward
// and flags; the next tick writes the reset row: reward 0, is_first. Time-major ring with one write
// head for all environments (which stay in lock-step):
//
//     slot = t mod rows:  [row 0: env 0..N-1][row 1: ...]...       t = 0, 1, 2... logical time
//     readable:           max(0, total - rows + guard) <= t < total - safety_margin
//
// `guard` rows at the old end are never sampled: a writer may overwrite them while a batch is
// gathered. The first write of an uncommitted row takes one more (its slot is being destroyed).
// Sequences may cross episode ends, never the write head.
//
// Threads: one writer and one sampler. If they are two, take a window between ticks (replay_window)
// and let the writer begin at most `guard` rows until the gather is done; a lapped row is a CHECK
// failure, never bad data.
#ifndef DATA_REPLAY_H
#define DATA_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/real.h"
#include "engine/data/safetensors.h"
#include "engine/data/spaces.h"

enum { REPLAY_OBS_BYTES = 1440, REPLAY_NO_ACTION = -1 };

struct replay_opts {
    int64_t rows; // capacity per environment
    int n_envs;
    int n_actions; // width of the one-hot, or of the continuous action
    int obs_bytes; // 0: REPLAY_OBS_BYTES (packed2)
    int n_vector;  // the last bytes of an observation are so many floats
    // Of width n_actions; copied. NULL: one head.
    const struct action_space *actions;
    int guard; // see above; 0 where writing and sampling take turns
    // Ranks draw what the rows [first_row, ...) of one batch of theirs together draw.
    int64_t first_row;
    int safety_margin; // newest rows that are hidden from sampling
    // Keep the rows in a nameless file on this folder's disk, for rings larger than memory; NULL:
    // in memory.
    const char *file_folder;
};

struct replay;
struct replay *replay_new(const struct replay_opts *opts,
                          struct error *e); // memory is touched as rows come
void replay_free(struct replay *r);         // NULL is fine

// ---- writing
uint8_t *replay_slot(struct replay *r, int env); // obs_bytes of the row being written
void replay_write_arrival(struct replay *r, int env, float reward, bool is_first, bool terminated,
                          bool truncated);
void replay_write_action(struct replay *r, int env,
                         int action); // 0..n_actions-1 or REPLAY_NO_ACTION
// The same where there are several heads, or continuous values; NULL: none (a terminal row).
void replay_write_heads(struct replay *r, int env, const int32_t *heads);
void replay_write_values(struct replay *r, int env, const float *values);
void replay_commit(struct replay *r); // CHECKs that both parts of all environments are in

// ---- a ring that lies elsewhere (on a device) and comes here to be saved: its arrays,
// [rows][n_envs] each, of discrete actions of one head, and how many rows somebody has written to
// them.
struct replay_arrays {
    uint8_t *obs;
    int32_t *action, *episode_id;
    float *reward;
    uint8_t *is_first, *terminated, *truncated;
};
struct replay_arrays replay_arrays(struct replay *r);
void replay_set_total(struct replay *r, int64_t total);

// ---- state
int64_t
replay_total(const struct replay *r); // rows per environment committed so far (logical time)
int64_t
replay_size(const struct replay *r); // rows of all environments in the ring (metric replay_size)
int64_t replay_capacity(const struct replay *r); // rows of all environments it can hold
int64_t replay_ready(const struct replay *r);    // rows of all environments that may be sampled

struct replay_window {
    int64_t first, end;
}; // logical rows [first, end) that may be sampled now
struct replay_window replay_window(const struct replay *r);

// One row as stored (the true flags). t must be in the ring (CHECK).
struct replay_row {
    const uint8_t *obs;
    int32_t action, episode_id; // the first head's; of continuous ones 0 or REPLAY_NO_ACTION
    const int32_t *heads;       // [n_heads]
    const float *values;        // [n_continuous]; NULL: discrete
    float reward;
    bool is_first, terminated, truncated;
};
struct replay_row replay_row(const struct replay *r, int64_t t, int env);

// ---- sampling. Any pointer may be NULL: then that part is not gathered.
struct replay_batch {
    uint8_t *packed;    // [T][B][obs_bytes without the vector's]
    real *vector;       // [T][B][n_vector]
    real *actions;      // [T][B][A] one-hot of a_t, head after head, or its values; 0 where none is
    real *prev_actions; // [T][B][A] what leads to o_t: a_{t-1}; 0 at t = 0 and where is_first
    real *rewards;      // [T][B] on arriving
    real *continues;    // [T][B] 1 - terminated; truncation keeps 1
    real *is_first;     // [T][B]; 1 in the rows of t = 0, whatever is stored
};
struct replay_start {
    int64_t env, t;
};

bool replay_can_sample(const struct replay *r, int length); // a window of `length` rows is readable
// Starts of B sequences: environment uniform from (seed, RNG_REPLAY_ENV, step, b), start uniform
// over all valid ones from (seed, RNG_REPLAY_START, step, b), b from first_row on. Depends on
// nothing else. The first n_terminal of them are drawn otherwise once the window has a terminated
// row: such a row uniformly (ENV's number), then uniformly among the starts whose sequence holds it
// (START's): the skewed replay of sparse rewards (Jaderberg et al. 2016, 3.2). False if there are
// fewer than `length` rows. Reads the flags of the whole window: a byte a row.
bool replay_draw(const struct replay *r, struct replay_window window, uint64_t seed, uint64_t step,
                 int length, int batch, int n_terminal, struct replay_start *starts,
                 struct error *e);
void replay_gather(const struct replay *r, const struct replay_start *starts, int length, int batch,
                   const struct replay_batch *out);
// Both on the window of now. At most 4096 sequences.
bool replay_sample(const struct replay *r, uint64_t seed, uint64_t step, int length, int batch,
                   const struct replay_batch *out, struct error *e);
// The `length` rows of one environment before logical row `end` as a batch of 1; false if there are
// fewer. Ignores the margin, not the guard: `end` was the total when the writer's rows began.
bool replay_rows_before(const struct replay *r, int env, int64_t end, int length,
                        const struct replay_batch *out);

// ---- invariants and files
// What every stored row must obey (spec 8.4): episode ids rise by one exactly at first rows, first
// rows have reward 0 and no end flag, rows that end an episode have no action and are followed by a
// first row, actions are in range (continuous ones finite).
bool replay_check(const struct replay *r, struct error *e);
// The ring as tensors for safetensors_write (names "replay/..."), pointing into the ring. Not while
// a row is half written.
enum { REPLAY_MAX_TENSORS = 9 };
int replay_tensors(struct replay *r, struct st_source out[REPLAY_MAX_TENSORS]); // returns how many
// Fills a ring of equal options from those; untouched when false (wrong sizes, broken invariants).
bool replay_restore(struct replay *r, const struct safetensors *s, struct error *e);

#endif
