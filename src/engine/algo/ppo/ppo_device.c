// PPO on a device: its three programs and when they are launched.
#include "engine/algo/ppo/ppo_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/algo/ppo/device_rollout.h"
#include "engine/algo/ppo/ppo_internal.h"
#include "engine/algo/ppo/ppo_stats.h"
#include "engine/env/device_env.h"
#include "engine/graph/program.h"

struct ppo_device {
    struct ppo *agent;
    struct ppo_device_opts opts;
    const struct device_rollouts *lib;
    struct device_env *machines; // NULL: the host plays
    struct device_rollout *rollout;
    int n_finals;
    struct program *choose, *play, *prepare, *learn;
    bool warned; // that a machine is locked
};

#define ROLLOUT(d, call)                                                                           \
    do {                                                                                           \
        if (!(d)->lib->call)                                                                       \
            device_lost("PPO's rollout on the device", (d)->lib->rollout_message((d)->rollout));   \
    } while (0)

const struct device_rollouts *device_rollouts_of(const struct backend *b, char *why, size_t size) {
    const struct device_rollouts *d = b->rollouts;
    if (d && d->version == DEVICE_ROLLOUT_VERSION) return d;
    snprintf(why, size, "the device library was built from another version; run make again");
    return NULL;
}

// ---- the programs

// Two for a step, so that the log can tell the policy's time from the machines'.
static void add_step(struct ppo_device *d) {
    struct ppo *p = d->agent;
    d->choose = program_new();
    program_stage(d->choose, d->rollout, ROLLOUT_LOOK, 0, NULL);
    program_run(d->choose, p->act.executor);
    program_stage(d->choose, d->rollout, ROLLOUT_CHOOSE, 0, NULL);
    program_advance(d->choose);
    program_seal(d->choose, 0);
    d->play = program_new();
    program_stage(d->play, d->rollout, ROLLOUT_PLAY, 0, &p->params); // in turns with the others
    program_advance(d->play);
    program_seal(d->play, 0);
}

static void add_prepare(struct ppo_device *d) {
    struct ppo *p = d->agent;
    d->prepare = program_new();
    program_stage(d->prepare, d->rollout, ROLLOUT_LOOK_LAST, 0, NULL);
    program_run(d->prepare, p->act.executor);
    program_stage(d->prepare, d->rollout, ROLLOUT_TAKE_LAST, 0, NULL);
    for (int k = 0; k < d->n_finals && d->machines; k++) {
        program_stage(d->prepare, d->rollout, ROLLOUT_LOOK_FINAL, k, NULL);
        program_run(d->prepare, p->act.executor);
        program_stage(d->prepare, d->rollout, ROLLOUT_TAKE_FINAL, k, NULL);
    }
    program_stage(d->prepare, d->rollout, ROLLOUT_ADVANTAGES, 0, NULL);
    program_advance(d->prepare);
    program_seal(d->prepare, 0);
}

// The learning rate is 1 times what program_scale_rates says.
static void add_learn(struct ppo_device *d) {
    struct ppo *p = d->agent;
    struct executor *ex = p->learn.executor;
    d->learn = program_new();
    program_feed(d->learn, ex, p->learn.samples);
    program_stage(d->learn, d->rollout, ROLLOUT_DEAL, 0, NULL);
    program_run(d->learn, ex);
    program_norm(d->learn, &p->params, p->opts.max_norm, NULL);
    program_check(d->learn, ex, p->learn.total, &p->params);
    program_adam(
        d->learn, &p->params,
        &(struct program_adam){
            .learning_rate = 1, .beta1 = ppo_beta1, .beta2 = ppo_beta2, .eps = p->opts.adam_eps});
    program_stage(d->learn, d->rollout, ROLLOUT_NOTE, 0, &p->params);
    program_advance(d->learn);
    program_report(d->learn, ex, p->learn.report);
    program_seal(d->learn, p->counters.grad_steps);
}

