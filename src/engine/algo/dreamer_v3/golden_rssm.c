// Parity checks of the recurrent state space model: F17-F25.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/algo/dreamer_v3/golden_case.h"
#include "engine/algo/dreamer_v3/golden_checks.h"

enum { MAX_STEPS = 16 };
static const real UNIMIX = (real)0.01;

// Upstream gradients of lambda = log m: the graph has no gradient rule for lambda (training needs
// none), so dm = dlambda / m is made from a first run's m. The clamp inside lambda is inactive with
// a unimix of 1 %.
struct lambda_upstream {
    struct tensor *probs, *dm;
    const char *name;
};

static struct lambda_upstream lambda_upstream(struct golden_case *c, struct tensor *probs,
                                              const char *name) {
    struct tensor *dm = g_input(c->graph, name, DTYPE_REAL, probs->n_dims, probs->shape);
    graph_keep(c->graph, probs);
    case_upstream_tensor(c, probs, dm);
    return (struct lambda_upstream){probs, dm, name};
}

static void lambda_fill(struct golden_case *c, const struct lambda_upstream *l) {
    const struct golden_tensor *t = case_tensor(c, l->name);
    const real *dlambda = t ? golden_reals(c->fixture, t) : NULL, *m = l->probs->data;
    for (int64_t i = 0; dlambda && i < l->dm->n_elements; i++)
        ((real *)l->dm->data)[i] = dlambda[i] / m[i];
}

void golden_unimix(struct golden_case *c) {
    int64_t rows = case_dim(c, "logits", 0), s = case_dim(c, "logits", 1),
            d = case_dim(c, "logits", 2);
    int64_t shape[2] = {rows, s * d};
    case_begin(c);
    struct tensor *first = case_input(c, "logits", 2, shape),
                  *second = case_input(c, "logits", 2, shape);
    struct tensor *m = g_unimix(c->graph, first, d, UNIMIX),
                  *m2 = g_unimix(c->graph, second, d, UNIMIX);
    case_value(c, "m", m);
    case_value(c, "lambda", g_log_clamped(c->graph, m));
    case_upstream(c, m, "dm");
    struct lambda_upstream upstream = lambda_upstream(c, m2, "dlambda");
    case_gradient(c, "dlogits_of_dm", first);
    case_gradient(c, "dlogits_of_dlambda", second);
    case_plan(c);
    case_execute(c);
    lambda_fill(c, &upstream);
    case_execute(c);
    case_compare(c);
}

void golden_sample(struct golden_case *c) {
    int64_t rows = case_dim(c, "logits", 0), s = case_dim(c, "logits", 1),
            d = case_dim(c, "logits", 2);
    case_begin(c);
    struct tensor *logits = case_input(c, "logits", 2, (int64_t[]){rows, s * d});
    struct tensor *m = g_unimix(c->graph, logits, d, UNIMIX);
    struct tensor *z = g_sample(c->graph, m, case_input(c, "u", 2, (int64_t[]){rows, s}), d);
    struct tensor *mode = g_mode(c->graph, m, d);
    case_value(c, "m", m);
    case_value(c, "z", z);
    case_classes(c, "index", &z, 1, d);
    case_classes(c, "mode_index", &mode, 1, d);
    case_upstream(c, z, "dz");
    case_gradient(c, "dlogits", logits);
    case_run(c);
}

// ---- recurrence

static struct wm_net net_of(struct golden_case *c, int64_t stochastic, int64_t discrete,
                            int64_t recurrent) {
    return (struct wm_net){
        .nn = c->nn,
        .dims = {.stochastic = stochastic,
                 .discrete = discrete,
                 .recurrent = recurrent,
                 .unimix = UNIMIX,
                 .dense_eps = c->nn.dense_eps,
                 .conv_eps = c->nn.conv_eps,
                 .learnable_initial = true},
    };
}

void golden_gru_cell(struct golden_case *c) {
    int64_t rows = case_dim(c, "x", 0), h_size = case_dim(c, "h", 1);
    case_param(c, "weight", "rssm.recurrent_model.rnn.linear.weight");
    case_param(c, "ln_weight", "rssm.recurrent_model.rnn.layer_norm.weight");
    case_param(c, "ln_bias", "rssm.recurrent_model.rnn.layer_norm.bias");
    case_begin(c);
    struct wm_net net = net_of(c, 1, 2, h_size);
    struct tensor *x = case_input(c, "x", 2, (int64_t[]){rows, case_dim(c, "x", 1)});
    struct tensor *h = case_input(c, "h", 2, (int64_t[]){rows, h_size});
    // gates are one op: its parts stand in h' and the gradients
    struct wm_recurrent r = wm_gru(&net, x, h);
    case_value(c, "pre", r.pre);
    case_value(c, "norm", r.norm);
    case_value(c, "h_next", r.h);
    case_upstream(c, r.h, "dh_next");
    case_gradient(c, "dh", h);
    case_gradient(c, "dx", x);
    case_param_gradient(c, "dweight", "rssm.recurrent_model.rnn.linear.weight");
    case_param_gradient(c, "dln_weight", "rssm.recurrent_model.rnn.layer_norm.weight");
    case_param_gradient(c, "dln_bias", "rssm.recurrent_model.rnn.layer_norm.bias");
    case_run(c);
}

