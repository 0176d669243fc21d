// Evaluation play: whole episodes of one policy, many environments at a time.
//
//     struct eval_play p = {.agent = &a, .env = env, .pool = pool, .policy = EVAL_GREEDY,
//                           .seed = 1, .warm_up_frames = 60, .n_episodes = 20};
//     if (!eval_play(&p, episodes, &e)) ...          // every episode's actions: free() them
//
// Episode i is the same whatever env->n_envs and the pool: see eval.h.
#ifndef RUN_EVAL_PLAY_H
#define RUN_EVAL_PLAY_H

#include "engine/env/env.h"
#include "engine/run/eval/eval.h"

// What an onlooker is told, in the order of each episode's steps; episodes interleave.
struct eval_onlooker {
    // step 0: the start, action NULL; then the action that led to this frame: each head's choice,
    // or the values.
    void (*frame)(void *ctx, int64_t episode, int step, const float *action, const uint8_t *obs);
    void (*ended)(void *ctx, int64_t episode);
    void *ctx;
};

struct eval_play {
    struct saved_agent *agent;
    struct env *env; // of eval's own: its machines' start delays are set
    struct pool *pool;
    enum eval_policy policy;
    int constant_action;
    uint64_t seed;
    int warm_up_frames; // >= 1
    int64_t n_episodes;
    const struct eval_onlooker *onlooker; // NULL: none
};

// episodes [n_episodes], overwritten. False when the policy's numbers are not finite.
bool eval_play(const struct eval_play *play, struct eval_episode *episodes, struct error *e);

// Frames without buttons before episode i.
int eval_start_frames(uint64_t seed, int64_t episode, int warm_up_frames);
// The random streams of a moment of an episode: unlike any tick of a training run.
uint64_t eval_moment(int64_t episode, int step);

#endif
