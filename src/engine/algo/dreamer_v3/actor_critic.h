// Actor and critic: parameters and the graph pieces that the dream, the losses and the player are
// made of.
//
//     struct ac_net net = ac_net_make(g, &dims);
//     struct policy p = ac_policy(&net, &actor, z, h);
//     ac_sample(&net, &p, u, actions);                 // one-hot, one tensor per head
//     ac_sample_normal(&net, &p, eps, actions);        // continuous: one tensor of all values
//     struct tensor *value = g_twohot_mean(g, ac_critic(&net, &critic, CRITIC_NAME, z, h), bins);
//
// Discrete actions: one categorical per head, each with its own unimix; continuous ones: a normal
// with a mean in (-1, 1) and a deviation in [min_std, 1] per value (spec/dreamer_v3.md 2.3, 5.5).
// Names are sheeprl's with the network's name in front: actor.model._model.0.weight,
// actor.mlp_heads.0.weight, critic._model.0.weight, target_critic._model.0.weight. Actor, critic
// and target critic are parameter sets of their own, because each has its own optimiser (the target
// has none).
#ifndef ALGO_DREAMER_V3_ACTOR_CRITIC_H
#define ALGO_DREAMER_V3_ACTOR_CRITIC_H

#include "engine/algo/config.h"
#include "engine/algo/dreamer_v3/wm_net.h"
#include "engine/data/spaces.h"
#include "engine/nn/layers.h"

#define CRITIC_NAME "critic"
#define TARGET_CRITIC_NAME "target_critic"
enum { AC_MAX_HEADS = SPACE_MAX_HEADS };

struct ac_dims {
    int n_heads;
    int64_t classes[AC_MAX_HEADS]; // of each head; their sum is the world model's A
    bool continuous;               // one "head" of A values instead
    real min_std, init_std, action_clip;
    int64_t state; // width L of [z, h]
    int64_t dense_units, n_layers, bins;
    real unimix, dense_eps;
    struct profile profile;
};
// actions NULL: one head of all the world model's actions.
struct ac_dims ac_dims_from_config(const struct config *cfg, const struct wm_dims *world,
                                   const struct action_space *actions);
// Not allocated. `name`: CRITIC_NAME or TARGET_CRITIC_NAME.
void ac_register_actor(struct params *p, const struct ac_dims *d);
void ac_register_critic(struct params *p, const struct ac_dims *d, const char *name);
// spec 6: uniform actor heads, zero critic output
void ac_init_actor(struct params *p, const struct ac_dims *d, uint64_t seed, bool hafner,
                   struct pool *pool);
void ac_init_critic(struct params *p, const struct ac_dims *d, const char *name, uint64_t seed,
                    bool hafner, struct pool *pool);

struct ac_net {
    struct nn nn; // its `params` are chosen by each call
    struct ac_dims dims;
};
struct ac_net ac_net_make(struct graph *g, const struct ac_dims *d);

// Per head: logits and probabilities after unimix, [N, classes]. Continuous: logits[0] is the
// head's output [N, 2A], means first; mean and std [N, A].
struct policy {
    int n_heads;
    int64_t classes[AC_MAX_HEADS];
    struct tensor *hidden; // last hidden layer
    struct tensor *logits[AC_MAX_HEADS], *probs[AC_MAX_HEADS];
    struct tensor *mean, *std;
};
struct policy ac_policy(const struct ac_net *net, struct params *actor, struct tensor *z,
                        struct tensor *h);
// Actions, one-hot [N, classes] per head. u[k] [N]. No gradient flows back to the policy.
void ac_sample(const struct ac_net *net, const struct policy *p, struct tensor *const *u,
               struct tensor **actions);
// Continuous: mean + std eps, then clipped; both [N, A]. The gradient flows back to the policy.
struct normal_sample {
    struct tensor *sampled, *clipped;
};
struct normal_sample ac_sample_normal(const struct ac_net *net, const struct policy *p,
                                      struct tensor *eps);
// The likeliest action of each head; continuous: the mean (sheeprl takes the best of 100 samples).
void ac_mode(const struct ac_net *net, const struct policy *p, struct tensor **actions);
// Sums over the heads, [N].
struct tensor *ac_log_prob(const struct ac_net *net, const struct policy *p,
                           struct tensor *const *actions);
struct tensor *ac_entropy(const struct ac_net *net, const struct policy *p);
// logits [N, bins]. `frozen`: gradients flow to the states, not to the critic.
struct tensor *ac_critic(const struct ac_net *net, struct params *critic, const char *name,
                         struct tensor *z, struct tensor *h);
struct tensor *ac_critic_frozen(const struct ac_net *net, struct params *critic, const char *name,
                                struct tensor *z, struct tensor *h);

// ---- losses, [1]; all rows [M] = H*N
// - mean w (log pi(a|s) advantage + ent_coef entropy); advantage and w carry no gradient (spec 5.5)
struct actor_loss {
    struct policy policy;
    struct tensor *log_prob, *entropy; // [M]
    struct tensor *loss;               // [1]
};
// The same with the advantage itself as objective, its gradient flowing through the dream:
// entropies of the dream's own policies. log_prob is NULL.
struct actor_loss ac_dream_loss(struct graph *g, struct tensor *entropy, struct tensor *advantage,
                                struct tensor *weights, real ent_coef);
struct actor_loss ac_actor_loss(const struct ac_net *net, struct params *actor, struct tensor *z,
                                struct tensor *h, struct tensor *const *actions,
                                struct tensor *advantage, struct tensor *weights, real ent_coef);
// mean w (nll(returns) + nll(target's mean)); only the logits carry gradient (spec 5.6)
struct critic_loss {
    struct tensor *returns_nll, *target_nll; // [M]
    struct tensor *loss;                     // [1]
};
struct critic_loss ac_critic_loss(const struct ac_net *net, struct tensor *logits,
                                  struct tensor *returns, struct tensor *target_values,
                                  struct tensor *weights, struct tensor *bins);

#endif
