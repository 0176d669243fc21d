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

#include "emu/gb_image.h"
#include "engine/env/goal_rules.h"

struct backend;

enum { DEVICE_PLAY_VERSION = 1, DEVICE_MAX_ACTIONS = 16 };
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
    const char *(*machines_message)(const struct device_machines *m); // why the last call failed
};

// The library's, NULL where it was built from another version (why says so).
const struct device_play *device_play_of(const struct backend *b, char *why, size_t size);

#endif
