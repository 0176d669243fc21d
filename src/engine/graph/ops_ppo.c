// Op: PPO's loss over a batch (ppo_loss.h), with the statistics that come with it.
#include "engine/graph/ops.h"

enum { LOGITS, VALUES, ACTIONS, OLD_LOG_PROBS, ADVANTAGES, RETURNS, OLD_VALUES, DTERMS };

void ppo_loss_shape(struct node *n) {
    const struct tensor *logits = n->src[LOGITS];
    NODE_CHECK(n, logits->n_dims == 2 && logits->shape[1] <= PPO_MAX_ACTIONS,
               "%s is no [B, actions]", logits->name);
    NODE_CHECK(n, n->src[ACTIONS]->dtype == DTYPE_I32, "%s holds no integers",
               n->src[ACTIONS]->name);
    NODE_CHECK(n, n->at.ppo.value_clip <= 0 || n->src[OLD_VALUES], "value_clip needs old values");
    for (int i = VALUES; i <= OLD_VALUES; i++)
        NODE_CHECK(n, !n->src[i] || n->src[i]->n_elements == logits->shape[0],
                   "%s has %lld elements for %lld samples", n->src[i]->name,
                   (long long)n->src[i]->n_elements, (long long)logits->shape[0]);
    node_out(n, 1, (int64_t[]){PPO_N_TERMS});
}

struct tensor *g_ppo_loss(struct graph *g, const struct ppo_loss_in *in,
                          const struct ppo_loss_opts *opts) {
    struct node *n = node_new(g, OP_PPO_LOSS);
    struct tensor *const src[] = {in->logits,     in->values,  in->actions,   in->old_log_probs,
                                  in->advantages, in->returns, in->old_values};
    n->at.ppo = *opts;
    for (int i = 0; i <= OLD_VALUES; i++) node_src(n, src[i]);
    return node_finish(n);
}

static struct ppo_batch batch(const struct node *n) {
    return (struct ppo_batch){.n = n->src[LOGITS]->shape[0],
                              .n_actions = n->src[LOGITS]->shape[1],
                              .logits = reals(n->src[LOGITS]),
                              .values = reals(n->src[VALUES]),
                              .actions = n->src[ACTIONS]->data,
                              .old_log_probs = reals(n->src[OLD_LOG_PROBS]),
                              .advantages = reals(n->src[ADVANTAGES]),
                              .returns = reals(n->src[RETURNS]),
                              .old_values = reals(n->src[OLD_VALUES])};
}

void ppo_loss_run(const struct run *r, const struct node *n) {
    (void)r;
    struct ppo_batch b = batch(n);
    double terms[PPO_N_TERMS];
    ppo_loss(&b, &n->at.ppo, terms);
    for (int i = 0; i < PPO_N_TERMS; i++) reals(n->out[0])[i] = (real)terms[i];
}

void ppo_loss_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_PPO_LOSS_DX, n, "dx");
    struct tensor *dterms = output_grad(g, n->out[0]);
    for (int i = 0; i <= OLD_VALUES; i++) node_src(b, n->src[i]);
    node_src(b, dterms);
    // Written whole: nobody else reads the heads' outputs.
    backward_out(g, b, n->src[LOGITS]);
    backward_out(g, b, n->src[VALUES]);
    NODE_CHECK(n, b->out[0] && b->out[1] && !b->accumulate[0] && !b->accumulate[1],
               "logits and values have another reader, or no gradient");
    node_append(b);
}

void ppo_loss_dx_run(const struct run *r, const struct node *n) {
    (void)r;
    struct ppo_batch b = batch(n);
    ppo_loss_gradient(&b, &n->at.ppo, (double)reals(n->src[DTERMS])[PPO_TOTAL], reals(n->out[0]),
                      reals(n->out[1]));
}
