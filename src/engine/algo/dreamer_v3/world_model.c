// DreamerV3's world model: the training update, its metrics and the pictures for the screens.
#include "engine/algo/dreamer_v3/world_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fmath.h"
#include "base/mem.h"
#include "engine/algo/dreamer_v3/noise.h"
#include "engine/graph/ranks.h"
#include "engine/algo/dreamer_v3/wm_graph.h"
#include "engine/data/spaces.h"
#include "engine/graph/program.h"
#include "engine/nn/optim.h"

// Activations of presets from S on: 16 x 64 pictures of them take more memory than all weights.
enum { RECOMPUTE_BYTES = 16 << 20 };

struct world_model {
    struct wm_dims dims;
    struct params params;
    struct optim_opts optim;
    struct pool *pool;
    uint64_t seed;
    const struct noise_source *noise;
    struct ranks *ranks;
    int64_t opt_steps;
    double grad_norm;  // of the last update
    struct slab *slab; // of all graphs of an update and of the pictures between two updates
    struct graph *train_graph, *view_graph;
    struct wm_train train;
    struct wm_view view;
    struct executor *train_executor, *view_executor;
    struct wm_batch train_batch, view_batch;
    struct program *program; // of wm_stay_on_device, else NULL
    int64_t read_every;
    bool unread; // updates since the last reading
};

static struct wm_batch batch_of(const struct wm_inputs *in, int length, int batch, int n_actions) {
    return (struct wm_batch){
        .length = length,
        .batch = batch,
        .n_actions = n_actions,
        .packed = in->packed ? in->packed->data : NULL,
        .vector = in->vectors[0] ? in->vectors[0]->data : NULL,
        .n_vector = in->vectors[0] ? (int)in->vectors[0]->shape[1] : 0,
        .prev_actions = in->prev_actions->data,
        .is_first = in->is_first->data,
        .rewards = in->rewards ? in->rewards->data : NULL,
        .continues = in->continues ? in->continues->data : NULL,
    };
}

static void build_view(struct world_model *wm, int n_actions) {
    wm->view_graph = graph_new();
    struct wm_net net = wm_net_make(wm->view_graph, &wm->params, &wm->dims);
    wm->view = wm_view_build(&net, WM_ROLLOUT, WM_CONTEXT);
    graph_plan_shared(wm->view_graph, wm->slab);
    wm->view_executor = executor_new(wm->view_graph, wm->pool);
    wm->view_batch = batch_of(&wm->view.in, WM_ROLLOUT, 1, n_actions);
}

struct world_model *wm_new(const struct wm_opts *opts) {
    const struct config *cfg = opts->config;
    struct world_model *wm = mem_alloc(sizeof *wm);
    int length = (int)cfg->sequence_length, batch = (int)cfg->batch_size;
    wm->pool = opts->pool;
    wm->seed = (uint64_t)cfg->seed;
    wm->noise = opts->noise;
    wm->ranks = opts->ranks;
    wm->dims = wm_dims_from_config(cfg, opts->n_actions);
    if (opts->obs) wm_dims_observe(&wm->dims, opts->obs->pixels, opts->obs->n_vector);
    wm->dims.zero_latent = opts->zero_latent;
    wm->optim = profile_optim(cfg, cfg->model_lr, cfg->model_eps, cfg->clip_gradients);
    params_init(&wm->params);
    wm_register(&wm->params, &wm->dims);
    params_allocate(&wm->params);
    wm_init_weights(&wm->params, &wm->dims, wm->seed, cfg->hafner_initialization, wm->pool);

    struct wm_loss_weights weights = wm_loss_weights_from_config(cfg);
    wm->train_graph = graph_new();
    struct wm_net net = wm_net_make(wm->train_graph, &wm->params, &wm->dims);
    wm->train = wm_train_build(&net, &weights, length, batch, NULL);
    struct tensor *loss = wm->train.loss;
    if (opts->extension)
        loss = g_add(wm->train_graph, loss,
                     opts->extension->build(opts->extension->ctx, wm, wm->train_graph, &wm->train));
    graph_gradients(wm->train_graph, loss);
    graph_recompute(wm->train_graph, RECOMPUTE_BYTES);
    wm->slab = slab_new();
    graph_plan_shared(wm->train_graph, wm->slab);
    wm->train_executor = executor_new(wm->train_graph, wm->pool);
    executor_set_ranks(wm->train_executor, wm->ranks);
    wm->train_batch = batch_of(&wm->train.in, length, batch, opts->n_actions);
    wm_twohot_bins(&wm->dims, wm->train.in.bins);

