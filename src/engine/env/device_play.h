// Machines and a replay ring on a device: what the device library offers beside graphs.
//
//     const struct device_play *play = device_play_of(backend, why, sizeof why);  // NULL: why not
//     struct device_machines *m = play->machines_new(&opts, why, sizeof why);
//     int32_t orders[N] = {DEVICE_RESET, ...};           // then actions, or DEVICE_REST
//     if (!play->machines_run(m, orders) || !play->machines_results(m, results, obs))
//         fail(play->machines_message(m));
//
// The machines are those of src/emu, compiled for the device: the same bits as env/gameboy.h, the
// goal's rules (goal_rules.h) included. A reset copies the start machine and shows `start_obs`; it
// emulates nothing. Like every environment the batch never resets itself.
//
// Memory: 49,152 bytes of RAM a machine, interleaved over the 32 lanes of a warp (emu/gb_types.h),
// and some 5 KB beside; ROM and start machine are shared. Addresses never change.
//
// Errors: functions return false (or NULL) and say why in one line; after the first error nothing
// runs any more. Threads: a struct belongs to one thread at a time.
// Valid C17 and C++17.
#ifndef ENV_DEVICE_PLAY_H
#define ENV_DEVICE_PLAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "emu/gb_image.h"
#include "engine/env/goal_rules.h"

struct backend;

enum { DEVICE_PLAY_VERSION = 7, DEVICE_MAX_ACTIONS = 16, N_RING_ARRAYS = 5 };
// What a machine is to do: an action's number, or one of these.
enum { DEVICE_REST = -2, DEVICE_RESET = -1 };

struct device_machines_opts {
    const struct gb_rom *rom;     // copied, with its bytes
    const struct gb_image *start; // what a reset makes of a machine
    const uint8_t *start_obs;     // [GB_OBS_BYTES] the first observation of an episode
    int n_machines;               // 1 to 65,536
    int n_frames, release_after;  // of a step (emu/gb_action.h)
    int n_actions;
    const uint8_t *buttons;         // [n_actions]
    const uint8_t *goal;            // [n_goal_frames][GB_OBS_BYTES], the oldest first
    int n_goal_frames;              // 0: no goal, reward 0
    const struct goal_rules *rules; // copied; without a goal only max_steps counts
};

// Of one machine, as env.h has it.
struct device_result {
    float reward, distance;
    bool terminated, truncated, locked;
};

// The replay ring, rows as engine/data/replay.h has them (pictures, one action of n), time-major,
// in device memory. Two streams: the actor's (the machines') writes, the learner's draws and
// gathers; the host only counts. The fences between them:
//
//   commit     after every `commit_stride` rows an event stands in the actor's stream; the learner
//              waits for it before it reads, and reads nothing younger
//   read done  after a gather an event stands in the learner's stream; the actor waits for it
//              before it overwrites a row that the gather may read
//   readable:  max(0, total - rows + guard, claimed - rows) <= t < committed - safety_margin
//
// `guard` rows at the old end stay out of every window, so that the actor may write as many before
// it has to wait. A row that is being written counts as claimed: what it overwrites is lost.
struct device_ring_opts {
    int64_t rows; // capacity per environment
    int n_envs, n_actions;
    int guard, safety_margin;
    int commit_stride;         // 1 or more
    int max_length, max_batch; // of a batch: T, B
};
struct device_row { // [n_envs] each; of a row, from the host
    const uint8_t *obs;
    const float *reward;
    const uint8_t *is_first, *terminated, *truncated;
};
// All rows that a ring holds, on the host: [rows][n_envs] each, as engine/data/replay.h keeps them.
struct device_rows {
    int64_t total;
    uint8_t *obs;
    int32_t *action, *episode;
    float *reward;
    uint8_t *is_first, *terminated, *truncated;
    double *episode_return, *episode_length; // [n_envs] of the machines' episodes in progress
};
// A batch on the host, as struct replay_batch; any may be NULL.
struct device_batch {
    int64_t *starts; // [B][2]: environment, logical row
    uint8_t *packed;
    real *actions, *prev_actions, *rewards, *continues, *is_first; // a device's reals are floats
};
// The same on the device, at addresses that never change.
struct device_batch_at {
    void *packed, *actions, *prev_actions, *rewards, *continues, *is_first;
};
// What the machines' episodes did (ring_sums).
struct device_sums {
    double n, n_success, n_truncated; // episodes that ended; success: terminated
    double return_sum, length_sum;    // of those
    double n_locked;                  // steps of machines that stand still for good
    double actions[DEVICE_MAX_ACTIONS];
};
struct device_times {
    // Without what the actor waited for its policy's weights. both: side by side.
    double actor_ms, learner_ms, both_ms;
};
struct device_sample {
    uint64_t seed, step;
    int length, batch, n_terminal; // replay_draw's
};

