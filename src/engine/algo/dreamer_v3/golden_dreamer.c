// Parity checks of the whole: three training steps (F51: in bf16), the player, the ratio scheduler:
// F41, F51, F42, F44.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/algo/dreamer_v3/dreamer.h"
#include "engine/algo/dreamer_v3/golden_case.h"
#include "engine/algo/dreamer_v3/golden_checks.h"
#include "engine/algo/dreamer_v3/golden_tiny.h"
#include "engine/algo/dreamer_v3/player.h"
#include "engine/algo/dreamer_v3/player_graph.h"
#include "engine/algo/ratio.h"

// ---- F41: three whole steps

enum { TRAIN_STEPS = 3, MAX_TENSORS = 128 };

struct recorded {
    struct golden_case *c;
    int n_heads;
};

// The recorded uniforms of step `step` + 1.
static void recorded_step(void *ctx, struct tensor *u, enum rng_purpose purpose, int64_t step) {
    struct recorded *r = ctx;
    const char *what = purpose == RNG_POSTERIOR ? "u_post"
                       : purpose == RNG_PRIOR   ? "u_dream"
                                                : "u_action";
    char name[ST_NAME_SIZE];
    snprintf(name, sizeof name, "step%d.%s", (int)step + 1, what);
    const real *x = case_reals(r->c, name, u->n_elements);
    if (!x) return;
    if (purpose == RNG_ACTOR)
        golden_tiny_heads(x, u->data, u->n_elements, r->n_heads);
    else
        memcpy(u->data, x, (size_t)u->n_elements * sizeof *x);
}

static const real *of_step(struct golden_case *c, int step, const char *what, int64_t n) {
    char name[ST_NAME_SIZE];
    snprintf(name, sizeof name, "step%d.%s", step, what);
    return case_reals(c, name, n);
}

static void match_step(struct golden_case *c, int step, const char *what, const real *x,
                       int64_t n) {
    char name[ST_NAME_SIZE];
    snprintf(name, sizeof name, "step%d.%s", step, what);
    case_match(c, name, x, n);
}

// Rows as stored to the model's inputs: actions move one row down (spec 3.5, "from SA").
static void fill_batch(struct golden_case *c, const struct wm_batch *b, int step) {
    char name[ST_NAME_SIZE];
    int64_t rows = (int64_t)b->length * b->batch, block = (int64_t)b->batch * b->n_actions;
    snprintf(name, sizeof name, "step%d.packed", step);
    const struct golden_tensor *packed = case_tensor(c, name);
    const real *actions = of_step(c, step, "actions", rows * b->n_actions),
               *rewards = of_step(c, step, "rewards", rows),
               *terminated = of_step(c, step, "terminated", rows),
               *is_first = of_step(c, step, "is_first", rows);
    if (c->failed) return;
    memcpy(b->packed, packed->t->data, (size_t)rows * WM_PACKED_BYTES);
    memcpy(b->prev_actions + block, actions,
           (size_t)(rows * b->n_actions - block) * sizeof *actions);
    memcpy(b->rewards, rewards, (size_t)rows * sizeof *rewards);
    memcpy(b->is_first, is_first, (size_t)rows * sizeof *is_first);
    for (int64_t i = 0; i < rows; i++) b->continues[i] = 1 - terminated[i];
}

static const struct {
    const char *name;
    enum metric metric;
} logged[] = {
    {"Loss/world_model_loss", METRIC_LOSS_MODEL},
    {"Loss/observation_loss", METRIC_OBS_NLL},
    {"Loss/reward_loss", METRIC_REWARD_NLL},
    {"Loss/continue_loss", METRIC_CONTINUE_NLL},
    {"Loss/state_loss", METRIC_KL_TOTAL},
    {"State/kl", METRIC_KL_DYN},
    {"State/post_entropy", METRIC_POSTERIOR_ENTROPY},
    {"State/prior_entropy", METRIC_PRIOR_ENTROPY},
    {"Loss/policy_loss", METRIC_LOSS_ACTOR},
    {"Loss/value_loss", METRIC_LOSS_CRITIC},
    {"Grads/world_model", METRIC_GRAD_NORM_MODEL},
    {"Grads/actor", METRIC_GRAD_NORM_ACTOR},
    {"Grads/critic", METRIC_GRAD_NORM_CRITIC},
};
enum { N_LOGGED = sizeof logged / sizeof logged[0] };

