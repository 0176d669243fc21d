// PPO agent: its two graphs, acting, and the update of one rollout.
#include "engine/algo/ppo/ppo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/philox.h"
#include "engine/algo/ppo/device_rollout.h"
#include "engine/algo/ppo/gae.h"
#include "engine/algo/ppo/ppo_device.h"
#include "engine/algo/ppo/ppo_internal.h"
#include "engine/algo/ppo/ppo_stats.h"
#include "engine/graph/backend.h"
#include "engine/nn/optim.h"

// ---- building

static void build_act(struct ppo *p) {
    const struct ppo_opts *o = &p->opts;
    struct graph *g = p->act.graph = graph_new();
    graph_scope_push(g, "act");
    p->act.stacks =
        g_input(g, "stacks", DTYPE_U8, 3, (int64_t[]){o->n_envs, o->dims.stack, PPO_FRAME_BYTES});
    p->act.net = ppo_net_build(g, &p->params, p->act.stacks);
    graph_keep(g, p->act.net.logits);
    graph_keep(g, p->act.net.values);
    graph_rest_weights(g);
    graph_scope_pop(g);
    graph_plan(g);
    p->act.executor = executor_new(g, p->pool);
}

static struct tensor *column(struct ppo *p, const char *name, enum dtype dtype) {
    return g_input(p->learn.graph, name, dtype, 1, &p->batch);
}

// What a program deals by, and what it tells: no node reads these.
static void add_device_inputs(struct ppo *p) {
    const int64_t bytes = (int64_t)device_rollout_report_bytes(p->opts.n_envs, PPO_FRAME_BYTES);
    p->learn.samples = column(p, "samples", DTYPE_I32);
    p->learn.report = g_input(p->learn.graph, "report", DTYPE_U8, 1, &bytes);
}

static void build_learn(struct ppo *p) {
    const struct ppo_opts *o = &p->opts;
    struct graph *g = p->learn.graph = graph_new();
    graph_scope_push(g, "learn");
    p->learn.stacks =
        g_input(g, "stacks", DTYPE_U8, 3, (int64_t[]){p->batch, o->dims.stack, PPO_FRAME_BYTES});
    struct ppo_net net = ppo_net_build(g, &p->params, p->learn.stacks);
    p->learn.in = (struct ppo_loss_in){.logits = net.logits,
                                       .values = net.values,
                                       .actions = column(p, "actions", DTYPE_I32),
                                       .old_log_probs = column(p, "old_log_probs", DTYPE_REAL),
                                       .advantages = column(p, "advantages", DTYPE_REAL),
                                       .returns = column(p, "returns", DTYPE_REAL),
                                       .old_values = column(p, "old_values", DTYPE_REAL)};
    if (backend_chosen()) add_device_inputs(p);
    p->learn.terms = g_ppo_loss(g, &p->learn.in, &o->loss);
    p->learn.total = g_slice(g, p->learn.terms, PPO_TOTAL, 1);
    graph_keep(g, p->learn.terms);
    graph_gradients(g, p->learn.total);
    graph_scope_pop(g);
    graph_plan(g);
    p->learn.executor = executor_new(g, p->pool);
}

struct ppo *ppo_new(const struct ppo_opts *o, struct pool *pool) {
    struct ppo *p = mem_alloc(sizeof *p);
    p->opts = *o;
    p->pool = pool;
    p->n_samples = o->n_envs * o->n_steps;
    CHECK(o->minibatches >= 1 && p->n_samples % o->minibatches == 0,
          "%lld minibatches of %lld samples", (long long)o->minibatches, (long long)p->n_samples);
    p->batch = p->n_samples / o->minibatches;
    params_init(&p->params);
    ppo_net_register(&p->params, &o->dims);
    params_allocate(&p->params);
    ppo_net_init(&p->params, o->seed, o->init);
    build_act(p);
    build_learn(p);
    p->advantages = mem_alloc((size_t)p->n_samples * sizeof(real));
    p->order = mem_alloc((size_t)p->n_samples * sizeof *p->order);
    return p;
}

void ppo_free(struct ppo *p) {
    if (!p) return;
    executor_free(p->act.executor);
    executor_free(p->learn.executor);
    graph_free(p->act.graph);
    graph_free(p->learn.graph);
    params_deinit(&p->params);
    free(p->advantages);
    free(p->order);
    free(p);
}

const struct ppo_opts *ppo_options(const struct ppo *p) { return &p->opts; }
struct params *ppo_params(struct ppo *p) {
    executor_weights_changed(p->act.executor);
    return &p->params;
}
struct ppo_counters *ppo_counters(struct ppo *p) {
    return &p->counters;
}