void golden_recurrent_step(struct golden_case *c) {
    int64_t rows = case_dim(c, "z", 0), latent = case_dim(c, "z", 1), h_size = case_dim(c, "h", 1);
    case_params(c, "param.");
    case_begin(c);
    struct wm_net net = net_of(c, 1, latent, h_size);
    struct tensor *z = case_input(c, "z", 2, (int64_t[]){rows, latent});
    struct tensor *a = case_input(c, "a", 2, (int64_t[]){rows, case_dim(c, "a", 1)});
    struct tensor *h = case_input(c, "h", 2, (int64_t[]){rows, h_size});
    struct wm_recurrent r = wm_recurrent(&net, z, wm_action_half(&net, a), h);
    case_value(c, "f", r.input);
    case_value(c, "h_next", r.h);
    case_upstream(c, r.h, "dh_next");
    case_gradient(c, "dz", z);
    case_gradient(c, "da", a);
    case_gradient(c, "dh", h);
    case_param_gradients(c, "grad.");
    case_run(c);
}

void golden_initial_state(struct golden_case *c) {
    static const char *const parts[] = {"perturbed.", "zero_w0.", "fresh."};
    for (int i = 0; i < 3 && !c->failed; i++) {
        char name[4][ST_NAME_SIZE];
        static const char *const suffix[4] = {"w0", "h0", "logits", "z0_index"};
        char prefix[ST_NAME_SIZE];
        for (int k = 0; k < 4; k++) snprintf(name[k], sizeof name[k], "%s%s", parts[i], suffix[k]);
        snprintf(prefix, sizeof prefix, "%sparam.", parts[i]);
        case_param(c, name[0], "rssm.initial_recurrent_state");
        case_params(c, prefix);
        case_begin(c);
        if (c->failed) return;
        struct wm_net net =
            net_of(c, case_dim(c, name[2], 0), case_dim(c, name[2], 1), case_dim(c, name[0], 0));
        struct wm_initial start = wm_initial(&net);
        case_value(c, name[1], start.h);
        case_value(c, name[2], start.prior.logits);
        case_classes(c, name[3], &start.z, 1, net.dims.discrete);
        case_run(c);
        case_end(c);
    }
}

static void fill_one_hot(struct golden_case *c, const char *name, struct tensor *z,
                         int64_t n_classes) {
    int64_t n = z->n_elements / n_classes;
    const real *index = case_reals(c, name, n);
    for (int64_t i = 0; index && i < n; i++)
        ((real *)z->data)[i * n_classes + (int64_t)index[i]] = 1;
}

void golden_dynamic_step(struct golden_case *c) {
    int64_t rows = case_dim(c, "h", 0), h_size = case_dim(c, "h", 1), n_a = case_dim(c, "a", 1);
    int64_t s = case_dim(c, "u_post", 1), d = case_dim(c, "lambda_post", 2);
    case_params(c, "param.");
    case_begin(c);
    if (c->failed) return;
    struct wm_net net = net_of(c, s, d, h_size);
    struct tensor *z = g_input(c->graph, "z", DTYPE_REAL, 2, (int64_t[]){rows, s * d});
    struct tensor *is_first = case_input(c, "is_first", 1, &rows);
    struct tensor *a_bar =
        g_blend(c->graph, is_first, case_input(c, "a", 2, (int64_t[]){rows, n_a}), NULL);
    struct tensor *e = case_input(c, "e", 2, (int64_t[]){rows, case_dim(c, "e", 1)});
    const struct wm_embedding embedding = {{e}, 1};
    struct wm_initial start = wm_initial(&net);
    struct wm_step step = wm_observe_step(&net, &start,
                                          &(struct wm_step_in){
                                              .is_first = is_first,
                                              .h = case_input(c, "h", 2, (int64_t[]){rows, h_size}),
                                              .z = z,
                                              .action_half = wm_action_half(&net, a_bar),
                                              .embed_half = wm_embed_half(&net, &embedding),
                                              .u = case_input(c, "u_post", 2, (int64_t[]){rows, s}),
                                          });
    struct wm_categorical prior = wm_prior(&net, step.h);
    struct tensor *prior_z =
        wm_sample(&net, prior.probs, case_input(c, "u_prior", 2, (int64_t[]){rows, s}));
    case_value(c, "h_bar", step.h_bar);
    case_value(c, "layer.f", step.recurrent.input);
    case_value(c, "layer.prior_hidden", prior.hidden);
    case_value(c, "layer.prior_logits", prior.logits);
    case_value(c, "layer.post_hidden", step.posterior.hidden);
    case_value(c, "layer.post_logits", step.posterior.logits);
    case_value(c, "h_next", step.h);
    case_value(c, "lambda_prior", g_log_clamped(c->graph, prior.probs));
    case_value(c, "lambda_post", g_log_clamped(c->graph, step.posterior.probs));
    case_classes(c, "prior_index", &prior_z, 1, d);
    case_classes(c, "post_index", &step.z, 1, d);
    case_pairs(c, "za_bar", &step.z_bar, 1, a_bar);
    case_plan(c);
    fill_one_hot(c, "z_index", z, d);
    case_execute(c);
    case_compare(c);
}