    build_view(wm, opts->n_actions);
    return wm;
}

void wm_free(struct world_model *wm) {
    if (!wm) return;
    program_free(wm->program);
    executor_free(wm->train_executor);
    executor_free(wm->view_executor);
    graph_free(wm->train_graph);
    graph_free(wm->view_graph);
    slab_free(wm->slab);
    params_deinit(&wm->params);
    free(wm);
}

struct params *wm_params(struct world_model *wm) {
    return &wm->params;
}
int64_t wm_opt_steps(const struct world_model *wm) { return wm->opt_steps; }
void wm_set_opt_steps(struct world_model *wm, int64_t steps) { wm->opt_steps = steps; }
const struct wm_dims *wm_dims(const struct world_model *wm) { return &wm->dims; }
struct wm_states wm_states(const struct world_model *wm) {
    const struct wm_scan *scan = &wm->train.scan;
    return (struct wm_states){scan->h->shape[0], scan->z->data, scan->h->data};
}
struct wm_tensors wm_tensors(const struct world_model *wm) {
    const struct wm_inputs *in = &wm->train.in;
    return (struct wm_tensors){.z = wm->train.scan.z,
                               .h = wm->train.scan.h,
                               .continues = in->continues,
                               .packed = in->packed,
                               .prev_actions = in->prev_actions,
                               .is_first = in->is_first,
                               .rewards = in->rewards};
}
size_t wm_slab_bytes(const struct world_model *wm) {
    return graph_slab_bytes(wm->train_graph) + graph_slab_bytes(wm->view_graph) +
           slab_bytes(wm->slab);
}
struct slab *wm_slab(struct world_model *wm) {
    return wm->slab;
}
struct executor *wm_executor(struct world_model *wm) {
    return wm->train_executor;
}
const struct wm_batch *wm_batch(struct world_model *wm) { return &wm->train_batch; }
bool wm_has_pictures(const struct world_model *wm) { return wm->dims.pixels; }
const struct wm_batch *wm_display_batch(struct world_model *wm) { return &wm->view_batch; }

static void force_first(const struct wm_batch *b) {
    for (int i = 0; i < b->batch; i++) b->is_first[i] = 1;
}

static double scalar(const struct tensor *t) { return (double)*(const real *)t->data; }

static void run_update(struct world_model *wm) {
    force_first(&wm->train_batch);
    noise_fill(wm->noise, wm->train.in.u, wm->seed, RNG_POSTERIOR, wm->opt_steps);
    executor_run(wm->train_executor);
    ranks_mean(wm->ranks, wm->params.grads, wm->params.n_flat);
    ranks_mean(wm->ranks, wm->train.loss->data, 1);
}

// ---- the same on a device

static void report_all(struct world_model *wm, struct program *p) {
    const struct wm_train *t = &wm->train;
    const struct tensor *const reports[] = {
        t->loss,   t->observation, t->reward,        t->continues,         t->kl,
        t->kl_raw, t->free_bits,   t->prior_entropy, t->posterior_entropy, t->scan.z};
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++)
        program_report(p, wm->train_executor, reports[i]);
}

// The ranks' share of the noise the program makes by itself.
static bool is_fed(const struct world_model *wm) { return wm->noise && !wm->ranks; }

void wm_program_begin(struct world_model *wm, struct program *p, bool feed_batch) {
    struct executor *ex = wm->train_executor;
    const struct wm_inputs *in = &wm->train.in;
    struct tensor *const batch[] = {in->packed,   in->vectors[0], in->prev_actions,
                                    in->is_first, in->rewards,    in->continues};
    for (size_t i = 0; i < sizeof batch / sizeof *batch && feed_batch; i++)
        program_feed(p, ex, batch[i]);
    if (is_fed(wm)) program_feed(p, ex, in->u);
    program_fill(p, ex, in->is_first, 0, wm->train_batch.batch, 1);
    if (!is_fed(wm)) program_noise(p, ex, in->u, wm->seed, RNG_POSTERIOR, false);
}

