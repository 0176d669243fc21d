// Evaluation play: lanes of environments take one episode after the other.
#include "engine/run/eval/eval_play.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/algo/dreamer_v3/noise.h"
#include "engine/algo/dreamer_v3/player.h"
#include "engine/algo/dreamer_v3/player_graph.h"
#include "engine/algo/ppo/ppo.h"
#include "engine/env/gameboy.h"

struct lane {
    int64_t episode; // -1: no episode is left for it
    int step, capacity;
    bool ended;
    double entropy; // sum over the steps
};

struct table {
    const struct eval_play *play;
    struct eval_episode *episodes;
    int n;            // lanes
    int64_t next;     // episode
    int64_t n_played; // to the end
    struct lane *lanes;
    uint8_t *reset, *active, *frames, **obs;
    int n_numbers;    // of an action
    int32_t *actions; // [n][n_numbers], or
    float *values;    // [n][n_numbers] where they are continuous; else scratch of `actions`
    struct env_step_result *results;
    struct player *player; // NULL: random, constant, or PPO
    struct ppo *ppo;       // NULL: another algorithm, random or constant
};

int eval_start_frames(uint64_t seed, int64_t episode, int warm_up_frames) {
    return (int)rng_below(seed, RNG_EVAL_START, (uint64_t)episode, 0, (uint32_t)warm_up_frames);
}

uint64_t eval_moment(int64_t episode, int step) {
    return ((uint64_t)(episode + 1) << 32) + (uint64_t)step;
}

// ---- noise by episode, not by environment

// Rows are lanes, or heads of lanes: element i of a lane's stream, whatever lane it is.
static void fill_noise(void *ctx, struct tensor *t, enum rng_purpose purpose, int64_t step) {
    const struct table *table = ctx;
    real *u = t->data;
    (void)step;
    bool by_head = t->n_dims == 1; // [heads * lanes], else [lanes, S]
    int64_t width = by_head ? t->n_elements / table->n : t->shape[1];
    for (int n = 0; n < table->n; n++) {
        const struct lane *lane = &table->lanes[n];
        uint64_t moment = eval_moment(lane->episode, lane->step);
        for (int64_t i = 0; i < width; i++)
            u[by_head ? i * table->n + n : n * width + i] =
                purpose == RNG_PLAYER_NORMAL
                    ? (real)noise_normal(table->play->seed, purpose, (int64_t)moment, (uint32_t)i)
                    : (real)rng_uniform(table->play->seed, (uint32_t)purpose, moment, (uint32_t)i);
    }
}

// ---- one tick

static void begin_episode(struct table *t, int n) {
    struct lane *lane = &t->lanes[n];
    *lane = (struct lane){.episode = t->next < t->play->n_episodes ? t->next++ : -1};
    t->reset[n] = lane->episode >= 0;
    if (!t->reset[n]) return;
    struct eval_episode *p = &t->episodes[lane->episode];
    *p = (struct eval_episode){
        .start_frames = eval_start_frames(t->play->seed, lane->episode, t->play->warm_up_frames),
        .least_distance = INFINITY};
    if (t->play->agent->control) p->start_frames = 0; // it does not wait: its start is another
    env_delay_start(t->play->env, n, p->start_frames);
    env_choose_start(t->play->env, n, t->play->seed, (uint64_t)lane->episode);
}

// What lane n has just done, [n_numbers].
static const float *action_of(const struct table *t, int n) {
    float *numbers = t->values + n * t->n_numbers;
    if (!t->play->env->actions.n_continuous)
        for (int k = 0; k < t->n_numbers; k++) numbers[k] = (float)t->actions[n * t->n_numbers + k];
    return numbers;
}

static void keep_step(struct table *t, int n, struct eval_episode *p) {
    struct lane *lane = &t->lanes[n];
    const size_t width = (size_t)t->n_numbers;
    if (p->steps == lane->capacity) {
        lane->capacity = lane->capacity ? 2 * lane->capacity : 128;
        p->actions = mem_resize(p->actions, (size_t)lane->capacity * width * sizeof *p->actions);
        p->taken = mem_resize(p->taken, (size_t)lane->capacity * sizeof *p->taken);
    }
    p->taken[p->steps] = (struct eval_step){t->results[n].reward, t->results[n].distance};
    memcpy(p->actions + (size_t)p->steps++ * width, action_of(t, n), width * sizeof *p->actions);
}

