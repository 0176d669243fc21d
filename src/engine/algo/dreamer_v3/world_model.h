// DreamerV3's world model: parameters, training update, and the pictures the screens show
// (spec/dreamer_v3.md 1-4, 6, 7).
//
//     struct wm_opts opts = {.config = &cfg, .n_actions = 8, .pool = pool};
//     struct world_model *wm = wm_new(&opts);
//     const struct wm_batch *b = wm_batch(wm);
//     fill(b);                                             // from the replay
//     struct wm_result r;
//     if (!wm_update(wm, &r)) report(r.bad_node);          // weights are then what they were
//     uint64_t present = wm_metrics(wm, record.value);
//     wm_free(wm);
//
// wm_new builds both graphs and allocates everything: no function below allocates. All sizes come
// from the config (config_check has passed). Thread: one thread at a time; the pool is borrowed
// until wm_free. Results do not depend on the pool's number of threads.
#ifndef ALGO_DREAMER_V3_WORLD_MODEL_H
#define ALGO_DREAMER_V3_WORLD_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/real.h"
#include "engine/algo/config.h"
#include "engine/data/metrics.h"
#include "engine/graph/graph.h"

enum {
    WM_HEIGHT = 72,
    WM_WIDTH = 80,
    WM_PIXELS = WM_HEIGHT * WM_WIDTH,
    WM_PACKED_BYTES = WM_PIXELS / 4
};
// = FEED_CONTEXT, FEED_IMAGINED
enum { WM_CONTEXT = 5, WM_IMAGINED = 15, WM_ROLLOUT = WM_CONTEXT + WM_IMAGINED };

struct world_model;
struct obs_space; // engine/data/spaces.h
struct wm_dims;   // wm_net.h
struct wm_train;  // wm_graph.h
struct noise_source;
struct ranks;

// Adds nodes to the training graph and gives a loss [1] that its own is added to; called once, from
// wm_new, when parameters and dimensions are known. The executor runs both (wm_executor).
struct wm_extension {
    struct tensor *(*build)(void *ctx, struct world_model *wm, struct graph *g,
                            const struct wm_train *train);
    void *ctx;
};

struct wm_opts {
    const struct config *config; // read by wm_new only
    int n_actions;               // width A of the one-hot or continuous action
    const struct obs_space *obs; // NULL: pictures alone
    struct pool *pool;
    // test: the stochastic state z is always 0, so reconstruction must fail
    bool zero_latent;
    const struct noise_source *noise;     // NULL: Philox (noise.h)
    const struct wm_extension *extension; // NULL: none
    struct ranks *ranks;                  // graph/ranks.h; NULL: one alone
};

// Initialises the weights from (config->seed, RNG_INIT) and sets the gradient step to 0.
struct world_model *wm_new(const struct wm_opts *opts);
void wm_free(struct world_model *wm); // NULL is fine

// weights, gradients, moments; names of sheeprl
struct params *wm_params(struct world_model *wm);
// gradient steps done: Adam's step and the noise's key
int64_t wm_opt_steps(const struct world_model *wm);
// when a checkpoint's parameters were loaded
void wm_set_opt_steps(struct world_model *wm, int64_t steps);
// what its networks look like
const struct wm_dims *wm_dims(const struct world_model *wm);
// the posterior states of the last update (or forward_backward), row t*B + b: z [T*B, S*D], h [T*B,
// H]
struct wm_states {
    int64_t rows;
    const real *z, *h;
};
struct wm_states wm_states(const struct world_model *wm);
// The same as tensors of wm_executor's graph, and the batch (wm_batch), for programs.
struct wm_tensors {
    const struct tensor *z, *h, *continues;
    const struct tensor *packed, *prev_actions, *is_first, *rewards; // packed NULL: no pictures
};
struct wm_tensors wm_tensors(const struct world_model *wm);
// memory of the activations, both graphs and what they share
size_t wm_slab_bytes(const struct world_model *wm);
// Where both graphs run, for others that run in between (graph.h); the world model's.
struct slab *wm_slab(struct world_model *wm);
struct executor *wm_executor(struct world_model *wm); // of the training graph, for profiles

