// Parity checks of losses, the whole world-model step and the initialisers: F26-F29, F31, F48.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/algo/dreamer_v3/actor_critic.h"
#include "engine/algo/dreamer_v3/golden_case.h"
#include "engine/algo/dreamer_v3/golden_checks.h"
#include "engine/algo/dreamer_v3/wm_graph.h"
#include "engine/nn/optim.h"

static const real UNIMIX = (real)0.01;

// ---- KL

struct kl_check {
    struct tensor *post_logits, *prior_logits, *k, *loss;
};

static struct kl_check kl_build(struct golden_case *c, struct tensor *post_logits,
                                struct tensor *prior_logits, int64_t d, real free_nats) {
    struct graph *g = c->graph;
    struct tensor *post = g_unimix(g, post_logits, d, UNIMIX),
                  *prior = g_unimix(g, prior_logits, d, UNIMIX);
    struct kl_check r = {post_logits, prior_logits, g_kl(g, post, prior, d), NULL};
    r.loss = g_mean(g, g_kl_balanced(g, post, prior, d, (real)0.5, (real)0.1, free_nats));
    graph_keep(g, r.k);
    case_add_loss(c, r.loss);
    return r;
}

void golden_kl_free_nats(struct golden_case *c) {
    int64_t t = case_dim(c, "post_logits", 0), b = case_dim(c, "post_logits", 1);
    int64_t s = case_dim(c, "post_logits", 2), d = case_dim(c, "post_logits", 3),
            shape[2] = {t * b, s * d};
    case_begin(c);
    struct kl_check k = kl_build(c, case_input(c, "post_logits", 2, shape),
                                 case_input(c, "prior_logits", 2, shape), d, 1);
    case_value(c, "lambda_post",
               g_log_clamped(c->graph, g_unimix(c->graph, k.post_logits, d, UNIMIX)));
    case_value(c, "lambda_prior",
               g_log_clamped(c->graph, g_unimix(c->graph, k.prior_logits, d, UNIMIX)));
    case_value(c, "k", k.k);
    case_value(c, "below", g_less(c->graph, k.k, 1));
    case_value(c, "kl_mean", g_mean(c->graph, k.k));
    case_value(c, "state_loss", k.loss);
    case_gradient(c, "dpost_logits", k.post_logits);
    case_gradient(c, "dprior_logits", k.prior_logits);
    case_run(c);
    if (c->failed) return;
    // Row [0][3] alone, with free nats of exactly its own K: half the gradient passes.
    int64_t row = 3, one[2] = {1, s * d};
    real own = ((const real *)k.k->data)[row];
    case_end(c);
    case_begin(c);
    struct tensor *post = g_input(c->graph, "post", DTYPE_REAL, 2, one);
    struct tensor *prior = g_input(c->graph, "prior", DTYPE_REAL, 2, one);
    graph_want_gradient(c->graph, post);
    graph_want_gradient(c->graph, prior);
    k = kl_build(c, post, prior, d, own);
    case_gradient(c, "tie.dpost_logits", post);
    case_gradient(c, "tie.dprior_logits", prior);
    case_plan(c);
    memcpy(post->data, case_reals(c, "post_logits", t * b * s * d) + row * s * d,
           (size_t)(s * d) * sizeof(real));
    memcpy(prior->data, case_reals(c, "prior_logits", t * b * s * d) + row * s * d,
           (size_t)(s * d) * sizeof(real));
    case_execute(c);
    if (*(const real *)k.k->data != own)
        case_fail(c, "K of a row depends on its neighbours: the tie is not exact");
    case_compare(c);
}

void golden_entropies(struct golden_case *c) {
    static const char *const parts[] = {"post", "prior"};
    for (int i = 0; i < 2 && !c->failed; i++) {
        enum { LOGITS, LAMBDA, ROWS, MEAN, N_NAMES };
        static const char *const suffix[N_NAMES] = {"_logits", "_lambda", "_entropy_rows",
                                                    "_entropy"};
        char name[N_NAMES][ST_NAME_SIZE];
        for (int k = 0; k < N_NAMES; k++)
            snprintf(name[k], sizeof name[k], "%s%s", parts[i], suffix[k]);
        int64_t n = case_dim(c, name[LOGITS], 0) * case_dim(c, name[LOGITS], 1);
        int64_t s = case_dim(c, name[LOGITS], 2), d = case_dim(c, name[LOGITS], 3);
        case_begin(c);
        struct tensor *m =
            g_unimix(c->graph, case_input(c, name[LOGITS], 2, (int64_t[]){n, s * d}), d, UNIMIX);
        struct tensor *entropy = g_entropy(c->graph, m);
        case_value(c, name[LAMBDA], g_log_clamped(c->graph, m));
        case_value(c, name[ROWS], entropy);
        case_value(c, name[MEAN], g_mean(c->graph, entropy));
        case_run(c);
        case_end(c);
    }
}

