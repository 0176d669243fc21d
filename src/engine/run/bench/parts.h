// Parts of an update: milliseconds and GFLOP of encoder, scan, decoder and so on, live.
//
//     struct parts *p = parts_new(world_executor, behaviour_executor);   // their clocks go on
//     ... updates ...
//     struct part_time t[N_PARTS];
//     parts_take(p, t);                     // sums since the last call
//     parts_free(p);                        // before the executors
//
// A part is the nodes of one scope with their gradients, found once by their names; packing of
// weights is a part of its own. The executors read the clock once per node, which costs below one
// thousandth of an update, so a run always measures itself. What an update does outside its graphs
// (noise, clipping, Adam, copies) is what is left of the update's own time: PART_OPTIMISER is
// filled by whoever knows that time. Thread: the one that runs the executors. parts_take allocates
// nothing.
#ifndef RUN_PARTS_H
#define RUN_PARTS_H

#include "engine/data/metrics.h"
#include "engine/graph/graph.h"

enum part {
    PART_ENCODER,
    PART_SCAN,
    PART_DECODER,
    PART_HEADS,
    PART_IMAGINATION,
    PART_DREAM_REWARDS,
    PART_CRITIC,
    PART_ACTOR,
    PART_RETURNS,
    PART_PACKING,
    PART_OPTIMISER,
    PART_OTHER,
    N_PARTS
};

// gflops METRIC_COUNT: no products in it.
struct part_info {
    const char *name;
    enum metric ms, gflops;
};
extern const struct part_info part_info[N_PARTS];

struct part_time {
    double ms, gflop, product_ms; // product_ms: of the nodes that have products
};

struct parts;
struct parts *parts_new(struct executor *world,
                        struct executor *behaviour); // behaviour may be NULL
void parts_free(struct parts *p);                    // NULL is fine
void parts_take(struct parts *p, struct part_time out[N_PARTS]);

#endif
