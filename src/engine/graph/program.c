// Program: the list of a device's commands, and calls that must not fail.
#include "engine/graph/program.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/graph/node.h"
#include "engine/graph/ranks.h"

enum { MAX_COMMANDS = 96 };

struct program {
    const struct backend *backend;
    struct backend_ranks *ranks; // NULL: one alone
    int64_t first, count, every; // its rows of the noise
    struct backend_command list[MAX_COMMANDS];
    int n;
    struct backend_program *device; // once it is sealed
};

#define DEVICE(p, call)                                                                            \
    do {                                                                                           \
        if (!(p)->backend->call)                                                                   \
            device_lost((p)->backend->name, (p)->backend->program_message((p)->device));           \
    } while (0)

struct program *program_new(void) {
    if (!backend_chosen()) return NULL;
    struct program *p = mem_alloc(sizeof *p);
    p->backend = backend_chosen();
    return p;
}

void program_free(struct program *p) {
    if (!p) return;
    p->backend->program_free(p->device);
    free(p);
}

static struct backend_command *add(struct program *p, enum command_kind kind, struct executor *ex) {
    CHECK(p->n < MAX_COMMANDS, "a program of more than %d commands", MAX_COMMANDS);
    struct backend_command *c = &p->list[p->n++];
    *c = (struct backend_command){.kind = kind, .graph = ex ? executor_device(ex) : NULL};
    CHECK(!ex || c->graph, "a program's graph that is not on the device");
    return c;
}

void program_feed(struct program *p, struct executor *ex, struct tensor *t) {
    if (t) add(p, COMMAND_FEED, ex)->to = t;
}

void program_fill(struct program *p, struct executor *ex, struct tensor *t, int64_t first,
                  int64_t count, real value) {
    struct backend_command *c = add(p, COMMAND_FILL, ex);
    c->to = t;
    c->first = first;
    c->count = count;
    c->value = (float)value;
}

void program_noise(struct program *p, struct executor *ex, struct tensor *t, uint64_t seed,
                   uint32_t purpose, bool normal) {
    struct backend_command *c = add(p, normal ? COMMAND_NORMAL : COMMAND_NOISE, ex);
    c->to = t;
    c->seed = seed;
    c->purpose = purpose;
    c->first = p->first;
    c->count = p->count;
    c->every = p->every;
}

void program_join(struct program *p, const struct ranks *ranks, int64_t sequences) {
    CHECK(!ranks || ranks->device, "ranks that have not joined on the device");
    if (!ranks) return;
    p->ranks = ranks->device;
    p->first = ranks->rank * sequences;
    p->count = sequences;
    p->every = ranks->n * sequences;
}

void program_run(struct program *p, struct executor *ex) {
    add(p, COMMAND_RUN, ex)->ranks = p->ranks;
}

void program_mean(struct program *p, const struct params *set) {
    if (!p->ranks) return;
    struct backend_command *c = add(p, COMMAND_MEAN, NULL);
    c->set = set;
    c->ranks = p->ranks;
}

void program_mean_of(struct program *p, struct executor *ex, struct tensor *t) {
    if (!p->ranks) return;
    struct backend_command *c = add(p, COMMAND_MEAN, ex);
    c->to = t;
    c->ranks = p->ranks;
}

void program_copy(struct program *p, struct executor *ex, struct tensor *to,
                  struct executor *from_ex, const struct tensor *from) {
    struct backend_command *c = add(p, COMMAND_COPY, ex);
    CHECK(to->n_elements == from->n_elements && to->dtype == from->dtype, "%s = %s", to->name,
          from->name);
    c->to = to;
    c->from_graph = executor_device(from_ex);
    c->from = from;
}

void program_norm(struct program *p, const struct params *set, double max_norm, double *norm) {
    struct backend_command *c = add(p, COMMAND_NORM, NULL);
    c->set = set;
    c->max_norm = max_norm;
    c->norm = norm;
}

void program_check(struct program *p, struct executor *ex, const struct tensor *t,
                   const struct params *set) {
    struct backend_command *c = add(p, COMMAND_CHECK, ex);
    c->from = t;
    c->set = set;
}

void program_adam(struct program *p, const struct params *set, const struct program_adam *numbers) {
    struct backend_command *c = add(p, numbers->laprop ? COMMAND_LAPROP : COMMAND_ADAM, NULL);
    c->set = set;
    c->learning_rate = numbers->learning_rate;
    c->beta1 = numbers->beta1;
    c->beta2 = numbers->beta2;
    c->eps = numbers->eps;
    c->agc = numbers->agc;
    c->warmup = numbers->warmup;
}

void program_track(struct program *p, const struct params *set, const struct params *source,
                   double tau, int64_t every) {
    struct backend_command *c = add(p, COMMAND_TRACK, NULL);
    c->set = set;
    c->source = source;
    c->tau = tau;
    c->every = every;
}

void program_advance(struct program *p) { add(p, COMMAND_ADVANCE, NULL); }

void program_report(struct program *p, struct executor *ex, const struct tensor *t) {
    add(p, COMMAND_REPORT, ex)->from = t;
}

void program_finite(struct program *p, struct executor *ex, const struct tensor *t) {
    add(p, COMMAND_FINITE, ex)->from = t;
}

// A command between a tensor and the ring's row.
static struct backend_command *add_ring(struct program *p, enum command_kind kind,
                                        struct executor *ex, struct device_ring *ring) {
    struct backend_command *c = add(p, kind, ex);
    c->ring = ring;
    return c;
}

void program_pictures(struct program *p, struct executor *ex, struct tensor *to,
                      struct device_ring *ring) {
    add_ring(p, COMMAND_PICTURES, ex, ring)->to = to;
}