static void count_step(struct table *t, int n) {
    struct lane *lane = &t->lanes[n];
    struct eval_episode *p = &t->episodes[lane->episode];
    const struct env_step_result *r = &t->results[n];
    keep_step(t, n, p);
    lane->step++;
    p->total_reward += (double)r->reward;
    p->distance = r->distance;
    if (r->distance < p->least_distance) p->least_distance = r->distance;
    if (!r->terminated && !r->truncated) return;
    p->success = r->terminated;
    p->truncated = r->truncated;
    p->entropy = lane->entropy / p->steps;
    lane->ended = true;
    t->n_played++;
}

static void tell(const struct table *t, int n) {
    const struct eval_onlooker *o = t->play->onlooker;
    const struct lane *lane = &t->lanes[n];
    if (!o) return;
    o->frame(o->ctx, lane->episode, lane->step, t->reset[n] ? NULL : action_of(t, n), t->obs[n]);
    if (lane->ended) o->ended(o->ctx, lane->episode);
}

static void step_environments(struct table *t) {
    for (int n = 0; n < t->n; n++) {
        t->reset[n] = 0;
        if (t->lanes[n].ended) begin_episode(t, n);
        t->active[n] = t->lanes[n].episode >= 0 && !t->reset[n];
    }
    env_reset(t->play->env, t->reset, t->obs);
    if (t->play->env->actions.n_continuous)
        env_step_values(t->play->env, t->active, t->values, t->obs, t->results);
    else
        env_step(t->play->env, t->active, t->actions, t->obs, t->results);
    for (int n = 0; n < t->n; n++) {
        if (t->active[n]) count_step(t, n);
        if (t->active[n] || t->reset[n]) tell(t, n);
    }
}

// Of the policy that the player has just used, summed over the heads, or over the normals of
// continuous actions (before they are clipped).
static double entropy_of(const struct table *t, int n) {
    const struct policy *policy = &player_nodes(t->player)->policy;
    const double of_unit_normal = 1.4189385332046727; // (1 + log 2 pi) / 2
    double sum = 0;
    for (int k = 0; policy->std && k < t->n_numbers; k++)
        sum +=
            of_unit_normal + log((double)((const real *)policy->std->data)[n * t->n_numbers + k]);
    if (policy->std) return sum;
    for (int k = 0; k < policy->n_heads; k++) {
        const real *p = (const real *)policy->probs[k]->data + n * policy->classes[k];
        for (int64_t i = 0; i < policy->classes[k]; i++)
            if (p[i] > 0) sum -= (double)p[i] * log((double)p[i]);
    }
    return sum;
}

// ---- PPO: a stack of frames per lane, one forward pass for all

static void stack_frame(struct table *t, int n) {
    const size_t frame = ENV_OBS_BYTES, stack = (size_t)ppo_options(t->ppo)->dims.stack * frame;
    uint8_t *s = ppo_stacks(t->ppo) + (size_t)n * stack;
    if (t->reset[n])
        for (size_t at = 0; at < stack; at += frame) memcpy(s + at, t->obs[n], frame);
    else
        memmove(s, s + frame, stack - frame);
    memcpy(s + stack - frame, t->obs[n], frame);
}

static bool choose_ppo(struct table *t, struct error *e) {
    const struct eval_play *play = t->play;
    const int64_t n_actions = play->env->n_actions;
    real log_probs[PPO_MAX_ACTIONS];
    for (int n = 0; n < t->n; n++)
        if (t->active[n] || t->reset[n]) stack_frame(t, n);
    ppo_evaluate(t->ppo);
    for (int n = 0; n < t->n; n++) {
        struct lane *lane = &t->lanes[n];
        const real *logits = ppo_logits(t->ppo) + n * n_actions;
        const float u =
            rng_uniform(play->seed, RNG_PPO_ACTION, eval_moment(lane->episode, lane->step), 0);
        ppo_log_softmax(logits, n_actions, log_probs);
        for (int64_t a = 0; a < n_actions; a++) {
            if (!isfinite((double)log_probs[a]))
                return error_set(e, STATUS_FAILED, "%s: the policy's logits are not finite",
                                 play->agent->checkpoint);
            lane->entropy -= exp((double)log_probs[a]) * (double)log_probs[a];
        }
        t->actions[n] = play->policy == EVAL_GREEDY ? ppo_greedy(logits, n_actions)
                                                    : ppo_sample(log_probs, n_actions, u);
    }
    return true;
}

