// PPO's rollout on a device: what the device library offers beside graphs, programs and machines.
//
//     const struct device_rollouts *d = device_rollouts_of(backend, why, sizeof why); // NULL: why
//     struct device_rollout *r = d->rollout_new(&opts, why, sizeof why);
//     program_stage(p, r, ROLLOUT_LOOK, 0);   // commands between the graphs' own (graph/program.h)
//     ...
//     d->rollout_store(r, &memory);            // frames and running episodes; once
//     launch, launch, ...                      // the host moves nothing
//
// The storage of ppo_rollout.h in device memory: single packed2 frames, ages, and [n_steps][n_envs]
// arrays. A program's stages play a step, join a rollout's values to advantages, and deal a
// minibatch; ppo_device.h puts them in order. Formulas, order of events and random numbers are
// those of collect.h, gae.h and ppo.h.
//
// An episode that a time limit ends keeps its last frame until the rollout is full. An environment
// has at most `n_finals` of these in a rollout, so their values are n_finals passes of the acting
// graph, however many there are.
//
// Errors: functions return false (or NULL) and say why in one line. Thread: one.
// Valid C17 and C++17.
#ifndef PPO_DEVICE_ROLLOUT_H
#define PPO_DEVICE_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/graph/ppo_loss.h"

struct backend;
struct backend_graph;
struct tensor;
struct device_machines;
struct device_rollout;

enum { DEVICE_ROLLOUT_VERSION = 1 };

// Of a program whose step counts the steps of each environment (t is the step modulo n_steps):
enum rollout_stage {
    ROLLOUT_LOOK,       // stacks of step t to the acting graph; before t = 0 the last frames are
                        // carried over and the sums of a rollout begin
    ROLLOUT_CHOOSE,     // its logits and values: actions, log-probabilities, values of row t
    ROLLOUT_PLAY,       // the machines take them; row t is whole; those that ended are reset
    ROLLOUT_LOOK_LAST,  // of any program: the stacks after the last step,
    ROLLOUT_TAKE_LAST,  // and their values
    ROLLOUT_LOOK_FINAL, // stacks of every environment's episode number `which` that was cut off,
    ROLLOUT_TAKE_FINAL, // and their values
    ROLLOUT_ADVANTAGES, // returns, advantages (normalised over the rollout), statistics
    // Of the program that learns, whose CHECK guards them:
    ROLLOUT_DEAL, // the samples' rows to the learning graph
    ROLLOUT_NOTE, // the step's losses and gradient norm are added up
    N_ROLLOUT_STAGES
};

// What one update tells the host; lies in a tensor of bytes of the learning graph, followed by
// float distances[n_envs] of the last step, padded to 8 bytes, and environment 0's newest frame.
enum { OF_ADVANTAGES, OF_VALUES, OF_RETURNS, OF_ERRORS, OF_REWARDS, N_ROLLOUT_QUANTITIES };
enum { COUNT_DONE, COUNT_TRUNCATED, COUNT_RESET, COUNT_LOCKED, N_ROLLOUT_COUNTS };
enum { EPISODES, SUCCESSES, RETURNS, LENGTHS, ENTROPIES, N_ROLLOUT_TALLIES };
struct device_rollout_report {
    // Errors: returns - values. `squares`: of the distances from the mean. Advantages: as
    // estimated.
    double sums[N_ROLLOUT_QUANTITIES], squares[N_ROLLOUT_QUANTITIES];
    double tallies[N_ROLLOUT_TALLIES]; // of episodes that ended; entropies: of all steps
    double counts[N_ROLLOUT_COUNTS + PPO_MAX_ACTIONS]; // of steps
    // Of the optimiser steps: sums, the first one's, sums.
    double terms[PPO_N_TERMS], first[PPO_N_TERMS], norm, n_steps;
};
static inline size_t device_rollout_report_bytes(int64_t n_envs, size_t frame_bytes) {
    return sizeof(struct device_rollout_report) + ((size_t)n_envs * sizeof(float) + 7) / 8 * 8 +
           frame_bytes;
}

struct device_rollout_opts {
    int64_t n_steps, n_envs, n_actions, batch;
    int stack, n_finals; // n_finals 0: time limits end an episode like a goal
    bool normalize_batch, normalize_minibatch;
    double gamma, lambda;
    uint64_t seed;
    struct device_machines *machines; // that play; NULL: the host plays, rollout_put
    struct backend_graph *act;        // the graphs, both placed
    const struct tensor *act_stacks, *act_logits, *act_values;
    struct backend_graph *learn;
    const struct tensor *samples; // i32 [batch]: t * n_envs + environment
    const struct tensor *stacks, *actions, *old_log_probs, *advantages, *returns, *old_values;
    const struct tensor *terms, *report;
};

// A rollout that the host played, arrays as struct ppo_rollout has them.
struct device_rollout_rows {
    const uint8_t *frames, *ages; // [stack + n_steps][n_envs]...
    const int32_t *actions;
    const real *log_probs, *values, *rewards, *final_values;
    const uint8_t *dones, *truncs;
    const float *distances;
};

// Between two rollouts: what the next one goes on with.
struct device_rollout_memory {
    uint8_t *frames, *ages;   // [stack][n_envs][1440], [stack][n_envs]
    double *returns, *length; // [n_envs], of the episodes in progress
};

struct device_rollouts {
    uint32_t version;
    struct device_rollout *(*rollout_new)(const struct device_rollout_opts *opts, char *message,
                                          size_t size);
    void (*rollout_free)(struct device_rollout *r); // NULL is fine; programs go first
    bool (*rollout_put)(struct device_rollout *r, const struct device_rollout_rows *rows);
    bool (*rollout_store)(struct device_rollout *r, const struct device_rollout_memory *from);
    bool (*rollout_fetch)(struct device_rollout *r, const struct device_rollout_memory *to);
    int64_t (*rollout_bytes)(const struct device_rollout *r);       // of device memory
    const char *(*rollout_message)(const struct device_rollout *r); // why the last call failed
};

// The library's, NULL where it was built from another version (why says so).
const struct device_rollouts *device_rollouts_of(const struct backend *b, char *why, size_t size);

#endif
