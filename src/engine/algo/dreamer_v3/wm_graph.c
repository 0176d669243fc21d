// The world model's two graphs: training step and pictures.
#include "engine/algo/dreamer_v3/wm_graph.h"

#include "base/error.h"

struct wm_loss_weights wm_loss_weights_from_config(const struct config *cfg) {
    return (struct wm_loss_weights){
        .kl_dynamic = (real)cfg->kl_dynamic,
        .kl_representation = (real)cfg->kl_representation,
        .free_nats = (real)cfg->kl_free_nats,
        .kl_regularizer = (real)cfg->kl_regularizer,
        .continue_scale = (real)cfg->continue_scale,
        .gamma = (real)cfg->gamma,
    };
}

static struct tensor *input(struct graph *g, const char *name, int64_t rows, int64_t width) {
    return g_input(g, name, DTYPE_REAL, width ? 2 : 1, (int64_t[]){rows, width});
}

static struct wm_inputs inputs(struct graph *g, const struct wm_dims *d, int length, int batch) {
    int64_t rows = (int64_t)length * batch;
    struct wm_inputs in = {
        .packed = d->pixels ? g_input(g, "packed", DTYPE_U8, 2, (int64_t[]){rows, WM_PACKED_BYTES})
                            : NULL,
        .prev_actions = input(g, "prev_actions", rows, d->n_actions),
        .is_first = input(g, "is_first", rows, 0),
        .u = input(g, "u_posterior", rows, d->stochastic),
        .zero_h = input(g, "zero_h", batch, d->recurrent),
        .zero_z = input(g, "zero_z", batch, d->stochastic * d->discrete),
    };
    for (int k = 0; k < d->n_vectors; k++) in.vectors[k] = input(g, "vector", rows, d->vectors[k]);
    graph_one_hot(g, in.zero_z, d->discrete);
    return in;
}

static struct wm_scan_in scan_in(const struct wm_inputs *in, struct wm_embedding embedding,
                                 int length, int batch) {
    return (struct wm_scan_in){
        .length = length,
        .batch = batch,
        .is_first = in->is_first,
        .prev_actions = in->prev_actions,
        .embedding = embedding,
        .u = in->u,
        .zero_h = in->zero_h,
        .zero_z = in->zero_z,
    };
}

// A number for the metric table: mean over all rows, readable after a run.
static struct tensor *report(struct graph *g, const char *name, struct tensor *rows) {
    struct tensor *mean = g_mean(g, rows);
    graph_name(g, mean, name);
    graph_keep(g, mean);
    return mean;
}

// Predictions and their error: pictures, vectors, or the sum of both.
static void observe(const struct wm_net *net, struct wm_train *t, struct tensor *image) {
    struct graph *g = net->nn.graph;
    if (image) t->image_rows = g_square_error(g, t->reconstruction, image);
    for (int k = 0; k < net->dims.n_vectors; k++) {
        struct tensor *rows = wm_vector_error(g, t->vectors[k], t->in.vectors[k]);
        t->vector_rows = k ? g_add(g, t->vector_rows, rows) : rows;
    }
    t->observation_rows = !t->vector_rows ? t->image_rows
                          : image         ? g_add(g, t->image_rows, t->vector_rows)
                                          : t->vector_rows;
}

static void losses(const struct wm_net *net, struct wm_train *t, struct tensor *image,
                   const struct wm_loss_weights *w) {
    struct graph *g = net->nn.graph;
    const int64_t classes = net->dims.discrete;
    graph_scope_push(g, "loss");
    observe(net, t, image);
    t->reward_rows = wm_twohot_nll(net, t->reward_logits, t->in.rewards, t->in.bins);
    struct tensor *goes_on = t->in.continues;
    if (net->dims.profile.discounted_continues) goes_on = g_affine(g, goes_on, w->gamma, 0);
    t->continue_rows = g_bce(g, t->continue_logits, goes_on);
    struct tensor *cont = g_affine(g, t->continue_rows, w->continue_scale, 0);
    struct tensor *kl = g_kl_balanced(g, t->scan.posterior, t->prior.probs, classes, w->kl_dynamic,
                                      w->kl_representation, w->free_nats);
    struct tensor *state = g_affine(g, kl, w->kl_regularizer, 0);
    t->loss =
        g_mean(g, g_add(g, g_add(g, state, t->observation_rows), g_add(g, t->reward_rows, cont)));
    graph_name(g, t->loss, "total");
    graph_keep(g, t->loss);

    t->kl_rows = g_kl(g, t->scan.posterior, t->prior.probs, classes);
    t->observation = report(g, "observation", t->observation_rows);
    t->reward = report(g, "reward", t->reward_rows);
    t->continues = report(g, "continue", cont);
    t->kl = report(g, "kl", kl);
    t->kl_raw = report(g, "kl_raw", t->kl_rows);
    t->free_bits = report(g, "free_bits", g_less(g, t->kl_rows, w->free_nats));
    t->prior_entropy = report(g, "prior_entropy", g_entropy(g, t->prior.probs));
    t->posterior_entropy = report(g, "posterior_entropy", g_entropy(g, t->scan.posterior));
    graph_scope_pop(g);
}

