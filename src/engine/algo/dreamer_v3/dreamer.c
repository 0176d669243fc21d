// DreamerV3, whole: one update of world model and behaviour.
#include "engine/algo/dreamer_v3/dreamer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/algo/dreamer_v3/behaviour_graph.h"
#include "engine/algo/dreamer_v3/wm_graph.h"
#include "engine/graph/program.h"
#include "engine/graph/ranks.h"

struct dreamer {
    const struct dreamer_opts *opts; // while it is made
    struct noise_share share;        // several ranks: their parts of the noise
    bool joint;                      // one graph, one loss, one set of weights (profile.h)
    struct world_model *world;
    struct behaviour *behaviour;
    struct program *program; // NULL: the host waits for each update
    int n_world_commands;
    int64_t read_every;
    bool unread; // updates since the last reading
};

static const struct noise_source *noise_of(const struct dreamer *d) {
    return d->opts->ranks ? &d->share.source : d->opts->noise;
}

// The config's batch is a rank's.
static void share_noise(struct dreamer *d) {
    const struct config *cfg = d->opts->config;
    const struct ranks *ranks = d->opts->ranks;
    if (!ranks) return;
    const int64_t n = cfg->batch_size;
    noise_share_init(&d->share, (uint64_t)cfg->seed, ranks->rank * n, n, ranks->n * n);
}

static void make_behaviour(struct dreamer *d, struct world_model *wm, int64_t n_starts,
                           struct graph *g, const struct replayed *replayed) {
    d->behaviour = behaviour_new(&(struct behaviour_opts){
        .config = d->opts->config,
        .world = wm_dims(wm),
        .world_params = wm_params(wm),
        .actions = d->opts->actions,
        .n_starts = n_starts,
        .pool = d->opts->pool,
        .noise = noise_of(d),
        .ranks = d->opts->ranks,
        .slab = wm_slab(wm),
        .graph = g,
        .replayed = replayed,
    });
}

static struct tensor *extend(void *ctx, struct world_model *wm, struct graph *g,
                             const struct wm_train *t) {
    struct dreamer *d = ctx;
    const struct replayed replayed = {
        .length = (int)d->opts->config->sequence_length,
        .z = t->scan.z,
        .h = t->scan.h,
        .rewards = t->in.rewards,
        .is_first = t->in.is_first,
        .continues = t->in.continues,
    };
    make_behaviour(d, wm, t->scan.h->shape[0], g, &replayed);
    return behaviour_loss(d->behaviour);
}

// World model, then behaviour with the weights after it.
static void add_halves(struct dreamer *d, bool feed) {
    const struct wm_tensors t = wm_tensors(d->world);
    const struct behaviour_states states = {wm_executor(d->world), t.z, t.h, t.continues};
    wm_program(d->world, d->program, feed);
    d->n_world_commands = program_n_commands(d->program);
    behaviour_program(d->behaviour, &states, d->program);
    program_advance(d->program);
}

// One graph; every check before any step, and the target follows the step that was made.
static void add_joint(struct dreamer *d, bool feed) {
    struct program *p = d->program;
    wm_program_begin(d->world, p, feed);
    behaviour_program_begin(d->behaviour, p);
    program_run(p, wm_executor(d->world));
    wm_program_check(d->world, p);
    behaviour_program_check(d->behaviour, p);
    wm_program_step(d->world, p);
    behaviour_program_step(d->behaviour, p);
    program_advance(p);
    behaviour_program_track(d->behaviour, p);
}

static void make_program(struct dreamer *d, const struct dreamer_opts *opts) {
    if (opts->read_every < 1 || !(d->program = program_new())) return;
    d->read_every = opts->read_every;
    program_join(d->program, opts->ranks, opts->config->batch_size);
    if (opts->ring) {
        const struct config *cfg = opts->config;
        program_sample(d->program, opts->ring,
                       &(struct program_sample){.seed = (uint64_t)cfg->seed,
                                                .length = (int)cfg->sequence_length,
                                                .batch = (int)cfg->batch_size,
                                                .n_terminal = config_terminal_sequences(cfg)});
    }
    (d->joint ? add_joint : add_halves)(d, !opts->batch_on_device && !opts->ring);
    behaviour_sync(d->behaviour, false);
    program_seal(d->program, wm_opt_steps(d->world));
}

struct dreamer *dreamer_new(const struct dreamer_opts *opts) {
    struct dreamer *d = mem_alloc(sizeof *d);
    d->opts = opts;
    share_noise(d);
    d->joint = profile_of(opts->config)->joint;
    CHECK(!d->joint || !opts->actions || !opts->actions->n_continuous,
          "a joint profile with continuous actions");
    const struct wm_extension extension = {extend, d};
    d->world = wm_new(&(struct wm_opts){.config = opts->config,
                                        .n_actions = opts->n_actions,
                                        .obs = opts->obs,
                                        .pool = opts->pool,
                                        .zero_latent = opts->zero_latent,
                                        .noise = noise_of(d),
                                        .ranks = opts->ranks,
                                        .extension = d->joint ? &extension : NULL});
    if (d->joint)
        behaviour_attach(d->behaviour, wm_executor(d->world));
    else
        make_behaviour(d, d->world, wm_states(d->world).rows, NULL, NULL);
    make_program(d, opts);
    d->opts = NULL;
    return d;
}

void dreamer_free(struct dreamer *d) {
    if (!d) return;
    program_free(d->program);
    behaviour_free(d->behaviour);
    wm_free(d->world);
    free(d);
}

struct world_model *dreamer_world(struct dreamer *d) {
    return d->world;
}
struct behaviour *dreamer_behaviour(struct dreamer *d) {
    return d->behaviour;
}
bool dreamer_is_joint(const struct dreamer *d) { return d->joint; }

