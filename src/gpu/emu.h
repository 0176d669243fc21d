// Machines on the device: what the kernels of emu.cu and play.cu share.
//
// One thread runs one machine. Its registers (struct gb without memories, some 800 bytes) are taken
// into the thread's own memory for a step; RAM stays in global memory, sixteen bytes of each of 32
// machines in turn, so that the lanes of a warp that read the same address read one stretch.
#ifndef GPU_EMU_H
#define GPU_EMU_H

#include "gpu/gpu.h" // first: the C headers need what it says

#include "engine/env/device_play.h"

enum {
    OBS_WORDS = GB_OBS_BYTES / 4,
    MEMORY_WORDS = GB_MEMORY_BYTES / 4,
    GRANULE_WORDS = GB_GRANULE / 4
};
// Which picture of a machine is its observation; SHOWN_FIRST + k: number k.
enum { SHOWN_START, SHOWN_BLANK, SHOWN_FIRST };
enum { FLAG_TERMINATED = 1, FLAG_TRUNCATED = 2, FLAG_LOCKED = 4, FLAG_FIRST = 8 };

// Of every machine, on the device. What the last orders made of it.
struct machine_results {
    buf<float> reward, distance;
    buf<uint32_t> flags;
    buf<uint32_t> frames; // [n][OBS_WORDS], unless the ring's row takes them
};

struct machine_room; // registers and memories: emu.cu

struct device_machines {
    struct gpu gpu; // the stream of acting
    struct machine_room *room;
    int n;
    buf<int32_t> orders;
    struct machine_results results;
    // The goal and every machine's way to it (judge.cu).
    struct goal_rules rules;
    int n_goal_frames;        // 0: no goal
    buf<const uint32_t> goal; // [n_goal_frames][OBS_WORDS]
    buf<uint32_t> previous;   // [n][n_goal_frames - 1][OBS_WORDS]
    buf<float> progress_distance;
    buf<int32_t> progress_count, progress_step;
};

// emu.cu: runs the orders that lie on the device, observations to `frames` [n][OBS_WORDS].
void machines_enqueue(struct device_machines *m, buf<uint32_t> frames);
void machines_fill_table(struct device_play *p);
void ring_fill_table(struct device_play *p); // ring.cu
// judge.cu: results of the orders from what `frames` show.
void machines_judge(struct device_machines *m, buf<const uint32_t> frames);
void machines_judge_in(struct gpu *g, struct device_machines *m, buf<const uint32_t> frames);
// Both in any stream, to m->results; the caller orders it with the machines' own.
void machines_play(struct device_machines *m, struct gpu *g);

#endif