// ---- the scan

struct scan_check {
    bool decoupled;
    int length, batch;
    int64_t s, d, h_size;
    struct wm_step steps[MAX_STEPS];
    struct wm_scan scan;
    struct wm_categorical prior;
    struct tensor *prev_actions, *is_first, *e;
};

static void scan_build(struct golden_case *c, struct scan_check *k) {
    k->length = (int)case_dim(c, "actions", 0), k->batch = (int)case_dim(c, "actions", 1);
    int64_t rows = (int64_t)k->length * k->batch, n_a = case_dim(c, "actions", 2);
    k->s = case_dim(c, "u_post", 2), k->d = case_dim(c, "lambda_post", 3),
    k->h_size = case_dim(c, "h", 2);
    if (k->length > MAX_STEPS) case_fail(c, "more than %d steps", MAX_STEPS);
    case_params(c, "param.");
    case_begin(c);
    if (c->failed) return;
    struct wm_net net = net_of(c, k->s, k->d, k->h_size);
    net.dims.decoupled = k->decoupled;
    k->prev_actions = g_input(c->graph, "prev_actions", DTYPE_REAL, 2, (int64_t[]){rows, n_a});
    k->is_first = case_input(c, "is_first", 1, &rows);
    k->e = case_input(c, "e", 2, (int64_t[]){rows, case_dim(c, "e", 2)});
    struct wm_initial start = wm_initial(&net);
    k->scan = wm_observe(
        &net, &start,
        &(struct wm_scan_in){
            .length = k->length,
            .batch = k->batch,
            .is_first = k->is_first,
            .prev_actions = k->prev_actions,
            .embedding = {{k->e}, 1},
            .u = case_input(c, "u_post", 2, (int64_t[]){rows, k->s}),
            .zero_h = g_input(c->graph, "zero_h", DTYPE_REAL, 2, (int64_t[]){k->batch, k->h_size}),
            .zero_z =
                g_input(c->graph, "zero_z", DTYPE_REAL, 2, (int64_t[]){k->batch, k->s * k->d}),
            .steps = k->steps,
        });
    k->prior = wm_prior(&net, k->scan.h);
    case_value(c, "h", k->scan.h);
    case_classes(c, "post_index", &k->scan.z, 1, k->d);
    case_value(c, "lambda_prior", g_log_clamped(c->graph, k->prior.probs));
    case_value(c, "lambda_post", g_log_clamped(c->graph, k->scan.posterior));
}

// Stored actions to previous ones (spec 3.5, from SA), and the window's first row counts as first.
static void scan_fill(struct golden_case *c, const struct scan_check *k) {
    int64_t n = k->prev_actions->n_elements, step = n / k->length;
    const real *actions = case_reals(c, "actions", n);
    if (actions)
        memcpy((real *)k->prev_actions->data + step, actions, (size_t)(n - step) * sizeof(real));
    for (int i = 0; i < k->batch; i++) ((real *)k->is_first->data)[i] = 1;
}

static void scan_layers(struct golden_case *c, const struct scan_check *k) {
    struct tensor *f[MAX_STEPS], *hidden[MAX_STEPS], *logits[MAX_STEPS];
    for (int t = 0; t < k->length; t++) {
        f[t] = k->steps[t].recurrent.input;
        hidden[t] = k->steps[t].posterior.hidden;
        logits[t] = k->steps[t].posterior.logits;
    }
    case_values(c, "layer.f", f, k->length);
    case_values(c, "layer.post_hidden", hidden, k->length);
    case_values(c, "layer.post_logits", logits, k->length);
    case_value(c, "layer.prior_hidden", k->prior.hidden);
    case_value(c, "layer.prior_logits", k->prior.logits);
}

void golden_rssm_scan(struct golden_case *c) {
    struct scan_check k = {0};
    scan_build(c, &k);
    if (c->failed) return;
    scan_layers(c, &k);
    case_plan(c);
    scan_fill(c, &k);
    case_execute(c);
    case_compare(c);
}

static void match_scan_gradients(struct golden_case *c, bool decoupled) {
    struct scan_check k = {.decoupled = decoupled};
    scan_build(c, &k);
    if (c->failed) return;
    case_upstream(c, k.scan.h, "dh");
    case_upstream(c, k.scan.z, "dz");
    struct lambda_upstream prior = lambda_upstream(c, k.prior.probs, "dlambda_prior");
    struct lambda_upstream posterior = lambda_upstream(c, k.scan.posterior, "dlambda_post");
    case_gradient(c, "de", k.e);
    case_param_gradients(c, "grad.");
    case_plan(c);
    scan_fill(c, &k);
    case_execute(c);
    lambda_fill(c, &prior);
    lambda_fill(c, &posterior);
    case_execute(c);
    case_compare(c);
}

void golden_rssm_scan_grad(struct golden_case *c) { match_scan_gradients(c, false); }
void golden_decoupled_scan(struct golden_case *c) { match_scan_gradients(c, true); }
