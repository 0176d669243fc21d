// Behaviour learning: parameters of actor, critic and target critic, and their update from dreams
// (spec/dreamer_v3.md 5, 7.1).
//
//     struct behaviour *b = behaviour_new(&opts);
//     struct behaviour_start s = {states.z, states.h, batch->continues};  // N rows
//     struct behaviour_result r;
//     if (!behaviour_update(b, &s, step, &r)) report(r.bad_node);
//     uint64_t present = behaviour_metrics(b, record.value);
//     behaviour_free(b);
//
// behaviour_new allocates everything; no function below it allocates. Thread: one thread at a time;
// the pool and the world model's parameters are borrowed until behaviour_free. Results do not
// depend on the pool's number of threads.
#ifndef ALGO_DREAMER_V3_BEHAVIOUR_H
#define ALGO_DREAMER_V3_BEHAVIOUR_H

#include "base/pool.h"
#include "engine/algo/config.h"
#include "engine/algo/dreamer_v3/actor_critic.h"
#include "engine/algo/dreamer_v3/noise.h"
#include "engine/data/metrics.h"

struct behaviour;

struct behaviour_opts {
    const struct config *config;        // read by behaviour_new only
    const struct wm_dims *world;        // of the parameters below; read by behaviour_new only
    struct params *world_params;        // never written
    const struct action_space *actions; // NULL: one head of all actions
    int64_t n_starts;                   // N: T*B
    struct pool *pool;
    const struct noise_source *noise; // NULL: Philox
    struct ranks *ranks;              // graph/ranks.h; NULL: one alone
    struct slab *slab; // memory for its graph, used by others in between; NULL: its own
    // A joint profile: the world model's graph, to which the nodes are added, and its rows. NULL: a
    // graph of its own.
    struct graph *graph;
    const struct replayed *replayed; // behaviour_graph.h
};

// Initialises the weights from (config->seed, RNG_INIT); the target critic starts as a copy of the
// critic, the return range as [0, 0].
struct behaviour *behaviour_new(const struct behaviour_opts *opts);
void behaviour_free(struct behaviour *b); // NULL is fine

// Everything an update changes, for checkpoints. Names are sheeprl's: actor.*, critic.*,
// target_critic.*; range [2]: low and high of the returns. The target has no moments.
struct params *behaviour_actor(struct behaviour *b);
struct params *behaviour_critic(struct behaviour *b);
struct params *behaviour_target(struct behaviour *b);
real *behaviour_range(struct behaviour *b);
const struct ac_dims *behaviour_dims(const struct behaviour *b);
size_t behaviour_slab_bytes(const struct behaviour *b);
// For profiles; NULL where another runs the graph.
struct executor *behaviour_executor(struct behaviour *b);

// N start states, row-major: z [N, S*D], h [N, H], continues [N] (1 - terminated).
struct behaviour_start {
    const real *z, *h, *continues;
};
struct behaviour_result {
    double loss_actor, loss_critic, norm_actor, norm_critic; // norms before clipping
    char bad_node[TENSOR_NAME_SIZE]; // first node with a non-finite value; "" if all is well
};
// Gradient step number `step` (0, 1, ...): target critic (a copy at step 0, then every
// target_update_freq steps), dream, both losses, clip, Adam. Noise of (seed, RNG_PRIOR, RNG_ACTOR
// or RNG_ACTOR_NORMAL, step, index). False when a loss or a norm is not finite: actor, critic,
// their moments and the range are then untouched (the target may have taken its step, which depends
// on nothing new).
bool behaviour_update(struct behaviour *b, const struct behaviour_start *s, int64_t step,
                      struct behaviour_result *out);

// ---- the same in a graph of the world model's, which another runs:
// behaviour_begin, the run, behaviour_check, then behaviour_apply where all of it was finite.
// What runs it, once it exists; not with a graph of its own.
void behaviour_attach(struct behaviour *b, struct executor *executor);
struct tensor *behaviour_loss(const struct behaviour *b);
// Range and noise of gradient step `step`.
void behaviour_begin(struct behaviour *b, int64_t step);
// Losses and norms after the run; false when one is not finite.
bool behaviour_check(struct behaviour *b, struct behaviour_result *out);
// Both networks' steps and the range; then the target critic's, so that a failure changes nothing.
void behaviour_apply(struct behaviour *b, int64_t step);

// The target critic's step before gradient step `step`: 0 when none is due, 1 (a copy) at step 0.
double behaviour_target_step(int64_t step, int64_t update_freq, double tau);
// The target critic before that step, which was made, to rounding; what was copied over is lost,
// and the copy comes again. Into the weights of a set of the same shapes.
void behaviour_target_before(const struct behaviour *b, int64_t step, struct params *out);

// The update as part of a device's program (graph/program.h), after the world model's: start states
// from `states` (tensors of `world`). Fed: the noise where it has a source. behaviour_feed before
// each launch; behaviour_take after program_read.
struct program;
struct backend_progress;
struct behaviour_states {
    struct executor *world;
    const struct tensor *z, *h, *continues;
};
void behaviour_program(struct behaviour *b, const struct behaviour_states *s, struct program *p);
// Its parts, for a joint profile: noise, what must be finite, the steps and the reports; the target
// follows by the number of the step that is done (after program_advance).
void behaviour_program_begin(struct behaviour *b, struct program *p);
void behaviour_program_check(struct behaviour *b, struct program *p);
void behaviour_program_step(struct behaviour *b, struct program *p);
void behaviour_program_track(struct behaviour *b, struct program *p);
void behaviour_feed(struct behaviour *b, int64_t step);
bool behaviour_take(struct behaviour *b, const struct backend_progress *found,
                    struct behaviour_result *out);
// The range of the returns between behaviour_range and the graph's input, where the device has it.
void behaviour_sync(struct behaviour *b, bool to_host);

// Values of the last update (spec 9: behaviour part). Sets out[m] for those it knows; returns their
// bit mask.
uint64_t behaviour_metrics(const struct behaviour *b, float out[METRIC_COUNT]);

#endif