struct device_ring;
struct device_machines;
struct device_play {
    uint32_t version, image_bytes, rom_bytes; // as the library was compiled
    struct device_machines *(*machines_new)(const struct device_machines_opts *opts, char *message,
                                            size_t size); // no machine was reset yet
    void (*machines_free)(struct device_machines *m);     // NULL is fine
    // Orders of the host, [n_machines]; enqueued.
    bool (*machines_run)(struct device_machines *m, const int32_t *orders);
    // Of the last orders, [n_machines] and [n_machines][GB_OBS_BYTES] (either may be NULL); waits.
    // A machine that rested has what it had before.
    bool (*machines_results)(struct device_machines *m, struct device_result *out, uint8_t *obs);
    // Machine i as it is now; waits.
    bool (*machines_take)(struct device_machines *m, int i, struct gb_image *out);
    // Its way to the goal, and the [n_goal_frames - 1] frames before its last one; waits.
    bool (*machines_progress)(struct device_machines *m, int i, struct goal_count *out,
                              uint8_t *previous);
    // Machine i becomes that, between two orders. What it shows is known after the next one.
    bool (*machines_give)(struct device_machines *m, int i, const struct gb_image *image,
                          const struct goal_count *count, const uint8_t *previous);
    const char *(*machines_message)(const struct device_machines *m); // why the last call failed

    // ---- the ring; `m` plays into it and must outlive it, or NULL: only the host writes
    struct device_ring *(*ring_new)(const struct device_ring_opts *opts, struct device_machines *m,
                                    char *message, size_t size);
    void (*ring_free)(struct device_ring *r); // NULL is fine; waits for both streams
    // A row: first one of these two, then its actions, then ring_commit. All enqueued.
    bool (*ring_tick)(struct device_ring *r); // the machines: what the last row says, or resets
    bool (*ring_put)(struct device_ring *r, const struct device_row *row);
    // Chosen at the row's observations; ignored where the episode ended. From the host (NULL: the
    // last ones that were), or where they lie on the device.
    bool (*ring_act)(struct device_ring *r, const int32_t *actions, bool on_device);
    bool (*ring_commit)(struct device_ring *r);
    // Sums over the machines' episodes, without waiting for what plays: ring_fence, enqueued, ends
    // what the next ring_sums gives, which begins where the last one ended. `distance` [n_envs] to
    // the goal at the fence, -1 where an episode has just begun; NULL: nobody wants it.
    bool (*ring_fence)(struct device_ring *r);
    bool (*ring_sums)(struct device_ring *r, struct device_sums *out, float *distance); // waits
    // Rows so far, and logical rows [first, end) that may be read now.
    int64_t (*ring_total)(const struct device_ring *r);
    void (*ring_window)(const struct device_ring *r, int64_t *first, int64_t *end);
    // Draws as replay_draw with that window and gathers, in the learner's stream. False also where
    // too few rows are readable: then the message says so and the ring goes on.
    bool (*ring_sample)(struct device_ring *r, const struct device_sample *s);
    bool (*ring_fetch)(struct device_ring *r, const struct device_batch *out); // the last; waits
    // Programs (graph/backend.h: COMMAND_SAMPLE): the window of the launches from now on, which
    // ring_window has given, and where they put their batches of that size, whichever is not NULL.
    void (*ring_aim)(struct device_ring *r, int64_t first, int64_t end);
    bool (*ring_batch_into)(struct device_ring *r, const struct device_batch_at *at, int length,
                            int batch);
    // The `length` rows of one environment before row `end` as a batch of 1 for ring_fetch.
    bool (*ring_rows)(struct device_ring *r, int env, int64_t end, int length);
    // How long the machines played since the last fence and programs learned from the window that
    // ring_aim gave last, by the device's clock; waits for both. False: nothing yet.
    bool (*ring_times)(struct device_ring *r, struct device_times *out);
    struct device_batch_at (*ring_batch_at)(const struct device_ring *r);
    // Between two rows, for checkpoints: the ring to the host's arrays, or what they hold to the
    // ring, whose rows so far are lost. Both wait.
    bool (*ring_save)(struct device_ring *r, struct device_rows *to);
    bool (*ring_load)(struct device_ring *r, const struct device_rows *from);
    // [N_RING_ARRAYS]: obs, action, episode, reward, flags on the device.
    void (*ring_arrays)(const struct device_ring *r, const void **at);
    const char *(*ring_message)(const struct device_ring *r);
};

// The library's, NULL where it was built from another version (why says so).
const struct device_play *device_play_of(const struct backend *b, char *why, size_t size);

#endif