void program_begins(struct program *p, struct executor *ex, struct tensor *to,
                    struct device_ring *ring) {
    add_ring(p, COMMAND_BEGINS, ex, ring)->to = to;
}

void program_act(struct program *p, struct executor *ex, const struct tensor *one_hot,
                 struct device_ring *ring) {
    add_ring(p, COMMAND_ACT, ex, ring)->from = one_hot;
}

void program_sample(struct program *p, struct device_ring *ring, const struct program_sample *s) {
    struct backend_command *c = add_ring(p, COMMAND_SAMPLE, NULL, ring);
    c->seed = s->seed;
    c->length = s->length;
    c->batch = s->batch;
    c->n_terminal = s->n_terminal;
}

void program_stage(struct program *p, struct device_rollout *rollout, int stage, int which,
                   const struct params *set) {
    struct backend_command *c = add(p, COMMAND_STAGE, NULL);
    c->rollout = rollout;
    c->stage = stage;
    c->which = which;
    c->set = set;
}

int program_n_commands(const struct program *p) { return p->n; }

// ---- running

void program_seal(struct program *p, int64_t step) {
    char why[BACKEND_MESSAGE_SIZE];
    CHECK(!p->device, "a program is sealed once");
    p->device = p->backend->program_new(p->list, p->n, why, sizeof why);
    if (!p->device) device_lost(p->backend->name, why);
    program_store(p, step);
}

void program_store(struct program *p, int64_t step) { DEVICE(p, program_store(p->device, step)); }

void program_launch(struct program *p) { DEVICE(p, program_launch(p->device)); }

void program_seek(struct program *p, int64_t step, bool anew) {
    DEVICE(p, program_seek(p->device, step, anew));
}

void program_scale_rates(struct program *p, double factor) {
    DEVICE(p, program_scale_rates(p->device, factor));
}

double program_ms(struct program *p) { return p->backend->program_ms(p->device); }

void program_read(struct program *p, struct backend_progress *out) {
    DEVICE(p, program_read(p->device, out));
}

void program_fetch(struct program *p) { DEVICE(p, program_fetch(p->device)); }

// ---- taken apart

// Names, and how often a command goes over the elements of its tensor or set: read or written once.
static const struct {
    const char *name;
    double passes;
} command_work[N_COMMANDS] = {
    [COMMAND_FEED] = {"feed", 2},       [COMMAND_FILL] = {"fill", 1},
    [COMMAND_NOISE] = {"noise", 1},     [COMMAND_NORMAL] = {"normal noise", 1},
    [COMMAND_RUN] = {"clear", 0},       [COMMAND_COPY] = {"copy", 2},
    [COMMAND_NORM] = {"norm", 1},       [COMMAND_CHECK] = {"check", 0},
    [COMMAND_ADAM] = {"adam", 7},       [COMMAND_TRACK] = {"track target", 3},
    [COMMAND_ADVANCE] = {"advance", 0}, [COMMAND_REPORT] = {"report", 0},
    [COMMAND_FINITE] = {"finite", 1},   [COMMAND_SAMPLE] = {"sample", 0},
    [COMMAND_STAGE] = {"rollout", 0},   [COMMAND_MEAN] = {"mean of ranks", 4},
    [COMMAND_LAPROP] = {"laprop", 9},
};

static void describe_command(const struct backend_command *c, struct program_item *out) {
    const struct tensor *t = c->to ? c->to : c->from;
    const int64_t n = c->set && c->kind != COMMAND_CHECK ? c->set->n_flat
                      : c->kind == COMMAND_FILL          ? c->count
                      : t                                ? t->n_elements
                                                         : 0;
    const size_t each = t && !c->set ? dtype_bytes(t->dtype) : sizeof(real);
    snprintf(out->text, sizeof out->text, "%s %lld", command_work[c->kind].name, (long long)n);
    out->bytes = (double)n * (double)each * command_work[c->kind].passes;
    if (c->kind == COMMAND_TRACK) out->bytes /= (double)c->every; // on average
}

static bool does_something(const struct node *n) {
    return node_runs(n) && n->kind != OP_PACK;
}

// Several nodes that are one launch: their work added up, by the first one's name.
static void describe_nodes(const struct node *first, const struct node *last,
                           struct program_item *out) {
    int n_nodes = 0, at = 0;
    for (int i = first->index; i <= last->index; i++) {
        const struct node *n = first->g->nodes[i];
        if (i > first->index && !does_something(n)) continue;
        n_nodes++;
        out->bytes += node_bytes(n);
        out->flop += node_least_flop(n);
        out->bf16 = out->bf16 || n->at.bf16;
    }
    if (n_nodes > 1) at = snprintf(out->text, sizeof out->text, "%d nodes from ", n_nodes);
    node_text(first, out->text + at, (int)sizeof out->text - at);
}

struct item_job {
    const struct program *p;
    program_item_fn *each;
    void *ctx;
};

static void pass_on(void *ctx, const struct backend_item *item) {
    const struct item_job *job = ctx;
    struct program_item out = {.launches = item->launches, .ms = item->ms};
    if (!item->launches) return; // nothing on the device
    if (item->node)
        describe_nodes(item->node, item->last, &out);
    else
        describe_command(&job->p->list[item->command], &out);
    job->each(job->ctx, &out);
}

void program_items(struct program *p, int passes, program_item_fn *each, void *ctx) {
    struct item_job job = {p, each, ctx};
    DEVICE(p, program_items(p->device, passes, pass_on, &job));
}

int64_t program_graph_nodes(const struct program *p) {
    return p->backend->program_graph_nodes(p->device);
}
