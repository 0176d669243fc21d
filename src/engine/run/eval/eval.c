// Evaluation: opens the agent, plays its episodes and the random ones, measures dreams.
#include "engine/run/eval/eval.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/env/gameboy.h"
#include "engine/run/eval/eval_internal.h"
#include "engine/run/eval/eval_open_loop.h"

const char *const eval_policy_names[EVAL_N_POLICIES] = {"sampled", "greedy", "random", "constant"};
enum { DEFAULT_EPISODES = 100, DEFAULT_ENVS = 16, DEFAULT_WARM_UP = 60 };
enum { MAX_EPISODES = 1000000, MAX_ENVS = 4096, MAX_WARM_UP = 1000000 };

static int64_t or_default(int64_t given, int64_t standard) { return given > 0 ? given : standard; }

static bool check_limit(const char *option, int64_t given, int64_t limit, struct error *e) {
    return given <= limit || error_set(e, STATUS_USAGE, "%s %lld: at most %lld", option,
                                       (long long)given, (long long)limit);
}

static bool set_options(struct eval *v, const struct eval_opts *o, struct error *e) {
    v->opts = *o;
    v->opts.episodes = or_default(o->episodes, DEFAULT_EPISODES);
    v->opts.n_envs = (int)or_default(o->n_envs, DEFAULT_ENVS);
    v->opts.n_threads = (int)or_default(o->n_threads, 1);
    v->opts.warm_up_frames = (int)or_default(o->warm_up_frames, DEFAULT_WARM_UP);
    if (v->opts.n_envs > v->opts.episodes) v->opts.n_envs = (int)v->opts.episodes;
    return check_limit("--episodes", v->opts.episodes, MAX_EPISODES, e) &&
           check_limit("--envs", o->n_envs, MAX_ENVS, e) &&
           check_limit("--warm-up-frames", o->warm_up_frames, MAX_WARM_UP, e);
}

static bool check_policy(struct eval *v, struct error *e) {
    struct eval_opts *o = &v->opts;
    if (!v->agent.full && o->open_loop && o->policy != EVAL_RANDOM) o->policy = EVAL_CONSTANT;
    if (v->agent.is_ppo && o->open_loop)
        return error_set(e, STATUS_USAGE,
                         "%s: --open-loop measures a world model, which ppo has not",
                         v->agent.session);
    if (v->agent.full || o->open_loop) return true;
    return error_set(e, STATUS_USAGE,
                     "%s was trained standing still: it has no policy to evaluate; --open-loop "
                     "measures its world model",
                     v->agent.session);
}

static bool set_zero_latent(struct eval *v, struct error *e) {
    if (v->agent.is_ppo && v->opts.zero_latent)
        return error_set(e, STATUS_USAGE, "%s: --zero-latent: ppo has no latent", v->agent.session);
    v->opts.zero_latent |= v->agent.zero_latent;
    v->agent.world.zero_latent = v->opts.zero_latent;
    return true;
}

static void find_constant_action(struct eval *v) {
    for (int i = 0; i < v->env->n_actions; i++)
        if (strcmp(v->env->action_names[i], v->agent.config.constant_action) == 0)
            v->constant_action = i;
}

struct eval *eval_new(const struct eval_opts *opts, struct error *e) {
    struct eval *v = mem_alloc(sizeof *v);
    if (!saved_agent_open(&v->agent, opts->path, e) || !set_options(v, opts, e) ||
        !check_policy(v, e) || !set_zero_latent(v, e) || !saved_agent_load(&v->agent, e)) {
        eval_free(v);
        return NULL;
    }
    v->pool = pool_new(v->opts.n_threads);
    v->env = saved_agent_env(&v->agent, &v->opts.files, v->opts.n_envs, v->pool, e);
    if (!v->env) {
        eval_free(v);
        return NULL;
    }
    find_constant_action(v);
    v->episodes = mem_alloc((size_t)v->opts.episodes * sizeof *v->episodes);
    v->random = mem_alloc((size_t)v->opts.episodes * sizeof *v->random);
    return v;
}

static void free_episodes(struct eval_episode *episodes, int64_t n) {
    for (int64_t i = 0; episodes && i < n; i++) {
        free(episodes[i].actions);
        free(episodes[i].taken);
    }
    free(episodes);
}

void eval_free(struct eval *v) {
    if (!v) return;
    free_episodes(v->episodes, v->opts.episodes);
    free_episodes(v->random, v->opts.episodes);
    env_free(v->env);
    pool_free(v->pool);
    saved_agent_close(&v->agent);
    free(v);
}

bool eval_run(struct eval *v, struct error *e) {
    const struct eval_opts *o = &v->opts;
    struct eval_play play = {.agent = &v->agent,
                             .env = v->env,
                             .pool = v->pool,
                             .policy = o->policy,
                             .constant_action = v->constant_action,
                             .seed = o->seed,
                             .warm_up_frames = o->warm_up_frames,
                             .n_episodes = o->episodes};
    if (o->open_loop) {
        struct eval_open_loop *dreams =
            eval_open_loop_new(&v->agent, o->seed, o->episodes, v->pool);
        play.onlooker = eval_open_loop_onlooker(dreams);
        bool fine = eval_play(&play, v->episodes, e);
        eval_open_loop_result(dreams, v->horizon);
        eval_open_loop_free(dreams);
        return fine;
    }
    if (!eval_play(&play, v->episodes, e)) return false;
    play.policy = EVAL_RANDOM;
    return o->policy == EVAL_RANDOM || eval_play(&play, v->random, e);
}

void eval_report(const struct eval *v, struct eval_report *out) {
    int64_t n = v->opts.episodes;
    *out = (struct eval_report){.agent = &v->agent,
                                .policy = v->opts.policy,
                                .policy_stats = eval_stats_of(v->episodes, n),
                                .best = eval_best(v->episodes, n)};
    if (eval_has_random(v)) out->random_stats = eval_stats_of(v->random, n);
    memcpy(out->horizon, v->horizon, sizeof out->horizon);
}
