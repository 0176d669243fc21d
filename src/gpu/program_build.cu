// Programs are made and freed: places for all that their commands name.
#include "gpu/program_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/noise.h"
#include "gpu/ranks.h"

enum { ALIGNMENT = 256 };

static bool add_graph(struct backend_program *p, struct backend_graph *b) {
    for (int i = 0; i < p->n_graphs; i++)
        if (p->graphs[i] == b) return true;
    p->graphs[p->n_graphs++] = b;
    if (b->gpu.workspace_bytes > p->gpu.workspace_bytes)
        p->gpu.workspace_bytes = b->gpu.workspace_bytes;
    return true;
}

// The set once more for the program, which gives it back.
static struct device_set *add_set(struct backend_program *p, const struct params *params,
                                  bool optimised) {
    struct device_set *s = sets_take(&p->gpu, params, optimised, optimised);
    for (int i = 0; i < p->n_sets && s; i++)
        if (p->sets[i] == s) {
            sets_give(p->gpu.device, s); // it was taken before
            return s;
        }
    if (s) p->sets[p->n_sets++] = s;
    return s;
}

static bool give_scalars(struct backend_program *p, struct placed_command *c, int64_t n) {
    double *at = (double *)gpu_alloc(&p->gpu, (size_t)n * sizeof(double));
    c->scalars = buf_make(at, at ? n : 0);
    return at != 0;
}

static bool resolve_sets(struct backend_program *p, struct placed_command *c) {
    const bool optimised = c->c.kind == COMMAND_NORM || c->c.kind == COMMAND_ADAM ||
                           c->c.kind == COMMAND_LAPROP || c->c.kind == COMMAND_MEAN;
    if (c->c.set && !(c->set = add_set(p, c->c.set, optimised))) return false;
    if (c->c.source && !(c->source = add_set(p, c->c.source, false))) return false;
    if (!c->c.set || c->c.kind == COMMAND_TRACK || c->c.kind == COMMAND_MEAN) return true;
    if (c->c.kind == COMMAND_NORM) return give_scalars(p, c, optim_scalars);
    for (struct placed_command *norm = p->list; norm < c; norm++)
        if (norm->c.kind == COMMAND_NORM && norm->set == c->set) c->scalars = norm->scalars;
    if (c->scalars.n || c->c.kind == COMMAND_STAGE) return true; // a stage may do without
    gpu_fail(&p->gpu, "a program uses a gradient norm before it is known");
    return false;
}

static bool give_pieces(struct backend_program *p, struct placed_command *c) {
    const struct params *set = c->c.set;
    int64_t n = 0;
    for (int i = 0; i < set->n; i++) n += ceil_div64(set->list[i].n_elements, OPTIM_PIECE);
    struct optim_piece *list = (struct optim_piece *)calloc((size_t)n + 1, sizeof *list);
    int32_t at = 0;
    for (int i = 0; i < set->n && list; i++) {
        const struct param *q = &set->list[i];
        const int32_t count = (int32_t)ceil_div64(q->n_elements, OPTIM_PIECE), first = at;
        for (int64_t k = 0; k < q->n_elements; k += OPTIM_PIECE)
            list[at++] = {q->offset + k,
                          q->n_elements - k < OPTIM_PIECE ? q->n_elements - k
                                                          : (int64_t)OPTIM_PIECE,
                          first, count};
    }
    void *there = list ? gpu_alloc(&p->gpu, (size_t)n * sizeof *list) : 0;
    double *sums = (double *)gpu_alloc(&p->gpu, (size_t)(2 * n) * sizeof(double));
    const bool fine = there && sums && gpu_upload(&p->gpu, there, list, (size_t)n * sizeof *list) &&
                      gpu_finish(&p->gpu);
    c->pieces = buf_make((const struct optim_piece *)there, there ? n : 0);
    c->sums = buf_make(sums, sums ? 2 * n : 0);
    free(list);
    return fine;
}

static size_t reserve(size_t *total, size_t bytes) {
    const size_t at = *total;
    *total += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return at;
}

static bool resolve(struct backend_program *p, struct placed_command *c) {
    const bool reports = c->c.kind == COMMAND_REPORT;
    if (c->c.graph && !add_graph(p, c->c.graph)) return false;
    if (c->c.to) c->to = placed_address(c->c.graph, c->c.to);
    if (c->c.from)
        c->from = placed_address(c->c.from_graph ? c->c.from_graph : c->c.graph, c->c.from);
    if ((c->c.to && !c->to) || (c->c.from && !c->from)) {
        gpu_fail(&p->gpu, "%s: a program's tensor without a place on the device",
                 (c->c.to && !c->to ? c->c.to : c->c.from)->name);
        return false;
    }
    if (c->c.to || c->c.from) c->bytes = placed_bytes(c->c.to ? c->c.to : c->c.from);
    if (c->c.kind == COMMAND_FEED) c->offset = reserve(&p->feed.bytes, c->bytes);
    if (reports) c->offset = reserve(&p->report.bytes, c->bytes);
    if (c->c.kind == COMMAND_NORM) c->offset = reserve(&p->report.bytes, sizeof(double));
    if (c->c.kind == COMMAND_FINITE && !give_scalars(p, c, finite_slices)) return false;
    if (c->c.kind == COMMAND_LAPROP && !give_pieces(p, c)) return false;
    return resolve_sets(p, c);
}