void golden_recon_terms(struct golden_case *c) {
    int64_t n = case_dim(c, "image", 0) * case_dim(c, "image", 1);
    int64_t pixels = case_dim(c, "image", 3) * case_dim(c, "image", 4);
    case_begin(c);
    struct tensor *image = case_input(c, "image", 2, (int64_t[]){n, pixels});
    struct tensor *target = case_input(c, "image_target", 2, (int64_t[]){n, pixels});
    struct tensor *logit = case_input(c, "continue_logit", 2, (int64_t[]){n, 1});
    int64_t width = case_dim(c, "vector", 2);
    struct tensor *vector = case_input(c, "vector", 2, (int64_t[]){n, width});
    struct tensor *values = case_input(c, "vector_target", 2, (int64_t[]){n, width});
    struct tensor *l_image = g_square_error(c->graph, image, target);
    struct tensor *l_vector = wm_vector_error(c->graph, vector, values);
    struct tensor *observation = g_mean(c->graph, g_add(c->graph, l_image, l_vector));
    struct tensor *l_con = g_bce(c->graph, logit, case_input(c, "continue_target", 1, &n));
    struct tensor *continue_loss = g_mean(c->graph, l_con);
    case_value(c, "l_image", l_image);
    case_value(c, "l_vector", l_vector);
    case_value(c, "l_con", l_con);
    case_value(c, "observation_loss", observation);
    case_value(c, "continue_loss", continue_loss);
    case_add_loss(c, g_add(c->graph, observation, continue_loss));
    case_gradient(c, "dimage", image);
    case_gradient(c, "dvector", vector);
    case_gradient(c, "dcontinue_logit", logit);
    case_run(c);
}

// ---- the whole step

enum { MAX_STEPS = 16 };
struct step_check {
    int length, batch;
    struct wm_dims dims;
    struct wm_step steps[MAX_STEPS];
    struct wm_train train;
    struct tensor *reward_hidden, *continue_hidden;
};

static struct wm_dims dims_of(struct golden_case *c) {
    struct wm_dims d = {
        .n_actions = case_dim(c, "actions", 2),
        .stochastic = case_dim(c, "u_post", 2),
        .recurrent = case_dim(c, "param.rssm.initial_recurrent_state", 0),
        .recurrent_units = case_dim(c, "param.rssm.recurrent_model.mlp._model.0.weight", 0),
        .transition_hidden = case_dim(c, "param.rssm.transition_model._model.0.weight", 0),
        .representation_hidden = case_dim(c, "param.rssm.representation_model._model.0.weight", 0),
        .dense_units = case_dim(c, "param.reward_model._model.0.weight", 0),
        .n_layers = 2,
        .multiplier = case_dim(c, "param.encoder.cnn_encoder.model.0._model.0.weight", 0),
        .bins = case_dim(c, "param.reward_model._model.6.weight", 0),
        .unimix = UNIMIX,
        .dense_eps = c->nn.dense_eps,
        .conv_eps = c->nn.conv_eps,
        .learnable_initial = true,
    };
    d.discrete = case_dim(c, "param.rssm.transition_model._model.3.weight", 0) / d.stochastic;
    const bool has_vector = golden_find(c->fixture, "senses") != NULL;
    wm_dims_observe(&d, true, has_vector ? case_dim(c, "senses", 2) : 0);
    return d;
}

static void head_probe(void *ctx, const char *submodule, struct tensor *output) {
    struct step_check *k = ctx;
    if (strcmp(submodule, "reward_model._model.5") == 0) k->reward_hidden = output;
    if (strcmp(submodule, "continue_model._model.5") == 0) k->continue_hidden = output;
}

// Registers our own parameters and loads the fixture's: names and shapes must be the same, one by
// one.
static void step_build(struct golden_case *c, struct step_check *k) {
    k->length = (int)case_dim(c, "packed", 0), k->batch = (int)case_dim(c, "packed", 1);
    if (k->length > MAX_STEPS) case_fail(c, "more than %d steps", MAX_STEPS);
    k->dims = dims_of(c);
    if (c->failed) return;
    wm_register(&c->params, &k->dims);
    case_load_params(c, "param.");
    case_begin(c);
    struct wm_net net = wm_net_make(c->graph, &c->params, &k->dims);
    net.nn.probe = head_probe;
    net.nn.probe_ctx = k;
    const struct wm_loss_weights weights = {(real)0.5, (real)0.1, 1, 1, 1, 1};
    k->train = wm_train_build(&net, &weights, k->length, k->batch, k->steps);
    case_add_loss(c, k->train.loss);
}

static void copy_input(struct golden_case *c, const char *name, struct tensor *to) {
    const real *x = case_reals(c, name, to->n_elements);
    if (x) memcpy(to->data, x, (size_t)to->n_elements * sizeof *x);
}