// Uniform over each head's choices or over [-1, 1); returns the entropy.
static double choose_at_random(struct table *t, int n) {
    const struct action_space *a = &t->play->env->actions;
    const struct lane *lane = &t->lanes[n];
    const uint64_t seed = t->play->seed, moment = eval_moment(lane->episode, lane->step);
    double entropy = a->n_continuous * log(2);
    for (int k = 0; k < a->n_heads; k++) {
        t->actions[n * a->n_heads + k] =
            (int32_t)rng_below(seed, RNG_EVAL_ACTION, moment, (uint32_t)k, (uint32_t)a->classes[k]);
        entropy += log((double)a->classes[k]);
    }
    for (int k = 0; k < a->n_continuous; k++)
        t->values[n * a->n_continuous + k] =
            2 * rng_uniform(seed, RNG_EVAL_ACTION, moment, (uint32_t)k) - 1;
    return entropy;
}

static bool choose_actions(struct table *t, int64_t tick, struct error *e) {
    const struct eval_play *play = t->play;
    char bad[TENSOR_NAME_SIZE];
    if (t->ppo) return choose_ppo(t, e);
    if (t->player && !player_step(t->player, t->reset, t->obs, tick, play->policy == EVAL_GREEDY,
                                  t->actions, bad))
        return error_set(e, STATUS_FAILED, "%s: the policy's %s is not finite",
                         play->agent->checkpoint, bad);
    for (int i = 0; t->player && i < t->n * play->env->actions.n_continuous; i++)
        t->values[i] = (float)player_values(t->player)[i];
    for (int n = 0; n < t->n; n++) {
        struct lane *lane = &t->lanes[n];
        if (t->player) {
            lane->entropy += entropy_of(t, n);
        } else if (play->policy == EVAL_RANDOM) {
            lane->entropy += choose_at_random(t, n);
        } else {
            t->actions[n] = play->constant_action;
        }
    }
    return true;
}

// ---- all of them

// An agent of the saved weights; its learning graph is as small as can be.
static struct ppo *make_ppo(const struct table *t) {
    const struct saved_agent *a = t->play->agent;
    struct ppo_opts o;
    ppo_config_opts(&a->ppo, a->n_actions, &o);
    o.n_envs = o.minibatches = t->n;
    o.n_steps = 1;
    o.init = PPO_INIT_UNIFORM;
    struct ppo *p = ppo_new(&o, t->play->pool);
    memcpy(ppo_params(p)->weights, a->sets[0].weights, (size_t)a->sets[0].n_flat * sizeof(real));
    return p;
}

static struct player *make_player(struct table *t, const struct noise_source *noise) {
    const struct eval_play *play = t->play;
    if (play->policy != EVAL_SAMPLED && play->policy != EVAL_GREEDY) return NULL;
    if (play->agent->is_ppo) {
        t->ppo = make_ppo(t);
        return NULL;
    }
    return player_new(&(struct player_opts){
        .world = &play->agent->world,
        .nets = &play->agent->nets,
        .world_params = &play->agent->sets[DREAMER_WORLD],
        .actor_params = &play->agent->sets[DREAMER_ACTOR],
        .n_envs = t->n,
        .seed = play->seed,
        .pool = play->pool,
        .noise = noise,
    });
}

bool eval_play(const struct eval_play *play, struct eval_episode *episodes, struct error *e) {
    size_t n = (size_t)play->env->n_envs;
    struct table t = {.play = play, .episodes = episodes, .n = (int)n};
    CHECK(play->warm_up_frames >= 1 && play->n_episodes >= 1, "nothing to play");
    struct noise_source noise = {.fill = fill_noise, .ctx = &t};
    t.lanes = mem_alloc(n * sizeof *t.lanes);
    const size_t frame = obs_bytes(&play->env->obs);
    t.n_numbers = action_values(&play->env->actions);
    t.frames = mem_alloc(n * frame);
    t.obs = mem_alloc(n * sizeof *t.obs);
    t.reset = mem_alloc(n);
    t.active = mem_alloc(n);
    t.actions = mem_alloc(n * (size_t)t.n_numbers * sizeof *t.actions);
    t.values = mem_alloc(n * (size_t)t.n_numbers * sizeof *t.values);
    t.results = mem_alloc(n * sizeof *t.results);
    t.player = make_player(&t, &noise);
    for (size_t i = 0; i < n; i++) {
        t.obs[i] = t.frames + i * frame;
        t.lanes[i].ended = true;
    }
    memset(episodes, 0, (size_t)play->n_episodes * sizeof *episodes);
    bool fine = true;
    for (int64_t tick = 0; fine && t.n_played < play->n_episodes; tick++) {
        step_environments(&t);
        fine = choose_actions(&t, tick, e);
    }
    player_free(t.player);
    ppo_free(t.ppo);
    free(t.lanes);
    free(t.frames);
    free(t.obs);
    free(t.reset);
    free(t.active);
    free(t.actions);
    free(t.values);
    free(t.results);
    return fine;
}
