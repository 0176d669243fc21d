// What the files of an evaluation share.
#ifndef RUN_EVAL_INTERNAL_H
#define RUN_EVAL_INTERNAL_H

#include "engine/run/eval/eval.h"

struct eval {
    struct eval_opts opts; // texts are the caller's until eval_free; defaults filled in
    struct saved_agent agent;
    struct pool *pool;
    struct env *env;
    int constant_action;
    struct eval_episode *episodes, *random; // [opts.episodes]
    struct eval_horizon horizon[EVAL_HORIZON];
};

// Were random episodes played beside the policy's?
static inline bool eval_has_random(const struct eval *v) {
    return !v->opts.open_loop && v->opts.policy != EVAL_RANDOM;
}

#endif