static bool make_rollout(struct ppo_device *d, char *why, size_t size) {
    const struct ppo *p = d->agent;
    const struct ppo_opts *o = &p->opts;
    const struct ppo_loss_in *in = &p->learn.in;
    const struct device_rollout_opts opts = {
        .n_steps = o->n_steps,
        .n_envs = o->n_envs,
        .n_actions = o->dims.n_actions,
        .batch = p->batch,
        .stack = (int)o->dims.stack,
        .n_finals = d->n_finals,
        .normalize_batch = o->advantages == PPO_ADVANTAGES_BATCH,
        .normalize_minibatch = o->advantages == PPO_ADVANTAGES_MINIBATCH,
        .gamma = o->gamma,
        .lambda = o->lambda,
        .seed = o->seed,
        .machines = device_env_machines(d->machines),
        .act = executor_device(p->act.executor),
        .act_stacks = p->act.stacks,
        .act_logits = p->act.net.logits,
        .act_values = p->act.net.values,
        .learn = executor_device(p->learn.executor),
        .samples = p->learn.samples,
        .stacks = p->learn.stacks,
        .actions = in->actions,
        .old_log_probs = in->old_log_probs,
        .advantages = in->advantages,
        .returns = in->returns,
        .old_values = in->old_values,
        .terms = p->learn.terms,
        .report = p->learn.report};
    d->rollout = d->lib->rollout_new(&opts, why, size);
    return d->rollout != NULL;
}

// At most so many episodes of one environment can a time limit end in a rollout.
static int cut_at_most(const struct ppo_device *d) {
    const int64_t n = d->agent->opts.n_steps, limit = d->opts.max_steps;
    if (!d->agent->opts.bootstrap) return 0;
    return limit > 0 ? (int)((n - 1) / limit) + 1 : 1;
}

struct ppo_device *ppo_device_new(struct ppo *p, const struct ppo_device_opts *opts, char *why,
                                  size_t size) {
    const struct backend *b = backend_chosen();
    snprintf(why, size, "no device was chosen");
    if (!b || !p->learn.report) return NULL;
    struct ppo_device *d = mem_alloc(sizeof *d);
    d->agent = p;
    d->opts = *opts;
    d->n_finals = cut_at_most(d);
    d->lib = device_rollouts_of(b, why, size);
    bool fine = d->lib != NULL;
    if (fine && opts->env) fine = (d->machines = device_env_new(b, opts->env, why, size)) != NULL;
    if (!fine || !make_rollout(d, why, size)) {
        ppo_device_free(d);
        return NULL;
    }
    if (d->machines) add_step(d);
    add_prepare(d);
    add_learn(d);
    p->device = d;
    return d;
}

void ppo_device_free(struct ppo_device *d) {
    if (!d) return;
    d->agent->device = NULL;
    program_free(d->learn);
    program_free(d->prepare);
    program_free(d->play);
    program_free(d->choose);
    if (d->lib) d->lib->rollout_free(d->rollout);
    device_env_free(d->machines);
    free(d);
}

bool ppo_device_plays(const struct ppo_device *d) { return d->machines != NULL; }

int64_t ppo_device_bytes(const struct ppo_device *d) {
    enum { A_MACHINE = 55000 }; // device_play.h
    return d->lib->rollout_bytes(d->rollout) + ppo_bytes(d->agent) +
           (d->machines ? A_MACHINE * d->agent->opts.n_envs : 0);
}

// ---- between host and device

// The host's frames and running episodes, as the device takes them and gives them.
struct memory {
    struct device_rollout_memory at;
    uint8_t *frames, *collect;
};

static struct memory memory_new(const struct ppo_device *d) {
    const size_t n = (size_t)d->agent->opts.n_envs, k = n * (size_t)d->agent->opts.dims.stack;
    struct memory m = {.frames = mem_alloc(ppo_rollout_memory_bytes(d->opts.rollout)),
                       .collect = mem_alloc(collect_state_bytes(d->opts.collect))};
    m.at = (struct device_rollout_memory){.frames = m.frames,
                                          .ages = m.frames + k * ROLLOUT_FRAME_BYTES,
                                          .returns = mem_alloc(n * sizeof(double)),
                                          .length = mem_alloc(n * sizeof(double))};
    return m;
}

