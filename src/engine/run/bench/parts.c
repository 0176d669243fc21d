// Parts of an update: nodes by the beginning of their names, and the time they took.
#include "engine/run/bench/parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const struct part_info part_info[N_PARTS] = {
    [PART_ENCODER] = {"encoder", METRIC_MS_ENCODER, METRIC_GFLOPS_ENCODER},
    [PART_SCAN] = {"scan", METRIC_MS_SCAN, METRIC_GFLOPS_SCAN},
    [PART_DECODER] = {"decoder", METRIC_MS_DECODER, METRIC_GFLOPS_DECODER},
    [PART_HEADS] = {"heads, losses", METRIC_MS_HEADS, METRIC_GFLOPS_HEADS},
    [PART_IMAGINATION] = {"imagination", METRIC_MS_IMAGINATION, METRIC_GFLOPS_IMAGINATION},
    [PART_DREAM_REWARDS] = {"dream's rewards", METRIC_MS_DREAM_REWARDS,
                            METRIC_GFLOPS_DREAM_REWARDS},
    [PART_CRITIC] = {"critic", METRIC_MS_CRITIC, METRIC_GFLOPS_CRITIC},
    [PART_ACTOR] = {"actor", METRIC_MS_ACTOR, METRIC_GFLOPS_ACTOR},
    [PART_RETURNS] = {"returns", METRIC_MS_RETURNS, METRIC_COUNT},
    [PART_PACKING] = {"weights packed", METRIC_MS_PACKING, METRIC_COUNT},
    [PART_OPTIMISER] = {"noise, clipping, Adam", METRIC_MS_OPTIMISER, METRIC_COUNT},
    [PART_OTHER] = {"other", METRIC_MS_OTHER, METRIC_COUNT},
};

static const struct {
    const char *prefix;
    enum part part;
} prefixes[] = {
    // the first that fits
    {"wm/encoder", PART_ENCODER},
    {"wm/unpack", PART_ENCODER},
    {"wm/rssm", PART_SCAN},
    {"wm/initial", PART_SCAN},
    {"wm/prior", PART_SCAN},
    {"wm/decoder", PART_DECODER},
    {"wm/reward", PART_HEADS},
    {"wm/continue", PART_HEADS},
    {"wm/loss", PART_HEADS},
    {"behaviour/dream", PART_IMAGINATION},
    {"behaviour/heads", PART_DREAM_REWARDS},
    {"behaviour/critic", PART_CRITIC},
    {"behaviour/replay/", PART_CRITIC},
    {"behaviour/target_critic", PART_CRITIC},
    {"behaviour/actor", PART_ACTOR},
    {"behaviour/", PART_RETURNS},
};

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static enum part part_of(const struct node_time *t) {
    if (begins(t->op, "pack") || begins(t->op, "conv_pack")) return PART_PACKING;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (begins(t->name, prefixes[i].prefix)) return prefixes[i].part;
    return PART_OTHER;
}

struct seen { // of one node
    enum part part;
    int64_t ns, n_runs; // when it was last taken
};

enum { N_EXECUTORS = 2 };
struct parts {
    struct executor *executors[N_EXECUTORS];
    struct seen *nodes; // of all executors, in order
    // of a pass over the nodes
    int64_t at;
    struct part_time *out;
};

static void count_node(void *ctx, const struct node_time *t) {
    (void)t;
    ((struct parts *)ctx)->at++;
}

static void name_node(void *ctx, const struct node_time *t) {
    struct parts *p = ctx;
    p->nodes[p->at++] = (struct seen){part_of(t), t->ns, t->n_runs};
}

static void take_node(void *ctx, const struct node_time *t) {
    struct parts *p = ctx;
    struct seen *s = &p->nodes[p->at++];
    struct part_time *to = &p->out[s->part];
    const double ms = (double)(t->ns - s->ns) * 1e-6;
    to->ms += ms;
    to->gflop += t->flop * 1e-9 * (double)(t->n_runs - s->n_runs);
    if (t->flop > 0) to->product_ms += ms;
    s->ns = t->ns;
    s->n_runs = t->n_runs;
}

static void every_node(struct parts *p, node_time_fn *each) {
    p->at = 0;
    for (int i = 0; i < N_EXECUTORS; i++)
        if (p->executors[i]) executor_node_times(p->executors[i], each, p);
}

struct parts *parts_new(struct executor *world, struct executor *behaviour) {
    struct parts *p = mem_alloc(sizeof *p);
    p->executors[0] = world;
    p->executors[1] = behaviour;
    every_node(p, count_node);
    p->nodes = mem_alloc((size_t)p->at * sizeof *p->nodes);
    every_node(p, name_node);
    for (int i = 0; i < N_EXECUTORS; i++)
        if (p->executors[i]) executor_profile(p->executors[i], true);
    return p;
}

void parts_free(struct parts *p) {
    if (!p) return;
    for (int i = 0; i < N_EXECUTORS; i++)
        if (p->executors[i]) executor_profile(p->executors[i], false);
    free(p->nodes);
    free(p);
}

void parts_take(struct parts *p, struct part_time out[N_PARTS]) {
    memset(out, 0, N_PARTS * sizeof *out);
    p->out = out;
    every_node(p, take_node);
}
