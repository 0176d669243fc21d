// The recurrent core: h' from (z, a, h), one row of a table for each kind (spec/dreamer_v3.md 3.1,
// 3.2, 3.6).
//
//     wm_core_register(&params, &dims);
//     struct tensor *half = wm_heads_half(&net, actions, n_heads);  // of all time steps at once
//     struct wm_recurrent r = wm_recurrent(&net, z, half, h);       // wm_net.h
//
// The LayerNorm-GRU: one hidden layer on [z; a], then one LayerNorm over all gates. The blocks: a
// hidden layer on each of h, z and a; a layer whose block k sees the k-th part of h and all of
// these; gates from that, block by block.
#ifndef ALGO_DREAMER_V3_WM_CORE_H
#define ALGO_DREAMER_V3_WM_CORE_H

#include "engine/algo/dreamer_v3/wm_net.h"

void wm_core_register(struct params *p, const struct wm_dims *d);
// Rules for the matrices of the blocks, whose inputs are those of all blocks; `out` has room for
// WM_CORE_RULES.
enum { WM_CORE_RULES = 2 };
void wm_core_init_rules(const struct wm_dims *d, struct init_rule *out);

#endif