// The inputs of an update, to be filled by the caller before each wm_update. Time-major, row t*B +
// b. Previous actions are shifted already (row t holds the action of row t-1: spec 3.5, "from SA");
// wm_update forces is_first to 1 in the rows of t = 0 and masks previous actions there and wherever
// is_first is 1.
struct wm_batch {
    int length, batch, n_actions; // T, B, A
    uint8_t *packed;              // [T][B][1440] packed2 frames; NULL: none are observed
    real *vector;                 // [T][B][n_vector] as observed; NULL: none is
    int n_vector;
    real *prev_actions; // [T][B][A] one-hot, or all 0; or continuous values
    real *is_first;     // [T][B] 0 or 1
    real *rewards;      // [T][B] on arriving at the row
    real *continues;    // [T][B] 1 - terminated
};
const struct wm_batch *wm_batch(struct world_model *wm);

struct wm_result {
    double loss, grad_norm;          // norm before clipping
    char bad_node[TENSOR_NAME_SIZE]; // first node with a non-finite value; "" if all is well
};
// Forward, backward, clip, Adam with the noise of (seed, RNG_POSTERIOR, opt_steps, index). False
// when the loss or the gradient norm is not finite: weights, moments and opt_steps are then
// untouched and out->bad_node names the first bad tensor (of the backward pass: the tensor whose
// gradient it is).
bool wm_update(struct world_model *wm, struct wm_result *out);
// The same without clip and Adam: gradients are left in wm_params(wm)->grads.
bool wm_forward_backward(struct world_model *wm, struct wm_result *out);
// The step for these gradients, which were finite; counts it.
void wm_apply(struct world_model *wm);
// The weights before step number `step` (1, 2, ...), the last one made, to rounding; into those of
// a set of the same shapes.
void wm_undo(const struct world_model *wm, int64_t step, struct params *out);

// Adds the update to a device's program (graph/program.h): the batch (unless something on the
// device writes it) and, where the noise has a source, the noise are fed, so wm_feed comes before
// each launch; reports what wm_metrics needs. Not for a model whose update contains another's
// (extension).
struct program;
void wm_program(struct world_model *wm, struct program *p, bool feed_batch);
// Its parts, for a joint profile, whose graph is the behaviour's too: what the graph reads, what
// must be finite, the step and the reports.
void wm_program_begin(struct world_model *wm, struct program *p, bool feed_batch);
void wm_program_check(struct world_model *wm, struct program *p);
void wm_program_step(struct world_model *wm, struct program *p);
void wm_feed(struct world_model *wm); // for gradient step opt_steps
// After program_read: the result of the last update; found: what the program says of it.
struct backend_progress;
bool wm_take(struct world_model *wm, const struct backend_progress *found, struct wm_result *out);
// The model alone as a program of its own, on a device, for wm_update: weights and moments stay
// there, wm_sync(wm, true) brings them; results and metrics are those of every read_every-th
// update. ring: every update draws its own batch from it, as `sample` says (dreamer.h); NULL: it is
// sent wm_batch's.
struct device_ring;
struct program_sample;
void wm_stay_on_device(struct world_model *wm, int64_t read_every, struct device_ring *ring,
                       const struct program_sample *sample);
// to_host: what the device has; else: what the host has changed (weights, moments, opt_steps).
// Nothing to do on the CPU. False: an update was not finite since anybody looked.
bool wm_sync(struct world_model *wm, bool to_host);
// Updates that nobody has read yet: as wm_update where it reads. Else, and on the CPU, true.
bool wm_look(struct world_model *wm, struct wm_result *out);
bool wm_on_device(const struct world_model *wm); // wm_stay_on_device is in force

// Values of the last update (spec 9: world-model part). Sets out[m] for those it knows; returns
// their bit mask.
uint64_t wm_metrics(const struct world_model *wm, float out[METRIC_COUNT]);

bool wm_has_pictures(const struct world_model *wm); // else only vectors are observed
// The inputs of wm_display: WM_ROLLOUT rows of one environment in order, newest last (batch 1;
// rewards and continues are NULL). The first row counts as is_first.
const struct wm_batch *wm_display_batch(struct world_model *wm);
// Posterior reconstruction of all rows, and a dream: the same for the first WM_CONTEXT rows, then
// imagined open loop from the prior with the recorded actions. Pixels are levels 0..255 (shade *
// 85, clamped), [72][80]. Noise of (seed, RNG_ROLLOUT_POSTERIOR or RNG_ROLLOUT_PRIOR, opt_steps,
// index). No weight is changed. Without pictures neither is touched.
void wm_display(struct world_model *wm, uint8_t reconstruction[WM_ROLLOUT][WM_PIXELS],
                uint8_t dream[WM_ROLLOUT][WM_PIXELS]);
// The vectors of the last wm_display, as observed (not in symlog space), [WM_ROLLOUT][n_vector].
void wm_display_vectors(const struct world_model *wm, float *reconstruction, float *dream);

#endif