int64_t ppo_bytes(const struct ppo *p) {
    enum { BUFFERS = 4 }; // weights, gradients, two moments
    return BUFFERS * p->params.n_flat * (int64_t)sizeof(real) +
           (int64_t)(graph_slab_bytes(p->act.graph) + graph_slab_bytes(p->learn.graph)) +
           p->n_samples * (int64_t)(sizeof *p->advantages + sizeof *p->order);
}

// ---- acting

uint8_t *ppo_stacks(struct ppo *p) { return p->act.stacks->data; }
const real *ppo_logits(const struct ppo *p) { return p->act.net.logits->data; }
const real *ppo_values(const struct ppo *p) { return p->act.net.values->data; }
void ppo_evaluate(struct ppo *p) { executor_run(p->act.executor); }

int32_t ppo_sample(const real *log_probs, int64_t n, float u) {
    double sum = 0;
    for (int64_t a = 0; a < n; a++) {
        sum += exp((double)log_probs[a]);
        if (sum > (double)u) return (int32_t)a;
    }
    return (int32_t)n - 1;
}

int32_t ppo_greedy(const real *logits, int64_t n) {
    int32_t best = 0;
    for (int32_t a = 1; a < n; a++)
        if (logits[a] > logits[best]) best = a;
    return best;
}

void ppo_act(struct ppo *p, uint64_t step, const struct ppo_acted *out) {
    const int64_t n = p->opts.dims.n_actions;
    real log_probs[PPO_MAX_ACTIONS];
    ppo_evaluate(p);
    *out->entropy = 0;
    for (int64_t i = 0; i < p->opts.n_envs; i++) {
        ppo_log_softmax(ppo_logits(p) + i * n, n, log_probs);
        const float u = rng_uniform(p->opts.seed, RNG_PPO_ACTION, step, (uint32_t)i);
        out->actions[i] = ppo_sample(log_probs, n, u);
        out->log_probs[i] = log_probs[out->actions[i]];
        out->values[i] = ppo_values(p)[i];
        for (int64_t a = 0; a < n; a++)
            *out->entropy -= exp((double)log_probs[a]) * (double)log_probs[a];
    }
}

// ---- learning

void ppo_shuffle(int64_t *order, int64_t n, uint64_t seed, uint64_t epoch) {
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t k = rng_below(seed, RNG_PPO_SHUFFLE, epoch, (uint32_t)i, (uint32_t)(i + 1));
        const int64_t swapped = order[i];
        order[i] = order[k];
        order[k] = swapped;
    }
}

void ppo_normalize(real *x, int64_t n, bool sample_std) {
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) mean += (double)x[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double divisor = sample_std && n > 1 ? (double)(n - 1) : (double)n;
    const double scale = 1 / (sqrt(squares / divisor) + 1e-8);
    for (int64_t i = 0; i < n; i++) x[i] = (real)(((double)x[i] - mean) * scale);
}

static void prepare(struct ppo *p, struct ppo_rollout *r) {
    const struct ppo_opts *o = &p->opts;
    const size_t stack_bytes = (size_t)o->dims.stack * PPO_FRAME_BYTES;
    for (int64_t i = 0; i < o->n_envs; i++)
        ppo_rollout_stack(r, o->n_steps, i, ppo_stacks(p) + (size_t)i * stack_bytes);
    ppo_evaluate(p);
    memcpy(r->last_values, ppo_values(p), (size_t)o->n_envs * sizeof(real));
    gae(&(struct gae_in){.n_steps = o->n_steps,
                         .n_envs = o->n_envs,
                         .rewards = r->rewards,
                         .values = r->values,
                         .dones = r->dones,
                         .truncs = r->truncs,
                         .last_values = r->last_values,
                         .final_values = r->final_values,
                         .gamma = o->gamma,
                         .lambda = o->lambda,
                         .bootstrap = o->bootstrap},
        r->advantages, r->returns);
    memcpy(p->advantages, r->advantages, (size_t)p->n_samples * sizeof(real));
    if (o->advantages == PPO_ADVANTAGES_BATCH) ppo_normalize(p->advantages, p->n_samples, false);
}

struct ppo_minibatch ppo_minibatch(const struct ppo *p) {
    const struct ppo_loss_in *in = &p->learn.in;
    return (struct ppo_minibatch){.n = p->batch,
                                  .stacks = p->learn.stacks->data,
                                  .actions = in->actions->data,
                                  .old_log_probs = in->old_log_probs->data,
                                  .advantages = in->advantages->data,
                                  .returns = in->returns->data,
                                  .old_values = in->old_values->data};
}

