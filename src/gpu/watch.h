// Watch: what a launch of a program consists of, and how long each piece takes.
//
//     struct gpu_watch w = {};
//     g->watch = &w;
//     launch();                                   // lists the items
//     gpu_watch_begin(g); launch(); gpu_watch_end(g);   // times them, as often as wanted
//     g->watch = 0;
//     gpu_watch_item(&w, 0 .. w.n - 1); gpu_watch_free(&w);
//
// Whoever enqueues says what comes next (gpu_watch_command, gpu_watch_nodes); with no watch these
// do nothing. Every launch must say the same. Times are those between two marks in the stream;
// every few items the stream is held, so that the host is always ahead and no item's time holds a
// wait for it.
#ifndef GPU_WATCH_H
#define GPU_WATCH_H

#include "gpu/gpu.h"

enum { WATCH_MAX_PASSES = 64 };

struct watched;
struct gpu_watch {
    struct watched *list;
    int n, capacity;
    int command;      // that the nodes belong to
    int at;           // the item that is under way, -1: none
    bool timing;      // else the items are listed
    int64_t launches; // of g when the item began
};

void gpu_watch_next(struct gpu *g, const struct node *n, const struct node *last, int command);
static inline void gpu_watch_command(struct gpu *g, int command) {
    if (g->watch) gpu_watch_next(g, 0, 0, command);
}
// The nodes n .. last, of the command under way.
static inline void gpu_watch_nodes(struct gpu *g, const struct node *n, const struct node *last) {
    if (g->watch) gpu_watch_next(g, n, last, -1);
}
bool gpu_watch_begin(struct gpu *g); // of a pass
bool gpu_watch_end(struct gpu *g);   // waits
struct backend_item gpu_watch_item(const struct gpu_watch *w, int i);
void gpu_watch_free(struct gpu_watch *w);

#endif
