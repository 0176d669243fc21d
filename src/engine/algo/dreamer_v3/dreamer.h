// DreamerV3, whole: world model and behaviour, updated together (spec/dreamer_v3.md Appendix C).
//
//     struct dreamer_opts opts = {.config = &cfg, .n_actions = 8, .pool = pool};
//     struct dreamer *d = dreamer_new(&opts);
//     fill(wm_batch(dreamer_world(d)));                    // from the replay
//     struct dreamer_result r;
//     if (!dreamer_update(d, &r)) report(r.bad_node);
//     uint64_t present = dreamer_metrics(d, record.value);
//     dreamer_free(d);
//
// One update: the world model's step, then the dream from its posteriors (made with the weights
// before that step) with the weights after it, then the steps of actor and critic. A joint profile
// (profile.h): all of it in one graph with the weights before, then all steps. dreamer_new
// allocates everything; no function below it allocates. Thread: one thread at a time; the pool is
// borrowed until dreamer_free. Results do not depend on the pool's number of threads.
#ifndef ALGO_DREAMER_V3_DREAMER_H
#define ALGO_DREAMER_V3_DREAMER_H

#include "engine/algo/dreamer_v3/behaviour.h"
#include "engine/algo/dreamer_v3/world_model.h"

struct dreamer;
struct device_ring; // engine/env/device_play.h

struct dreamer_opts {
    const struct config *config; // read by dreamer_new only
    int n_actions;               // width A of the one-hot action
    // Of width A; NULL: one head of all actions. A joint profile has heads only.
    const struct action_space *actions;
    const struct obs_space *obs; // NULL: pictures alone
    struct pool *pool;
    bool zero_latent;                 // test: see wm_opts
    const struct noise_source *noise; // NULL: Philox, and with ranks always
    // On a device (graph/backend.h): weights and moments stay there, an update is one program and
    // is not waited for. Results and metrics are those of every read_every-th update, and a number
    // that is not finite is noticed then. 0, or on the CPU: each update is looked at.
    int64_t read_every;
    // With it: the batch is not copied from wm_batch at each update but written on the device, at
    // the addresses that the backend gives for the model's inputs; at first it is what the host
    // has.
    bool batch_on_device;
    // That something: every update draws its own batch from this ring, where ring_aim says, for the
    // step and the config's seed (engine/data/replay.h: replay_draw). The caller tells the ring
    // where to (ring_batch_into, wm_tensors). NULL: none.
    struct device_ring *ring;
    // Several processes train together (graph/ranks.h): the config's batch is a rank's share, the
    // whole batch's sequences [rank * share, (rank + 1) * share) are given to it, and all ranks
    // make the same updates, those of one rank with the whole batch up to rounding. NULL: one
    // alone. On a device: with read_every, and where it is in force (no joint profile).
    struct ranks *ranks;
};

// Initialises all weights from (config->seed, RNG_INIT).
struct dreamer *dreamer_new(const struct dreamer_opts *opts);
void dreamer_free(struct dreamer *d); // NULL is fine

// Inputs (wm_batch), pictures (wm_display), gradient steps done (wm_opt_steps).
struct world_model *dreamer_world(struct dreamer *d);
struct behaviour *dreamer_behaviour(struct dreamer *d);
bool dreamer_is_joint(const struct dreamer *d);     // one graph, one step (profile.h)
size_t dreamer_slab_bytes(const struct dreamer *d); // memory of the activations

struct dreamer_result {
    struct wm_result model;
    struct behaviour_result behaviour; // all 0 when the model's part failed
    const char *bad_node;              // "" if all is well
};
// False when a loss or a gradient norm is not finite; bad_node names the first bad tensor. Nothing
// has changed when it lies in the world model. When it lies in the behaviour ("behaviour/..."), the
// world model has made its step, but opt_steps does not count it; actor and critic are what they
// were. A joint profile changes nothing then; the model's result holds the bad node, and loss and
// norm of all.
bool dreamer_update(struct dreamer *d, struct dreamer_result *out);
// Updates on a device that nobody has read yet: as dreamer_update where it reads. Else true.
bool dreamer_look(struct dreamer *d, struct dreamer_result *out);
// Where the device has the weights: brings weights, moments and the range to the host (true), or
// takes the host's, with opt_steps (false). Else nothing to do. False: an update was not finite
// since anybody looked; opt_steps are those before it.
bool dreamer_sync(struct dreamer *d, bool to_host);
bool dreamer_on_device(const struct dreamer *d); // read_every is in force
struct program;
struct program *dreamer_program(struct dreamer *d); // NULL: not on a device

// Values of the last update (spec 9). Sets out[m] for those it knows; returns their bit mask.
uint64_t dreamer_metrics(const struct dreamer *d, float out[METRIC_COUNT]);

// Everything an update changes, for checkpoints: the parameter sets (names are unique over all of
// them: the world model's as in wm_params, actor.*, critic.*, target_critic.*) and the range of the
// returns. Gradient steps: wm_opt_steps, wm_set_opt_steps. All three optimisers have made as many.
enum dreamer_set {
    DREAMER_WORLD,
    DREAMER_ACTOR,
    DREAMER_CRITIC,
    DREAMER_TARGET, // its moments stay 0
    DREAMER_N_SETS
};
struct params *dreamer_params(struct dreamer *d, enum dreamer_set set);
real *dreamer_range(struct dreamer *d); // [2]
// Without the target critic, as people count.
int64_t dreamer_n_weights(struct dreamer *d);

#endif