static void step_fill(struct golden_case *c, const struct step_check *k) {
    const struct wm_inputs *in = &k->train.in;
    const struct golden_tensor *packed = case_tensor(c, "packed");
    if (packed && packed->t->n_bytes == (size_t)in->packed->n_elements)
        memcpy(in->packed->data, packed->t->data, packed->t->n_bytes);
    else
        case_fail(c, "packed has not the size of the batch");
    int64_t n = in->prev_actions->n_elements, row = n / k->length;
    const real *actions = case_reals(c, "actions", n);
    if (actions)
        memcpy((real *)in->prev_actions->data + row, actions, (size_t)(n - row) * sizeof *actions);
    copy_input(c, "is_first", in->is_first);
    copy_input(c, "rewards", in->rewards);
    copy_input(c, "terminated", in->continues);
    copy_input(c, "u_post", in->u);
    if (in->vectors[0]) copy_input(c, "senses", in->vectors[0]);
    for (int64_t i = 0; i < in->continues->n_elements; i++)
        ((real *)in->continues->data)[i] = 1 - ((real *)in->continues->data)[i];
    for (int i = 0; i < k->batch; i++) ((real *)in->is_first->data)[i] = 1;
    case_bins(c, in->bins);
}

static void step_values(struct golden_case *c, const struct step_check *k) {
    const struct wm_train *t = &k->train;
    struct tensor *f[MAX_STEPS], *h_bar[MAX_STEPS], *hidden[MAX_STEPS], *logits[MAX_STEPS];
    for (int i = 0; i < k->length; i++) {
        f[i] = k->steps[i].recurrent.input;
        h_bar[i] = k->steps[i].h_bar;
        hidden[i] = k->steps[i].posterior.hidden;
        logits[i] = k->steps[i].posterior.logits;
    }
    case_values(c, "layer.f", f, k->length);
    case_values(c, "h_bar", h_bar, k->length);
    case_values(c, "layer.post_hidden", hidden, k->length);
    case_values(c, "layer.post_logits", logits, k->length);
    case_classes(c, "post_index", &t->scan.z, 1, k->dims.discrete);
    case_value(c, "lambda_prior", g_log_clamped(c->graph, t->prior.probs));
    case_value(c, "lambda_post", g_log_clamped(c->graph, t->scan.posterior));
    if (t->vector_rows) {
        case_pairs(c, "embedding", t->embedding.part, 1, t->embedding.part[1]);
        case_value(c, "vector_out", t->vectors[0]);
        case_value(c, "l_image", t->image_rows);
        case_value(c, "l_vector", t->vector_rows);
    } else {
        case_value(c, "embedding", t->embedding.part[0]);
        case_value(c, "reconstruction", case_flat(c, t->reconstruction));
    }
    const struct {
        const char *name;
        struct tensor *tensor;
    } values[] = {
        {"h", t->scan.h},
        {"layer.prior_hidden", t->prior.hidden},
        {"layer.prior_logits", t->prior.logits},
        {"layer.reward_hidden", k->reward_hidden},
        {"layer.continue_hidden", k->continue_hidden},
        {"reward_logits", t->reward_logits},
        {"continue_logits", t->continue_logits},
        {"l_obs", t->observation_rows},
        {"l_rew", t->reward_rows},
        {"l_con", t->continue_rows},
        {"k", t->kl_rows},
        {"Loss/world_model_loss", t->loss},
        {"Loss/observation_loss", t->observation},
        {"Loss/reward_loss", t->reward},
        {"Loss/continue_loss", t->continues},
        {"Loss/state_loss", t->kl},
        {"State/kl", t->kl_raw},
        {"State/post_entropy", t->posterior_entropy},
        {"State/prior_entropy", t->prior_entropy},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        case_value(c, values[i].name, values[i].tensor);
}

void golden_wm_loss(struct golden_case *c) {
    struct step_check *k = mem_alloc(sizeof *k);
    step_build(c, k);
    if (!c->failed) {
        step_values(c, k);
        struct tensor *z_bar[MAX_STEPS];
        for (int i = 0; i < k->length; i++) z_bar[i] = k->steps[i].z_bar;
        case_pairs(c, "z_bar_a_bar", z_bar, k->length, k->train.scan.actions);
        case_plan(c);
        step_fill(c, k);
        case_execute(c);
        case_compare(c);
    }
    free(k);
}

void golden_wm_loss_vector(struct golden_case *c) { golden_wm_loss(c); }

// Inputs and parameters are F28's (F28V's); F29 (F29V) holds what comes after the loss.
static void match_gradients(struct golden_case *c, const char *inputs) {
    struct golden_fixture *f29 = c->fixture, *f28 = golden_load(c->golden, inputs, &c->error);
    struct step_check *k = mem_alloc(sizeof *k);
    c->failed = !f28;
    if (f28) {
        c->fixture = f28;
        step_build(c, k);
    }
    if (!c->failed) {
        case_plan(c);
        step_fill(c, k);
        case_execute(c);
        c->fixture = f29;
        const struct optim_opts adam = {
            .learning_rate = 1e-4,
            .beta1 = 0.9,
            .beta2 = 0.999,
            .eps = 1e-8,
            .max_norm = 1000,
        };
        case_update(c, &c->params, &adam, "Grads/world_model");
    }
    c->fixture = f29;
    golden_fixture_free(f28);
    free(k);
}

void golden_wm_grads(struct golden_case *c) { match_gradients(c, "F28"); }
void golden_wm_grads_vector(struct golden_case *c) { match_gradients(c, "F28V"); }

// ---- initialisers

struct statistics {
    real mean, std, min, max, zeros;
};

static struct statistics statistics(const real *x, int64_t n) {
    double sum = 0, squares = 0, zeros = 0;
    struct statistics s = {.min = x[0], .max = x[0]};
    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
        zeros += x[i] == 0;
        if (x[i] < s.min) s.min = x[i];
        if (x[i] > s.max) s.max = x[i];
    }
    double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    s.mean = (real)mean;
    s.std = (real)sqrt(variance > 0 ? variance : 0);
    s.zeros = (real)(zeros / (double)n);
    return s;
}

