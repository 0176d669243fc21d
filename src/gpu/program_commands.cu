// What each kind of a program's commands enqueues.
#include "gpu/program_parts.h"

#include "gpu/noise.h"
#include "gpu/ranks.h"
#include "gpu/ring.h"
#include "gpu/rollout.h"

static void run_copy_from_feed(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    guarded_copy(&p->gpu, state_of(p), p->feed.device + c->offset, c->to, c->bytes);
}

static void run_fill(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    guarded_fill(&p->gpu, state_of(p), (real)c->c.value,
                 buf_make((real *)c->to + c->c.first, c->c.count));
}

static struct noise_rows rows_of(const struct backend_command *c) {
    const struct noise_rows r = {c->first, c->count, c->every, c->to->n_elements / c->to->shape[0]};
    return r;
}

static void run_noise(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    noise_uniform(&p->gpu, state_of(p), c->c.seed, c->c.purpose, rows_of(&c->c),
                  buf_make((real *)c->to, c->c.to->n_elements));
}

static void run_normal(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    noise_normal(&p->gpu, state_of(p), c->c.seed, c->c.purpose, rows_of(&c->c),
                 buf_make((real *)c->to, c->c.to->n_elements));
}

static void run_graph(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    p->gpu.ranks = c->c.ranks;
    if (placed_clear(c->c.graph, &p->gpu)) placed_run(c->c.graph, &p->gpu);
    p->gpu.ranks = 0;
}

static void run_copy(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    guarded_copy(&p->gpu, state_of(p), c->from, c->to, c->bytes);
}

static void run_norm(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    optim_norm(&p->gpu, buf_make((const real *)c->set->grads, c->set->params->n_flat),
               c->c.max_norm, c->scalars);
}

static void run_check(struct backend_program *p, struct placed_command *c, int place) {
    program_check(&p->gpu, place, buf_make((const real *)c->from, c->from ? 1 : 0),
                  buf_make((const double *)c->scalars.at, c->scalars.n ? 1 : 0), p->state, p->seen);
}

static void run_adam(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    const int64_t n = c->set->params->n_flat;
    const struct optim_adam o = {c->c.learning_rate,
                                 c->c.beta1,
                                 c->c.beta2,
                                 c->c.eps,
                                 1,
                                 1,
                                 buf_make((const double *)p->rate.at, p->rate.n)};
    optim_adam(&p->gpu, &o, buf_make((const real *)c->set->grads, n), buf_make(c->set->moment1, n),
               buf_make(c->set->moment2, n), buf_make(c->set->weights, n), c->scalars, state_of(p));
}

static void run_laprop(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    const int64_t n = c->set->params->n_flat;
    const struct optim_laprop o = {c->c.learning_rate, c->c.beta1, c->c.beta2,
                                   c->c.eps,           c->c.agc,   c->c.warmup};
    optim_laprop(&p->gpu, &o, c->pieces, c->sums, buf_make((const real *)c->set->grads, n),
                 buf_make(c->set->moment1, n), buf_make(c->set->moment2, n),
                 buf_make(c->set->weights, n), c->scalars, state_of(p));
}

static void run_track(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    const int64_t n = c->set->params->n_flat;
    optim_track(&p->gpu, buf_make((const real *)c->source->weights, n), c->c.tau, c->c.every,
                buf_make(c->set->weights, n), state_of(p));
}

static void run_advance(struct backend_program *p, struct placed_command *c, int place) {
    (void)c, (void)place;
    program_advance(&p->gpu, p->state);
}

static void run_finite(struct backend_program *p, struct placed_command *c, int place) {
    program_finite(&p->gpu, place, buf_make((const real *)c->from, c->c.from->n_elements),
                   c->scalars, p->state, p->seen);
}

static void run_sample(struct backend_program *p, struct placed_command *c, int place) {
    const struct ring_draw d = {c->c.seed, c->c.length, c->c.batch, c->c.n_terminal};
    (void)place;
    ring_enqueue_batch(c->c.ring, &p->gpu, &d, state_of(p));
}

// What depends on the ring's row or window stands before and after what is captured.

static void before_pictures(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    ring_give_pictures(c->c.ring, &p->gpu, state_of(p),
                       buf_make((uint32_t *)c->to, (int64_t)(c->bytes / sizeof(uint32_t))));
}

static void before_begins(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    ring_give_begins(c->c.ring, &p->gpu, state_of(p), p->anew,
                     buf_make((real *)c->to, c->c.to->n_elements));
}

static void before_sample(struct backend_program *p, struct placed_command *c, int place) {
    const struct ring_draw d = {c->c.seed, c->c.length, c->c.batch, c->c.n_terminal};
    (void)place;
    ring_begin_batch(c->c.ring, &p->gpu, &d);
}

static void after_sample(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    ring_end_batch(c->c.ring, &p->gpu);
}

static void after_act(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    ring_take_actions(c->c.ring, &p->gpu, buf_make((const real *)c->from, c->c.from->n_elements));
}

static void run_stage(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    rollout_enqueue(c->c.rollout, (enum rollout_stage)c->c.stage, c->c.which, &p->gpu, state_of(p),
                    buf_make((const double *)c->scalars.at, c->scalars.n ? 1 : 0));
}

static void run_mean(struct backend_program *p, struct placed_command *c, int place) {
    (void)place;
    gpu_ranks_mean(&p->gpu, c->c.ranks,
                   c->set ? buf_make(c->set->grads, c->set->params->n_flat)
                          : buf_make((real *)c->to, c->c.to->n_elements));
}

const struct command_runs *program_runs_of(enum command_kind kind) {
    static const struct command_runs table[] = {
        {run_copy_from_feed, 0, 0},
        {run_fill, 0, 0},
        {run_noise, 0, 0},
        {run_normal, 0, 0},
        {run_graph, 0, 0},
        {run_copy, 0, 0},
        {run_norm, 0, 0},
        {run_check, 0, 0},
        {run_adam, 0, 0},
        {run_track, 0, 0},
        {run_advance, 0, 0},
        {0, 0, 0}, // REPORT
        {run_finite, 0, 0},
        {0, before_pictures, 0},
        {0, before_begins, 0},
        {0, 0, after_act},
        {run_sample, before_sample, after_sample},
        {run_stage, 0, 0},
        {run_mean, 0, 0},
        {run_laprop, 0, 0},
    };
    static_assert(sizeof table / sizeof *table == N_COMMANDS, "one per kind, in its order");
    return &table[kind];
}