static void memory_free(struct memory *m) {
    free(m->frames);
    free(m->collect);
    free(m->at.returns);
    free(m->at.length);
}

static void store_memory(struct ppo_device *d) {
    struct memory m = memory_new(d);
    ppo_rollout_memory_save(d->opts.rollout, m.frames);
    collect_episodes(d->opts.collect, m.at.returns, m.at.length);
    ROLLOUT(d, rollout_store(d->rollout, &m.at));
    memory_free(&m);
}

static void fetch_memory(struct ppo_device *d) {
    struct memory m = memory_new(d);
    ROLLOUT(d, rollout_fetch(d->rollout, &m.at));
    ppo_rollout_memory_load(d->opts.rollout, m.frames);
    collect_set_episodes(d->opts.collect, m.at.returns, m.at.length);
    memory_free(&m);
}

static void check_machines(bool fine, const char *why) {
    if (!fine) device_lost("machines on the device", why);
}

void ppo_device_begin(struct ppo_device *d) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    if (d->machines) {
        check_machines(device_env_store(d->machines, why, sizeof why), why);
        store_memory(d);
        program_store(d->choose, collect_ticks(d->opts.collect));
        program_store(d->play, collect_ticks(d->opts.collect));
    }
    program_store(d->learn, d->agent->counters.grad_steps);
}

void ppo_device_fetch(struct ppo_device *d, bool episodes) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    program_fetch(d->learn);
    if (!episodes) return;
    check_machines(device_env_fetch(d->machines, why, sizeof why), why);
    fetch_memory(d);
}

// ---- a rollout

void ppo_device_play(struct ppo_device *d) {
    for (int64_t t = 0; t < d->agent->opts.n_steps; t++) {
        program_launch(d->choose);
        program_launch(d->play);
    }
    collect_advance(d->opts.collect, d->agent->opts.n_steps);
}

void ppo_device_put(struct ppo_device *d, const struct ppo_rollout *r) {
    const struct device_rollout_rows rows = {
        .frames = r->frames,
        .ages = r->ages,
        .actions = r->actions,
        .log_probs = r->log_probs,
        .values = r->values,
        .rewards = r->rewards,
        .final_values = r->final_values,
        .dones = r->dones,
        .truncs = r->truncs,
        .distances = r->distances,
    };
    ROLLOUT(d, rollout_put(d->rollout, &rows));
}

// ---- an update

static const struct device_rollout_report *report_of(const struct ppo_device *d) {
    return d->agent->learn.report->data;
}

// The failing step, as ppo_learn leaves it; the launches after it did nothing.
static bool fail(struct ppo_device *d, const struct backend_progress *at, int64_t first_epoch,
                 struct ppo_learned *out) {
    struct ppo *p = d->agent;
    const int64_t done = at->step - p->counters.grad_steps;
    program_fetch(d->learn);
    ppo_name_bad_node(p, out);
    out->bad_loss = at->value;
    out->bad_norm = at->norm;
    out->bad_epoch = done / p->opts.minibatches;
    p->last_minibatch = out->bad_minibatch = done % p->opts.minibatches;
    p->counters.grad_steps = at->step;
    p->counters.epochs = first_epoch + out->bad_epoch + 1;
    ppo_shuffle(p->order, p->n_samples, p->opts.seed, (uint64_t)(first_epoch + out->bad_epoch));
    return false;
}

static void launch_epoch(struct ppo_device *d) {
    struct ppo *p = d->agent;
    int32_t *samples = p->learn.samples->data;
    ppo_shuffle(p->order, p->n_samples, p->opts.seed, (uint64_t)p->counters.epochs++);
    for (int64_t m = 0; m < p->opts.minibatches; m++) {
        for (int64_t k = 0; k < p->batch; k++) samples[k] = (int32_t)p->order[m * p->batch + k];
        program_launch(d->learn);
    }
}