static void match_metrics(struct golden_case *c, struct dreamer *d, int step) {
    float values[METRIC_COUNT];
    dreamer_metrics(d, values);
    for (int i = 0; i < N_LOGGED; i++)
        match_step(c, step, logged[i].name, &(real){(real)values[logged[i].metric]}, 1);
    match_step(c, step, "moments", dreamer_range(d), 2);
}

// Values of every weight, set by set in the order of registration.
struct snapshot {
    real *weights[DREAMER_N_SETS];
};

static struct snapshot snapshot_take(struct dreamer *d) {
    struct snapshot s;
    for (int i = 0; i < DREAMER_N_SETS; i++) {
        const struct params *p = dreamer_params(d, (enum dreamer_set)i);
        s.weights[i] = mem_alloc((size_t)p->n_flat * sizeof(real));
        memcpy(s.weights[i], p->weights, (size_t)p->n_flat * sizeof(real));
    }
    return s;
}

static void snapshot_free(struct snapshot *s) {
    for (int i = 0; i < DREAMER_N_SETS; i++) free(s->weights[i]);
}

static real norm_of(const real *x, const real *minus, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = (double)x[i] - (minus ? (double)minus[i] : 0);
        sum += v * v;
    }
    return (real)sqrt(sum);
}

// Gradient and change of each tensor; the fixture's order is that of its param.* tensors.
static void match_norms(struct golden_case *c, struct dreamer *d, const struct snapshot *before,
                        int step) {
    real grads[MAX_TENSORS], changes[MAX_TENSORS];
    int n = 0;
    for (int i = 0; i < golden_tensor_count(c->fixture) && !c->failed; i++) {
        const char *name = golden_tensor_at(c->fixture, i)->t->name;
        if (strncmp(name, "param.", 6) != 0) continue;
        for (int s = 0; s < DREAMER_TARGET; s++) {
            const struct params *p = dreamer_params(d, (enum dreamer_set)s);
            const struct param *q = params_find(p, name + 6);
            if (!q) continue;
            CHECK(n < MAX_TENSORS, "more than %d tensors", MAX_TENSORS);
            grads[n] = norm_of(params_grads(p, q), NULL, q->n_elements);
            changes[n++] =
                norm_of(params_weights(p, q), before->weights[s] + q->offset, q->n_elements);
        }
    }
    match_step(c, step, "grad_norms", grads, n);
    match_step(c, step, "change_norms", changes, n);
}

// What three steps changed, and the target critic.
static void match_end(struct golden_case *c, struct dreamer *d, const struct snapshot *start) {
    for (int s = 0; s < DREAMER_N_SETS; s++) {
        const struct params *p = dreamer_params(d, (enum dreamer_set)s);
        bool target = s == DREAMER_TARGET;
        for (int i = 0; i < p->n && !c->failed; i++) {
            const struct param *q = &p->list[i];
            char name[ST_NAME_SIZE];
            real *x = mem_alloc((size_t)q->n_elements * sizeof *x);
            for (int64_t k = 0; k < q->n_elements; k++)
                x[k] = params_weights(p, q)[k] - (target ? 0 : start->weights[s][q->offset + k]);
            snprintf(name, sizeof name, "%s.%s", target ? "after" : "change", q->name);
            case_match(c, name, x, q->n_elements);
            free(x);
        }
    }
}

static void train_step(struct golden_case *c, struct dreamer *d, int step) {
    struct dreamer_result r;
    struct snapshot before = snapshot_take(d);
    fill_batch(c, wm_batch(dreamer_world(d)), step);
    if (!c->failed && !dreamer_update(d, &r)) case_fail(c, "%s is not finite", r.bad_node);
    if (!c->failed) {
        match_metrics(c, d, step);
        for (int s = 0; s < DREAMER_TARGET && step == 1; s++)
            case_gradients(c, dreamer_params(d, (enum dreamer_set)s), "step1.grad.");
        match_norms(c, d, &before, step);
    }
    snapshot_free(&before);
}