void wm_program_check(struct world_model *wm, struct program *p) {
    program_mean(p, &wm->params);
    program_mean_of(p, wm->train_executor, wm->train.loss);
    program_norm(p, &wm->params, wm->optim.max_norm, &wm->grad_norm);
    program_check(p, wm->train_executor, wm->train.loss, &wm->params);
}

void wm_program_step(struct world_model *wm, struct program *p) {
    const struct program_adam adam = profile_program(&wm->optim);
    program_adam(p, &wm->params, &adam);
    report_all(wm, p);
}

void wm_program(struct world_model *wm, struct program *p, bool feed_batch) {
    wm_program_begin(wm, p, feed_batch);
    program_run(p, wm->train_executor);
    wm_program_check(wm, p);
    wm_program_step(wm, p);
}

void wm_feed(struct world_model *wm) {
    force_first(&wm->train_batch);
    if (is_fed(wm)) noise_fill(wm->noise, wm->train.in.u, wm->seed, RNG_POSTERIOR, wm->opt_steps);
}

static void name_bad_node(struct world_model *wm, struct wm_result *out) {
    const struct tensor *bad = executor_find_nonfinite(wm->train_executor);
    snprintf(out->bad_node, sizeof out->bad_node, "%s", bad ? bad->name : "gradient norm");
}

bool wm_take(struct world_model *wm, const struct backend_progress *found, struct wm_result *out) {
    *out = (struct wm_result){.loss = scalar(wm->train.loss), .grad_norm = wm->grad_norm};
    if (found->failed < 0) return true;
    *out = (struct wm_result){.loss = found->value, .grad_norm = found->norm};
    wm->opt_steps = found->step;
    name_bad_node(wm, out);
    return false;
}

void wm_stay_on_device(struct world_model *wm, int64_t read_every, struct device_ring *ring,
                       const struct program_sample *sample) {
    wm->program = program_new();
    if (!wm->program) return;
    wm->read_every = read_every;
    program_join(wm->program, wm->ranks, wm->train_batch.batch);
    if (ring) program_sample(wm->program, ring, sample);
    wm_program(wm, wm->program, !ring);
    program_advance(wm->program);
    program_seal(wm->program, wm->opt_steps);
}

bool wm_sync(struct world_model *wm, bool to_host) {
    struct backend_progress found;
    if (!wm->program) return true;
    if (!to_host) {
        program_store(wm->program, wm->opt_steps);
        return true;
    }
    program_read(wm->program, &found);
    program_fetch(wm->program);
    wm->opt_steps = found.step;
    return found.failed < 0;
}

bool wm_on_device(const struct world_model *wm) { return wm->program != NULL; }

bool wm_look(struct world_model *wm, struct wm_result *out) {
    struct backend_progress found;
    if (!wm->unread) return true;
    program_read(wm->program, &found);
    wm->unread = false;
    if (found.failed >= 0) program_fetch(wm->program);
    return wm_take(wm, &found, out);
}

static bool update_on_device(struct world_model *wm, struct wm_result *out) {
    wm_feed(wm);
    program_launch(wm->program);
    wm->opt_steps++;
    wm->unread = true;
    *out = (struct wm_result){.loss = scalar(wm->train.loss), .grad_norm = wm->grad_norm};
    return wm->opt_steps % wm->read_every != 0 || wm_look(wm, out);
}

// ---- results

static bool finish(struct world_model *wm, double norm, struct wm_result *out) {
    *out = (struct wm_result){.loss = scalar(wm->train.loss), .grad_norm = norm};
    wm->grad_norm = norm;
    if (isfinite(out->loss) && isfinite(norm)) return true;
    name_bad_node(wm, out);
    return false;
}

bool wm_forward_backward(struct world_model *wm, struct wm_result *out) {
    run_update(wm);
    return finish(wm, optim_norm(wm->params.grads, wm->params.n_flat, wm->pool), out);
}