static void take_report(const struct ppo_device *d, struct ppo_learned *out) {
    const struct device_rollout_report *r = report_of(d);
    out->steps = (int64_t)r->n_steps;
    for (int i = 0; i < PPO_N_TERMS; i++) {
        out->terms[i] = r->terms[i] / r->n_steps;
        out->first[i] = r->first[i];
    }
    out->grad_norm = r->norm / r->n_steps;
    out->explained_variance =
        r->squares[OF_RETURNS] > 0 ? 1 - r->squares[OF_ERRORS] / r->squares[OF_RETURNS] : 0;
}

bool ppo_device_learn(struct ppo_device *d, double learning_rate, struct ppo_learned *out) {
    struct ppo *p = d->agent;
    const struct ppo_opts *o = &p->opts;
    const int64_t first_epoch = p->counters.epochs;
    struct backend_progress at = {0};
    double k3 = 0;
    *out = (struct ppo_learned){0};
    program_launch(d->prepare);
    program_scale_rates(d->learn, learning_rate);
    for (int64_t epoch = 0; epoch < o->epochs; epoch++) {
        launch_epoch(d);
        if (o->target_kl <= 0 && epoch + 1 < o->epochs) continue;
        program_read(d->learn, &at);
        if (at.failed >= 0) return fail(d, &at, first_epoch, out);
        const double before = k3;
        k3 = report_of(d)->terms[PPO_KL_K3];
        if (o->target_kl > 0 && (k3 - before) / (double)o->minibatches > o->target_kl) break;
    }
    p->counters.updates++;
    p->counters.grad_steps = at.step;
    p->last_minibatch = o->minibatches - 1;
    take_report(d, out);
    return true;
}

// ---- the log's numbers

struct ppo_device_times ppo_device_times(const struct ppo_device *d) {
    const struct ppo_opts *o = &d->agent->opts;
    struct ppo_device_times t = {.update_ms = program_ms(d->prepare) +
                                              (double)report_of(d)->n_steps * program_ms(d->learn)};
    if (!d->machines) return t;
    t.rollout.policy_ns = (int64_t)(1e6 * (double)o->n_steps * program_ms(d->choose));
    t.rollout.env_ns = (int64_t)(1e6 * (double)o->n_steps * program_ms(d->play));
    return t;
}

void ppo_device_stats(struct ppo_device *d, struct collect_stats *out) {
    const struct device_rollout_report *r = report_of(d);
    const struct ppo_opts *o = &d->agent->opts;
    const double n = (double)d->agent->n_samples;
    const float *distances = (const float *)(r + 1);
    const uint8_t *frame = (const uint8_t *)r +
                           device_rollout_report_bytes(o->n_envs, PPO_FRAME_BYTES) -
                           PPO_FRAME_BYTES;
    *out = (struct collect_stats){.n_steps = d->agent->n_samples,
                                  .episodes = (int64_t)r->tallies[EPISODES],
                                  .successes = (int64_t)r->tallies[SUCCESSES],
                                  .reward_sum = r->sums[OF_REWARDS],
                                  .entropy_sum = r->tallies[ENTROPIES],
                                  .return_sum = r->tallies[RETURNS],
                                  .length_sum = r->tallies[LENGTHS],
                                  .dones = (int64_t)r->counts[COUNT_DONE],
                                  .truncs = (int64_t)r->counts[COUNT_TRUNCATED],
                                  .resets = (int64_t)r->counts[COUNT_RESET],
                                  .value_mean = r->sums[OF_VALUES] / n,
                                  .value_std = sqrt(r->squares[OF_VALUES] / n)};
    for (int64_t a = 0; a < o->dims.n_actions; a++)
        out->action_counts[a] = (int64_t)r->counts[N_ROLLOUT_COUNTS + a];
    collect_set_distances(out, distances, o->n_envs);
    memcpy(ppo_rollout_frame(d->opts.rollout, 0, 0), frame, PPO_FRAME_BYTES);
    if (r->counts[COUNT_LOCKED] == 0 || d->warned) return;
    d->warned = true;
    log_write(LOG_WARN, "a machine stands still: an opcode that does not exist");
}