static struct dreamer *fixture_agent(struct golden_case *c, const struct golden_tiny *t,
                                     struct noise_source *noise) {
    struct dreamer *d = dreamer_new(&(struct dreamer_opts){.config = &t->config,
                                                           .n_actions = (int)t->world.n_actions,
                                                           .actions = &t->actions,
                                                           .pool = c->pool,
                                                           .noise = noise});
    for (int s = 0; s < DREAMER_N_SETS; s++)
        case_load_set(c, dreamer_params(d, (enum dreamer_set)s), "param.", true);
    return d;
}

void golden_train_steps(struct golden_case *c) {
    struct golden_tiny t = golden_tiny();
    struct recorded recorded = {c, t.nets.n_heads};
    struct noise_source noise = {recorded_step, &recorded};
    struct dreamer *d = fixture_agent(c, &t, &noise);
    struct snapshot start = snapshot_take(d);
    for (int step = 1; step <= TRAIN_STEPS && !c->failed; step++) train_step(c, d, step);
    match_end(c, d, &start);
    snapshot_free(&start);
    dreamer_free(d);
}

// ---- F51: the same three steps with products and convolutions in bf16

enum { N_NEAR = N_LOGGED + 2 }; // what is logged, and both ends of the returns' range

// The float32 reference's numbers within 2e-2 (spec 10.3). Adds up how far they are off.
static void match_near(struct golden_case *c, struct dreamer *d, int step, double *distance) {
    float values[METRIC_COUNT];
    dreamer_metrics(d, values);
    for (int i = 0; i < N_NEAR && !c->failed; i++) {
        const int end = i - N_LOGGED; // of the range
        const char *what = end < 0 ? logged[i].name : "moments";
        const real *reference = of_step(c, step, what, end < 0 ? 1 : 2);
        if (!reference) return;
        const double wanted = (double)reference[end < 0 ? 0 : end];
        const double got =
            end < 0 ? (double)values[logged[i].metric] : (double)dreamer_range(d)[end];
        const double off = fabs(got - wanted) / fabs(wanted);
        *distance += off;
        if (!(off <= 2e-2))
            case_fail(c, "step%d.%s: %.6g, not within 2e-2 of float32's %.6g", step, what, got,
                      wanted);
    }
}

void golden_mixed_precision(struct golden_case *c) {
    struct golden_tiny t = golden_tiny();
    struct recorded recorded = {c, t.nets.n_heads};
    struct noise_source noise = {recorded_step, &recorded};
    t.config.autocast = true;
    struct dreamer *d = fixture_agent(c, &t, &noise);
    double distance = 0;
    for (int step = 1; step <= TRAIN_STEPS && !c->failed; step++) {
        struct dreamer_result r;
        fill_batch(c, wm_batch(dreamer_world(d)), step);
        if (!c->failed && !dreamer_update(d, &r)) case_fail(c, "%s is not finite", r.bad_node);
        if (!c->failed) match_near(c, d, step, &distance);
    }
    if (!c->failed && distance < 1e-3) case_fail(c, "every number is float32's: bf16 is not on");
    dreamer_free(d);
}

// ---- F42: the player

struct player_case {
    struct golden_case *c;
    struct golden_tiny tiny;
    struct params world, actor;
    int steps, n_envs;
    const char *u_posterior; // name of the fixture's tensor
};

static void recorded_player(void *ctx, struct tensor *u, enum rng_purpose purpose, int64_t step) {
    struct player_case *k = ctx;
    bool posterior = purpose == RNG_PLAYER_POSTERIOR;
    const real *x =
        case_reals(k->c, posterior ? k->u_posterior : "u_action", k->steps * u->n_elements);
    if (!x) return;
    x += step * u->n_elements;
    if (posterior)
        memcpy(u->data, x, (size_t)u->n_elements * sizeof *x);
    else
        golden_tiny_heads(x, u->data, u->n_elements, k->tiny.nets.n_heads);
}