size_t dreamer_slab_bytes(const struct dreamer *d) {
    return wm_slab_bytes(d->world) + behaviour_slab_bytes(d->behaviour);
}

// What the message of an update that failed says: all of it is one.
static void join_results(struct dreamer_result *r) {
    const struct behaviour_result *b = &r->behaviour;
    if (!r->model.bad_node[0]) memcpy(r->model.bad_node, b->bad_node, sizeof r->model.bad_node);
    r->model.loss += b->loss_actor + b->loss_critic;
    r->model.grad_norm = hypot(r->model.grad_norm, hypot(b->norm_actor, b->norm_critic));
}

// Nothing changes where anything is not finite.
static bool update_jointly(struct dreamer *d, int64_t step, struct dreamer_result *out) {
    behaviour_begin(d->behaviour, step);
    bool fine = wm_forward_backward(d->world, &out->model);
    fine = behaviour_check(d->behaviour, &out->behaviour) && fine;
    out->bad_node = out->model.bad_node;
    if (fine) {
        wm_apply(d->world);
        behaviour_apply(d->behaviour, step);
    } else {
        join_results(out);
    }
    return fine;
}

// ---- on a device

bool dreamer_sync(struct dreamer *d, bool to_host) {
    struct backend_progress found;
    if (!d->program) return true;
    if (!to_host) {
        behaviour_sync(d->behaviour, false);
        program_store(d->program, wm_opt_steps(d->world));
        return true;
    }
    program_read(d->program, &found);
    program_fetch(d->program);
    behaviour_sync(d->behaviour, true);
    wm_set_opt_steps(d->world, found.step);
    return found.failed < 0;
}

bool dreamer_on_device(const struct dreamer *d) { return d->program != NULL; }
struct program *dreamer_program(struct dreamer *d) {
    return d->program;
}

// A joint update that failed changed nothing: its bad node, and loss and norm of all.
static bool take_joint(struct dreamer *d, const struct backend_progress *found,
                       struct dreamer_result *out) {
    const struct backend_progress fine = {.step = found->step, .failed = -1};
    struct wm_result model;
    if (found->failed >= 0) dreamer_sync(d, true);
    wm_take(d->world, &fine, &model);
    wm_take(d->world, found, &out->model);
    behaviour_take(d->behaviour, &fine, &out->behaviour);
    out->bad_node = out->model.bad_node;
    if (found->failed < 0) return true;
    out->model.loss = model.loss;
    out->model.grad_norm = model.grad_norm;
    join_results(out);
    return false;
}

static bool take_results(struct dreamer *d, struct dreamer_result *out) {
    struct backend_progress found;
    program_read(d->program, &found);
    d->unread = false;
    if (d->joint) return take_joint(d, &found, out);
    const bool failed = found.failed >= 0;
    const struct backend_progress fine = {.step = found.step, .failed = -1};
    const bool in_world = failed && found.failed < d->n_world_commands;
    if (failed) dreamer_sync(d, true);
    wm_take(d->world, in_world ? &found : &fine, &out->model);
    out->bad_node = out->model.bad_node;
    if (in_world) return false;
    behaviour_take(d->behaviour, &found, &out->behaviour);
    out->bad_node = out->behaviour.bad_node;
    if (failed) wm_set_opt_steps(d->world, found.step);
    return !failed;
}

static bool update_on_device(struct dreamer *d, int64_t step, struct dreamer_result *out) {
    wm_feed(d->world);
    behaviour_feed(d->behaviour, step);
    program_launch(d->program);
    wm_set_opt_steps(d->world, step + 1);
    out->bad_node = "";
    d->unread = true;
    return (step + 1) % d->read_every != 0 || take_results(d, out);
}

bool dreamer_look(struct dreamer *d, struct dreamer_result *out) {
    *out = (struct dreamer_result){.bad_node = ""};
    return !d->unread || take_results(d, out);
}

bool dreamer_update(struct dreamer *d, struct dreamer_result *out) {
    int64_t step = wm_opt_steps(d->world);
    *out = (struct dreamer_result){0};
    if (d->program) return update_on_device(d, step, out);
    if (d->joint) return update_jointly(d, step, out);
    bool fine = wm_update(d->world, &out->model);
    out->bad_node = out->model.bad_node;
    if (!fine) return false;
    struct wm_states states = wm_states(d->world);
    struct behaviour_start start = {states.z, states.h, wm_batch(d->world)->continues};
    fine = behaviour_update(d->behaviour, &start, step, &out->behaviour);
    out->bad_node = out->behaviour.bad_node;
    if (!fine) wm_set_opt_steps(d->world, step);
    return fine;
}

uint64_t dreamer_metrics(const struct dreamer *d, float out[METRIC_COUNT]) {
    return wm_metrics(d->world, out) | behaviour_metrics(d->behaviour, out);
}

struct params *dreamer_params(struct dreamer *d, enum dreamer_set set) {
    switch (set) {
    case DREAMER_ACTOR:
        return behaviour_actor(d->behaviour);
    case DREAMER_CRITIC:
        return behaviour_critic(d->behaviour);
    case DREAMER_TARGET:
        return behaviour_target(d->behaviour);
    default:
        return wm_params(d->world);
    }
}

real *dreamer_range(struct dreamer *d) { return behaviour_range(d->behaviour); }

int64_t dreamer_n_weights(struct dreamer *d) {
    return wm_params(d->world)->n_weights + behaviour_actor(d->behaviour)->n_weights +
           behaviour_critic(d->behaviour)->n_weights;
}