static bool open_channel(struct gpu *g, struct channel *c) {
    if (!c->bytes) return true;
    // Zeroed for the gaps between tensors.
    if (!(c->device = (char *)gpu_alloc(g, c->bytes)) || !gpu_zero(g, c->device, c->bytes))
        return false;
    for (int i = 0; i < N_SLOTS; i++)
        if (!(c->host[i] = (char *)gpu_pinned_new(g, c->bytes)) ||
            !(c->taken[i] = gpu_event_new(g)))
            return false;
    for (int i = 0; i < N_SLOTS; i++) memset(c->host[i], 0, c->bytes);
    return true;
}

static bool allocate(struct backend_program *p, const struct backend_command *list, int n) {
    int n_sets = 2 * n;
    p->list = (struct placed_command *)calloc((size_t)n + 1, sizeof *p->list);
    p->graphs = (struct backend_graph **)calloc((size_t)n + 1, sizeof *p->graphs);
    for (int i = 0; i < n; i++)
        if (list[i].graph) n_sets += list[i].graph->n_sets;
    p->sets = (struct device_set **)calloc((size_t)n_sets + 1, sizeof *p->sets);
    int64_t *state = (int64_t *)gpu_alloc(&p->gpu, STATE_SIZE * sizeof *state);
    double *seen = (double *)gpu_alloc(&p->gpu, SEEN * sizeof *seen);
    p->state = buf_make(state, STATE_SIZE);
    double *rate = (double *)gpu_alloc(&p->gpu, sizeof *rate);
    p->seen = buf_make(seen, SEEN);
    p->rate = buf_make(rate, rate ? 1 : 0);
    return p->list && p->graphs && p->sets && state && seen && rate &&
           gpu_program_scale_rates(p, 1);
}

// Room for what the graphs' nodes gather from all ranks.
static bool make_room(struct backend_program *p) {
    int64_t most = 0;
    for (int i = 0; i < p->n; i++) {
        const struct backend_command *c = &p->list[i].c;
        if (c->kind != COMMAND_RUN || !c->ranks) continue;
        const struct graph *g = c->graph->g;
        for (int k = 0; k < g->n_nodes; k++) {
            if (g->nodes[k]->kind != OP_QUANTILES) continue;
            const int64_t all = g->nodes[k]->src[0]->n_elements * gpu_ranks_n(c->ranks);
            if (all > most) most = all;
        }
    }
    return !most || (p->gpu.gathered = gpu_alloc(&p->gpu, (size_t)most * sizeof(real))) != 0;
}

static bool build(struct backend_program *p, const struct backend_command *list, int n) {
    if (!allocate(p, list, n)) return false;
    reserve(&p->report.bytes, STATE_SIZE * sizeof(int64_t) + SEEN * sizeof(double));
    for (int i = 0; i < n; i++) {
        p->list[i].c = list[i];
        if (!resolve(p, &p->list[p->n++])) return false;
    }
    for (int i = 0; i < p->n_graphs; i++)
        for (int k = 0; k < p->graphs[i]->n_sets; k++)
            if (!add_set(p, p->graphs[i]->sets[k].on->params, false)) return false;
    if (p->gpu.workspace_bytes && !(p->gpu.workspace = gpu_alloc(&p->gpu, p->gpu.workspace_bytes)))
        return false;
    if (!(p->timer = gpu_timer_new(&p->gpu)) || !make_room(p)) return false;
    return open_channel(&p->gpu, &p->feed) && open_channel(&p->gpu, &p->report) &&
           gpu_program_store(p, 0);
}

struct backend_program *gpu_program_new(const struct backend_command *list, int n, char *message,
                                        size_t size) {
    struct backend_program *p = (struct backend_program *)calloc(1, sizeof *p);
    snprintf(message, size, "out of memory");
    if (!p) return 0;
    p->anew = true;
    p->gpu.device = gpu_open(message, size);
    if (p->gpu.device && build(p, list, n)) return p;
    if (p->gpu.failed) snprintf(message, size, "%s", p->gpu.message);
    gpu_program_free(p);
    return 0;
}

static void close_channel(struct gpu *g, struct channel *c) {
    gpu_free(g->device, c->device);
    for (int i = 0; i < N_SLOTS; i++) {
        gpu_pinned_free(c->host[i]);
        gpu_event_free(c->taken[i]);
    }
}

void gpu_program_free(struct backend_program *p) {
    if (!p) return;
    if (p->gpu.device) gpu_finish(&p->gpu);
    gpu_capture_free(p->capture);
    gpu_timer_free(p->timer);
    for (int i = 0; i < p->n; i++)
        if (p->list[i].c.kind == COMMAND_NORM || p->list[i].c.kind == COMMAND_FINITE)
            gpu_free(p->gpu.device, p->list[i].scalars.at);
    for (int i = 0; i < p->n; i++) {
        gpu_free(p->gpu.device, (void *)p->list[i].pieces.at);
        gpu_free(p->gpu.device, p->list[i].sums.at);
    }
    for (int i = 0; i < p->n_sets; i++) {
        p->sets[i]->resident = false;
        sets_give(p->gpu.device, p->sets[i]);
    }
    close_channel(&p->gpu, &p->feed);
    close_channel(&p->gpu, &p->report);
    gpu_free(p->gpu.device, p->state.at);
    gpu_free(p->gpu.device, p->seen.at);
    gpu_free(p->gpu.device, p->rate.at);
    gpu_free(p->gpu.device, p->gpu.workspace);
    gpu_free(p->gpu.device, p->gpu.gathered);
    gpu_close(p->gpu.device);
    free(p->list);
    free(p->graphs);
    free(p->sets);
    free(p);
}
