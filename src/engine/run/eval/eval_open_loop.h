// Evaluation open loop: how far the world model's dreams stay with what really happened.
//
//     struct eval_open_loop *o = eval_open_loop_new(&agent, seed, n_episodes, pool);
//     play.onlooker = eval_open_loop_onlooker(o);
//     eval_play(&play, ...);
//     eval_open_loop_result(o, horizons);
//     eval_open_loop_free(o);
//
// Every episode is cut into windows: EVAL_CONTEXT rows seen, up to EVAL_HORIZON imagined with the
// recorded actions; the next window begins EVAL_HORIZON rows later. A window never leaves its
// episode. Sums are kept by episode and added up in their order: the number of environments
// changes nothing.
#ifndef RUN_EVAL_OPEN_LOOP_H
#define RUN_EVAL_OPEN_LOOP_H

#include "engine/run/eval/eval_play.h"

struct eval_open_loop;
struct eval_open_loop *eval_open_loop_new(struct saved_agent *a, uint64_t seed, int64_t n_episodes,
                                          struct pool *pool);
const struct eval_onlooker *eval_open_loop_onlooker(struct eval_open_loop *o);
void eval_open_loop_result(const struct eval_open_loop *o, struct eval_horizon out[EVAL_HORIZON]);
void eval_open_loop_free(struct eval_open_loop *o); // NULL is fine

#endif
