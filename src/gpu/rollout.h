// PPO's rollout on the device: what its host part (rollout.cu), its kernels (rollout_play.cu,
// rollout_learn.cu) and programs (program_commands.cu) share. engine/algo/ppo/device_rollout.h is
// the manual.
//
// Row `stack - 1 + t` of frames and ages is what step t sees; between two rollouts the last
// `stack` rows hold what the next one begins with.
#ifndef GPU_ROLLOUT_H
#define GPU_ROLLOUT_H

#include "gpu/emu.h"
#include "gpu/optim.h" // STATE_...

#include "engine/algo/ppo/device_rollout.h"

struct rollout_arrays {
    int64_t n_steps, n_envs, n_actions, stack, n_finals;
    buf<uint32_t> frames; // [stack + n_steps][n_envs][OBS_WORDS]
    buf<int32_t> ages;    // [stack + n_steps][n_envs]
    buf<int32_t> actions; // like the rest [n_steps][n_envs]
    buf<real> log_probs, values, rewards, final_values, advantages, returns;
    buf<uint32_t> flags; // FLAG_...
    buf<float> distances;
    buf<real> last_values; // [n_envs]
    buf<uint32_t> finals;  // [n_finals][n_envs][OBS_WORDS] the last frames
    buf<int32_t> finals_t; // [n_finals][n_envs] of which step; -1: there is none
    buf<int32_t> n_cut;    // [n_envs] episodes that were cut off
    buf<double> tallies;   // [N_ROLLOUT_TALLIES][n_envs]
    buf<double> episode;   // [2][n_envs] return and length of the one in progress
};

// Tensors of the two graphs, and the parts of the report.
struct rollout_graphs {
    buf<uint32_t> act_stacks;
    buf<const real> logits, values;
    buf<const int32_t> samples;
    buf<uint32_t> stacks;
    buf<int32_t> actions;
    buf<real> old_log_probs, advantages, returns, old_values;
    buf<const real> terms;
    buf<double> sums, squares, tallies, counts, learned; // learned: terms, first, norm, n_steps
    buf<float> distances;
    buf<uint32_t> frame;
};

struct device_rollout {
    struct device_rollout_opts opts;
    struct gpu gpu; // what the host sends and fetches; stages run in a program's stream
    struct rollout_arrays a;
    struct rollout_graphs g;
    void *arrays[32];
    int n_arrays;
    int64_t bytes;
};

// Enqueues a stage in g's stream. `state`: the program's; `norm`: the gradient's, n 0 elsewhere.
void rollout_enqueue(struct device_rollout *r, enum rollout_stage stage, int which, struct gpu *g,
                     buf<const int64_t> state, buf<const double> norm);
const struct device_rollouts *gpu_rollouts(void);

// rollout_play.cu
void rollout_look(struct device_rollout *r, struct gpu *g, buf<const int64_t> state);
void rollout_choose(struct device_rollout *r, struct gpu *g, buf<const int64_t> state);
void rollout_play(struct device_rollout *r, struct gpu *g, buf<const int64_t> state);
void rollout_look_at(struct device_rollout *r, struct gpu *g, int64_t t);
// rollout_learn.cu
void rollout_take_last(struct device_rollout *r, struct gpu *g);
void rollout_look_final(struct device_rollout *r, struct gpu *g, int which);
void rollout_take_final(struct device_rollout *r, struct gpu *g, int which);
void rollout_advantages(struct device_rollout *r, struct gpu *g);
void rollout_deal(struct device_rollout *r, struct gpu *g, buf<const int64_t> state);
void rollout_note(struct device_rollout *r, struct gpu *g, buf<const int64_t> state,
                  buf<const double> norm);

// Word w of frame k (oldest first) of the stack that ends with the frame of step t.
DEVICE_FUNCTION uint32_t rollout_word(const struct rollout_arrays *a, int64_t t, int64_t env,
                                      int64_t k, int64_t w) {
    const int64_t row = a->stack - 1 + t, behind = a->stack - 1 - k;
    const int64_t age = a->ages[row * a->n_envs + env];
    const int64_t back = behind < age ? behind : age;
    return a->frames[((row - back) * a->n_envs + env) * OBS_WORDS + w];
}

#endif
