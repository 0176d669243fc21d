// The behaviour graph: dream, returns, and the losses of actor and critic with their gradients.
//
//     struct behaviour_graph b = behaviour_build(g, &nets, &opts);
//     graph_gradients(g, b.loss); graph_plan(g);
//
// One graph for all of it. With discrete actions the dream carries no gradient, the two losses
// share nothing but its states, and their sum gives each network its own gradient; the critic's
// output is computed once and serves the returns, the baseline and the critic's loss. With
// continuous actions the objective is the advantage itself, whose gradient flows back through the
// critic's values, the rewards and all steps of the dream into the actions: the critic that judges
// is then frozen, and its own loss reads the states without gradient. World model and target critic
// are frozen. Formulas: spec/dreamer_v3.md 5, order: Appendix C 8-12. H imagined steps from N start
// states; row tau*N + n.
#ifndef ALGO_DREAMER_V3_BEHAVIOUR_GRAPH_H
#define ALGO_DREAMER_V3_BEHAVIOUR_GRAPH_H

#include "engine/algo/dreamer_v3/actor_critic.h"
#include "engine/algo/dreamer_v3/returns.h"
#include "engine/algo/dreamer_v3/wm_net.h"

enum { BEHAVIOUR_MAX_HORIZON = 128 };

struct behaviour_sets {
    struct params *world, *actor, *critic, *target;
};

// Rows t*B + b of the world model's graph, N = T*B; they have been built before.
struct replayed {
    int length;           // T
    struct tensor *z, *h; // posteriors, with gradient
    struct tensor *rewards, *is_first, *continues;
};

struct behaviour_graph_opts {
    struct wm_dims world;
    struct ac_dims nets;
    int horizon;      // H
    int64_t n_starts; // N
    real gamma, lambda, ent_coef, min_scale, replay_scale;
    bool soft_continues; // probabilities in place of 0 and 1
    struct moments_opts moments;
    const struct replayed *replayed; // NULL: start states are inputs, and there is no replay loss
    // Parity checks: also what nothing depends on, the last state's action and the start states'
    // reward and predicted continue; where the steps of the dream go, [H+1]; who sees the layers.
    bool whole;
    struct dream_step *steps;
    void (*probe)(void *ctx, const char *submodule, struct tensor *output);
    void *probe_ctx;
};
struct dream_step {
    struct wm_recurrent recurrent; // empty at tau = 0, like the prior
    struct wm_categorical prior;
    struct policy policy;        // empty where no action is taken
    struct normal_sample normal; // continuous actions
};
struct behaviour_graph_opts behaviour_opts_from_config(const struct config *cfg,
                                                       const struct wm_dims *world,
                                                       const struct ac_dims *nets,
                                                       int64_t n_starts);

// Filled by the caller before a run; u in [0, 1).
struct behaviour_in {
    struct tensor *z, *h, *continues; // start states [N, S*D], [N, H]; [N] 1 - terminated
    struct tensor *u_action; // [heads*(H+1)*N]: head, tau, n; NULL with continuous actions:
    struct tensor *eps;      // their noise, [(H+1)*N, A], normal
    struct tensor *u_prior;  // [H*N, S]
    struct tensor *reward_bins, *value_bins; // [K]
    struct tensor *range;                    // [2] low, high before this update
};

// The dream. Rows tau = 0..H unless said otherwise.
struct dream {
    struct tensor *z, *h;                 // [(H+1)*N, S*D], [(H+1)*N, H]
    struct tensor *actions[AC_MAX_HEADS]; // [H*N, classes]; with `whole` [(H+1)*N, classes]
    struct tensor *rewards;               // mean, [H*N]: tau = 1..H; with `whole` [(H+1)*N]
    struct tensor *continue_logits;       // [H*N, 1]: tau = 1..H; with `whole` [(H+1)*N, 1]
    struct tensor *continues;             // [H*N] 0 or 1 or the probability: tau = 1..H
    struct tensor *first; // [N]: of tau = 0, from the data, or predicted as the others
};

struct behaviour_graph {
    struct behaviour_in in;
    struct dream dream;
    struct tensor *critic_logits, *values, *target_values;   // [(H+1)*N, K], [(H+1)*N], [H*N]
    struct tensor *baseline, *returns, *weights, *advantage; // [H*N]
    struct moments moments;                                  // quantiles and new range [2]
    struct actor_loss actor;
    struct critic_loss critic;
    struct replay_returns replayed; // joint: of the replayed rows, [(T-1)*B] ...
    struct critic_loss replay;      // ... and the critic's loss there
    struct tensor *action_entropy;  // [1] mean over the rows
    struct tensor *critic_total;    // [1] with the replayed rows' share
    struct tensor *loss;            // [1] actor + critic
};
struct behaviour_graph behaviour_build(struct graph *g, const struct behaviour_sets *sets,
                                       const struct behaviour_graph_opts *o);

#endif
