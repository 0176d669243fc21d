// PPO on a device: whole rollouts and updates as programs (graph/program.h), with the weights, the
// moments and the rollout in device memory (device_rollout.h).
//
//     struct ppo_device *d = ppo_device_new(agent, &opts, why, sizeof why); // NULL: why not
//     ppo_device_begin(d);                             // machines and frames as the host has them
//     while (...) {
//         ppo_device_play(d);                          // a rollout; nothing crosses the bus
//         if (!ppo_device_learn(d, rate, &l)) stop(l.bad_node);
//         ppo_device_stats(d, &stats);                 // of the rollout, read with the update
//     }
//     ppo_device_fetch(d, true);                       // for a checkpoint: everything to the host
//
// Programs: a step of all environments (choosing, playing), what a full rollout needs once, an
// optimiser step.
// Each is captured at its second launch and replayed from then on. The host shuffles (ppo_shuffle)
// and sends a minibatch's numbers along with its launch; losses and statistics come back in one
// transfer an update. With target_kl also after each pass.
//
// Without machines (any environment that is none of a Game Boy's) the host plays (collect.h), and
// ppo_learn sends the rollout. Then only _new, _free, _fetch are for callers.
//
// Differs from the CPU's update by the order of float sums; actions by nothing but an index where
// a cumulative probability lies within that of u. Borrows all it is given. Thread: one.
#ifndef PPO_DEVICE_H
#define PPO_DEVICE_H

#include "engine/algo/ppo/collect.h"
#include "engine/algo/ppo/ppo.h"

struct ppo_device_opts {
    struct env *env;             // Game Boys that play on the device; NULL: the host plays
    struct ppo_rollout *rollout; // with env: its memory is where frames begin and are fetched to
    struct collect *collect;     // with env: steps so far, running returns and lengths
    int max_steps;               // with env: the time limit of an episode; 0: none
};

// NULL where no device is chosen, or it lacks what is needed: why says so.
struct ppo_device *ppo_device_new(struct ppo *p, const struct ppo_device_opts *opts, char *why,
                                  size_t size);
void ppo_device_free(struct ppo_device *d); // before the agent; NULL is fine
bool ppo_device_plays(const struct ppo_device *d);
int64_t ppo_device_bytes(const struct ppo_device *d); // about what all of it takes there

// From the host: weights, moments, counters, and with machines every environment (which must have
// been reset or loaded), rollout memory and collect. Also after any of these was changed.
void ppo_device_begin(struct ppo_device *d);
void ppo_device_play(struct ppo_device *d);
// A rollout that the host played; ppo_learn calls it.
void ppo_device_put(struct ppo_device *d, const struct ppo_rollout *r);
bool ppo_device_learn(struct ppo_device *d, double learning_rate, struct ppo_learned *out);
// Of the last rollout that was learned from; environment 0's newest frame to the host's rollout.
void ppo_device_stats(struct ppo_device *d, struct collect_stats *out);
// How long the device worked, by each program's last launch: of a rollout, of an update.
struct ppo_device_times {
    struct collect_times rollout; // 0 where the host plays
    double update_ms;
};
struct ppo_device_times ppo_device_times(const struct ppo_device *d);
// Weights and moments; with `episodes` (there are machines) also the rest of what
// ppo_device_begin takes. Between two updates.
void ppo_device_fetch(struct ppo_device *d, bool episodes);

#endif