// All steps' values of one kind, one step after the other.
struct series {
    const char *name;
    int64_t width; // of a step
    real *x;
};
enum { Z, H, ACTION, EMBEDDING, LOGITS0, LOGITS1, H_BEFORE, ZA_BEFORE, N_SERIES, N_GREEDY = 3 };

static void put(struct series *s, int step, const struct tensor *t) {
    memcpy(s->x + step * s->width, t->data, (size_t)s->width * sizeof *s->x);
}

// [z, a of each head] of every environment, as the recurrent model gets them.
static void put_za(struct series *s, int step, const struct player_graph *g, int n_envs) {
    real *x = s->x + step * s->width;
    const struct tensor *parts[1 + AC_MAX_HEADS] = {g->step.z_bar, g->masked[0], g->masked[1]};
    for (int n = 0; n < n_envs; n++)
        for (int i = 0; i < 3; i++) {
            int64_t width = parts[i]->shape[1];
            memcpy(x, (const real *)parts[i]->data + n * width, (size_t)width * sizeof *x);
            x += width;
        }
}

static void keep_step(const struct player_case *k, const struct player *p, struct series *s,
                      int step, bool greedy, const int32_t *actions) {
    const struct player_graph *g = player_nodes(p);
    int64_t d = k->tiny.world.discrete;
    golden_tiny_classes(g->step.z->data, s[Z].width, d, s[Z].x + step * s[Z].width, 1);
    put(&s[H], step, g->step.h);
    for (int64_t i = 0; i < s[ACTION].width; i++)
        s[ACTION].x[step * s[ACTION].width + i] = (real)actions[i];
    if (greedy) return;
    put(&s[EMBEDDING], step, g->embedding.part[0]);
    put(&s[LOGITS0], step, g->policy.logits[0]);
    put(&s[LOGITS1], step, g->policy.logits[1]);
    put(&s[H_BEFORE], step, g->step.h_bar);
    put_za(&s[ZA_BEFORE], step, g, k->n_envs);
}

static void play(struct player_case *k, bool greedy) {
    const struct wm_dims *w = &k->tiny.world;
    int64_t n = k->n_envs;
    struct series s[N_SERIES] = {
        [Z] = {greedy ? "greedy.z" : "z", n * w->stochastic, NULL},
        [H] = {greedy ? "greedy.h" : "h", n * w->recurrent, NULL},
        [ACTION] = {greedy ? "greedy.action" : "action", n * 2, NULL},
        [EMBEDDING] = {"embedding", n * wm_embed_width(w), NULL},
        [LOGITS0] = {"logits0", n * 5, NULL},
        [LOGITS1] = {"logits1", n * 3, NULL},
        [H_BEFORE] = {"h_before", n * w->recurrent, NULL},
        [ZA_BEFORE] = {"za_before", n * (w->stochastic * w->discrete + w->n_actions), NULL},
    };
    struct noise_source noise = {recorded_player, k};
    struct player *p = player_new(&(struct player_opts){.world = w,
                                                        .nets = &k->tiny.nets,
                                                        .world_params = &k->world,
                                                        .actor_params = &k->actor,
                                                        .n_envs = k->n_envs,
                                                        .pool = k->c->pool,
                                                        .noise = &noise,
                                                        .keep_all = true});
    const struct golden_tensor *packed = case_tensor(k->c, "packed"),
                               *reset = case_tensor(k->c, "reset");
    for (int i = 0; i < N_SERIES; i++)
        s[i].x = mem_alloc((size_t)(k->steps * s[i].width) * sizeof(real));
    for (int t = 0; t < k->steps && !k->c->failed; t++) {
        uint8_t *obs[2];
        int32_t actions[4];
        for (int e = 0; e < 2; e++)
            obs[e] = (uint8_t *)packed->t->data + (t * 2 + e) * WM_PACKED_BYTES;
        char bad[TENSOR_NAME_SIZE];
        if (!player_step(p, (const uint8_t *)reset->t->data + t * 2, obs, t, greedy, actions, bad))
            case_fail(k->c, "%s is not finite", bad);
        else
            keep_step(k, p, s, t, greedy, actions);
    }
    for (int i = 0; i < (greedy ? N_GREEDY : N_SERIES); i++)
        case_match(k->c, s[i].name, s[i].x, k->steps * s[i].width);
    for (int i = 0; i < N_SERIES; i++) free(s[i].x);
    player_free(p);
}

