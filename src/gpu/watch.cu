// Watch: lists what a launch enqueues, then puts time marks around each item.
#include "gpu/watch.h"

#include <stdlib.h>
#include <string.h>

enum { HOLD_EVERY = 48, HOLD_US = 2000, FIRST_CAPACITY = 1024 };

struct watched {
    const struct node *node, *last;
    int command, launches, n_passes;
    struct gpu_timer *timer;
    float ms[WATCH_MAX_PASSES];
};

static bool grow(struct gpu *g, struct gpu_watch *w) {
    const int capacity = w->capacity ? 2 * w->capacity : FIRST_CAPACITY;
    void *list = realloc(w->list, (size_t)capacity * sizeof *w->list);
    if (!list) {
        gpu_fail(g, "out of memory");
        return false;
    }
    w->list = (struct watched *)list;
    w->capacity = capacity;
    return true;
}

// What is under way is over.
static void close(struct gpu *g) {
    struct gpu_watch *w = g->watch;
    struct watched *last = w->at >= 0 && w->at < w->n ? &w->list[w->at] : 0;
    if (!last) return;
    if (w->timing)
        gpu_timer_mark(g, last->timer, 1);
    else
        last->launches = (int)(g->launches - w->launches);
}

static void list_next(struct gpu *g, const struct node *n, const struct node *last) {
    struct gpu_watch *w = g->watch;
    if (w->n == w->capacity && !grow(g, w)) return;
    struct watched *next = &w->list[w->n];
    memset(next, 0, sizeof *next);
    next->node = n;
    next->last = last;
    next->command = w->command;
    w->at = w->n++;
}

static void time_next(struct gpu *g, const struct node *n, const struct node *last) {
    (void)last;
    struct gpu_watch *w = g->watch;
    w->at++;
    if (w->at >= w->n || w->list[w->at].node != n || w->list[w->at].command != w->command) {
        gpu_fail(g, "a program that enqueues something else each time");
        return;
    }
    if (w->at % HOLD_EVERY == 0) gpu_hold(g, HOLD_US);
    gpu_timer_mark(g, w->list[w->at].timer, 0);
}

void gpu_watch_next(struct gpu *g, const struct node *n, const struct node *last, int command) {
    struct gpu_watch *w = g->watch;
    if (g->failed) return;
    if (w->n == 0) w->at = -1;
    close(g);
    if (command >= 0) w->command = command;
    (w->timing ? time_next : list_next)(g, n, last);
    w->launches = g->launches;
}

bool gpu_watch_begin(struct gpu *g) {
    struct gpu_watch *w = g->watch;
    close(g);
    w->timing = true;
    w->at = -1;
    for (int i = 0; i < w->n; i++)
        if (!w->list[i].timer && !(w->list[i].timer = gpu_timer_new(g))) return false;
    return gpu_finish(g);
}

bool gpu_watch_end(struct gpu *g) {
    struct gpu_watch *w = g->watch;
    close(g);
    if (!gpu_finish(g)) return false;
    if (w->at != w->n - 1) gpu_fail(g, "a program that enqueues something else each time");
    w->at = -1;
    for (int i = 0; i < w->n; i++) {
        struct watched *item = &w->list[i];
        if (item->n_passes < WATCH_MAX_PASSES)
            item->ms[item->n_passes++] = (float)gpu_timer_ms(g, item->timer);
    }
    return !g->failed;
}

static int compare_floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

struct backend_item gpu_watch_item(const struct gpu_watch *w, int i) {
    struct watched *item = &w->list[i];
    qsort(item->ms, (size_t)item->n_passes, sizeof *item->ms, compare_floats);
    const struct backend_item out = {item->node, item->last, item->command, item->launches,
                                     item->n_passes ? (double)item->ms[item->n_passes / 2] : 0};
    return out;
}

void gpu_watch_free(struct gpu_watch *w) {
    for (int i = 0; i < w->n; i++) gpu_timer_free(w->list[i].timer);
    free(w->list);
}
