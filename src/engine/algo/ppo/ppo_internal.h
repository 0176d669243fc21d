// What the files of a PPO agent share: its state.
#ifndef PPO_INTERNAL_H
#define PPO_INTERNAL_H

#include "engine/algo/ppo/ppo.h"

static const double ppo_beta1 = 0.9, ppo_beta2 = 0.999; // of Adam

struct ppo_device;
struct ppo {
    struct ppo_opts opts;
    struct pool *pool;
    struct params params;
    struct ppo_counters counters;
    int64_t n_samples, batch; // of a rollout, of a minibatch
    struct {
        struct graph *graph;
        struct executor *executor;
        struct tensor *stacks;
        struct ppo_net net;
    } act;
    struct {
        struct graph *graph;
        struct executor *executor;
        struct tensor *stacks;
        struct ppo_loss_in in;
        struct tensor *terms, *total;
        struct tensor *samples, *report; // where graphs run on a device: device_rollout.h
    } learn;
    real *advantages; // [n_samples], normalised over the batch where asked for
    int64_t *order;   // [n_samples]
    int64_t last_minibatch;
    struct ppo_device *device; // its updates are programs there; NULL: the host waits for each node
};

// Of a failed step: what is not finite. The learning graph's inputs are those of that step.
void ppo_name_bad_node(struct ppo *p, struct ppo_learned *out);

#endif