void golden_player_episode(struct golden_case *c) {
    struct player_case k = {.c = c,
                            .tiny = golden_tiny(),
                            .steps = (int)case_dim(c, "packed", 0),
                            .n_envs = (int)case_dim(c, "packed", 1),
                            .u_posterior = "u_post"};
    CHECK(k.n_envs == 2 && k.tiny.nets.n_heads == 2, "%d environments", k.n_envs);
    params_init(&k.world);
    params_init(&k.actor);
    wm_register(&k.world, &k.tiny.world);
    ac_register_actor(&k.actor, &k.tiny.nets);
    params_allocate(&k.world);
    params_allocate(&k.actor);
    case_load_set(c, &k.world, "param.", false); // the fixture leaves out what a player never reads
    case_load_set(c, &k.actor, "param.", true);
    play(&k, false);
    k.u_posterior = "greedy.u_post";
    play(&k, true);
    params_deinit(&k.world);
    params_deinit(&k.actor);
}

// ---- F44: the ratio scheduler

static const double *doubles(struct golden_case *c, const char *name, int64_t n) {
    const struct golden_tensor *t = case_tensor(c, name);
    if (t && t->t->dtype == ST_F64 && t->t->n_elements == n) return t->t->data;
    case_fail(c, "%s is no tensor of %lld doubles", name, (long long)n);
    return NULL;
}

static void match_calls(struct golden_case *c) {
    enum { CALLS = 1000, SHOWN = 64 };
    int64_t n = case_dim(c, "ratio", 0);
    const double *ratio = doubles(c, "ratio", n);
    const real *stride = case_reals(c, "stride", n), *pretrain = case_reals(c, "pretrain", n);
    if (c->failed) return;
    double *steps = mem_alloc((size_t)(n * (SHOWN + 1 + 3)) * sizeof *steps),
           *total = steps + n * SHOWN, *previous = total + n;
    for (int64_t i = 0; i < n; i++) {
        struct ratio r = {.ratio = ratio[i], .pretrain_steps = (int64_t)pretrain[i]};
        for (int call = 1; call <= CALLS; call++) {
            double due = (double)ratio_due(&r, call * (int64_t)stride[i]);
            total[i] += due;
            if (call <= SHOWN) steps[i * SHOWN + call - 1] = due;
            if (call == 1) previous[3 * i] = r.previous;
            if (call == SHOWN) previous[3 * i + 1] = r.previous;
        }
        previous[3 * i + 2] = r.previous;
    }
    case_match_f64(c, "steps", steps, n * SHOWN);
    case_match_f64(c, "total", total, n);
    case_match_f64(c, "prev", previous, n * 3);
    free(steps);
}

// The main loop: what is due after each iteration of P policy steps (spec 8.2).
static void match_loop(struct golden_case *c) {
    int64_t n = case_dim(c, "loop.ratio", 0), iterations = case_dim(c, "loop.steps", 1);
    const double *ratio = doubles(c, "loop.ratio", n);
    const real *envs = case_reals(c, "loop.n_envs", n),
               *starts = case_reals(c, "loop.learning_starts", n),
               *pretrain = case_reals(c, "loop.pretrain", n);
    if (c->failed) return;
    double *steps = mem_alloc((size_t)(n * iterations) * sizeof *steps);
    for (int64_t i = 0; i < n; i++) {
        struct ratio r = {.ratio = ratio[i], .pretrain_steps = (int64_t)pretrain[i]};
        int64_t p = (int64_t)envs[i], first = (int64_t)starts[i] / p;
        for (int64_t k = 1; k <= iterations; k++)
            if (k >= first)
                steps[i * iterations + k - 1] =
                    (double)ratio_due(&r, k * p - (first - (first > 0)) * p);
    }
    case_match_f64(c, "loop.steps", steps, n * iterations);
    free(steps);
}

void golden_ratio(struct golden_case *c) {
    match_calls(c);
    match_loop(c);
}