static void fill_minibatch(struct ppo *p, const struct ppo_rollout *r, const int64_t *order) {
    const struct ppo_minibatch m = ppo_minibatch(p);
    const size_t stack_bytes = (size_t)p->opts.dims.stack * PPO_FRAME_BYTES;
    for (int64_t k = 0; k < m.n; k++) {
        const int64_t i = order[k];
        ppo_rollout_stack(r, i / p->opts.n_envs, i % p->opts.n_envs,
                          m.stacks + (size_t)k * stack_bytes);
        m.actions[k] = r->actions[i];
        m.old_log_probs[k] = r->log_probs[i];
        m.returns[k] = r->returns[i];
        m.old_values[k] = r->values[i];
        m.advantages[k] = p->advantages[i];
    }
    if (p->opts.advantages == PPO_ADVANTAGES_MINIBATCH) ppo_normalize(m.advantages, m.n, true);
}

void ppo_name_bad_node(struct ppo *p, struct ppo_learned *out) {
    const struct tensor *bad = executor_find_nonfinite(p->learn.executor);
    snprintf(out->bad_node, sizeof out->bad_node, "%s", bad ? bad->name : "the gradient norm");
}

static bool fail_step(struct ppo *p, struct ppo_learned *out) {
    ppo_name_bad_node(p, out);
    out->bad_loss = (double)((const real *)p->learn.terms->data)[PPO_TOTAL];
    out->bad_norm = optim_norm(p->params.grads, p->params.n_flat, p->pool);
    return false;
}

bool ppo_step(struct ppo *p, double learning_rate, struct ppo_learned *out) {
    executor_run(p->learn.executor);
    const real *terms = p->learn.terms->data;
    struct optim_opts adam = {.learning_rate = learning_rate,
                              .beta1 = ppo_beta1,
                              .beta2 = ppo_beta2,
                              .eps = p->opts.adam_eps,
                              .max_norm = p->opts.max_norm};
    if (!isfinite((double)terms[PPO_TOTAL])) return fail_step(p, out);
    const double norm = optim_step(&p->params, p->pool, &adam, p->counters.grad_steps + 1);
    if (!isfinite(norm)) return fail_step(p, out);
    executor_weights_changed(p->act.executor);
    p->counters.grad_steps++;
    for (int i = 0; i < PPO_N_TERMS; i++) {
        if (out->steps == 0) out->first[i] = (double)terms[i];
        out->terms[i] += (double)terms[i];
    }
    out->grad_norm += norm;
    out->steps++;
    return true;
}

// The steps of one pass; *k3: its mean divergence.
static bool learn_epoch(struct ppo *p, const struct ppo_rollout *r, double rate, double *k3,
                        struct ppo_learned *out) {
    const int64_t n = p->opts.minibatches;
    const double before = out->terms[PPO_KL_K3];
    ppo_shuffle(p->order, p->n_samples, p->opts.seed, (uint64_t)p->counters.epochs++);
    for (int64_t m = 0; m < n; m++) {
        p->last_minibatch = out->bad_minibatch = m;
        fill_minibatch(p, r, p->order + m * p->batch);
        if (!ppo_step(p, rate, out)) return false;
    }
    *k3 = (out->terms[PPO_KL_K3] - before) / (double)n;
    return true;
}

bool ppo_learn(struct ppo *p, struct ppo_rollout *r, double learning_rate,
               struct ppo_learned *out) {
    const struct ppo_opts *o = &p->opts;
    CHECK(ppo_rollout_is_full(r), "the rollout has %lld of %lld steps", (long long)r->n_added,
          (long long)o->n_steps);
    if (p->device) {
        ppo_device_put(p->device, r);
        return ppo_device_learn(p->device, learning_rate, out);
    }
    *out = (struct ppo_learned){0};
    prepare(p, r);
    for (int64_t epoch = 0; epoch < o->epochs; epoch++) {
        double k3;
        out->bad_epoch = epoch;
        if (!learn_epoch(p, r, learning_rate, &k3, out)) return false;
        if (o->target_kl > 0 && k3 > o->target_kl) break;
    }
    p->counters.updates++;
    out->bad_epoch = out->bad_minibatch = 0;
    for (int i = 0; i < PPO_N_TERMS; i++) out->terms[i] /= (double)out->steps;
    out->grad_norm /= (double)out->steps;
    out->explained_variance = stats_explained_variance(r->values, r->returns, p->n_samples);
    return true;
}

const int64_t *ppo_last_minibatch(const struct ppo *p, int64_t *n) {
    *n = p->batch;
    return p->order + p->last_minibatch * p->batch;
}