static void match_rule(struct golden_case *c, const char *rule, int n_dims, const int64_t *shape,
                       enum init_kind kind) {
    char name[ST_NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", rule);
    params_add(&c->params, name, n_dims, shape);
    params_allocate(&c->params);
    init_params(&c->params, 1,
                (const struct init_rule[]){{rule, kind, 0, 0}, {NULL, INIT_BY_SHAPE, 0, 0}}, NULL);
    struct statistics s = statistics(c->params.weights, c->params.list[0].n_elements);
    const struct {
        const char *name;
        real value;
    } values[] = {
        {"mean", s.mean}, {"std", s.std}, {"min", s.min}, {"max", s.max}, {"zeros", s.zeros},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        snprintf(name, sizeof name, "%s.%s", rule, values[i].name);
        case_match(c, name, &values[i].value, 1);
    }
    case_end(c);
}

static void match_fresh(struct golden_case *c, const char *prefix, const struct params *p) {
    for (int i = 0; i < p->n && !c->failed; i++) {
        const struct param *q = &p->list[i];
        char name[ST_NAME_SIZE];
        snprintf(name, sizeof name, "%s%s", prefix, q->name);
        const struct golden_tensor *t = case_tensor(c, name);
        struct statistics s = statistics(params_weights(p, q), q->n_elements);
        // Constants are given as [std, min, max] and are exact; random ones by their std.
        if (t) case_match(c, name, (real[]){s.std, s.min, s.max}, t->t->n_elements);
    }
}

static void match_fresh_actor_critic(struct golden_case *c, const struct config *cfg,
                                     const struct wm_dims *world) {
    const struct action_space heads = {.n_heads = 2, .classes = {5, 3}};
    struct ac_dims nets = ac_dims_from_config(cfg, world, &heads);
    struct params p[2];
    for (int i = 0; i < 2; i++) params_init(&p[i]);
    ac_register_actor(&p[0], &nets);
    ac_register_critic(&p[1], &nets, CRITIC_NAME);
    for (int i = 0; i < 2; i++) params_allocate(&p[i]);
    ac_init_actor(&p[0], &nets, 1, true, NULL);
    ac_init_critic(&p[1], &nets, CRITIC_NAME, 1, true, NULL);
    for (int i = 0; i < 2; i++) {
        match_fresh(c, "fresh.", &p[i]);
        params_deinit(&p[i]);
    }
}

void golden_init_stats(struct golden_case *c) {
    static const int64_t linear[] = {2000, 500}, conv[] = {500, 125, 4, 4};
    match_rule(c, "linear", 2, linear, INIT_BY_SHAPE);
    match_rule(c, "conv", 4, conv, INIT_BY_SHAPE);
    match_rule(c, "deconv", 4, conv, INIT_BY_SHAPE);
    match_rule(c, "uniform", 2, linear, INIT_UNIFORM);
    match_rule(c, "zero", 2, linear, INIT_ZERO);

    struct config cfg;
    CHECK(config_init(&cfg, "tiny", NULL), "the preset exists");
    struct wm_dims dims = wm_dims_from_config(&cfg, 8);
    wm_register(&c->params, &dims);
    params_allocate(&c->params);
    wm_init_weights(&c->params, &dims, 1, true, NULL);
    match_fresh(c, "fresh.world_model.", &c->params);
    match_fresh_actor_critic(c, &cfg, &dims);
}