struct wm_train wm_train_build(const struct wm_net *net, const struct wm_loss_weights *w,
                               int length, int batch, struct wm_step *steps) {
    struct graph *g = net->nn.graph;
    int64_t rows = (int64_t)length * batch;
    graph_scope_push(g, "wm");
    struct wm_train t = {.in = inputs(g, &net->dims, length, batch)};
    t.in.rewards = input(g, "rewards", rows, 0);
    t.in.continues = input(g, "continues", rows, 0);
    t.in.bins = input(g, "bins", net->dims.bins, 0);
    struct tensor *image = t.in.packed ? g_unpack2(g, t.in.packed, WM_HEIGHT, WM_WIDTH) : NULL;
    struct wm_initial start = wm_initial(net);
    t.embedding = wm_encode(net, image, t.in.vectors);
    struct wm_scan_in in = scan_in(&t.in, t.embedding, length, batch);
    in.steps = steps;
    t.scan = wm_observe(net, &start, &in);
    graph_keep(g, t.scan.z); // the dream starts there
    graph_keep(g, t.scan.h);
    graph_scope_push(g, "prior");
    t.prior = wm_prior(net, t.scan.h);
    graph_scope_pop(g);
    if (image) t.reconstruction = wm_decode(net, t.scan.z, t.scan.h);
    if (net->dims.n_vectors)
        wm_decode_vectors(net, (struct tensor *[]){t.scan.z, t.scan.h}, 2, t.vectors);
    t.reward_logits = wm_reward(net, t.scan.z, t.scan.h);
    t.continue_logits = wm_continue(net, t.scan.z, t.scan.h);
    losses(net, &t, image, w);
    graph_scope_pop(g);
    return t;
}

// What the decoders make of states, kept: the picture, or NULL, and the vectors.
static struct tensor *show(const struct wm_net *net, struct tensor *z, struct tensor *h,
                           struct tensor *vectors[WM_MAX_VECTORS]) {
    struct graph *g = net->nn.graph;
    struct tensor *picture = net->dims.pixels ? wm_decode(net, z, h) : NULL;
    if (picture) graph_keep(g, picture);
    if (net->dims.n_vectors) wm_decode_vectors(net, (struct tensor *[]){z, h}, 2, vectors);
    for (int k = 0; k < net->dims.n_vectors; k++) graph_keep(g, vectors[k]);
    return picture;
}

struct wm_view wm_view_build(const struct wm_net *net, int rows, int context) {
    struct graph *g = net->nn.graph;
    struct tensor *h[WM_ROLLOUT], *z[WM_ROLLOUT];
    struct wm_step steps[WM_ROLLOUT];
    CHECK(context >= 1 && rows > context && rows <= WM_ROLLOUT, "%d rows, %d of context", rows,
          context);
    graph_scope_push(g, "view");
    struct wm_view v = {.in = inputs(g, &net->dims, rows, 1)};
    v.in.u_prior = input(g, "u_prior", rows - context, net->dims.stochastic);
    struct wm_initial start = wm_initial(net);
    struct tensor *image = v.in.packed ? g_unpack2(g, v.in.packed, WM_HEIGHT, WM_WIDTH) : NULL;
    struct wm_scan_in in = scan_in(&v.in, wm_encode(net, image, v.in.vectors), rows, 1);
    in.steps = steps;
    struct wm_scan seen = wm_observe(net, &start, &in);
    v.posterior = show(net, seen.z, seen.h, v.vector_posterior);

    graph_scope_push(g, "imagine");
    int n = rows - context;
    struct tensor *action_half =
        wm_action_half(net, g_blend(g, v.in.is_first, v.in.prev_actions, NULL));
    for (int i = 0; i < n; i++) {
        graph_scope_push(g, "t%02d", context + i);
        struct wm_step s =
            wm_imagine_step(net, &start,
                            &(struct wm_step_in){
                                .is_first = g_slice(g, v.in.is_first, context + i, 1),
                                .h = i ? h[i - 1] : steps[context - 1].h,
                                .z = i ? z[i - 1] : steps[context - 1].z,
                                .action_half = g_slice(g, action_half, context + i, 1),
                                .u = g_slice(g, v.in.u_prior, i, 1),
                            });
        h[i] = s.h, z[i] = s.z;
        graph_scope_pop(g);
    }
    v.imagined = show(net, g_stack(g, z, n), g_stack(g, h, n), v.vector_imagined);
    graph_scope_pop(g);
    graph_scope_pop(g);
    return v;
}