bool wm_update(struct world_model *wm, struct wm_result *out) {
    if (wm->program) return update_on_device(wm, out);
    run_update(wm);
    if (!isfinite(scalar(wm->train.loss)))
        return finish(wm, optim_norm(wm->params.grads, wm->params.n_flat, wm->pool), out);
    // A norm that is not finite makes optim_step leave weights and moments alone.
    if (!finish(wm, optim_step(&wm->params, wm->pool, &wm->optim, wm->opt_steps + 1), out))
        return false;
    wm->opt_steps++;
    return true;
}

void wm_apply(struct world_model *wm) {
    optim_step(&wm->params, wm->pool, &wm->optim, ++wm->opt_steps);
}

void wm_undo(const struct world_model *wm, int64_t step, struct params *out) {
    optim_undo(&wm->params, &wm->optim, step, out->weights);
}

uint64_t wm_metrics(const struct world_model *wm, float out[METRIC_COUNT]) {
    const struct wm_train *t = &wm->train;
    const double prior = scalar(t->prior_entropy), posterior = scalar(t->posterior_entropy);
    const struct {
        enum metric metric;
        double value;
    } values[] = {
        {METRIC_LOSS_MODEL, scalar(t->loss)},
        {METRIC_OBS_NLL, scalar(t->observation)},
        {METRIC_REWARD_NLL, scalar(t->reward)},
        {METRIC_CONTINUE_NLL, scalar(t->continues)},
        {METRIC_KL_TOTAL, scalar(t->kl)},
        {METRIC_KL_DYN, scalar(t->kl_raw)},
        {METRIC_KL_REP, scalar(t->kl_raw)},
        {METRIC_FREE_BITS, scalar(t->free_bits)},
        {METRIC_PRIOR_ENTROPY, prior},
        {METRIC_POSTERIOR_ENTROPY, posterior},
        {METRIC_ENTROPY_RATIO, posterior / prior},
        {METRIC_GRAD_NORM_MODEL, wm->grad_norm},
    };
    uint64_t present = 0;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        out[values[i].metric] = (float)values[i].value;
        present |= (uint64_t)1 << values[i].metric;
    }
    return present;
}

// Network pixels -0.5 .. 0.5 to levels 0 .. 255; not a number becomes 0.
static void levels(const struct tensor *image, uint8_t (*out)[WM_PIXELS]) {
    const real *x = image->data;
    for (int64_t i = 0; i < image->n_elements; i++) {
        real level = (x[i] + (real)0.5) * 255 + (real)0.5;
        out[i / WM_PIXELS][i % WM_PIXELS] = level >= 255 ? 255 : level > 0 ? (uint8_t)level : 0;
    }
}

void wm_display(struct world_model *wm, uint8_t reconstruction[WM_ROLLOUT][WM_PIXELS],
                uint8_t dream[WM_ROLLOUT][WM_PIXELS]) {
    force_first(&wm->view_batch);
    noise_fill(wm->noise, wm->view.in.u, wm->seed, RNG_ROLLOUT_POSTERIOR, wm->opt_steps);
    noise_fill(wm->noise, wm->view.in.u_prior, wm->seed, RNG_ROLLOUT_PRIOR, wm->opt_steps);
    executor_run(wm->view_executor);
    if (!wm->dims.pixels) return;
    levels(wm->view.posterior, reconstruction);
    memcpy(dream, reconstruction, (size_t)WM_CONTEXT * WM_PIXELS);
    levels(wm->view.imagined, dream + WM_CONTEXT);
}

static void as_observed(const struct tensor *symlog, float *out) {
    const real *x = symlog->data;
    for (int64_t i = 0; i < symlog->n_elements; i++) out[i] = (float)fast_symexp(x[i]);
}

void wm_display_vectors(const struct world_model *wm, float *reconstruction, float *dream) {
    const struct tensor *seen = wm->view.vector_posterior[0];
    const size_t width = (size_t)seen->shape[1];
    as_observed(seen, reconstruction);
    memcpy(dream, reconstruction, WM_CONTEXT * width * sizeof *dream);
    as_observed(wm->view.vector_imagined[0], dream + WM_CONTEXT * width);
}
